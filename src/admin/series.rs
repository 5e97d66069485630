//! The last 15 minutes, second by second: what the charts are drawn from.

use std::collections::VecDeque;

use serde::Serialize;

use crate::admin::streams::{self, Group, group_progress};
use crate::engine::snapshot::Snapshot;
use crate::engine::verdict::StreamName;
use crate::engine::window::Window;

/// How many points are kept: 15 minutes of seconds. At the bound the oldest is forgotten.
pub(super) const POINTS_MAX: usize = 15 * 60;

/// One second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Point {
    /// When it was sealed, in milliseconds since the Unix epoch.
    pub(super) t: u64,
    /// How long its window was.
    pub(super) seconds: f64,
    /// Requests that ended.
    pub(super) requests: u64,
    /// Of those, the ones that say something about the app's error rate.
    pub(super) judged: u64,
    /// Of those, failures.
    pub(super) failed: u64,
    /// Quantiles of the app's thinking time in this second, in microseconds.
    pub(super) p50_us: Option<u64>,
    pub(super) p90_us: Option<u64>,
    pub(super) p99_us: Option<u64>,
    /// Requests open at the seal.
    pub(super) in_flight: u64,
    /// How far each stream's evidence has come.
    pub(super) progress: Progress,
    /// The health score, 0 to 1; `null` before there was evidence.
    pub(super) score: Option<f64>,
    /// The verdict's name.
    pub(super) verdict: &'static str,
    /// The release that was running.
    pub(super) release: String,
}

/// Evidence as a share of its limit, 0 to 1, by stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Progress {
    pub(super) errors: f64,
    pub(super) latency_p50: f64,
    pub(super) latency_p90: f64,
    pub(super) latency_p95: f64,
    pub(super) latency_p99: f64,
    /// The latency streams taken together: this is what decides.
    pub(super) latency: f64,
    /// The farthest of the streams of 4xx statuses,
    pub(super) statuses: f64,
    /// of crashes, processor, memory and descriptors,
    pub(super) resources: f64,
    /// and of the routes.
    pub(super) routes: f64,
}

impl Point {
    /// The second that `window` sealed, judged as `engine` says.
    pub(super) fn new(engine: &Snapshot, window: &Window) -> Self {
        let at = |q: f64| window.latencies.quantile(q);
        Self {
            t: window.to.as_millis(),
            seconds: window.to.since(window.from).as_secs_f64(),
            requests: window.ended(),
            judged: window.judged(),
            failed: window.failed(),
            p50_us: at(0.50),
            p90_us: at(0.90),
            p99_us: at(0.99),
            in_flight: window.in_flight,
            progress: progress(engine),
            score: engine.score.map(thousandths),
            verdict: engine.verdict.label(),
            release: engine.release.as_str().to_owned(),
        }
    }
}

fn progress(engine: &Snapshot) -> Progress {
    let of_group = |group| thousandths(group_progress(engine, group));
    let of = |name: StreamName| {
        let stream = engine.evidence.iter().find(|stream| stream.name == name);
        stream.map_or(0.0, |stream| thousandths(streams::progress(stream)))
    };
    Progress {
        errors: of(StreamName::Errors),
        latency_p50: of(StreamName::LatencyP50),
        latency_p90: of(StreamName::LatencyP90),
        latency_p95: of(StreamName::LatencyP95),
        latency_p99: of(StreamName::LatencyP99),
        latency: thousandths(engine.latency_progress),
        statuses: of_group(Group::Statuses),
        resources: of_group(Group::Resources),
        routes: of_group(Group::Routes),
    }
}

/// Three digits are all that a chart shows; more would double the size of the series.
fn thousandths(share: f64) -> f64 {
    (share.clamp(0.0, 1.0) * 1000.0).round() / 1000.0
}

/// The points kept, oldest first.
#[derive(Debug, Default)]
pub(super) struct Series(VecDeque<Point>);

impl Series {
    /// Adds a point.
    pub(super) fn push(&mut self, point: Point) {
        if self.0.len() == POINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }

    /// All points that came after the one at `t`, oldest first.
    pub(super) fn after(&self, t: Option<u64>) -> Vec<Point> {
        let from = t.map_or(0, |t| self.0.partition_point(|p| p.t <= t));
        self.0.range(from..).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fixture;

    #[test]
    fn the_series_forgets_the_oldest_point_at_its_bound() {
        let mut series = Series::default();
        let live = fixture::live();
        for second in 0..POINTS_MAX as u64 + 10 {
            series.push(Point::new(&live.engine, &fixture::window(second, 100, 1)));
        }
        let all = series.after(None);
        assert_eq!(all.len(), POINTS_MAX);
        assert_eq!(all[0].t, fixture::window(10, 0, 0).to.as_millis());
        let last = all[POINTS_MAX - 1].t;
        assert_eq!(series.after(Some(last - 2000)).len(), 2);
        assert!(series.after(Some(last)).is_empty());
    }

    #[test]
    fn a_point_tells_rates_quantiles_and_progress_apart() {
        let point = Point::new(&fixture::live().engine, &fixture::window(1, 100, 3));
        assert_eq!((point.requests, point.judged, point.failed), (100, 100, 3));
        assert_eq!(point.seconds, 1.0);
        assert!(point.p50_us <= point.p90_us && point.p90_us <= point.p99_us && point.p50_us.is_some());
        assert!(point.progress.errors > 0.0 && point.progress.errors < 1.0);
        let Progress { statuses, resources, routes, .. } = point.progress;
        assert_eq!((statuses, resources, routes), (0.1, 0.25, 0.4), "the farthest of each group");
        assert_eq!(point.score, Some(0.62));
    }
}
