//! The dependencies as the API and the page show them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::admin::health::Dependencies;
use crate::admin::health::{fact, millis};
use crate::admin::view::rfc3339;
use crate::engine::health::{Found, Point, ProbeState};

/// A probe in the snapshot.
#[derive(Debug, Serialize)]
pub(super) struct ProbeJson<'a> {
    name: &'a str,
    kind: &'static str,
    /// Whom it asks: no user, no password, no query.
    target: &'a str,
    /// Why it runs: a variable, or a place in the file.
    source: &'a str,
    critical: bool,
    /// `ok`, `degraded`, `failed` or `unknown`.
    status: &'static str,
    since: String,
    failed_in_a_row: u32,
    interval_ms: u64,
    /// Of the last round; `null` where there was no answer.
    latency_ms: Option<f64>,
    /// The median of the last answers.
    usual_ms: Option<f64>,
    /// What is to be said against it, or why there was no answer.
    error: Option<&'a str>,
    /// When the last round ended.
    at: Option<String>,
}

impl<'a> ProbeJson<'a> {
    pub(super) fn of(state: &'a ProbeState) -> Self {
        let last = state.last.as_ref();
        Self {
            name: &state.name,
            kind: state.kind,
            target: &state.target,
            source: &state.source,
            critical: state.critical,
            status: state.health.label(),
            since: rfc3339(state.since),
            failed_in_a_row: state.failed_in_a_row(),
            interval_ms: state.interval.as_millis() as u64,
            latency_ms: last.and_then(|round| round.latency).map(millis),
            usual_ms: state.usual_us.map(|us| us as f64 / 1e3),
            error: last.map(|round| round.why.as_str()).filter(|why| !why.is_empty()),
            at: last.map(|round| rfc3339(round.at)),
        }
    }
}

/// All probes with all that is known of them; with `history` also their last rounds.
pub(super) fn all(dependencies: &dyn Dependencies, with_history: bool) -> Vec<Value> {
    let one = |state: &Arc<ProbeState>| {
        let mut json = serde_json::to_value(ProbeJson::of(state)).expect("views have string keys only");
        let last = state.last.as_ref();
        let facts = last.map(|round| round.facts.as_slice()).unwrap_or_default();
        let facts = facts.iter().map(|known| (known.name.to_owned(), fact(&known.value)));
        json["facts"] = facts.collect::<serde_json::Map<_, _>>().into();
        let phases = last.map(|round| round.phases.as_slice()).unwrap_or_default();
        json["phases_ms"] = phases.iter().map(|phase| json!([phase.name, millis(phase.took)])).collect();
        let [well, impaired, failed, unable] = state.rounds;
        json["rounds"] = json!({ "well": well, "impaired": impaired, "failed": failed, "unable": unable });
        if with_history {
            let points = dependencies.history(&state.name).unwrap_or_default();
            json["history"] = points.iter().map(point).collect();
        }
        json
    };
    dependencies.known().iter().map(one).collect()
}

fn point(point: &Point) -> Value {
    json!([point.at.as_millis(), word(point.found), point.latency_us])
}

/// What a round came to.
pub(super) const fn word(found: Found) -> &'static str {
    match found {
        Found::Well => "well",
        Found::Impaired => "impaired",
        Found::Failed => "failed",
        Found::Unable => "unable",
    }
}
