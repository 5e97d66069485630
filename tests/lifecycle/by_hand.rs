//! What people and pipelines ask of a running agent: the lock, the gate, a rollback.

use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::process::Command;

use crate::agent::{Place, get, soon};
use crate::app;

const TOKEN: &str = "a-token-of-the-admin-port";

/// A command to its end: its code, and all that it printed.
async fn run(place: &Place, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments).current_dir(place.path("")).env_clear().env("OUTRIGGER_TOKEN", TOKEN);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = soon("the command's end", command.output()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_lock_shuts_the_gate_over_a_restart_until_somebody_unlocks() {
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[("OUTRIGGER_TOKEN", TOKEN)]);
    let (_, admin) = agent.listening().await;
    agent.hear("app became ready").await;
    let url = format!("http://{admin}");
    let (code, said) = run(&place, &["gate", "--data", "data"]).await;
    assert_eq!((code, said.contains("Open")), (0, true), "{said}");
    let (code, said) =
        run(&place, &["lock", "--data", "data", "--by", "ana", "--reason", "schema change", "--for", "2h"])
            .await;
    assert_eq!((code, said.contains("locked until")), (0, true), "{said}");
    let (code, said) = run(&place, &["gate", "--url", &url, "--wait", "1ms"]).await;
    assert_eq!(
        (code, said.contains("Locked by ana") && said.contains("schema change")),
        (75, true),
        "{said}"
    );
    assert!(get(admin, "/api/gate").await.starts_with("HTTP/1.1 423 "));
    assert!(get(admin, "/metrics").await.contains("\noutrigger_deployments_locked 1\n"));
    agent.signal(Signal::SIGKILL);
    agent.ended().await;

    let mut agent = place.start(&app::command(), &[("OUTRIGGER_TOKEN", TOKEN)]);
    let (_, admin) = agent.listening().await;
    let url = format!("http://{admin}");
    agent.hear("app became ready").await;
    assert_eq!(run(&place, &["gate", "--data", "data", "--json"]).await.0, 75, "a lock survives the agent");
    let (code, said) = run(&place, &["unlock", "--url", &url, "--by", "ben"]).await;
    assert_eq!((code, said.contains("Deployments are unlocked")), (0, true), "{said}");
    let (code, said) = run(&place, &["unlock", "--data", "data"]).await;
    assert_eq!((code, said.contains("were not locked")), (0, true), "{said}");
    assert_eq!(run(&place, &["gate", "--url", &url]).await.0, 0);
    let (_, said) = run(&place, &["history", "--data", "data"]).await;
    assert!(
        said.contains("ana locked deployments until") && said.contains("ben unlocked deployments"),
        "{said}"
    );
    agent.signal(Signal::SIGTERM);
    agent.ended().await;
    let (code, said) = run(&place, &["gate", "--url", &url]).await;
    assert_eq!((code, said.contains("no agent answers")), (1, true), "{said}");
    assert!(!said.contains(TOKEN));
}

#[tokio::test]
async fn a_person_puts_a_known_good_release_back_sees_each_step_and_finds_deployments_locked() {
    let place = Place::new();
    let short = [
        ("OUTRIGGER__JUDGE__WATCH", "5s"),
        ("OUTRIGGER__JUDGE__WATCH_MAX", "5s"),
        ("OUTRIGGER__JUDGE__WARM_UP", "0s"),
    ];
    let named = |release| [&short[..], &[("OUTRIGGER__SERVICE__RELEASE", release)]].concat();
    let mut agent = place.start(&app::command(), &named("v1"));
    agent.hear("watch passed, the release is known good").await;
    agent.signal(Signal::SIGTERM);
    agent.ended().await;
    let called = place.path("called");
    let roll_back = format!(r#"["sh", "-c", "echo called >> {}"]"#, called.display());
    let platform = [
        ("OUTRIGGER__PLATFORM__KIND", "command"),
        ("OUTRIGGER__PLATFORM__ROLL_BACK", roll_back.as_str()),
        ("OUTRIGGER__PLATFORM__CURRENT", r#"["echo", "v1"]"#),
    ];
    let mut agent = place.start(&app::command(), &[named("v2"), platform.to_vec()].concat());
    agent.hear("app became ready").await;
    let (code, said) = run(&place, &["rollback", "--data", "data", "--dry-run"]).await;
    // A command cannot be asked whether it would work.
    assert_eq!((code, said.contains("Release v2 would be rolled back to v1.")), (1, true), "{said}");
    assert!(said.contains("no means to tell"), "{said}");
    assert!(!called.exists(), "a dry run does nothing");
    let (code, said) =
        run(&place, &["rollback", "--data", "data", "--yes", "--by", "ana", "--reason", "checkout fails"])
            .await;
    assert_eq!((code, said.contains("v1 was put back")), (0, true), "{said}");
    assert!(said.contains("ana asked for it: checkout fails"), "{said}");
    assert_eq!(std::fs::read_to_string(&called).unwrap(), "called\n");
    let (code, said) = run(&place, &["gate", "--data", "data"]).await;
    assert_eq!((code, said.contains("Locked by outrigger")), (75, true), "{said}");
    let (code, said) = run(&place, &["rollback", "--data", "data", "--yes", "--to", "v2"]).await;
    assert_eq!((code, said.contains("runs now")), (1, true), "{said}");
    agent.signal(Signal::SIGTERM);
    agent.ended().await;
}

#[tokio::test]
async fn a_rollback_with_nothing_to_put_back_is_held_and_recorded() {
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[]);
    agent.hear("app became ready").await;
    let (code, said) = run(&place, &["rollback", "--data", "data"]).await;
    assert_eq!((code, said.contains("--yes")), (64, true), "{said}");
    let (code, said) = run(&place, &["rollback", "--data", "data", "--dry-run"]).await;
    assert_eq!((code, said.contains("nothing to put back")), (1, true), "{said}");
    let (code, said) = run(&place, &["rollback", "--data", "data", "--yes", "--to", "v9"]).await;
    assert_eq!((code, said.contains("v9 is neither a release nor a deployment")), (1, true), "{said}");
    let (code, said) =
        run(&place, &["rollback", "--data", "data", "--yes", "--by", "ana", "--reason", "checkout fails"])
            .await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("ana asked for it: checkout fails") && said.contains("no other release is known good"),
        "{said}"
    );
    let (_, said) = run(&place, &["history", "--data", "data"]).await;
    assert!(said.contains("a rollback was asked for, and nothing was done"), "{said}");
    agent.signal(Signal::SIGTERM);
    agent.ended().await;
}
