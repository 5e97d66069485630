//! Copies of requests for a second app: they reach it, and nobody else notices.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use outrigger::engine::observation::Outcome;
use outrigger::proxy::{Choice, Mirror, Share, Split};

use crate::harness::{Closed, PATIENCE, Reply, Rig, header, until};
use crate::splitting::{App, percent, reply, rig, split};

/// How many copies one worker has under way at most.
const COPIES_MAX: usize = 64;

fn mirroring(stable: &App, candidate: u16, share: Share) -> Rig {
    let mirror = Mirror { share, body_max: Mirror::BODY_MAX, with_credentials: false };
    rig(stable.port, Split { mirror: Some(mirror), ..split(candidate, Share::NONE, Choice::Random) })
}

fn ask(stream: &mut TcpStream, request: &str) -> Reply {
    stream.write_all(request.as_bytes()).unwrap();
    Reply::read(stream)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

fn paths(app: &App) -> Vec<String> {
    app.heads().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect()
}

#[test]
fn a_copy_is_marked_keeps_the_host_and_has_no_credentials() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    let rig = mirroring(&stable, candidate.port, Share::ALL);
    let request =
        "GET /x?y HTTP/1.1\r\nHost: a.example\r\nCookie: b=c\r\nAuthorization: d\r\nX-Other: e\r\n\r\n";
    assert_eq!(rig.ask(request).text(), "stable");
    until(|| (candidate.arrivals() == 1).then_some(()));
    let (original, copy) = (stable.heads().remove(0), candidate.heads().remove(0));
    assert!(copy.starts_with("GET /x?y HTTP/1.1\r\n"), "{copy}");
    for name in ["host", "x-other", "x-request-id", "x-forwarded-for"] {
        assert_eq!((header(&copy, name), header(&copy, name).len()), (header(&original, name), 1), "{name}");
    }
    assert_eq!((header(&copy, "cookie").len(), header(&copy, "authorization").len()), (0, 0));
    assert_eq!((header(&original, "cookie"), header(&original, "authorization")), (vec!["b=c"], vec!["d"]));
    assert_eq!(
        (header(&copy, "x-outrigger-mirror"), header(&original, "x-outrigger-mirror")),
        (vec!["1"], vec![])
    );
    let mirror = Mirror { share: Share::ALL, body_max: 0, with_credentials: true };
    let with = Split { mirror: Some(mirror), ..split(candidate.port, Share::NONE, Choice::Random) };
    crate::splitting::swap(&rig, stable.port, Some(with));
    rig.ask(request);
    until(|| (candidate.arrivals() == 2).then_some(()));
    assert_eq!(header(&candidate.heads()[1], "cookie"), ["b=c"]);
    assert_eq!(rig.seen_after(2).of(Outcome::Answered), 2);
}

#[test]
fn only_reads_with_a_short_body_are_copied() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    let rig = mirroring(&stable, candidate.port, Share::ALL);
    let mut stream = rig.connect();
    let big = "x".repeat(1 << 20);
    for request in [
        "POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx".to_owned(),
        "OPTIONS /options HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        format!("GET /big HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{big}", big.len()),
        "GET /copy HTTP/1.1\r\nHost: a\r\nX-Outrigger-Mirror: 1\r\n\r\n".to_owned(),
        get("/get"),
        "HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /short HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
    ] {
        stream.write_all(request.as_bytes()).unwrap();
        if request.starts_with("HEAD") {
            crate::harness::read_head(&mut stream).unwrap();
        } else {
            assert_eq!(Reply::read(&mut stream).text(), "stable");
        }
    }
    until(|| (candidate.arrivals() >= 3).then_some(()));
    let mut copied = paths(&candidate);
    copied.sort_unstable();
    assert_eq!(copied, ["/get", "/head", "/short"]);
    assert_eq!((stable.arrivals(), rig.seen_after(7).of(Outcome::Answered)), (7, 7));
}

#[test]
fn a_tenth_is_a_tenth() {
    let (stable, candidate) = (App::named("stable"), App::named("candidate"));
    let rig = mirroring(&stable, candidate.port, percent(10.0));
    let mut stream = rig.connect();
    for _ in 0..200 {
        assert_eq!(ask(&mut stream, &get("/")).text(), "stable");
    }
    until(|| (candidate.arrivals() >= 19).then_some(()));
    assert!((19..=21).contains(&candidate.arrivals()));
}

#[test]
fn a_dead_or_failing_target_harms_nobody_and_counts_nowhere() {
    let failing = App::new(|head| reply(head, "500 Oops", "", "candidate"));
    let silent = App::new(|_| String::new());
    let garbage = App::new(|_| "garbage\r\n\r\n".to_owned());
    let targets = [&failing, &silent, &garbage];
    let closed = Closed::new();
    for target in targets.iter().map(|app| app.port).chain([closed.port]) {
        let stable = App::named("stable");
        let rig = mirroring(&stable, target, Share::ALL);
        let mut stream = rig.connect();
        for _ in 0..50 {
            assert_eq!(ask(&mut stream, &get("/")).text(), "stable");
        }
        let seen = rig.seen_after(50);
        assert_eq!(
            (seen.of(Outcome::Answered), seen.arrived, seen.in_flight, seen.latencies),
            (50, 50, 0, 50)
        );
    }
}

#[test]
fn a_target_that_never_answers_holds_nobody_up_and_is_asked_only_so_often_at_once() {
    let stable = App::named("stable");
    let candidate = App::with(|_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        false
    });
    let rig = mirroring(&stable, candidate.port, Share::ALL);
    let mut stream = rig.connect();
    for _ in 0..300 {
        assert_eq!(ask(&mut stream, &get("/")).text(), "stable");
    }
    until(|| (candidate.arrivals() >= COPIES_MAX).then_some(()));
    assert_eq!((stable.arrivals(), candidate.arrivals()), (300, COPIES_MAX));
    let seen = rig.seen_after(300);
    assert_eq!((seen.of(Outcome::Answered), seen.in_flight), (300, 0));
    // Nor does it hold up the end.
    drop(stream);
    assert_eq!(rig.finish(PATIENCE).cut, 0);
}

#[test]
fn a_copy_outlives_the_client() {
    /// More than sockets hold.
    const LONG: usize = 12 << 20;
    let (left, client_left) = mpsc::channel::<()>();
    let (wrote, written) = mpsc::channel::<bool>();
    let (left, client_left, wrote) = (Mutex::new(left), Mutex::new(client_left), Mutex::new(wrote));
    let stable = App::with(move |_, stream| {
        // Until the proxy gives the request up.
        let _ = stream.read_to_end(&mut Vec::new());
        left.lock().unwrap().send(()).unwrap();
        false
    });
    let candidate = App::with(move |_, stream| {
        client_left.lock().unwrap().recv().unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n\r\n");
        let whole = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&vec![b'x'; LONG]));
        wrote.lock().unwrap().send(whole.is_ok()).unwrap();
        false
    });
    let rig = mirroring(&stable, candidate.port, Share::ALL);
    let mut stream = rig.connect();
    stream.write_all(get("/").as_bytes()).unwrap();
    until(|| (stable.arrivals() == 1 && candidate.arrivals() == 1).then_some(()));
    drop(stream);
    assert!(written.recv_timeout(PATIENCE).unwrap());
    assert_eq!(rig.seen_after(1).of(Outcome::ClientAborted), 1);
}

#[test]
fn upgrades_are_not_copied() {
    let stable = App::new(|head| {
        if head.starts_with("GET /get") {
            return reply(head, "200 OK", "", "stable");
        }
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".to_owned()
    });
    let candidate = App::named("candidate");
    let rig = mirroring(&stable, candidate.port, Share::ALL);
    let mut tunnel = rig.connect();
    let upgrade = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    tunnel.write_all(upgrade.as_bytes()).unwrap();
    assert!(crate::harness::read_head(&mut tunnel).unwrap().starts_with("HTTP/1.1 101"));
    // What is not an upgrade is copied after it.
    assert_eq!(rig.ask(&get("/get")).text(), "stable");
    until(|| (candidate.arrivals() >= 1).then_some(()));
    assert_eq!(paths(&candidate), ["/get"]);
}
