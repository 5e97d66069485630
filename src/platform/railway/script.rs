//! An API on loopback for tests that answers as it is told, one connection a request.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::config::{Railway, RailwayToken, Secret, TokenKind};

pub(super) const TOKEN: &str = "very-secret-0123456789";

/// What is answered.
#[derive(Clone)]
pub(super) enum Say {
    /// 200 and this data.
    Data(Value),
    /// 200 and one error.
    Error(&'static str),
    /// Anything: status, head lines, body.
    Raw(u16, String, String),
    /// Nothing, for ever.
    Silence,
    /// Half a reply.
    Half,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The operation's name.
    pub(super) name: String,
    pub(super) variables: Value,
    pub(super) head: String,
}

/// What was asked so far.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<Asked>>>);

impl Log {
    pub(super) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }

    /// The names in their order.
    pub(super) fn names(&self) -> Vec<String> {
        self.all().into_iter().map(|asked| asked.name).collect()
    }

    pub(super) fn count(&self, name: &str) -> usize {
        self.names().iter().filter(|it| *it == name).count()
    }
}

/// Starts it; `answer` is given each question and how many of its name came before.
pub(super) async fn start(answer: impl Fn(&Asked, usize) -> Say + Send + Sync + 'static) -> (Railway, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/graphql/v2", listener.local_addr().unwrap())).unwrap();
    let log = Log::default();
    let (kept, answer) = (log.clone(), Arc::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (log, answer) = (kept.clone(), answer.clone());
            tokio::spawn(async move { serve(stream, &log, &*answer).await });
        }
    });
    (config(url), log)
}

pub(super) fn config(url: Url) -> Railway {
    Railway {
        url,
        token: Some(RailwayToken { kind: TokenKind::Project, secret: Secret::new(TOKEN.to_owned()) }),
        project: "p-1".to_owned(),
        environment: "e-1".to_owned(),
        service: "s-1".to_owned(),
        timeout: Duration::from_secs(20),
        requests_per_hour: 1000,
        cancel_queued: true,
        stop_auto_deploy: true,
        replicas: 2,
    }
}

async fn serve(mut stream: TcpStream, log: &Log, answer: &(impl Fn(&Asked, usize) -> Say + ?Sized)) {
    let Some(asked) = read(&mut stream).await else { return };
    let before = log.count(&asked.name);
    log.0.lock().unwrap().push(asked.clone());
    let (status, head, body) = match answer(&asked, before) {
        Say::Data(data) => (200, String::new(), json!({"data": data}).to_string()),
        Say::Error(message) => {
            (200, String::new(), json!({"data": null, "errors": [{"message": message}]}).to_string())
        }
        Say::Raw(status, head, body) => (status, head, body),
        Say::Silence => std::future::pending().await,
        Say::Half => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"da").await;
            return;
        }
    };
    let head =
        format!("HTTP/1.1 {status} X\r\n{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    // Whoever had enough of a huge reply hangs up.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body.as_bytes()).await;
}

async fn read(stream: &mut TcpStream) -> Option<Asked> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length =
                head.split("content-length: ").nth(1)?.lines().next()?.trim().parse::<usize>().ok()?;
            if bytes.len() >= end + 4 + length {
                let body: Value = serde_json::from_slice(&bytes[end + 4..]).ok()?;
                let query = body["query"].as_str()?;
                let words = query.split_once("query ").or_else(|| query.split_once("mutation "))?.1;
                let name = words.split(['(', ' ', '{']).next()?.to_owned();
                return Some(Asked { name, variables: body["variables"].clone(), head });
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(n @ 1..) => bytes.extend_from_slice(&chunk[..n]),
            Ok(_) | Err(_) => return None,
        }
    }
}
