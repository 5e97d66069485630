//! A server whose places are all taken.

use outrigger::config::probes::Postgres;
use outrigger::engine::health::Health;
use tokio_postgres::Client;

use crate::asked::{number, why};
use crate::postgres::cluster::{Cluster, start};
use crate::postgres::faults::{load, until_well, until_words};
use crate::server::eventually;

/// Takes all places that are left.
async fn fill(cluster: &Cluster) -> Vec<Client> {
    let mut clients = Vec::new();
    while let Ok(client) = cluster.connect("app").await {
        clients.push(client);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_seen_coming_and_told_with_its_figures() {
    let Some(cluster) = Cluster::start("max_connections = 13\n").await else { return };
    cluster.sql("create role app login").await;
    let asked = start(cluster.ask("app"));
    asked.until_health(Health::Ok).await;
    let crowd = fill(&cluster).await;
    // The session that is kept sees it.
    let state = asked
        .until("its places are counted", |state| why(state).contains("10 of 10 connections are in use"))
        .await;
    assert_eq!(number(&state, "connections_used"), 10.0);
    assert_eq!(number(&state, "connections_max"), 10.0);
    asked.until_health(Health::Degraded).await;
    // Who comes now has nobody to count for him.
    let late = start(Postgres { ..cluster.ask("app") });
    until_words(&late, "takes no more connections: ").await;
    assert!(why(&late.state()).contains("remaining connection slots are reserved"), "{}", why(&late.state()));
    // In half a minute the kept session is to be made anew, and cannot.
    until_words(&asked, "10 of 10 connections are in use; the session made before still answers").await;
    asked.until_health(Health::Failed).await;
    let client = &crowd[0];
    for _ in 0..100 {
        client.simple_query("select 1").await.expect("it answers");
    }
    drop(crowd);
    until_well(&asked).await;
    // The life of the server goes on, and with it its counters.
    let app = cluster.connect("app").await.expect("there is a place");
    for _ in 0..100 {
        app.simple_query("select 1").await.expect("it answers");
    }
    drop(app);
    let mut sum = 0;
    eventually("what was asked is counted", async || {
        sum += load(&asked);
        (sum >= 100).then_some(())
    })
    .await;
    assert!(cluster.ours().await <= 3);
    drop((asked, late));
    cluster.until_none_is_left().await;
}
