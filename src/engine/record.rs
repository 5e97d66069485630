//! What happened and why, as it is kept: one record a happening, decisions with all that they rested on.
//!
//! A record of a decision is written *before* the act and written again, under the same id, when more is known. So
//! after any crash the store holds either no trace of an act, or one that says how far it had come.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::ballot::Certificate;
use crate::engine::baseline::BaselineSummary;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::health::HealthChange;
use crate::engine::history::WatchPoint;
use crate::engine::policy::{Mode, Policy};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{StreamEvidence, Verdict};

pub use crate::engine::act::{
    ActStep, Known, Lock, Outcome, Readiness, STEPS_MAX, Sight, StepOutcome, StepTaken, Verified,
};

/// One happening.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its key.
    pub id: RecordId,
    /// When.
    pub at: Time,
    /// The release that was running.
    pub release: Release,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// The agent started beside this release.
    Started {
        /// The release had run under an agent with this store before.
        known: bool,
    },
    /// The app became ready.
    Ready,
    /// The app ended.
    Exited(Exit),
    /// The verdict changed.
    VerdictChanged {
        /// What it was.
        from: Verdict,
        /// What it is.
        to: Verdict,
        /// After which fact of which watch.
        point: Option<WatchPoint>,
    },
    /// The diagnosis changed: whose fault it is that something is wrong, or that nothing is wrong any more.
    Diagnosed(Option<Diagnosis>),
    /// A dependency's health changed.
    HealthChanged(HealthChange),
    /// The watch ended and the release is known good.
    WatchPassed {
        /// Requests judged in it.
        requests: u64,
        /// By what.
        by: PassedBy,
    },
    /// A person paused acting.
    Paused(Pause),
    /// A person, or the pause's own end, resumed acting.
    Resumed {
        /// Who.
        by: String,
    },
    /// A decision was made.
    Decided(Box<Decided>),
    /// Deployments were locked.
    Locked(Lock),
    /// They were unlocked, by a person or by the lock's own end.
    Unlocked {
        /// Who.
        by: String,
    },
    /// What a rollback led to, as the judge sees it from beside the release that was put back.
    Verified(Verified),
    /// Whether a rollback would be possible now has changed.
    Readied(Readiness),
}

impl Happening {
    /// The decision, where it is one.
    pub fn decided(&self) -> Option<&Decided> {
        if let Self::Decided(decided) = self { Some(decided) } else { None }
    }

    /// The verdict that it tells of.
    pub fn verdict(&self) -> Option<&Verdict> {
        if let Self::VerdictChanged { to, .. } = self {
            return Some(to);
        }
        self.decided().map(|decided| &decided.verdict)
    }

    /// After which fact of which watch it was told.
    pub fn point(&self) -> Option<&WatchPoint> {
        if let Self::VerdictChanged { point, .. } = self {
            return point.as_ref();
        }
        self.decided()?.point.as_ref()
    }
}

/// By what a watch was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassedBy {
    /// The mirrored test: each stream of all requests was shown to be within what is allowed.
    Proof,
    /// The watch was long enough and nothing spoke against the release; there was too little traffic to prove more.
    NotContradicted,
    /// The longest time that a watch may take ended before there was enough to judge. Nothing spoke against the release.
    TimeCap,
}

impl PassedBy {
    /// The name in records.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::NotContradicted => "not_contradicted",
            Self::TimeCap => "time_cap",
        }
    }
}

/// How the app ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Exit {
    /// Whether the app failed, rather than ended its work or was told to stop.
    pub const fn is_crash(self) -> bool {
        !matches!(self.code, Some(0))
    }
}

/// A person's brake on all acting.
#[derive(Clone, Debug, PartialEq)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Time,
    /// Until when; `None`: until resumed.
    pub until: Option<Time>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Put the target release back.
    RollBack,
    /// Do nothing, although the release is degraded.
    Hold,
}

impl Decision {
    /// The name in records and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RollBack => "roll_back",
            Self::Hold => "hold",
        }
    }
}

/// Why a decision fell as it did.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// The verdict is degraded; the verdict itself is in the record.
    Degraded,
    /// The release is still on trial.
    OnTrial,
    /// The release's watch has passed and the policy does not let the agent act then.
    WatchHasPassed,
    /// The mode is `observe`.
    ModeObserve,
    /// The mode is `recommend`.
    ModeRecommend,
    /// The mode is `enforce`.
    ModeEnforce,
    /// A person paused acting.
    Paused(Pause),
    /// The rest after the last act is not over.
    CoolingDown {
        /// When it ends.
        until: Time,
    },
    /// No other release is known good.
    NoTarget,
    /// The target is the last release that was known good.
    LastKnownGood,
    /// This release was itself put back by a rollback: it is never rolled back in turn.
    WasPutBack,
    /// Several replicas run and no vote was held.
    SeveralReplicas {
        /// How many.
        replicas: u32,
    },
    /// A decision on this release was executed already; there is one a release.
    ActedBefore {
        /// Which.
        record: RecordId,
    },
    /// The intent could not be written down, so nothing was done.
    NotRecorded,
    /// The release is to blame; the diagnosis itself is in the record.
    Blamed,
    /// Something else is to blame, so putting the former release back would not help.
    NotBlamed,
    /// A dependency is worse, too; the hold is not over.
    Holding {
        /// When it ends.
        until: Time,
    },
    /// A dependency is worse, too; the hold is over and the release is young.
    HoldEndedYoung,
    /// A dependency is worse, too; the hold is over and the release is not young.
    HoldEndedOld,
    /// The agents agreed; who did is in the record's certificate.
    Elected {
        /// Votes for it,
        yes: u32,
        /// replicas that the platform reports down, which stand for a yes each,
        down: u32,
        /// and the votes that are enough.
        needed: u32,
    },
    /// Too few agreed.
    NotElected {
        /// Votes for it in the last election,
        yes: u32,
        /// and the votes that are enough.
        needed: u32,
    },
    /// The vote goes on without this agent: it may not call the platform, another one stands.
    LeftToOthers,
    /// The platform could not say what is live, and without that nothing is done where several agents may act.
    PlatformUnread {
        /// Why not.
        why: String,
    },
    /// The platform says that another release is live, so there is nothing to put back.
    NoLongerLive {
        /// Which one is.
        live: Release,
    },
    /// Another agent has decided already, or it had done so when this one was elected.
    DecidedElsewhere {
        /// Its decision.
        record: RecordId,
    },
    /// The lease was over before the order could be given.
    LeaseOver,
    /// The platform refused the order, so nothing was done and another agent may try.
    Refused {
        /// Why.
        why: String,
    },
    /// So many acts were made of late that a person must look first.
    BudgetSpent {
        /// How many there were,
        acts: u32,
        /// and when the next one is allowed.
        until: Time,
    },
    /// The database's schema has moved on since the target ran, so the target's code may not work with it.
    SchemaMoved {
        /// The probe that saw it.
        probe: Arc<str>,
        /// The schema's version when the target ran,
        was: Arc<str>,
        /// and now.
        is: Arc<str>,
    },
    /// The platform says that no replica of the release is left, and no agent of it is met.
    AllDown {
        /// How many it says are down.
        down: u32,
    },
    /// A person asked for it.
    AskedBy {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// More agents have a vote than the roster says, so a majority means nothing.
    TooManyVoters {
        /// Those that are met,
        met: u32,
        /// and those that there should be.
        votes: u32,
    },
}

/// How far an act has come.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// There is nothing to do.
    NothingToDo,
    /// It is written down and about to be ordered.
    Intended,
    /// The platform took the order; the target is not seen live yet.
    Accepted {
        /// What the platform said.
        detail: String,
    },
    /// The target is live.
    Succeeded {
        /// When that was seen.
        at: Time,
        /// What the platform said.
        detail: String,
    },
    /// It was only a rehearsal.
    DryRun {
        /// What would have been done.
        detail: String,
    },
    /// It failed; a person must act.
    Failed {
        /// When.
        at: Time,
        /// Why.
        reason: String,
    },
    /// The agent died between intent and result, and what became of the order could not be learnt; it is not ordered
    /// again; a person must act.
    Interrupted {
        /// When that was found.
        at: Time,
        /// What is known.
        reason: String,
    },
}

impl Progress {
    /// The name in records and metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NothingToDo => "nothing_to_do",
            Self::Intended => "intended",
            Self::Accepted { .. } => "accepted",
            Self::Succeeded { .. } => "succeeded",
            Self::DryRun { .. } => "dry_run",
            Self::Failed { .. } => "failed",
            Self::Interrupted { .. } => "interrupted",
        }
    }

    /// Whether the act may still be under way.
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Intended | Self::Accepted { .. })
    }
}

/// A decision and all that it rested on.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// Why, in the order in which it was weighed.
    pub reasons: Vec<Reason>,
    /// The release to put back.
    pub target: Option<Release>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whose fault it is.
    pub diagnosis: Option<Diagnosis>,
    /// After which fact of which watch; `None` in records of agents that kept no watches.
    pub point: Option<WatchPoint>,
    /// The evidence at that moment.
    pub evidence: Vec<StreamEvidence>,
    /// What it was weighed against.
    pub baseline: Option<BaselineSummary>,
    /// When the release became ready.
    pub ready_at: Option<Time>,
    /// The policy in force.
    pub policy: Policy,
    /// How far the act has come.
    pub progress: Progress,
    /// Who agreed, where several had to.
    pub certificate: Option<Box<Certificate>>,
    /// The steps of the act, in the order in which they were taken, at most [`STEPS_MAX`].
    pub steps: Vec<StepTaken>,
}

/// An order to the platform. It carries the record's id so that a platform that can tell will not carry it out twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// The decision's record.
    pub record: RecordId,
    /// The accused release.
    pub from: Release,
    /// The release to put back.
    pub to: Release,
    /// The mode (an order is only given in `enforce`; commands are told all the same).
    pub mode: Mode,
    /// The verdict's breach, by its label.
    pub breach: &'static str,
    /// When the decision was made.
    pub at: Time,
    /// Until when it may be given, by the agent's own clock since its start; `None`: nobody else could give it.
    pub not_after: Option<Duration>,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq)]
pub enum Acted {
    /// The platform took it and works on it.
    Accepted {
        /// What it said.
        detail: String,
    },
    /// The platform only rehearses.
    DryRun {
        /// What would have been done.
        detail: String,
    },
    /// The platform refused it; nothing was done.
    Refused {
        /// Why.
        reason: String,
    },
    /// It is not known whether it was done: a time-out, a lost reply.
    Unknown {
        /// What is known.
        reason: String,
    },
}

/// What the platform says is live.
#[derive(Clone, Debug, PartialEq)]
pub enum Live {
    /// This release.
    Release(Release),
    /// It cannot tell.
    Unknown {
        /// Why not.
        reason: String,
    },
    /// It could not be read just now, and is asked again.
    Unread {
        /// Why not.
        reason: String,
    },
}
