//! Made-up but plausible state.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::admin::live::{AppView, Live, Phase, ServiceView, StoreView};
use crate::admin::shared::{Command, Shared};
use crate::clock::Clock;
use crate::config::Secret;
use crate::engine::baseline::{Baseline, BaselineSummary};
use crate::engine::judge::Outlook;
use crate::engine::memory::{ReleaseMemory, Standing};
use crate::engine::observation::{Method, Outcome, StatusClass};
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{Pause, Progress};
use crate::engine::release::{RecordId, Release};
use crate::engine::snapshot::{DecisionView, Snapshot, WatchView};
use crate::engine::time::Time;
use crate::engine::verdict::{StreamEvidence, StreamName, Undecided, Verdict};
use crate::engine::window::{Count, Latencies, RouteWindow, Spread, Window};

pub(crate) const START: Time = Time::from_millis(1_763_848_800_000);
pub(crate) const TOKEN: &str = "a-long-token";

pub(crate) fn release(name: &str) -> Release {
    Release::new(name).unwrap()
}

fn stream(name: StreamName, figures: (f64, f64, f64), p0: f64, share: f64) -> StreamEvidence {
    StreamEvidence {
        name,
        route: None,
        baseline: figures.0,
        limit: figures.1,
        p0,
        requests: 4200,
        bad: 33,
        recent_share: Some(0.012),
        recent_value: Some(figures.2),
        ln_requests: 12.0 * share,
        ln_requests_limit: 12.0,
        ln_ticks: 8.0 * share,
        ln_ticks_limit: 8.0,
        ln_attribution: None,
    }
}

fn of_route(of: StreamEvidence) -> StreamEvidence {
    StreamEvidence { route: Some("GET /users/{id}".into()), ..of }
}

fn evidence() -> Vec<StreamEvidence> {
    const MIB: f64 = 1_048_576.0;
    let crashes = stream(StreamName::Crashes, (0.0, 1.0 / 360.0, 0.0), 1.0 / 360.0, 0.25);
    let p95 = stream(StreamName::RouteP95, (80_000.0, 120_000.0, 0.012), 0.05, 0.0);
    vec![
        stream(StreamName::Errors, (0.001, 0.005, 0.015), 0.005, 0.21),
        stream(StreamName::LatencyP50, (22_000.0, 33_000.0, 24_000.0), 0.5, 0.0),
        stream(StreamName::LatencyP90, (64_000.0, 96_000.0, 71_000.0), 0.1, 0.05),
        stream(StreamName::LatencyP95, (80_000.0, 120_000.0, 91_000.0), 0.05, 0.1),
        stream(StreamName::LatencyP99, (120_000.0, 180_000.0, 210_000.0), 0.01, 0.3),
        stream(StreamName::Status(401), (0.004, 0.055, 0.004), 0.055, 0.0),
        stream(StreamName::Status(404), (0.02, 0.07, 0.021), 0.07, 0.1),
        StreamEvidence { ln_ticks: 0.0, ln_ticks_limit: f64::NEG_INFINITY, ..crashes },
        stream(StreamName::Cpu, (400.0, 800.0, 420.0), 0.1, 0.0),
        stream(StreamName::Memory, (256.0 * MIB, 512.0 * MIB, 290.0 * MIB), 0.1, 0.12),
        of_route(stream(StreamName::RouteErrors, (0.002, 0.016, 0.04), 0.016, 0.4)),
        of_route(StreamEvidence { recent_value: Some(0.012), ..p95 }),
    ]
}

/// A release that ran before, `n` releases ago.
pub(crate) fn remembered(n: u64) -> ReleaseMemory {
    let first_ready = START - Duration::from_secs(86_400 * n);
    let name = format!("v{}", 42 - n);
    ReleaseMemory {
        release: release(&name),
        first_ready,
        last_seen: first_ready + Duration::from_secs(80_000),
        standing: if n == 3 { Standing::RolledBack } else { Standing::KnownGood },
        judged_for: Duration::from_secs(900),
        judged_requests: 14_000,
        crashes: vec![],
        put_back_by: None,
        figures: (n < 4).then(|| Box::new(summary(&name))),
        score: (n < 4).then_some(0.9),
        deployments: Vec::new(),
        schemas: BTreeMap::new(),
    }
}

fn summary(name: &str) -> BaselineSummary {
    BaselineSummary {
        requests: 91_000,
        error_rate: 0.001,
        mean_us: Some(30_000),
        p50_us: Some(22_000),
        p90_us: Some(64_000),
        p95_us: Some(80_000),
        p99_us: Some(120_000),
        cpu_millicores: Some(400),
        memory_bytes: Some(256 << 20),
        descriptors: Some(64),
        probes: vec![("postgres".into(), Some(1_800)), ("redis".into(), None)],
        ..Baseline::empty(release(name), START - Duration::from_secs(7200)).summary()
    }
}

fn engine() -> Snapshot {
    let at = START + Duration::from_secs(300);
    Snapshot {
        at,
        release: release("v42"),
        standing: Standing::OnTrial,
        mode: Mode::Enforce,
        policy: Policy { mode: Mode::Enforce, ..Policy::default() },
        verdict: Verdict::Undecided(Undecided::Gathering),
        diagnosis: None,
        score: Some(0.62),
        outlook: Some(Outlook {
            requests_per_second: 12.0,
            errors_in_two_minutes: Some(0.021),
            doubled_errors_take: Some(Duration::from_secs(395)),
        }),
        worse_dependencies: vec![],
        evidence: evidence(),
        latency_progress: 0.34,
        baseline: Some(summary("v41")),
        own: summary("v42"),
        others: [3, 1, 4, 2].map(remembered).into(),
        watch: Some(WatchView {
            ready_at: START,
            ends_at: START + Duration::from_secs(900),
            judged_for: Duration::from_secs(270),
            judged_requests: 4200,
            passed: false,
        }),
        pause: None,
        lock: None,
        readiness: None,
        cooldown_until: None,
        last_decision: None,
        target: Some(release("v41")),
    }
}

/// Ready, gathering evidence.
pub(crate) fn live() -> Live {
    Live {
        engine: engine(),
        service: ServiceView {
            name: "checkout".to_owned(),
            environment: "production".to_owned(),
            replica: "r1".to_owned(),
            version: "0.1.0",
        },
        app: AppView {
            phase: Phase::Ready,
            supervised: true,
            pid: Some(4711),
            since: START,
            upstream: "127.0.0.1:41234".to_owned(),
            restarts: 0,
            detail: None,
        },
        store: StoreView {
            durable: true,
            path: "/data/outrigger.db".to_owned(),
            size_bytes: 1_200_000,
            written: 321,
            dropped: 0,
            failed: 0,
            last_error: None,
        },
        probes: Vec::new(),
        host: None,
        peers: None,
        inherits_until: None,
        started: START,
        platform: "command",
        warnings: vec![],
    }
}

pub(crate) fn in_phase(phase: Phase) -> Live {
    let mut live = live();
    live.app.phase = phase;
    live
}

pub(crate) fn paused() -> Live {
    let mut live = live();
    let (by, reason) = ("ana".to_owned(), "migration of orders".to_owned());
    live.engine.pause =
        Some(Pause { by, reason, since: START, until: Some(START + Duration::from_secs(1800)) });
    live
}

pub(crate) fn decided() -> Live {
    let mut live = live();
    live.engine.last_decision = Some(DecisionView {
        id: RecordId::new(START + Duration::from_secs(290), 7, 1),
        at: START + Duration::from_secs(290),
        decision: "roll_back",
        target: Some(release("v41")),
        progress: Progress::Accepted { detail: "order taken".to_owned() },
    });
    live
}

/// The `second`-th second: `requests` that ended, of which `failed` failed.
pub(crate) fn window(second: u64, requests: u64, failed: u64) -> Window {
    let kind = |status, outcome, count| Count { method: Method::Get, status, outcome, count };
    let from = START + Duration::from_secs(second);
    let latencies = (0..requests).map(|i| (20_000 + i * i * 15, 1)).collect();
    let mut counts = vec![kind(StatusClass::Success, Outcome::Answered, requests - failed)];
    if failed > 0 {
        counts.push(kind(StatusClass::ServerError, Outcome::AppError, failed));
    }
    let (mut reached, mut total) = (Box::new(Spread::default()), Box::new(Spread::default()));
    for i in 0..requests {
        reached.add(300);
        total.add(20_500 + i * i * 15);
    }
    Window {
        from,
        to: from + Duration::from_secs(1),
        counts,
        latencies: Latencies::new(latencies),
        in_flight: 4,
        arrived: requests,
        lag_us: 2_000,
        reached,
        total,
        retried: 1,
        health: 3,
        routes: vec![route("/users/{id}", requests, failed)],
        ..Window::default()
    }
}

/// One route's second: latencies from 1 ms on, a millisecond apart, and as many 404 as failures.
pub(crate) fn route(route: &str, requests: u64, failed: u64) -> RouteWindow {
    RouteWindow {
        method: Method::Get,
        route: route.into(),
        ended: requests,
        judged: requests,
        failed,
        watched: [0, 0, 0, failed, 0, 0, 0],
        latencies: Latencies::new((1..=requests).map(|ms| (ms * 1_000, 1)).collect()),
    }
}

/// The agent's two ends: what it publishes to, and what it is asked.
pub(crate) fn shared(token: Option<&str>) -> (Arc<Shared>, mpsc::Receiver<Command>) {
    let (commands, asked) = mpsc::channel(1);
    let token = token.map(|t| Secret::new(t.to_owned()));
    (Arc::new(Shared::new(Clock::start(), token, commands)), asked)
}
