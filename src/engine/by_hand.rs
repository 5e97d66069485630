//! What a person asks for: a lock on deployments, a rollback; and what is known of deployments and schemas, for whoever acts.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::memory::{DEPLOYMENTS_MAX, ReleaseMemory, Standing};
use crate::engine::peer::Deployment;
use crate::engine::pursuit::Pursuit;
use crate::engine::record::{
    ActStep, Decided, Decision, Happening, Known, Lock, Readiness, Reason, Record, StepOutcome, StepTaken,
};
use crate::engine::release::{RecordId, Release};
use crate::engine::snapshot::DecisionView;
use crate::engine::time::Time;
use crate::engine::{Effect, Engine};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Engine {
    /// The platform's deployment that the running release runs as. To be called once, right after the start.
    pub fn deployed_as(&mut self, deployment: Deployment) -> Vec<Effect> {
        let is_named = deployment.as_str() != self.own.release.as_str();
        let is_new = is_named && add_deployment(&mut self.own, &deployment);
        self.deployment = Some(deployment);
        if is_new { vec![Effect::KeepRelease(self.own.clone())] } else { Vec::new() }
    }

    /// What is known of releases and their deployments.
    pub fn known(&self) -> Known {
        let all = || self.others.iter().chain([&self.own]);
        let of = |r: &ReleaseMemory| (r.release.clone(), r.deployments.clone());
        let quarantined = all().filter(|r| r.standing == Standing::RolledBack);
        Known {
            own: self.deployment.clone().map(|deployment| (deployment, self.own.release.clone())),
            releases: all().map(of).collect(),
            target: self.target().cloned(),
            quarantined: quarantined.map(|r| r.release.clone()).collect(),
        }
    }

    /// A peer says which release its deployment runs.
    pub(super) fn runs_as(&mut self, release: &Release, deployment: &Deployment, effects: &mut Vec<Effect>) {
        let mut all = self.others.iter_mut().chain([&mut self.own]);
        // Off a platform that names its deployments they are called as the release.
        if deployment.as_str() == release.as_str() {
            return;
        }
        if let Some(memory) = all.find(|r| r.release == *release)
            && add_deployment(memory, deployment)
        {
            effects.push(Effect::KeepRelease(memory.clone()));
        }
    }

    pub(super) fn locked(&mut self, now: Time, lock: Lock, effects: &mut Vec<Effect>) {
        effects.push(self.note(now, Happening::Locked(lock.clone())));
        self.lock = Some(lock);
    }

    pub(super) fn unlocked(&mut self, now: Time, by: String, effects: &mut Vec<Effect>) {
        if self.lock.take().is_some() {
            effects.push(self.note(now, Happening::Unlocked { by }));
        }
    }

    /// Locks and pauses end by themselves. Among several agents that is no record: one that was cut off would lift, by its own
    /// clock and for all, what a person has set anew meanwhile.
    pub(super) fn end_in_time(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let is_over = |until: Option<Time>| until.is_some_and(|until| until <= now);
        let pause = self.pause.take_if(|pause| is_over(pause.until));
        let lock = self.lock.take_if(|lock| is_over(lock.until));
        if self.fleet.is_some() {
            return;
        }
        if let Some(pause) = pause {
            let by = format!("the end of {}'s pause", pause.by);
            effects.push(self.note(now, Happening::Resumed { by }));
            effects.push(Effect::KeepPause(None));
        }
        if let Some(lock) = lock {
            let by = format!("the end of {}'s lock", lock.by);
            effects.push(self.note(now, Happening::Unlocked { by }));
        }
    }

    /// Deployments are locked with a rollback: the branch still holds what was rolled back. A person's own lock stays.
    pub(super) fn lock_for(&mut self, now: Time, pursuit: &Pursuit, effects: &mut Vec<Effect>) {
        if self.policy.lock.is_zero() || self.lock.is_some() {
            return;
        }
        let lock = Lock {
            by: "outrigger".to_owned(),
            reason: format!("release {} is being rolled back by decision {}", pursuit.from(), pursuit.id()),
            since: now,
            until: Some(now + self.policy.lock),
        };
        self.locked(now, lock, effects);
    }

    /// The lock of a rollback that did not come about goes with it.
    pub(super) fn unlock_after(&mut self, now: Time, decision: &RecordId, effects: &mut Vec<Effect>) {
        let is_its = |lock: &mut Lock| lock.by == "outrigger" && lock.reason.ends_with(decision.as_str());
        if self.lock.take_if(is_its).is_some() {
            effects.push(self.note(now, Happening::Unlocked { by: "outrigger".to_owned() }));
        }
    }

    pub(super) fn readied(&mut self, now: Time, readiness: Readiness, effects: &mut Vec<Effect>) {
        if self.readiness.as_ref() != Some(&readiness) {
            effects.push(self.note(now, Happening::Readied(readiness.clone())));
            self.readiness = Some(readiness);
        }
    }

    /// A release goes by the schema that it found at its start. A later one becomes its own when it has lived with it for as
    /// long as a watch takes: the migration of the next release runs while this one still serves, and shows only then
    /// whether this one can live with it.
    pub(super) fn schema_seen(
        &mut self,
        now: Time,
        probe: Arc<str>,
        version: Arc<str>,
        effects: &mut Vec<Effect>,
    ) {
        let seen = self.schemas.entry(Arc::clone(&probe)).or_insert_with(|| (Arc::clone(&version), now));
        if seen.0 != version {
            *seen = (Arc::clone(&version), now);
        }
        let is_settled = now.since(seen.1) >= self.policy.watch && !self.trial.is_degraded();
        let own = self.own.schemas.get(&probe);
        if own.is_none() || (is_settled && own != Some(&version)) {
            self.own.schemas.insert(probe, version);
            effects.push(Effect::KeepRelease(self.own.clone()));
        }
    }

    /// What speaks against any act by the agent's own decision: the budget, and a schema that has moved on.
    pub(super) fn restraints(&self, now: Time) -> Vec<Reason> {
        let mut against = Vec::new();
        for (most, within) in [(self.policy.acts_an_hour, HOUR), (self.policy.acts_a_day, DAY)] {
            let recent: Vec<Time> = self.acts.iter().copied().filter(|&at| now.since(at) < within).collect();
            let acts = u32::try_from(recent.len()).unwrap_or(u32::MAX);
            // The newest stand first: when the one that fills the budget is old enough, there is room.
            if let Some(&at) = recent.get(most.saturating_sub(1) as usize) {
                against.push(Reason::BudgetSpent { acts, until: at + within });
                break;
            }
        }
        against.extend(self.schema_moved());
        against
    }

    fn schema_moved(&self) -> Option<Reason> {
        let target = self.target().filter(|_| !self.policy.ignore_schema)?;
        let target = self.others.iter().find(|r| r.release == *target)?;
        target.schemas.iter().find_map(|(probe, was)| {
            // Where no probe has answered yet, what this release found when it ran counts.
            let seen = self.schemas.get(probe).map(|(is, _)| is);
            let is = seen.or_else(|| self.own.schemas.get(probe)).filter(|is| *is != was)?;
            Some(Reason::SchemaMoved { probe: probe.clone(), was: was.clone(), is: is.clone() })
        })
    }

    /// A person asks for a rollback. It needs no verdict and no vote; what is under way is not interfered with.
    pub(super) fn asked_by(
        &mut self,
        now: Time,
        by: String,
        why: String,
        to: Option<Release>,
        effects: &mut Vec<Effect>,
    ) {
        let target = to.or_else(|| self.target().cloned()).filter(|to| *to != self.own.release);
        let mut reasons = vec![Reason::AskedBy { by, why }];
        let elsewhere = self.fleet.as_ref().filter(|fleet| fleet.is_decided_elsewhere());
        let elsewhere = elsewhere.and_then(|fleet| fleet.elsewhere.as_ref()).map(|e| &e.decision.id);
        if let Some(record) = self.pursuit.as_ref().map(Pursuit::id).or(elsewhere) {
            reasons.push(Reason::DecidedElsewhere { record: record.clone() });
        }
        if target.is_none() {
            reasons.push(Reason::NoTarget);
        }
        let decision = if reasons.len() == 1 { Decision::RollBack } else { Decision::Hold };
        let decided = Decided { target, ..self.decided(decision, reasons) };
        let id = self.next_id(now);
        let release = self.identity.release.clone();
        let pursuit = Pursuit::begin(id.clone(), now, release.clone(), decided.clone(), &self.policy);
        if let (Decision::RollBack, Some(pursuit)) = (decision, pursuit) {
            self.stop_seeking();
            return self.order(now, pursuit, effects);
        }
        // What is under way is what people look for.
        if self.pursuit.is_none() {
            self.last_decision = Some(DecisionView::of(&id, now, &decided));
        }
        let what = Happening::Decided(Box::new(decided));
        effects.push(Effect::Record(Record { id, at: now, release, what }));
    }

    /// A step of the act under way has come so far.
    pub(super) fn stepped(
        &mut self,
        now: Time,
        record: &RecordId,
        step: ActStep,
        outcome: StepOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let Some(pursuit) = self.pursuit.as_mut().filter(|p| p.id() == record) else { return };
        pursuit.stepped(StepTaken { at: now, step, outcome });
        effects.push(pursuit.record());
    }
}

/// Whether it was not known.
fn add_deployment(memory: &mut ReleaseMemory, deployment: &Deployment) -> bool {
    let deployments = &mut memory.deployments;
    if deployments.last() == Some(deployment) {
        return false;
    }
    let was_known = deployments.contains(deployment);
    deployments.retain(|known| known != deployment);
    deployments.push(deployment.clone());
    deployments.drain(..deployments.len().saturating_sub(DEPLOYMENTS_MAX));
    !was_known
}
