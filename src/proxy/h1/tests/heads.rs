//! Heads that come in pieces, and their bounds.

use super::{refused, reply_refused, request, sent};
use crate::proxy::h1::{BadReply, BadRequest, FIELDS_MAX, HEAD_MAX, Reply, Request};

#[test]
fn a_head_is_incomplete_until_its_last_byte() {
    let input = b"\r\nGET /a HTTP/1.1\r\nHost: a\r\nX: y \r\n\r\n";
    for end in 0..input.len() {
        assert!(matches!(Request::parse(&input[..end], &mut 0), Ok(None)), "{end}");
    }
    assert!(request(input).is_ok());
    let input = b"HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 0\r\n\r\n";
    for end in 0..input.len() {
        assert!(matches!(Reply::parse(&input[..end], false, &mut 0), Ok(None)), "{end}");
    }
}

#[test]
fn a_head_that_comes_byte_by_byte_is_read_once_it_is_whole() {
    let input = b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    let mut seen = 0;
    for end in 1..input.len() {
        assert!(matches!(Request::parse(&input[..end], &mut seen), Ok(None)), "{end}");
        assert_eq!(seen, end);
    }
    assert_eq!(Request::parse(input, &mut seen).unwrap().unwrap().len, input.len());
    assert_eq!(seen, 0);
}

#[test]
fn between_two_line_ends_nothing_is_read_again() {
    // What was wrong from the start is told with the next line's end: in between, nobody looked.
    let input = b"GET / HTTP/1.1\r\nHost a: b\r\n\r\n";
    let mut seen = b"GET / HTTP/1.1\r\nHost".len();
    assert!(matches!(Request::parse(&input[..input.len() - 4], &mut seen), Ok(None)));
    assert_eq!(Request::parse(input, &mut seen).err(), Some(BadRequest::Field));
}

/// A request of that many bytes.
fn of_length(length: usize) -> String {
    let (start, end) = ("GET / HTTP/1.1\r\nHost: a\r\nX: ", "\r\n\r\n");
    format!("{start}{}{end}", "x".repeat(length - start.len() - end.len()))
}

#[test]
fn the_longest_head_passes_and_a_longer_one_is_refused() {
    let longest = of_length(HEAD_MAX);
    assert_eq!(sent(&longest), longest);
    for more in [1, 2, 3, 4, 5, 500_000] {
        assert_eq!(refused(of_length(HEAD_MAX + more)), Some(BadRequest::HeadTooLong), "{more}");
    }
    let mut seen = 0;
    let endless = of_length(HEAD_MAX + 9);
    assert!(matches!(Request::parse(&endless.as_bytes()[..HEAD_MAX - 1], &mut seen), Ok(None)));
    let end = Request::parse(&endless.as_bytes()[..HEAD_MAX], &mut seen);
    assert_eq!(end.err(), Some(BadRequest::HeadTooLong));
    let reply = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(HEAD_MAX));
    assert_eq!(reply_refused(reply), Some(BadReply::HeadTooLong));
    assert_eq!(reply_refused(format!("HTTP/1.1 200 {}", "x".repeat(HEAD_MAX))), Some(BadReply::HeadTooLong));
}

#[test]
fn one_header_of_40_kb_passes() {
    let input = of_length(40_000);
    assert_eq!(sent(&input), input);
}

#[test]
fn one_field_too_many_is_refused() {
    let with = |fields: usize| {
        let lines: String = (1..fields).map(|i| format!("N{i}: {i}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
    };
    for fields in [31, 32, 33, 34, FIELDS_MAX] {
        let input = with(fields);
        let request = request(input.as_bytes()).unwrap();
        assert_eq!(request.fields().count(), fields);
        let last = (fields - 1).to_string();
        assert_eq!(request.field(&format!("n{last}")), Some(last.as_bytes()));
        assert_eq!(sent(&input), input);
    }
    assert_eq!(refused(with(FIELDS_MAX + 1)), Some(BadRequest::TooManyFields));
    let reply = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
    assert_eq!(reply_refused(reply), Some(BadReply::TooManyFields));
}

#[test]
fn fields_beyond_the_first_few_are_dropped_and_nominated_like_the_others() {
    let lines: String = (0..60).map(|i| format!("N{i}: {i}\r\n")).collect();
    let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}Keep-Alive: x\r\nConnection: N59, N1\r\n\r\n");
    let expected = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    assert_eq!(sent(input), expected.replace("N59: 59\r\n", "").replace("N1: 1\r\n", ""));
}
