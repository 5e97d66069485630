//! Group C, second part: `Expect`, and interim replies.

use std::time::Duration;

use crate::app::{Conn, OK, Play, Then};
use crate::case::{Case, GET, Scene, See, Verdict, Want, bad_reply, passed, replied, replied_to, script};
use crate::client::Client;
use crate::judge::code_of;
use crate::wire::End;

use Then::{Closes, Keeps};

/// Long enough for a 100 that nobody has asked the app for, and shorter than the second after which it may come.
const TOO_SOON: Duration = Duration::from_millis(300);

const EXPECT: &[u8] = b"PUT / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 3||";

pub(crate) const CASES: &[Case] = &[
    script("C06.1", "the app's 100 is what the client gets", Play::Script(says_100), relayed),
    script("C06.2", "the app's 413 comes without a 100", Play::Script(says_413), no_100),
    script("C06.3", "an app that ignores Expect gets the body all the same", Play::Ok, ignored),
    script("C06.4", "with a chunked body", Play::Script(says_100), chunked),
    script("C06.5", "a client that does not wait", Play::Script(says_100), impatient),
    script("C06.6", "the body after a final reply is no request (0.CL)", Play::Script(says_200), unread_body),
    passed(
        "C06.7",
        "HTTP/1.0: no 100",
        b"PUT / HTTP/1.0|Host: a|Expect: 100-continue|Content-Length: 3||abc",
        &[Want::Lacks(b"expect"), Want::Body(b"abc")],
    ),
    passed(
        "C06.8",
        "Expect without a body",
        b"GET / HTTP/1.1|Host: a|Expect: 100-continue||",
        &[Want::Arrivals(1)],
    ),
    passed(
        "C06.9",
        "another Expect passes",
        b"GET / HTTP/1.1|Host: a|Expect: y||",
        &[Want::Has(b"expect", b"y")],
    ),
    passed(
        "C06.10",
        "`Expect: y 100-continue`",
        b"PUT / HTTP/1.1|Host: a|Expect: y 100-continue|Content-Length: 3||abc",
        &[Want::Has(b"expect", b"y 100-continue"), Want::Body(b"abc")],
    ),
    passed(
        "C06.11",
        "`Expect: 100-CONTINUE`, the body at once",
        b"PUT / HTTP/1.1|Host: a|Expect: 100-CONTINUE|Content-Length: 3||abc",
        &[Want::Body(b"abc"), Want::Arrivals(1)],
    ),
    script("C06.12", "the app closes in place of a 100", Play::Script(hangs_up), |s| {
        let mut client = s.client();
        let reply = client.ask(EXPECT);
        let word = code_of(reply.as_ref(), &client);
        Verdict::of(word == "502" && client.rest().1 != End::Silent, word)
    }),
    replied(
        "C07.1",
        "103, then 200",
        HINTS,
        Keeps,
        &[See::Status(200), See::Interim(&[103]), See::Body(b"ok"), See::Next],
    )
    .varies(),
    script("C07.2", "the fields of a 103", Play::Once(HINTS, Keeps), |s| {
        let mut client = s.client();
        let hints = client.send(GET).next_reply(b"GET");
        let word = code_of(hints.as_ref(), &client);
        Verdict::of(
            hints.is_some_and(|h| h.status() == 103 && h.head.has(b"link", b"</a.css>; rel=preload")),
            word,
        )
    }),
    replied(
        "C07.3",
        "two 103 and a 102",
        THREE,
        Keeps,
        &[See::Status(200), See::Interim(&[103, 102, 103]), See::Next],
    )
    .varies(),
    replied_to(
        "C07.4",
        "no 103 for HTTP/1.0",
        b"GET / HTTP/1.0|Host: a||",
        HINTS,
        Keeps,
        &[See::Status(200), See::Interim(&[]), See::Body(b"ok")],
    ),
    script("C07.5", "a 103 comes before the app has answered", Play::Script(hints_first), |s| {
        let mut client = s.client();
        let hints = client.send(GET).next_reply(b"GET");
        let word = code_of(hints.as_ref(), &client);
        s.app.cue("answer");
        let reply = client.reply();
        Verdict::of(word == "103" && reply.is_some_and(|r| r.is_ok(b"ok")), word)
    }),
    script("C07.6", "103 in its place among pipelined requests", Play::Script(hints_second), in_place)
        .varies(),
    script("C07.7", "eleven 103", Play::Script(floods), |s| {
        let mut client = s.client();
        let (hints, reply) = client.send(GET).reply_to(b"GET");
        Verdict::of(
            hints.len() <= 10 && reply.as_ref().is_some_and(|r| r.status() == 502),
            code_of(reply.as_ref(), &client),
        )
    }),
    bad_reply("C07.8", "103, then the end", b"HTTP/1.1 103 Early Hints||", Closes),
    replied(
        "C07.9",
        "100 unasked, then 200",
        b"HTTP/1.1 100 Continue||HTTP/1.1 200 OK|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next],
    )
    .varies(),
    replied(
        "C07.10",
        "103 with a Content-Length has no body",
        b"HTTP/1.1 103 Early Hints|Content-Length: 5||HTTP/1.1 200 OK|Content-Length: 2||ok",
        Keeps,
        &[See::Status(200), See::Body(b"ok"), See::Next],
    )
    .varies(),
    replied_to(
        "C07.11",
        "103 before a HEAD's reply",
        b"HEAD / HTTP/1.1|Host: a||",
        b"HTTP/1.1 103 Early Hints||HTTP/1.1 200 OK|Content-Length: 2||",
        Keeps,
        &[See::Status(200), See::Interim(&[103]), See::Has(b"content-length", b"2"), See::Next],
    )
    .varies(),
];

const HINTS: &[u8] =
    b"HTTP/1.1 103 Early Hints|Link: </a.css>; rel=preload||HTTP/1.1 200 OK|Content-Length: 2||ok";
const THREE: &[u8] = b"HTTP/1.1 103 Early Hints||HTTP/1.1 102 Processing||HTTP/1.1 103 Early Hints||\
    HTTP/1.1 200 OK|Content-Length: 2||ok";

fn says_100(conn: &mut Conn) {
    while let Some(head) = conn.head() {
        if !head.all(b"expect").is_empty() {
            conn.cue("asked");
            conn.wait("go on", 1);
            conn.say(b"HTTP/1.1 100 Continue||");
        }
        if !conn.body(&head).whole || !conn.say(OK) {
            return;
        }
    }
}

fn relayed(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(EXPECT);
    if !scene.app.wait("asked", 1) {
        return Verdict::bad("Expect lost");
    }
    if client.hears_within(TOO_SOON) {
        let early = client.next_reply(b"PUT");
        return Verdict::bad(format!("{} before the app said so", code_of(early.as_ref(), &client)));
    }
    scene.app.cue("go on");
    let go_on = client.next_reply(b"PUT");
    let reply = client.ask(b"abc");
    let good = go_on.is_some_and(|r| r.status() == 100) && reply.as_ref().is_some_and(|r| r.is_ok(b"ok"));
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(good && scene.app.arrivals()[0].body.data == b"abc", format!("100, {word}"))
}

fn says_413(conn: &mut Conn) {
    if conn.head().is_none() {
        return;
    }
    if conn.arrivals() > 1 {
        conn.say(OK);
        return;
    }
    conn.say(b"HTTP/1.1 413 Too Large|Content-Length: 3||big");
    conn.until_end();
}

/// The upload never comes, so neither connection can be used again.
fn no_100(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let (interim, reply) = client.send(EXPECT).reply_to(b"PUT");
    let mut word = code_of(reply.as_ref(), &client);
    if !interim.is_empty() {
        return Verdict::bad(format!("100, {word}"));
    }
    let ended = client.rest().1 != End::Silent;
    if !ended {
        word += ", open";
    }
    let next = scene.client().ask(GET);
    let arrivals = scene.app.arrivals();
    let fresh =
        arrivals.len() == 2 && arrivals[0].on != arrivals[1].on && next.is_some_and(|r| r.is_ok(b"ok"));
    if !fresh {
        word += ", connection reused";
    }
    Verdict::of(word == "413", word)
}

fn ignored(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    let go_on = client.send(EXPECT).next_reply(b"PUT");
    if go_on.as_ref().is_none_or(|r| r.status() != 100) {
        return Verdict::bad(code_of(go_on.as_ref(), &client));
    }
    let reply = client.ask(b"abc");
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(word == "200" && scene.app.arrivals()[0].body.data == b"abc", format!("100, {word}"))
}

fn chunked(scene: &mut Scene) -> Verdict {
    scene.app.cue("go on");
    let mut client = scene.client();
    client.send(b"PUT / HTTP/1.1|Host: a|Expect: 100-continue|Transfer-Encoding: chunked||");
    let go_on = client.next_reply(b"PUT");
    let reply = client.ask(b"3|abc|0||");
    let good = go_on.is_some_and(|r| r.status() == 100)
        && scene.app.arrivals().iter().all(|a| a.body.data == b"abc");
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(good && word == "200", format!("100, {word}"))
}

fn impatient(scene: &mut Scene) -> Verdict {
    scene.app.cue("go on");
    let mut client = scene.client();
    client.send(EXPECT).send(b"abc").send(GET);
    let one = client.reply();
    let two = client.reply();
    let good = one.as_ref().is_some_and(|r| r.is_ok(b"ok")) && two.is_some_and(|r| r.is_ok(b"ok"));
    let arrivals = scene.app.arrivals();
    Verdict::of(
        good && arrivals.len() == 2 && arrivals[0].body.data == b"abc",
        code_of(one.as_ref(), &client),
    )
}

fn says_200(conn: &mut Conn) {
    if conn.head().is_some() {
        conn.say(OK);
        // Whoever believes that this connection is free again sends the next request into the body.
        conn.serve();
    }
}

fn unread_body(scene: &mut Scene) -> Verdict {
    let mut client: Client = scene.client();
    client.send(b"GET / HTTP/1.1|Host: a|Expect: 100-continue|Content-Length: 31||");
    let reply = client.reply();
    let word = code_of(reply.as_ref(), &client);
    client.send(b"GET /evil HTTP/1.1|Host: a|X: y||");
    client.rest();
    let evil = scene.app.arrivals().iter().any(|a| a.head.line.starts_with(b"GET /evil"));
    let next = scene.client().ask(b"GET /next HTTP/1.1|Host: a||");
    if evil {
        return Verdict::bad("smuggled");
    }
    Verdict::of(word == "200" && next.is_some_and(|r| r.is_ok(b"ok")), word)
}

fn hangs_up(conn: &mut Conn) {
    conn.head();
}

fn hints_first(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 103 Early Hints|Link: </a>||");
        conn.wait("answer", 1);
        conn.say(OK);
        conn.serve();
    }
}

fn hints_second(conn: &mut Conn) {
    while let Some(arrival) = conn.request() {
        if arrival.head.line.starts_with(b"GET /2") {
            conn.say(b"HTTP/1.1 103 Early Hints||");
        }
        conn.say(OK);
    }
}

fn in_place(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(b"GET /1 HTTP/1.1|Host: a||GET /2 HTTP/1.1|Host: a||GET /3 HTTP/1.1|Host: a||");
    let codes: Vec<u16> = (0..4).map_while(|_| client.next_reply(b"GET")).map(|r| r.status()).collect();
    let words: Vec<String> = codes.iter().map(u16::to_string).collect();
    Verdict::of(codes == [200, 103, 200, 200], words.join(", "))
}

fn floods(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(&b"HTTP/1.1 103 Early Hints||".repeat(11));
        conn.say(OK);
        conn.until_end();
    }
}
