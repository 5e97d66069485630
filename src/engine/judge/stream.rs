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
//!
//! Where a stable release runs beside the judged one, a third question is asked: do the bad events *concentrate* on the
//! judged one? Given that one more bad event happens in either, it is the judged one's with a chance of at most
//! `r·w / (r·w + 1 − w)`, `w` being its share of the requests, if its rate is at most `r` times the stable one's (Lindon,
//! Malek, "Anytime-valid inference for multinomial count data", 2022). What hurts both alike can never answer yes.

use std::collections::VecDeque;
use std::iter::Sum;
use std::sync::Arc;

use crate::engine::judge::binomial;
use crate::engine::judge::detector::{Detector, ln_below};
use crate::engine::verdict::{StreamEvidence, StreamName, Unit, progress};

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
/// By how much that chance may exceed what the baseline shows beyond chance.
const TICK_NULL_EXCESS: f64 = 0.5;
/// A stable release that was asked nothing for so many ticks is as good as gone: five minutes.
const IDLE_MAX: u32 = 60;
/// Where the judged release has a larger part of the events, the comparison says nothing.
const SHARE_MAX: f64 = 0.95;
/// With a control, so many bad ticks in five minutes are enough.
const PERSISTS: usize = 3;
/// ln 20: the mirrored test's limit.
const LN_CLEAR: f64 = 2.995_732_273_553_991;
/// ln 100: how clearly bad events must concentrate on the judged release.
const LN_ATTRIBUTED: f64 = 4.605_170_185_988_092;
/// What a clumped baseline's stream needs more at tick level: twice what a bad tick weighs at most,
/// ln(0.95 / 0.02). One of them outweighs a long burst, the other what is left of the burst before.
const LN_CLUMPED: f64 = 2.0 * 3.860_729_711;
/// What evidence since the beginning weighs within a watch, at request level: a quiet service gathers it request by request,
/// and most bad releases are bad from the start.
const START_REQUESTS: f64 = 0.9;
/// The same at tick level, where one tick more or less is what counts, whenever the trouble began.
const START_TICKS: f64 = 0.5;
/// ln 180: the ticks of a quarter of an hour.
const LN_QUARTER_HOUR: f64 = 5.192_956_850_889_963;
/// How many requests a score's figure is pulled towards the baseline by.
const SCORE_PRIOR: f64 = 50.0;

/// What a stream calls a bad event, and how many the null hypothesis allows; frozen with the baseline.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Null {
    pub(crate) name: StreamName,
    pub(crate) route: Option<Arc<str>>,
    /// The baseline's own figure, in the stream's unit.
    pub(crate) baseline: f64,
    /// The guard band's edge in the same unit.
    pub(crate) limit: f64,
    /// The share of bad requests that is still allowed.
    pub(crate) p0: f64,
    /// An upper limit of the share of bad requests in the baseline.
    pub(crate) usual: f64,
    /// The share of bad ticks that the baseline itself shows, with its uncertainty.
    pub(crate) usual_ticks: f64,
    /// The baseline's bad requests come in bursts: a tick is no independent witness, and more have to agree.
    pub(crate) is_clumped: bool,
}

impl Null {
    /// How many bad requests make a tick of `n` bad.
    pub(crate) fn least_bad(&self, n: u64) -> u64 {
        let above = (self.p0 * n as f64) as u64 + 1;
        if n < BUSY { above } else { above.max(self.least_beyond(n, BY_CHANCE)) }
    }

    /// Whether a tick with `k` bad of `n` is bad. The same as `k >= least_bad(n)`, without the search for it.
    fn is_bad(&self, n: u64, k: u64, p0: f64) -> bool {
        k as f64 > p0 * n as f64 && k > 0 && (n < BUSY || binomial::upper_tail(n, self.usual, k) <= BY_CHANCE)
    }

    /// The least number of bad requests in a tick of `n` that chance explains with this probability at most.
    pub(crate) fn least_beyond(&self, n: u64, probability: f64) -> u64 {
        let (mut low, mut high) = (0, n);
        while low + 1 < high {
            let middle = low.midpoint(high);
            if binomial::upper_tail(n, self.usual, middle) <= probability {
                high = middle;
            } else {
                low = middle;
            }
        }
        high
    }

    /// The chance that a healthy tick of `n` requests is bad by chance alone.
    fn by_chance(&self, n: u64) -> f64 {
        match n {
            // A tick in which nothing was answered while requests hang is not bad by chance.
            0 => 0.0,
            // By the very definition of a bad tick.
            BUSY.. => BY_CHANCE,
            n => binomial::upper_tail(n, self.usual, self.least_bad(n).min(n)),
        }
    }
}

/// Which promise is kept: a false-alarm probability within the watch, or an interval after it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Horizon {
    Watch { ticks: f64 },
    After,
}

impl Horizon {
    /// What the evidence beside a stable release must reach: after the watch the sum over all onsets grows by one a tick of
    /// itself, so the same certainty over a quarter of an hour asks for that many times more.
    fn ln_beside(self) -> f64 {
        match self {
            Self::Watch { .. } => LN_ATTRIBUTED,
            Self::After => LN_ATTRIBUTED + LN_QUARTER_HOUR,
        }
    }

    /// `start` is what evidence since the beginning weighs within a watch.
    fn ln(self, detector: &Detector, start: f64) -> f64 {
        match self {
            Self::Watch { ticks } => detector.ln_in_watch(ticks, start),
            Self::After => detector.ln_any(),
        }
    }
}

/// What the evidence must reach, in natural logarithms, at the request level and at the tick level.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Limits {
    pub(crate) requests: f64,
    pub(crate) ticks: f64,
}

impl Limits {
    /// How far evidence has come, from 0 to 1: the lesser of both levels.
    pub(crate) fn progress(self, ln_requests: f64, ln_ticks: f64) -> f64 {
        progress((ln_requests, self.requests), (ln_ticks, self.ticks))
    }
}

/// Bad events among all events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) n: u64,
    pub(crate) k: u64,
}

impl Sum for Share {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self { n: a.n + b.n, k: a.k + b.k })
    }
}

/// A stream's part of a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) of: Share,
    /// Nothing was answered while requests hung.
    pub(crate) hangs: bool,
    /// What is allowed in this tick, if it is more than usual (the app's age, the hour).
    pub(crate) p0: Option<f64>,
    /// The tick's own figure, for people.
    pub(crate) value: Option<f64>,
    /// The stable release's part, where one runs beside.
    pub(crate) control: Option<Share>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Seen {
    of: Share,
    value: Option<f64>,
    is_bad: bool,
}

/// The comparison with the stable release beside.
#[derive(Clone, Debug, Default, PartialEq)]
struct Beside {
    attribution: Detector,
    /// The stable release against the same limit.
    itself: Detector,
    /// Ticks since it was asked anything.
    idle: u32,
}

/// A stream and its evidence so far.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stream {
    null: Arc<Null>,
    by_request: Detector,
    by_tick: Detector,
    beside: Option<Box<Beside>>,
    total: Share,
    recent: VecDeque<Seen>,
    /// By the number of requests in a tick, as far as it was needed.
    by_chance: Vec<f64>,
    last_is_bad: bool,
}

impl Stream {
    pub(crate) fn new(null: Null) -> Self {
        Self {
            null: Arc::new(null),
            by_request: Detector::default(),
            by_tick: Detector::default(),
            beside: None,
            total: Share::default(),
            recent: VecDeque::new(),
            by_chance: Vec::new(),
            last_is_bad: false,
        }
    }

    pub(crate) fn null(&self) -> &Null {
        &self.null
    }

    /// Weighs a tick. Returns whether it was bad; `None` when it was no evidence. `ratio` is how often the judged release's
    /// rate of bad events may be the stable one's.
    pub(crate) fn weigh(&mut self, sample: &Sample, ratio: f64) -> Option<bool> {
        let Share { n, k } = sample.of;
        let hangs = n == 0 && sample.hangs;
        self.keep(sample);
        if sample.control.is_some() || self.beside.is_some() {
            self.compare(sample.of, sample.control.unwrap_or_default(), ratio);
        }
        if n == 0 && !hangs {
            return None;
        }
        let p0 = sample.p0.unwrap_or(0.0).max(self.null.p0);
        let is_bad = hangs || self.null.is_bad(n, k, p0);
        self.total.n += n;
        self.total.k += k;
        self.by_request.weigh(n, k, p0);
        let tick_null = self.tick_null(n);
        self.by_tick.weigh(1, u64::from(is_bad), tick_null);
        self.last_is_bad = is_bad;
        if let Some(seen) = self.recent.back_mut() {
            seen.is_bad = is_bad;
        }
        Some(is_bad)
    }

    fn compare(&mut self, of: Share, control: Share, ratio: f64) {
        if control.n == 0 {
            // One that is asked nothing, or has gone, answers for nothing.
            if let Some(beside) = &mut self.beside {
                beside.idle += 1;
            }
            self.beside.take_if(|beside| beside.idle >= IDLE_MAX);
            return;
        }
        let beside = self.beside.get_or_insert_default();
        beside.idle = 0;
        beside.itself.weigh(control.n, control.k, self.null.p0);
        let (ours, theirs) = (ratio * of.n as f64, control.n as f64);
        let share = ours / (ours + theirs);
        if of.n > 0 && share <= SHARE_MAX {
            beside.attribution.weigh(of.k + control.k, of.k, share);
        }
    }

    fn keep(&mut self, sample: &Sample) {
        if self.recent.len() == CLEAR_TICKS {
            self.recent.pop_front();
        }
        self.recent.push_back(Seen { of: sample.of, value: sample.value, is_bad: false });
    }

    /// The chance that a healthy tick of `n` requests is bad.
    fn tick_null(&mut self, n: u64) -> f64 {
        let by_chance = if n < BUSY {
            let at = n as usize;
            if self.by_chance.len() <= at {
                self.by_chance.resize(at + 1, f64::NAN);
            }
            if self.by_chance[at].is_nan() {
                self.by_chance[at] = self.null.by_chance(n);
            }
            self.by_chance[at]
        } else {
            BY_CHANCE
        };
        // What chance explains needs no allowance on top of it.
        let excess = (self.null.usual_ticks - by_chance).max(0.0);
        let usual = self.null.usual_ticks + TICK_NULL_EXCESS * excess;
        TICK_NULL_MIN.max(usual).max(by_chance).min(0.9)
    }

    pub(crate) fn ln_requests(&self, horizon: Horizon) -> f64 {
        horizon.ln(&self.by_request, START_REQUESTS)
    }

    pub(crate) fn ln_ticks(&self, horizon: Horizon) -> f64 {
        horizon.ln(&self.by_tick, START_TICKS)
    }

    /// What the tick level needs beyond the limit: where errors come in bursts, the trouble must persist longer.
    pub(crate) fn ticks_surcharge(&self) -> f64 {
        if self.null.is_clumped { LN_CLUMPED } else { 0.0 }
    }

    /// Whether both levels have reached their limits.
    pub(crate) fn reaches(&self, horizon: Horizon, limits: Limits) -> bool {
        self.persists(horizon, limits.ticks) && self.ln_requests(horizon) >= limits.requests
    }

    /// Whether the tick level has reached its limit.
    pub(crate) fn persists(&self, horizon: Horizon, ln_limit: f64) -> bool {
        // Most streams have come nowhere near, and there are many.
        self.has_control() && self.bad_ticks() >= PERSISTS
            || self.by_tick.ln_at_most() >= ln_limit
                && self.ln_ticks(horizon) >= ln_limit + self.ticks_surcharge()
    }

    /// Whether a stable release beside it answers for bursts that hurt both, so that some bad ticks are enough. It does not
    /// for those of a service whose bad requests come in bursts of their own.
    pub(crate) fn has_control(&self) -> bool {
        self.beside.is_some() && !self.null.is_clumped
    }

    /// Bad ticks of the last five minutes.
    pub(crate) fn bad_ticks(&self) -> usize {
        self.recent.iter().filter(|seen| seen.is_bad).count()
    }

    /// Whether the tick level has come so far, or might have.
    pub(crate) fn may_have_come(&self, ln: f64) -> bool {
        self.by_tick.ln_at_most() >= ln
    }

    /// Whether the bad events concentrate on the judged release; true where no other runs beside it.
    pub(crate) fn is_attributed(&self, horizon: Horizon) -> bool {
        let ln = |beside: &Beside| horizon.ln(&beside.attribution, START_REQUESTS);
        self.beside.as_deref().is_none_or(|beside| ln(beside) >= horizon.ln_beside())
    }

    /// Whether the stable release beside it is beyond the limit as well.
    pub(crate) fn is_shared(&self, horizon: Horizon) -> bool {
        let ln = |beside: &Beside| horizon.ln(&beside.itself, START_REQUESTS);
        self.beside.as_deref().is_some_and(|beside| ln(beside) >= horizon.ln_beside())
    }

    pub(crate) const fn was_bad(&self) -> bool {
        self.last_is_bad
    }

    /// Whether the last five minutes say that the share of bad events is below what is allowed (a test of fixed length at
    /// 1 in 20, not one that may be looked at for ever).
    pub(crate) fn is_clear(&self) -> bool {
        self.clears(self.sum(CLEAR_TICKS))
    }

    /// The same of the last so many ticks, at most as many.
    pub(crate) fn is_clear_since(&self, ticks: u32) -> bool {
        self.clears(self.sum(ticks as usize))
    }

    /// The same of all that was weighed.
    pub(crate) fn is_clear_in_all(&self) -> bool {
        self.clears(self.total)
    }

    fn clears(&self, Share { n, k }: Share) -> bool {
        n > 0 && (k as f64) < self.null.p0 * n as f64 && ln_below(n, k, self.null.p0) >= LN_CLEAR
    }

    fn sum(&self, ticks: usize) -> Share {
        self.recent.iter().rev().take(ticks).map(|seen| seen.of).sum()
    }

    /// Events of the last five minutes.
    pub(crate) fn events(&self) -> u64 {
        self.sum(CLEAR_TICKS).n
    }

    /// How far the last minute is from the baseline towards the guard band's edge and beyond: 0 at the baseline, 1 at the
    /// edge. With few requests the figure is pulled towards the baseline.
    pub(crate) fn excess(&self) -> Option<f64> {
        let Share { n, k } = self.sum(RECENT_TICKS);
        let usual = self.null.usual.min(self.null.p0);
        let share = (k as f64 + SCORE_PRIOR * usual) / (n as f64 + SCORE_PRIOR);
        let room = (self.null.p0 - usual).max(0.05 * self.null.p0).max(1e-6);
        (n > 0).then(|| ((share - usual) / room).max(0.0))
    }

    /// How far the stream has come, from 0 to 1: what its evidence says, without the figures for people.
    pub(crate) fn progress(&self, horizon: Horizon, limits: Limits) -> f64 {
        let limits = Limits { ticks: limits.ticks + self.ticks_surcharge(), ..limits };
        if self.total.k == 0 {
            0.0
        } else {
            limits.progress(self.ln_requests(horizon), self.ln_ticks(horizon))
        }
    }

    /// The same of a stream of one level.
    pub(crate) fn progress_of_one_level(&self, horizon: Horizon, ln_limit: f64) -> f64 {
        let ln = self.ln_requests(horizon);
        if self.total.k == 0 { 0.0 } else { Limits { requests: ln_limit, ticks: ln_limit }.progress(ln, ln) }
    }

    /// The evidence of a stream whose events are ticks or minutes themselves: one level is both.
    pub(crate) fn evidence_of_one_level(&self, horizon: Horizon, ln_limit: f64) -> StreamEvidence {
        let mut evidence = self.evidence(horizon, Limits { requests: ln_limit, ticks: ln_limit });
        evidence.ln_ticks = evidence.ln_requests;
        evidence
    }

    pub(crate) fn evidence(&self, horizon: Horizon, limits: Limits) -> StreamEvidence {
        let Share { n, k } = self.sum(RECENT_TICKS);
        let share = (n > 0).then(|| k as f64 / n as f64);
        let largest = self.recent.iter().rev().take(RECENT_TICKS).filter_map(|seen| seen.value);
        let largest = largest.max_by(f64::total_cmp);
        StreamEvidence {
            name: self.null.name,
            route: self.null.route.clone(),
            baseline: self.null.baseline,
            limit: self.null.limit,
            p0: self.null.p0,
            requests: self.total.n,
            bad: self.total.k,
            recent_share: share,
            recent_value: largest.or(share.filter(|_| self.null.name.unit() == Unit::Share)),
            ln_requests: self.ln_requests(horizon),
            ln_requests_limit: limits.requests,
            ln_ticks: self.ln_ticks(horizon),
            ln_ticks_limit: limits.ticks + self.ticks_surcharge(),
            ln_attribution: self
                .beside
                .as_ref()
                .map(|beside| horizon.ln(&beside.attribution, START_REQUESTS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_tick_is_the_same_with_and_without_the_search() {
        for usual in [0.0005_f64, 0.01, 0.3] {
            let p0 = f64::max(2.0 * usual, usual + 0.003);
            let null = Null {
                name: StreamName::Errors,
                route: None,
                baseline: 0.0,
                limit: p0,
                p0,
                usual,
                usual_ticks: 0.0,
                is_clumped: false,
            };
            for n in (1..130).chain([500, 5_000]) {
                let least = null.least_bad(n);
                let found = (0..=n).find(|&k| null.is_bad(n, k, p0)).unwrap_or(n);
                assert_eq!(found, least.min(n), "usual {usual}, n {n}");
            }
        }
    }
}
