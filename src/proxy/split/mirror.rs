//! A copy of a request on a connection of its own, whose reply is read and dropped.
//!
//! The copy asks the app to close, so that the reply's end needs no understanding of it, and nothing of a slow or broken
//! app is left for anybody after it. It knows neither the main request nor the recorder; who calls it runs it in a task
//! of its own, which does not end with the client.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::proxy::socket::AppSocket;
use crate::proxy::split::Mirror;

/// The field that marks a copy. What has it is not copied again.
pub(in crate::proxy) const MARK: &str = "X-Outrigger-Mirror";

/// How many copies one worker has under way; more are dropped.
pub(in crate::proxy) const AT_ONCE_MAX: usize = 64;

/// The usual bounds of a copy.
pub(in crate::proxy) const LIMIT: Limit =
    Limit { time: Duration::from_secs(30), reply_bytes: 16 * 1024 * 1024 };

/// Left out of every copy: they are about the connection that it does not share.
const OF_THE_HOP: [&str; 6] = ["connection", "keep-alive", "te", "upgrade", "expect", "proxy-connection"];
/// Left out unless they are asked for: with them a GET, too, may be somebody's.
const CREDENTIALS: [&str; 3] = ["cookie", "authorization", "proxy-authorization"];

/// What is read at once.
const BUFFER: usize = 16 * 1024;
/// `HTTP/1.1 200`: all that is looked at of a reply.
const STATUS_AT: usize = 9;
const STATUS_END: usize = 12;

/// When a copy is given up and its connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Limit {
    /// From the first byte sent to the last one read.
    pub(in crate::proxy) time: Duration,
    /// More of a reply is not read.
    pub(in crate::proxy) reply_bytes: usize,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Outcome {
    /// The reply was read to its end.
    Replied {
        /// Its status.
        status: u16,
    },
    /// There was more than [`Limit::reply_bytes`].
    TooLong {
        /// Its status.
        status: u16,
    },
    /// It did not end within [`Limit::time`].
    TooSlow,
    /// The connection failed, or what came is no reply.
    Failed,
}

/// Counts the copies that a worker has under way.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct Copies(Rc<Cell<usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct Copy(Rc<Cell<usize>>);

impl Copies {
    /// A place for one more; `None`: the copy is not made.
    pub(in crate::proxy) fn begin(&self) -> Option<Copy> {
        let under_way = self.0.get();
        (under_way < AT_ONCE_MAX).then(|| {
            self.0.set(under_way + 1);
            Copy(Rc::clone(&self.0))
        })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// The copy's head from `head`, the one that the stable app is sent, with its empty line. The body, if any, follows it.
pub(in crate::proxy) fn copy_of(head: &[u8], mirror: &Mirror) -> Vec<u8> {
    let mut copy = Vec::with_capacity(head.len() + 64);
    for (i, line) in head.split_inclusive(|b| *b == b'\n').enumerate() {
        let name = line.split(|b| *b == b':').next().unwrap_or_default();
        let is = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
        let is_left_out = is(&OF_THE_HOP) || !mirror.with_credentials && is(&CREDENTIALS);
        let is_end = line == b"\r\n";
        if is_end || i > 0 && is_left_out {
            continue;
        }
        copy.extend_from_slice(line);
    }
    copy.extend_from_slice(format!("{MARK}: 1\r\nConnection: close\r\n\r\n").as_bytes());
    copy
}

/// Sends `message` over `socket`, within the usual bounds, and drops the reply.
pub(in crate::proxy) async fn send_on(socket: AppSocket, message: Vec<u8>) -> Outcome {
    match socket {
        AppSocket::Tcp(stream) => send(stream, message, LIMIT).await,
        AppSocket::Unix(stream) => send(stream, message, LIMIT).await,
    }
}

/// Sends `message` and drops the reply.
pub(in crate::proxy) async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    message: Vec<u8>,
    limit: Limit,
) -> Outcome {
    match tokio::time::timeout(limit.time, exchange(stream, message, limit.reply_bytes)).await {
        Ok(outcome) => outcome.unwrap_or(Outcome::Failed),
        Err(_) => Outcome::TooSlow,
    }
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    message: Vec<u8>,
    reply_bytes: usize,
) -> io::Result<Outcome> {
    stream.write_all(&message).await?;
    stream.flush().await?;
    drop(message);
    let mut buffer = vec![0; BUFFER];
    let (mut kept, mut read) = (0, 0);
    loop {
        // The first bytes stay: they say the status.
        let n = stream.read(&mut buffer[kept..]).await?;
        read += n;
        kept = (kept + n).min(STATUS_END);
        let status = status_of(&buffer[..kept]);
        match status {
            Some(status) if n == 0 => return Ok(Outcome::Replied { status }),
            Some(status) if read > reply_bytes => return Ok(Outcome::TooLong { status }),
            None if n == 0 || kept == STATUS_END => return Ok(Outcome::Failed),
            Some(_) | None => {}
        }
    }
}

fn status_of(start: &[u8]) -> Option<u16> {
    let digits = start.get(STATUS_AT..STATUS_END).filter(|_| start.starts_with(b"HTTP/1."))?;
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|status| (100..600).contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIRROR: Mirror =
        Mirror { share: crate::proxy::Share::ALL, body_max: Mirror::BODY_MAX, with_credentials: false };
    const QUICK: Limit = Limit { time: Duration::from_secs(20), reply_bytes: 100_000 };

    #[test]
    fn a_copy_is_marked_and_carries_no_credentials() {
        let head = "GET /?cookie: HTTP/1.1\r\nHost: a\r\nCookie: b=c\r\nAUTHORIZATION: d\r\nTE: trailers\r\n\
                    Connection: te\r\nX-Cookie: kept\r\n\r\n";
        let copy = |mirror| String::from_utf8(copy_of(head.as_bytes(), &mirror)).unwrap();
        assert_eq!(
            copy(MIRROR),
            "GET /?cookie: HTTP/1.1\r\nHost: a\r\nX-Cookie: kept\r\nX-Outrigger-Mirror: 1\r\nConnection: close\r\n\r\n"
        );
        let full = copy(Mirror { with_credentials: true, ..MIRROR });
        assert!(full.contains("\r\nCookie: b=c\r\nAUTHORIZATION: d\r\nX-Cookie"), "{full}");
    }

    #[test]
    fn no_more_than_so_many_copies_are_under_way() {
        let copies = Copies::default();
        let mut held: Vec<Copy> = std::iter::from_fn(|| copies.begin()).collect();
        assert_eq!(held.len(), AT_ONCE_MAX);
        held.pop();
        assert!(copies.begin().is_some() && copies.clone().begin().is_some());
        held.extend(copies.begin());
        assert!(copies.begin().is_none());
    }

    /// What becomes of a copy whose app says this and then closes, or goes on for ever.
    async fn outcome(reply: &[u8], closes: bool, limit: Limit) -> Outcome {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let app = async {
            let mut request = [0; 4];
            theirs.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"copy");
            // It may have been given up.
            let _ = theirs.write_all(reply).await;
            if !closes {
                std::future::pending::<()>().await;
            }
            drop(theirs);
        };
        tokio::select! {
            biased;
            outcome = send(ours, b"copy".to_vec(), limit) => outcome,
            outcome = async { app.await; std::future::pending().await } => outcome,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_is_dropped_and_its_status_told() {
        let long = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 50_000]].concat();
        assert_eq!(outcome(&long, true, QUICK).await, Outcome::Replied { status: 200 });
        assert_eq!(outcome(b"HTTP/1.0 500 \r\n\r\n", true, QUICK).await, Outcome::Replied { status: 500 });
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_endless_slow_or_no_reply_is_given_up() {
        let long = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[b'x'; 200_000]].concat();
        assert_eq!(outcome(&long, false, QUICK).await, Outcome::TooLong { status: 200 });
        assert_eq!(outcome(b"HTTP/1.1 200 OK\r\n\r\nx", false, QUICK).await, Outcome::TooSlow);
        assert_eq!(outcome(b"", false, QUICK).await, Outcome::TooSlow);
        for broken in [&b""[..], b"HTTP/1.1 2", b"SSH-2.0-OpenSSH_9", b"HTTP/1.1 999 x"] {
            assert_eq!(outcome(broken, true, QUICK).await, Outcome::Failed, "{broken:?}");
        }
    }
}
