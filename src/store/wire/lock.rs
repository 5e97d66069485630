//! A lock, what a rollback led to, and whether one would be possible, on the wire.

use serde::{Deserialize, Serialize};

use crate::engine::record::{ActStep, Lock, Outcome, Readiness, StepOutcome, StepTaken, Verified};
use crate::store::wire::text::{IdText, ReleaseText, TimeText};

/// A bar to new deployments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockDoc {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: TimeText,
    /// Until when; `null`: until unlocked.
    pub until: Option<TimeText>,
}

/// What a rollback led to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifiedDoc {
    /// The rollback's record.
    pub decision: IdText,
    /// The release that was rolled back.
    pub from: ReleaseText,
    /// What it led to.
    pub outcome: OutcomeDoc,
    /// By what that is known.
    pub detail: String,
}

/// What a rollback led to, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum OutcomeDoc {
    Recovered,
    NoChange,
    Worse,
    Unclear,
}

/// Whether a rollback would be possible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadinessDoc {
    /// Nothing stands in the way.
    pub ready: bool,
    /// What stands in the way.
    pub faults: Vec<String>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// What would be put back.
    pub target: Option<String>,
}

/// A step of an act.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepDoc {
    /// When.
    pub at: TimeText,
    /// Which.
    pub step: ActStepDoc,
    /// How far it has come: the field `outcome`, and what belongs to it.
    #[serde(flatten)]
    pub outcome: StepOutcomeDoc,
}

/// Which step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum ActStepDoc {
    CancelQueued,
    StopAutoDeploy,
    Read,
    Call,
    Find,
}

/// How far a step has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum StepOutcomeDoc {
    Begun,
    Done { detail: String },
    Failed { reason: String },
}

impl From<&Lock> for LockDoc {
    fn from(lock: &Lock) -> Self {
        let Lock { by, reason, since, until } = lock.clone();
        Self { by, reason, since: TimeText(since), until: until.map(TimeText) }
    }
}

impl From<LockDoc> for Lock {
    fn from(doc: LockDoc) -> Self {
        Self { by: doc.by, reason: doc.reason, since: doc.since.0, until: doc.until.map(|t| t.0) }
    }
}

impl From<&Verified> for VerifiedDoc {
    fn from(of: &Verified) -> Self {
        let Verified { decision, from, outcome, detail } = of.clone();
        Self { decision: IdText(decision), from: ReleaseText(from), outcome: outcome.into(), detail }
    }
}

impl From<VerifiedDoc> for Verified {
    fn from(doc: VerifiedDoc) -> Self {
        let VerifiedDoc { decision, from, outcome, detail } = doc;
        Self { decision: decision.0, from: from.0, outcome: outcome.into(), detail }
    }
}

impl From<Outcome> for OutcomeDoc {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Recovered => Self::Recovered,
            Outcome::NoChange => Self::NoChange,
            Outcome::Worse => Self::Worse,
            Outcome::Unclear => Self::Unclear,
        }
    }
}

impl From<OutcomeDoc> for Outcome {
    fn from(doc: OutcomeDoc) -> Self {
        match doc {
            OutcomeDoc::Recovered => Self::Recovered,
            OutcomeDoc::NoChange => Self::NoChange,
            OutcomeDoc::Worse => Self::Worse,
            OutcomeDoc::Unclear => Self::Unclear,
        }
    }
}

impl From<&Readiness> for ReadinessDoc {
    fn from(of: &Readiness) -> Self {
        let Readiness { faults, warnings, target } = of.clone();
        Self { ready: of.is_ready(), faults, warnings, target }
    }
}

impl From<ReadinessDoc> for Readiness {
    fn from(doc: ReadinessDoc) -> Self {
        Self { faults: doc.faults, warnings: doc.warnings, target: doc.target }
    }
}

impl From<&StepTaken> for StepDoc {
    fn from(of: &StepTaken) -> Self {
        let step = match of.step {
            ActStep::CancelQueued => ActStepDoc::CancelQueued,
            ActStep::StopAutoDeploy => ActStepDoc::StopAutoDeploy,
            ActStep::Read => ActStepDoc::Read,
            ActStep::Call => ActStepDoc::Call,
            ActStep::Find => ActStepDoc::Find,
        };
        let outcome = match of.outcome.clone() {
            StepOutcome::Begun => StepOutcomeDoc::Begun,
            StepOutcome::Done { detail } => StepOutcomeDoc::Done { detail },
            StepOutcome::Failed { reason } => StepOutcomeDoc::Failed { reason },
        };
        Self { at: TimeText(of.at), step, outcome }
    }
}

impl From<StepDoc> for StepTaken {
    fn from(doc: StepDoc) -> Self {
        let step = match doc.step {
            ActStepDoc::CancelQueued => ActStep::CancelQueued,
            ActStepDoc::StopAutoDeploy => ActStep::StopAutoDeploy,
            ActStepDoc::Read => ActStep::Read,
            ActStepDoc::Call => ActStep::Call,
            ActStepDoc::Find => ActStep::Find,
        };
        let outcome = match doc.outcome {
            StepOutcomeDoc::Begun => StepOutcome::Begun,
            StepOutcomeDoc::Done { detail } => StepOutcome::Done { detail },
            StepOutcomeDoc::Failed { reason } => StepOutcome::Failed { reason },
        };
        Self { at: doc.at.0, step, outcome }
    }
}
