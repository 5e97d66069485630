//! Apps that cannot be started or that end: the exit code is what a shell would say.

use nix::sys::signal::Signal;

use crate::agent::{Place, text};

#[tokio::test]
async fn without_a_command_and_without_an_upstream_there_is_nothing_to_do() {
    let ended = Place::new().agent(&[]).await;
    ended.says(64, &["after `--`", "--upstream", "app.upstream"]);
}

#[tokio::test]
async fn a_command_and_an_upstream_together_are_refused() {
    let place = Place::new();
    let ended = place.agent(&["--upstream", "http://127.0.0.1:9", "--", "touch", "ran"]).await;
    ended.says(64, &["app.upstream", "--upstream", "leave one of them out"]);
    assert!(!place.path("ran").exists());
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_127() {
    let ended = Place::new().agent(&["--", "no-such-program"]).await;
    ended.says(127, &["`no-such-program` was not found", "PATH"]);
}

#[tokio::test]
async fn a_command_that_may_not_be_executed_is_126() {
    let place = Place::new();
    let script = place.write("server.sh", "#!/bin/sh\n");
    let ended = place.agent(&["--", text(&script)]).await;
    ended.says(126, &["server.sh", "permission to execute"]);
}

#[tokio::test]
async fn the_apps_exit_code_is_passed_on() {
    let place = Place::new();
    place.agent(&["--", "sh", "-c", "exit 7"]).await.says(7, &["\"code\":7"]);
    place.agent(&["--", "true"]).await.says(0, &[]);
    place.agent(&["--", "sh", "-c", "kill -KILL $$"]).await.says(137, &["app ended unexpectedly"]);
    place.agent(&["--", "sh", "-c", "kill -SEGV $$"]).await.says(139, &[]);
}

/// An app that says when its trap is set, and then waits.
fn app(trap: &str) -> [&str; 4] {
    ["--", "sh", "-c", trap]
}

#[tokio::test]
async fn after_sigterm_the_code_is_the_apps_own() {
    let place = Place::new();
    let mut agent = place.start(&app("trap 'exit 5' TERM; echo trapped >&2; sleep 1000 & wait"), &[]);
    agent.hear("trapped").await;
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 5, "{said:?}");
}

#[tokio::test]
async fn after_sigterm_an_app_without_a_handler_is_143() {
    let place = Place::new();
    let mut agent = place.start(&app("echo begun >&2; exec sleep 1000"), &[]);
    agent.hear("begun").await;
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 143);
}

#[tokio::test]
async fn an_app_that_does_not_heed_sigterm_is_killed_and_named() {
    let place = Place::new();
    let stubborn = app("trap '' TERM; echo deaf >&2; sleep 1000");
    let mut agent = place.start(&stubborn, &[("OUTRIGGER__APP__DRAIN", "1s")]);
    agent.hear("deaf").await;
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 137, "{said:?}");
    assert!(said.iter().any(|line| line.contains("did not end in time")), "{said:?}");
}
