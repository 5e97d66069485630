//! Probes: what would run and why, what is asked by hand, and that no password is told by either.

use std::net::TcpListener;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::agent::{Ended, Place};

const PASSWORD: &str = "p4ssw0rdOfTheDatabase";
const PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--admin", "off"];

fn url() -> String {
    format!("postgres://me:{PASSWORD}@db.internal/shop")
}

#[track_caller]
fn hold_no_password(ended: &Ended) {
    assert!(!ended.out.contains(PASSWORD) && !ended.err.contains(PASSWORD), "{ended:?}");
}

/// A port that accepts.
fn open() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A port that refuses: bound, so that it is nobody else's, and not listening.
fn refusing() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("tcp://{}", socket.local_addr().unwrap());
    (socket, url)
}

fn object(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[tokio::test]
async fn check_says_which_probes_would_run_and_why() {
    let place = Place::new();
    place.write("outrigger.toml", "[probe.mail]\nurl = \"tcp://smtp.example.com:587\"\ninterval = \"1m\"\n");
    let environment = [("DATABASE_URL", url()), ("REDIS_URL", format!("hunter2:{PASSWORD}"))];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ended = place.run(&[&["check"], &PORTS[..]].concat(), &environment).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    hold_no_password(&ended);
    for line in [
        "  mail      tcp  tcp://smtp.example.com:587  every 1m, not critical  (outrigger.toml:1)",
        "  postgres  postgres  postgres://db.internal:5432/shop  every 5s, critical  (DATABASE_URL)",
        "  left out: REDIS_URL: it is no URL of Postgres, Redis or MySQL (its value is not shown)",
        "  probe.mail.interval = \"1m\"  (outrigger.toml:3; default \"5s\")",
    ] {
        assert!(ended.out.lines().any(|told| told == line), "{line:?} is not in {}", ended.out);
    }
    let ended = place.run(&[&["check", "--json"], &PORTS[..]].concat(), &environment).await;
    hold_no_password(&ended);
    let told = object(&ended);
    assert_eq!(told["probes"][1]["why"], "DATABASE_URL");
    assert_eq!(
        told["probes"][0],
        json!({ "name": "mail", "kind": "tcp", "target": "tcp://smtp.example.com:587", "interval_ms": 60_000,
                "timeout_ms": 2_000, "critical": false, "why": "outrigger.toml:1" })
    );
    assert_eq!(told["probes_left_out"][0]["what"], "REDIS_URL");
    assert_eq!(told["options"]["probe.postgres.url"]["from"], "DATABASE_URL");
}

#[tokio::test]
async fn a_password_in_the_file_is_refused_and_not_shown() {
    let place = Place::new();
    place.write("outrigger.toml", format!("[probe.orders]\nurl = \"{}\"\n", url()));
    for command in [&["check"][..], &["run", "--", "true"], &["probe"]] {
        let ended = place.run(command, &[]).await;
        ended.says(64, &["outrigger.toml:2", "probe.orders.url", "url_from = \"DATABASE_URL\""]);
        hold_no_password(&ended);
    }
}

#[tokio::test]
async fn all_faults_of_probes_come_at_once() {
    let place = Place::new();
    place.write(
        "outrigger.toml",
        "[probes]\ntimeout = \"9s\"\n[probe.a]\ncritical = true\n[probe.b]\nurl = \"tcp://h:1\"\nschema = \"auto\"\n",
    );
    let ended = place.run(&["check"], &[("OUTRIGGER__PROBE__B__INTERVALL", "1s")]).await;
    let parts = [
        "probes.timeout = \"9s\" (outrigger.toml:2) and probes.interval",
        "outrigger.toml:3: [probe.a]: nothing tells whom it asks",
        "outrigger.toml:7: probe.b.schema: a probe of kind \"tcp\" has no such option",
        "OUTRIGGER__PROBE__B__INTERVALL: probe.b.intervall: there is no such option; did you mean probe.b.interval?",
    ];
    ended.says(64, &parts);
    assert_eq!(ended.err.lines().count(), parts.len(), "{}", ended.err);
}

#[tokio::test]
async fn a_port_is_asked_by_hand_and_the_answer_explained() {
    let place = Place::new();
    let (_listener, open) = open();
    let ended = place.run(&["probe", &open], &[]).await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    for part in
        [&open, "ok: it answered in", "where the time went", "connect", "█", "The agent asks every 5s."]
    {
        assert!(ended.out.contains(part), "{part:?} is not in {}", ended.out);
    }
    let (_socket, refusing) = refusing();
    let ended = place.run(&["probe", &refusing, "--count", "3"], &[]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    for part in [
        "3 rounds, 3 not well",
        "failed: ",
        "3 such rounds in a row make it failed",
        "it would call it failed",
    ] {
        assert!(ended.out.contains(part), "{part:?} is not in {}", ended.out);
    }
    let ended = place.run(&["probe", "env:WHERE", "--json"], &[("WHERE", &refusing)]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    let told = object(&ended);
    assert_eq!((&told["state"], &told["probes"][0]["state"]), (&json!("failed"), &json!("failed")));
    assert_eq!(told["probes"][0]["after"], "unknown", "one round changes no state");
    assert_eq!(told["probes"][0]["rounds"].as_array().unwrap().len(), 1, "{told}");
}

#[tokio::test]
async fn without_a_name_all_are_asked_and_the_worst_is_the_exit_code() {
    let place = Place::new();
    let ((_listener, open), (_socket, refusing)) = (open(), refusing());
    let file = format!(
        "[probe.good]\nurl = \"{open}\"\n[probe.bad]\nurl = \"{refusing}\"\n[probe.odd]\ncommand = [\"/nowhere\"]\n"
    );
    place.write("outrigger.toml", file);
    let ended = place.run(&["probe"], &[]).await;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.out.contains("bad  tcp  ") && ended.out.contains("good  tcp  "), "{}", ended.out);
    assert_eq!(place.run(&["probe", "good", "--timeout", "5s"], &[]).await.code, 0);
    let odd = place.run(&["probe", "odd"], &[]).await;
    assert_eq!(odd.code, 3, "what cannot be asked is told apart: {odd:?}");
    assert!(odd.out.contains("could not be asked: "), "{}", odd.out);
    let none = Place::new().run(&["probe"], &[("MYSQL_URL", "file:x")]).await;
    assert_eq!(none.code, 0, "{none:?}");
    assert!(
        none.out.contains("no probe is configured") && none.out.contains("left out: MYSQL_URL"),
        "{}",
        none.out
    );
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_wrong_usage() {
    let place = Place::new();
    let (url, database) = (url(), [("DATABASE_URL", "postgres://u@db/d")]);
    let ended = place.run(&["probe", &url], &[]).await;
    ended.says(64, &["holds a password", "list of processes", "outrigger probe env:DATABASE_URL"]);
    hold_no_password(&ended);
    place
        .run(&["probe", "postgers"], &database)
        .await
        .says(64, &["no probe `postgers`", "there are: postgres"]);
    place.run(&["probe", "db:5432"], &[]).await.says(64, &["tcp://db:5432"]);
    place.run(&["probe", "ftp://db"], &[]).await.says(64, &["no URL with a scheme that is known"]);
    place.run(&["probe", "env:NOWHERE"], &[]).await.says(64, &["NOWHERE is not set"]);
    place.run(&["probe", "--timeout", "1h"], &[]).await.says(64, &["100ms to 1m"]);
    place.run(&["probe", "--count", "0"], &[]).await.says(64, &["--count"]);
    let ended = place.run(&["probe", &format!("me:{PASSWORD}@db/shop")], &[]).await;
    ended.says(64, &["there is no probe"]);
    hold_no_password(&ended);
}
