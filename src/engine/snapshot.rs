//! What may be seen now: everything a person sees is a rendering of this.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::BaselineSummary;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::judge::Outlook;
use crate::engine::memory::{ReleaseMemory, Standing};
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{Decided, Lock, Pause, Progress, Readiness};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{StreamEvidence, Verdict};

/// The engine's state as people may see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Time,
    /// The release that is running.
    pub release: Release,
    /// What is thought of it.
    pub standing: Standing,
    /// What the agent may do.
    pub mode: Mode,
    /// The policy in force.
    pub policy: Policy,
    /// The verdict.
    pub verdict: Verdict,
    /// Whose fault it is, if anything is wrong.
    pub diagnosis: Option<Diagnosis>,
    /// The health score, 0 to 1; `None` when not judgeable or before there was evidence.
    pub score: Option<f64>,
    /// What could be found at the present traffic; `None` when not judgeable.
    pub outlook: Option<Outlook>,
    /// Dependencies that are worse than they used to be, by evidence of their own.
    pub worse_dependencies: Vec<Arc<str>>,
    /// The evidence, stream by stream; empty when not judgeable.
    pub evidence: Vec<StreamEvidence>,
    /// Evidence of the latency streams taken together, as a share of its limit from 0 to 1.
    pub latency_progress: f64,
    /// What it is weighed against.
    pub baseline: Option<BaselineSummary>,
    /// What this release has shown itself so far.
    pub own: BaselineSummary,
    /// What is remembered of other releases, in no order.
    pub others: Arc<[ReleaseMemory]>,
    /// The watch; `None` before the app became ready.
    pub watch: Option<WatchView>,
    /// The pause in force.
    pub pause: Option<Pause>,
    /// The lock on deployments in force.
    pub lock: Option<Lock>,
    /// Whether a rollback would be possible, when that was last looked into.
    pub readiness: Option<Readiness>,
    /// The rest after the last act.
    pub cooldown_until: Option<Time>,
    /// The last decision on this release.
    pub last_decision: Option<DecisionView>,
    /// The release that a rollback would put back.
    pub target: Option<Release>,
}

/// The watch of the running release.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchView {
    /// When the release became ready.
    pub ready_at: Time,
    /// When the watch ends, if traffic allows.
    pub ends_at: Time,
    /// How long it has been judged.
    pub judged_for: Duration,
    /// Requests judged.
    pub judged_requests: u64,
    /// It has passed.
    pub passed: bool,
}

/// A decision in short.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionView {
    /// Its record.
    pub id: RecordId,
    /// When.
    pub at: Time,
    /// `roll_back` or `hold`.
    pub decision: &'static str,
    /// The release to put back.
    pub target: Option<Release>,
    /// How far it has come.
    pub progress: Progress,
}

impl DecisionView {
    /// Of a decision that was just made.
    pub(crate) fn of(id: &RecordId, at: Time, decided: &Decided) -> Self {
        Self {
            id: id.clone(),
            at,
            decision: decided.decision.label(),
            target: decided.target.clone(),
            progress: decided.progress.clone(),
        }
    }
}
