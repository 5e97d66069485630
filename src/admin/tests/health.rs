//! The health pages.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use serde_json::{Value, json};

use crate::admin::health::{Answer, Dependencies, Later, Options, PublicRequest, public_page};
use crate::admin::live::{Live, Phase};
use crate::admin::shared::Shared;
use crate::admin::tests::{Port, fixture};
use crate::engine::health::{Fact, FactValue, Found, Health, Phase as Part, Point, ProbeState, Round, Row};
use crate::engine::verdict::{Breach, Verdict};
use crate::engine::window::Spread;

/// Dependencies that are as the test says, and how often they were asked.
struct Said(Vec<Arc<ProbeState>>, AtomicUsize);

impl Dependencies for Said {
    fn known(&self) -> Vec<Arc<ProbeState>> {
        self.0.clone()
    }

    fn fresh(&self, _max_age: Duration, _within: Duration) -> Later<Vec<Arc<ProbeState>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(self.0.clone()))
    }

    fn history(&self, _name: &str) -> Option<Vec<Point>> {
        Some(vec![Point { at: fixture::START, found: Found::Well, latency_us: Some(1_500) }])
    }
}

/// Never answers.
struct Silent;

impl Dependencies for Silent {
    fn known(&self) -> Vec<Arc<ProbeState>> {
        vec![probe("db", true, Health::Failed)]
    }

    fn fresh(&self, _max_age: Duration, _within: Duration) -> Later<Vec<Arc<ProbeState>>> {
        Box::pin(std::future::pending())
    }

    fn history(&self, _name: &str) -> Option<Vec<Point>> {
        None
    }
}

fn probe(name: &str, critical: bool, health: Health) -> Arc<ProbeState> {
    let is_well = health == Health::Ok;
    Arc::new(ProbeState {
        name: name.into(),
        kind: "postgres",
        target: "postgres://db:5432/app".into(),
        source: "DATABASE_URL".into(),
        critical,
        interval: Duration::from_secs(5),
        health,
        since: fixture::START,
        row: Row { failed: health == Health::Failed, rounds: 3, since: fixture::START },
        last: Some(Round {
            at: fixture::START,
            took: Duration::from_millis(3),
            found: match health {
                Health::Ok => Found::Well,
                Health::Degraded => Found::Impaired,
                Health::Failed => Found::Failed,
                Health::Unknown => Found::Unable,
            },
            latency: is_well.then_some(Duration::from_micros(1_500)),
            phases: vec![Part { name: "query", took: Duration::from_micros(1_500) }],
            facts: vec![Fact { name: "connections_used", value: FactValue::Number(7.0) }],
            why: if is_well { String::new() } else { "no connection to 10.0.0.5:5432".to_owned() },
        }),
        rounds: [9, 0, 1, 0],
        answers: Spread::default(),
        usual_us: Some(1_200),
    })
}

async fn asked(shared: &Arc<Shared>, path: &str, accept: Option<&str>, token: Option<&str>) -> (u16, Value) {
    let authorization = token.map(|token| format!("Bearer {token}"));
    let request = PublicRequest {
        method: &Method::GET,
        path,
        accept,
        authorization: authorization.as_deref().map(str::as_bytes),
    };
    let page: Response<Bytes> = match public_page(shared, &request, Some("/api/health")).unwrap() {
        Answer::Now(page) => page,
        Answer::Soon(page) => page.await,
    };
    assert_eq!(page.headers()["cache-control"], "no-store");
    (page.status().as_u16(), serde_json::from_slice(page.body()).unwrap())
}

fn shared(live: Option<Live>, probes: Vec<Arc<ProbeState>>) -> Arc<Shared> {
    with(live, Arc::new(Said(probes, AtomicUsize::new(0))), Options::default())
}

fn with(live: Option<Live>, dependencies: Arc<dyn Dependencies>, options: Options) -> Arc<Shared> {
    let (shared, _asked) = fixture::shared(Some(fixture::TOKEN));
    let shared = Arc::into_inner(shared).expect("nobody else has it yet");
    let shared = Arc::new(shared.with_dependencies(dependencies, options));
    if let Some(live) = live {
        shared.update(live);
    }
    shared
}

async fn public(live: Option<Live>, path: &str, accept: Option<&str>) -> (u16, Value) {
    asked(&shared(live, vec![]), path, accept, None).await
}

#[tokio::test]
async fn health_is_503_until_the_app_is_ready_and_200_while_it_drains() {
    for (live, expected) in [
        (None, (503, "starting")),
        (Some(fixture::in_phase(Phase::Starting)), (503, "starting")),
        (Some(fixture::in_phase(Phase::Ready)), (200, "healthy")),
        (Some(fixture::in_phase(Phase::Draining)), (200, "draining")),
        (Some(fixture::in_phase(Phase::Gone)), (503, "unhealthy")),
    ] {
        let (code, page) = public(live, "/api/health", None).await;
        assert_eq!((code, page["status"].as_str().unwrap()), expected);
    }
    let (_, page) = public(Some(fixture::live()), "/api/health", None).await;
    assert_eq!((page["environment"].as_str(), page["version"].as_str()), (Some("production"), Some("v42")));
    assert!(page["uptime"].is_u64() && page["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn a_store_in_trouble_degrades_health_but_an_app_that_is_gone_fails_it() {
    let mut live = fixture::live();
    live.store.failed = 1;
    live.store.last_error = Some("write `/data/outrigger.db`: disk full".to_owned());
    let (code, page) = public(Some(live.clone()), "/api/health/deep", None).await;
    assert_eq!((code, page["status"].as_str()), (200, Some("degraded")));
    assert_eq!(page["checks"]["store"], json!({"status": "degraded"}), "nothing inside is told in public");
    live.app.phase = Phase::Gone;
    let (code, page) = public(Some(live), "/api/health/deep", None).await;
    assert_eq!((code, page["status"].as_str()), (503, Some("unhealthy")));
    assert_eq!(page["checks"]["app"]["status"], "failed");
}

#[tokio::test]
async fn a_degraded_release_that_answers_is_alive() {
    let mut live = fixture::live();
    live.engine.verdict = Verdict::Degraded { breach: Breach::Errors, since: fixture::START };
    assert_eq!(public(Some(live), "/api/health", None).await.0, 200);
}

#[tokio::test]
async fn a_critical_dependency_that_failed_is_503_and_any_other_only_degrades() {
    for (critical, health, expected) in [
        (true, Health::Ok, (200, "healthy", "ok")),
        (true, Health::Failed, (503, "unhealthy", "failed")),
        (true, Health::Degraded, (200, "degraded", "degraded")),
        (true, Health::Unknown, (200, "degraded", "unknown")),
        (false, Health::Failed, (200, "degraded", "failed")),
    ] {
        let shared = shared(Some(fixture::live()), vec![probe("db", critical, health)]);
        let (code, page) = asked(&shared, "/api/health/deep", None, None).await;
        let status = (page["status"].as_str().unwrap(), page["checks"]["db"]["status"].as_str().unwrap());
        assert_eq!((code, status.0, status.1), expected, "{critical} {health:?}");
        let (code, _) = asked(&shared, "/api/health", None, None).await;
        assert_eq!(code, 200, "the shallow page is the app's own");
    }
}

#[tokio::test]
async fn two_failures_in_a_row_are_told_before_the_state_changes() {
    let mut state = (*probe("db", true, Health::Ok)).clone();
    state.last.as_mut().unwrap().found = Found::Failed;
    state.row = Row { failed: true, rounds: 1, since: fixture::START };
    let code = |state: ProbeState| async move {
        asked(&shared(Some(fixture::live()), vec![Arc::new(state)]), "/api/health/deep", None, None).await.0
    };
    assert_eq!(code(state.clone()).await, 200);
    state.row.rounds = 2;
    assert_eq!(code(state).await, 503);
}

#[tokio::test]
async fn details_are_for_who_has_the_token_or_for_all_by_option() {
    let probes = vec![probe("db", true, Health::Failed)];
    let closed = shared(Some(fixture::live()), probes.clone());
    let (_, page) = asked(&closed, "/api/health/deep", None, None).await;
    assert!(!page.to_string().contains("10.0.0.5") && !page.to_string().contains("postgres://"), "{page}");
    let (_, page) = asked(&closed, "/api/health/deep", None, Some("a wrong one of some length")).await;
    assert!(page["checks"]["db"]["error"].is_null(), "{page}");
    let (_, page) = asked(&closed, "/api/health/deep", None, Some(fixture::TOKEN)).await;
    let db = &page["checks"]["db"];
    assert_eq!(db["error"], "no connection to 10.0.0.5:5432");
    assert_eq!(
        (&db["details"]["connections_used"], &db["details"]["target"], &db["details"]["phases_ms"]["query"]),
        (&json!(7), &json!("postgres://db:5432/app"), &json!(1.5))
    );
    let open = with(
        Some(fixture::live()),
        Arc::new(Said(probes, AtomicUsize::new(0))),
        Options { public_details: true, ..Options::default() },
    );
    let (_, page) = asked(&open, "/api/health/deep", None, None).await;
    assert_eq!(page["checks"]["db"]["error"], "no connection to 10.0.0.5:5432");
}

#[tokio::test]
async fn only_the_deep_page_asks_the_dependencies() {
    let said = Arc::new(Said(vec![probe("db", true, Health::Ok)], AtomicUsize::new(0)));
    let options = Options { status_paths: true, ..Options::default() };
    let shared = with(Some(fixture::live()), Arc::clone(&said) as Arc<dyn Dependencies>, options);
    for path in ["/api/health", "/api/live", "/api/ready", "/api/version"] {
        assert_eq!(asked(&shared, path, None, None).await.0, 200, "{path}");
    }
    assert_eq!(said.1.load(Ordering::Relaxed), 0);
    assert_eq!(asked(&shared, "/api/health/deep", None, None).await.0, 200);
    assert_eq!(said.1.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_deep_page_answers_in_time_when_nobody_else_does() {
    let shared = with(Some(fixture::live()), Arc::new(Silent), Options::default());
    // In virtual time, so it is exact.
    let asked = tokio::time::timeout(Duration::from_secs(5), asked(&shared, "/api/health/deep", None, None));
    let (code, page) = asked.await.expect("it answers within five seconds");
    assert_eq!((code, page["checks"]["db"]["status"].as_str()), (503, Some("failed")));
}

#[tokio::test]
async fn the_draft_format_is_given_on_request() {
    let accept = Some("application/health+json");
    let (_, page) = public(Some(fixture::live()), "/api/health", accept).await;
    assert_eq!((page["status"].as_str(), page["releaseId"].as_str()), (Some("pass"), Some("v42")));
    let probes = vec![probe("db", true, Health::Failed), probe("cache", false, Health::Ok)];
    let (code, page) =
        asked(&shared(Some(fixture::live()), probes), "/api/health/deep", accept, Some(fixture::TOKEN)).await;
    assert_eq!((code, page["status"].as_str()), (503, Some("fail")));
    let db = &page["checks"]["db:status"][0];
    assert_eq!((&db["status"], &db["componentType"]), (&json!("fail"), &json!("datastore")));
    assert_eq!(db["output"], "no connection to 10.0.0.5:5432");
    let cache = &page["checks"]["cache:responseTime"][0];
    assert_eq!((&cache["observedValue"], &cache["observedUnit"]), (&json!(1.5), &json!("ms")));
}

#[tokio::test]
async fn ready_says_no_while_draining_and_live_says_yes_always() {
    let options = Options { status_paths: true, ..Options::default() };
    for (phase, ready) in
        [(Phase::Starting, 503), (Phase::Ready, 200), (Phase::Draining, 503), (Phase::Gone, 503)]
    {
        let none = Arc::new(Said(vec![], AtomicUsize::new(0)));
        let shared = with(Some(fixture::in_phase(phase)), none, options);
        assert_eq!(asked(&shared, "/api/ready", None, None).await.0, ready, "{phase:?}");
        assert_eq!(asked(&shared, "/api/live", None, None).await.0, 200, "{phase:?}");
    }
    let (_, page) =
        asked(&with(Some(fixture::live()), Arc::new(Silent), options), "/api/version", None, None).await;
    assert_eq!(page["release"], "v42");
}

#[test]
fn only_the_health_paths_are_taken_from_the_app() {
    let shared = shared(Some(fixture::live()), vec![]);
    let page = |method: &Method, path: &str| {
        let request = PublicRequest { method, path, accept: None, authorization: None };
        public_page(&shared, &request, Some("/api/health"))
    };
    let taken = |method: &Method, path| page(method, path).is_some();
    assert!(taken(&Method::GET, "/api/health") && taken(&Method::HEAD, "/api/health/deep"));
    assert!(!taken(&Method::POST, "/api/health") && !taken(&Method::GET, "/api/healthy"));
    assert!(!taken(&Method::GET, "/api/health/") && !taken(&Method::GET, "/"));
    assert!(!taken(&Method::GET, "/api/version"), "an app may have one of its own");
    let Some(Answer::Now(head)) = page(&Method::HEAD, "/api/health") else { panic!("it is there at once") };
    assert!(head.body().is_empty() && head.headers()["content-length"] != "0");
}

#[tokio::test]
async fn the_admin_port_has_all_of_them() {
    let port = Port::open(None).await;
    port.publish();
    for path in ["/api/health", "/api/health/deep", "/api/live", "/api/ready", "/api/version", "/api/probes"]
    {
        assert_eq!(port.get(path).await.status, 200, "{path}");
    }
    assert_eq!(port.get("/api/health/deep").await.json()["checks"]["app"]["details"]["phase"], "ready");
}
