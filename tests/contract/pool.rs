//! Group E, first part: connections to the app: used again, dropped, tried again, waited for.

use std::time::Duration;

use crate::app::{Conn, OK, Play, Stand, Then};
use crate::case::{Case, GET, Scene, See, Verdict, replied, script};
use crate::judge::code_of;
use crate::subject::Knobs;
use crate::wire::End;

use Then::Keeps;

const POST: &[u8] = b"POST / HTTP/1.1|Host: a|Content-Length: 3||abc";
const GET_BODY: &[u8] = b"GET / HTTP/1.1|Host: a|Content-Length: 3||abc";
/// How often a connection is closed behind the agent's back.
const ROUNDS: usize = 50;
/// Longer than any answer takes that does not wait for the app's port.
const AT_ONCE: Duration = Duration::from_millis(250);

pub(crate) const CASES: &[Case] = &[
    script("E01.1", "an app that closes idle connections at once: 50 GET", Play::Script(closes), |s| {
        closed(s, GET)
    })
    .varies(),
    script("E01.2", "the same: 50 POST", Play::Script(closes), |s| closed(s, POST)).varies(),
    script("E03.1", "GET on a used connection that dies: tried once more", Play::Script(dies_second), |s| {
        dropped(s, GET, "200", 3)
    }),
    script("E03.2", "POST: not tried again", Play::Script(dies_second), |s| dropped(s, POST, "502", 2)),
    script("E03.3", "GET with a body: not tried again", Play::Script(dies_second), |s| {
        dropped(s, GET_BODY, "502", 2)
    }),
    script("E03.4", "HEAD: tried once more", Play::Script(dies_second), |s| {
        dropped(s, b"HEAD / HTTP/1.1|Host: a||", "200", 3)
    }),
    script("E03.5", "DELETE: not tried again", Play::Script(dies_second), |s| {
        dropped(s, b"DELETE / HTTP/1.1|Host: a||", "502", 2)
    }),
    script("E03.6", "GET on a fresh connection that dies: not tried again", Play::Script(dies_first), |s| {
        poison(s, GET)
    }),
    script(
        "E03.7",
        "GET after the first byte of a reply: not tried again",
        Play::Script(stutters_second),
        |s| dropped(s, GET, "502", 2),
    ),
    script("E03.8", "GET that kills every connection: twice at most", Play::Script(dies_always), |s| {
        dropped(s, GET, "502", 3)
    }),
    replied("E04.1", "a connection is used again", OK, Keeps, &[See::Status(200), See::Reused]),
    script("E04.2", "twenty requests, one connection to the app", Play::Ok, one_connection),
    replied(
        "E04.3",
        "not after `Connection: close`",
        CLOSE,
        Keeps,
        &[See::Status(200), See::Next, See::Fresh],
    ),
    replied(
        "E04.4",
        "not after HTTP/1.0",
        b"HTTP/1.0 200 OK|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Next, See::Fresh],
    ),
    script("E05.1", "the app's port opens late: held", Play::Ok, opens_late)
        .stands(Stand::Later)
        .knobs(Knobs { hold: Some("20s"), ..Knobs::NONE }),
    script("E05.2", "no hold: 503 with Retry-After", Play::Ok, not_ready)
        .stands(Stand::Later)
        .knobs(Knobs { hold: Some("0s"), ..Knobs::NONE }),
    script("E05.3", "held no longer than the limit", Play::Ok, not_ready)
        .stands(Stand::Later)
        .knobs(Knobs { hold: Some("300ms"), ..Knobs::NONE }),
    script("E05.4", "the app listens on ::1 alone", Play::Ok, |s| {
        let mut client = s.client();
        let reply = client.ask(GET);
        Verdict::of(reply.as_ref().is_some_and(|r| r.is_ok(b"ok")), code_of(reply.as_ref(), &client))
    })
    .stands(Stand::Six)
    .knobs(Knobs { supervised: true, ..Knobs::NONE })
    .own(),
    script("E05.7", "the app listens on a unix socket", Play::Ok, |s| {
        let mut client = s.client();
        let replies = [client.ask(GET), client.ask(POST)];
        let good = replies.iter().flatten().filter(|r| r.is_ok(b"ok")).count();
        Verdict::of(
            good == 2,
            if good == 2 { "200".to_owned() } else { code_of(replies[0].as_ref(), &client) },
        )
    })
    .knobs(Knobs { unix: true, ..Knobs::NONE })
    .own(),
    script("E05.5", "more than may be held: 503 at once", Play::Ok, held_max)
        .stands(Stand::Later)
        .knobs(Knobs { hold: Some("20s"), held_max: Some("1"), ..Knobs::NONE }),
    script("E05.6", "refused after it had been ready: 503 with Retry-After", Play::Ok, refuses_later)
        .varies(),
    script("E13.1", "an app that serves one connection at a time, four clients", Play::Ok, single)
        .stands(Stand::Single)
        .varies()
        .knobs(Knobs { upstream_idle: Some("300ms"), ..Knobs::NONE }),
    script(
        "E14.1",
        "`Connection: close` with each reply: the client's connection stays",
        Play::Script(closes_each),
        |s| {
            let mut client = s.client();
            let good = (0..10).filter(|_| client.ask(GET).is_some_and(|r| r.is_ok(b"ok"))).count();
            let arrivals = s.app.arrivals();
            let fresh = arrivals.windows(2).all(|pair| pair[0].on != pair[1].on);
            Verdict::of(good == 10 && fresh, format!("{good} of 10"))
        },
    ),
    script("E14.2", "`Keep-Alive: timeout=1` is believed", Play::Script(says_timeout), believed),
];

const CLOSE: &[u8] = b"HTTP/1.1 200 OK|Connection: close|Content-Length: 2||ok";

/// Answers one request and closes, though it had promised to stay.
fn closes(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(OK);
        conn.wire.half_close();
        conn.cue("closed");
        conn.until_end();
    }
}

fn closed(scene: &mut Scene, sent: &[u8]) -> Verdict {
    let mut client = scene.client();
    let mut good = 0;
    for round in 1..=ROUNDS {
        let reply = client.ask(sent);
        let fine = reply.is_some_and(|r| r.is_ok(b"ok"));
        good += usize::from(fine);
        if !fine {
            client = scene.client();
        } else if !scene.app.wait("closed", round) {
            break;
        }
    }
    let arrivals = scene.app.arrivals().len();
    if arrivals > ROUNDS {
        return Verdict::bad(format!("{arrivals} arrivals for {ROUNDS}"));
    }
    Verdict::of(good == ROUNDS, format!("{good} of {ROUNDS}"))
}

fn dies_second(conn: &mut Conn) {
    while conn.request().is_some() {
        if conn.arrivals() == 2 {
            return;
        }
        conn.say(OK);
    }
}

fn stutters_second(conn: &mut Conn) {
    while conn.request().is_some() {
        if conn.arrivals() == 2 {
            conn.say(b"H");
            return;
        }
        conn.say(OK);
    }
}

fn dies_first(conn: &mut Conn) {
    if conn.request().is_some() && conn.arrivals() > 1 {
        conn.say(OK);
    }
}

fn dies_always(conn: &mut Conn) {
    while conn.request().is_some() && conn.arrivals() == 1 {
        conn.say(OK);
    }
}

/// The second request meets a connection that dies under it.
fn dropped(scene: &mut Scene, sent: &[u8], code: &str, arrivals: usize) -> Verdict {
    let mut client = scene.client();
    let first = client.ask(GET);
    if !first.as_ref().is_some_and(|r| r.is_ok(b"ok")) {
        return Verdict::bad(code_of(first.as_ref(), &client));
    }
    let method = sent.split(|b| *b == b' ').next().unwrap_or_default();
    let reply = client.send(sent).reply_to(method).1;
    let word = code_of(reply.as_ref(), &client);
    let came = scene.app.arrivals().len();
    if came != arrivals {
        return Verdict::bad(format!("{word}, sent {} times", came - 1));
    }
    Verdict::of(word == code, word)
}

fn poison(scene: &mut Scene, sent: &[u8]) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(sent);
    let word = code_of(reply.as_ref(), &client);
    let came = scene.app.arrivals().len();
    Verdict::of(
        word == "502" && came == 1,
        if came == 1 { word } else { format!("{word}, sent {came} times") },
    )
}

fn one_connection(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let good = (0..20).filter(|_| client.ask(GET).is_some_and(|r| r.is_ok(b"ok"))).count();
    let mut used: Vec<usize> = scene.app.arrivals().iter().map(|a| a.on).collect();
    used.dedup();
    Verdict::of(good == 20 && used.len() == 1, format!("{good} on {}", used.len()))
}

fn opens_late(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(GET);
    if client.hears_within(AT_ONCE) {
        let reply = client.reply();
        return Verdict::bad(code_of(reply.as_ref(), &client));
    }
    scene.app.open();
    let reply = client.reply();
    Verdict::of(reply.as_ref().is_some_and(|r| r.is_ok(b"ok")), code_of(reply.as_ref(), &client))
}

fn not_ready(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(GET);
    let word = code_of(reply.as_ref(), &client);
    let says_when = reply.is_some_and(|r| !r.head.all(b"retry-after").is_empty());
    if word == "503" && !says_when {
        return Verdict::bad("503, no Retry-After");
    }
    Verdict::of(word == "503", word)
}

fn held_max(scene: &mut Scene) -> Verdict {
    let (mut one, mut two) = (scene.client(), scene.client());
    one.send(GET);
    if one.hears_within(AT_ONCE) {
        let reply = one.reply();
        return Verdict::bad(code_of(reply.as_ref(), &one));
    }
    let shed = two.ask(GET);
    let word = code_of(shed.as_ref(), &two);
    scene.app.open();
    let held = one.reply();
    Verdict::of(word == "503" && held.is_some_and(|r| r.is_ok(b"ok")), word)
}

fn refuses_later(scene: &mut Scene) -> Verdict {
    let first = scene.client().ask(b"GET / HTTP/1.1|Host: a|Connection: close||");
    if !first.is_some_and(|r| r.is_ok(b"ok")) {
        return Verdict::bad("not even ready");
    }
    scene.app.close_listener();
    scene.app.hang_up();
    not_ready(scene)
}

/// The kept connections of one client must not keep the app from the others.
fn single(scene: &mut Scene) -> Verdict {
    let mut clients: Vec<_> = (0..4).map(|_| scene.client()).collect();
    let mut good = 0;
    for _ in 0..2 {
        for c in &mut clients {
            c.send(GET);
        }
        good += clients.iter_mut().filter_map(|c| c.reply()).filter(|r| r.is_ok(b"ok")).count();
    }
    Verdict::of(good == 8, format!("{good} of 8"))
}

fn closes_each(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(CLOSE);
    }
}

fn says_timeout(conn: &mut Conn) {
    while conn.request().is_some() {
        conn.say(b"HTTP/1.1 200 OK|Keep-Alive: timeout=1|Content-Length: 2||ok");
        conn.wire.stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    }
    // As the app says: a second of silence, and it closes.
    conn.cue("ended");
}

fn believed(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let mut good = 0;
    for round in 1..=2 {
        good += usize::from(client.ask(GET).is_some_and(|r| r.is_ok(b"ok")));
        scene.app.wait("ended", round);
    }
    let by_proxy = scene.app.wait_end(0).is_some_and(|end| end != End::Silent);
    let word = if by_proxy { "closed in time" } else { "left to the app" };
    Verdict::of(good == 2 && by_proxy, word)
}
