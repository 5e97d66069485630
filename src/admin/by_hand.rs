//! What a person or a pipeline asks for: the lock on deployments, the gate that says whether it is open, a rollback.
//!
//! Owns the bodies of these requests and the gate's answer. What acts is a command to the agent; the gate is read off the
//! last snapshot, and where that is old it says that it does not know.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::api::{
    BY_MAX, Desk, Fault, PauseBody, REASON_MAX, ResumeBody, body, no_store, text, until,
};
use crate::admin::shared::{Command, LONG_REPLY_TIMEOUT, Published, Rehearsal};
use crate::admin::view::{self, rfc3339};
use crate::engine::record::Lock;
use crate::engine::time::Time;

/// A snapshot older than this tells nothing of a lock: the loop that makes one a second is stuck.
const STALE_MS: u128 = 10_000;
/// The longest name of a release or of a deployment.
const TO_MAX: usize = 128;
/// When whoever found the gate shut may ask again, in seconds.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("10");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBackBody {
    by: String,
    reason: String,
    to: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

pub(super) async fn lock(State(desk): State<Desk>, request: Request) -> Result<Response, Fault> {
    let example = "{\"by\": \"ana\", \"reason\": \"schema change\", \"for\": \"2h\"}";
    let asked: PauseBody = body(request, example).await?;
    let by = text("by", &asked.by, BY_MAX)?;
    let reason = text("reason", &asked.reason, REASON_MAX)?;
    let until = until(&desk, asked.length.as_deref(), "lock")?;
    desk.shared.ask(|reply| Command::Lock { by, reason, until, reply }).await?;
    Ok(no_store(json!({ "locked": true, "until": until.map(rfc3339) })))
}

pub(super) async fn unlock(State(desk): State<Desk>, request: Request) -> Result<Response, Fault> {
    let asked: ResumeBody = body(request, "{\"by\": \"ana\"}").await?;
    let by = text("by", &asked.by, BY_MAX)?;
    let was_locked = desk.shared.ask(|reply| Command::Unlock { by, reply }).await?;
    Ok(no_store(json!({ "locked": false, "was_locked": was_locked })))
}

/// Whoever has met nobody for so long since its start is alone.
const ALONE: Duration = Duration::from_secs(30);

/// Whether a deployment may begin, as far as this agent knows.
pub(super) async fn gate(State(desk): State<Desk>) -> Response {
    let published = desk.shared.published();
    let (status, found) = opening(published.as_deref(), desk.shared.clock.now());
    let mut response = (status, [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(found))
        .into_response();
    if status != StatusCode::OK {
        response.headers_mut().insert(header::RETRY_AFTER, ASK_AGAIN);
    }
    response
}

fn opening(published: Option<&Published>, now: Time) -> (StatusCode, Value) {
    let unknown =
        |why: &str| (StatusCode::SERVICE_UNAVAILABLE, json!({ "open": null, "lock": null, "error": why }));
    let Some(published) = published else {
        return unknown("the agent has not sealed its first second yet, so it does not know; try again");
    };
    if now.since(published.at).as_millis() > STALE_MS {
        return unknown("the agent's loop is stuck, so it does not know what is locked; see its log");
    }
    // What others have locked is told at the first meeting.
    let live = &published.live;
    let meets_nobody = live.peers.as_ref().is_some_and(|peers| peers.peers.is_empty());
    if meets_nobody && now.since(live.started) < ALONE {
        return unknown(
            "the agent has just started and has met no other one yet, so it does not know; try again",
        );
    }
    // The agent lifts a lock within a second of its end; the end counts.
    let lock = published.live.engine.lock.as_ref().filter(|lock| lock.until.is_none_or(|until| until > now));
    match lock {
        None => {
            (StatusCode::OK, json!({ "open": true, "lock": null, "durable": published.live.store.durable }))
        }
        Some(lock) => {
            let found = json!({ "open": false, "lock": view::lock(lock), "durable": published.live.store.durable, "error": says(lock) });
            (StatusCode::LOCKED, found)
        }
    }
}

fn says(lock: &Lock) -> String {
    let until = lock.until.map_or_else(|| "until unlocked".to_owned(), |at| format!("until {}", rfc3339(at)));
    format!("deployments are locked by {} {until}: {}", lock.by, lock.reason)
}

pub(super) async fn roll_back(State(desk): State<Desk>, request: Request) -> Result<Response, Fault> {
    let example = "{\"by\": \"ana\", \"reason\": \"checkout fails\", \"to\": \"v41\", \"dry_run\": false}";
    let asked: RollBackBody = body(request, example).await?;
    let by = text("by", &asked.by, BY_MAX)?;
    let reason = text("reason", &asked.reason, REASON_MAX)?;
    let to = asked.to.map(|to| text("to", &to, TO_MAX)).transpose()?;
    if asked.dry_run {
        let found =
            desk.shared.ask_within(LONG_REPLY_TIMEOUT, |reply| Command::Rehearse { to, reply }).await?;
        let platform = desk.shared.published().map(|published| published.live.platform);
        return Ok(no_store(rehearsed(&found, platform)));
    }
    let make = |reply| Command::RollBack { by, reason, to, reply };
    let record = desk.shared.ask_within(LONG_REPLY_TIMEOUT, make).await?;
    Ok(no_store(json!({ "dry_run": false, "record": record })))
}

fn rehearsed(of: &Rehearsal, platform: Option<&str>) -> Value {
    let readiness = of.readiness.as_ref();
    let mut faults: Vec<&str> = readiness.iter().flat_map(|r| r.faults.iter().map(String::as_str)).collect();
    if of.to.is_none() {
        faults.insert(
            0,
            "no release but the one that runs is known good yet; `outrigger history` shows which are remembered, \
             `--to RELEASE` names one",
        );
    }
    let ready = if faults.is_empty() { readiness.map(|_| true) } else { Some(false) };
    json!({
        "dry_run": true,
        "platform": platform,
        "release": of.from.as_str(),
        "target": of.to.as_ref().map(|to| to.as_str()),
        "ready": ready,
        "platform_target": readiness.and_then(|r| r.target.as_deref()),
        "faults": faults,
        "warnings": readiness.map_or(&[][..], |r| &r.warnings),
    })
}
