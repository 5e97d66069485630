//! The stand-in platform: deployments, each of one or several real agent processes.
//!
//! It does what a hosted platform does at a deploy: asks the health path until it answers 200, switches the edge, keeps
//! the former deployment for the overlap, sends SIGTERM and, after the drain time, SIGKILL; starts an agent again that
//! failed; puts a former release back on order. It asks the health path at deploy time only, and never again.

mod agent;
mod keeper;
mod orders;
mod rollout;
mod state;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Secret;
use crate::stage::api::RollbackOrder;
use crate::stage::app::AppPlan;
use crate::stage::event::{Addresses, StageEvent};
use crate::stage::http::Client;
pub(crate) use crate::stage::platform::agent::CALL_TIMEOUT;
use crate::stage::platform::keeper::{Order, Phase};
pub use crate::stage::platform::orders::{DeploymentOrder, Doing, VariableEdit};
use crate::stage::platform::state::{Agent, Deployment, State, Template, Way};
pub use crate::stage::platform::state::{DeploymentRow, Status};
use crate::stage::port::Port;
use crate::stage::{StageError, StageOptions, railway};

/// Orders to one agent not yet taken; at the bound the giver waits.
const ORDERS_MAX: usize = 8;
/// Deployments of one stage; more are refused.
const DEPLOYMENTS_MAX: usize = 1000;

/// What is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The deployment.
    pub deployment: String,
    /// Its release.
    pub release: String,
    /// Where each of its agents listens; `None` while that one is being started again.
    pub agents: Vec<Option<Addresses>>,
}

impl Live {
    /// Where its first agent that listens does.
    pub fn addresses(&self) -> Option<Addresses> {
        self.agents.iter().flatten().next().copied()
    }
}

/// One agent as who looks on may know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRow {
    /// Its deployment.
    pub deployment: String,
    /// Its release.
    pub release: String,
    /// Its name: the deployment's, or the replica's where there are several.
    pub name: String,
    /// What it is told that it is called.
    pub replica: String,
    /// Its process and where it listens; `None` while it is being started.
    pub running: Option<(u32, Addresses)>,
}

/// The platform. Its state is behind a mutex that is never held over an await.
#[derive(Debug)]
pub struct Platform {
    options: StageOptions,
    clock: Clock,
    api: SocketAddr,
    database: Option<SocketAddr>,
    /// What the agents know one another by; `None`: they do not speak to one another.
    peer_key: Option<Secret>,
    client: Client,
    events: broadcast::Sender<StageEvent>,
    live: watch::Sender<Option<Live>>,
    state: Mutex<State>,
    /// One deploy at a time.
    deploying: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

/// What an agent's keeper holds.
struct Reserved {
    name: String,
    index: usize,
    app: Port,
    peers: Option<Port>,
    orders: mpsc::Receiver<Order>,
    phase: watch::Sender<Phase>,
}

impl Platform {
    /// A platform with nothing deployed, whose agents reach its API at `api`.
    pub fn new(
        options: StageOptions,
        clock: Clock,
        api: SocketAddr,
        database: Option<SocketAddr>,
        peer_key: Option<Secret>,
        events: broadcast::Sender<StageEvent>,
    ) -> Self {
        let state = State { variables: options.variables.clone(), ..State::default() };
        Self {
            options,
            clock,
            api,
            database,
            peer_key,
            client: Client::default(),
            events,
            live: watch::Sender::new(None),
            state: Mutex::new(state),
            deploying: tokio::sync::Mutex::new(()),
            stop: CancellationToken::new(),
        }
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<StageEvent> {
        self.events.subscribe()
    }

    /// What is live, as it changes.
    pub fn live_watch(&self) -> watch::Receiver<Option<Live>> {
        self.live.subscribe()
    }

    /// What is live now.
    pub fn live(&self) -> Option<Live> {
        self.live.borrow().clone()
    }

    /// All deployments, oldest first.
    pub fn deployments(&self) -> Vec<DeploymentRow> {
        self.lock().deployments.iter().map(|deployment| deployment.row.clone()).collect()
    }

    /// All agents that have not ended for good, oldest first.
    pub fn agents(&self) -> Vec<AgentRow> {
        let state = self.lock();
        let running = |agent: &Agent| match *agent.phase.borrow() {
            Phase::Running { addresses, pid } => Some((pid, addresses)),
            Phase::Reserved | Phase::Starting | Phase::Restarting | Phase::Ended => None,
        };
        let rows = state.deployments.iter().flat_map(|deployment| {
            let here = deployment.agents.iter().filter(|agent| agent.crashed.is_none());
            here.map(|agent| AgentRow {
                deployment: deployment.row.id.clone(),
                release: deployment.row.release.clone(),
                name: agent.name.clone(),
                replica: agent.replica.clone(),
                running: running(agent),
            })
        });
        rows.collect()
    }

    /// How many rollbacks were really carried out.
    pub fn rollbacks(&self) -> u64 {
        self.lock().rollbacks
    }

    /// Deploys a release; its volume is a copy of the live one's.
    pub async fn deploy(self: &Arc<Self>, release: &str, plan: AppPlan) -> Result<String, StageError> {
        let (id, reserved) = self.reserve(&mut self.lock(), release, plan)?;
        let volume_from = self.live().map(|live| live.deployment);
        self.bring_up(&id, reserved, volume_from).await?;
        Ok(id)
    }

    /// Takes an order to put a former release back, or says what became of the same order before.
    ///
    /// It answers at once; the new deployment is brought up behind it. Its volume is a copy of the accused one's, so
    /// that the open decision is handed on to the agent that will see it through.
    pub fn roll_back(self: &Arc<Self>, order: RollbackOrder) -> Result<String, StageError> {
        let RollbackOrder { decision, from, to } = order;
        let mut state = self.lock();
        if let Some(deployment) = state.decisions.get(&decision).filter(|_| self.options.idempotent) {
            let deployment = deployment.clone();
            self.emit(StageEvent::RollbackRepeated { decision });
            return Ok(deployment);
        }
        let accepted = self.accept(&mut state, &from, &to).inspect_err(|error| {
            let reason = error.to_string();
            self.emit(StageEvent::RollbackRefused { decision: decision.clone(), reason });
        })?;
        let (deployment, reserved, accused) = accepted;
        state.decisions.insert(decision.clone(), deployment.clone());
        state.rollbacks += 1;
        drop(state);
        self.emit(StageEvent::RollbackTaken { decision, from, to, deployment: deployment.clone() });
        let (platform, id) = (self.clone(), deployment.clone());
        tokio::spawn(async move {
            if let Err(error) = platform.bring_up(&id, reserved, Some(accused)).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the rollback's deployment failed");
            }
        });
        Ok(deployment)
    }

    /// SIGKILL to an agent of what is live, counted from 0. Returns the deployment.
    pub async fn kill_agent(&self, index: usize) -> Result<String, StageError> {
        let live = self.live().ok_or(StageError::NothingLive)?;
        let deployment = self.deployment(&live.deployment).ok_or(StageError::NothingLive)?;
        let agent = deployment.agents.get(index).ok_or(StageError::NothingLive)?;
        agent.orders.send(Order::KillAgent).await.map_err(|_| StageError::NothingLive)?;
        Ok(live.deployment)
    }

    /// Ends every deployment and waits until all their processes are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.live.send_replace(None);
        let agents = self.all_agents();
        for agent in &agents {
            // A keeper that has ended takes no orders and needs none.
            let _ended = agent.orders.try_send(Order::Drain);
        }
        for mut agent in agents {
            // An error means that the keeper is gone, and its process with it.
            let _ended = agent.phase.wait_for(|phase| *phase == Phase::Ended).await;
        }
    }

    /// Kills every deployment without waiting.
    pub fn abandon(&self) {
        self.stop.cancel();
        for agent in self.all_agents() {
            let _ended = agent.orders.try_send(Order::Kill);
        }
    }

    fn all_agents(&self) -> Vec<Agent> {
        self.lock().deployments.iter().flat_map(|deployment| deployment.agents.clone()).collect()
    }

    /// Enters a rollback: its deployment, what that holds, and the deployment that it replaces.
    fn accept(
        &self,
        state: &mut State,
        from: &str,
        to: &str,
    ) -> Result<(String, Vec<Reserved>, String), StageError> {
        let refused = |reason: String| Err(StageError::Refused { reason });
        let Some(live) = self.live() else {
            return Err(StageError::NothingLive);
        };
        // A platform that knows nothing of decisions is told only what to put back, and does so each time.
        if self.options.idempotent && live.release != from {
            return refused(format!("{from} is not live, {} is", live.release));
        }
        let under_way = state.deployments.iter().any(|d| d.row.status == Status::Deploying);
        if self.options.idempotent && under_way {
            return refused("another deployment is under way".to_owned());
        }
        let former = state.deployments.iter().rev().find(|d| d.row.release == to && d.was_live);
        let Some(plan) = former.filter(|_| from != to).map(|d| d.plan) else {
            return refused(format!("{to} is no former release that was live"));
        };
        let (id, reserved) = self.reserve(state, to, plan)?;
        Ok((id, reserved, live.deployment))
    }

    /// Enters a new deployment: its id, and what the keepers of its agents hold.
    fn reserve(
        &self,
        state: &mut State,
        release: &str,
        plan: AppPlan,
    ) -> Result<(String, Vec<Reserved>), StageError> {
        if self.options.railway.is_some() {
            state.variables.extend(railway::told(plan));
        }
        let (release, variables) = (release.to_owned(), state.variables.clone());
        self.reserve_as(state, Template { release, plan, variables, reason: "deploy", of: None })
    }

    fn reserve_as(
        &self,
        state: &mut State,
        template: Template,
    ) -> Result<(String, Vec<Reserved>), StageError> {
        if self.stop.is_cancelled() {
            return Err(StageError::Stopped);
        }
        if state.deployments.len() >= DEPLOYMENTS_MAX {
            return Err(StageError::Refused { reason: format!("there are {DEPLOYMENTS_MAX} deployments") });
        }
        let (number, now) = (state.deployments.len() + 1, self.clock.now());
        let id = match self.options.railway {
            Some(_) => railway::deployment_id(number),
            None => format!("d{number}"),
        };
        let Template { release, plan, variables, reason, of } = template;
        let row = DeploymentRow { id: id.clone(), release, status: Status::Deploying, created_at: now };
        let all = (0..self.options.replicas.max(1)).map(|index| self.reserve_agent(&id, index));
        let (agents, reserved) = all.collect::<Result<(Vec<_>, Vec<_>), _>>()?;
        state.deployments.push(Deployment {
            row,
            plan,
            was_live: false,
            agents,
            variables,
            reason,
            of,
            status_at: now,
            way: Way::Queued,
            cancelled: CancellationToken::new(),
        });
        Ok((id, reserved))
    }

    fn reserve_agent(&self, id: &str, index: usize) -> Result<(Agent, Reserved), StageError> {
        let hold = |what| Port::hold().map_err(|source| StageError::Listen { what, source });
        let app = hold("demo's app")?;
        let peers = self.peer_key.as_ref().map(|_| hold("agent's peers")).transpose()?;
        let dir = self.options.dir.join(id);
        let (name, dir) = match self.options.replicas {
            0 | 1 => (id.to_owned(), dir),
            _ => (format!("r{}-{id}", index + 1), dir.join(format!("r{}", index + 1))),
        };
        let (orders, orders_taken) = mpsc::channel(ORDERS_MAX);
        let (phase_set, phase) = watch::channel(Phase::Reserved);
        let replica = match self.options.railway {
            Some(_) => railway::id(&name),
            None => name.clone(),
        };
        let agent = Agent {
            name: name.clone(),
            replica,
            dir,
            app_port: app.number(),
            peer_port: peers.as_ref().map(Port::number),
            orders,
            phase,
            crashed: None,
        };
        Ok((agent, Reserved { name, index, app, peers, orders: orders_taken, phase: phase_set }))
    }

    /// The keeper of an agent of `id` saw it come up or go.
    fn agent_moved(&self, id: &str, index: usize, addresses: Option<Addresses>) {
        self.live.send_if_modified(|live| {
            let known = live.as_mut().filter(|live| live.deployment == id);
            match known.and_then(|live| live.agents.get_mut(index)) {
                Some(known) if *known != addresses => {
                    *known = addresses;
                    true
                }
                Some(_) | None => false,
            }
        });
    }

    /// An agent of `id` has ended for good. The deployment ends with its last one.
    fn agent_ended(&self, id: &str, index: usize, crashed: bool) {
        let mut state = self.lock();
        let Some(deployment) = state.deployments.iter_mut().find(|d| d.row.id == id) else { return };
        if let Some(agent) = deployment.agents.get_mut(index) {
            agent.crashed = Some(crashed);
        }
        if deployment.agents.iter().any(|agent| agent.crashed.is_none()) {
            return;
        }
        // A deployment that failed its health check stays failed, whatever its processes do.
        if !matches!(deployment.row.status, Status::Failed | Status::Cancelled) {
            let all_crashed = deployment.agents.iter().all(|agent| agent.crashed == Some(true));
            deployment.row.status = if all_crashed { Status::Crashed } else { Status::Removed };
            deployment.status_at = self.clock.now();
        }
        drop(state);
        self.emit(StageEvent::Removed { id: id.to_owned() });
    }

    fn deployment(&self, id: &str) -> Option<Deployment> {
        self.lock().deployments.iter().find(|deployment| deployment.row.id == id).cloned()
    }

    fn set_status(&self, id: &str, status: Status) {
        if let Some(deployment) = self.lock().deployments.iter_mut().find(|d| d.row.id == id) {
            deployment.row.status = status;
            deployment.status_at = self.clock.now();
            deployment.was_live |= status == Status::Live;
        }
    }

    fn emit(&self, event: StageEvent) {
        // Nobody need listen.
        let _listeners = self.events.send(event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
