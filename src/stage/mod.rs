//! The stage: a whole platform in small, on loopback, for the demo and for the end-to-end tests.
//!
//! Owns the stand-in platform (deployments of real agent processes, health gate, switch, overlap, drain, restart
//! policy, rollback), the edge before it, the demo's app, and a steady load. Everything listens on a free port; an app's
//! is held for it.
//!
//! It deliberately does not know how an agent judges: it starts agents as a platform would, reads what they say over
//! HTTP as a person would, and puts back what it is told to.

pub mod api;
pub mod app;
pub mod database;
pub mod edge;
pub mod event;
pub mod fleet;
pub mod http;
pub mod leash;
pub mod load;
pub mod plan;
pub mod platform;
mod port;
pub mod process;
mod queries;
pub mod railway;
pub mod script;
pub mod timeline;
pub mod view;
pub mod volume;

#[cfg(test)]
mod double;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::Secret;
use crate::stage::app::AppPlan;
use crate::stage::database::Database;
use crate::stage::edge::Edge;
use crate::stage::event::StageEvent;
use crate::stage::platform::{AgentRow, DeploymentOrder, DeploymentRow, Live, Platform, VariableEdit};
use crate::stage::railway::Railway;
use crate::stage::volume::CloneVolume;

/// Events that a slow reader may fall behind; at the bound it loses the oldest, never the stage its pace.
const EVENTS_MAX: usize = 1024;
/// The bytes of the agents' key.
const PEER_KEY_LEN: usize = 32;

/// How the stage behaves.
#[derive(Clone, Debug)]
pub struct StageOptions {
    /// How Outrigger itself is called: a program and leading arguments, before a subcommand.
    pub outrigger: Vec<OsString>,
    /// Where each deployment gets its directory. It must exist.
    pub dir: PathBuf,
    /// Further sections of every agent's configuration, as TOML: what to judge by and how to act.
    pub settings: String,
    /// How many agents a deployment has, each beside an app of its own. Of several none has a volume.
    pub replicas: usize,
    /// Several agents speak to one another.
    pub peers: bool,
    /// How a new deployment gets a copy of another's store; `None`: an agent loses what it has written with each start.
    pub clone_volume: Option<CloneVolume>,
    /// The platform carries out one order at a time and each decision once. Otherwise each order makes another deployment, as
    /// where a platform knows nothing of decisions.
    pub idempotent: bool,
    /// The former deployment is ended before the new one is started, as where both cannot run beside one another.
    pub recreate: bool,
    /// How long a new deployment may take to its first healthy answer.
    pub health_timeout: Duration,
    /// Between two health checks.
    pub health_interval: Duration,
    /// How long the former deployment stays beside the new one after the switch.
    pub overlap: Duration,
    /// From SIGTERM to SIGKILL.
    pub drain: Duration,
    /// How often an agent that failed is started again.
    pub restarts_max: u32,
    /// The rest before that.
    pub restart_backoff: Duration,
    /// There is a database for the apps, which takes so long for each command.
    pub database: Option<Duration>,
    /// The agents are told that they run on Railway, and whose API to call in place of the stage's own.
    pub railway: Option<Railway>,
    /// The service's variables there, as the first deployment gets them.
    pub variables: BTreeMap<String, String>,
}

impl StageOptions {
    /// The demo's own figures, with agents started by `outrigger` and their files below `dir`.
    pub fn new(outrigger: Vec<OsString>, dir: PathBuf) -> Self {
        Self {
            outrigger,
            dir,
            settings: String::new(),
            replicas: 1,
            peers: false,
            clone_volume: Some(volume::clone_store),
            idempotent: true,
            recreate: false,
            health_timeout: Duration::from_secs(30),
            health_interval: Duration::from_millis(250),
            overlap: Duration::from_secs(3),
            drain: Duration::from_secs(10),
            restarts_max: 10,
            restart_backoff: Duration::from_secs(1),
            database: None,
            railway: None,
            variables: BTreeMap::new(),
        }
    }

    /// The same with several agents a deployment, which have no volume and speak to one another, on a platform that carries
    /// out whatever it is told.
    #[must_use]
    pub fn with_replicas(self, replicas: usize) -> Self {
        Self { replicas, peers: true, clone_volume: None, idempotent: false, ..self }
    }
}

/// What can go wrong on the stage.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// No free port on loopback.
    #[error("listen on loopback for the {what}")]
    Listen {
        /// Which server.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A deployment's directory or file could not be made.
    #[error("write `{path}`")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The store of the former deployment could not be copied.
    #[error("copy the volume `{from}` to `{to}`")]
    CloneVolume {
        /// The former deployment's.
        from: PathBuf,
        /// The new one's.
        to: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A new deployment did not become healthy; the former one stays live.
    #[error("deployment {id} of {release} did not become healthy: {reason}")]
    Unhealthy {
        /// The deployment.
        id: String,
        /// Its release.
        release: String,
        /// What was seen.
        reason: String,
    },
    /// No chance from the system for the agents' key.
    #[error("read the system's chance for the agents' key")]
    Chance(#[source] io::Error),
    /// The order does not fit what is deployed.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// Nothing is live.
    #[error("nothing is live")]
    NothingLive,
    /// The stage was stopped.
    #[error("the stage was stopped")]
    Stopped,
}

/// A running stage. [`Stage::stop`] ends every process it started; dropping it kills them.
#[derive(Debug)]
pub struct Stage {
    platform: Arc<Platform>,
    edge: Arc<Edge>,
    edge_address: SocketAddr,
    api_address: SocketAddr,
    database: Option<Database>,
    stop: CancellationToken,
    servers: Vec<JoinHandle<()>>,
}

impl Stage {
    /// Opens the platform's API and the edge. Nothing is deployed yet.
    pub async fn start(mut options: StageOptions, clock: Clock) -> Result<Self, StageError> {
        let database = options.database.map(Database::start).transpose();
        let database = database.map_err(|source| StageError::Listen { what: "database", source })?;
        let database_address = database.as_ref().map(Database::address);
        if let Some(address) = database_address {
            options.settings.push_str(&plan::probe(address));
        }
        let api_listener = listen("platform's API").await?;
        let edge_listener = listen("edge").await?;
        let api_address = local_address(&api_listener, "platform's API")?;
        let edge_address = local_address(&edge_listener, "edge")?;
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let stop = CancellationToken::new();
        let key = options.peers.then(peer_key).transpose().map_err(StageError::Chance)?;
        let platform = Platform::new(options, clock, api_address, database_address, key, events);
        let platform = Arc::new(platform);
        let edge = Arc::new(Edge::new(platform.live_watch()));
        let servers = vec![
            tokio::spawn(api::serve(api_listener, platform.clone(), stop.child_token())),
            tokio::spawn(edge::serve(edge_listener, edge.clone(), stop.child_token())),
        ];
        Ok(Self { platform, edge, edge_address, api_address, database, stop, servers })
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<StageEvent> {
        self.platform.events()
    }

    /// Deploys a release and returns its deployment's id once it is live; fails, and leaves the former one live, when
    /// it does not become healthy in time.
    pub async fn deploy(&self, release: &str, plan: AppPlan) -> Result<String, StageError> {
        self.platform.deploy(release, plan).await
    }

    /// What is live.
    pub fn live(&self) -> Option<Live> {
        self.platform.live()
    }

    /// Deploys a release that is built first, and returns its deployment's id at once.
    pub fn push(&self, release: &str, plan: AppPlan, build: Duration) -> Result<String, StageError> {
        self.platform.push(release, plan, build)
    }

    /// Carries out an order by deployment, as a person or the platform itself would.
    pub fn order(&self, order: &DeploymentOrder) -> Result<String, StageError> {
        self.platform.carry_out(order)
    }

    /// Edits the service's variables; the deployment that this made, if it was to make one.
    pub fn edit(&self, edit: &VariableEdit) -> Result<Option<String>, StageError> {
        self.platform.edit(edit)
    }

    /// All deployments, oldest first.
    pub fn deployments(&self) -> Vec<DeploymentRow> {
        self.platform.deployments()
    }

    /// Begins to look at all agents, for what changes among them.
    pub fn watch(&self) -> fleet::Watch {
        fleet::Watch::start(self.platform.clone())
    }

    /// All agents that have not ended for good, those of former deployments too.
    pub fn agents(&self) -> Vec<AgentRow> {
        self.platform.agents()
    }

    /// The admin address of the first live agent that listens; `None` while none does.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.platform.live().and_then(|live| live.addresses()).map(|addresses| addresses.admin)
    }

    /// Where clients go.
    pub fn edge_address(&self) -> SocketAddr {
        self.edge_address
    }

    /// The apps' database, where there is one.
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The platform's own API.
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// What the edge has done so far.
    pub fn edge_totals(&self) -> edge::EdgeTotals {
        self.edge.totals()
    }

    /// How many rollbacks were really carried out, repeated orders left out.
    pub fn rollbacks(&self) -> u64 {
        self.platform.rollbacks()
    }

    /// SIGKILL to the first live agent, as the kernel does when memory runs out; the restart policy starts it again. Returns
    /// whose it was.
    pub async fn kill_agent(&self) -> Result<String, StageError> {
        self.platform.kill_agent(0).await
    }

    /// Ends every agent (SIGTERM, then SIGKILL) and both servers. No process is left behind.
    pub async fn stop(mut self) {
        self.platform.stop().await;
        self.stop.cancel();
        for server in self.servers.drain(..) {
            // A server that panicked has been reported by the panic itself; the end of the stage goes on.
            let _ended = server.await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.platform.abandon();
        self.stop.cancel();
    }
}

async fn listen(what: &'static str) -> Result<TcpListener, StageError> {
    TcpListener::bind(("127.0.0.1", 0)).await.map_err(|source| StageError::Listen { what, source })
}

fn local_address(listener: &TcpListener, what: &'static str) -> Result<SocketAddr, StageError> {
    listener.local_addr().map_err(|source| StageError::Listen { what, source })
}

/// A key for the agents of one stage, in hexadecimal digits.
fn peer_key() -> io::Result<Secret> {
    let mut bytes = [0_u8; PEER_KEY_LEN];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let mut text = String::with_capacity(2 * PEER_KEY_LEN);
    for byte in bytes {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Secret::new(text))
}
