//! The pool, the retries, the waiting for the app, and tunnels.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use outrigger::engine::observation::Outcome;
use outrigger::proxy::{Arm, Phase, Plan, Upstream};

use crate::harness::{Closed, PATIENCE, Reply, Rig, app, app_at, app_echoing, app_saying, read_head};

#[test]
fn an_app_that_closes_idle_connections_harms_no_request() {
    const IDLE: Duration = Duration::from_millis(100);
    let arrivals = Arc::new(Mutex::new(HashMap::<String, u32>::new()));
    let log = Arc::clone(&arrivals);
    let port = app(move |mut stream| {
        stream.set_read_timeout(Some(IDLE)).unwrap();
        while let Some(head) = read_head(&mut stream) {
            *log.lock().unwrap().entry(head.lines().next().unwrap().to_owned()).or_default() += 1;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let rig = Rig::with(port, Phase::Serving, |s| s.workers = 1);
    // All at once, so that each takes a connection that was idle for the whole pause.
    let together = Arc::new(std::sync::Barrier::new(8));
    let clients: Vec<_> = (0..8u64)
        .map(|client| {
            let (together, address) = (Arc::clone(&together), rig.plane.address());
            let mut stream = rig.connect();
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                for round in 0..30u64 {
                    together.wait();
                    let method = if round % 2 == 0 { "GET" } else { "POST" };
                    let length = if round % 2 == 0 { "" } else { "Content-Length: 0\r\n" };
                    let request = format!("{method} /{client}/{round} HTTP/1.1\r\nHost: a\r\n{length}\r\n");
                    stream.write_all(request.as_bytes()).unwrap();
                    let reply = Reply::read(&mut stream);
                    if reply.status() != "200" {
                        // No panic here: the others would wait for this client for ever.
                        failed.push(format!("{method} {client}/{round}: {}", reply.head));
                        stream = TcpStream::connect(address).unwrap();
                    }
                    // Nothing is waited for: the pace is what this test is about. Nobody ever sends.
                    let (_sender, pace) = mpsc::channel::<()>();
                    let _ =
                        pace.recv_timeout(IDLE - Duration::from_millis(4) + Duration::from_millis(round % 8));
                }
                failed
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), Vec::<String>::new());
    }
    let arrivals = arrivals.lock().unwrap();
    assert_eq!((arrivals.len(), arrivals.values().max()), (240, Some(&1)));
    assert_eq!(rig.seen_after(240).of(Outcome::Answered), 240);
}

#[test]
fn a_connection_that_dies_under_a_request_is_retried_only_where_that_is_safe() {
    // Answers the first request of a connection and dies on its second, or at once on `/poison`.
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen_by_app = Arc::clone(&log);
    let port = app(move |mut stream| {
        for turn in 0..2 {
            let Some(head) = read_head(&mut stream) else { return };
            let line = head.lines().next().unwrap().to_owned();
            let poison = line.contains("/poison");
            seen_by_app.lock().unwrap().push(line);
            if turn == 1 || poison {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    let rig = Rig::with(port, Phase::Serving, |s| s.workers = 1);
    let mut stream = rig.connect();
    let mut ask = |line: &str, length: &str| {
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: a\r\n{length}\r\n").as_bytes()).unwrap();
        Reply::read(&mut stream).status().to_owned()
    };
    assert_eq!(ask("GET /1", ""), "200");
    assert_eq!(ask("GET /2", ""), "200");
    assert_eq!(ask("POST /3", "Content-Length: 0\r\n"), "502");
    let mut stream = rig.connect();
    stream.write_all(b"GET /poison HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut stream).status(), "502");
    let arrivals = log.lock().unwrap().clone();
    let count = |path: &str| arrivals.iter().filter(|l| l.contains(&format!(" {path} "))).count();
    assert_eq!((count("/1"), count("/2"), count("/3"), count("/poison")), (1, 2, 1, 1), "{arrivals:?}");
    let seen = rig.seen_after(4);
    assert_eq!(
        (seen.of(Outcome::Answered), seen.of(Outcome::StaleConnection), seen.of(Outcome::AppBadReply)),
        (2, 1, 1)
    );
}

#[test]
fn requests_are_held_until_the_app_listens() {
    let closed = Closed::new();
    let rig = Rig::with(closed.port, Phase::Starting, |s| s.hold = PATIENCE);
    let mut streams: Vec<_> = (0..4).map(|_| rig.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    while rig.seen().in_flight < 4 {
        std::thread::yield_now();
    }
    app_at(TcpListener::bind(("::1", closed.port)).unwrap(), |mut stream| {
        while read_head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
    });
    for stream in &mut streams {
        assert_eq!(Reply::read(stream).status(), "200");
    }
    let seen = rig.seen_after(4);
    assert_eq!((seen.of(Outcome::Answered), seen.latencies), (4, 4));
}

#[test]
fn beyond_the_bound_requests_are_not_held() {
    let closed = Closed::new();
    let rig = Rig::with(closed.port, Phase::Starting, |s| (s.hold, s.held_max) = (PATIENCE, 0));
    assert_eq!(rig.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n").status(), "503");
    assert_eq!(rig.seen_after(1).of(Outcome::Shed), 1);
}

#[test]
fn a_new_start_of_the_app_gets_no_old_connection() {
    let (first, _) = app_echoing();
    let second = app_saying(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew");
    let rig = Rig::with(first, Phase::Serving, |s| s.workers = 1);
    let mut stream = rig.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(Reply::read(&mut stream).text().starts_with("GET / "));
    rig.plan.store(Arc::new(Plan::whole(Arm {
        upstream: Upstream::Loopback { port: second },
        generation: 2,
        phase: Phase::Serving,
    })));
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut stream).text(), "new");
}

#[test]
fn a_tunnel_keeps_read_ahead_bytes_and_one_direction_after_the_other_has_ended() {
    const LATE: usize = 5 * 1024 * 1024;
    let port = app(|mut stream| {
        let head = read_head(&mut stream).unwrap();
        assert!(head.to_lowercase().contains("upgrade: websocket\r\n"), "{head}");
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\nhello")
            .unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"early late");
        stream.write_all(&vec![b'z'; LATE]).unwrap();
    });
    let rig = Rig::new(port);
    let mut stream = rig.connect();
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly")
        .unwrap();
    let head = read_head(&mut stream).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101 ") && head.contains("upgrade: websocket\r\n"), "{head}");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("sec-websocket-accept: x\r\n"));
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::Answered), seen.latencies, seen.in_flight), (1, 1, 0));
    stream.write_all(b" late").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    assert_eq!((&all[..5], all.len()), (&b"hello"[..], 5 + LATE));
}
