//! Group C, third part: upgrades and tunnels.

use crate::app::{Conn, Play, Then};
use crate::case::{Case, Scene, See, Verdict, Want, passed, replied, replied_to, script};
use crate::client::Client;
use crate::judge::code_of;
use crate::wire::End;

use Then::Keeps;

/// What a half-closed tunnel must still carry.
const DOWN: usize = 5 << 20;

const ASK: &[u8] =
    b"GET /ws HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13|\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==||";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: websocket|\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=||";

pub(crate) const CASES: &[Case] = &[
    script("C10.1", "a websocket's handshake and bytes both ways", Play::Script(echoes), there_and_back),
    script("C10.2", "the fields of the 101", Play::Script(echoes), |s| {
        let mut client = s.client();
        let reply = client.ask(ASK);
        let word = code_of(reply.as_ref(), &client);
        let good = reply.is_some_and(|r| {
            r.head.has(b"sec-websocket-accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
                && r.head.has(b"upgrade", b"websocket")
                && r.head.all(b"connection").iter().any(|v| v.eq_ignore_ascii_case(b"upgrade"))
        });
        Verdict::of(good, word)
    }),
    script("C10.3", "bytes sent with the 101 reach the client", Play::Script(speaks_at_once), |s| {
        let mut client = s.client();
        let reply = client.ask(ASK);
        let word = code_of(reply.as_ref(), &client);
        let hello = client.wire.exactly(5);
        Verdict::of(word == "101" && hello.as_deref() == Some(b"hello"), word)
    }),
    script("C10.4", "bytes sent with the request reach the app", Play::Script(echoes), |s| {
        let mut client = s.client();
        let reply = client.send(ASK).ask(b"early");
        let word = code_of(reply.as_ref(), &client);
        let echoed = client.wire.exactly(5);
        Verdict::of(word == "101" && echoed.as_deref() == Some(b"early"), word)
    }),
    script("C10.5", "an upgrade answered 200: what follows is a request", Play::Ok, |s| {
        let mut client = s.client();
        let one = client.send(ASK).ask(b"GET /2 HTTP/1.1|Host: a||");
        let two = client.reply();
        let good = one.as_ref().is_some_and(|r| r.is_ok(b"ok")) && two.is_some_and(|r| r.is_ok(b"ok"));
        Verdict::of(good && s.app.arrivals().len() == 2, code_of(one.as_ref(), &client))
    }),
    passed(
        "C10.6",
        "`Upgrade: h2c` does not pass",
        b"GET / HTTP/1.1|Host: a|Connection: Upgrade, HTTP2-Settings|Upgrade: h2c|HTTP2-Settings: AAMAAABk||",
        &[Want::Lacks(b"upgrade"), Want::Lacks(b"http2-settings")],
    ),
    passed(
        "C10.7",
        "nor `Upgrade: websocket, h2c`",
        b"GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket, h2c||",
        &[Want::Lacks(b"upgrade")],
    ),
    passed(
        "C10.8",
        "nor an upgrade with a body",
        b"POST / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Content-Length: 3||abc",
        &[Want::Lacks(b"upgrade"), Want::Body(b"abc")],
    ),
    passed(
        "C10.9",
        "nor one in HTTP/1.0",
        b"GET / HTTP/1.0|Host: a|Connection: Upgrade|Upgrade: websocket||",
        &[Want::Lacks(b"upgrade")],
    ),
    passed(
        "C10.10",
        "nor one that Connection does not name",
        b"GET / HTTP/1.1|Host: a|Upgrade: websocket||",
        &[Want::Lacks(b"upgrade")],
    ),
    passed(
        "C10.11",
        "the names of the handshake pass",
        ASK,
        &[Want::Has(b"upgrade", b"websocket"), Want::Has(b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")],
    ),
    replied("C12.1", "101 unasked", SWITCH, Keeps, &[See::Status(502), See::Fresh]),
    replied_to(
        "C12.2",
        "101 with another protocol",
        ASK,
        b"HTTP/1.1 101 Switching Protocols|Connection: Upgrade|Upgrade: other||",
        Keeps,
        &[See::Status(502), See::Fresh],
    ),
    replied_to(
        "C12.3",
        "101 without a protocol",
        ASK,
        b"HTTP/1.1 101 Switching Protocols|Connection: Upgrade||",
        Keeps,
        &[See::Status(502), See::Fresh],
    ),
    replied_to(
        "C12.4",
        "101 to a POST with a body",
        b"POST / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: websocket|Content-Length: 3||abc",
        SWITCH,
        Keeps,
        &[See::Status(502), See::Fresh],
    ),
    replied_to(
        "C12.5",
        "an upgrade refused with 403",
        ASK,
        b"HTTP/1.1 403 Forbidden|Content-Length: 2||no",
        Keeps,
        &[See::Status(403), See::Body(b"no"), See::Next],
    ),
    script("C13.1", "the client ends first, the app sends 5 MB more", Play::Script(sends_after), client_ends),
    script("C13.2", "the app ends first, the client sends 5 MB more", Play::Script(takes_after), app_ends),
    script("C13.3", "the app's end ends the client's connection", Play::Script(leaves), |s| {
        let mut client = s.client();
        let reply = client.ask(ASK);
        let word = code_of(reply.as_ref(), &client);
        Verdict::of(word == "101" && client.rest().1 != End::Silent, word)
    }),
    script("C13.4", "a client that is reset ends the app's connection", Play::Script(echoes), |s| {
        let mut client = s.client();
        let reply = client.ask(ASK);
        let word = code_of(reply.as_ref(), &client);
        client.wire.reset();
        Verdict::of(word == "101" && s.app.wait_end(0).is_some_and(|e| e != End::Silent), word)
    }),
];

fn switches(conn: &mut Conn) -> bool {
    conn.request().is_some() && conn.say(SWITCH)
}

fn echoes(conn: &mut Conn) {
    if switches(conn) {
        while let Some(byte) = conn.wire.exactly(1) {
            conn.wire.send(&byte);
        }
        conn.until_end();
    }
}

fn speaks_at_once(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(&[SWITCH, b"hello"].concat());
        conn.until_end();
    }
}

fn leaves(conn: &mut Conn) {
    switches(conn);
}

fn opened(scene: &Scene) -> Result<Client, Verdict> {
    let mut client = scene.client();
    let reply = client.ask(ASK);
    if reply.as_ref().is_some_and(|r| r.status() == 101) {
        return Ok(client);
    }
    Err(Verdict::bad(code_of(reply.as_ref(), &client)))
}

fn there_and_back(scene: &mut Scene) -> Verdict {
    let mut client = match opened(scene) {
        Ok(client) => client,
        Err(verdict) => return verdict,
    };
    for round in 0..20_u8 {
        client.wire.send(&[round, b'|', 0, 255]);
        if client.wire.exactly(4).as_deref() != Some(&[round, b'|', 0, 255]) {
            return Verdict::bad("101, bytes lost");
        }
    }
    Verdict::good("101")
}

fn sends_after(conn: &mut Conn) {
    if switches(conn) {
        conn.wire.drain();
        conn.wire.send(&vec![b'x'; DOWN]);
    }
}

fn client_ends(scene: &mut Scene) -> Verdict {
    let mut client = match opened(scene) {
        Ok(client) => client,
        Err(verdict) => return verdict,
    };
    client.wire.half_close();
    let (data, end) = client.rest();
    let word = if data.len() == DOWN { "all arrives" } else { "cut" };
    Verdict::of(data.len() == DOWN && end == End::Fin, word)
}

fn takes_after(conn: &mut Conn) {
    if switches(conn) {
        conn.wire.half_close();
        if conn.wire.exactly(DOWN).is_some() {
            conn.cue("all");
        }
    }
}

fn app_ends(scene: &mut Scene) -> Verdict {
    let mut client = match opened(scene) {
        Ok(client) => client,
        Err(verdict) => return verdict,
    };
    let (_, end) = client.rest();
    client.wire.send(&vec![b'x'; DOWN]);
    client.wire.half_close();
    let all = end == End::Fin && scene.app.wait("all", 1);
    Verdict::of(all, if all { "all arrives" } else { "cut" })
}
