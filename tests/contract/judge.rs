//! Runs a case against a proxy and judges what was seen. It does not know which proxy ought to do what.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crate::app::{App, Arrival, Stand};
use crate::case::{Case, Run, Scene, See, Verdict, Want};
use crate::client::{Client, Reply};
use crate::subject::{Kind, Subject};
use crate::wire::{End, crlf, shown};

/// How long is waited for what must come. Of the peers it is known that they answer at once or not at all.
pub(crate) fn patience(kind: Kind) -> Duration {
    Duration::from_secs(if kind == Kind::Outrigger { 20 } else { 4 })
}

/// Runs one case against one proxy.
pub(crate) fn run(case: &Case, kind: Kind) -> Verdict {
    let patience = patience(kind);
    let ran = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let app = App::start(case.play, case.stand, patience);
        let is_there = case.stand != Stand::Later;
        let subject = Subject::start(kind, app.address.port(), &case.knobs, is_there);
        let mut scene = Scene { kind, patience, subject, app };
        let mut verdict = match case.run {
            Run::Refused { sent, codes } => refused(&scene, sent, codes, true),
            Run::BadBody { sent, codes } => refused(&scene, sent, codes, false),
            Run::Passed { sent, wants } => passed(&scene, sent, wants),
            Run::Replied { sent, sees } => replied(&scene, sent, sees),
            Run::Script(script) => script(&mut scene),
        };
        if !verdict.is_good() && kind == Kind::Outrigger {
            let said = scene.subject.said.lock().expect("no holder of this lock panics");
            verdict.faults.extend(said.iter().filter(|l| !l.contains("INFO")).cloned());
        }
        verdict
    }));
    ran.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
        Verdict { word: "failed".to_owned(), faults: vec![format!("panicked: {text}")] }
    })
}

/// What came instead of a reply.
pub(crate) fn no_reply(end: Option<End>) -> &'static str {
    match end {
        Some(End::Fin | End::Reset) => "closed",
        Some(End::Silent) | None => "no answer",
    }
}

/// A reply's code, or what came instead.
pub(crate) fn code_of(reply: Option<&Reply>, client: &Client) -> String {
    reply.map_or_else(|| no_reply(client.wire.end).to_owned(), |r| r.status().to_string())
}

fn refused(scene: &Scene, sent: &[u8], codes: &[u16], unseen: bool) -> Verdict {
    let mut client = scene.client();
    let reply = client.ask(sent);
    let mut word = code_of(reply.as_ref(), &client);
    let mut faults = Vec::new();
    let is_error = reply.as_ref().is_some_and(|r| r.status() >= 400);
    if !reply.as_ref().is_some_and(|r| codes.contains(&r.status())) {
        faults.push(format!("expected {codes:?}, got {word}"));
    }
    if let Some(reply) = &reply {
        let (more, end) = client.rest();
        if end == End::Silent {
            word += ", open";
            faults.push("the connection stayed open".to_owned());
        }
        if !more.is_empty() {
            word += " and more";
            faults.push(format!("more came: {}", shown(&more)));
        }
        if scene.is_ours() && is_error {
            faults.extend(form(reply, true, false));
        }
    }
    let arrivals = scene.app.arrivals();
    let whole = arrivals.iter().any(|a| a.body.whole);
    if whole || unseen && !arrivals.is_empty() {
        word = if is_error { format!("passed, {word}") } else { "passed".to_owned() };
        faults.push(format!("it reached the app: {}", shown(&arrivals[0].head.raw)));
    }
    Verdict { word, faults }
}

/// What is wrong with the form of a reply that the agent made.
pub(crate) fn form(reply: &Reply, closes: bool, has_id: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let text: &[u8] = b"text/plain; charset=utf-8";
    for (name, value) in
        [(&b"content-type"[..], text), (b"cache-control", b"no-store"), (b"connection", b"close")]
    {
        if (closes || name != b"connection") && !reply.head.has(name, value) {
            faults.push(format!("the reply lacks {}: {}", shown(name), shown(value)));
        }
    }
    for name in [&b"content-length"[..], b"x-outrigger-error", b"x-request-id"] {
        if reply.head.all(name).len() != 1 && (has_id || name != b"x-request-id") {
            faults.push(format!("the reply lacks {}", shown(name)));
        }
    }
    if !faults.is_empty() {
        faults.push(format!("the reply was {}", shown(&reply.head.raw)));
    }
    faults
}

fn passed(scene: &Scene, sent: &[u8], wants: &[Want]) -> Verdict {
    let mut client = scene.client();
    let method = sent.split(|b| *b == b' ').next().unwrap_or_default();
    let count = wants.iter().find_map(|w| if let Want::Arrivals(n) = w { Some(*n) } else { None });
    let count = count.unwrap_or(1);
    client.send(sent);
    for _ in 0..count {
        let reply = client.reply_to(method).1;
        let good = reply.as_ref().is_some_and(|r| r.status() == 200 && r.body.whole);
        if !good {
            let raw = reply.as_ref().map(|r| shown(&r.head.raw)).unwrap_or_default();
            let word = code_of(reply.as_ref(), &client);
            return Verdict { faults: vec![format!("expected 200, got {word} {raw}")], word };
        }
    }
    let arrivals = scene.app.arrivals();
    let Some(first) = arrivals.first() else { return Verdict::bad("answered without the app") };
    let mut words: Vec<String> = wants.iter().filter_map(|w| wanted(*w, first, &mut client)).collect();
    if arrivals.len() != count {
        words.push(format!("{} requests", arrivals.len()));
    }
    if words.is_empty() {
        return Verdict::good("passed");
    }
    let mut faults = words.clone();
    faults.push(format!("the app saw {} {}", shown(&first.head.raw), shown(&first.body.data)));
    Verdict { word: words.join(", "), faults }
}

/// What is not as wanted.
fn wanted(want: Want, arrival: &Arrival, client: &mut Client) -> Option<String> {
    let head = &arrival.head;
    let fault = |holds: bool, word: String| (!holds).then_some(word);
    match want {
        Want::Line(line) => fault(head.line == line, "target changed".to_owned()),
        Want::Has(name, value) => fault(head.has(name, value), format!("{} changed", shown(name))),
        Want::Any(name) => fault(!head.all(name).is_empty(), format!("no {}", shown(name))),
        Want::Lacks(name) => fault(head.all(name).is_empty(), format!("{} passed", shown(name))),
        Want::Count(name, n) => {
            fault(head.all(name).len() == n, format!("{} × {}", head.all(name).len(), shown(name)))
        }
        Want::Raw(bytes) => {
            let bytes = crlf(bytes);
            fault(head.raw.windows(bytes.len()).any(|w| w == bytes), "head changed".to_owned())
        }
        Want::Body(body) => {
            let word = if arrival.body.data.is_empty() { "body lost" } else { "body changed" };
            fault(arrival.body.data == body, word.to_owned())
        }
        Want::Trailer(name, value) => {
            fault(arrival.body.trailers.has(name, value), format!("trailer {} lost", shown(name)))
        }
        Want::NoTrailer(name) => {
            fault(arrival.body.trailers.all(name).is_empty(), format!("trailer {} passed", shown(name)))
        }
        Want::Chunked => fault(head.is_chunked(), "not chunked".to_owned()),
        Want::Arrivals(_) => None,
        Want::Ends => fault(client.rest().1 != End::Silent, "stays open".to_owned()),
    }
}

fn replied(scene: &Scene, sent: &[u8], sees: &[See]) -> Verdict {
    let mut client = scene.client();
    client.send(sent);
    let method = sent.split(|b| *b == b' ').next().unwrap_or_default();
    let (interim, reply) = client.reply_to(method);
    let Some(reply) = reply else {
        let codes: Vec<String> = interim.iter().map(|r| r.status().to_string()).collect();
        let came = !client.wire.raw.is_empty() && codes.is_empty();
        let last = if came { "passed raw" } else { no_reply(client.wire.end) };
        let word = [codes, vec![last.to_owned()]].concat().join(", ");
        return Verdict { faults: vec![format!("no reply: {word}, {}", shown(&client.wire.raw))], word };
    };
    if reply.status() == 0 {
        return Verdict { word: "passed raw".to_owned(), faults: vec![shown(&reply.head.raw)] };
    }
    let mut words = vec![reply.status().to_string()];
    for see in sees {
        words.extend(seen(*see, &interim, &reply, &mut client, scene));
    }
    let mut faults: Vec<String> = words[1..].to_vec();
    // A wrong code says it all; the rest would only repeat it.
    let codes = sees.iter().filter_map(|s| if let See::Status(code) = s { Some(*code) } else { None });
    // Whoever has seen the fault before it has sent a head can say so.
    let is_502 = reply.status() == 502 && sees.iter().any(|see| matches!(see, See::Cut));
    if is_502 {
        words.truncate(1);
        faults.clear();
    }
    let is_other = !is_502 && codes.clone().any(|code| code != reply.status());
    if is_other {
        words.truncate(1);
        faults.insert(0, format!("expected {:?}", codes.collect::<Vec<_>>()));
    } else if scene.is_ours() && reply.status() == 502 {
        faults.extend(form(&reply, false, true));
    }
    if !faults.is_empty() {
        faults.push(format!("the client saw {}", shown(&client.wire.raw)));
    }
    Verdict { word: words.join(", "), faults }
}

/// What is not as it should be seen.
fn seen(see: See, interim: &[Reply], reply: &Reply, client: &mut Client, scene: &Scene) -> Option<String> {
    let fault = |holds: bool, word: String| (!holds).then_some(word);
    let head = &reply.head;
    match see {
        See::Status(_) => None,
        See::Line(line) => fault(head.line == line, "status line changed".to_owned()),
        See::Has(name, value) => fault(head.has(name, value), format!("{} changed", shown(name))),
        See::Lacks(name) => fault(head.all(name).is_empty(), format!("{} passed", shown(name))),
        See::Raw(bytes) => {
            let bytes = crlf(bytes);
            fault(head.raw.windows(bytes.len()).any(|w| w == bytes), "head changed".to_owned())
        }
        See::Body(body) => fault(reply.body.data == body, "body changed".to_owned()),
        See::Trailer(name, value) => {
            fault(reply.body.trailers.has(name, value), format!("trailer {} lost", shown(name)))
        }
        See::NoTrailer(name) => {
            fault(reply.body.trailers.all(name).is_empty(), format!("trailer {} passed", shown(name)))
        }
        See::Chunked => fault(head.is_chunked(), "not chunked".to_owned()),
        See::Whole => fault(reply.body.whole, "cut".to_owned()),
        See::Cut => {
            fault(!reply.body.whole && client.wire.end != Some(End::Silent), "looks whole".to_owned())
        }
        See::Reset => fault(client.wire.end == Some(End::Reset), "looks whole".to_owned()),
        See::Interim(codes) => {
            let came: Vec<u16> = interim.iter().map(Reply::status).collect();
            fault(
                came == codes,
                if came.is_empty() { "1xx lost".to_owned() } else { format!("1xx {came:?}") },
            )
        }
        See::Ends => fault(client.rest().1 != End::Silent, "stays open".to_owned()),
        See::Next => {
            let next = client.ask(b"GET /next HTTP/1.1|Host: a||");
            let is_good = next.as_ref().is_some_and(|r| r.is_ok(b"ok"));
            fault(is_good, format!("next: {}", code_of(next.as_ref(), client)))
        }
        See::Fresh | See::Reused => {
            // On the same connection while it lasts: some proxies keep the app's connection with the client's.
            let mut next = client.ask(b"GET /next HTTP/1.1|Host: a||");
            if next.is_none() && client.wire.end != Some(End::Silent) {
                *client = scene.client();
                next = client.ask(b"GET /next HTTP/1.1|Host: a||");
            }
            if !next.as_ref().is_some_and(|r| r.is_ok(b"ok")) {
                return Some(format!("next: {}", code_of(next.as_ref(), client)));
            }
            let arrivals = scene.app.arrivals();
            let ends = (arrivals.first().map(|a| a.on), arrivals.last().map(|a| a.on));
            let is_fresh = ends.0 != ends.1;
            if matches!(see, See::Fresh) {
                fault(is_fresh, "connection reused".to_owned())
            } else {
                fault(!is_fresh, "connection not reused".to_owned())
            }
        }
    }
}
