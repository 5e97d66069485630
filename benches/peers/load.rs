//! The load: kept connections, one request at a time on each, either as fast as they go or at a constant rate. It knows
//! what a good reply is, and nothing of what stands before it.
//!
//! At a constant rate the schedule stands from the start, and a latency counts from the moment when its request was due:
//! a proxy that stalls makes the requests behind it late, and that is part of what it costs. A thread a connection: the
//! timers of an async runtime are as coarse as a millisecond, ten times what a proxy adds.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use outrigger::clock::Clock;

/// A reply that takes longer ends the run.
const WAIT: Duration = Duration::from_secs(30);
/// Between the making of the threads and the first request that is due.
const LEAD: Duration = Duration::from_millis(20);
/// A head beyond it ends the run; ours has some hundred bytes.
const BUFFER: usize = 32 * 1024;

/// What is sent and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Traffic {
    /// GET, answered with 33 bytes: the cost of the messages as such.
    Small,
    /// POST of 2 KB, answered with 10 KB: bodies, too.
    Large,
}

impl Traffic {
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Large];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Small => "GET, reply of 33 bytes",
            Self::Large => "POST of 2 KB, reply of 10 KB",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Small => "/small",
            Self::Large => "/large",
        }
    }

    pub(crate) fn reply_bytes(self) -> usize {
        match self {
            Self::Small => 33,
            Self::Large => 10 * 1024,
        }
    }

    fn request(self) -> Vec<u8> {
        let path = self.path();
        let head = format!("{path} HTTP/1.1\r\nhost: bench.example\r\nuser-agent: peers\r\naccept: */*\r\n");
        match self {
            Self::Small => format!("GET {head}\r\n").into_bytes(),
            Self::Large => {
                let body = "z".repeat(2048);
                format!("POST {head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
            }
        }
    }
}

struct Connection {
    stream: TcpStream,
    traffic: Traffic,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(to: SocketAddr, traffic: Traffic) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(WAIT))?;
        stream.set_write_timeout(Some(WAIT))?;
        Ok(Self { stream, traffic, request: traffic.request(), buffer: vec![0; BUFFER] })
    }

    /// A request and its whole reply, which is a good one.
    fn exchange(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.request).context("send a request")?;
        let mut length = 0;
        let whole = loop {
            let more = self.stream.read(&mut self.buffer[length..]).context("read a reply")?;
            if more == 0 {
                bail!(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            length += more;
            if let Some(whole) = self.reply_length(length)? {
                break whole;
            }
        };
        ensure!(length == whole, "{} bytes behind the reply", length - whole);
        Ok(())
    }

    /// Head and body together, once all of it is there.
    fn reply_length(&self, length: usize) -> anyhow::Result<Option<usize>> {
        let bytes = &self.buffer[..length];
        let Some(head) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            ensure!(length < BUFFER, "a head without an end");
            return Ok(None);
        };
        let text = str::from_utf8(&bytes[..head]).context("a head that is no text")?;
        ensure!(text.starts_with("HTTP/1.1 200 "), "not a 200: {text}");
        let field = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim())
        });
        let body: usize = field.context("a reply without its length")?.parse()?;
        ensure!(body == self.traffic.reply_bytes(), "a reply of {body} bytes");
        let whole = head + 4 + body;
        Ok((length >= whole).then_some(whole))
    }
}

/// Open connections, each of which has served a request.
pub(crate) struct Load {
    connections: Vec<Connection>,
}

impl Load {
    pub(crate) fn open(to: SocketAddr, traffic: Traffic, connections: usize) -> anyhow::Result<Self> {
        let mut load = Self { connections: Vec::with_capacity(connections) };
        load.grow(to, traffic, connections)?;
        Ok(load)
    }

    /// More of them, until there are so many.
    pub(crate) fn grow(
        &mut self,
        to: SocketAddr,
        traffic: Traffic,
        connections: usize,
    ) -> anyhow::Result<()> {
        while self.connections.len() < connections {
            let mut connection = Connection::open(to, traffic)?;
            connection.exchange()?;
            self.connections.push(connection);
        }
        Ok(())
    }

    /// So many requests, one after another on each connection.
    pub(crate) fn as_fast_as_they_go(&mut self, requests: usize) -> anyhow::Result<()> {
        let all = self.connections.len();
        self.on_each(|i, connection, goes_on| {
            for _ in (i..requests).step_by(all) {
                if !goes_on() {
                    break;
                }
                connection.exchange()?;
            }
            Ok(Vec::new())
        })?;
        Ok(())
    }

    /// Latencies at a constant rate over all connections, sorted.
    pub(crate) fn at_rate(&mut self, rate: u32, time: Duration) -> anyhow::Result<Vec<Duration>> {
        let clock = Clock::start();
        let start = clock.instant() + LEAD;
        let all = self.connections.len();
        let requests = (f64::from(rate) * time.as_secs_f64()) as usize;
        let mut latencies = self.on_each(|i, connection, goes_on| {
            let mut latencies = Vec::with_capacity(requests / all + 1);
            for k in (i..requests).step_by(all) {
                if !goes_on() {
                    break;
                }
                let due = start + Duration::from_secs_f64(k as f64 / f64::from(rate));
                thread::sleep(due.saturating_duration_since(clock.instant()));
                connection.exchange()?;
                latencies.push(clock.instant() - due);
            }
            Ok(latencies)
        })?;
        latencies.sort_unstable();
        Ok(latencies)
    }

    /// The first failure stops all.
    fn on_each(
        &mut self,
        work: impl Fn(usize, &mut Connection, &dyn Fn() -> bool) -> anyhow::Result<Vec<Duration>> + Sync,
    ) -> anyhow::Result<Vec<Duration>> {
        let failed = AtomicBool::new(false);
        let goes_on = || !failed.load(Ordering::Relaxed);
        thread::scope(|scope| {
            let threads: Vec<_> = (self.connections.iter_mut().enumerate())
                .map(|(i, connection)| {
                    let (work, failed, goes_on) = (&work, &failed, &goes_on);
                    scope.spawn(move || {
                        let outcome = work(i, connection, goes_on);
                        failed.fetch_or(outcome.is_err(), Ordering::Relaxed);
                        outcome
                    })
                })
                .collect();
            let mut all = Vec::new();
            for thread in threads {
                all.extend(thread.join().expect("the load does not panic")?);
            }
            Ok(all)
        })
    }
}

/// Of sorted latencies, in microseconds.
pub(crate) fn quantile_us(sorted: &[Duration], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted[at.min(sorted.len() - 1)].as_secs_f64() * 1e6
}
