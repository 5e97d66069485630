//! One start of one agent: the real engine, a clock of its own, and what the shell around it holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::ballot::{Limits, Roster};
use outrigger::engine::fleet::FleetSetup;
use outrigger::engine::memory::Memory;
use outrigger::engine::peer::{Deployment, Hello, Peer, PeerEvent, PeerInput, Role};
use outrigger::engine::policy::Policy;
use outrigger::engine::record::{Order, Record};
use outrigger::engine::release::{RecordId, Release};
use outrigger::engine::time::Time;
use outrigger::engine::{Effect, Engine, Identity, Input};
use outrigger::peers::envelope::{Keys, Open, Seal};

use crate::disk::Disk;
use crate::network::Host;
use crate::plan::DiskMood;
use crate::platform::DeploymentId;

/// An agent's place in the list of all that ever started.
pub(crate) type AgentId = usize;

/// The wall clock's time at which every fleet begins.
pub(crate) const EPOCH: Time = Time::from_millis(1_800_000_000_000);

/// How an agent's clock differs from the true time, which is milliseconds since the fleet began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) booted: u64,
    /// So many millionths too fast.
    pub(crate) fast: i64,
    /// What its wall clock said at its start.
    pub(crate) wall: Time,
}

impl Clock {
    /// How long it has run, by itself.
    pub(crate) fn uptime(&self, now: u64) -> Duration {
        let true_us = (now - self.booted) as i64 * 1_000;
        Duration::from_micros((true_us + true_us / 1_000 * self.fast / 1_000) as u64)
    }

    pub(crate) fn wall(&self, now: u64) -> Time {
        self.wall + self.uptime(now)
    }

    /// How long so much of its own time takes.
    pub(crate) fn lasts(&self, own_ms: u64) -> u64 {
        ((own_ms as i64 * 1_000_000) / (1_000_000 + self.fast)).max(1) as u64
    }
}

/// What reaches an agent's loop.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a simulation may copy")]
pub(crate) enum Work {
    Beat,
    Seal,
    Ready,
    AppEnded,
    Met(Box<Hello>),
    Left(Peer),
    /// An envelope.
    Sealed(Arc<[u8]>),
    Roster(Roster),
    Input(Input),
    AskedMemory(AgentId),
    Memory(Arc<Disk>),
}

/// An intent that is being written, and what comes after it.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) record: Box<Record>,
    pub(crate) order: Order,
    pub(crate) rest: VecDeque<Effect>,
    /// It will be durable, and in time.
    pub(crate) in_time: bool,
}

pub(crate) struct Agent {
    pub(crate) peer: Peer,
    pub(crate) role: Role,
    pub(crate) host: Host,
    pub(crate) deployment: DeploymentId,
    pub(crate) release: Release,
    pub(crate) may_call: bool,
    pub(crate) clock: Clock,
    pub(crate) engine: Engine,
    pub(crate) seal: Seal,
    pub(crate) open: Open,
    pub(crate) disk: Disk,
    pub(crate) disk_mood: DiskMood,
    pub(crate) alive: bool,
    /// Its deployment is being replaced.
    pub(crate) draining: bool,
    /// Stopped from outside.
    pub(crate) frozen: bool,
    /// It waits for its disk.
    pub(crate) writing: Option<Writing>,
    /// What came meanwhile.
    pub(crate) backlog: VecDeque<Work>,
    pub(crate) ready_at: Option<u64>,
    pub(crate) sealed: u64,
    pub(crate) asking: bool,
    pub(crate) ordering: bool,
    pub(crate) hello: Option<Box<Hello>>,
    /// Whom its limb has met, and when it last heard of them.
    pub(crate) met: BTreeMap<AgentId, u64>,
    /// When it last ran.
    pub(crate) ran: u64,
    /// It dies after so many more effects, and is back after so long.
    pub(crate) dies_after: Option<(u64, Option<u64>)>,
}

/// What an agent is started with.
pub(crate) struct Start {
    pub(crate) peer: Peer,
    pub(crate) role: Role,
    pub(crate) host: Host,
    pub(crate) deployment: DeploymentId,
    pub(crate) named: Deployment,
    pub(crate) release: Release,
    pub(crate) created: Option<Time>,
    pub(crate) may_call: bool,
    pub(crate) roster: Roster,
    pub(crate) clock: Clock,
    pub(crate) policy: Policy,
    pub(crate) disk: Disk,
    pub(crate) keys: Keys,
}

impl Agent {
    /// Starts it, and says what is to be done first.
    pub(crate) fn start(with: Start) -> (Self, Vec<Effect>) {
        let Start { peer, role, host, deployment, named, release, created, may_call, roster, clock, .. } =
            with;
        let now = clock.wall;
        let identity = Identity { release: release.clone(), boot: peer.boot.0 as u16 };
        let memory: Memory = with.disk.memory();
        let (mut engine, mut effects) = Engine::start(now, identity, with.policy, memory);
        if role == Role::Watcher {
            // What was open is taken up when a deployment is met.
            effects.clear();
        }
        effects.extend(engine.join(
            now,
            FleetSetup {
                me: peer.clone(),
                role,
                deployment: named,
                created,
                booted: now,
                may_call,
                rehearses: false,
                roster,
                limits: Limits::default(),
            },
        ));
        let booted = clock.booted;
        let (seal, open) = (Seal::new(with.keys.clone(), peer.clone()), Open::new(with.keys, peer.boot));
        let agent = Self {
            seal,
            open,
            peer,
            role,
            host,
            deployment,
            release,
            may_call,
            clock,
            engine,
            disk: with.disk,
            disk_mood: DiskMood::Well,
            alive: true,
            draining: false,
            frozen: false,
            writing: None,
            backlog: VecDeque::new(),
            ready_at: None,
            sealed: booted,
            asking: false,
            ordering: false,
            hello: None,
            met: BTreeMap::new(),
            ran: booted,
            dies_after: None,
        };
        (agent, effects)
    }

    pub(crate) fn uptime(&self, now: u64) -> Duration {
        self.clock.uptime(now)
    }

    /// It is held up and takes nothing.
    pub(crate) const fn is_held(&self) -> bool {
        self.frozen || self.writing.is_some()
    }

    pub(crate) fn step(&mut self, now: u64, input: Input) -> Vec<Effect> {
        self.engine.step(self.clock.wall(now), input)
    }

    pub(crate) fn peer_step(&mut self, now: u64, uptime: Duration, event: PeerEvent) -> Vec<Effect> {
        self.step(now, Input::Peer(Box::new(PeerInput { uptime, event })))
    }
}

/// A record that is lost.
pub(crate) const fn lost(record: RecordId) -> Input {
    Input::RecordLost { record }
}
