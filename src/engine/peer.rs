//! The agents of other replicas: their names, what they say of themselves, and what they tell one another.
//!
//! Plain data. How it is written, sealed and carried is the `peers` limb's; what follows from it is decided in
//! `evidence`, `ballot` and `fleet`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::ballot::{Answer, Ask, Roster};
use crate::engine::evidence::{Seen, Share};
use crate::engine::policy::Mode;
use crate::engine::release::Release;
use crate::engine::time::Time;

/// One start of one agent: drawn at random, so that whoever starts again is somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u64);

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The platform's own name of one deployment of a release; off the platform the release's. 1 to 128 visible ASCII
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Deployment(Arc<str>);

impl Deployment {
    /// From its name; `None` when it is empty, too long, or holds anything but visible ASCII.
    pub fn new(name: &str) -> Option<Self> {
        Release::new(name).map(|_| Self(name.into()))
    }

    /// The deployment of a release that no platform named.
    pub fn of(release: &Release) -> Self {
        Self(release.as_str().into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An agent: a replica's name, and which of its starts. A replica has one vote however often it starts; what was granted
/// was granted to one start only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// The replica, as the platform names it. At most 128 characters.
    pub replica: Arc<str>,
    /// Its start.
    pub boot: Boot,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.replica)
    }
}

/// What an agent is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It runs beside an app.
    Replica,
    /// It runs beside none: it remembers, breaks ties, and may act for the others.
    Watcher,
}

impl Role {
    /// The name on the wire and on the page.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::Watcher => "watcher",
        }
    }
}

/// What an agent says of itself, when it is met and whenever it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Hello {
    /// Who.
    pub peer: Peer,
    /// What for.
    pub role: Role,
    /// The deployment that it belongs to; a watcher's is the one that it watches.
    pub deployment: Deployment,
    /// When the platform made that deployment, where it says so.
    pub created: Option<Time>,
    /// What runs.
    pub release: Release,
    /// When this agent started.
    pub booted: Time,
    /// The earliest start of an agent of this deployment that it knows of.
    pub generation_booted: Time,
    /// The deployment has served requests.
    pub has_been_open: bool,
    /// The app is ready now.
    pub is_ready: bool,
    /// The agent is about to end.
    pub is_leaving: bool,
    /// How much it may do.
    pub mode: Mode,
    /// A digest of its policy: agents of other thresholds may judge otherwise.
    pub policy: u64,
    /// A digest of the baseline that it judges by; zero: none.
    pub baseline: u64,
    /// It may call the platform: a token is there and it does not only rehearse.
    pub may_call: bool,
    /// Who may vote, as it knows it.
    pub roster: Roster,
}

/// What agents tell one another, all of it of the engine's concern.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// What a replica saw in one slot.
    Share(Arc<Share>),
    /// Which shares the sender has; whoever has more sends them.
    Seen(Vec<Seen>),
    /// A request for a vote.
    Ask(Ask),
    /// A vote.
    Answer(Answer),
}

/// Whom to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Everybody who is met.
    All,
    /// One.
    One(Peer),
}

/// What reaches the engine of its peers, with the time of the agent's own clock that no person can set.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerInput {
    /// How long the agent has run.
    pub uptime: Duration,
    /// What.
    pub event: PeerEvent,
}

/// What can happen with peers.
#[derive(Clone, Debug, PartialEq)]
pub enum PeerEvent {
    /// Time passed. The agent says so four times a second.
    Beat,
    /// A peer was met, or says something else of itself.
    Met(Box<Hello>),
    /// A peer can no longer be reached.
    Left(Peer),
    /// A peer said something. Only those that were met are listened to.
    Said {
        /// Who.
        from: Peer,
        /// What.
        message: Message,
    },
    /// This agent is about to end.
    Leaving,
    /// The platform says who may vote, or how many of them it reports down.
    Roster(Roster),
}
