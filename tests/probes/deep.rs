//! The health pages of the real binary while a database is frozen, and after it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, Page};
use crate::postgres::cluster::Cluster;
use crate::server::eventually;

/// Callers at once.
const CALLERS: usize = 100;
/// What is promised of the deep page, and of the shallow one.
const DEEP_WITHIN: Duration = Duration::from_secs(5);
/// A machine that runs other tests beside this one may be late by so much.
const LATE_MAX: Duration = Duration::from_secs(10);

async fn all_at_once(agent: &Arc<Agent>, path: &'static str) -> Vec<Page> {
    let ask = |_| {
        let agent = Arc::clone(agent);
        tokio::spawn(async move { agent.get(agent.public, path).await })
    };
    let asked: Vec<_> = (0..CALLERS).map(ask).collect();
    let mut pages = Vec::with_capacity(CALLERS);
    for page in asked {
        pages.push(page.await.expect("no caller panics"));
    }
    pages
}

/// Rounds that the agent has made of its only probe.
async fn rounds(agent: &Agent) -> u64 {
    let page = agent.get(agent.admin, "/api/probes").await;
    let rounds = page.body["probes"][0]["rounds"].as_object().cloned().unwrap_or_default();
    rounds.values().filter_map(Value::as_u64).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_database_keeps_nobody_waiting_and_a_hundred_callers_make_few_rounds() {
    let Some(cluster) = Cluster::start("").await else { return };
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port);
    let agent = Arc::new(Agent::start(&[("DATABASE_URL", &url), ("OUTRIGGER__HEALTH__MAX_AGE", "0s")]).await);
    let well = agent.get(agent.public, "/api/health/deep").await;
    assert_eq!(
        (well.status, &well.body["checks"]["postgres"]["status"]),
        (200, &"ok".into()),
        "{}",
        well.body
    );
    assert!(
        well.body["checks"]["postgres"]["details"].is_null(),
        "the public is told no details: {}",
        well.body
    );
    let inside = agent.get(agent.admin, "/api/health/deep").await.body;
    assert_eq!(inside["checks"]["postgres"]["details"]["role"], "primary", "{inside}");

    cluster.signal_all(nix::sys::signal::Signal::SIGSTOP);
    let before = rounds(&agent).await;
    let deep = all_at_once(&agent, "/api/health/deep").await;
    let made = rounds(&agent).await - before;
    let slowest = deep.iter().map(|page| page.took).max().expect("there are callers");
    for page in &deep {
        assert_eq!(
            (page.status, &page.body["checks"]["postgres"]["status"]),
            (503, &"failed".into()),
            "{}",
            page.body
        );
    }
    println!("{CALLERS} callers of the deep page: the slowest was answered after {slowest:?}, {made} rounds");
    assert!(slowest < DEEP_WITHIN + LATE_MAX, "{slowest:?}");
    assert!(made <= 4, "{made} rounds for {CALLERS} callers");
    let shallow = all_at_once(&agent, "/api/health").await;
    let slowest = shallow.iter().map(|page| page.took).max().expect("there are callers");
    println!("{CALLERS} callers of the shallow page: the slowest was answered after {slowest:?}");
    assert!(shallow.iter().all(|page| page.status == 200), "the app itself is well");
    let words = agent.get(agent.admin, "/api/health/deep").await.body;
    let error = words["checks"]["postgres"]["error"].as_str().unwrap_or_default();
    assert!(error.contains("did not come within") || error.contains("no answer yet"), "{words}");

    cluster.signal_all(nix::sys::signal::Signal::SIGCONT);
    eventually("the database is well again", async || {
        let page = agent.get(agent.public, "/api/health/deep").await;
        (page.status == 200 && page.body["status"] == "healthy").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_dependencys_health_are_recorded_and_told_in_the_metrics() {
    let Some(mut cluster) = Cluster::start("").await else { return };
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port);
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("OUTRIGGER__PROBES__INTERVAL", "1s"),
        ("OUTRIGGER__PROBES__TIMEOUT", "500ms"),
    ];
    let agent = Agent::start(&environment).await;
    let recorded = async |event: &str| {
        let page = agent.get(agent.admin, "/api/records?limit=100").await;
        let records = page.body["records"].as_array().cloned().unwrap_or_default();
        records.into_iter().find(|record| record["event"] == event && record["from"] != "unknown")
    };
    eventually("it was asked", async || (rounds(&agent).await > 0).then_some(())).await;
    cluster.kill();
    let degraded = eventually("health.degraded", async || recorded("health.degraded").await).await;
    assert_eq!((&degraded["probe"], &degraded["to"]), (&"postgres".into(), &"failed".into()), "{degraded}");
    assert!(degraded["why"].as_str().is_some_and(|why| why.contains("refused")), "{degraded}");
    cluster.up().await;
    let recovered = eventually("health.recovered", async || recorded("health.recovered").await).await;
    assert_eq!(recovered["to"], "ok", "{recovered}");
}
