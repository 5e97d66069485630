//! What must hold when the platform is called, and when a call has its effect.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger::engine::ballot::Certificate;
use outrigger::engine::diagnosis::Diagnosis;
use outrigger::engine::memory::Standing;
use outrigger::engine::peer::Role;
use outrigger::engine::record::{Decided, Live, Order, Record};

use crate::agent::AgentId;
use crate::counts::Seen;
use crate::platform::DeploymentId;
use crate::world::{COOLDOWN, World};

/// What a reader of the platform may have missed.
const STALE: u64 = 40_000;

impl World {
    /// A call is begun.
    pub(crate) fn check_call(&mut self, id: AgentId, order: &Order, record: &Record) {
        let Some(decided) = record.what.decided() else { return };
        let certificate = decided.certificate.as_deref().cloned();
        let accused = self.accused(id, certificate.as_ref());
        if let Some(call) = self.platform.calls.last_mut() {
            call.accused = accused;
        }
        self.counts.see(Seen::Called);
        self.check_once(accused);
        self.check_age(id);
        self.check_tilt(id, "calls");
        self.check_target(id, order, accused);
        self.check_blame(id, decided);
        self.check_pause(id);
        self.check_intent(id, record);
        match certificate {
            Some(certificate) => {
                self.check_certificate(id, &certificate, accused);
                self.check_reread(id, order, &certificate);
            }
            None if self.plan.replicas > 1 => {
                self.fail("I2 nobody calls without votes", format!("agent {id} has no certificate"));
            }
            None => {}
        }
    }

    pub(crate) fn fail(&mut self, name: &'static str, text: String) {
        let now = self.now;
        self.witness.fail(name, now, text);
    }

    fn accused(&self, id: AgentId, certificate: Option<&Certificate>) -> DeploymentId {
        let named = certificate.map(|certificate| certificate.ask.key.deployment.as_str());
        let is_it = |name: &str| self.platform.deployments.iter().position(|each| each.name == name);
        named.and_then(is_it).unwrap_or(self.agents[id].deployment)
    }

    /// I1: calls that have had their effect, and those that will have it.
    fn check_once(&mut self, accused: DeploymentId) {
        let all = &self.platform.calls;
        let effective = all.iter().filter(|call| call.accused == accused && call.takes_effect).count();
        if effective > 1 && !self.witness.beyond_drift {
            let calls: Vec<String> = all
                .iter()
                .map(|call| format!("{} at {} landed {:?}", self.name(call.by), call.at, call.landed))
                .collect();
            let name = self.platform.deployments[accused].name.clone();
            self.fail("I1 at most one effective action a decision", format!("{name}: {calls:?}"));
        }
    }

    /// I5: who started a short while ago does not call.
    fn check_age(&mut self, id: AgentId) {
        let uptime = self.uptime_of(id);
        if self.plan.replicas > 1 && uptime < self.witness.limits.lock() {
            self.fail("I5 who started a short while ago does not call", format!("agent {id} at {uptime:?}"));
        }
    }

    /// I6: what is put back was good, is another release, and was not rolled back. I7: nothing goes to and fro.
    fn check_target(&mut self, id: AgentId, order: &Order, accused: DeploymentId) {
        let of = &self.platform.deployments[accused];
        let (is_same, is_by_us, is_its) =
            (order.to == order.from, of.by_us, order.from.as_str() == of.release);
        let known = self.agents[id].disk.releases.get(&order.to);
        let was_good = known.is_some_and(|release| release.standing == Standing::KnownGood);
        if is_same || !was_good || !is_its {
            let text = format!("agent {id}: {} -> {}, of which {known:?} is known", order.from, order.to);
            self.fail("I6 the target was good", text);
        }
        if is_by_us {
            let text = format!("agent {id} rolls back what Outrigger put back");
            self.fail("I7 what was put back is not rolled back", text);
        }
        let now = self.now;
        let calls = self.platform.calls.iter();
        let others = calls.filter(|call| call.accused != accused && call.takes_effect);
        let last = others.map(|call| call.at).max();
        let rest = COOLDOWN.as_millis() as u64 * 95 / 100;
        let knows = !self.agents[id].disk.decisions.is_empty();
        if last.is_some_and(|at| now < at + rest) && knows && self.agents[id].disk.memory().last_act.is_some()
        {
            let own = self.agents[id].disk.memory().last_act.map(|act| act.id);
            if own.as_ref() != Some(&order.record) {
                self.fail("I7 there is a rest after an act", format!("agent {id}, last at {last:?}"));
            }
        }
    }

    /// I15: whatever the vote, what is not to blame is not rolled back. And a good release never is.
    fn check_blame(&mut self, id: AgentId, decided: &Decided) {
        let blames = matches!(
            &decided.diagnosis,
            Some(Diagnosis::Deployment(_) | Diagnosis::Dependency { hold_ended: true, .. })
        );
        if !blames {
            self.fail(
                "I15 only what is to blame is rolled back",
                format!("agent {id}: {:?}", decided.diagnosis),
            );
        }
        let has_reason = self.platform.deployments.iter().any(|each| each.is_bad)
            || self.plan.faults.iter().any(|(_, fault)| matches!(fault, crate::plan::Fault::Database { .. }));
        if !has_reason {
            self.fail("no good release is rolled back", format!("agent {id}"));
        }
    }

    /// I10: who knows of a pause does not call, and neither does anybody who was elected after a majority knew.
    fn check_pause(&mut self, id: AgentId) {
        if self.witness.seats[id].paused {
            self.fail("I10 no call once a pause is known", format!("agent {id} knows of one"));
        }
    }

    /// V6: the intent is written down before the call.
    fn check_intent(&mut self, id: AgentId, record: &Record) {
        if !self.agents[id].disk.decisions.contains_key(&record.id) {
            self.fail("V6 nothing is called without a durable intent", format!("agent {id}: {}", record.id));
        }
    }

    /// I2, I3, I14: the votes, as they were really given.
    fn check_certificate(&mut self, id: AgentId, certificate: &Certificate, accused: DeploymentId) {
        let uptime = self.uptime_of(id);
        let lease = self.witness.limits.lease;
        if uptime > certificate.expires || certificate.expires > certificate.began + lease {
            let text = format!("agent {id} at {uptime:?}: {certificate:?}");
            self.fail("I2 the lease is not over", text);
        }
        if certificate.ask.candidate != self.agents[id].peer {
            self.fail("I2 the votes are the caller's", format!("agent {id}: {certificate:?}"));
        }
        let voters = certificate.voters.clone();
        let replicas: BTreeSet<&str> = voters.iter().map(|voter| &*voter.replica).collect();
        if replicas.len() != voters.len() {
            self.fail("I2 a replica has one vote", format!("agent {id}: {voters:?}"));
        }
        let mut yes = 0;
        for voter in &voters {
            let Some(of) = self.agent_of(voter) else { continue };
            if of == id {
                self.grant(
                    id,
                    &certificate.ask.key,
                    &voter.clone(),
                    certificate.ask.epoch,
                    certificate.began,
                );
            }
            let grants = self.witness.seats[of].grants.get(&certificate.ask.key);
            let grant = grants.and_then(|all| {
                all.iter()
                    .find(|g| g.candidate == certificate.ask.candidate && g.epoch == certificate.ask.epoch)
            });
            let lock = self.witness.limits.lock();
            let now_there = self.uptime_of(of);
            match grant.map(|grant| grant.last) {
                None => {
                    let text = format!("agent {id} counts {voter}, who never said yes");
                    self.fail("I14 only a yes is a yes", text);
                }
                Some(last) if now_there > last + lock && !self.witness.beyond_drift => {
                    let text =
                        format!("agent {id} counts {voter}, who granted at {last:?}, now {now_there:?}");
                    self.fail("I2 grants are unexpired", text);
                }
                Some(_) => yes += 1,
            }
            if !self.is_voter(of, accused) && !self.plan.rosters {
                self.fail("I2 only voters vote", format!("agent {id} counts {voter}"));
            }
        }
        self.check_majority(id, certificate, accused, yes);
    }

    /// I3: enough of those that there really are.
    fn check_majority(&mut self, id: AgentId, certificate: &Certificate, accused: DeploymentId, yes: u32) {
        let roster = certificate.roster;
        let real = self.witness.rosters(accused, self.now);
        let votes: Vec<u32> = real.iter().map(|&(replicas, _)| votes(replicas, roster.watcher)).collect();
        let least = votes.iter().map(|votes| votes / 2 + 1).min().unwrap_or(u32::MAX);
        let down = real.iter().map(|&(_, down)| down).max().unwrap_or_default();
        if yes == 0 || roster.down > down || yes + roster.down < least {
            let text = format!("agent {id}: {yes} yes and {} down of {real:?}, {certificate:?}", roster.down);
            self.fail("I3 fewer than a majority never call", text);
        }
        if roster.down > 0 {
            self.counts.see(Seen::CallWithDown);
        }
        self.counts.see(Seen::Elected);
        if self.agents[id].role == Role::Watcher {
            self.counts.see(Seen::CallByWatcher);
        }
    }

    /// I6, I12: the accused was still what was live when the platform was read, after the election.
    fn check_reread(&mut self, id: AgentId, order: &Order, certificate: &Certificate) {
        let read = self.witness.seats[id].read.clone();
        let is_live = |live: &Live| *live == Live::Release(order.from.clone());
        let slack = Duration::from_millis(1);
        let is_well =
            read.as_ref().is_some_and(|(live, at)| is_live(live) && *at + slack >= certificate.began);
        if !is_well {
            self.fail("I6 the accused was live when it was read", format!("agent {id} read {read:?}"));
        }
    }

    /// A call had its effect.
    pub(crate) fn check_landed(&mut self, number: usize) {
        self.check_once(self.platform.calls[number].accused);
        self.counts.see(Seen::RolledBackGone);
    }

    /// Takes note of who there is of each deployment.
    pub(crate) fn note_rosters(&mut self) {
        let now = self.now;
        for id in 0..self.platform.deployments.len() {
            let hosts = &self.platform.deployments[id].hosts;
            let down = hosts.iter().filter(|&&host| self.places[host].agent.is_none()).count() as u32;
            self.witness.note_roster(id, (hosts.len() as u32, down), now);
        }
    }
}

const fn votes(replicas: u32, watcher: bool) -> u32 {
    replicas + (watcher && replicas.is_multiple_of(2)) as u32
}

impl super::Witness {
    fn note_roster(&mut self, id: DeploymentId, roster: (u32, u32), now: u64) {
        let past = self.rosters.entry(id).or_default();
        if past.last().is_none_or(|(_, last)| *last != roster) {
            past.push((now, roster));
        }
    }

    /// How many replicas there were, and how many of them down, at any time that an agent may still go by.
    fn rosters(&self, id: DeploymentId, now: u64) -> Vec<(u32, u32)> {
        let past = self.rosters.get(&id).map(Vec::as_slice).unwrap_or_default();
        let ended = |at: usize| past.get(at + 1).map_or(now, |(at, _)| *at);
        let recent = past.iter().enumerate().filter(|(at, _)| ended(*at) + STALE >= now);
        recent.map(|(_, (_, roster))| *roster).collect()
    }
}
