//! Status lines, and what a reply says about this hop.

use super::{PLAIN, Toward, interim, passed, passed_on, reply, reply_refused};
use crate::proxy::h1::{BadReply, Framing};

#[test]
fn a_reply_passes_with_its_reason_and_its_lines() {
    let input = "HTTP/1.1 299 Weird \u{e9} Reason\r\nServer: x\r\nSet-Cookie: a\r\nX-A: 1\r\nSet-Cookie: b\r\n\
        X-Empty:\r\nDate: 1970\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(passed_on(input).len(), input.chars().map(char::len_utf8).sum::<usize>() + 2);
    let latin: Vec<u8> = input.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(passed_on(&latin), input);
    let reply = reply(&latin).unwrap();
    assert_eq!((reply.status, reply.reason), (299, &b"Weird \xe9 Reason"[..]));
    assert_eq!((reply.field("server"), reply.fields().count()), (Some(&b"x"[..]), 7));
}

#[test]
fn the_status_line_is_always_of_http_1_1_and_whole() {
    for (line, expected) in [
        ("HTTP/1.0 200 OK", "HTTP/1.1 200 OK"),
        ("HTTP/1.1 200", "HTTP/1.1 200 "),
        ("HTTP/1.1 200 ", "HTTP/1.1 200 "),
        ("HTTP/1.1 999 a\tb", "HTTP/1.1 999 a\tb"),
    ] {
        let input = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(passed_on(input), format!("{expected}\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn what_is_not_http_is_refused_at_once() {
    for input in [
        "SSH-2.0-x\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.2 200 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/1.1 +20 OK\r\n",
        "HTTP/1.1 200OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200 O\0K\r\n",
        "HTTP/1.1 200 O\rK\r\n",
        "HTTP/1.1\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "<",
        "hello",
        "HTTQ",
    ] {
        assert_eq!(reply_refused(input), Some(BadReply::Line), "{input:?}");
    }
}

#[test]
fn lines_that_are_no_fields_are_refused() {
    for lines in ["A: b\r\n c\r\n", "A : b\r\n", ": b\r\n", "A: b\nC: d\r\n", "A: \0\r\n", "A\r\n"] {
        let input = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        assert_eq!(reply_refused(input), Some(BadReply::Field), "{lines:?}");
    }
}

#[test]
fn what_is_added_comes_last_and_a_date_only_where_there_is_none() {
    let toward = Toward {
        framing: Framing::Length(0),
        close: true,
        date: Some(b"today"),
        set_cookie: Some(b"ours=1; Path=/"),
        ..PLAIN
    };
    let bare = reply(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: today\r\nSet-Cookie: ours=1; Path=/\r\n\
        Connection: close\r\n\r\n";
    assert_eq!(passed(&bare, &toward), expected);
    let dated =
        reply(b"HTTP/1.1 200 OK\r\ndate: 1970\r\nconnection: x\r\nContent-Length: 0\r\n\r\n").unwrap();
    let expected = "HTTP/1.1 200 OK\r\ndate: 1970\r\nconnection: close\r\nContent-Length: 0\r\n\
        Set-Cookie: ours=1; Path=/\r\n\r\n";
    assert_eq!(passed(&dated, &toward), expected);
    let old = Toward { framing: Framing::Length(0), keep_alive_10: true, ..PLAIN };
    let expected = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(passed(&bare, &old), expected);
}

#[test]
fn the_apps_close_is_not_the_clients() {
    let input = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert!(!reply(input.as_bytes()).unwrap().keep_alive);
    assert_eq!(passed_on(input), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn a_switch_passes_with_the_names_as_they_were() {
    let input = "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: websocket\r\nconnection: keep-alive, upgrade\r\n\
        Sec-WebSocket-Accept: k\r\nContent-Length: 3\r\n\r\n";
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUPGRADE: websocket\r\nconnection: Upgrade\r\n\
        Sec-WebSocket-Accept: k\r\n\r\n";
    assert_eq!(passed_on(input), expected);
    assert_eq!(reply(input.as_bytes()).unwrap().upgrade, Some(&b"websocket"[..]));
    let other = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(reply(other.as_bytes()).unwrap().upgrade, None);
    assert_eq!(passed_on(other), "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn only_one_protocol_that_was_asked_for_can_be_switched_to() {
    let switches = |lines: &str, asked: &str| {
        let input = format!("HTTP/1.1 101 X\r\n{lines}\r\n");
        reply(input.as_bytes()).unwrap().switches_to(asked.as_bytes())
    };
    assert!(switches("Upgrade: WebSocket\r\n", "websocket"));
    assert!(switches("Upgrade: b\r\n", "a/1, B"));
    assert!(!switches("Upgrade: tls/1.0\r\n", "websocket"));
    assert!(!switches("", "websocket"));
    assert!(!switches("Upgrade: websocket, x\r\n", "websocket"));
    assert!(!switches("Upgrade: websocket\r\nUpgrade: websocket\r\n", "websocket"));
    assert!(!switches("Upgrade:\r\n", ""));
}

#[test]
fn an_interim_reply_passes_without_the_fields_of_one_hop() {
    let hints = b"HTTP/1.0 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\nContent-Length: 0\r\nlink: b\r\n\r\n";
    assert_eq!(interim(hints), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nlink: b\r\n\r\n");
    assert_eq!(interim(b"HTTP/1.1 100 Continue\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn what_the_hop_needs_to_know_is_read() {
    let read = |lines: &str| {
        let input = format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
        let reply = reply(input.as_bytes()).unwrap();
        (reply.keep_alive_timeout_s, reply.has_retry_after)
    };
    assert_eq!(read(""), (None, false));
    assert_eq!(read("Keep-Alive: max=100, Timeout=5\r\n").0, Some(5));
    assert_eq!(read("Keep-Alive: timeout=x\r\n").0, None);
    assert_eq!(read("Keep-Alive: timeout\r\nKeep-Alive: timeout = 7\r\n").0, Some(7));
    assert!(read("retry-after: 1\r\n").1);
}
