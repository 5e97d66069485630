//! One stream of bad events, weighed at two levels.
//!
//! *Request level*: every request counts. Powerful, but real errors come in clumps, and then it lies: the requests of one
//! burst are not independent.
//! *Tick level*: a tick of five seconds counts once, as bad or good. It asks whether the trouble *persists*, and a burst of
//! a few seconds cannot answer yes. It costs at least three ticks.
//!
//! A stream has spoken only when both have. A tick is bad when its share of bad requests is above what is allowed and, in
//! a busy tick, also beyond what chance explains. The tick level's own null hypothesis is never below 2 %, and rises where
//! the baseline itself shows clumps or where a tick holds so few requests that chance alone makes it bad.

use std::collections::VecDeque;

use crate::engine::judge::binomial;
use crate::engine::judge::detector::{Detector, ln_below};
use crate::engine::verdict::{StreamEvidence, StreamName};
use crate::engine::tick::Tick;

/// Ticks in the recent past that figures for people are taken from: one minute.
const RECENT_TICKS: usize = 12;
/// Ticks in the rolling window of the mirrored test: five minutes. Older ones fall out.
const CLEAR_TICKS: usize = 60;
/// The chance that a healthy tick is bad is never taken to be less.
const TICK_NULL_MIN: f64 = 0.02;
/// In a tick of so many requests chance can be told from change,
const BUSY: u64 = 100;
/// when chance alone would bring as many bad requests in one tick of five hundred.
const BY_CHANCE: f64 = 0.002;
/// How much that chance may exceed what the baseline shows.
const TICK_NULL_RATIO: f64 = 1.5;
/// ln 20: the mirrored test's limit.
const LN_CLEAR: f64 = 2.995_732_273_553_991;

/// What a stream calls a bad event, and how many the null hypothesis allows; frozen with the baseline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Null {
    pub(crate) name: StreamName,
    /// The baseline's own figure: error rate or quantile in microseconds.
    pub(crate) baseline: f64,
    /// The guard band's edge in the same unit.
    pub(crate) limit: f64,
    /// The share of bad requests that is still allowed.
    pub(crate) p0: f64,
    /// An upper limit of the share of bad requests in the baseline.
    pub(crate) usual: f64,
    /// The share of bad ticks that the baseline itself shows, with its uncertainty.
    pub(crate) usual_ticks: f64,
    /// The baseline's bad requests come in bursts: a tick is no independent witness, and one more has to agree.
    pub(crate) is_clumped: bool,
}

impl Null {
    /// How many bad requests make a tick of `n` bad.
    pub(crate) fn least_bad(&self, n: u64) -> u64 {
        let above = (self.p0 * n as f64) as u64 + 1;
        if n < BUSY {
            return above;
        }
        above.max(self.least_beyond(n, BY_CHANCE))
    }

    /// The least number of bad requests in a tick of `n` that chance explains with this probability at most.
    pub(crate) fn least_beyond(&self, n: u64, probability: f64) -> u64 {
        let (mut low, mut high) = (0, n);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if binomial::upper_tail(n, self.usual, middle) <= probability {
                high = middle
            } else {
                low = middle
            }
        }
        high
    }
}

/// A stream and its evidence so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stream {
    null: Null,
    by_request: Detector,
    by_tick: Detector,
    requests: u64,
    bad: u64,
    recent: VecDeque<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    n: u64,
    k: u64,
    /// The tick's own quantile, for people.
    value: Option<u64>,
}

/// Which promise is kept: a false-alarm probability within the watch, or an interval after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Horizon {
    Watch { ticks: f64 },
    After,
}

impl Stream {
    pub(crate) fn new(null: Null) -> Self {
        Self {
            null,
            by_request: Detector::default(),
            by_tick: Detector::default(),
            requests: 0,
            bad: 0,
            recent: VecDeque::with_capacity(CLEAR_TICKS),
        }
    }

    pub(crate) fn null(&self) -> &Null {
        &self.null
    }

    /// Weighs a tick. Returns whether it was bad; `None` when it was no evidence.
    pub(crate) fn weigh(&mut self, tick: &Tick) -> Option<bool> {
        let (n, k) = self.count(tick);
        // Requests that hang on were counted once; while nothing else is answered, their hanging on is a bad tick.
        let hangs = n == 0 && self.null.name != StreamName::Errors && tick.overdue > 0 && tick.answered == 0;
        self.keep(tick, n, k);
        if n == 0 && !hangs {
            return None;
        }
        let is_bad = hangs || k >= self.null.least_bad(n);
        self.requests += n;
        self.bad += k;
        self.by_request.weigh(n, k, self.null.p0);
        self.by_tick.weigh(1, u64::from(is_bad), self.tick_null(n));
        Some(is_bad)
    }

    fn count(&self, tick: &Tick) -> (u64, u64) {
        match self.null.name {
            StreamName::Errors => (tick.judged, tick.failed),
            StreamName::LatencyP50 | StreamName::LatencyP90 | StreamName::LatencyP99 => {
                (tick.latencies.count(), tick.latencies.slower_than(self.null.limit as u64))
            }
        }
    }

    fn keep(&mut self, tick: &Tick, n: u64, k: u64) {
        if self.recent.len() == CLEAR_TICKS {
            self.recent.pop_front();
        }
        let value = self.null.name.quantile().and_then(|q| tick.latencies.quantile(q));
        self.recent.push_back(Sample { n, k, value });
    }

    /// The chance that a healthy tick of `n` requests is bad.
    fn tick_null(&self, n: u64) -> f64 {
        // A tick in which nothing was answered while requests hang is not bad by chance.
        let by_chance = match n {
            0 => 0.0,
            n => binomial::upper_tail(n, self.null.usual, self.null.least_bad(n).min(n)),
        };
        TICK_NULL_MIN.max(TICK_NULL_RATIO * self.null.usual_ticks).max(by_chance).min(0.9)
    }

    pub(crate) fn ln_requests(&self, horizon: Horizon) -> f64 {
        ln_evidence(&self.by_request, horizon)
    }

    pub(crate) fn ln_ticks(&self, horizon: Horizon) -> f64 {
        ln_evidence(&self.by_tick, horizon)
    }

    /// Whether the last five minutes say that the share of bad events is below what is allowed (a test of fixed length at
    /// 1 in 20, not one that may be looked at for ever: nothing is done on its word).
    pub(crate) fn is_clear(&self) -> bool {
        let (n, k) = self.recent.iter().fold((0, 0), |(n, k), s| (n + s.n, k + s.k));
        n > 0 && (k as f64) < self.null.p0 * n as f64 && ln_below(n, k, self.null.p0) >= LN_CLEAR
    }

    pub(crate) fn evidence(&self, horizon: Horizon, limits: (f64, f64)) -> StreamEvidence {
        let recent = self.recent.iter().rev().take(RECENT_TICKS);
        let (n, k) = recent.clone().fold((0, 0), |(n, k), s| (n + s.n, k + s.k));
        let share = (n > 0).then(|| k as f64 / n as f64);
        let slowest = recent.filter_map(|s| s.value).max().map(|v| v as f64);
        StreamEvidence {
            name: self.null.name,
            baseline: self.null.baseline,
            limit: self.null.limit,
            p0: self.null.p0,
            requests: self.requests,
            bad: self.bad,
            recent_share: share,
            recent_value: if self.null.name == StreamName::Errors { share } else { slowest },
            ln_requests: self.ln_requests(horizon),
            ln_requests_limit: limits.0,
            ln_ticks: self.ln_ticks(horizon),
            ln_ticks_limit: limits.1,
        }
    }
}

fn ln_evidence(detector: &Detector, horizon: Horizon) -> f64 {
    match horizon {
        Horizon::Watch { ticks } => detector.ln_in_watch(ticks),
        Horizon::After => detector.ln_any(),
    }
}
