//! What happens at the store's bounds: a full disk, a full queue, pruning.

use std::time::Duration;

use crate::config;
use crate::engine::memory::BASELINES_MAX;
use crate::engine::record::Progress;
use crate::engine::time::Time;
use crate::store::prune::PRUNE_EVERY;
use crate::store::tests::{
    baseline, beside, open, ready, release, rollback, seen, settings, tick, write_all,
};
use crate::store::{self, QUEUE_MAX, Store, Write, clone_store};

/// Runs `sql` on the store's own connection.
async fn pragma(store: &Store, sql: &'static str) {
    store.ask(move |connection, _| connection.query_row(sql, [], |_| Ok(()))).await.unwrap();
}

async fn count(store: &Store, sql: &'static str) -> u64 {
    store.ask(move |connection, _| connection.query_row(sql, [], |row| row.get::<_, i64>(0))).await.unwrap()
        as u64
}

#[tokio::test]
async fn a_full_disk_fails_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_all(&store, (0..10).map(|n| Write::Record(rollback(n, Progress::NothingToDo)))).await;
    // SQLite raises a lower figure to the present size.
    pragma(&store, "PRAGMA max_page_count = 1").await;
    let mut acknowledged = 10;
    let error = loop {
        match store.write(Write::Record(rollback(acknowledged, Progress::Intended))).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1000, "the disk never became full");
    };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("full"), "{source}");
    let status = store.status();
    assert_eq!((status.written, status.failed), (acknowledged, 1));
    assert!(status.last_error.unwrap().contains("full"));
    assert_eq!(store.records(1000, None).await.unwrap().len() as u64, acknowledged);

    pragma(&store, "PRAGMA max_page_count = 1000000").await;
    write_all(&store, [Write::Record(rollback(5000, Progress::Intended))]).await;
    assert_eq!(store.status().last_error, None);
    store.close().await;
    let store = open(dir.path());
    assert_eq!(store.records(1000, None).await.unwrap().len() as u64, acknowledged + 1);
}

#[tokio::test]
async fn a_full_queue_drops_what_may_be_lost_and_keeps_what_may_not() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    // Hold the thread, so that the queue fills.
    let (release_thread, held) = std::sync::mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let holder = store.clone();
    let holding = tokio::spawn(async move {
        holder
            .ask(move |_, _| {
                let _ = started.send(());
                let _ = held.recv();
                Ok(())
            })
            .await
    });
    running.await.unwrap();
    for n in 0..QUEUE_MAX as u64 {
        assert!(store.try_write(seen("v1", n, tick(n, 1))));
    }
    assert!(!store.try_write(seen("v1", 0, tick(0, 1))));
    assert_eq!(store.status().dropped, 1);
    let writer = store.clone();
    let waiting = tokio::spawn(async move { writer.write(Write::Record(ready(1))).await });
    release_thread.send(()).unwrap();
    waiting.await.unwrap().unwrap();
    holding.await.unwrap().unwrap();
    assert_eq!(store.status().written, QUEUE_MAX as u64 + 1);
    let ticks =
        store.ticks(&release("v1"), Time::default(), Time::from_millis(u64::MAX), 5000).await.unwrap();
    assert!(ticks.is_sorted_by_key(|t| t.from), "the order was kept");
}

#[tokio::test]
async fn pruning_keeps_the_newest_the_open_decision_and_the_last_act() {
    let bounded = config::Store { evidence_max: 300, records_max: 100, ..settings("".as_ref()) };
    let store = store::in_memory(&bounded).unwrap();
    let older = rollback(0, Progress::Succeeded { at: Time::from_millis(1), detail: String::new() });
    let open = rollback(1, Progress::Intended);
    let act = rollback(2, Progress::Interrupted { at: Time::from_millis(1), reason: String::new() });
    write_all(&store, [&older, &open, &act].map(|r| Write::Record(r.clone()))).await;
    write_all(&store, (0..2000).map(|n| Write::Record(ready(1000 + n)))).await;
    write_all(&store, (0..2000).map(|n| seen("v1", n, tick(n, 1)))).await;
    let records = count(&store, "SELECT count(*) FROM records").await;
    let ticks = count(&store, "SELECT count(*) FROM evidence").await;
    assert!((100..=100 + PRUNE_EVERY).contains(&records), "{records}");
    assert!((300..=300 + PRUNE_EVERY).contains(&ticks), "{ticks}");
    let memory = store.memory().await.unwrap();
    assert_eq!(memory.open.unwrap().id, open.id);
    assert_eq!(memory.last_act.unwrap().id, act.id);
    assert_eq!(store.record(older.id.as_str()).await.unwrap(), None);
    let newest = store.ticks(&release("v1"), Time::default(), Time::from_millis(u64::MAX), 1).await.unwrap();
    assert_eq!(newest, [tick(1999, 1)]);
}

#[tokio::test]
async fn only_the_newest_baselines_are_kept() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    for n in 0..BASELINES_MAX as u64 + 3 {
        write_all(&store, [Write::Baseline(Box::new(baseline(&format!("v{n}"), n + 1)))]).await;
    }
    let kept: Vec<_> = store.memory().await.unwrap().baselines.into_iter().map(|b| b.release).collect();
    let expected: Vec<_> = (3..BASELINES_MAX as u64 + 3).rev().map(|n| release(&format!("v{n}"))).collect();
    assert_eq!(kept, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_of_a_store_under_writes_is_whole() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(dir.path());
    // Each record is written with a tick in order before it, so a whole copy never holds more records than ticks.
    let writer = store.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut n = 0;
        while stopped.try_recv() == Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
            writer.write(seen("v1", n, tick(n, 100))).await.unwrap();
            writer.write(Write::Record(ready(n))).await.unwrap();
            n += 1;
        }
        n
    });
    let mut last = 0;
    for round in 0..5 {
        let progress = async {
            while store.status().written < last + 20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), progress).await.unwrap();
        let acknowledged = store.status().written;
        let copy = to.path().join(round.to_string());
        clone_store(dir.path(), &copy).unwrap();
        let fault: String = beside(&copy).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(fault, "ok");
        let copied = open(&copy);
        let records = count(&copied, "SELECT count(*) FROM records").await;
        let ticks = count(&copied, "SELECT count(*) FROM evidence").await;
        assert!(records + ticks >= acknowledged, "{records} {ticks} {acknowledged}");
        assert!(ticks == records || ticks == records + 1, "{records} {ticks}");
        assert!(matches!(clone_store(dir.path(), &copy), Err(store::CloneError::Exists { .. })));
        last = store.status().written;
        copied.close().await;
    }
    stop.send(()).unwrap();
    assert!(writing.await.unwrap() > 0);
    store.close().await;
}

#[test]
fn a_clone_of_nothing_fails() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    assert!(matches!(clone_store(dir.path(), to.path()), Err(store::CloneError::Read { .. })));
    assert_eq!(std::fs::read_dir(to.path()).unwrap().count(), 0);
}

/// Prints what the module's doc says of the size. Run by hand:
/// `cargo test --lib store::tests::limits::two_days -- --ignored --nocapture`
#[tokio::test]
#[ignore = "measures, asserts little"]
async fn two_days_of_evidence_measured() {
    const TWO_DAYS: u64 = 48 * 3600 / 5;
    let dir = tempfile::tempdir().unwrap();
    let store = store::open(&config::Store { evidence_max: TWO_DAYS, ..settings(dir.path()) }).unwrap();
    for start in (0..TWO_DAYS).step_by(64) {
        let writes = (start..(start + 64).min(TWO_DAYS)).map(|n| store.write(seen("v1", n, tick(n, 200))));
        futures_util::future::try_join_all(writes).await.unwrap();
        if start < 20_000 && start + 64 >= 20_000 {
            println!("after 20,000 ticks: {} bytes", store.status().size_bytes);
        }
    }
    println!("after {TWO_DAYS} ticks: {} bytes", store.status().size_bytes);
    store.close().await;
    let clock = crate::clock::Clock::start();
    let store = open(dir.path());
    println!("after a restart: {} bytes; opened in {:?}", store.status().size_bytes, clock.uptime());
    assert!(store.status().size_bytes < 100_000_000);
}
