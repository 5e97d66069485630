//! For tests: an agent that answers what it is told to, one request a connection.

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use crate::cli::read::{Agent, SOCKET};

/// What it answers: a status and a body.
pub(in crate::cli) type Answers = Vec<(u16, String)>;

/// The agent's place, how to ask it, and what it was asked when it has given all its answers.
pub(in crate::cli) fn answering(answers: Answers) -> (TempDir, Agent, JoinHandle<Vec<String>>) {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join(SOCKET)).unwrap();
    let agent = Agent { data: Some(dir.path().to_owned()), ..Agent::default() };
    let served = tokio::spawn(async move {
        let mut all = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 8192];
            let mut n = 0;
            while !is_whole(&asked[..n]) {
                n += stream.read(&mut asked[n..]).await.unwrap();
            }
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            all.push(String::from_utf8(asked[..n].to_vec()).unwrap());
        }
        all
    });
    (dir, agent, served)
}

fn is_whole(asked: &[u8]) -> bool {
    asked.ends_with(b"}") || asked.starts_with(b"GET") && asked.ends_with(b"\r\n\r\n")
}
