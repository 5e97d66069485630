//! What agents say of themselves, as documents.

use serde::{Deserialize, Serialize};

use crate::engine::ballot::Roster;
use crate::engine::peer::{Boot, Deployment, Hello, Peer, Role};
use crate::engine::policy::Mode;
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::pack::Damaged;
use crate::peers::wire::document::{figure, hex};
use crate::peers::wire::{Introduction, LISTENS_MAX, parse_addresses};

/// The longest name of a replica, in bytes.
const REPLICA_MAX: usize = 512;
/// The longest version of Outrigger, in bytes; the rest is left out.
const VERSION_MAX: usize = 64;
/// The most replicas that a roster names: ten times what an option can say.
const REPLICAS_MAX: u32 = 10_000;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PeerDocument {
    replica: String,
    #[serde(with = "hex")]
    boot: u64,
}

impl PeerDocument {
    pub(super) fn of(peer: &Peer) -> Self {
        Self { replica: peer.replica.as_ref().to_owned(), boot: peer.boot.0 }
    }

    pub(super) fn parse(self) -> Result<Peer, Damaged> {
        peer(&self.replica, self.boot)
    }
}

pub(super) fn peer(replica: &str, boot: u64) -> Result<Peer, Damaged> {
    if replica.is_empty() || replica.len() > REPLICA_MAX || replica.chars().any(char::is_control) {
        return Err(Damaged("not the name of a replica"));
    }
    Ok(Peer { replica: replica.into(), boot: Boot(boot) })
}

pub(super) fn deployment(name: &str) -> Result<Deployment, Damaged> {
    Deployment::new(name).ok_or(Damaged("not the name of a deployment"))
}

pub(super) fn release(name: &str) -> Result<Release, Damaged> {
    Release::new(name).ok_or(Damaged("not the name of a release"))
}

fn time(millis: u64) -> Result<Time, Damaged> {
    figure(millis).map(Time::from_millis)
}

#[derive(Serialize, Deserialize)]
pub(super) struct IntroductionDocument {
    hello: HelloDocument,
    #[serde(default)]
    version: String,
    #[serde(default)]
    listens: Vec<String>,
}

impl IntroductionDocument {
    pub(super) fn of(it: &Introduction) -> Self {
        Self {
            hello: HelloDocument::of(&it.hello),
            version: it.version.clone(),
            listens: it.listens.iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) fn parse(self) -> Result<Introduction, Damaged> {
        let version = self.version.chars().filter(char::is_ascii_graphic).take(VERSION_MAX).collect();
        Ok(Introduction {
            hello: self.hello.parse()?,
            version,
            listens: parse_addresses(&self.listens, LISTENS_MAX),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct HelloDocument {
    peer: PeerDocument,
    role: String,
    deployment: String,
    created_ms: Option<u64>,
    release: String,
    booted_ms: u64,
    generation_booted_ms: u64,
    has_been_open: bool,
    is_ready: bool,
    #[serde(default)]
    is_leaving: bool,
    mode: String,
    #[serde(with = "hex")]
    policy: u64,
    #[serde(with = "hex")]
    baseline: u64,
    may_call: bool,
    roster: RosterDocument,
}

#[derive(Serialize, Deserialize)]
struct RosterDocument {
    #[serde(with = "hex")]
    version: u64,
    replicas: u32,
    watcher: bool,
    #[serde(default)]
    down: u32,
}

impl HelloDocument {
    fn of(hello: &Hello) -> Self {
        let Roster { version, replicas, watcher, down } = hello.roster;
        Self {
            peer: PeerDocument::of(&hello.peer),
            role: hello.role.label().to_owned(),
            deployment: hello.deployment.as_str().to_owned(),
            created_ms: hello.created.map(Time::as_millis),
            release: hello.release.as_str().to_owned(),
            booted_ms: hello.booted.as_millis(),
            generation_booted_ms: hello.generation_booted.as_millis(),
            has_been_open: hello.has_been_open,
            is_ready: hello.is_ready,
            is_leaving: hello.is_leaving,
            mode: hello.mode.label().to_owned(),
            policy: hello.policy,
            baseline: hello.baseline,
            may_call: hello.may_call,
            roster: RosterDocument { version, replicas, watcher, down },
        }
    }

    fn parse(self) -> Result<Hello, Damaged> {
        let roles = [Role::Replica, Role::Watcher];
        let role = roles.into_iter().find(|role| role.label() == self.role);
        let modes = [Mode::Observe, Mode::Recommend, Mode::Enforce];
        let mode = modes.into_iter().find(|mode| mode.label() == self.mode);
        let RosterDocument { version, replicas, watcher, down } = self.roster;
        if replicas > REPLICAS_MAX || down > REPLICAS_MAX {
            return Err(Damaged("a roster beyond all bounds"));
        }
        Ok(Hello {
            peer: self.peer.parse()?,
            role: role.ok_or(Damaged("an unknown role"))?,
            deployment: deployment(&self.deployment)?,
            created: self.created_ms.map(time).transpose()?,
            release: release(&self.release)?,
            booted: time(self.booted_ms)?,
            generation_booted: time(self.generation_booted_ms)?,
            has_been_open: self.has_been_open,
            is_ready: self.is_ready,
            is_leaving: self.is_leaving,
            mode: mode.ok_or(Damaged("an unknown mode"))?,
            policy: self.policy,
            baseline: self.baseline,
            may_call: self.may_call,
            roster: Roster { version, replicas, watcher, down },
        })
    }
}
