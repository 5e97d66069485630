//! The agent as process 1 of a user's image: start, stop, exit codes, what is left behind.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::docker::{Container, Docker, eventually, get};
use crate::images::{AGENT, APP};

/// What the app ends with on SIGTERM.
const APPS_CODE: i32 = 3;
/// Clients that ask one request after another.
const CLIENTS: usize = 8;
/// How many answers there are before the stop: the load is then steady.
const ANSWERS_BEFORE: usize = 40;
/// Processes that an app leaves to process 1.
const ORPHANS: usize = 100;

#[tokio::test]
async fn the_agent_is_process_1_and_the_app_its_child() {
    let Some(docker) = Docker::ready().await else { return };
    let container = docker.start(&[], APP, &[]).await;
    container.said("app became ready").await;
    let first = container.exec(&["cat", "/proc/1/stat"]).await;
    assert!(first.starts_with("1 (outrigger) "), "{first}");
    let processes = container.exec(&["ps", "-o", "ppid,args"]).await;
    let is_child = |line: &str| line.trim_start().starts_with("1 ") && line.contains("/app/serve");
    assert!(processes.lines().any(is_child), "{processes}");
    let answer = container.get("/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello\n"), "{answer}");
}

#[tokio::test]
async fn a_stop_under_load_loses_no_request_and_passes_the_apps_code_on() {
    let Some(docker) = Docker::ready().await else { return };
    let container = docker.start(&[], APP, &[]).await;
    container.said("app became ready").await;
    let answers = Arc::new(AtomicUsize::new(0));
    let address = container.address().await;
    let clients: Vec<_> =
        (0..CLIENTS).map(|_| tokio::spawn(ask_until_refused(address.clone(), answers.clone()))).collect();
    eventually("the load is steady", async || {
        (answers.load(Ordering::Relaxed) >= ANSWERS_BEFORE).then_some(())
    })
    .await;
    container.stop().await;
    for client in clients {
        client.await.expect("every request that was sent was answered");
    }
    assert_eq!(container.ended().await, APPS_CODE);
    let drained = container.said("drained").await;
    assert_eq!(drained["code"], APPS_CODE, "{drained}");
    assert!(!container.log().await.contains("connections were cut"));
}

/// One connection after another, until none is to be had; panics if one that was had was not served.
async fn ask_until_refused(address: String, answers: Arc<AtomicUsize>) {
    while let Ok(answer) = get(&address, "/cgi-bin/slow").await {
        let answer: io::Result<String> = answer;
        let is_whole =
            |text: &String| text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with("\r\n\r\ndone\n");
        assert!(answer.as_ref().is_ok_and(is_whole), "{answer:?}");
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn the_apps_exit_code_is_the_containers() {
    let Some(docker) = Docker::ready().await else { return };
    for (command, code) in [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 1"], 1),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -15 $$"], 143),
        (["no-such-app", "", ""], 127),
        (["/app/www/index.html", "", ""], 126),
    ] {
        let container = docker.start(&[], APP, &command).await;
        assert_eq!(container.ended().await, code, "{command:?}");
    }
}

#[tokio::test]
async fn an_image_that_is_told_nothing_says_what_is_missing() {
    let Some(docker) = Docker::ready().await else { return };
    let container = docker.start(&[], AGENT, &[]).await;
    assert_eq!(container.ended().await, 64);
    let said = container.log().await;
    for part in
        ["nothing to stand before", "outrigger run -- node server.js", "--upstream URL", "`app.upstream`"]
    {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn what_the_app_leaves_behind_does_not_stay_as_zombies() {
    let Some(docker) = Docker::ready().await else { return };
    let leave = format!("i=0; while [ $i -lt {ORPHANS} ]; do (sleep 3 &); i=$((i+1)); done");
    // The same with a process 1 that does not reap: without this the test could not fail.
    let careless = format!("{leave}; exec tail -f /dev/null");
    let careless = docker.start(&["--entrypoint", "sh"], APP, &["-c", &careless]).await;
    eventually("all orphans are zombies", async || (zombies(&careless).await == ORPHANS).then_some(())).await;

    let app = format!("{leave}; exec /app/serve");
    let container = docker.start(&[], APP, &["sh", "-c", &app]).await;
    container.said("app became ready").await;
    eventually("no orphan is left", async || {
        let processes = container.exec(&["ps", "-o", "comm"]).await;
        (!processes.contains("sleep")).then_some(())
    })
    .await;
    assert_eq!(zombies(&container).await, 0);
}

async fn zombies(container: &Container) -> usize {
    let processes = container.exec(&["ps", "-o", "stat,comm"]).await;
    processes.lines().filter(|line| line.trim_start().starts_with('Z')).count()
}
