//! The judge: weighs a release's ticks against a frozen baseline, with a stated bound on being wrong.
//!
//! The budget. The operator gives one figure, the chance that the watch of a healthy release ends in "degraded" (1 % by
//! default). Each kind of stream has a fixed share of it (the constants below), and within a kind each stream has its part,
//! so the chances add up to the figure whatever the streams have to do with one another. The tick level, which most streams
//! must also pass, has its own and stricter share. After the watch the same shares divide an interval between false
//! alarms.
//!
//! The assumptions, to be said with the number: the baseline is representative to within the guard bands, ticks are
//! roughly independent, the mix of requests is the same.
//!
//! Latency is judged at the median, the 90th, 95th and 99th percentile. The evidence of the four is averaged with fixed
//! weights, which is valid however they depend on each other (Vovk, Wang, "E-values", 2021).

mod binomial;
pub(crate) mod catastrophe;
mod counts;
pub(crate) mod dependency;
mod detector;
mod finding;
mod null;
mod outlook;
mod rest;
mod routes;
mod stream;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use libm::log;

use crate::engine::baseline::Baseline;
use crate::engine::judge::catastrophe::Known;
use crate::engine::judge::counts::{Counts, Marks, QUANTILES};
use crate::engine::judge::detector::ln_add;
use crate::engine::judge::null::Season;
use crate::engine::judge::rest::{Part, Rests};
use crate::engine::judge::routes::Routes;
use crate::engine::judge::stream::{Horizon, Limits, Null, Sample, Share, Stream};
use crate::engine::judge::usage::Meters;
use crate::engine::policy::Policy;
use crate::engine::tick::{Round, TICK, Tick};
use crate::engine::time::Time;
use crate::engine::verdict::{NotJudgeable, StreamEvidence};

pub(crate) use crate::engine::judge::finding::Finding;
pub use crate::engine::judge::outlook::Outlook;

/// Statuses that are streams of their own.
pub const JUDGED_STATUSES: [u16; 6] = [401, 403, 404, 409, 422, 429];

/// The error stream's share of the false-alarm budget.
const ERRORS_SHARE: f64 = 0.40;
/// The latency streams' share, together.
const LATENCY_SHARE: f64 = 0.45;
/// The share of the routes' error streams, together,
const ROUTE_ERRORS_SHARE: f64 = 0.03;
/// and of the routes' latency streams.
const ROUTE_LATENCY_SHARE: f64 = 0.03;
/// The share of the statuses, together.
const STATUS_SHARE: f64 = 0.02;
/// The share of crashes.
const CRASHES_SHARE: f64 = 0.02;
/// The share of processor, memory and descriptors, together.
const RESOURCES_SHARE: f64 = 0.01;
// What is left, 0.04, is set aside for the catastrophe rule, which has no proof.

/// The share of the tick level, for errors and for latency each.
const TICKS_SHARE: f64 = 0.2;
/// How the latency streams' evidence is weighted: the tail counts most.
const LATENCY_WEIGHTS: [f64; QUANTILES.len()] = [0.15, 0.15, 0.2, 0.5];
/// The kinds of resources.
const RESOURCES: f64 = 3.0;
/// How far evidence may come, as a share of its limit, before a release is doubted.
pub(crate) const DOUBT: f64 = 0.5;
/// Good ticks in a row after which a degraded release is no longer called so.
const RECOVERY_TICKS: u32 = 12;
/// And after so many whatever the mirrored test says.
const RECOVERY_TICKS_MAX: u32 = 180;

/// The streams of one watch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Judge {
    baseline: Arc<Baseline>,
    errors: Stream,
    /// With their places in [`QUANTILES`].
    latencies: Vec<(usize, Stream)>,
    routes: Routes,
    /// With their places in [`crate::engine::window::WATCHED_STATUSES`].
    statuses: Vec<(usize, Stream)>,
    crashes: Stream,
    meters: Meters,
    rests: Rests,
    usual_marks: Marks,
    season: Option<Season>,
    horizon: Horizon,
    /// Ticks weighed.
    ticks: f64,
    /// Good ticks in a row; a tick without evidence changes nothing.
    good_ticks: u32,
    last_requests: u64,
    /// How long the baseline's release took to become warm.
    warm_up: Duration,
    /// Ticks seen, with or without a request.
    wall_ticks: f64,
}

impl Judge {
    /// Freezes the baseline. `Err` when it cannot carry a judgement.
    pub(crate) fn new(baseline: &Arc<Baseline>, policy: &Policy) -> Result<Self, NotJudgeable> {
        if baseline.judged < policy.baseline_requests_min {
            return Err(NotJudgeable::BaselineTooSmall {
                requests: baseline.judged,
                needed: policy.baseline_requests_min,
            });
        }
        let latencies: Vec<(usize, Stream)> = (0..QUANTILES.len())
            .filter_map(|at| Some((at, Stream::new(null::latency(at, baseline, policy)?))))
            .collect();
        let statuses = null::statuses(baseline, &JUDGED_STATUSES, policy);
        let ticks = (policy.watch.as_secs_f64() / TICK.as_secs_f64()).max(1.0);
        let errors = Stream::new(null::errors(baseline, policy));
        let whole: Vec<&Null> =
            [&errors].into_iter().chain(latencies.iter().map(|(_, s)| s)).map(Stream::null).collect();
        Ok(Self {
            routes: Routes::new(baseline, &whole, policy),
            errors,
            usual_marks: marks(&latencies, policy),
            latencies,
            statuses: statuses.into_iter().map(|(at, null)| (at, Stream::new(null))).collect(),
            crashes: Stream::new(null::crashes(baseline, policy)),
            meters: Meters::new(baseline, policy),
            rests: Rests::default(),
            season: None,
            horizon: Horizon::Watch { ticks },
            ticks: 0.0,
            good_ticks: 0,
            last_requests: 0,
            warm_up: null::warm_up(baseline),
            wall_ticks: 0.0,
            baseline: baseline.clone(),
        })
    }

    /// From now on the interval between false alarms counts, not the chance within the watch.
    pub(crate) fn end_watch(&mut self) {
        self.horizon = Horizon::After;
    }

    /// How long the baseline's release took to become warm.
    pub(crate) const fn learnt_warm_up(&self) -> Duration {
        self.warm_up
    }

    /// Weighs one round, `age` after the app became ready. `pooled` is all its replicas together.
    pub(crate) fn weigh(&mut self, now: Time, age: Duration, round: &Round, pooled: &Tick, policy: &Policy) {
        self.enter_season(now, age, policy);
        let (marks, errors_p0) = (self.marks(), self.season.as_ref().and_then(|season| season.errors_p0));
        let live = round.candidate.iter().filter(|(_, tick)| !tick.stalled);
        let parts: Vec<Part> = live
            .map(|(replica, tick)| Part {
                replica: replica.clone(),
                counts: Counts::of(tick, &marks),
                routes: self.routes.count(tick),
                crashes: tick.crashes,
                is_hungry: self.meters.is_hungry(tick),
            })
            .collect();
        let sum: Counts = parts.iter().map(|part| &part.counts).sum();
        let control = round.control.as_ref().filter(|tick| !tick.stalled);
        let beside = control.map(|tick| Counts::of(tick, &marks));
        let places: Vec<usize> = self.latencies.iter().map(|&(at, _)| at).collect();
        let ratio = policy.control_ratio;
        let mut is_bad = None;
        let mut note = |bad: Option<bool>| is_bad = [is_bad, bad].into_iter().flatten().reduce(|a, b| a | b);

        let before: Vec<&Stream> = self.latencies.iter().map(|(_, stream)| stream).collect();
        self.rests.meet(&parts, &self.errors, &before);
        let (mut errors, mut slow) = samples(&sum, &places, errors_p0);
        errors.control = beside.map(|c| Share { n: c.judged, k: c.failed });
        note(self.errors.weigh(&errors, ratio));
        for ((at, stream), sample) in self.latencies.iter_mut().zip(&mut slow) {
            sample.control = beside.map(|c| Share { n: c.timed, k: c.slow[*at] });
            sample.value = pooled.latencies.quantile(QUANTILES[*at]).map(|us| us as f64);
            note(stream.weigh(sample, ratio));
        }
        self.routes.weigh(&parts, control, ratio);
        for (at, stream) in &mut self.statuses {
            let of = Share { n: sum.routed, k: sum.watched[*at] };
            let control = beside.map(|c| Share { n: c.routed, k: c.watched[*at] });
            stream.weigh(&Sample { of, control, ..Sample::default() }, ratio);
        }
        self.meters.weigh(pooled, parts.len());
        let matters = self.main_doubt(policy) >= DOUBT;
        self.rests.weigh(parts, &sum, |c| samples(c, &places, errors_p0), ratio, matters);
        self.last_requests = sum.judged;
        self.count(is_bad, policy);
    }

    fn count(&mut self, is_bad: Option<bool>, policy: &Policy) {
        let is_bad = match (is_bad, self.is_bad_aside(policy)) {
            (None, false) => return,
            (bad, aside) => bad.unwrap_or(false) || aside,
        };
        self.good_ticks = if is_bad { 0 } else { self.good_ticks + 1 };
        self.ticks += 1.0;
        // The promise of the watch is made for so many ticks. A watch that goes on for want of traffic keeps the other.
        if let Horizon::Watch { ticks } = self.horizon
            && self.ticks >= ticks
        {
            self.horizon = Horizon::After;
        }
    }

    /// Whether a stream that is in doubt had a bad tick, beside those of all requests.
    fn is_bad_aside(&self, policy: &Policy) -> bool {
        self.minor(policy).any(|(stream, progress)| stream.was_bad() && progress >= DOUBT)
    }

    /// Weighs whether the app crashed in a tick; also while it starts and warms up.
    pub(crate) fn weigh_crashes(&mut self, tick: &Tick) {
        self.weigh_crashed(tick.crashes > 0);
    }

    /// Weighs a crash that is in no tick: the app was not up.
    pub(crate) fn weigh_crash(&mut self) {
        self.weigh_crashed(true);
    }

    fn weigh_crashed(&mut self, crashed: bool) {
        self.wall_ticks += 1.0;
        let of = Share { n: 1, k: u64::from(crashed) };
        self.crashes.weigh(&Sample { of, ..Sample::default() }, 1.0);
    }

    /// The crash stream sees every tick, also those without a request, so its watch is over sooner.
    fn crashes_horizon(&self) -> Horizon {
        match self.horizon {
            Horizon::Watch { ticks } if self.wall_ticks < ticks => self.horizon,
            Horizon::Watch { .. } | Horizon::After => Horizon::After,
        }
    }

    fn enter_season(&mut self, now: Time, age: Duration, policy: &Policy) {
        if self.season.as_ref().is_none_or(|season| !season.is_at(age, now)) {
            self.season = Some(Season::new(age, now, self.usual_marks, &self.baseline, policy));
        }
    }

    /// Where requests are slow, and hopeless, at the present age and hour.
    fn marks(&self) -> Marks {
        self.season.as_ref().map_or(self.usual_marks, |season| season.marks)
    }

    /// Counts a tick for the catastrophe rule, which is armed before anything else is.
    pub(crate) fn counts(&self, tick: &Tick, is_warm: bool) -> Counts {
        let mut marks = self.marks();
        if !is_warm {
            marks.hopeless = u64::MAX;
        }
        Counts::of(tick, &marks)
    }

    /// The same where there is no baseline.
    pub(crate) fn counts_without_baseline(tick: &Tick) -> Counts {
        Counts::of(tick, &Marks::NONE)
    }

    /// What the catastrophe rule may know of the baseline.
    pub(crate) fn known(&self) -> Known {
        let null = self.errors.null();
        let is_slow_marked = self.slow_mark_us().is_some();
        Known { errors_limit: null.p0, is_slow_marked, is_clumped: null.is_clumped }
    }

    /// Whether the last tick that was evidence was a good one, or nobody asks for anything, and no stream has come far.
    pub(crate) fn is_at_ease(&self, policy: &Policy, is_silent: bool) -> bool {
        (self.good_ticks > 0 || is_silent) && self.doubt(policy) < DOUBT
    }

    /// Something happened that no tick shows: what was good before it does not count any more.
    pub(crate) const fn forget_good_ticks(&mut self) {
        self.good_ticks = 0;
    }

    /// How far the stream that has come farthest has come, from 0 to 1.
    pub(crate) fn doubt(&self, policy: &Policy) -> f64 {
        self.minor(policy).map(|(_, progress)| progress).fold(self.main_doubt(policy), f64::max)
    }

    /// The same of the streams of all requests.
    fn main_doubt(&self, policy: &Policy) -> f64 {
        let errors = self.errors.progress(self.horizon, self.limits(policy, ERRORS_SHARE));
        let limits = self.limits(policy, LATENCY_SHARE);
        let latencies = self.latencies.iter().map(|(_, s)| s.progress(self.horizon, limits));
        latencies.fold(errors.max(self.latency_progress(policy)), f64::max)
    }

    /// Whether every stream of all requests is well within its limits by the mirrored test.
    pub(crate) fn is_clear(&self) -> bool {
        self.errors.is_clear() && self.latencies.iter().all(|(_, s)| s.is_clear())
    }

    /// Whether the mirrored test says so of the whole watch.
    pub(crate) fn is_clear_in_all(&self) -> bool {
        self.errors.is_clear_in_all() && self.latencies.iter().all(|(_, s)| s.is_clear_in_all())
    }

    /// Whether a degraded release has been well for a minute, and by the mirrored test since its last bad tick; where
    /// traffic is too little for that test, for a quarter of an hour.
    pub(crate) fn has_recovered(&self) -> bool {
        let streams = || std::iter::once(&self.errors).chain(self.latencies.iter().map(|(_, s)| s));
        self.good_ticks >= RECOVERY_TICKS_MAX
            || self.good_ticks >= RECOVERY_TICKS && streams().all(|s| s.is_clear_since(self.good_ticks))
    }

    /// Whether a release that crashed has not done so for a quarter of an hour.
    pub(crate) const fn has_rested(&self) -> bool {
        self.good_ticks >= RECOVERY_TICKS_MAX
    }

    /// The age from which an open request is slow by the strictest stream that there is.
    pub(crate) fn slow_mark_us(&self) -> Option<u64> {
        self.latencies.last().map(|&(at, _)| self.marks().slow[at])
    }

    /// The health score, as documented in `docs/JUDGEMENT.md`: two to the power of minus how far the worst stream is beyond
    /// the baseline, in units of its guard band. `None` before anything was seen.
    pub(crate) fn score(&self, policy: &Policy) -> Option<f64> {
        let main = std::iter::once(&self.errors).chain(self.latencies.iter().map(|(_, s)| s));
        let excess = main.filter_map(Stream::excess).reduce(f64::max)?;
        // Of the many small streams chance makes one or another look bad at any time: they count when they are in doubt.
        let minor = self.minor(policy).filter(|(_, progress)| *progress >= DOUBT);
        let excess = minor.map(|(s, _)| s.excess().unwrap_or(1.0).max(1.0)).fold(excess, f64::max);
        Some(libm::exp2(-excess))
    }

    /// The evidence, stream by stream: all that concern all requests, then the routes that have come farthest.
    pub(crate) fn evidence(&self, policy: &Policy) -> Vec<StreamEvidence> {
        let mut all = vec![self.errors.evidence(self.horizon, self.limits(policy, ERRORS_SHARE))];
        let limits = self.limits(policy, LATENCY_SHARE);
        all.extend(self.latencies.iter().map(|(_, s)| s.evidence(self.horizon, limits)));
        let limits = self.statuses_limits(policy);
        all.extend(self.statuses.iter().map(|(_, s)| s.evidence(self.horizon, limits)));
        all.push(self.crashes.evidence_of_one_level(self.crashes_horizon(), self.crashes_limit(policy)));
        all.extend(self.meters.evidence(self.horizon, self.resources_limit(policy)));
        all.extend(self.routes.farthest(self.horizon, self.routes_limits(policy)));
        all
    }

    /// The streams that do not concern all requests, and how far they have come.
    fn minor(&self, policy: &Policy) -> impl Iterator<Item = (&Stream, f64)> {
        let (horizon, limits) = (self.horizon, self.statuses_limits(policy));
        let statuses = self.statuses.iter().map(move |(_, s)| (s, s.progress(horizon, limits)));
        let crashes = self.crashes.progress_of_one_level(self.crashes_horizon(), self.crashes_limit(policy));
        let meters = self.meters.progress(horizon, self.resources_limit(policy));
        let routes = self.routes.doubtful(horizon, self.routes_limits(policy));
        statuses.chain([(&self.crashes, crashes)]).chain(meters).chain(routes)
    }

    /// How far the latency streams together have come, from 0 to 1.
    pub(crate) fn latency_progress(&self, policy: &Policy) -> f64 {
        if self.latencies.is_empty() {
            return 0.0;
        }
        let (requests, ticks) = self.ln_latency(self.latencies.iter().map(|(at, s)| (*at, s)));
        self.latency_limits(policy).progress(requests, ticks)
    }

    /// ln of the weighted average over the latency streams that exist, at both levels.
    fn ln_latency<'a>(&self, of: impl Iterator<Item = (usize, &'a Stream)>) -> (f64, f64) {
        let (mut requests, mut ticks, mut weights) = (f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0);
        for (at, stream) in of {
            let weight = LATENCY_WEIGHTS[at];
            requests = ln_add(requests, log(weight) + stream.ln_requests(self.horizon));
            ticks = ln_add(ticks, log(weight) + stream.ln_ticks(self.horizon));
            weights += weight;
        }
        (requests - log(weights), ticks - log(weights))
    }

    fn latency_limits(&self, policy: &Policy) -> Limits {
        let limits = self.limits(policy, LATENCY_SHARE);
        let surcharge = self.latencies.iter().map(|(_, s)| s.ticks_surcharge()).fold(0.0, f64::max);
        Limits { ticks: limits.ticks + surcharge, ..limits }
    }

    /// What the request level and the tick level must reach.
    fn limits(&self, policy: &Policy, share: f64) -> Limits {
        Limits {
            requests: self.ln_limit(policy, share),
            ticks: self.ln_limit(policy, share.min(TICKS_SHARE)),
        }
    }

    /// ln of what a stream with this share of the budget must reach.
    fn ln_limit(&self, policy: &Policy, share: f64) -> f64 {
        self.ln_limit_at(self.horizon, policy, share)
    }

    fn ln_limit_at(&self, horizon: Horizon, policy: &Policy, share: f64) -> f64 {
        match horizon {
            Horizon::Watch { .. } => -log(policy.false_alarms * share),
            Horizon::After => log(policy.false_alarm_ticks() / share),
        }
    }

    fn statuses_limits(&self, policy: &Policy) -> Limits {
        self.limits(policy, STATUS_SHARE / self.statuses.len().max(1) as f64)
    }

    /// A tick with a crash is an event and a tick at once: one level.
    fn crashes_limit(&self, policy: &Policy) -> f64 {
        self.ln_limit_at(self.crashes_horizon(), policy, CRASHES_SHARE)
    }

    fn resources_limit(&self, policy: &Policy) -> f64 {
        self.ln_limit(policy, RESOURCES_SHARE / RESOURCES)
    }

    /// Of the routes' error streams, and of their latency streams.
    fn routes_limits(&self, policy: &Policy) -> (Limits, Limits) {
        let (errors, latencies) = self.routes.len();
        (
            self.limits(policy, ROUTE_ERRORS_SHARE / errors.max(1) as f64),
            self.limits(policy, ROUTE_LATENCY_SHARE / latencies.max(1) as f64),
        )
    }
}

/// Where requests become slow, and hopeless.
fn marks(latencies: &[(usize, Stream)], policy: &Policy) -> Marks {
    let mut marks = Marks::NONE;
    for (at, stream) in latencies {
        marks.slow[*at] = stream.null().limit as u64;
    }
    if marks.slow[0] != u64::MAX {
        marks.hopeless = (marks.slow[0] as f64 * policy.catastrophe_latency_ratio) as u64;
    }
    marks
}

/// A tick's parts for the error stream and for the latency streams at `places`.
fn samples(counts: &Counts, places: &[usize], errors_p0: Option<f64>) -> (Sample, Vec<Sample>) {
    let errors =
        Sample { of: Share { n: counts.judged, k: counts.failed }, p0: errors_p0, ..Sample::default() };
    let slow = places.iter().map(|&at| Sample {
        of: Share { n: counts.timed, k: counts.slow[at] },
        hangs: counts.hangs(),
        ..Sample::default()
    });
    (errors, slow.collect())
}

#[cfg(test)]
mod tests;
