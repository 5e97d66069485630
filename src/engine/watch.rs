//! A whole watch outside the engine: recorded rounds in, a judgement a round out. Replays, backtests, simulations and the
//! `judge` command all go through it, and so through the very code that judges a live release.
//!
//! It decides nothing and keeps nothing; what would be done about a judgement is the policy's and the platform's.

use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::policy::Policy;
use crate::engine::release::Release;
use crate::engine::tick::Round;
use crate::engine::time::Time;
use crate::engine::trial::Trial;
use crate::engine::verdict::{StreamEvidence, Verdict};

/// What is thought after a round.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// When the round ended.
    pub at: Time,
    /// The verdict.
    pub verdict: Verdict,
    /// Whose fault it is; only of a degraded release, or of one that would be degraded if the stable release beside it were
    /// well.
    pub diagnosis: Option<Diagnosis>,
    /// The health score, 0 to 1; `None` when not judgeable or before there was evidence.
    pub score: Option<f64>,
}

impl Judgement {
    /// What is thought now.
    pub(crate) fn now(at: Time, trial: &mut Trial, policy: &Policy) -> Self {
        Self {
            at,
            verdict: trial.verdict(at, policy),
            diagnosis: trial.diagnosis().cloned(),
            score: trial.score(policy),
        }
    }

    /// Whether a rollback would be right: degraded, and the release is to blame.
    pub fn blames_release(&self) -> bool {
        matches!(self.verdict, Verdict::Degraded { .. })
            && self.diagnosis.as_ref().is_none_or(Diagnosis::blames_release)
    }
}

/// One release's watch over recorded rounds.
#[derive(Clone, Debug)]
pub struct Watch {
    trial: Trial,
    policy: Policy,
    passed_at: Option<Time>,
}

impl Watch {
    /// Begins when the release became ready. `baseline` is what it is held against, if there is anything; `candidate`
    /// names the release.
    pub fn begin(ready_at: Time, candidate: Release, baseline: Option<Baseline>, policy: Policy) -> Self {
        let own = Baseline::empty(candidate, ready_at);
        let mut trial = Trial::new(baseline, own, false, &policy);
        trial.resume(ready_at, (Duration::ZERO, 0), &policy);
        trial.became_ready(ready_at);
        trial.stop_learning();
        Self { trial, policy, passed_at: None }
    }

    /// Goes on where the watch is already over: the promise is then an interval between false alarms.
    pub fn is_past_watch(mut self) -> Self {
        self.trial.end_watch(&self.policy);
        self
    }

    /// Weighs one round. `now` is its end.
    pub fn see(&mut self, now: Time, round: &Round) -> Judgement {
        self.trial.weigh(now, round, &self.policy);
        self.trial.recover(&self.policy);
        if self.trial.pass(now, &self.policy).is_some() {
            self.passed_at = Some(now);
        }
        Judgement::now(now, &mut self.trial, &self.policy)
    }

    /// The evidence of all streams as it stands.
    pub fn evidence(&self) -> Vec<StreamEvidence> {
        self.trial.evidence(&self.policy)
    }

    /// When the watch was passed.
    pub const fn passed_at(&self) -> Option<Time> {
        self.passed_at
    }
}
