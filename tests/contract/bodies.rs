//! Group C, first part: bodies, trailers, early replies, pipelines, HTTP/1.0.

use crate::app::{Conn, OK, Play, Then};
use crate::case::{Case, GET, Scene, See, Verdict, Want, passed, refused, replied, replied_to, script};
use crate::judge::code_of;
use crate::wire::{Body, End, crlf};

use Then::Keeps;

const MB: usize = 1 << 20;
/// An upload that fits into no buffer on its way.
const UPLOAD: usize = 20 * MB;
/// How often a race is run.
const ROUNDS: usize = 20;
/// Pieces of a stream, each sent when the one before has arrived.
const PIECES: usize = 50;

pub(crate) const CASES: &[Case] = &[
    passed("C01.1", "a GET's chunked body", b"GET / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0||", &[
        Want::Body(b"abc"),
    ]),
    passed("C01.2", "a GET's body with a length", b"GET / HTTP/1.1|Host: a|Content-Length: 3||abc", &[
        Want::Body(b"abc"),
    ]),
    passed("C01.3", "a DELETE's chunked body", b"DELETE / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0||", &[
        Want::Body(b"abc"),
    ]),
    passed("C01.4", "a HEAD's body", b"HEAD / HTTP/1.1|Host: a|Content-Length: 3||abc", &[
        Want::Body(b"abc"),
        Want::Arrivals(1),
    ]),
    passed("C01.5", "an OPTIONS request's chunked body", b"OPTIONS / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0||", &[
        Want::Body(b"abc"),
    ]),
    script("C01.6", "20 MB up and down, with lengths", Play::Script(echo), |s| bulk(s, false)),
    script("C01.7", "20 MB up and down, in chunks", Play::Script(echo), |s| bulk(s, true)),
    passed("C02.1", "a POST's Content-Length: 0 stays", b"POST / HTTP/1.1|Host: a|Content-Length: 0||", &[
        Want::Has(b"content-length", b"0"),
        Want::Lacks(b"transfer-encoding"),
    ]),
    passed("C02.2", "a GET without a body gets no length", b"GET / HTTP/1.1|Host: a||", &[
        Want::Lacks(b"content-length"),
        Want::Lacks(b"transfer-encoding"),
    ]),
    passed("C02.3", "nor does a DELETE", b"DELETE / HTTP/1.1|Host: a||", &[
        Want::Lacks(b"content-length"),
        Want::Lacks(b"transfer-encoding"),
    ]),
    passed("C02.4", "an empty chunked body stays chunked", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0||", &[
        Want::Chunked,
        Want::Lacks(b"content-length"),
    ]),
    script("C04.1", "a reply's pieces pass as they come", Play::Script(drip), stream_down),
    script("C04.2", "a request's pieces pass as they come", Play::Script(count_up), stream_up),
    script("C05.1", "an early 413 and close, with 20 MB under way, 20 times", Play::Script(early_413), early_20).varies(),
    script("C05.2", "an early 401 that leaves the connection open", Play::Script(early_401), early_open),
    script("C05.3", "nothing of a refused upload becomes a request", Play::Script(early_401), undrained),
    replied_to("C08.1", "reply trailers, with `TE: trailers`", TE, TRAILERS, Keeps, &[
        See::Status(200),
        See::Trailer(b"x-t", b"v"),
        See::Has(b"trailer", b"X-T"),
        See::Next,
    ]),
    replied_to("C08.2", "a reply trailer Content-Length does not pass", TE, BAD_TRAILERS, Keeps, &[
        See::Status(200),
        See::Trailer(b"x-t", b"v"),
        See::NoTrailer(b"content-length"),
        See::NoTrailer(b"set-cookie"),
        See::Next,
    ]),
    passed(
        "C08.3",
        "`TE: trailers` reaches the app",
        b"GET / HTTP/1.1|Host: a|TE: trailers|Connection: TE||",
        &[Want::Has(b"te", b"trailers")],
    ),
    passed(
        "C09.1",
        "request trailers",
        b"POST / HTTP/1.1|Host: a|Trailer: X-T|Transfer-Encoding: chunked||3|abc|0|X-T: v||",
        &[Want::Body(b"abc"), Want::Trailer(b"x-t", b"v")],
    ),
    passed(
        "C09.2",
        "but not Content-Length, Host, Transfer-Encoding, Authorization",
        b"POST / HTTP/1.1|Host: a|Trailer: X-T|Transfer-Encoding: chunked||3|abc|0|Content-Length: 9|Host: x|\
          Transfer-Encoding: gzip|Authorization: x|X-T: v||",
        &[
            Want::Body(b"abc"),
            Want::Trailer(b"x-t", b"v"),
            Want::NoTrailer(b"content-length"),
            Want::NoTrailer(b"host"),
            Want::NoTrailer(b"transfer-encoding"),
            Want::NoTrailer(b"authorization"),
        ],
    ),
    script("C14.1", "two pipelined GETs, the first slow", Play::Script(slow_first), pipelined),
    passed("C14.2", "a GET behind a POST's body", b"POST /1 HTTP/1.1|Host: a|Content-Length: 3||abcGET /2 HTTP/1.1|Host: a||", &[
        Want::Body(b"abc"),
        Want::Arrivals(2),
    ]),
    passed(
        "C14.3",
        "a GET behind a chunked body",
        b"POST /1 HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0||GET /2 HTTP/1.1|Host: a||",
        &[Want::Body(b"abc"), Want::Arrivals(2)],
    ),
    script("C14.4", "a hundred pipelined GETs", Play::Ok, hundred),
    refused("C14.5", "a GET behind a bad request is not read", b"GET / HTTP/1.1|Host: a|X Y: z||GET /evil HTTP/1.1|Host: a||"),
    passed("C14.6", "a GET behind one with `Connection: close` is not read", b"GET /1 HTTP/1.1|Host: a|Connection: close||GET /2 HTTP/1.1|Host: a||", &[
        Want::Ends,
        Want::Arrivals(1),
    ]),
    replied_to("C15.1", "chunks for HTTP/1.0 become a body ended by close", OLD, CHUNKED, Keeps, &[
        See::Status(200),
        See::Lacks(b"transfer-encoding"),
        See::Body(b"hello"),
        See::Whole,
    ]),
    replied_to("C15.2", "the same with keep-alive", OLD_KEPT, CHUNKED, Keeps, &[
        See::Status(200),
        See::Lacks(b"transfer-encoding"),
        See::Body(b"hello"),
        See::Whole,
    ]),
    replied_to("C15.3", "HTTP/1.0 with keep-alive keeps its connection", OLD_KEPT, b"HTTP/1.1 200 OK|Content-Length: 2||ok", Keeps, &[
        See::Status(200),
        See::Has(b"connection", b"keep-alive"),
        See::Next,
    ]),
    replied_to("C15.4", "no trailers for HTTP/1.0", OLD, TRAILERS, Keeps, &[See::Status(200), See::Body(b"hello"), See::Whole]),
    replied(
        "C16.1",
        "a range, its ETag and an unknown coding pass unchanged",
        b"HTTP/1.1 206 Partial Content|ETag: W/\"x\"|Content-Range: bytes 0-4/9|Content-Encoding: x-odd|\
          Vary: Accept-Encoding|Content-Length: 5||\x1f\x8b\0\xff\n",
        Keeps,
        &[
            See::Status(206),
            See::Has(b"etag", b"W/\"x\""),
            See::Has(b"content-range", b"bytes 0-4/9"),
            See::Has(b"content-encoding", b"x-odd"),
            See::Has(b"vary", b"Accept-Encoding"),
            See::Body(b"\x1f\x8b\0\xff\n"),
            See::Next,
        ],
    ),
    passed(
        "C16.2",
        "Range, If-None-Match and Accept-Encoding reach the app",
        b"GET / HTTP/1.1|Host: a|Range: bytes=0-4|If-None-Match: \"x\"|Accept-Encoding: br||",
        &[
            Want::Has(b"range", b"bytes=0-4"),
            Want::Has(b"if-none-match", b"\"x\""),
            Want::Has(b"accept-encoding", b"br"),
        ],
    ),
    passed("C17.1", "`Connection: close` twice", b"GET / HTTP/1.1|Host: a|Connection: close|Connection: close||", &[Want::Ends]),
    passed("C17.2", "`Connection: keep-alive, CLOSE`", b"GET / HTTP/1.1|Host: a|Connection: keep-alive, CLOSE||", &[Want::Ends]),
    script("C18.1", "a client that closes its sending half", Play::Ok, half_closed),
];

const TE: &[u8] = b"GET / HTTP/1.1|Host: a|TE: trailers|Connection: TE||";
const OLD: &[u8] = b"GET / HTTP/1.0|Host: a||";
const OLD_KEPT: &[u8] = b"GET / HTTP/1.0|Host: a|Connection: keep-alive||";
const CHUNKED: &[u8] = b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||5|hello|0||";
const TRAILERS: &[u8] = b"HTTP/1.1 200 OK|Trailer: X-T|Transfer-Encoding: chunked||5|hello|0|X-T: v||";
const BAD_TRAILERS: &[u8] =
    b"HTTP/1.1 200 OK|Trailer: X-T|Transfer-Encoding: chunked||5|hello|0|Content-Length: 9|Set-Cookie: a=1|X-T: v||";

fn echo(conn: &mut Conn) {
    while let Some(arrival) = conn.request() {
        let Body { data, .. } = arrival.body;
        if arrival.head.is_chunked() {
            conn.say(b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||");
            for piece in data.chunks(10_000) {
                let size = format!("{:x}\r\n", piece.len());
                if !conn.wire.send(&[size.as_bytes(), piece, b"\r\n"].concat()) {
                    return;
                }
            }
            conn.say(b"0||");
        } else {
            conn.say(format!("HTTP/1.1 200 OK|Content-Length: {}||", data.len()).as_bytes());
            conn.wire.send(&data);
        }
    }
}

/// Bytes in which a lost, doubled or moved piece shows.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

fn bulk(scene: &mut Scene, chunked: bool) -> Verdict {
    let data = noise(UPLOAD);
    let mut client = scene.client();
    let mut sent;
    if chunked {
        sent = crlf(b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||");
        for piece in data.chunks(12_345) {
            sent.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            sent.extend(piece);
            sent.extend(b"\r\n");
        }
        sent.extend(b"0\r\n\r\n");
    } else {
        sent = crlf(format!("POST / HTTP/1.1|Host: a|Content-Length: {UPLOAD}||").as_bytes());
        sent.extend(&data);
    }
    client.wire.send(&sent);
    let reply = client.reply();
    let good = reply.as_ref().is_some_and(|r| r.is_ok(&data));
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(good, if good { "unchanged".to_owned() } else { word })
}

fn drip(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 200 OK|Content-Type: text/event-stream|Transfer-Encoding: chunked||");
        for piece in 1..=PIECES {
            if !conn.wait("next", piece) || !conn.say(b"1|x|") {
                return;
            }
        }
        conn.say(b"0||");
    }
}

fn stream_down(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(GET);
    if client.wire.head().is_none() {
        return Verdict::bad("head kept back");
    }
    for _ in 0..PIECES {
        scene.app.cue("next");
        if client.wire.exactly(6).as_deref() != Some(b"1\r\nx\r\n") {
            return Verdict::bad("kept back");
        }
    }
    Verdict::good("as they come")
}

fn count_up(conn: &mut Conn) {
    if conn.head().is_some() {
        // The first piece: six bytes of a chunk, whoever made it.
        for _ in 0..PIECES {
            if conn.wire.exactly(6).is_none() {
                return;
            }
            conn.cue("got");
        }
        conn.say(OK);
    }
}

fn stream_up(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||");
    for piece in 1..=PIECES {
        client.send(b"1|x|");
        if !scene.app.wait("got", piece) {
            return Verdict::bad("kept back");
        }
    }
    Verdict::good("as they come")
}

fn early_413(conn: &mut Conn) {
    if conn.head().is_some() {
        conn.say(b"HTTP/1.1 413 Too Large|Content-Length: 3|Connection: close||big");
    }
}

fn early_20(scene: &mut Scene) -> Verdict {
    let body = vec![b'x'; UPLOAD];
    let mut good = 0;
    for _ in 0..ROUNDS {
        let mut client = scene.client();
        client.send(format!("POST / HTTP/1.1|Host: a|Content-Length: {UPLOAD}||").as_bytes());
        client.wire.send(&body);
        let reply = client.reply();
        good += usize::from(reply.is_some_and(|r| r.status() == 413 && r.body.data == b"big"));
    }
    Verdict::of(good == ROUNDS, format!("{good} of {ROUNDS}"))
}

fn early_401(conn: &mut Conn) {
    if conn.head().is_none() {
        return;
    }
    if conn.arrivals() > 1 {
        conn.say(OK);
        return;
    }
    conn.say(b"HTTP/1.1 401 Unauthorized|Content-Length: 2||no");
    conn.until_end();
}

/// The rest of the upload is not read, so the client's connection must end, and say so.
fn early_open(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(b"POST / HTTP/1.1|Host: a|Content-Length: 1000||abc");
    let reply = client.reply();
    let word = code_of(reply.as_ref(), &client);
    if word != "401" {
        return Verdict::bad(word);
    }
    let says_so = reply.is_some_and(|r| r.head.has(b"connection", b"close"));
    let ended = client.rest().1 != End::Silent;
    let app = scene.app.wait_end(0).is_some();
    match (says_so, ended, app) {
        (true, true, true) => Verdict::good(word),
        (_, false, _) => Verdict::bad("401, stays open"),
        (_, _, false) => Verdict::bad("401, app's connection kept"),
        (false, ..) => Verdict::bad("401, no `Connection: close`"),
    }
}

fn undrained(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(b"POST / HTTP/1.1|Host: a|Content-Length: 34||");
    let reply = client.reply();
    let word = code_of(reply.as_ref(), &client);
    client.send(b"GET /evil HTTP/1.1|Host: a|X: yyyy||");
    client.rest();
    let next = scene.client().ask(b"GET /next HTTP/1.1|Host: a||");
    let evil = scene.app.arrivals().iter().any(|a| a.head.line.starts_with(b"GET /evil"));
    if evil {
        return Verdict::bad("smuggled");
    }
    Verdict::of(word == "401" && next.is_some_and(|r| r.is_ok(b"ok")), word)
}

fn slow_first(conn: &mut Conn) {
    while let Some(arrival) = conn.request() {
        if arrival.head.line.starts_with(b"GET /1") {
            conn.cue("first");
            conn.wait("answer", 1);
            conn.say(b"HTTP/1.1 200 OK|Content-Length: 3||one");
        } else {
            conn.say(b"HTTP/1.1 200 OK|Content-Length: 3||two");
        }
    }
}

fn pipelined(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(b"GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||");
    scene.app.wait("first", 1);
    let early = scene.app.arrivals().len();
    scene.app.cue("answer");
    let (one, two) = (client.reply(), client.reply());
    let in_order = one.as_ref().is_some_and(|r| r.is_ok(b"one")) && two.is_some_and(|r| r.is_ok(b"two"));
    if !in_order {
        return Verdict::bad(code_of(one.as_ref(), &client));
    }
    Verdict::of(early == 1, if early == 1 { "one at a time" } else { "both at once" })
}

fn hundred(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(&GET.repeat(100));
    let good = (0..100).filter(|_| client.reply().is_some_and(|r| r.is_ok(b"ok"))).count();
    Verdict::of(good == 100, format!("{good} of 100"))
}

/// Taken as an abort, or answered: both are allowed.
fn half_closed(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(GET);
    client.wire.half_close();
    let reply = client.reply();
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(["200", "400", "closed"].contains(&word.as_str()), word)
}
