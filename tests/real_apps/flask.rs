//! Flask under gunicorn's sync worker: one process, one request at a time, and a connection is closed after each.
//!
//! A proxy that holds a connection open to such an app, unused, holds the whole app.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::agent::Agent;
use crate::client::Client;
use crate::kit::{self, App};
use crate::process::{Direct, eventually, eventually_is};
use crate::{CONNECTIONS, bulk, run};

#[tokio::test]
async fn the_app_alone_passes_what_is_asked_of_it_behind_the_agent() {
    run(App::FLASK, async |app| {
        let direct = Direct::start(app).await;
        for _ in 0..20 {
            assert_eq!(Client::of(direct.address).get("/hello").await.0, 200);
        }
        assert_eq!(direct.log.lines(), 20);
        bulk::check_upload(direct.address, kit::bulk_bytes()).await;
        bulk::check_download(direct.address, kit::bulk_bytes()).await;
        assert_eq!(direct.end().await, 0);
    })
    .await;
}

/// Kept connections of clients, twice as many as are at work, all the time; the app has one.
#[tokio::test]
async fn parallel_clients_do_not_lock_it() {
    const REQUESTS: usize = 800;
    run(App::FLASK, async |app| {
        let agent = Agent::start(app).await;
        let client = Client::of(agent.public);
        let mut idle = client.keep(CONNECTIONS).await;
        assert_eq!(client.load(REQUESTS, CONNECTIONS).await, REQUESTS);
        bulk::check_upload(agent.public, kit::bulk_bytes()).await;
        bulk::check_download(agent.public, kit::bulk_bytes()).await;
        idle.post_all("/echo").await;
        assert_eq!(agent.log.lines(), REQUESTS + 2 * CONNECTIONS + 2);
    })
    .await;
}

/// All but one of the held requests wait before the app when the signal comes. (Together they take less time than the
/// agent waits before it tells the app to end: gunicorn then drops what it has not accepted.)
#[tokio::test]
async fn a_drain_under_load_loses_nothing_that_the_agent_took() {
    const HELD: usize = 4;
    const BUSY: usize = 8;
    run(App::FLASK, async |app| {
        let mut agent = Agent::start(app).await;
        let client = Client::of(agent.public);
        let held: Vec<_> = (0..HELD).map(|_| tokio::spawn(client.get("/slow?ms=400"))).collect();
        eventually("the app has the first of them", async || (agent.log.count("/slow") == 1).then_some(()))
            .await;
        let answered = Arc::new(AtomicUsize::new(0));
        let kept = (0..BUSY).map(|_| tokio::spawn(client.until_refused(answered.clone())));
        let anew = (0..BUSY).map(|_| tokio::spawn(client.anew_until_refused(answered.clone())));
        let busy: Vec<_> = kept.chain(anew).collect();
        agent.terminate();
        for request in held {
            assert_eq!(request.await.expect("a request in flight is answered").0, 200);
        }
        for client in busy {
            client.await.expect("a client is served or refused, and never sees a torn or failed answer");
        }
        assert_eq!(agent.ended().await, 0, "gunicorn ends so when it is told to");
        assert_eq!(answered.load(Ordering::Relaxed) + HELD, agent.log.lines(), "answers of the app, its log");
    })
    .await;
}

/// A worker that has served its share ends and another takes its place, in the midst of the load.
#[tokio::test]
async fn workers_that_are_replaced_under_load_fail_no_request() {
    const REQUESTS: usize = 1_000;
    const A_WORKER: u32 = 50;
    const WORKERS_MIN: usize = 10;
    run(App::Flask { requests_a_worker: A_WORKER }, async |app| {
        let agent = Agent::start(app).await;
        assert_eq!(Client::of(agent.public).load(REQUESTS, CONNECTIONS).await, REQUESTS);
        assert_eq!(agent.log.lines(), REQUESTS);
        let log = agent.log.text();
        let workers: HashSet<&str> = log.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert!(workers.len() >= WORKERS_MIN, "{} workers served", workers.len());
        let answered = async || agent.metric_of("outrigger_requests_total", "answered").await;
        eventually_is("requests that were answered", REQUESTS as f64, answered).await;
    })
    .await;
}
