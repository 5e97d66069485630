//! The routes' own streams: errors, median and 95th percentile of each route that the baseline knows well enough.
//!
//! One route among many can break without any figure of all requests moving. The price of looking at so many is paid in
//! the limits: the budget is divided by the number of streams.

use std::sync::Arc;

use crate::engine::baseline::Baseline;
use crate::engine::judge::null;
use crate::engine::judge::rest::{Part, RouteCounts};
use crate::engine::judge::stream::{Horizon, Limits, Null, Sample, Share, Stream};
use crate::engine::policy::Policy;
use crate::engine::tick::Tick;
use crate::engine::verdict::{StreamEvidence, StreamName};

/// Routes' streams that are shown, those that have come farthest.
const SHOWN: usize = 8;
/// A stream is worth looking at when one level is so far, in natural logarithms.
const LN_DOUBTFUL: f64 = 3.0;

#[derive(Clone, Debug, PartialEq)]
struct Route {
    name: Arc<str>,
    errors: Stream,
    /// With their places in [`RouteCounts::slow`].
    latencies: Vec<(usize, Stream)>,
    marks: [u64; 2],
}

/// All routes that are judged by themselves, ascending by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Routes(Vec<Route>);

impl Routes {
    /// `whole` are the streams of all requests, which the routes share their bursts with.
    pub(crate) fn new(baseline: &Baseline, whole: &[&Null], policy: &Policy) -> Self {
        let routes = null::routes(baseline, whole, policy).into_iter().filter_map(|(name, nulls)| {
            let mut nulls = nulls.into_iter();
            let errors = Stream::new(nulls.next()?);
            let mut marks = [u64::MAX; 2];
            let latencies = nulls.map(|null| {
                let at = usize::from(null.name == StreamName::RouteP95);
                marks[at] = null.limit as u64;
                (at, Stream::new(null))
            });
            let latencies = latencies.collect();
            Some(Route { name, errors, latencies, marks })
        });
        Self(routes.collect())
    }

    /// How many error streams and how many latency streams there are.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.0.len(), self.0.iter().map(|route| route.latencies.len()).sum())
    }

    /// A replica's tick in counts, in the order of the routes; both are sorted by name.
    pub(crate) fn count(&self, tick: &Tick) -> Vec<RouteCounts> {
        let mut seen = tick.routes.iter().peekable();
        let counts = self.0.iter().map(|route| {
            while seen.next_if(|of| of.route < route.name).is_some() {}
            let Some(of) = seen.next_if(|of| of.route == route.name) else { return RouteCounts::default() };
            let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
            RouteCounts {
                judged: small(of.judged),
                failed: small(of.failed),
                timed: small(of.latencies.count()),
                slow: route.marks.map(|mark| small(of.latencies.slower_than(mark))),
            }
        });
        counts.collect()
    }

    pub(crate) fn weigh(&mut self, parts: &[Part], control: Option<&Tick>, ratio: f64) {
        let beside = control.map(|tick| self.count(tick));
        for (at, route) in self.0.iter_mut().enumerate() {
            let sample = |slow: Option<usize>| {
                let share = RouteShare { at, slow };
                let of = parts.iter().map(|part| share.of(&part.routes)).sum();
                let control = beside.as_ref().map(|counts| share.of(counts));
                Sample { of, control, ..Sample::default() }
            };
            route.errors.weigh(&sample(None), ratio);
            for (place, stream) in &mut route.latencies {
                stream.weigh(&sample(Some(*place)), ratio);
            }
        }
    }

    /// The streams that have reached their limits: the route's place, the stream, and its share of a part.
    pub(crate) fn reached(
        &self,
        horizon: Horizon,
        (errors, latencies): (Limits, Limits),
    ) -> impl Iterator<Item = (&Stream, RouteShare)> {
        self.0.iter().enumerate().flat_map(move |(at, route)| {
            let errors = route
                .errors
                .reaches(horizon, errors)
                .then_some((&route.errors, RouteShare { at, slow: None }));
            let slow = route.latencies.iter().filter(move |(_, s)| s.reaches(horizon, latencies));
            errors
                .into_iter()
                .chain(slow.map(move |&(place, ref s)| (s, RouteShare { at, slow: Some(place) })))
        })
    }

    fn all(&self, (errors, latencies): (Limits, Limits)) -> impl Iterator<Item = (&Stream, Limits)> {
        self.0.iter().flat_map(move |route| {
            let slow = route.latencies.iter().map(move |(_, stream)| (stream, latencies));
            std::iter::once((&route.errors, errors)).chain(slow)
        })
    }

    /// Those in which at least one level has come some way, and how far they have come.
    pub(crate) fn doubtful(
        &self,
        horizon: Horizon,
        limits: (Limits, Limits),
    ) -> impl Iterator<Item = (&Stream, f64)> {
        let all = self.all(limits).filter(move |(s, _)| s.may_have_come(LN_DOUBTFUL));
        all.map(move |(stream, limits)| (stream, stream.progress(horizon, limits)))
    }

    /// The streams that have come farthest.
    pub(crate) fn farthest(&self, horizon: Horizon, limits: (Limits, Limits)) -> Vec<StreamEvidence> {
        let mut all: Vec<StreamEvidence> = self
            .all(limits)
            .filter(|(stream, _)| stream.events() > 0)
            .map(|(stream, limits)| stream.evidence(horizon, limits))
            .collect();
        // A stable sort: equal ones stay in the order of their names.
        all.sort_by(|a, b| b.progress().total_cmp(&a.progress()));
        all.truncate(SHOWN);
        all
    }
}

/// Which share of a replica's part a route's stream looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RouteShare {
    at: usize,
    slow: Option<usize>,
}

impl RouteShare {
    /// Of one replica's counts, in the order of the routes.
    pub(crate) fn of(self, routes: &[RouteCounts]) -> Share {
        let Some(counts) = routes.get(self.at) else { return Share::default() };
        match self.slow {
            None => Share { n: counts.judged.into(), k: counts.failed.into() },
            Some(place) => Share { n: counts.timed.into(), k: counts.slow[place].into() },
        }
    }
}
