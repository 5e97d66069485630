//! What the judge says of a release, and why: one of four verdicts, never a guess.

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
    /// Requests slower than the baseline's 99th percentile allows.
    LatencyP99,
}

impl StreamName {
    /// The name in records, metrics and on the page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP90 => "latency_p90",
            Self::LatencyP99 => "latency_p99",
        }
    }

    /// The quantile of a latency stream.
    pub const fn quantile(self) -> Option<f64> {
        match self {
            Self::Errors => None,
            Self::LatencyP50 => Some(0.50),
            Self::LatencyP90 => Some(0.90),
            Self::LatencyP99 => Some(0.99),
        }
    }
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
    /// The catastrophe rule fired.
    Catastrophe(Arm),
}

impl Breach {
    /// The name in records and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Latency(_) => "latency",
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
    /// The baseline's own figure: the error rate (0 to 1), or the quantile in microseconds.
    pub baseline: f64,
    /// The guard band's edge: the error rate, or the latency in microseconds, beyond which a request or rate counts.
    pub limit: f64,
    /// The share of bad requests that the null hypothesis allows.
    pub p0: f64,
    /// Requests weighed since judging began.
    pub requests: u64,
    /// Of those, bad ones.
    pub bad: u64,
    /// The share of bad requests in the last minute; `None` without requests.
    pub recent_share: Option<f64>,
    /// The stream's own figure in the last minute: the error rate, or the quantile in microseconds.
    pub recent_value: Option<f64>,
    /// Natural logarithm of the request-level e-detector.
    pub ln_requests: f64,
    /// What it must reach.
    pub ln_requests_limit: f64,
    /// Natural logarithm of the tick-level e-detector.
    pub ln_ticks: f64,
    /// What it must reach.
    pub ln_ticks_limit: f64,
}

impl StreamEvidence {
    /// How far the evidence has come, from 0 (none) to 1 (both limits reached): the lesser of both levels.
    pub fn progress(&self) -> f64 {
        let share = |value: f64, limit: f64| (value.max(0.0) / limit).clamp(0.0, 1.0);
        share(self.ln_requests, self.ln_requests_limit).min(share(self.ln_ticks, self.ln_ticks_limit))
    }
}
