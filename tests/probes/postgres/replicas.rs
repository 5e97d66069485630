//! A primary and its streaming replica: idle, paused, gone, promoted.

use outrigger::config::probes::{Postgres, Role};
use outrigger::engine::health::{FactValue, Health};
use std::time::Duration;

use crate::asked::{fact, number, why};
use crate::postgres::cluster::{Cluster, ask, start};
use crate::postgres::faults::{until_well, until_words};
use crate::server::eventually;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_as_far_behind_as_it_truly_is() {
    let Some(primary) = Cluster::start("").await else { return };
    let mut replica = primary.replica().await;
    let of_primary = start(primary.ask("postgres"));
    let lag_max = Duration::from_secs(2);
    let of_replica = start(Postgres { lag_max, ..replica.ask("postgres") });
    let state = of_primary
        .until("the replica is seen", |state| why(state).is_empty() && number(state, "replicas") == 1.0)
        .await;
    assert_eq!(*fact(&state, "role"), FactValue::Text("primary".to_owned()));
    // Nothing is written for longer than the limit: whoever only looks at the last transaction's age sees a lag.
    let client = replica.connect("postgres").await.expect("it answers");
    eventually("the last transaction is old", async || {
        let sql = "select coalesce(extract(epoch from now() - pg_last_xact_replay_timestamp()) > 3, true)";
        client.query_one(sql, &[]).await.expect("it may").get::<_, bool>(0).then_some(())
    })
    .await;
    let state = of_replica.until_health(Health::Ok).await;
    assert_eq!(*fact(&state, "role"), FactValue::Text("replica".to_owned()));
    assert_eq!(*fact(&state, "receiver"), FactValue::Text("streaming".to_owned()));
    assert_eq!((number(&state, "lag_seconds"), number(&state, "lag_bytes")), (0.0, 0.0));

    replica.sql("select pg_wal_replay_pause()").await;
    primary.sql("create table t as select generate_series(1, 50000) as i").await;
    let state = of_replica.until("it is behind", |state| why(state).contains("MB) behind its primary")).await;
    assert!(why(&state).contains("replay is paused on the replica"), "{}", why(&state));
    assert!(number(&state, "lag_bytes") > 1e6);
    assert!(number(&state, "lag_seconds") > 2.0);
    // The primary sees it too, in the only figure that does not lie.
    of_primary.until("the primary sees it", |state| number(state, "replica_lag_bytes") > 1e6).await;
    replica.sql("select pg_wal_replay_resume()").await;
    until_well(&of_replica).await;
    of_primary.until("the primary sees it end", |state| number(state, "replica_lag_bytes") == 0.0).await;

    replica.kill();
    until_words(&of_primary, "a replica that was streaming (walreceiver at 127.0.0.1) is gone since").await;
    until_words(&of_replica, "Connection refused").await;
    replica.up().await;
    until_well(&of_primary).await;
    until_well(&of_replica).await;
    drop((of_primary, of_replica));
    primary.until_none_is_left().await;
    replica.until_none_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wanted_role_is_looked_for_among_the_servers_and_followed() {
    let Some(mut primary) = Cluster::start("").await else { return };
    let replica = primary.replica().await;
    let (first, second) = (primary.port, replica.port);
    let role = |role: Role, ports: &[u16]| start(Postgres { role, ..ask(ports, "postgres", "postgres") });
    let wrong = role(Role::Primary, &[second]);
    until_words(&wrong, &format!("127.0.0.1:{second} is a replica; a primary is wanted")).await;
    assert!(replica.ours().await <= 1, "who is not wanted is left");
    let reader = role(Role::Replica, &[first, second]);
    let writer = role(Role::Primary, &[second, first]);
    let follows = |address: u16| FactValue::Text(format!("127.0.0.1:{address}"));
    let state = reader.until("all is well", |state| why(state).is_empty()).await;
    assert_eq!(*fact(&state, "address"), follows(second));
    let state = writer.until("all is well", |state| why(state).is_empty()).await;
    assert_eq!(*fact(&state, "address"), follows(first));

    // Its primary gone, a replica receives nothing, and says so although nothing is left to be replayed.
    primary.kill();
    until_words(&reader, "the replica does not receive from its primary").await;
    until_words(
        &writer,
        &format!("127.0.0.1:{second} is a replica; a primary is wanted; no connection to 127.0.0.1:{first}"),
    )
    .await;
    replica.sql("select pg_promote()").await;
    let state = writer.until("the promoted one is taken", |state| why(state).is_empty()).await;
    assert_eq!(*fact(&state, "address"), follows(second));
    until_words(&reader, &format!("127.0.0.1:{second} is a primary; a replica is wanted")).await;
    drop((wrong, reader, writer));
    replica.until_none_is_left().await;
}
