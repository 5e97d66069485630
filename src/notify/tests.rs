//! What receivers are sent, what their answers mean, and when which replica tells.

use http::HeaderMap;
use serde_json::Value;

use super::*;
use crate::config::Secret;
use crate::engine::alert::{Alert, Event, Figure, Severity};
use crate::engine::time::Time;
use crate::notify::pace::{Book, Members, Next, Waiting};

const AT: Time = Time::from_millis(1_763_848_800_000);

fn alert(key: &str, severity: Severity) -> Alert {
    Alert {
        key: key.to_owned(),
        event: Event::DecisionHeld,
        severity,
        at: AT,
        title: "v42 <is> degraded & is not rolled back".to_owned(),
        summary: "It fails.".to_owned(),
        figures: vec![Figure {
            what: "failed requests".to_owned(),
            stream: "errors".to_owned(),
            baseline: "0.10 %".to_owned(),
            limit: "0.50 %".to_owned(),
            recent: Some("9.8 %".to_owned()),
        }],
        reasons: vec!["The mode is recommend.".to_owned()],
        agreed: Some("one replica, by itself".to_owned()),
        steps: Vec::new(),
        progress: Some("Nothing was done.".to_owned()),
        service: "shop".to_owned(),
        environment: "production".to_owned(),
        release: Some("v42".to_owned()),
        target: Some("v41".to_owned()),
        record: Some("0192-x".to_owned()),
        link: Some("https://admin.example.com/a|b?c=<d>&e".to_owned()),
    }
}

#[test]
fn the_webhooks_document_is_what_the_page_says() {
    let (headers, body) = webhook::request(&alert("hold:v42:errors:1", Severity::High), None);
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(headers["idempotency-key"], "hold:v42:errors:1");
    assert!(!headers.contains_key("outrigger-signature-256"));
    assert_eq!(body["schema"], "outrigger.alert.v1");
    assert_eq!(body["event"], "decision.held");
    assert_eq!(body["at"], "2025-11-22T22:00:00Z");
    assert_eq!(body["figures"][0]["recent"], "9.8 %");
    let page = include_str!("../../docs/ALERTS.md");
    for (name, _) in body.as_object().unwrap() {
        assert!(page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
    for event in Event::ALL {
        assert!(page.contains(&format!("`{}`", event.label())), "{} is not on the page", event.label());
    }
}

/// The digest that `printf %s BODY | openssl dgst -sha256 -hmac SECRET` gives is over exactly the bytes that are sent.
#[test]
fn a_post_is_signed_over_its_body() {
    let secret = Secret::new("0123456789abcdef".to_owned());
    let (headers, body) = webhook::request(&alert("k", Severity::Low), Some(&secret));
    let told = headers["outrigger-signature-256"].to_str().unwrap().strip_prefix("sha256=").unwrap();
    let bytes: Vec<u8> =
        (0..told.len()).step_by(2).map(|i| u8::from_str_radix(&told[i..i + 2], 16).unwrap()).collect();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"0123456789abcdef");
    ring::hmac::verify(&key, &body, &bytes).unwrap();
    assert!(ring::hmac::verify(&key, &body[1..], &bytes).is_err());
}

#[test]
fn a_slack_message_keeps_slacks_limits_however_long_the_texts_are() {
    let mut long = alert("k", Severity::Critical);
    long.title = "<&>".repeat(200);
    long.summary = "<&>".repeat(2000);
    long.reasons = vec!["<&>".repeat(500); 50];
    long.progress = Some(String::new());
    let all = || "<&>".repeat(2000);
    let figure = Figure { what: all(), stream: all(), baseline: all(), limit: all(), recent: Some(all()) };
    long.figures = vec![figure; 5];
    (long.service, long.environment, long.steps) = (all(), all(), vec![all(); 3]);
    long.agreed = Some(all());
    long.release = Some("&".repeat(3000));
    long.target = Some("<".repeat(1899));
    long.record = Some(all());
    long.link = Some(format!("https://admin.example.com/{}", all()));
    for alert in [alert("k", Severity::Critical), long] {
        let message: Value = serde_json::from_slice(&slack::body(&alert)).unwrap();
        let blocks = message["blocks"].as_array().unwrap().iter();
        let blocks = blocks.chain(message["attachments"][0]["blocks"].as_array().unwrap());
        assert!((1..=3000).contains(&message["text"].as_str().unwrap().chars().count()));
        let is_whole = |rest: &str| ["amp;", "lt;", "gt;"].iter().any(|end| rest.starts_with(end));
        let count = |of: &Value| {
            let text = of["text"].as_str().unwrap();
            let is_plain = of["type"] == "plain_text";
            assert!(is_plain || text.split('&').skip(1).all(is_whole), "half a sign: {text}");
            text.chars().count()
        };
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "header" => assert!((1..=150).contains(&count(&block["text"]))),
                "section" if block["text"].is_object() => {
                    assert!((1..=3000).contains(&count(&block["text"])))
                }
                "section" => {
                    let fields = block["fields"].as_array().unwrap();
                    assert!((1..=10).contains(&fields.len()) && fields.iter().all(|of| count(of) <= 2000));
                }
                "context" => {
                    let elements = block["elements"].as_array().unwrap();
                    assert!(
                        (1..=10).contains(&elements.len()) && elements.iter().all(|of| count(of) <= 3000)
                    );
                }
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn slacks_own_characters_are_escaped_and_the_link_is_whole() {
    let text = String::from_utf8(slack::body(&alert("k", Severity::High))).unwrap();
    assert!(text.contains("v42 &lt;is&gt; degraded &amp; is not rolled back"), "{text}");
    assert!(text.contains("<https://admin.example.com/a%7Cb?c=%3Cd%3E&amp;e|Dashboard>"), "{text}");
    assert!(text.contains("#e67700"), "{text}");
}

fn reply(status: u16, retry_after: Option<&str>, body: &'static str) -> Reply {
    let mut headers = HeaderMap::new();
    if let Some(text) = retry_after {
        headers.insert(header::RETRY_AFTER, text.parse().unwrap());
    }
    Reply { status: StatusCode::from_u16(status).unwrap(), headers, body: body.into() }
}

#[test]
fn an_answer_says_whether_to_come_again() {
    let after = |seconds| Sent::Busy { after: Duration::from_secs(seconds) };
    assert_eq!(meaning(&reply(204, None, "")), Sent::Told);
    assert_eq!(meaning(&reply(429, Some("7"), "")), after(7));
    assert_eq!(meaning(&reply(429, Some("0"), "")), after(1));
    assert_eq!(meaning(&reply(429, Some("999999"), "")), after(3600));
    assert_eq!(meaning(&reply(429, Some("soon"), "")), after(30));
    assert_eq!(meaning(&reply(503, None, "")), Sent::Failed { why: "status 503".to_owned() });
    assert_eq!(
        meaning(&reply(404, None, "no_service")),
        Sent::Refused { why: "status 404 (no_service)".to_owned() }
    );
    assert_eq!(meaning(&reply(301, None, "T0/B0/secret")), Sent::Refused { why: "status 301".to_owned() });
}

fn waiting(key: &str, severity: Severity) -> Waiting {
    Waiting {
        alert: alert(key, severity),
        own: true,
        queued: AT,
        attempts: 0,
        refusals: 0,
        next: Time::default(),
    }
}

/// Where an attempt takes six seconds at most.
fn book() -> Book {
    Book::new(Duration::from_secs(6))
}

fn members(me: &str) -> Members {
    let all = ["a", "b", "c"].iter().filter(|name| **name != me);
    Members { me: me.to_owned(), others: Some(all.map(|name| (*name).to_owned()).collect()) }
}

#[test]
fn one_replica_tells_first_and_the_others_ten_seconds_later_each() {
    for key in ["x", "y", "hold:v42:errors:1", "verified:z"] {
        let it = [waiting(key, Severity::High)];
        let due = |me: &str| match book().next(AT, &it, &members(me)) {
            Next::Wait(Some(until)) => until.since(AT).as_secs(),
            other @ (Next::Tell(_) | Next::Together(_) | Next::GiveUp(_) | Next::Wait(None)) => {
                panic!("{other:?}")
            }
        };
        let mut dues = ["a", "b", "c"].map(due);
        dues.sort_unstable();
        assert_eq!(dues, [2, 12, 22], "{key}");
    }
    let alone = Members { me: "a".to_owned(), others: None };
    assert_eq!(book().next(AT, &[waiting("x", Severity::Low)], &alone), Next::Tell(0));
}

#[test]
fn a_rollback_is_told_at_once_by_its_executor_and_much_later_by_others() {
    let mut it = waiting("rollback:r:intended", Severity::High);
    it.alert.event = Event::RollbackTriggered;
    assert_eq!(book().next(AT, std::slice::from_ref(&it), &members("a")), Next::Tell(0));
    it.own = false;
    let Next::Wait(Some(until)) = book().next(AT, &[it], &members("a")) else { panic!() };
    assert!(until.since(AT).as_secs() >= 20);
}

#[test]
fn what_is_beyond_the_hours_measure_goes_as_one_and_the_critical_goes_at_once() {
    let (alone, mut book) = (Members::default(), book());
    (0..pace::HOURLY).for_each(|_| book.told(AT, Severity::Low));
    let two = [waiting("x", Severity::Low), waiting("y", Severity::High)];
    assert_eq!(book.next(AT, &two, &alone), Next::Together(vec![0, 1]));
    book.told_together(AT);
    assert_eq!(book.next(AT, &two, &alone), Next::Wait(Some(AT + Duration::from_secs(600))));
    let hour = AT + Duration::from_secs(3600);
    assert_eq!(book.next(AT, &two[..1], &alone), Next::Wait(Some(hour)));
    assert_eq!(book.next(hour, &two, &alone), Next::Tell(0));
    let three = [two.as_slice(), &[waiting("z", Severity::Critical)]].concat();
    assert_eq!(book.next(AT, &three, &alone), Next::Tell(2));
}

#[test]
fn a_busy_receiver_is_left_alone_and_what_is_a_day_old_is_given_up() {
    let (alone, mut book) = (Members::default(), book());
    book.rest(AT + Duration::from_secs(60));
    let one = [waiting("x", Severity::Critical)];
    assert_eq!(book.next(AT, &one, &alone), Next::Wait(Some(AT + Duration::from_secs(60))));
    assert_eq!(book.next(AT + Duration::from_secs(60), &one, &alone), Next::Tell(0));
    assert_eq!(book.next(AT + pace::GIVE_UP_AFTER, &one, &alone), Next::Tell(0), "nobody has tried it");
    let tried = [Waiting { attempts: 1, ..one[0].clone() }];
    assert_eq!(book.next(AT + pace::GIVE_UP_AFTER, &tried, &alone), Next::GiveUp(0));
    assert_eq!(book.next(AT, &[], &alone), Next::Wait(None));
}

#[test]
fn waits_double_from_a_second_to_five_minutes_and_differ() {
    let waits = [0, 1, 5, 9, 40].map(|attempts| pace::backoff(attempts, 1.0).as_secs());
    assert_eq!(waits, [1, 2, 32, 300, 300]);
    assert_eq!(pace::backoff(9, 0.0).as_secs(), 150);
}

/// When this replica may begin, at or after `now`, where it is its turn.
fn turn(book: &Book, it: &Waiting, me: &str, now: Time) -> Time {
    match book.next(now, std::slice::from_ref(it), &members(me)) {
        Next::Tell(_) => now,
        Next::Wait(Some(until)) => until,
        other @ (Next::Together(_) | Next::GiveUp(_) | Next::Wait(None)) => panic!("{other:?}"),
    }
}

/// Whatever the receiver asked for, no two replicas are at it within the time that an attempt takes.
#[test]
fn two_replicas_are_never_at_it_together_not_even_after_a_rest() {
    for takes in [1, 6, 31].map(Duration::from_secs) {
        for rest in [0, 1, 9, 10, 17, 25, 61] {
            let mut starts = Vec::new();
            for me in ["a", "b", "c"] {
                let (mut book, mut it, mut now) = (Book::new(takes), waiting("x", Severity::High), AT);
                for attempts in 1..=5 {
                    now = turn(&book, &it, me, now);
                    assert_eq!(turn(&book, &it, me, now), now);
                    starts.push((now, me));
                    // It answers at once: it is busy.
                    book.rest(now + Duration::from_secs(rest));
                    it.attempts = attempts;
                    it.next = now + Duration::from_secs(rest.max(1));
                }
            }
            starts.sort_unstable();
            for pair in starts.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
                assert!(pair[1].0.since(pair[0].0) > takes, "{takes:?}, {rest} s: {starts:?}");
            }
        }
    }
}

#[test]
fn a_receiver_that_refuses_is_believed_after_minutes() {
    let waits = [1, 2, 3, 4].map(|refusals| pace::after_refusals(refusals).map(|wait| wait.as_secs()));
    assert_eq!(waits, [Some(30), Some(300), Some(900), None]);
}
