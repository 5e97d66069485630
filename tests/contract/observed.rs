//! Group H: how requests are counted, as `/metrics` of the admin port shows it. Only outrigger has these figures.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::app::{Conn, OK, Play, Stand, Then};
use crate::case::{Case, GET, Scene, Verdict, script};
use crate::client::Client;
use crate::subject::Knobs;

use Then::{Closes, Keeps};

/// The figures are sealed once a second; between two looks at them.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const LOOKS_MAX: usize = 400;
/// How many clients of a kind.
const CLIENTS: usize = 5;

const SHORT: Option<&str> = Some("500ms");

pub(crate) const CASES: &[Case] = &[
    script("H01.1", "a good reply", Play::Ok, |s| counted(s, &[GET], &[("answered", 1)])).own(),
    script("H01.2", "an app's 500 is the app's", status(b"HTTP/1.1 500 X|Content-Length: 0||"), |s| {
        counted(s, &[GET], &[("app_error", 1)])
    })
    .own(),
    script("H01.3", "an app's 503 is the app's", status(b"HTTP/1.1 503 X|Content-Length: 0||"), |s| {
        counted(s, &[GET], &[("app_error", 1)])
    })
    .own(),
    script("H01.4", "its 501 is an answer", status(b"HTTP/1.1 501 X|Content-Length: 0||"), |s| {
        counted(s, &[GET], &[("answered", 1)])
    })
    .own(),
    script("H01.5", "its 505 is an answer", status(b"HTTP/1.1 505 X|Content-Length: 0||"), |s| {
        counted(s, &[GET], &[("answered", 1)])
    })
    .own(),
    script("H01.6", "its 404 is an answer", status(b"HTTP/1.1 404 X|Content-Length: 0||"), |s| {
        counted(s, &[GET], &[("answered", 1)])
    })
    .own(),
    script("H02.1", "no reply is the app's", Play::Once(b"", Closes), |s| {
        counted(s, &[GET], &[("app_bad_reply", 1)])
    })
    .own(),
    script(
        "H02.2",
        "a bad reply is the app's",
        Play::Once(b"HTTP/1.1 200 OK|Content-Length: x||", Closes),
        |s| counted(s, &[GET], &[("app_bad_reply", 1)]),
    )
    .own(),
    script(
        "H02.3",
        "a truncated reply with 200 is the app's",
        Play::Once(b"HTTP/1.1 200 OK|Content-Length: 9||ok", Closes),
        |s| counted(s, &[GET], &[("app_truncated", 1)]),
    )
    .own(),
    script(
        "H02.4",
        "so is one without its last chunk",
        Play::Once(b"HTTP/1.1 200 OK|Transfer-Encoding: chunked||2|ok|", Closes),
        |s| counted(s, &[GET], &[("app_truncated", 1)]),
    )
    .own(),
    script("H02.5", "a time-out is the app's", Play::Script(silent), |s| {
        counted(s, &[GET], &[("app_timeout", 1)])
    })
    .own()
    .knobs(Knobs { response: Some("1s"), connect: SHORT, hold: SHORT, ..Knobs::NONE }),
    script(
        "H02.6",
        "an unasked 101 is the app's",
        Play::Once(b"HTTP/1.1 101 X|Connection: upgrade|Upgrade: x||", Keeps),
        |s| counted(s, &[GET], &[("app_bad_reply", 1)]),
    )
    .own(),
    script("H02.7", "a port that does not open yet is nobody's", Play::Ok, |s| {
        counted(s, &[GET], &[("not_ready", 1)])
    })
    .own()
    .stands(Stand::Later)
    .knobs(Knobs { hold: Some("0s"), ..Knobs::NONE }),
    script(
        "H03.1",
        "clients that are reset while the app thinks: 499, no error",
        Play::Script(silent),
        aborts,
    )
    .own(),
    script("H03.2", "clients that leave within a reply", Play::Script(endless), leaves).own(),
    script("H03.3", "clients that are reset within their body", Play::Ok, cut_bodies).own(),
    script("H07.1", "bad heads are the clients'", Play::Ok, |s| {
        counted(s, BAD_HEADS, &[("client_fault", BAD_HEADS.len())])
    })
    .own(),
    script("H07.2", "bad chunks are the clients'", Play::Ok, |s| {
        counted(s, BAD_CHUNKS, &[("client_fault", BAD_CHUNKS.len())])
    })
    .own(),
    script("H07.3", "a short body is the client's", Play::Ok, short_bodies).own(),
    script("H07.4", "a head that falls silent is the client's", Play::Ok, |s| {
        counted(s, &[b"GET / HT"], &[("client_fault", 1)])
    })
    .own()
    .knobs(Knobs { head: SHORT, ..Knobs::NONE }),
    script("H07.5", "a body that falls silent is the client's", Play::Ok, |s| {
        counted(s, &[b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc"], &[("client_fault", 1)])
    })
    .own()
    .knobs(Knobs { body: SHORT, ..Knobs::NONE }),
    script("H07.6", "no latency is noted of any of them", Play::Ok, no_latency).own(),
    script("H09.1", "methods that nobody knows are one label", Play::Ok, methods).own(),
    script("H10.1", "a switch of protocols is an answer", Play::Script(switches), |s| {
        counted(s, &[UPGRADE], &[("answered", 1)])
    })
    .own(),
    script("H11.1", "a retried GET is one request", Play::Script(dies_second), |s| {
        counted(s, &[GET, GET], &[("answered", 2)])
    })
    .own(),
    script(
        "H11.2",
        "a POST that meets a closed connection is not the app's",
        Play::Script(dies_second),
        |s| {
            counted(
                s,
                &[GET, b"POST / HTTP/1.1|Host: a|Content-Length: 0||"],
                &[("answered", 1), ("stale_connection", 1)],
            )
        },
    )
    .own(),
    script("H12.1", "what is shed is the agent's", Play::Script(silent), shed)
        .own()
        .knobs(Knobs { in_flight_max: Some("1"), ..Knobs::NONE }),
    script("H12.2", "the platform's health check is not counted", Play::Ok, |s| {
        counted(s, &[b"GET /api/health HTTP/1.1|Host: a||", GET], &[("answered", 1)])
    })
    .own(),
    script("H12.3", "nothing stays in flight", Play::Ok, in_flight).own(),
];

const UPGRADE: &[u8] = b"GET / HTTP/1.1|Host: a|Connection: Upgrade|Upgrade: x||";

const BAD_HEADS: &[&[u8]] = &[
    b"GET / HTTP/1.1||",
    b"GET / HTTP/1.1|Host: a|X : y||",
    b"GET / HTTP/1.1|Host: a|Content-Length: x||",
    b"GET / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||",
    b"GET / HTTP/2.0|Host: a||",
    b"hello||",
    b"GET /#x HTTP/1.1|Host: a||",
    b"CONNECT a:1 HTTP/1.1|Host: a:1||",
];

const BAD_CHUNKS: &[&[u8]] = &[
    b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0x3|abc|0||",
    b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||2|SEE-THIS|0||",
    b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3\nabc|0||",
    b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||FFFFFFFFFFFFFFFF0|",
];

const fn status(reply: &'static [u8]) -> Play {
    Play::Once(reply, Keeps)
}

/// A scrape of the metrics: each sample's name with its labels, and its figure.
fn metrics(scene: &Scene) -> BTreeMap<String, f64> {
    let admin = scene.subject.admin.expect("only outrigger is asked");
    let mut client = Client::connect(admin, scene.patience);
    let page = client.ask(b"GET /metrics HTTP/1.1|Host: localhost|Connection: close||");
    let body = page.map(|r| r.body.data).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    samples.filter_map(|(name, figure)| Some((name.to_owned(), figure.parse().ok()?))).collect()
}

/// Requests by one label.
fn by(metrics: &BTreeMap<String, f64>, label: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mark = format!("{label}=\"");
    for (name, figure) in metrics.iter().filter(|(name, _)| name.starts_with("outrigger_requests_total{")) {
        let value =
            name.split_once(&mark).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(value, _)| value);
        if *figure > 0.0 {
            *counts.entry(value.to_owned()).or_default() += figure.round() as usize;
        }
    }
    counts
}

/// Looks until so many requests have ended and none is open.
fn sealed(scene: &Scene, count: usize) -> BTreeMap<String, f64> {
    let mut last = BTreeMap::new();
    for _ in 0..LOOKS_MAX {
        last = metrics(scene);
        let ended: usize = by(&last, "outcome").values().sum();
        if ended >= count && last.get("outrigger_requests_in_flight") == Some(&0.0) {
            break;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    last
}

/// Compares the outcomes with what is expected.
fn outcomes(scene: &Scene, expected: &[(&str, usize)]) -> Verdict {
    let count = expected.iter().map(|(_, count)| count).sum();
    let seen = by(&sealed(scene, count), "outcome");
    let wanted: BTreeMap<String, usize> =
        expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    let words: Vec<String> = seen.keys().map(|name| name.replace('_', " ")).collect();
    let mut verdict = Verdict::of(seen == wanted, words.join(", "));
    if !verdict.is_good() {
        verdict.faults.push(format!("expected {wanted:?}, counted {seen:?}"));
    }
    verdict
}

/// Sends each on the same connection while it lasts, reads what comes, and compares.
fn counted(scene: &mut Scene, sent: &[&[u8]], expected: &[(&str, usize)]) -> Verdict {
    let mut client = scene.client();
    for sent in sent {
        let reply = client.ask(sent);
        let closes =
            reply.is_none_or(|r| r.head.has(b"connection", b"close") || r.status() == 101 || !r.body.whole);
        if closes {
            client = scene.client();
        }
    }
    drop(client);
    outcomes(scene, expected)
}

fn silent(conn: &mut Conn) {
    conn.request();
    conn.cue("thinking");
    conn.until_end();
}

fn aborts(scene: &mut Scene) -> Verdict {
    for round in 1..=CLIENTS {
        let mut client = scene.client();
        client.send(GET);
        scene.app.wait("thinking", round);
        client.wire.reset();
    }
    outcomes(scene, &[("client_aborted", CLIENTS)])
}

fn endless(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 200 OK|Content-Length: 1000000000||");
        let piece = vec![b'x'; 1 << 20];
        while conn.wire.send(&piece) {}
    }
}

fn leaves(scene: &mut Scene) -> Verdict {
    for _ in 0..CLIENTS {
        let mut client = scene.client();
        client.send(GET);
        client.wire.exactly(1000);
        client.wire.reset();
    }
    outcomes(scene, &[("client_left", CLIENTS)])
}

fn cut_bodies(scene: &mut Scene) -> Verdict {
    for round in 1..=CLIENTS {
        let mut client = scene.client();
        client.send(b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc");
        scene.app.wait_arrivals(round);
        client.wire.reset();
    }
    of_clients(scene, CLIENTS)
}

/// All ended by the clients' fault, whichever name it has.
fn of_clients(scene: &Scene, count: usize) -> Verdict {
    let seen = by(&sealed(scene, count), "outcome");
    let theirs: usize =
        seen.iter().filter(|(name, _)| name.starts_with("client_")).map(|(_, count)| count).sum();
    let all: usize = seen.values().sum();
    let mut verdict = Verdict::of(theirs == count && all == count, "the clients'");
    if !verdict.is_good() {
        verdict.faults.push(format!("counted {seen:?}"));
    }
    verdict
}

fn short_bodies(scene: &mut Scene) -> Verdict {
    for sent in [
        &b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc"[..],
        b"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||3|abc|",
    ] {
        let mut client = scene.client();
        client.send(sent);
        client.wire.half_close();
        client.rest();
    }
    of_clients(scene, 2)
}

fn no_latency(scene: &mut Scene) -> Verdict {
    for sent in BAD_HEADS.iter().chain(BAD_CHUNKS) {
        scene.client().ask(sent);
    }
    let seen = sealed(scene, BAD_HEADS.len() + BAD_CHUNKS.len());
    let noted = seen.get("outrigger_request_latency_seconds_count").copied();
    Verdict::of(noted == Some(0.0), format!("{} noted", noted.unwrap_or(f64::NAN)))
}

fn methods(scene: &mut Scene) -> Verdict {
    for method in ["PURGE", "get", "M-SEARCH", "GET"] {
        scene.client().ask(format!("{method} / HTTP/1.1|Host: a||").as_bytes());
    }
    let seen = by(&sealed(scene, 4), "method");
    let wanted = BTreeMap::from([("_OTHER".to_owned(), 3), ("GET".to_owned(), 1)]);
    Verdict::of(seen == wanted, seen.keys().cloned().collect::<Vec<_>>().join(", "))
}

fn switches(conn: &mut Conn) {
    if conn.request().is_some() {
        conn.say(b"HTTP/1.1 101 X|Connection: Upgrade|Upgrade: x||");
        conn.until_end();
    }
}

fn dies_second(conn: &mut Conn) {
    while conn.request().is_some() {
        if conn.arrivals() == 2 {
            return;
        }
        conn.say(OK);
    }
}

fn shed(scene: &mut Scene) -> Verdict {
    let mut busy = scene.client();
    busy.send(GET);
    scene.app.wait("thinking", 1);
    scene.client().ask(GET);
    busy.wire.reset();
    outcomes(scene, &[("client_aborted", 1), ("shed", 1)])
}

fn in_flight(scene: &mut Scene) -> Verdict {
    for _ in 0..CLIENTS {
        scene.client().ask(GET);
        scene.client().send(b"POST / HTTP/1.1|Host: a|Content-Length: 10||abc").wire.half_close();
    }
    let seen = sealed(scene, 2 * CLIENTS);
    let open = seen.get("outrigger_requests_in_flight").copied().unwrap_or(f64::NAN);
    Verdict::of(open == 0.0, format!("{open}"))
}
