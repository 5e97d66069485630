//! What the deep page checks: the agent's own parts, and the dependencies as the probes see them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::admin::health::Detail;
use crate::admin::live::{Live, Phase};
use crate::admin::shared::Published;
use crate::admin::view::rfc3339;
use crate::engine::health::{Fact, FactValue, Health, ProbeState};
use crate::engine::host::{HostState, Limits};
use crate::engine::time::Time;

/// The agent's own parts.
const PARTS: [&str; 4] = ["app", "engine", "host", "store"];
/// Beyond this age the snapshot says that the agent's loop is stuck.
const SNAPSHOT_AGE_MAX: Duration = Duration::from_secs(10);

/// One check.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) status: &'static str,
    /// 503 when it has failed.
    pub(super) critical: bool,
    pub(super) since: Option<Time>,
    /// When it was looked at last.
    pub(super) at: Option<Time>,
    pub(super) latency: Option<Duration>,
    pub(super) error: Option<String>,
    pub(super) details: Map<String, Value>,
    /// `datastore`, `component` or `system`, for the draft.
    pub(super) component: &'static str,
}

/// All of them, by name.
#[derive(Clone, Debug)]
pub(super) struct Checks(pub(super) BTreeMap<String, Check>);

impl Checks {
    pub(super) fn of(
        published: Option<&Published>,
        probes: &[Arc<ProbeState>],
        limits: &Limits,
        now: Time,
    ) -> Self {
        let mut checks = BTreeMap::new();
        match published {
            Some(published) => {
                checks.insert("app".to_owned(), app(&published.live));
                checks.insert("store".to_owned(), store(&published.live));
                checks.insert("engine".to_owned(), engine(published, now));
                if let Some(state) = &published.live.host {
                    checks.insert("host".to_owned(), host(state, limits));
                }
            }
            None => {
                for name in ["app", "store", "engine"] {
                    checks.insert(name.to_owned(), Check::new("starting", "component"));
                }
            }
        }
        for state in probes {
            // A probe may be called what a part of ours is called, whether that is shown now or not.
            let mut name = state.name.to_string();
            while PARTS.contains(&name.as_str()) || checks.contains_key(&name) {
                name.insert_str(0, "probe-");
            }
            checks.insert(name, probe(state));
        }
        Self(checks)
    }

    /// Whether one that is critical has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.0.values().any(|check| check.critical && check.status == Health::Failed.label())
    }

    /// The page's status, where the app's own is `status`.
    pub(super) fn status(&self, status: &'static str) -> &'static str {
        if self.has_failed() {
            return "unhealthy";
        }
        let is_well = |check: &Check| matches!(check.status, "ok" | "starting" | "draining");
        if status == "healthy" && !self.0.values().all(is_well) { "degraded" } else { status }
    }

    pub(super) fn json(&self, detail: Detail) -> Value {
        self.0.iter().map(|(name, check)| (name.clone(), check.json(detail))).collect::<Map<_, _>>().into()
    }
}

impl Check {
    fn new(status: &'static str, component: &'static str) -> Self {
        Self {
            status,
            critical: false,
            since: None,
            at: None,
            latency: None,
            error: None,
            details: Map::new(),
            component,
        }
    }

    fn json(&self, detail: Detail) -> Value {
        let mut json = Map::new();
        json.insert("status".to_owned(), self.status.into());
        if let Some(latency) = self.latency {
            json.insert("latency_ms".to_owned(), millis(latency).into());
        }
        if let Some(since) = self.since {
            json.insert("since".to_owned(), rfc3339(since).into());
        }
        if detail == Detail::All {
            if let Some(error) = &self.error {
                json.insert("error".to_owned(), error.clone().into());
            }
            json.insert("details".to_owned(), self.details.clone().into());
        }
        json.into()
    }
}

fn app(live: &Live) -> Check {
    let app = &live.app;
    let status = match app.phase {
        Phase::Ready => "ok",
        Phase::Starting => "starting",
        Phase::Draining => "draining",
        Phase::Gone => "failed",
    };
    Check {
        critical: true,
        since: Some(app.since),
        error: app.detail.clone().filter(|_| status != "ok"),
        details: object(json!({
            "critical": true, "phase": app.phase.label(), "supervised": app.supervised, "pid": app.pid,
            "upstream": app.upstream, "restarts": app.restarts,
        })),
        ..Check::new(status, "component")
    }
}

fn store(live: &Live) -> Check {
    let store = &live.store;
    let well = store.durable && store.failed == 0 && store.dropped == 0;
    Check {
        error: store.last_error.clone(),
        details: object(json!({
            "critical": false, "durable": store.durable, "path": store.path, "size_bytes": store.size_bytes,
            "written": store.written, "dropped": store.dropped, "failed": store.failed,
        })),
        ..Check::new(if well { "ok" } else { "degraded" }, "component")
    }
}

fn engine(published: &Published, now: Time) -> Check {
    let age = now.since(published.at);
    let engine = &published.live.engine;
    let stuck = age > SNAPSHOT_AGE_MAX;
    let error = || format!("the last snapshot is {} s old; one comes each second", age.as_secs());
    Check {
        at: Some(published.at),
        error: stuck.then(error),
        details: object(json!({
            "critical": false, "verdict": engine.verdict.label(), "mode": engine.mode.label(),
            "snapshot_age_ms": age.as_millis() as u64,
        })),
        ..Check::new(if stuck { "degraded" } else { "ok" }, "component")
    }
}

fn host(state: &HostState, limits: &Limits) -> Check {
    let concerns = state.concerns(limits);
    Check {
        at: Some(state.at),
        error: (!concerns.is_empty()).then(|| concerns.join("; ")),
        details: object(json!({
            "critical": false,
            "memory_bytes": state.memory.working_set, "memory_limit_bytes": state.memory.limit,
            "cpu_millicores": state.cpu.used_millicores, "cpu_limit_millicores": state.cpu.limit_millicores,
            "cpu_throttled_share": state.cpu.throttled_time, "disk_used_share": state.disk.used_share,
            "oom_kills": state.memory.oom_kills,
        })),
        ..Check::new(if concerns.is_empty() { "ok" } else { "degraded" }, "system")
    }
}

fn probe(state: &ProbeState) -> Check {
    let last = state.last.as_ref();
    let (told, since) = state.told();
    let mut details = object(json!({
        "kind": state.kind, "target": &*state.target, "critical": state.critical,
        "failed_in_a_row": state.failed_in_a_row(), "checked_at": last.map(|round| rfc3339(round.at)),
    }));
    for Fact { name, value } in last.map(|round| round.facts.as_slice()).unwrap_or_default() {
        details.insert((*name).to_owned(), fact(value));
    }
    let phases = last.map(|round| round.phases.as_slice()).unwrap_or_default();
    if !phases.is_empty() {
        let phases = phases.iter().map(|phase| (phase.name.to_owned(), millis(phase.took).into()));
        details.insert("phases_ms".to_owned(), phases.collect::<Map<_, _>>().into());
    }
    Check {
        critical: state.critical,
        since: Some(since),
        at: last.map(|round| round.at),
        latency: last.and_then(|round| round.latency),
        error: last.map(|round| round.why.clone()).filter(|why| !why.is_empty()),
        details,
        ..Check::new(told.label(), if is_datastore(state.kind) { "datastore" } else { "component" })
    }
}

fn is_datastore(kind: &str) -> bool {
    matches!(kind, "postgres" | "redis" | "mysql")
}

/// Whole numbers below this are told without a fraction: a double holds them exactly.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A fact as JSON. A number that is none (an infinite lag, say) is `null`.
pub(in crate::admin) fn fact(value: &FactValue) -> Value {
    match value {
        FactValue::Number(number) if number.fract() == 0.0 && number.abs() < WHOLE_MAX => {
            (*number as i64).into()
        }
        FactValue::Number(number) => (*number).into(),
        FactValue::Text(text) => text.clone().into(),
        FactValue::Truth(truth) => (*truth).into(),
    }
}

/// Milliseconds to the microsecond.
pub(in crate::admin) fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}
