//! The platform's life cycle, the edge and the load, on real processes and sockets.

mod orders;
mod several;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::stage::app::{AppPlan, Behaviour};
use crate::stage::event::StageEvent;
use crate::stage::http::{self as stage_http, Client, ClientError};
use crate::stage::load::Load;
use crate::stage::port::Port;
use crate::stage::{Stage, StageError, StageOptions, double};

/// Generous, for busy machines; no test waits this long unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

struct Scene {
    stage: Stage,
    events: broadcast::Receiver<StageEvent>,
    client: Client,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn open(change: impl FnOnce(&mut StageOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = StageOptions::new(double::outrigger(), dir.path().to_owned());
        options.overlap = Duration::from_millis(50);
        options.restart_backoff = Duration::from_millis(20);
        options.health_interval = Duration::from_millis(20);
        options.clone_volume = Some(copy_files);
        change(&mut options);
        let stage = Stage::start(options, Clock::start()).await.unwrap();
        let events = stage.events();
        Self { stage, events, client: Client::default(), dir }
    }

    /// Waits for an event; what comes before it is passed over.
    async fn until<T>(&mut self, wanted: impl Fn(&StageEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(&self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let reply = self.client.get(self.stage.edge_address(), path, "test", PATIENCE).await.unwrap();
        (reply.status(), serde_json::from_slice(reply.body()).unwrap())
    }

    /// Which release answers.
    async fn release(&self) -> Value {
        self.get("/").await.1["release"].clone()
    }

    async fn order(&self, decision: &str, from: &str, to: &str) -> (StatusCode, Value) {
        let body = json!({ "decision": decision, "from": from, "to": to }).to_string();
        let request = Request::builder().method(Method::POST).uri("/v1/rollbacks");
        let request = request.header("host", "platform").body(Full::from(body)).unwrap();
        let reply = self.client.send(self.stage.api_address(), request).await.unwrap();
        (reply.status(), serde_json::from_slice(reply.body()).unwrap())
    }

    async fn statuses(&self) -> Vec<(String, String)> {
        let api = self.stage.api_address();
        let reply = self.client.get(api, "/v1/deployments", "platform", PATIENCE).await.unwrap();
        let body: Value = serde_json::from_slice(reply.body()).unwrap();
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let rows = body["deployments"].as_array().unwrap();
        rows.iter().map(|row| (text(row, "release"), text(row, "status"))).collect()
    }

    fn boots(&self, deployment: &str) -> String {
        boots(self.dir.path(), deployment)
    }
}

fn boots(dir: &Path, deployment: &str) -> String {
    std::fs::read_to_string(dir.join(deployment).join("volume/boots")).unwrap()
}

/// The double keeps no database.
fn copy_files(from: &Path, to: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

fn listening(event: &StageEvent) -> Option<u32> {
    if let StageEvent::Listening { pid, .. } = event { Some(*pid) } else { None }
}

/// Whether no process of the group lives. One that has ended and whose end nobody has taken note of does not count:
/// an orphan's is taken by the machine's first process, in its own time.
fn gone(group: u32) -> bool {
    let stats = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let stat = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        // After the name, which may hold anything: state, parent, group.
        let fields: Vec<String> = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect();
        Some((fields[0].clone(), fields[2].parse::<u32>().ok()?))
    });
    !stats.into_iter().any(|(state, of)| of == group && state != "Z" && state != "X")
}

/// Waits for the end of a group that has been killed.
async fn all_gone(group: u32) {
    let ended = async {
        while !gone(group) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("no process of the group is left");
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_goes_live_once_healthy_and_stopping_leaves_no_process() {
    let mut scene = Scene::open(|_| {}).await;
    assert_eq!(scene.get("/").await.0, StatusCode::BAD_GATEWAY);
    assert_eq!(scene.stage.edge_totals().bad_gateway, 1);
    let id = scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let pid = scene.until(listening).await;
    assert_eq!(scene.release().await, "v1");
    assert_eq!(scene.stage.live().unwrap().deployment, id);
    assert!(scene.stage.admin_address().is_some());
    assert!(!gone(pid));
    scene.stage.stop().await;
    all_gone(pid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_never_answers_200_does_not_replace_the_former() {
    let mut scene = Scene::open(|options| options.health_timeout = Duration::from_secs(5)).await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    scene.until(listening).await;
    let refused = scene.stage.deploy("sick", AppPlan::good(1)).await;
    assert!(matches!(refused, Err(StageError::Unhealthy { .. })), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("503"));
    assert_eq!(scene.release().await, "v1");
    assert_eq!(scene.statuses().await, pairs(&[("v1", "live"), ("sick", "failed")]));
    let pid = scene.until(listening).await;
    all_gone(pid).await;
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_under_load_loses_no_request_and_retires_the_former() {
    let mut scene = Scene::open(|_| {}).await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let load = Load::start(scene.stage.edge_address(), 50.0, 3, Clock::start());
    scene.stage.deploy("v2", AppPlan::good(1)).await.unwrap();
    let removed = |event: &StageEvent| matches!(event, StageEvent::Removed { .. }).then_some(());
    scene.until(removed).await;
    assert_eq!(scene.release().await, "v2");
    assert_eq!(scene.statuses().await, pairs(&[("v1", "removed"), ("v2", "live")]));
    let served = load.stop().await;
    assert!(served.requests > 0);
    assert_eq!(scene.stage.edge_totals().bad_gateway, 0);
    assert_eq!(served.timed_out, 0);
    // The second release started on a copy of the first one's volume.
    assert_eq!((scene.boots("d1").as_str(), scene.boots("d2").as_str()), ("x", "xx"));
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_is_started_again_on_its_own_volume_with_no_app_left_over() {
    let mut scene = Scene::open(|_| {}).await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let first = scene.until(listening).await;
    scene.stage.kill_agent().await.unwrap();
    let signal =
        scene.until(|event| if let StageEvent::Exited { exit, .. } = event { exit.signal } else { None });
    assert_eq!(signal.await, 9);
    let second = scene.until(listening).await;
    assert_ne!(first, second);
    assert_eq!(scene.boots("d1"), "xx");
    // The platform does not ask again whether it is healthy: at first its app may not be there yet.
    let serves = async { while scene.release().await != "v1" {} };
    tokio::time::timeout(PATIENCE, serves).await.expect("it serves again");
    scene.stage.stop().await;
    all_gone(first).await;
    all_gone(second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_always_crashes_is_started_again_as_often_as_the_policy_says() {
    let mut scene = Scene::open(|options| options.restarts_max = 2).await;
    let plan = AppPlan { behave: Behaviour::Crash, after: Duration::from_millis(700), seed: 1 };
    scene.stage.deploy("v1", plan).await.unwrap();
    let crashed = |event: &StageEvent| {
        if let StageEvent::Exited { exit, .. } = event {
            assert_eq!(exit.code, Some(3));
        }
        matches!(event, StageEvent::Crashed { .. }).then_some(())
    };
    scene.until(crashed).await;
    assert_eq!(scene.boots("d1"), "xxx");
    let removed = |event: &StageEvent| matches!(event, StageEvent::Removed { .. }).then_some(());
    scene.until(removed).await;
    assert_eq!(scene.statuses().await, pairs(&[("v1", "crashed")]));
    assert_eq!(scene.get("/").await.0, StatusCode::BAD_GATEWAY);
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_carried_out_once_however_often_it_is_ordered() {
    let mut scene = Scene::open(|_| {}).await;
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    scene.stage.deploy("v2", AppPlan::good(1)).await.unwrap();
    let first = scene.order("decision-1", "v2", "v1").await;
    assert_eq!(first, (StatusCode::ACCEPTED, json!({ "deployment": "d3" })));
    assert_eq!(scene.order("decision-1", "v2", "v1").await, first);
    scene.until(|e| matches!(e, StageEvent::WentLive { id, .. } if id == "d3").then_some(())).await;
    assert_eq!(scene.order("decision-1", "v2", "v1").await, first);
    assert_eq!(scene.stage.rollbacks(), 1);
    assert_eq!(scene.release().await, "v1");
    // Handed on from the accused deployment, not from the first one.
    assert_eq!(scene.boots("d3"), "xxx");
    scene.until(|e| matches!(e, StageEvent::Removed { id } if id == "d2").then_some(())).await;
    assert_eq!(scene.statuses().await.last(), Some(&("v1".to_owned(), "live".to_owned())));
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_does_not_fit_what_is_deployed_is_refused() {
    let scene = Scene::open(|_| {}).await;
    assert_eq!(scene.order("a", "v2", "v1").await.0, StatusCode::CONFLICT);
    scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    for (from, to) in [("v2", "v1"), ("v1", "v0"), ("v1", "v1")] {
        let (status, body) = scene.order("a", from, to).await;
        assert_eq!(status, StatusCode::CONFLICT, "{from} to {to}");
        assert!(body["error"].as_str().is_some_and(|error| !error.is_empty()));
    }
    assert_eq!(scene.stage.rollbacks(), 0);
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_does_not_drain_in_time_is_killed() {
    let mut scene = Scene::open(|options| options.drain = Duration::from_millis(100)).await;
    scene.stage.deploy("stubborn", AppPlan::good(1)).await.unwrap();
    let pid = scene.until(listening).await;
    let mut events = scene.stage.events();
    scene.stage.stop().await;
    let mut seen = Vec::new();
    while let Ok(event) = events.try_recv() {
        seen.push(event);
    }
    let place = |wanted: fn(&StageEvent) -> bool| seen.iter().position(wanted);
    let terminating = place(|event| matches!(event, StageEvent::Terminating { .. }));
    let killed = place(|event| matches!(event, StageEvent::Killed { .. }));
    assert!(terminating.is_some() && terminating < killed, "{seen:?}");
    all_gone(pid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_app_is_not_noticed_by_the_platform_but_by_clients() {
    let mut scene = Scene::open(|_| {}).await;
    let plan = AppPlan { behave: Behaviour::Hang, after: Duration::from_millis(500), seed: 1 };
    scene.stage.deploy("v1", plan).await.unwrap();
    scene.until(|e| matches!(e, StageEvent::FaultBegan { .. }).then_some(())).await;
    let hung = scene.client.get(scene.stage.edge_address(), "/", "test", Duration::from_millis(300)).await;
    assert!(matches!(hung, Err(ClientError::TimedOut { .. })), "{hung:?}");
    assert_eq!(scene.statuses().await, pairs(&[("v1", "live")]));
    scene.stage.stop().await;
}

async fn server(answer: fn(u64) -> Option<StatusCode>) -> (SocketAddr, Arc<Notify>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, enough) = (Arc::new(AtomicU64::new(0)), Arc::new(Notify::new()));
    let told = enough.clone();
    let handler = move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        if number == 40 {
            told.notify_one();
        }
        async move {
            match answer(number) {
                Some(status) => stage_http::json(status, &json!({})),
                None => std::future::pending().await,
            }
        }
    };
    tokio::spawn(stage_http::serve(listener, CancellationToken::new(), Duration::ZERO, handler));
    (address, enough)
}

#[tokio::test]
async fn the_load_counts_what_fails_and_what_never_comes() {
    let (target, enough) = server(|n| match n % 4 {
        0 => Some(StatusCode::INTERNAL_SERVER_ERROR),
        1 => None,
        _ => Some(StatusCode::OK),
    })
    .await;
    let load = Load::start(target, 200.0, 1, Clock::start());
    tokio::time::timeout(PATIENCE, enough.notified()).await.unwrap();
    let served = load.stop().await;
    assert!(served.requests >= 41, "{served:?}");
    let quarter = served.requests / 4;
    assert!((quarter..=quarter + 1).contains(&served.timed_out), "{served:?}");
    assert!((2 * quarter..=2 * quarter + 2).contains(&served.failed), "{served:?}");
    assert!(served.p99_ms >= 2000.0, "{served:?}");
}

#[tokio::test]
async fn the_load_counts_a_closed_port_as_failure() {
    // Held, so that nobody else listens there.
    let port = Port::hold().unwrap();
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    let load = Load::start(closed, 500.0, 1, Clock::start());
    let some = async {
        while load.total().requests < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, some).await.unwrap();
    let served = load.stop().await;
    assert_eq!((served.failed, served.timed_out), (served.requests, 0));
}
