//! The agent as PID 1 of a new pid namespace, as in a container.

use std::ffi::OsString;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::{Agent, Place, ask, eventually, processes, rest, words};
use crate::app;

/// The words that make the agent PID 1; `None`, and a word about it, where that is not permitted.
async fn namespace() -> Option<Vec<OsString>> {
    let before = words(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]);
    let tried = tokio::process::Command::new(&before[0]).args(&before[1..]).arg("true").output().await;
    if tried.is_ok_and(|tried| tried.status.success()) {
        return Some(before);
    }
    eprintln!("SKIPPED: a new pid namespace needs `unshare` and root");
    None
}

/// The agent's pid as it is seen from here.
async fn outside(agent: &Agent) -> i32 {
    let child = || processes().find(|process| process.parent == agent.pid()).map(|process| process.pid);
    eventually("the agent is in its namespace", child).await
}

#[tokio::test]
async fn it_is_ended_in_time_and_passes_the_code_on() {
    let Some(before) = namespace().await else { return };
    let place = Place::new();
    let mut agent = place.start_behind(&before, &app::command(), &[]);
    agent.hear("app became ready").await;
    for (signal, name) in [(Signal::SIGHUP, "HUP"), (Signal::SIGUSR1, "USR1"), (Signal::SIGUSR2, "USR2")] {
        kill(Pid::from_raw(outside(&agent).await), signal).unwrap();
        place.until(&format!("got {name}"), 1).await;
    }
    kill(Pid::from_raw(outside(&agent).await), Signal::SIGTERM).unwrap();
    let (code, said) = agent.ended().await;
    assert_eq!(code, 7, "{said:#?}");
    assert_eq!(place.count("got TERM"), 1);
    assert!(!said.iter().any(|line| line.contains("killed")), "{said:#?}");
}

#[tokio::test]
async fn orphans_are_reaped_while_the_app_runs_and_during_a_drain() {
    const ORPHANS: usize = 50;
    let Some(before) = namespace().await else { return };
    let place = Place::new();
    let make =
        format!("i=0; while [ $i -lt {ORPHANS} ]; do ( (exit 9) & ); i=$((i+1)); done; echo made >> told");
    let script = format!(
        "({make}); trap '({make})' TERM; {} & while ! wait; do :; done; sleep 1",
        app::shell_command()
    );
    let environment = [("OUTRIGGER__LOG__FILTER", "debug"), ("OUTRIGGER__APP__DRAIN", "60s")];
    let mut agent = place.start_behind(&before, &words(["sh", "-c", &script]), &environment);
    agent.hear("app became ready").await;
    place.until("made", 1).await;
    let pid = outside(&agent).await;
    let zombies = || processes().filter(|process| process.parent == pid && process.zombie).count();
    eventually("no zombie is left", || (zombies() == 0).then_some(())).await;
    let app = || {
        processes()
            .find(|process| process.command.contains("app::serve") && !process.command.contains("sh -c"))
    };
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    place.until("made", 2).await;
    eventually("no zombie is left during the drain", || (zombies() == 0).then_some(())).await;
    // The script passed nothing on: its server is ended by hand.
    if let Some(app) = app() {
        kill(Pid::from_raw(app.pid), Signal::SIGTERM).unwrap();
    }
    let (_, said) = agent.ended().await;
    let reaped = said
        .iter()
        .filter_map(|line| line.split_once("\"reaped\":")?.1.split(['}', ',']).next()?.parse::<usize>().ok());
    assert!(reaped.sum::<usize>() >= 2 * ORPHANS, "{said:#?}");
}

#[tokio::test]
async fn a_second_signal_skips_to_the_cut() {
    let Some(before) = namespace().await else { return };
    let place = Place::new();
    // Far more than this test waits: only the second signal can end it.
    let mut agent = place.start_behind(&before, &app::command(), &[("OUTRIGGER__APP__DRAIN", "1h")]);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    let mut never = ask(public, "/never", "").await;
    place.until("asked for /never", 1).await;
    let pid = Pid::from_raw(outside(&agent).await);
    kill(pid, Signal::SIGTERM).unwrap();
    agent.hear("draining").await;
    kill(pid, Signal::SIGTERM).unwrap();
    let (answer, _) = rest(&mut never).await;
    assert_eq!(answer, "");
    assert!(matches!(agent.ended().await.0, 7 | 137));
}
