//! Wrong usage of the commands, and commands without an agent.

use crate::agent::Place;

#[tokio::test]
async fn wrong_usage_is_64_and_says_what_would_be_right() {
    let place = Place::new();
    let wrong: [(&[&str], &str); 13] = [
        (&["rum"], "run"),
        (&["run", "--lisen", "[::]:1"], "--listen"),
        (&["run", "node", "server.js"], "outrigger run -- node server.js"),
        (&["history", "--limit", "0"], "1..=500"),
        (&["replay"], "<RECORD>"),
        (&["judge", "--baseline", "a"], "--candidate"),
        (&["detectability", "--baseline", "a", "--rate=-1"], "requests a second above 0"),
        (&["pause", "--for", "soon"], "such as 30m"),
        (&["lock"], "--reason"),
        (&["gate", "--wait", "soon"], "--wait"),
        (&["gate", "--url", "http://ana:hunter2@watcher:9900"], "OUTRIGGER_TOKEN"),
        (&["rollback", "--data", "data"], "--yes"),
        (&["demo", "--scenario", "worse"], "crash"),
    ];
    for (arguments, part) in wrong {
        place.run(arguments, &[]).await.says(64, &[part]);
    }
}

#[tokio::test]
async fn help_and_version_are_no_errors() {
    let place = Place::new();
    let asked: [&[&str]; 15] = [
        &["--help"],
        &["--version"],
        &["help", "run"],
        &["run", "--help"],
        &["demo", "--help"],
        &["status", "--help"],
        &["history", "--help"],
        &["explain", "-h"],
        &["check", "--help"],
        &["gate", "--help"],
        &["rollback", "--help"],
        &["judge", "--help"],
        &["replay", "--help"],
        &["backtest", "--help"],
        &["detectability", "--help"],
    ];
    for arguments in asked {
        let ended = place.run(arguments, &[]).await;
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ended.out.contains("outrigger"), "{arguments:?}: {}", ended.out);
    }
}

#[tokio::test]
async fn without_an_agent_the_commands_say_where_they_looked() {
    let place = Place::new();
    let asked: [&[&str]; 9] = [
        &["status"],
        &["history"],
        &["explain", "0abc"],
        &["pause", "--for", "5m"],
        &["resume"],
        &["lock", "--reason", "freeze"],
        &["unlock"],
        &["gate"],
        &["rollback", "--yes"],
    ];
    for arguments in asked {
        let named = [arguments, &["--data", "data"]].concat();
        place.run(&named, &[]).await.says(1, &["data/outrigger.sock", "`outrigger run`", "--data"]);
        place.run(arguments, &[]).await.says(1, &[".outrigger/outrigger.sock"]);
    }
    assert!(!place.path("data").exists() && !place.path(".outrigger").exists(), "asking makes nothing");
}
