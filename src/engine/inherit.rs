//! What peers remember, as the engine takes it over: releases, acts, a pause, an open rollback, a baseline, a watch.

use crate::engine::baseline::Baseline;
use crate::engine::beginning::{choose, no_later_than, take_up};
use crate::engine::evidence::Slot;
use crate::engine::fleet::Elsewhere;
use crate::engine::history::{FACTS_MAX, Fact, OpenWatch};
use crate::engine::joined::{GRACE, baseline_digest};
use crate::engine::memory::{Memory, OpenDecision, ReleaseMemory, Standing};
use crate::engine::peer::Role;
use crate::engine::pursuit::Pursuit;
use crate::engine::time::Time;
use crate::engine::trial::Trial;
use crate::engine::{Effect, Engine};

impl Engine {
    /// What peers remember is known now, too.
    pub(super) fn inherited(&mut self, now: Time, memory: Memory, effects: &mut Vec<Effect>) {
        if self.fleet.is_none() {
            return;
        }
        let Memory { baselines, mut releases, open, mut last_act, acts, pause, lock, unverified, watch } =
            memory;
        let before = self.own.clone();
        no_later_than(now, &mut releases, &mut last_act);
        let (own, others): (Vec<_>, Vec<_>) =
            releases.into_iter().partition(|r| r.release == self.identity.release);
        self.others = others;
        if let Some(known) = own.into_iter().next() {
            self.inherit_own(&known, last_act.as_ref().map(|act| act.at));
        }
        // The store knows of this agent's acts, too; but for one under way, which may not be written yet.
        if self.pursuit.is_none() {
            self.last_act = last_act;
        }
        self.pause = pause.filter(|pause| pause.until.is_none_or(|until| until > now));
        self.lock = lock.filter(|lock| lock.until.is_none_or(|until| until > now));
        self.acts = acts;
        self.look_after(unverified);
        self.inherit_open(now, open, effects);
        self.inherit_baseline(now, baselines, effects);
        if let Some(watch) = watch {
            self.inherit_watch(now, &watch, effects);
        }
        if self.own != before {
            effects.push(Effect::KeepRelease(self.own.clone()));
        }
    }

    fn inherit_own(&mut self, known: &ReleaseMemory, acted_at: Option<Time>) {
        let own = &mut self.own;
        match known.standing {
            // That was another time, unless it was rolled back in this one.
            Standing::RolledBack if acted_at.is_none_or(|at| at < own.first_ready) => return,
            Standing::RolledBack => own.standing = Standing::RolledBack,
            Standing::KnownGood if own.standing == Standing::OnTrial && !self.trial.is_degraded() => {
                own.standing = Standing::KnownGood;
                self.trial.end_watch(&self.policy);
                if let Some(fleet) = &mut self.fleet {
                    fleet.settled.end_watch(&self.policy);
                }
            }
            Standing::KnownGood | Standing::OnTrial => {}
        }
        own.first_ready = own.first_ready.min(known.first_ready);
        own.put_back_by = own.put_back_by.take().or_else(|| known.put_back_by.clone());
    }

    /// Another agent's decision that has not come to its end: its call may be under way, or it is this agent's to end it.
    fn inherit_open(&mut self, now: Time, open: Option<OpenDecision>, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        let Some(open) = open else {
            fleet.elsewhere = None;
            self.pursuit.take_if(|pursuit| pursuit.is_by_a_stranger());
            return;
        };
        if self.pursuit.as_ref().is_some_and(|pursuit| *pursuit.id() == open.id) {
            return;
        }
        if open.from == self.identity.release {
            let known = fleet.elsewhere.as_ref().filter(|known| known.decision.id == open.id);
            let until = known.map_or(fleet.uptime + fleet.setup.limits.lock(), |known| known.until);
            fleet.elsewhere = Some(Elsewhere { decision: open, until });
            return;
        }
        // Who ran when it was ordered is not what it restored; and a watcher sees to it when it has met somebody.
        let is_restored = open.decided.target.as_ref() == Some(&self.identity.release);
        let is_of_before = is_restored && fleet.setup.role == Role::Replica && fleet.setup.booted <= open.at;
        let is_alone = fleet.setup.role == Role::Watcher && fleet.members.is_empty();
        if self.pursuit.is_none() && !is_of_before && !is_alone {
            let taken = Pursuit::take_up(now, &self.identity.release, open, &self.policy);
            if let Some(pursuit) = taken {
                if pursuit.is_by_the_restored() {
                    self.own.put_back_by = Some(pursuit.id().clone());
                }
                self.last_decision = Some(pursuit.view());
                self.pursuit = Some(pursuit);
                self.pursue(now, effects);
            }
        }
    }

    /// A baseline that peers know takes the place of none, or of a lesser one, as long as nothing was judged by it.
    fn inherit_baseline(&mut self, now: Time, baselines: Vec<Baseline>, effects: &mut Vec<Effect>) {
        if !self.may_change_baseline() {
            return;
        }
        let (frozen, own) = choose(now, &self.own, &self.others, baselines, &self.policy);
        let is_same = frozen.as_ref().map_or(0, baseline_digest) == self.baseline_digest();
        if is_same && own.judged <= self.trial.own().judged {
            return;
        }
        let passed = self.own.standing == Standing::KnownGood;
        let mut trial =
            Trial::new(frozen, Baseline::empty(self.own.release.clone(), now), passed, &self.policy);
        let judged = (self.own.judged_for, self.own.judged_requests);
        trial.resume(self.own.first_ready, judged, &self.policy);
        trial.learn_on(own);
        self.trial = trial.clone();
        self.begin_watch(now, effects);
        self.settle_on(trial);
        self.mark_slow(effects);
    }

    /// The evidence goes on from this trial: the open slots are weighed anew.
    fn settle_on(&mut self, trial: Trial) {
        if let Some(fleet) = &mut self.fleet {
            fleet.settled = trial;
            fleet.is_stale = true;
        }
    }

    /// A sibling's watch that has come further than this agent's is gone on with.
    fn inherit_watch(&mut self, now: Time, open: &OpenWatch, effects: &mut Vec<Effect>) {
        let start = &open.start;
        let is_whole = open.facts.len() <= FACTS_MAX
            && open.facts.iter().zip(1..).all(|(fact, seq)| fact.seq == seq && fact.at <= now + GRACE);
        let last = open.facts.iter().rev().find_map(|kept| match &kept.fact {
            Fact::Round(round) => Some(round.slot),
            Fact::Tick(_) | Fact::Ready | Fact::Exited { .. } | Fact::Restarted => None,
        });
        let Some(last) = last else { return };
        if start.release != self.own.release || start.policy != self.policy || !is_whole {
            return;
        }
        let (mut trial, point) = take_up(open);
        if trial.judged().0 <= self.trial.judged().0 {
            return;
        }
        trial.learn_on(self.trial.own().clone());
        self.own.first_ready = self.own.first_ready.min(start.first_ready);
        self.watch = point;
        self.trial = trial.clone();
        effects.push(Effect::KeepWatch(Box::new(start.clone())));
        effects.extend(open.facts.iter().map(|fact| Effect::KeepFact(Box::new(fact.clone()))));
        if let Some(fleet) = &mut self.fleet {
            fleet.settled_through = Some(last);
            fleet.weighed = Some(fleet.weighed.map_or(last, |weighed| weighed.max(last)));
            fleet.ledger.close_before(Slot(last.0 + 1));
        }
        self.settle_on(trial);
        self.mark_slow(effects);
    }
}
