//! An app made of a closure, a proxy before it, and the recorder behind it.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use outrigger::clock::Clock;
use outrigger::config;
use outrigger::engine::observation::Outcome;
use outrigger::proxy::{
    Arm, DataPlane, Drained, LocalPage, LocalPages, Phase, Plan, Shards, Upstream, start,
};
use outrigger::recorder::Recorder;
use tokio::net::TcpSocket;

/// No wait in a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A port free on one address of loopback is mostly free on the other.
const PORT_TRIES_MAX: usize = 100;

pub(crate) struct Rig {
    pub(crate) plane: DataPlane,
    pub(crate) plan: Arc<ArcSwap<Plan>>,
    clock: Clock,
    seen: Mutex<([Recorder; 2], Seen)>,
}

/// What the recorder was told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) outcomes: Vec<(Outcome, u64)>,
    pub(crate) latencies: u64,
    pub(crate) in_flight: u64,
    pub(crate) arrived: u64,
}

impl Seen {
    pub(crate) fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.iter().filter(|(o, _)| *o == outcome).map(|(_, n)| n).sum()
    }

    fn ended(&self) -> u64 {
        // What crossed to the other app ends there.
        self.outcomes.iter().filter(|(o, _)| *o != Outcome::Crossed).map(|(_, n)| n).sum()
    }
}

impl Rig {
    pub(crate) fn new(port: u16) -> Self {
        Self::with(port, Phase::Serving, |_| {})
    }

    pub(crate) fn with(port: u16, phase: Phase, tweak: impl FnOnce(&mut config::Proxy)) -> Self {
        let mut settings = config::Proxy { workers: 2, ..config::Proxy::default() };
        tweak(&mut settings);
        let clock = Clock::start();
        let recorder = Recorder::new(settings.workers, clock.now());
        let plan = Plan::whole(Arm { upstream: Upstream::Loopback { port }, generation: 1, phase });
        let plan = Arc::new(ArcSwap::from_pointee(plan));
        let local: LocalPages = Arc::new(|asked| {
            assert!(asked.path != "/panic", "asked to panic");
            let page = || http::Response::new(Bytes::from_static(b"own page"));
            match asked.path {
                "/own" => Some(LocalPage::Now(page())),
                "/own-soon" => Some(LocalPage::Soon(Box::pin(async move {
                    tokio::task::yield_now().await;
                    page()
                }))),
                _ => None,
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let candidate = Recorder::new(settings.workers, clock.now());
        let shards = Shards { stable: recorder.shards(), candidate: candidate.shards() };
        let plane = start(settings, listener, Arc::clone(&plan), shards, clock, local).unwrap();
        Self { plane, plan, clock, seen: Mutex::new(([recorder, candidate], Seen::default())) }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.plane.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends `bytes` on a new connection and reads one reply.
    pub(crate) fn ask(&self, bytes: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).unwrap();
        Reply::read(&mut stream)
    }

    pub(crate) fn seen(&self) -> Seen {
        let mut guard = self.seen.lock().unwrap();
        let (recorders, seen) = &mut *guard;
        seen.in_flight = 0;
        for recorder in recorders {
            let window = recorder.seal(self.clock.now(), self.clock.micros(), false);
            seen.outcomes.extend(window.counts.iter().map(|c| (c.outcome, c.count)));
            seen.latencies += window.latencies.count();
            seen.in_flight += window.in_flight;
            seen.arrived += window.arrived;
        }
        seen.clone()
    }

    /// What was recorded once `count` requests have ended.
    pub(crate) fn seen_after(&self, count: u64) -> Seen {
        let seen = until(|| Some(self.seen()).filter(|s| s.ended() >= count));
        assert_eq!(seen.ended(), count, "{seen:?}");
        seen
    }

    pub(crate) fn finish(&self, deadline: Duration) -> Drained {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.plane.finish(deadline))
    }
}

/// Asks again until there is an answer.
pub(crate) fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let clock = Clock::start();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(clock.uptime() < PATIENCE, "it never came to be");
        std::thread::yield_now();
    }
}

/// An app: each connection on a thread of its own.
pub(crate) fn app(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    app_at(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

/// A port that refuses, on either address of loopback. Bound and not listening, it is given to no other test while this
/// lives; an app may listen on it, for it says `SO_REUSEADDR` as we do.
pub(crate) struct Closed {
    pub(crate) port: u16,
    _held: [TcpSocket; 2],
}

impl Closed {
    pub(crate) fn new() -> Self {
        let held = |address: IpAddr, port| {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind((address, port).into()).map(|()| socket)
        };
        let both = || {
            let four = held(Ipv4Addr::LOCALHOST.into(), 0).ok()?;
            let port = four.local_addr().ok()?.port();
            let six = held(Ipv6Addr::LOCALHOST.into(), port).ok()?;
            Some(Self { port, _held: [four, six] })
        };
        (0..PORT_TRIES_MAX).find_map(|_| both()).expect("some port is free on both addresses")
    }
}

pub(crate) fn app_at(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// An app that reads a request's head and then sends these bytes and closes.
pub(crate) fn app_saying(reply: &'static [u8]) -> u16 {
    app(move |mut stream| {
        if read_head(&mut stream).is_some() {
            let _ = stream.write_all(reply);
        }
    })
}

/// An app that answers every request on a connection with its own head as the body. Bodies must be of known length.
pub(crate) fn app_echoing() -> (u16, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heads);
    let port = app(move |mut stream| {
        while let Some(head) = read_head(&mut stream) {
            let mut body = vec![0; content_length(&head).unwrap_or(0)];
            stream.read_exact(&mut body).unwrap();
            log.lock().unwrap().push(head.clone());
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    });
    (port, heads)
}

/// A head up to and with its empty line, in lower case but for the first line; `None` at the end.
pub(crate) fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

pub(crate) fn header<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.trim())
        .collect()
}

pub(crate) fn content_length(head: &str) -> Option<usize> {
    header(head, "content-length").first().map(|v| v.parse().unwrap())
}

/// A reply, read off a connection.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body's end was marked: by its length or by the last chunk.
    pub(crate) whole: bool,
}

impl Reply {
    /// Reads one reply, passing over interim ones.
    pub(crate) fn read(stream: &mut TcpStream) -> Self {
        let mut head = read_head(stream).unwrap_or_default();
        while head.starts_with("HTTP/1.1 100 ") || head.starts_with("HTTP/1.1 103 ") {
            head = read_head(stream).unwrap_or_default();
        }
        if let Some(length) = content_length(&head) {
            let mut body = Vec::new();
            let _ = stream.take(length as u64).read_to_end(&mut body);
            return Self { whole: body.len() == length, head, body };
        }
        if header(&head, "transfer-encoding") != ["chunked"] {
            let mut body = Vec::new();
            let whole = stream.read_to_end(&mut body).is_ok();
            return Self { head, body, whole };
        }
        let mut body = Vec::new();
        while let Some(size) = read_line(stream).and_then(|l| usize::from_str_radix(&l, 16).ok()) {
            let mut chunk = vec![0; size];
            if stream.read_exact(&mut chunk).is_err() {
                break;
            }
            body.extend(chunk);
            if read_line(stream).is_some() && size == 0 {
                return Self { head, body, whole: true };
            }
        }
        Self { head, body, whole: false }
    }

    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn read_line(stream: &mut TcpStream) -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => line.push(byte[0]),
            _ => return None,
        }
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).ok()
}
