//! An e-detector for a stream of bad and good events: how strongly does the stream say that its chance of a bad event
//! has risen above a limit, at *any* time since the watch began?
//!
//! For one alternative chance p and one tick with `k` bad of `n`, the likelihood ratio
//! `(p/p0)^k · ((1−p)/(1−p0))^(n−k)` has an expectation of at most one for every true chance ≤ p0. From these ratios:
//!
//! - `start`, their product since the watch began: an e-process (Ville 1939; Wald 1945). Strong when the release was
//!   bad from the start, blind later: after 15 clean minutes it needs more than a minute to notice a total outage.
//! - `any`, the Shiryaev–Roberts sum `R ← (1 + R)·ratio`: a sum over all start times, so it never goes blind. `R − t` is a
//!   supermartingale, therefore `P(R reaches c within T ticks) ≤ T/c`, and the mean time to a false alarm is at least `c`
//!   ticks (Shin, Ramdas, Rinaldo, "E-detectors", 2022).
//!
//! Within a watch of T ticks, `w·start + (1−w)·any/T` has expectation ≤ 1 at every stopping time for any weight w, so it
//! passes 1/α with probability at most α. After the watch, `any` alone is compared with the interval between false alarms.
//!
//! The alternative is not known, so both are mixed over a grid of sixteen chances, evenly in log-odds. That costs at
//! most ln 16 of evidence and no tuning.

use libm::{exp, log, log1p};

const GRID: usize = 16;

/// The sums are not followed beyond this: e^644, where any decision has long been made.
const MOST: f64 = 1e280;

/// What is known of the stream's rise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Detector {
    /// Natural logarithms of the products.
    start: [f64; GRID],
    /// The sums, as they are: at most [`MOST`].
    any: [f64; GRID],
    /// What one event weighs at the limit that was weighed with last: limits seldom change.
    weights: Option<Weights>,
}

/// What one bad and one good event add to the logarithms, for each alternative, and what a tick of one such event
/// multiplies by.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Weights {
    p0: f64,
    bad: [f64; GRID],
    good: [f64; GRID],
    one_bad: [f64; GRID],
    one_good: [f64; GRID],
}

impl Weights {
    fn at(p0: f64) -> Self {
        let grid = grid(p0);
        let ln_not_p0 = log1p(-p0);
        let (bad, good) = (grid.map(|p| log(p / p0)), grid.map(|p| log1p(-p) - ln_not_p0));
        Self { p0, bad, good, one_bad: bad.map(exp), one_good: good.map(exp) }
    }
}

impl Default for Detector {
    fn default() -> Self {
        Self { start: [0.0; GRID], any: [0.0; GRID], weights: None }
    }
}

impl Detector {
    /// Weighs one tick in which `k` of `n` events were bad, against the limit `p0` (strictly between 0 and 1). `p0` may
    /// differ from tick to tick if it was known before the tick's bad events were.
    pub(crate) fn weigh(&mut self, n: u64, k: u64, p0: f64) {
        if n == 0 {
            return;
        }
        let (bad, good) = (k as f64, (n - k) as f64);
        if self.weights.as_ref().is_none_or(|weights| weights.p0.to_bits() != p0.to_bits()) {
            self.weights = Some(Weights::at(p0));
        }
        let Some(weights) = &self.weights else { return };
        for j in 0..GRID {
            let ratio = bad * weights.bad[j] + good * weights.good[j];
            self.start[j] += ratio;
            let times = match (n, k) {
                (1, 0) => weights.one_good[j],
                (1, _) => weights.one_bad[j],
                _ if ratio < LN_NOTHING => 0.0,
                _ => exp(ratio),
            };
            self.any[j] = ((1.0 + self.any[j]) * times).min(MOST);
        }
    }

    /// ln of the evidence within a watch of `ticks` ticks; `start` is the weight of the product since its beginning, between
    /// 0 and 1, the sum has the rest.
    pub(crate) fn ln_in_watch(&self, ticks: f64, start: f64) -> f64 {
        ln_add(ln_mean_exp(&self.start) + log(start), self.ln_any() - log(ticks) + log1p(-start))
    }

    /// ln of the evidence after the watch, in ticks between false alarms.
    pub(crate) fn ln_any(&self) -> f64 {
        log(self.any.iter().sum::<f64>() / GRID as f64)
    }

    /// What neither of the two exceeds, at a fraction of the cost.
    pub(crate) fn ln_at_most(&self) -> f64 {
        // The sum is never less than its last term, but the product since the start may be.
        let start = self.start.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        start.max(self.ln_any())
    }
}

/// Below this a factor is taken to be zero: e^-45 is 3e-20, and one plus it is one.
const LN_NOTHING: f64 = -45.0;

/// Sixteen alternatives above `p0`, evenly spaced in log-odds.
fn grid(p0: f64) -> [f64; GRID] {
    let lowest = if p0 >= 0.4 { p0 + 0.04 } else { 1.15 * p0 };
    let highest = if p0 >= 0.5 { 0.95 } else { (64.0 * p0).clamp(0.5, 0.95) };
    let highest = highest.max(f64::midpoint(p0, 1.0)).min(0.999);
    let lowest = lowest.min(f64::midpoint(p0, highest));
    let (a, b) = (logit(lowest), logit(highest));
    std::array::from_fn(|j| logistic(a + (b - a) * j as f64 / (GRID - 1) as f64))
}

/// ln of the evidence that the chance is *below* `p0`: the mirror image, over `k` bad of `n` in a fixed window.
pub(crate) fn ln_below(n: u64, k: u64, p0: f64) -> f64 {
    let (a, b) = (logit(p0 / 64.0), logit(p0 / 1.15));
    let terms: [f64; GRID] = std::array::from_fn(|j| {
        let p = logistic(a + (b - a) * j as f64 / (GRID - 1) as f64);
        k as f64 * log(p / p0) + (n - k) as f64 * (log1p(-p) - log1p(-p0))
    });
    ln_mean_exp(&terms)
}

fn logit(p: f64) -> f64 {
    log(p) - log1p(-p)
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// ln(e^a + e^b)
pub(crate) fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + log1p(exp(low - high)) }
}

fn ln_mean_exp(terms: &[f64; GRID]) -> f64 {
    let high = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if high == f64::NEG_INFINITY {
        return high;
    }
    let sum: f64 = terms.iter().map(|&t| exp(t - high)).sum();
    high + log(sum) - log(GRID as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_events_are_no_evidence() {
        let mut d = Detector::default();
        d.weigh(0, 0, 0.02);
        assert_eq!(d, Detector::default());
        assert!((d.ln_in_watch(180.0, 0.5) + std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn the_grid_lies_above_the_limit_and_rises() {
        for p0 in [1e-5, 0.0043, 0.01, 0.1, 0.39, 0.45, 0.5, 0.7, 0.96] {
            let g = grid(p0);
            assert!(g[0] > p0, "p0 {p0}: {g:?}");
            assert!(g.windows(2).all(|w| w[0] < w[1]) && g[GRID - 1] < 1.0, "p0 {p0}: {g:?}");
        }
    }

    #[test]
    fn four_bad_ticks_decide_inside_a_watch_and_five_after_it() {
        let (p0, watch, year) = (0.02, 180.0, 365.0 * 24.0 * 720.0);
        let mut d = Detector::default();
        for _ in 0..180 {
            d.weigh(1, 0, p0);
        }
        let mut in_watch = None;
        let mut after = None;
        for tick in 1..=6 {
            d.weigh(1, 1, p0);
            in_watch = in_watch.or((d.ln_in_watch(watch, 0.5) > log(500.0)).then_some(tick));
            after = after.or((d.ln_any() > log(year / 0.4)).then_some(tick));
        }
        assert_eq!((in_watch, after), (Some(4), Some(5)));
    }

    #[test]
    fn a_long_clean_history_does_not_blind_it() {
        let delay = |clean: usize| {
            let mut d = Detector::default();
            for _ in 0..clean {
                d.weigh(500, 0, 0.0043);
            }
            (1..).find(|_| {
                d.weigh(500, 10, 0.0043);
                d.ln_any() > log(365.0 * 24.0 * 720.0)
            })
        };
        assert_eq!(delay(10), delay(17_280));
    }

    /// The guarantee itself, at the boundary of the null, by simulation from a seed.
    #[test]
    fn at_the_boundary_of_the_null_alarms_are_rarer_than_alpha() {
        let (p0, ticks, runs, alpha) = (0.0043, 180, 2_000, 0.02);
        let mut state = 7_u64;
        // Knuth's MMIX generator: the engine uses no chance, not even in its tests' dependencies.
        let mut uniform = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut alarms = 0;
        for _ in 0..runs {
            let mut d = Detector::default();
            let mut alarmed = false;
            for _ in 0..ticks {
                let k = (0..100).filter(|_| uniform() < p0).count() as u64;
                d.weigh(100, k, p0);
                alarmed |= d.ln_in_watch(f64::from(ticks), 0.8) >= log(1.0 / alpha);
            }
            alarms += u32::from(alarmed);
        }
        // Promised: 40 of 2,000. It must also alarm at all, or the test would prove nothing.
        assert!((1..=40).contains(&alarms), "{alarms} false alarms in {runs} watches");
    }
}
