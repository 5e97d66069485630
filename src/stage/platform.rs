//! The stand-in platform: deployments, each a real agent process on a volume of its own.
//!
//! It does what a hosted platform does at a deploy: asks the health path until it answers 200, switches the edge, keeps
//! the former deployment for the overlap, sends SIGTERM and, after the drain time, SIGKILL; starts an agent again that
//! failed; puts a former release back on order. It asks the health path at deploy time only, and never again.

mod keeper;

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use http::StatusCode;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::time::Time;
use crate::stage::api::RollbackOrder;
use crate::stage::app::AppPlan;
use crate::stage::event::{Addresses, StageEvent};
use crate::stage::http::Client;
use crate::stage::platform::keeper::{Keeper, Order, Phase};
use crate::stage::port::Port;
use crate::stage::{StageError, StageOptions, volume};

/// The path that a new deployment is asked for,
const HEALTH_PATH: &str = "/api/health";
/// and the host that the platform calls it by.
const HEALTH_HOST: &str = "healthcheck.railway.app";
/// Orders to one deployment not yet taken; at the bound the giver waits.
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
    /// Where its agent listens; `None` while it is being started again.
    pub addresses: Option<Addresses>,
}

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
struct Deployment {
    row: DeploymentRow,
    plan: AppPlan,
    was_live: bool,
    dir: PathBuf,
    orders: mpsc::Sender<Order>,
    phase: watch::Receiver<Phase>,
}

#[derive(Debug, Default)]
struct State {
    deployments: Vec<Deployment>,
    /// Decision to deployment: what makes an order idempotent.
    decisions: HashMap<String, String>,
}

/// The platform. Its state is behind a mutex that is never held over an await.
#[derive(Debug)]
pub struct Platform {
    options: StageOptions,
    clock: Clock,
    api: SocketAddr,
    database: Option<SocketAddr>,
    client: Client,
    events: broadcast::Sender<StageEvent>,
    live: watch::Sender<Option<Live>>,
    state: Mutex<State>,
    /// One deploy at a time.
    deploying: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

/// The ends of a new deployment that its keeper holds.
struct Reserved {
    id: String,
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
        events: broadcast::Sender<StageEvent>,
    ) -> Self {
        Self {
            options,
            clock,
            api,
            database,
            client: Client::default(),
            events,
            live: watch::Sender::new(None),
            state: Mutex::default(),
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

    /// How many rollbacks were really carried out.
    pub fn rollbacks(&self) -> u64 {
        self.lock().decisions.len() as u64
    }

    /// Deploys a release; its volume is a copy of the live one's.
    pub async fn deploy(self: &Arc<Self>, release: &str, plan: AppPlan) -> Result<String, StageError> {
        let reserved = self.reserve(&mut self.lock(), release, plan)?;
        let id = reserved.id.clone();
        let volume_from = self.live().map(|live| live.deployment);
        self.bring_up(reserved, volume_from).await?;
        Ok(id)
    }

    /// Takes an order to put a former release back, or says what became of the same order before.
    ///
    /// It answers at once; the new deployment is brought up behind it. Its volume is a copy of the accused one's, so
    /// that the open decision is handed on to the agent that will see it through.
    pub fn roll_back(self: &Arc<Self>, order: RollbackOrder) -> Result<String, StageError> {
        let RollbackOrder { decision, from, to } = order;
        let mut state = self.lock();
        if let Some(deployment) = state.decisions.get(&decision) {
            let deployment = deployment.clone();
            self.emit(StageEvent::RollbackRepeated { decision });
            return Ok(deployment);
        }
        let reserved = self.accept(&mut state, &from, &to).inspect_err(|error| {
            let reason = error.to_string();
            self.emit(StageEvent::RollbackRefused { decision: decision.clone(), reason });
        })?;
        let (reserved, accused) = reserved;
        let deployment = reserved.id.clone();
        state.decisions.insert(decision.clone(), deployment.clone());
        drop(state);
        self.emit(StageEvent::RollbackTaken { decision, from, to, deployment: deployment.clone() });
        let platform = self.clone();
        tokio::spawn(async move {
            if let Err(error) = platform.bring_up(reserved, Some(accused)).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the rollback's deployment failed");
            }
        });
        Ok(deployment)
    }

    /// SIGKILL to the live agent.
    pub async fn kill_agent(&self) -> Result<(), StageError> {
        let live = self.live().ok_or(StageError::NothingLive)?;
        let deployment = self.deployment(&live.deployment).ok_or(StageError::NothingLive)?;
        deployment.orders.send(Order::KillAgent).await.map_err(|_| StageError::NothingLive)
    }

    /// Ends every deployment and waits until all their processes are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.live.send_replace(None);
        let deployments = self.lock().deployments.clone();
        for deployment in &deployments {
            // A keeper that has ended takes no orders and needs none.
            let _ended = deployment.orders.try_send(Order::Drain);
        }
        for mut deployment in deployments {
            // An error means that the keeper is gone, and its process with it.
            let _ended = deployment.phase.wait_for(|phase| *phase == Phase::Ended).await;
        }
    }

    /// Kills every deployment without waiting.
    pub fn abandon(&self) {
        self.stop.cancel();
        for deployment in &self.lock().deployments {
            let _ended = deployment.orders.try_send(Order::Kill);
        }
    }

    fn accept(&self, state: &mut State, from: &str, to: &str) -> Result<(Reserved, String), StageError> {
        let refused = |reason: String| Err(StageError::Refused { reason });
        let Some(live) = self.live() else {
            return Err(StageError::NothingLive);
        };
        if live.release != from {
            return refused(format!("{from} is not live, {} is", live.release));
        }
        if state.deployments.iter().any(|d| d.row.status == Status::Deploying) {
            return refused("another deployment is under way".to_owned());
        }
        let former = state.deployments.iter().rev().find(|d| d.row.release == to && d.was_live);
        let Some(plan) = former.filter(|_| from != to).map(|d| d.plan) else {
            return refused(format!("{to} is no former release that was live"));
        };
        Ok((self.reserve(state, to, plan)?, live.deployment))
    }

    /// Enters a new deployment.
    fn reserve(&self, state: &mut State, release: &str, plan: AppPlan) -> Result<Reserved, StageError> {
        if self.stop.is_cancelled() {
            return Err(StageError::Stopped);
        }
        if state.deployments.len() >= DEPLOYMENTS_MAX {
            return Err(StageError::Refused { reason: format!("there are {DEPLOYMENTS_MAX} deployments") });
        }
        let id = format!("d{}", state.deployments.len() + 1);
        let (orders, orders_taken) = mpsc::channel(ORDERS_MAX);
        let (phase_set, phase) = watch::channel(Phase::Reserved);
        let row = DeploymentRow {
            id: id.clone(),
            release: release.to_owned(),
            status: Status::Deploying,
            created_at: self.clock.now(),
        };
        let dir = self.options.dir.join(&id);
        state.deployments.push(Deployment { row, plan, was_live: false, dir, orders, phase });
        Ok(Reserved { id, orders: orders_taken, phase: phase_set })
    }

    /// From a reserved deployment to a live one, or to a failed one with the former still live.
    async fn bring_up(
        self: &Arc<Self>,
        reserved: Reserved,
        volume_from: Option<String>,
    ) -> Result<(), StageError> {
        let _one_at_a_time = self.deploying.lock().await;
        let id = reserved.id.clone();
        let launched = self.launch(reserved, volume_from).await;
        let healthy = match launched {
            Ok(()) => self.become_healthy(&id).await,
            Err(error) => {
                self.set_status(&id, Status::Failed);
                return Err(error);
            }
        };
        match healthy {
            Ok(addresses) => {
                self.switch(&id, addresses);
                Ok(())
            }
            Err(reason) => {
                self.set_status(&id, Status::Failed);
                self.emit(StageEvent::Unhealthy { id: id.clone(), reason: reason.clone() });
                self.end(&id, Order::Kill).await;
                let release = self.deployment(&id).map(|d| d.row.release).unwrap_or_default();
                Err(StageError::Unhealthy { id, release, reason })
            }
        }
    }

    /// Writes the deployment's directory and starts its keeper.
    async fn launch(
        self: &Arc<Self>,
        reserved: Reserved,
        volume_from: Option<String>,
    ) -> Result<(), StageError> {
        let deployment = self.deployment(&reserved.id).ok_or(StageError::Stopped)?;
        let volume = deployment.dir.join("volume");
        let write = |path: &Path, source| StageError::Write { path: path.to_owned(), source };
        std::fs::create_dir_all(&volume).map_err(|source| write(&volume, source))?;
        if let Some(from) = volume_from.as_deref().and_then(|id| self.deployment(id)) {
            volume::copy(self.options.clone_volume, from.dir.join("volume"), volume.clone()).await?;
        }
        let port = Port::hold().map_err(|source| StageError::Listen { what: "demo's app", source })?;
        let config = deployment.dir.join("outrigger.toml");
        let text = self.agent_config(&deployment.row.release, &volume, &port);
        std::fs::write(&config, text).map_err(|source| write(&config, source))?;
        self.emit(StageEvent::Created {
            id: reserved.id.clone(),
            release: deployment.row.release.clone(),
            volume_from,
        });
        let launch = crate::stage::process::Launch {
            outrigger: self.options.outrigger.clone(),
            arguments: self.agent_arguments(&deployment, &config, &volume),
            dir: deployment.dir,
        };
        let keeper = Keeper::new(self.clone(), launch, reserved, port);
        tokio::spawn(keeper.run());
        Ok(())
    }

    fn agent_config(&self, release: &str, volume: &Path, port: &Port) -> String {
        // A JSON string is a TOML basic string as well.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            "[service]\nname = \"demo\"\nenvironment = \"demo\"\nrelease = {}\n\n\
             [app]\nport = {}\n\n\
             [platform]\nkind = \"local\"\nurl = \"http://{}\"\n\n\
             [store]\ndir = {}\n\n[log]\nformat = \"json\"\n\n{}",
            quoted(release),
            port.number(),
            self.api,
            quoted(&volume.to_string_lossy()),
            self.options.settings,
        )
    }

    fn agent_arguments(&self, deployment: &Deployment, config: &Path, volume: &Path) -> Vec<OsString> {
        let plan = deployment.plan;
        let mut arguments: Vec<OsString> = vec!["run".into(), "--config".into(), config.into()];
        arguments.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"].map(OsString::from));
        arguments.extend([volume.into(), OsString::from("--")]);
        arguments.extend(self.options.outrigger.iter().cloned());
        arguments.extend(["demo-app", "--port", "{port}", "--release"].map(OsString::from));
        arguments.push(deployment.row.release.clone().into());
        let after = humantime::format_duration(plan.after).to_string().replace(' ', "");
        arguments.extend(["--behave", plan.behave.label(), "--after", &after].map(OsString::from));
        arguments.extend([OsString::from("--seed"), plan.seed.to_string().into()]);
        if let Some(database) = self.database {
            arguments.extend([OsString::from("--database"), database.to_string().into()]);
        }
        arguments
    }

    /// Asks the health path until it answers 200; otherwise says why the deployment failed.
    async fn become_healthy(&self, id: &str) -> Result<Addresses, String> {
        let Some(mut deployment) = self.deployment(id) else {
            return Err("the deployment is not known".to_owned());
        };
        let mut last = "its agent never said where it listens".to_owned();
        let mut asked = tokio::time::interval(self.options.health_interval);
        let healthy = async {
            loop {
                asked.tick().await;
                // Awaited, so that a start is noticed at once and not at the next tick.
                let phase = deployment.phase.wait_for(|phase| phase.settled()).await.map(|phase| *phase);
                let Ok(Phase::Running { addresses, .. }) = phase else {
                    return Err("its agent ended".to_owned());
                };
                let within = self.options.health_timeout;
                match self.client.get(addresses.public, HEALTH_PATH, HEALTH_HOST, within).await {
                    Ok(reply) if reply.status() == StatusCode::OK => return Ok(addresses),
                    Ok(reply) => last = format!("its health path answered {}", reply.status().as_u16()),
                    Err(error) => last = error.to_string(),
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => Err("the stage was stopped".to_owned()),
            outcome = tokio::time::timeout(self.options.health_timeout, healthy) => {
                outcome.unwrap_or_else(|_| Err(format!("{last} within the time allowed")))
            }
        }
    }

    fn switch(self: &Arc<Self>, id: &str, addresses: Addresses) {
        let former = self.live();
        let Some(deployment) = self.deployment(id) else { return };
        self.set_status(id, Status::Live);
        // The agent may have ended since it answered: the phase says where it is now.
        let now = deployment.phase.borrow().addresses();
        let release = deployment.row.release;
        let live = Live { deployment: id.to_owned(), release: release.clone(), addresses: now };
        self.live.send_replace(Some(live));
        self.emit(StageEvent::WentLive { id: id.to_owned(), release, admin: addresses.admin });
        if let Some(former) = former {
            self.set_status(&former.deployment, Status::Removing);
            let platform = self.clone();
            tokio::spawn(async move { platform.retire(&former.deployment).await });
        }
    }

    /// Overlap, SIGTERM, drain, SIGKILL.
    async fn retire(&self, id: &str) {
        tokio::select! {
            () = tokio::time::sleep(self.options.overlap) => {}
            () = self.stop.cancelled() => {}
        }
        self.end(id, Order::Drain).await;
    }

    async fn end(&self, id: &str, order: Order) {
        let Some(mut deployment) = self.deployment(id) else { return };
        // A keeper that has ended takes no orders and needs none.
        let _ended = deployment.orders.send(order).await;
        let _ended = deployment.phase.wait_for(|phase| *phase == Phase::Ended).await;
    }

    /// The keeper of `id` saw its agent come up or go.
    fn agent_moved(&self, id: &str, addresses: Option<Addresses>) {
        self.live.send_if_modified(|live| match live {
            Some(live) if live.deployment == id && live.addresses != addresses => {
                live.addresses = addresses;
                true
            }
            Some(_) | None => false,
        });
    }

    fn deployment(&self, id: &str) -> Option<Deployment> {
        self.lock().deployments.iter().find(|deployment| deployment.row.id == id).cloned()
    }

    fn status(&self, id: &str) -> Option<Status> {
        self.deployment(id).map(|deployment| deployment.row.status)
    }

    fn set_status(&self, id: &str, status: Status) {
        if let Some(deployment) = self.lock().deployments.iter_mut().find(|d| d.row.id == id) {
            deployment.row.status = status;
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
