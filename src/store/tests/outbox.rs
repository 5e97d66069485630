//! Alerts are queued with their records, once a key, and are there after a restart.

use super::*;
use crate::clock::Clock;
use crate::engine::alert::{Context, Severity};
use crate::engine::record::Lock;
use crate::store::{AlertStep, AlertWrite, Export, Outlets};

fn outlets() -> Outlets {
    let context = Context { service: "shop".to_owned(), ..Context::default() };
    Outlets {
        channels: vec!["webhook", "slack"],
        threshold: Severity::Medium,
        context,
        clock: Clock::start(),
    }
}

fn telling(dir: &Path) -> Store {
    let store = open(dir);
    store.tell_through(outlets());
    store
}

async fn waiting(store: &Store, channel: &'static str) -> Vec<String> {
    store.alerts_pending(channel).await.unwrap().into_iter().map(|it| it.alert.key).collect()
}

fn step(key: &str, channel: &str, step: AlertStep) -> Write {
    Write::Alert(AlertWrite { key: key.to_owned(), channel: channel.to_owned(), step })
}

/// A rollback that was decided just now, so that it is news to peers.
fn rollback_now() -> Record {
    let mut record = rollback(1, Progress::Intended);
    record.at = Clock::start().now();
    record
}

fn key(of: &Record) -> String {
    format!("rollback:{}:intended", of.id)
}

#[tokio::test]
async fn an_alert_is_queued_with_its_record_for_each_channel_and_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let record = rollback_now();
    let store = telling(dir.path());
    let queued = store.alerts_queued();
    store.write(Write::Record(record.clone())).await.unwrap();
    assert!(queued.has_changed().unwrap());
    store.write(step(&key(&record), "slack", AlertStep::Tried { next: Time::from_millis(7) })).await.unwrap();
    store.close().await;
    let store = telling(dir.path());
    assert_eq!(waiting(&store, "webhook").await, [key(&record)]);
    let slack = store.alerts_pending("slack").await.unwrap();
    assert_eq!((slack[0].attempts, slack[0].next, slack[0].own), (1, Time::from_millis(7), true));
}

#[tokio::test]
async fn the_same_again_is_queued_once_and_what_was_told_stays_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = telling(dir.path());
    let record = rollback_now();
    store.write(Write::Record(record.clone())).await.unwrap();
    let told = AlertStep::Told { at: Time::from_millis(9) };
    store.write(step(&key(&record), "webhook", told)).await.unwrap();
    store.write(step(&key(&record), "webhook", AlertStep::GivenUp)).await.unwrap();
    store.write(Write::Record(record.clone())).await.unwrap();
    assert_eq!(waiting(&store, "webhook").await, [""; 0]);
    assert_eq!(waiting(&store, "slack").await, [key(&record)]);
}

#[tokio::test]
async fn what_is_less_severe_than_the_threshold_or_told_nobody_is_not_queued() {
    let dir = tempfile::tempdir().unwrap();
    let store = telling(dir.path());
    let lock = Lock { by: "ana".to_owned(), reason: String::new(), since: Time::from_millis(1), until: None };
    store.write(Write::Record(record(1, 0, Happening::Locked(lock)))).await.unwrap();
    assert_eq!(store.alerts().await.unwrap(), []);
    store.close().await;
    let silent = open(dir.path());
    silent.write(Write::Record(rollback_now())).await.unwrap();
    assert_eq!(silent.alerts().await.unwrap(), []);
}

#[tokio::test]
async fn a_peers_record_is_told_if_it_is_news_and_nobody_has_told_it() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, peer) = (telling(here.path()), telling(there.path()));
    let (news, old) = (rollback_now(), rollback(0, Progress::Intended));
    for record in [&news, &old] {
        peer.write(Write::Record(record.clone())).await.unwrap();
    }
    let handed = peer.export(Export::default()).await.unwrap();
    store.import(handed.clone()).await.unwrap();
    assert_eq!(waiting(&store, "webhook").await, [key(&news)]);
    assert!(!store.alerts_pending("webhook").await.unwrap()[0].own);
    // The peer tells, and says so: by itself, and in what it hands over to one that knows nothing yet.
    let told = step(&key(&news), "webhook", AlertStep::Told { at: Time::from_millis(5) });
    peer.write(told.clone()).await.unwrap();
    store.import(vec![peer.export_one(&told).await.unwrap().unwrap()]).await.unwrap();
    assert_eq!(waiting(&store, "webhook").await, [""; 0]);
    assert_eq!(waiting(&store, "slack").await, [key(&news)]);
    let third = tempfile::tempdir().unwrap();
    let third = telling(third.path());
    third.import(peer.export(Export::default()).await.unwrap()).await.unwrap();
    assert_eq!(waiting(&third, "webhook").await, [""; 0]);
    // In which order it is told changes nothing.
    third.import(handed).await.unwrap();
    assert_eq!(waiting(&third, "webhook").await, [""; 0]);
}

#[tokio::test]
async fn beyond_the_bound_what_was_told_goes_first_and_what_waits_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = telling(dir.path());
    for n in 0..900 {
        let key = format!("old:{n}");
        store.try_write(step(&key, "webhook", AlertStep::Told { at: Time::from_millis(n) }));
        if n % 100 == 0 {
            store.write(ready_write(n)).await.unwrap();
        }
    }
    for n in 0..200 {
        let mut record = rollback(n, Progress::Intended);
        record.at = Clock::start().now();
        store.write(Write::Record(record)).await.unwrap();
    }
    for n in 0..300 {
        store.write(ready_write(10_000 + n)).await.unwrap();
    }
    let rows = store.alerts().await.unwrap();
    assert_eq!(rows.len(), 1000);
    assert_eq!(rows.iter().filter(|row| row.state == "pending").count(), 400);
    assert_eq!(store.alerts_dropped(), 0);
}

fn ready_write(n: u64) -> Write {
    Write::Record(ready(n))
}

#[tokio::test]
async fn a_lock_outlives_the_generation_that_locked() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, peer) = (telling(here.path()), telling(there.path()));
    let lock =
        Lock { by: "ana".to_owned(), reason: "freeze".to_owned(), since: Time::from_millis(1), until: None };
    peer.write(Write::Record(record(1, 0, Happening::Locked(lock.clone())))).await.unwrap();
    store.import(peer.export(Export::default()).await.unwrap()).await.unwrap();
    assert_eq!(store.memory().await.unwrap().lock, Some(lock));
}

#[tokio::test]
async fn a_lock_that_cannot_be_read_still_locks_until_it_is_lifted() {
    let folder = tempfile::tempdir().unwrap();
    let store = telling(folder.path());
    let lock =
        Lock { by: "ana".to_owned(), reason: "freeze".to_owned(), since: Time::default(), until: None };
    store.write(Write::Record(record(1, 0, Happening::Locked(lock)))).await.unwrap();
    let file = Connection::open(folder.path().join(DATABASE_FILE)).unwrap();
    file.execute("UPDATE records SET doc = '{' WHERE kind = 'locked'", []).unwrap();
    let read = store.memory().await.unwrap().lock;
    assert_eq!(read.map(|lock| lock.reason).as_deref(), Some("the stored lock is damaged"));
    let lifted = Happening::Unlocked { by: "bo".to_owned() };
    store.write(Write::Record(record(2, 0, lifted))).await.unwrap();
    assert_eq!(store.memory().await.unwrap().lock, None);
}
