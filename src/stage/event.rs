//! What happens on the stage, as facts: for the timeline, and for tests to wait on.

use std::net::SocketAddr;
use std::time::Duration;

/// Where an agent listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// For the edge.
    pub public: SocketAddr,
    /// For people.
    pub admin: SocketAddr,
}

/// How an agent's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentExit {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// Something happened on the stage.
#[derive(Clone, Debug, PartialEq)]
pub enum StageEvent {
    /// A deployment was made; its volume is a copy of another's.
    Created {
        /// The deployment.
        id: String,
        /// Its release.
        release: String,
        /// Whose volume was copied.
        volume_from: Option<String>,
    },
    /// An agent said where it listens.
    Listening {
        /// Its deployment.
        id: String,
        /// Its name.
        agent: String,
        /// Its process.
        pid: u32,
        /// Where.
        addresses: Addresses,
    },
    /// The health path answered 200 and the edge switched.
    WentLive {
        /// The deployment.
        id: String,
        /// Its release.
        release: String,
        /// The first agent's admin address.
        admin: SocketAddr,
        /// How many agents it has.
        replicas: usize,
    },
    /// The deployment did not become healthy; the former one stays live.
    Unhealthy {
        /// The deployment.
        id: String,
        /// What was seen.
        reason: String,
    },
    /// SIGTERM was sent.
    Terminating {
        /// The deployment.
        id: String,
        /// The agent.
        agent: String,
    },
    /// The drain time was over and SIGKILL was sent.
    Killed {
        /// The deployment.
        id: String,
        /// The agent.
        agent: String,
    },
    /// An agent's process ended.
    Exited {
        /// The deployment.
        id: String,
        /// The agent.
        agent: String,
        /// How.
        exit: AgentExit,
    },
    /// The restart policy starts it again.
    Restarting {
        /// The deployment.
        id: String,
        /// The agent.
        agent: String,
        /// For the how-manieth time.
        attempt: u32,
        /// After this rest.
        after: Duration,
    },
    /// It failed too often and is not started again.
    Crashed {
        /// The deployment.
        id: String,
        /// The agent.
        agent: String,
    },
    /// The deployment is gone, with all its processes.
    Removed {
        /// The deployment.
        id: String,
    },
    /// The app's fault began.
    FaultBegan {
        /// The deployment.
        id: String,
        /// The agent beside that app.
        agent: String,
    },
    /// A rollback was ordered and taken.
    RollbackTaken {
        /// The decision.
        decision: String,
        /// The accused release.
        from: String,
        /// The release to put back.
        to: String,
        /// The deployment made for it.
        deployment: String,
    },
    /// A decision was ordered again, and answered as before.
    RollbackRepeated {
        /// The decision.
        decision: String,
    },
    /// A rollback was refused.
    RollbackRefused {
        /// The decision.
        decision: String,
        /// Why.
        reason: String,
    },
}
