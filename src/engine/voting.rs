//! The engine's part in the vote: what it thinks of a request for one, when it stands itself, and what follows from an
//! election.

use std::time::Duration;

use crate::engine::ballot::{self, Abstention, Ask, Motion, Objection, Opinion, Out};
use crate::engine::decide::{Situation, decide};
use crate::engine::diagnosis::Diagnosis;
use crate::engine::fleet::{Elected, not_elected};
use crate::engine::memory::{ACTS_MAX, LastAct, Standing};
use crate::engine::peer::{Audience, Message};
use crate::engine::pursuit::Pursuit;
use crate::engine::record::{Decided, Decision, Happening, Live, Progress, Reason, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::snapshot::DecisionView;
use crate::engine::time::Time;
use crate::engine::verdict::{Undecided, Verdict};
use crate::engine::{Effect, Engine};

impl Engine {
    /// What is to be done now about a degraded release, and why; whether others agree is not weighed in it.
    pub(super) fn weigh_options(&self, now: Time) -> (Decision, Vec<Reason>) {
        self.weigh_options_as(now, self.trial.diagnosis())
    }

    /// The same, were this the diagnosis.
    pub(super) fn weigh_options_as(
        &self,
        now: Time,
        diagnosis: Option<&Diagnosis>,
    ) -> (Decision, Vec<Reason>) {
        // A release that comes again after it was rolled back is on a new trial, and may be acted on once more.
        let is_this_trial = |act: &&LastAct| act.from == self.own.release && act.at >= self.own.first_ready;
        let aimed = self.last_act.as_ref().filter(is_this_trial);
        let left_open = self.fleet.as_ref().and_then(|fleet| fleet.elsewhere.as_ref());
        // What another agent began and did not end may be gone on with, when its call can no longer be under way.
        let uptime = self.fleet.as_ref().map_or(Duration::ZERO, |fleet| fleet.uptime);
        let is_left = |act: &LastAct| {
            left_open.is_some_and(|e| e.decision.id == act.id && e.may_be_decided_anew(uptime))
        };
        let aimed = aimed.filter(|act| !is_left(act));
        let cooldown_until = self.cooldown_until(now);
        decide(&Situation {
            policy: &self.policy,
            by_vote: self.fleet.is_some(),
            on_trial: self.own.standing == Standing::OnTrial,
            was_put_back: self.own.put_back_by.is_some(),
            target: self.target(),
            pause: self.pause.as_ref(),
            cooldown_until: cooldown_until.filter(|_| !self.last_act.as_ref().is_some_and(is_left)),
            acted_before: aimed.map(|a| &a.id),
            diagnosis,
            age: now.since(self.own.first_ready),
            against: self.restraints(now),
        })
    }

    /// A rollback is right, as far as this agent can see; now the others are asked, if it may act at all.
    pub(super) fn seek_votes(&mut self, now: Time, reasons: Vec<Reason>, effects: &mut Vec<Effect>) {
        let baseline = self.baseline_digest();
        let Some(target) = self.target().cloned() else { return };
        let Some(fleet) = &mut self.fleet else { return };
        if fleet.elected.is_some() || fleet.is_decided_elsewhere() {
            return;
        }
        let release = self.identity.release.clone();
        if let Some(against) = fleet.against(&release) {
            self.stop_seeking();
            return self.hold_for(now, reasons, against, effects);
        }
        let candidates = fleet.candidates();
        if candidates.is_empty() {
            return self.hold_for(now, reasons, Reason::LeftToOthers, effects);
        }
        if let Some(yes) = fleet.gave_up.take() {
            fleet.ballot.withdraw(fleet.uptime);
            let why = not_elected(yes, &fleet.setup.roster);
            self.hold_for(now, reasons, why, effects);
            return self.retry(now);
        }
        let key = fleet.key();
        let rank = ballot::rank(&fleet.setup.me, &candidates, &key);
        let motion = Motion { key, target, policy: fleet.policy, baseline, rank };
        let (uptime, roster, has_vote) = (fleet.uptime, fleet.setup.roster, fleet.has_vote());
        fleet.ballot.stand(uptime, motion, roster, has_vote);
        let outs = fleet.ballot.beat(uptime);
        self.voted(now, outs, effects);
    }

    /// Nothing is right to be done any more, or not by this agent.
    pub(super) fn stop_seeking(&mut self) {
        if let Some(fleet) = &mut self.fleet {
            fleet.ballot.withdraw(fleet.uptime);
            fleet.elected = None;
            fleet.gave_up = None;
        }
    }

    /// What the ballot orders.
    pub(super) fn voted(&mut self, now: Time, outs: Vec<Out>, effects: &mut Vec<Effect>) {
        for out in outs {
            match out {
                Out::Ask(ask) => effects.push(Effect::Tell { to: Audience::All, message: Message::Ask(ask) }),
                Out::GaveUp { yes } => {
                    if let Some(fleet) = &mut self.fleet {
                        fleet.gave_up = Some(yes);
                    }
                }
                Out::Elected(certificate) => {
                    let record = self.next_id(now);
                    let target = certificate.ask.target.clone();
                    effects.push(Effect::AskPlatform { record: record.clone(), target });
                    if let Some(fleet) = &mut self.fleet {
                        fleet.elected = Some(Elected { record, certificate });
                    }
                }
            }
        }
    }

    /// Somebody asks for a vote.
    pub(super) fn asked(&mut self, now: Time, ask: &Ask, effects: &mut Vec<Effect>) {
        let opinion = self.opinion(now, ask);
        let Some(fleet) = &mut self.fleet else { return };
        let roster = fleet.setup.roster;
        let answer = fleet.ballot.asked(fleet.uptime, ask, opinion, &roster);
        let to = Audience::One(ask.candidate.clone());
        effects.push(Effect::Tell { to, message: Message::Answer(answer) });
    }

    /// What this agent thinks, from its own computation.
    fn opinion(&self, now: Time, ask: &Ask) -> Opinion {
        let Some(fleet) = &self.fleet else { return Opinion::Abstain(Abstention::NoVote) };
        if ask.key != fleet.key() || !fleet.has_vote() {
            return Opinion::Abstain(Abstention::NoVote);
        }
        if ask.policy != fleet.policy {
            return Opinion::No(Objection::OtherPolicy);
        }
        if fleet.overfull().is_some() {
            return Opinion::No(Objection::OtherRoster);
        }
        if fleet.is_superseded(&self.identity.release) {
            return Opinion::No(Objection::NotCurrent);
        }
        if !self.trial.is_degraded() {
            return match &self.verdict {
                Verdict::Undecided(Undecided::Starting | Undecided::WarmingUp { .. }) => {
                    Opinion::Abstain(Abstention::WarmingUp)
                }
                Verdict::Undecided(Undecided::NoTraffic | Undecided::Gathering | Undecided::Shared)
                | Verdict::Healthy
                | Verdict::Degraded { .. }
                | Verdict::NotJudgeable(_) => Opinion::No(Objection::NotDegraded),
            };
        }
        if self.own.standing == Standing::RolledBack || self.pursuit.is_some() {
            return Opinion::No(Objection::ActedBefore);
        }
        if fleet.is_decided_elsewhere() {
            return Opinion::No(Objection::ActedBefore);
        }
        let (decision, reasons) = self.weigh_options(now);
        match decision {
            Decision::RollBack if self.target() != Some(&ask.target) => Opinion::No(Objection::Target),
            Decision::RollBack => Opinion::Yes,
            Decision::Hold => Opinion::No(objection(&reasons)),
        }
    }

    /// The lease ended before the platform said what is live.
    pub(super) fn watch_lease(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        let Some(elected) = &fleet.elected else { return };
        if fleet.ballot.may_call(fleet.uptime, &elected.certificate) {
            // Asked again as long as there is no answer: an older question may have been in the way.
            let (record, target) = (elected.record.clone(), elected.certificate.ask.target.clone());
            effects.push(Effect::AskPlatform { record, target });
            return;
        }
        fleet.elected = None;
        fleet.ballot.withdraw(fleet.uptime);
        let reasons = self.weigh_options(now).1;
        self.hold_for(now, reasons, Reason::LeaseOver, effects);
        self.retry(now);
    }

    /// The platform answered the one who was elected. Returns whether it was for that.
    pub(super) fn read_platform(
        &mut self,
        now: Time,
        record: &RecordId,
        live: &Live,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(fleet) = &mut self.fleet else { return false };
        let Some(elected) = fleet.elected.take_if(|elected| elected.record == *record) else { return false };
        let Elected { record, certificate } = elected;
        let may_call = fleet.ballot.may_call(fleet.uptime, &certificate);
        let rehearses = fleet.setup.rehearses;
        let of_the_fleet = fleet.against(&self.identity.release);
        let (decision, mut reasons) = self.weigh_options(now);
        let stands = decision == Decision::RollBack
            && self.trial.is_degraded()
            && self.pursuit.is_none()
            && self.target() == Some(&certificate.ask.target);
        if !stands {
            // Why not is decided, and said, by the step that this one ends with.
            self.stop_seeking();
            return true;
        }
        let against = match live {
            _ if !may_call => Some(Reason::LeaseOver),
            _ if of_the_fleet.is_some() => of_the_fleet,
            Live::Release(release) if *release == self.identity.release => None,
            Live::Release(release) => Some(Reason::NoLongerLive { live: release.clone() }),
            Live::Unknown { .. } | Live::Unread { .. } if rehearses => None,
            Live::Unknown { reason } | Live::Unread { reason } => {
                Some(Reason::PlatformUnread { why: reason.clone() })
            }
        };
        if let Some(against) = against {
            self.stop_seeking();
            if !self.ends_what_another_began(now, live, effects) {
                self.hold_for(now, reasons, against, effects);
            }
            self.retry(now);
            return true;
        }
        let yes = u32::try_from(certificate.voters.len()).unwrap_or(u32::MAX);
        let roster = certificate.roster;
        reasons.push(Reason::Elected { yes, down: roster.down, needed: roster.needed() });
        let decided =
            Decided { certificate: Some(Box::new(certificate)), ..self.decided(Decision::RollBack, reasons) };
        if let Some(fleet) = &mut self.fleet {
            let key = fleet.key();
            fleet.ballot.called(fleet.uptime, &key);
        }
        let from = self.identity.release.clone();
        if let Some(pursuit) = Pursuit::begin(record, now, from, decided, &self.policy) {
            self.order(now, pursuit, effects);
        }
        true
    }

    /// The intent is written down and the order given.
    pub(super) fn order(&mut self, now: Time, pursuit: Pursuit, effects: &mut Vec<Effect>) {
        self.last_decision = Some(pursuit.view());
        self.lock_for(now, &pursuit, effects);
        effects.extend(pursuit.order());
        self.act_before = self.last_act.replace(pursuit.act());
        self.acts.insert(0, now);
        self.acts.truncate(ACTS_MAX);
        self.pursuit = Some(pursuit);
    }

    /// What the agent that began a rollback could not see any more: that its target is live.
    fn ends_what_another_began(&mut self, now: Time, live: &Live, effects: &mut Vec<Effect>) -> bool {
        let Some(fleet) = &mut self.fleet else { return false };
        let is_live = |to: &Option<Release>| matches!(live, Live::Release(live) if Some(live) == to.as_ref());
        let Some(elsewhere) = fleet.elsewhere.take_if(|e| is_live(&e.decision.decided.target)) else {
            return false;
        };
        let mut open = elsewhere.decision;
        let detail =
            format!("{} found it live; the agent that ordered it did not see its end", fleet.setup.me);
        open.decided.progress = Progress::Succeeded { at: now, detail };
        let (id, at, from) = (open.id, open.at, open.from);
        if let Some(target) = open.decided.target.clone() {
            self.put_back(&target, &id, effects);
        }
        let what = Happening::Decided(Box::new(open.decided));
        effects.push(Effect::Record(Record { id, at, release: from.clone(), what }));
        self.rolled_back(now, &from, effects);
        true
    }

    /// A rollback that the platform took and whose orderer is gone is seen to its end by the first of those that could have
    /// ordered it.
    pub(super) fn see_to_its_end(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(fleet) = &self.fleet else { return };
        let Some(elsewhere) = fleet.elsewhere.as_ref().filter(|e| fleet.uptime >= e.until) else { return };
        let is_taken = matches!(elsewhere.decision.decided.progress, Progress::Accepted { .. });
        let is_there = elsewhere.by().is_some_and(|by| fleet.members.contains_key(by));
        let mut candidates = fleet.candidates();
        candidates.sort();
        let is_first = candidates.first() == Some(&fleet.setup.me);
        if !is_taken || is_there || !is_first || self.pursuit.is_some() {
            return;
        }
        let open = elsewhere.decision.clone();
        if let Some(pursuit) = Pursuit::take_up(now, &self.identity.release, open, &self.policy) {
            self.last_decision = Some(pursuit.view());
            self.pursuit = Some(pursuit);
            self.pursue(now, effects);
        }
    }

    /// Nothing is done, for this reason beside the others. Said once.
    pub(super) fn hold_for(
        &mut self,
        now: Time,
        mut reasons: Vec<Reason>,
        why: Reason,
        effects: &mut Vec<Effect>,
    ) {
        reasons.push(why);
        let key = (Decision::Hold, reasons.clone());
        if self.last_reasons.as_ref() == Some(&key) {
            return;
        }
        self.last_reasons = Some(key);
        self.note_hold(now, reasons, effects);
    }

    /// That nothing is done is written down.
    pub(super) fn note_hold(&mut self, now: Time, reasons: Vec<Reason>, effects: &mut Vec<Effect>) {
        let decided = self.decided(Decision::Hold, reasons);
        let id = self.next_id(now);
        self.last_decision = Some(DecisionView::of(&id, now, &decided));
        let what = Happening::Decided(Box::new(decided));
        effects.push(Effect::Record(Record { id, at: now, release: self.identity.release.clone(), what }));
    }
}

/// The first of the reasons that stands in the way, in the words of a vote.
fn objection(reasons: &[Reason]) -> Objection {
    let of = |reason: &Reason| match reason {
        Reason::NotBlamed | Reason::Holding { .. } | Reason::HoldEndedOld => Some(Objection::NotBlamed),
        Reason::NoTarget => Some(Objection::Target),
        Reason::Paused(_) => Some(Objection::Paused),
        Reason::ActedBefore { .. } | Reason::CoolingDown { .. } => Some(Objection::ActedBefore),
        Reason::ModeObserve | Reason::ModeRecommend => Some(Objection::Mode),
        Reason::BudgetSpent { .. } => Some(Objection::ActedBefore),
        Reason::SchemaMoved { .. } => Some(Objection::Target),
        Reason::WatchHasPassed | Reason::WasPutBack | Reason::SeveralReplicas { .. } => {
            Some(Objection::Policy)
        }
        Reason::Degraded
        | Reason::OnTrial
        | Reason::ModeEnforce
        | Reason::LastKnownGood
        | Reason::NotRecorded
        | Reason::Blamed
        | Reason::HoldEndedYoung
        | Reason::Elected { .. }
        | Reason::NotElected { .. }
        | Reason::LeftToOthers
        | Reason::PlatformUnread { .. }
        | Reason::NoLongerLive { .. }
        | Reason::DecidedElsewhere { .. }
        | Reason::LeaseOver
        | Reason::Refused { .. }
        | Reason::AskedBy { .. }
        | Reason::AllDown { .. }
        | Reason::TooManyVoters { .. } => None,
    };
    reasons.iter().find_map(of).unwrap_or(Objection::Policy)
}
