//! What is handed over, as the callers see it.

mod union;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;

use crate::engine::history::{Fact, KeptFact, WatchStart};
use crate::engine::memory::{Memory, ReleaseMemory, Standing};
use crate::engine::policy::Policy;
use crate::engine::record::{Pause, Progress, Record};
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::store::codec::item::{self, Content};
use crate::store::handover::{Export, ImportReport, Item, export, import};
use crate::store::rows;
use crate::store::schema;
use crate::store::tests::{baseline, open, release, rollback, settings, tick, watch_id};
use crate::store::wire::{PauseDoc, RecordDoc, ReleaseDoc};
use crate::store::{self, Write};

pub(super) fn empty() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    schema::migrate(&mut connection).unwrap();
    connection
}

pub(super) fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

pub(super) fn thought(name: &str, first_ready: u64, last_seen: u64, standing: Standing) -> ReleaseMemory {
    ReleaseMemory {
        release: release(name),
        first_ready: at(first_ready),
        last_seen: at(last_seen),
        standing,
        judged_for: Duration::from_secs(last_seen),
        judged_requests: last_seen,
        crashes: Vec::new(),
        put_back_by: None,
        figures: None,
        score: None,
        deployments: Vec::new(),
        schemas: BTreeMap::new(),
    }
}

pub(super) fn item_of_release(memory: &ReleaseMemory) -> Item {
    Item::of(&Content::Release(vec![rows::json(&ReleaseDoc::from(memory))]))
}

pub(super) fn item_of_pause(ms: u64, pause: Option<&Pause>) -> Item {
    Item::of(&Content::Pause { at: at(ms), doc: rows::json(&pause.map(PauseDoc::from)) })
}

pub(super) fn item_of_record(record: &Record, act: bool) -> Item {
    Item::of(&Content::Record { act, doc: rows::json(&RecordDoc::from(record)) })
}

pub(super) fn by(name: &str) -> Pause {
    Pause { by: name.to_owned(), reason: "why".to_owned(), since: at(1), until: None }
}

pub(super) fn begun(id: &str, name: &str, ms: u64) -> WatchStart {
    WatchStart {
        id: watch_id(id),
        at: at(ms),
        release: release(name),
        first_ready: at(1),
        passed: false,
        judged_for: Duration::ZERO,
        judged_requests: 0,
        baseline: Some(baseline("v0", 2)),
        policy: Policy::default(),
    }
}

pub(super) fn fact(id: &str, name: &str, seq: u32, n: u64) -> KeptFact {
    let fact = Fact::Tick(Box::new(Tick { stalled: false, ..tick(n, 5) }));
    KeptFact { watch: watch_id(id), seq, at: at(seq.into()), release: release(name), fact }
}

pub(super) fn items_of_watch(start: &WatchStart, facts: Vec<KeptFact>) -> Vec<Item> {
    let (count, watch) = (facts.len() as u32, start.id.clone());
    vec![
        Item::of(&Content::Watch { start: Box::new(start.clone()), facts: count }),
        Item::of(&Content::Facts { watch, facts }),
    ]
}

pub(super) fn memory(of: &Connection) -> Memory {
    let mut damage = Vec::new();
    let memory = rows::memory(of, &mut damage).unwrap();
    assert!(damage.is_empty(), "{:?}", damage.iter().map(|d| (&d.row, &d.fault)).collect::<Vec<_>>());
    memory
}

pub(super) fn exported(of: &Connection) -> Vec<Item> {
    export(of, Export { watch: true }, &mut Vec::new()).unwrap()
}

pub(super) fn taken(of: &Connection, items: &[Item]) -> u64 {
    let report = import(of, items).unwrap().0;
    assert_eq!((report.damaged, report.unknown, report.left_out), (0, 0, 0));
    report.taken
}

fn written(of: &Connection, writes: impl IntoIterator<Item = Write>) {
    writes.into_iter().for_each(|write| rows::write(of, &write).unwrap());
}

#[tokio::test]
async fn an_agent_that_starts_with_nothing_remembers_what_another_did() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let old = open(dirs.0.path());
    let act = rollback(3, Progress::Intended);
    let writes = [
        Write::Baseline(Box::new(baseline("v1", 9))),
        Write::Release(thought("v1", 1, 20, Standing::KnownGood)),
        Write::Record(act.clone()),
        Write::Pause { pause: Some(by("ana")), at: at(7) },
        Write::Watch(Box::new(begun("w", "v2", 4))),
        Write::Fact(Box::new(fact("w", "v2", 1, 3))),
    ];
    for write in writes {
        old.write(write.clone()).await.unwrap();
        let told = old.export_one(&write).await.unwrap();
        assert_eq!(told.is_none(), matches!(write, Write::Watch(_) | Write::Fact(_)), "{write:?}");
    }
    let items = old.export(Export { watch: true }).await.unwrap();
    let remembered = old.memory().await.unwrap();
    assert!(remembered.watch.is_some() && remembered.open.is_some() && remembered.last_act.is_some());
    let new = open(dirs.1.path());
    let imported = new.import(items.clone()).await.unwrap();
    assert_eq!(imported.memory, remembered);
    assert_eq!(imported.report, ImportReport { taken: items.len() as u64, ..ImportReport::default() });
    let again = new.import(items.clone()).await.unwrap();
    assert_eq!(again.report, ImportReport { known: items.len() as u64, ..ImportReport::default() });
    new.close().await;
    assert_eq!(open(dirs.1.path()).memory().await.unwrap(), remembered);
    let without = old.export(Export::default()).await.unwrap();
    assert_eq!(without.len(), items.len() - 2);
}

#[tokio::test]
async fn an_import_that_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store::tests::beside(dir.path())
        .execute_batch("CREATE TRIGGER no BEFORE INSERT ON pause BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    let items =
        vec![item_of_release(&thought("v1", 1, 2, Standing::KnownGood)), item_of_pause(3, Some(&by("ana")))];
    store.import(items.clone()).await.unwrap_err();
    assert_eq!(store.memory().await.unwrap(), Memory::default());
    assert!(store.status().last_error.is_some());
    store::tests::beside(dir.path()).execute_batch("DROP TRIGGER no").unwrap();
    assert_eq!(store.import(items).await.unwrap().report.taken, 2);
    assert_eq!(store.status().last_error, None);
}

#[test]
fn damaged_and_unknown_items_are_passed_over_and_counted() {
    let of = empty();
    written(&of, [Write::Release(thought("v1", 1, 2, Standing::KnownGood))]);
    let whole = item_of_release(&thought("v2", 1, 2, Standing::KnownGood));
    let mut items = Vec::new();
    for i in 0..whole.bytes.len() {
        let mut item = whole.clone();
        item.bytes[i] ^= 0x20;
        items.push(item);
        items.push(Item { bytes: whole.bytes[..i].to_vec(), ..whole.clone() });
    }
    items.push(Item { kind: "record".to_owned(), ..whole.clone() });
    let report = import(&of, &items).unwrap().0;
    assert_eq!(report, ImportReport { damaged: items.len() as u64, ..ImportReport::default() });
    let newer = ["release", "dream"]
        .map(|kind| Item { kind: kind.to_owned(), bytes: item::seal_as(kind, 2, b"whatever") });
    assert_eq!(import(&of, &newer).unwrap().0, ImportReport { unknown: 2, ..ImportReport::default() });
    assert_eq!(memory(&of).releases.len(), 1);
}

#[test]
fn a_resume_is_not_undone_by_an_older_pause_that_comes_late() {
    let of = empty();
    let old = item_of_pause(5, Some(&by("ana")));
    taken(&of, std::slice::from_ref(&old));
    assert_eq!(memory(&of).pause, Some(by("ana")));
    // By a clock that is slow.
    written(&of, [Write::Pause { pause: None, at: at(2) }]);
    assert_eq!(memory(&of).pause, None);
    assert_eq!(taken(&of, &[old]), 0);
    assert_eq!(memory(&of).pause, None);
    assert_eq!(taken(&of, &[item_of_pause(9, Some(&by("bo")))]), 1);
    assert_eq!(memory(&of).pause, Some(by("bo")));
}

#[test]
fn a_release_that_came_again_after_its_rollback_is_tried_anew() {
    let rolled = thought("v2", 10, 20, Standing::RolledBack);
    for (first_ready, standing) in
        [(15, Standing::RolledBack), (20, Standing::RolledBack), (21, Standing::OnTrial)]
    {
        let here = thought("v2", first_ready, 40, Standing::OnTrial);
        let of = empty();
        written(&of, [Write::Release(here.clone())]);
        taken(&of, &[item_of_release(&rolled)]);
        let found = memory(&of).releases;
        assert_eq!(found[0].standing, standing, "{first_ready}");
        assert!(standing == Standing::RolledBack || found == [here]);
    }
    // Replicas of one deployment become ready one after the other: that is no new life.
    let of = empty();
    let items = [(10, Standing::KnownGood), (300, Standing::OnTrial)]
        .map(|(first, standing)| item_of_release(&thought("v2", first, 400, standing)));
    taken(&of, &items);
    assert_eq!(memory(&of).releases, [thought("v2", 10, 400, Standing::KnownGood)]);
}

#[test]
fn an_act_of_another_agent_counts_and_its_rehearsal_does_not() {
    let failed = Progress::Failed { at: at(9), reason: "no".to_owned() };
    let dry = Progress::DryRun { detail: "would".to_owned() };
    for (end, is_act) in [(failed, true), (dry, false)] {
        let of = empty();
        taken(&of, &[item_of_record(&rollback(1, Progress::Intended), true)]);
        assert!(memory(&of).open.is_some() && memory(&of).last_act.is_some());
        taken(&of, &[item_of_record(&rollback(1, end), false)]);
        assert_eq!((memory(&of).open, memory(&of).last_act.is_some()), (None, is_act));
        assert_eq!(taken(&of, &[item_of_record(&rollback(1, Progress::Intended), true)]), 0);
    }
}

#[test]
fn a_watch_is_taken_whole_and_never_in_place_of_an_own_one() {
    let (start, facts) = (begun("w", "v2", 4), vec![fact("w", "v2", 1, 3), fact("w", "v2", 2, 4)]);
    let items = items_of_watch(&start, facts.clone());
    let of = empty();
    for torn in [&items[..1], &items[1..]] {
        assert_eq!(import(&of, torn).unwrap().0.damaged, 1);
        assert_eq!(memory(&of).watch, None);
    }
    let gap = items_of_watch(&start, vec![fact("w", "v2", 1, 3), fact("w", "v2", 3, 4)]);
    assert_eq!(import(&of, &gap).unwrap().0.damaged, 2);
    assert_eq!(taken(&of, &items), 2);
    assert_eq!(memory(&of).watch.unwrap().facts, facts);

    // It is gone on with: then it is its own.
    written(&of, [Write::Fact(Box::new(fact("w", "v2", 3, 5)))]);
    assert_eq!(memory(&of).watch.unwrap().facts.len(), 3);
    let longer =
        vec![fact("w", "v2", 1, 3), fact("w", "v2", 2, 4), fact("w", "v2", 3, 9), fact("w", "v2", 4, 9)];
    assert_eq!(taken(&of, &items_of_watch(&start, longer)), 0);
    assert_eq!(taken(&of, &items_of_watch(&begun("later", "v2", 99), Vec::new())), 0);

    // Its own watch of another release stays the open one.
    assert_eq!(taken(&of, &items_of_watch(&begun("x", "v3", 99), Vec::new())), 2);
    assert_eq!(memory(&of).watch.unwrap().start, start);
}

#[test]
fn a_watch_that_is_too_long_is_left_out_whole() {
    let of = empty();
    let mut random = fastrand::Rng::with_seed(3);
    written(&of, [Write::Watch(Box::new(begun("w", "v2", 4)))]);
    for seq in 1..=500 {
        let pairs = (0..8000).map(|_| (random.u64(..1 << 40), random.u64(1..1 << 20))).collect();
        let mut kept = fact("w", "v2", seq, 1);
        let Fact::Tick(tick) = &mut kept.fact else { unreachable!() };
        tick.latencies = crate::engine::window::Latencies::new(pairs);
        written(&of, [Write::Fact(Box::new(kept))]);
    }
    assert!(memory(&of).watch.is_some());
    assert_eq!(exported(&of), []);
}

#[test]
fn no_more_is_taken_than_is_kept_and_than_is_looked_at() {
    let of = empty();
    let releases = (0..100).map(|n| item_of_release(&thought(&format!("v{n}"), n, n, Standing::OnTrial)));
    taken(&of, &releases.collect::<Vec<_>>());
    let kept = memory(&of).releases;
    assert_eq!((kept.len(), kept[0].release.as_str()), (64, "v99"));
    let many = vec![item_of_pause(1, None); store::ITEMS_MAX + 3];
    assert_eq!(import(&of, &many).unwrap().0.left_out, 3);
    let long = Item { kind: "pause".to_owned(), bytes: vec![0; store::ITEM_BYTES_MAX + 1] };
    assert_eq!(import(&of, &[long]).unwrap().0.damaged, 1);
}

#[test]
fn a_pause_of_the_second_schema_counts_from_when_it_began() {
    let connection = Connection::open_in_memory().unwrap();
    for step in &schema::MIGRATIONS[..2] {
        connection.execute_batch(step).unwrap();
    }
    connection.pragma_update(None, "user_version", 2).unwrap();
    let doc = rows::json(&PauseDoc::from(&Pause { since: at(50), ..by("ana") }));
    connection.execute("INSERT INTO pause (only, doc) VALUES (1, ?1)", [doc]).unwrap();
    let mut connection = connection;
    schema::migrate(&mut connection).unwrap();
    assert_eq!(memory(&connection).pause.unwrap().by, "ana");
    assert_eq!(taken(&connection, &[item_of_pause(49, None)]), 0);
    assert_eq!(taken(&connection, &[item_of_pause(51, None)]), 1);
    assert_eq!(memory(&connection).pause, None);
}

#[tokio::test]
async fn a_store_in_memory_hands_over_as_well() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    let imported = store.import(vec![item_of_pause(3, Some(&by("ana")))]).await.unwrap();
    assert_eq!(imported.memory.pause, Some(by("ana")));
    assert_eq!(store.export(Export::default()).await.unwrap(), [item_of_pause(3, Some(&by("ana")))]);
}
