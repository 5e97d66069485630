//! Rounds: what several replicas saw in one slot.

use std::time::Duration;

use proptest::option;
use proptest::prelude::{Strategy, any, prop};

use crate::engine::evidence::{FleetRound, Slot};
use crate::engine::history::Fact;
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::store::tests::watches::{any_tick, begun, count, kept, rich_tick};
use crate::store::tests::{beside, open, release, watch_id, write_all};
use crate::store::{Archive, Write};

pub(super) fn any_round() -> impl Strategy<Value = FleetRound> {
    let candidate = prop::collection::btree_map("[ -~]{1,12}", any_tick(), 0..5);
    let age = option::of((any::<u64>(), 0..1_000_000_000_u32));
    (any::<u64>(), candidate, option::of(any_tick()), age).prop_map(|(slot, candidate, control, age)| {
        FleetRound {
            slot: Slot(slot),
            candidate: candidate.into_iter().map(|(replica, tick)| (replica.into(), tick)).collect(),
            control,
            age: age.map(|(secs, nanos)| Duration::new(secs, nanos)),
        }
    })
}

/// What three replicas of a busy service saw, one of which stood still.
fn round(n: u64) -> FleetRound {
    let tick = |i: u64, stalled| Tick { stalled, ..rich_tick(n + i, 20) };
    FleetRound {
        slot: Slot(n),
        candidate: vec![
            ("a".into(), tick(0, false)),
            ("b".into(), tick(1, false)),
            ("c".into(), tick(2, true)),
        ],
        control: Some(tick(3, false)),
        age: Some(Duration::from_millis(7001)),
    }
}

#[tokio::test]
async fn a_round_with_a_fault_is_told_and_its_sums_read_as_a_tick() {
    let of = round(7);
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_all(&store, [Write::Watch(Box::new(begun("v2")))]).await;
    let fact = kept("v2", 1, Fact::Round(Box::new(of.clone())));
    write_all(&store, [Write::Fact(Box::new(fact.clone()))]).await;
    assert_eq!(store.memory().await.unwrap().watch.unwrap().facts, [fact]);
    let mut sum = of.candidate[0].1.clone();
    sum.pool(&of.candidate[1].1);
    let all = (Time::default(), Time::from_millis(u64::MAX));
    assert_eq!(store.ticks(&release("v2"), all.0, all.1, 9).await.unwrap(), [sum.clone()]);
    assert_eq!(count(&store, "SELECT judged FROM evidence").await, sum.judged);

    for (sql, fault) in [
        ("UPDATE evidence SET failed = failed + 1", "check does not match"),
        ("UPDATE evidence SET checked = x'0102030405060708'", "check does not match"),
        ("UPDATE evidence SET more = x'000200000000'", "unknown form of round"),
        ("UPDATE evidence SET more = substr(more, 1, 90)", "bytes are damaged"),
        ("UPDATE evidence SET kind = 'tick'", "bytes are damaged"),
    ] {
        let before = store.status().damaged;
        beside(dir.path())
            .execute_batch(&format!("CREATE TABLE kept AS SELECT * FROM evidence; {sql}"))
            .unwrap();
        assert_eq!(store.memory().await.unwrap().watch, None, "{sql}");
        assert_eq!(store.status().damaged, before + 1, "{sql}");
        assert_eq!(store.ticks(&release("v2"), all.0, all.1, 9).await.unwrap(), [], "{sql}");
        let said = Archive::open(dir.path()).unwrap().watch(&watch_id("v2")).unwrap().unwrap().gap.unwrap();
        assert!(said.contains(fault), "{sql}: {said}");
        let back = "DELETE FROM evidence; INSERT INTO evidence SELECT * FROM kept; DROP TABLE kept";
        beside(dir.path()).execute_batch(back).unwrap();
    }
}

#[test]
fn a_round_of_a_hundred_replicas_comes_back_and_one_more_is_damage() {
    use crate::store::codec::fact;
    let of = |replicas: u64| FleetRound {
        candidate: (0..replicas).map(|i| (format!("r{i:03}").into(), rich_tick(i, 50))).collect(),
        ..round(1)
    };
    let most = Fact::Round(Box::new(of(100)));
    let bytes = fact::more_to_bytes(&most);
    assert!(bytes.len() < 400_000, "{}", bytes.len());
    assert_eq!(fact::event_from_bytes("round", &bytes), Ok(most));
    let bytes = fact::more_to_bytes(&Fact::Round(Box::new(of(101))));
    assert!(fact::event_from_bytes("round", &bytes).is_err());
}
