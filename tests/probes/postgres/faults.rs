//! A server that is well, killed, frozen, shutting down or not up yet; and the least that the probe may leave behind.

use std::time::Duration;

use nix::sys::signal::Signal;
use outrigger::engine::health::{FactValue, Health};

use crate::asked::{Asked, WAIT, fact, number, why};
use crate::postgres::cluster::{Cluster, start};
use crate::server::eventually;

/// Between two looks at the state.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Waits until the last words hold that. Every round is looked at, the unconfirmed ones too.
pub(crate) async fn until_words(asked: &Asked, words: &str) {
    let state = tokio::time::timeout(WAIT, async {
        while !why(&asked.state()).contains(words) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    assert!(state.await.is_ok(), "waited in vain for `{words}`; last: {:#?}", asked.state());
}

/// Waits until a round has nothing to say against it.
pub(crate) async fn until_well(asked: &Asked) {
    asked.until("all is well", |state| why(state).is_empty()).await;
}

/// What was asked of the dependency since the last call, as far as it is known.
pub(crate) fn load(asked: &Asked) -> u64 {
    asked.prober.take().iter().filter_map(|tick| tick.load).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_well_server_tells_its_facts_to_a_user_with_the_least_rights() {
    let Some(cluster) = Cluster::start("").await else { return };
    cluster
        .sql(
            "create role least login; create table schema_migrations (version text); \
             insert into schema_migrations values ('20240101'), ('20250607'); \
             grant select on schema_migrations to least",
        )
        .await;
    let asked = start(cluster.ask("least"));
    let state = asked.until("all is well", |state| why(state).is_empty()).await;
    assert_eq!(*fact(&state, "role"), FactValue::Text("primary".to_owned()));
    assert_eq!(*fact(&state, "address"), FactValue::Text(format!("127.0.0.1:{}", cluster.port)));
    assert_eq!(*fact(&state, "pgbouncer"), FactValue::Truth(false));
    assert_eq!(*fact(&state, "schema_version"), FactValue::Text("20250607".to_owned()));
    assert!(matches!(fact(&state, "server_version"), FactValue::Text(text) if text.starts_with('1')));
    assert_eq!(number(&state, "connections_max"), 97.0);
    assert!(number(&state, "connections_used") >= 1.0);
    let round = state.last.as_ref().expect("there was a round");
    assert!(round.latency.expect("there was an answer") <= round.took);

    // What others ask is the load; what the probe asks is not.
    let app = cluster.connect("postgres").await.expect("it answers");
    load(&asked);
    for _ in 0..300 {
        app.simple_query("select 1").await.expect("it answers");
    }
    // The server gathers a session's counts, for seconds or until it ends.
    drop(app);
    let mut sum = 0;
    eventually("all that was asked is counted", async || {
        sum += load(&asked);
        (sum >= 300).then_some(())
    })
    .await;
    assert!(sum < 330, "{sum} were counted, and 300 were asked");
    assert!(cluster.ours().await <= 2);
    drop(asked);
    cluster.until_none_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_has_failed_until_it_is_back() {
    let Some(mut cluster) = Cluster::start("").await else { return };
    let asked = start(cluster.ask("postgres"));
    asked.until_health(Health::Ok).await;
    // A session that is ended, and can be made again at once, is nothing to speak of.
    cluster.end_ours().await;
    until_well(&asked).await;
    cluster.kill();
    until_words(&asked, &format!("no connection to 127.0.0.1:{}: Connection refused", cluster.port)).await;
    asked.until_health(Health::Failed).await;
    cluster.up().await;
    asked.until_health(Health::Ok).await;
    assert!(cluster.ours().await <= 2);
    drop(asked);
    cluster.until_none_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_is_given_up_each_round_and_found_again_when_it_thaws() {
    let Some(cluster) = Cluster::start("").await else { return };
    let port = cluster.port;
    let asked = start(cluster.ask("postgres"));
    asked.until_health(Health::Ok).await;
    cluster.signal_all(Signal::SIGSTOP);
    until_words(&asked, &format!("the answer of 127.0.0.1:{port} to `select 1` did not come within 1s"))
        .await;
    until_words(
        &asked,
        &format!("an answer from 127.0.0.1:{port} to a new connection did not come within 1s"),
    )
    .await;
    let state = asked.until_health(Health::Failed).await;
    let took = state.last.as_ref().expect("there was a round").took;
    assert!(took.as_secs() < 10, "a round of 1 s took {took:?}");
    cluster.signal_all(Signal::SIGCONT);
    asked.until_health(Health::Ok).await;
    drop(asked);
    cluster.until_none_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postmaster_is_found_by_the_next_new_session_while_the_kept_one_still_answers() {
    let Some(cluster) = Cluster::start("").await else { return };
    let asked = start(cluster.ask("postgres"));
    asked.until_health(Health::Ok).await;
    cluster.signal(Signal::SIGSTOP);
    // What is connected goes on, so nothing is wrong until somebody comes anew: in half a minute, the probe itself.
    until_well(&asked).await;
    let words = "to a new connection (the session kept still answers) did not come within 1s";
    until_words(&asked, words).await;
    until_words(&asked, words).await;
    cluster.signal(Signal::SIGCONT);
    asked.until_health(Health::Ok).await;
    assert!(cluster.ours().await <= 2);
    drop(asked);
    cluster.until_none_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_up_yet_or_goes_down_says_so() {
    let Some(mut cluster) = Cluster::make("hot_standby = off\n") else { return };
    // A standby that must not be read never takes sessions.
    cluster.write("data/standby.signal", "", 0o600);
    cluster.spawn();
    let asked = start(cluster.ask("postgres"));
    until_words(&asked, "takes no connections now: the database system is").await;
    cluster.kill();
    std::fs::remove_file(cluster.folder().join("data/standby.signal")).expect("it was written");
    cluster.up().await;
    until_well(&asked).await;
    drop(asked);
    cluster.until_none_is_left().await;
    // A smart shutdown waits for its last client.
    let last = cluster.connect("postgres").await.expect("it answers");
    cluster.signal(Signal::SIGTERM);
    let asked = start(cluster.ask("postgres"));
    until_words(&asked, "takes no connections now: the database system is shutting down").await;
    drop(last);
}
