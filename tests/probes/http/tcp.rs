//! Ports, and what lies between them and us: filters, no route, no descriptors.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use outrigger::config::probes::{Ask, Dns, Probe, Server};
use outrigger::engine::health::{FactValue, Health};
use tokio::net::{TcpSocket, TcpStream};

use crate::asked::{Asked, fact, why};
use crate::http::place::{here, run_in};
use crate::http::{ask, at_once, http, server};
use crate::server::eventually;

/// A port that drops whoever knocks, as a filter does, until it is opened: its queue is full.
struct Filtered {
    listener: tokio::net::TcpListener,
    _first: TcpStream,
}

impl Filtered {
    async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        // The kernel lets one more in than there is room for.
        let listener = socket.listen(0).unwrap();
        let first = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        Self { listener, _first: first }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Accepts whoever comes, and answers the same to all, until it is dropped.
    async fn open(&self) {
        while let Ok((stream, _)) = self.listener.accept().await {
            stream.writable().await.unwrap();
            let _ = stream.try_write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    }
}

/// How many connections to a port of this machine are still being made, as the kernel tells.
fn half_open(port: u16) -> usize {
    const SYN_SENT: &str = "02";
    let all = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let is_one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[2].ends_with(&format!(":{port:04X}")) && words[3] == SYN_SENT
    };
    all.lines().skip(1).filter(|line| is_one(line)).count()
}

#[tokio::test]
async fn a_port_is_asked_whether_it_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let asked = Asked::start(at_once(Ask::Tcp(server(at))));
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(fact(&state, "address"), &FactValue::Text(at.to_string()));
    drop(listener);
    let state = asked.until_health(Health::Failed).await;
    assert_eq!(why(&state), format!("no connection to {at}: Connection refused (os error 111)"));
    let _again = TcpListener::bind(at).unwrap();
    asked.until_health(Health::Ok).await;
}

#[tokio::test]
async fn a_port_that_is_filtered_is_given_up_in_time_and_found_when_it_opens() {
    let filtered = Filtered::start().await;
    let at = filtered.address();
    for kind in [Ask::Tcp(server(at)), ask(http(at))] {
        let asked = Asked::start(Probe { timeout: Duration::from_millis(500), ..at_once(kind.clone()) });
        let state = asked.until_health(Health::Failed).await;
        assert_eq!(why(&state), format!("a connection to {at} did not come within 500ms"));
        let took = state.last.as_ref().unwrap().took;
        assert!((Duration::from_millis(500)..Duration::from_secs(2)).contains(&took), "{took:?}");
        asked.until("it failed thrice", |state| state.failed_in_a_row() >= 3).await;
        assert!(half_open(at.port()) <= 1, "one try at a time");
        drop(asked);
        eventually("no try is left", async || (half_open(at.port()) == 0).then_some(())).await;
    }
    let asked = Asked::start(Probe { timeout: Duration::from_secs(5), ..at_once(ask(http(at))) });
    tokio::select! {
        _ = asked.until_health(Health::Ok) => {}
        () = filtered.open() => unreachable!("it accepts for ever"),
    }
}

#[tokio::test]
async fn without_a_descriptor_left_nobody_is_blamed() {
    const LIMIT: u64 = 128;
    if here().is_none() {
        return run_in(&[], "few descriptors", "http::tcp::without_a_descriptor_left_nobody_is_blamed").await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let by_name = Server { host: "localhost".to_owned(), port: at.port() };
    let (by_address, by_name) = (at_once(Ask::Tcp(server(at))), at_once(Ask::Tcp(by_name)));
    let (by_address, by_name) = (Asked::start(by_address), Asked::start(by_name));
    by_address.until_health(Health::Ok).await;
    by_name.until_health(Health::Ok).await;

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, LIMIT, hard).unwrap();
    let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(taken.len() < LIMIT as usize);
    for asked in [&by_address, &by_name] {
        let state = asked.until_health(Health::Unknown).await;
        assert!(why(&state).ends_with("Too many open files (os error 24)"), "{}", why(&state));
    }
    // A name that is in no file of this machine's.
    let ask = Ask::Dns(Dns { name: "db.invalid".to_owned(), expect: Vec::new() });
    let no_resolver = Asked::start(at_once(ask));
    let state = no_resolver.until("it was tried", |state| state.last.is_some()).await;
    assert_eq!(state.health, Health::Unknown, "{}", why(&state));
    assert!(why(&state).ends_with("Too many open files (os error 24)"), "{}", why(&state));
    drop(no_resolver);
    drop(taken);
    by_address.until_health(Health::Ok).await;
    by_name.until_health(Health::Ok).await;
}

#[tokio::test]
async fn without_a_network_nobody_is_blamed() {
    if here().is_none() {
        let before = ["unshare".as_ref(), "--net".as_ref()];
        return run_in(&before, "no network", "http::tcp::without_a_network_nobody_is_blamed").await;
    }
    let at: SocketAddr = "192.0.2.1:5432".parse().unwrap();
    let asked = Asked::start(at_once(Ask::Tcp(server(at))));
    let state = asked.until("it was tried", |state| state.last.is_some()).await;
    assert_eq!(state.health, Health::Unknown);
    assert_eq!(why(&state), format!("no connection to {at}: Network is unreachable (os error 101)"));
}
