//! Opening: what is refused, by name, and what is left as it was.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::engine::record::Progress;
use crate::store::tests::{
    baseline, beside, open, pause, paused, ready, rollback, seen, settings, tick, write_all,
};
use crate::store::{self, DATABASE_FILE, OpenError, Write};

/// The database and its log; not the lock, which names its last holder, and no log that is empty.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name.starts_with(DATABASE_FILE) && !name.ends_with("-shm"))
        .filter(|(_, bytes)| !bytes.is_empty())
        .collect();
    files.sort();
    files
}

async fn filled(dir: &Path) {
    let store = open(dir);
    write_all(&store, (0..200).map(|n| Write::Record(rollback(n, Progress::NothingToDo)))).await;
    write_all(&store, (0..200).map(|n| seen("v1", n, tick(n, 100)))).await;
    store.close().await;
}

fn damage(dir: &Path, offset: u64, length: usize) {
    let mut file = std::fs::File::options().write(true).open(dir.join(DATABASE_FILE)).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(&vec![0xa5; length]).unwrap();
}

fn refused_as_corrupt(dir: &Path) {
    let before = files(dir);
    let error = store::open(&settings(dir)).unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(DATABASE_FILE) && text.contains("move it away"), "{text}");
    assert!(files(dir) == before, "the damaged database was touched");
}

#[tokio::test]
async fn a_second_agent_is_refused_and_told_who_holds_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = store::open(&settings(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    first.close().await;
    open(dir.path()).close().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    damage(dir.path(), 0, 64);
    refused_as_corrupt(dir.path());
}

#[tokio::test]
async fn a_database_damaged_in_its_middle_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let pages = std::fs::metadata(dir.path().join(DATABASE_FILE)).unwrap().len() / 4096;
    for page in pages / 3..pages / 2 {
        damage(dir.path(), page * 4096, 64);
    }
    refused_as_corrupt(dir.path());
}

#[tokio::test]
async fn a_damaged_database_keeps_the_log_that_a_crash_left() {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(dir.path()).await;
    let store = open(dir.path());
    write_all(&store, [Write::Record(ready(1000))]).await;
    for (name, bytes) in files(dir.path()) {
        std::fs::write(crashed.path().join(name), bytes).unwrap();
    }
    store.close().await;
    let pages = std::fs::metadata(crashed.path().join(DATABASE_FILE)).unwrap().len() / 4096;
    for page in pages / 3..pages / 2 {
        damage(crashed.path(), page * 4096, 64);
    }
    assert_eq!(files(crashed.path()).len(), 2, "a database and its log");
    refused_as_corrupt(crashed.path());
}

#[tokio::test]
async fn a_database_of_a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    beside(dir.path()).pragma_update(None, "user_version", 99).unwrap();
    let before = files(dir.path());
    let error = store::open(&settings(dir.path())).unwrap_err();
    assert!(matches!(error, OpenError::NewerSchema { found: 99, .. }), "{error:?}");
    assert!(!error.is_corrupt());
    assert!(files(dir.path()) == before, "the newer database was touched");
}

#[test]
fn a_directory_that_cannot_be_made_or_written_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("data");
    let error = store::open(&settings(&below)).unwrap_err();
    assert!(matches!(error, OpenError::CreateDir { .. }), "{error:?}");
    assert!(error.to_string().contains(below.to_str().unwrap()), "{error}");
    assert!(!error.is_corrupt());

    // Root may write anywhere but where something else is: here the lock is a directory.
    std::fs::create_dir_all(dir.path().join("data/lock")).unwrap();
    let error = store::open(&settings(&dir.path().join("data"))).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_damaged_baseline_is_passed_over_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_all(&store, ["v1", "v2", "v3"].map(|v| Write::Baseline(Box::new(baseline(v, 20))))).await;
    beside(dir.path())
        .execute_batch(
            "UPDATE baselines SET failed = failed + 1 WHERE release = 'v1';
             UPDATE baselines SET latency = x'1c849314' WHERE release = 'v3';",
        )
        .unwrap();
    assert_eq!(store.memory().await.unwrap().baselines, [baseline("v2", 20)]);
    assert_eq!(store.status().damaged, 2);
    store.close().await;
}

#[tokio::test]
async fn a_damaged_brake_still_brakes_and_a_damaged_act_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let act = rollback(1, Progress::Intended);
    write_all(&store, [paused(Some(pause())), Write::Record(act.clone())]).await;
    beside(dir.path())
        .execute_batch("UPDATE pause SET doc = CAST(x'7bff' AS TEXT); UPDATE records SET doc = '{';")
        .unwrap();
    let memory = store.memory().await.unwrap();
    assert_eq!(memory.pause.unwrap().until, None);
    assert_eq!(memory.open, None);
    assert_eq!(memory.last_act.unwrap().id, act.id);
    assert_eq!(store.records(10, None).await.unwrap()[0]["damaged"], true);
    assert_eq!(store.status().damaged, 2);
    store.close().await;
}
