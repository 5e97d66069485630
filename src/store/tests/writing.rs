//! Writing: what was acknowledged is there again, whatever came between.

use std::time::Duration;

use crate::engine::memory::{LastAct, Memory, OpenDecision, ReleaseMemory, Standing};
use crate::engine::peer::Deployment;
use crate::engine::record::{Happening, Progress, Record};
use crate::engine::time::Time;
use crate::store::tests::{
    baseline, open, pause, paused, ready, record, release, rollback, seen, settings, tick, write_all,
};
use crate::store::wire::RecordDoc;
use crate::store::{self, ReadError, Write, WriteError};

fn thought(name: &str, seen: u64) -> ReleaseMemory {
    ReleaseMemory {
        release: release(name),
        first_ready: Time::from_millis(1),
        last_seen: Time::from_millis(seen),
        standing: Standing::KnownGood,
        judged_for: Duration::from_secs(61),
        judged_requests: 1234,
        crashes: vec![Time::from_millis(3)],
        put_back_by: Some(ready(0).id),
        figures: Some(Box::new(baseline(name, 5).summary())),
        score: Some(0.9),
        deployments: Deployment::new(name).into_iter().collect(),
        schemas: [("pg".into(), "7".into())].into(),
    }
}

fn failed() -> Progress {
    Progress::Failed { at: Time::from_millis(8), reason: "refused".to_owned() }
}

fn interrupted() -> Progress {
    Progress::Interrupted { at: Time::from_millis(8), reason: "nobody can tell".to_owned() }
}

fn last_act(record: &Record) -> Option<LastAct> {
    let to = Some(release("v1"));
    Some(LastAct { id: record.id.clone(), at: record.at, from: release("v2"), to })
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(store.memory().await.unwrap(), Memory::default());
    let intent = rollback(7, Progress::Intended);
    let (old, new) = (baseline("v1", 10), baseline("v2", 30));
    let writes = [
        Write::Baseline(Box::new(new.clone())),
        Write::Baseline(Box::new(old.clone())),
        Write::Release(thought("v1", 10)),
        Write::Release(thought("v2", 20)),
        paused(Some(pause())),
        Write::Record(intent.clone()),
        seen("v1", 0, tick(0, 100)),
    ];
    write_all(&store, writes).await;
    store.close().await;

    let store = open(dir.path());
    let Happening::Decided(decided) = intent.what.clone() else { unreachable!() };
    let expected = Memory {
        baselines: vec![new, old],
        releases: vec![thought("v2", 20), thought("v1", 10)],
        open: Some(OpenDecision {
            id: intent.id.clone(),
            at: intent.at,
            from: release("v2"),
            decided: *decided,
        }),
        last_act: last_act(&intent),
        acts: vec![intent.at],
        lock: None,
        unverified: None,
        pause: Some(pause()),
        watch: None,
    };
    assert_eq!(store.memory().await.unwrap(), expected);
    let ticks = store.ticks(&release("v1"), Time::default(), Time::from_millis(u64::MAX), 10).await;
    assert_eq!(ticks.unwrap(), [tick(0, 100)]);
    write_all(&store, [paused(None)]).await;
    assert_eq!(store.memory().await.unwrap().pause, None);
    store.close().await;
}

#[tokio::test]
async fn a_decision_is_written_over_by_its_id() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    let accepted = Progress::Accepted { detail: "job 7".to_owned() };
    for (progress, open) in [(Progress::Intended, true), (accepted, true), (interrupted(), false)] {
        write_all(&store, [Write::Record(rollback(1, progress.clone()))]).await;
        let memory = store.memory().await.unwrap();
        assert_eq!(memory.open.is_some(), open, "{progress:?}");
        assert_eq!(memory.last_act, last_act(&rollback(1, progress.clone())));
        let records = store.records(10, None).await.unwrap();
        assert_eq!(records.len(), 1);
        let doc: RecordDoc = serde_json::from_value(records[0].clone()).unwrap();
        assert_eq!(Record::from(doc), rollback(1, progress));
    }
}

#[tokio::test]
async fn only_what_may_have_been_ordered_is_an_act() {
    let dry = Progress::DryRun { detail: "would".to_owned() };
    let succeeded = Progress::Succeeded { at: Time::from_millis(9), detail: String::new() };
    for (story, is_act) in [
        (vec![failed()], false),
        (vec![Progress::Intended, failed()], true),
        (vec![Progress::Intended, failed(), failed()], true),
        (vec![Progress::Intended, dry], false),
        (vec![Progress::Intended, succeeded], true),
        (vec![interrupted()], true),
        (vec![Progress::NothingToDo], false),
    ] {
        let store = store::in_memory(&settings("".as_ref())).unwrap();
        write_all(&store, story.iter().map(|p| Write::Record(rollback(1, p.clone())))).await;
        assert_eq!(store.memory().await.unwrap().last_act.is_some(), is_act, "{story:?}");
    }
}

#[tokio::test]
async fn records_are_paged_newest_first() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    write_all(&store, [3, 1, 4, 2, 0].map(|n| Write::Record(ready(n)))).await;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let page = store.records(2, before.take()).await.unwrap();
        seen.extend(page.iter().map(|r| r["at_ms"].as_u64().unwrap() - 1_763_848_800_000));
        let Some(last) = page.last() else { break };
        before = Some(serde_json::from_value::<RecordDoc>(last.clone()).unwrap().id.0);
    }
    assert_eq!(seen, [4, 3, 2, 1, 0]);
    assert!(store.records(2, Some(ready(77).id)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_record_is_found_by_the_beginning_of_its_id() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    let records = [record(0, 0x1234, Happening::Ready), record(0, 0x1299, Happening::Ready)];
    write_all(&store, records.clone().map(Write::Record)).await;
    let id = records[0].id.as_str();
    let found = |record: Option<serde_json::Value>| record.map(|r| r["id"].as_str().unwrap().to_owned());
    assert_eq!(found(store.record(id).await.unwrap()).as_deref(), Some(id));
    assert_eq!(found(store.record(&id[..12]).await.unwrap()).as_deref(), Some(id));
    assert!(matches!(store.record(&id[..11]).await, Err(ReadError::Ambiguous { .. })));
    assert_eq!(store.record(&id[..5]).await.unwrap(), None);
    assert_eq!(store.record("zzzzzzz").await.unwrap(), None);
    assert_eq!(store.record("").await.unwrap(), None);
}

#[tokio::test]
async fn ticks_are_read_by_release_and_time() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    write_all(&store, (0..10).map(|n| seen("v1", n, tick(n, 3)))).await;
    write_all(&store, [seen("v2", 4, tick(4, 3))]).await;
    let read = store.ticks(&release("v1"), tick(2, 0).from, tick(8, 0).from, 4).await.unwrap();
    assert_eq!(read, [4, 5, 6, 7].map(|n| tick(n, 3)));
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let other = store.clone();
    assert!(other.try_write(seen("v1", 0, tick(0, 3))));
    store.close().await;
    assert_eq!(other.status().written, 1);
    assert!(matches!(other.write(Write::Record(ready(0))).await, Err(WriteError::Closed)));
    assert!(matches!(other.memory().await, Err(ReadError::Closed)));
    assert!(!other.try_write(seen("v1", 0, tick(0, 3))));
    assert_eq!(other.status().dropped, 1);
    other.close().await;
    assert!(!dir.path().join("outrigger.db-wal").exists(), "the log was merged");
}

#[tokio::test]
async fn dropping_the_last_handle_writes_what_is_queued() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ended = store.jobs.clone();
    (0..100).for_each(|n| assert!(store.try_write(Write::Record(ready(n)))));
    let weak = ended.downgrade();
    drop((store, ended));
    // The lock falls when the thread has ended; until then opening is refused.
    let opened = (0..1_000_000).find_map(|_| {
        std::thread::yield_now();
        match store::open(&settings(dir.path())) {
            Ok(store) => Some(store),
            Err(error) => {
                assert!(matches!(error, store::OpenError::Locked { .. }), "{error:?}");
                None
            }
        }
    });
    let store = opened.expect("the thread ended");
    assert!(weak.upgrade().is_none());
    assert_eq!(store.records(1000, None).await.unwrap().len(), 100);
}
