//! The trial of the running release: warm-up, evidence, verdict, and what it teaches the next one.
//!
//! Owns the judge, the catastrophe rule and the release's own baseline. Knows nothing of decisions.

mod fleet;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::judge::catastrophe::{ByReplica, Catastrophe, Known};
use crate::engine::judge::{DOUBT, Finding, Judge};
use crate::engine::policy::Policy;
use crate::engine::record::{Exit, PassedBy};
use crate::engine::suspicion::{Before, Suspicion};
use crate::engine::tally::Tally;
use crate::engine::tick::{Round, Tick};
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach, NotJudgeable, Undecided, Verdict};

/// A tick is learnt from only after so many more have passed without the release being called degraded, or when the
/// release passes its watch without being in doubt: a baseline is not learnt from the minute in which an illness began.
const QUARANTINE_TICKS: usize = 12;
/// Ticks without a request after which there is no traffic to judge: a minute.
const SILENT_TICKS: u32 = 12;
/// Ticks without a catastrophe after which a degraded release may be called recovered.
const RECOVERY_TICKS: u32 = 12;

#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// The app is not ready.
    Starting,
    /// Ready, but not judged yet.
    WarmingUp { ready_at: Time, requests: u64 },
    /// Judged.
    Judging { ready_at: Time },
}

/// A degraded release's score is at most this,
const DEGRADED_SCORE: f64 = 0.5;
/// and one by the catastrophe rule this.
const CATASTROPHE_SCORE: f64 = 0.1;

/// The trial of the running release.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    phase: Phase,
    judge: Result<Judge, NotJudgeable>,
    frozen: Option<Arc<Baseline>>,
    own: Baseline,
    quarantine: VecDeque<Lesson>,
    catastrophe: Catastrophe,
    by_replica: ByReplica,
    suspicion: Suspicion,
    degraded: Option<(Breach, Time)>,
    diagnosis: Option<Diagnosis>,
    was_healthy: bool,
    silent_ticks: u32,
    /// Ticks since the catastrophe rule last fired.
    quiet_ticks: u32,
    passed: bool,
    judged_for: Duration,
    judged_requests: u64,
    first_ready: Time,
    tally: Tally,
    learns: bool,
    /// The last crashes of all replicas; only where there are several.
    crashes: VecDeque<(Time, Arc<str>)>,
}

/// A tick that may be learnt from.
#[derive(Clone, Debug, PartialEq)]
struct Lesson {
    tick: Tick,
    /// The app's age at its end.
    age: Duration,
    /// It was judged, not part of the warm-up.
    is_warm: bool,
}

impl Trial {
    /// A trial against `frozen`, of a release whose own history so far is `own`.
    pub(crate) fn new(frozen: Option<Baseline>, own: Baseline, passed: bool, policy: &Policy) -> Self {
        let frozen = frozen.map(Arc::new);
        let judge = match &frozen {
            _ if !policy.judging => Err(NotJudgeable::SwitchedOff),
            Some(baseline) => Judge::new(baseline, policy),
            None => Err(NotJudgeable::NoBaseline),
        };
        let mut trial = Self {
            phase: Phase::Starting,
            suspicion: Suspicion::new(frozen.as_deref(), policy),
            judge,
            frozen,
            own,
            quarantine: VecDeque::new(),
            catastrophe: Catastrophe::default(),
            by_replica: ByReplica::default(),
            degraded: None,
            diagnosis: None,
            was_healthy: false,
            silent_ticks: 0,
            quiet_ticks: 0,
            passed,
            judged_for: Duration::ZERO,
            judged_requests: 0,
            first_ready: Time::default(),
            tally: Tally::default(),
            learns: true,
            crashes: VecDeque::new(),
        };
        trial.keep_horizon(policy);
        trial
    }

    /// Takes up a watch that an earlier agent had begun.
    pub(crate) fn resume(
        &mut self,
        first_ready: Time,
        (judged_for, judged_requests): (Duration, u64),
        policy: &Policy,
    ) {
        self.first_ready = first_ready;
        self.judged_for = judged_for;
        self.judged_requests = judged_requests;
        self.keep_horizon(policy);
    }

    /// From now on the release's own baseline stays as it is.
    pub(crate) const fn stop_learning(&mut self) {
        self.learns = false;
    }

    /// From now on the release's own history is `own` and grows.
    pub(crate) fn learn_on(&mut self, own: Baseline) {
        self.own = own;
        self.learns = true;
    }

    /// Another watch begins in the midst of things: nothing that was counted so far counts in it.
    pub(crate) fn begin_anew(&mut self) {
        self.silent_ticks = 0;
        self.quiet_ticks = 0;
        self.was_healthy = false;
        self.tally = Tally::default();
    }

    /// The agent started again, and the app with it.
    pub(crate) fn restarted(&mut self) {
        self.phase = Phase::Starting;
    }

    pub(crate) fn became_ready(&mut self, now: Time) {
        self.forget_catastrophe();
        self.phase = Phase::WarmingUp { ready_at: now, requests: 0 };
    }

    /// The app ended; `is_loop` when it did so too often.
    pub(crate) fn exited(&mut self, now: Time, exit: Exit, is_loop: bool, policy: &Policy) {
        self.phase = Phase::Starting;
        if !exit.is_crash() {
            return;
        }
        if self.learns {
            self.own.learn_crash();
        }
        if let Ok(judge) = &mut self.judge {
            judge.weigh_crash();
        }
        if is_loop && policy.judging {
            self.quiet_ticks = 0;
            if let Ok(judge) = &mut self.judge {
                judge.forget_good_ticks();
            }
            let breach = Breach::Catastrophe(Arm::Crashes);
            self.conclude(now, &Finding::Breach { breach, by: None }, false, policy);
        }
    }

    /// The watch is over by other means than this trial's own.
    pub(crate) fn end_watch(&mut self, policy: &Policy) {
        self.passed = true;
        self.keep_horizon(policy);
    }

    /// Weighs one sealed tick of all replicas.
    pub(crate) fn weigh(&mut self, now: Time, round: &Round, policy: &Policy) {
        // Routes are only learnt from the sum; they are judged replica by replica.
        let tick = if self.learns { round.pooled() } else { round.pooled_without_routes() };
        self.silent_ticks = if tick.has_traffic() { 0 } else { self.silent_ticks + 1 };
        self.note_others(now, &tick, policy);
        if self.first_ready > Time::default()
            && let Ok(judge) = &mut self.judge
        {
            judge.weigh_crashes(&tick);
        }
        let warm_up = self.warm_up(policy);
        let (ready_at, is_warm) = match &mut self.phase {
            Phase::Starting => return,
            Phase::WarmingUp { ready_at, requests } => {
                *requests += tick.ended.max(tick.answered);
                let ready_at = *ready_at;
                let is_over = now.since(ready_at) >= warm_up && *requests >= policy.warm_up_requests;
                if is_over {
                    self.phase = Phase::Judging { ready_at };
                }
                // The tick that ends the warm-up still belongs to it.
                (ready_at, false)
            }
            Phase::Judging { ready_at } => (*ready_at, true),
        };
        let age = now.since(ready_at);
        let sudden = self.watch_for_catastrophe(&tick, round, is_warm, policy);
        self.tally.add(&tick, policy);
        let is_evidence = is_warm && !tick.stalled;
        if is_evidence {
            self.judged_for += tick.to.since(tick.from);
            self.judged_requests += tick.judged;
            if let Ok(judge) = &mut self.judge {
                judge.weigh(now, age, round, &tick, policy);
            }
        }
        let has_control = round.control.as_ref().is_some_and(Tick::has_traffic);
        let judge = self.judge.as_ref().ok().filter(|_| is_evidence);
        let finding = sudden.or(|| judge.map_or(Finding::Nothing, |judge| judge.finding(policy)));
        self.conclude(now, &finding, has_control, policy);
        if !tick.stalled {
            self.learn(Lesson { tick, age, is_warm });
        }
    }

    fn note_others(&mut self, now: Time, tick: &Tick, policy: &Policy) {
        let judge = self.judge.as_ref().ok();
        if let Some(before) = self.suspicion.observe(now, tick, judge, policy) {
            self.go_back(before, policy);
        }
        if self.suspicion.is_suspecting() {
            // What a release is while its database fails is not what it is.
            self.quarantine.clear();
        }
    }

    /// An outage of others is over: what was gathered while it lasted is not held against the release.
    fn go_back(&mut self, before: Before, policy: &Policy) {
        if self.judge.is_ok() {
            match (before, &self.frozen) {
                (Before::Judge(judge), _) => self.judge = Ok(*judge),
                (Before::Nothing, Some(baseline)) => self.judge = Judge::new(baseline, policy),
                (Before::Nothing, None) => {}
            }
        }
        self.keep_horizon(policy);
        self.forget_catastrophe();
        if matches!(self.diagnosis, Some(Diagnosis::Dependency { .. } | Diagnosis::Network)) {
            self.degraded = None;
            self.diagnosis = None;
            self.suspicion.release();
            self.tally = Tally::default();
        }
    }

    fn watch_for_catastrophe(
        &mut self,
        tick: &Tick,
        round: &Round,
        is_warm: bool,
        policy: &Policy,
    ) -> Finding {
        if !policy.judging {
            return Finding::Nothing;
        }
        let judge = self.judge.as_ref().ok();
        let count = |tick: &Tick| {
            judge.map_or_else(|| Judge::counts_without_baseline(tick), |judge| judge.counts(tick, is_warm))
        };
        let known = judge.map_or_else(Known::default, Judge::known);
        if tick.judged > 0 {
            self.quiet_ticks += 1;
        }
        let counts = (!tick.stalled).then(|| count(tick));
        let control = round.control.as_ref().filter(|tick| !tick.stalled).map(count);
        let live = round.candidate.iter().filter(|(_, tick)| !tick.stalled);
        let parts = live.map(|(replica, tick)| (replica.clone(), count(tick))).collect();
        let arm = self.catastrophe.observe(counts, control, known, policy);
        self.by_replica.observe(parts, policy);
        let Some(arm) = arm else { return Finding::Nothing };
        self.quiet_ticks = 0;
        Finding::from_blame(Breach::Catastrophe(arm), self.by_replica.blame(known, policy))
    }

    fn conclude(&mut self, now: Time, finding: &Finding, has_control: bool, policy: &Policy) {
        let diagnosis = self.suspicion.diagnose(now, self.first_ready, finding, has_control, policy);
        if let Finding::Breach { breach, .. } = finding {
            self.degrade(now, breach.clone());
        }
        if diagnosis.is_some() || self.degraded.is_none() {
            self.diagnosis = diagnosis;
        }
        // A hold ends by time, and leads to something only while the dependency is still worse.
        if let Some(Diagnosis::Dependency { until, hold_ended, .. }) = &mut self.diagnosis {
            *hold_ended = now >= *until && self.suspicion.is_suspecting();
        }
    }

    fn degrade(&mut self, now: Time, breach: Breach) {
        self.quarantine.clear();
        self.was_healthy = false;
        self.degraded.get_or_insert((breach, now));
    }

    fn learn(&mut self, lesson: Lesson) {
        if !self.learns || self.degraded.is_some() || self.suspicion.is_suspecting() {
            return;
        }
        self.quarantine.push_back(lesson);
        if self.quarantine.len() > QUARANTINE_TICKS
            && let Some(old) = self.quarantine.pop_front()
        {
            self.take(&old);
        }
    }

    fn take(&mut self, Lesson { tick, age, is_warm }: &Lesson) {
        if *is_warm {
            self.own.learn(tick, *age);
        } else {
            self.own.learn_start(tick, *age);
        }
    }

    /// Ends the degraded state when the release has been well for a minute. Returns whether it did.
    pub(crate) fn recover(&mut self, policy: &Policy) -> bool {
        let crashes =
            matches!(&self.degraded, Some((Breach::Crashes | Breach::Catastrophe(Arm::Crashes), _)));
        let is_well = match &self.judge {
            // Between two crashes a release may be well for minutes.
            Ok(judge) if crashes => judge.has_rested(),
            Ok(judge) => judge.has_recovered(),
            Err(_) => self.tally.is_well(),
        };
        let is_up = matches!(self.phase, Phase::Judging { .. });
        let recovered = self.degraded.is_some()
            && is_up
            && self.quiet_ticks >= RECOVERY_TICKS
            && is_well
            && !self.suspicion.is_suspecting();
        if recovered {
            self.degraded = None;
            self.diagnosis = None;
            self.suspicion.release();
            self.suspicion.forget();
            self.tally = Tally::default();
            if let Some(baseline) = &self.frozen {
                self.judge = Judge::new(baseline, policy);
                self.keep_horizon(policy);
            }
        }
        recovered
    }

    /// Ends the watch if it is due. Returns by what, if it did.
    pub(crate) fn pass(&mut self, now: Time, policy: &Policy) -> Option<PassedBy> {
        let passed = self.passes(now, policy);
        if passed.is_some() {
            self.passed = true;
            for lesson in std::mem::take(&mut self.quarantine) {
                self.take(&lesson);
            }
            self.keep_horizon(policy);
        }
        self.adopt_own(policy);
        passed
    }

    fn passes(&self, now: Time, policy: &Policy) -> Option<PassedBy> {
        if self.phase == Phase::Starting || self.passed || self.degraded.is_some() || !policy.judging {
            return None;
        }
        let enough = self.judged_for >= policy.watch && self.judged_requests >= policy.known_good_requests;
        if !enough && now.since(self.first_ready) < policy.watch_max {
            return None;
        }
        // Not in doubt: an illness that began in the last seconds of a watch shall not be called good for it.
        let judge = self.judge.as_ref().ok();
        let is_well = judge.is_none_or(|judge| judge.is_at_ease(policy, self.is_silent()));
        if !is_well || !self.tally.is_well() || self.diagnosis.is_some() || self.suspicion.is_suspecting() {
            return None;
        }
        Some(match judge {
            _ if !enough => PassedBy::TimeCap,
            Some(judge) if judge.is_clear_in_all() => PassedBy::Proof,
            Some(_) | None => PassedBy::NotContradicted,
        })
    }

    /// A release that is known good without anything to be weighed against is weighed against its own past.
    fn adopt_own(&mut self, policy: &Policy) {
        if !self.passed || !self.learns || self.judge.is_ok() || !policy.judging {
            return;
        }
        let own = Arc::new(self.own.clone());
        self.judge = Judge::new(&own, policy);
        if self.judge.is_ok() {
            self.suspicion = Suspicion::new(Some(&own), policy);
            self.frozen = Some(own);
        }
        self.keep_horizon(policy);
    }

    fn forget_catastrophe(&mut self) {
        self.catastrophe.reset();
        self.by_replica.reset();
    }

    fn is_silent(&self) -> bool {
        self.silent_ticks >= SILENT_TICKS
    }

    /// How long a start is not judged: as the policy says, or as long as the baseline's release took. Without a warm-up by the
    /// policy there is none.
    pub(crate) fn warm_up(&self, policy: &Policy) -> Duration {
        let learnt = self.judge.as_ref().map(Judge::learnt_warm_up).unwrap_or_default();
        if policy.warm_up.is_zero() { Duration::ZERO } else { policy.warm_up.max(learnt) }
    }

    fn keep_horizon(&mut self, policy: &Policy) {
        // The promise of the watch is made once, however often it is taken up again.
        let is_over = self.passed || self.judged_for >= policy.watch;
        if let (true, Ok(judge)) = (is_over, &mut self.judge) {
            judge.end_watch();
        }
    }

    /// The verdict now.
    pub(crate) fn verdict(&mut self, now: Time, policy: &Policy) -> Verdict {
        if let Some((breach, since)) = &self.degraded {
            return Verdict::Degraded { breach: breach.clone(), since: *since };
        }
        let judge = match (&self.judge, &self.phase) {
            (Err(why), _) => return Verdict::NotJudgeable(why.clone()),
            (Ok(_), Phase::Starting) => return Verdict::Undecided(Undecided::Starting),
            (Ok(_), Phase::WarmingUp { ready_at, requests }) => {
                return Verdict::Undecided(Undecided::WarmingUp {
                    left: (*ready_at + self.warm_up(policy)).since(now),
                    requests_left: policy.warm_up_requests.saturating_sub(*requests),
                });
            }
            (Ok(judge), Phase::Judging { .. }) => judge,
        };
        if self.is_silent() {
            self.was_healthy = false;
            return Verdict::Undecided(Undecided::NoTraffic);
        }
        self.was_healthy =
            self.diagnosis.is_none() && judge.doubt(policy) < DOUBT && (self.was_healthy || judge.is_clear());
        if self.diagnosis.is_some() {
            return Verdict::Undecided(Undecided::Shared);
        }
        if self.was_healthy { Verdict::Healthy } else { Verdict::Undecided(Undecided::Gathering) }
    }
}
