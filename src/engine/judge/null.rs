//! What a baseline allows: the null hypotheses of all streams, with the baseline's own uncertainty on top.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::{
    AGE_ENDS_S, Baseline, RouteBaseline, Slice, TICK_QUANTILES, age_slice, coarse, hour_of_week,
};
use crate::engine::judge::binomial;
use crate::engine::judge::counts::{Marks, QUANTILES};
use crate::engine::judge::stream::Null;
use crate::engine::policy::Policy;
use crate::engine::time::Time;
use crate::engine::verdict::StreamName;
use crate::engine::window::{Latencies, WATCHED_STATUSES};

/// The confidence limits of the error rate are missed with this probability,
const ERROR_MISS: f64 = 1e-3;
/// those of the quantiles with this one.
const QUANTILE_MISS: f64 = 1e-4;
/// A tick is a burst when chance would bring one like it in so many.
const BURST: f64 = 1e-4;
/// A baseline with more bursts than this, and than three times what chance explains, is clumped.
const BURSTS_MIN: f64 = 3.0;
/// Below so many baseline requests the 99th percentile is not judged: its limit would be too far out to mean anything.
const P99_REQUESTS_MIN: u64 = 2_000;
/// The allowed share never exceeds this.
const P0_MAX: f64 = 0.9;
/// A route is judged by itself when the baseline holds so many of its requests.
const ROUTE_REQUESTS_MIN: u64 = 500;
/// A status is judged when the baseline holds so many answers.
const STATUS_REQUESTS_MIN: u64 = 1_000;
/// An age or hour has a limit of its own when chance explains so rarely what the baseline holds of it.
const SLICE_BY_CHANCE: f64 = 1e-3;
/// A release is warm where its 90th percentile at an age is within this multiple of the overall one.
const WARM: f64 = 1.25;
/// and so rarely by chance.
const COLD_BY_CHANCE: f64 = 1e-4;
/// A learnt warm-up is no longer than this.
pub(crate) const WARM_UP_MAX: Duration = Duration::from_secs(300);
/// Without a history of crashes one in four hours, and as much again, is allowed for, in crashed ticks of all ticks.
const CRASHED_TICKS_MIN: f64 = 1.0 / 2880.0;
/// The latency streams in the order of [`QUANTILES`].
pub(crate) const LATENCIES: [StreamName; QUANTILES.len()] =
    [StreamName::LatencyP50, StreamName::LatencyP90, StreamName::LatencyP95, StreamName::LatencyP99];

fn plain(name: StreamName, baseline: f64, p0: f64, usual: f64) -> Null {
    Null { name, route: None, baseline, limit: p0, p0, usual, usual_ticks: 0.0, is_clumped: false }
}

/// The share that is allowed above an upper limit of the usual one.
fn guard(upper: f64, ratio: f64, floor: f64) -> f64 {
    (ratio * upper).max(upper + floor).min(P0_MAX)
}

pub(crate) fn errors(baseline: &Baseline, policy: &Policy) -> Null {
    let upper = binomial::upper_limit(baseline.judged, baseline.failed, ERROR_MISS);
    let p0 = guard(upper, policy.error_ratio, policy.error_floor);
    let mut null = plain(StreamName::Errors, baseline.error_rate(), p0, upper);
    let ticks = baseline.ticks();
    if let Some(mean) = baseline.judged.checked_div(ticks).filter(|&mean| mean > 0) {
        let bad_from = null.least_bad(mean) as f64 / mean as f64;
        null.usual_ticks = share_with_error(baseline.ticks_from(bad_from), ticks);
        let burst_from = null.least_beyond(mean, BURST) as f64 / mean as f64;
        null.is_clumped = is_clumped(baseline.ticks_from(burst_from), ticks, BURST);
    }
    null
}

/// Whether there were more bursts than ones as rare as this would be.
fn is_clumped(bursts: u64, ticks: u64, by_chance: f64) -> bool {
    bursts as f64 > BURSTS_MIN + 3.0 * by_chance * ticks as f64
}

/// `None` when the baseline is too small to bound the quantile.
pub(crate) fn latency(at: usize, baseline: &Baseline, policy: &Policy) -> Option<Null> {
    let (name, q) = (LATENCIES[at], QUANTILES[at]);
    let n = baseline.latency.len();
    if name == StreamName::LatencyP99 && n < P99_REQUESTS_MIN {
        return None;
    }
    let rank = binomial::quantile_upper_rank(n, q, QUANTILE_MISS)?;
    let upper = baseline.latency.value_at_quantile(rank as f64 / n as f64);
    // Rounded up to the edge of its bucket: a request in the limit's own bucket is not slow.
    let limit = baseline.latency.highest_equivalent((policy.latency_ratio * upper as f64) as u64);
    let slower = n - baseline.latency.count_between(0, limit);
    let ticks = &baseline.tick_quantiles[at];
    let (bad, all) = (ticks.slower_than(limit), ticks.count());
    let mean = n.checked_div(all).unwrap_or(0);
    let usual = binomial::upper_limit(n, slower, ERROR_MISS).min(1.0 - q);
    // In small ticks chance alone makes quantiles large.
    let by_chance = binomial::upper_tail(mean, usual, ((1.0 - q) * mean as f64) as u64 + 1);
    Some(Null {
        name,
        route: None,
        baseline: baseline.latency.value_at_quantile(q) as f64,
        limit: limit as f64,
        p0: 1.0 - q,
        usual,
        usual_ticks: share_with_error(bad, all),
        is_clumped: is_clumped(bad, all, by_chance.max(BURST)),
    })
}

/// The routes that can be judged by themselves: errors, median, 95th percentile of each, as far as there is enough of it.
/// `whole` are those of all requests.
pub(crate) fn routes(baseline: &Baseline, whole: &[&Null], policy: &Policy) -> Vec<(Arc<str>, Vec<Null>)> {
    if !policy.judge_routes {
        return Vec::new();
    }
    let judged = baseline.routes.iter().filter(|route| route.judged >= ROUTE_REQUESTS_MIN);
    // Limits are missed the less often the more of them there are.
    let miss = 1.0 / judged.clone().count().max(1) as f64;
    let nulls = judged.map(|route| {
        let nulls = route_nulls(route, miss, policy).into_iter();
        (route.route.clone(), nulls.map(|null| as_bursty_as(null, whole)).collect())
    });
    nulls.collect()
}

/// A burst of the whole service is one of each route.
fn as_bursty_as(null: Null, whole: &[&Null]) -> Null {
    let same_kind = |of: &&&Null| of.name.quantile() == null.name.quantile();
    let Some(whole) = whole.iter().find(same_kind) else { return null };
    Null {
        usual_ticks: null.usual_ticks.max(whole.usual_ticks),
        is_clumped: null.is_clumped || whole.is_clumped,
        ..null
    }
}

fn route_nulls(route: &RouteBaseline, miss: f64, policy: &Policy) -> Vec<Null> {
    let upper = binomial::upper_limit(route.judged, route.failed, ERROR_MISS * miss);
    let p0 = guard(upper, policy.error_ratio, policy.error_floor);
    let rate = route.failed as f64 / route.judged as f64;
    let usual_ticks = share_with_error(route.ill_ticks, route.ticks);
    let errors = Null {
        route: Some(route.route.clone()),
        // In small ticks one failure is a tenth, and the tick level reckons with that by itself.
        usual_ticks: if route.judged >= 20 * route.ticks { usual_ticks } else { 0.0 },
        ..plain(StreamName::RouteErrors, rate, p0, upper)
    };
    let latencies = [StreamName::RouteP50, StreamName::RouteP95].into_iter().filter_map(|name| {
        let q = name.quantile()?;
        let n = route.latencies.count();
        let upper = upper_quantile(&route.latencies, q, QUANTILE_MISS * miss)?;
        let limit = (policy.latency_ratio * upper as f64) as u64;
        let usual = binomial::upper_limit(n, route.latencies.slower_than(limit), ERROR_MISS * miss);
        Some(Null {
            route: Some(route.route.clone()),
            limit: limit as f64,
            ..plain(name, route.latencies.quantile(q)? as f64, 1.0 - q, usual.min(1.0 - q))
        })
    });
    std::iter::once(errors).chain(latencies).collect()
}

/// An upper confidence limit of a quantile; `None` when there are too few values.
fn upper_quantile(of: &Latencies, q: f64, miss: f64) -> Option<u64> {
    let n = of.count();
    let rank = binomial::quantile_upper_rank(n, q, miss)?;
    of.quantile(rank as f64 / n as f64)
}

/// One for each of `statuses` that the baseline can carry, with its place in [`WATCHED_STATUSES`].
pub(crate) fn statuses(baseline: &Baseline, statuses: &[u16], policy: &Policy) -> Vec<(usize, Null)> {
    if !policy.judge_statuses || baseline.routed < STATUS_REQUESTS_MIN {
        return Vec::new();
    }
    let places = WATCHED_STATUSES.iter().enumerate().filter(|(_, status)| statuses.contains(status));
    places
        .map(|(at, &status)| {
            let (n, k) = (baseline.routed, baseline.watched[at]);
            let upper = binomial::upper_limit(n, k, ERROR_MISS);
            let p0 = guard(upper, policy.status_ratio, policy.status_floor);
            (at, plain(StreamName::Status(status), k as f64 / n as f64, p0, upper))
        })
        .collect()
}

pub(crate) fn crashes(baseline: &Baseline, policy: &Policy) -> Null {
    let (n, k) = (baseline.all_ticks, baseline.crashed_ticks);
    let upper = binomial::upper_limit(n, k, ERROR_MISS);
    // A short baseline says little of rare things: crashes are not to be expected because it could not exclude them.
    let usual = k as f64 / n.max(1) as f64;
    let p0 = (policy.error_ratio * upper.min(usual + CRASHED_TICKS_MIN)).clamp(CRASHED_TICKS_MIN, P0_MAX);
    plain(StreamName::Crashes, usual, p0, usual.max(1e-9))
}

/// The limits at one age and hour: the usual ones, or wider ones where the baseline was slower then.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Season {
    age: usize,
    hour: u8,
    pub(crate) marks: Marks,
    /// What is allowed of errors, if more than usual.
    pub(crate) errors_p0: Option<f64>,
}

impl Season {
    pub(crate) fn is_at(&self, age: Duration, now: Time) -> bool {
        self.age == age_slice(age) && self.hour == hour_of_week(now)
    }

    pub(crate) fn new(age: Duration, now: Time, usual: Marks, baseline: &Baseline, policy: &Policy) -> Self {
        let (age, hour) = (age_slice(age), hour_of_week(now));
        let mut season = Self { age, hour, marks: usual, errors_p0: None };
        // What is long past its start is compared with all ages.
        let of_age = baseline.ages.get(age).filter(|_| age < AGE_ENDS_S.len());
        let of_hour = baseline.hours.iter().find(|(h, _)| *h == hour).map(|(_, slice)| slice);
        let usual_errors = binomial::upper_limit(baseline.judged, baseline.failed, ERROR_MISS);
        for slice in of_age.into_iter().chain(of_hour) {
            season.widen(slice, usual_errors, policy);
        }
        season
    }

    fn widen(&mut self, slice: &Slice, usual_errors: f64, policy: &Policy) {
        // A small slice is not worse for being small: its own figures count only where chance does not explain them.
        if binomial::upper_tail(slice.judged, usual_errors, slice.failed) < SLICE_BY_CHANCE {
            let upper = binomial::upper_limit(slice.judged, slice.failed, ERROR_MISS);
            let p0 = guard(upper, policy.error_ratio, policy.error_floor);
            self.errors_p0 = Some(self.errors_p0.unwrap_or(0.0).max(p0));
        }
        let n = slice.latencies.count();
        for (mark, q) in self.marks.slow.iter_mut().zip(QUANTILES).filter(|(mark, _)| **mark != u64::MAX) {
            let usual = coarse((*mark as f64 / policy.latency_ratio) as u64);
            let is_slower =
                binomial::upper_tail(n, 1.0 - q, slice.latencies.slower_than(usual)) < SLICE_BY_CHANCE;
            if let Some(value) = slice.latencies.quantile(q).filter(|_| is_slower) {
                *mark = (*mark).max((policy.latency_ratio * value as f64) as u64);
            }
        }
        self.marks.hopeless =
            self.marks.hopeless.max((policy.catastrophe_latency_ratio * self.marks.slow[0] as f64) as u64);
    }
}

/// How long the baseline's release took to become warm, in whole age slices; at most [`WARM_UP_MAX`]. An age counts as cold
/// when chance does not explain how many of its requests were slow or failed.
pub(crate) fn warm_up(baseline: &Baseline) -> Duration {
    if baseline.latency.is_empty() {
        return Duration::ZERO;
    }
    let warm = (WARM * baseline.latency.value_at_quantile(0.9) as f64) as u64;
    let failures = guard(binomial::upper_limit(baseline.judged, baseline.failed, ERROR_MISS), 2.0, 0.003);
    let ends = AGE_ENDS_S.iter().zip(&baseline.ages).filter(|&(&end, _)| end <= WARM_UP_MAX.as_secs());
    let cold = ends.filter(|(_, slice)| {
        let (n, slow) = (slice.latencies.count(), slice.latencies.slower_than(warm));
        binomial::upper_tail(n, 0.1, slow) < COLD_BY_CHANCE
            || binomial::upper_tail(slice.judged, failures, slice.failed) < COLD_BY_CHANCE
    });
    cold.map(|(&end, _)| Duration::from_secs(end)).max().unwrap_or_default()
}

/// A share and three standard errors above it.
fn share_with_error(k: u64, n: u64) -> f64 {
    if n == 0 {
        return 0.0;
    }
    let share = k as f64 / n as f64;
    share + 3.0 * libm::sqrt(share * (1.0 - share) / n as f64)
}

const _: () = assert!(TICK_QUANTILES.len() == QUANTILES.len(), "the baseline keeps what is judged");
