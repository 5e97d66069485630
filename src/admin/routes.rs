//! Figures by route: cumulative ones for the metrics, and those of the last minutes for people.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::admin::view::rfc3339;
use crate::engine::observation::Method;
use crate::engine::route::GROUPS_MAX;
use crate::engine::time::Time;
use crate::engine::window::{Latencies, RouteWindow, WATCHED_STATUSES, Window};

/// The upper bounds of a route's latency buckets, in microseconds. They are few, because each is a series a route.
pub(super) const ROUTE_BUCKETS_US: [u64; 9] =
    [5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];
/// How long a slice of the recent past is.
const SLICE: Duration = Duration::from_secs(60);
/// How many slices are kept, the one that is being filled included. The oldest is forgotten.
const SLICES_MAX: u64 = 5;
/// The bits of a latency that are kept for the recent past: an error below 4 %, and at most 32 values for each doubling.
const LATENCY_BITS: u32 = 5;

/// All routes. At most [`GROUPS_MAX`] are kept; at the bound the one that was asked for last is forgotten with its
/// counters.
#[derive(Debug, Default)]
pub(super) struct RouteBook {
    routes: BTreeMap<(Method, Arc<str>), Route>,
}

/// What is kept of one route.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Requests that ended.
    pub(super) ended: u64,
    /// Of those, the ones that failed by the app's fault.
    pub(super) failed: u64,
    /// The app's answers with each of the watched statuses.
    pub(super) watched: [u64; WATCHED_STATUSES.len()],
    /// Latencies by bucket, not cumulative; the last is above all bounds.
    pub(super) buckets: [u64; ROUTE_BUCKETS_US.len() + 1],
    /// Their sum.
    pub(super) sum_us: u64,
    last: Time,
    recent: VecDeque<Slice>,
}

#[derive(Debug, Default)]
struct Slice {
    number: u64,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    ended: u64,
    judged: u64,
    failed: u64,
    watched: [u64; WATCHED_STATUSES.len()],
    latencies: Latencies,
}

/// The routes as the API serves them.
#[derive(Debug, Serialize)]
pub(super) struct RoutesJson {
    from: String,
    to: String,
    /// All routes asked for in that time; the list may be shorter.
    count: usize,
    routes: Vec<RouteJson>,
}

#[derive(Debug, Serialize)]
struct RouteJson {
    method: &'static str,
    route: String,
    requests: u64,
    judged: u64,
    failed: u64,
    /// The share of the judged that failed.
    error_rate: Option<f64>,
    /// The app's answers with statuses that a broken release makes in storms.
    client_errors: BTreeMap<u16, u64>,
    p50_us: Option<u64>,
    p95_us: Option<u64>,
    p99_us: Option<u64>,
}

impl RouteBook {
    /// Adds a sealed window.
    pub(super) fn add(&mut self, window: &Window) {
        for route in &window.routes {
            let key = (route.method, Arc::clone(&route.route));
            if !self.routes.contains_key(&key) && self.routes.len() >= GROUPS_MAX {
                let oldest = self.routes.iter().min_by_key(|(_, kept)| kept.last).map(|(key, _)| key.clone());
                self.routes.remove(&oldest.expect("the book is full"));
            }
            self.routes.entry(key).or_default().add(route, window.to);
        }
    }

    /// All routes with their cumulative figures.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Method, &str, &Route)> {
        self.routes.iter().map(|((method, route), kept)| (*method, &**route, kept))
    }

    /// The last minutes before `now`: the `limit` routes that were asked for most.
    pub(super) fn recent(&self, now: Time, limit: usize) -> RoutesJson {
        let current = slice_at(now);
        let oldest = (current + 1).saturating_sub(SLICES_MAX);
        let mut found: Vec<_> = self.routes.iter().map(|(key, kept)| (key, kept.since(oldest))).collect();
        found.retain(|(_, figures)| figures.ended > 0 || figures.latencies.count() > 0);
        found.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.ended));
        let from = Time::from_millis(oldest * SLICE.as_millis() as u64);
        RoutesJson {
            from: rfc3339(from),
            to: rfc3339(now),
            count: found.len(),
            routes: found.into_iter().take(limit).map(|(key, figures)| json(key, &figures)).collect(),
        }
    }
}

impl Route {
    fn add(&mut self, window: &RouteWindow, at: Time) {
        self.last = at;
        self.ended += window.ended;
        self.failed += window.failed;
        for &(us, count) in window.latencies.pairs() {
            self.buckets[ROUTE_BUCKETS_US.partition_point(|&bound| bound < us)] += count;
            self.sum_us = self.sum_us.saturating_add(us.saturating_mul(count));
        }
        for (sum, count) in self.watched.iter_mut().zip(window.watched) {
            *sum += count;
        }
        let number = slice_at(at);
        if self.recent.back().is_none_or(|slice| slice.number != number) {
            self.recent.push_back(Slice { number, ..Slice::default() });
        }
        self.recent.retain(|slice| slice.number + SLICES_MAX > number);
        if let Some(slice) = self.recent.back_mut() {
            let latencies = coarse(&window.latencies);
            let RouteWindow { ended, judged, failed, watched, .. } = *window;
            slice.figures.add(&Figures { ended, judged, failed, watched, latencies });
        }
    }

    fn since(&self, oldest: u64) -> Figures {
        let mut sum = Figures::default();
        self.recent.iter().filter(|slice| slice.number >= oldest).for_each(|slice| sum.add(&slice.figures));
        sum
    }
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.ended += other.ended;
        self.judged += other.judged;
        self.failed += other.failed;
        self.latencies.merge(&other.latencies);
        for (sum, count) in self.watched.iter_mut().zip(other.watched) {
            *sum += count;
        }
    }
}

fn slice_at(time: Time) -> u64 {
    time.as_millis() / SLICE.as_millis() as u64
}

fn coarse(latencies: &Latencies) -> Latencies {
    let rounded = |us: u64| {
        let dropped = (u64::BITS - us.leading_zeros()).saturating_sub(LATENCY_BITS + 1);
        us | ((1 << dropped) - 1)
    };
    Latencies::new(latencies.pairs().iter().map(|&(us, count)| (rounded(us), count)).collect())
}

fn json((method, route): &(Method, Arc<str>), figures: &Figures) -> RouteJson {
    // A quantile is told where at least one request lies beyond it: the 99th of a hundred, not of ten.
    let count = figures.latencies.count();
    let at = |percent: u64| {
        let is_told = count * (100 - percent) >= 100;
        is_told.then(|| figures.latencies.quantile(percent as f64 / 100.0)).flatten()
    };
    let watched = WATCHED_STATUSES.into_iter().zip(figures.watched).filter(|&(_, count)| count > 0);
    RouteJson {
        method: method.label(),
        route: route.to_string(),
        requests: figures.ended,
        judged: figures.judged,
        failed: figures.failed,
        error_rate: (figures.judged > 0).then(|| figures.failed as f64 / figures.judged as f64),
        client_errors: watched.collect(),
        p50_us: at(50),
        p95_us: at(95),
        p99_us: at(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fixture;

    fn window(minute: u64, route: &str, requests: u64) -> Window {
        let routes = vec![fixture::route(route, requests, requests / 10)];
        Window { to: fixture::START + Duration::from_secs(60 * minute), routes, ..Window::default() }
    }

    #[test]
    fn the_last_minutes_forget_what_is_older_and_the_counters_do_not() {
        let mut book = RouteBook::default();
        for minute in 0..9 {
            book.add(&window(minute, "/cart", 100));
        }
        book.add(&window(8, "/", 700));
        let json = serde_json::to_value(book.recent(window(8, "/", 0).to, 10)).unwrap();
        assert_eq!(json["count"], 2);
        assert_eq!(
            (json["routes"][0]["route"].as_str(), json["routes"][0]["requests"].as_u64()),
            (Some("/"), Some(700))
        );
        let cart = &json["routes"][1];
        assert_eq!((cart["requests"].as_u64(), cart["error_rate"].as_f64()), (Some(500), Some(0.1)));
        assert_eq!(cart["client_errors"], serde_json::json!({"404": 50}));
        let p95 = cart["p95_us"].as_u64().unwrap();
        assert!((95_000..99_000).contains(&p95), "{p95}");
        let total: u64 =
            book.iter().filter(|(_, route, _)| *route == "/cart").map(|(.., kept)| kept.ended).sum();
        assert_eq!(total, 900);
        assert_eq!(serde_json::to_value(book.recent(window(20, "/", 0).to, 10)).unwrap()["count"], 0);
    }

    #[test]
    fn a_quantile_that_no_request_lies_beyond_is_not_told() {
        let mut book = RouteBook::default();
        book.add(&window(1, "/cart", 99));
        let json = serde_json::to_value(book.recent(window(1, "/", 0).to, 10)).unwrap();
        let cart = &json["routes"][0];
        assert!(cart["p50_us"].is_u64() && cart["p95_us"].is_u64() && cart["p99_us"].is_null(), "{cart}");
    }

    #[test]
    fn the_book_forgets_the_route_that_was_asked_for_last() {
        let mut book = RouteBook::default();
        for i in 0..GROUPS_MAX as u64 + 5 {
            book.add(&window(i, &format!("/page-{i}"), 1));
        }
        assert_eq!(book.iter().count(), GROUPS_MAX);
        assert!(book.iter().all(|(_, route, _)| route != "/page-4"));
        assert!(book.iter().any(|(_, route, _)| route == "/page-5"));
    }
}
