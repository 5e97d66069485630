//! What the judge says of a release, and why: one of four verdicts, never a guess.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::time::Time;

/// A stream of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamName {
    /// Requests that failed by the app's fault.
    Errors,
    /// Requests slower than the baseline's median allows.
    LatencyP50,
    /// Requests slower than the baseline's 90th percentile allows.
    LatencyP90,
    /// Requests slower than the baseline's 95th percentile allows.
    LatencyP95,
    /// Requests slower than the baseline's 99th percentile allows.
    LatencyP99,
    /// Requests of one route that failed by the app's fault.
    RouteErrors,
    /// Requests of one route slower than the baseline's median of that route allows.
    RouteP50,
    /// Requests of one route slower than the baseline's 95th percentile of that route allows.
    RouteP95,
    /// Answers with one status of the 4xx kind, on known routes; one of
    /// [`JUDGED_STATUSES`](crate::engine::judge::JUDGED_STATUSES).
    Status(u16),
    /// Ticks in which the app crashed.
    Crashes,
    /// Minutes in which the app used more processor time than the baseline allows.
    Cpu,
    /// Minutes in which the app held more memory than the baseline allows.
    Memory,
    /// Minutes in which the app held more file descriptors open than the baseline allows.
    Descriptors,
}

impl StreamName {
    /// The name in records, metrics and on the page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP90 => "latency_p90",
            Self::LatencyP95 => "latency_p95",
            Self::LatencyP99 => "latency_p99",
            Self::RouteErrors => "route_errors",
            Self::RouteP50 => "route_p50",
            Self::RouteP95 => "route_p95",
            Self::Status(401) => "status_401",
            Self::Status(403) => "status_403",
            Self::Status(404) => "status_404",
            Self::Status(409) => "status_409",
            Self::Status(422) => "status_422",
            Self::Status(429) => "status_429",
            Self::Status(_) => "status_other",
            Self::Crashes => "crashes",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Descriptors => "descriptors",
        }
    }

    /// The quantile of a latency stream.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::LatencyP50 | Self::RouteP50 => Some(0.50),
            Self::LatencyP90 => Some(0.90),
            Self::LatencyP95 | Self::RouteP95 => Some(0.95),
            Self::LatencyP99 => Some(0.99),
            Self::Errors
            | Self::RouteErrors
            | Self::Status(_)
            | Self::Crashes
            | Self::Cpu
            | Self::Memory
            | Self::Descriptors => None,
        }
    }

    /// In which unit its figures are.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Errors | Self::RouteErrors | Self::Status(_) | Self::Crashes => Unit::Share,
            Self::LatencyP50
            | Self::LatencyP90
            | Self::LatencyP95
            | Self::LatencyP99
            | Self::RouteP50
            | Self::RouteP95 => Unit::Microseconds,
            Self::Cpu => Unit::Millicores,
            Self::Memory => Unit::Bytes,
            Self::Descriptors => Unit::Count,
        }
    }
}

/// The unit of a stream's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A share from 0 to 1.
    Share,
    /// Microseconds.
    Microseconds,
    /// Thousandths of a processor.
    Millicores,
    /// Bytes.
    Bytes,
    /// A number of things.
    Count,
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq)]
pub enum NotJudgeable {
    /// The operator switched the judge off.
    SwitchedOff,
    /// No other release was ever known good: there is nothing to compare with.
    NoBaseline,
    /// The baseline holds too few requests.
    BaselineTooSmall {
        /// What it holds.
        requests: u64,
        /// What it would need.
        needed: u64,
    },
}

/// Why nothing has been decided yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Undecided {
    /// The app has not been ready yet.
    Starting,
    /// The first seconds of a release are not judged.
    WarmingUp {
        /// Time left at least.
        left: Duration,
        /// Requests left at least.
        requests_left: u64,
    },
    /// No requests came.
    NoTraffic,
    /// The evidence does not reach either way.
    Gathering,
    /// It is worse than the baseline allows, but so is the stable release beside it.
    Shared,
}

/// A rule that fires without a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// A large share of requests failed, tick after tick.
    Errors,
    /// The median is far beyond the baseline's limit, tick after tick.
    Latency,
    /// Requests are open and none ends, tick after tick.
    Hang,
    /// The app crashed again and again.
    Crashes,
}

impl Arm {
    /// The name in records and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency => "latency",
            Self::Hang => "hang",
            Self::Crashes => "crashes",
        }
    }
}

/// What was passed.
#[derive(Clone, Debug, PartialEq)]
pub enum Breach {
    /// The evidence of the error stream passed its limit.
    Errors,
    /// The joint evidence of the latency streams passed its limit; the stream named carried most of it.
    Latency(StreamName),
    /// One route's stream passed its limit.
    Route {
        /// Which stream.
        stream: StreamName,
        /// Which route, such as `GET /users/{id}`.
        route: Arc<str>,
    },
    /// The share of one 4xx status passed its limit.
    Status(u16),
    /// The app crashed far more often than it used to.
    Crashes,
    /// The app uses far more of this than it used to.
    Resource(StreamName),
    /// The catastrophe rule fired.
    Catastrophe(Arm),
}

impl Breach {
    /// The name in records and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency(_) => "latency",
            Self::Route { stream: StreamName::RouteErrors, .. } => "route_errors",
            Self::Route { .. } => "route_latency",
            Self::Status(status) => StreamName::Status(*status).label(),
            Self::Crashes => "crashes",
            Self::Resource(stream) => stream.label(),
            Self::Catastrophe(arm) => match arm {
                Arm::Errors => "catastrophe_errors",
                Arm::Latency => "catastrophe_latency",
                Arm::Hang => "catastrophe_hang",
                Arm::Crashes => "catastrophe_crashes",
            },
        }
    }
}

/// What the judge says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing can be said, and why.
    NotJudgeable(NotJudgeable),
    /// Nothing has been decided yet, and why.
    Undecided(Undecided),
    /// The evidence says that the release is no worse than its guard bands allow.
    Healthy,
    /// The evidence says that it is worse, since when, and by which rule.
    Degraded {
        /// What was passed.
        breach: Breach,
        /// When it was passed.
        since: Time,
    },
}

impl Verdict {
    /// What was passed, of a degraded one.
    pub const fn breach(&self) -> Option<&Breach> {
        match self {
            Self::Degraded { breach, .. } => Some(breach),
            Self::NotJudgeable(_) | Self::Undecided(_) | Self::Healthy => None,
        }
    }

    /// The verdict's name: `healthy`, `degraded`, `undecided` or `not_judgeable`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NotJudgeable(_) => "not_judgeable",
            Self::Undecided(_) => "undecided",
            Self::Healthy => "healthy",
            Self::Degraded { .. } => "degraded",
        }
    }
}

/// How far a stream's evidence has come.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamEvidence {
    /// Which stream.
    pub name: StreamName,
    /// The route of a route's stream.
    pub route: Option<Arc<str>>,
    /// The baseline's own figure, in the stream's [`StreamName::unit`].
    pub baseline: f64,
    /// The guard band's edge in the same unit.
    pub limit: f64,
    /// The share of bad requests that the null hypothesis allows.
    pub p0: f64,
    /// Requests (of resources: minutes; of crashes: ticks) weighed since judging began.
    pub requests: u64,
    /// Of those, bad ones.
    pub bad: u64,
    /// The share of bad requests in the last minute; `None` without requests.
    pub recent_share: Option<f64>,
    /// The stream's own figure in the last minute, in its unit; of a quantile, the largest of the last minute's ticks.
    pub recent_value: Option<f64>,
    /// Natural logarithm of the request-level e-detector.
    pub ln_requests: f64,
    /// What it must reach.
    pub ln_requests_limit: f64,
    /// Natural logarithm of the tick-level e-detector.
    pub ln_ticks: f64,
    /// What it must reach.
    pub ln_ticks_limit: f64,
    /// Natural logarithm of the evidence that bad requests concentrate on this release; `None` where no stable release
    /// runs beside it. It must reach ln 100.
    pub ln_attribution: Option<f64>,
}

impl StreamEvidence {
    /// The stream by its name, with its route: `route_errors GET /x`.
    pub fn label(&self) -> String {
        let name = self.name.label();
        self.route.as_ref().map_or_else(|| name.to_owned(), |route| format!("{name} {route}"))
    }

    /// How far the evidence has come, from 0 (none) to 1 (both limits reached): the lesser of both levels. Without a single
    /// bad event it is 0: the sum over all onsets grows a little by time alone.
    pub fn progress(&self) -> f64 {
        if self.bad == 0 {
            return 0.0;
        }
        progress((self.ln_requests, self.ln_requests_limit), (self.ln_ticks, self.ln_ticks_limit))
    }
}

/// How far two logarithms have come towards their limits, from 0 (none) to 1 (both reached): the lesser of both.
pub(crate) fn progress(requests: (f64, f64), ticks: (f64, f64)) -> f64 {
    let share = |(value, limit): (f64, f64)| (value.max(0.0) / limit).clamp(0.0, 1.0);
    share(requests).min(share(ticks))
}
