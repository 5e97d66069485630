//! How a deployment comes and goes: its agents are started, asked whether they are healthy, and take over; those of the
//! former one stay for the overlap and are then ended.

use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use tokio::sync::watch;

use crate::config::Secret;
use crate::stage::event::{Addresses, StageEvent};
use crate::stage::platform::agent::AgentPlan;
use crate::stage::platform::keeper::{Keeper, Order, Phase};
use crate::stage::platform::orders::set_way;
use crate::stage::platform::state::{Agent, Deployment, Status, Way};
use crate::stage::platform::{Live, Platform, Reserved};
use crate::stage::process::Launch;
use crate::stage::{StageError, railway, volume};

/// The path that a new deployment is asked for,
const HEALTH_PATH: &str = "/api/health";
/// and the host that the platform calls it by.
const HEALTH_HOST: &str = "healthcheck.railway.app";

impl Platform {
    /// From a reserved deployment to a live one, or to a failed one with the former still live.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        id: &str,
        reserved: Vec<Reserved>,
        volume_from: Option<String>,
    ) -> Result<(), StageError> {
        let _one_at_a_time = self.deploying.lock().await;
        if self.was_cancelled(id) {
            return self.not_to_go_live(id);
        }
        set_way(&mut self.lock(), id, Way::Deploying);
        if self.options.recreate {
            self.clear().await;
        }
        if let Err(error) = self.launch(id, reserved, volume_from).await {
            self.set_status(id, Status::Failed);
            return Err(error);
        }
        match self.become_healthy(id).await {
            Ok(addresses) => {
                self.switch(id, addresses);
                Ok(())
            }
            Err(reason) => {
                self.set_status(id, if self.was_cancelled(id) { Status::Cancelled } else { Status::Failed });
                self.emit(StageEvent::Unhealthy { id: id.to_owned(), reason: reason.clone() });
                self.end(id, Order::Kill).await;
                let release = self.deployment(id).map(|d| d.row.release).unwrap_or_default();
                Err(StageError::Unhealthy { id: id.to_owned(), release, reason })
            }
        }
    }

    fn was_cancelled(&self, id: &str) -> bool {
        self.deployment(id).is_none_or(|deployment| deployment.cancelled.is_cancelled())
    }

    /// None of its agents was ever started.
    fn not_to_go_live(&self, id: &str) -> Result<(), StageError> {
        self.set_status(id, Status::Cancelled);
        if let Some(deployment) = self.lock().deployments.iter_mut().find(|one| one.row.id == id) {
            deployment.agents.iter_mut().for_each(|agent| agent.crashed = Some(false));
        }
        Err(StageError::Refused { reason: format!("deployment {id} was cancelled") })
    }

    /// Ends what is live, before anything follows it.
    async fn clear(&self) {
        let Some(former) = self.live.send_replace(None) else { return };
        self.set_status(&former.deployment, Status::Removing);
        self.end(&former.deployment, Order::Drain).await;
    }

    /// Writes the deployment's directories and starts its keepers.
    async fn launch(
        self: &Arc<Self>,
        id: &str,
        reserved: Vec<Reserved>,
        volume_from: Option<String>,
    ) -> Result<(), StageError> {
        let deployment = self.deployment(id).ok_or(StageError::Stopped)?;
        let volume_from = volume_from.filter(|_| self.options.clone_volume.is_some());
        let former = volume_from.as_deref().and_then(|id| self.deployment(id));
        let mut launches = Vec::new();
        for agent in &deployment.agents {
            let volume = agent.volume();
            let write = |path: &Path, source| StageError::Write { path: path.to_owned(), source };
            std::fs::create_dir_all(&volume).map_err(|source| write(&volume, source))?;
            let from = former.as_ref().and_then(|former| former.agents.first());
            if let (Some(clone), Some(from)) = (self.options.clone_volume, from) {
                volume::copy(clone, from.volume(), volume).await?;
            }
            let config = agent.dir.join("outrigger.toml");
            let plan = self.agent_plan(&deployment, agent);
            std::fs::write(&config, plan.config()).map_err(|source| write(&config, source))?;
            launches.push(Launch {
                outrigger: self.options.outrigger.clone(),
                arguments: plan.arguments(&config),
                dir: agent.dir.clone(),
                peer_key: self.peer_key.clone(),
                environment: self.environment(&deployment, agent),
            });
        }
        let release = deployment.row.release;
        self.emit(StageEvent::Created { id: id.to_owned(), release, volume_from });
        for ((launch, reserved), agent) in launches.into_iter().zip(reserved).zip(deployment.agents) {
            let wiped = self.options.clone_volume.is_none().then(|| agent.volume());
            tokio::spawn(Keeper::new(self.clone(), launch, id.to_owned(), reserved, wiped).run());
        }
        Ok(())
    }

    fn environment(&self, deployment: &Deployment, agent: &Agent) -> Vec<(String, Secret)> {
        let Some(told) = &self.options.railway else { return Vec::new() };
        let drain = self.options.drain;
        railway::environment(told, drain, &deployment.row, &agent.replica, &deployment.variables)
    }

    fn agent_plan<'a>(&'a self, deployment: &'a Deployment, agent: &'a Agent) -> AgentPlan<'a> {
        // Whoever runs: the deployment itself, and what it is to follow.
        let all = self.lock();
        let others = all.deployments.iter().flat_map(|deployment| &deployment.agents);
        let peer_addresses =
            others.filter(|agent| agent.crashed.is_none()).filter_map(|agent| agent.peer_port);
        AgentPlan {
            options: &self.options,
            api: self.api,
            database: self.database,
            deployment: &deployment.row,
            app: deployment.plan,
            agent: &agent.name,
            volume: agent.volume(),
            app_port: agent.app_port,
            peer_port: agent.peer_port,
            peer_ports: peer_addresses.collect(),
        }
    }

    /// Asks the health path of every agent until all have answered 200; otherwise says why the deployment failed.
    async fn become_healthy(&self, id: &str) -> Result<Vec<Addresses>, String> {
        let Some(deployment) = self.deployment(id) else {
            return Err("the deployment is not known".to_owned());
        };
        let cancelled = deployment.cancelled.clone();
        let mut last = "its agent never said where it listens".to_owned();
        let healthy = async {
            let mut all = Vec::new();
            for agent in deployment.agents {
                all.push(self.answer_healthy(agent.phase, &mut last).await?);
            }
            Ok(all)
        };
        tokio::select! {
            () = self.stop.cancelled() => Err("the stage was stopped".to_owned()),
            () = cancelled.cancelled() => Err("it was cancelled".to_owned()),
            outcome = tokio::time::timeout(self.options.health_timeout, healthy) => {
                outcome.unwrap_or_else(|_| Err(format!("{last} within the time allowed")))
            }
        }
    }

    /// Asks one agent until it answers 200.
    async fn answer_healthy(
        &self,
        mut phase: watch::Receiver<Phase>,
        last: &mut String,
    ) -> Result<Addresses, String> {
        let mut asked = tokio::time::interval(self.options.health_interval);
        loop {
            asked.tick().await;
            // Awaited, so that a start is noticed at once and not at the next tick.
            let phase = phase.wait_for(|phase| phase.settled()).await.map(|phase| *phase);
            let Ok(Phase::Running { addresses, .. }) = phase else {
                return Err("its agent ended".to_owned());
            };
            let within = self.options.health_timeout;
            match self.client.get(addresses.public, HEALTH_PATH, HEALTH_HOST, within).await {
                Ok(reply) if reply.status() == StatusCode::OK => return Ok(addresses),
                Ok(reply) => *last = format!("its health path answered {}", reply.status().as_u16()),
                Err(error) => *last = error.to_string(),
            }
        }
    }

    fn switch(self: &Arc<Self>, id: &str, addresses: Vec<Addresses>) {
        let former = self.live();
        let Some(deployment) = self.deployment(id) else { return };
        self.set_status(id, Status::Live);
        // An agent may have ended since it answered: the phase says where it is now.
        let agents = deployment.agents.iter().map(|agent| agent.phase.borrow().addresses()).collect();
        let release = deployment.row.release;
        self.live.send_replace(Some(Live { deployment: id.to_owned(), release: release.clone(), agents }));
        if let Some(first) = addresses.first() {
            let (id, replicas) = (id.to_owned(), addresses.len());
            self.emit(StageEvent::WentLive { id, release, admin: first.admin, replicas });
        }
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
        let agents = self.deployment(id).map(|deployment| deployment.agents).unwrap_or_default();
        for agent in &agents {
            // A keeper that has ended takes no orders and needs none.
            let _ended = agent.orders.send(order).await;
        }
        for mut agent in agents {
            let _ended = agent.phase.wait_for(|phase| *phase == Phase::Ended).await;
        }
    }
}
