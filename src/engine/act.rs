//! What belongs to an act beside its decision: the lock, the steps, what it led to, and whether it would be possible at all.

use crate::engine::peer::Deployment;
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;

/// A bar to new deployments, which whoever deploys asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Lock {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When.
    pub since: Time,
    /// Until when; `None`: until unlocked.
    pub until: Option<Time>,
}

/// One step of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActStep {
    /// Deployments that are queued or being built are cancelled, or they would undo the rollback.
    CancelQueued,
    /// The platform is told not to deploy by itself what is pushed next.
    StopAutoDeploy,
    /// What is live is read once more, and a deployment of the target chosen.
    Read,
    /// The platform is called.
    Call,
    /// The deployment that the call made is looked for.
    Find,
}

impl ActStep {
    /// The name in records.
    pub const fn label(self) -> &'static str {
        match self {
            Self::CancelQueued => "cancel_queued",
            Self::StopAutoDeploy => "stop_auto_deploy",
            Self::Read => "read",
            Self::Call => "call",
            Self::Find => "find",
        }
    }
}

/// How far a step has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepOutcome {
    /// It is about to be taken.
    Begun,
    /// It was taken.
    Done {
        /// What came of it.
        detail: String,
    },
    /// It could not be taken. Whether that stops the act depends on the step.
    Failed {
        /// Why.
        reason: String,
    },
}

/// A step as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepTaken {
    /// When.
    pub at: Time,
    /// Which.
    pub step: ActStep,
    /// How far it has come.
    pub outcome: StepOutcome,
}

/// How many steps of an act are kept; later ones are left out.
pub const STEPS_MAX: usize = 32;

/// What a rollback led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The release that was put back is well: what was wrong went with the release that was rolled back.
    Recovered,
    /// What was wrong is wrong still, and no more so: the deployment was not the cause.
    NoChange,
    /// It is worse than before, or something else is wrong now.
    Worse,
    /// There was too little traffic to tell.
    Unclear,
}

impl Outcome {
    /// The name in records and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NoChange => "no_change",
            Self::Worse => "worse",
            Self::Unclear => "unclear",
        }
    }
}

/// What a rollback led to, and by what that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified {
    /// The rollback's record.
    pub decision: RecordId,
    /// The release that was rolled back.
    pub from: Release,
    /// What it led to.
    pub outcome: Outcome,
    /// By what that is known.
    pub detail: String,
}

/// Whether a rollback would be possible now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// What stands in the way: with any of these a rollback would fail.
    pub faults: Vec<String>,
    /// What a person should know, but stands in nobody's way.
    pub warnings: Vec<String>,
    /// What would be put back, in the platform's words.
    pub target: Option<String>,
}

impl Readiness {
    /// Nothing stands in the way.
    pub fn is_ready(&self) -> bool {
        self.faults.is_empty()
    }
}

/// How the replicas of what is live are, as the platform itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// The live deployment.
    pub deployment: Deployment,
    /// Replicas that run, or are being started.
    pub up: u32,
    /// Replicas that crashed or have ended.
    pub down: u32,
}

/// What is known of releases and the deployments that they ran as, for a platform that knows deployments only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// The deployment that this agent runs in, or watches, and its release.
    pub own: Option<(Deployment, Release)>,
    /// Every release that is remembered, with its deployments, the newest last. One deployment may stand with several
    /// releases only by a fault; the first counts.
    pub releases: Vec<(Release, Vec<Deployment>)>,
    /// The release that would be put back.
    pub target: Option<Release>,
    /// Releases that were rolled back: none of their deployments is ever put back.
    pub quarantined: Vec<Release>,
}

impl Known {
    /// The release that ran as this deployment.
    pub fn release_of(&self, deployment: &str) -> Option<&Release> {
        let own = self.own.iter().find(|(own, _)| own.as_str() == deployment).map(|(_, release)| release);
        let of = |(_, deployments): &&(Release, Vec<Deployment>)| {
            deployments.iter().any(|known| known.as_str() == deployment)
        };
        own.or_else(|| self.releases.iter().find(of).map(|(release, _)| release))
    }

    /// The deployments that this release ran as, the newest last.
    pub fn deployments_of(&self, release: &Release) -> &[Deployment] {
        let found = self.releases.iter().find(|(of, _)| of == release);
        found.map_or(&[], |(_, deployments)| deployments)
    }
}
