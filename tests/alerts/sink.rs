//! A receiver of alerts that answers by a script, and 200 after its end.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::WAIT;

/// What a post is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// This status with these further header lines.
    Status(u16, &'static str),
    /// 200, and a body that ends before its length does.
    Half,
    /// The connection is closed without a word.
    Cut,
    /// Nothing, until the other side goes.
    Silence,
}

/// A post as it came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) key: String,
    pub(crate) event: String,
    pub(crate) signature: String,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
    pub(crate) was_taken: bool,
}

pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    posts: Arc<Mutex<Vec<Post>>>,
    count: watch::Receiver<usize>,
    /// The last one is the next.
    script: Arc<Mutex<Vec<Answer>>>,
}

impl Sink {
    pub(crate) async fn start(script: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posts = Arc::new(Mutex::new(Vec::new()));
        let (told, count) = watch::channel(0);
        let seen = Arc::clone(&posts);
        let script = Arc::new(Mutex::new(script.into_iter().rev().collect()));
        let answers = Arc::clone(&script);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, &answers, &seen, &told).await;
            }
        });
        Self { address, posts, count, script }
    }

    /// Nobody listens there.
    pub(crate) async fn closed() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { address, posts: Arc::default(), count: watch::channel(0).1, script: Arc::default() }
    }

    /// What the next posts are answered, before what was still to come.
    pub(crate) fn answer(&self, next: impl DoubleEndedIterator<Item = Answer>) {
        self.script.lock().unwrap().extend(next.rev());
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.posts.lock().unwrap().clone()
    }

    /// Once there are so many posts.
    pub(crate) async fn posted(&self, count: usize) {
        let mut seen = self.count.clone();
        timeout(WAIT, seen.wait_for(|seen| *seen >= count)).await.expect("it is posted in time").unwrap();
    }

    /// The posts that were answered 200, once there are so many.
    pub(crate) async fn taken(&self, count: usize) -> Vec<Post> {
        let mut seen = self.count.clone();
        let enough = |_: &usize| self.taken_now().len() >= count;
        let waited = timeout(WAIT, seen.wait_for(enough)).await.is_ok();
        assert!(waited, "only {:?}", self.posts());
        self.taken_now()
    }

    /// What was still to come is forgotten.
    pub(crate) fn answers_again(&self) {
        self.script.lock().unwrap().clear();
    }

    /// The posts that were answered 200 by now.
    pub(crate) fn taken_now(&self) -> Vec<Post> {
        self.posts().into_iter().filter(|it| it.was_taken).collect()
    }
}

/// One post a connection: each answer closes it.
async fn serve(
    mut stream: TcpStream,
    script: &Mutex<Vec<Answer>>,
    posts: &Mutex<Vec<Post>>,
    told: &watch::Sender<usize>,
) {
    let Some((head, bytes)) = read(&mut stream).await else { return };
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    let answer = script.lock().unwrap().pop().unwrap_or(Answer::Status(200, ""));
    let header = |name: &str| {
        let line = head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        line.map(|(_, value)| value.to_owned())
    };
    let was_taken = matches!(answer, Answer::Status(200, _) | Answer::Half);
    let post = Post {
        key: header("idempotency-key").unwrap_or_default(),
        event: body["event"].as_str().unwrap_or_default().to_owned(),
        signature: header("outrigger-signature-256").unwrap_or_default(),
        body,
        bytes,
        was_taken,
    };
    // Before the answer: who has it may look at once.
    posts.lock().unwrap().push(post);
    told.send_modify(|count| *count += 1);
    match answer {
        Answer::Status(status, headers) => {
            let text =
                format!("HTTP/1.1 {status} X\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Answer::Half => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
        }
        Answer::Cut => {}
        Answer::Silence => {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let body = bytes.get(end + 4..end + 4 + length.unwrap_or(0));
        if let Some(body) = body {
            return Some((head, body.to_vec()));
        }
    }
}
