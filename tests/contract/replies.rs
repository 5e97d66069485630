//! Group A, fourth part: what the app says. A bad reply is a 502, and must not poison the next request.

use crate::app::{Conn, OK, Play, Then};
use crate::case::{Case, GET, Scene, See, Verdict, bad_reply, replied, replied_to, script};
use crate::judge::code_of;
use crate::wire::{Framing, crlf};

use Then::{Closes, Keeps};

const HEAD: &[u8] = b"HEAD / HTTP/1.1|Host: a||";
const OLD: &[u8] = b"GET / HTTP/1.0|Host: a||";

pub(crate) const CASES: &[Case] = &[
    bad_reply(
        "A11.01",
        "Content-Length 2 and 3",
        b"HTTP/1.1 200 OK|Content-Length: 2|Content-Length: 3||abc",
        Keeps,
    ),
    bad_reply("A11.02", "Content-Length `-1`", b"HTTP/1.1 200 OK|Content-Length: -1||", Closes),
    bad_reply("A11.03", "Content-Length `+2`", b"HTTP/1.1 200 OK|Content-Length: +2||ok", Closes),
    bad_reply("A11.04", "Content-Length empty", b"HTTP/1.1 200 OK|Content-Length:||ok", Closes),
    bad_reply("A11.05", "Content-Length `2, 3`", b"HTTP/1.1 200 OK|Content-Length: 2, 3||abc", Closes),
    bad_reply("A11.06", "Content-Length `0x2`", b"HTTP/1.1 200 OK|Content-Length: 0x2||ok", Closes),
    bad_reply(
        "A11.07",
        "Content-Length of 23 digits",
        b"HTTP/1.1 200 OK|Content-Length: 99999999999999999999999||ok",
        Closes,
    ),
    bad_reply("A11.08", "not HTTP", b"SSH-2.0-x||", Closes),
    bad_reply("A11.09", "a folded line", b"HTTP/1.1 200 OK|X: a| b|Content-Length: 2||ok", Keeps),
    bad_reply("A11.10", "Transfer-Encoding `gzip`", b"HTTP/1.1 200 OK|Transfer-Encoding: gzip||abc", Closes),
    bad_reply(
        "A11.11",
        "Transfer-Encoding `gzip, chunked`",
        b"HTTP/1.1 200 OK|Transfer-Encoding: gzip, chunked||2|ok|0||",
        Keeps,
    ),
    bad_reply(
        "A11.12",
        "Transfer-Encoding `chunked, chunked`",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked, chunked||2|ok|0||",
        Keeps,
    ),
    bad_reply(
        "A11.13",
        "Transfer-Encoding: VT, `chunked`",
        b"HTTP/1.1 200 OK|Transfer-Encoding: \x0bchunked||2|ok|0||",
        Keeps,
    ),
    bad_reply("A11.14", "code `abc`", b"HTTP/1.1 abc OK|Content-Length: 2||ok", Keeps),
    bad_reply("A11.15", "code `2000`", b"HTTP/1.1 2000 OK|Content-Length: 2||ok", Keeps),
    bad_reply("A11.16", "code `99`", b"HTTP/1.1 99 OK|Content-Length: 2||ok", Keeps),
    bad_reply("A11.17", "`HTTP/2 200`", b"HTTP/2 200|Content-Length: 2||ok", Keeps),
    bad_reply("A11.18", "`ICY 200 OK`", b"ICY 200 OK|Content-Length: 2||ok", Keeps),
    bad_reply("A11.19", "NUL in a value", b"HTTP/1.1 200 OK|X: a\0b|Content-Length: 2||ok", Keeps),
    bad_reply("A11.20", "bare CR in a value", b"HTTP/1.1 200 OK|X: a\rb|Content-Length: 2||ok", Keeps),
    bad_reply("A11.21", "empty name", b"HTTP/1.1 200 OK|: a|Content-Length: 2||ok", Keeps),
    bad_reply("A11.22", "a line without a colon", b"HTTP/1.1 200 OK|hello|Content-Length: 2||ok", Keeps),
    bad_reply("A11.23", "the end before any byte", b"", Closes),
    bad_reply("A11.24", "the end within the status line", b"HTTP/1.1 20", Closes),
    bad_reply("A11.25", "the end within the head", b"HTTP/1.1 200 OK|Content-Le", Closes),
    bad_reply("A11.26", "an HTTP/0.9 page", b"<html>hello</html>|", Closes),
    bad_reply("A11.27", "a request in place of a reply", b"GET / HTTP/1.1|Host: a||", Keeps),
    script("A11.28", "a head that never ends", Play::Script(endless_head), |s| {
        let mut client = s.client();
        let reply = client.ask(GET);
        Verdict::of(reply.as_ref().is_some_and(|r| r.status() == 502), code_of(reply.as_ref(), &client))
    }),
    bad_reply("A11.29", "LF at each line's end", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", Keeps),
    replied(
        "A12.1",
        "Transfer-Encoding and Content-Length",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked|Content-Length: 30||2|ok|0||",
        Keeps,
        &[
            See::Status(200),
            See::Lacks(b"content-length"),
            See::Chunked,
            See::Body(b"ok"),
            See::Whole,
            See::Fresh,
        ],
    ),
    replied(
        "A12.2",
        "Content-Length, then Transfer-Encoding",
        b"HTTP/1.1 200 OK|Content-Length: 1|Transfer-Encoding: chunked||2|ok|0||",
        Keeps,
        &[
            See::Status(200),
            See::Lacks(b"content-length"),
            See::Chunked,
            See::Body(b"ok"),
            See::Whole,
            See::Fresh,
        ],
    ),
    replied("A13.1", "less than Content-Length", b"HTTP/1.1 200 OK|Content-Length: 9||ok", Closes, CUT),
    replied(
        "A13.2",
        "the end before the last chunk",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|",
        Closes,
        CUT,
    ),
    replied(
        "A13.3",
        "the end within a chunk",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||9|ok",
        Closes,
        CUT,
    ),
    replied(
        "A13.4",
        "a bad chunk size",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|zz|x|0||",
        Keeps,
        CUT,
    )
    .varies(),
    replied(
        "A13.5",
        "a chunk size that overflows",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|FFFFFFFFFFFFFFFF2|x|0||",
        Keeps,
        CUT,
    )
    .varies(),
    replied(
        "A13.6",
        "data longer than their chunk",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|okok|0||",
        Keeps,
        CUT,
    )
    .varies(),
    replied(
        "A13.7",
        "a bad trailer",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|0|X : y||",
        Keeps,
        CUT,
    )
    .varies(),
    replied_to(
        "A13.8",
        "the end before the last chunk, to HTTP/1.0",
        OLD,
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|",
        Closes,
        &[See::Status(200), See::Reset],
    ),
    replied(
        "A14.1",
        "HTTP/1.0, ended by close",
        b"HTTP/1.0 200 OK||hello",
        Closes,
        &[
            See::Status(200),
            See::Line(b"HTTP/1.1 200 OK"),
            See::Chunked,
            See::Body(b"hello"),
            See::Whole,
            See::Next,
        ],
    ),
    replied(
        "A14.2",
        "HTTP/1.1, ended by close",
        b"HTTP/1.1 200 OK||hello",
        Closes,
        &[See::Status(200), See::Chunked, See::Body(b"hello"), See::Whole, See::Next],
    ),
    replied(
        "A14.3",
        "HTTP/1.0 with Content-Length",
        b"HTTP/1.0 200 OK|Content-Length: 2||ok",
        Closes,
        &[See::Status(200), See::Line(b"HTTP/1.1 200 OK"), See::Body(b"ok"), See::Next],
    ),
    replied(
        "A14.4",
        "HTTP/1.0 with keep-alive",
        b"HTTP/1.0 200 OK|Connection: keep-alive|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next],
    ),
    replied_to(
        "A14.5",
        "ended by close, to HTTP/1.0",
        OLD,
        b"HTTP/1.1 200 OK||hello",
        Closes,
        &[See::Status(200), See::Lacks(b"transfer-encoding"), See::Body(b"hello"), See::Whole],
    ),
    replied(
        "A14.6",
        "Transfer-Encoding in HTTP/1.0",
        b"HTTP/1.0 200 OK|Transfer-Encoding: chunked||2|ok|0||",
        Closes,
        &[See::Fresh],
    ),
    replied(
        "A15.1",
        "204 with Content-Length and a body",
        b"HTTP/1.1 204 No Content|Content-Length: 5||hello",
        Keeps,
        &[See::Status(204), See::Lacks(b"content-length"), See::Next, See::Fresh],
    ),
    replied(
        "A15.2",
        "204 with Transfer-Encoding",
        b"HTTP/1.1 204 No Content|Transfer-Encoding: chunked||0||",
        Keeps,
        &[See::Status(204), See::Lacks(b"transfer-encoding"), See::Next],
    ),
    replied(
        "A15.3",
        "304 with Content-Length",
        b"HTTP/1.1 304 Not Modified|ETag: \"x\"|Content-Length: 1234||",
        Keeps,
        &[See::Status(304), See::Has(b"content-length", b"1234"), See::Has(b"etag", b"\"x\""), See::Next],
    ),
    replied_to(
        "A15.4",
        "HEAD with Content-Length",
        HEAD,
        b"HTTP/1.1 200 OK|Content-Length: 77||",
        Keeps,
        &[See::Status(200), See::Has(b"content-length", b"77"), See::Next, See::Reused],
    ),
    replied_to(
        "A15.5",
        "HEAD with Transfer-Encoding",
        HEAD,
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||",
        Keeps,
        &[See::Status(200), See::Next],
    ),
    replied_to(
        "A15.6",
        "HEAD with a body",
        HEAD,
        b"HTTP/1.1 200 OK|Content-Length: 5||hello",
        Keeps,
        &[See::Status(200), See::Next, See::Fresh],
    ),
    replied(
        "A15.7",
        "304 with a body",
        b"HTTP/1.1 304 Not Modified|Content-Length: 5||hello",
        Keeps,
        &[See::Status(304), See::Next, See::Fresh],
    ),
    replied_to(
        "A15.8",
        "HEAD with neither",
        HEAD,
        b"HTTP/1.1 200 OK||",
        Keeps,
        &[See::Status(200), See::Next],
    ),
    replied(
        "A15.9",
        "200 with Content-Length: 0",
        b"HTTP/1.1 200 OK|Content-Length: 0||",
        Keeps,
        &[See::Status(200), See::Has(b"content-length", b"0"), See::Next, See::Reused],
    ),
    replied(
        "A16.1",
        "bytes after the body",
        b"HTTP/1.1 200 OK|Content-Length: 2||okSURPLUS",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next, See::Fresh],
    ),
    replied(
        "A16.2",
        "a second reply after the first",
        b"HTTP/1.1 200 OK|Content-Length: 2||okHTTP/1.1 200 OK|Content-Length: 4||evil",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next, See::Fresh],
    ),
    replied(
        "A16.3",
        "a second reply after the last chunk",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|0||HTTP/1.1 200 OK|Content-Length: 4||evil",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next, See::Fresh],
    ),
    replied_to(
        "A16.4",
        "a second reply after HEAD's",
        HEAD,
        b"HTTP/1.1 200 OK|Content-Length: 2||HTTP/1.1 200 OK|Content-Length: 4||evil",
        Keeps,
        &[See::Status(200), See::Next, See::Fresh],
    ),
    script("A17.1", "a reply on an idle connection", Play::Script(unasked), unasked_reply),
    script("A18.1", "each byte of a reply on its own", Play::Script(by_bytes), |s| {
        let mut client = s.client();
        let reply = client.ask(GET);
        let good = reply.as_ref().is_some_and(|r| r.is_ok(b"abcde") && r.head.has(b"x-a", b"1"));
        Verdict::of(good, code_of(reply.as_ref(), &client))
    }),
    replied(
        "A19.1",
        "extensions of chunks are dropped",
        b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2;a=\"x\"|ok|0;b||",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Whole, See::Next],
    ),
    replied(
        "A19.2",
        "no reason",
        b"HTTP/1.1 200|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next],
    ),
    replied(
        "A19.3",
        "a reason in Latin-1",
        b"HTTP/1.1 200 Tr\xe8s bien|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Line(b"HTTP/1.1 200 Tr\xe8s bien"), See::Body(b"ok")],
    ),
    replied("A19.4", "90 fields", &MANY_FIELDS, Keeps, &[See::Status(200), See::Body(b"ok"), See::Next]),
];

const CUT: &[See] = &[See::Status(200), See::Cut, See::Fresh];

/// A reply with many fields.
const MANY_FIELDS: [u8; 37 + 90 * 6] = {
    let (head, tail) = (b"HTTP/1.1 200 OK|Content-Length: 2|", b"|ok");
    let mut bytes = [b'|'; 37 + 90 * 6];
    let mut at = 0;
    while at < head.len() {
        bytes[at] = head[at];
        at += 1;
    }
    let mut field = 0;
    while field < 90 {
        let line = b"X-A: 1";
        let mut i = 0;
        while i < 5 {
            bytes[at + i] = line[i];
            i += 1;
        }
        at += 6;
        field += 1;
    }
    let mut i = 0;
    while i < tail.len() {
        bytes[at + i] = tail[i];
        i += 1;
    }
    bytes
};

fn endless_head(conn: &mut Conn) {
    if conn.request().is_none() {
        return;
    }
    let line = [&b"X-A: "[..], &[b'x'; 8000], b"\r\n"].concat();
    let mut open = conn.say(b"HTTP/1.1 200 OK|");
    for _ in 0..1000 {
        open = open && conn.wire.send(&line);
    }
}

fn unasked(conn: &mut Conn) {
    if conn.request().is_none() {
        return;
    }
    conn.say(OK);
    if conn.arrivals() == 1 && conn.wait("go", 1) {
        conn.say(b"HTTP/1.1 200 OK|Content-Length: 4||evil");
        conn.cue("said");
    }
    conn.serve();
}

/// What comes without a request must answer none.
fn unasked_reply(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let first = client.ask(GET);
    if !first.as_ref().is_some_and(|r| r.is_ok(b"ok")) {
        return Verdict::bad(code_of(first.as_ref(), &client));
    }
    scene.app.cue("go");
    scene.app.wait("said", 1);
    let next = client.ask(GET);
    let word = match &next {
        Some(reply) if reply.body.data == b"evil" => "poisoned".to_owned(),
        reply => code_of(reply.as_ref(), &client),
    };
    Verdict::of(next.is_some_and(|r| r.is_ok(b"ok")), word)
}

fn by_bytes(conn: &mut Conn) {
    if conn.request().is_some() {
        let said = crlf(b"HTTP/1.1 200 OK|X-A: 1|Transfer-Encoding: chunked||3;x|abc|2|de|0|X-T: v||");
        said.iter().all(|byte| conn.wire.send(&[*byte]));
        conn.wire.body(Framing::Close);
    }
}
