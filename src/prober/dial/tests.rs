//! Names, connections and errors on the way to a server.

use std::future::Future;
use std::net::Ipv4Addr;

use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);
/// The kernel connects to no such address, and says that it is out of reach.
const NO_WAY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::BROADCAST), 80);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens within the test's patience")
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that drops whoever knocks, as a filter does: its queue is full.
async fn filtered() -> (TcpListener, TcpStream, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let first = TcpStream::connect(address).await.unwrap();
    (listener, first, address)
}

/// A port that refuses.
async fn refused() -> SocketAddr {
    listener().await.1
}

fn server(host: &str, port: u16) -> Server {
    Server { host: host.to_owned(), port }
}

#[tokio::test]
async fn the_next_address_is_tried_beside_one_that_is_silent() {
    let clock = Clock::start();
    let (_full, _first, silent) = filtered().await;
    let (_listener, accepting) = listener().await;
    let began = clock.instant();
    let (stream, address) = soon(first_of(&[silent, accepting])).await.unwrap();
    assert_eq!((address, stream.peer_addr().unwrap()), (accepting, accepting));
    assert!(clock.instant().duration_since(began) >= NEXT_ADDRESS);
}

#[tokio::test]
async fn an_address_that_refuses_costs_no_pause() {
    let clock = Clock::start();
    let (_listener, accepting) = listener().await;
    let refusing = refused().await;
    let began = clock.instant();
    let (_, address) = soon(first_of(&[refusing, refusing, refusing, refusing, accepting])).await.unwrap();
    assert_eq!(address, accepting);
    assert!(clock.instant().duration_since(began) < 3 * NEXT_ADDRESS, "each of four would have cost one");
}

#[tokio::test]
async fn of_several_errors_the_servers_own_is_told() {
    let refusing = refused().await;
    for addresses in [[NO_WAY, refusing], [refusing, NO_WAY]] {
        let error = soon(first_of(&addresses)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{addresses:?}");
    }
    let error = soon(first_of(&[NO_WAY])).await.unwrap_err();
    assert!(is_own(&error), "{error}");
}

#[tokio::test]
async fn a_connection_is_timed_and_its_failures_are_told() {
    let dialer = Dialer::new(Clock::start());
    let mut stage = Stage::default();
    let (_listener, at) = listener().await;
    let dialed = soon(dialer.connect(&server("localhost", at.port()), &mut stage)).await.unwrap();
    assert_eq!(dialed.address, at);
    assert!(dialed.connect > Duration::ZERO && dialed.stream.nodelay().unwrap());
    let port = at.port();
    assert!(stage.as_str().starts_with(&format!("a connection to localhost:{port} (")), "{stage:?}");

    let refusing = refused().await;
    let failure = soon(dialer.connect(&server("127.0.0.1", refusing.port()), &mut stage)).await.unwrap_err();
    let text = format!("no connection to {refusing}: Connection refused (os error 111)");
    assert_eq!(failure, Failure::Down(text));
    let failure = soon(dialer.connect(&server("255.255.255.255", 80), &mut stage)).await.unwrap_err();
    let text = "no connection to 255.255.255.255:80: Network is unreachable (os error 101)";
    assert_eq!(failure, Failure::Unable(text.to_owned()));
}

#[tokio::test]
async fn while_the_resolver_is_busy_the_next_question_waits_and_says_so() {
    let dialer = Dialer::new(Clock::start());
    let busy = Arc::clone(&dialer.resolving).acquire_owned().await.unwrap();
    let mut stage = Stage::default();
    let (by_name, by_address) = (server("localhost", 80), server("::1", 80));
    let late = timeout(Duration::from_millis(50), dialer.resolve(&by_name, &mut stage)).await;
    assert!(late.is_err());
    assert_eq!(stage.as_str(), "the address of `localhost`");
    let found = soon(dialer.resolve(&by_address, &mut stage)).await.unwrap();
    assert_eq!(found, ["[::1]:80".parse().unwrap()], "an address needs no resolver");
    drop(busy);
    let found = soon(dialer.resolve(&by_name, &mut stage)).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
}

#[test]
fn our_own_want_of_means_is_nobodys_fault() {
    let failed = |errno: Errno| io_failure("it", &io::Error::from_raw_os_error(errno as i32));
    for errno in [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::ENETUNREACH,
        Errno::EADDRNOTAVAIL,
        Errno::EPERM,
        Errno::EACCES,
    ] {
        assert!(matches!(failed(errno), Failure::Unable(_)), "{errno}");
    }
    for errno in [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ETIMEDOUT, Errno::EHOSTUNREACH] {
        assert!(matches!(failed(errno), Failure::Down(_)), "{errno}");
    }
    assert!(matches!(io_failure("it", &io::Error::other("x")), Failure::Down(_)));
}
