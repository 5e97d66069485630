//! What the platform knows of its deployments and their agents.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::engine::time::Time;
use crate::stage::app::AppPlan;
use crate::stage::platform::keeper::{Order, Phase};

/// How a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not answered the health check yet.
    Deploying,
    /// It is live.
    Live,
    /// It never became healthy.
    Failed,
    /// It was live and is being retired.
    Removing,
    /// It was live and is gone.
    Removed,
    /// It failed too often and is not started again.
    Crashed,
    /// It was told not to go live, and did not.
    Cancelled,
}

impl Status {
    /// The name in the API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Deploying => "deploying",
            Self::Live => "live",
            Self::Failed => "failed",
            Self::Removing => "removing",
            Self::Removed => "removed",
            Self::Crashed => "crashed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One deployment as the API shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    /// Its id.
    pub id: String,
    /// Its release.
    pub release: String,
    /// How it stands.
    pub status: Status,
    /// When it was made.
    pub created_at: Time,
}

#[derive(Clone, Debug)]
pub(super) struct Deployment {
    pub(super) row: DeploymentRow,
    pub(super) plan: AppPlan,
    pub(super) was_live: bool,
    pub(super) agents: Vec<Agent>,
    /// The service's variables when it was made.
    pub(super) variables: BTreeMap<String, String>,
    /// Why it was made,
    pub(super) reason: &'static str,
    /// and from which other one.
    pub(super) of: Option<String>,
    /// Since when it stands as it does.
    pub(super) status_at: Time,
    pub(super) way: Way,
    pub(super) cancelled: CancellationToken,
}

/// How far a deployment is on its way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Others come first.
    Queued,
    /// It is being built.
    Building,
    /// Its agents are started.
    Deploying,
}

/// What a deployment is to be.
pub(super) struct Template {
    pub(super) release: String,
    pub(super) plan: AppPlan,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) reason: &'static str,
    pub(super) of: Option<String>,
}

/// One agent of a deployment.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) replica: String,
    pub(super) dir: PathBuf,
    pub(super) app_port: u16,
    pub(super) peer_port: Option<u16>,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) phase: watch::Receiver<Phase>,
    /// It has ended for good: whether by failing too often.
    pub(super) crashed: Option<bool>,
}

impl Agent {
    pub(super) fn volume(&self) -> PathBuf {
        self.dir.join("volume")
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) deployments: Vec<Deployment>,
    /// Decision to deployment: what makes an order idempotent.
    pub(super) decisions: HashMap<String, String>,
    /// Deployments that were made to put a release back.
    pub(super) rollbacks: u64,
    /// The service's, as the next deployment gets them.
    pub(super) variables: BTreeMap<String, String>,
}
