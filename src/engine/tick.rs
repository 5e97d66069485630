//! What one replica saw in five seconds, and what all replicas of a release saw together: the unit of evidence.
//!
//! Counts are exact rather than moving averages, so that a burst leads to the same verdict at any request rate, that
//! replicas can be pooled by adding, and that a record can be judged again.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::time::Time;
use crate::engine::window::{Latencies, RouteWindow, WATCHED_STATUSES, Window};

/// The length of a tick.
pub const TICK: Duration = Duration::from_secs(5);
/// Probes in a tick; more are left out, the last ones by name.
pub const PROBES_MAX: usize = 64;

/// What the app used, as sampled once a tick; `None` where it could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Processor time used since the last sample, in thousandths of one processor.
    pub cpu_millicores: Option<u64>,
    /// Resident memory of the app's processes, in bytes.
    pub memory_bytes: Option<u64>,
    /// Open file descriptors of the app's processes.
    pub descriptors: Option<u64>,
}

impl Resources {
    /// Takes what the later sample holds.
    pub fn update(&mut self, later: Self) {
        self.cpu_millicores = later.cpu_millicores.or(self.cpu_millicores);
        self.memory_bytes = later.memory_bytes.or(self.memory_bytes);
        self.descriptors = later.descriptors.or(self.descriptors);
    }
}

/// What the agent's own probes of one dependency found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeTick {
    /// The probe's name, such as `postgres`.
    pub name: Arc<str>,
    /// Probes that the dependency answered well.
    pub ok: u64,
    /// Probes that it failed. What could not be asked at all is in neither figure.
    pub failed: u64,
    /// How long the answers took, in microseconds.
    pub latencies: Latencies,
    /// What was asked of the dependency in these seconds, by all its clients as it counts them itself: queries, commands. Not
    /// connections held: of these there are more when the dependency is slow, whoever's fault that is.
    pub load: Option<u64>,
}

/// One route's share of a tick; figures as in [`RouteWindow`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTick {
    /// The method and the label, such as `GET /users/{id}`.
    pub route: Arc<str>,
    /// Requests that ended.
    pub ended: u64,
    /// Requests that say something about the app's error rate.
    pub judged: u64,
    /// Of those, the ones that failed by the app's fault.
    pub failed: u64,
    /// The app's thinking times at two significant digits.
    pub latencies: Latencies,
}

/// Five seconds of windows added up.
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
    /// Requests that ended on routes that may be evidence: what scanners ask for is not among them.
    pub routed: u64,
    /// Of those, the app's answers with one of [`WATCHED_STATUSES`].
    pub watched: [u64; WATCHED_STATUSES.len()],
    /// By route, ascending by name; at most [`crate::engine::route::GROUPS_MAX`].
    pub routes: Vec<RouteTick>,
    /// Ends of the app that were crashes.
    pub crashes: u64,
    /// What the app used.
    pub resources: Resources,
    /// What the probes found, ascending by name; at most [`PROBES_MAX`].
    pub probes: Vec<ProbeTick>,
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
        for route in window.routes.iter().filter(|route| route.is_judgeable()) {
            self.add_route(route);
        }
        self.resources.update(window.resources);
        window.probes.iter().for_each(|probe| self.add_probe(probe, u64::saturating_add));
    }

    fn add_route(&mut self, of: &RouteWindow) {
        self.routed += of.ended;
        for (sum, count) in self.watched.iter_mut().zip(of.watched) {
            *sum += count;
        }
        let route: Arc<str> = format!("{} {}", of.method.label(), of.route).into();
        let RouteWindow { ended, judged, failed, .. } = *of;
        self.merge_route(&RouteTick { route, ended, judged, failed, latencies: of.latencies.clone() });
    }

    fn merge_route(&mut self, of: &RouteTick) {
        match self.routes.binary_search_by(|r| r.route.cmp(&of.route)) {
            Ok(at) => {
                let sum = &mut self.routes[at];
                sum.ended += of.ended;
                sum.judged += of.judged;
                sum.failed += of.failed;
                sum.latencies.merge(&of.latencies);
            }
            Err(at) => self.routes.insert(at, of.clone()),
        }
    }

    /// Adds what the same agent, or another one, found. Of two agents' loads it is the greater: the dependency counts what all
    /// ask of it, so each agent is told the same.
    fn add_probe(&mut self, of: &ProbeTick, join: fn(u64, u64) -> u64) {
        match self.probes.binary_search_by(|p| p.name.cmp(&of.name)) {
            Ok(at) => {
                let sum = &mut self.probes[at];
                sum.ok += of.ok;
                sum.failed += of.failed;
                sum.latencies.merge(&of.latencies);
                sum.load = match (sum.load, of.load) {
                    (Some(a), Some(b)) => Some(join(a, b)),
                    (a, b) => a.or(b),
                };
            }
            Err(at) => self.probes.insert(at, of.clone()),
        }
        self.probes.truncate(PROBES_MAX);
    }

    /// Adds what another replica saw in the same five seconds. A stalled one adds nothing. Resources become the most that
    /// one replica used.
    pub fn pool(&mut self, other: &Self) {
        if other.stalled {
            return;
        }
        self.latencies.merge(&other.latencies);
        other.routes.iter().for_each(|route| self.merge_route(route));
        self.pool_the_rest(other);
    }

    /// What is not by route and no latency.
    fn pool_the_rest(&mut self, other: &Self) {
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
        self.judged += other.judged;
        self.failed += other.failed;
        self.ended += other.ended;
        self.arrived += other.arrived;
        self.answered += other.answered;
        self.waiting += other.waiting;
        self.overdue += other.overdue;
        self.routed += other.routed;
        for (sum, count) in self.watched.iter_mut().zip(other.watched) {
            *sum += count;
        }
        self.crashes += other.crashes;
        let most = |a: Option<u64>, b: Option<u64>| a.max(b);
        self.resources.cpu_millicores = most(self.resources.cpu_millicores, other.resources.cpu_millicores);
        self.resources.memory_bytes = most(self.resources.memory_bytes, other.resources.memory_bytes);
        self.resources.descriptors = most(self.resources.descriptors, other.resources.descriptors);
        other.probes.iter().for_each(|probe| self.add_probe(probe, u64::max));
    }

    /// Whether anything was asked of the app in it.
    pub const fn has_traffic(&self) -> bool {
        self.arrived + self.judged + self.waiting > 0
    }
}

/// What all replicas saw in the same five seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Round {
    /// The judged release's replicas, each by its name; at most [`REPLICAS_MAX`] are told apart, the others are pooled
    /// with the last.
    pub candidate: Vec<(Arc<str>, Tick)>,
    /// All replicas of the stable release that runs beside it, pooled; `None` where there is none.
    pub control: Option<Tick>,
}

/// Replicas that are told apart.
pub const REPLICAS_MAX: usize = 100;

impl Round {
    /// What one replica saw where there is no other, and no stable release beside it.
    pub fn single(tick: Tick) -> Self {
        Self { candidate: vec![("self".into(), tick)], control: None }
    }

    /// All replicas of the judged release together; stalled ones are left out. It is stalled only if all are.
    pub fn pooled(&self) -> Tick {
        let mut live = self.live();
        let Some(first) = live.next() else {
            return self.candidate.first().map_or_else(Tick::default, |(_, tick)| tick.clone());
        };
        let mut sum = first.clone();
        live.for_each(|tick| sum.pool(tick));
        sum
    }

    /// The same without what is by route, which takes most of the time where replicas are many.
    pub(crate) fn pooled_without_routes(&self) -> Tick {
        let Some(first) = self.live().next() else {
            return self.candidate.first().map_or_else(Tick::default, |(_, tick)| tick.clone());
        };
        let mut sum = Tick { stalled: false, from: first.from, ..Tick::default() };
        self.live().for_each(|tick| sum.pool_the_rest(tick));
        let pairs = self.live().flat_map(|tick| tick.latencies.pairs()).copied();
        sum.latencies = Latencies::new(pairs.collect());
        sum
    }

    fn live(&self) -> impl Iterator<Item = &Tick> {
        self.candidate.iter().map(|(_, tick)| tick).filter(|tick| !tick.stalled)
    }
}
