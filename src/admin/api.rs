//! The routes, and how each error is said. One router for the admin port and the control socket.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::admin::access::{self, Peer, Refusal};
use crate::admin::health::{self, Answer, Detail, Wanted};
use crate::admin::shared::{Command, NoAnswer, Published, STREAMS_MAX, Shared};
use crate::admin::{by_hand, metrics, pages, probes, releases, stream};
use crate::engine::release::RecordId;
use crate::engine::route::GROUPS_MAX;
use crate::engine::time::Time;

/// The largest body that is read; a larger one is refused.
const BODY_MAX: usize = 16 * 1024;
/// How long a body may take to come; then the request is refused.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// How many routes are given where no limit is asked for.
const ROUTES_DEFAULT: usize = 50;
/// How many records are given where no limit is asked for.
const RECORDS_DEFAULT: usize = 50;
/// The most records given at once; whoever wants more asks again with `before`.
const RECORDS_MAX: usize = 200;
/// The longest name of a person, in characters.
pub(super) const BY_MAX: usize = 64;
/// The longest reason, in characters.
pub(super) const REASON_MAX: usize = 500;
/// The longest pause or lock with an end. Longer ones are made without an end, so that somebody ends them on purpose.
const PAUSE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest record id.
const ID_MAX: usize = 32;

const ROUTES: &str = "there is no such page; there are: / /metrics /api/health /api/health/deep /api/live \
                      /api/ready /api/version /api/snapshot /api/peers /api/probes /api/releases /api/routes /api/stream /api/records /api/records/{id} /api/gate and, with POST, /api/pause, /api/resume, /api/lock, /api/unlock and /api/rollback";

/// What every handler works with.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    pub(super) shared: Arc<Shared>,
    shutdown: CancellationToken,
}

/// All routes behind the access rules. Streams end at `shutdown`. Each request must carry its [`Peer`] as an extension.
pub(super) fn router(shared: Arc<Shared>, shutdown: CancellationToken) -> Router {
    let desk = Desk { shared, shutdown };
    Router::new()
        .route("/", get(|h: HeaderMap| async move { pages::INDEX.serve(&h) }))
        .route("/style.css", get(|h: HeaderMap| async move { pages::STYLE.serve(&h) }))
        .route("/app.js", get(|h: HeaderMap| async move { pages::APP.serve(&h) }))
        .route("/charts.js", get(|h: HeaderMap| async move { pages::CHARTS.serve(&h) }))
        .route("/dependencies.js", get(|h: HeaderMap| async move { pages::DEPENDENCIES.serve(&h) }))
        .route("/host.js", get(|h: HeaderMap| async move { pages::HOST.serve(&h) }))
        .route("/parachute.js", get(|h: HeaderMap| async move { pages::PARACHUTE.serve(&h) }))
        .route("/peers.js", get(|h: HeaderMap| async move { pages::PEERS.serve(&h) }))
        .route("/records.js", get(|h: HeaderMap| async move { pages::RECORDS.serve(&h) }))
        .route("/releases.js", get(|h: HeaderMap| async move { pages::RELEASES.serve(&h) }))
        .route("/streams.js", get(|h: HeaderMap| async move { pages::STREAMS.serve(&h) }))
        .route("/routes.js", get(|h: HeaderMap| async move { pages::ROUTES.serve(&h) }))
        .route("/words.js", get(|h: HeaderMap| async move { pages::WORDS.serve(&h) }))
        .route("/metrics", get(scrape))
        .route("/api/health", get(health_page))
        .route("/api/health/deep", get(health_page))
        .route("/api/live", get(health_page))
        .route("/api/ready", get(health_page))
        .route("/api/version", get(health_page))
        .route("/api/probes", get(dependencies))
        .route("/api/peers", get(peers))
        .route("/api/snapshot", get(snapshot))
        .route("/api/releases", get(by_release))
        .route("/api/routes", get(by_route))
        .route("/api/stream", get(live))
        .route("/api/records", get(records))
        .route("/api/records/{id}", get(record))
        .route("/api/pause", post(pause))
        .route("/api/resume", post(resume))
        .route("/api/lock", post(by_hand::lock))
        .route("/api/unlock", post(by_hand::unlock))
        .route("/api/gate", get(by_hand::gate))
        .route("/api/rollback", post(by_hand::roll_back))
        .fallback(|| async { Fault::new(StatusCode::NOT_FOUND, ROUTES) })
        .method_not_allowed_fallback(|| async { Fault::new(StatusCode::METHOD_NOT_ALLOWED, METHODS) })
        .layer(from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

const METHODS: &str = "this page takes another method: GET to read, POST for /api/pause, /api/resume, /api/lock, \
                       /api/unlock and /api/rollback";

/// An error as it is sent: a status and what would be right.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    message: String,
}

impl Fault {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.message }))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"outrigger\""));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.status, refusal.message)
    }
}

impl From<NoAnswer> for Fault {
    fn from(no: NoAnswer) -> Self {
        match no {
            NoAnswer::Busy(why) => Self::new(StatusCode::SERVICE_UNAVAILABLE, why),
            NoAnswer::Refused(why) => Self::new(StatusCode::CONFLICT, why),
        }
    }
}

/// Every request passes here before anything of it is read but its head.
async fn guard(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let door = access::door(request.method(), request.uri().path());
    let token = desk.shared.token.as_ref();
    let mut response = match access::check(peer, door, request.uri(), request.headers(), token) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::debug!(?peer, ?door, status = refusal.status.as_u16(), "admin request refused");
            Fault::from(refusal).into_response()
        }
    };
    response.headers_mut().extend(pages::ALWAYS);
    response
}

async fn scrape(State(desk): State<Desk>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::render(&desk.shared)).into_response()
}

async fn health_page(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(page) = health::page_at(uri.path()) else {
        return Fault::new(StatusCode::NOT_FOUND, ROUTES).into_response();
    };
    let shared = &desk.shared;
    let inside =
        shared.health.public_details || access::may_see_inside(peer, &uri, &headers, shared.token.as_ref());
    let detail = if inside { Detail::All } else { Detail::Names };
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let draft = health::wants_draft(accept);
    let answer =
        match health::answer(shared, Wanted { page, detail, draft, head_only: method == Method::HEAD }) {
            Answer::Now(answer) => answer,
            Answer::Soon(answer) => answer.await,
        };
    answer.map(Body::from)
}

async fn dependencies(State(desk): State<Desk>, uri: Uri) -> Result<Response, Fault> {
    let Query(asked) = query::<ProbesQuery>(&uri)?;
    let with_history = asked.history.unwrap_or(0) > 0;
    Ok(no_store(json!({ "probes": probes::all(desk.shared.dependencies.as_ref(), with_history) })))
}

async fn snapshot(State(desk): State<Desk>, uri: Uri) -> Result<Response, Fault> {
    let Query(asked) = query::<SnapshotQuery>(&uri)?;
    let published = published(&desk)?;
    let mut body = published.json().to_vec();
    if asked.series.unwrap_or(0) > 0 {
        let series =
            serde_json::to_vec(&desk.shared.points_after(None)).expect("views have string keys only");
        body.pop();
        body.extend_from_slice(b",\"series\":");
        body.extend_from_slice(&series);
        body.push(b'}');
    }
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

fn published(desk: &Desk) -> Result<Arc<Published>, Fault> {
    desk.shared.published().ok_or_else(|| {
        Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent has not sealed its first second yet; try again",
        )
    })
}

async fn peers(State(desk): State<Desk>) -> Result<Response, Fault> {
    Ok(no_store(crate::admin::peers::json(&published(&desk)?.live)))
}

async fn by_release(State(desk): State<Desk>) -> Result<Response, Fault> {
    let published = published(&desk)?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(releases::json(&published))).into_response())
}

async fn by_route(State(desk): State<Desk>, uri: Uri) -> Result<Response, Fault> {
    let Query(asked) = query::<RoutesQuery>(&uri)?;
    let limit = asked.limit.unwrap_or(ROUTES_DEFAULT);
    if !(1..=GROUPS_MAX).contains(&limit) {
        return Err(Fault::bad_request(format!("limit must be from 1 to {GROUPS_MAX}, not {limit}")));
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(desk.shared.routes(limit))).into_response())
}

async fn live(State(desk): State<Desk>, uri: Uri) -> Result<Response, Fault> {
    let Query(asked) = query::<StreamQuery>(&uri)?;
    let place = desk.shared.streams.clone().try_acquire_owned().map_err(|_| {
        let message = format!(
            "{STREAMS_MAX} live streams are open, and no more are: close a dashboard, or poll /api/snapshot"
        );
        Fault::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })?;
    Ok(stream::open(desk.shared, desk.shutdown, place, asked.after))
}

async fn records(State(desk): State<Desk>, uri: Uri) -> Result<Response, Fault> {
    let Query(asked) = query::<RecordsQuery>(&uri)?;
    let limit = asked.limit.unwrap_or(RECORDS_DEFAULT);
    if !(1..=RECORDS_MAX).contains(&limit) {
        return Err(Fault::bad_request(format!("limit must be from 1 to {RECORDS_MAX}, not {limit}")));
    }
    let before = asked.before.as_deref().map(record_id).transpose()?;
    let records = desk.shared.ask(|reply| Command::Records { limit, before, reply }).await?;
    Ok(no_store(json!({ "records": records })))
}

async fn record(State(desk): State<Desk>, Path(id): Path<String>) -> Result<Response, Fault> {
    let id = record_id(&id)?;
    let missing =
        Fault::new(StatusCode::NOT_FOUND, format!("there is no record {id}; /api/records lists them"));
    let record = desk.shared.ask(|reply| Command::Record { id, reply }).await?;
    record.map(no_store).ok_or(missing)
}

async fn pause(State(desk): State<Desk>, request: Request) -> Result<Response, Fault> {
    let asked: PauseBody =
        body(request, "{\"by\": \"ana\", \"reason\": \"migration\", \"for\": \"30m\"}").await?;
    let by = text("by", &asked.by, BY_MAX)?;
    let reason = text("reason", &asked.reason, REASON_MAX)?;
    let until = until(&desk, asked.length.as_deref(), "pause")?;
    desk.shared.ask(|reply| Command::Pause { by, reason, until, reply }).await?;
    Ok(no_store(json!({ "paused": true, "until": until.map(crate::admin::view::rfc3339) })))
}

async fn resume(State(desk): State<Desk>, request: Request) -> Result<Response, Fault> {
    let asked: ResumeBody = body(request, "{\"by\": \"ana\"}").await?;
    let by = text("by", &asked.by, BY_MAX)?;
    desk.shared.ask(|reply| Command::Resume { by, reply }).await?;
    Ok(no_store(json!({ "paused": false })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SnapshotQuery {
    /// 1: with the series.
    series: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RoutesQuery {
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbesQuery {
    history: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    /// Only points after this one, in milliseconds since the Unix epoch.
    after: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordsQuery {
    limit: Option<usize>,
    before: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseBody {
    pub(super) by: String,
    pub(super) reason: String,
    #[serde(rename = "for")]
    pub(super) length: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeBody {
    pub(super) by: String,
}

pub(super) fn no_store(body: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

fn query<T: serde::de::DeserializeOwned>(uri: &Uri) -> Result<Query<T>, Fault> {
    Query::try_from_uri(uri).map_err(|error| Fault::bad_request(error.body_text()))
}

/// Reads a small JSON body. Asking for its type keeps a stranger's plain form from being one.
pub(super) async fn body<T: serde::de::DeserializeOwned>(
    request: Request,
    example: &str,
) -> Result<T, Fault> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = format!("send JSON with `Content-Type: application/json`, for example {example}");
        return Err(Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let bytes = tokio::time::timeout(BODY_TIMEOUT, to_bytes(request.into_body(), BODY_MAX))
        .await
        .map_err(|_| Fault::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within 5 s"))?
        .map_err(|_| {
            Fault::new(StatusCode::PAYLOAD_TOO_LARGE, "the body must be whole and at most 16 KiB")
        })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Fault::bad_request(format!("{error}; send for example {example}")))
}

pub(super) fn text(name: &str, given: &str, max: usize) -> Result<String, Fault> {
    let given = given.trim();
    let fits = !given.is_empty() && given.chars().count() <= max && !given.chars().any(char::is_control);
    if fits {
        Ok(given.to_owned())
    } else {
        Err(Fault::bad_request(format!("`{name}` must be one line of 1 to {max} characters")))
    }
}

/// When a pause or a lock of this length, begun now, ends; `what` names it.
pub(super) fn until(desk: &Desk, given: Option<&str>, what: &str) -> Result<Option<Time>, Fault> {
    Ok(given.map(|given| length(given, what)).transpose()?.map(|length| desk.shared.clock.now() + length))
}

fn length(given: &str, what: &str) -> Result<Duration, Fault> {
    let length = humantime::parse_duration(given)
        .map_err(|error| Fault::bad_request(format!("`for`: {error}; write it like 30m, 2h or 1day")))?;
    if length.is_zero() || length > PAUSE_MAX {
        return Err(Fault::bad_request(format!(
            "`for` must be above zero and at most 30days; leave it out for a {what} that only a person ends"
        )));
    }
    Ok(length)
}

fn record_id(given: &str) -> Result<RecordId, Fault> {
    let fits = (1..=ID_MAX).contains(&given.len()) && given.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits {
        Ok(RecordId::from_stored(given))
    } else {
        Err(Fault::bad_request("a record id is up to 32 letters and digits, as /api/records gives them"))
    }
}
