//! Bodies both ways: kept, streamed, cut, and never gathered.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use outrigger::engine::observation::Outcome;
use outrigger::proxy::Phase;

use crate::harness::{PATIENCE, Reply, Rig, app, app_saying, content_length, header, read_head};

const MB: usize = 1024 * 1024;

#[test]
fn a_get_keeps_its_chunked_body_and_its_allowed_trailers() {
    let (sent, got) = mpsc::channel();
    let port = app(move |mut stream| {
        let head = read_head(&mut stream).unwrap();
        let mut body = Vec::new();
        let mut byte = [0];
        while !body.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            body.push(byte[0]);
        }
        sent.send((head, String::from_utf8(body).unwrap())).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let rig = Rig::new(port);
    let reply = rig.ask(
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T, Content-Length\r\n\r\n\
         3\r\nabc\r\n0\r\nX-T: v\r\nContent-Length: 9\r\n\r\n",
    );
    assert_eq!(reply.status(), "200");
    let (head, body) = got.recv_timeout(PATIENCE).unwrap();
    assert_eq!(header(&head, "transfer-encoding"), ["chunked"]);
    assert_eq!(body.to_lowercase(), "3\r\nabc\r\n0\r\nx-t: v\r\n\r\n");
}

#[test]
fn a_clients_broken_body_is_the_clients_fault() {
    let port = app(|mut stream| {
        read_head(&mut stream);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let rig = Rig::new(port);
    for chunk in ["0x3\r\nabc\r\n", "+3\r\nabc\r\n", "3\nabc\r\n", "2\r\nSEE-THIS", "FFFFFFFFFFFFFFFF0\r\n"] {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let reply = rig.ask(&format!("{head}{chunk}"));
        assert_eq!(reply.status(), "400", "{chunk:?}");
    }
    let mut short = rig.connect();
    short.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    drop(short);
    let seen = rig.seen_after(6);
    assert_eq!(seen.of(Outcome::ClientFault) + seen.of(Outcome::ClientAborted), 6, "{seen:?}");
    assert_eq!(seen.latencies, 0);
}

#[test]
fn an_early_413_reaches_a_client_that_is_still_uploading() {
    let port = app(|mut stream| {
        read_head(&mut stream);
        let _ =
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig");
    });
    let rig = Rig::new(port);
    let chunk = vec![b'x'; MB];
    for round in 0..20 {
        let mut stream = rig.connect();
        stream
            .write_all(
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 20 * MB).as_bytes(),
            )
            .unwrap();
        for _ in 0..20 {
            stream.write_all(&chunk).unwrap();
        }
        let reply = Reply::read(&mut stream);
        assert_eq!((reply.status(), reply.text().as_str()), ("413", "big"), "round {round}");
    }
    assert_eq!(rig.seen_after(20).of(Outcome::Answered), 20);
}

#[test]
fn a_truncated_reply_looks_truncated() {
    for reply in [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
    ] {
        let rig = Rig::new(app_saying(reply));
        let got = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((got.status(), got.text().as_str(), got.whole), ("200", "hello", false));
        let seen = rig.seen_after(1);
        assert_eq!((seen.of(Outcome::AppTruncated), seen.latencies), (1, 1));
    }
    let rig = Rig::new(app_saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    let old = rig.ask("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert!(!old.whole, "a client of version 1.0 must see a reset: {old:?}");
}

#[test]
fn a_reply_ended_by_close_is_chunked_and_the_client_stays() {
    let rig = Rig::new(app_saying(b"HTTP/1.0 200 OK\r\nX-A: 1\r\nConnection: X-A\r\n\r\nhello"));
    let mut stream = rig.connect();
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        let reply = Reply::read(&mut stream);
        assert!(reply.head.starts_with("HTTP/1.1 200 OK"), "{}", reply.head);
        assert_eq!((reply.text().as_str(), reply.whole), ("hello", true));
        assert!(header(&reply.head, "connection").is_empty() && header(&reply.head, "x-a").is_empty());
    }
    assert_eq!(rig.seen_after(2).of(Outcome::Answered), 2);
}

#[test]
fn a_length_beside_chunks_is_dropped_and_204_has_none() {
    let rig = Rig::new(app_saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ));
    let reply = rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((content_length(&reply.head), reply.text().as_str(), reply.whole), (None, "hi", true));
    let rig = Rig::new(app_saying(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"));
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let head = read_head(&mut stream).unwrap();
    assert_eq!(content_length(&head), None);
    let rig = Rig::new(app_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"));
    let mut stream = rig.connect();
    stream.write_all(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(content_length(&read_head(&mut stream).unwrap()), Some(77));
    assert_eq!(rig.seen_after(1).of(Outcome::Answered), 1);
}

#[test]
fn a_slow_reader_stalls_the_app_and_not_the_agents_memory() {
    let (told, written) = mpsc::channel();
    let port = app(move |mut stream| {
        read_head(&mut stream);
        stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let chunk = vec![b'x'; MB];
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 400 * MB).as_bytes())
            .unwrap();
        let megabytes = (0..400).take_while(|_| stream.write_all(&chunk).is_ok()).count();
        told.send(megabytes).unwrap();
    });
    let rig = Rig::new(port);
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let megabytes = written.recv_timeout(PATIENCE).unwrap();
    assert!(megabytes < 40, "the app could write {megabytes} MB to a client that reads nothing");
}

#[test]
fn each_piece_of_a_stream_is_passed_on_as_it_comes() {
    let (next, go) = mpsc::channel::<()>();
    let go = std::sync::Mutex::new(go);
    let port = app(move |mut stream| {
        read_head(&mut stream);
        stream
            .write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )
            .unwrap();
        for () in go.lock().unwrap().iter() {
            stream.write_all(b"1\r\nx\r\n").unwrap();
        }
        stream.write_all(b"0\r\n\r\n").unwrap();
    });
    let rig = Rig::with(port, Phase::Serving, |s| s.workers = 1);
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_head(&mut stream).unwrap();
    for _ in 0..5 {
        next.send(()).unwrap();
        let mut piece = [0; 6];
        stream.read_exact(&mut piece).unwrap();
        assert_eq!(&piece, b"1\r\nx\r\n");
    }
    drop(next);
    let mut end = [0; 5];
    stream.read_exact(&mut end).unwrap();
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::Answered), seen.latencies), (1, 1));
}

#[test]
fn a_client_that_waits_for_100_is_told_to_go_on() {
    let port = app(|mut stream| {
        let head = read_head(&mut stream).unwrap();
        assert_eq!(header(&head, "expect"), ["100-continue"]);
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 3];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").unwrap();
        stream.write_all(&body).unwrap();
    });
    let rig = Rig::new(port);
    let mut stream = rig.connect();
    stream
        .write_all(b"PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .unwrap();
    assert!(read_head(&mut stream).unwrap().starts_with("HTTP/1.1 100 "));
    stream.write_all(b"abc").unwrap();
    let reply = Reply::read(&mut stream);
    assert_eq!((reply.status(), reply.text().as_str()), ("200", "abc"));
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::Answered), seen.latencies), (1, 1));
}
