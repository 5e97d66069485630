//! One server: killed, frozen, slow, full, loading, unable to save.

use std::time::Duration;

use outrigger::config::probes::Ask;
use outrigger::engine::health::{FactValue, Found, Health};

use crate::asked::{Asked, fact, number, options, why};
use crate::redis::node::{Node, can_run, redis, start};
use crate::server::eventually;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_or_frozen_has_failed_until_it_is_back() {
    if !can_run() {
        return;
    }
    let mut node = Node::start(&["--save", ""]).await;
    let asked = start(node.redis());
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(why(&state), "");
    assert_eq!(*fact(&state, "role"), FactValue::Text("primary".to_owned()));
    assert_eq!(*fact(&state, "address"), FactValue::Text(format!("127.0.0.1:{}", node.port)));
    assert_eq!(*fact(&state, "loading"), FactValue::Truth(false));
    assert!(matches!(fact(&state, "server_version"), FactValue::Text(version) if version.contains('.')));
    assert!(number(&state, "memory_used_bytes") > 100_000.0);
    assert!(number(&state, "clients_connected") >= 1.0);
    assert_eq!(node.ours(), 1, "one connection is kept");

    node.kill();
    let state = asked.until_health(Health::Failed).await;
    assert_eq!(
        why(&state),
        format!("no connection to 127.0.0.1:{}: Connection refused (os error 111)", node.port)
    );
    node.restart(&[]).await;
    asked.until_health(Health::Ok).await;
    assert_eq!(node.ours(), 1);

    node.server.freeze();
    let state = asked.until_health(Health::Failed).await;
    assert!(why(&state).ends_with("did not come within 1s"), "{}", why(&state));
    node.server.thaw();
    asked.until_health(Health::Ok).await;
    // Those that were given up while it was frozen have closed.
    eventually("one connection is left", async || (node.ours() == 1).then_some(())).await;
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_ask_is_told_as_load() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", ""]).await;
    let asked = start(node.redis());
    asked.until("two rounds", |state| state.rounds[0] >= 2).await;
    asked.prober.take();
    let told = |wanted: u64| {
        let prober = asked.prober.clone();
        let mut sum = 0;
        async move {
            eventually("the load is told", async || {
                sum += prober.take().iter().filter_map(|tick| tick.load).sum::<u64>();
                (sum >= wanted).then_some(sum)
            })
            .await
        }
    };
    node.tell(&["eval", "for i = 1, 500 do redis.call('set', 'a', i) end", "0"]);
    // Its own client asks a little more than what it was told to.
    let load = told(501).await;
    assert!((501..520).contains(&load), "{load}");
    let before = asked.state().rounds[0];
    asked.until("rounds in which nobody asks", |state| state.rounds[0] >= before + 4).await;
    let idle: u64 = asked.prober.take().iter().filter_map(|tick| tick.load).sum();
    assert_eq!(idle, 0, "our own commands are not counted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_server_is_degraded() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", "", "--enable-debug-command", "yes"]).await;
    let mut options = options("cache", "redis://127.0.0.1", Ask::Redis(node.redis()));
    options.degraded_above = Some(Duration::from_millis(40));
    let asked = Asked::start(options);
    asked.until_health(Health::Ok).await;
    // It answers nobody meanwhile.
    let slow = async {
        eventually("it is degraded", async || {
            node.tell(&["debug", "sleep", "0.5"]);
            (asked.state().health == Health::Degraded).then_some(())
        })
        .await;
    };
    tokio::join!(slow, async {
        let state = asked.until_health(Health::Degraded).await;
        assert!(why(&state).starts_with("the answer took "), "{}", why(&state));
        assert!(why(&state).ends_with(" ms; 40ms is allowed"), "{}", why(&state));
    });
    asked.until_health(Health::Ok).await;

    // Paused for longer than a round may take, it gives no answer at all.
    node.tell(&["client", "pause", "8000", "ALL"]);
    let state = asked.until_health(Health::Failed).await;
    let text = why(&state);
    assert!(text.starts_with("the answer to ") && text.ends_with(" did not come within 1s"), "{text}");
    // It ends by itself.
    asked.until_health(Health::Ok).await;
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_that_is_nearly_used_up_is_told_before_writes_fail() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", ""]).await;
    let asked = start(node.redis());
    asked.until_health(Health::Ok).await;
    let used: u64 = node.info("used_memory").and_then(|used| used.parse().ok()).expect("it tells");
    node.tell(&["config", "set", "maxmemory", &(used + used / 30).to_string()]);
    let state = asked.until_health(Health::Degraded).await;
    let text = why(&state);
    assert!(text.starts_with("it uses 9") && text.contains(" % of its maxmemory ("), "{text}");
    assert!(text.ends_with("): when it is full it refuses writes"), "{text}");
    assert!(number(&state, "memory_max_bytes") > used as f64);

    node.tell(&["config", "set", "maxmemory", "0"]);
    asked.until_health(Health::Ok).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_loads_its_data_or_cannot_save_says_so() {
    if !can_run() {
        return;
    }
    let mut node = Node::start(&["--save", "3600 1", "--enable-debug-command", "yes"]).await;
    let asked = start(node.redis());
    asked.until_health(Health::Ok).await;

    // No file can take the place of a folder that is not empty.
    let dump = node.folder.path().join("dump.rdb");
    std::fs::create_dir_all(dump.join("taken")).expect("there is room");
    node.tell(&["set", "a", "1"]);
    node.tell(&["bgsave"]);
    let state = asked.until_health(Health::Failed).await;
    let refused =
        format!("127.0.0.1:{} refused PING: MISCONF Redis is configured to save RDB snapshots", node.port);
    assert!(why(&state).starts_with(&refused), "{}", why(&state));
    // Where writes are not refused, it is still to be told.
    node.tell(&["config", "set", "stop-writes-on-bgsave-error", "no"]);
    let state = asked.until_health(Health::Degraded).await;
    assert!(why(&state).starts_with("its last save to disk failed"), "{}", why(&state));
    std::fs::remove_dir_all(&dump).expect("it is there");
    eventually("it saves again", async || {
        node.tell(&["bgsave"]);
        (node.info("rdb_last_bgsave_status")? == "ok").then_some(())
    })
    .await;
    asked.until_health(Health::Ok).await;

    node.tell(&["debug", "populate", "30000", "k", "10"]);
    node.tell(&["save"]);
    node.relaunch(&["--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024"]);
    let state = asked.until("it loads", |state| why(state).contains("loading")).await;
    let loading = format!("127.0.0.1:{} is loading its data: ", node.port);
    assert!(why(&state).starts_with(&loading), "{}", why(&state));
    assert_eq!(state.last.as_ref().expect("a round").found, Found::Failed);
    asked.until_health(Health::Ok).await;
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_is_told_by_the_connection_that_was_there_before() {
    if !can_run() {
        return;
    }
    let node = Node::start(&["--save", "", "--maxclients", "4"]).await;
    let asked = start(node.redis());
    asked.until_health(Health::Ok).await;
    let crowd: Vec<std::net::TcpStream> = (0..3)
        .map(|_| std::net::TcpStream::connect(("127.0.0.1", node.port)).expect("there is room"))
        .collect();
    // Only when its connection is half a minute old is a new one made.
    let state = asked.until_health(Health::Failed).await;
    assert_eq!(
        why(&state),
        format!(
            "127.0.0.1:{} refused the connection: ERR max number of clients reached; a connection made before still \
             answers, and says that 4 of 4 clients are connected",
            node.port
        )
    );
    drop(crowd);
    asked.until_health(Health::Ok).await;
    assert_eq!(node.ours(), 1);
    node.nobody_is_left(asked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_asked_over_a_unix_socket() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().expect("there is room");
    let path = folder.path().join("redis.sock").to_str().expect("it is text").to_owned();
    let asked = start(redis(&path, 0));
    let state = asked.until_health(Health::Failed).await;
    assert_eq!(why(&state), format!("no connection to {path}: No such file or directory (os error 2)"));
    let node = Node::start(&["--save", "", "--unixsocket", &path]).await;
    let state = asked.until_health(Health::Ok).await;
    assert_eq!(*fact(&state, "address"), FactValue::Text(path));
    node.nobody_is_left(asked).await;
}
