//! How well a dependency is, by what single questions to it found: with hysteresis, so that one lost packet changes
//! nothing, and one good answer in an outage does not end it.
//!
//! Four states. *Unknown* is no shade of the others: the question could not be put, by our own fault or for want of means,
//! and that is evidence against nobody.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::time::Time;
use crate::engine::window::Spread;

/// How well a dependency is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It was not asked yet, or cannot be asked from here.
    #[default]
    Unknown,
    /// It answers as it should.
    Ok,
    /// It answers, but slower or with less in reserve than its thresholds allow.
    Degraded,
    /// It does not answer as it should.
    Failed,
}

impl Health {
    /// The name in records, metrics and pages.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}

/// What one round of asking came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The answer was as it should be.
    Well,
    /// There was an answer, with something to say against it.
    Impaired,
    /// There was none, or a wrong one.
    Failed,
    /// The question could not be put.
    Unable,
}

/// How many rounds in a row change the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// So many bad ones make it worse; at least 1.
    pub failure: u32,
    /// So many good ones make it better; at least 1.
    pub success: u32,
}

/// The state of one dependency, and what may change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    health: Health,
    since: Time,
    thresholds: Thresholds,
    /// Rounds in a row, of those that could be put, that were not well,
    not_well: u32,
    /// that failed,
    failed: u32,
    /// that were well,
    well: u32,
    /// that did not fail.
    not_failed: u32,
    /// Rounds in a row that could not be put.
    unable: u32,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it was.
    pub from: Health,
    /// What it is.
    pub to: Health,
    /// For how long it had been so.
    pub lasted: Duration,
}

impl Standing {
    /// Not asked yet, at `now`.
    pub const fn new(now: Time, thresholds: Thresholds) -> Self {
        Self {
            health: Health::Unknown,
            since: now,
            thresholds,
            not_well: 0,
            failed: 0,
            well: 0,
            not_failed: 0,
            unable: 0,
        }
    }

    /// The state.
    pub const fn health(&self) -> Health {
        self.health
    }

    /// Since when it is so.
    pub const fn since(&self) -> Time {
        self.since
    }

    /// One round more. Returns the change of state that it made.
    pub fn see(&mut self, now: Time, found: Found) -> Option<Change> {
        if found == Found::Unable {
            // It neither adds to a row nor breaks it: it says nothing about the dependency.
            self.unable = self.unable.saturating_add(1);
        } else {
            self.unable = 0;
            let count = |row: &mut u32, holds: bool| *row = if holds { row.saturating_add(1) } else { 0 };
            count(&mut self.not_well, found != Found::Well);
            count(&mut self.failed, found == Found::Failed);
            count(&mut self.well, found == Found::Well);
            count(&mut self.not_failed, found != Found::Failed);
        }
        let to = self.next(found);
        if to == self.health {
            return None;
        }
        let change = Change { from: self.health, to, lasted: now.since(self.since) };
        self.health = to;
        self.since = now;
        Some(change)
    }

    fn next(&self, found: Found) -> Health {
        let Thresholds { failure, success } = self.thresholds;
        if self.unable >= failure {
            return Health::Unknown;
        }
        if found == Found::Unable {
            return self.health;
        }
        if self.failed >= failure {
            return Health::Failed;
        }
        match self.health {
            // The first good answer is as good as any: there is nothing to be swayed from.
            Health::Unknown if found == Found::Well => Health::Ok,
            Health::Unknown | Health::Ok if self.not_well >= failure => Health::Degraded,
            Health::Degraded if self.well >= success => Health::Ok,
            Health::Failed if self.well >= success => Health::Ok,
            Health::Failed if self.not_failed >= success => Health::Degraded,
            same @ (Health::Unknown | Health::Ok | Health::Degraded | Health::Failed) => same,
        }
    }
}

/// A change of state as it is told and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthChange {
    /// The probe's name.
    pub probe: Arc<str>,
    /// The service cannot do without this dependency.
    pub critical: bool,
    /// From what to what.
    pub change: Change,
    /// What the last round found, in words; empty where all is well.
    pub why: String,
}

impl HealthChange {
    /// The longest `why`, in bytes; what is longer is cut.
    pub const WHY_LEN_MAX: usize = 300;

    /// The event's name: it says worse or better, or that nobody can tell.
    pub fn event(&self) -> &'static str {
        match (self.change.from, self.change.to) {
            (_, Health::Unknown) => "health.unknown",
            (from, to) if to > from && to != Health::Ok => "health.degraded",
            _ => "health.recovered",
        }
    }
}

/// A part of a round of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its name, such as `connect`.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
}

/// Something that was learnt of a dependency. Never a secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Its name in pages and metrics: lower case with underscores, the unit last, such as `lag_bytes`.
    pub name: &'static str,
    /// Its value.
    pub value: FactValue,
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq)]
pub enum FactValue {
    /// A number; it becomes a gauge in the metrics.
    Number(f64),
    /// Words; for pages only.
    Text(String),
    /// Yes or no; 1 or 0 in the metrics.
    Truth(bool),
}

/// One round of asking, ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// When it ended.
    pub at: Time,
    /// How long it took in all.
    pub took: Duration,
    /// What it came to.
    pub found: Found,
    /// How long the dependency took to answer the question; `None` where it did not answer.
    pub latency: Option<Duration>,
    /// Where the time went.
    pub phases: Vec<Phase>,
    /// What else was learnt.
    pub facts: Vec<Fact>,
    /// What is to be said against it, or why there was no answer; empty where all is well.
    pub why: String,
}

impl Round {
    /// One that said nothing.
    pub const fn unable(at: Time) -> Self {
        Self {
            at,
            took: Duration::ZERO,
            found: Found::Unable,
            latency: None,
            phases: Vec::new(),
            facts: Vec::new(),
            why: String::new(),
        }
    }
}

/// One probe and its dependency, as they are now.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeState {
    /// The probe's name.
    pub name: Arc<str>,
    /// Its kind, such as `postgres`.
    pub kind: &'static str,
    /// Whom it asks, for people: no user, no password, no query.
    pub target: Arc<str>,
    /// Why it runs: the variable, or the place in the file.
    pub source: Arc<str>,
    /// The service cannot do without this dependency.
    pub critical: bool,
    /// How often it asks.
    pub interval: Duration,
    /// The state, with hysteresis.
    pub health: Health,
    /// Since when.
    pub since: Time,
    /// The last rounds that were alike, also those that were made only because somebody asked.
    pub row: Row,
    /// The last round; `None` before the first one ended.
    pub last: Option<Round>,
    /// Rounds that ended, by what they came to: well, impaired, failed, unable.
    pub rounds: [u64; 4],
    /// All answers by how long they took.
    pub answers: Spread,
    /// The median latency of the last answers, in microseconds; `None` before the first.
    pub usual_us: Option<u64>,
}

/// Rounds in a row that failed, or that did not. Those that could not be put are passed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// They failed.
    pub failed: bool,
    /// How many there are.
    pub rounds: u32,
    /// When the first of them ended.
    pub since: Time,
}

impl Row {
    /// So many in a row are no accident.
    const CONFIRMED: u32 = 2;

    /// One round more.
    pub fn see(&mut self, now: Time, found: Found) {
        let failed = match found {
            Found::Unable => return,
            Found::Failed => true,
            Found::Well | Found::Impaired => false,
        };
        if failed != self.failed || self.rounds == 0 {
            *self = Self { failed, rounds: 0, since: now };
        }
        self.rounds = self.rounds.saturating_add(1);
    }
}

impl ProbeState {
    /// Rounds in a row that failed up to now.
    pub const fn failed_in_a_row(&self) -> u32 {
        if self.row.failed { self.row.rounds } else { 0 }
    }

    /// The state as whoever asks now should be told, and since when it is so: what was found twice in a row counts, although
    /// it may take a longer row to change the state that alerts rest on.
    pub fn told(&self) -> (Health, Time) {
        let found = self.last.as_ref().map_or(Found::Unable, |round| round.found);
        if found == Found::Unable || self.row.rounds < Row::CONFIRMED || self.is_as_found() {
            return (self.health, self.since);
        }
        let health = match found {
            Found::Failed => Health::Failed,
            Found::Impaired => Health::Degraded,
            Found::Well | Found::Unable => Health::Ok,
        };
        (health, self.row.since)
    }

    /// Whether the last round leaves no doubt about what to tell: it is what the state says, or was found twice in a row, or
    /// says nothing.
    pub fn is_settled(&self) -> bool {
        let is_unable = self.last.as_ref().is_some_and(|round| round.found == Found::Unable);
        is_unable || self.row.rounds >= Row::CONFIRMED || self.is_as_found()
    }

    /// Whether the state says that it failed exactly where the last rounds did.
    fn is_as_found(&self) -> bool {
        self.row.failed == (self.health == Health::Failed)
    }
}

/// A round as the history of a probe keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// When it ended.
    pub at: Time,
    /// What it came to.
    pub found: Found,
    /// The answer's latency in microseconds, where there was one.
    pub latency_us: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { failure: 3, success: 2 };

    /// The states after each round: `w`ell, `i`mpaired, `f`ailed, `u`nable.
    fn states(rounds: &str) -> String {
        let mut standing = Standing::new(Time::default(), THRESHOLDS);
        let step = |(at, round): (usize, char)| {
            let found = match round {
                'w' => Found::Well,
                'i' => Found::Impaired,
                'f' => Found::Failed,
                _ => Found::Unable,
            };
            let before = standing.health();
            let change = standing.see(Time::default() + Duration::from_secs(at as u64), found);
            assert_eq!(
                change.map(|c| (c.from, c.to)),
                (before != standing.health()).then(|| (before, standing.health()))
            );
            match standing.health() {
                Health::Unknown => '?',
                Health::Ok => 'o',
                Health::Degraded => 'd',
                Health::Failed => 'F',
            }
        };
        rounds.chars().enumerate().map(step).collect()
    }

    #[test]
    fn it_takes_rounds_in_a_row_to_change_a_state() {
        for (rounds, expected) in [
            ("wffwfff", "ooooooF"),
            ("wfffwfww", "oooFFFFo"),
            ("wfffii", "oooFFd"),
            ("wiiiww", "oooddo"),
            // What is worse than impaired counts as at least impaired.
            ("wifi", "oood"),
            ("wiffff", "ooodFF"),
            ("fff", "??F"),
            ("iii", "??d"),
            ("w", "o"),
        ] {
            assert_eq!(states(rounds), expected, "{rounds}");
        }
    }

    #[test]
    fn what_could_not_be_asked_says_nothing_about_the_dependency() {
        assert_eq!(states("wuu"), "ooo");
        assert_eq!(states("wuuu"), "ooo?");
        assert_eq!(states("wffuf"), "ooooF", "it neither breaks a row nor adds to it");
        assert_eq!(states("wfffuuuw"), "oooFFF?o");
    }

    #[test]
    fn an_event_says_whether_it_got_worse() {
        let event = |from, to| {
            let change = Change { from, to, lasted: Duration::ZERO };
            HealthChange { probe: "db".into(), critical: true, change, why: String::new() }.event()
        };
        assert_eq!(event(Health::Ok, Health::Degraded), "health.degraded");
        assert_eq!(event(Health::Ok, Health::Failed), "health.degraded");
        assert_eq!(event(Health::Unknown, Health::Failed), "health.degraded");
        assert_eq!(event(Health::Degraded, Health::Failed), "health.degraded");
        assert_eq!(event(Health::Failed, Health::Degraded), "health.recovered");
        assert_eq!(event(Health::Failed, Health::Ok), "health.recovered");
        assert_eq!(event(Health::Unknown, Health::Ok), "health.recovered");
        assert_eq!(event(Health::Ok, Health::Unknown), "health.unknown");
    }
}
