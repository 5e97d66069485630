//! A platform that answers one call with bytes of the test's choosing, over a real socket.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket};

use super::*;
use crate::platform::tests::order;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);

fn reply(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Takes one request whole, answers it with `bytes`, and closes.
async fn serve(listener: TcpListener, bytes: Vec<u8>) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut got = Vec::new();
    while !got.ends_with(b"\r\n\r\n") {
        got.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(got).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |text| text.parse().unwrap())];
    stream.read_exact(&mut body).await.unwrap();
    // The client may hang up on a reply that is too large.
    let _ = stream.write_all(&bytes).await;
    head + &String::from_utf8(body).unwrap()
}

async fn roll_back(bytes: Vec<u8>) -> (Acted, String) {
    let (listener, address) = listener().await;
    let local = Local::new(address, LONG);
    let order = order();
    let (known, journal) = (Known::default(), Journal::silent());
    tokio::join!(local.roll_back(&order, &known, &journal), serve(listener, bytes))
}

async fn current(body: &str) -> Live {
    let (listener, address) = listener().await;
    let local = Local::new(address, LONG);
    let known = Known::default();
    tokio::join!(local.current(&known), serve(listener, reply("200 OK", body))).0
}

#[tokio::test]
async fn an_order_is_one_post_and_its_deployment_is_told() {
    let (acted, request) = roll_back(reply("202 Accepted", r#"{"deployment":"d-3"}"#)).await;
    assert_eq!(acted, Acted::Accepted { detail: "deployment d-3".to_owned() });
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/rollbacks HTTP/1.1\r\n"), "{head}");
    let wanted = serde_json::json!({"decision": "0mia9y8g0000101", "from": "v2", "to": "v1"});
    assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap(), wanted);
}

#[tokio::test]
async fn an_order_that_was_taken_is_taken_whatever_else_was_said() {
    let (acted, _) = roll_back(reply("202 Accepted", "fine")).await;
    assert!(matches!(acted, Acted::Accepted { .. }), "{acted:?}");
}

#[tokio::test]
async fn a_conflict_is_a_refusal_in_the_platforms_words() {
    let (acted, _) = roll_back(reply("409 Conflict", r#"{"error":"v1 has no image\u001b[2J"}"#)).await;
    let reason = "the platform answered 409 Conflict: v1 has no image[2J".to_owned();
    assert_eq!(acted, Acted::Refused { reason });
}

#[tokio::test]
async fn a_fault_of_the_platform_leaves_open_what_was_done() {
    let (acted, _) = roll_back(reply("500 Internal Server Error", "oops")).await;
    let Acted::Unknown { reason } = acted else { panic!("{acted:?}") };
    assert!(reason.contains("500") && reason.contains("oops"), "{reason}");
}

#[tokio::test]
async fn no_connection_is_a_refusal_since_nothing_was_sent() {
    // Bound and not listening: nobody else can take the port, and nobody answers.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let acted =
        Local::new(address.clone(), LONG).roll_back(&order(), &Known::default(), &Journal::silent()).await;
    let Acted::Refused { reason } = acted else { panic!("{acted:?}") };
    assert!(reason.starts_with(&format!("no connection to {address}: ")), "{reason}");
}

#[tokio::test]
async fn a_lost_reply_is_unknown() {
    for half in ["", "HTTP/1.1 202 Acc", "HTTP/1.1 202 Accepted\r\ncontent-length: 50\r\n\r\n{"] {
        let (acted, _) = roll_back(half.into()).await;
        assert!(matches!(acted, Acted::Unknown { .. }), "{half:?}: {acted:?}");
    }
}

#[tokio::test]
async fn a_late_reply_is_unknown() {
    // The kernel accepts for a listener that nobody asks, so the request is sent and never answered.
    let (listener, address) = listener().await;
    let acted = Local::new(address, SHORT).roll_back(&order(), &Known::default(), &Journal::silent()).await;
    let Acted::Unknown { reason } = acted else { panic!("{acted:?}") };
    assert!(reason.starts_with("no reply from") && reason.ends_with("within 100ms"), "{reason}");
    drop(listener);
}

#[tokio::test]
async fn a_reply_beyond_all_measure_is_not_read() {
    let (acted, _) = roll_back(reply("202 Accepted", &" ".repeat(REPLY_MAX + 1))).await;
    let Acted::Unknown { reason } = acted else { panic!("{acted:?}") };
    assert!(reason.contains("larger than 262144 bytes"), "{reason}");
}

#[tokio::test]
async fn a_long_refusal_is_cut() {
    let (acted, _) = roll_back(reply("400 Bad Request", &"x".repeat(5000))).await;
    let Acted::Refused { reason } = acted else { panic!("{acted:?}") };
    assert!(reason.len() < ERROR_MAX + 100, "{}", reason.len());
}

#[tokio::test]
async fn the_live_deployments_release_is_live() {
    let body = r#"{"live":"d-2","deployments":[
        {"id":"d-1","release":"v1","status":"removed","created_at":"2025-11-22T22:00:00Z"},
        {"id":"d-2","release":"v2","status":"live","created_at":"2025-11-22T22:01:00Z","more":1}]}"#;
    assert_eq!(current(body).await, Live::Release(Release::new("v2").unwrap()));
}

#[tokio::test]
async fn where_the_platform_names_no_live_release_nothing_is_known() {
    let bodies = [
        r#"{"live":null,"deployments":[]}"#,
        r#"{"live":"d-9","deployments":[{"id":"d-1","release":"v1"}]}"#,
        r#"{"live":"d-1","deployments":[{"id":"d-1","release":"two words"}]}"#,
        "not json",
    ];
    for body in bodies {
        assert!(matches!(current(body).await, Live::Unknown { .. }), "{body}");
    }
}

#[tokio::test]
async fn a_platform_that_fails_or_is_away_knows_nothing() {
    let (listener, address) = listener().await;
    let local = Local::new(address, LONG);
    let known = Known::default();
    let (live, _) =
        tokio::join!(local.current(&known), serve(listener, reply("503 Service Unavailable", "later")));
    let Live::Unknown { reason } = live else { panic!("{live:?}") };
    assert!(reason.contains("503") && reason.contains("later"), "{reason}");
    assert!(matches!(local.current(&Known::default()).await, Live::Unknown { .. }));
}
