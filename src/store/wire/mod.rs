//! The wire form: what the store writes and what people and programs are shown of it as JSON.
//!
//! The engine's types cannot be serialised, on purpose: they change with the code, and what is stored must outlive
//! it. These types change only by adding. Unknown fields are passed over, so that an older binary reads what a newer
//! one wrote; an unknown `kind`, reason or progress makes a record unreadable to the engine, but not to people: its
//! JSON is shown as it is.
//!
//! Every engine value comes back from its JSON equal, to the last bit. It knows no database.

pub mod alert;
pub mod certificate;
pub mod decided;
pub mod diagnosis;
pub mod health;
pub mod lock;
pub mod policy;
pub mod text;
pub mod verdict;
pub mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::memory::{ReleaseMemory, Standing};
use crate::engine::record::{Exit, Happening, PassedBy, Pause, Record};
use crate::store::wire::certificate::DeploymentText;
use crate::store::wire::decided::{BaselineSummaryDoc, DecidedDoc};
use crate::store::wire::diagnosis::{DiagnosisDoc, WatchPointDoc};
use crate::store::wire::health::HealthChangeDoc;
use crate::store::wire::lock::{LockDoc, ReadinessDoc, VerifiedDoc};
use crate::store::wire::text::{DurationText, Figure, IdText, ReleaseText, TimeText};
use crate::store::wire::verdict::VerdictDoc;

/// A record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordDoc {
    /// Its key.
    pub id: IdText,
    /// When.
    pub at: TimeText,
    /// The same in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The release that was running.
    pub release: ReleaseText,
    /// What: the field `kind`, and what belongs to it.
    #[serde(flatten)]
    pub what: HappeningDoc,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HappeningDoc {
    /// The agent started.
    Started {
        /// The release had run beside this store before.
        known: bool,
    },
    /// The app became ready.
    Ready,
    /// The app ended.
    Exited {
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// The verdict changed.
    VerdictChanged {
        /// What it was.
        from: VerdictDoc,
        /// What it is.
        to: VerdictDoc,
        /// After which fact of which watch.
        #[serde(default)]
        point: Option<WatchPointDoc>,
    },
    /// The diagnosis changed.
    Diagnosed {
        /// Whose fault it is that something is wrong; `null`: nothing is wrong any more.
        whose: Option<DiagnosisDoc>,
    },
    /// A dependency's health changed.
    HealthChanged(HealthChangeDoc),
    /// The watch passed.
    WatchPassed {
        /// Requests judged in it.
        requests: u64,
        /// By what.
        #[serde(default)]
        by: PassedByDoc,
    },
    /// A person paused acting.
    Paused(PauseDoc),
    /// Acting was resumed.
    Resumed {
        /// By whom.
        by: String,
    },
    /// A decision was made.
    Decided(Box<DecidedDoc>),
    /// Deployments were locked.
    Locked(LockDoc),
    /// They were unlocked.
    Unlocked {
        /// By whom.
        by: String,
    },
    /// What a rollback led to.
    Verified(VerifiedDoc),
    /// Whether a rollback would be possible has changed.
    Readied(ReadinessDoc),
}

impl HappeningDoc {
    /// The value of `kind`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Ready => "ready",
            Self::Exited { .. } => "exited",
            Self::VerdictChanged { .. } => "verdict_changed",
            Self::Diagnosed { .. } => "diagnosed",
            Self::HealthChanged(_) => "health_changed",
            Self::WatchPassed { .. } => "watch_passed",
            Self::Paused(_) => "paused",
            Self::Resumed { .. } => "resumed",
            Self::Decided(_) => "decided",
            Self::Locked(_) => "locked",
            Self::Unlocked { .. } => "unlocked",
            Self::Verified(_) => "verified",
            Self::Readied(_) => "readied",
        }
    }
}

/// By what a watch was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum PassedByDoc {
    Proof,
    #[default]
    NotContradicted,
    TimeCap,
}

impl From<PassedBy> for PassedByDoc {
    fn from(by: PassedBy) -> Self {
        match by {
            PassedBy::Proof => Self::Proof,
            PassedBy::NotContradicted => Self::NotContradicted,
            PassedBy::TimeCap => Self::TimeCap,
        }
    }
}

impl From<PassedByDoc> for PassedBy {
    fn from(doc: PassedByDoc) -> Self {
        match doc {
            PassedByDoc::Proof => Self::Proof,
            PassedByDoc::NotContradicted => Self::NotContradicted,
            PassedByDoc::TimeCap => Self::TimeCap,
        }
    }
}

/// A person's brake on all acting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PauseDoc {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: TimeText,
    /// Until when; `null`: until resumed.
    pub until: Option<TimeText>,
}

/// What is thought of a release.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandingDoc {
    /// Its watch is not over.
    OnTrial,
    /// Its watch passed.
    KnownGood,
    /// It was rolled back.
    RolledBack,
}

/// What is remembered of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReleaseDoc {
    /// Which.
    pub release: ReleaseText,
    /// When it first became ready.
    pub first_ready: TimeText,
    /// When it was last seen running.
    pub last_seen: TimeText,
    /// What is thought of it.
    pub standing: StandingDoc,
    /// How long it has been judged in its watch.
    pub judged_for: DurationText,
    /// How many requests were judged in its watch.
    pub judged_requests: u64,
    /// Its last crashes, oldest first.
    pub crashes: Vec<TimeText>,
    /// The rollback that put it back.
    pub put_back_by: Option<IdText>,
    /// What it has shown itself, in figures.
    #[serde(default)]
    pub figures: Option<Box<BaselineSummaryDoc>>,
    /// Its health score, 0 to 1.
    #[serde(default)]
    pub score: Option<Figure>,
    /// The platform's deployments that it ran as, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deployments: Vec<DeploymentText>,
    /// What the databases' schemas were when it ran last, by the probe.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, String>,
}

impl From<&Record> for RecordDoc {
    fn from(record: &Record) -> Self {
        Self {
            id: IdText(record.id.clone()),
            at: TimeText(record.at),
            at_ms: record.at.as_millis(),
            release: ReleaseText(record.release.clone()),
            what: (&record.what).into(),
        }
    }
}

impl From<RecordDoc> for Record {
    fn from(doc: RecordDoc) -> Self {
        Self { id: doc.id.0, at: doc.at.0, release: doc.release.0, what: doc.what.into() }
    }
}

impl From<&Happening> for HappeningDoc {
    fn from(what: &Happening) -> Self {
        match what {
            Happening::Started { known } => Self::Started { known: *known },
            Happening::Ready => Self::Ready,
            Happening::Exited(exit) => Self::Exited { code: exit.code, signal: exit.signal },
            Happening::VerdictChanged { from, to, point } => Self::VerdictChanged {
                from: from.into(),
                to: to.into(),
                point: point.as_ref().map(WatchPointDoc::from),
            },
            Happening::Diagnosed(whose) => Self::Diagnosed { whose: whose.as_ref().map(DiagnosisDoc::from) },
            Happening::HealthChanged(told) => Self::HealthChanged(told.into()),
            Happening::WatchPassed { requests, by } => {
                Self::WatchPassed { requests: *requests, by: (*by).into() }
            }
            Happening::Paused(pause) => Self::Paused(pause.into()),
            Happening::Resumed { by } => Self::Resumed { by: by.clone() },
            Happening::Decided(decided) => Self::Decided(Box::new(decided.as_ref().into())),
            Happening::Locked(lock) => Self::Locked(lock.into()),
            Happening::Unlocked { by } => Self::Unlocked { by: by.clone() },
            Happening::Verified(verified) => Self::Verified(verified.into()),
            Happening::Readied(readiness) => Self::Readied(readiness.into()),
        }
    }
}

impl From<HappeningDoc> for Happening {
    fn from(doc: HappeningDoc) -> Self {
        match doc {
            HappeningDoc::Started { known } => Self::Started { known },
            HappeningDoc::Ready => Self::Ready,
            HappeningDoc::Exited { code, signal } => Self::Exited(Exit { code, signal }),
            HappeningDoc::VerdictChanged { from, to, point } => {
                Self::VerdictChanged { from: from.into(), to: to.into(), point: point.map(Into::into) }
            }
            HappeningDoc::Diagnosed { whose } => Self::Diagnosed(whose.map(Into::into)),
            HappeningDoc::HealthChanged(doc) => Self::HealthChanged(doc.into()),
            HappeningDoc::WatchPassed { requests, by } => Self::WatchPassed { requests, by: by.into() },
            HappeningDoc::Paused(pause) => Self::Paused(pause.into()),
            HappeningDoc::Resumed { by } => Self::Resumed { by },
            HappeningDoc::Decided(decided) => Self::Decided(Box::new((*decided).into())),
            HappeningDoc::Locked(lock) => Self::Locked(lock.into()),
            HappeningDoc::Unlocked { by } => Self::Unlocked { by },
            HappeningDoc::Verified(verified) => Self::Verified(verified.into()),
            HappeningDoc::Readied(readiness) => Self::Readied(readiness.into()),
        }
    }
}

impl From<&Pause> for PauseDoc {
    fn from(pause: &Pause) -> Self {
        Self {
            by: pause.by.clone(),
            reason: pause.reason.clone(),
            since: TimeText(pause.since),
            until: pause.until.map(TimeText),
        }
    }
}

impl From<PauseDoc> for Pause {
    fn from(doc: PauseDoc) -> Self {
        Self { by: doc.by, reason: doc.reason, since: doc.since.0, until: doc.until.map(|t| t.0) }
    }
}

impl From<&ReleaseMemory> for ReleaseDoc {
    fn from(memory: &ReleaseMemory) -> Self {
        Self {
            release: ReleaseText(memory.release.clone()),
            first_ready: TimeText(memory.first_ready),
            last_seen: TimeText(memory.last_seen),
            standing: match memory.standing {
                Standing::OnTrial => StandingDoc::OnTrial,
                Standing::KnownGood => StandingDoc::KnownGood,
                Standing::RolledBack => StandingDoc::RolledBack,
            },
            judged_for: DurationText(memory.judged_for),
            judged_requests: memory.judged_requests,
            crashes: memory.crashes.iter().copied().map(TimeText).collect(),
            put_back_by: memory.put_back_by.clone().map(IdText),
            figures: memory.figures.as_deref().map(|f| Box::new(f.into())),
            score: memory.score.map(Figure),
            deployments: memory.deployments.iter().cloned().map(DeploymentText).collect(),
            schemas: memory.schemas.iter().map(|(probe, is)| (probe.to_string(), is.to_string())).collect(),
        }
    }
}

impl From<ReleaseDoc> for ReleaseMemory {
    fn from(doc: ReleaseDoc) -> Self {
        Self {
            release: doc.release.0,
            first_ready: doc.first_ready.0,
            last_seen: doc.last_seen.0,
            standing: match doc.standing {
                StandingDoc::OnTrial => Standing::OnTrial,
                StandingDoc::KnownGood => Standing::KnownGood,
                StandingDoc::RolledBack => Standing::RolledBack,
            },
            judged_for: doc.judged_for.0,
            judged_requests: doc.judged_requests,
            crashes: doc.crashes.into_iter().map(|t| t.0).collect(),
            put_back_by: doc.put_back_by.map(|id| id.0),
            figures: doc.figures.map(|f| Box::new((*f).into())),
            score: doc.score.map(|f| f.0),
            deployments: doc.deployments.into_iter().map(|of| of.0).collect(),
            schemas: doc.schemas.into_iter().map(|(probe, is)| (probe.into(), is.into())).collect(),
        }
    }
}
