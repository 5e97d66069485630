//! The snapshot as the API serves it. These types are the API's contract; the engine's own are free to change.
//!
//! Times are RFC 3339 text in UTC with milliseconds, durations are seconds, latencies are microseconds, shares run
//! from 0 to 1; the name's ending says which.

use serde::Serialize;

use crate::admin::host::HostJson;
use crate::admin::peers::PeersView;
use crate::admin::probes::ProbeJson;
use crate::admin::shared::Published;
use crate::admin::streams::{self, StreamJson};
use crate::admin::totals::TotalsView;
use crate::admin::words;
use crate::engine::baseline::BaselineSummary;
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::policy::Policy;
use crate::engine::record::{Lock, Pause, Progress, Readiness};
use crate::engine::snapshot::{DecisionView, Snapshot, WatchView};
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, Verdict};

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
    verdict: VerdictJson<'a>,
    /// Whose fault it is; `null` where nothing is wrong.
    diagnosis: Option<DiagnosisJson<'a>>,
    /// The health score, 0 to 1; `null` when not judgeable or before there was evidence.
    score: Option<f64>,
    /// What could be found at this traffic; `null` when not judgeable.
    outlook: Option<OutlookJson>,
    /// Dependencies that are worse than they used to be.
    worse_dependencies: Vec<&'a str>,
    /// The dependencies as the probes see them.
    probes: Vec<ProbeJson<'a>>,
    /// The container and the agent against their limits; `null` before the first sample.
    host: Option<HostJson>,
    evidence: Vec<StreamJson<'a>>,
    latency_progress: f64,
    baseline: Option<BaselineJson<'a>>,
    own: BaselineJson<'a>,
    watch: Option<WatchJson>,
    pause: Option<PauseJson<'a>>,
    /// The lock on deployments; `null`: there is none.
    lock: Option<PauseJson<'a>>,
    /// Whether a rollback would be possible; `null` where nobody has looked, or the platform cannot tell.
    readiness: Option<ReadinessJson<'a>>,
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
struct VerdictJson<'a> {
    label: &'static str,
    breach: Option<&'static str>,
    /// The stream that a breach of latency, of a route or of a resource names.
    stream: Option<&'static str>,
    /// The route of a breach of a route.
    route: Option<&'a str>,
    since: Option<String>,
    /// Why, in plain words.
    why: String,
    /// What the agent does about it, or would do.
    next: String,
    /// What would change it.
    changes: String,
}

#[derive(Debug, Serialize)]
struct DiagnosisJson<'a> {
    label: &'static str,
    /// Whether putting the former release back is what helps.
    blames_release: bool,
    /// Why the release is blamed: `nothing_else`, `control_is_well` or `overloads`.
    ground: Option<&'static str>,
    /// The dependency that is worse.
    dependency: Option<&'a str>,
    /// The replica that is.
    replica: Option<&'a str>,
    /// Since when the dependency is worse.
    since: Option<String>,
    /// When the hold ends or has ended,
    hold_until: Option<String>,
    /// and whether it has.
    hold_ended: Option<bool>,
    /// Of what is shared: whether the release is suspected all the same.
    by_the_release: Option<bool>,
    /// The diagnosis and its ground, in plain words.
    why: String,
}

#[derive(Debug, Serialize)]
struct OutlookJson {
    requests_per_second: f64,
    /// The smallest share of failures that would typically be called within two minutes.
    errors_in_two_minutes: Option<f64>,
    /// How long twice the allowed share of failures would typically take.
    doubled_errors_seconds: Option<f64>,
    /// The same in plain words.
    says: String,
}

/// What a release has shown, in figures.
#[derive(Debug, Serialize)]
pub(super) struct BaselineJson<'a> {
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
    /// Median of the processor time used, in thousandths of a processor.
    cpu_millicores: Option<u64>,
    /// 95th percentile of the memory held.
    memory_bytes: Option<u64>,
    /// 95th percentile of the file descriptors open.
    descriptors: Option<u64>,
    dependencies: Vec<DependencyJson<'a>>,
}

/// A dependency as a release saw it.
#[derive(Debug, Serialize)]
struct DependencyJson<'a> {
    name: &'a str,
    p50_us: Option<u64>,
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

/// A pause, or a lock.
#[derive(Debug, Serialize)]
pub(super) struct PauseJson<'a> {
    by: &'a str,
    reason: &'a str,
    since: String,
    until: Option<String>,
}

#[derive(Debug, Serialize)]
struct ReadinessJson<'a> {
    ready: bool,
    faults: &'a [String],
    warnings: &'a [String],
    /// What would be put back, in the platform's words.
    target: Option<&'a str>,
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
    judge_routes: bool,
    judge_statuses: bool,
    status_ratio: f64,
    status_floor: f64,
    judge_resources: bool,
    resource_ratio: f64,
    control_ratio: f64,
    probe_floor: f64,
    probe_ratio: f64,
    hold_seconds: f64,
    hold_blames_until_seconds: f64,
    baseline_requests_min: u64,
    known_good_requests: u64,
    watch_max_seconds: f64,
    catastrophe_ticks: u32,
    catastrophe_error_share: f64,
    catastrophe_requests_min: u64,
    catastrophe_latency_ratio: f64,
    crashes: u32,
    crashes_within_seconds: f64,
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
        verdict: verdict(engine, live.peers.as_ref()),
        diagnosis: engine.diagnosis.as_ref().map(|d| diagnosis(d, &engine.policy)),
        score: engine.score,
        outlook: outlook(engine),
        worse_dependencies: engine.worse_dependencies.iter().map(|name| &**name).collect(),
        probes: live.probes.iter().map(|state| ProbeJson::of(state)).collect(),
        host: live.host.as_deref().map(HostJson::of),
        evidence: engine.evidence.iter().map(|s| streams::json(s, &engine.policy)).collect(),
        latency_progress: engine.latency_progress,
        baseline: engine.baseline.as_ref().map(baseline),
        own: baseline(&engine.own),
        watch: engine.watch.as_ref().map(|w| watch(w, &engine.policy)),
        pause: engine.pause.as_ref().map(pause),
        lock: engine.lock.as_ref().map(lock),
        readiness: engine.readiness.as_ref().map(readiness),
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
    at.to_rfc3339_millis()
}

fn verdict<'a>(engine: &'a Snapshot, peers: Option<&PeersView>) -> VerdictJson<'a> {
    let (breach, since) = match &engine.verdict {
        Verdict::Degraded { breach, since } => (Some(breach), Some(*since)),
        Verdict::NotJudgeable(_) | Verdict::Undecided(_) | Verdict::Healthy => (None, None),
    };
    let (stream, route) = match breach {
        Some(Breach::Latency(name) | Breach::Resource(name)) => (Some(name.label()), None),
        Some(Breach::Route { stream, route }) => (Some(stream.label()), Some(&**route)),
        Some(Breach::Errors | Breach::Status(_) | Breach::Crashes | Breach::Catastrophe(_)) | None => {
            (None, None)
        }
    };
    VerdictJson {
        label: engine.verdict.label(),
        breach: breach.map(Breach::label),
        stream,
        route,
        since: since.map(rfc3339),
        why: words::why(engine),
        next: words::next(engine, peers.map(|peers| &peers.fleet.roster)),
        changes: words::changes(engine),
    }
}

fn diagnosis<'a>(d: &'a Diagnosis, policy: &Policy) -> DiagnosisJson<'a> {
    let mut json = DiagnosisJson {
        label: d.label(),
        blames_release: d.blames_release(),
        ground: None,
        dependency: None,
        replica: None,
        since: None,
        hold_until: None,
        hold_ended: None,
        by_the_release: None,
        why: words::whose(d, policy),
    };
    match d {
        Diagnosis::Deployment(Ground::NothingElse) => json.ground = Some("nothing_else"),
        Diagnosis::Deployment(Ground::ControlIsWell) => json.ground = Some("control_is_well"),
        Diagnosis::Deployment(Ground::Overloads { probe }) => {
            json.ground = Some("overloads");
            json.dependency = Some(probe);
        }
        Diagnosis::Replica { replica } => json.replica = Some(replica),
        Diagnosis::Dependency { probe, since, until, hold_ended } => {
            json.dependency = Some(probe);
            json.since = Some(rfc3339(*since));
            json.hold_until = Some(rfc3339(*until));
            json.hold_ended = Some(*hold_ended);
        }
        Diagnosis::Shared { by_the_release } => json.by_the_release = Some(*by_the_release),
        Diagnosis::Network | Diagnosis::Observer => {}
    }
    json
}

fn outlook(engine: &Snapshot) -> Option<OutlookJson> {
    engine.outlook.as_ref().map(|seen| OutlookJson {
        requests_per_second: seen.requests_per_second,
        errors_in_two_minutes: seen.errors_in_two_minutes,
        doubled_errors_seconds: seen.doubled_errors_take.map(|d| d.as_secs_f64()),
        says: words::outlook(seen, engine),
    })
}

pub(super) fn baseline(b: &BaselineSummary) -> BaselineJson<'_> {
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
        cpu_millicores: b.cpu_millicores,
        memory_bytes: b.memory_bytes,
        descriptors: b.descriptors,
        dependencies: b
            .probes
            .iter()
            .map(|(name, p50_us)| DependencyJson { name, p50_us: *p50_us })
            .collect(),
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

pub(super) fn lock(l: &Lock) -> PauseJson<'_> {
    PauseJson { by: &l.by, reason: &l.reason, since: rfc3339(l.since), until: l.until.map(rfc3339) }
}

fn readiness(r: &Readiness) -> ReadinessJson<'_> {
    ReadinessJson {
        ready: r.is_ready(),
        faults: &r.faults,
        warnings: &r.warnings,
        target: r.target.as_deref(),
    }
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
        judge_routes: p.judge_routes,
        judge_statuses: p.judge_statuses,
        status_ratio: p.status_ratio,
        status_floor: p.status_floor,
        judge_resources: p.judge_resources,
        resource_ratio: p.resource_ratio,
        control_ratio: p.control_ratio,
        probe_floor: p.probe_floor,
        probe_ratio: p.probe_ratio,
        hold_seconds: p.hold.as_secs_f64(),
        hold_blames_until_seconds: p.hold_blames_until.as_secs_f64(),
        baseline_requests_min: p.baseline_requests_min,
        known_good_requests: p.known_good_requests,
        watch_max_seconds: p.watch_max.as_secs_f64(),
        catastrophe_ticks: p.catastrophe_ticks,
        catastrophe_error_share: p.catastrophe_error_share,
        catastrophe_requests_min: p.catastrophe_requests_min,
        catastrophe_latency_ratio: p.catastrophe_latency_ratio,
        crashes: p.crashes,
        crashes_within_seconds: p.crashes_within.as_secs_f64(),
        cooldown_seconds: p.cooldown.as_secs_f64(),
        verify_seconds: p.verify.as_secs_f64(),
        act_after_watch: p.act_after_watch,
        replicas: p.replicas,
    }
}
