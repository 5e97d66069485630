//! What holds whatever comes in.

use std::cell::Cell;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop};
use proptest::sample::{Index, select};
use proptest::{prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::chunks::decode;
use crate::proxy::h1::{
    Added, BadChunk, BadReply, BadRequest, Framing, HEAD_MAX, Reply, Request, Toward, chunk, last_chunk,
    reply_head, request_head,
};

/// Names that mean something, twins of them, and others.
const NAMES: [&str; 25] = [
    "Host",
    "host",
    "Content-Length",
    "content-length",
    "Transfer-Encoding",
    "Connection",
    "connection",
    "TE",
    "Upgrade",
    "Expect",
    "Cookie",
    "Keep-Alive",
    "Proxy-Connection",
    "HTTP2-Settings",
    "Trailer",
    "Date",
    "X-Request-Id",
    "X-Forwarded-For",
    "X_Forwarded_For",
    "content_length",
    "Set-Cookie",
    "Cache-Control",
    "x-a",
    "X-B",
    "A",
];
const VALUES: [&str; 22] = [
    "a",
    "a",
    "5",
    "0",
    "12",
    "005",
    "chunked",
    "gzip, chunked",
    "close",
    "keep-alive",
    "Upgrade",
    "upgrade, TE, x-a",
    "x-b",
    "trailers",
    "websocket",
    "h2c",
    "100-continue",
    "a=1; ours=2; b=3",
    "ours=1",
    "",
    "x\u{e9}y",
    "a\tb",
];
const BAD_VALUES: [&str; 3] = ["a\0b", "a\nContent-Length: 3", "a\rContent-Length: 3"];

/// A failing case is kept as a test with a name, not as a seed.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A line of mostly good parts.
fn line() -> impl Strategy<Value = String> {
    let blank = || select(vec!["", " ", " ", " ", "  ", "\t"]);
    let end = prop_oneof![30 => Just("\r\n"), 1 => Just("\n"), 1 => Just("\r\n ")];
    let value = prop_oneof![12 => select(&VALUES[..]), 1 => select(&BAD_VALUES[..])];
    (select(&NAMES[..]), blank(), value, blank(), end)
        .prop_map(|(name, before, value, after, end)| format!("{name}:{before}{value}{after}{end}"))
}

fn request_line() -> impl Strategy<Value = String> {
    let method = select(vec!["GET", "GET", "POST", "HEAD", "OPTIONS", "x"]);
    let target = select(vec!["/", "/a?b", "/a?b", "/c", "*", "http://b/c", "http://b?c", "a:1"]);
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    (select(vec!["", "", "", "\r\n"]), method, target, version)
        .prop_map(|(empty, method, target, version)| format!("{empty}{method} {target} {version}\r\n"))
}

/// A frame in most cases, and a good one in most of them.
fn frame() -> impl Strategy<Value = &'static str> {
    select(vec![
        "",
        "",
        "Content-Length: 5\r\n",
        "content-length:0\r\n",
        "Content-Length: 005 \r\n",
        "Transfer-Encoding: chunked\r\n",
        "transfer-encoding:Chunked\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ])
}

/// A head of mostly good parts, with a good `Host` in most cases.
fn request_text() -> impl Strategy<Value = Vec<u8>> {
    let host = select(vec!["Host: a\r\n", "Host: a\r\n", "Host: a\r\n", ""]);
    let host = (host, frame()).prop_map(|(host, frame)| format!("{host}{frame}"));
    let lines = prop::collection::vec(line(), 0..4);
    let damage = prop::option::weighted(0.1, (any::<Index>(), any::<u8>()));
    (request_line(), host, lines, damage).prop_map(|(first, host, lines, damage)| {
        let mut head = format!("{first}{host}{}\r\nbody", lines.concat()).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

fn reply_text() -> impl Strategy<Value = Vec<u8>> {
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let status =
        select(vec!["200 OK", "200 OK", "200", "404 \u{e9}", "204 No", "304 Not", "101 Switch", "103 Hints"]);
    let lines = prop::collection::vec(line(), 0..4);
    let damage = prop::option::weighted(0.1, (any::<Index>(), any::<u8>()));
    (version, status, frame(), lines, damage).prop_map(|(version, status, frame, lines, damage)| {
        let mut head = format!("{version} {status}\r\n{frame}{}\r\nbody", lines.concat()).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(head.len());
            head[at] = byte;
        }
        head
    })
}

/// Fields as pairs.
type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

fn pairs<'b>(fields: impl Iterator<Item = crate::proxy::h1::fields::Field<'b>>) -> Pairs {
    fields.map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

/// What `Connection` lines name, in lower case.
fn nominated(fields: &Pairs) -> Vec<String> {
    let lower = |bytes: &[u8]| String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let lines = fields.iter().filter(|(name, _)| lower(name) == "connection").map(|(_, value)| lower(value));
    lines.flat_map(|line| line.split(',').map(|token| token.trim().to_owned()).collect::<Vec<_>>()).collect()
}

/// Without those that framing, this hop and we have to do with, and those that are nominated.
fn through(fields: Pairs, nominated: &[String]) -> Pairs {
    const OURS: [&str; 9] = [
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "expect",
        "cookie",
    ];
    let is_ours = |name: &[u8]| {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        OURS.contains(&name.as_str())
            || ["proxy-connection", "http2-settings"].contains(&name.as_str())
            || nominated.contains(&name)
            || name.contains('_')
    };
    fields.into_iter().filter(|(name, _)| !is_ours(name)).collect()
}

/// A head as `httparse` reads it: lines of name and value, where it takes it at all.
fn second_opinion(head: &[u8]) -> Option<Pairs> {
    let start = head.windows(2).position(|two| two == b"\r\n")? + 2;
    let mut fields = [httparse::EMPTY_HEADER; 100];
    match httparse::parse_headers(&head[start..], &mut fields) {
        Ok(httparse::Status::Complete((_, fields))) => {
            Some(fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect())
        }
        _ => None,
    }
}

/// Lines end in CRLF, the head ends with the empty one, and at most one line frames the body.
fn invariant_a_rendered_head_is_unambiguous(head: &[u8]) {
    assert!(head.ends_with(b"\r\n\r\n"));
    let text: String = head.iter().map(|&b| char::from(b)).collect();
    let lines: Vec<&str> = text[..text.len() - 4].split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.is_empty() && !line.contains(['\r', '\n', '\0'])), "{text:?}");
    let is_frame = |line: &&&str| {
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        matches!(name.as_str(), "content-length" | "transfer-encoding")
    };
    assert!(lines[1..].iter().filter(is_frame).count() <= 1, "{text:?}");
}

type Read<E> = Result<Option<(Pairs, usize)>, E>;

fn read_request(input: &[u8], seen: &mut usize) -> Read<BadRequest> {
    let parsed = Request::parse(input, seen)?;
    Ok(parsed.map(|request| (pairs(request.fields()), request.len)))
}

fn read_reply(input: &[u8], seen: &mut usize) -> Read<BadReply> {
    let parsed = Reply::parse(input, false, seen)?;
    Ok(parsed.map(|reply| (pairs(reply.fields()), reply.len)))
}

/// What comes of `input` when more of it comes in steps.
fn in_steps<E>(input: &[u8], step: usize, read: impl Fn(&[u8], &mut usize) -> Read<E>) -> Read<E> {
    let mut seen = 0;
    for end in (step..input.len()).step_by(step) {
        if let Some(done) = read(&input[..end], &mut seen)? {
            return Ok(Some(done));
        }
    }
    read(input, &mut seen)
}

#[test]
fn whatever_comes_in_the_app_gets_one_unambiguous_head() {
    let (passed, framed, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    proptest!(cases(3000), |(input in request_text(), with_upgrade: bool, close: bool)| {
        let Ok(Some(request)) = Request::parse(&input, &mut 0) else {
            refused.set(refused.get() + 1);
            return Ok(());
        };
        passed.set(passed.get() + 1);
        framed.set(framed.get() + usize::from(request.framing != Framing::None));
        let added = Added { request_id: Some(b"id"), close, drop_cookie: Some("ours"), ..Added::default() };
        let mut out = Vec::new();
        request_head(&request, &added, with_upgrade, &mut out);
        invariant_a_rendered_head_is_unambiguous(&out);
        prop_assert!(!out.to_ascii_lowercase().windows(14).any(|name| name == b"content_length"));
        let again = Request::parse(&out, &mut 0).unwrap().unwrap();
        prop_assert_eq!(again.len, out.len());
        prop_assert_eq!(again.framing, request.framing);
        prop_assert_eq!((again.method, again.path(), again.host), (request.method, request.path(), request.host));
        prop_assert_eq!(again.expects_continue, request.expects_continue);
        prop_assert_eq!(again.trailers, request.trailers);
        prop_assert_eq!(again.upgrade, request.upgrade.filter(|_| with_upgrade));
        prop_assert_eq!(again.cookie("ours"), None);
        prop_assert_eq!(again.cookie("a"), request.cookie("a"));
        let nominated = nominated(&pairs(request.fields()));
        let mut expected = through(pairs(request.fields()), &nominated);
        expected.push((b"X-Request-Id".to_vec(), b"id".to_vec()));
        prop_assert_eq!(through(pairs(again.fields()), &nominated), expected);
    });
    assert!(
        passed.get() > 300 && framed.get() > 50 && refused.get() > 300,
        "{passed:?} {framed:?} {refused:?}"
    );
}

#[test]
fn whatever_comes_back_the_client_gets_one_unambiguous_head() {
    let (passed, framed, refused) = (Cell::new(0), Cell::new(0), Cell::new(0));
    proptest!(cases(3000), |(input in reply_text(), close: bool, to_head: bool)| {
        let Ok(Some(reply)) = Reply::parse(&input, to_head, &mut 0) else {
            refused.set(refused.get() + 1);
            return Ok(());
        };
        passed.set(passed.get() + 1);
        framed.set(framed.get() + usize::from(reply.framing != Framing::None));
        let framing = if reply.framing == Framing::Close { Framing::Chunked } else { reply.framing };
        let toward = Toward { framing, close, keep_alive_10: false, date: Some(b"d"), set_cookie: None };
        let mut out = Vec::new();
        reply_head(&reply, &toward, &mut out);
        invariant_a_rendered_head_is_unambiguous(&out);
        let again = Reply::parse(&out, to_head, &mut 0).unwrap().unwrap();
        prop_assert_eq!((again.len, again.framing, again.status), (out.len(), framing, reply.status));
        prop_assert_eq!((again.reason, again.length.is_some()), (reply.reason, reply.length.is_some()));
        let nominated = nominated(&pairs(reply.fields()));
        let mut expected = through(pairs(reply.fields()), &nominated);
        if reply.field("date").is_none() {
            expected.push((b"Date".to_vec(), b"d".to_vec()));
        }
        prop_assert_eq!(through(pairs(again.fields()), &nominated), expected);
    });
    assert!(
        passed.get() > 300 && framed.get() > 100 && refused.get() > 300,
        "{passed:?} {framed:?} {refused:?}"
    );
}

#[test]
fn any_split_of_a_head_comes_to_the_same() {
    // A line that has not ended may not have been looked at.
    let ended = |input: Vec<u8>| [input, b"\r\n".to_vec()].concat();
    proptest!(cases(256), |(input in request_text().prop_map(ended), step in 1usize..40)| {
        prop_assert_eq!(in_steps(&input, step, read_request), read_request(&input, &mut 0));
    });
    proptest!(cases(256), |(input in reply_text().prop_map(ended), step in 1usize..40)| {
        prop_assert_eq!(in_steps(&input, step, read_reply), read_reply(&input, &mut 0));
    });
}

#[test]
fn fields_are_read_as_another_parser_reads_them() {
    let agreed = Cell::new(0);
    proptest!(cases(3000), |(input in reply_text())| {
        match (read_reply(&input, &mut 0), second_opinion(&input)) {
            (Ok(Some((ours, _))), theirs) => {
                prop_assert_eq!(Some(ours), theirs);
                agreed.set(agreed.get() + 1);
            }
            // It takes a lone LF for a line's end, as we do not.
            (Err(BadReply::Field), Some(_)) => {
                let text: String = input.iter().map(|&b| char::from(b)).collect();
                prop_assert!(text.replace("\r\n", "").contains('\n'), "{:?}", text);
            }
            _ => {}
        }
    });
    assert!(agreed.get() > 300, "{agreed:?}");
}

#[test]
fn no_bytes_make_anything_panic() {
    proptest!(cases(256), |(input in prop::collection::vec(any::<u8>(), 0..200), sizes in 1usize..9)| {
        let _ = Request::parse(&input, &mut 0);
        let _ = Reply::parse(&input, false, &mut 0);
        let _ = decode(&input, sizes);
        let _ = last_chunk(&input, &mut Vec::new());
        for start in ["GET / HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 200 OK\r\n", "5\r\nhello\r\n0\r\n"] {
            let input = [start.as_bytes(), &input].concat();
            let _ = Request::parse(&input, &mut 0);
            let _ = Reply::parse(&input, false, &mut 0);
            let _ = decode(&input, sizes);
        }
    });
}

#[test]
fn a_head_as_long_as_can_be_ends_anywhere_without_harm() {
    for cut in 0..40 {
        let line = format!("X: {}\r\n", "x".repeat(HEAD_MAX - 60 + cut));
        let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        let expected =
            if input.len() > HEAD_MAX { Err(BadRequest::HeadTooLong) } else { Ok(Some(input.len())) };
        assert_eq!(read_request(input.as_bytes(), &mut 0).map(|read| read.map(|(_, len)| len)), expected);
    }
}

#[test]
fn chunks_come_out_as_they_went_in_whatever_the_split() {
    proptest!(cases(256), |(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..6),
        trailer: bool,
        step in 1usize..30,
    )| {
        let trailers: &[u8] = if trailer { b"X-T: v\r\n\r\n" } else { b"" };
        let mut input = Vec::new();
        parts.iter().for_each(|part| chunk(part, &mut input));
        last_chunk(trailers, &mut input).unwrap();
        let length = input.len();
        input.extend_from_slice(b"more");
        prop_assert_eq!(decode(&input, step), Ok(Some((parts.concat(), trailers.to_vec(), length))));
    });
}

#[test]
fn a_damaged_chunk_comes_to_the_same_whatever_the_split() {
    let refused = Cell::new(0);
    proptest!(cases(1000), |(at: Index, byte: u8, step in 1usize..30)| {
        let mut input = b"5;a=b\r\nhello\r\n00B\r\nhello world\r\n0\r\nX-T: v\r\n\r\nGET".to_vec();
        let at = at.index(input.len());
        input[at] = byte;
        let whole: Result<_, BadChunk> = decode(&input, usize::MAX);
        refused.set(refused.get() + usize::from(whole.is_err()));
        prop_assert_eq!(decode(&input, step), whole);
    });
    assert!(refused.get() > 100);
}
