//! A pgbouncer in transaction mode before the server, and its pool exhausted.

use std::time::Duration;

use outrigger::engine::health::{FactValue, Health};
use tokio::task::JoinSet;

use crate::asked::{Asked, fact, number, why};
use crate::postgres::cluster::{Bouncer, Cluster, ask, connect, start, start_patient};
use crate::postgres::faults::{until_well, until_words};
use crate::server::eventually;

/// Four clients in a pool of two, for as long as it is kept.
async fn exhaust(port: u16) -> JoinSet<()> {
    let mut sleepers = JoinSet::new();
    for _ in 0..4 {
        let client = connect(port, "plain", "app").await.expect("it answers");
        sleepers.spawn(async move {
            loop {
                client.simple_query("select pg_sleep(2)").await.expect("it sleeps");
            }
        });
    }
    sleepers
}

/// The real server logs no more than one question for a database that it has not.
fn facts(asked: &Asked, names: &[&str]) -> Vec<bool> {
    let state = asked.state();
    let facts = &state.last.as_ref().expect("there was a round").facts;
    names.iter().map(|name| facts.iter().any(|fact| fact.name == *name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_told_by_whoever_may_see_it() {
    let Some(cluster) = Cluster::start("").await else { return };
    cluster.sql("create role app login; create role watcher login; create role plain login").await;
    let Some(mut bouncer) = Bouncer::start(&cluster).await else { return };
    let port = bouncer.port;
    let watcher = start_patient(ask(&[port], "watcher", "app"), Duration::from_secs(10));
    let plain = start(ask(&[port], "plain", "app"));
    for asked in [&watcher, &plain] {
        let state = asked.until("all is well", |state| why(state).is_empty()).await;
        assert_eq!(*fact(&state, "pgbouncer"), FactValue::Truth(true));
        assert_eq!(*fact(&state, "role"), FactValue::Text("primary".to_owned()));
        assert_eq!(number(&state, "connections_max"), 97.0);
        let address = FactValue::Text(format!("127.0.0.1:{port}"));
        assert_eq!(*fact(&state, "address"), address, "the pooler's, for that is what was asked");
    }
    let pool = [
        "pool_clients_active",
        "pool_clients_waiting",
        "pool_servers_active",
        "pool_servers_idle",
        "pool_wait_seconds",
    ];
    assert_eq!(facts(&watcher, &pool), [true; 5]);
    assert_eq!(facts(&plain, &pool), [false; 5]);

    let sleepers = exhaust(port).await;
    watcher
        .until("clients wait", |state| why(state).contains("for a connection of the pool, the longest for"))
        .await;
    watcher.until_health(Health::Degraded).await;
    let words = format!(
        "the answer of 127.0.0.1:{port} to `select 1`, through pgbouncer's pool, did not come within 1s"
    );
    until_words(&plain, &words).await;
    drop(sleepers);
    watcher.until_health(Health::Ok).await;
    plain.until_health(Health::Ok).await;

    let server = cluster.connect("postgres").await.expect("it answers");
    let row = server.query_one("select count(*) from pg_stat_activity where usename = 'app'", &[]).await;
    assert!(row.expect("it may").get::<_, i64>(0) <= 2, "the pool is not left");
    bouncer.kill();
    until_words(&plain, "Connection refused").await;
    drop((watcher, plain));
    // Where pgbouncer is, nobody asked the server itself for a database of that name.
    eventually("the server's log can be read", async || {
        std::fs::read_to_string(cluster.folder().join("log")).ok()
    })
    .await
    .lines()
    .for_each(|line| assert!(!line.contains("database \"pgbouncer\""), "{line}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_pooler_is_asked_for_one_once() {
    let Some(cluster) = Cluster::start("").await else { return };
    let asked = start(cluster.ask("postgres"));
    asked.until_health(Health::Ok).await;
    for _ in 0..3 {
        cluster.end_ours().await;
        until_well(&asked).await;
    }
    let log = std::fs::read_to_string(cluster.folder().join("log")).expect("it writes one");
    let asked_for = log.lines().filter(|line| line.contains("database \"pgbouncer\" does not exist")).count();
    assert_eq!(asked_for, 1, "{log}");
}
