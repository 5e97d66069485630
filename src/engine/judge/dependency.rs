//! The dependencies, as the agent's own probes see them: is one of them worse than it used to be, and is that the release's
//! own doing?
//!
//! Suspicion and evidence are two things. A dependency is *suspect* as soon as two of its last few rounds of probes were
//! bad: that is enough not to blame a release for the moment, and a false suspicion costs some seconds. It is *worse* when
//! an e-detector says so: that is an alarm of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::baseline::{Baseline, ProbeBaseline};
use crate::engine::judge::binomial;
use crate::engine::judge::detector::Detector;
use crate::engine::policy::Policy;
use crate::engine::tick::{PROBES_MAX, ProbeTick, Tick};
use crate::engine::time::Time;

/// Rounds of probes that are looked back at: half a minute.
const RECENT: usize = 6;
/// Bad ones among them that make a suspect.
const SUSPECT: usize = 2;
/// After the last bad round a dependency stays suspect for so many ticks: clients still retry, pools still fill.
const LINGER: u32 = 6;
/// The confidence limits of a probe's failures and latency are missed with this probability.
const MISS: f64 = 1e-3;
/// A latency limit is at least this much above the baseline, in microseconds.
const FLOOR_US: u64 = 2_000;
/// A load is excessive beyond this multiple of the baseline's upper end, and as much more as there are more requests,
const LOAD_RATIO: f64 = 2.0;
/// which is this quantile of its ticks.
const LOAD_UPPER: f64 = 0.99;
/// A baseline with fewer samples of load says nothing of what is usual,
const LOADS_MIN: u64 = 8;
/// and one with fewer than these has not seen the peaks: the limit is wider, by eight in the number of samples.
const LOADS_ENOUGH: u64 = 60;
/// Answers that a baseline must hold for the latency to be judged, and for its failures to be taken as usual.
const ANSWERS_MIN: u64 = 60;
/// A baseline with too few answers for a confidence limit of its 95th percentile (135 are needed) is taken to answer this
/// much slower now and then than it has been seen to.
const LATENCY_UNSEEN: f64 = 2.0;

/// One round of probes.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    is_bad: bool,
    load: Option<u64>,
    judged: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Dependency {
    name: Arc<str>,
    /// Beyond this an answer is slow; `None` where the baseline knows too little.
    slow_us: Option<u64>,
    /// The share of failures and of slow answers that is still allowed.
    failures: f64,
    load_limit: Option<f64>,
    detector: Detector,
    recent: VecDeque<Round>,
    /// The baseline's judged requests in a tick.
    usual_judged: f64,
    /// Ticks since the last bad round.
    quiet: u32,
    suspect_since: Option<Time>,
    overloaded: bool,
}

/// What is suspected now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Suspect {
    pub(crate) name: Arc<str>,
    pub(crate) since: Time,
    /// The release asks far more of it than the baseline did.
    pub(crate) overloaded: bool,
}

/// All dependencies that are probed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Dependencies(Vec<Dependency>);

impl Dependencies {
    pub(crate) fn new(baseline: Option<&Baseline>, policy: &Policy) -> Self {
        let all = baseline.map(|b| b.probes.as_slice()).unwrap_or_default();
        let usual_judged = baseline.map_or(0.0, Baseline::mean_judged);
        Self(all.iter().map(|probe| Dependency::new(probe, usual_judged, policy)).collect())
    }

    /// Weighs what the probes found in a tick.
    pub(crate) fn weigh(&mut self, now: Time, tick: &Tick, policy: &Policy) {
        for dependency in &mut self.0 {
            dependency.rest();
        }
        for probe in &tick.probes {
            let at = match self.0.iter().position(|d| d.name == probe.name) {
                Some(at) => at,
                None if self.0.len() >= PROBES_MAX => continue,
                None => {
                    // Not known from the baseline: only its failures can be told.
                    let unknown = ProbeBaseline { name: probe.name.clone(), ..ProbeBaseline::default() };
                    self.0.push(Dependency::new(&unknown, 0.0, policy));
                    self.0.len() - 1
                }
            };
            self.0[at].weigh(now, probe, tick.judged);
        }
    }

    /// Those that are suspect now.
    pub(crate) fn suspects(&self) -> impl Iterator<Item = Suspect> {
        self.0.iter().filter_map(|d| {
            let since = d.suspect_since?;
            Some(Suspect { name: d.name.clone(), since, overloaded: d.overloaded })
        })
    }

    /// How many are probed.
    pub(crate) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The names of those whose evidence has passed `ln_limit`.
    pub(crate) fn worse(&self, ln_limit: f64) -> impl Iterator<Item = &Arc<str>> {
        self.0.iter().filter(move |d| d.detector.ln_any() >= ln_limit).map(|d| &d.name)
    }
}

/// By how much the greatest of so many samples of load is taken to be below what is usual.
fn unseen(samples: u64) -> f64 {
    if samples < LOADS_ENOUGH { 1.0 + LOADS_MIN as f64 / samples as f64 } else { 1.0 }
}

impl Dependency {
    fn new(probe: &ProbeBaseline, usual_judged: f64, policy: &Policy) -> Self {
        let asked = probe.ok + probe.failed;
        // A short history says little of rare failures: they are not allowed for because it could not exclude them.
        let usual = if asked < ANSWERS_MIN {
            probe.failed as f64 / asked.max(1) as f64
        } else {
            binomial::upper_limit(asked, probe.failed, MISS)
        };
        let answers = probe.latencies.count();
        let upper = match binomial::quantile_upper_rank(answers, 0.95, MISS) {
            Some(rank) => probe.latencies.quantile(rank as f64 / answers as f64),
            None => probe.latencies.quantile(1.0).map(|us| (us as f64 * LATENCY_UNSEEN) as u64),
        };
        let upper = upper.filter(|_| answers >= ANSWERS_MIN);
        let load = probe.load.quantile(LOAD_UPPER).filter(|_| probe.load.count() >= LOADS_MIN);
        Self {
            name: probe.name.clone(),
            slow_us: upper.map(|us| ((us as f64 * policy.probe_ratio) as u64).max(us + FLOOR_US)),
            failures: (usual + policy.probe_floor).clamp(0.01, 0.9),
            load_limit: load.map(|load| LOAD_RATIO * unseen(probe.load.count()) * load.max(1) as f64),
            detector: Detector::default(),
            recent: VecDeque::with_capacity(RECENT),
            usual_judged,
            quiet: 0,
            suspect_since: None,
            overloaded: false,
        }
    }

    fn weigh(&mut self, now: Time, probe: &ProbeTick, judged: u64) {
        let asked = probe.ok + probe.failed;
        if asked == 0 {
            return;
        }
        let slow = self.slow_us.map_or(0, |mark| probe.latencies.slower_than(mark));
        let bad = (probe.failed + slow).min(asked);
        // One replica's probe may fail for its own reasons; a dependency that is down fails most of them.
        let is_bad = 2 * bad >= asked;
        self.detector.weigh(asked, bad, self.failures);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Round { is_bad, load: probe.load, judged });
        if is_bad {
            self.quiet = 0;
        }
        self.overloaded = self.is_overloaded();
        let bad_rounds = self.recent.iter().filter(|round| round.is_bad).count();
        if bad_rounds >= SUSPECT {
            self.suspect_since.get_or_insert(now);
        }
    }

    /// One tick more since the last bad round. A probe that is silent is no more suspect for it.
    fn rest(&mut self) {
        self.quiet = self.quiet.saturating_add(1);
        let has_lingered = self.quiet > LINGER;
        if has_lingered {
            self.suspect_since = None;
            self.recent.iter_mut().for_each(|round| round.is_bad = false);
        }
    }

    /// Whether far more is asked of it than in the baseline, over the last rounds and in proportion to the requests.
    fn is_overloaded(&self) -> bool {
        let loads = self.recent.iter().filter_map(|round| Some((round.load?, round.judged)));
        let (rounds, load, judged) = loads.fold((0_u32, 0_u64, 0_u64), |(rounds, load, judged), (l, j)| {
            (rounds + 1, load.saturating_add(l), judged + j)
        });
        let Some(limit) = self.load_limit.filter(|_| rounds > 0) else { return false };
        let rounds = f64::from(rounds);
        let busier = (judged as f64 / rounds / self.usual_judged.max(1e-9)).max(1.0);
        load as f64 / rounds > limit * busier
    }
}
