//! Clients that keep their connections and come in waves, each wave after the one before by the app's limit, a little
//! less or a little more. They do not know what stands between them and the app.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use outrigger::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::app::{App, WORK};

/// Requests of a wave are spread over so long before and after its moment.
const SPREAD: Duration = Duration::from_millis(5);
/// Each so many waves, every client sends a second request on the heels of the first: connections must be re-used, too.
/// The first waves are single: nothing is learnt yet, and the race is hardest.
const PAIR_EVERY: usize = 8;
const PAIR_FIRST: usize = 3;
/// An answer that takes longer has failed.
const WAIT: Duration = Duration::from_secs(20);
/// Between two looks at the clock.
const TICK: Duration = Duration::from_millis(1);
/// Replies of these tests are far smaller.
const REPLY_BYTES_MAX: usize = 16 * 1024;
/// Until the first wave: the connections are made one after another.
const LEAD: Duration = Duration::from_millis(100);
/// Kinds of failure that are kept for the message.
const SHOWN_MAX: usize = 8;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Method {
    Get,
    Post,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) method: Method,
    pub(crate) waves: usize,
    pub(crate) clients: usize,
}

/// How it went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: usize,
    /// No answer, or another than the app's own.
    pub(crate) failed: usize,
    /// Requests that were answered and never came to the app.
    pub(crate) invented: usize,
    pub(crate) arrived_twice: usize,
    pub(crate) pipelined: usize,
    pub(crate) reused: usize,
    pub(crate) closed_idle: usize,
    /// The longest that the machine kept a task of this test from its turn.
    pub(crate) stalled: Duration,
    /// Some of the failures.
    pub(crate) kinds: Vec<String>,
}

impl Outcome {
    /// Something failed, and the machine stood still for so long that nobody could tell how old a connection was: when
    /// the reply comes late, its connection seems younger than it is. This run proves nothing.
    pub(crate) fn proves_nothing(&self, idle_limit: Duration) -> bool {
        self.failed > 0 && self.arrived_twice == 0 && self.stalled > idle_limit / 4
    }

    #[track_caller]
    pub(crate) fn is_flawless(&self) {
        assert!(self.requests > 0, "nothing was sent");
        let faults = self.failed + self.invented + self.arrived_twice + self.pipelined;
        assert_eq!(faults, 0, "{self:?}");
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.failed as f64 / self.requests as f64 * 100.0;
        write!(f, "requests={} failed={} ({share:.2} %) ", self.requests, self.failed)?;
        write!(f, "twice={} reused={} ", self.arrived_twice, self.reused)?;
        write!(f, "closed_idle={} stalled={:.0?}", self.closed_idle, self.stalled)
    }
}

fn is_pair(wave: usize) -> bool {
    wave % PAIR_EVERY == PAIR_FIRST
}

impl Load {
    /// All of them, pairs included.
    pub(crate) fn requests(self) -> usize {
        let pairs = (0..self.waves).filter(|wave| is_pair(*wave)).count();
        (self.waves + pairs) * self.clients
    }

    /// Sends all of it to `to`, behind which `app` stands.
    pub(crate) async fn run(self, app: &App, to: SocketAddr) -> Outcome {
        let start = Instant::from_std(Clock::start().instant()) + LEAD;
        let period = app.idle_limit() + WORK;
        let mut clients = JoinSet::new();
        for client in 0..self.clients {
            clients.spawn(self.client(client, to, start, period));
        }
        let longest = Arc::new(AtomicU64::new(0));
        let stall = tokio::spawn(watch(longest.clone()));
        let mut outcome = Outcome { requests: self.requests(), ..Outcome::default() };
        for failures in clients.join_all().await {
            outcome.failed += failures.len();
            outcome.kinds.extend(failures);
        }
        stall.abort();
        outcome.stalled = Duration::from_micros(longest.load(Ordering::Relaxed));
        outcome.kinds.truncate(SHOWN_MAX);
        let arrivals: Vec<u32> = app.log.arrivals.iter().map(|a| a.load(Ordering::Relaxed)).collect();
        let arrived = arrivals.iter().filter(|times| **times > 0).count();
        outcome.invented = (outcome.requests - outcome.failed).saturating_sub(arrived);
        outcome.arrived_twice = arrivals.iter().filter(|times| **times > 1).count();
        outcome.pipelined = app.log.surplus.load(Ordering::Relaxed);
        outcome.reused = app.log.reused.load(Ordering::Relaxed);
        outcome.closed_idle = app.log.closed_idle.load(Ordering::Relaxed);
        outcome
    }

    /// One client's failures.
    async fn client(self, client: usize, to: SocketAddr, start: Instant, period: Duration) -> Vec<String> {
        let mut chance = fastrand::Rng::with_seed(client as u64);
        let mut connection = None;
        let mut failures = Vec::new();
        let mut number = client;
        for wave in 0..self.waves {
            let spread = Duration::from_micros(chance.u64(0..2 * SPREAD.as_micros() as u64));
            let wave_at = start + period * u32::try_from(wave).expect("waves are few");
            sleep_until(wave_at + spread - SPREAD).await;
            let times = if is_pair(wave) { 2 } else { 1 };
            for _ in 0..times {
                let sent = timeout(WAIT, self.send(&mut connection, to, number)).await;
                let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                if let Err(error) = sent {
                    connection = None;
                    failures.push(format!("wave {wave}: {error}"));
                }
                number += self.clients;
            }
        }
        failures
    }

    /// One request on the kept connection, or on a new one where none is kept.
    async fn send(self, connection: &mut Option<TcpStream>, to: SocketAddr, number: usize) -> io::Result<()> {
        let mut stream = match connection.take() {
            Some(stream) => stream,
            None => TcpStream::connect(to).await?,
        };
        stream.set_nodelay(true)?;
        let request = match self.method {
            Method::Get => format!("GET /{number} HTTP/1.1\r\nhost: race\r\n\r\n"),
            Method::Post => {
                let body = format!("this is request {number}");
                let length = body.len();
                format!("POST /{number} HTTP/1.1\r\nhost: race\r\ncontent-length: {length}\r\n\r\n{body}")
            }
        };
        stream.write_all(request.as_bytes()).await?;
        let (head, body) = reply(&mut stream).await?;
        if !head.starts_with("http/1.1 200 ") || body != number.to_string() {
            return Err(io::Error::other(format!("not the app's answer: {head} {body}")));
        }
        if !head.contains("connection: close") {
            *connection = Some(stream);
        }
        Ok(())
    }
}

/// Looks at the clock as often as it is let, and keeps the longest time between two looks, in microseconds.
async fn watch(longest: Arc<AtomicU64>) {
    let clock = Clock::start();
    let mut last = clock.micros();
    loop {
        sleep(TICK).await;
        let now = clock.micros();
        longest.fetch_max(now - last, Ordering::Relaxed);
        last = now;
    }
}

/// Head, in lower case, and body.
async fn reply(stream: &mut TcpStream) -> io::Result<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        let mut more = [0; 1024];
        let length = stream.read(&mut more).await?;
        bytes.extend_from_slice(&more[..length]);
        if length == 0 || bytes.len() > REPLY_BYTES_MAX {
            let come = bytes.len();
            return Err(io::Error::other(format!("closed after {come} bytes of a reply")));
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.ok_or_else(|| io::Error::other(format!("no length: {head}")))?;
        if body.len() >= length {
            return Ok((head, body.to_owned()));
        }
    }
}
