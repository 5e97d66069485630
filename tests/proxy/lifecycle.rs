//! Draining: nothing that was accepted is lost, and the deadline holds.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use outrigger::engine::observation::Outcome;
use outrigger::proxy::{Drained, Phase};

use crate::harness::{PATIENCE, Reply, Rig, app, app_echoing, header, read_head, until};

#[test]
fn a_drain_under_load_loses_no_request() {
    let (port, _) = app_echoing();
    let rig = Arc::new(Rig::new(port));
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (rig, stop, served) = (Arc::clone(&rig), Arc::clone(&stop), Arc::clone(&served));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let mut stream = rig.connect();
                    loop {
                        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                        let reply = Reply::read(&mut stream);
                        assert_eq!(reply.status(), "200", "{}", reply.head);
                        served.fetch_add(1, Ordering::Relaxed);
                        if header(&reply.head, "connection") == ["close"] || stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    until(|| (served.load(Ordering::Relaxed) > 200).then_some(()));
    rig.plane.begin_drain();
    let at_drain = served.load(Ordering::Relaxed);
    until(|| (served.load(Ordering::Relaxed) > at_drain + 200).then_some(()));
    // The edge stops routing here; what it has begun, it finishes.
    stop.store(true, Ordering::Relaxed);
    let drained = rig.finish(PATIENCE);
    for client in clients {
        client.join().unwrap();
    }
    assert_eq!(drained, Drained { cut: 0 });
    let served = served.load(Ordering::Relaxed);
    assert_eq!(rig.seen_after(served).of(Outcome::Answered), served);
    assert_eq!(rig.plane.open_connections(), 0);
}

#[test]
fn at_the_deadline_what_is_left_is_cut_without_a_clean_end() {
    let port = app(|mut stream| {
        let upgrade = read_head(&mut stream).unwrap().contains("/tunnel");
        let head = if upgrade {
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        } else {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
        };
        stream.write_all(head.as_bytes()).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let rig = Rig::new(port);
    let (mut download, mut tunnel) = (rig.connect(), rig.connect());
    download.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    read_head(&mut download).unwrap();
    tunnel
        .write_all(b"GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .unwrap();
    read_head(&mut tunnel).unwrap();
    assert_eq!(rig.finish(Duration::from_millis(300)), Drained { cut: 2 });
    let mut rest = Vec::new();
    let _ = download.read_to_end(&mut rest);
    assert_eq!(rest, b"5\r\nhello\r\n");
    assert_eq!(tunnel.read(&mut [0]).unwrap_or(0), 0);
    let seen = rig.seen_after(2);
    assert_eq!((seen.of(Outcome::Draining), seen.of(Outcome::Answered), seen.in_flight), (1, 1, 0));
}

#[test]
fn a_connection_still_in_the_accept_queue_is_served() {
    let (port, _) = app_echoing();
    let rig = Rig::with(port, Phase::Serving, |s| s.connections_max = 1);
    let first = rig.connect();
    until(|| (rig.plane.open_connections() == 1).then_some(()));
    let mut queued = rig.connect();
    queued.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let drained = std::thread::scope(|scope| {
        let finishing = scope.spawn(|| rig.finish(PATIENCE));
        assert_eq!(Reply::read(&mut queued).status(), "200");
        drop((first, queued));
        finishing.join().unwrap()
    });
    assert_eq!(drained, Drained { cut: 0 });
}

#[test]
fn a_panic_ends_its_own_connection_only() {
    let (port, _) = app_echoing();
    let rig = Rig::with(port, Phase::Serving, |s| s.workers = 1);
    let mut other = rig.connect();
    for path in ["/before", "/after"] {
        other.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(Reply::read(&mut other).status(), "200");
        let mut broken = rig.connect();
        broken.write_all(b"GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!(broken.read(&mut [0]).unwrap_or(0), 0);
    }
    until(|| (rig.plane.open_connections() == 1).then_some(()));
    assert_eq!(rig.seen_after(2).of(Outcome::Answered), 2);
}
