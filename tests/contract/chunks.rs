//! Group A, second part: chunked bodies of requests. A chunk that two parsers could read differently is refused, and
//! what the app has got of the body by then never ends well.

use crate::app::Play;
use crate::case::{Case, Scene, Verdict, Want, bad_body, passed, refused_as, script};
use crate::judge::code_of;
use crate::wire::End;

pub(crate) const CASES: &[Case] = &[
    bad_body("A07.01", "size `0x3`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0x3|abc|0||"),
    bad_body("A07.02", "size `+3`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||+3|abc|0||"),
    bad_body("A07.03", "size `-3`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||-3|abc|0||"),
    bad_body("A07.04", "size `3_`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3_|abc|0||"),
    bad_body("A07.05", "size empty", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|||abc|0||"),
    bad_body("A07.06", "size `;x`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||;x|abc|0||"),
    bad_body("A07.07", "size ` 3`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|| 3|abc|0||"),
    bad_body("A07.08", "size `3 `", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3 |abc|0||"),
    bad_body("A07.09", "size `3` and a tab", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3\t|abc|0||"),
    bad_body("A07.10", "size `g`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||g|abc|0||"),
    bad_body("A07.11", "size `3,`", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3,|abc|0||"),
    bad_body(
        "A07.12",
        "size `FFFFFFFFFFFFFFFF0`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||FFFFFFFFFFFFFFFF0|abc|0||",
    ),
    bad_body(
        "A07.13",
        "size of 17 digits that overflows to 3",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||10000000000000003|abc|0||",
    ),
    bad_body(
        "A07.14",
        "size of 17 digits, most of them 0",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||00000000000000003|abc|0||",
    ),
    passed(
        "A07.15",
        "size `0003`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0003|abc|000||",
        &[Want::Body(b"abc")],
    ),
    passed(
        "A07.16",
        "sizes `A` and `a`",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||A|0123456789|a|0123456789|0||",
        &[Want::Body(b"01234567890123456789")],
    ),
    bad_body("A07.17", "size line ends in LF", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3\nabc|0||"),
    bad_body("A07.18", "size line ends in CR", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3\rabc|0||"),
    bad_body(
        "A07.19",
        "LF in an extension (TERM.EXT)",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||2;\nxx|4c|0||GET /admin HTTP/1.1|Host: a|Content-Length: 5||0||",
    )
    .varies(),
    bad_body(
        "A07.20",
        "LF ends the line after an extension (EXT.TERM)",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;a\nabc|0||",
    ),
    bad_body("A07.21", "CR in an extension", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;a\rb|abc|0||"),
    bad_body("A07.22", "NUL in an extension", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;a\0|abc|0||"),
    bad_body(
        "A07.23",
        "data longer than its size",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||2|SEE-THIS|0||",
    ),
    bad_body(
        "A07.24",
        "nothing after the data (ZERO.TWO)",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc0||",
    ),
    bad_body(
        "A07.25",
        "LF after the data (ONE.TWO)",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc\n0||",
    ),
    bad_body(
        "A07.26",
        "two other bytes after the data",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abcXX0||",
    ),
    bad_body(
        "A07.27",
        "CR CR LF after the data",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc\r|0||",
    ),
    bad_body("A07.28", "last chunk ends in LF", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0\n\n"),
    bad_body(
        "A07.29",
        "empty line before a size",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc||0||",
    ),
    passed(
        "A07.30",
        "extensions are dropped",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;a=1;b=\"x\"|abc|0;last||",
        &[Want::Body(b"abc")],
    ),
    script("A07.31", "an extension of 100 KB", Play::Ok, long_extension),
    script("A07.32", "extensions of 100 KB in all", Play::Ok, many_extensions),
    bad_body(
        "A07.33",
        "LF ends a trailer line",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|X: y\n|",
    ).varies(),
    bad_body(
        "A07.34",
        "space before a trailer's colon",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|X : y||",
    ).varies(),
    bad_body("A07.35", "NUL in a trailer", b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|X: \0||").varies(),
    bad_body(
        "A07.36",
        "a folded trailer",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|X: y| z||",
    ).varies(),
    bad_body(
        "A07.37",
        "a trailer without a colon",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|GET / HTTP/1.1||",
    ).varies(),
    script("A07.38", "trailers of 1 MB", Play::Ok, long_trailers),
    bad_body(
        "A07.39",
        "size `3 ;x`: LF hidden behind a space",
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3 \n;x|abc|0||",
    ).varies(),
    script("A08.1", "less than Content-Length, then the end", Play::Ok, |s| {
        short(s, b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc")
    }),
    script("A08.2", "the end within a chunk", Play::Ok, |s| {
        short(s, b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||A|abc")
    }),
    script("A08.3", "the end before the last chunk", Play::Ok, |s| {
        short(s, b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|")
    }),
    script("A08.4", "the end within the last chunk", Play::Ok, |s| {
        short(s, b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|")
    }),
    script("A08.5", "a size above 32 bits, then the end", Play::Ok, |s| {
        short(s, b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||100000003|abc|0||")
    }),
    refused_as(
        "A08.6",
        "the request after a broken body is not read",
        &[400],
        b"POST / HTTP/1.1|Host: a|Content-Length: x||GET /evil HTTP/1.1|Host: a||",
    ),
];

/// The client ends in the middle: the app must not take it for a whole request.
fn short(scene: &mut Scene, sent: &[u8]) -> Verdict {
    let mut client = scene.client();
    client.send(sent);
    let head = scene.app.wait_arrivals(1);
    client.wire.half_close();
    let (answer, end) = client.rest();
    let status = answer.get(9..12).map(|code| String::from_utf8_lossy(code).into_owned());
    let word = status.unwrap_or_else(|| "closed".to_owned());
    if end == End::Silent {
        return Verdict::bad("no answer");
    }
    if let Some(arrival) = head.first() {
        scene.app.wait_end(arrival.on);
    }
    if scene.app.arrivals().iter().any(|a| a.body.whole) {
        return Verdict::bad(format!("passed as whole, {word}"));
    }
    Verdict::of(word == "400" || word == "closed", word)
}

fn long_extension(scene: &mut Scene) -> Verdict {
    let head = b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;";
    bounded(scene, &[&head[..], &vec![b'x'; 100 << 10], b"|abc|0||"].concat())
}

fn many_extensions(scene: &mut Scene) -> Verdict {
    let head = b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||";
    let chunk = [&b"1;"[..], &[b'x'; 1000], b"|a|"].concat();
    bounded(scene, &[&head[..], &chunk.repeat(100), b"0||"].concat())
}

fn long_trailers(scene: &mut Scene) -> Verdict {
    let head = b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|0|";
    let line = [&b"X-T: "[..], &[b'x'; 1000], b"|"].concat();
    bounded(scene, &[&head[..], &line.repeat(1000), b"|"].concat())
}

/// Refused with 400 or 431, and never whole at the app.
fn bounded(scene: &mut Scene, sent: &[u8]) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(sent);
    let word = code_of(reply.as_ref(), &client);
    if scene.app.arrivals().iter().any(|a| a.body.whole) {
        return Verdict::bad(if word == "200" { "passed".to_owned() } else { format!("passed, {word}") });
    }
    Verdict::of(word == "400" || word == "431", word)
}
