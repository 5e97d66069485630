//! Real apps behind the real binary, as people run them: FastAPI under uvicorn, Node's own server, Express, Flask under
//! gunicorn, Next.js.
//!
//! `scripts/test` installs what they need. Without it these tests skip, and say so; where `CI` is set that is a failure.
//! `REAL_APPS=off` leaves them out, `NEXT=off` Next.js alone, `REAL_APPS_BIG=1` sends 1 GiB instead of 64 MiB each way.
//! (None begins with `OUTRIGGER_`: the agent refuses such variables that it does not know.)

#[path = "real_apps/agent.rs"]
mod agent;
#[path = "real_apps/bulk.rs"]
mod bulk;
#[path = "real_apps/client.rs"]
mod client;
#[path = "real_apps/endings.rs"]
mod endings;
#[path = "real_apps/family.rs"]
mod family;
#[path = "real_apps/first.rs"]
mod first;
#[path = "real_apps/flask.rs"]
mod flask;
#[path = "real_apps/kit.rs"]
mod kit;
#[path = "real_apps/next.rs"]
mod next;
#[path = "real_apps/process.rs"]
mod process;
#[path = "real_apps/streams.rs"]
mod streams;
#[path = "real_apps/unchanged.rs"]
mod unchanged;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::agent::Agent;
use crate::client::Client;
use crate::kit::App;
use crate::process::{Direct, eventually, eventually_is};
use crate::unchanged::{
    codings_are_the_same_with_and_without_the_agent, files_are_the_same_with_and_without_the_agent,
};

/// One load: so many requests over so many kept connections.
const REQUESTS: usize = 3_000;
const CONNECTIONS: usize = 16;
/// The agent's peak memory may rise by so much from one load to the next equal one, and while a bulk passes through.
const GROWTH_KIB_MAX: u64 = 8 * 1024;
const BULK_GROWTH_KIB_MAX: u64 = 32 * 1024;
/// Where `/api/snapshot` says what this release has shown itself so far.
const OWN_REQUESTS: &str = "/own/requests";
/// What the Node servers are told to end with; uvicorn's own code is asked of uvicorn.
const EXIT_CODE: i32 = 7;

/// Each test as one of an app; the tests stand below and in `unchanged`.
macro_rules! each_test {
    ($module:ident is $app:ident: $($test:ident,)*) => {
        mod $module { $(#[tokio::test] async fn $test() { super::run(super::App::$app, super::$test).await; })* }
    };
}

each_test! { fastapi is FastApi:
    the_app_alone_passes_what_is_asked_of_it_behind_the_agent,
    every_request_is_answered_and_the_metrics_count_what_the_app_logged,
    memory_is_flat_under_an_equal_second_load,
    bulk_passes_both_ways_unchanged_and_is_not_held_in_memory,
    events_and_websocket_messages_arrive_as_they_were_sent,
    files_are_the_same_with_and_without_the_agent,
    codings_are_the_same_with_and_without_the_agent,
    a_drain_under_load_loses_nothing_that_the_app_took,
    a_second_signal_ends_a_drain_at_once,
    a_restart_keeps_what_the_release_has_shown,
}

each_test! { node is Node:
    the_app_alone_passes_what_is_asked_of_it_behind_the_agent,
    every_request_is_answered_and_the_metrics_count_what_the_app_logged,
    memory_is_flat_under_an_equal_second_load,
    bulk_passes_both_ways_unchanged_and_is_not_held_in_memory,
    events_and_websocket_messages_arrive_as_they_were_sent,
    codings_are_the_same_with_and_without_the_agent,
    a_drain_under_load_loses_nothing_that_the_app_took,
    a_second_signal_ends_a_drain_at_once,
    a_restart_keeps_what_the_release_has_shown,
}

each_test! { express is Express:
    the_app_alone_passes_what_is_asked_of_it_behind_the_agent,
    every_request_is_answered_and_the_metrics_count_what_the_app_logged,
    bulk_passes_both_ways_unchanged_and_is_not_held_in_memory,
    events_and_websocket_messages_arrive_as_they_were_sent,
    files_are_the_same_with_and_without_the_agent,
    codings_are_the_same_with_and_without_the_agent,
    a_drain_under_load_loses_nothing_that_the_app_took,
}

async fn run(app: App, test: impl AsyncFnOnce(App)) {
    if kit::is_installed(app) {
        test(app).await;
    }
}

/// What is asserted through the agent is first asserted without it: a fault of the kit must not look like ours.
async fn the_app_alone_passes_what_is_asked_of_it_behind_the_agent(app: App) {
    let direct = Direct::start(app).await;
    let client = Client::of(direct.address);
    assert_eq!(client.load(200, 4).await, 200);
    assert_eq!(direct.log.lines(), 200);
    bulk::check_upload(direct.address, kit::bulk_bytes()).await;
    bulk::check_download(direct.address, kit::bulk_bytes()).await;
    streams::check_events(direct.address).await;
    streams::check_steps(direct.address).await;
    streams::check_websocket(direct.address).await;
    assert_eq!(client.get("/status/418").await.0, 418);
    assert_eq!(direct.end().await, expected_exit(app).await);
}

async fn every_request_is_answered_and_the_metrics_count_what_the_app_logged(app: App) {
    let agent = Agent::start(app).await;
    assert_eq!(Client::of(agent.public).load(REQUESTS, CONNECTIONS).await, REQUESTS);
    // An app's own errors are answers, too.
    assert_eq!(Client::of(agent.public).get("/status/500").await.0, 500);
    assert_eq!(agent.log.lines(), REQUESTS + 1);
    let total = async || agent.metric("outrigger_requests_total").await;
    eventually_is("requests by the metrics, as many as the app logged", (REQUESTS + 1) as f64, total).await;
}

async fn memory_is_flat_under_an_equal_second_load(app: App) {
    let agent = Agent::start(app).await;
    let client = Client::of(agent.public);
    client.load(REQUESTS, CONNECTIONS).await;
    let first = agent.peak_memory_kib();
    client.load(REQUESTS, CONNECTIONS).await;
    let second = agent.peak_memory_kib();
    assert!(second < first + GROWTH_KIB_MAX, "peak memory rose from {first} to {second} KiB");
}

async fn bulk_passes_both_ways_unchanged_and_is_not_held_in_memory(app: App) {
    let agent = Agent::start(app).await;
    Client::of(agent.public).load(200, CONNECTIONS).await;
    let before = agent.peak_memory_kib();
    bulk::check_upload(agent.public, kit::bulk_bytes()).await;
    bulk::check_download(agent.public, kit::bulk_bytes()).await;
    let after = agent.peak_memory_kib();
    assert!(after < before + BULK_GROWTH_KIB_MAX, "peak memory rose from {before} to {after} KiB");
}

async fn events_and_websocket_messages_arrive_as_they_were_sent(app: App) {
    let agent = Agent::start(app).await;
    streams::check_events(agent.public).await;
    streams::check_steps(agent.public).await;
    streams::check_websocket(agent.public).await;
}

/// What the agent refuses or closes after the signal has no line in the app's log; what has one must have been answered.
async fn a_drain_under_load_loses_nothing_that_the_app_took(app: App) {
    const HELD: usize = 16;
    const BUSY: usize = 8;
    const BUSY_ANSWERS_BEFORE: usize = 200;
    let mut agent = Agent::start(app).await;
    let client = Client::of(agent.public);
    let held: Vec<_> = (0..HELD).map(|_| tokio::spawn(client.get("/slow?ms=2000"))).collect();
    eventually("the app has all slow requests", async || (agent.log.count("/slow") == HELD).then_some(()))
        .await;
    let answered = Arc::new(AtomicUsize::new(0));
    let kept = (0..BUSY).map(|_| tokio::spawn(client.until_refused(answered.clone())));
    let anew = (0..BUSY).map(|_| tokio::spawn(client.anew_until_refused(answered.clone())));
    let busy: Vec<_> = kept.chain(anew).collect();
    eventually("the load is under way", async || {
        (answered.load(Ordering::Relaxed) >= BUSY_ANSWERS_BEFORE).then_some(())
    })
    .await;
    agent.terminate();
    for request in held {
        assert_eq!(request.await.expect("a request in flight is answered").0, 200);
    }
    for client in busy {
        client.await.expect("a client is served or refused, and never sees a torn or failed answer");
    }
    assert_eq!(agent.ended().await, expected_exit(app).await, "the agent's exit code is the app's");
    assert_eq!(answered.load(Ordering::Relaxed) + HELD, agent.log.lines(), "answers of the app, its log");
}

/// The drain would last 20 s, and the answer takes half of that.
async fn a_second_signal_ends_a_drain_at_once(app: App) {
    const AT_ONCE: Duration = Duration::from_secs(5);
    let mut agent = Agent::start(app).await;
    let slow = tokio::spawn(Client::of(agent.public).get("/slow?ms=10000"));
    eventually("the app has the slow request", async || (agent.log.count("/slow") == 1).then_some(())).await;
    agent.terminate();
    agent.said("draining").await;
    agent.terminate();
    tokio::time::timeout(AT_ONCE, agent.ended()).await.expect("the second signal cuts what is open");
    assert!(slow.await.is_err(), "the slow request was cut");
}

async fn a_restart_keeps_what_the_release_has_shown(app: App) {
    let mut agent = Agent::start(app).await;
    let before = eventually("the release has shown something", async || {
        Client::of(agent.public).load(100, 4).await;
        agent.snapshot(OWN_REQUESTS).await.as_u64().filter(|&requests| requests > 0)
    })
    .await;
    agent.terminate();
    agent.ended().await;
    let agent = agent.start_again().await;
    let after = agent.snapshot(OWN_REQUESTS).await.as_u64();
    assert!(after >= Some(before), "{before} requests were known before the restart, {after:?} after it");
}

/// What the app itself ends with after SIGTERM, as a shell would say it.
async fn expected_exit(app: App) -> i32 {
    match app {
        App::Node | App::Express => EXIT_CODE,
        App::FastApi | App::Flask { .. } | App::Next => Direct::start(app).await.end().await,
    }
}
