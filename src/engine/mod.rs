//! Every decision, and the meaning of every threshold. Pure: given the time and what happened, it says what to do.
//!
//! **Invariant:** nothing in here names tokio, tracing, a clock, a file or a socket, and nothing in here uses chance. A
//! decision that cannot be replayed cannot be explained. The same memory and the same inputs at the same times give
//! the same effects, to the bit, on every platform.
//!
//! **Invariant:** the engine never sees single requests. The agent hands over a [`window::Window`] each second.

mod act;
mod acting;
mod aftermath;
pub mod alert;
pub mod ballot;
pub mod baseline;
mod beginning;
mod by_hand;
mod decide;
pub mod diagnosis;
pub mod evidence;
mod fallen;
pub mod fleet;
pub mod health;
pub mod history;
pub mod host;
mod inherit;
mod joined;
pub mod judge;
pub mod memory;
pub mod observation;
pub mod peer;
pub mod policy;
mod pursuit;
pub mod record;
pub mod release;
pub mod route;
pub mod snapshot;
mod step;
mod suspicion;
mod tally;
pub mod tick;
pub mod time;
mod trial;
pub mod verdict;
mod voting;
pub mod watch;
pub mod window;

use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::health::HealthChange;
use crate::engine::history::{KeptFact, WatchStart};
use crate::engine::memory::{Memory, ReleaseMemory};
use crate::engine::peer::{Audience, Hello, Message, Peer, PeerInput};
use crate::engine::record::{
    ActStep, Acted, Exit, Live, Lock, Order, Pause, Readiness, Record, Sight, StepOutcome,
};
use crate::engine::release::{RecordId, Release};
use crate::engine::window::Window;

pub use crate::engine::step::{Engine, Identity};

/// A fact, in the past tense.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A second of observations was sealed. This is also the engine's heartbeat.
    Sealed(Window),
    /// The app became ready for requests.
    BecameReady,
    /// The app ended.
    Exited(Exit),
    /// A dependency's health changed.
    HealthChanged(HealthChange),
    /// A person paused acting.
    Paused(Pause),
    /// A person resumed acting.
    Resumed {
        /// Who.
        by: String,
    },
    /// An order came to an end, or the platform took it.
    Acted {
        /// Which decision.
        record: RecordId,
        /// What became of it.
        acted: Acted,
    },
    /// The platform said what is live.
    PlatformAnswered {
        /// For which decision it was asked.
        record: RecordId,
        /// What it said.
        live: Live,
    },
    /// A record that had to be durable before an act could not be written.
    RecordLost {
        /// Which.
        record: RecordId,
    },
    /// Something happened with the agents of other replicas.
    Peer(Box<PeerInput>),
    /// What peers remember was put together with what this agent remembers. It is the whole of both, as the store holds
    /// it now.
    Inherited(Box<Memory>),
    /// A step of an act has come so far.
    Stepped {
        /// Which decision.
        record: RecordId,
        /// Which step.
        step: ActStep,
        /// How far it has come.
        outcome: StepOutcome,
    },
    /// A person locked deployments.
    Locked(Lock),
    /// A person unlocked them.
    Unlocked {
        /// Who.
        by: String,
    },
    /// A person asks for a rollback. No vote is held and no verdict needed.
    RollBackAsked {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// To what; `None`: to what would be put back anyway.
        to: Option<Release>,
    },
    /// Whether a rollback would be possible was looked into.
    Readiness(Readiness),
    /// The platform said how the replicas of what is live are.
    PlatformSaw(Sight),
    /// A probe saw the version of a database's schema.
    SchemaSeen {
        /// The probe.
        probe: Arc<str>,
        /// The version: any text that changes when the schema does.
        version: Arc<str>,
    },
    /// A watcher watches the deployment of this peer from now on, with what the store remembers.
    Following {
        /// One of its replicas.
        hello: Box<Hello>,
        /// All that is remembered.
        memory: Box<Memory>,
    },
}

/// An order to the world. Effects are performed in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Write the record, over an older one of the same id. It must be durable before the next effect is performed.
    Record(Record),
    /// Order the rollback. Performed only if the record before it became durable; otherwise answered with
    /// [`Input::RecordLost`].
    RollBack(Order),
    /// Ask the platform what is live, and answer with [`Input::PlatformAnswered`].
    AskPlatform {
        /// For which decision.
        record: RecordId,
        /// The release that is hoped for.
        target: Release,
    },
    /// Keep what a watch begins from, in place of nothing: its id is new.
    KeepWatch(Box<WatchStart>),
    /// Keep a fact of the watch.
    KeepFact(Box<KeptFact>),
    /// Keep this baseline in place of an older one of the same release.
    KeepBaseline(Box<Baseline>),
    /// Keep what is thought of a release.
    KeepRelease(ReleaseMemory),
    /// Keep the pause, or that there is none.
    KeepPause(Option<Pause>),
    /// From this age on an open request counts as slow.
    SetSlowMark(Duration),
    /// Tell peers.
    Tell {
        /// Whom.
        to: Audience,
        /// What.
        message: Message,
    },
    /// What this agent says of itself has changed.
    Introduce(Box<Hello>),
    /// A watcher is to watch this deployment from now on: what the store remembers is handed in with it as
    /// [`Input::Following`].
    Follow(Box<Hello>),
    /// Ask a peer for what it remembers; what comes is merged by the store and handed in as [`Input::Inherited`].
    AskMemory(Peer),
}
