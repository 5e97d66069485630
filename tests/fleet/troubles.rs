//! What befalls a fleet, and how it passes.

use std::time::Duration;

use outrigger::engine::Input;
use outrigger::engine::peer::Role;
use outrigger::engine::record::Pause;

use crate::agent::{AgentId, Work};
use crate::counts::Seen;
use crate::network::Host;
use crate::plan::{Fault, Whom};
use crate::world::{Event, Over, World};

/// How often the platform is asked who may vote.
const POLL_EVERY: u64 = 5_000;
/// Deployments of one fleet.
const DEPLOYMENTS_MAX: usize = 6;

impl World {
    pub(crate) fn befall(&mut self, fault: Fault) {
        self.say(|_| format!("TROUBLE {fault:?}"));
        match fault {
            Fault::Cut { side, out, into, lasts } => {
                let hosts: Vec<Host> = (0..self.places.len()).filter(|h| side >> (h % 64) & 1 == 1).collect();
                self.note_cut(out, into);
                self.cut(hosts, out, into, lasts);
            }
            Fault::CutOff { whom, out, into, lasts } => {
                if let Some(id) = self.whom(whom) {
                    self.note_cut(out, into);
                    self.cut([self.agents[id].host], out, into, lasts);
                }
            }
            Fault::Weather { weather, lasts } => {
                self.network.weather = weather;
                self.after(lasts, Event::Over(Over::Weather(weather)));
            }
            Fault::Crash { whom, back } => {
                if let Some(id) = self.whom(whom) {
                    self.counts.see(Seen::Crash);
                    self.die(id, back);
                }
            }
            Fault::CrashWithin { whom, effects, back } => {
                if let Some(id) = self.whom(whom) {
                    self.agents[id].dies_after = Some((effects, back));
                }
            }
            Fault::CrashAtOrder { after, back } => self.dies_at_order = Some((after, back)),
            Fault::Freeze { whom, lasts } => {
                if let Some(id) = self.whom(whom) {
                    self.counts.see(Seen::Frozen);
                    self.agents[id].frozen = true;
                    self.after(lasts, Event::Over(Over::Freeze(id)));
                }
            }
            Fault::AppEnds { whom } => self.end_app(whom),
            Fault::Disk { whom, mood, lasts } => {
                if let Some(id) = self.whom(whom) {
                    self.agents[id].disk_mood = mood;
                    self.after(lasts, Event::Over(Over::Disk(id)));
                }
            }
            Fault::Platform { mood, lasts } => {
                self.platform.mood = mood;
                self.after(lasts, Event::Over(Over::Platform(mood)));
            }
            Fault::Deploy { is_bad } => {
                if self.platform.deployments.len() < DEPLOYMENTS_MAX {
                    if self.witness.is_voting() {
                        self.counts.see(Seen::SecondDeploymentMidVote);
                    }
                    self.happen_deploy(is_bad);
                }
            }
            Fault::Scale { to } => self.scale(to),
            Fault::Pause { whom, lasts } => self.pause(whom, lasts),
            Fault::Database { lasts } => {
                self.database_is_down = true;
                self.after(lasts, Event::Over(Over::Database));
            }
        }
    }

    fn note_cut(&mut self, out: bool, into: bool) {
        if out != into {
            self.counts.see(Seen::OneWayCut);
        }
    }

    fn happen_deploy(&mut self, is_bad: bool) {
        self.at(self.now, Event::Deploy { is_bad });
    }

    fn end_app(&mut self, whom: Whom) {
        let Some(id) = self.whom(whom) else { return };
        if self.agents[id].ready_at.is_some() {
            self.give(id, Work::AppEnded);
            let back = self.chance.between(500, 3_000);
            self.after(back, Event::Work(id, Work::Ready));
        }
    }

    fn pause(&mut self, whom: Whom, lasts: u64) {
        let Some(id) = self.whom(whom) else { return };
        self.counts.see(Seen::Paused);
        let since = self.agents[id].clock.wall(self.now);
        let pause = Pause { by: "ann".to_owned(), reason: "I look".to_owned(), since, until: None };
        self.give(id, Work::Input(Input::Paused(pause)));
        self.after(lasts, Event::Over(Over::Pause(id)));
    }

    /// Whom it befalls.
    fn whom(&self, whom: Whom) -> Option<AgentId> {
        let newest = self.platform.newest();
        let alive = |id: &AgentId| self.agents[*id].alive;
        let any: Vec<AgentId> = (0..self.agents.len()).filter(alive).collect();
        let accused: Vec<AgentId> =
            any.iter().copied().filter(|&id| self.agents[id].deployment == newest).collect();
        let one = |of: &[AgentId], number: u64| of.get(number as usize % of.len().max(1)).copied();
        match whom {
            Whom::Any(number) => one(&any, number),
            Whom::Accused(number) => one(&accused, number),
            Whom::Asker => self.last_asker.filter(alive),
            Whom::Caller => self.last_caller.or(self.last_asker).filter(alive),
        }
    }

    pub(crate) fn over(&mut self, over: Over) {
        match over {
            Over::Cut(id) => self.network.cuts.retain(|cut| cut.id != id),
            Over::Weather(weather) => {
                if self.network.weather == weather {
                    self.network.weather = crate::network::FAIR;
                }
            }
            Over::Freeze(id) => {
                self.agents[id].frozen = false;
                if self.agents[id].alive && !self.agents[id].is_held() {
                    self.resume(id);
                }
            }
            Over::Disk(id) => self.mend_disk(id),
            Over::Platform(mood) => {
                if self.platform.mood == mood {
                    self.platform.mood = crate::plan::WELL;
                }
            }
            Over::Pause(id) => self.resume_acting(id),
            Over::Database => self.database_is_down = false,
        }
    }

    /// A person resumes acting, by an agent that lives.
    fn resume_acting(&mut self, id: AgentId) {
        let living = (0..self.agents.len()).rev().find(|&id| self.agents[id].alive);
        let by = if self.agents[id].alive { Some(id) } else { living };
        if let Some(by) = by {
            self.give(by, Work::Input(Input::Resumed { by: "ann".to_owned() }));
        }
    }

    /// The number of replicas changes.
    fn scale(&mut self, to: u32) {
        let newest = self.platform.newest();
        let have = self.platform.deployments[newest].hosts.len() as u32;
        if self.platform.deployments[newest].is_over || to == have {
            return;
        }
        self.platform.deployments[newest].roster += 1;
        if to > have {
            self.counts.see(Seen::ScaledUp);
            (have..to).for_each(|_| self.add_place(newest));
            return;
        }
        self.counts.see(Seen::ScaledDown);
        for _ in to..have {
            let Some(host) = self.platform.deployments[newest].hosts.pop() else { return };
            self.places[host].is_gone = true;
            if let Some(agent) = self.places[host].agent {
                self.die(agent, None);
            }
        }
    }

    pub(crate) fn poll_roster(&mut self, id: AgentId) {
        if !self.agents[id].alive {
            return;
        }
        self.after(POLL_EVERY, Event::PollRoster(id));
        if self.platform.mood.unreadable {
            return;
        }
        let roster = self.roster(self.agents[id].deployment);
        let back = self.chance.between(5, 400);
        self.after(back, Event::Work(id, Work::Roster(roster)));
    }

    /// Whoever waits for its end sees to it: all trouble ends when calm begins, at the latest.
    pub(crate) fn calm(&mut self) {
        self.network = crate::network::Network::new();
        self.platform.mood = crate::plan::WELL;
        self.database_is_down = false;
        self.dies_at_order = None;
        for id in 0..self.agents.len() {
            self.agents[id].disk_mood = crate::plan::DiskMood::Well;
            self.agents[id].dies_after = None;
            if self.agents[id].frozen {
                self.over(Over::Freeze(id));
            }
        }
        let paused = self.witness.has_pause();
        if paused {
            self.resume_acting(0);
        }
        for host in 0..self.places.len() {
            if self.places[host].agent.is_none() && !self.places[host].is_gone {
                self.at(self.now, Event::Boot(host));
            }
        }
    }

    /// Whether it has a say of its own on this deployment.
    pub(crate) fn is_voter(&self, id: AgentId, of: usize) -> bool {
        let agent = &self.agents[id];
        match agent.role {
            Role::Replica => agent.deployment == of,
            Role::Watcher => self.platform.deployments[of].hosts.len().is_multiple_of(2),
        }
    }

    /// Used by the shell: events of peers carry the agent's own time.
    pub(crate) fn uptime_of(&self, id: AgentId) -> Duration {
        self.agents[id].uptime(self.now)
    }
}
