//! Orders by deployment, as a hosted platform takes them: each makes a deployment, and none knows of decisions.
//!
//! Owns what can be put back and for how long, deployments that wait for their build, the service's variables, and the whole state
//! as one JSON document.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::stage::app::AppPlan;
use crate::stage::event::StageEvent;
use crate::stage::platform::keeper::{Order, Phase};
use crate::stage::platform::state::{Agent, Deployment, State, Status, Template, Way};
use crate::stage::platform::{Platform, Reserved};
use crate::stage::{StageError, railway};

/// How long a deployment that was removed can be put back, where nothing else was said.
const RETENTION: Duration = Duration::from_secs(72 * 3600);
/// Variables of the service; more are refused.
const VARIABLES_MAX: usize = 256;

/// What is to be done with a deployment.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Doing {
    /// Another one like it, with its variables, from its image.
    RollBack,
    /// Another one of its release, with the service's variables as they are now.
    Redeploy,
    /// It is not to go live.
    Cancel,
    /// All its agents are started again.
    Restart,
}

/// An order by deployment.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct DeploymentOrder {
    /// What,
    pub order: Doing,
    /// and of which deployment.
    pub deployment: String,
}

/// An edit of the service's variables.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct VariableEdit {
    /// Values by name; `None` removes one.
    pub set: BTreeMap<String, Option<String>>,
    /// All others are removed.
    #[serde(default)]
    pub replace: bool,
    /// What is live is deployed again with them.
    pub deploy: bool,
}

impl Platform {
    /// Carries out an order, and says which deployment it made or was about. What is made comes up behind the answer.
    pub fn carry_out(self: &Arc<Self>, order: &DeploymentOrder) -> Result<String, StageError> {
        match order.order {
            Doing::RollBack => self.put_back(&order.deployment),
            Doing::Redeploy => self.deploy_again(&order.deployment),
            Doing::Cancel => self.cancel(&order.deployment),
            Doing::Restart => self.restart(&order.deployment),
        }
    }

    /// Deploys a release as one that is built first, and returns its deployment's id at once.
    pub fn push(
        self: &Arc<Self>,
        release: &str,
        plan: AppPlan,
        build: Duration,
    ) -> Result<String, StageError> {
        let mut state = self.lock();
        let (id, reserved) = self.reserve(&mut state, release, plan)?;
        set_way(&mut state, &id, Way::Building);
        drop(state);
        self.come_up(id.clone(), reserved, build);
        Ok(id)
    }

    /// Edits the service's variables; the deployment that it made, if it was to make one.
    pub fn edit(self: &Arc<Self>, edit: &VariableEdit) -> Result<Option<String>, StageError> {
        let mut state = self.lock();
        if edit.replace {
            state.variables.clear();
        }
        for (name, value) in &edit.set {
            match value {
                Some(value) => state.variables.insert(name.clone(), value.clone()),
                None => state.variables.remove(name),
            };
        }
        if state.variables.len() > VARIABLES_MAX {
            return refused(format!("more than {VARIABLES_MAX} variables"));
        }
        drop(state);
        if !edit.deploy {
            return Ok(None);
        }
        let live = self.live().ok_or(StageError::NothingLive)?;
        self.deploy_again(&live.deployment).map(Some)
    }

    /// Everything that an API of the platform could tell.
    pub fn service(&self) -> Value {
        let live = self.live().map(|live| live.deployment);
        let state = self.lock();
        let deployments: Vec<Value> = state.deployments.iter().map(|one| self.told(one)).collect();
        json!({
            "now": self.clock.now().to_rfc3339_millis(),
            "replicas": self.options.replicas.max(1),
            "overlap_seconds": self.options.overlap.as_secs(),
            "drain_seconds": self.options.drain.as_secs(),
            "health_timeout_seconds": self.options.health_timeout.as_secs(),
            "restarts_max": self.options.restarts_max,
            "ids": railway::ids().into_iter().collect::<BTreeMap<_, _>>(),
            "variables": state.variables,
            "live": live,
            "rollbacks": state.rollbacks,
            "deployments": deployments,
        })
    }

    fn told(&self, deployment: &Deployment) -> Value {
        let row = &deployment.row;
        let status = match (row.status, deployment.way) {
            (Status::Deploying, way) => way.label(),
            (status, _) => status.label(),
        };
        let agents =
            deployment.agents.iter().map(|agent| json!({ "id": agent.replica, "state": state_of(agent) }));
        json!({
            "id": row.id,
            "release": row.release,
            "commit": railway::commit(&row.release),
            "image": railway::image(&row.release),
            "status": status,
            "created_at": row.created_at.to_rfc3339_millis(),
            "status_at": deployment.status_at.to_rfc3339_millis(),
            "restorable": self.is_restorable(deployment),
            "reason": deployment.reason,
            "of": deployment.of,
            "variables": deployment.variables,
            "agents": agents.collect::<Vec<_>>(),
        })
    }

    fn is_restorable(&self, deployment: &Deployment) -> bool {
        let retention = self.options.railway.as_ref().map_or(RETENTION, |railway| railway.retention);
        let is_gone = matches!(deployment.row.status, Status::Removed | Status::Crashed);
        let is_kept = !is_gone || self.clock.now().since(deployment.status_at) < retention;
        deployment.was_live && is_kept
    }

    fn put_back(self: &Arc<Self>, target: &str) -> Result<String, StageError> {
        let from = self.live().map(|live| live.release).unwrap_or_default();
        let mut state = self.lock();
        let template = match find(&state, target)? {
            of if self.is_restorable(of) => of.again("rollback", of.variables.clone()),
            _ => return refused(format!("the image of deployment {target} is not there any more")),
        };
        let to = template.release.clone();
        let (id, reserved) = self.reserve_as(&mut state, template)?;
        state.rollbacks += 1;
        drop(state);
        let decision = format!("deployment {target}");
        self.emit(StageEvent::RollbackTaken { decision, from, to, deployment: id.clone() });
        self.come_up(id.clone(), reserved, Duration::ZERO);
        Ok(id)
    }

    fn deploy_again(self: &Arc<Self>, of: &str) -> Result<String, StageError> {
        let mut state = self.lock();
        let template = find(&state, of)?.again("redeploy", state.variables.clone());
        let (id, reserved) = self.reserve_as(&mut state, template)?;
        drop(state);
        self.come_up(id.clone(), reserved, Duration::ZERO);
        Ok(id)
    }

    fn cancel(&self, id: &str) -> Result<String, StageError> {
        let state = self.lock();
        let deployment = find(&state, id)?;
        if deployment.row.status != Status::Deploying {
            return refused(format!("deployment {id} is {}", deployment.row.status.label()));
        }
        deployment.cancelled.cancel();
        Ok(id.to_owned())
    }

    fn restart(&self, id: &str) -> Result<String, StageError> {
        let deployment = find(&self.lock(), id)?.clone();
        for agent in &deployment.agents {
            // One that has ended for good cannot be started again.
            let _ended = agent.orders.try_send(Order::KillAgent);
        }
        Ok(id.to_owned())
    }

    /// Brings a deployment up behind the answer, once it is built.
    fn come_up(self: &Arc<Self>, id: String, reserved: Vec<Reserved>, build: Duration) {
        let platform = self.clone();
        tokio::spawn(async move {
            let Some(deployment) = platform.deployment(&id) else { return };
            tokio::select! {
                () = tokio::time::sleep(build) => {}
                () = deployment.cancelled.cancelled() => {}
                () = platform.stop.cancelled() => {}
            }
            let live = platform.live().map(|live| live.deployment);
            if let Err(error) = platform.bring_up(&id, reserved, live).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "an ordered deployment failed");
            }
        });
    }
}

impl Deployment {
    /// The same once more.
    fn again(&self, reason: &'static str, variables: BTreeMap<String, String>) -> Template {
        let (release, plan, of) = (self.row.release.clone(), self.plan, Some(self.row.id.clone()));
        Template { release, plan, variables, reason, of }
    }
}

impl Way {
    const fn label(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Building => "building",
            Self::Deploying => "deploying",
        }
    }
}

fn state_of(agent: &Agent) -> &'static str {
    match (agent.crashed, *agent.phase.borrow()) {
        (Some(true), _) => "crashed",
        (Some(false), _) | (None, Phase::Ended) => "removed",
        (None, Phase::Reserved) => "created",
        (None, Phase::Starting) => "initializing",
        (None, Phase::Restarting) => "restarting",
        (None, Phase::Running { .. }) => "running",
    }
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Deployment, StageError> {
    let found = state.deployments.iter().find(|deployment| deployment.row.id == id);
    found.ok_or_else(|| StageError::Refused { reason: format!("there is no deployment {id}") })
}

pub(super) fn set_way(state: &mut State, id: &str, way: Way) {
    if let Some(deployment) = state.deployments.iter_mut().find(|deployment| deployment.row.id == id) {
        deployment.way = way;
    }
}

fn refused<T>(reason: String) -> Result<T, StageError> {
    Err(StageError::Refused { reason })
}
