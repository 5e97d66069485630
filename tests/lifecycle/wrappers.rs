//! Apps behind wrappers: the app gets its SIGTERM exactly once and ends as an app does, and nothing is left behind that
//! would hold the port.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::TcpSocket;

use crate::agent::{Place, eventually, processes, words};
use crate::app;

/// Starts the agent over `command`, asks it to end, and looks at what became of the app; the agent's exit code.
async fn ends_cleanly(command: &[OsString]) -> i32 {
    let place = Place::new();
    // Held, bound and not listening, so that the system gives it to nobody before the app listens there.
    let held = TcpSocket::new_v4().unwrap();
    held.set_reuseaddr(true).unwrap();
    held.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = held.local_addr().unwrap().port();
    let environment =
        [("OUTRIGGER__APP__PORT", port.to_string()), ("OUTRIGGER__APP__DRAIN", "60s".to_owned())];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut agent = place.start(command, &environment);
    agent.hear("app became ready").await;
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    let told = place.told();
    assert_eq!(told.iter().filter(|line| *line == "got TERM").count(), 1, "{told:?} {said:#?}");
    assert_eq!(told.last().unwrap(), "down", "it was not killed: {told:?} {said:#?}");
    assert_eq!(place.running(), [""; 0]);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    code
}

fn shell(script: &str) -> Vec<OsString> {
    words(["sh", "-c", script])
}

#[tokio::test]
async fn past_a_shell_that_waits_for_a_background_job() {
    ends_cleanly(&shell(&format!("{} & wait", app::shell_command()))).await;
}

#[tokio::test]
async fn past_a_shell_that_waits_in_the_foreground() {
    ends_cleanly(&shell(&format!("{}; echo never", app::shell_command()))).await;
}

#[tokio::test]
async fn past_a_shell_within_a_shell() {
    ends_cleanly(&shell(&format!("sh -c \"{}; true\"; true", app::shell_command()))).await;
}

#[tokio::test]
async fn out_of_the_group_and_the_session() {
    ends_cleanly(&shell(&format!("setsid {} & wait", app::shell_command()))).await;
}

#[tokio::test]
async fn a_script_with_a_trap_passes_it_on_itself() {
    let script =
        format!("{} & app=$!; trap 'kill -TERM $app' TERM; wait $app; wait $app", app::shell_command());
    assert_eq!(ends_cleanly(&shell(&script)).await, 7, "the script's code is the app's");
}

/// As npm does: it passes the signal on to its shell, which dies of it and leaves the server alone.
#[tokio::test]
async fn a_wrapper_that_passes_it_on_to_a_shell_only() {
    let inner = app::shell_command();
    let script = format!(
        "sh -c \"{inner}; true\" & shell=$!; trap 'kill -TERM $shell' TERM; wait $shell; wait $shell; exit 0"
    );
    ends_cleanly(&shell(&script)).await;
}

#[tokio::test]
async fn npm_and_npx_as_they_are() {
    let npm = tokio::process::Command::new("npm").arg("--version").output().await;
    if !npm.is_ok_and(|ran| ran.status.success()) {
        eprintln!("SKIPPED: npm is not installed here");
        return;
    }
    let package = tempfile::tempdir().unwrap();
    let script = app::shell_command();
    let text = serde_json::json!({ "name": "app", "version": "1.0.0", "scripts": { "start": script } });
    std::fs::write(package.path().join("package.json"), text.to_string()).unwrap();
    let folder = package.path().to_str().unwrap();
    ends_cleanly(&words(["npm", "--prefix", folder, "start"])).await;
    ends_cleanly(&words(["npx", "--offline", "-c", &script])).await;
}

#[tokio::test]
async fn a_server_whose_wrapper_was_killed_is_asked_to_end_too() {
    let place = Place::new();
    let script = format!("{} & wait", app::shell_command());
    let mut agent = place.start(&shell(&script), &[("OUTRIGGER__APP__DRAIN", "60s")]);
    agent.hear("app became ready").await;
    let wrapper = processes().find(|process| process.parent == agent.pid()).expect("the agent has a child");
    assert!(wrapper.command.starts_with("sh -c"), "{}", wrapper.command);
    kill(Pid::from_raw(wrapper.pid), Signal::SIGKILL).unwrap();
    agent.hear("the app left processes behind").await;
    let (code, said) = agent.ended().await;
    assert_eq!(code, 137, "{said:#?}");
    assert_eq!(place.told()[1..], ["got TERM", "down"]);
    assert_eq!(place.running(), [""; 0]);
}

#[tokio::test]
async fn what_does_not_heed_the_signal_is_killed_at_the_end_of_the_drain() {
    let place = Place::new();
    let deaf = "trap '' TERM; echo deaf >> $TOLD; while :; do sleep 1000; done";
    let script = format!("setsid sh -c \"{deaf}\" & sh -c \"{deaf}\" & {}", app::shell_command());
    let mut agent = place.start(&shell(&script), &[("OUTRIGGER__APP__DRAIN", "2s")]);
    agent.hear("app became ready").await;
    place.until("deaf", 2).await;
    agent.signal(Signal::SIGTERM);
    agent.hear("processes that the app left behind did not end in time").await;
    agent.ended().await;
    assert_eq!(place.count("down"), 1);
    eventually("nothing is left", || place.running().is_empty().then_some(())).await;
}
