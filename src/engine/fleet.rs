//! What one agent knows of the others: who is met, what they saw, and its own part in the vote.
//!
//! It holds what `joined` decides by; it decides nothing itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::ballot::{Ballot, BallotView, Certificate, Key, Limits, Roster};
use crate::engine::evidence::{Ledger, Slot};
use crate::engine::memory::OpenDecision;
use crate::engine::peer::{Deployment, Hello, Peer, Role};
use crate::engine::policy::Policy;
use crate::engine::record::{Progress, Reason};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::trial::Trial;

/// Peers that are remembered; the limb meets no more.
const PEERS_MAX: usize = 256;
/// An agent that is younger asks others for what they remember when it meets them.
const NEWCOMER: Duration = Duration::from_secs(60);
/// Whom a newcomer asks at most: of its own deployment, and of others.
const ASKED_MAX: usize = 3;

/// How an agent takes part.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetSetup {
    /// Who it is.
    pub me: Peer,
    /// What for.
    pub role: Role,
    /// The deployment that it belongs to, or watches.
    pub deployment: Deployment,
    /// When the platform made that, where it says so.
    pub created: Option<Time>,
    /// When the agent started.
    pub booted: Time,
    /// It may call the platform.
    pub may_call: bool,
    /// Its platform only rehearses: where nobody may call, it stands for election all the same.
    pub rehearses: bool,
    /// Who may vote.
    pub roster: Roster,
    /// The time limits of the vote.
    pub limits: Limits,
}

/// The fleet as one agent sees it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fleet {
    pub(crate) setup: FleetSetup,
    /// A digest of all that the agents of a deployment must have in common to vote.
    pub(crate) policy: u64,
    pub(crate) uptime: Duration,
    pub(crate) members: BTreeMap<Peer, Hello>,
    pub(crate) ledger: Ledger,
    /// The trial as far as nothing can change it any more.
    pub(crate) settled: Trial,
    /// The last slot that is in it.
    pub(crate) settled_through: Option<Slot>,
    /// The last slot that was weighed.
    pub(crate) weighed: Option<Slot>,
    /// The slot in which this agent joined.
    pub(crate) joined: Slot,
    /// Rounds that were weighed and are not settled.
    pub(crate) ahead: u32,
    /// A share came late: what is not settled is to be weighed again.
    pub(crate) is_stale: bool,
    pub(crate) ballot: Ballot,
    pub(crate) elected: Option<Elected>,
    pub(crate) elsewhere: Option<Elsewhere>,
    /// When the app beside this agent became ready.
    pub(crate) ready_at: Option<Time>,
    /// Its crashes since the last share.
    pub(crate) crashed: u64,
    pub(crate) has_been_open: bool,
    pub(crate) generation_booted: Time,
    pub(crate) introduced: Option<Hello>,
    /// Whom this agent asked for what they remember, and for which baseline.
    pub(crate) asked: BTreeSet<(Peer, u64)>,
    /// Who could no longer be reached.
    pub(crate) lost: BTreeSet<Peer>,
    /// This agent is about to end.
    pub(crate) is_leaving: bool,
    /// When it asks again for a baseline, if it has none.
    pub(crate) ask_again_at: Duration,
    /// When it last said which shares it has.
    pub(crate) said_seen: Duration,
    pub(crate) gave_up: Option<u32>,
    /// A watcher has been told to watch this deployment next.
    pub(crate) following: Option<Deployment>,
}

/// This agent was elected and waits for the platform to say what is live.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Elected {
    pub(crate) record: RecordId,
    pub(crate) certificate: Certificate,
}

/// Another agent's decision on the same deployment, not known to have come to its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Elsewhere {
    pub(crate) decision: OpenDecision,
    /// Until then its call may still be under way.
    pub(crate) until: Duration,
}

impl Elsewhere {
    /// Whether another agent may decide anew: the order may never have been given, and can no longer be under way. One that the
    /// platform took is never given again.
    pub(crate) fn may_be_decided_anew(&self, uptime: Duration) -> bool {
        match self.decision.decided.progress {
            Progress::Intended => uptime >= self.until,
            Progress::Accepted { .. }
            | Progress::NothingToDo
            | Progress::Succeeded { .. }
            | Progress::DryRun { .. }
            | Progress::Failed { .. }
            | Progress::Interrupted { .. } => false,
        }
    }

    /// Who gave the order, or was about to.
    pub(crate) fn by(&self) -> Option<&Peer> {
        self.decision.decided.certificate.as_ref().map(|certificate| &certificate.ask.candidate)
    }
}

/// What people see of the fleet, with what the limb knows of it.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetView {
    /// Who this agent is.
    pub me: Peer,
    /// What for.
    pub role: Role,
    /// The deployment.
    pub deployment: Deployment,
    /// Who may vote.
    pub roster: Roster,
    /// This agent may call the platform.
    pub may_call: bool,
    /// Of its own deployment: who could vote now, this agent among them.
    pub voters: Vec<Peer>,
    /// Who could call the platform now, this agent among them.
    pub callers: Vec<Peer>,
    /// How the vote stands.
    pub ballot: BallotView,
    /// Who shared what it saw in the slot that was weighed last, and that slot's end.
    pub shared: Option<(Time, Vec<Peer>)>,
    /// Shares that came too late, or from a clock that is ahead.
    pub refused_shares: u64,
    /// Replicas of its deployment that are met, without this agent.
    pub met_of_own: usize,
    /// The stable release that runs beside.
    pub control: Option<Deployment>,
}

impl Fleet {
    pub(crate) fn new(now: Time, setup: FleetSetup, settled: Trial, policy: &Policy) -> Self {
        Self {
            policy: digest(format!("{policy:?} {:?}", setup.limits).bytes()),
            uptime: Duration::ZERO,
            members: BTreeMap::new(),
            ledger: Ledger::default(),
            settled,
            settled_through: None,
            weighed: None,
            joined: Slot::of(now),
            ahead: 0,
            is_stale: false,
            ballot: Ballot::new(setup.me.clone(), setup.limits),
            elected: None,
            elsewhere: None,
            ready_at: None,
            crashed: 0,
            has_been_open: false,
            generation_booted: setup.booted,
            introduced: None,
            asked: BTreeSet::new(),
            lost: BTreeSet::new(),
            is_leaving: false,
            ask_again_at: Duration::from_secs(10),
            said_seen: Duration::ZERO,
            gave_up: None,
            following: None,
            setup,
        }
    }

    /// What this agent says of itself.
    pub(crate) fn hello(&self, release: &Release, policy: &Policy, baseline: u64) -> Hello {
        let FleetSetup { me, role, deployment, created, booted, may_call, roster, .. } = &self.setup;
        Hello {
            peer: me.clone(),
            role: *role,
            deployment: deployment.clone(),
            created: *created,
            release: release.clone(),
            booted: *booted,
            generation_booted: self.generation_booted,
            has_been_open: self.has_been_open,
            is_ready: self.ready_at.is_some(),
            is_leaving: self.is_leaving,
            mode: policy.mode,
            policy: self.policy,
            baseline,
            may_call: *may_call,
            roster: *roster,
        }
    }

    /// Takes note of a peer.
    pub(crate) fn met(&mut self, hello: Hello) {
        if hello.peer.replica == self.setup.me.replica && hello.peer.boot == self.setup.me.boot {
            return;
        }
        if hello.deployment == self.setup.deployment {
            self.generation_booted = self.generation_booted.min(hello.generation_booted);
            self.has_been_open |= hello.has_been_open;
            self.setup.created = self.setup.created.or(hello.created);
        }
        if self.members.len() < PEERS_MAX || self.members.contains_key(&hello.peer) {
            self.members.insert(hello.peer.clone(), hello);
        }
    }

    /// Whether to ask this peer for what it remembers: a newcomer asks some, and a watcher and whoever meets one ask each
    /// other. Once for each baseline that the peer judges by.
    pub(crate) fn wants_memory_of(&mut self, hello: &Hello, own_baseline: u64, may_change: bool) -> bool {
        let is_sibling = hello.deployment == self.setup.deployment && hello.role == Role::Replica;
        let is_new = self.uptime < NEWCOMER;
        let of_its_kind = self.asked.iter().filter(|(peer, _)| {
            self.members.get(peer).is_some_and(|m| (m.deployment == self.setup.deployment) == is_sibling)
        });
        let is_among_the_first = is_new && of_its_kind.count() < ASKED_MAX;
        let other_baseline =
            is_sibling && may_change && hello.baseline != 0 && hello.baseline != own_baseline;
        let watches = hello.role == Role::Watcher || self.setup.role == Role::Watcher;
        let was_lost = self.lost.remove(&hello.peer);
        let key = (hello.peer.clone(), if other_baseline { hello.baseline } else { 0 });
        if !(is_among_the_first || other_baseline || watches || was_lost) || self.asked.contains(&key) {
            return false;
        }
        if self.asked.len() >= PEERS_MAX {
            self.asked.clear();
        }
        self.asked.insert(key)
    }

    /// The deployment that is live, as far as replicas say: of those that have been open the one made last; where none has
    /// been, the one made last.
    pub(crate) fn live(&self) -> Option<&Hello> {
        let replicas = || self.members.values().filter(|m| m.role == Role::Replica && !m.is_leaving);
        // A replica that started anew may not know how old its deployment is, or that it was open.
        let of = |deployment: &Deployment| {
            let its = || replicas().filter(|m| m.deployment == *deployment);
            let born = its().map(|m| m.created.unwrap_or(m.generation_booted)).min();
            (its().any(|m| m.has_been_open), born)
        };
        replicas().max_by_key(|m| (of(&m.deployment), m.deployment.clone()))
    }

    /// Another deployment is watched from now on.
    pub(crate) fn follow(&mut self, now: Time, hello: &Hello, settled: Trial) {
        self.setup.deployment = hello.deployment.clone();
        self.setup.created = hello.created;
        self.generation_booted = hello.generation_booted;
        self.has_been_open = hello.has_been_open;
        self.settled = settled;
        self.settled_through = None;
        self.weighed = None;
        self.joined = Slot::of(now);
        self.ahead = 0;
        self.is_stale = false;
        self.elected = None;
        self.elsewhere = None;
        self.gave_up = None;
        self.following = None;
    }

    /// Whether the app is ready: the one beside this agent, or any that a watcher watches.
    pub(crate) fn is_ready(&self) -> bool {
        match self.setup.role {
            Role::Replica => self.ready_at.is_some(),
            Role::Watcher => self.siblings().any(|m| m.is_ready),
        }
    }

    /// Replicas of the same deployment, without this agent.
    pub(crate) fn siblings(&self) -> impl Iterator<Item = &Hello> {
        let own = &self.setup.deployment;
        self.members.values().filter(move |m| m.deployment == *own && m.role == Role::Replica)
    }

    /// Whether all that is expected of a slot is there.
    pub(crate) fn is_complete(&self, slot: Slot) -> bool {
        let own = self.setup.role == Role::Watcher || self.ledger.has(slot, &self.setup.me);
        own && self.siblings().all(|m| m.is_leaving || self.ledger.has(slot, &m.peer))
    }

    /// The deployment that is stable beside this one: of another release, open, and made before it.
    pub(crate) fn control(&self, release: &Release) -> Option<Deployment> {
        let own = self.setup.created.unwrap_or(self.generation_booted);
        let age = |m: &&Hello| m.created.unwrap_or(m.generation_booted);
        let stable = self
            .members
            .values()
            .filter(|m| m.role == Role::Replica && m.release != *release && m.has_been_open && age(m) < own);
        stable.max_by_key(|m| (age(m), m.deployment.clone())).map(|m| m.deployment.clone())
    }

    /// More agents with a vote are met than the roster says; how many.
    pub(crate) fn overfull(&self) -> Option<u32> {
        let met = u32::try_from(self.voters().len()).unwrap_or(u32::MAX);
        (met > self.setup.roster.votes()).then_some(met)
    }

    /// What speaks against any act of this fleet.
    pub(crate) fn against(&self, release: &Release) -> Option<Reason> {
        if let Some(met) = self.overfull() {
            return Some(Reason::TooManyVoters { met, votes: self.setup.roster.votes() });
        }
        self.is_superseded(release).then(|| Reason::NoLongerLive { live: release.clone() })
    }

    /// A later deployment of the same release is met: what is live is no longer this one.
    pub(crate) fn is_superseded(&self, release: &Release) -> bool {
        let born = self.setup.created.unwrap_or(self.generation_booted);
        self.members.values().any(|m| {
            m.role == Role::Replica
                && m.release == *release
                && m.deployment != self.setup.deployment
                && m.created.unwrap_or(m.generation_booted) > born
        })
    }

    /// Another agent has decided, and this one has nothing to decide as long as that may be under way.
    pub(crate) fn is_decided_elsewhere(&self) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| !elsewhere.may_be_decided_anew(self.uptime))
    }

    /// That decision will be followed to its end: its call may still be under way, or somebody is there who can see to it.
    pub(crate) fn is_seen_to_elsewhere(&self) -> bool {
        let is_there = |elsewhere: &Elsewhere| {
            self.uptime < elsewhere.until
                || elsewhere.by().is_some_and(|by| self.members.contains_key(by))
                || self.setup.rehearses
                || !self.callers().is_empty()
        };
        self.is_decided_elsewhere() && self.elsewhere.as_ref().is_some_and(is_there)
    }

    /// Whether this agent has a vote.
    pub(crate) fn has_vote(&self) -> bool {
        match self.setup.role {
            Role::Replica => true,
            Role::Watcher => self.setup.roster.watcher && self.setup.roster.replicas.is_multiple_of(2),
        }
    }

    pub(crate) fn key(&self) -> Key {
        Key { deployment: self.setup.deployment.clone() }
    }

    /// Those that may call the platform in this matter and are met, this agent among them if it may.
    pub(crate) fn callers(&self) -> Vec<Peer> {
        let own = &self.setup.deployment;
        let others = self.members.values().filter(|m| m.may_call && !m.is_leaving);
        let others = others.filter(|m| m.role == Role::Watcher || m.deployment == *own);
        let me = self.setup.may_call.then(|| self.setup.me.clone());
        others.map(|m| m.peer.clone()).chain(me).collect()
    }

    /// Those that stand for election, this agent among them; empty where it does not.
    pub(crate) fn candidates(&self) -> Vec<Peer> {
        let callers = self.callers();
        match (callers.is_empty(), self.setup.may_call, self.setup.rehearses) {
            (false, true, _) => callers,
            (true, _, true) => self.voters(),
            (true | false, ..) => Vec::new(),
        }
    }

    /// Those that have a vote and are met, one a replica.
    fn voters(&self) -> Vec<Peer> {
        let ties = self.setup.roster.watcher && self.setup.roster.replicas.is_multiple_of(2);
        let own = &self.setup.deployment;
        let others = self.members.values().filter(|m| match m.role {
            Role::Replica => m.deployment == *own,
            Role::Watcher => ties,
        });
        let me = self.has_vote().then(|| self.setup.me.clone());
        let mut voters: Vec<Peer> = others.map(|m| m.peer.clone()).chain(me).collect();
        voters.sort();
        voters.dedup_by(|a, b| a.replica == b.replica);
        voters
    }

    pub(crate) fn view(&self, release: &Release) -> FleetView {
        let shared =
            self.weighed.map(|slot| (slot.end(), self.ledger.sharers(slot).cloned().collect::<Vec<_>>()));
        FleetView {
            me: self.setup.me.clone(),
            role: self.setup.role,
            deployment: self.setup.deployment.clone(),
            roster: self.setup.roster,
            may_call: self.setup.may_call,
            voters: self.voters(),
            callers: self.callers(),
            ballot: self.ballot.view(self.uptime),
            shared,
            refused_shares: self.ledger.refused(),
            met_of_own: self.siblings().count(),
            control: self.control(release),
        }
    }
}

/// The words of a lost election.
pub(crate) fn not_elected(yes: u32, roster: &Roster) -> Reason {
    Reason::NotElected { yes, needed: roster.needed() }
}

/// FNV-1a, 64 bits: equal on all agents, and no secret is in it. Never zero, which means none.
pub(crate) fn digest(bytes: impl Iterator<Item = u8>) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    hash.max(1)
}
