//! The health pages: the same on the public port and on the admin port.
//!
//! The platform asks for `/api/health` until a deployment is ready and switches its traffic on the first 200, so it is
//! 503 while the app starts. It is answered from memory. **While draining it stays 200**: the agent still answers what
//! comes, and an edge that looks again would otherwise cut it off before the new replica is known everywhere. The verdict
//! plays no part: a degraded release that answers requests is alive, and what to do about it is not the health check's
//! business.
//!
//! `/api/health/deep` asks the dependencies when what is known of them is not fresh, however many ask at once, and answers
//! in time whatever they do. It is 503 when the app or a dependency that the service cannot do without has failed. The
//! store is not critical: an agent that has lost its disk still serves.
//!
//! `/api/ready` is for balancers that stop sending when it says no: other than health it is 503 while draining.

mod checks;
mod draft;

pub(super) use crate::admin::health::checks::{fact, millis};

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use crate::admin::access;
use crate::admin::health::checks::Checks;
use crate::admin::live::{Live, Phase};
use crate::admin::shared::Shared;
use crate::admin::view::rfc3339;
use crate::engine::health::{Point, ProbeState};
use crate::engine::host::Limits;
use crate::engine::time::Time;

/// How long the deep page waits for the dependencies: it is promised within five seconds. A dependency that has not answered
/// by then has not answered.
const DEEP_WITHIN: Duration = Duration::from_millis(4_400);
/// And for so much longer until it is answered whatever whoever was asked does.
const KEPT_FOR_LATER: Duration = Duration::from_millis(200);
/// The media type of draft-inadarei-api-health-check, given to those who ask for it.
const DRAFT_TYPE: &str = "application/health+json";
/// What the paths of the health pages have in common where they are below the health path.
const DEEP: &str = "/deep";
/// The status pages, under the names that orchestrators use.
const STATUS_PATHS: [(&str, Page); 3] =
    [("/api/live", Page::Live), ("/api/ready", Page::Ready), ("/api/version", Page::Version)];

/// What is still to come.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The dependencies, by whoever asks them.
pub trait Dependencies: Send + Sync {
    /// What is known now.
    fn known(&self) -> Vec<Arc<ProbeState>>;
    /// What is known when none of it is older than `max_age`; and after `within` at the latest.
    fn fresh(&self, max_age: Duration, within: Duration) -> Later<Vec<Arc<ProbeState>>>;
    /// The last rounds of a probe, the oldest first.
    fn history(&self, name: &str) -> Option<Vec<Point>>;
}

/// Options of the pages.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The deep page asks anew what was not asked for longer than this.
    pub max_age: Duration,
    /// Everybody is told the checks' details.
    pub public_details: bool,
    /// The public port answers `/api/live`, `/api/ready` and `/api/version`, too.
    pub status_paths: bool,
    /// What of the host's state is called well.
    pub host: Limits,
}

impl Default for Options {
    fn default() -> Self {
        let host = Limits { memory_max: 0.95, disk_max: 0.95, descriptors_max: 0.9, throttled_max: 0.25 };
        Self { max_age: Duration::from_millis(100), public_details: false, status_paths: false, host }
    }
}

/// Which page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Shallow,
    Deep,
    Live,
    Ready,
    Version,
}

/// How much of the checks is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Their names and status: this is what the public sees.
    Names,
    /// Everything.
    All,
}

/// A page, or one that is still to come.
pub enum Answer {
    /// It is there.
    Now(Response<Bytes>),
    /// It waits for dependencies, for less than five seconds.
    Soon(Later<Response<Bytes>>),
}

/// How a page is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) page: Page,
    pub(super) detail: Detail,
    /// In the draft's form.
    pub(super) draft: bool,
    /// Without its body.
    pub(super) head_only: bool,
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

/// A request on the public port as far as these pages see it.
#[derive(Clone, Copy, Debug)]
pub struct PublicRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The `Accept` field.
    pub accept: Option<&'a str>,
    /// The `Authorization` field.
    pub authorization: Option<&'a [u8]>,
}

/// The health pages for the public port, where they shadow the app's own: `health_path` itself and `deep` below it, and by
/// option the status pages. `None`: the request is not for them.
pub fn public_page(
    shared: &Arc<Shared>,
    asked: &PublicRequest<'_>,
    health_path: Option<&str>,
) -> Option<Answer> {
    let page = match health_path.and_then(|own| asked.path.strip_prefix(own)) {
        Some("") => Page::Shallow,
        Some(DEEP) => Page::Deep,
        Some(_) | None if shared.health.status_paths => status_page(asked.path)?,
        Some(_) | None => return None,
    };
    if !matches!(*asked.method, Method::GET | Method::HEAD) {
        return None;
    }
    let token = shared.token.as_ref();
    let is_trusted = token.zip(asked.authorization).is_some_and(|(token, given)| access::bears(given, token));
    let detail = if is_trusted || shared.health.public_details { Detail::All } else { Detail::Names };
    let draft = wants_draft(asked.accept);
    let wanted = Wanted { page, detail, draft, head_only: *asked.method == Method::HEAD };
    Some(answer(shared, wanted))
}

/// The status page of that path.
fn status_page(path: &str) -> Option<Page> {
    STATUS_PATHS.into_iter().find(|(own, _)| *own == path).map(|(_, page)| page)
}

/// The page of that path on the admin port.
pub(super) fn page_at(path: &str) -> Option<Page> {
    match path {
        "/api/health" => Some(Page::Shallow),
        "/api/health/deep" => Some(Page::Deep),
        _ => status_page(path),
    }
}

/// Whether an `Accept` field asks for the draft's form.
pub(super) fn wants_draft(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| accept.contains(DRAFT_TYPE))
}

/// The page, at once where no dependency has to be asked.
pub(super) fn answer(shared: &Arc<Shared>, wanted: Wanted) -> Answer {
    if wanted.page != Page::Deep {
        return Answer::Now(page(shared, wanted, &[]));
    }
    let shared = Arc::clone(shared);
    Answer::Soon(Box::pin(async move {
        let asked = shared.dependencies.fresh(shared.health.max_age, DEEP_WITHIN);
        // Whoever keeps the time may itself be stuck.
        let probes = match tokio::time::timeout(DEEP_WITHIN + KEPT_FOR_LATER, asked).await {
            Ok(probes) => probes,
            Err(_late) => shared.dependencies.known(),
        };
        page(&shared, wanted, &probes)
    }))
}

fn page(shared: &Shared, wanted: Wanted, probes: &[Arc<ProbeState>]) -> Response<Bytes> {
    let published = shared.published();
    let live = published.as_deref().map(|p| &p.live);
    let now = shared.clock.now();
    let (status, is_up) = status(live, now);
    let mut is_well = is_up;
    let body = match wanted.page {
        Page::Shallow => {
            let release = live.map(|l| l.engine.release.as_str());
            render(&Shallow {
                status: if wanted.draft { draft::word(status) } else { status },
                timestamp: rfc3339(now),
                uptime: shared.clock.uptime().as_secs(),
                environment: live.map(|l| l.service.environment.as_str()),
                version: release,
                release_id: release.filter(|_| wanted.draft),
            })
        }
        Page::Deep => {
            let checks = Checks::of(published.as_deref(), probes, &shared.health.host, now);
            let status = if is_up { checks.status(status) } else { status };
            is_well = is_up && !checks.has_failed();
            if wanted.draft {
                render(&draft::page(status, live, &checks, wanted.detail, now))
            } else {
                let checks = checks.json(wanted.detail);
                render(&json!({ "status": status, "checks": checks, "timestamp": rfc3339(now) }))
            }
        }
        Page::Live => {
            // Whoever answers lives. What is behind it is the other pages' business: restarting us would not mend it.
            is_well = true;
            render(
                &json!({ "status": "alive", "timestamp": rfc3339(now), "uptime": shared.clock.uptime().as_secs() }),
            )
        }
        Page::Ready => {
            is_well = live.is_some_and(|live| live.app.phase == Phase::Ready);
            let status = if is_well { "ready" } else { status };
            render(&json!({ "status": status, "timestamp": rfc3339(now) }))
        }
        Page::Version => {
            is_well = true;
            render(&json!({
                "release": live.map(|l| l.engine.release.as_str()),
                "service": live.map(|l| l.service.name.as_str()),
                "environment": live.map(|l| l.service.environment.as_str()),
                "outrigger": env!("CARGO_PKG_VERSION"),
            }))
        }
    };
    respond(wanted, is_well, body)
}

fn respond(wanted: Wanted, is_well: bool, body: Bytes) -> Response<Bytes> {
    let has_draft = wanted.draft && matches!(wanted.page, Page::Shallow | Page::Deep);
    let kind = if has_draft { DRAFT_TYPE } else { "application/json" };
    let code = if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    if !wanted.head_only {
        *response.body_mut() = body;
    }
    response
}

/// The app's status by name, and whether it is answered 200.
fn status(live: Option<&Live>, now: Time) -> (&'static str, bool) {
    // Whoever ordered a rollback dies when the restored release's health path answers well: its record must be here first.
    if live.and_then(|l| l.inherits_until).is_some_and(|until| now < until) {
        return ("starting", false);
    }
    match live.map(|l| l.app.phase) {
        None | Some(Phase::Starting) => ("starting", false),
        Some(Phase::Ready) => ("healthy", true),
        Some(Phase::Draining) => ("draining", true),
        Some(Phase::Gone) => ("unhealthy", false),
    }
}

fn render(page: &impl Serialize) -> Bytes {
    serde_json::to_vec(page).expect("views have string keys only").into()
}
