//! Alerts under the real binary and against real sockets: a sink that refuses, is busy, slow or cuts; an agent that dies in
//! between; Slack's messages before Slack's own library; and that no secret is told anywhere.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "alerts/agent.rs"]
mod agent;
#[path = "alerts/sink.rs"]
#[expect(dead_code, reason = "what the plays on Railway change in its answers while they run")]
mod sink;
#[path = "alerts/slack.rs"]
mod slack;

use std::path::Path;
use std::time::Duration;

use outrigger::clock::Clock;

use crate::agent::{Agent, PLANTED};
use crate::sink::{Answer, Post, Sink};

/// Longer than anything here takes on a busy machine.
const WAIT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn each_alert_arrives_once_through_a_sink_that_fails_in_every_way() {
    let sink = Sink::start(vec![
        Answer::Status(500, ""),
        Answer::Status(429, "retry-after: 1\r\n"),
        Answer::Cut,
        Answer::Silence,
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &sink).await;
    agent.run("pause").await;
    let taken = sink.taken(1).await;
    assert_eq!(taken[0].event, "acting.paused");
    agent.run("resume").await;
    let taken = sink.taken(2).await;
    let events: Vec<&str> = taken.iter().map(|it| it.event.as_str()).collect();
    assert_eq!(events, ["acting.paused", "acting.resumed"]);
    let posts = sink.posts();
    let tries = posts.iter().filter(|it| it.key == taken[0].key).count();
    assert_eq!((tries, posts.len()), (5, 6), "{posts:?}");
    assert!(posts.iter().all(is_signed), "{posts:?}");
    // It is counted a moment after the sink has answered.
    let told = r#"outrigger_alerts_total{channel="webhook",result="told"} 2"#;
    let metrics = agent.metrics_with(told).await;
    assert!(metrics.contains(r#"outrigger_alerts_total{channel="webhook",result="failed"} 4"#), "{metrics}");
    assert_tells_no_secret(folder.path(), &format!("{metrics}{}", agent.kill().await));
}

/// By the secret, over exactly the bytes that came.
fn is_signed(post: &Post) -> bool {
    let digits = post.signature.strip_prefix("sha256=").unwrap_or_default();
    let byte = |at: usize| digits.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let tag: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, PLANTED.as_bytes());
    tag.is_some_and(|tag| ring::hmac::verify(&key, &post.bytes, &tag).is_ok())
}

#[tokio::test]
async fn one_refusal_after_other_failures_is_not_the_last_word() {
    let failing = [Answer::Status(503, ""), Answer::Status(503, ""), Answer::Status(404, "")];
    let sink = Sink::start(failing.to_vec()).await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &sink).await;
    agent.run("pause").await;
    assert_eq!(sink.taken(1).await[0].event, "acting.paused");
    let metrics = agent.metrics_with(r#"outrigger_alerts_total{channel="webhook",result="told"} 1"#).await;
    assert!(
        metrics.contains(r#"outrigger_alerts_total{channel="webhook",result="given_up"} 0"#),
        "{metrics}"
    );
    assert_eq!(sink.posts().len(), 4, "{:?}", sink.posts());
    agent.kill().await;
}

#[tokio::test]
async fn a_receiver_that_asks_for_no_rest_is_not_flooded_and_a_body_that_is_lost_is_no_failure() {
    let busy = std::iter::repeat_n(Answer::Status(429, "retry-after: 0\r\n"), 3);
    let sink = Sink::start(busy.chain([Answer::Half]).collect()).await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &sink).await;
    agent.run("pause").await;
    sink.posted(1).await;
    let began = Clock::start();
    sink.taken(1).await;
    assert!(began.uptime() >= Duration::from_secs(3), "three rests of a second at least");
    // Were it told again, it would come before what comes later.
    tokio::time::sleep(Duration::from_secs(3)).await;
    agent.run("resume").await;
    let events: Vec<String> = sink.taken(2).await.into_iter().map(|it| it.event).collect();
    assert_eq!(events, ["acting.paused", "acting.resumed"]);
    agent.kill().await;
}

/// The store's file is held by another program: as with a full disk, it can be read and not written.
#[tokio::test]
async fn where_nothing_can_be_written_down_people_are_told_all_the_same_and_once() {
    let sink = Sink::start(vec![Answer::Status(429, "retry-after: 5\r\n")]).await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &sink).await;
    agent.run("pause").await;
    sink.posted(1).await;
    let held = rusqlite::Connection::open(folder.path().join("data/outrigger.db")).unwrap();
    held.busy_timeout(Duration::from_secs(5)).unwrap();
    held.execute_batch("BEGIN IMMEDIATE").unwrap();
    sink.taken(1).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    held.execute_batch("ROLLBACK").unwrap();
    agent.run("resume").await;
    let events: Vec<String> = sink.taken(2).await.into_iter().map(|it| it.event).collect();
    assert_eq!(events, ["acting.paused", "acting.resumed"]);
    agent.kill().await;
}

#[tokio::test]
async fn an_agent_that_is_killed_while_it_tells_tells_again_and_what_was_told_is_not_told_again() {
    let sink = Sink::start(vec![Answer::Status(200, ""), Answer::Silence]).await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &sink).await;
    agent.run("pause").await;
    sink.taken(1).await;
    agent.run("resume").await;
    // The second is under way when the agent dies: nobody knows whether it arrived.
    sink.posted(2).await;
    agent.kill().await;
    let agent = Agent::start(folder.path(), &sink).await;
    let taken = sink.taken(2).await;
    agent.run("pause").await;
    let events: Vec<String> = sink.taken(3).await.into_iter().map(|it| it.event).collect();
    assert_eq!(events, ["acting.paused", "acting.resumed", "acting.paused"]);
    let posts = sink.posts();
    assert_eq!(posts.iter().filter(|it| it.key == taken[0].key).count(), 1, "{posts:?}");
    assert_eq!(posts.iter().filter(|it| it.key == taken[1].key).count(), 2, "{posts:?}");
    agent.kill().await;
}

#[tokio::test]
async fn an_alert_that_nobody_took_outlives_its_agent() {
    let closed = Sink::closed().await;
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path(), &closed).await;
    agent.run("pause").await;
    let log = agent.kill().await;
    assert_tells_no_secret(folder.path(), &log);
    let sink = Sink::start(Vec::new()).await;
    let agent = Agent::start(folder.path(), &sink).await;
    assert_eq!(sink.taken(1).await[0].event, "acting.paused");
    agent.kill().await;
}

#[tokio::test]
async fn a_test_alert_by_hand_says_what_came_back() {
    let sink = Sink::start(vec![Answer::Status(200, ""), Answer::Status(404, "")]).await;
    let folder = tempfile::tempdir().unwrap();
    let (code, text) = agent::test(folder.path(), &sink).await;
    assert_eq!((code, text.trim()), (Some(0), "webhook: told"));
    assert_eq!(sink.posts()[0].event, "alerts.test");
    let (code, text) = agent::test(folder.path(), &sink).await;
    assert_eq!((code, text.trim()), (Some(1), "webhook: refused: status 404; look at the address"));
    assert_tells_no_secret(folder.path(), &text);
}

/// Searches what was said, and every file that was written.
fn assert_tells_no_secret(folder: &Path, said: &str) {
    assert!(!said.contains(PLANTED), "{said}");
    let mut folders = vec![folder.to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let bytes = std::fs::read(&path).unwrap();
                let found = bytes.windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes());
                assert!(!found, "the secret stands in {}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 0 || said.len() < 200, "nothing was looked at");
}
