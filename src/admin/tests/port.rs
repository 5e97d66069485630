//! Limits, commands and streams.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::admin::serve::Limits;
use crate::admin::shared::Command;
use crate::admin::tests::{PATIENCE, Port, fixture, read_until};

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    let port = Port::open(Some(fixture::TOKEN)).await;
    let large = format!(r#"{{"by": "ana", "reason": "{}"}}"#, "x".repeat(64 * 1024));
    let refused = port.post("/api/pause", &large).await;
    assert_eq!((refused.status, refused.error().contains("16 KiB")), (413, true), "{}", refused.body);
}

#[tokio::test]
async fn a_wrong_body_is_told_what_would_be_right() {
    let port = Port::open(Some(fixture::TOKEN)).await;
    for (path, body, status, hint) in [
        ("/api/pause", r#"{"by": "ana"}"#, 400, "missing field `reason`"),
        ("/api/pause", r#"{"by": "ana", "reason": "x", "until": 1}"#, 400, "unknown field `until`"),
        ("/api/pause", r#"{"by": "ana", "reason": "x", "for": "soon"}"#, 400, "write it like 30m"),
        ("/api/pause", r#"{"by": "ana", "reason": "x", "for": "31days"}"#, 400, "at most 30days"),
        ("/api/pause", r#"{"by": " ", "reason": "x"}"#, 400, "`by` must be one line"),
        ("/api/pause", r#"{"by": "a\nb", "reason": "x"}"#, 400, "`by` must be one line"),
        ("/api/resume", "by=ana", 400, "send for example"),
    ] {
        let answer = port.post(path, body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.error().contains(hint), "{body}: {}", answer.body);
    }
    let bearer = format!("Bearer {}", fixture::TOKEN);
    let form = port.send("POST", "/api/pause", &[("authorization", &bearer)], "by=ana").await;
    assert_eq!((form.status, form.error().contains("Content-Type: application/json")), (415, true));
    for (path, hint) in [
        ("/api/records?limit=0", "from 1 to 200"),
        ("/api/records?limit=many", "invalid digit"),
        ("/api/records?last=1", "unknown field"),
        ("/api/records?before=a.b", "letters and digits"),
        ("/api/records/..%2fx", "letters and digits"),
    ] {
        let answer = port.get(path).await;
        assert_eq!((answer.status, answer.error().contains(hint)), (400, true), "{path}: {}", answer.body);
    }
    assert!(port.get("/api/nothing").await.error().contains("/api/snapshot"));
    assert_eq!(port.post("/api/snapshot", "{}").await.status, 405);
}

#[tokio::test]
async fn records_come_from_the_agent() {
    let port = Port::open(None).await.agent(|command| {
        let Command::Records { limit, before, reply } = command else { panic!("{command:?}") };
        assert_eq!((limit, before.unwrap().as_str()), (7, "00abc"));
        reply.send(Ok(vec![serde_json::json!({"id": "00abb"})])).unwrap();
    });
    let answer = port.get("/api/records?limit=7&before=00abc").await;
    assert_eq!(answer.json()["records"][0]["id"], "00abb");
    let port = Port::open(None).await.agent(|command| {
        let Command::Record { reply, .. } = command else { panic!("{command:?}") };
        reply.send(Ok(None)).unwrap();
    });
    let missing = port.get("/api/records/00zzz").await;
    assert_eq!((missing.status, missing.error().contains("00zzz")), (404, true));
}

#[tokio::test]
async fn a_full_queue_and_an_absent_agent_are_told_apart() {
    let mut port = Port::open(None).await;
    let mut first = port.connect().await;
    first.write_all(b"GET /api/records HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    while port.asked.is_empty() {
        tokio::task::yield_now().await;
    }
    let full = port.get("/api/records").await;
    assert_eq!((full.status, full.field("retry-after")), (503, Some("1")));
    assert!(full.error().contains("queue is full"));
    port.asked.close();
    while port.asked.recv().await.is_some() {}
    let gone = port.get("/api/records").await;
    assert_eq!((gone.status, gone.error().contains("shutting down")), (503, true));
}

#[tokio::test]
async fn a_stream_sends_what_it_missed_and_ends_at_shutdown() {
    let port = Port::open(None).await;
    port.publish();
    let mut io = port.connect().await;
    io.write_all(b"GET /api/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let first = read_until(&mut io, "event: point\n").await;
    assert!(first.contains("text/event-stream") && first.contains("event: snapshot\n"), "{first}");
    port.shared.publish(fixture::paused(), &fixture::window(2, 10, 0));
    let next = read_until(&mut io, "migration of orders").await;
    assert!(next.contains("\"requests\":10"), "{next}");
    port.shutdown.cancel();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, io.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.ends_with(b"0\r\n\r\n"), "the stream ends as chunked bodies end");
    tokio::time::timeout(PATIENCE, port.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let limits = Limits { head: Duration::from_millis(50), ..Limits::default() };
    let port = Port::open_within(limits, None).await;
    let mut slow = port.connect().await;
    slow.write_all(b"GET /api/health HTTP/1.1\r\nhost: loc").await.unwrap();
    let mut rest = Vec::new();
    tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await.unwrap().unwrap();
    let mut idle = port.connect().await;
    tokio::time::timeout(PATIENCE, idle.read_to_end(&mut rest)).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let port = Port::open_within(Limits { connections: 1, ..Limits::default() }, None).await;
    port.publish();
    let mut first = port.connect().await;
    first.write_all(b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    read_until(&mut first, "timestamp").await;
    let mut second = port.connect().await;
    second.write_all(b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut byte = [0];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut byte)).await;
    assert!(early.is_err(), "served although the only place was taken");
    drop(first);
    read_until(&mut second, "timestamp").await;
}
