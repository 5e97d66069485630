//! Group E, second part: time limits, overload, clients and apps that go or fall silent, and the form of errors.

use std::time::Duration;

use crate::app::{Conn, OK, Play, Stand};
use crate::case::{Case, GET, Scene, Verdict, script};
use crate::client::Client;
use crate::judge::{code_of, form};
use crate::subject::Knobs;
use crate::wire::End;

const SHORT: Option<&str> = Some("500ms");
const NONE: Knobs = Knobs::NONE;
/// Clients that never finish a head.
const SLOW: usize = 200;
/// Looks whether a proxy has recovered.
const RECOVERY_LOOKS: usize = 50;
/// More than a proxy with 64 files can take.
const CROWD: usize = 100;

pub(crate) const CASES: &[Case] = &[
    script("E06.1", "the app accepts no more, its queue is full: 504", Play::Ok, |s| {
        s.app.stall();
        times_out(s, &["504"])
    })
    .stands(Stand::Narrow)
    .knobs(Knobs { connect: Some("300ms"), hold: Some("200ms"), ..NONE }),
    script("E06.2", "the app is silent: 504, and its connection ends", Play::Script(silent), silent_app)
        .knobs(Knobs { response: Some("1500ms"), connect: SHORT, hold: SHORT, ..NONE }),
    script("E06.3", "the app falls silent within its head", Play::Script(half_head), |s| {
        times_out(s, &["504", "502"])
    })
    .knobs(Knobs { response: Some("1500ms"), connect: SHORT, hold: SHORT, ..NONE }),
    script("E06.4", "a reply that takes longer than the limit, but flows", Play::Script(flows), flowing)
        .varies()
        .knobs(Knobs {
            response: Some("700ms"),
            connect: Some("200ms"),
            hold: Some("200ms"),
            send: Some("1s"),
            ..NONE
        }),
    script("E07.1", "a request's body falls silent: 408", Play::Ok, |s| {
        falls_silent(s, b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc", true)
    })
    .varies()
    .knobs(Knobs { body: SHORT, ..NONE }),
    script("E07.2", "a chunked body falls silent: 408", Play::Ok, |s| {
        falls_silent(s, b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|", true)
    })
    .varies()
    .knobs(Knobs { body: SHORT, ..NONE }),
    script("E07.3", "a head falls silent: 408", Play::Ok, |s| {
        falls_silent(s, b"GET / HTTP/1.1|Host: a|", false)
    })
    .knobs(Knobs { head: SHORT, ..NONE }),
    script("E07.4", "a head that comes too slowly: 408", Play::Ok, trickle)
        .knobs(Knobs { head: SHORT, ..NONE }),
    script("E07.5", "the second head on a connection falls silent: 408", Play::Ok, |s| {
        let mut client = s.client();
        client.ask(GET);
        let reply = client.ask(b"GET / HT");
        let word = code_of(reply.as_ref(), &client);
        Verdict::of(word == "408" && client.rest().1 != End::Silent, word)
    })
    .knobs(Knobs { head: SHORT, ..NONE }),
    script("E07.6", "an idle connection is closed without a word", Play::Ok, |s| {
        let mut client = s.client();
        client.ask(GET);
        let (rest, end) = client.rest();
        Verdict::of(
            rest.is_empty() && end == End::Fin,
            if end == End::Silent { "stays open" } else { "closed" },
        )
    })
    .knobs(Knobs { idle: Some("1s"), ..NONE }),
    script("E07.7", "a connection without a byte is closed without a word", Play::Ok, |s| {
        let (rest, end) = s.client().rest();
        let word = match end {
            End::Silent => "stays open".to_owned(),
            End::Fin | End::Reset if rest.is_empty() => "closed".to_owned(),
            End::Fin | End::Reset => String::from_utf8_lossy(rest.get(9..12).unwrap_or(b"?")).into_owned(),
        };
        Verdict::of(word == "closed", word)
    })
    .knobs(Knobs { idle: Some("1s"), head: SHORT, ..NONE }),
    script("E08.1", "200 clients that never finish a head, and an honest one", Play::Ok, slowloris)
        .knobs(Knobs { head: SHORT, ..NONE }),
    script("E09.1", "a client that takes nothing of a reply", Play::Script(endless), takes_nothing)
        .knobs(Knobs { send: Some("1s"), ..NONE }),
    script("E10.1", "the client is reset while the app thinks", Play::Script(thinks), |s| {
        leaves(s, |client| client.wire.reset())
    }),
    script("E10.2", "the client closes while the app thinks", Play::Script(thinks), |s| leaves(s, drop)),
    script("E10.3", "the client is reset within a reply", Play::Script(endless), |s| {
        let mut client = s.client();
        client.send(GET);
        client.wire.exactly(1000);
        client.wire.reset();
        let stopped = s.app.wait("stopped", 1);
        Verdict::of(stopped, if stopped { "app is told" } else { "app works on" })
    }),
    script("E10.4", "the client is reset within its body", Play::Ok, |s| {
        let mut client = s.client();
        client.send(b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc");
        s.app.wait_arrivals(1);
        client.wire.reset();
        let verdict = ended(s);
        if s.app.arrivals().iter().any(|a| a.body.whole) { Verdict::bad("passed as whole") } else { verdict }
    }),
    script(
        "E11.1",
        "one request too many: 503 at once, with Retry-After",
        Play::Script(thinks),
        one_too_many,
    )
    .knobs(Knobs { in_flight_max: Some("2"), ..NONE }),
    script("E11.2", "100 clients, 64 files", Play::Script(thinks), crowd)
        .knobs(Knobs { files: Some(64), ..NONE })
        .varies(),
    script(
        "E12.1",
        "a 502: plain text, no store, its code and id, whatever is accepted",
        Play::Script(hangs_up),
        |s| error_form(s, &["502"]),
    ),
    script("E12.2", "a 503 likewise", Play::Ok, |s| error_form(s, &["503"]))
        .stands(Stand::Later)
        .knobs(Knobs { hold: Some("0s"), ..NONE }),
    script("E12.3", "a 504 likewise", Play::Script(silent), |s| error_form(s, &["504"])).knobs(Knobs {
        response: Some("1500ms"),
        connect: SHORT,
        hold: SHORT,
        ..NONE
    }),
    script("E12.4", "a 502 to HEAD has no body", Play::Script(hangs_up), |s| {
        let mut client = s.client();
        client.send(b"HEAD / HTTP/1.1|Host: a|Connection: close||");
        let reply = client.reply_to(b"HEAD").1;
        let word = code_of(reply.as_ref(), &client);
        Verdict::of(word == "502" && client.rest().0.is_empty(), word)
    }),
    script("E12.6", "a refused head's reply has an id, too", Play::Ok, |s| {
        let mut client = s.client();
        let reply = client.ask(b"GET / HTTP/1.1|Host: a b||");
        let word = code_of(reply.as_ref(), &client);
        let faults = reply.iter().flat_map(|r| form(r, true, true)).collect();
        Verdict { word, faults }
    })
    .own(),
    script("E12.5", "a client's X-Request-Id comes back with an error", Play::Script(hangs_up), |s| {
        let mut client = s.client();
        let reply = client.ask(b"GET / HTTP/1.1|Host: a|X-Request-Id: r1||");
        let word = code_of(reply.as_ref(), &client);
        let comes_back = reply.is_some_and(|r| r.head.has(b"x-request-id", b"r1"));
        Verdict::of(comes_back, if comes_back { word } else { format!("{word}, no X-Request-Id") })
    }),
];

fn silent(conn: &mut Conn) {
    conn.request();
    conn.until_end();
}

fn half_head(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 200 OK|Content-Len");
        conn.until_end();
    }
}

fn times_out(scene: &mut Scene, codes: &[&str]) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(GET);
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(codes.contains(&word.as_str()), word)
}

fn silent_app(scene: &mut Scene) -> Verdict {
    let verdict = times_out(scene, &["504"]);
    let ended = scene.app.wait_end(0).is_some_and(|end| end != End::Silent);
    if ended { verdict } else { Verdict::bad(format!("{}, app's connection kept", verdict.word)) }
}

/// Twelve pieces, each within the limit, all of them beyond it.
fn flows(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 200 OK|Content-Length: 12||");
        for piece in 1..=12 {
            conn.wait("next", piece);
            conn.say(b"x");
        }
        conn.until_end();
    }
}

fn flowing(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(GET);
    let head = client.wire.head();
    for _ in 0..12 {
        // The gap is the input here: something shorter than the limit.
        client.hears_within(Duration::from_millis(100));
        scene.app.cue("next");
    }
    let whole = client.wire.exactly(12).is_some();
    Verdict::of(head.is_some() && whole, if whole { "whole" } else { "cut" })
}

fn falls_silent(scene: &mut Scene, sent: &[u8], reaches_app: bool) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(sent);
    let mut word = code_of(reply.as_ref(), &client);
    if client.rest().1 == End::Silent {
        return Verdict::bad(format!("{word}, open"));
    }
    if reaches_app {
        if scene.app.wait_end(0).is_none_or(|end| end == End::Silent) {
            word += ", app's connection kept";
        }
        if scene.app.arrivals().iter().any(|a| a.body.whole) {
            word += ", passed as whole";
        }
    }
    let mut verdict = Verdict::of(word == "408", word);
    if scene.is_ours() {
        verdict.faults.extend(reply.iter().flat_map(|r| form(r, true, false)));
    }
    verdict
}

/// A byte now and then is not enough: the limit is for the whole head.
fn trickle(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(b"GET / HTTP/1.1|Host: a|X: ");
    for _ in 0..scene.patience.as_millis() / 100 {
        client.send(b"x");
        if client.hears_within(Duration::from_millis(100)) {
            break;
        }
    }
    let reply = client.reply();
    let word = code_of(reply.as_ref(), &client);
    Verdict::of(word == "408", word)
}

fn slowloris(scene: &mut Scene) -> Verdict {
    let mut slow: Vec<_> = (0..SLOW).map(|_| scene.client()).collect();
    for client in &mut slow {
        client.send(b"GET / HTTP/1.1|Host:");
    }
    let honest = scene.client().ask(GET).is_some_and(|r| r.is_ok(b"ok"));
    if !honest {
        return Verdict::bad("the honest one waits");
    }
    let ended = slow.iter_mut().map(|client| client.rest().1).take_while(|end| *end != End::Silent).count();
    Verdict::of(ended == SLOW, if ended == SLOW { "all are closed" } else { "they stay" })
}

fn endless(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 200 OK|Content-Length: 1000000000||");
        let piece = vec![b'x'; 1 << 20];
        while conn.wire.send(&piece) {}
        conn.cue("stopped");
    }
}

fn takes_nothing(scene: &mut Scene) -> Verdict {
    let mut client = scene.client();
    client.send(GET);
    let stopped = scene.app.wait("stopped", 1);
    drop(client);
    Verdict::of(stopped, if stopped { "cut" } else { "kept" })
}

fn thinks(conn: &mut Conn) {
    while conn.request().is_some() {
        conn.cue("thinking");
        // Whoever leaves meanwhile shows here.
        conn.wire.stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        while !conn.is_cued("answer") {
            conn.wire.more();
            if matches!(conn.wire.end, Some(End::Fin | End::Reset)) {
                conn.until_end();
                return;
            }
        }
        conn.say(OK);
    }
}

fn ended(scene: &Scene) -> Verdict {
    let ended = scene.app.wait_end(0).is_some_and(|end| end != End::Silent);
    Verdict::of(ended, if ended { "app is told" } else { "app works on" })
}

fn leaves(scene: &mut Scene, leave: fn(Client)) -> Verdict {
    let mut client = scene.client();
    client.send(GET);
    scene.app.wait("thinking", 1);
    leave(client);
    ended(scene)
}

fn one_too_many(scene: &mut Scene) -> Verdict {
    let mut busy = [scene.client(), scene.client()];
    for (i, client) in busy.iter_mut().enumerate() {
        client.send(GET);
        scene.app.wait("thinking", i + 1);
    }
    let mut third = scene.client();
    let shed = third.ask(GET);
    let word = code_of(shed.as_ref(), &third);
    scene.app.cue("answer");
    let served = busy.iter_mut().filter_map(|c| c.reply()).filter(|r| r.is_ok(b"ok")).count();
    let after = scene.client().ask(GET).is_some_and(|r| r.is_ok(b"ok"));
    let says_when = shed.is_some_and(|r| !r.head.all(b"retry-after").is_empty());
    if word == "503" && !says_when {
        return Verdict::bad("503, no Retry-After");
    }
    Verdict::of(word == "503" && served == 2 && after, word)
}

/// All of them get an answer sooner or later, and the proxy is well afterwards.
fn crowd(scene: &mut Scene) -> Verdict {
    let knock = |_| Client::try_connect(scene.subject.front, scene.patience);
    let mut clients: Vec<_> = (0..CROWD).filter_map(knock).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1|Host: a|Connection: close||");
    }
    scene.app.wait("thinking", 1);
    scene.app.cue("answer");
    let replies = clients.iter_mut().map(|client| client.reply().map_or(0, |r| r.status()));
    let codes: Vec<u16> = replies.collect();
    drop(clients);
    // What it still closes in order holds its files for a moment.
    let mut after = false;
    for _ in 0..RECOVERY_LOOKS {
        let mut client = scene.client();
        after = client.ask(GET).is_some_and(|r| r.is_ok(b"ok"));
        if after {
            break;
        }
        client.hears_within(Duration::from_millis(100));
    }
    let answered = codes.iter().filter(|code| [200, 503].contains(*code)).count();
    if !after {
        return Verdict::bad("does not recover");
    }
    Verdict::of(
        answered == CROWD,
        if answered == CROWD { "all are answered".to_owned() } else { format!("{answered} of {CROWD}") },
    )
}

fn hangs_up(conn: &mut Conn) {
    conn.request();
}

fn error_form(scene: &mut Scene, codes: &[&str]) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(b"GET / HTTP/1.1|Host: a|Accept: text/html||");
    let word = code_of(reply.as_ref(), &client);
    let Some(reply) = reply else { return Verdict::bad(word) };
    let faults = form(&reply, false, true);
    if !codes.contains(&word.as_str()) {
        return Verdict::bad(word);
    }
    if scene.is_ours() { Verdict { word, faults } } else { Verdict::good(word) }
}
