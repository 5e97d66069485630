//! Where the limbs meet: the app's life on the main thread, and beside it the control plane.
//!
//! Owns the start (configuration checked, store opened, every port bound, only then anything spawned), the app's life with
//! its signals, restarts and drain, and the control plane: one closed list of facts into the engine, and what the engine
//! orders carried out in the order given. It decides nothing itself.
//!
//! **Invariant:** an order to the platform is carried out only after the record of its intent was durable.
//! **Invariant:** the app's life shares no thread and no runtime with the control plane and the admin port.
//! **Invariant:** neither the data path nor the app's life ever waits for the control plane. If that is slow, requests go
//! on by the last plan; if it fails, they go on too, signals are obeyed and the app's code is passed on, but nothing is
//! judged or ordered until the next start.

mod alerts;
mod by_hand;
mod control;
mod decider;
mod dependencies;
mod fleet;
mod identity;
mod life;
mod live;
mod readiness;
mod restart;
mod sampling;
mod schemas;
mod shutdown;
mod start;
#[cfg(test)]
mod tests;
mod told;
mod watch;

use std::ffi::OsString;

use crate::clock::Clock;
use crate::config::Loaded;
use crate::supervisor::SpawnError;

pub use crate::agent::identity::fingerprint;
pub use crate::agent::watch::watch;

/// The control socket's name in the data directory.
pub const SOCKET_FILE: &str = "outrigger.sock";

/// What the agent is to do.
pub struct Job {
    /// The configuration.
    pub loaded: Loaded,
    /// The app's command; empty: stand before `app.upstream`.
    pub command: Vec<OsString>,
    /// The environment of this process.
    pub env: Vec<(OsString, OsString)>,
    /// The clock.
    pub clock: Clock,
    /// The control plane's runtime, which is not the one that [`run`] runs on: a stuck task keeps a runtime's timers and
    /// sockets from being looked at, and those of the app's life must be.
    pub control: tokio::runtime::Handle,
}

/// Why the agent could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port could not be bound.
    #[error(
        "listen on {address} (option `{option}`); choose a port that is free and that this user may bind"
    )]
    Bind {
        /// The option that names it.
        option: &'static str,
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store could not be opened.
    #[error("open the store (option `store.dir`)")]
    Store(#[source] crate::store::OpenError),
    /// The data path could not be started.
    #[error("start the data path")]
    DataPath(#[source] crate::proxy::StartError),
    /// The app could not be started.
    #[error("start the app")]
    Spawn(#[source] SpawnError),
    /// The app could not be waited for.
    #[error("wait for the app")]
    Wait(#[source] std::io::Error),
    /// Signals could not be received.
    #[error("receive signals")]
    Signals(#[source] std::io::Error),
    /// A watcher without a key has nobody to watch.
    #[error("watch without a key: set OUTRIGGER_PEER_KEY to the key that the replicas have")]
    NoPeerKey,
    /// No free port for the app.
    #[error("find a free port for the app")]
    FreePort(#[source] std::io::Error),
}

impl Error {
    /// The option whose value is to be looked at.
    pub const fn option(&self) -> Option<&'static str> {
        match self {
            Self::Bind { option, .. } => Some(option),
            Self::Store(_) => Some("store.dir"),
            Self::DataPath(_)
            | Self::Spawn(_)
            | Self::Wait(_)
            | Self::Signals(_)
            | Self::FreePort(_)
            | Self::NoPeerKey => None,
        }
    }

    /// The process's exit code: 126 and 127 as a shell's, 64 for what the configuration names wrongly, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Spawn(error) => u8::try_from(error.exit_code()).unwrap_or(1),
            Self::Store(error) if error.is_misconfigured() => 64,
            Self::NoPeerKey => 64,
            Self::Store(_)
            | Self::Bind { .. }
            | Self::DataPath(_)
            | Self::Wait(_)
            | Self::Signals(_)
            | Self::FreePort(_) => 1,
        }
    }
}

/// Runs until the app ends or a signal says so, and returns the exit code to pass on.
///
/// To be called from the main thread: the app is bound to the thread that starts it.
///
/// # Errors
///
/// When it could not start; nothing is left running then.
pub async fn run(job: Job) -> Result<i32, Error> {
    let agent = start::start(job).await?;
    agent.serve().await
}
