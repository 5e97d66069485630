//! What was observed in an interval: exact counts and exact latencies by value, never averages.
//!
//! A [`Window`] is sealed by the recorder each second; the engine adds windows up into [`Tick`]s of five seconds, the
//! unit in which evidence is weighed and stored. Counts are exact rather than moving averages so that a burst leads to
//! the same verdict at any request rate, and so that a record can be judged again.

use std::time::Duration;

use crate::engine::observation::{Fault, Method, Outcome, StatusClass};
use crate::engine::time::Time;

/// The length of a tick.
pub const TICK: Duration = Duration::from_secs(5);

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

/// Five seconds of windows added up: the unit of evidence.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tick {
    /// When its first window was opened.
    pub from: Time,
    /// When its last window was sealed.
    pub to: Time,
    /// Requests that say something about the error rate.
    pub judged: u64,
    /// Of those, the ones that failed by the app's fault.
    pub failed: u64,
    /// The app's thinking times.
    pub latencies: Latencies,
    /// Requests that ended, however.
    pub ended: u64,
    /// Requests that arrived.
    pub arrived: u64,
    /// Reply heads that came from the app.
    pub answered: u64,
    /// Requests whose reply's head was awaited at its end.
    pub waiting: u64,
    /// Of those, the ones that had waited beyond the slow mark.
    pub overdue: u64,
    /// A window in it was stalled: it is no evidence.
    pub stalled: bool,
}

impl Tick {
    /// An empty tick that begins at `from`.
    pub fn starting(from: Time) -> Self {
        Self { from, to: from, ..Self::default() }
    }

    /// Adds a sealed window.
    pub fn add(&mut self, window: &Window) {
        self.to = window.to;
        self.judged += window.judged();
        self.failed += window.failed();
        self.latencies.merge(&window.latencies);
        self.ended += window.ended();
        self.arrived += window.arrived;
        self.answered += window.answered;
        self.waiting = window.waiting;
        self.overdue = window.overdue;
        self.stalled |= window.stalled;
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
    fn a_quantile_is_the_least_value_that_enough_do_not_exceed() {
        let l = Latencies::new(vec![(10, 50), (20, 40), (30, 10)]);
        assert_eq!(l.quantile(0.5), Some(10));
        assert_eq!(l.quantile(0.51), Some(20));
        assert_eq!(l.quantile(0.9), Some(20));
        assert_eq!(l.quantile(0.99), Some(30));
        assert_eq!(Latencies::default().quantile(0.5), None);
    }
}
