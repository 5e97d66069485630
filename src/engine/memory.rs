//! What must survive a restart: everything here is read from the store once, before the engine's first step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::{Baseline, BaselineSummary};
use crate::engine::history::OpenWatch;
use crate::engine::peer::Deployment;
use crate::engine::record::{Decided, Lock, Pause};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;

/// How many baselines are remembered, newest first; older ones are forgotten.
pub const BASELINES_MAX: usize = 8;
/// How many releases are remembered, newest first; older ones are forgotten.
pub const RELEASES_MAX: usize = 64;

/// What is thought of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its watch is not over.
    OnTrial,
    /// Its watch passed.
    KnownGood,
    /// It was rolled back.
    RolledBack,
}

impl Standing {
    /// The name in the store and on the page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OnTrial => "on_trial",
            Self::KnownGood => "known_good",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// What is remembered of a release.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseMemory {
    /// Which.
    pub release: Release,
    /// When it first became ready.
    pub first_ready: Time,
    /// When it was last seen running.
    pub last_seen: Time,
    /// What is thought of it.
    pub standing: Standing,
    /// How long it has been judged in its watch.
    pub judged_for: Duration,
    /// How many requests were judged in its watch.
    pub judged_requests: u64,
    /// Its last crashes, oldest first, bounded by [`CRASHES_MAX`].
    pub crashes: Vec<Time>,
    /// The rollback that put it back, if one did.
    pub put_back_by: Option<RecordId>,
    /// What it has shown itself, in figures.
    pub figures: Option<Box<BaselineSummary>>,
    /// Its health score when it was last kept, 0 to 1.
    pub score: Option<f64>,
    /// The platform's deployments that it ran as, the newest last, at most [`DEPLOYMENTS_MAX`].
    pub deployments: Vec<Deployment>,
    /// What the databases' schemas were when it ran last: the probe, and the version.
    pub schemas: BTreeMap<Arc<str>, Arc<str>>,
}

/// How many deployments of a release are remembered; the oldest are forgotten.
pub const DEPLOYMENTS_MAX: usize = 8;

/// How many acts are remembered, newest first, for the budget.
pub const ACTS_MAX: usize = 100;

/// How many crashes of a release are remembered.
pub const CRASHES_MAX: usize = 16;

/// A decision of a former agent, or of another.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenDecision {
    /// Its record.
    pub id: RecordId,
    /// When it was made.
    pub at: Time,
    /// The accused release.
    pub from: Release,
    /// The decision.
    pub decided: Decided,
}

/// All that is remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Baselines, newest first.
    pub baselines: Vec<Baseline>,
    /// Releases, newest first.
    pub releases: Vec<ReleaseMemory>,
    /// The decision under way.
    pub open: Option<OpenDecision>,
    /// The last act, and when: for the cooldown and for "one act a release".
    pub last_act: Option<LastAct>,
    /// When acts were made, newest first, at most [`ACTS_MAX`].
    pub acts: Vec<Time>,
    /// The pause in force.
    pub pause: Option<Pause>,
    /// The lock in force: records tell of it, the newest that locks or unlocks.
    pub lock: Option<Lock>,
    /// The last rollback that succeeded, if it was not said what it led to.
    pub unverified: Option<Box<OpenDecision>>,
    /// The watch that was begun last.
    pub watch: Option<Box<OpenWatch>>,
}

/// The last act.
#[derive(Clone, Debug, PartialEq)]
pub struct LastAct {
    /// Its record.
    pub id: RecordId,
    /// When.
    pub at: Time,
    /// The release that it was aimed at.
    pub from: Release,
    /// The release that it put back.
    pub to: Option<Release>,
}
