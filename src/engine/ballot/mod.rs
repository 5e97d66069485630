//! The vote: which one of the agents may call the platform, and when.
//!
//! A majority of a fixed roster grants one start of one agent a lease, for one decision. Voters grant nobody else anything
//! until the lease, the longest call and what clocks may differ are over; the one who was elected calls only within its lease,
//! counted from before it asked, and only after it has read that the accused deployment is still what is live. Who started a
//! short while ago grants nothing, so nothing has to be durable.
//!
//! All times are of the agent's own clock since its start (`uptime`), which no person can set.

mod candidacy;
mod election;
mod electorate;
mod machine;
mod rank;
#[cfg(test)]
mod tests;
mod voter;

use std::time::Duration;

pub use crate::engine::ballot::machine::Ballot;
pub use crate::engine::ballot::rank::rank;
use crate::engine::peer::{Deployment, Peer};
use crate::engine::release::Release;

/// What is voted on: at most one effective action a key, ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The accused deployment. There is one kind of action: to roll it back.
    pub deployment: Deployment,
}

/// The time limits of the vote; the same on all agents of a deployment, as a part of the policy's digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// From when an agent begins to ask, so long may it begin a call.
    pub lease: Duration,
    /// The longest that a call may take to have its effect, from when it is begun.
    pub call: Duration,
    /// What clocks may differ by in the sum of these, and by what the platform's answers may lag behind, together.
    pub drift: Duration,
    /// The agent of the next rank begins so much later.
    pub stagger: Duration,
    /// An agent that was not heard of for longer than this by its own timer does not trust itself,
    pub gap: Duration,
    /// for so long.
    pub tilt: Duration,
    /// Elections that one agent stands in before a person must act.
    pub attempts: u8,
}

impl Limits {
    /// Whoever granted keeps to it for so long, and whoever started grants nothing for so long.
    pub fn lock(&self) -> Duration {
        self.lease + self.call + self.drift
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            call: Duration::from_secs(15),
            drift: Duration::from_secs(5),
            stagger: Duration::from_secs(2),
            gap: Duration::from_secs(2),
            tilt: Duration::from_secs(30),
            attempts: 5,
        }
    }
}

/// Who may vote: from the platform, or from the configuration where there is none to ask. Never from who is reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Roster {
    /// Its version; voters that know another refuse. From the configuration: zero.
    pub version: u64,
    /// The replicas of the accused deployment.
    pub replicas: u32,
    /// There is a watcher. It votes where the replicas are even in number.
    pub watcher: bool,
    /// Replicas that the platform itself reports down now. Once they have been down for as long as a grant binds they no
    /// longer count among those of whom a majority is needed.
    pub down: u32,
}

impl Roster {
    /// All votes there are.
    pub const fn votes(&self) -> u32 {
        let tie = self.watcher && self.replicas.is_multiple_of(2);
        self.replicas + tie as u32
    }

    /// The votes that are enough.
    pub const fn majority(&self) -> u32 {
        self.votes() / 2 + 1
    }

    /// The votes of living agents that are enough: a majority of the living. Together with those that are down they are a
    /// majority of all; but that alone would not do, for two agents may each find one with the same dead.
    pub const fn needed(&self) -> u32 {
        self.votes().saturating_sub(self.down) / 2 + 1
    }

    /// It is the same electorate; who is down now may differ.
    pub fn is_same_but_for_down(&self, other: &Self) -> bool {
        Self { down: other.down, ..*self } == *other
    }
}

/// A request for a vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    /// On what.
    pub key: Key,
    /// Higher than any epoch that the candidate has seen for this key.
    pub epoch: u64,
    /// What would be put back.
    pub target: Release,
    /// Who asks, and would call.
    pub candidate: Peer,
    /// The roster's version that the candidate goes by.
    pub roster: u64,
    /// The digest of the policy that it judged by.
    pub policy: u64,
    /// The digest of the baseline that it judged by.
    pub baseline: u64,
}

/// Why not: the voter's own evidence or knowledge speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Objection {
    /// Its evidence does not show the deployment to be degraded.
    NotDegraded,
    /// Something else than the deployment is to blame.
    NotBlamed,
    /// It would put another release back, or none.
    Target,
    /// The deployment is no longer the one that runs beside it.
    NotCurrent,
    /// A person paused acting.
    Paused,
    /// It knows of an act on this deployment, or one that is under way, or the rest after one.
    ActedBefore,
    /// Its mode does not let it act.
    Mode,
    /// Another reason of its own policy.
    Policy,
    /// It judges by another policy.
    OtherPolicy,
    /// It judges by another baseline.
    OtherBaseline,
    /// It knows another roster.
    OtherRoster,
    /// It granted somebody else, and that has not run out.
    Granted,
    /// It has seen a higher epoch.
    Stale,
}

/// Why neither yes nor no: the voter does not trust itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Abstention {
    /// It started a short while ago.
    Quiet,
    /// Its own timer stood still a short while ago.
    Tilt,
    /// It has no vote: it is no replica of that deployment, or a watcher where the replicas are odd in number.
    NoVote,
    /// It has seen too little.
    WarmingUp,
    /// It cannot write down what happens.
    NotDurable,
}

/// A voter's opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opinion {
    /// It agrees, from its own computation.
    Yes,
    /// It does not.
    No(Objection),
    /// It does not say.
    Abstain(Abstention),
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Answer {
    /// On what.
    pub key: Key,
    /// In which epoch.
    pub epoch: u64,
    /// Whom it is for.
    pub candidate: Peer,
    /// Who votes.
    pub voter: Peer,
    /// How.
    pub opinion: Opinion,
    /// The highest epoch that the voter has seen for this key.
    pub seen: u64,
}

/// The proof that an agent was elected.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// What was asked.
    pub ask: Ask,
    /// Who said yes, ascending, itself among them if it has a vote.
    pub voters: Vec<Peer>,
    /// Who may vote.
    pub roster: Roster,
    /// When it began to ask, by its own clock since its start.
    pub began: Duration,
    /// Until when it may begin to call, by the same clock.
    pub expires: Duration,
}

/// What an agent stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Motion {
    /// On what.
    pub key: Key,
    /// What would be put back.
    pub target: Release,
    /// See [`Ask::policy`].
    pub policy: u64,
    /// See [`Ask::baseline`].
    pub baseline: u64,
    /// Its place among those that may call, from 0: it begins `rank` times [`Limits::stagger`] later.
    pub rank: u32,
}

/// What the vote orders or says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    /// Ask everybody. Said again each half second until enough have agreed: a vote may get lost, and a no may become a yes.
    Ask(Ask),
    /// This agent was elected.
    Elected(Certificate),
    /// It was not, as often as it may try; a person must act. It is tried again when the motion is made anew.
    GaveUp {
        /// The votes for it in the last election.
        yes: u32,
    },
}

/// How the vote stands, for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BallotView {
    /// The election that this agent stands in.
    pub standing: Option<Standing>,
    /// What it granted, and how long that still binds it.
    pub granted: Option<(Ask, Duration)>,
    /// For so long it does not trust itself, because its timer stood still.
    pub tilt: Option<Duration>,
    /// For so long it grants nothing, because it started a short while ago.
    pub quiet: Option<Duration>,
}

/// An election under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it asks; `None` while others come first.
    pub ask: Option<Ask>,
    /// Elections so far.
    pub attempt: u8,
    /// Who answered, and how.
    pub answers: Vec<(Peer, Opinion)>,
    /// Votes that are needed.
    pub needed: u32,
}
