//! A watch as it is kept, so that it can be judged again: what it began from, and every fact since, in order.
//!
//! The engine itself goes on from it after a restart, and `outrigger replay` goes through it: both apply the facts by the
//! same function, so both come to the same verdict, to the bit.

use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::evidence::FleetRound;
use crate::engine::policy::Policy;
use crate::engine::record::{Exit, PassedBy};
use crate::engine::release::{RecordId, Release};
use crate::engine::tick::{Round, Tick};
use crate::engine::time::Time;
use crate::engine::trial::Trial;
use crate::engine::verdict::StreamEvidence;
use crate::engine::watch::Judgement;

/// A watch with more facts is not gone on with after a restart: a new one is begun. Some two thirds of an hour.
pub const FACTS_MAX: usize = 500;

/// What a watch began from.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchStart {
    /// Its key.
    pub id: RecordId,
    /// When it began.
    pub at: Time,
    /// The judged release.
    pub release: Release,
    /// When that one first became ready; later than `at` by nothing that matters.
    pub first_ready: Time,
    /// The watch proper was over already: the promise is an interval between false alarms.
    pub passed: bool,
    /// How long the release had been judged before,
    pub judged_for: Duration,
    /// and by how many requests.
    pub judged_requests: u64,
    /// What it is held against, frozen; `None` where there was nothing.
    pub baseline: Option<Baseline>,
    /// The policy in force.
    pub policy: Policy,
}

/// A fact that the judge sees.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A sealed tick.
    Tick(Box<Tick>),
    /// What all replicas saw in one slot.
    Round(Box<FleetRound>),
    /// The app became ready.
    Ready,
    /// The app ended.
    Exited {
        /// How.
        exit: Exit,
        /// It did so too often.
        is_loop: bool,
    },
    /// The agent started again, and the app with it.
    Restarted,
}

/// A fact as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct KeptFact {
    /// The watch that it belongs to.
    pub watch: RecordId,
    /// Its place in the watch, from 1.
    pub seq: u32,
    /// When it was taken note of.
    pub at: Time,
    /// The running release.
    pub release: Release,
    /// What.
    pub fact: Fact,
}

/// A point in a watch: after so many facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchPoint {
    /// Which watch.
    pub watch: RecordId,
    /// How many facts had been seen.
    pub seq: u32,
}

/// A watch that was under way, as the store holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenWatch {
    /// What it began from.
    pub start: WatchStart,
    /// All its facts in order, at most one more than [`FACTS_MAX`].
    pub facts: Vec<KeptFact>,
}

impl WatchStart {
    /// The trial at its beginning. It learns nothing: what the release teaches is kept elsewhere.
    pub(crate) fn trial(&self) -> Trial {
        self.trial_by(&self.policy)
    }

    fn trial_by(&self, policy: &Policy) -> Trial {
        let own = Baseline::empty(self.release.clone(), self.at);
        let mut trial = Trial::new(self.baseline.clone(), own, self.passed, policy);
        trial.resume(self.first_ready, (self.judged_for, self.judged_requests), policy);
        trial.stop_learning();
        trial
    }
}

impl Fact {
    /// Applies the fact to a trial, as the engine does when it happens. Returns by what the watch passed, if it did.
    pub(crate) fn apply(&self, at: Time, trial: &mut Trial, policy: &Policy) -> Option<PassedBy> {
        match self {
            Self::Tick(tick) => {
                trial.weigh(at, &Round::single(Tick::clone(tick)), policy);
                trial.recover(policy);
                return trial.pass(at, policy);
            }
            Self::Round(round) => {
                trial.weigh_fleet(at, round, policy);
                trial.recover(policy);
                return trial.pass(at, policy);
            }
            Self::Ready => trial.became_ready(at),
            Self::Exited { exit, is_loop } => trial.exited(at, *exit, *is_loop, policy),
            Self::Restarted => trial.restarted(),
        }
        None
    }
}

/// What a watch comes to when it is judged again.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// What was thought after each fact, by the fact's place.
    pub judgements: Vec<(u32, Judgement)>,
    /// The evidence after the last.
    pub evidence: Vec<StreamEvidence>,
    /// When the watch was passed, and by what.
    pub passed: Option<(Time, PassedBy)>,
}

/// Judges a watch again, by the policy it was judged by or by another.
pub fn replay(start: &WatchStart, facts: &[KeptFact], policy: &Policy) -> Replayed {
    let mut trial = start.trial_by(policy);
    let mut passed = None;
    let judgements = facts.iter().map(|kept| {
        if let Some(by) = kept.fact.apply(kept.at, &mut trial, policy) {
            passed = Some((kept.at, by));
        }
        (kept.seq, Judgement::now(kept.at, &mut trial, policy))
    });
    let judgements = judgements.collect();
    Replayed { judgements, evidence: trial.evidence(policy), passed }
}
