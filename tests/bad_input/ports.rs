//! Ports that are taken, and upstreams that nobody answers for.

use std::net::TcpListener;

use nix::sys::signal::Signal;
use tokio::net::TcpSocket;

use crate::agent::{Place, get};

#[tokio::test]
async fn a_public_port_in_use_is_named_and_the_app_is_not_started() {
    let place = Place::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    let ended = place.run(&["run", "--listen", &address, "--admin", "off", "--", "touch", "ran"], &[]).await;
    ended.says(1, &[&address, "`listen.public`", "--listen", "already in use", "choose a port that is free"]);
    assert!(!place.path("ran").exists(), "the app ran");
    assert!(!place.path(".outrigger").exists(), "the store was made");
}

#[tokio::test]
async fn an_admin_port_in_use_is_named_with_the_place_where_it_stands() {
    let place = Place::new();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap().to_string();
    place.write("outrigger.toml", format!("[listen]\nadmin = \"{address}\"\n"));
    let ended = place.run(&["run", "--listen", "127.0.0.1:0", "--", "touch", "ran"], &[]).await;
    ended.says(1, &[&address, "`listen.admin`", "outrigger.toml:2", "already in use"]);
    assert!(!place.path("ran").exists(), "the app ran");
}

#[tokio::test]
async fn an_unreachable_upstream_is_answered_for_with_503_and_warned_of() {
    let place = Place::new();
    // Bound and not listening: the port is nobody else's, and it refuses.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let upstream = format!("http://{}", refusing.local_addr().unwrap());
    let mut agent =
        place.start(&["--upstream", &upstream, "--data", "data"], &[("OUTRIGGER__PROXY__HOLD", "10ms")]);
    let (public, _) = agent.listening().await;
    let answer = get(public, "/").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nretry-after: "), "{answer}");
    let warning = agent.hear("the upstream is not ready").await;
    assert!(warning.contains("\"WARN\"") && warning.contains("app.upstream"), "{warning}");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 0);
}
