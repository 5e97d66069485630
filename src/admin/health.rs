//! Health, from memory: the same two pages on the public port and on the admin port.
//!
//! The platform asks for `/api/health` until a deployment is ready and switches its traffic on the first 200, so it is
//! 503 while the app starts. **While draining it stays 200**: the agent still answers what comes, and an edge that looks
//! again would otherwise cut it off before the new replica is known everywhere. The verdict plays no part: a degraded
//! release that answers requests is alive, and what to do about it is not the health check's business.
//!
//! The store is not critical: an agent that has lost its disk still serves, and says `degraded` in the deep page.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;

use crate::admin::live::{Live, Phase};
use crate::admin::shared::{Published, Shared};
use crate::admin::view::rfc3339;

/// Beyond this age the snapshot says that the agent's loop is stuck.
const SNAPSHOT_AGE_MS_MAX: u64 = 10_000;
/// The media type of draft-inadarei-api-health-check, given to those who ask for it.
const DRAFT_TYPE: &str = "application/health+json";

/// How much of the checks is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Detail {
    /// Their names and status: this is what the public sees.
    Names,
    /// Everything.
    All,
}

#[derive(Debug, Serialize)]
struct Shallow<'a> {
    status: &'static str,
    timestamp: String,
    uptime: u64,
    environment: Option<&'a str>,
    version: Option<&'a str>,
    #[serde(rename = "releaseId", skip_serializing_if = "Option::is_none")]
    release_id: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Deep {
    status: &'static str,
    checks: Checks,
    timestamp: String,
}

#[derive(Debug, Serialize)]
struct Checks {
    app: Check,
    store: Check,
    engine: Check,
}

#[derive(Debug, Serialize)]
struct Check {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The health pages for the public port, where they shadow the app's own: `health_path` itself and `deep` below it.
/// `None`: the request is not for them.
pub fn public_page(
    shared: &Shared,
    method: &Method,
    path: &str,
    accept: Option<&HeaderValue>,
    health_path: &str,
) -> Option<Response<Bytes>> {
    let below = path.strip_prefix(health_path)?;
    let deep = match below {
        "" => false,
        "/deep" => true,
        _ => return None,
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    Some(page(shared, method, deep, accept, Detail::Names))
}

/// One of the two pages.
pub(super) fn page(
    shared: &Shared,
    method: &Method,
    deep: bool,
    accept: Option<&HeaderValue>,
    detail: Detail,
) -> Response<Bytes> {
    let published = shared.published();
    let now = shared.clock.now();
    let draft = accept.and_then(|a| a.to_str().ok()).is_some_and(|a| a.contains(DRAFT_TYPE));
    let (status, healthy) = status(published.as_deref().map(|p| &p.live));
    let live = published.as_deref().map(|p| &p.live);
    let body = if deep {
        let checks = checks(published.as_deref(), now.as_millis(), detail);
        let worst = if healthy && !checks.is_well() { "degraded" } else { status };
        render(&Deep { status: word(worst, healthy, draft), checks, timestamp: rfc3339(now) })
    } else {
        let release = live.map(|l| l.engine.release.as_str());
        render(&Shallow {
            status: word(status, healthy, draft),
            timestamp: rfc3339(now),
            uptime: shared.clock.uptime().as_secs(),
            environment: live.map(|l| l.service.environment.as_str()),
            version: release,
            release_id: release.filter(|_| draft),
        })
    };
    let kind = if draft { DRAFT_TYPE } else { "application/json" };
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    if *method != Method::HEAD {
        *response.body_mut() = body;
    }
    response
}

/// The app's status by name, and whether it is answered 200.
fn status(live: Option<&Live>) -> (&'static str, bool) {
    match live.map(|l| l.app.phase) {
        None | Some(Phase::Starting) => ("starting", false),
        Some(Phase::Ready) => ("healthy", true),
        Some(Phase::Draining) => ("draining", true),
        Some(Phase::Gone) => ("unhealthy", false),
    }
}

/// The draft knows three words only.
fn word(status: &'static str, healthy: bool, draft: bool) -> &'static str {
    match (draft, healthy) {
        (false, _) => status,
        (true, false) => "fail",
        (true, true) if status == "healthy" => "pass",
        (true, true) => "warn",
    }
}

fn checks(published: Option<&Published>, now_ms: u64, detail: Detail) -> Checks {
    let Some(published) = published else {
        let unknown = || Check::new("starting");
        return Checks { app: unknown(), store: unknown(), engine: unknown() };
    };
    let mut checks = Checks {
        app: app(&published.live),
        store: store(&published.live),
        engine: engine(published, now_ms),
    };
    if detail == Detail::Names {
        for check in [&mut checks.app, &mut checks.store, &mut checks.engine] {
            *check = Check::new(check.status);
        }
    }
    checks
}

fn app(live: &Live) -> Check {
    let app = &live.app;
    let (status, well) = status(Some(live));
    Check {
        since: Some(rfc3339(app.since)),
        details: Some(serde_json::json!({
            "supervised": app.supervised, "pid": app.pid, "upstream": app.upstream, "restarts": app.restarts,
        })),
        error: app.detail.clone().filter(|_| !well),
        ..Check::new(status)
    }
}

fn store(live: &Live) -> Check {
    let store = &live.store;
    let well = store.durable && store.failed == 0 && store.dropped == 0;
    let details = serde_json::json!({
        "durable": store.durable, "path": store.path, "size_bytes": store.size_bytes,
        "written": store.written, "dropped": store.dropped, "failed": store.failed,
    });
    Check {
        details: Some(details),
        error: store.last_error.clone(),
        ..Check::new(if well { "healthy" } else { "degraded" })
    }
}

fn engine(published: &Published, now_ms: u64) -> Check {
    let age_ms = now_ms.saturating_sub(published.at.as_millis());
    let engine = &published.live.engine;
    let stuck = age_ms > SNAPSHOT_AGE_MS_MAX;
    let error = || format!("the last snapshot is {} s old; one comes each second", age_ms / 1000);
    Check {
        since: Some(rfc3339(published.at)),
        latency_ms: Some(age_ms),
        details: Some(serde_json::json!({ "verdict": engine.verdict.label(), "mode": engine.mode.label() })),
        error: stuck.then(error),
        ..Check::new(if stuck { "degraded" } else { "healthy" })
    }
}

impl Check {
    fn new(status: &'static str) -> Self {
        Self { status, since: None, latency_ms: None, details: None, error: None }
    }
}

impl Checks {
    fn is_well(&self) -> bool {
        // The app's own status is the page's; what is left are the checks that are not critical.
        self.store.status == "healthy" && self.engine.status == "healthy"
    }
}

fn render(page: &impl Serialize) -> Bytes {
    serde_json::to_vec(page).expect("views have string keys only").into()
}
