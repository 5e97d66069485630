//! Several agents a deployment.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stage::app::AppPlan;
use crate::stage::edge::{self, Edge};
use crate::stage::event::{Addresses, StageEvent};
use crate::stage::http::{self as stage_http, Client};
use crate::stage::platform::Live;
use crate::stage::port::Port;
use crate::stage::tests::{PATIENCE, Scene, all_gone, boots};

async fn three() -> Scene {
    Scene::open(|options| {
        *options = options.clone().with_replicas(3);
        // Long: whoever was killed stays away while the test looks.
        options.restart_backoff = Duration::from_secs(2);
    })
    .await
}

/// Every file of a deployment's configuration.
fn configuration(scene: &Scene, replica: &str) -> String {
    std::fs::read_to_string(scene.dir.path().join(replica).join("outrigger.toml")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_that_is_killed_from_outside_is_missed_by_nobody_and_comes_back_with_an_empty_disk() {
    let mut scene = three().await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let agents = scene.stage.agents();
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    assert_eq!(names, ["r1-d1", "r2-d1", "r3-d1"]);
    let (pid, _) = agents[1].running.unwrap();
    kill(Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
    let killed = scene.until(|event| {
        let StageEvent::Exited { agent, exit, .. } = event else { return None };
        Some((agent.clone(), exit.signal))
    });
    assert_eq!(killed.await, ("r2-d1".to_owned(), Some(9)));
    for _ in 0..12 {
        assert_eq!(scene.release().await, "v1");
    }
    assert_eq!(scene.stage.edge_totals().bad_gateway, 0);
    let back = async {
        // What is told and what is shown come one after the other.
        while scene.stage.agents()[1].running.is_none_or(|(now, _)| now == pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, back).await.expect("it is started again");
    assert_eq!(boots(scene.dir.path(), "d1/r2"), "x", "nothing was kept");
    scene.stage.stop().await;
    all_gone(pid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_agent_is_told_who_it_is_and_where_all_are_and_the_key_is_nowhere_to_be_read() {
    let scene = three().await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    scene.stage.deploy("v2", AppPlan::good(1)).await.unwrap();
    let own = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("peers = ")).unwrap();
        line.trim_start_matches("peers = ").to_owned()
    };
    let texts: Vec<String> = (1..=3).map(|n| configuration(&scene, &format!("d2/r{n}"))).collect();
    for (index, text) in texts.iter().enumerate() {
        for line in [&format!("replica = \"r{}-d2\"", index + 1), "replicas = 3", "deployment = \"d2\""] {
            assert!(text.lines().any(|found| found == line), "no {line} in {text}");
        }
        let listed = text.lines().find(|line| line.starts_with("addresses = ")).unwrap();
        assert_eq!(
            listed.matches("127.0.0.1:").count(),
            6,
            "its own deployment's and the former's: {listed}"
        );
        assert!(texts.iter().all(|other| listed.contains(&own(other))), "{listed}");
    }
    let places: BTreeSet<String> = texts.iter().map(|text| own(text)).collect();
    assert_eq!(places.len(), 3);
    let pid = scene.stage.agents().last().unwrap().running.unwrap().0;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let key = environment.split('\0').find_map(|line| line.strip_prefix("OUTRIGGER_PEER_KEY=")).unwrap();
    assert_eq!(key.len(), 64);
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!line.contains(key) && texts.iter().all(|text| !text.contains(key)));
    assert!(!format!("{:?}", scene.stage).contains(key));
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_knows_nothing_of_decisions_makes_a_deployment_for_each_order() {
    let mut scene = three().await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    scene.stage.deploy("v2", AppPlan::good(1)).await.unwrap();
    assert_eq!(scene.order("a", "v2", "v1").await, (StatusCode::ACCEPTED, json!({ "deployment": "d3" })));
    assert_eq!(scene.order("a", "v2", "v1").await, (StatusCode::ACCEPTED, json!({ "deployment": "d4" })));
    scene.until(|e| matches!(e, StageEvent::WentLive { id, .. } if id == "d4").then_some(())).await;
    assert_eq!(scene.stage.rollbacks(), 2);
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_two_cannot_run_beside_one_another_the_former_is_gone_before_the_new_one_starts() {
    let mut scene = Scene::open(|options| options.recreate = true).await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    scene.stage.deploy("v2", AppPlan::good(1)).await.unwrap();
    let mut order = Vec::new();
    while order.last() != Some(&"created d2") {
        let removed = |event: &StageEvent| matches!(event, StageEvent::Removed { id } if id == "d1");
        let created = |event: &StageEvent| matches!(event, StageEvent::Created { id, .. } if id == "d2");
        let next = scene.until(|event| {
            removed(event).then_some("removed d1").or_else(|| created(event).then_some("created d2"))
        });
        order.push(next.await);
    }
    assert_eq!(order, ["removed d1", "created d2"]);
    assert_eq!(scene.release().await, "v2");
    scene.stage.stop().await;
}

#[tokio::test]
async fn the_edge_takes_turns_and_goes_past_who_refuses() {
    let (one, two) = (counted().await, counted().await);
    let closed = Port::hold().unwrap();
    let refusing = SocketAddr::from((Ipv4Addr::LOCALHOST, closed.number()));
    let at = |public| Some(Addresses { public, admin: public });
    let agents = vec![at(one.0), at(refusing), None, at(two.0)];
    let live = Live { deployment: "d1".to_owned(), release: "v1".to_owned(), agents };
    let (_kept, live) = watch::channel(Some(live));
    let edge = Arc::new(Edge::new(live));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(edge::serve(listener, edge.clone(), CancellationToken::new()));
    let client = Client::default();
    for _ in 0..30 {
        let reply = client.get(address, "/", "test", PATIENCE).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
    }
    let counts = (one.1.load(Ordering::SeqCst), two.1.load(Ordering::SeqCst));
    assert_eq!(counts, (10, 20), "whose turn it was not takes that of who refused");
    assert_eq!(edge.totals().bad_gateway, 0);
}

async fn counted() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    let counts = count.clone();
    let handler = move |_| {
        counts.fetch_add(1, Ordering::SeqCst);
        async { stage_http::json(StatusCode::OK, &json!({})) }
    };
    tokio::spawn(stage_http::serve(listener, CancellationToken::new(), Duration::ZERO, handler));
    (address, count)
}
