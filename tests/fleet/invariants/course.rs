//! What must hold of a fleet's whole course, looked at when nothing more is to come.

use std::collections::BTreeSet;

use outrigger::engine::ballot::{Abstention, Objection, Opinion};
use outrigger::engine::memory::Standing;
use outrigger::engine::record::{Decision, Happening, Progress, Reason, Record};

use crate::agent::AgentId;
use crate::counts::Seen;
use crate::plan::{Illness, Theme};
use crate::platform::Course;
use crate::world::World;

impl World {
    pub(crate) fn count_opinion(&mut self, opinion: Opinion) {
        self.counts.see(match opinion {
            Opinion::Yes => Seen::SaidYes,
            Opinion::No(Objection::Granted) => Seen::NoGranted,
            Opinion::No(Objection::NotDegraded) => Seen::NoNotDegraded,
            Opinion::No(Objection::Stale) => Seen::NoStale,
            Opinion::No(Objection::OtherRoster) => Seen::RosterRefused,
            Opinion::No(Objection::Paused) => Seen::PauseRefused,
            Opinion::No(Objection::ActedBefore) => Seen::ActedRefused,
            Opinion::No(
                Objection::NotBlamed
                | Objection::Target
                | Objection::NotCurrent
                | Objection::Mode
                | Objection::Policy
                | Objection::OtherPolicy
                | Objection::OtherBaseline,
            ) => Seen::SaidNo,
            Opinion::Abstain(Abstention::Quiet) => Seen::AbstainedQuiet,
            Opinion::Abstain(Abstention::Tilt) => Seen::AbstainedTilt,
            Opinion::Abstain(Abstention::NoVote | Abstention::WarmingUp | Abstention::NotDurable) => {
                Seen::AbstainedOtherwise
            }
        });
    }

    pub(crate) fn count_record(&mut self, record: &Record) {
        let Happening::Decided(decided) = &record.what else { return };
        match &decided.progress {
            Progress::Interrupted { .. } => self.counts.see(Seen::Interrupted),
            Progress::Succeeded { .. } => self.counts.see(Seen::TakenUp),
            Progress::NothingToDo
            | Progress::Intended
            | Progress::Accepted { .. }
            | Progress::DryRun { .. }
            | Progress::Failed { .. } => {}
        }
        for reason in &decided.reasons {
            match reason {
                Reason::NotElected { .. } => self.counts.see(Seen::GaveUp),
                Reason::NoLongerLive { .. } => self.counts.see(Seen::NoLongerLive),
                Reason::DecidedElsewhere { .. } => self.counts.see(Seen::DecidedElsewhere),
                Reason::LeaseOver => self.counts.see(Seen::LeaseOverBeforeOrder),
                Reason::Holding { .. } => self.counts.see(Seen::HeldForDependency),
                Reason::NotBlamed => self.counts.see(Seen::HeldForReplica),
                Reason::Degraded
                | Reason::OnTrial
                | Reason::WatchHasPassed
                | Reason::ModeObserve
                | Reason::ModeRecommend
                | Reason::ModeEnforce
                | Reason::Paused(_)
                | Reason::CoolingDown { .. }
                | Reason::NoTarget
                | Reason::LastKnownGood
                | Reason::WasPutBack
                | Reason::SeveralReplicas { .. }
                | Reason::ActedBefore { .. }
                | Reason::NotRecorded
                | Reason::Blamed
                | Reason::HoldEndedYoung
                | Reason::HoldEndedOld
                | Reason::Elected { .. }
                | Reason::LeftToOthers
                | Reason::PlatformUnread { .. }
                | Reason::Refused { .. }
                | Reason::BudgetSpent { .. }
                | Reason::SchemaMoved { .. }
                | Reason::AskedBy { .. }
                | Reason::AllDown { .. }
                | Reason::TooManyVoters { .. } => {}
            }
        }
    }

    pub(crate) fn count_call(&mut self, course: &Course, refused: bool) {
        if course.answered.is_none() {
            self.counts.see(Seen::ReplyLost);
        }
        if refused {
            self.counts.see(Seen::CallRefused);
        }
        if self.plan.replicas == 1 {
            self.counts.see(Seen::CalledAlone);
        }
    }

    /// The fleet's end.
    pub(crate) fn end(&mut self) {
        if self.plan.rates > crate::plan::RATES_WITHIN {
            self.counts.see(Seen::BeyondDrift);
        }
        self.check_liveness();
        self.check_agreement();
        self.check_obligations();
    }

    /// I9: where enough voters could talk, one of them could call, and the release was bad, it was rolled back.
    fn check_liveness(&mut self) {
        let Some(bad) = self.still_bad() else { return };
        self.counts.see(Seen::Live);
        let effective =
            self.platform.calls.iter().filter(|call| call.accused == bad && call.landed.is_some()).count();
        if effective == 0 {
            let name = self.platform.deployments[bad].name.clone();
            let text = format!("{name} is live and bad, and nobody rolled it back");
            self.fail("I9 what is bad is rolled back in time", text);
        }
    }

    /// The bad deployment that should be gone, if it was the fleet's to do so.
    fn still_bad(&self) -> Option<usize> {
        let id = self.platform.newest();
        let of = &self.platform.deployments[id];
        let live = of.live_at?;
        let time_enough = self.now >= self.plan.calm_from.max(live + self.plan.onset) + LIVE_WITHIN;
        let is_ill = matches!(self.plan.illness, Illness::Failing | Illness::Slow);
        let is_plain = !of.is_over
            && of.is_bad
            && is_ill
            && !self.witness.beyond_drift
            && self.plan.offsets <= 200
            && self.plan.stranger.is_none()
            && self.plan.foreigner.is_none();
        if !time_enough || !is_plain {
            return None;
        }
        let agents: Vec<AgentId> = of.hosts.iter().filter_map(|&host| self.places[host].agent).collect();
        let knows_target = |id: &AgentId| {
            let disk = &self.agents[*id].disk;
            let is_good = |(release, memory): (
                &outrigger::engine::release::Release,
                &outrigger::engine::memory::ReleaseMemory,
            )| {
                memory.standing == Standing::KnownGood && disk.baselines.contains_key(release)
            };
            disk.releases.iter().any(is_good)
        };
        let all_there = agents.len() == of.hosts.len();
        let can_call = agents.iter().any(|&id| self.agents[id].may_call);
        let has_acted = self.platform.calls.iter().any(|call| call.takes_effect || call.unanswered);
        let is_known = agents.iter().all(knows_target);
        (all_there && can_call && is_known && !has_acted && !self.witness.has_pause()).then_some(id)
    }

    /// I8, second part: agents of one deployment that were never parted weighed the same.
    fn check_agreement(&mut self) {
        if self.plan.theme != Theme::Quiet {
            return;
        }
        for a in 0..self.agents.len() {
            for b in a + 1..self.agents.len() {
                if self.agents[a].deployment != self.agents[b].deployment {
                    continue;
                }
                let (ours, theirs) = (&self.witness.seats[a].rounds, &self.witness.seats[b].rounds);
                let differs = ours.iter().find(|(slot, round)| theirs.get(slot).is_some_and(|r| r != *round));
                if let Some((slot, round)) = differs {
                    let text = format!("agents {a} and {b}, {slot:?}: {round:?} and {:?}", theirs.get(slot));
                    return self.fail("I8 the same evidence for all", text);
                }
            }
        }
    }

    /// V4: a rollback that had its effect comes to its end in the records of whoever lives on and learnt of it.
    fn check_obligations(&mut self) {
        let landed = self.platform.calls.iter().filter_map(|call| call.landed).max();
        let Some(landed) = landed else { return };
        if self.now < landed.max(self.plan.calm_from) + 65_000 {
            return;
        }
        let mut open = BTreeSet::new();
        for agent in self.agents.iter().filter(|agent| agent.alive) {
            for record in agent.disk.decisions.values() {
                let decided = record.what.decided();
                if decided.is_some_and(|d| d.decision == Decision::RollBack && d.progress.is_open()) {
                    open.insert((agent.peer.replica.to_string(), record.id.to_string()));
                }
            }
        }
        if !open.is_empty() {
            self.fail("V4 a rollback comes to its end", format!("{open:?} are open"));
        }
    }
}

/// Three times the lease and the longest call, the warm-up, what it takes to see that it is bad, and the quiet after a start.
const LIVE_WITHIN: u64 = 3 * 25_000 + 10_000 + 30_000 + 30_000;
