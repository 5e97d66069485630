//! One server: killed, frozen, full, and a replica that stands still.

use outrigger::engine::health::{FactValue, Health};

use crate::asked::{fact, number, why};
use crate::mysql::node::{Node, can_run, start};
use crate::server::{Server, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_or_frozen_has_failed_until_it_is_back() {
    if !can_run() {
        return;
    }
    let mut node = Node::start(&["--server-id=1"]).await;
    let asked = start(node.mysql());
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(why(&state), "");
    assert!(
        matches!(fact(&state, "server_version"), FactValue::Text(v) if v.starts_with("10.")),
        "{state:?}"
    );
    assert_eq!(*fact(&state, "address"), FactValue::Text(format!("127.0.0.1:{}", node.port)));
    assert_eq!(*fact(&state, "read_only"), FactValue::Truth(false));
    assert!(number(&state, "connections_used") >= 1.0);
    assert_eq!(number(&state, "connections_max"), 151.0);
    for name in ["threads_running", "slow_queries", "uptime_seconds"] {
        assert!(number(&state, name) >= 0.0);
    }
    assert_eq!(node.ours(), 1, "one connection is kept");

    asked.prober.take();
    node.tell(&"SELECT 1;".repeat(200));
    let mut load = 0;
    eventually("the load is told", async || {
        load += asked.prober.take().iter().filter_map(|tick| tick.load).sum::<u64>();
        (load >= 200).then_some(())
    })
    .await;
    assert!(load < 220, "{load}");
    let before = asked.state().rounds[0];
    asked.until("rounds in which nobody asks", |state| state.rounds[0] >= before + 4).await;
    let idle: u64 = asked.prober.take().iter().filter_map(|tick| tick.load).sum();
    // The client of the tests takes its leave.
    assert!(idle <= 1, "our own queries are not counted: {idle}");

    node.server.kill();
    let state = asked.until_health(Health::Failed).await;
    let refused = format!("no connection to 127.0.0.1:{}: Connection refused (os error 111)", node.port);
    assert_eq!(why(&state), refused);
    node.restart().await;
    asked.until_health(Health::Ok).await;

    node.server.freeze();
    let state = asked.until_health(Health::Failed).await;
    let silent = format!("the greeting of 127.0.0.1:{} did not come within 1s", node.port);
    assert_eq!(why(&state), silent);
    node.server.thaw();
    asked.until_health(Health::Ok).await;
    eventually("one connection is left", async || (node.ours() == 1).then_some(())).await;

    // A replica whose source is nowhere. That it follows is found out when the connection is made anew.
    node.tell("GRANT REPLICA MONITOR ON *.* TO app@'%'");
    node.tell("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='x'; START SLAVE");
    let failed = asked.state().rounds[2];
    let lost = node.tell("SELECT id FROM information_schema.processlist WHERE user = 'app'");
    node.tell(&format!("KILL {}", lost.trim()));
    let state = asked.until_health(Health::Degraded).await;
    assert_eq!(
        why(&state),
        "as a replica it receives nothing from its source: its thread for that says `Connecting`"
    );
    assert_eq!(state.rounds[2], failed, "a connection that was killed is no failure");
    node.tell("STOP SLAVE; RESET SLAVE ALL");
    asked.until_health(Health::Ok).await;
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_told_by_the_connection_that_was_there_before() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--max-connections=10"]).await;
    let asked = start(node.mysql());
    asked.until_health(Health::Ok).await;
    let crowd: Vec<Server> = (0..9).map(|number| node.sitter(number)).collect();
    let state = asked.until_health(Health::Degraded).await;
    assert_eq!(why(&state), "100 % of its connections are used (10 of 10)");
    // Only when its connection is half a minute old is a new one made.
    let state = asked.until_health(Health::Failed).await;
    assert_eq!(
        why(&state),
        format!(
            "127.0.0.1:{} refused the connection: ERROR 1040 (08004): Too many connections; a connection made before \
             still answers, and says that 10 of 10 connections are used",
            node.port
        )
    );
    drop(crowd);
    asked.until_health(Health::Ok).await;
    assert_eq!(node.ours(), 1);
    node.nobody_is_left(asked).await;
}
