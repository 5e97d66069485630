//! The agent as process 1 of a pid namespace of its own, as in a container, with a real app.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::Agent;
use crate::client::Client;
use crate::family::{children, neighbours};
use crate::kit::{self, App};
use crate::process::eventually;
use crate::{expected_exit, run};

/// As root, and as anybody else.
const LAUNCHERS: [&[&str]; 2] = [
    &["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"],
    &["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"],
];

/// The way that this machine permits, if any.
fn launcher() -> Option<&'static [&'static str]> {
    let works = |words: &&&[&str]| {
        Command::new(words[0]).args(&words[1..]).arg("true").status().is_ok_and(|status| status.success())
    };
    let found = LAUNCHERS.iter().find(works).copied();
    if found.is_none() {
        assert!(!kit::must_be_whole(), "no pid namespace can be made here");
        eprintln!("SKIPPED: no pid namespace can be made here");
    }
    found
}

#[tokio::test]
async fn it_reaps_what_the_app_leaves_behind_and_ends_in_order() {
    run(App::FastApi, async |app| {
        let Some(launcher) = launcher() else { return };
        let mut agent = Agent::start_under(launcher, app).await;
        let [first] = children(agent.id())[..] else { panic!("one process is in the new namespace") };
        let client = Client::of(agent.public);
        for _ in 0..10 {
            assert_eq!(client.post("/orphan").await.0, 200);
        }
        let zombies = || neighbours(first).0.iter().filter(|member| member.is_zombie()).count();
        eventually("what ended has been reaped", async || (zombies() == 0).then_some(())).await;
        let family = neighbours(first);
        assert!(family.0.len() >= 2, "the agent and the app: {family:?}");
        let slow = tokio::spawn(client.get("/slow?ms=2000"));
        eventually("the app has the slow request", async || (agent.log.count("/slow") == 1).then_some(()))
            .await;
        kill(Pid::from_raw(first), Signal::SIGTERM).expect("it runs");
        assert_eq!(slow.await.expect("a request in flight is answered").0, 200);
        assert_eq!(agent.ended().await, expected_exit(app).await, "the exit code is the app's");
        family.has_ended().await;
    })
    .await;
}
