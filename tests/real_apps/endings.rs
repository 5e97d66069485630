//! Requests that end early and connections that end late: Express, with the limits that it comes with.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::agent::Agent;
use crate::client::{Client, HOST};
use crate::kit::App;
use crate::process::{WAIT, eventually, eventually_is};
use crate::run;

/// A body that the app refuses: its body parser takes 100 kB.
const REFUSED_BYTES: usize = 32 << 20;
const PIECE: usize = 64 << 10;
const TIMES: usize = 20;
/// More than one head and a short body takes no answer here.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Sends a head and as much of a body as is taken, and meanwhile reads the answer's head. The answer's status.
async fn upload(address: SocketAddr, target: &str, framing: &str, piece: Bytes) -> u16 {
    let (mut reader, mut writer) = TcpStream::connect(address).await.expect("it listens").into_split();
    let head = format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n{framing}\r\n\r\n");
    let sending = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        for _ in 0..REFUSED_BYTES / PIECE {
            writer.write_all(&piece).await?;
        }
        // Kept open: the client still has something to say.
        std::io::Result::Ok(writer)
    });
    let answer = timeout(WAIT, async {
        let mut got = Vec::new();
        while !got.windows(4).any(|end| end == b"\r\n\r\n") && got.len() < ANSWER_BYTES_MAX {
            let read = reader.read_buf(&mut got).await.expect("the answer comes before a reset");
            assert!(read > 0, "closed after {} bytes of an answer", got.len());
        }
        String::from_utf8_lossy(&got).into_owned()
    });
    let answer = answer.await.expect("an answer in time");
    sending.abort();
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.unwrap_or_else(|| panic!("not an answer: {answer}"))
}

/// The answer comes before a byte of the body was read. With `close`, the app then resets the connection with the upload
/// in full flow.
#[tokio::test]
async fn an_early_refusal_of_a_large_upload_arrives_each_time() {
    run(App::Express, async |app| {
        let agent = Agent::start(app).await;
        let declared = (format!("Content-Length: {REFUSED_BYTES}"), Bytes::from(vec![b'x'; PIECE]));
        let chunk = format!("{PIECE:x}\r\n{}\r\n", "x".repeat(PIECE));
        let chunked = ("Transfer-Encoding: chunked".to_owned(), Bytes::from(chunk));
        for (framing, piece) in [&declared, &chunked] {
            for target in ["/refused", "/refused?close=1"] {
                for time in 0..TIMES {
                    let status = upload(agent.public, target, framing, piece.clone()).await;
                    assert_eq!(status, 413, "{target}, {framing}, time {time}");
                }
            }
        }
        assert_eq!(Client::of(agent.public).load(100, 4).await, 100);
        assert_eq!(agent.log.count("POST /refused"), 4 * TIMES, "no upload was sent twice");
        assert_eq!(
            upload(agent.public, "/raw", &declared.0, declared.1).await,
            413,
            "after the whole upload"
        );
    })
    .await;
}

/// Node closes a connection on which nothing was asked for five seconds, and says so; the agent should not wait for that.
/// The app tells when a connection has ended, whoever ended it, and in that very moment the next requests come: of a kind
/// that must not be sent twice.
#[tokio::test]
async fn what_is_asked_while_idle_connections_to_the_app_end_is_answered_once() {
    const CLIENTS: usize = 8;
    run(App::Express, async |app| {
        let agent = Agent::start(app).await;
        let client = Client::of(agent.public);
        let mut kept = client.keep(CLIENTS).await;
        // All at once, so that the agent has as many connections to the app.
        kept.post_all("/echo").await;
        let ended = agent.ended_connections.lines();
        eventually("an idle connection to the app has ended", async || {
            (agent.ended_connections.lines() > ended).then_some(())
        })
        .await;
        kept.post_all("/echo").await;
        assert_eq!(agent.log.count("POST /echo"), 2 * CLIENTS);
    })
    .await;
}

/// A client that leaves in the midst of an upload is nobody's failure, and the next one is served.
#[tokio::test]
async fn a_client_that_leaves_in_the_midst_of_an_upload_harms_nobody() {
    run(App::Express, async |app| {
        let agent = Agent::start(app).await;
        for n in 1..=TIMES {
            let mut stream = TcpStream::connect(agent.public).await.expect("it listens");
            let head = format!("POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\nhalf");
            stream.write_all(head.as_bytes()).await.expect("the head is taken");
            eventually("the app has it", async || (agent.log.count("POST /echo") == n).then_some(())).await;
            drop(stream);
        }
        let client = Client::of(agent.public);
        assert_eq!(client.load(100, 4).await, 100);
        let counted = async || agent.metric("outrigger_requests_total").await;
        eventually_is("requests that the agent has counted", (TIMES + 100) as f64, counted).await;
        for outcome in ["app_error", "app_unreachable", "app_bad_reply", "app_truncated", "app_timeout"] {
            assert_eq!(agent.metric_of("outrigger_requests_total", outcome).await, 0.0, "{outcome}");
        }
    })
    .await;
}
