//! The engine itself: one step from a fact to orders.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::aftermath::Aftermath;
use crate::engine::baseline::Baseline;
use crate::engine::beginning::{choose, may_go_on, no_later_than, remember, take_up};
use crate::engine::diagnosis::Diagnosis;
use crate::engine::evidence::Slot;
use crate::engine::fallen::Fallen;
use crate::engine::fleet::Fleet;
use crate::engine::history::{Fact, KeptFact, WatchPoint, WatchStart};
use crate::engine::judge::catastrophe::is_crash_loop;
use crate::engine::memory::{CRASHES_MAX, LastAct, Memory, ReleaseMemory, Standing};
use crate::engine::peer::Deployment;
use crate::engine::policy::Policy;
use crate::engine::pursuit::Pursuit;
use crate::engine::record::{
    Decided, Decision, Exit, Happening, Lock, PassedBy, Pause, Progress, Readiness, Reason, Record,
};
use crate::engine::release::{RecordId, Release};
use crate::engine::snapshot::{DecisionView, Snapshot};
use crate::engine::tick::{TICK, Tick};
use crate::engine::time::Time;
use crate::engine::trial::Trial;
use crate::engine::verdict::Verdict;
use crate::engine::window::Window;
use crate::engine::{Effect, Input};

/// A tick is sealed when this much of it is there: windows are a second long, give or take.
const TICK_SEALED: Duration = TICK.saturating_sub(Duration::from_millis(500));
/// Baseline and release are kept each so many ticks: half a minute is lost at most by a kill.
const KEEP_EVERY: u32 = 6;
/// After an intent could not be recorded, or an order was refused, the next try waits this long.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// An order that was refused is tried again so often; then a person must act.
pub(super) const REFUSALS_MAX: u8 = 3;
/// Then, where there is no verdict to go by, it rests for so long.
pub(super) const RETRY_LATER: Duration = Duration::from_secs(15 * 60);

/// Who this engine decides for.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The release that is running.
    pub release: Release,
    /// A number drawn at this start: record ids of different boots never meet.
    pub boot: u16,
}

/// All decisions of one agent, from one start to its end.
#[derive(Clone, Debug, PartialEq)]
pub struct Engine {
    pub(super) identity: Identity,
    pub(super) policy: Policy,
    pub(super) own: ReleaseMemory,
    pub(super) others: Vec<ReleaseMemory>,
    pub(super) trial: Trial,
    pub(super) tick: Option<Tick>,
    pub(super) ticks: u32,
    pub(super) verdict: Verdict,
    pub(super) pause: Option<Pause>,
    pub(super) lock: Option<Lock>,
    pub(super) readiness: Option<Readiness>,
    pub(super) pursuit: Option<Pursuit>,
    pub(super) last_act: Option<LastAct>,
    /// The one before it, for where nothing comes of that one.
    pub(super) act_before: Option<LastAct>,
    /// When acts were made, newest first.
    pub(super) acts: Vec<Time>,
    /// A rollback that put this release back, whose effect is not known yet.
    pub(super) aftermath: Option<Box<Aftermath>>,
    /// Since when the platform has said that all replicas of what is watched are down.
    pub(super) fallen: Option<Fallen>,
    /// The platform's deployment that the release runs as.
    pub(super) deployment: Option<Deployment>,
    /// The databases' schemas as they are now, by the probe, and since when.
    pub(super) schemas: BTreeMap<Arc<str>, (Arc<str>, Time)>,
    pub(super) last_decision: Option<DecisionView>,
    pub(super) last_reasons: Option<(Decision, Vec<Reason>)>,
    pub(super) retry_at: Option<Time>,
    pub(super) refusals: u8,
    pub(super) slow_mark: Option<Duration>,
    pub(super) records: u16,
    pub(super) diagnosis: Option<Diagnosis>,
    pub(super) watch: WatchPoint,
    /// What is known of other replicas; `None` where this agent is alone.
    pub(super) fleet: Option<Box<Fleet>>,
}

impl Engine {
    /// Starts from what is remembered, at `now`. The effects are to be performed before the first step.
    pub fn start(now: Time, identity: Identity, policy: Policy, memory: Memory) -> (Self, Vec<Effect>) {
        let Memory { baselines, mut releases, open, mut last_act, acts, pause, lock, unverified, watch } =
            memory;
        no_later_than(now, &mut releases, &mut last_act);
        let (own, others): (Vec<_>, Vec<_>) =
            releases.into_iter().partition(|r| r.release == identity.release);
        let known = own.into_iter().next();
        let was_known = known.is_some();
        let own = remember(now, &identity.release, known);
        let (frozen, own_baseline) = choose(now, &own, &others, baselines, &policy);
        let taken_up = watch.filter(|watch| may_go_on(watch, now, &own, &policy));
        let is_new = taken_up.is_none();
        let (mut trial, watch) = match taken_up {
            Some(open) => take_up(&open),
            None => {
                let passed = own.standing == Standing::KnownGood;
                let baseline = Baseline::empty(own.release.clone(), now);
                let mut trial = Trial::new(frozen, baseline, passed, &policy);
                trial.resume(own.first_ready, (own.judged_for, own.judged_requests), &policy);
                (trial, WatchPoint { watch: RecordId::new(now, identity.boot, 0), seq: 0 })
            }
        };
        trial.learn_on(own_baseline);
        let pursuit = open.and_then(|o| Pursuit::take_up(now, &identity.release, o, &policy));
        let mut engine = Self {
            verdict: trial.verdict(now, &policy),
            diagnosis: trial.diagnosis().cloned(),
            last_decision: pursuit.as_ref().map(Pursuit::view),
            identity,
            policy,
            own,
            others,
            trial,
            tick: None,
            ticks: 0,
            pause,
            lock,
            readiness: None,
            pursuit,
            last_act,
            act_before: None,
            acts,
            aftermath: None,
            fallen: None,
            deployment: None,
            schemas: BTreeMap::new(),
            last_reasons: None,
            retry_at: None,
            refusals: 0,
            slow_mark: None,
            records: 0,
            watch,
            fleet: None,
        };
        engine.look_after(unverified);
        if let Some(p) = engine.pursuit.as_ref().filter(|p| p.is_by_the_restored()) {
            engine.own.put_back_by = Some(p.id().clone());
        }
        let mut effects = vec![engine.note(now, Happening::Started { known: was_known })];
        effects.push(Effect::KeepRelease(engine.own.clone()));
        if is_new {
            effects.push(engine.watch_start(now));
        } else {
            engine.fact(now, Fact::Restarted, &mut effects);
        }
        engine.mark_slow(&mut effects);
        (engine, effects)
    }

    /// Takes one fact at `now` and says what to do.
    pub fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Sealed(window) => self.sealed(now, &window, &mut effects),
            Input::BecameReady => self.became_ready(now, &mut effects),
            Input::Exited(exit) => self.exited(now, exit, &mut effects),
            Input::HealthChanged(change) => effects.push(self.note(now, Happening::HealthChanged(change))),
            Input::Paused(pause) => self.paused(now, pause, &mut effects),
            Input::Resumed { by } => self.resumed(now, by, &mut effects),
            Input::Acted { record, acted } => self.acted(now, &record, acted, &mut effects),
            Input::PlatformAnswered { record, live } => self.answered(now, &record, live, &mut effects),
            Input::RecordLost { record } => self.record_lost(now, &record, &mut effects),
            Input::Peer(input) => self.heard(now, *input, &mut effects),
            Input::Stepped { record, step, outcome } => {
                self.stepped(now, &record, step, outcome, &mut effects)
            }
            Input::Locked(lock) => self.locked(now, lock, &mut effects),
            Input::Unlocked { by } => self.unlocked(now, by, &mut effects),
            Input::RollBackAsked { by, why, to } => self.asked_by(now, by, why, to, &mut effects),
            Input::Readiness(readiness) => self.readied(now, readiness, &mut effects),
            Input::PlatformSaw(sight) => self.platform_saw(now, &sight, &mut effects),
            Input::SchemaSeen { probe, version } => self.schema_seen(now, probe, version, &mut effects),
            Input::Following { hello, memory } => self.follow(now, &hello, *memory, &mut effects),
            Input::Inherited(memory) => self.inherited(now, *memory, &mut effects),
        }
        self.follow_verdict(now, &mut effects);
        effects
    }

    /// What may be seen now.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            at: now,
            release: self.identity.release.clone(),
            standing: self.own.standing,
            mode: self.policy.mode,
            policy: self.policy.clone(),
            verdict: self.verdict.clone(),
            evidence: self.trial.evidence(&self.policy),
            latency_progress: self.trial.latency_progress(&self.policy),
            diagnosis: self.trial.diagnosis().cloned(),
            score: self.trial.score(&self.policy),
            outlook: self.trial.outlook(&self.policy),
            worse_dependencies: self.trial.worse_dependencies(&self.policy),
            baseline: self.trial.frozen().map(Baseline::summary),
            own: self.trial.own().summary(),
            others: self.others.as_slice().into(),
            watch: self.trial.watch(now, &self.policy),
            pause: self.pause.clone(),
            lock: self.lock.clone(),
            readiness: self.readiness.clone(),
            cooldown_until: self.cooldown_until(now),
            last_decision: self.last_decision.clone(),
            target: self.target().cloned(),
        }
    }

    fn sealed(&mut self, now: Time, window: &Window, effects: &mut Vec<Effect>) {
        self.end_in_time(now, effects);
        let tick = self.tick.get_or_insert_with(|| Tick::starting(window.from));
        tick.add(window);
        let is_full = match &self.fleet {
            // All agents' ticks begin together.
            Some(_) => Slot::of(tick.to) > Slot::of(tick.from),
            None => tick.to.since(tick.from) >= TICK_SEALED,
        };
        let Some(tick) = self.tick.take_if(|_| is_full) else { return };
        match self.fleet {
            Some(_) => self.share(now, tick, effects),
            None => self.weigh(now, tick, effects),
        }
    }

    fn weigh(&mut self, now: Time, tick: Tick, effects: &mut Vec<Effect>) {
        let held_against = self.trial.frozen().map(|b| (b.release.clone(), b.to));
        let passed = self.fact(now, Fact::Tick(Box::new(tick)), effects);
        let is_new = held_against != self.trial.frozen().map(|b| (b.release.clone(), b.to));
        self.weighed(now, passed, effects);
        if is_new {
            // It is weighed against something else from now on: another watch, with a warm-up of its own.
            self.watch = WatchPoint { watch: self.next_id(now), seq: 0 };
            effects.push(self.watch_start(now));
            self.trial.begin_anew();
            self.fact(now, Fact::Ready, effects);
        }
    }

    /// What follows from a tick or a round.
    pub(super) fn weighed(&mut self, now: Time, passed: Option<PassedBy>, effects: &mut Vec<Effect>) {
        self.ticks += 1;
        if let Some(by) = passed.filter(|_| self.own.standing == Standing::OnTrial) {
            self.own.standing = Standing::KnownGood;
            self.keep(now, effects);
            let requests = self.trial.judged().1;
            effects.push(self.note(now, Happening::WatchPassed { requests, by }));
        } else if self.ticks.is_multiple_of(KEEP_EVERY) {
            self.keep(now, effects);
        }
        self.mark_slow(effects);
        self.pursue(now, effects);
        self.verify(now, effects);
    }

    /// Applies a fact to the trial, and keeps it. Returns by what the watch passed, if it did.
    fn fact(&mut self, now: Time, fact: Fact, effects: &mut Vec<Effect>) -> Option<PassedBy> {
        let passed = fact.apply(now, &mut self.trial, &self.policy);
        self.keep_fact(now, fact, effects);
        passed
    }

    pub(super) fn keep_fact(&mut self, now: Time, fact: Fact, effects: &mut Vec<Effect>) {
        self.watch.seq = self.watch.seq.saturating_add(1);
        let WatchPoint { watch, seq } = self.watch.clone();
        let release = self.identity.release.clone();
        effects.push(Effect::KeepFact(Box::new(KeptFact { watch, seq, at: now, release, fact })));
    }

    pub(super) fn watch_start(&self, now: Time) -> Effect {
        let (judged_for, judged_requests) = self.trial.judged();
        Effect::KeepWatch(Box::new(WatchStart {
            id: self.watch.watch.clone(),
            at: now,
            release: self.identity.release.clone(),
            first_ready: self.own.first_ready,
            passed: self.own.standing == Standing::KnownGood,
            judged_for,
            judged_requests,
            baseline: self.trial.frozen().cloned(),
            policy: self.policy.clone(),
        }))
    }

    fn keep(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.own.last_seen = now;
        (self.own.judged_for, self.own.judged_requests) = self.trial.judged();
        self.own.figures = Some(Box::new(self.trial.own().summary()));
        self.own.score = self.trial.score(&self.policy);
        if self.trial.own().judged > 0 {
            effects.push(Effect::KeepBaseline(Box::new(self.trial.own().clone())));
        }
        effects.push(Effect::KeepRelease(self.own.clone()));
    }

    pub(super) fn mark_slow(&mut self, effects: &mut Vec<Effect>) {
        let mark = self.trial.slow_mark();
        if let Some(slow) = mark.filter(|_| mark != self.slow_mark) {
            self.slow_mark = mark;
            effects.push(Effect::SetSlowMark(slow));
        }
    }

    fn became_ready(&mut self, now: Time, effects: &mut Vec<Effect>) {
        match &mut self.fleet {
            // The others learn it from the next share, and so does the trial.
            Some(fleet) => fleet.ready_at = Some(now),
            None => drop(self.fact(now, Fact::Ready, effects)),
        }
        effects.push(self.note(now, Happening::Ready));
        self.pursue(now, effects);
    }

    fn exited(&mut self, now: Time, exit: Exit, effects: &mut Vec<Effect>) {
        if exit.is_crash() {
            self.own.crashes.push(now);
            let excess = self.own.crashes.len().saturating_sub(CRASHES_MAX);
            self.own.crashes.drain(..excess);
            effects.push(Effect::KeepRelease(self.own.clone()));
        }
        effects.push(self.note(now, Happening::Exited(exit)));
        if let Some(fleet) = &mut self.fleet {
            fleet.ready_at = None;
            fleet.crashed += u64::from(exit.is_crash());
            return;
        }
        let is_loop = is_crash_loop(&self.own.crashes, now, &self.policy);
        self.fact(now, Fact::Exited { exit, is_loop }, effects);
    }

    fn paused(&mut self, now: Time, pause: Pause, effects: &mut Vec<Effect>) {
        // The record first: who waits until the pause is durable then knows that it is, too.
        effects.push(self.note(now, Happening::Paused(pause.clone())));
        effects.push(Effect::KeepPause(Some(pause.clone())));
        self.pause = Some(pause);
    }

    fn resumed(&mut self, now: Time, by: String, effects: &mut Vec<Effect>) {
        if self.pause.take().is_some() {
            effects.push(self.note(now, Happening::Resumed { by }));
            effects.push(Effect::KeepPause(None));
        }
    }

    /// After every step: has the verdict changed, and what is to be done about it?
    fn follow_verdict(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let verdict = self.trial.verdict(now, &self.policy);
        let from = std::mem::replace(&mut self.verdict, verdict.clone());
        if from.label() != verdict.label() {
            let point = Some(self.point());
            effects.push(self.note(now, Happening::VerdictChanged { from, to: verdict, point }));
        }
        let diagnosis = self.trial.diagnosis().cloned();
        let before = std::mem::replace(&mut self.diagnosis, diagnosis.clone());
        if before.as_ref().map(Diagnosis::label) != diagnosis.as_ref().map(Diagnosis::label) {
            effects.push(self.note(now, Happening::Diagnosed(diagnosis)));
        }
        let rested = self.retry_at.is_none_or(|at| at <= now);
        if self.trial.is_degraded() && self.pursuit.is_none() && rested {
            self.decide(now, effects);
        } else if !self.trial.is_degraded() {
            self.last_reasons = None;
            self.stop_seeking();
        }
    }

    fn decide(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let (decision, reasons) = self.weigh_options(now);
        if self.fleet.is_some() {
            match decision {
                _ if self.own.standing == Standing::RolledBack => return self.stop_seeking(),
                Decision::RollBack => return self.seek_votes(now, reasons, effects),
                Decision::Hold => self.stop_seeking(),
            }
        }
        // Whoever is at it says what comes of it; nobody else is needed meanwhile.
        if self.fleet.as_ref().is_some_and(|fleet| fleet.is_seen_to_elsewhere()) {
            return;
        }
        let key = (decision, reasons.clone());
        if self.own.standing == Standing::RolledBack || self.last_reasons.as_ref() == Some(&key) {
            return;
        }
        self.last_reasons = Some(key);
        let decided = self.decided(decision, reasons);
        let id = self.next_id(now);
        let pursuit =
            Pursuit::begin(id.clone(), now, self.identity.release.clone(), decided.clone(), &self.policy);
        match (decision, pursuit) {
            (Decision::RollBack, Some(pursuit)) => self.order(now, pursuit, effects),
            (Decision::RollBack | Decision::Hold, _) => {
                self.last_decision = Some(DecisionView::of(&id, now, &decided));
                let what = Happening::Decided(Box::new(decided));
                effects.push(Effect::Record(Record {
                    id,
                    at: now,
                    release: self.identity.release.clone(),
                    what,
                }));
            }
        }
    }

    pub(super) fn decided(&self, decision: Decision, reasons: Vec<Reason>) -> Decided {
        let progress = match decision {
            Decision::RollBack => Progress::Intended,
            Decision::Hold => Progress::NothingToDo,
        };
        Decided {
            decision,
            reasons,
            target: self.target().cloned(),
            verdict: self.verdict.clone(),
            diagnosis: self.trial.diagnosis().cloned(),
            point: Some(self.point()),
            evidence: self.trial.evidence(&self.policy),
            baseline: self.trial.frozen().map(Baseline::summary),
            ready_at: self.trial.ready_at(),
            policy: self.policy.clone(),
            progress,
            certificate: None,
            steps: Vec::new(),
        }
    }

    /// It is tried again after a rest, in a fleet by another election.
    pub(super) fn retry(&mut self, now: Time) {
        if self.fleet.is_none() {
            self.last_reasons = None;
        }
        self.stop_seeking();
        self.retry_at = Some(now + RETRY_AFTER);
    }

    pub(super) fn target(&self) -> Option<&Release> {
        let good = self.others.iter().filter(|r| r.standing == Standing::KnownGood);
        good.max_by_key(|r| r.last_seen).map(|r| &r.release)
    }

    pub(super) fn cooldown_until(&self, now: Time) -> Option<Time> {
        let until = self.last_act.as_ref()?.at + self.policy.cooldown;
        (until > now).then_some(until)
    }

    pub(super) fn next_id(&mut self, now: Time) -> RecordId {
        self.records = self.records.wrapping_add(1);
        RecordId::new(now, self.identity.boot, self.records)
    }

    pub(super) fn note(&mut self, now: Time, what: Happening) -> Effect {
        let id = self.next_id(now);
        Effect::Record(Record { id, at: now, release: self.identity.release.clone(), what })
    }
}
