//! What the judge could find at a service's own traffic: the smallest fault that is called with a probability of 90 %
//! within half a minute, two minutes and ten minutes.
//!
//! Found by simulation from a seed: the very judge of a live release, against the service's own baseline, sees ticks in
//! which a fault of a given size was there from the first one on; sizes are tried from the largest down. It knows nothing of
//! files.

use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::policy::Policy;
use crate::engine::release::Release;
use crate::engine::tick::{Round, TICK, Tick};
use crate::engine::time::Time;
use crate::engine::verdict::StreamName;
use crate::engine::watch::Watch;
use crate::engine::window::Latencies;

/// The times within which a fault is to be called.
pub const WITHIN: [Duration; 3] =
    [Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(600)];
/// Watches simulated for each size of a fault.
const RUNS: usize = 60;
/// Of them so many must call it in time: nine in ten.
const CALLED_MIN: usize = 54;
/// Sizes that are tried, evenly spaced in their logarithm.
const SIZES: usize = 40;
/// The slowest part of the requests that the third kind of fault slows down.
const TAIL: f64 = 0.05;
/// Chance, always the same.
const SEED: u64 = 5;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A share of the requests fails.
    Errors,
    /// All requests take a multiple of their time.
    Slower,
    /// The slowest twentieth of the requests takes a multiple of its time.
    SlowerTail,
}

impl Kind {
    /// All kinds, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Errors, Self::Slower, Self::SlowerTail];

    /// The largest and the smallest size that is tried: a share, or a factor.
    const fn sizes(self) -> (f64, f64) {
        match self {
            Self::Errors => (0.95, 0.002),
            Self::Slower => (20.0, 1.1),
            Self::SlowerTail => (50.0, 1.1),
        }
    }
}

/// The smallest fault found within each of [`WITHIN`]; `None` where not even the largest was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Smallest {
    /// Which kind.
    pub kind: Kind,
    /// Its size: a share of requests from 0 to 1, or a factor of their time.
    pub sizes: [Option<f64>; WITHIN.len()],
}

/// What can be found at `rate` judged requests a second. `None` when the baseline cannot carry a judgement.
pub fn smallest(kind: Kind, baseline: &Baseline, rate: f64, policy: &Policy) -> Option<Smallest> {
    let service = Service::new(baseline, policy)?;
    let (largest, least) = kind.sizes();
    let mut sizes = [None; WITHIN.len()];
    for step in 0..SIZES {
        let size = largest * (least / largest).powf(step as f64 / (SIZES - 1) as f64);
        let called = service.called(kind, size, rate);
        for (found, within) in sizes.iter_mut().zip(WITHIN) {
            let in_time = called.iter().filter(|after| after.is_some_and(|after| after <= within)).count();
            if in_time >= CALLED_MIN {
                *found = Some(size);
            }
        }
        if called.iter().flatten().count() < CALLED_MIN {
            break;
        }
    }
    Some(Smallest { kind, sizes })
}

/// The requests a second that a baseline of ticks of this length was learnt from, while there were any.
pub fn usual_rate(baseline: &Baseline, tick: Duration) -> f64 {
    let ticks = baseline.ticks().max(1);
    baseline.judged as f64 / (ticks as f64 * tick.as_secs_f64())
}

/// A service in health, at the moment when its watch begins.
struct Service<'a> {
    watch: Watch,
    baseline: &'a Baseline,
    /// The latency streams' limits, ascending, in microseconds, and the catastrophe rule's.
    marks: Vec<u64>,
    begins: Time,
}

impl<'a> Service<'a> {
    fn new(baseline: &'a Baseline, policy: &Policy) -> Option<Self> {
        let begins = baseline.to;
        let policy = Policy { warm_up: Duration::ZERO, warm_up_requests: 0, judging: true, ..policy.clone() };
        let release = Release::new("simulated").expect("visible ASCII");
        // Routes, hours and ages are left out: the figures are for all requests, at any time.
        let mut plain = Baseline { routes: Vec::new(), hours: Vec::new(), ..baseline.clone() };
        plain.ages = Baseline::empty(baseline.release.clone(), begins).ages;
        let mut watch = Watch::begin(begins, release, Some(plain), policy.clone());
        // The first tick belongs to the warm-up.
        let first = begins + TICK;
        watch.see(first, &Round::single(Tick { from: begins, to: first, ended: 1, ..Tick::default() }));
        let evidence = watch.evidence();
        let of = |name| evidence.iter().find(|e| e.name == name).map(|e| e.limit as u64);
        let latencies =
            [StreamName::LatencyP50, StreamName::LatencyP90, StreamName::LatencyP95, StreamName::LatencyP99];
        let mut marks: Vec<u64> = latencies.into_iter().filter_map(of).collect();
        if let Some(median) = of(StreamName::LatencyP50) {
            marks.push((median as f64 * policy.catastrophe_latency_ratio) as u64);
        }
        marks.sort_unstable();
        marks.dedup();
        (!evidence.is_empty()).then_some(Self { watch, baseline, marks, begins: first })
    }

    /// After how long each of the runs called the fault.
    fn called(&self, kind: Kind, size: f64, rate: f64) -> Vec<Option<Duration>> {
        let beyond: Vec<f64> = self.marks.iter().map(|&mark| self.share_beyond(kind, size, mark)).collect();
        let errors = if kind == Kind::Errors { size } else { self.baseline.error_rate() };
        let runs = 0..RUNS as u64;
        runs.map(|run| self.run(&beyond, errors, rate, fastrand::Rng::with_seed(SEED + run))).collect()
    }

    /// The share of requests that take longer than `mark`.
    fn share_beyond(&self, kind: Kind, size: f64, mark: u64) -> f64 {
        let latency = &self.baseline.latency;
        let beyond = |us: u64| {
            let slower = latency.len() - latency.count_between(0, us);
            slower as f64 / latency.len().max(1) as f64
        };
        match kind {
            Kind::Errors => beyond(mark),
            Kind::Slower => beyond((mark as f64 / size) as u64),
            Kind::SlowerTail => {
                let from = latency.value_at_quantile(1.0 - TAIL);
                if mark < from { beyond(mark) } else { beyond(from.max((mark as f64 / size) as u64)) }
            }
        }
    }

    fn run(&self, beyond: &[f64], errors: f64, rate: f64, mut rng: fastrand::Rng) -> Option<Duration> {
        let mut watch = self.watch.clone();
        let mut now = self.begins;
        let last = WITHIN[WITHIN.len() - 1];
        while now.since(self.begins) < last {
            now = now + TICK;
            let n = poisson(rate * TICK.as_secs_f64(), &mut rng);
            let tick = self.tick(now, n, beyond, errors, &mut rng);
            if watch.see(now, &Round::single(tick)).blames_release() {
                return Some(now.since(self.begins));
            }
        }
        None
    }

    fn tick(&self, now: Time, n: u64, beyond: &[f64], errors: f64, rng: &mut fastrand::Rng) -> Tick {
        let mut left = n;
        let mut share = 1.0;
        let mut pairs = Vec::with_capacity(beyond.len() + 1);
        let mut at = 1;
        for (&mark, &further) in self.marks.iter().zip(beyond) {
            let slower = binomial(left, (further / share).clamp(0.0, 1.0), rng);
            pairs.push((at, left - slower));
            (left, share, at) = (slower, further.max(1e-12), mark + 1);
        }
        pairs.push((at, left));
        Tick {
            from: now - TICK,
            to: now,
            judged: n,
            failed: binomial(n, errors, rng),
            latencies: Latencies::new(pairs),
            ended: n,
            arrived: n,
            answered: n,
            ..Tick::default()
        }
    }
}

/// Trials up to which every one is drawn; beyond, the normal distribution is near enough, or the waiting times between
/// rare successes are drawn.
const DRAWN_MAX: u64 = 64;
/// Successes from which the normal distribution is near enough.
const NORMAL_FROM: f64 = 50.0;

fn binomial(n: u64, p: f64, rng: &mut fastrand::Rng) -> u64 {
    if p > 0.5 {
        return n - binomial(n, 1.0 - p, rng);
    }
    if n <= DRAWN_MAX {
        return (0..n).filter(|_| rng.f64() < p).count() as u64;
    }
    let mean = n as f64 * p;
    if mean >= NORMAL_FROM {
        let drawn = mean + (mean * (1.0 - p)).sqrt() * normal(rng);
        return drawn.round().clamp(0.0, n as f64) as u64;
    }
    if p <= 0.0 {
        return 0;
    }
    let (mut successes, mut at) = (0, 0.0);
    loop {
        // Trials until the next success: geometric.
        at += ((1.0 - rng.f64()).ln() / (-p).ln_1p()).floor() + 1.0;
        if at > n as f64 {
            return successes;
        }
        successes += 1;
    }
}

fn poisson(mean: f64, rng: &mut fastrand::Rng) -> u64 {
    if mean >= NORMAL_FROM {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0) as u64;
    }
    let (mut n, mut at) = (0, 0.0);
    loop {
        at -= (1.0 - rng.f64()).ln();
        if at > mean {
            return n;
        }
        n += 1;
    }
}

/// Box and Muller (1958).
fn normal(rng: &mut fastrand::Rng) -> f64 {
    (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quarter of a day at this rate: lognormal with sigma 0.5, 0.1 % errors.
    fn baseline(rate: f64) -> Baseline {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut baseline = Baseline::empty(Release::new("v1").expect("visible ASCII"), Time::from_millis(0));
        for n in 1..=4_320_u32 {
            let requests = poisson(rate * 5.0, &mut rng);
            let latencies =
                (0..requests).map(|_| ((8_000.0 * (0.5 * normal(&mut rng)).exp()) as u64, 1)).collect();
            let to = Time::from_millis(5_000 * u64::from(n));
            baseline.learn(
                &Tick {
                    to,
                    judged: requests,
                    failed: binomial(requests, 0.001, &mut rng),
                    latencies: Latencies::new(latencies),
                    ..Tick::default()
                },
                TICK * n,
            );
        }
        baseline
    }

    #[test]
    fn more_traffic_and_more_time_find_smaller_faults() {
        let policy = Policy::default();
        let (quiet, busy) = (baseline(3.0), baseline(30.0));
        for kind in Kind::ALL {
            let [a, b, c] = smallest(kind, &busy, 30.0, &policy).expect("it is judgeable").sizes;
            let [_, e, _] = smallest(kind, &quiet, 3.0, &policy).expect("it is judgeable").sizes;
            let (b, c) = (b.expect("two minutes are enough"), c.expect("ten minutes are enough"));
            assert!(a.is_none_or(|a| a >= b) && b >= c, "{kind:?} {a:?} {b} {c}");
            assert!(e.is_none_or(|e| e > b), "{kind:?} {e:?} {b}");
        }
    }

    #[test]
    fn draws_have_the_means_that_they_should() {
        let mut rng = fastrand::Rng::with_seed(3);
        for (n, p) in [(40, 0.1), (5_000, 0.001), (5_000, 0.3), (5_000, 0.97)] {
            let sum: u64 = (0..2_000).map(|_| binomial(n, p, &mut rng)).sum();
            let (mean, error) = (n as f64 * p, (n as f64 * p * (1.0 - p) / 2_000.0).sqrt());
            assert!((sum as f64 / 2_000.0 - mean).abs() < 5.0 * error, "{n} {p}");
        }
        for mean in [0.5, 20.0, 5_000.0] {
            let sum: u64 = (0..2_000).map(|_| poisson(mean, &mut rng)).sum();
            assert!((sum as f64 / 2_000.0 - mean).abs() < 5.0 * (mean / 2_000.0).sqrt(), "{mean}");
        }
    }
}
