//! A trial by what all replicas saw: whether the app is ready, and how often it crashed, is in the rounds.

use std::sync::Arc;

use crate::engine::evidence::FleetRound;
use crate::engine::judge::Finding;
use crate::engine::memory::CRASHES_MAX;
use crate::engine::policy::Policy;
use crate::engine::tick::{REPLICAS_MAX, Round, TICK};
use crate::engine::time::Time;
use crate::engine::trial::{Phase, Trial};
use crate::engine::verdict::{Arm, Breach};

impl Trial {
    /// Weighs what all replicas of the release saw in one slot. Whether the app is ready, and whether it crashed, is in the
    /// round: it is the same for all agents.
    pub(crate) fn weigh_fleet(&mut self, at: Time, of: &FleetRound, policy: &Policy) {
        match (&self.phase, of.age) {
            (Phase::Starting, Some(age)) => self.became_ready(at - age),
            (Phase::WarmingUp { .. } | Phase::Judging { .. }, None) => self.phase = Phase::Starting,
            // All that is up started anew since: it is warmed up anew.
            (Phase::WarmingUp { ready_at, .. } | Phase::Judging { ready_at }, Some(age))
                if age < self.warm_up(policy) && at - age > *ready_at + TICK =>
            {
                self.became_ready(at - age);
            }
            (Phase::Starting, None) | (Phase::WarmingUp { .. } | Phase::Judging { .. }, Some(_)) => {}
        }
        self.count_crashes(at, of, policy);
        let round = Round { candidate: of.candidate.clone(), control: of.control.clone() };
        self.weigh(at, &round, policy);
    }

    /// Crashes of all replicas together are a loop where they come to the policy's count for each three replicas.
    fn count_crashes(&mut self, at: Time, of: &FleetRound, policy: &Policy) {
        for (replica, tick) in &of.candidate {
            let crashes = usize::try_from(tick.crashes).unwrap_or(CRASHES_MAX).min(CRASHES_MAX);
            self.crashes.extend(std::iter::repeat_n((at, Arc::clone(replica)), crashes));
            if self.learns && self.phase == Phase::Starting {
                (0..crashes).for_each(|_| self.own.learn_crash());
            }
        }
        let excess = self.crashes.len().saturating_sub(CRASHES_MAX * REPLICAS_MAX);
        self.crashes.drain(..excess);
        self.crashes.retain(|(crashed, _)| at.since(*crashed) <= policy.crashes_within);
        let loops = policy.crashes as usize * of.candidate.len().div_ceil(3);
        if self.crashes.len() < loops || !policy.judging || self.crashes.is_empty() {
            return;
        }
        let first = self.crashes.front().map(|(_, replica)| Arc::clone(replica));
        let is_one = of.candidate.len() > 1 && self.crashes.iter().all(|(_, r)| Some(r) == first.as_ref());
        self.quiet_ticks = 0;
        if let Ok(judge) = &mut self.judge {
            judge.forget_good_ticks();
        }
        let finding =
            Finding::Breach { breach: Breach::Catastrophe(Arm::Crashes), by: first.filter(|_| is_one) };
        self.conclude(at, &finding, false, policy);
    }
}
