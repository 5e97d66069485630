//! Programs of the operator's, which may do anything.

use std::time::Duration;

use outrigger::config::probes::{Ask, Command, Probe};
use outrigger::engine::health::{FactValue, Health, ProbeState};

use crate::asked::{Asked, fact, number, why};
use crate::http::at_once;
use crate::http::place::{here, run_in};
use crate::server::eventually;

fn program(words: &[&str]) -> Probe {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Probe { timeout: Duration::from_secs(5), ..at_once(Ask::Command(Command { words })) }
}

fn script(text: &str) -> Probe {
    program(&["/bin/sh", "-c", text])
}

async fn round(probe: Probe) -> std::sync::Arc<ProbeState> {
    Asked::start(probe).until("it was asked", |state| state.last.is_some()).await
}

/// Processes, dead ones too, whose parent is this one or whose command line holds `marker`.
fn left(marker: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let words = std::fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
        (parent == own || words.contains(marker)).then_some(stat)
    });
    all.collect()
}

async fn until_nothing_is_left(marker: &str) {
    eventually("nothing is left", async || left(marker).is_empty().then_some(())).await;
}

/// A time to sleep that no other process sleeps.
fn marker() -> String {
    format!("600.{}", fastrand::u32(..))
}

#[tokio::test]
async fn the_exit_code_is_the_answer() {
    let state = round(script("echo 3 jobs wait; echo; echo more")).await;
    assert_eq!(state.health, Health::Ok);
    assert_eq!(fact(&state, "output"), &FactValue::Text("3 jobs wait".to_owned()));
    assert_eq!(number(&state, "exit_code"), 0.0);
    let cases = [
        (
            "echo 300 jobs wait; exit 1",
            Health::Degraded,
            "`sh` ended with code 1, which says degraded: 300 jobs wait",
        ),
        (
            "echo the queue is gone >&2; exit 2",
            Health::Failed,
            "`sh` ended with code 2, which says failed: the queue is gone",
        ),
        ("exit 2", Health::Failed, "`sh` ended with code 2, which says failed"),
        ("exit 3", Health::Unknown, "`sh` ended with code 3, which says that it cannot tell"),
        ("kill -9 $$", Health::Unknown, "`sh` was ended by SIGKILL, so it could not tell"),
        ("cat; exit 2", Health::Failed, "`sh` ended with code 2, which says failed"),
    ];
    for (text, health, words) in cases {
        let state = round(script(text)).await;
        assert_eq!((state.health, why(&state)), (health, words), "{text}");
    }
    for (program_name, words) in [
        (
            "/nowhere/check",
            "the program `/nowhere/check` could not be started: No such file or directory (os error 2)",
        ),
        ("/etc/passwd", "the program `/etc/passwd` could not be started: Permission denied (os error 13)"),
    ] {
        let state = round(program(&[program_name, "hunter2"])).await;
        assert_eq!((state.health, why(&state)), (Health::Unknown, words));
    }
    until_nothing_is_left("no marker").await;
}

#[tokio::test]
async fn a_program_that_hangs_is_killed_with_all_that_it_started() {
    let marker = marker();
    let hangs = script(&format!("trap '' TERM; sleep {marker} & sleep {marker}; wait"));
    let asked = Asked::start(Probe { timeout: Duration::from_millis(500), ..hangs });
    let state = asked.until_health(Health::Failed).await;
    assert_eq!(why(&state), "the end of the program `sh` did not come within 500ms");
    asked.until("it was asked again", |state| state.failed_in_a_row() >= 2).await;
    assert!(left(&marker).len() <= 3, "one run at a time: {:#?}", left(&marker));
    drop(asked);
    until_nothing_is_left(&marker).await;
}

#[tokio::test]
async fn nothing_stays_behind_in_the_background() {
    let marker = marker();
    let asked = Asked::start(script(&format!("sleep {marker} & exit 0")));
    asked.until_health(Health::Ok).await;
    drop(asked);
    until_nothing_is_left(&marker).await;
    // Who leaves the group is not followed, but holds nobody up.
    let asked = Asked::start(Probe {
        failed_above: Some(Duration::from_secs(2)),
        ..script("setsid sleep 3 & exit 0")
    });
    asked.until_health(Health::Ok).await;
}

#[tokio::test]
async fn what_is_written_without_end_is_cut() {
    let state =
        round(script("head -c 10000000 /dev/zero | tr '\\0' x; head -c 10000000 /dev/zero >&2")).await;
    assert_eq!(state.health, Health::Ok, "{}", why(&state));
    let FactValue::Text(output) = fact(&state, "output") else { panic!("no text") };
    assert!(output.len() < 310 && output.starts_with("xxx"), "{output}");
}

#[tokio::test]
async fn it_gets_our_environment_without_what_is_ours() {
    if here().is_none() {
        let before = [
            "env",
            "OUTRIGGER_TOKEN=hunter2",
            "RAILWAY_TOKEN=hunter2",
            "RAILWAY_API_TOKEN=hunter2",
            "KEPT=yes",
        ];
        let name = "http::command::it_gets_our_environment_without_what_is_ours";
        return run_in(&before.map(AsRef::as_ref), "tokens", name).await;
    }
    let state = round(script("env | grep -q hunter2 && exit 2; echo $KEPT")).await;
    assert_eq!(state.health, Health::Ok, "{}", why(&state));
    assert_eq!(fact(&state, "output"), &FactValue::Text("yes".to_owned()));
}
