//! The cases of the study: healthy services that must be left alone, and faults that must be found.

use crate::effects::{Effect, Reach, What};
use crate::shape::Shape;

/// Many routes are not simulated above this rate: their history of a day would take minutes.
pub(crate) const COSTLY_ABOVE: f64 = 100.0;

/// A healthy service: what it does in its history and in the watch, and what is new in the watch only.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) replicas: usize,
    pub(crate) routes: usize,
    /// The rate of the history where it is another one than the watch's, and which rates the watch then has.
    pub(crate) busy: Option<(f64, &'static [f64])>,
    /// Habits, known to the baseline.
    pub(crate) habits: Vec<Effect>,
    /// What only the watch sees.
    pub(crate) news: Vec<Effect>,
    /// The news begin at a moment between these, in seconds after the start.
    pub(crate) happens_s: Option<(u64, u64)>,
}

impl Case {
    fn plain(name: &'static str, shape: Shape) -> Self {
        let (habits, news) = (Vec::new(), Vec::new());
        Self { name, shape, replicas: 1, routes: 3, busy: None, habits, news, happens_s: None }
    }

    fn with_habit(self, what: What, reach: Reach) -> Self {
        Self { habits: [self.habits, vec![Effect::new(what, reach)]].concat(), ..self }
    }

    fn with_news(self, what: What, reach: Reach) -> Self {
        Self { news: [self.news, vec![Effect::new(what, reach).from(0.0)]].concat(), ..self }
    }

    /// The news begin some time within the first twenty minutes.
    fn at_some_time(self) -> Self {
        Self { happens_s: Some((40, 1200)), ..self }
    }

    pub(crate) fn is_at(&self, rate: f64) -> bool {
        let is_costly = self.routes > 3 && rate > COSTLY_ABOVE;
        !is_costly && self.busy.is_none_or(|(_, rates)| rates.contains(&rate))
    }
}

pub(crate) const MILD: What = What::ErrorBursts { least_s: 1, most_s: 4, share: 0.2 };
pub(crate) const HARD: What = What::ErrorBursts { least_s: 5, most_s: 15, share: 0.5 };
const QUIET: &[f64] = &[0.3, 1.0, 3.0];

/// The database fails: three requests in ten fail, and nearly all probes of it.
pub(crate) const fn outage(for_s: f64) -> What {
    What::Outage { for_s, errors: 0.3, slow: 1.5, probe_fails: 0.8, probe_slow: 5.0 }
}

/// The database answers, but slowly.
const fn slow_database(for_s: f64) -> What {
    What::Outage { for_s, errors: 0.02, slow: 3.0, probe_fails: 0.05, probe_slow: 6.0 }
}

/// All healthy cases.
pub(crate) fn healthy() -> Vec<Case> {
    use Reach::{All, Candidate, First};
    let even = |name| Case::plain(name, Shape::Even);
    let wide = |name| Case::plain(name, Shape::Wide);
    let three = |name| Case { replicas: 3, ..Case::plain(name, Shape::Even) };
    let night = |name| Case { busy: Some((100.0, QUIET)), ..Case::plain(name, Shape::Wide) };
    vec![
        even("plain"),
        wide("plain, wide"),
        Case { routes: 50, ..wide("plain, fifty routes") },
        three("plain, three replicas"),
        even("mild bursts of errors").with_habit(MILD, All),
        even("hard bursts of errors").with_habit(HARD, All),
        wide("bursts of slowness").with_habit(What::SlowBursts, All),
        wide("latency wanders").with_habit(What::Wobble, All),
        even("cold caches, 15 s").with_habit(What::Cold { tau_s: 15.0 }, Candidate),
        wide("cold caches, 45 s").with_habit(What::Cold { tau_s: 45.0 }, Candidate),
        wide("the worst hour of the day").with_habit(What::Day, All),
        Case::plain("heavy tail (sigma 1.5)", Shape::Heavy),
        Case::plain("heavy tail (Pareto)", Shape::Pareto),
        even("drift of 20 %").with_news(What::Drift, All),
        wide("drift of 20 %, wide").with_news(What::Drift, All),
        three("one replica of three slow").with_news(What::Slow(3.0), First),
        three("one replica of three failing").with_news(What::Errors(0.2), First),
        even("database fails for a minute").with_news(outage(60.0), All).at_some_time(),
        even("database fails for ten minutes").with_news(outage(600.0), All).at_some_time(),
        even("database slow for ten minutes").with_news(slow_database(600.0), All).at_some_time(),
        even("retry storm").with_news(What::RetryStorm, All).at_some_time(),
        night("quiet night").with_news(What::Night, All),
        night("quiet night, database fails for a minute")
            .with_news(What::Night, All)
            .with_news(outage(60.0), All)
            .at_some_time(),
        even("scanner").with_news(What::Scanner, All).at_some_time(),
        even("guessing of passwords").with_news(What::Logins, All),
        even("resources creep").with_news(What::Creep, All),
    ]
}

/// A fault of a release.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) what: What,
    pub(crate) shape: Shape,
    pub(crate) routes: usize,
    pub(crate) promise: Promise,
}

/// What was promised of a fault: seconds (median, 95th percentile).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    None,
    /// 2 % errors.
    Errors2,
    Errors10,
    /// Half of all requests fail, all are ten times slower, or nothing is answered.
    Severe,
    /// All requests twice as slow.
    Slow,
    /// The slowest twentieth is twice as slow.
    Tail,
}

impl Promise {
    /// In judged traffic from an onset with the release; after the warm-up, that is.
    pub(crate) fn at_start(self, shape: Shape, rate: f64) -> Option<(u64, u64)> {
        let at = |three, ten, more| match rate {
            3.0 => three,
            10.0 => ten,
            100.0 | 1000.0 => more,
            _ => None,
        };
        let floor = Some((15, 15));
        match (self, shape) {
            (Self::Errors2, _) => at(Some((155, 375)), Some((50, 120)), floor),
            (Self::Errors10, _) => at(Some((20, 35)), floor, floor),
            (Self::Severe, _) => at(floor, floor, floor),
            (Self::Slow, Shape::Even) => at(None, Some((15, 20)), floor),
            (Self::Slow, Shape::Wide) => at(None, Some((40, 70)), floor),
            (Self::Tail, Shape::Even) => at(None, Some((40, 85)), floor),
            (Self::Tail, Shape::Wide) if rate == 100.0 => Some((25, 50)),
            (Self::Tail, Shape::Wide) => at(None, Some((225, 470)), floor),
            (Self::None, _) | (Self::Slow | Self::Tail, Shape::Heavy | Shape::Pareto) => None,
        }
    }

    /// The median, in wall time from an onset within the watch or after it; at 100 requests a second.
    pub(crate) fn later(self, is_after_watch: bool) -> Option<u64> {
        match self {
            Self::Severe => Some(if is_after_watch { 30 } else { 20 }),
            Self::Errors2 => Some(if is_after_watch { 40 } else { 25 }),
            Self::Tail => Some(60),
            Self::None | Self::Errors10 | Self::Slow => None,
        }
    }
}

/// All faults.
pub(crate) fn faults() -> Vec<Fault> {
    let fault = |name, what, promise| Fault { name, what, shape: Shape::Even, routes: 3, promise };
    let wide = |name, what, promise| Fault { shape: Shape::Wide, ..fault(name, what, promise) };
    let one_of_fifty = |name, what| Fault { routes: 50, ..fault(name, what, Promise::None) };
    vec![
        fault("2 % errors", What::Errors(0.02), Promise::Errors2),
        fault("10 % errors", What::Errors(0.1), Promise::Errors10),
        fault("50 % errors", What::Errors(0.5), Promise::Severe),
        fault("hang", What::Hang, Promise::Severe),
        fault("all 10x slower", What::Slow(10.0), Promise::Severe),
        fault("all 2x slower", What::Slow(2.0), Promise::Slow),
        wide("all 2x slower", What::Slow(2.0), Promise::Slow),
        fault("slowest 5 % 2x slower", What::Tail(2.0), Promise::Tail),
        wide("slowest 5 % 2x slower", What::Tail(2.0), Promise::Tail),
        fault("leak", What::Leak, Promise::None),
        one_of_fifty("one route of 50 fails 60 %", What::BadRoute { errors: 0.6, slow: 1.0 }),
        one_of_fifty("one route of 50 5x slower", What::BadRoute { errors: 0.0, slow: 5.0 }),
        fault("30 % of answers become 401", What::Unauthorized(0.3), Promise::None),
        fault("a crash every 3 minutes", What::CrashLoop, Promise::None),
        fault("overloads its own database", What::OwnDatabase, Promise::None),
    ]
}
