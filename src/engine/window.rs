//! What was observed in an interval: exact counts and exact latencies by value, never averages.
//!
//! A [`Window`] is sealed by the recorder each second; the engine adds windows up into ticks of five seconds, the unit in
//! which evidence is weighed and stored.

use std::sync::Arc;

use crate::engine::observation::{Fault, Method, Outcome, StatusClass};
use crate::engine::route;
use crate::engine::tick::{ProbeTick, Resources};
use crate::engine::time::Time;

/// How many requests ended alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Their method.
    pub method: Method,
    /// The class of status that the client was sent.
    pub status: StatusClass,
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
}

/// Latencies in microseconds with their counts, ascending and without repeats: a sparse histogram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies(Vec<(u64, u64)>);

impl Latencies {
    /// From `(microseconds, count)` pairs in any order; equal values are added up, zero counts dropped.
    pub fn new(mut pairs: Vec<(u64, u64)>) -> Self {
        pairs.retain(|&(_, count)| count > 0);
        pairs.sort_unstable_by_key(|&(value, _)| value);
        pairs.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 += later.1;
            }
            same
        });
        Self(pairs)
    }

    /// The pairs, ascending.
    pub fn pairs(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many latencies there are.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|&(_, count)| count).sum()
    }

    /// How many are slower than `limit_us`.
    pub fn slower_than(&self, limit_us: u64) -> u64 {
        let from = self.0.partition_point(|&(value, _)| value <= limit_us);
        self.0[from..].iter().map(|&(_, count)| count).sum()
    }

    /// The value at quantile `q` (0 to 1): the least value that at least that share does not exceed. `None` when empty.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = (q * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        self.0.iter().find_map(|&(value, count)| {
            seen += count;
            (seen >= rank).then_some(value)
        })
    }

    /// Adds the latencies of `other`.
    pub fn merge(&mut self, other: &Self) {
        if other.0.is_empty() {
            return;
        }
        let mut pairs = std::mem::take(&mut self.0);
        pairs.extend_from_slice(&other.0);
        *self = Self::new(pairs);
    }
}

/// The upper bounds by which a [`Spread`] counts, in microseconds: 100 us to five minutes.
pub const SPREAD_BOUNDS_US: [u64; 18] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
];

/// By the number of a value's bits: where to begin to look for its bound, which is there or one further.
const SPREAD_FIRST: [u8; u64::BITS as usize + 1] = spread_first();

const fn spread_first() -> [u8; u64::BITS as usize + 1] {
    let mut first = [0; u64::BITS as usize + 1];
    let mut bits = 1;
    while bits < first.len() {
        let (least, mut at) = (1 << (bits - 1), 0);
        while at < SPREAD_BOUNDS_US.len() && SPREAD_BOUNDS_US[at] < least {
            at += 1;
        }
        first[bits] = at as u8;
        bits += 1;
    }
    first
}

/// Durations counted by fixed bounds: for what is shown and not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many were not above each of [`SPREAD_BOUNDS_US`] but above the one before; the last ones are above all.
    pub counts: [u64; SPREAD_BOUNDS_US.len() + 1],
    /// Their sum.
    pub sum_us: u64,
}

impl Spread {
    /// One more.
    pub fn add(&mut self, us: u64) {
        let mut at = usize::from(SPREAD_FIRST[(u64::BITS - us.leading_zeros()) as usize]);
        while SPREAD_BOUNDS_US.get(at).is_some_and(|&bound| bound < us) {
            at += 1;
        }
        self.counts[at] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// All those of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Client errors that a broken release makes in storms, each counted by route.
pub const WATCHED_STATUSES: [u16; 7] = [400, 401, 403, 404, 409, 422, 429];

/// One route's share of a window. A window has at most [`route::GROUPS_MAX`] of them, those that were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteWindow {
    /// The method.
    pub method: Method,
    /// The route's label: no id and no token is in it.
    pub route: Arc<str>,
    /// Requests that ended.
    pub ended: u64,
    /// Of those, the ones that say something about the app's error rate.
    pub judged: u64,
    /// Of those, the ones that failed by the app's fault.
    pub failed: u64,
    /// Answers of the app with one of [`WATCHED_STATUSES`].
    pub watched: [u64; WATCHED_STATUSES.len()],
    /// The app's thinking times at two significant digits; as [`Window::latencies`] otherwise.
    pub latencies: Latencies,
}

impl RouteWindow {
    /// Whether it may ever be evidence: what has no route of its own is what scanners ask for.
    pub fn is_judgeable(&self) -> bool {
        &*self.route != route::OTHER
    }
}

/// What was observed between two instants, about a second apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Window {
    /// When it was opened.
    pub from: Time,
    /// When it was sealed.
    pub to: Time,
    /// Requests that ended, by how.
    pub counts: Vec<Count>,
    /// The app's thinking times. Holds also, with the age reached, requests that went over the slow mark while still
    /// open; those are not counted again when they end.
    pub latencies: Latencies,
    /// Requests that arrived.
    pub arrived: u64,
    /// Reply heads that came from the app.
    pub answered: u64,
    /// Requests open at the seal.
    pub in_flight: u64,
    /// Of those, the ones for whose reply's head the app is awaited.
    pub waiting: u64,
    /// Of those, the ones that have waited beyond the slow mark.
    pub overdue: u64,
    /// The agent itself was stalled (its own timer came late): what it saw is not evidence about the app.
    pub stalled: bool,
    /// By how much a worker of the data path was late at most.
    pub lag_us: u64,
    /// By route. Their sum is less than the whole by what was refused before it had a path, and by `unrouted`.
    pub routes: Vec<RouteWindow>,
    /// Requests that ended and are in no route's figures, because there were too many to keep the paths of.
    pub unrouted: u64,
    /// How long a connection to the app was waited for: the pool, the connect, the hold while it starts.
    pub reached: Box<Spread>,
    /// From a request's first byte to its reply's last; depends on the client's speed, too.
    pub total: Box<Spread>,
    /// Requests that were sent a second time.
    pub retried: u64,
    /// Health checks that ended; they are in no other figure.
    pub health: u64,
    /// What the app used; sampled once a tick, so most windows hold nothing.
    pub resources: Resources,
    /// What the agent's probes of dependencies found.
    pub probes: Vec<ProbeTick>,
}

impl Window {
    /// Requests that say something about the app's error rate.
    pub fn judged(&self) -> u64 {
        self.counts.iter().filter(|c| c.outcome.is_judged()).map(|c| c.count).sum()
    }

    /// Requests that failed by the app's fault.
    pub fn failed(&self) -> u64 {
        self.counts.iter().filter(|c| c.outcome.fault() == Fault::App).map(|c| c.count).sum()
    }

    /// All requests that ended.
    pub fn ended(&self) -> u64 {
        self.counts.iter().map(|c| c.count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_sorted_and_added_up() {
        let l = Latencies::new(vec![(30, 1), (10, 2), (30, 4), (20, 0)]);
        assert_eq!(l.pairs(), &[(10, 2), (30, 5)]);
        assert_eq!(l.count(), 7);
        assert_eq!(l.slower_than(9), 7);
        assert_eq!(l.slower_than(10), 5);
        assert_eq!(l.slower_than(30), 0);
    }

    #[test]
    fn a_duration_counts_at_the_first_bound_that_is_not_below_it() {
        let mut spread = Spread::default();
        [0, 100, 101, 300_000_000, 300_000_001].into_iter().for_each(|us| spread.add(us));
        assert_eq!((spread.counts[0], spread.counts[1], spread.counts[17], spread.counts[18]), (2, 1, 1, 1));
        for us in (0..400).chain((0..64).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1])) {
            let mut one = Spread::default();
            one.add(us);
            assert_eq!(one.counts[SPREAD_BOUNDS_US.partition_point(|&bound| bound < us)], 1, "{us}");
        }
        let once = spread;
        spread.merge(&once);
        assert_eq!((spread.count(), spread.sum_us), (10, 1_200_000_404));
    }

    #[test]
    fn a_quantile_is_the_least_value_that_enough_do_not_exceed() {
        let l = Latencies::new(vec![(10, 50), (20, 40), (30, 10)]);
        assert_eq!(l.quantile(0.5), Some(10));
        assert_eq!(l.quantile(0.51), Some(20));
        assert_eq!(l.quantile(0.9), Some(20));
        assert_eq!(l.quantile(0.99), Some(30));
        assert_eq!(Latencies::default().quantile(0.5), None);
    }
}
