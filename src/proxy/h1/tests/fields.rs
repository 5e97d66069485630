//! Lines, names, and what belongs to one hop only.

use super::{get, passed_on, refused, request, sent, sent_with};
use crate::proxy::h1::{Added, BadRequest};

#[test]
fn lines_keep_their_case_their_order_and_their_blanks() {
    let input =
        "GET / HTTP/1.1\r\nx-B:1\r\nHOST: a\r\nX-a:  \t2 \t\r\nx-B:\r\nx-a: 3\r\nSet-Cookie: a\r\n\r\n";
    assert_eq!(sent(input), input);
    let request = request(input.as_bytes()).unwrap();
    let fields: Vec<_> = request.fields().map(|f| (f.name, f.value)).collect();
    let expected: [(&[u8], &[u8]); 6] = [
        (b"x-B", b"1"),
        (b"HOST", b"a"),
        (b"X-a", b"2"),
        (b"x-B", b""),
        (b"x-a", b"3"),
        (b"Set-Cookie", b"a"),
    ];
    assert_eq!(fields, expected);
    assert_eq!((request.field("x-a"), request.field("x-c")), (Some(&b"2"[..]), None));
}

#[test]
fn every_byte_has_its_place_in_names_and_values() {
    for byte in 0..=u8::MAX {
        for place in 0..18 {
            let mut word = [b'a'; 18];
            word[place] = byte;
            let name = [b"GET / HTTP/1.1\r\nHost: a\r\n", &word[..], b": v\r\n\r\n"].concat();
            let is_name = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            // A colon ends the name, unless there is none yet.
            let is_good = is_name || byte == b':' && place > 0;
            assert_eq!(refused(name), (!is_good).then_some(BadRequest::Field), "{byte:#x} at {place}");
            let value = [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", &word[..], b"\r\n\r\n"].concat();
            let is_good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(refused(value), (!is_good).then_some(BadRequest::Field), "{byte:#x} at {place}");
        }
    }
}

#[test]
fn lines_that_are_no_fields_are_refused() {
    for lines in [
        "A : b\r\n",
        ": b\r\n",
        " A: b\r\n",
        "\tA: b\r\n",
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "A: b\r\n \r\n",
        "A\r\n",
        "A b\r\n",
        "A: b\0\r\n",
        "A: b\rc\r\n",
        "A: b\r\r\n",
        "\u{85}: b\r\n",
        "A(: b\r\n",
        "A@: b\r\n",
    ] {
        assert_eq!(refused(get(lines)), Some(BadRequest::Field), "{lines:?}");
    }
}

#[test]
fn a_lone_lf_ends_no_line_anywhere() {
    for input in [
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost:\nA: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nB:c\nD: e\r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\n\nHost: a\r\n\r\n",
    ] {
        assert!(matches!(refused(input), Some(BadRequest::Field | BadRequest::Line)), "{input:?}");
    }
}

#[test]
fn the_fields_of_one_hop_and_the_nominated_ones_end_here() {
    let lines = "Connection: x-a\r\nX-A: 1\r\nconnection: keep-alive, X-B ,\r\nx-b: 2\r\nX-C: 3\r\n\
        Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTrailer: x-t\r\nX-AB: 4\r\n";
    assert_eq!(sent(get(lines)), get("X-C: 3\r\nTrailer: x-t\r\nX-AB: 4\r\n"));
    let input = "HTTP/1.1 204 No\r\nConnection: x-a\r\nX-A: 1\r\nKeep-Alive: max=5\r\nTE: a\r\nProxy-Connection: b\r\n\
        Upgrade: h2c\r\nServer: s\r\n\r\n";
    assert_eq!(passed_on(input), "HTTP/1.1 204 No\r\nServer: s\r\n\r\n");
}

#[test]
fn a_nomination_cannot_remove_what_the_edge_adds() {
    let kept = "X-Forwarded-For: 1.2.3.4\r\nCookie: b=c\r\nAuthorization: d\r\nX-Railway-Edge: e\r\n\
        X-Request-Id: f\r\nX-Real-IP: g\r\nForwarded: h\r\nCache-Control: i\r\ntraceparent: j\r\n";
    let named = "close, X-Forwarded-For, Host, Cookie, Authorization, X-Railway-Edge, X-Request-Id, x-real-ip, \
        forwarded, cache-control, TRACEPARENT";
    assert_eq!(sent(get(&format!("Connection: {named}\r\n{kept}"))), get(kept));
    let framed = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(sent(framed.replace("\r\n\r\n", "\r\nConnection: content-length\r\n\r\n")), framed);
}

#[test]
fn nominations_are_looked_at_up_to_a_bound() {
    let many: Vec<String> = (0..100).map(|i| format!("n{i}")).collect();
    let lines = format!("Connection: {}\r\nN63: in\r\nN64: out\r\n", many.join(","));
    assert_eq!(sent(get(&lines)), get("N64: out\r\n"));
}

#[test]
fn twins_of_trusted_names_are_dropped_and_other_underscores_pass() {
    for twin in [
        "X_Forwarded_For",
        "x-forwarded_for",
        "content_length",
        "Transfer_Encoding",
        "Content_Type",
        "content_encoding",
        "X_Real_IP",
        "x_request_id",
        "X-Request_Start",
        "X-Railway_Edge",
        "X-Forwarded-My_Thing",
        "proxy_authorization",
        "set_cookie",
        "cache_control",
        "www_authenticate",
    ] {
        assert_eq!(sent(get(&format!("{twin}: evil\r\nA: b\r\n"))), get("A: b\r\n"), "{twin}");
    }
    for name in ["my_name", "x_custom", "_", "content_size_", "x-forward_for", "user_agent"] {
        let input = get(&format!("{name}: kept\r\n"));
        assert_eq!(sent(&input), input);
    }
}

#[test]
fn the_connection_lasts_by_version_and_all_connection_lines() {
    let lasts = |minor: u8, lines: &str| {
        let input = format!("GET / HTTP/1.{minor}\r\nHost: a\r\n{lines}\r\n");
        request(input.as_bytes()).unwrap().keep_alive
    };
    assert!(lasts(1, "") && !lasts(0, ""));
    assert!(lasts(1, "Connection: x\r\n") && lasts(0, "Connection: x, Keep-Alive\r\n"));
    assert!(!lasts(1, "Connection: keep-alive\r\nConnection: Close\r\n"));
    assert!(!lasts(0, "Connection: keep-alive, close\r\n"));
    assert!(lasts(1, "Connection: \"close\"\r\n") && lasts(1, "Proxy-Connection: close\r\n"));
}

#[test]
fn te_passes_trailers_and_nothing_else() {
    assert_eq!(
        sent(get("te: gzip, Trailers\r\nA: b\r\nTE: trailers\r\n")),
        get("te: trailers\r\nA: b\r\nConnection: TE\r\n")
    );
    assert_eq!(
        sent(get("Connection: TE, close\r\nTE: trailers\r\n")),
        get("Connection: TE\r\nTE: trailers\r\n")
    );
    assert_eq!(sent(get("TE: gzip;q=1, trailersx\r\n")), get(""));
    let old = "GET / HTTP/1.0\r\nHost: a\r\nTE: trailers\r\n\r\n";
    assert!(!request(old.as_bytes()).unwrap().trailers);
    assert_eq!(sent(old), get(""));
}

#[test]
fn an_upgrade_passes_where_it_was_asked_for() {
    let lines = "connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
    let request = request_of(&get(lines));
    assert_eq!(request.as_deref(), Some("websocket"));
    let expected = "connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n";
    assert_eq!(sent(get(lines)), get(expected));
    let both = "Upgrade: a/1, b\r\nConnection: upgrade\r\nTE: trailers\r\nContent-Length: 0\r\n";
    assert_eq!(
        sent(get(both)),
        get("Upgrade: a/1, b\r\nConnection: Upgrade, TE\r\nTE: trailers\r\nContent-Length: 0\r\n")
    );
}

fn request_of(input: &str) -> Option<String> {
    let upgrade = request(input.as_bytes()).unwrap().upgrade?;
    Some(String::from_utf8(upgrade.to_vec()).unwrap())
}

#[test]
fn an_upgrade_that_is_not_passed_leaves_no_trace() {
    let lines = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    for input in [
        get("Upgrade: websocket\r\n"),
        get("Connection: upgrade\r\n"),
        get("Connection: upgrade\r\nUpgrade:\r\n"),
        get("Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"),
        get("Connection: upgrade\r\nUpgrade: websocket, H2C\r\n"),
        get("Connection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"),
        get(lines).replace("GET", "POST"),
        get(lines).replace("HTTP/1.1", "HTTP/1.0"),
        get(&format!("{lines}Content-Length: 1\r\n")),
        get(&format!("{lines}Transfer-Encoding: chunked\r\n")),
    ] {
        assert_eq!(request_of(&input), None, "{input}");
        let sent = sent(&input).to_ascii_lowercase();
        assert!(
            !sent.contains("upgrade") && !sent.contains("http2") && !sent.contains("connection"),
            "{sent}"
        );
    }
    let input = get(lines);
    let mut out = Vec::new();
    super::request_head(&request(input.as_bytes()).unwrap(), &Added::default(), false, &mut out);
    assert_eq!(out, get("").as_bytes());
}

#[test]
fn what_is_added_comes_last() {
    let added = Added {
        request_id: Some(b"id"),
        forwarded_for: Some(b"10.0.0.9"),
        forwarded_proto: Some(b"http"),
        forwarded_host: Some(b"a"),
        drop_cookie: None,
        close: true,
    };
    let expected = "A: b\r\nConnection: close\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\n\
        X-Forwarded-Host: a\r\nX-Request-Id: id\r\n";
    assert_eq!(sent_with(get("A: b\r\n"), &added), get(expected));
}

#[test]
fn what_is_there_need_not_be_added() {
    let input = get("");
    let none = request(input.as_bytes()).unwrap();
    let has =
        [none.has_request_id, none.has_forwarded_for, none.has_forwarded_proto, none.has_forwarded_host];
    assert_eq!(has, [false; 4]);
    let input =
        get("X-REQUEST-ID: a\r\nX-Forwarded-For: b\r\nx-forwarded-proto: c\r\nX-Forwarded-Host: d\r\n");
    let all = request(input.as_bytes()).unwrap();
    let has = [all.has_request_id, all.has_forwarded_for, all.has_forwarded_proto, all.has_forwarded_host];
    assert_eq!(has, [true; 4]);
    let input = get("X_Request_Id: a\r\nX_Forwarded-For: b\r\n");
    let twins = request(input.as_bytes()).unwrap();
    assert!(!twins.has_request_id && !twins.has_forwarded_for);
}

#[test]
fn a_cookie_is_found_in_any_line_and_can_be_cut_out() {
    let input =
        get("Cookie: a=1; ours=x=y;b=2\r\nA: b\r\ncookie:ours=z\r\nCookie: ours2=1;  c=\"ours=3\"\r\n");
    let request = request(input.as_bytes()).unwrap();
    assert_eq!(request.cookie("ours"), Some(&b"x=y"[..]));
    assert_eq!((request.cookie("c"), request.cookie("our")), (Some(&b"\"ours=3\""[..]), None));
    let added = Added { drop_cookie: Some("ours"), ..Added::default() };
    let expected = "Cookie: a=1;b=2\r\nA: b\r\nCookie: ours2=1;  c=\"ours=3\"\r\n";
    assert_eq!(sent_with(&input, &added), get(expected));
    assert_eq!(sent(&input), input);
}

#[test]
fn a_cookie_cut_out_leaves_no_blank_at_the_lines_end() {
    let added = Added { drop_cookie: Some("ours"), ..Added::default() };
    for (received, expected) in [
        ("a=1; ours=x", "Cookie: a=1\r\n"),
        ("a=1;on: ;ours=x", "Cookie: a=1;on:\r\n"),
        ("a=1 \t;ours=x", "Cookie: a=1\r\n"),
        ("a=1; ; ours=x", "Cookie: a=1;\r\n"),
        ("a=1 ; ours=x;ours=y; b=2", "Cookie: a=1 ; b=2\r\n"),
        (" \t;ours=x", "Cookie: \r\n"),
        ("ours=x; ours=y", ""),
    ] {
        let once = sent_with(get(&format!("Cookie: {received}\r\n")), &added);
        assert_eq!(once, get(expected), "{received}");
        assert_eq!(sent_with(&once, &added), once, "{received}");
    }
}
