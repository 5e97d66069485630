//! The admin port as its clients see it, over real sockets.

mod access;
mod by_hand;
pub(crate) mod fixture;
mod health;
mod host;
mod pages;
mod peers;
mod port;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::serve::{Limits, serve_tcp_within};
use crate::admin::shared::{Command, Shared};

/// Nothing in these tests takes this long, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// An admin port that is open.
struct Port {
    address: std::net::SocketAddr,
    shared: Arc<Shared>,
    asked: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    fn error(&self) -> String {
        self.json()["error"].as_str().unwrap().to_owned()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|l| l.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
        Some(line.split_once(':').unwrap().1.trim())
    }
}

impl Port {
    async fn open(token: Option<&str>) -> Self {
        Self::open_within(Limits::default(), token).await
    }

    async fn open_within(limits: Limits, token: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shared, asked) = fixture::shared(token);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve_tcp_within(limits, listener, shared.clone(), shutdown.clone()));
        Self { address, shared, asked, shutdown, task }
    }

    fn publish(&self) -> &Self {
        self.shared.publish(fixture::live(), &fixture::window(1, 100, 3));
        self
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    async fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        exchange(self.connect().await, method, path, fields, body).await
    }

    /// With the token and as JSON.
    async fn post(&self, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", fixture::TOKEN);
        self.send("POST", path, &[("authorization", &bearer), ("content-type", "application/json")], body)
            .await
    }

    /// Answers the next command with `answer`, on the agent's side.
    fn agent(mut self, answer: impl FnOnce(Command) + Send + 'static) -> Self {
        let mut asked = std::mem::replace(&mut self.asked, mpsc::channel(1).1);
        tokio::spawn(async move { answer(asked.recv().await.unwrap()) });
        self
    }
}

async fn exchange(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !fields.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    io.write_all(head.as_bytes()).await.unwrap();
    // A refusal may close the connection before all of a large body is taken.
    let _ = io.write_all(body.as_bytes()).await;
    let mut text = Vec::new();
    let read = tokio::time::timeout(PATIENCE, io.read_to_end(&mut text)).await.unwrap();
    let text = String::from_utf8(text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?} {read:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

async fn read_until(io: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        let mut bytes = [0; 4096];
        while !text.contains(wanted) {
            let n = io.read(&mut bytes).await.unwrap();
            assert!(n > 0, "ended before {wanted:?}: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    text
}
