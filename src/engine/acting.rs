//! A rollback under way, as the engine follows it: what the platform said, and what is thought of the releases after it.

use crate::engine::beginning::remember;
use crate::engine::memory::Standing;
use crate::engine::pursuit::Step;
use crate::engine::record::{Acted, Live, Progress};
use crate::engine::release::{RecordId, Release};
use crate::engine::step::{REFUSALS_MAX, RETRY_LATER};
use crate::engine::time::Time;
use crate::engine::{Effect, Engine};

impl Engine {
    pub(super) fn acted(&mut self, now: Time, record: &RecordId, acted: Acted, effects: &mut Vec<Effect>) {
        let Some(pursuit) = self.pursuit.as_mut().filter(|p| p.id() == record) else { return };
        let is_rehearsal = matches!(acted, Acted::DryRun { .. });
        let is_refused = matches!(acted, Acted::Refused { .. });
        let step = match (&self.fleet, acted) {
            // Said so that other agents know it: nothing was done.
            (Some(_), Acted::Refused { reason }) => pursuit.refuse(reason),
            (Some(_) | None, acted) => pursuit.acted(now, acted),
        };
        effects.push(pursuit.record());
        if is_rehearsal || is_refused {
            // Nothing was done, so nothing has to cool down. A rehearsal is not repeated.
            self.forget_act();
            self.unlock_after(now, record, effects);
        }
        if is_refused && self.refusals < REFUSALS_MAX {
            self.refusals += 1;
            self.retry(now);
        } else if is_refused {
            self.retry_at = Some(now + RETRY_LATER);
        }
        self.close_if(now, step, effects);
    }

    pub(super) fn answered(&mut self, now: Time, record: &RecordId, live: Live, effects: &mut Vec<Effect>) {
        if self.read_platform(now, record, &live, effects) {
            return;
        }
        let Some(pursuit) = self.pursuit.as_mut().filter(|p| p.id() == record) else { return };
        let step = pursuit.answered(now, live);
        if step == Step::Ended {
            effects.push(pursuit.record());
        }
        self.close_if(now, step, effects);
    }

    pub(super) fn pursue(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let is_ready = match &self.fleet {
            Some(fleet) => fleet.is_ready(),
            None => self.trial.ready_at().is_some(),
        };
        let Some(pursuit) = &mut self.pursuit else { return };
        let step = pursuit.expire(now);
        match step {
            Step::Ended => effects.push(pursuit.record()),
            Step::Open => effects.extend(pursuit.asks(is_ready)),
        }
        self.close_if(now, step, effects);
    }

    pub(super) fn close_if(&mut self, now: Time, step: Step, effects: &mut Vec<Effect>) {
        let Some(pursuit) = &self.pursuit else { return };
        self.last_decision = Some(pursuit.view());
        if step == Step::Open {
            return;
        }
        let Some(pursuit) = self.pursuit.take() else { return };
        if matches!(pursuit.decided().progress, Progress::Succeeded { .. }) {
            if pursuit.is_by_the_restored() {
                self.look_after(Some(Box::new(pursuit.clone().open())));
            }
            self.rolled_back(now, pursuit.from(), effects);
            self.put_back(pursuit.to(), pursuit.id(), effects);
        }
    }

    /// What was not done counts for nothing: the act before it is the last one again.
    fn forget_act(&mut self) {
        self.last_act = self.act_before.take();
        if !self.acts.is_empty() {
            self.acts.remove(0);
        }
    }

    /// The target is marked, so that it is not rolled back in turn, whichever agent saw the end.
    pub(super) fn put_back(&mut self, target: &Release, by: &RecordId, effects: &mut Vec<Effect>) {
        let others = self.others.iter_mut();
        if let Some(memory) = others.chain([&mut self.own]).find(|r| r.release == *target) {
            memory.put_back_by = Some(by.clone());
            effects.push(Effect::KeepRelease(memory.clone()));
        }
    }

    /// The accused release is marked, wherever this agent runs.
    pub(super) fn rolled_back(&mut self, now: Time, accused: &Release, effects: &mut Vec<Effect>) {
        let memory = if self.own.release == *accused {
            &mut self.own
        } else if let Some(other) = self.others.iter_mut().find(|r| r.release == *accused) {
            other
        } else {
            self.others.push(remember(now, accused, None));
            let last = self.others.len() - 1;
            &mut self.others[last]
        };
        memory.standing = Standing::RolledBack;
        effects.push(Effect::KeepRelease(memory.clone()));
    }

    /// The intent may still become durable late, so its record is overwritten by what was done: nothing.
    pub(super) fn record_lost(&mut self, now: Time, record: &RecordId, effects: &mut Vec<Effect>) {
        let Some(mut pursuit) = self.pursuit.take_if(|p| p.id() == record) else { return };
        pursuit.withdraw();
        self.last_decision = Some(pursuit.view());
        self.forget_act();
        self.unlock_after(now, record, effects);
        effects.push(pursuit.record());
        self.retry(now);
    }
}
