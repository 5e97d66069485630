//! How deployments, places and agents come and go.

use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::ballot::Roster;
use outrigger::engine::peer::{Boot, Deployment, Peer, Role};
use outrigger::engine::release::Release;
use outrigger::engine::time::Time;

use crate::agent::{Agent, AgentId, Clock, EPOCH, Start, Work};
use crate::network::Host;
use crate::platform::{Deployed, DeploymentId};
use crate::world::{Event, KEYS, KNOWN_GOOD, Place, World, policy};

impl World {
    /// A person deploys, or Outrigger has a former release deployed.
    pub(crate) fn deploy(&mut self, release: &str, is_bad: bool, by_us: bool, replicas: u32) -> DeploymentId {
        let id = self.platform.deployments.len();
        self.platform.deployments.push(Deployed {
            name: format!("d{id}-{release}"),
            release: release.to_owned(),
            created: self.now,
            hosts: Vec::new(),
            by_us,
            is_bad,
            live_at: None,
            is_over: false,
            roster: 1,
        });
        self.say(|w| format!("deployment {} is made, bad: {is_bad}", w.platform.deployments[id].name));
        for _ in 0..replicas {
            self.add_place(id);
        }
        let ready = self.chance.between(2_500, 6_500);
        self.after(if id == 0 { 1 } else { ready }, Event::Live(id));
        id
    }

    pub(crate) fn add_place(&mut self, id: DeploymentId) {
        let index = self.platform.deployments[id].hosts.len();
        let (offset, fast) = (self.offset(), self.fast());
        let may_call = if !self.plan.one_token { true } else { !self.plan.watcher && index == 0 };
        let host = self.places.len();
        self.places.push(Place {
            name: format!("d{id}r{index}").into(),
            role: Role::Replica,
            deployment: id,
            agent: None,
            disk: (id == 0).then(|| KNOWN_GOOD.clone()),
            may_call,
            has_other_key: self.plan.stranger == Some(index) && id > 0,
            is_foreign: self.plan.foreigner == Some(index) && id > 0,
            is_gone: false,
            offset,
            fast,
        });
        self.platform.deployments[id].hosts.push(host);
        let delay = self.chance.between(300, 2_000);
        self.after(if id == 0 { 1 } else { delay }, Event::Boot(host));
    }

    pub(super) fn offset(&mut self) -> i64 {
        self.chance.between(0, 2 * self.plan.offsets) as i64 - self.plan.offsets as i64
    }

    pub(super) fn fast(&mut self) -> i64 {
        self.chance.between(0, 2 * self.plan.rates) as i64 - self.plan.rates as i64
    }

    /// What may be known of who votes on a deployment.
    pub(crate) fn roster(&self, id: DeploymentId) -> Roster {
        if !self.plan.rosters {
            return Roster { version: 0, replicas: self.plan.replicas, watcher: self.plan.watcher, down: 0 };
        }
        let of = &self.platform.deployments[id];
        let down = of.hosts.iter().filter(|&&host| self.places[host].agent.is_none()).count();
        Roster {
            version: of.roster,
            replicas: of.hosts.len() as u32,
            watcher: self.plan.watcher,
            down: down as u32,
        }
    }

    pub(super) fn boot(&mut self, host: Host) {
        let place = &self.places[host];
        if place.is_gone || place.agent.is_some() {
            return;
        }
        let id = self.agents.len();
        let (deployment, role, replica) = (place.deployment, place.role, Arc::clone(&place.name));
        let (may_call, offset, fast) = (place.may_call, place.offset, place.fast);
        let has_other_key = place.has_other_key;
        let disk = place.disk.clone().unwrap_or_default();
        let of = &self.platform.deployments[deployment];
        let (named, release) = match role {
            Role::Replica => (of.name.as_str(), of.release.as_str()),
            Role::Watcher => ("none-met", "none-met"),
        };
        let named = Deployment::new(named).expect("a well-formed name");
        let release = Release::new(release).expect("a well-formed name");
        let created = self.plan.rosters.then(|| EPOCH + Duration::from_millis(of.created));
        let wall = Time::from_millis((EPOCH.as_millis() + self.now).saturating_add_signed(offset));
        let number = self.chance.next();
        let (agent, effects) = Agent::start(Start {
            peer: Peer { replica, boot: Boot(number) },
            role,
            host,
            deployment,
            named,
            release,
            created,
            may_call,
            roster: self.roster(deployment),
            clock: Clock { booted: self.now, fast, wall },
            policy: policy(self.plan.replicas),
            disk,
            keys: if has_other_key { KEYS.1.clone() } else { KEYS.0.clone() },
        });
        self.agents.push(agent);
        self.places[host].agent = Some(id);
        self.say(|w| format!("{} starts", w.name(id)));
        self.witness.booted(id, self.now);
        self.perform(id, effects.into());
        self.start_timers(id);
    }

    pub(super) fn start_timers(&mut self, id: AgentId) {
        let (beat, seal) = (self.chance.below(250), self.chance.below(1_000));
        self.after(beat, Event::BeatTimer(id));
        self.after(1_000 + seal % 50, Event::SealTimer(id));
        if self.agents[id].role == Role::Replica {
            let ready = self.chance.between(500, 2_500);
            self.after(ready, Event::Work(id, Work::Ready));
        }
        if self.plan.rosters {
            let first = self.chance.below(1_000);
            self.after(first, Event::PollRoster(id));
        }
    }

    pub(crate) fn name(&self, id: AgentId) -> String {
        let agent = &self.agents[id];
        format!("{}#{id}", agent.peer.replica)
    }

    pub(crate) fn agent_of(&self, peer: &Peer) -> Option<AgentId> {
        self.agents.iter().position(|agent| agent.peer == *peer)
    }

    /// An agent ends, with whatever it was doing.
    pub(crate) fn die(&mut self, id: AgentId, back: Option<u64>) {
        if !std::mem::replace(&mut self.agents[id].alive, false) {
            return;
        }
        let host = self.agents[id].host;
        self.say(|w| format!("{} dies, back after {back:?}", w.name(id)));
        let agent = &mut self.agents[id];
        agent.backlog.clear();
        agent.writing = None;
        let outlives = self.plan.volumes || self.places[host].role == Role::Watcher;
        let disk = std::mem::take(&mut agent.disk);
        self.places[host].disk = outlives.then_some(disk);
        self.places[host].agent = None;
        self.platform.deployments[self.places[host].deployment].roster += 1;
        if let Some(back) = back.filter(|_| !self.places[host].is_gone) {
            self.after(back, Event::Boot(host));
        }
    }

    pub(super) fn live(&mut self, id: DeploymentId) {
        if self.platform.deployments[id].is_over {
            return;
        }
        let by_us = self.platform.deployments[id].by_us;
        self.platform.deployments[id].live_at = Some(self.now);
        if !by_us {
            self.platform.shown = self.platform.shown.max(id);
        }
        self.say(|w| format!("{} is live", w.platform.deployments[id].name));
        let (overlap, drain) = (self.plan.overlap, self.plan.drain);
        for former in 0..id {
            if !self.platform.deployments[former].is_over {
                self.after(overlap, Event::Drain(former));
                self.after(overlap + drain, Event::Kill(former));
            }
        }
    }

    pub(super) fn drain(&mut self, id: DeploymentId) {
        for agent in self.agents.iter_mut().filter(|a| a.deployment == id && a.role == Role::Replica) {
            agent.draining = true;
        }
        self.leave(id);
    }

    pub(super) fn kill_deployment(&mut self, id: DeploymentId) {
        if std::mem::replace(&mut self.platform.deployments[id].is_over, true) {
            return;
        }
        for host in self.platform.deployments[id].hosts.clone() {
            self.places[host].is_gone = true;
            if let Some(agent) = self.places[host].agent {
                self.die(agent, None);
            }
        }
    }
}
