//! The trial of the running release: warm-up, evidence, verdict, and what it teaches the next one.
//!
//! Owns the judge, the catastrophe rule and the release's own baseline. Knows nothing of decisions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::judge::catastrophe::{Catastrophe, Known};
use crate::engine::judge::{DOUBT, Finding, Judge, Outlook};
use crate::engine::policy::Policy;
use crate::engine::record::{Exit, PassedBy};
use crate::engine::snapshot::WatchView;
use crate::engine::suspicion::Suspicion;
use crate::engine::tally::Tally;
use crate::engine::tick::{Round, Tick};
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, Undecided, Verdict};

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
    suspicion: Suspicion,
    degraded: Option<(Breach, Time)>,
    diagnosis: Option<Diagnosis>,
    was_healthy: bool,
    silent_ticks: u32,
    /// Ticks since the catastrophe rule last fired.
    quiet_ticks: u32,
    passed: bool,
    warm_up: Duration,
    judged_for: Duration,
    judged_requests: u64,
    first_ready: Time,
    tally: Tally,
    learns: bool,
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
            warm_up: Duration::ZERO,
            suspicion: Suspicion::new(frozen.as_deref(), policy),
            judge,
            frozen,
            own,
            quarantine: VecDeque::new(),
            catastrophe: Catastrophe::default(),
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
        };
        trial.keep_horizon(policy);
        trial
    }

    /// Takes up a watch that an earlier agent had begun.
    pub(crate) const fn resume(&mut self, first_ready: Time, judged_for: Duration, judged_requests: u64) {
        self.first_ready = first_ready;
        self.judged_for = judged_for;
        self.judged_requests = judged_requests;
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
        if exit.is_crash() && is_loop && policy.judging {
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
        let (ready_at, is_warm) = match &mut self.phase {
            Phase::Starting => return,
            Phase::WarmingUp { ready_at, requests } => {
                *requests += tick.ended.max(tick.answered);
                let ready_at = *ready_at;
                let is_over = now.since(ready_at) >= self.warm_up && *requests >= policy.warm_up_requests;
                if is_over {
                    self.phase = Phase::Judging { ready_at };
                }
                // The tick that ends the warm-up still belongs to it.
                (ready_at, false)
            }
            Phase::Judging { ready_at } => (*ready_at, true),
        };
        let age = now.since(ready_at);
        let arm = self.watch_for_catastrophe(&tick, round, is_warm, policy);
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
        let finding = self.finding(arm, is_evidence, policy);
        self.conclude(now, &finding, has_control, policy);
        if !tick.stalled {
            self.learn(Lesson { tick, age, is_warm });
        }
    }

    fn note_others(&mut self, now: Time, tick: &Tick, policy: &Policy) {
        let judge = self.judge.as_ref().ok();
        if let Some(before) = self.suspicion.observe(now, tick, judge, policy) {
            self.judge = Ok(before);
            self.keep_horizon(policy);
            self.forget_catastrophe();
        }
        if self.suspicion.is_suspecting() {
            // What a release is while its database fails is not what it is.
            self.quarantine.clear();
        }
    }

    fn watch_for_catastrophe(
        &mut self,
        tick: &Tick,
        round: &Round,
        is_warm: bool,
        policy: &Policy,
    ) -> Option<Arm> {
        if !policy.judging {
            return None;
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
        let control = round.control.as_ref().map(count);
        let arm = self.catastrophe.observe(counts, control, known, policy);
        if arm.is_some() {
            self.quiet_ticks = 0;
        }
        arm
    }

    fn finding(&self, arm: Option<Arm>, is_evidence: bool, policy: &Policy) -> Finding {
        let judge = self.judge.as_ref().ok();
        let sudden = arm.map(|arm| match judge {
            Some(judge) => judge.find_catastrophe(arm, policy),
            None => Finding::Breach { breach: Breach::Catastrophe(arm), by: None },
        });
        let slow = judge.filter(|_| is_evidence).map(|judge| judge.finding(policy));
        match (sudden, slow) {
            (Some(sudden), slow) => sudden.or(|| slow.unwrap_or(Finding::Nothing)),
            (None, slow) => slow.unwrap_or(Finding::Nothing),
        }
    }

    fn conclude(&mut self, now: Time, finding: &Finding, has_control: bool, policy: &Policy) {
        let diagnosis = self.suspicion.diagnose(now, self.first_ready, finding, has_control, policy);
        if let Finding::Breach { breach, .. } = finding {
            self.degrade(now, breach.clone());
        }
        if diagnosis.is_some() || self.degraded.is_none() {
            self.diagnosis = diagnosis;
        }
        // A hold ends by time alone.
        if let Some(Diagnosis::Dependency { until, hold_ended, .. }) = &mut self.diagnosis {
            *hold_ended = now >= *until;
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
        let crashes = Breach::Crashes;
        let is_well = match &self.judge {
            // Between two crashes a release may be well for minutes.
            Ok(judge) if self.degraded.as_ref().is_some_and(|(b, _)| *b == crashes) => judge.has_rested(),
            Ok(judge) => judge.has_recovered(),
            Err(_) => self.tally.is_well(),
        };
        let recovered = self.degraded.is_some()
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
        let is_well = judge.is_none_or(|judge| judge.is_at_ease(policy) || self.is_silent());
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
        if let Ok(judge) = &mut self.judge {
            judge.forget_catastrophe();
        }
    }

    fn is_silent(&self) -> bool {
        self.silent_ticks >= SILENT_TICKS
    }

    fn keep_horizon(&mut self, policy: &Policy) {
        let learnt = self.judge.as_ref().map(Judge::learnt_warm_up).unwrap_or_default();
        self.warm_up = policy.warm_up.max(if policy.warm_up.is_zero() { Duration::ZERO } else { learnt });
        if let (true, Ok(judge)) = (self.passed, &mut self.judge) {
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
                    left: (*ready_at + self.warm_up).since(now),
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

    /// From this age on an open request is slow; `None` where no baseline says so.
    pub(crate) fn slow_mark(&self) -> Option<Duration> {
        self.judge.as_ref().ok().and_then(Judge::slow_mark_us).map(Duration::from_micros)
    }

    pub(crate) fn evidence(&self, policy: &Policy) -> Vec<StreamEvidence> {
        self.judge.as_ref().map(|j| j.evidence(policy)).unwrap_or_default()
    }

    pub(crate) fn latency_progress(&self, policy: &Policy) -> f64 {
        self.judge.as_ref().map_or(0.0, |j| j.latency_progress(policy))
    }

    /// What could be found at the present traffic; `None` when not judgeable.
    pub(crate) fn outlook(&self, policy: &Policy) -> Option<Outlook> {
        self.judge.as_ref().ok().map(|judge| judge.outlook(policy))
    }

    /// Whose fault it is, if anything is wrong.
    pub(crate) const fn diagnosis(&self) -> Option<&Diagnosis> {
        self.diagnosis.as_ref()
    }

    /// The dependencies that are worse than they used to be, by evidence of their own.
    pub(crate) fn worse_dependencies(&self, policy: &Policy) -> Vec<Arc<str>> {
        self.suspicion.worse(policy)
    }

    /// The health score, 0 to 1.
    pub(crate) fn score(&self, policy: &Policy) -> Option<f64> {
        let most = match &self.degraded {
            None => 1.0,
            Some((Breach::Catastrophe(_), _)) => CATASTROPHE_SCORE,
            Some(_) => DEGRADED_SCORE,
        };
        let score = self.judge.as_ref().ok().and_then(|judge| judge.score(policy));
        match (score, &self.degraded) {
            (None, None) => None,
            (score, _) => Some(score.unwrap_or(most).min(most)),
        }
    }

    pub(crate) fn frozen(&self) -> Option<&Baseline> {
        self.frozen.as_deref()
    }

    pub(crate) const fn own(&self) -> &Baseline {
        &self.own
    }

    pub(crate) fn is_degraded(&self) -> bool {
        self.degraded.is_some()
    }

    pub(crate) fn ready_at(&self) -> Option<Time> {
        match self.phase {
            Phase::Starting => None,
            Phase::WarmingUp { ready_at, .. } | Phase::Judging { ready_at } => Some(ready_at),
        }
    }

    pub(crate) fn judged(&self) -> (Duration, u64) {
        (self.judged_for, self.judged_requests)
    }

    pub(crate) fn watch(&self, now: Time, policy: &Policy) -> Option<WatchView> {
        let ready_at = self.ready_at()?;
        Some(WatchView {
            ready_at,
            ends_at: now.max(ready_at + self.warm_up) + policy.watch.saturating_sub(self.judged_for),
            judged_for: self.judged_for,
            judged_requests: self.judged_requests,
            passed: self.passed,
        })
    }
}
