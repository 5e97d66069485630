//! The snapshot as the API serves it. These types are the API's contract; the engine's own are free to change.
//!
//! Times are RFC 3339 text in UTC with milliseconds, durations are seconds, latencies are microseconds, shares run
//! from 0 to 1; the name's ending says which.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::admin::shared::Published;
use crate::admin::totals::TotalsView;
use crate::admin::words;
use crate::engine::baseline::BaselineSummary;
use crate::engine::policy::Policy;
use crate::engine::record::{Pause, Progress};
use crate::engine::snapshot::{DecisionView, Snapshot, WatchView};
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, StreamEvidence, Verdict};

#[derive(Debug, Serialize)]
pub(super) struct SnapshotJson<'a> {
    at: String,
    started: String,
    uptime_seconds: u64,
    service: ServiceJson<'a>,
    release: &'a str,
    standing: &'static str,
    mode: &'static str,
    platform: &'static str,
    verdict: VerdictJson,
    evidence: Vec<StreamJson>,
    latency_progress: f64,
    baseline: Option<BaselineJson<'a>>,
    own: BaselineJson<'a>,
    watch: Option<WatchJson>,
    pause: Option<PauseJson<'a>>,
    cooldown_until: Option<String>,
    last_decision: Option<DecisionJson<'a>>,
    target: Option<&'a str>,
    policy: PolicyJson,
    app: AppJson<'a>,
    store: StoreJson<'a>,
    in_flight: u64,
    totals: &'a TotalsView,
    warnings: &'a [String],
}

#[derive(Debug, Serialize)]
struct ServiceJson<'a> {
    name: &'a str,
    environment: &'a str,
    replica: &'a str,
    /// Outrigger's own version.
    outrigger: &'static str,
}

#[derive(Debug, Serialize)]
struct VerdictJson {
    label: &'static str,
    breach: Option<&'static str>,
    /// The stream that a breach of latency names.
    stream: Option<&'static str>,
    since: Option<String>,
    /// Why, in plain words.
    why: String,
    /// What the agent does about it, or would do.
    next: String,
}

#[derive(Debug, Serialize)]
struct StreamJson {
    stream: &'static str,
    baseline: f64,
    limit: f64,
    p0: f64,
    requests: u64,
    bad: u64,
    recent_share: Option<f64>,
    recent_value: Option<f64>,
    ln_requests: f64,
    ln_requests_limit: f64,
    ln_ticks: f64,
    ln_ticks_limit: f64,
    progress: f64,
}

#[derive(Debug, Serialize)]
struct BaselineJson<'a> {
    release: &'a str,
    from: String,
    to: String,
    requests: u64,
    error_rate: f64,
    mean_us: Option<u64>,
    p50_us: Option<u64>,
    p90_us: Option<u64>,
    p95_us: Option<u64>,
    p99_us: Option<u64>,
}

#[derive(Debug, Serialize)]
struct WatchJson {
    ready_at: String,
    ends_at: String,
    watch_seconds: f64,
    judged_seconds: f64,
    judged_requests: u64,
    known_good_requests: u64,
    passed: bool,
}

#[derive(Debug, Serialize)]
struct PauseJson<'a> {
    by: &'a str,
    reason: &'a str,
    since: String,
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct DecisionJson<'a> {
    id: &'a str,
    at: String,
    decision: &'static str,
    target: Option<&'a str>,
    progress: &'static str,
    detail: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct PolicyJson {
    mode: &'static str,
    judging: bool,
    watch_seconds: f64,
    warm_up_seconds: f64,
    warm_up_requests: u64,
    false_alarms: f64,
    false_alarm_interval_seconds: f64,
    error_ratio: f64,
    error_floor: f64,
    latency_ratio: f64,
    baseline_requests_min: u64,
    known_good_requests: u64,
    cooldown_seconds: f64,
    verify_seconds: f64,
    act_after_watch: bool,
    replicas: u32,
}

#[derive(Debug, Serialize)]
struct AppJson<'a> {
    phase: &'static str,
    supervised: bool,
    pid: Option<u32>,
    since: String,
    upstream: &'a str,
    restarts: u64,
    detail: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct StoreJson<'a> {
    durable: bool,
    path: &'a str,
    size_bytes: u64,
    written: u64,
    dropped: u64,
    failed: u64,
    last_error: Option<&'a str>,
}

/// The whole snapshot.
pub(super) fn snapshot(published: &Published) -> SnapshotJson<'_> {
    let live = &published.live;
    let engine = &live.engine;
    let (service, app, store) = (&live.service, &live.app, &live.store);
    SnapshotJson {
        at: rfc3339(published.at),
        started: rfc3339(live.started),
        uptime_seconds: published.at.since(live.started).as_secs(),
        service: ServiceJson {
            name: &service.name,
            environment: &service.environment,
            replica: &service.replica,
            outrigger: service.version,
        },
        release: engine.release.as_str(),
        standing: engine.standing.label(),
        mode: engine.mode.label(),
        platform: live.platform,
        verdict: verdict(engine),
        evidence: engine.evidence.iter().map(stream).collect(),
        latency_progress: engine.latency_progress,
        baseline: engine.baseline.as_ref().map(baseline),
        own: baseline(&engine.own),
        watch: engine.watch.as_ref().map(|w| watch(w, &engine.policy)),
        pause: engine.pause.as_ref().map(pause),
        cooldown_until: engine.cooldown_until.map(rfc3339),
        last_decision: engine.last_decision.as_ref().map(decision),
        target: engine.target.as_ref().map(|t| t.as_str()),
        policy: policy(&engine.policy),
        app: AppJson {
            phase: app.phase.label(),
            supervised: app.supervised,
            pid: app.pid,
            since: rfc3339(app.since),
            upstream: &app.upstream,
            restarts: app.restarts,
            detail: app.detail.as_deref(),
        },
        store: StoreJson {
            durable: store.durable,
            path: &store.path,
            size_bytes: store.size_bytes,
            written: store.written,
            dropped: store.dropped,
            failed: store.failed,
            last_error: store.last_error.as_deref(),
        },
        in_flight: published.in_flight,
        totals: &published.totals,
        warnings: &live.warnings,
    }
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(at: Time) -> String {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.as_millis());
    humantime::format_rfc3339_millis(at).to_string()
}

fn verdict(engine: &Snapshot) -> VerdictJson {
    let (breach, since) = match &engine.verdict {
        Verdict::Degraded { breach, since } => (Some(breach), Some(*since)),
        Verdict::NotJudgeable(_) | Verdict::Undecided(_) | Verdict::Healthy => (None, None),
    };
    let stream = breach.and_then(|b| match b {
        Breach::Latency(name) => Some(name.label()),
        Breach::Route { stream, .. } | Breach::Resource(stream) => Some(stream.label()),
        Breach::Errors | Breach::Status(_) | Breach::Crashes | Breach::Catastrophe(_) => None,
    });
    VerdictJson {
        label: engine.verdict.label(),
        breach: breach.map(Breach::label),
        stream,
        since: since.map(rfc3339),
        why: words::why(engine),
        next: words::next(engine),
    }
}

fn stream(s: &StreamEvidence) -> StreamJson {
    StreamJson {
        stream: s.name.label(),
        baseline: s.baseline,
        limit: s.limit,
        p0: s.p0,
        requests: s.requests,
        bad: s.bad,
        recent_share: s.recent_share,
        recent_value: s.recent_value,
        ln_requests: s.ln_requests,
        ln_requests_limit: s.ln_requests_limit,
        ln_ticks: s.ln_ticks,
        ln_ticks_limit: s.ln_ticks_limit,
        progress: s.progress(),
    }
}

fn baseline(b: &BaselineSummary) -> BaselineJson<'_> {
    BaselineJson {
        release: b.release.as_str(),
        from: rfc3339(b.from),
        to: rfc3339(b.to),
        requests: b.requests,
        error_rate: b.error_rate,
        mean_us: b.mean_us,
        p50_us: b.p50_us,
        p90_us: b.p90_us,
        p95_us: b.p95_us,
        p99_us: b.p99_us,
    }
}

fn watch(w: &WatchView, policy: &Policy) -> WatchJson {
    WatchJson {
        ready_at: rfc3339(w.ready_at),
        ends_at: rfc3339(w.ends_at),
        watch_seconds: policy.watch.as_secs_f64(),
        judged_seconds: w.judged_for.as_secs_f64(),
        judged_requests: w.judged_requests,
        known_good_requests: policy.known_good_requests,
        passed: w.passed,
    }
}

fn pause(p: &Pause) -> PauseJson<'_> {
    PauseJson { by: &p.by, reason: &p.reason, since: rfc3339(p.since), until: p.until.map(rfc3339) }
}

fn decision(d: &DecisionView) -> DecisionJson<'_> {
    let detail = match &d.progress {
        Progress::NothingToDo | Progress::Intended => None,
        Progress::Accepted { detail } | Progress::Succeeded { detail, .. } | Progress::DryRun { detail } => {
            Some(detail)
        }
        Progress::Failed { reason, .. } | Progress::Interrupted { reason, .. } => Some(reason),
    };
    DecisionJson {
        id: d.id.as_str(),
        at: rfc3339(d.at),
        decision: d.decision,
        target: d.target.as_ref().map(|t| t.as_str()),
        progress: d.progress.label(),
        detail: detail.map(String::as_str),
    }
}

fn policy(p: &Policy) -> PolicyJson {
    PolicyJson {
        mode: p.mode.label(),
        judging: p.judging,
        watch_seconds: p.watch.as_secs_f64(),
        warm_up_seconds: p.warm_up.as_secs_f64(),
        warm_up_requests: p.warm_up_requests,
        false_alarms: p.false_alarms,
        false_alarm_interval_seconds: p.false_alarm_interval.as_secs_f64(),
        error_ratio: p.error_ratio,
        error_floor: p.error_floor,
        latency_ratio: p.latency_ratio,
        baseline_requests_min: p.baseline_requests_min,
        known_good_requests: p.known_good_requests,
        cooldown_seconds: p.cooldown.as_secs_f64(),
        verify_seconds: p.verify.as_secs_f64(),
        act_after_watch: p.act_after_watch,
        replicas: p.replicas,
    }
}
