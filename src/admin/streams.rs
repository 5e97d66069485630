//! The evidence as the API serves it, and how far a stream or a group of streams has come.

use serde::Serialize;

use crate::admin::words;
use crate::engine::policy::Policy;
use crate::engine::snapshot::Snapshot;
use crate::engine::verdict::{StreamEvidence, StreamName, Unit};

/// A stream of evidence. `baseline`, `limit` and `recent_value` are in the stream's unit.
#[derive(Debug, Serialize)]
pub(super) struct StreamJson<'a> {
    stream: &'static str,
    /// The route of a route's stream.
    route: Option<&'a str>,
    /// Which streams it is shown with: `all`, `statuses`, `resources` (with crashes) or `routes`.
    group: &'static str,
    /// `share`, `microseconds`, `millicores`, `bytes` or `count`.
    unit: &'static str,
    baseline: f64,
    limit: f64,
    /// The ratio of the policy by which the limit was made, of the baseline's figure with its uncertainty.
    ratio: f64,
    p0: f64,
    requests: u64,
    bad: u64,
    recent_share: Option<f64>,
    recent_value: Option<f64>,
    ln_requests: Option<f64>,
    ln_requests_limit: Option<f64>,
    ln_ticks: Option<f64>,
    /// `null` where the stream has one level only.
    ln_ticks_limit: Option<f64>,
    ln_attribution: Option<f64>,
    /// How far the request level has come, 0 to 1,
    progress_requests: f64,
    /// and the tick level; `null` where the stream has one level only.
    progress_ticks: Option<f64>,
    /// The lesser of both.
    progress: f64,
    /// What counts as bad, and by which figures, in plain words.
    guard: String,
}

/// Streams that are shown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    All,
    Statuses,
    Resources,
    Routes,
}

impl Group {
    pub(super) const fn of(name: StreamName) -> Self {
        match name {
            StreamName::Errors
            | StreamName::LatencyP50
            | StreamName::LatencyP90
            | StreamName::LatencyP95
            | StreamName::LatencyP99 => Self::All,
            StreamName::Status(_) => Self::Statuses,
            StreamName::Crashes | StreamName::Cpu | StreamName::Memory | StreamName::Descriptors => {
                Self::Resources
            }
            StreamName::RouteErrors | StreamName::RouteP50 | StreamName::RouteP95 => Self::Routes,
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Statuses => "statuses",
            Self::Resources => "resources",
            Self::Routes => "routes",
        }
    }
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Share => "share",
        Unit::Microseconds => "microseconds",
        Unit::Millicores => "millicores",
        Unit::Bytes => "bytes",
        Unit::Count => "count",
    }
}

/// How far the request level has come and, where there is one, the tick level; each from 0 to 1.
pub(super) fn levels(of: &StreamEvidence) -> (f64, Option<f64>) {
    let share = |value: f64, limit: f64| (value.max(0.0) / limit).clamp(0.0, 1.0);
    // A level that needs nothing is no level.
    let ticks = of.ln_ticks_limit.is_finite().then(|| share(of.ln_ticks, of.ln_ticks_limit));
    (share(of.ln_requests, of.ln_requests_limit), ticks)
}

/// How far the evidence has come, from 0 (none) to 1 (all limits reached): the lesser of its levels.
pub(super) fn progress(of: &StreamEvidence) -> f64 {
    let (requests, ticks) = levels(of);
    requests.min(ticks.unwrap_or(1.0))
}

/// How far the stream of a group that has come farthest has come. Latency is judged by its streams taken together.
pub(super) fn group_progress(engine: &Snapshot, group: Group) -> f64 {
    let of_group = engine.evidence.iter().filter(|s| Group::of(s.name) == group);
    let counted = of_group.filter(|s| group != Group::All || s.name == StreamName::Errors);
    let farthest = counted.map(progress).fold(0.0, f64::max);
    if group == Group::All { farthest.max(engine.latency_progress) } else { farthest }
}

/// The stream's own figure in the last minute. A route's latency has none: of it only the share beyond the limit is known.
pub(super) fn recent_value(of: &StreamEvidence) -> Option<f64> {
    let is_share_of_route = matches!(of.name, StreamName::RouteP50 | StreamName::RouteP95);
    of.recent_value.filter(|&value| !is_share_of_route || value > 1.0)
}

pub(super) fn json<'a>(of: &'a StreamEvidence, policy: &Policy) -> StreamJson<'a> {
    // JSON has no infinity.
    let finite = |value: f64| value.is_finite().then_some(value);
    let (progress_requests, progress_ticks) = levels(of);
    StreamJson {
        stream: of.name.label(),
        route: of.route.as_deref(),
        group: Group::of(of.name).label(),
        unit: unit(of.name.unit()),
        baseline: of.baseline,
        limit: of.limit,
        ratio: words::ratio(of.name, policy),
        p0: of.p0,
        requests: of.requests,
        bad: of.bad,
        recent_share: of.recent_share,
        recent_value: recent_value(of),
        ln_requests: finite(of.ln_requests),
        ln_requests_limit: finite(of.ln_requests_limit),
        ln_ticks: finite(of.ln_ticks),
        ln_ticks_limit: finite(of.ln_ticks_limit),
        ln_attribution: of.ln_attribution.and_then(finite),
        progress_requests,
        progress_ticks,
        progress: progress(of),
        guard: words::guard(of, policy),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fixture;

    #[test]
    fn a_stream_with_one_level_is_as_far_as_that_level() {
        let live = fixture::live();
        let crashes = live.engine.evidence.iter().find(|s| s.name == StreamName::Crashes).unwrap();
        assert_eq!(crashes.ln_ticks_limit, f64::NEG_INFINITY);
        assert_eq!((levels(crashes), progress(crashes)), ((0.25, None), 0.25));
        let json = serde_json::to_value(json(crashes, &live.engine.policy)).unwrap();
        assert!(json["ln_ticks_limit"].is_null() && json["progress_ticks"].is_null(), "{json}");
    }

    #[test]
    fn a_routes_latency_is_not_told_in_microseconds_where_only_a_share_is_known() {
        let live = fixture::live();
        let mut route = live.engine.evidence.iter().find(|s| s.name == StreamName::RouteP95).unwrap().clone();
        route.recent_value = Some(0.25);
        assert_eq!(recent_value(&route), None);
        route.recent_value = Some(25_000.0);
        assert_eq!(recent_value(&route), Some(25_000.0));
    }

    #[test]
    fn a_group_is_as_far_as_its_farthest_stream_and_latency_as_its_streams_together() {
        let mut engine = fixture::live().engine;
        assert_eq!(group_progress(&engine, Group::All), 0.34);
        engine.latency_progress = 0.0;
        assert!(
            (group_progress(&engine, Group::All) - 0.21).abs() < 1e-9,
            "the errors, not the 99th percentile"
        );
        assert!((group_progress(&engine, Group::Routes) - 0.4).abs() < 1e-9);
    }
}
