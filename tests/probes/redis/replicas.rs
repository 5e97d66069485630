//! A replica, and three Sentinels that name the primary.

use std::time::Duration;

use outrigger::config::probes::{Redis, Role, Sentinel, Server as Address};
use outrigger::engine::health::{FactValue, Health, ProbeState};

use crate::asked::{fact, number, why};
use crate::redis::node::{Node, can_run, secret, start};
use crate::server::eventually;

/// What primary and replica share: they notice soon that the other one is gone.
const LINKED: [&str; 6] =
    ["--save", "", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"];

async fn replica_of(primary: &Node, more: &[&str]) -> Node {
    let (port, linked) = (primary.port.to_string(), LINKED);
    let words: Vec<&str> =
        linked.iter().chain(more).copied().chain(["--replicaof", "127.0.0.1", &port]).collect();
    let replica = Node::start(&words).await;
    eventually("the replica is linked", async || (replica.info("master_link_status")? == "up").then_some(()))
        .await;
    replica
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_and_a_replica_that_is_gone_are_told_until_they_are_back() {
    if !can_run() {
        return;
    }
    let mut primary = Node::start(&LINKED).await;
    let mut replica = replica_of(&primary, &[]).await;
    let lag_max = Duration::from_secs(2);
    let on_replica = start(Redis { role: Role::Replica, lag_max, ..replica.redis() });
    let on_primary = start(Redis { role: Role::Primary, ..primary.redis() });
    let wrong = start(Redis { role: Role::Primary, ..replica.redis() });
    let state = on_replica.until_health(Health::Ok).await;
    assert_eq!(*fact(&state, "role"), FactValue::Text("replica".to_owned()));
    assert_eq!(*fact(&state, "link"), FactValue::Text("up".to_owned()));
    assert!(number(&state, "lag_seconds") <= 2.0);
    let state = on_primary.until_health(Health::Ok).await;
    assert_eq!(number(&state, "replicas"), 1.0);
    let state = wrong.until_health(Health::Failed).await;
    assert_eq!(why(&state), format!("127.0.0.1:{} is a replica, and should be a primary", replica.port));
    assert_eq!(replica.ours(), 2, "one of each probe");
    drop(wrong);

    // Frozen, the primary keeps the link and sends nothing.
    primary.server.freeze();
    let state = on_replica.until_health(Health::Degraded).await;
    let silent = format!("it has heard nothing from its primary 127.0.0.1:{} for ", primary.port);
    assert!(why(&state).starts_with(&silent), "{}", why(&state));
    primary.server.thaw();
    on_replica.until_health(Health::Ok).await;
    primary.kill();
    let state = on_replica.until_health(Health::Degraded).await;
    let down = format!("its link to the primary 127.0.0.1:{} is down since ", primary.port);
    assert!(why(&state).starts_with(&down), "{}", why(&state));
    primary.restart(&[]).await;
    on_replica.until_health(Health::Ok).await;

    on_primary
        .until("it has its replica again", |state| {
            state.health == Health::Ok && number(state, "replicas") == 1.0
        })
        .await;
    replica.kill();
    let state = on_primary.until_health(Health::Degraded).await;
    let gone = format!("its replica 127.0.0.1:{} is gone since ", replica.port);
    assert!(why(&state).starts_with(&gone), "{}", why(&state));
    replica.restart(&[]).await;
    on_primary.until_health(Health::Ok).await;
    drop(on_replica);
    primary.nobody_is_left(on_primary).await;
}

/// A Sentinel that watches `primary` as `app`, and needs a password itself.
async fn sentinel_of(primary: &Node) -> Node {
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("sentinel.conf");
    let watch = format!(
        "requirepass guard\nsentinel monitor app 127.0.0.1 {} 2\nsentinel auth-pass app pw\n\
         sentinel down-after-milliseconds app 1500\nsentinel failover-timeout app 6000\nsentinel sentinel-pass guard\n",
        primary.port
    );
    std::fs::write(&path, watch).expect("the folder is there");
    let words = vec![path.to_str().expect("it is text").to_owned(), "--sentinel".to_owned()];
    Node::start_in(folder, words, vec!["-a".to_owned(), "guard".to_owned()]).await
}

async fn three_sentinels(primary: &Node) -> Vec<Node> {
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        sentinels.push(sentinel_of(primary).await);
    }
    for sentinel in &sentinels {
        eventually("the Sentinels know each other and the replica", async || {
            let told = sentinel.tell(&["info", "sentinel"]);
            told.contains("slaves=1,sentinels=3").then_some(())
        })
        .await;
    }
    sentinels
}

fn names(state: &ProbeState, node: &Node) -> bool {
    let facts = state.last.as_ref().map_or(&[][..], |round| &round.facts);
    let named = FactValue::Text(format!("127.0.0.1:{}", node.port));
    facts.iter().any(|fact| fact.name == "primary" && fact.value == named)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinels_is_followed() {
    if !can_run() {
        return;
    }
    let passwords = ["--requirepass", "pw", "--masterauth", "pw"];
    let words: Vec<&str> = LINKED.into_iter().chain(passwords).collect();
    let mut primary = Node::start(&words).await;
    let replica = replica_of(&primary, &passwords).await;
    let mut sentinels = three_sentinels(&primary).await;
    let through = |name: &str| Redis {
        servers: sentinels
            .iter()
            .map(|node| Address { host: "127.0.0.1".to_owned(), port: node.port })
            .collect(),
        sentinel: Some(Sentinel { primary: name.to_owned(), user: None, password: secret("guard") }),
        password: secret("pw"),
        ..primary.redis()
    };
    let unknown = start(through("other"));
    let state = unknown.until_health(Health::Failed).await;
    assert_eq!(why(&state), "the Sentinels know no primary `other`");
    drop(unknown);

    let asked = start(through("app"));
    let state = asked
        .until("all Sentinels were asked", |state| {
            let facts = state.last.as_ref().map_or(&[][..], |round| &round.facts);
            facts.iter().any(|fact| fact.name == "sentinels_up")
        })
        .await;
    assert!(names(&state, &primary));
    assert_eq!(number(&state, "sentinels"), 3.0);
    assert_eq!(number(&state, "sentinels_up"), 3.0);
    assert!(sentinels.iter().all(|sentinel| sentinel.ours() <= 1));

    primary.kill();
    asked.until("the failure is seen", |state| state.failed_in_a_row() > 0).await;
    eventually("the Sentinels have chosen", async || (replica.info("role")? == "master").then_some(())).await;
    let before = asked.state().rounds.iter().sum::<u64>();
    let state = asked.until("the failover is followed", |state| names(state, &replica)).await;
    let rounds = state.rounds.iter().sum::<u64>() - before;
    assert!(rounds <= 8, "it took {rounds} rounds, at a quarter of a second each while the Sentinels agree");
    asked.until_health(Health::Ok).await;

    // The old primary comes back believing that it still is one, until the Sentinels tell it otherwise.
    primary.restart(&[]).await;
    eventually("it follows now", async || (primary.info("role")? == "slave").then_some(())).await;
    let state = asked.until_health(Health::Ok).await;
    assert!(names(&state, &replica));
    assert_eq!(primary.ours(), 0);
    assert_eq!(replica.ours(), 1);

    sentinels[0].kill();
    sentinels[1].kill();
    let state = asked.until_health(Health::Degraded).await;
    assert!(why(&state).starts_with("only 1 of 3 Sentinels answer, too few for a failover (127.0.0.1:"));
    sentinels[2].kill();
    replica.tell(&["client", "kill", "type", "normal"]);
    let state = asked.until_health(Health::Failed).await;
    let refused = |node: &Node| format!("127.0.0.1:{}: Connection refused (os error 111)", node.port);
    let all: Vec<String> = sentinels.iter().map(refused).collect();
    assert_eq!(why(&state), format!("no Sentinel answers ({})", all.join(", ")));
    for sentinel in &mut sentinels {
        sentinel.restart(&[]).await;
    }
    asked.until_health(Health::Ok).await;
    drop(asked);
    let everybody: Vec<&Node> = sentinels.iter().chain([&primary, &replica]).collect();
    eventually("no connection is left", async || everybody.iter().all(|node| node.ours() == 0).then_some(()))
        .await;
}
