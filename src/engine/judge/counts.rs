//! What the streams need of a tick, as plain counts: cheap to add over replicas and to take away from a sum.

use std::iter::Sum;

use crate::engine::tick::Tick;
use crate::engine::window::WATCHED_STATUSES;

/// The latency streams' quantiles.
pub(crate) const QUANTILES: [f64; 4] = [0.50, 0.90, 0.95, 0.99];

/// The latencies beyond which a request is slow, in microseconds; `u64::MAX` where a stream does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// For each of [`QUANTILES`].
    pub(crate) slow: [u64; QUANTILES.len()],
    /// For the catastrophe rule's latency arm.
    pub(crate) hopeless: u64,
}

impl Marks {
    pub(crate) const NONE: Self = Self { slow: [u64::MAX; QUANTILES.len()], hopeless: u64::MAX };
}

/// One tick in counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) judged: u64,
    pub(crate) failed: u64,
    /// Requests with a latency,
    pub(crate) timed: u64,
    /// of those, the ones beyond each mark.
    pub(crate) slow: [u64; QUANTILES.len()],
    pub(crate) hopeless: u64,
    pub(crate) arrived: u64,
    pub(crate) answered: u64,
    pub(crate) waiting: u64,
    pub(crate) overdue: u64,
    pub(crate) routed: u64,
    pub(crate) watched: [u64; WATCHED_STATUSES.len()],
}

impl Counts {
    pub(crate) fn of(tick: &Tick, marks: &Marks) -> Self {
        Self {
            judged: tick.judged,
            failed: tick.failed,
            timed: tick.latencies.count(),
            slow: marks.slow.map(|mark| tick.latencies.slower_than(mark)),
            hopeless: tick.latencies.slower_than(marks.hopeless),
            arrived: tick.arrived,
            answered: tick.answered,
            waiting: tick.waiting,
            overdue: tick.overdue,
            routed: tick.routed,
            watched: tick.watched,
        }
    }

    fn add(&mut self, other: &Self) {
        self.join(other, u64::saturating_add);
    }

    /// What is left without `other`, which must be a part of it.
    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.join(other, u64::saturating_sub);
        self
    }

    fn join(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        self.judged = with(self.judged, other.judged);
        self.failed = with(self.failed, other.failed);
        self.timed = with(self.timed, other.timed);
        for (sum, part) in self.slow.iter_mut().zip(other.slow) {
            *sum = with(*sum, part);
        }
        self.hopeless = with(self.hopeless, other.hopeless);
        self.arrived = with(self.arrived, other.arrived);
        self.answered = with(self.answered, other.answered);
        self.waiting = with(self.waiting, other.waiting);
        self.overdue = with(self.overdue, other.overdue);
        self.routed = with(self.routed, other.routed);
        for (sum, part) in self.watched.iter_mut().zip(other.watched) {
            *sum = with(*sum, part);
        }
    }

    /// Requests that hang on were counted once, when they became slow; while nothing is answered, their hanging on is a
    /// bad tick.
    pub(crate) const fn hangs(&self) -> bool {
        self.overdue > 0 && self.answered == 0
    }

    /// Whether anything in it is evidence.
    pub(crate) const fn is_empty(&self) -> bool {
        self.judged == 0 && self.timed == 0 && self.waiting == 0 && self.arrived == 0
    }
}

impl<'a> Sum<&'a Self> for Counts {
    fn sum<I: Iterator<Item = &'a Self>>(all: I) -> Self {
        all.fold(Self::default(), |mut sum, counts| {
            sum.add(counts);
            sum
        })
    }
}
