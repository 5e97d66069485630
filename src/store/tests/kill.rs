//! `kill -9` at a random moment: what was acknowledged is there, and the database is whole.
//!
//! The writer is this test binary itself, started again with one ignored test as its only one and the directory as
//! its working directory. (A process's death does not empty the kernel's page cache, so this proves the order of
//! commit and acknowledgement and the log's recovery, not the sync of the disk.)

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::engine::record::{Happening, Progress};
use crate::store::tests::{baseline, beside, open, record, rollback, seen, tick};
use crate::store::{Store, Write};

const ROUNDS: u16 = 20;
/// The child ends by itself after so many writes, should nobody kill it.
const WRITES_MAX: u64 = 20_000;
/// Holds the round's number; without it the child does nothing, should someone run all ignored tests.
const ROUND_FILE: &str = "round";

#[test]
#[ignore = "the child of the test below"]
fn child_that_writes() {
    let Ok(round) = std::fs::read_to_string(ROUND_FILE) else { return };
    let round: u16 = round.trim().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let store = open(Path::new("."));
    let writers = (0..4).map(|lane| runtime.spawn(write_lane(store.clone(), round, lane)));
    for writer in writers.collect::<Vec<_>>() {
        runtime.block_on(writer).unwrap();
    }
}

async fn write_lane(store: Store, round: u16, lane: u64) {
    for n in 0..WRITES_MAX / 4 {
        let ms = u64::from(round) * 1_000_000 + n * 4 + lane;
        store.try_write(seen("v1", n, tick(n, 100)));
        if n % 16 == 0 {
            store.try_write(Write::Baseline(Box::new(baseline("v1", 3))));
        }
        let first =
            if n % 2 == 0 { rollback(ms, Progress::Intended) } else { record(ms, 0, Happening::Ready) };
        let id = first.id.clone();
        store.write(Write::Record(first)).await.unwrap();
        say(&format!("ack {id} first"));
        if n % 2 == 0 {
            let done = rollback(ms, Progress::Accepted { detail: "taken".to_owned() });
            store.write(Write::Record(done)).await.unwrap();
            say(&format!("ack {id} accepted"));
        }
    }
}

fn say(line: &str) {
    // One write a line, and a line end before it: the test harness prints too.
    let text = format!("\n{line}\n");
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).unwrap();
}

/// Runs the child until it has acknowledged some writes, kills it, and returns all that it acknowledged.
fn run_and_kill(dir: &Path, round: u16, random: &mut fastrand::Rng) -> Vec<(String, String)> {
    std::fs::write(dir.join(ROUND_FILE), round.to_string()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "store::tests::kill::child_that_writes", "--nocapture"])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let wanted = random.usize(1..120);
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    while out.read_line(&mut line).unwrap() > 0 {
        // A line without its end was cut off by the kill: it was not said.
        if let Some(rest) = line.strip_prefix("ack ").and_then(|l| l.strip_suffix('\n')) {
            let (id, progress) = rest.split_once(' ').unwrap();
            acknowledged.push((id.to_owned(), progress.to_owned()));
        }
        if acknowledged.len() >= wanted && !killed {
            (0..random.u32(0..2000)).for_each(|_| std::thread::yield_now());
            child.kill().unwrap();
            killed = true;
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert!(killed, "the child ended by itself: {status}");
    acknowledged
}

#[test]
fn after_kill_9_every_acknowledged_record_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(9);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut acknowledged = HashSet::new();
    for round in 0..ROUNDS {
        acknowledged.extend(run_and_kill(dir.path(), round, &mut random));

        let store = open(dir.path());
        let memory = runtime.block_on(store.memory()).unwrap();
        assert_eq!(store.status().damaged, 0);
        assert!(memory.last_act.is_some());
        for (id, progress) in &acknowledged {
            let found = runtime.block_on(store.record(id)).unwrap();
            let found = found.unwrap_or_else(|| panic!("round {round}: {id} was acknowledged and is lost"));
            if progress == "accepted" {
                assert_eq!(found["progress"]["progress"], "accepted", "round {round}: {id}");
            }
        }
        runtime.block_on(store.close());
        let whole: String =
            beside(dir.path()).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok", "round {round}");
    }
    assert!(acknowledged.len() >= usize::from(ROUNDS) * 10, "only {}", acknowledged.len());
}
