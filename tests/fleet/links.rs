//! Who meets whom: what the limb for peers does, without its sockets.

use std::sync::Arc;

use outrigger::engine::peer::{Hello, Message, Peer, Role};
use outrigger::peers::envelope::{self, Refused};
use outrigger::peers::wire;

use crate::agent::{AgentId, Work};
use crate::counts::Seen;
use crate::platform::DeploymentId;
use crate::world::{Event, World};

/// Who was not heard of for so long has left.
const SILENCE: u64 = 3_500;

impl World {
    /// Looks at who can hear whom.
    pub(crate) fn look_at_links(&mut self) {
        let all: Vec<AgentId> = (0..self.agents.len()).filter(|&id| self.agents[id].alive).collect();
        for &at in &all {
            if self.agents[at].is_held() {
                continue;
            }
            for &of in &all {
                if at != of {
                    self.look_at_link(at, of);
                }
            }
            let met: Vec<AgentId> = self.agents[at].met.keys().copied().collect();
            for of in met {
                if !self.agents[of].alive {
                    self.notice_silence(at, of);
                }
            }
        }
    }

    fn look_at_link(&mut self, at: AgentId, of: AgentId) {
        let (here, there) = (self.agents[at].host, self.agents[of].host);
        let hears = self.network.reaches(there, here) && !self.agents[of].frozen;
        if !hears {
            return self.notice_silence(at, of);
        }
        if let Some(heard) = self.agents[at].met.get_mut(&of) {
            *heard = self.now;
            return;
        }
        let both = self.network.reaches(here, there) && self.are_akin(at, of);
        if both && let Some(hello) = self.agents[of].hello.clone() {
            self.agents[at].met.insert(of, self.now);
            let delay = self.chance.between(20, 900);
            self.after(delay, Event::Work(at, Work::Met(hello)));
        }
    }

    fn notice_silence(&mut self, at: AgentId, of: AgentId) {
        let is_silent = self.agents[at].met.get(&of).is_some_and(|heard| self.now - heard > SILENCE);
        if is_silent {
            self.agents[at].met.remove(&of);
            let peer = self.agents[of].peer.clone();
            self.give(at, Work::Left(peer));
        }
    }

    /// Whether the first frame of the one opens at the other.
    fn are_akin(&mut self, at: AgentId, of: AgentId) -> bool {
        let first = self.agents[of].seal.seal(None, b"");
        let opens = self.agents[at].open.open_first(&first).is_ok();
        if !opens {
            self.counts.see(Seen::Refused);
        }
        opens
    }

    pub(crate) fn introduce(&mut self, id: AgentId, hello: Box<Hello>) {
        self.agents[id].hello = Some(hello.clone());
        let met: Vec<AgentId> = self.agents[id].met.keys().copied().collect();
        for to in met {
            if self.agents[to].met.contains_key(&id) {
                self.send(id, to, Work::Met(hello.clone()));
            }
        }
    }

    /// Peers are told that these agents are about to end.
    pub(crate) fn leave(&mut self, deployment: DeploymentId) {
        for id in 0..self.agents.len() {
            let agent = &self.agents[id];
            if agent.alive
                && agent.deployment == deployment
                && agent.role == Role::Replica
                && let Some(hello) = &agent.hello
            {
                let hello = Hello { is_leaving: true, ..Hello::clone(hello) };
                self.introduce(id, Box::new(hello));
            }
        }
    }

    pub(crate) fn ask_memory(&mut self, id: AgentId, peer: &Peer) {
        if let Some(of) = self.agent_of(peer) {
            self.send(id, of, Work::AskedMemory(id));
        }
    }

    /// Says something to one: written, sealed, and carried as bytes.
    pub(crate) fn say_to(&mut self, id: AgentId, to: AgentId, body: &[u8], is_answer: bool) {
        let boot = self.agents[to].peer.boot;
        let is_foreign = self.places[self.agents[id].host].is_foreign;
        let seal = &mut self.agents[id].seal;
        let version = if is_foreign { envelope::VERSION_HIGHEST + 1 } else { envelope::VERSION_HIGHEST };
        let sealed: Arc<[u8]> = seal.seal_as(version, Some(boot), body).into();
        self.send_as(id, to, Work::Sealed(sealed), is_answer);
    }

    /// What an envelope holds for this agent, if it is one for it, and of somebody whom it has met.
    pub(crate) fn unsealed(&mut self, id: AgentId, bytes: &[u8]) -> Option<(Peer, Message)> {
        let opened = match self.agents[id].open.open(bytes) {
            Ok(opened) => opened,
            Err(Refused::Replay) => {
                self.counts.see(Seen::Replay);
                return None;
            }
            Err(
                Refused::Key
                | Refused::Version
                | Refused::OtherRecipient
                | Refused::Malformed
                | Refused::TooLong
                | Refused::TooMany,
            ) => {
                self.counts.see(Seen::Refused);
                return None;
            }
        };
        let message = wire::decode(opened.body).expect("what was sealed was well written")?;
        let from = opened.from;
        self.is_met(id, &from).then_some((from, message))
    }

    /// Sends something, as the network happens to be.
    pub(crate) fn send(&mut self, from: AgentId, to: AgentId, work: Work) {
        self.send_as(from, to, work, false);
    }

    fn send_as(&mut self, from: AgentId, to: AgentId, work: Work, is_answer: bool) {
        if !self.agents[to].alive {
            return;
        }
        let (here, there) = (self.agents[from].host, self.agents[to].host);
        let delays = self.network.carry(here, there, &mut self.chance);
        if delays.len() > 1 {
            self.counts.see(Seen::Duplicate);
        }
        for delay in delays {
            if delay > 5_000 && is_answer {
                self.counts.see(Seen::LateAnswer);
            }
            self.after(delay, Event::Work(to, work.clone()));
        }
    }

    /// The limb passes on only what comes of those it has met.
    pub(crate) fn is_met(&self, at: AgentId, peer: &Peer) -> bool {
        self.agent_of(peer).is_some_and(|of| self.agents[at].met.contains_key(&of))
    }
}
