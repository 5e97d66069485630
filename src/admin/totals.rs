//! Cumulative figures since the agent started, added up from sealed windows: the one place where metrics are counted.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::admin::live::Live;
use crate::admin::routes::RouteBook;
use crate::engine::baseline::latency_histogram;
use crate::engine::observation::{Method, Outcome, StatusClass};
use crate::engine::release::RecordId;
use crate::engine::window::{Spread, Window};

/// The upper bounds of the latency histogram's buckets, in microseconds: 1 ms to 60 s.
pub(super) const BUCKETS_US: [u64; 16] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 20_000_000, 30_000_000, 60_000_000,
];

/// Requests that ended alike.
pub(super) type Kind = (Method, StatusClass, Outcome);

/// All that was counted. Its maps are bounded by their keys, which are closed sets, or by themselves.
#[derive(Debug)]
pub(super) struct Totals {
    requests: BTreeMap<Kind, u64>,
    latency: Histogram<u64>,
    routes: RouteBook,
    sums: Sums,
    decisions: BTreeMap<(&'static str, &'static str), u64>,
    decision_seen: Option<(RecordId, &'static str)>,
}

/// What is only added up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sums {
    /// How long a connection to the app was waited for.
    pub(super) reached: Spread,
    /// How long requests took as a whole.
    pub(super) total: Spread,
    /// Requests that were sent a second time.
    pub(super) retried: u64,
    /// Health checks.
    pub(super) health: u64,
    /// Requests that are in no route's figures.
    pub(super) unrouted: u64,
    /// By how much a worker was late at most in the last window.
    pub(super) lag_us: u64,
}

/// Latencies by bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Buckets {
    /// Cumulative counts, one for each of [`BUCKETS_US`].
    pub(super) counts: [u64; BUCKETS_US.len()],
    /// All latencies.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum_seconds: f64,
}

/// The totals in short, for the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct TotalsView {
    /// Requests that ended.
    pub(super) requests: u64,
    /// Of those, the ones that say something about the app's error rate.
    pub(super) judged: u64,
    /// Of those, failures.
    pub(super) failed: u64,
    /// Requests that ended, by class of status.
    pub(super) by_status: BTreeMap<&'static str, u64>,
    /// Requests that ended, by how.
    pub(super) by_outcome: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            requests: BTreeMap::new(),
            latency: latency_histogram(),
            routes: RouteBook::default(),
            sums: Sums::default(),
            decisions: BTreeMap::new(),
            decision_seen: None,
        }
    }

    /// Adds a sealed window.
    pub(super) fn add(&mut self, window: &Window) {
        for c in &window.counts {
            *self.requests.entry((c.method, c.status, c.outcome)).or_default() += c.count;
        }
        for &(value, count) in window.latencies.pairs() {
            self.latency.saturating_record_n(value, count);
        }
        self.routes.add(window);
        let sums = &mut self.sums;
        sums.reached.merge(&window.reached);
        sums.total.merge(&window.total);
        sums.retried += window.retried;
        sums.health += window.health;
        sums.unrouted += window.unrouted;
        sums.lag_us = window.lag_us;
    }

    pub(super) const fn routes(&self) -> &RouteBook {
        &self.routes
    }

    pub(super) const fn sums(&self) -> &Sums {
        &self.sums
    }

    /// Counts how far the last decision has come, once for each step. Decisions of an earlier run are not ours to count.
    pub(super) fn see_decision(&mut self, live: &Live) {
        let Some(last) = live.engine.last_decision.as_ref().filter(|d| d.at >= live.started) else { return };
        let seen = (last.id.clone(), last.progress.label());
        if self.decision_seen.as_ref() != Some(&seen) {
            *self.decisions.entry((last.decision, seen.1)).or_default() += 1;
            self.decision_seen = Some(seen);
        }
    }

    pub(super) fn requests(&self) -> &BTreeMap<Kind, u64> {
        &self.requests
    }

    pub(super) fn decisions(&self) -> &BTreeMap<(&'static str, &'static str), u64> {
        &self.decisions
    }

    /// The latencies by bucket. A value is taken at the upper edge of the 0.1 % that the histogram keeps apart, so that
    /// no bucket claims a request that may have been slower.
    pub(super) fn buckets(&self) -> Buckets {
        let mut buckets = Buckets { counts: [0; BUCKETS_US.len()], count: 0, sum_seconds: 0.0 };
        for v in self.latency.iter_recorded() {
            let (value, count) = (v.value_iterated_to(), v.count_at_value());
            buckets.count += count;
            buckets.sum_seconds += value as f64 / 1e6 * count as f64;
            if let Some(place) = BUCKETS_US.iter().position(|&bound| value <= bound) {
                buckets.counts[place] += count;
            }
        }
        let mut below = 0;
        for count in &mut buckets.counts {
            below += *count;
            *count = below;
        }
        buckets
    }

    pub(super) fn view(&self) -> TotalsView {
        let mut view = TotalsView::default();
        for (&(_, status, outcome), &count) in &self.requests {
            view.requests += count;
            if outcome.is_judged() {
                view.judged += count;
            }
            if outcome.fault() == crate::engine::observation::Fault::App {
                view.failed += count;
            }
            *view.by_status.entry(status.label()).or_default() += count;
            *view.by_outcome.entry(outcome.label()).or_default() += count;
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fixture;
    use crate::engine::window::Latencies;

    #[test]
    fn totals_are_the_sum_of_their_windows() {
        let mut totals = Totals::new();
        totals.add(&fixture::window(1, 100, 3));
        totals.add(&fixture::window(2, 50, 0));
        let view = totals.view();
        assert_eq!((view.requests, view.judged, view.failed), (150, 150, 3));
        assert_eq!(view.by_status["5xx"], 3);
        assert_eq!(totals.buckets().count, 150);
    }

    #[test]
    fn a_latency_lies_in_every_bucket_that_is_not_below_it() {
        let mut totals = Totals::new();
        let latencies = Latencies::new(vec![(900, 1), (1_100, 2), (59_000_000, 4), (61_000_000, 8)]);
        totals.add(&Window { latencies, ..Window::default() });
        let buckets = totals.buckets();
        assert_eq!((buckets.counts[0], buckets.counts[1], buckets.counts[15], buckets.count), (1, 3, 7, 15));
        assert!((buckets.sum_seconds - 724.0).abs() < 1.0, "{}", buckets.sum_seconds);
    }

    #[test]
    fn each_step_of_a_decision_is_counted_once_and_an_earlier_runs_never() {
        let mut totals = Totals::new();
        let mut live = fixture::decided();
        totals.see_decision(&live);
        totals.see_decision(&live);
        assert_eq!(totals.decisions().get(&("roll_back", "accepted")), Some(&1));
        live.started = live.engine.at;
        let mut fresh = Totals::new();
        fresh.see_decision(&live);
        assert!(fresh.decisions().is_empty());
    }
}
