//! Heads of requests and replies: what the codec takes, and what it makes of them for the next hop.
//!
//! The first byte of the input chooses the circumstances, the second how much of the head comes first.

use std::fmt::Debug;

use outrigger::fuzz::proxy::{Answered, Asked, Asker, Body, Onward, reply_head, request_head};

use crate::targets::lines::{Lines, shown};

/// More than the codec takes, so that httparse refuses none for their number.
const FIELDS_MAX: usize = 128;
/// Of one hop, or made anew: whether they pass is not asked line by line.
const MADE_ANEW: [&str; 12] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "expect",
    "upgrade",
    "host",
    "cookie",
    "keep-alive",
    "http2-settings",
    "proxy-connection",
    "date",
];
/// Never on the next hop; the last of them is a request's only.
const OF_ONE_HOP: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];
/// The codec takes no more in one head. What is added may come on top of that.
const TAKEN_MAX: usize = 100;
/// What cannot be taken out by naming it in `Connection`.
const KEPT: [&str; 6] =
    ["authorization", "content-type", "cookie", "x-real-ip", "x-forwarded-for", "traceparent"];

fn circumstances(data: &[u8]) -> Option<(u8, usize, &[u8])> {
    let [flags, first, head @ ..] = data else { return None };
    Some((*flags, head.len() * usize::from(*first) / 256, head))
}

/// However a head is split, the same is made of it; only that a bad one may be waited for until a line ends.
fn same<T: PartialEq + Debug>(
    split: &Result<Option<T>, String>,
    whole: &Result<Option<T>, String>,
    second: &[u8],
) {
    let waits = matches!((split, whole), (Ok(None), Err(_))) && !second.contains(&b'\n');
    assert!(waits || split.as_ref().ok() == whole.as_ref().ok(), "split: {split:?}, whole: {whole:?}");
}

/// For httparse, whose targets are UTF-8: with letters for all bytes of the first line that are not ASCII.
fn in_ascii(head: &[u8]) -> Vec<u8> {
    let mut head = head.to_vec();
    let first = head.iter_mut().skip_while(|b| matches!(b, b'\r' | b'\n')).take_while(|b| **b != b'\n');
    first.filter(|b| !b.is_ascii()).for_each(|b| *b = b'x');
    head
}

pub(crate) fn request(data: &[u8]) {
    let Some((flags, first, input)) = circumstances(data) else { return };
    let onward = Onward {
        close: flags & 1 != 0,
        adds: flags & 2 != 0,
        drop_cookie: (flags & 4 != 0).then_some("__outrigger"),
    };
    let whole = request_head(input, 0, onward);
    let split = request_head(input, first, onward);
    same(&split, &whole, &input[first..]);
    let Ok(Some(asked)) = whole else { return };
    let mut space = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let ascii = in_ascii(&input[..asked.taken]);
    let theirs = httparse::Request::new(&mut space).parse(&ascii);
    assert_eq!(theirs, Ok(httparse::Status::Complete(asked.taken)), "httparse has it otherwise");
    let from =
        input.iter().position(|b| !matches!(b, b'\r' | b'\n')).expect("a head is more than empty lines");
    let received = Lines::of(&input[from..asked.taken]);
    let sent = Lines::of(&asked.head);
    request_framing(&asked, &sent);
    lines_pass(&received, &sent);
    if sent.fields.len() <= TAKEN_MAX {
        read_again(&asked, onward);
    }
}

/// One line at most frames the body; hosts and lines of one hop are right.
fn request_framing(asked: &Asked, sent: &Lines<'_>) {
    let (lengths, codings) = (sent.values("content-length"), sent.values("transfer-encoding"));
    match asked.body {
        Body::None => assert!(lengths.is_empty() && codings.is_empty(), "framing without a body"),
        Body::Length(length) => {
            assert!(
                lengths == [length.to_string().as_bytes()] && codings.is_empty(),
                "{lengths:?} {codings:?}"
            );
        }
        Body::Chunked => assert!(codings == [b"chunked"] && lengths.is_empty(), "{lengths:?} {codings:?}"),
        Body::Close => panic!("a request's body cannot end with the connection"),
    }
    assert_eq!(sent.values("host"), asked.host.as_deref().into_iter().collect::<Vec<_>>(), "Host");
    assert!(asked.host.is_some() || asked.minor == 0, "HTTP/1.1 without Host");
    of_one_hop(sent, &OF_ONE_HOP, &[b"upgrade", b"te", b"close"]);
    assert!(sent.values("te").iter().all(|value| value == b"trailers") && sent.count("te") <= 1, "TE");
    for (name, _) in &sent.fields {
        let folded: Vec<u8> = name.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect();
        let frames = folded == b"content-length" || folded == b"transfer-encoding";
        assert!(!frames || !name.contains(&b'_'), "a twin of a framing line passed");
    }
    assert!(sent.count("upgrade") == 0 || sent.nominated().contains(&b"upgrade".to_vec()), "Upgrade alone");
}

fn of_one_hop(sent: &Lines<'_>, never: &[&str], may_be_said: &[&[u8]]) {
    for name in never {
        assert_eq!(sent.count(name), 0, "{name} passed");
    }
    assert!(sent.count("connection") <= 1, "two Connection lines");
    for token in sent.nominated() {
        assert!(may_be_said.contains(&token.as_slice()), "Connection: {}", shown(&token));
    }
}

/// What is nobody's business on the way passes: every line, as it came and in order.
fn lines_pass(received: &Lines<'_>, sent: &Lines<'_>) {
    let nominated = received.nominated();
    let is_plain = |name: &[u8]| {
        !MADE_ANEW.iter().any(|known| known.as_bytes() == name)
            && !nominated.iter().any(|token| token == name)
            && !name.contains(&b'_')
    };
    let plain = received.fields.iter().filter(|(name, _)| is_plain(name));
    sent.has_all(plain.map(|(_, line)| *line));
    for name in KEPT {
        assert!(name == "cookie" || sent.count(name) >= received.count(name), "{name} was lost");
    }
}

/// Ours, read again, is what was meant, and goes on as it is.
fn read_again(asked: &Asked, onward: Onward) {
    let plain = Onward { adds: false, ..onward };
    let again = request_head(&asked.head, 0, plain).expect("what we send, we take").expect("it is whole");
    assert_eq!(again.taken, asked.head.len(), "more, or less, than one head");
    assert_eq!((again.method.as_slice(), again.body), (asked.method.as_slice(), asked.body));
    let slash = if asked.target.first() == Some(&b'?') { &b"/"[..] } else { b"" };
    assert_eq!(again.target, [slash, asked.target.as_slice()].concat());
    assert_eq!(again.host, asked.host);
    assert_eq!(again.minor, u8::from(asked.host.is_some()));
    assert_eq!(shown(&again.head), shown(&asked.head), "rendering is not settled by one pass");
}

pub(crate) fn reply(data: &[u8]) {
    let Some((flags, first, input)) = circumstances(data) else { return };
    let asker = Asker {
        with_head: flags & 1 != 0,
        in_10: flags & 2 != 0,
        once: flags & 4 != 0,
        gets_cookie: flags & 8 != 0,
    };
    let whole = reply_head(input, 0, asker);
    let split = reply_head(input, first, asker);
    same(&split, &whole, &input[first..]);
    let Ok(Some(answered)) = whole else { return };
    let mut space = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let ascii = in_ascii(&input[..answered.taken]);
    let theirs = httparse::Response::new(&mut space).parse(&ascii);
    assert_eq!(theirs, Ok(httparse::Status::Complete(answered.taken)), "httparse has it otherwise");
    let received = Lines::of(&input[..answered.taken]);
    let sent = Lines::of(&answered.head);
    let line = [format!("HTTP/1.1 {} ", answered.status).as_bytes(), &answered.reason].concat();
    assert_eq!(shown(sent.first), shown(&line));
    reply_framing(&answered, &sent, asker);
    lines_pass(&received, &sent);
    if sent.fields.len() > TAKEN_MAX {
        return;
    }
    let again = reply_head(&answered.head, 0, asker).expect("what we send, we take").expect("it is whole");
    assert_eq!(again.taken, answered.head.len(), "more, or less, than one head");
    assert_eq!((again.status, &again.reason), (answered.status, &answered.reason));
    assert_eq!(again.body, answered.toward, "the client would look for another end");
}

fn reply_framing(answered: &Answered, sent: &Lines<'_>, asker: Asker) {
    let (lengths, codings) = (sent.values("content-length"), sent.values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1, "{lengths:?} {codings:?}");
    let may_be_framed = !matches!(answered.status, 100..=199 | 204);
    match answered.toward {
        // A length may stand where there could have been a body.
        Body::None => {
            assert!(codings.is_empty() && (may_be_framed || lengths.is_empty()), "framing without a body")
        }
        Body::Length(length) => assert_eq!(lengths, [length.to_string().as_bytes()]),
        Body::Chunked => assert_eq!(codings, [b"chunked"]),
        Body::Close => assert!(lengths.is_empty() && codings.is_empty(), "{lengths:?} {codings:?}"),
    }
    assert!(!asker.in_10 || codings.is_empty(), "chunks to HTTP/1.0");
    of_one_hop(sent, &OF_ONE_HOP[..2], &[b"upgrade", b"close", b"keep-alive"]);
    assert!(answered.status == 101 || sent.count("upgrade") == 0, "Upgrade without a switch");
    assert!(sent.count("date") >= 1 || answered.status < 200, "no Date");
}
