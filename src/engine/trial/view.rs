//! What may be seen of a trial.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::judge::{Judge, Outlook};
use crate::engine::policy::Policy;
use crate::engine::snapshot::WatchView;
use crate::engine::time::Time;
use crate::engine::trial::{CATASTROPHE_SCORE, DEGRADED_SCORE, Phase, Trial};
use crate::engine::verdict::{Breach, StreamEvidence};

impl Trial {
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
            ends_at: now.max(ready_at + self.warm_up(policy)) + policy.watch.saturating_sub(self.judged_for),
            judged_for: self.judged_for,
            judged_requests: self.judged_requests,
            passed: self.passed,
        })
    }
}
