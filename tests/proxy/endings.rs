//! How requests end, and to whom it is charged.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use outrigger::engine::observation::Outcome;
use outrigger::proxy::Phase;

use crate::harness::{Closed, PATIENCE, Rig, app, app_saying, header, read_head};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn an_unreadable_or_dangerous_reply_is_a_502_of_the_app() {
    for reply in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
        b"",
    ] {
        let rig = Rig::new(app_saying(reply));
        let got = rig.ask(GET);
        assert_eq!(got.status(), "502", "{}", String::from_utf8_lossy(reply));
        assert_eq!(header(&got.head, "x-outrigger-error"), ["upstream-bad-reply"]);
        assert_eq!(rig.seen_after(1).of(Outcome::AppBadReply), 1);
    }
}

#[test]
fn statuses_are_charged_by_class() {
    for (status, outcome) in [
        ("500", Outcome::AppError),
        ("503", Outcome::AppError),
        ("501", Outcome::Answered),
        ("404", Outcome::Answered),
    ] {
        let reply = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let rig = Rig::new(app_saying(reply.leak().as_bytes()));
        assert_eq!(rig.ask(GET).status(), status);
        assert_eq!(rig.seen_after(1).of(outcome), 1, "{status}");
    }
}

#[test]
fn a_refused_connection_is_charged_by_phase() {
    let closed = Closed::new();
    for (phase, code, outcome) in [
        (Phase::Starting, "upstream-not-ready", Outcome::NotReady),
        (Phase::Serving, "upstream-unreachable", Outcome::AppUnreachable),
        (Phase::Draining, "draining", Outcome::Draining),
        (Phase::Gone, "upstream-unreachable", Outcome::AppUnreachable),
    ] {
        let rig = Rig::with(closed.port, phase, |s| s.hold = Duration::from_millis(60));
        let reply = rig.ask(GET);
        assert_eq!((reply.status(), header(&reply.head, "x-outrigger-error")), ("503", vec![code]));
        assert_eq!(header(&reply.head, "retry-after"), ["1"]);
        assert_eq!(rig.seen_after(1).of(outcome), 1, "{phase:?}");
    }
}

#[test]
fn what_an_app_breaks_off_when_it_was_told_to_end_is_the_shutdowns() {
    for (phase, outcome) in [
        (Phase::Serving, Outcome::AppBadReply),
        (Phase::Draining, Outcome::Draining),
        (Phase::Gone, Outcome::AppBadReply),
    ] {
        let port = app(|mut stream| {
            read_head(&mut stream);
        });
        let rig = Rig::with(port, phase, |_| {});
        let reply = rig.ask(GET);
        assert_eq!(
            (reply.status(), header(&reply.head, "x-outrigger-error")),
            ("502", vec!["upstream-bad-reply"])
        );
        assert_eq!(rig.seen_after(1).of(outcome), 1, "{phase:?}");
    }
}

#[test]
fn a_silent_app_is_a_504_and_its_connection_is_closed() {
    let (told, closed) = mpsc::channel();
    let port = app(move |mut stream| {
        read_head(&mut stream);
        told.send(stream.read(&mut [0])).unwrap();
    });
    let rig = Rig::with(port, Phase::Serving, |s| s.response_timeout = Duration::from_millis(200));
    let reply = rig.ask(GET);
    assert_eq!((reply.status(), header(&reply.head, "x-outrigger-error")), ("504", vec!["upstream-timeout"]));
    assert_eq!(closed.recv_timeout(PATIENCE).unwrap().unwrap_or(0), 0);
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::AppTimeout), seen.latencies), (1, 0));
}

#[test]
fn a_client_that_leaves_while_waiting_frees_the_app_and_is_no_error() {
    let (asked, has_request) = mpsc::channel();
    let (told, closed) = mpsc::channel();
    let port = app(move |mut stream| {
        read_head(&mut stream);
        asked.send(()).unwrap();
        told.send(stream.read(&mut [0])).unwrap();
    });
    let rig = Rig::new(port);
    let mut stream = rig.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    has_request.recv_timeout(PATIENCE).unwrap();
    drop(stream);
    assert_eq!(closed.recv_timeout(PATIENCE).unwrap().unwrap_or(0), 0);
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::ClientAborted), seen.latencies, seen.in_flight), (1, 0, 0));
}

#[test]
fn a_client_that_leaves_mid_reply_has_left() {
    let port = app(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
        let _ = stream.read(&mut [0]);
    });
    let rig = Rig::new(port);
    let mut stream = rig.connect();
    stream.write_all(GET.as_bytes()).unwrap();
    read_head(&mut stream).unwrap();
    drop(stream);
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::ClientLeft), seen.latencies), (1, 1));
}

#[test]
fn an_error_reply_to_head_has_no_body() {
    let closed = Closed::new();
    let rig = Rig::new(closed.port);
    let mut stream = rig.connect();
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-Request-Id: r1\r\n\r\n").unwrap();
    let head = read_head(&mut stream).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(head.starts_with("HTTP/1.1 503 ") && rest.is_empty(), "{head}");
    assert_eq!(header(&head, "x-request-id"), ["r1"]);
    assert_eq!(header(&head, "cache-control"), ["no-store"]);
}
