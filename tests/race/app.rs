//! An app that closes its connections after exactly so long without a request, and counts what comes to it. It does not
//! know who sends.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How long each request takes. Longer than the requests of a wave are spread, so that all of them are under way at once
/// and each needs a connection of its own; else a few young connections would serve them all.
pub(crate) const WORK: Duration = Duration::from_millis(15);
/// Heads and bodies of these tests are far smaller; more is a fault of the sender, and the connection is closed.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Then a new connection without a request is closed.
const FIRST_REQUEST_WAIT: Duration = Duration::from_secs(60);
/// More connects at once wait a second, for the kernel drops them; a wave may be one of hundreds of new connections.
const BACKLOG: u32 = 4096;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    /// A connection without a request for so long is closed.
    pub(crate) idle_limit: Duration,
    /// Whether replies say so, in whole seconds.
    pub(crate) announces: bool,
}

/// What came.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// How often each request came, by its number.
    pub(crate) arrivals: Vec<AtomicU32>,
    /// Requests on a connection that had served one before.
    pub(crate) reused: AtomicUsize,
    /// Connections that were closed for being idle, by the app.
    pub(crate) closed_idle: AtomicUsize,
    /// Bytes behind a request before it was answered: pipelined.
    pub(crate) surplus: AtomicUsize,
}

/// Ends when dropped, with its connections as soon as they are idle.
pub(crate) struct App {
    address: SocketAddr,
    habit: Habit,
    pub(crate) log: Arc<Log>,
    accepting: JoinHandle<()>,
}

impl Drop for App {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl App {
    /// `requests`: more will not come.
    pub(crate) async fn start(habit: Habit, requests: usize) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("loopback has a free port");
        let listener = socket.listen(BACKLOG).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let arrivals = (0..requests).map(|_| AtomicU32::new(0)).collect();
        let log = Arc::new(Log { arrivals, ..Log::default() });
        let into = log.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a listening socket accepts");
                stream.set_nodelay(true).expect("a TCP socket has it");
                let log = into.clone();
                // Whoever hangs up hangs up; the clients count what was lost.
                tokio::spawn(async move { serve(stream, habit, &log).await });
            }
        });
        Self { address, habit, log, accepting }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn idle_limit(&self) -> Duration {
        self.habit.idle_limit
    }
}

async fn serve(mut stream: TcpStream, habit: Habit, log: &Log) -> io::Result<()> {
    let mut served = 0;
    loop {
        let mut bytes = vec![0; REQUEST_BYTES_MAX];
        // As in most apps, the limit is one between requests: a new connection is given time.
        let limit = if served == 0 { FIRST_REQUEST_WAIT } else { habit.idle_limit };
        // The timer is asked first: a request that has come in the same moment is thrown away unread, as apps do.
        let mut length = tokio::select! {
            biased;
            () = sleep(limit) => {
                log.closed_idle.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            length = stream.read(&mut bytes) => length?,
        };
        let request = loop {
            if let Some(request) = Request::parse(&bytes[..length]) {
                break request;
            }
            match stream.read(&mut bytes[length..]).await? {
                0 => return Ok(()),
                more => length += more,
            }
        };
        log.arrivals[request.number].fetch_add(1, Ordering::Relaxed);
        log.reused.fetch_add(usize::from(served > 0), Ordering::Relaxed);
        served += 1;
        while length < request.length {
            match stream.read(&mut bytes[length..]).await? {
                0 => return Ok(()),
                more => length += more,
            }
        }
        sleep(WORK).await;
        let early = length > request.length || stream.try_read(&mut [0]).is_ok_and(|more| more > 0);
        log.surplus.fetch_add(usize::from(early), Ordering::Relaxed);
        stream.write_all(reply(request.number, habit).as_bytes()).await?;
    }
}

fn reply(number: usize, habit: Habit) -> String {
    let body = number.to_string();
    let limit = habit.idle_limit.as_secs();
    let announced = if habit.announces { format!("keep-alive: timeout={limit}\r\n") } else { String::new() };
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{announced}\r\n{body}", body.len())
}

struct Request {
    number: usize,
    /// Of head and body.
    length: usize,
}

impl Request {
    /// `None` until the head is whole. The target is the number.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let text = str::from_utf8(&bytes[..head]).expect("the heads of these tests are text");
        let target = text.split(' ').nth(1).expect("a request line has a target");
        let number = target.trim_start_matches('/').parse().expect("the target is a number");
        let body = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        Some(Self { number, length: head + body.unwrap_or(0) })
    }
}
