//! What the agent publishes: the engine's snapshot and the state of the limbs, as plain data.

use std::sync::Arc;

use crate::admin::peers::PeersView;
use crate::engine::health::ProbeState;
use crate::engine::host::HostState;
use crate::engine::snapshot::Snapshot;
use crate::engine::time::Time;

/// All that may be seen now.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The engine's own snapshot.
    pub engine: Snapshot,
    /// Who we are.
    pub service: ServiceView,
    /// The app behind us.
    pub app: AppView,
    /// The store.
    pub store: StoreView,
    /// The dependencies, as the probes see them, ascending by name.
    pub probes: Vec<Arc<ProbeState>>,
    /// The container and the agent against their limits; `None` before the first sample.
    pub host: Option<Arc<HostState>>,
    /// The agents of other replicas; `None`: there are none to meet.
    pub peers: Option<PeersView>,
    /// When the agent started.
    pub started: Time,
    /// Until then at most the health path waits for what peers remember; `None`: it does not.
    pub inherits_until: Option<Time>,
    /// Which platform puts a release back, by its name in the configuration.
    pub platform: &'static str,
    /// What will hurt, as it was said at the start.
    pub warnings: Vec<String>,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceView {
    /// The service's name.
    pub name: String,
    /// The environment's name.
    pub environment: String,
    /// The replica's name.
    pub replica: String,
    /// Outrigger's own version.
    pub version: &'static str,
}

/// Where the app is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It was started and is not ready yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It is told to stop and finishes what is open.
    Draining,
    /// It ended and is not coming back, or its upstream cannot be reached.
    Gone,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Self; 4] = [Self::Starting, Self::Ready, Self::Draining, Self::Gone];

    /// The name in the API and in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Gone => "gone",
        }
    }
}

/// The app behind us.
#[derive(Clone, Debug, PartialEq)]
pub struct AppView {
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it is our child; otherwise we only stand before it.
    pub supervised: bool,
    /// Its process, when it is our child and runs.
    pub pid: Option<u32>,
    /// Since when it is in this phase.
    pub since: Time,
    /// Its host and port.
    pub upstream: String,
    /// How often it was started again since the agent started.
    pub restarts: u64,
    /// More, for people: how it ended, what it waits for.
    pub detail: Option<String>,
}

/// The store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreView {
    /// Whether what is written survives a restart.
    pub durable: bool,
    /// Its file; empty when it is in memory.
    pub path: String,
    /// Its size.
    pub size_bytes: u64,
    /// Writes that were carried out.
    pub written: u64,
    /// Writes that were dropped because the queue was full.
    pub dropped: u64,
    /// Writes that failed.
    pub failed: u64,
    /// The last failure.
    pub last_error: Option<String>,
}
