//! The judge: weighs a release's ticks against a frozen baseline, with a stated bound on being wrong.
//!
//! The budget. The operator gives one figure, the chance that the watch of a healthy release ends in "degraded" (1 % by
//! default). Four tenths of it go to the error stream, a half to the latency streams together, the rest to the catastrophe
//! rule and to what is still to come. The tick level, which both streams must also pass, has its own and stricter share.
//! After the watch the same shares divide an interval between false alarms.
//!
//! The assumptions, to be said with the number: the baseline is representative to within the guard bands, ticks are
//! roughly independent, the mix of requests is the same.
//!
//! Latency is judged at the median, the 90th and the 99th percentile. The evidence of the three is averaged with fixed
//! weights, which is valid however they depend on each other (Vovk, Wang, "E-values", 2021).

pub(crate) mod binomial;
pub(crate) mod catastrophe;
pub(crate) mod detector;
pub(crate) mod stream;

use libm::log;

use crate::engine::baseline::Baseline;
use crate::engine::judge::detector::ln_add;
use crate::engine::judge::stream::{Horizon, Null, Stream};
use crate::engine::policy::Policy;
use crate::engine::verdict::{Breach, NotJudgeable, StreamEvidence, StreamName};
use crate::engine::tick::{TICK, Tick};

/// The error stream's share of the false-alarm budget.
const ERRORS_SHARE: f64 = 0.4;
/// The latency streams' share.
const LATENCY_SHARE: f64 = 0.5;
/// The share of the tick level, for each of the two.
const TICKS_SHARE: f64 = 0.2;
/// How the latency streams' evidence is weighted: the tail counts most.
const LATENCY_WEIGHTS: [(StreamName, f64); 3] =
    [(StreamName::LatencyP50, 0.25), (StreamName::LatencyP90, 0.25), (StreamName::LatencyP99, 0.5)];
/// The confidence limits of the error rate are missed with this probability,
const ERROR_MISS: f64 = 1e-3;
/// those of the quantiles with this one.
const QUANTILE_MISS: f64 = 1e-4;
/// A tick is a burst when chance would bring one like it in so many.
const BURST: f64 = 1e-4;
/// A baseline with more bursts than this, and than three times what chance explains, is clumped.
const BURSTS_MIN: f64 = 3.0;
/// What one more bad tick weighs at most: ln(0.95 / 0.02). A clumped baseline's stream needs that much more.
const LN_ONE_TICK: f64 = 3.860_729_711;
/// Below so many baseline requests the 99th percentile is not judged: its limit would be too far out to mean anything.
const P99_REQUESTS_MIN: u64 = 2_000;
/// How far evidence may come, as a share of its limit, before a release is doubted.
pub(crate) const DOUBT: f64 = 0.5;
/// Good ticks in a row after which a degraded release is no longer called so.
const RECOVERY_TICKS: u32 = 12;

/// The streams of one watch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judge {
    errors: Stream,
    latencies: Vec<(f64, Stream)>,
    horizon: Horizon,
    /// Ticks weighed.
    ticks: f64,
    /// Good ticks in a row; a tick without evidence changes nothing.
    good_ticks: u32,
}

impl Judge {
    /// Freezes the baseline. `Err` when it cannot carry a judgement.
    pub(crate) fn new(baseline: &Baseline, policy: &Policy) -> Result<Self, NotJudgeable> {
        if baseline.judged < policy.baseline_requests_min {
            return Err(NotJudgeable::BaselineTooSmall {
                requests: baseline.judged,
                needed: policy.baseline_requests_min,
            });
        }
        let latencies = LATENCY_WEIGHTS
            .iter()
            .filter_map(|&(name, weight)| Some((weight, Stream::new(latency_null(name, baseline, policy)?))))
            .collect();
        let ticks = (policy.watch.as_secs_f64() / TICK.as_secs_f64()).max(1.0);
        Ok(Self {
            errors: Stream::new(errors_null(baseline, policy)),
            latencies,
            horizon: Horizon::Watch { ticks },
            ticks: 0.0,
            good_ticks: 0,
        })
    }

    /// From now on the interval between false alarms counts, not the chance within the watch.
    pub(crate) fn end_watch(&mut self) {
        self.horizon = Horizon::After;
    }

    /// Weighs one tick.
    pub(crate) fn weigh(&mut self, tick: &Tick) {
        let latencies = self.latencies.iter_mut().filter_map(|(_, stream)| stream.weigh(tick));
        let is_bad = latencies.chain(self.errors.weigh(tick)).reduce(|a, b| a | b);
        let Some(is_bad) = is_bad else { return };
        self.good_ticks = if is_bad { 0 } else { self.good_ticks + 1 };
        self.ticks += 1.0;
        // The promise of the watch is made for so many ticks. A watch that goes on for want of traffic keeps the other.
        if let Horizon::Watch { ticks } = self.horizon
            && self.ticks >= ticks
        {
            self.horizon = Horizon::After;
        }
    }

    /// Whether the last tick that was evidence was a good one, and no stream has come far.
    pub(crate) fn is_at_ease(&self, policy: &Policy) -> bool {
        let far = self.evidence(policy).iter().any(|e| e.progress() >= DOUBT);
        self.good_ticks > 0 && !far && self.latency_progress(policy) < DOUBT
    }

    /// The share of failures beyond which the error rate cannot be the baseline's own.
    pub(crate) fn errors_limit(&self) -> f64 {
        self.errors.null().p0
    }

    /// What has been passed, if anything.
    pub(crate) fn breach(&self, policy: &Policy) -> Option<Breach> {
        let (requests, ticks) = self.errors_limits(policy);
        if self.errors.ln_requests(self.horizon) >= requests && self.errors.ln_ticks(self.horizon) >= ticks {
            return Some(Breach::Errors);
        }
        let (requests, ticks) = self.limits(policy, LATENCY_SHARE);
        let loudest = self.loudest_latency()?;
        let passed = self.ln_latency(|s| s.ln_requests(self.horizon)) >= requests
            && self.ln_latency(|s| s.ln_ticks(self.horizon)) >= ticks;
        passed.then_some(Breach::Latency(loudest))
    }

    /// Whether every stream is well within its limits by the mirrored test.
    pub(crate) fn is_clear(&self) -> bool {
        self.errors.is_clear() && self.latencies.iter().all(|(_, s)| s.is_clear())
    }

    /// Whether a degraded release has been well for a minute.
    pub(crate) fn has_recovered(&self) -> bool {
        self.good_ticks >= RECOVERY_TICKS
    }

    /// The limit of the median, for the catastrophe rule.
    pub(crate) fn median_limit_us(&self) -> Option<u64> {
        let median = self.latencies.iter().find(|(_, s)| s.null().name == StreamName::LatencyP50);
        median.map(|(_, s)| s.null().limit as u64)
    }

    /// The age from which an open request is slow by the strictest stream that there is.
    pub(crate) fn slow_mark_us(&self) -> Option<u64> {
        self.latencies.last().map(|(_, s)| s.null().limit as u64)
    }

    /// The evidence, stream by stream.
    pub(crate) fn evidence(&self, policy: &Policy) -> Vec<StreamEvidence> {
        let mut all = vec![self.errors.evidence(self.horizon, self.errors_limits(policy))];
        let limits = self.limits(policy, LATENCY_SHARE);
        all.extend(self.latencies.iter().map(|(_, s)| s.evidence(self.horizon, limits)));
        all
    }

    /// How far the latency streams together have come, from 0 to 1.
    pub(crate) fn latency_progress(&self, policy: &Policy) -> f64 {
        if self.latencies.is_empty() {
            return 0.0;
        }
        let (requests, ticks) = self.limits(policy, LATENCY_SHARE);
        let share = |value: f64, limit: f64| (value.max(0.0) / limit).clamp(0.0, 1.0);
        share(self.ln_latency(|s| s.ln_requests(self.horizon)), requests)
            .min(share(self.ln_latency(|s| s.ln_ticks(self.horizon)), ticks))
    }

    /// The limits of the error stream: where errors come in bursts, the trouble must persist a tick longer.
    fn errors_limits(&self, policy: &Policy) -> (f64, f64) {
        let (requests, ticks) = self.limits(policy, ERRORS_SHARE);
        (requests, if self.errors.null().is_clumped { ticks + LN_ONE_TICK } else { ticks })
    }

    /// ln of what the request level and the tick level must reach.
    fn limits(&self, policy: &Policy, share: f64) -> (f64, f64) {
        match self.horizon {
            Horizon::Watch { .. } => {
                let alpha = policy.false_alarms;
                (-log(alpha * share), -log(alpha * TICKS_SHARE))
            }
            Horizon::After => {
                let ticks = policy.false_alarm_interval.as_secs_f64() / TICK.as_secs_f64();
                (log(ticks / share), log(ticks / share))
            }
        }
    }

    /// ln of the weighted average over the latency streams that exist.
    fn ln_latency(&self, of: impl Fn(&Stream) -> f64) -> f64 {
        let weights: f64 = self.latencies.iter().map(|(w, _)| w).sum();
        let ln_sum = |sum: f64, (weight, stream): &(f64, Stream)| ln_add(sum, log(*weight) + of(stream));
        self.latencies.iter().fold(f64::NEG_INFINITY, ln_sum) - log(weights)
    }

    fn loudest_latency(&self) -> Option<StreamName> {
        let loud = |s: &Stream| s.ln_requests(self.horizon);
        let (_, stream) = self.latencies.iter().max_by(|(_, a), (_, b)| loud(a).total_cmp(&loud(b)))?;
        Some(stream.null().name)
    }
}

fn errors_null(baseline: &Baseline, policy: &Policy) -> Null {
    let upper = binomial::upper_limit(baseline.judged, baseline.failed, ERROR_MISS);
    let p0 = (policy.error_ratio * upper).max(upper + policy.error_floor).min(0.9);
    let mut null = Null {
        name: StreamName::Errors,
        baseline: baseline.error_rate(),
        limit: p0,
        p0,
        usual: upper,
        usual_ticks: 0.0,
        is_clumped: false,
    };
    let ticks = baseline.ticks();
    if let Some(mean) = baseline.judged.checked_div(ticks).filter(|&mean| mean > 0) {
        let bad_from = null.least_bad(mean) as f64 / mean as f64;
        null.usual_ticks = share_with_error(baseline.ticks_from(bad_from), ticks);
        let burst_from = null.least_beyond(mean, BURST) as f64 / mean as f64;
        null.is_clumped = baseline.ticks_from(burst_from) as f64 > BURSTS_MIN + 3.0 * BURST * ticks as f64;
    }
    null
}

/// `None` when the baseline is too small to bound the quantile.
fn latency_null(name: StreamName, baseline: &Baseline, policy: &Policy) -> Option<Null> {
    let q = name.quantile()?;
    let n = baseline.latency.len();
    if name == StreamName::LatencyP99 && n < P99_REQUESTS_MIN {
        return None;
    }
    let rank = binomial::quantile_upper_rank(n, q, QUANTILE_MISS)?;
    let upper = baseline.latency.value_at_quantile(rank as f64 / n as f64);
    // Rounded up to the edge of its bucket: a request in the limit's own bucket is not slow.
    let limit = baseline.latency.highest_equivalent((policy.latency_ratio * upper as f64) as u64);
    let slower = n - baseline.latency.count_between(0, limit);
    Some(Null {
        name,
        baseline: baseline.latency.value_at_quantile(q) as f64,
        limit: limit as f64,
        p0: 1.0 - q,
        usual: binomial::upper_limit(n, slower, ERROR_MISS).min(1.0 - q),
        usual_ticks: 0.0,
        is_clumped: false,
    })
}

/// A share and three standard errors above it.
fn share_with_error(k: u64, n: u64) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let share = k as f64 / n as f64;
    share + 3.0 * libm::sqrt(share * (1.0 - share) / n as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::release::Release;
    use crate::engine::time::Time;
    use crate::engine::window::Latencies;

    /// A day at 100 requests a second with 0.1 % errors: spread evenly, or in one tick of a hundred.
    fn day(in_bursts: bool) -> Baseline {
        let mut baseline = Baseline::empty(Release::new("v1").expect("visible ASCII"), Time::from_millis(0));
        for n in 0..17_280_u64 {
            let failed = if in_bursts { u64::from(n % 100 == 0) * 50 } else { u64::from(n % 2 == 0) };
            let from = Time::from_millis(5_000 * n);
            let latencies = Latencies::new(vec![(8_000, 500)]);
            let to = from + Duration::from_secs(5);
            baseline.learn(&Tick { from, to, judged: 500, failed, latencies, ..Tick::default() });
        }
        baseline
    }

    #[test]
    fn errors_that_come_in_bursts_have_to_persist_a_tick_longer() {
        let policy = Policy::default();
        let ticks_limit = |baseline: &Baseline| {
            let judge = Judge::new(baseline, &policy).expect("a day is enough");
            judge.evidence(&policy)[0].ln_ticks_limit
        };
        let (even, bursty) = (day(false), day(true));
        assert!((even.error_rate() - bursty.error_rate()).abs() < 1e-5);
        assert!((ticks_limit(&bursty) - ticks_limit(&even) - LN_ONE_TICK).abs() < 1e-9);
    }
}
