//! Where bodies end: what is refused, and what is made of the rest.

use super::{get, passed, passed_on, refused, reply, reply_refused, request, sent};
use crate::proxy::h1::{BadReply, BadRequest, Framing};

fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

fn framing(lines: &str) -> Framing {
    request(post(lines).as_bytes()).unwrap().framing
}

#[test]
fn a_request_without_a_frame_has_no_body_and_gains_none() {
    assert_eq!(framing(""), Framing::None);
    assert_eq!(sent(post("")), post(""));
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(sent(post("Content-Length: 0\r\n")), post("Content-Length: 0\r\n"));
}

#[test]
fn framing_is_written_anew_where_it_stood() {
    assert_eq!(framing("A: b\r\ncontent-LENGTH:0012\t\r\nC: d\r\n"), Framing::Length(12));
    assert_eq!(
        sent(post("A: b\r\ncontent-LENGTH:0012\t\r\nC: d\r\n")),
        post("A: b\r\ncontent-LENGTH: 12\r\nC: d\r\n")
    );
    assert_eq!(
        sent(post("A: b\r\ntransfer-Encoding:CHUNKED \r\nC: d\r\n")),
        post("A: b\r\ntransfer-Encoding: chunked\r\nC: d\r\n")
    );
    assert_eq!(sent(get("Transfer-Encoding: chunked\r\n")), get("Transfer-Encoding: chunked\r\n"));
    let most = "Content-Length: 9999999999999999999\r\n";
    assert_eq!((framing(most), sent(post(most))), (Framing::Length(9_999_999_999_999_999_999), post(most)));
}

#[test]
fn lengths_that_could_be_read_in_two_ways_are_refused() {
    for value in [
        "+2",
        "-2",
        "",
        "0x2",
        "2 3",
        "2, 2",
        "2,",
        "2_0",
        "2.0",
        "99999999999999999999",
        "00000000000000000002",
        "²",
    ] {
        let lines = format!("Content-Length: {value}\r\n");
        assert_eq!(refused(post(&lines)), Some(BadRequest::Framing), "{value:?}");
    }
    for lines in [
        "Content-Length: 2\r\nContent-Length: 2\r\n",
        "Content-Length: 2\r\ncontent-length: 3\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
    ] {
        assert_eq!(refused(post(lines)), Some(BadRequest::Framing), "{lines:?}");
    }
}

#[test]
fn only_plain_chunked_is_a_transfer_coding() {
    let with = |value: &str| refused(post(&format!("Transfer-Encoding: {value}\r\n")));
    for good in ["chunked", "Chunked", " chunked\t"] {
        assert_eq!(with(good), None, "{good}");
    }
    for unknown in ["gzip, chunked", "x-a,b , CHUNKED"] {
        assert_eq!(with(unknown), Some(BadRequest::UnknownCoding), "{unknown}");
    }
    for bad in [
        "chunked, chunked",
        ",chunked",
        "chunked,",
        "identity",
        "identity, chunked",
        "xchunked",
        "gzip",
        "chunked, gzip",
        "",
        "gz\"ip, chunked",
        "chunked;a=b",
    ] {
        assert_eq!(with(bad), Some(BadRequest::Framing), "{bad}");
    }
    assert_eq!(with("\x0bchunked"), Some(BadRequest::Field));
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(refused(post(lines)), Some(BadRequest::Framing), "{lines:?}");
    }
    let old = post("Transfer-Encoding: chunked\r\n").replace("1.1", "1.0");
    assert_eq!(refused(old), Some(BadRequest::Framing));
}

#[test]
fn an_expectation_waits_only_before_a_body_of_http_1_1() {
    let expect = "Expect: 100-Continue\r\nContent-Length: 5\r\n";
    assert!(request(post(expect).as_bytes()).unwrap().expects_continue);
    assert_eq!(sent(post(expect)), post(expect));
    for (lines, left) in [
        ("Expect: 100-continue\r\n", ""),
        ("Expect: 100-continue\r\nContent-Length: 0\r\n", "Content-Length: 0\r\n"),
        ("Expect: other\r\nContent-Length: 5\r\n", "Expect: other\r\nContent-Length: 5\r\n"),
    ] {
        assert!(!request(post(lines).as_bytes()).unwrap().expects_continue, "{lines}");
        assert_eq!(sent(post(lines)), post(left));
    }
    for lines in [expect, "Expect: other\r\nContent-Length: 5\r\n"] {
        let old = post(lines).replace("1.1", "1.0");
        assert!(!request(old.as_bytes()).unwrap().expects_continue);
        assert_eq!(sent(old), post("Content-Length: 5\r\n"));
    }
}

fn ok(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}\r\n")
}

#[test]
fn a_reply_is_framed_by_chunks_a_length_or_its_end() {
    for (lines, framing, lasts) in [
        ("Content-Length: 5\r\n", Framing::Length(5), true),
        ("Content-Length: 0\r\n", Framing::Length(0), true),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Framing::Length(5), true),
        ("Transfer-Encoding: Chunked\r\n", Framing::Chunked, true),
        ("Transfer-Encoding: chunked\r\nContent-Length: 30\r\n", Framing::Chunked, false),
        ("", Framing::Close, false),
        ("Content-Length: 5\r\nConnection: close\r\n", Framing::Length(5), false),
    ] {
        let input = ok(lines);
        let reply = reply(input.as_bytes()).unwrap();
        assert_eq!((reply.framing, reply.keep_alive), (framing, lasts), "{lines:?}");
        let has = matches!(framing, Framing::Length(_));
        assert_eq!(reply.length.is_some(), has, "{lines:?}");
    }
}

#[test]
fn a_reply_of_http_1_0_lasts_only_where_it_says_so() {
    let lasts = |lines: &str| reply(ok(lines).replace("1.1", "1.0").as_bytes()).unwrap().keep_alive;
    assert!(!lasts("Content-Length: 5\r\n"));
    assert!(lasts("Content-Length: 5\r\nConnection: Keep-Alive\r\n"));
    assert!(!lasts("Connection: Keep-Alive\r\n"));
    assert!(!lasts("Transfer-Encoding: chunked\r\nConnection: Keep-Alive\r\n"));
}

#[test]
fn replies_that_could_be_read_in_two_ways_are_refused() {
    for lines in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2\r\nContent-Length: 02\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 2, 2\r\n",
        "Content-Length:\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(reply_refused(ok(lines)), Some(BadReply::Framing), "{lines:?}");
    }
    assert_eq!(reply_refused(ok("Transfer-Encoding: gzip, chunked\r\n")), Some(BadReply::UnknownCoding));
}

#[test]
fn the_client_gets_exactly_one_frame() {
    for (lines, expected) in [
        ("A: b\r\nContent-Length: 005\r\ncontent-length: 005\r\n", "A: b\r\nContent-Length: 5\r\n"),
        ("transfer-encoding: CHUNKED\r\nA: b\r\n", "transfer-encoding: chunked\r\nA: b\r\n"),
        ("Content-Length: 30\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\n"),
    ] {
        assert_eq!(passed_on(ok(lines)), ok(expected));
    }
    let (open, length) = (ok("A: b\r\n"), ok("Content-Length: 5\r\nA: b\r\n"));
    let toward = |framing| super::Toward { framing, ..super::PLAIN };
    let (open, length) = (reply(open.as_bytes()).unwrap(), reply(length.as_bytes()).unwrap());
    assert_eq!(passed(&open, &toward(Framing::Chunked)), ok("A: b\r\nTransfer-Encoding: chunked\r\n"));
    assert_eq!(passed(&open, &toward(Framing::Close)), ok("A: b\r\n"));
    assert_eq!(passed(&open, &toward(Framing::Length(0))), ok("A: b\r\nContent-Length: 0\r\n"));
    assert_eq!(passed(&length, &toward(Framing::Chunked)), ok("A: b\r\nTransfer-Encoding: chunked\r\n"));
    assert_eq!(passed(&length, &toward(Framing::Close)), ok("A: b\r\n"));
}

#[test]
fn replies_without_a_body_keep_a_length_only_where_there_could_be_one() {
    for status in [204, 100, 103, 199] {
        let input = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\nA: b\r\n\r\n");
        let reply = reply(input.as_bytes()).unwrap();
        assert_eq!((reply.framing, reply.length.is_some(), reply.keep_alive), (Framing::None, false, false));
        assert_eq!(passed_on(&input), format!("HTTP/1.1 {status} X\r\nA: b\r\n\r\n"));
    }
    let empty = "HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n";
    assert!(reply(empty.as_bytes()).unwrap().keep_alive);
    let chunked = "HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert!(!reply(chunked.as_bytes()).unwrap().keep_alive);
    assert_eq!(passed_on(chunked), "HTTP/1.1 204 X\r\n\r\n");

    let unchanged = "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n";
    let reply = reply(unchanged.as_bytes()).unwrap();
    assert_eq!((reply.framing, reply.length.is_some(), reply.keep_alive), (Framing::None, true, true));
    assert_eq!(passed_on(unchanged), unchanged);
}

#[test]
fn a_reply_to_head_has_no_body_and_keeps_its_length() {
    for (lines, left) in [
        ("Content-Length: 77\r\n", "Content-Length: 77\r\n"),
        ("Transfer-Encoding: chunked\r\n", ""),
        ("Transfer-Encoding: chunked\r\nContent-Length: 77\r\n", ""),
        ("", ""),
    ] {
        let input = ok(lines);
        let reply = super::Reply::parse(input.as_bytes(), true, &mut 0).unwrap().unwrap();
        assert_eq!(reply.framing, Framing::None);
        assert_eq!(reply.keep_alive, lines.matches("\r\n").count() < 2, "{lines:?}");
        assert_eq!(passed(&reply, &super::PLAIN), ok(left));
    }
}
