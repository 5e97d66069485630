//! What normal is: the history of one release, frozen when a watch begins.

use hdrhistogram::Histogram;

use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::engine::window::Tick;

/// The smallest and largest latency kept apart, in microseconds: 1 us to one hour, at 3 significant digits.
pub const LATENCY_US_RANGE: (u64, u64) = (1, 3_600_000_000);

/// How finely a share of failures is kept: about three digits.
pub const fn ppm_step(ppm: u32) -> u32 {
    match ppm {
        0..1_000 => 10,
        1_000..10_000 => 100,
        _ => 1_000,
    }
}

/// An empty latency histogram in the form that baselines keep.
pub fn latency_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LATENCY_US_RANGE.0, LATENCY_US_RANGE.1, 3)
        .expect("the bounds and digits are constants that the histogram accepts")
}

/// The history of one release under healthy load. It only grows; a watch judges against a clone taken at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// The release that was observed.
    pub release: Release,
    /// When its first tick began.
    pub from: Time,
    /// When its last tick ended.
    pub to: Time,
    /// Requests that say something about the error rate.
    pub judged: u64,
    /// Of those, failures.
    pub failed: u64,
    /// The app's thinking times in microseconds.
    pub latency: Histogram<u64>,
    /// Ticks with at least one judged request, by their share of failures in parts per million (0 to 1,000,000), rounded
    /// down to a step of [`ppm_step`]: how clumped the release's errors are. At most some 1,100 entries.
    pub ticks_by_failed_ppm: Vec<(u32, u64)>,
}

impl Baseline {
    /// An empty one.
    pub fn empty(release: Release, from: Time) -> Self {
        Self {
            release,
            from,
            to: from,
            judged: 0,
            failed: 0,
            latency: latency_histogram(),
            ticks_by_failed_ppm: Vec::new(),
        }
    }

    /// Adds a healthy tick.
    pub fn learn(&mut self, tick: &Tick) {
        self.to = self.to.max(tick.to);
        self.judged += tick.judged;
        self.failed += tick.failed;
        for &(value, count) in tick.latencies.pairs() {
            self.latency.saturating_record_n(value, count);
        }
        if let Some(ppm) = (tick.failed * 1_000_000).checked_div(tick.judged) {
            let ppm = ppm as u32;
            let ppm = ppm - ppm % ppm_step(ppm);
            match self.ticks_by_failed_ppm.binary_search_by_key(&ppm, |&(p, _)| p) {
                Ok(i) => self.ticks_by_failed_ppm[i].1 += 1,
                Err(i) => self.ticks_by_failed_ppm.insert(i, (ppm, 1)),
            }
        }
    }

    /// The share of judged requests that failed; zero when there were none.
    pub fn error_rate(&self) -> f64 {
        if self.judged == 0 { 0.0 } else { self.failed as f64 / self.judged as f64 }
    }

    /// Ticks that held at least one judged request.
    pub fn ticks(&self) -> u64 {
        self.ticks_by_failed_ppm.iter().map(|&(_, n)| n).sum()
    }

    /// Of those, the ticks whose share of failures was at least `share`.
    pub fn ticks_from(&self, share: f64) -> u64 {
        // A stored share is rounded down, so a tick counts as soon as its true share may have been that high.
        let reaches = |ppm: u32| ppm > 0 && f64::from(ppm + ppm_step(ppm)) / 1e6 > share;
        self.ticks_by_failed_ppm.iter().filter(|&&(p, _)| reaches(p)).map(|&(_, n)| n).sum()
    }

    /// What people are shown of it.
    pub fn summary(&self) -> BaselineSummary {
        let at = |q: f64| (!self.latency.is_empty()).then(|| self.latency.value_at_quantile(q));
        BaselineSummary {
            release: self.release.clone(),
            from: self.from,
            to: self.to,
            requests: self.judged,
            error_rate: self.error_rate(),
            mean_us: (!self.latency.is_empty()).then(|| self.latency.mean() as u64),
            p50_us: at(0.50),
            p90_us: at(0.90),
            p95_us: at(0.95),
            p99_us: at(0.99),
        }
    }
}

/// A baseline in figures.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineSummary {
    /// The release that was observed.
    pub release: Release,
    /// When its first tick began.
    pub from: Time,
    /// When its last tick ended.
    pub to: Time,
    /// Judged requests.
    pub requests: u64,
    /// Share of them that failed.
    pub error_rate: f64,
    /// Mean latency in microseconds; `None` without requests, as below.
    pub mean_us: Option<u64>,
    /// Median.
    pub p50_us: Option<u64>,
    /// 90th percentile.
    pub p90_us: Option<u64>,
    /// 95th percentile.
    pub p95_us: Option<u64>,
    /// 99th percentile.
    pub p99_us: Option<u64>,
}
