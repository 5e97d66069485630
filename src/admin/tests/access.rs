//! The access rules, seen to hold for each route.

use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::admin::serve::serve_unix;
use crate::admin::shared::Command;
use crate::admin::tests::{Port, exchange, fixture};

const PAUSE: &str = r#"{"by": "ana", "reason": "migration", "for": "30m"}"#;

#[tokio::test]
async fn nothing_acts_over_tcp_without_the_token() {
    let port = Port::open(Some(fixture::TOKEN)).await;
    for path in ["/api/pause", "/api/resume", "/api/whatever"] {
        let json = ("content-type", "application/json");
        let none = port.send("POST", path, &[json], PAUSE).await;
        assert_eq!((none.status, none.field("www-authenticate").is_some()), (401, true), "{path}");
        let wrong = port.send("POST", path, &[json, ("authorization", "Bearer a-long-tokem")], PAUSE).await;
        assert_eq!(wrong.status, 401, "{path}");
        assert!(wrong.error().contains("wrong") && !wrong.body.contains(fixture::TOKEN));
    }
    let port = Port::open(None).await;
    let refused = port.post("/api/pause", PAUSE).await;
    assert_eq!(refused.status, 403);
    assert!(refused.error().contains("OUTRIGGER_TOKEN") && refused.error().contains("outrigger pause"));
}

#[tokio::test]
async fn with_the_token_a_pause_reaches_the_agent() {
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::Pause { by, reason, until, reply } = command else { panic!("{command:?}") };
        assert_eq!((by.as_str(), reason.as_str(), until.is_some()), ("ana", "migration", true));
        reply.send(Ok(())).unwrap();
    });
    let answer = port.post("/api/pause", PAUSE).await;
    assert_eq!((answer.status, answer.json()["paused"].as_bool()), (200, Some(true)), "{}", answer.body);
}

#[tokio::test]
async fn the_control_socket_acts_without_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let (shared, mut asked) = fixture::shared(Some(fixture::TOKEN));
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(serve_unix(UnixListener::bind(&path).unwrap(), shared, shutdown.clone()));
    tokio::spawn(async move {
        let Some(Command::Resume { by, reply }) = asked.recv().await else { panic!() };
        reply.send(if by == "ana" { Err("acting is not paused".to_owned()) } else { Ok(()) }).unwrap();
    });
    let io = UnixStream::connect(&path).await.unwrap();
    let json = [("content-type", "application/json")];
    let answer = exchange(io, "POST", "/api/resume", &json, r#"{"by": "ana"}"#).await;
    assert_eq!((answer.status, answer.error().as_str()), (409, "acting is not paused"));
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn strangers_in_the_browser_are_refused_everything_but_health_and_metrics() {
    let port = Port::open(Some(fixture::TOKEN)).await;
    port.publish();
    for path in ["/", "/app.js", "/api/snapshot", "/api/stream", "/api/records"] {
        let evil = port.send("GET", path, &[("host", "evil.example")], "").await;
        assert_eq!(evil.status, 403, "{path}");
        assert!(evil.error().starts_with("Host must be"));
        let evil = port.send("GET", path, &[("origin", "http://evil.example")], "").await;
        assert_eq!(evil.status, 403, "{path}");
        assert!(evil.error().starts_with("Origin must be"));
    }
    for path in ["/api/health", "/api/health/deep", "/metrics"] {
        assert_eq!(port.send("GET", path, &[("host", "evil.example")], "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_came_through_the_edge_sees_health_without_its_insides() {
    let port = Port::open(Some(fixture::TOKEN)).await;
    port.publish();
    let edge = [("x-railway-edge", "railway/us-west2")];
    for path in ["/", "/metrics", "/api/snapshot", "/api/records/abc"] {
        let refused = port.send("GET", path, &edge, "").await;
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.error().contains("edge"));
    }
    let deep = port.send("GET", "/api/health/deep", &edge, "").await;
    assert_eq!(deep.status, 200);
    assert!(deep.json()["checks"]["store"]["details"].is_null(), "{}", deep.body);
    let inside = port.get("/api/health/deep").await;
    assert_eq!(inside.json()["checks"]["store"]["details"]["path"], "/data/outrigger.db");
}
