//! What is refused, and what reaches the app unchanged.

use std::io::Write as _;

use outrigger::engine::observation::Outcome;

use crate::harness::{Reply, Rig, app_echoing, header};

#[test]
fn what_two_parsers_could_read_differently_never_reaches_the_app() {
    let (port, heads) = app_echoing();
    let rig = Rig::new(port);
    let cases = [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b/c\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", "400"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\nab", "400"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "400"),
    ];
    for (request, status) in cases {
        let mut stream = rig.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let reply = Reply::read(&mut stream);
        assert_eq!(reply.status(), status, "{request:?}");
        assert_eq!(header(&reply.head, "connection"), ["close"], "{request:?}");
    }
    assert!(heads.lock().unwrap().is_empty());
    let seen = rig.seen_after(cases.len() as u64);
    assert_eq!((seen.of(Outcome::ClientFault), seen.in_flight), (cases.len() as u64, 0));
}

#[test]
fn an_ordinary_request_reaches_the_app_with_its_own_bytes_and_our_few_headers() {
    let (port, _) = app_echoing();
    let rig = Rig::new(port);
    let reply = rig.ask(
        "GET //a//b/../c%2e%2f;x=1?a=b;c&%zz=% HTTP/1.1\r\nHost: a.example\r\nConnection: close, X-Gone\r\n\
         Connection: X-Forwarded-Proto\r\nX-Gone: 1\r\nX-Forwarded-Proto: https\r\nX_Forwarded_For: evil\r\n\
         X-A: 1\r\nX-A: 2\r\nTE: trailers\r\nTrailer: X-T\r\nKeep-Alive: 1\r\nUpgrade: h2c\r\n\r\n",
    );
    assert_eq!(reply.status(), "200");
    let at_app = reply.text();
    assert!(at_app.starts_with("GET //a//b/../c%2e%2f;x=1?a=b;c&%zz=% HTTP/1.1\r\n"), "{at_app}");
    for (name, values) in [
        ("host", &["a.example"][..]),
        ("x-forwarded-for", &["127.0.0.1"]),
        ("x-forwarded-proto", &["https"]),
        ("x-forwarded-host", &["a.example"]),
        ("x_forwarded_for", &[]),
        ("x-gone", &[]),
        ("x-a", &["1", "2"]),
        ("te", &["trailers"]),
        ("connection", &["TE"]),
        ("trailer", &["X-T"]),
        ("keep-alive", &[]),
        ("upgrade", &[]),
        ("content-length", &[]),
        ("transfer-encoding", &[]),
    ] {
        assert_eq!(header(&at_app, name), values, "{name} in {at_app}");
    }
    assert_eq!(header(&at_app, "x-request-id")[0].len(), 36);
    let seen = rig.seen_after(1);
    assert_eq!((seen.of(Outcome::Answered), seen.latencies, seen.arrived), (1, 1, 1));
}

#[test]
fn odd_but_valid_targets_and_versions_are_served() {
    let (port, _) = app_echoing();
    let rig = Rig::new(port);
    for (request, line, host) in [
        ("GET http://real/x?y HTTP/1.1\r\nHost: fake\r\n\r\n", "GET /x?y HTTP/1.1", Some("real")),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1", Some("a")),
        ("PURGE /x HTTP/1.1\r\nHost: a\r\n\r\n", "PURGE /x HTTP/1.1", Some("a")),
        ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0", None),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1", Some("a")),
    ] {
        let reply = rig.ask(request);
        assert_eq!(reply.status(), "200", "{request:?}");
        let at_app = reply.text();
        assert_eq!(at_app.lines().next(), Some(line));
        assert_eq!(header(&at_app, "host").first().copied(), host);
    }
    assert_eq!(rig.seen_after(5).of(Outcome::Answered), 5);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (port, _) = app_echoing();
    let rig = Rig::new(port);
    let mut stream = rig.connect();
    stream
        .write_all(
            b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        )
        .unwrap();
    assert!(Reply::read(&mut stream).text().starts_with("GET /1 "));
    let second = Reply::read(&mut stream).text();
    assert!(second.starts_with("POST /2 "));
    assert_eq!(header(&second, "content-length"), ["0"]);
    assert_eq!(rig.seen_after(2).of(Outcome::Answered), 2);
}

#[test]
fn our_own_pages_are_neither_counted_nor_proxied() {
    let (port, heads) = app_echoing();
    let rig = Rig::new(port);
    assert_eq!(rig.ask("GET /own HTTP/1.1\r\nHost: a\r\n\r\n").text(), "own page");
    assert_eq!(rig.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").status(), "200");
    assert_eq!(heads.lock().unwrap().len(), 1);
    assert_eq!(rig.seen_after(1).arrived, 1);
}
