//! What a drain does to what is open, and what the app's output looks like.

use std::io::Read as _;

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt as _;

use crate::agent::{Place, ask, read_until, rest, words};
use crate::app;

#[tokio::test]
async fn a_stream_and_a_tunnel_are_cut_after_the_app_was_asked_to_end() {
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[("OUTRIGGER__APP__DRAIN", "5s")]);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    let mut stream = ask(public, "/endless", "").await;
    read_until(&mut stream, "hello").await;
    let mut tunnel = ask(public, "/tunnel", "connection: upgrade\r\nupgrade: echo\r\n").await;
    read_until(&mut tunnel, "\r\n\r\n").await;
    tunnel.write_all(b"ping").await.unwrap();
    read_until(&mut tunnel, "ping").await;
    agent.signal(Signal::SIGTERM);
    let ((streamed, _), (_, _)) = tokio::join!(rest(&mut stream), rest(&mut tunnel));
    assert_eq!(place.count("got TERM"), 1, "the app was asked before anything was cut");
    assert!(!streamed.ends_with("0\r\n\r\n"), "a cut stream looks cut");
    let (code, said) = agent.ended().await;
    assert_eq!(code, 7, "the app ended by itself when its exchanges were cut: {said:#?}");
    assert!(said.iter().any(|line| line.contains("connections were cut")), "{said:#?}");
}

#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_served() {
    const WAITING: usize = 40;
    let place = Place::new();
    let environment = [("OUTRIGGER__PROXY__CONNECTIONS_MAX", "1"), ("OUTRIGGER__APP__DRAIN", "60s")];
    let mut agent = place.start(&app::command(), &environment);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    // The only place is taken by a client that is served and stays.
    let mut first = ask(public, "/", "").await;
    read_until(&mut first, "hello").await;
    let mut waiting = Vec::new();
    for _ in 0..WAITING {
        waiting.push(ask(public, "/", "").await);
    }
    agent.signal(Signal::SIGTERM);
    for stream in &mut waiting {
        let (answer, broken) = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello") && !broken, "{answer}");
    }
    assert_eq!(agent.ended().await.0, 7);
    assert_eq!(place.count("asked for /"), 1 + WAITING);
}

#[tokio::test]
async fn the_apps_output_passes_byte_for_byte() {
    const BYTES: usize = 20 << 20;
    let place = Place::new();
    // No line ends, no text.
    let mut data = Vec::with_capacity(BYTES);
    std::fs::File::open("/dev/urandom").unwrap().take(BYTES as u64).read_to_end(&mut data).unwrap();
    std::fs::write(place.path("data.bin"), &data).unwrap();
    let agent = place.start(&words(["cat", "data.bin"]), &[]);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 0, "{said:#?}");
    let out = std::fs::read(place.path("out")).unwrap();
    assert!(out == data, "{} bytes of {}", out.len(), data.len());
}
