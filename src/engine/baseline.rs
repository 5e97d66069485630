//! What normal is: the history of one release, frozen when a watch begins.

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::engine::release::Release;
use crate::engine::route::GROUPS_MAX;
use crate::engine::tick::{PROBES_MAX, ProbeTick, Resources, RouteTick, Tick};
use crate::engine::time::Time;
use crate::engine::window::{Latencies, WATCHED_STATUSES};

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

/// The quantiles of which the ticks' own values are kept.
pub const TICK_QUANTILES: [f64; 4] = [0.50, 0.90, 0.95, 0.99];
/// The ends of the slices by age, in seconds since the app became ready; the last slice has no end.
pub const AGE_ENDS_S: [u64; 7] = [15, 30, 60, 120, 300, 900, 3600];
/// Hours of a week, the first one beginning on Monday at midnight, UTC.
pub const HOURS: usize = 168;
/// Significant bits of the latencies of routes, ticks and probes (steps of at most 1.6 %),
const FINE_BITS: u32 = 7;
/// and of those by age and hour (at most 6.3 %).
const COARSE_BITS: u32 = 5;

/// What was seen at one age, or in one hour of the week.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// Requests that say something about the error rate.
    pub judged: u64,
    /// Of those, failures.
    pub failed: u64,
    /// The app's thinking times, rounded up coarsely.
    pub latencies: Latencies,
    /// What the app used, tick by tick.
    pub usage: Usage,
}

/// What the app used, as sparse histograms of one value a tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Thousandths of a processor.
    pub cpu_millicores: Latencies,
    /// Bytes.
    pub memory_bytes: Latencies,
    /// Open file descriptors.
    pub descriptors: Latencies,
}

/// The history of one route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteBaseline {
    /// The method and the label.
    pub route: Arc<str>,
    /// Requests that say something about the error rate.
    pub judged: u64,
    /// Of those, failures.
    pub failed: u64,
    /// Ticks with a judged request,
    pub ticks: u64,
    /// and those in which more than a tenth of them failed.
    pub ill_ticks: u64,
    /// The app's thinking times.
    pub latencies: Latencies,
    /// When it was last asked for; at [`GROUPS_MAX`] the one that was not asked for longest is forgotten.
    pub last: Time,
}

/// The history of one probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeBaseline {
    /// The probe's name.
    pub name: Arc<str>,
    /// Probes that were answered well.
    pub ok: u64,
    /// Probes that failed.
    pub failed: u64,
    /// How long the answers took.
    pub latencies: Latencies,
    /// What the service asked of it, one value a tick.
    pub load: Latencies,
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
    /// The ticks' own quantiles, one value a tick, for each of [`TICK_QUANTILES`]: how clumped slowness is.
    pub tick_quantiles: [Latencies; TICK_QUANTILES.len()],
    /// Requests that ended on known routes.
    pub routed: u64,
    /// Of those, answers with one of [`WATCHED_STATUSES`].
    pub watched: [u64; WATCHED_STATUSES.len()],
    /// Ticks learnt, also those without a request.
    pub all_ticks: u64,
    /// Of those, the ones in which the app crashed.
    pub crashed_ticks: u64,
    /// By the app's age: as many slices as [`AGE_ENDS_S`] has ends, and one more. The warm-up is in these, and only here.
    pub ages: Vec<Slice>,
    /// By hour of the week, ascending; at most [`HOURS`].
    pub hours: Vec<(u8, Slice)>,
    /// By route, ascending by name; at most [`GROUPS_MAX`].
    pub routes: Vec<RouteBaseline>,
    /// By probe, ascending by name; at most [`PROBES_MAX`].
    pub probes: Vec<ProbeBaseline>,
    /// What the app used.
    pub usage: Usage,
}

/// Which slice an age belongs to.
pub fn age_slice(age: Duration) -> usize {
    AGE_ENDS_S.partition_point(|&end| end <= age.as_secs())
}

/// The hour of the week, 0 to 167, of a time: Monday at midnight, UTC, is 0.
pub fn hour_of_week(at: Time) -> u8 {
    // The epoch was a Thursday.
    ((at.as_millis() / 3_600_000 + 72) % HOURS as u64) as u8
}

/// A value as the slices by age and hour keep it.
pub(crate) fn coarse(value: u64) -> u64 {
    round_up(value, COARSE_BITS)
}

/// Rounds a value up so that only so many significant bits are left.
fn round_up(value: u64, bits: u32) -> u64 {
    let excess = (u64::BITS - value.leading_zeros()).saturating_sub(bits);
    value | ((1 << excess) - 1)
}

fn rounded(of: &Latencies, bits: u32) -> Latencies {
    Latencies::new(of.pairs().iter().map(|&(value, count)| (round_up(value, bits), count)).collect())
}

impl Usage {
    fn learn(&mut self, of: Resources) {
        let keep = |into: &mut Latencies, value: Option<u64>| {
            if let Some(value) = value {
                into.merge(&Latencies::new(vec![(round_up(value, COARSE_BITS), 1)]));
            }
        };
        keep(&mut self.cpu_millicores, of.cpu_millicores);
        keep(&mut self.memory_bytes, of.memory_bytes);
        keep(&mut self.descriptors, of.descriptors);
    }
}

impl Slice {
    fn learn(&mut self, tick: &Tick) {
        self.judged += tick.judged;
        self.failed += tick.failed;
        self.latencies.merge(&rounded(&tick.latencies, COARSE_BITS));
        self.usage.learn(tick.resources);
    }
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
            tick_quantiles: Default::default(),
            routed: 0,
            watched: Default::default(),
            all_ticks: 0,
            crashed_ticks: 0,
            ages: vec![Slice::default(); AGE_ENDS_S.len() + 1],
            hours: Vec::new(),
            routes: Vec::new(),
            probes: Vec::new(),
            usage: Usage::default(),
        }
    }

    /// Adds a tick of the warm-up, seen when the app was this old: it says how the app starts, and nothing else.
    pub fn learn_start(&mut self, tick: &Tick, age: Duration) {
        self.ages[age_slice(age)].learn(tick);
    }

    /// Adds a crash of the app, which belongs to no tick: the app is not up then.
    pub fn learn_crash(&mut self) {
        self.all_ticks += 1;
        self.crashed_ticks += 1;
    }

    /// Adds a healthy tick, seen when the app was this old.
    pub fn learn(&mut self, tick: &Tick, age: Duration) {
        self.learn_start(tick, age);
        self.to = self.to.max(tick.to);
        self.judged += tick.judged;
        self.failed += tick.failed;
        for &(value, count) in tick.latencies.pairs() {
            self.latency.saturating_record_n(value, count);
        }
        self.learn_clumps(tick);
        self.routed += tick.routed;
        for (sum, count) in self.watched.iter_mut().zip(tick.watched) {
            *sum += count;
        }
        self.all_ticks += 1;
        self.crashed_ticks += u64::from(tick.crashes > 0);
        let hour = hour_of_week(tick.to);
        let at = self.hours.partition_point(|&(h, _)| h < hour);
        if self.hours.get(at).is_none_or(|&(h, _)| h != hour) {
            self.hours.insert(at, (hour, Slice::default()));
        }
        self.hours[at].1.learn(tick);
        tick.routes.iter().for_each(|route| self.learn_route(route, tick.to));
        tick.probes.iter().for_each(|probe| self.learn_probe(probe));
        self.usage.learn(tick.resources);
    }

    fn learn_clumps(&mut self, tick: &Tick) {
        if let Some(ppm) = (tick.failed * 1_000_000).checked_div(tick.judged) {
            let ppm = ppm as u32;
            let ppm = ppm - ppm % ppm_step(ppm);
            match self.ticks_by_failed_ppm.binary_search_by_key(&ppm, |&(p, _)| p) {
                Ok(i) => self.ticks_by_failed_ppm[i].1 += 1,
                Err(i) => self.ticks_by_failed_ppm.insert(i, (ppm, 1)),
            }
        }
        for (kept, q) in self.tick_quantiles.iter_mut().zip(TICK_QUANTILES) {
            if let Some(value) = tick.latencies.quantile(q) {
                kept.merge(&Latencies::new(vec![(round_up(value, FINE_BITS), 1)]));
            }
        }
    }

    fn learn_route(&mut self, of: &RouteTick, now: Time) {
        let at = match self.routes.binary_search_by(|r| r.route.cmp(&of.route)) {
            Ok(at) => at,
            Err(_) => {
                if self.routes.len() >= GROUPS_MAX
                    && let Some(oldest) = (0..self.routes.len()).min_by_key(|&i| self.routes[i].last)
                {
                    self.routes.remove(oldest);
                }
                let at = self.routes.partition_point(|r| r.route < of.route);
                self.routes.insert(at, RouteBaseline { route: of.route.clone(), ..RouteBaseline::default() });
                at
            }
        };
        let kept = &mut self.routes[at];
        kept.judged += of.judged;
        kept.failed += of.failed;
        kept.ticks += u64::from(of.judged > 0);
        kept.ill_ticks += u64::from(of.failed * 10 > of.judged);
        kept.latencies.merge(&rounded(&of.latencies, FINE_BITS));
        kept.last = now;
    }

    fn learn_probe(&mut self, of: &ProbeTick) {
        let at = match self.probes.binary_search_by(|p| p.name.cmp(&of.name)) {
            Ok(at) => at,
            Err(_) if self.probes.len() >= PROBES_MAX => return,
            Err(at) => {
                self.probes.insert(at, ProbeBaseline { name: of.name.clone(), ..ProbeBaseline::default() });
                at
            }
        };
        let kept = &mut self.probes[at];
        kept.ok += of.ok;
        kept.failed += of.failed;
        kept.latencies.merge(&rounded(&of.latencies, FINE_BITS));
        if let Some(load) = of.load {
            kept.load.merge(&Latencies::new(vec![(round_up(load, COARSE_BITS), 1)]));
        }
    }

    /// Judged requests in a tick, on average over all ticks.
    pub fn mean_judged(&self) -> f64 {
        self.judged as f64 / self.all_ticks.max(1) as f64
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
            cpu_millicores: self.usage.cpu_millicores.quantile(0.5),
            memory_bytes: self.usage.memory_bytes.quantile(0.95),
            descriptors: self.usage.descriptors.quantile(0.95),
            probes: self.probes.iter().map(|p| (p.name.clone(), p.latencies.quantile(0.5))).collect(),
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
    /// Median of the processor time used, in thousandths of a processor.
    pub cpu_millicores: Option<u64>,
    /// 95th percentile of the memory held, in bytes.
    pub memory_bytes: Option<u64>,
    /// 95th percentile of the file descriptors open.
    pub descriptors: Option<u64>,
    /// Each dependency's median latency in microseconds.
    pub probes: Vec<(Arc<str>, Option<u64>)>,
}
