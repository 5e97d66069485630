//! Whether one replica alone carries the evidence: for each replica, the streams of all the others.
//!
//! The evidence of "all but this one" is an e-detector as good as any. A release is blamed only if it would be blamed
//! without whichever replica one leaves out; where the rest is well, that one replica is the trouble.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::judge::counts::Counts;
use crate::engine::judge::stream::{Sample, Share, Stream};
use crate::engine::judge::{DOUBT, binomial};
use crate::engine::tick::REPLICAS_MAX;

/// A replica that was not seen for so many ticks is forgotten: two minutes.
const FORGET_AFTER: u32 = 24;
/// Ticks in the recent past by which routes and statuses are compared over replicas: a minute.
const RECENT_TICKS: usize = 12;
/// The rest is worse than allowed when chance would bring as many bad requests so rarely: it is asked each tick, of many
/// routes.
const BY_CHANCE: f64 = 1e-6;

/// One route's counts in one tick of one replica: requests judged, failed, timed, and beyond each of its marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteCounts {
    pub(crate) judged: u32,
    pub(crate) failed: u32,
    pub(crate) timed: u32,
    pub(crate) slow: [u32; 2],
}

/// What one replica did in one tick.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    pub(crate) replica: Arc<str>,
    pub(crate) counts: Counts,
    /// By the judge's list of routes.
    pub(crate) routes: Vec<RouteCounts>,
    pub(crate) crashes: u64,
    /// It used more than the baseline allows.
    pub(crate) is_hungry: bool,
}

/// All replicas but one.
#[derive(Clone, Debug, PartialEq)]
struct Rest {
    without: Arc<str>,
    errors: Stream,
    latencies: Vec<Stream>,
    unseen: u32,
    crashes: u64,
}

/// The rests of all replicas; empty while there is only one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rests {
    rests: Vec<Rest>,
    recent: VecDeque<Vec<Part>>,
}

/// What the rests say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Blame {
    /// Whichever replica is left out, the others are worse than allowed; or there is only one replica.
    All,
    /// Without this one the others are well.
    One(Arc<str>),
    /// Neither is certain yet.
    Unclear,
}

impl Rests {
    /// Weighs a tick. A replica that is not seen any more is remembered while it `matters`: what it did is in the sums.
    pub(crate) fn weigh(
        &mut self,
        parts: Vec<Part>,
        pooled: &Counts,
        samples: impl Fn(&Counts) -> (Sample, Vec<Sample>),
        ratio: f64,
        matters: bool,
    ) {
        for rest in &mut self.rests {
            let own = parts.iter().find(|part| part.replica == rest.without);
            rest.unseen = if own.is_some() { 0 } else { rest.unseen + 1 };
            rest.crashes += own.map_or(0, |part| part.crashes);
            let counts = own.map_or(*pooled, |part| pooled.without(&part.counts));
            let (sample, slow) = samples(&counts);
            rest.errors.weigh(&sample, ratio);
            for (stream, sample) in rest.latencies.iter_mut().zip(&slow) {
                stream.weigh(sample, ratio);
            }
        }
        self.rests.retain(|rest| matters || rest.unseen < FORGET_AFTER);
        if self.recent.len() == RECENT_TICKS {
            self.recent.pop_front();
        }
        self.recent.push_back(parts);
    }

    /// Takes note of replicas that are new. `errors` and `latencies` are the streams of all together, before this tick, which
    /// each begins with: before it was there, all were the others.
    pub(crate) fn meet(&mut self, parts: &[Part], errors: &Stream, latencies: &[&Stream]) {
        if parts.len() < 2 && self.rests.is_empty() {
            return;
        }
        for part in parts {
            let is_known = self.rests.iter().any(|rest| rest.without == part.replica);
            if is_known || self.rests.len() >= REPLICAS_MAX {
                continue;
            }
            self.rests.push(Rest {
                without: part.replica.clone(),
                errors: errors.clone(),
                latencies: latencies.iter().map(|&stream| stream.clone()).collect(),
                unseen: 0,
                crashes: 0,
            });
        }
    }

    fn is_alone(&self) -> bool {
        self.rests.len() < 2
    }

    /// Asks each rest whether it passes, and how far it has come, from 0 to 1.
    pub(crate) fn blame(
        &self,
        passes: impl Fn(&Stream, &[Stream]) -> bool,
        progress: impl Fn(&Stream, &[Stream]) -> f64,
    ) -> Blame {
        if self.is_alone() || self.rests.iter().all(|rest| passes(&rest.errors, &rest.latencies)) {
            return Blame::All;
        }
        one_of(self.rests.iter().map(|rest| (rest, progress(&rest.errors, &rest.latencies))))
    }

    /// The same of one share, by the last minute: is it beyond `p0` without the replica that shows it most?
    pub(crate) fn blame_share(&self, p0: f64, of: impl Fn(&Part) -> Share) -> Blame {
        if self.is_alone() {
            return Blame::All;
        }
        let shares = self.rests.iter().map(|rest| {
            let parts = self.recent.iter().flatten();
            (rest, parts.filter(|part| part.replica != rest.without).map(&of).sum())
        });
        let share = |s: &Share| s.k as f64 / s.n.max(1) as f64;
        let by_share = |(a, sa): &(&Rest, Share), (b, sb): &(&Rest, Share)| {
            share(sa).total_cmp(&share(sb)).then_with(|| a.without.cmp(&b.without))
        };
        let Some((rest, least)) = shares.min_by(by_share) else {
            return Blame::All;
        };
        if binomial::upper_tail(least.n, p0, least.k) <= BY_CHANCE {
            return Blame::All;
        }
        let is_well = (least.k as f64) <= p0 * least.n as f64;
        if is_well { Blame::One(rest.without.clone()) } else { Blame::Unclear }
    }

    /// The same of crashes: did one replica alone crash, or nearly?
    pub(crate) fn blame_crashes(&self) -> Blame {
        let all: u64 = self.rests.iter().map(|rest| rest.crashes).sum();
        let most =
            self.rests.iter().filter(|rest| !self.is_alone() && rest.crashes * 5 >= all * 4 && all > 0);
        most.map(|rest| Blame::One(rest.without.clone())).next().unwrap_or(Blame::All)
    }

    /// The same of what the app uses: was one replica alone beyond the limit in most of the last minute?
    pub(crate) fn blame_hunger(&self) -> Blame {
        if self.is_alone() {
            return Blame::All;
        }
        let is_hungry = |rest: &&Rest| {
            let parts = self.recent.iter().flatten().filter(|part| part.replica == rest.without);
            let (seen, hungry) = parts.fold((0, 0), |(n, k), part| (n + 1, k + u32::from(part.is_hungry)));
            seen > 0 && 2 * hungry > seen
        };
        let mut hungry = self.rests.iter().filter(is_hungry);
        match (hungry.next(), hungry.next()) {
            (None, _) => Blame::Unclear,
            (Some(one), None) => Blame::One(one.without.clone()),
            (Some(_), Some(_)) => Blame::All,
        }
    }
}

/// The replica without which the others have come least far, if that is not half way to a limit. Of equal ones the first
/// by name, in whichever order they are told.
fn one_of<'a>(rests: impl Iterator<Item = (&'a Rest, f64)>) -> Blame {
    let at_ease = rests.filter(|(_, progress)| *progress < DOUBT);
    let least = at_ease.min_by(|(a, pa), (b, pb)| pa.total_cmp(pb).then_with(|| a.without.cmp(&b.without)));
    least.map_or(Blame::Unclear, |(rest, _)| Blame::One(rest.without.clone()))
}
