//! Rules that others judge by, on the same traffic. None of them is given the first half minute, as the judge is not.
//!
//! - *z, 60 s*: errors of the last minute against the history, two-proportion z-test, one-sided, p < 0.01, every 5 s.
//! - *p99 > 2x*: the 99th percentile of the last minute against the history's, every 5 s. Both want 30 requests.
//! - *Flagger*: its built-in checks at `interval: 1m`, `threshold: 5` with `request-success-rate` of at least 99 % and
//!   `request-duration` (a 99th percentile) of at most 500 ms in its documentation, here twice the history's. A minute
//!   with a failed check, or without values, counts once; counts are not taken back.
//! - *Argo*: the success-rate template of its documentation (`successCondition: result[0] >= 0.95`, `failureLimit: 3`), but
//!   measured every minute rather than every five: the fourth failed measurement ends the rollout.
//! - *Kayenta*: the Mann-Whitney classifier of `NetflixACAJudge` with its constants (tolerance 0.25 of the Hodges-Lehmann
//!   estimate, confidence 0.98) on minutes of error rate, median and 99th percentile against the hour before; judged after
//!   ten minutes and every five from then on, on the last thirty. One metric of three called high is a score of 67, below
//!   the usual marginal score of 75.

use std::collections::VecDeque;

use outrigger::engine::tick::Tick;
use outrigger::engine::window::Latencies;

use crate::history::History;

pub(crate) const RIVALS: [&str; 5] = ["z, 60 s", "p99 > 2x", "Flagger", "Argo", "Kayenta"];
/// Ticks that none of them is given.
const WARM_UP_TICKS: usize = 6;
/// One-sided p of 0.01.
const Z_LIMIT: f64 = 2.326_348;
const REQUESTS_MIN: u64 = 30;
const FLAGGER_SUCCESS: f64 = 0.99;
const FLAGGER_THRESHOLD: u32 = 5;
const ARGO_SUCCESS: f64 = 0.95;
const ARGO_FAILURE_LIMIT: u32 = 3;
const KAYENTA_TOLERANCE: f64 = 0.25;
/// Two-sided confidence of 0.98.
const KAYENTA_Z: f64 = 2.326_348;
/// Kayenta judges first after so many minutes, then each so many, and looks at so many at most.
const KAYENTA_FIRST: usize = 10;
const KAYENTA_EVERY: usize = 5;
const KAYENTA_LOOKS_BACK: usize = 30;

/// A minute in figures; `None` without requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Minute {
    pub(crate) errors: Option<f64>,
    p50_us: Option<u64>,
    p99_us: Option<u64>,
}

impl Minute {
    pub(crate) fn of<'a>(ticks: impl IntoIterator<Item = &'a Tick>) -> Self {
        let (mut judged, mut failed, mut pairs) = (0, 0, Vec::new());
        for tick in ticks {
            judged += tick.judged;
            failed += tick.failed;
            pairs.extend_from_slice(tick.latencies.pairs());
        }
        let all = Latencies::new(pairs);
        let errors = (judged > 0).then(|| failed as f64 / judged as f64);
        Self { errors, p50_us: all.quantile(0.5), p99_us: all.quantile(0.99) }
    }
}

/// All rivals on one service's traffic.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rivals {
    seen: usize,
    recent: VecDeque<Tick>,
    flagger_failed: u32,
    argo_failed: u32,
    minutes: Vec<Minute>,
}

impl Rivals {
    /// Looks at one more tick; says which of [`RIVALS`] would roll back now.
    pub(crate) fn see(&mut self, history: &History, tick: &Tick) -> [bool; RIVALS.len()] {
        self.seen += 1;
        if self.seen <= WARM_UP_TICKS {
            return [false; RIVALS.len()];
        }
        if self.recent.len() >= 12 {
            self.recent.pop_front();
        }
        self.recent.push_back(tick.clone());
        let (z, p99) = self.windows(history);
        let kayenta = (self.seen - WARM_UP_TICKS).is_multiple_of(12) && self.minute(history);
        [z, p99, self.flagger_failed >= FLAGGER_THRESHOLD, self.argo_failed > ARGO_FAILURE_LIMIT, kayenta]
    }

    /// The two rules on a sliding minute.
    fn windows(&self, history: &History) -> (bool, bool) {
        let judged: u64 = self.recent.iter().map(|t| t.judged).sum();
        let failed: u64 = self.recent.iter().map(|t| t.failed).sum();
        let (n0, k0) = (history.baseline.judged as f64, history.baseline.failed as f64);
        let (n1, k1) = (judged as f64, failed as f64);
        let pooled = (k0 + k1) / (n0 + n1);
        let error = (pooled * (1.0 - pooled) * (1.0 / n0 + 1.0 / n1)).sqrt();
        let z = judged >= REQUESTS_MIN && (k1 / n1 - k0 / n0) / error > Z_LIMIT;
        // The 99th percentile is beyond a limit exactly if more than a hundredth is.
        let counted: u64 = self.recent.iter().map(|t| t.latencies.count()).sum();
        let slow: u64 = self.recent.iter().map(|t| t.latencies.slower_than(2 * history.p99_us)).sum();
        (z, counted >= REQUESTS_MIN && slow * 100 > counted)
    }

    /// A minute has ended. Returns Kayenta's opinion.
    fn minute(&mut self, history: &History) -> bool {
        let minute = Minute::of(&self.recent);
        let success = minute.errors.map(|errors| 1.0 - errors);
        let is_slow = minute.p99_us.is_none_or(|p99| p99 > 2 * history.p99_us);
        self.flagger_failed += u32::from(success.is_none_or(|share| share < FLAGGER_SUCCESS) || is_slow);
        self.argo_failed += u32::from(success.is_none_or(|share| share < ARGO_SUCCESS));
        self.minutes.push(minute);
        let so_far = self.minutes.len();
        if so_far < KAYENTA_FIRST || !so_far.is_multiple_of(KAYENTA_EVERY) {
            return false;
        }
        let recent = &self.minutes[so_far.saturating_sub(KAYENTA_LOOKS_BACK)..];
        let metrics: [fn(&Minute) -> Option<f64>; 3] =
            [|m| m.errors, |m| m.p50_us.map(|us| us as f64), |m| m.p99_us.map(|us| us as f64)];
        metrics.iter().any(|of| {
            let experiment: Vec<f64> = recent.iter().filter_map(of).collect();
            let control: Vec<f64> = history.minutes.iter().filter_map(of).collect();
            is_high(&experiment, &control)
        })
    }
}

/// The lower confidence limit of the Hodges-Lehmann shift lies above the tolerated part of its estimate (Mann, Whitney
/// 1947; Hodges, Lehmann 1963), by the normal approximation of the rank sum.
fn is_high(experiment: &[f64], control: &[f64]) -> bool {
    let (n, m) = (experiment.len() as f64, control.len() as f64);
    let mut shifts: Vec<f64> = experiment.iter().flat_map(|e| control.iter().map(move |c| e - c)).collect();
    if shifts.is_empty() {
        return false;
    }
    shifts.sort_unstable_by(f64::total_cmp);
    let estimate = shifts[shifts.len() / 2];
    let rank = (n * m / 2.0 - KAYENTA_Z * (n * m * (n + m + 1.0) / 12.0).sqrt()).floor();
    rank >= 1.0 && shifts[rank as usize - 1] > KAYENTA_TOLERANCE * estimate.abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_shift_is_high_and_noise_is_not() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut draw = |n: usize, mean: f64| -> Vec<f64> {
            (0..n).map(|_| mean + crate::chance::normal(&mut rng)).collect()
        };
        let control = draw(60, 10.0);
        assert!(is_high(&draw(15, 13.0), &control));
        let noise = (0..300).filter(|_| is_high(&draw(15, 10.0), &control)).count();
        assert!(noise <= 9, "one-sided 1 % at most, less by the tolerance: {noise} of 300");
    }
}
