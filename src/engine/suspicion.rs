//! Who else may be to blame: the dependencies, the network, the agents themselves. From a finding of the judge and what
//! else is known it makes a diagnosis.
//!
//! While a dependency is suspect, evidence against the release is gathered and shown, but when the suspicion ends, what
//! was gathered since shortly before it began is forgotten: an outage that is over must not be held against the release by
//! what remains of it in the sums.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::baseline::Baseline;
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::judge::dependency::{Dependencies, Suspect};
use crate::engine::judge::{Finding, Judge};
use crate::engine::policy::Policy;
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach};

/// A copy of the evidence is kept each so many ticks: what is forgotten begins one to two times as long before the
/// suspicion. Probes are slower to notice than requests.
const KEEP_EVERY: u32 = 4;
/// Ticks by which it is known whether the agents themselves were stalled,
const STALLS: usize = 6;
/// and how many of them make what they saw doubtful.
const STALLED_MIN: usize = 3;

/// What the evidence goes back to when a suspicion ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Before {
    /// There was none yet: it begins afresh.
    #[default]
    Nothing,
    /// What it was then.
    Judge(Box<Judge>),
}

/// What is known of others than the release.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Suspicion {
    dependencies: Dependencies,
    /// The evidence of some ticks ago, the older one first.
    kept: [Option<Judge>; 2],
    ticks: u32,
    /// To be gone back to when the suspicion ends.
    before: Before,
    is_suspecting: bool,
    /// When this release was first not blamed because of a dependency.
    holding_since: Option<Time>,
    stalls: VecDeque<bool>,
}

impl Suspicion {
    pub(crate) fn new(baseline: Option<&Baseline>, policy: &Policy) -> Self {
        Self { dependencies: Dependencies::new(baseline, policy), ..Self::default() }
    }

    /// Takes note of a tick before it is weighed. Returns evidence to go back to, if a suspicion ended.
    pub(crate) fn observe(
        &mut self,
        now: Time,
        tick: &Tick,
        judge: Option<&Judge>,
        policy: &Policy,
    ) -> Option<Before> {
        if self.stalls.len() == STALLS {
            self.stalls.pop_front();
        }
        self.stalls.push_back(tick.stalled);
        if tick.probes.is_empty() && self.dependencies.len() == 0 {
            return None;
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(KEEP_EVERY) && !self.is_suspecting {
            self.kept.swap(0, 1);
            self.kept[1] = judge.cloned();
        }
        // Where the agents themselves were late, so were their probes.
        if !tick.stalled {
            self.dependencies.weigh(now, tick, policy);
        }
        let is_suspecting = self.dependencies.suspects().next().is_some();
        let was_suspecting = std::mem::replace(&mut self.is_suspecting, is_suspecting);
        match (was_suspecting, is_suspecting) {
            (false, true) => {
                self.before =
                    self.kept[0].clone().map_or(Before::Nothing, |judge| Before::Judge(judge.into()));
            }
            (true, false) => return Some(std::mem::take(&mut self.before)),
            (true, true) | (false, false) => {}
        }
        None
    }

    /// Whether a dependency is suspect now.
    pub(crate) const fn is_suspecting(&self) -> bool {
        self.is_suspecting
    }

    /// The dependencies that are worse than they used to be, by evidence.
    pub(crate) fn worse(&self, policy: &Policy) -> Vec<Arc<str>> {
        self.dependencies.worse(libm::log(policy.false_alarm_ticks())).cloned().collect()
    }

    /// A new judge, or none, is in charge: what was kept of the old one is void.
    pub(crate) fn forget(&mut self) {
        self.kept = [None, None];
        self.before = Before::Nothing;
    }

    /// The release is no longer called degraded.
    pub(crate) const fn release(&mut self) {
        self.holding_since = None;
    }

    /// The diagnosis that a finding leads to; `None` where it leads to none.
    pub(crate) fn diagnose(
        &mut self,
        now: Time,
        ready_at: Time,
        finding: &Finding,
        has_control: bool,
        policy: &Policy,
    ) -> Option<Diagnosis> {
        let (breach, by) = match finding {
            Finding::Nothing | Finding::Unclear => return None,
            Finding::Shared { worse_than_its_past } => {
                return Some(Diagnosis::Shared {
                    by_the_release: *worse_than_its_past && !self.is_suspecting,
                });
            }
            Finding::Breach { breach, by } => (breach, by),
        };
        if self.stalls.iter().filter(|&&stalled| stalled).count() >= STALLED_MIN {
            return Some(Diagnosis::Observer);
        }
        if let Some(replica) = by {
            return Some(Diagnosis::Replica { replica: replica.clone() });
        }
        // What the app's crashes and its use of resources are is not compared with the stable release.
        if has_control
            && !matches!(breach, Breach::Crashes | Breach::Resource(_) | Breach::Catastrophe(Arm::Crashes))
        {
            return Some(Diagnosis::Deployment(Ground::ControlIsWell));
        }
        let suspects: Vec<Suspect> = self.dependencies.suspects().collect();
        Some(self.weigh_suspects(now, ready_at, &suspects, policy))
    }

    fn weigh_suspects(
        &mut self,
        now: Time,
        ready_at: Time,
        suspects: &[Suspect],
        policy: &Policy,
    ) -> Diagnosis {
        let Some(first) = suspects.iter().min_by_key(|suspect| suspect.since) else {
            return Diagnosis::Deployment(Ground::NothingElse);
        };
        if suspects.len() > 1 && suspects.len() == self.dependencies.len() {
            return Diagnosis::Network;
        }
        // What was worse before the release came is not its doing.
        let own_doing = suspects.iter().find(|suspect| suspect.overloaded && suspect.since > ready_at);
        if let Some(suspect) = own_doing {
            return Diagnosis::Deployment(Ground::Overloads { probe: suspect.name.clone() });
        }
        let since = *self.holding_since.get_or_insert(now);
        let until = since + policy.hold;
        Diagnosis::Dependency {
            probe: first.name.clone(),
            since: first.since,
            until,
            hold_ended: now >= until,
        }
    }
}
