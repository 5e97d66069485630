//! HTTP APIs, gRPC servers, ports, names and programs: what is asked without a database's protocol.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "http/authority.rs"]
mod authority;
#[path = "http/command.rs"]
mod command;
#[path = "http/dns.rs"]
mod dns;
#[path = "http/grpc.rs"]
mod grpc;
#[path = "http/place.rs"]
mod place;
#[path = "http/secure.rs"]
mod secure;
#[path = "http/tcp.rs"]
mod tcp;
#[path = "http/web.rs"]
mod web;

use std::net::SocketAddr;
use std::time::Duration;

use outrigger::config::Secret;
use outrigger::config::probes::{Ask, Http, JsonCondition, Probe, Server};
use outrigger::engine::health::{FactValue, Health};

use crate::asked::{Asked, fact, number, options, why};
use crate::http::web::{Answer, Web, ok, status};

/// A probe that every round may change, so that a test sees each round's words.
fn at_once(ask: Ask) -> Probe {
    Probe {
        interval: Duration::from_millis(250),
        failure_threshold: 1,
        success_threshold: 1,
        ..options("api", "http://api", ask)
    }
}

fn server(address: SocketAddr) -> Server {
    Server { host: address.ip().to_string(), port: address.port() }
}

fn http(address: SocketAddr) -> Http {
    Http {
        server: server(address),
        authority: address.to_string(),
        path: Secret::new("/up?key=hunter2".to_owned()),
        tls: None,
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: vec![200..=299, 401..=401],
        body_contains: None,
        json: None,
        certificate_min: Duration::from_secs(14 * 24 * 60 * 60),
    }
}

fn ask(http: Http) -> Ask {
    Ask::Http(Box::new(http))
}

#[tokio::test]
async fn every_fault_of_an_api_has_its_words_and_passes_by_itself() {
    let web = Web::start().await;
    let at = web.address;
    let told = format!("GET http://{at}/up");
    let condition = JsonCondition { pointer: "/status".to_owned(), equals: "ok".to_owned() };
    let options = Probe {
        timeout: Duration::from_millis(500),
        ..at_once(ask(Http { json: Some(condition), body_contains: Some("status".to_owned()), ..http(at) }))
    };
    let well = ok(r#"{"status": "ok"}"#);
    web.set(well.clone());
    let asked = Asked::start(options);
    asked.until_health(Health::Ok).await;
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n".to_vec();
    let part = [head.clone(), b"{\"stat".to_vec()].concat();
    let faults = [
        (
            status("500 Internal Server Error", "{}"),
            format!("{told} answered 500 Internal Server Error; 200-299 or 401 is expected"),
        ),
        (
            Answer::Bytes(
                b"HTTP/1.1 302 Found\r\nlocation: https://login.example.com/in?for=hunter2\r\ncontent-length: 0\r\n\r\n"
                    .to_vec(),
            ),
            format!("{told} answered 302 Found to https://login.example.com/in; 200-299 or 401 is expected"),
        ),
        (ok("pong"), format!("{told} answered 200 OK, but its body does not hold `status`")),
        (
            ok(r#"{"status": "major"}"#),
            format!("{told} answered 200 OK, but `/status` in its body is `major`; `ok` is expected"),
        ),
        (
            Answer::Silent(Vec::new()),
            format!("the answer to {told} did not come within 500ms"),
        ),
        (
            Answer::Silent(part.clone()),
            format!("the rest of the answer to {told} did not come within 500ms"),
        ),
        (Answer::Reset(Vec::new()), format!("{at} reset the connection before it answered {told}")),
        (
            Answer::Reset(part.clone()),
            format!("the answer to {told} broke off after 6 bytes of its body: the connection was reset"),
        ),
        (
            Answer::Bytes(part),
            format!("the answer to {told} broke off after 6 bytes of its body: the connection was closed"),
        ),
        (Answer::Bytes(Vec::new()), format!("{at} closed the connection without an answer to {told}")),
        (
            Answer::Bytes(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()),
            format!(
                "{at} answered {told} with something that is not HTTP/1.1 (invalid HTTP version parsed); perhaps the \
                 port wants TLS"
            ),
        ),
    ];
    for (fault, words) in faults {
        web.set(fault);
        let state = asked.until(&words, |state| why(state) == words).await;
        assert_eq!(state.health, Health::Failed, "{words}");
        assert!(state.last.as_ref().unwrap().took < Duration::from_millis(1_500), "{state:?}");
        assert!(!format!("{state:?}").contains("hunter2"), "a secret is told");
        web.set(well.clone());
        asked.until_health(Health::Ok).await;
        assert!(web.open() <= 1, "one connection at most");
    }
    drop(asked);
    web.until_none_is_open().await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_seen_and_so_is_its_return() {
    let mut web = Web::start().await;
    let mut asked = Asked::start(options("api", "http://api", ask(http(web.address))));
    asked.until_health(Health::Ok).await;
    web.stop().await;
    let state = asked.until_health(Health::Failed).await;
    let refused = format!("no connection to {}: Connection refused (os error 111)", web.address);
    assert_eq!(why(&state), refused);
    assert_eq!(state.failed_in_a_row(), 3);
    web.start_again().await;
    asked.until_health(Health::Ok).await;
    let mut events = Vec::new();
    while let Ok(change) = asked.changes.try_recv() {
        events.push((change.change.to, change.why));
    }
    let told = [(Health::Ok, String::new()), (Health::Failed, refused), (Health::Ok, String::new())];
    assert_eq!(events, told);
}

#[tokio::test]
async fn slow_answers_are_degraded_or_failed_by_their_thresholds() {
    let web = Web::start().await;
    let limits = Probe {
        degraded_above: Some(Duration::from_millis(100)),
        failed_above: Some(Duration::from_millis(400)),
        ..at_once(ask(http(web.address)))
    };
    let asked = Asked::start(limits);
    asked.until_health(Health::Ok).await;
    let well = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec();
    web.set(Answer::Late(Duration::from_millis(200), well.clone()));
    let state = asked.until_health(Health::Degraded).await;
    assert!(why(&state).starts_with("the answer took 2") && why(&state).ends_with("100ms is allowed"));
    web.set(Answer::Late(Duration::from_millis(500), well));
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).starts_with("the answer took 5") && why(&state).ends_with("400ms is allowed"));
    web.set(ok(""));
    asked.until_health(Health::Ok).await;
}

#[tokio::test]
async fn the_request_is_the_operators_and_the_answer_is_told_in_facts() {
    let web = Web::start().await;
    web.set(status("401 Unauthorized", "{}"));
    let header = |name: &str, value: &str| (name.to_owned(), Secret::new(value.to_owned()));
    let asked = Asked::start(at_once(ask(Http {
        authority: "api.example.com".to_owned(),
        method: "POST".to_owned(),
        headers: vec![header("authorization", "Bearer hunter2"), header("User-Agent", "mine")],
        ..http(web.address)
    })));
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(number(&state, "status"), 401.0);
    assert_eq!(fact(&state, "address"), &FactValue::Text(web.address.to_string()));
    let round = state.last.as_ref().unwrap();
    let phases: Vec<&str> = round.phases.iter().map(|phase| phase.name).collect();
    assert_eq!(phases, ["resolve", "connect", "wait", "transfer"]);
    let own: Duration = round.phases[2..].iter().map(|phase| phase.took).sum();
    assert_eq!(round.latency, Some(own), "the latency is the API's own time");
    let request = web.requests().remove(0);
    assert!(request.starts_with("POST /up?key=hunter2 HTTP/1.1\r\n"), "{request}");
    for field in
        ["authorization: Bearer hunter2", "user-agent: mine", "host: api.example.com", "connection: close"]
    {
        assert_eq!(request.lines().filter(|line| *line == field).count(), 1, "{field} in {request}");
    }
    assert!(!format!("{state:?}").contains("hunter2"), "a secret is told");
}

#[tokio::test]
async fn a_body_of_ten_mebibytes_is_not_read_to_its_end() {
    const LONG: usize = 10 * 1024 * 1024;
    let web = Web::start().await;
    web.set(Answer::Long(LONG));
    let asked = Asked::start(at_once(ask(http(web.address))));
    asked.until_health(Health::Ok).await;
    drop(asked);
    web.until_none_is_open().await;
    let rounds = web.requests().len();
    // What the kernel's buffers take is no reading.
    assert!(web.written() < rounds * LONG, "{} of {rounds} bodies was sent", web.written());

    let asked = Asked::start(at_once(ask(Http { body_contains: Some("y".to_owned()), ..http(web.address) })));
    let state = asked.until_health(Health::Failed).await;
    let told = "but the first 65536 bytes of its body, beyond which nobody looked, do not hold `y`";
    assert!(why(&state).ends_with(told), "{}", why(&state));
}
