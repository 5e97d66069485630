//! The trial of the running release: warm-up, evidence, verdict, and what it teaches the next one.
//!
//! Owns the judge, the catastrophe rule and the release's own baseline. Knows nothing of decisions.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::judge::catastrophe::{Catastrophe, Known};
use crate::engine::judge::{DOUBT, Judge};
use crate::engine::policy::Policy;
use crate::engine::record::Exit;
use crate::engine::snapshot::WatchView;
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, Undecided, Verdict};
use crate::engine::tick::Tick;

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

/// The trial of the running release.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trial {
    phase: Phase,
    judge: Result<Judge, NotJudgeable>,
    frozen: Option<Baseline>,
    own: Baseline,
    quarantine: VecDeque<Tick>,
    catastrophe: Catastrophe,
    degraded: Option<(Breach, Time)>,
    was_healthy: bool,
    silent_ticks: u32,
    /// Ticks since the catastrophe rule last fired.
    quiet_ticks: u32,
    passed: bool,
    judged_for: Duration,
    judged_requests: u64,
    first_ready: Time,
    tally: Tally,
}

/// What became of the release's requests, whether or not there is anything to weigh them against. A release that fails a
/// catastrophic share of them is never called good, however little traffic it has.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tally {
    judged: u64,
    failed: u64,
    share: f64,
}

impl Tally {
    fn add(&mut self, tick: &Tick, policy: &Policy) {
        self.judged += tick.judged;
        self.failed += tick.failed;
        self.share = policy.catastrophe_error_share;
    }

    fn is_well(&self) -> bool {
        self.failed == 0 || (self.failed as f64) < self.share * self.judged as f64
    }
}

impl Trial {
    /// A trial against `frozen`, of a release whose own history so far is `own`.
    pub(crate) fn new(frozen: Option<Baseline>, own: Baseline, passed: bool, policy: &Policy) -> Self {
        let mut judge = match &frozen {
            _ if !policy.judging => Err(NotJudgeable::SwitchedOff),
            Some(baseline) => Judge::new(baseline, policy),
            None => Err(NotJudgeable::NoBaseline),
        };
        if let (Ok(judge), true) = (&mut judge, passed) {
            judge.end_watch();
        }
        Self {
            phase: Phase::Starting,
            judge,
            frozen,
            own,
            quarantine: VecDeque::new(),
            catastrophe: Catastrophe::default(),
            degraded: None,
            was_healthy: false,
            silent_ticks: 0,
            quiet_ticks: 0,
            passed,
            judged_for: Duration::ZERO,
            judged_requests: 0,
            first_ready: Time::default(),
            tally: Tally::default(),
        }
    }

    /// Takes up a watch that an earlier agent had begun.
    pub(crate) fn resume(&mut self, first_ready: Time, judged_for: Duration, judged_requests: u64) {
        self.first_ready = first_ready;
        self.judged_for = judged_for;
        self.judged_requests = judged_requests;
    }

    pub(crate) fn became_ready(&mut self, now: Time) {
        self.catastrophe.reset();
        self.phase = Phase::WarmingUp { ready_at: now, requests: 0 };
    }

    /// The app ended; `is_loop` when it did so too often.
    pub(crate) fn exited(&mut self, now: Time, exit: Exit, is_loop: bool, policy: &Policy) {
        self.phase = Phase::Starting;
        if exit.is_crash() && is_loop && policy.judging {
            self.degrade(now, Breach::Catastrophe(Arm::Crashes));
        }
    }

    /// Weighs one sealed tick.
    pub(crate) fn weigh(&mut self, now: Time, tick: &Tick, policy: &Policy) {
        self.silent_ticks =
            if tick.arrived + tick.judged + tick.waiting > 0 { 0 } else { self.silent_ticks + 1 };
        let is_warm = match &mut self.phase {
            Phase::Starting => return,
            Phase::WarmingUp { ready_at, requests } => {
                *requests += tick.ended.max(tick.answered);
                if now.since(*ready_at) >= policy.warm_up && *requests >= policy.warm_up_requests {
                    self.phase = Phase::Judging { ready_at: *ready_at };
                }
                // The tick that ends the warm-up still belongs to it.
                false
            }
            Phase::Judging { .. } => true,
        };
        self.watch_for_catastrophe(now, tick, is_warm, policy);
        self.tally.add(tick, policy);
        if is_warm && !tick.stalled {
            self.judge(now, tick, policy);
            self.learn(tick);
        }
    }

    fn watch_for_catastrophe(&mut self, now: Time, tick: &Tick, is_warm: bool, policy: &Policy) {
        if !policy.judging {
            return;
        }
        let judge = self.judge.as_ref().ok();
        let known = Known {
            errors_limit: judge.map_or(0.0, Judge::errors_limit),
            median_limit_us: judge.filter(|_| is_warm).and_then(Judge::median_limit_us),
            is_slow_marked: judge.is_some_and(|j| j.slow_mark_us().is_some()),
        };
        if tick.judged > 0 {
            self.quiet_ticks += 1;
        }
        if let Some(arm) = self.catastrophe.observe(tick, known, policy) {
            self.quiet_ticks = 0;
            self.degrade(now, Breach::Catastrophe(arm));
        }
    }

    fn judge(&mut self, now: Time, tick: &Tick, policy: &Policy) {
        self.judged_for += tick.to.since(tick.from);
        self.judged_requests += tick.judged;
        let Ok(judge) = &mut self.judge else { return };
        judge.weigh(tick);
        if let Some(breach) = judge.breach(policy) {
            self.degrade(now, breach);
        }
    }

    fn degrade(&mut self, now: Time, breach: Breach) {
        self.quarantine.clear();
        self.was_healthy = false;
        self.degraded.get_or_insert((breach, now));
    }

    fn learn(&mut self, tick: &Tick) {
        if self.degraded.is_some() {
            return;
        }
        self.quarantine.push_back(tick.clone());
        if self.quarantine.len() > QUARANTINE_TICKS
            && let Some(old) = self.quarantine.pop_front()
        {
            self.own.learn(&old);
        }
    }

    /// Ends the degraded state when the release has been well for a minute. Returns whether it did.
    pub(crate) fn recover(&mut self, policy: &Policy) -> bool {
        let is_well = self.judge.as_ref().map_or(self.tally.is_well(), Judge::has_recovered);
        let recovered = self.degraded.is_some() && self.quiet_ticks >= RECOVERY_TICKS && is_well;
        if recovered {
            self.degraded = None;
            self.tally = Tally::default();
            if let Some(baseline) = &self.frozen {
                self.judge = Judge::new(baseline, policy);
                self.keep_horizon();
            }
        }
        recovered
    }

    /// Ends the watch if it is due. Returns whether it did.
    pub(crate) fn pass(&mut self, now: Time, policy: &Policy) -> bool {
        let passes = self.passes(now, policy);
        self.adopt_own(policy);
        passes
    }

    fn passes(&mut self, now: Time, policy: &Policy) -> bool {
        if self.phase == Phase::Starting || self.passed || self.degraded.is_some() || !policy.judging {
            return false;
        }
        let enough = self.judged_for >= policy.watch && self.judged_requests >= policy.known_good_requests;
        if !enough && now.since(self.first_ready) < policy.watch_max {
            return false;
        }
        // Not in doubt: an illness that began in the last seconds of a watch shall not be called good for it.
        let is_well = self.judge.as_ref().map_or(true, |judge| judge.is_at_ease(policy) || self.is_silent());
        if !is_well || !self.tally.is_well() {
            return false;
        }
        self.passed = true;
        for tick in std::mem::take(&mut self.quarantine) {
            self.own.learn(&tick);
        }
        self.keep_horizon();
        true
    }

    /// A release that is known good without anything to be weighed against is weighed against its own past.
    fn adopt_own(&mut self, policy: &Policy) {
        if !self.passed || self.judge.is_ok() || !policy.judging {
            return;
        }
        self.judge = Judge::new(&self.own, policy);
        if self.judge.is_ok() {
            self.frozen = Some(self.own.clone());
        }
        self.keep_horizon();
    }

    fn is_silent(&self) -> bool {
        self.silent_ticks >= SILENT_TICKS
    }

    fn keep_horizon(&mut self) {
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
                    left: (*ready_at + policy.warm_up).since(now),
                    requests_left: policy.warm_up_requests.saturating_sub(*requests),
                });
            }
            (Ok(judge), Phase::Judging { .. }) => judge,
        };
        if self.is_silent() {
            self.was_healthy = false;
            return Verdict::Undecided(Undecided::NoTraffic);
        }
        let doubt = judge.evidence(policy).iter().map(StreamEvidence::progress).fold(0.0, f64::max);
        self.was_healthy = doubt < DOUBT && (self.was_healthy || judge.is_clear());
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

    pub(crate) fn frozen(&self) -> Option<&Baseline> {
        self.frozen.as_ref()
    }

    pub(crate) fn own(&self) -> &Baseline {
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
            ends_at: now.max(ready_at + policy.warm_up) + policy.watch.saturating_sub(self.judged_for),
            judged_for: self.judged_for,
            judged_requests: self.judged_requests,
            passed: self.passed,
        })
    }
}
