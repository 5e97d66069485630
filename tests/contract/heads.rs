//! Group A, third part: what is no request head.

use crate::app::Play;
use crate::case::{Case, Scene, Verdict, Want, passed, refused, refused_as, script};
use crate::judge::code_of;

const VERSIONS: &[u16] = &[400, 505];

pub(crate) const CASES: &[Case] = &[
    refused("A09.01", "space before the colon", b"GET / HTTP/1.1|Host: a|X : y||"),
    refused("A09.02", "`Host : a`", b"GET / HTTP/1.1|Host : a||"),
    refused("A09.03", "empty name", b"GET / HTTP/1.1|Host: a|: v||"),
    refused("A09.04", "empty name before Content-Length", b"POST / HTTP/1.1|Host: a|:|Content-Length: 2||ab"),
    refused("A09.05", "NUL in a value", b"GET / HTTP/1.1|Host: a|X: y\0z||"),
    refused("A09.06", "bare CR in a value", b"GET / HTTP/1.1|Host: a|X: y\rz||"),
    refused("A09.07", "bare CR before the value", b"GET / HTTP/1.1|Host: a|X:\ry||"),
    refused("A09.08", "byte 01 in a value", b"GET / HTTP/1.1|Host: a|X: y\x01z||"),
    refused("A09.09", "byte 7F in a value", b"GET / HTTP/1.1|Host: a|X: y\x7fz||"),
    refused("A09.10", "a folded line", b"GET / HTTP/1.1|Host: a|X: y| z||"),
    refused("A09.11", "a folded line with a tab", b"GET / HTTP/1.1|Host: a|X: y|\tz||"),
    refused("A09.12", "a space before the first field", b"GET / HTTP/1.1| X: y|Host: a||"),
    refused("A09.13", "byte 85 in a name", b"GET / HTTP/1.1|Host: a|X\x85: y||"),
    refused("A09.14", "`(` in a name", b"GET / HTTP/1.1|Host: a|X(: y||"),
    refused("A09.15", "`@` in a name", b"GET / HTTP/1.1|Host: a|X@: y||"),
    refused("A09.16", "a space in a name", b"GET / HTTP/1.1|Host: a|X Y: z||"),
    refused("A09.17", "NUL in a name", b"GET / HTTP/1.1|Host: a|X\0: z||"),
    refused("A09.18", "a line without a colon", b"GET / HTTP/1.1|Host: a|X||"),
    refused("A09.19", "LF at each line's end", b"GET / HTTP/1.1\nHost: a\n\n"),
    refused("A09.20", "LF at one line's end", b"GET / HTTP/1.1|Host: a\nX: y||"),
    refused("A09.21", "LF at the request line's end", b"GET / HTTP/1.1\nHost: a||"),
    refused("A09.22", "LF for the empty line", b"GET / HTTP/1.1|Host: a|\n"),
    refused("A09.23", "CR CR LF at the request line's end", b"GET / HTTP/1.1\r|Host: a||"),
    refused("A09.24", "CR CR LF at a field's end", b"GET / HTTP/1.1|Host: a\r||"),
    refused("A09.25", "`GET /x HTTP/1.1` and CR CR LF, alone", b"GET /x HTTP/1.1\r||"),
    refused("A10.01", "two spaces before the target", b"GET  / HTTP/1.1|Host: a||"),
    refused("A10.02", "two spaces before the version", b"GET /  HTTP/1.1|Host: a||"),
    refused("A10.03", "tabs for spaces", b"GET\t/\tHTTP/1.1|Host: a||"),
    refused("A10.04", "a space after the version", b"GET / HTTP/1.1 |Host: a||"),
    refused("A10.05", "a space before the method", b" GET / HTTP/1.1|Host: a||"),
    refused_as("A10.06", "no version", VERSIONS, b"GET /||"),
    refused_as("A10.07", "`http/1.1`", VERSIONS, b"GET / http/1.1|Host: a||"),
    refused_as("A10.08", "`HTTP/1.10`", VERSIONS, b"GET / HTTP/1.10|Host: a||"),
    refused_as("A10.09", "`HTTP/01.1`", VERSIONS, b"GET / HTTP/01.1|Host: a||"),
    refused_as("A10.10", "`HTTP/1`", VERSIONS, b"GET / HTTP/1|Host: a||"),
    refused_as("A10.11", "`HTTP/1.2`", &[505], b"GET / HTTP/1.2|Host: a||"),
    refused_as("A10.12", "`HTTP/2.0`", &[505], b"GET / HTTP/2.0|Host: a||"),
    refused_as("A10.13", "`HTTP/0.9`", VERSIONS, b"GET / HTTP/0.9|Host: a||"),
    refused_as("A10.14", "`HTTP/1.1a`", VERSIONS, b"GET / HTTP/1.1a|Host: a||"),
    refused("A10.15", "`G@T`", b"G@T / HTTP/1.1|Host: a||"),
    refused("A10.16", "NUL in the method", b"G\0T / HTTP/1.1|Host: a||"),
    refused("A10.17", "no method", b"/ HTTP/1.1|Host: a||"),
    refused("A10.18", "a reply's head", b"HTTP/1.1 200 OK|Host: a||"),
    refused("A10.19", "the beginning of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    refused("A10.20", "not HTTP", b"SSH-2.0-OpenSSH_9.2||"),
    passed(
        "A10.21",
        "an empty line before it",
        b"|GET /x HTTP/1.1|Host: a||",
        &[Want::Line(b"GET /x HTTP/1.1")],
    ),
    refused("A10.22", "a thousand empty lines before it", &EMPTY_LINES),
    refused("A10.23", "an empty LF line before it", b"\nGET /x HTTP/1.1|Host: a||"),
    refused("A10.24", "a space in an empty line before it", b" |GET /x HTTP/1.1|Host: a||"),
    passed(
        "A10.25",
        "an empty line between requests",
        b"POST / HTTP/1.1|Host: a|Content-Length: 2||ab|GET /x HTTP/1.1|Host: a||",
        &[Want::Arrivals(2)],
    ),
    script("A20.1", "a name of 270 bytes that begins with Content-Length0", Play::Ok, long_name),
    script("A20.2", "each byte of a request on its own", Play::Ok, byte_by_byte),
    script("A20.3", "nothing of a refused request's rest is lost on the way back", Play::Ok, lingering)
        .varies(),
];

/// 2,000 bytes of nothing but line ends: more than anybody sends by mistake.
const EMPTY_LINES: [u8; 2000] = {
    let mut lines = [b'\r'; 2000];
    let mut at = 1;
    while at < lines.len() {
        lines[at] = b'\n';
        at += 2;
    }
    lines
};

/// Once, a length kept in eight bits made two lengths of one line.
fn long_name(scene: &mut Scene) -> Verdict {
    let name = [&b"Content-Length0"[..], &[b'a'; 255]].concat();
    let sent =
        [&b"POST / HTTP/1.1|Host: a|"[..], &name, b":|Content-Length: 23||GET /evil HTTP/1.1|A: |"].concat();
    let mut client = scene.client();
    let reply = client.ask(&sent);
    let word = code_of(reply.as_ref(), &client);
    let arrivals = scene.app.arrivals();
    if arrivals.len() > 1 || arrivals.iter().any(|a| a.body.data.len() != 23) {
        return Verdict::bad("smuggled");
    }
    Verdict::of(word == "200" || word == "400", if word == "200" { "passed".to_owned() } else { word })
}

fn byte_by_byte(scene: &mut Scene) -> Verdict {
    let sent = b"POST /x HTTP/1.1|Host: a|Transfer-Encoding: chunked||3;x|abc|2|de|0|X-T: v||";
    let mut client = scene.client();
    for byte in sent {
        client.send(&[*byte]);
    }
    let reply = client.reply();
    let word = code_of(reply.as_ref(), &client);
    let whole = scene.app.arrivals().first().is_some_and(|a| a.body.data == b"abcde");
    Verdict::of(word == "200" && whole, if word == "200" { "passed".to_owned() } else { word })
}

/// A client that is still sending must be able to read why it was refused.
fn lingering(scene: &mut Scene) -> Verdict {
    let head = b"POST / HTTP/1.1|Host: a|Content-Length: 2|Content-Length: 3||".to_vec();
    let sent = [head, vec![b'x'; 512 << 10]].concat();
    for _ in 0..20 {
        let mut client = scene.client();
        let reply = client.ask(&sent);
        if reply.as_ref().is_none_or(|r| r.status() != 400 || !r.body.whole) {
            return Verdict::bad(code_of(reply.as_ref(), &client));
        }
    }
    Verdict::good("400")
}
