//! The engine among others: shares out and in, rounds of slots into the trial, and what peers remember.
//!
//! The verdict is a function of the set of shares. Slots are weighed in order, each as soon as all that is expected of it is
//! there or [`GRACE`] after its end; a share that comes later, within [`SLOTS_OPEN`] slots, leads to a new computation from
//! the trial as it was settled. So agents that hold the same shares hold the same verdict, whenever they got them.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::ballot::Roster;
use crate::engine::baseline::Baseline;
use crate::engine::evidence::{Added, FleetRound, SLOTS_OPEN, Share, Slot};
use crate::engine::fleet::{Elsewhere, Fleet, FleetSetup, FleetView, digest};
use crate::engine::history::{Fact, WatchPoint};
use crate::engine::memory::Memory;
use crate::engine::peer::{Audience, Hello, Message, Peer, PeerEvent, PeerInput, Role};
use crate::engine::policy::Policy;
use crate::engine::record::PassedBy;
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::engine::trial::Trial;
use crate::engine::{Effect, Engine, Identity};

/// A slot is weighed so long after its end, whoever is missing.
pub(super) const GRACE: Duration = Duration::from_secs(2);
/// How often an agent says which shares it has.
const SAY_SEEN_EVERY: Duration = Duration::from_secs(1);
/// A newcomer without a baseline asks for one so often,
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(10);
/// until it is so old.
const ASK_AGAIN_UNTIL: Duration = Duration::from_secs(120);
/// Peers that were lost and are remembered to be asked when they are met again.
const LOST_MAX: usize = 256;
/// Whom it says so at a time.
const SAY_SEEN_TO: usize = 16;
/// Shares that are sent at once to whoever lacks them: all open slots of a small fleet, one of a large one.
const LACKING_MAX: usize = 64;

impl Engine {
    /// Takes part in a fleet from now on. To be called once, right after the start.
    pub fn join(&mut self, now: Time, setup: FleetSetup) -> Vec<Effect> {
        let mut fleet = Fleet::new(now, setup, self.trial.clone(), &self.policy);
        fleet.ballot.roster(Duration::ZERO, &fleet.setup.roster);
        // What is open may be another agent's that lives; it is not this one's to say that it was interrupted.
        if let Some(pursuit) = self.pursuit.take_if(|pursuit| pursuit.is_by_an_heir()) {
            fleet.elsewhere = Some(Elsewhere { decision: pursuit.open(), until: fleet.setup.limits.lock() });
        }
        self.fleet = Some(Box::new(fleet));
        let mut effects = Vec::new();
        self.introduce(&mut effects);
        effects
    }

    /// What may be seen of the fleet; `None` without one.
    pub fn fleet(&self) -> Option<FleetView> {
        self.fleet.as_ref().map(|fleet| fleet.view(&self.identity.release))
    }

    /// A digest of what the release is weighed against; zero without anything.
    pub(super) fn baseline_digest(&self) -> u64 {
        self.trial.frozen().map_or(0, baseline_digest)
    }

    pub(super) fn heard(&mut self, now: Time, input: PeerInput, effects: &mut Vec<Effect>) {
        let PeerInput { uptime, event } = input;
        let Some(fleet) = &mut self.fleet else { return };
        fleet.uptime = fleet.uptime.max(uptime);
        let outs = fleet.ballot.beat(fleet.uptime);
        self.voted(now, outs, effects);
        let is_beat = matches!(event, PeerEvent::Beat);
        match event {
            PeerEvent::Beat => {}
            PeerEvent::Met(hello) => self.met(*hello, effects),
            PeerEvent::Left(peer) => self.left(&peer),
            PeerEvent::Said { from, message } => self.said(now, &from, message, effects),
            PeerEvent::Roster(roster) => self.roster(roster),
            PeerEvent::Leaving => self.leaving(),
        }
        self.choose_deployment(effects);
        self.say_seen(effects);
        self.ask_again(effects);
        if is_beat {
            self.weigh_again_if_stale(now, effects);
        }
        self.weigh_slots(now, effects);
        self.watch_lease(now, effects);
        self.see_to_its_end(now, effects);
        self.introduce(effects);
    }

    fn met(&mut self, hello: Hello, effects: &mut Vec<Effect>) {
        let (own, may_change) = (self.baseline_digest(), self.may_change_baseline());
        let Some(fleet) = &mut self.fleet else { return };
        if fleet.wants_memory_of(&hello, own, may_change) {
            effects.push(Effect::AskMemory(hello.peer.clone()));
        }
        let (release, deployment) = (hello.release.clone(), hello.deployment.clone());
        let is_replica = hello.role == Role::Replica;
        fleet.met(hello);
        if is_replica {
            self.fallen = None;
            self.runs_as(&release, &deployment, effects);
        }
    }

    /// A watcher watches what is live.
    fn choose_deployment(&mut self, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        if fleet.setup.role != Role::Watcher {
            return;
        }
        let live = fleet.live().filter(|live| live.deployment != fleet.setup.deployment).cloned();
        if live.as_ref().map(|live| &live.deployment) != fleet.following.as_ref() {
            fleet.following = live.as_ref().map(|live| live.deployment.clone());
            effects.extend(live.map(|live| Effect::Follow(Box::new(live))));
        }
    }

    /// Begins anew beside another deployment. Who is met, what they saw, and what this agent granted stay.
    pub(super) fn follow(&mut self, now: Time, hello: &Hello, memory: Memory, effects: &mut Vec<Effect>) {
        let Some(mut fleet) = self.fleet.take() else { return };
        let identity = Identity { release: hello.release.clone(), boot: self.identity.boot };
        let (mut engine, mut begun) = Self::start(now, identity, self.policy.clone(), memory);
        engine.records = self.records.wrapping_add(engine.records);
        fleet.ballot.withdraw(fleet.uptime);
        fleet.follow(now, hello, engine.trial.clone());
        if let Some(pursuit) = engine.pursuit.take_if(|pursuit| pursuit.is_by_an_heir()) {
            let until = fleet.uptime + fleet.setup.limits.lock();
            fleet.elsewhere = Some(Elsewhere { decision: pursuit.open(), until });
        }
        engine.fleet = Some(fleet);
        begun.extend(engine.deployed_as(hello.deployment.clone()));
        *self = engine;
        effects.append(&mut begun);
        self.introduce(effects);
    }

    /// Who may vote has changed: an election under way is void.
    fn roster(&mut self, roster: Roster) {
        let Some(fleet) = &mut self.fleet else { return };
        fleet.ballot.roster(fleet.uptime, &roster);
        if std::mem::replace(&mut fleet.setup.roster, roster) != roster {
            self.stop_seeking();
        }
    }

    /// This agent ends: it may vote, and stands for nothing.
    fn leaving(&mut self) {
        self.stop_seeking();
        if let Some(fleet) = &mut self.fleet {
            fleet.is_leaving = true;
            fleet.setup.may_call = false;
            fleet.setup.rehearses = false;
        }
    }

    fn left(&mut self, peer: &Peer) {
        if let Some(fleet) = &mut self.fleet {
            fleet.members.remove(peer);
            // What it was asked for, or told meanwhile, may be lost: it is asked again when it is met again.
            fleet.asked.retain(|(asked, _)| asked != peer);
            if fleet.lost.len() < LOST_MAX {
                fleet.lost.insert(peer.clone());
            }
        }
    }

    fn said(&mut self, now: Time, from: &Peer, message: Message, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        if !fleet.members.contains_key(from) {
            return;
        }
        match message {
            Message::Share(share) => {
                let is_own = share.deployment == fleet.setup.deployment;
                let slot = share.slot;
                let added = fleet.ledger.add(share, Slot::of(now));
                fleet.is_stale |= added == Added::New && fleet.weighed.is_some_and(|weighed| slot <= weighed);
                fleet.has_been_open |= is_own && added == Added::New && fleet.ready_at.is_some();
            }
            Message::Seen(theirs) => {
                // Its own at once; those of others when they have had the time to send them.
                let is_due =
                    |share: &Arc<Share>| share.of == fleet.setup.me || now >= share.slot.end() + GRACE;
                let lacking = fleet.ledger.lacking(&theirs).into_iter().filter(is_due);
                let lacking: Vec<_> = lacking.take(LACKING_MAX).collect();
                for share in lacking {
                    let message = Message::Share(share);
                    effects.push(Effect::Tell { to: Audience::One(from.clone()), message });
                }
            }
            // Nobody asks or votes for another.
            Message::Ask(ask) if ask.candidate == *from => self.asked(now, &ask, effects),
            Message::Answer(answer) if answer.voter == *from => {
                let outs = fleet.ballot.answered(fleet.uptime, &answer);
                self.voted(now, outs, effects);
            }
            Message::Ask(_) | Message::Answer(_) => {}
        }
    }

    fn say_seen(&mut self, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        if fleet.members.is_empty() || fleet.uptime.saturating_sub(fleet.said_seen) < SAY_SEEN_EVERY {
            return;
        }
        fleet.said_seen = fleet.uptime;
        let message = Message::Seen(fleet.ledger.seen());
        if fleet.members.len() <= SAY_SEEN_TO {
            return effects.push(Effect::Tell { to: Audience::All, message });
        }
        // To some in turn where there are many: what is said grows with each peer, too.
        let turn = usize::try_from(fleet.uptime.as_secs()).unwrap_or(0) * SAY_SEEN_TO % fleet.members.len();
        let peers = fleet.members.keys().cycle().skip(turn).take(SAY_SEEN_TO);
        effects.extend(
            peers.map(|peer| Effect::Tell { to: Audience::One(peer.clone()), message: message.clone() }),
        );
    }

    /// What this agent says of itself, where that has changed.
    fn introduce(&mut self, effects: &mut Vec<Effect>) {
        let baseline = self.baseline_digest();
        let Some(fleet) = &mut self.fleet else { return };
        let hello = fleet.hello(&self.identity.release, &self.policy, baseline);
        if fleet.introduced.as_ref() != Some(&hello) {
            fleet.introduced = Some(hello.clone());
            effects.push(Effect::Introduce(Box::new(hello)));
        }
    }

    /// Shares what was seen in a slot.
    pub(super) fn share(&mut self, now: Time, tick: Tick, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        let slot = Slot::of(tick.from);
        if fleet.setup.role == Role::Watcher {
            return;
        }
        fleet.has_been_open |= fleet.ready_at.is_some() && tick.ended > 0;
        let age = fleet.ready_at.map(|at| slot.end().since(at));
        let tick = Tick { crashes: tick.crashes + std::mem::take(&mut fleet.crashed), ..tick };
        let FleetSetup { me, deployment, .. } = &fleet.setup;
        let share = Arc::new(Share { of: me.clone(), deployment: deployment.clone(), slot, age, tick });
        if fleet.ledger.add(Arc::clone(&share), Slot::of(now)) == Added::New {
            effects.push(Effect::Tell { to: Audience::All, message: Message::Share(share) });
        }
        self.weigh_slots(now, effects);
    }

    /// Weighs the slots whose time has come.
    fn weigh_slots(&mut self, now: Time, effects: &mut Vec<Effect>) {
        loop {
            let Some(fleet) = &mut self.fleet else { return };
            let next = match fleet.weighed {
                Some(Slot(last)) => Slot(last + 1),
                // What siblings saw before this agent was there counts, too.
                None if now >= fleet.joined.end() + GRACE => {
                    fleet.ledger.first(&fleet.setup.deployment).unwrap_or(fleet.joined)
                }
                None => return,
            };
            let is_over = now >= next.end() && fleet.is_complete(next);
            if !is_over && now < next.end() + GRACE {
                return;
            }
            if fleet.is_stale {
                self.weigh_again_if_stale(now, effects);
                continue;
            }
            fleet.weighed = Some(next);
            fleet.ahead += 1;
            if let Some(round) = self.round(next) {
                self.weigh_round(now, round, effects);
            } else if let Some(fleet) = &mut self.fleet {
                fleet.ahead -= 1;
            }
            self.settle(now, effects);
        }
    }

    fn round(&self, slot: Slot) -> Option<FleetRound> {
        let fleet = self.fleet.as_ref()?;
        let control = fleet.control(&self.identity.release);
        let warm_up = fleet.settled.warm_up(&self.policy);
        fleet.ledger.round(slot, &fleet.setup.deployment, control.as_ref(), warm_up)
    }

    fn weigh_round(&mut self, now: Time, round: FleetRound, effects: &mut Vec<Effect>) {
        let at = round.slot.end();
        // Passed is passed when nothing can change it any more.
        weigh_in(&mut self.trial, at, Fact::Round(Box::new(round)), &self.policy);
        self.weighed(now, None, effects);
    }

    /// A share came late: all that is not settled is weighed again.
    fn weigh_again_if_stale(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(fleet) = &mut self.fleet else { return };
        if !std::mem::take(&mut fleet.is_stale) {
            return;
        }
        let Some(last) = fleet.weighed else { return };
        let first = match fleet.settled_through {
            Some(Slot(through)) => Slot(through + 1),
            None => fleet.ledger.first(&fleet.setup.deployment).unwrap_or(last),
        };
        let mut trial = fleet.settled.clone();
        let rounds: Vec<FleetRound> = (first.0..=last.0).filter_map(|slot| self.round(Slot(slot))).collect();
        let ahead = rounds.len();
        for round in rounds {
            let at = round.slot.end();
            weigh_in(&mut trial, at, Fact::Round(Box::new(round)), &self.policy);
        }
        self.trial = trial;
        if let Some(fleet) = &mut self.fleet {
            fleet.ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        }
        self.weighed(now, None, effects);
    }

    /// What nothing can change any more is kept.
    fn settle(&mut self, now: Time, effects: &mut Vec<Effect>) {
        loop {
            let Some(fleet) = &mut self.fleet else { return };
            let Some(weighed) = fleet.weighed else { return };
            let next = match fleet.settled_through {
                Some(Slot(through)) => Slot(through + 1),
                None => fleet.ledger.first(&fleet.setup.deployment).unwrap_or(weighed),
            };
            if next.0 + SLOTS_OPEN > weighed.0 {
                return;
            }
            let round = self.round(next);
            let Some(fleet) = &mut self.fleet else { return };
            fleet.settled_through = Some(next);
            fleet.ledger.close_before(Slot(next.0 + 1));
            let Some(round) = round else { continue };
            fleet.ahead = fleet.ahead.saturating_sub(1);
            let fact = Fact::Round(Box::new(round));
            let at = next.end();
            let (passed, is_new_watch) = weigh_in(&mut fleet.settled, at, fact.clone(), &self.policy);
            self.keep_fact(at, fact, effects);
            if passed.is_some() {
                self.weighed(now, passed, effects);
            }
            if is_new_watch {
                self.begin_watch(at, effects);
                self.keep_fact(at, Fact::Ready, effects);
            }
        }
    }

    pub(super) fn begin_watch(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.watch = WatchPoint { watch: self.next_id(now), seq: 0 };
        effects.push(self.watch_start(now));
    }

    /// After which fact of which watch things stand as they do, when all that was weighed will have been kept.
    pub(super) fn point(&self) -> WatchPoint {
        let ahead = self.fleet.as_ref().map_or(0, |fleet| fleet.ahead);
        WatchPoint { watch: self.watch.watch.clone(), seq: self.watch.seq.saturating_add(ahead) }
    }

    /// Nothing was judged by a baseline yet, so another one may still take its place.
    pub(super) fn may_change_baseline(&self) -> bool {
        self.trial.frozen().is_none() || self.trial.judged().0.is_zero()
    }

    /// A newcomer without a baseline asks one after the other, again and again: what it asked for may have been lost.
    fn ask_again(&mut self, effects: &mut Vec<Effect>) {
        let has_baseline = self.trial.frozen().is_some();
        let Some(fleet) = &mut self.fleet else { return };
        let is_time = fleet.uptime >= fleet.ask_again_at && fleet.uptime < ASK_AGAIN_UNTIL;
        if has_baseline || !is_time || fleet.members.is_empty() {
            return;
        }
        let turn = fleet.uptime.as_secs() / ASK_AGAIN_EVERY.as_secs();
        let at = usize::try_from(turn).unwrap_or(0) % fleet.members.len();
        effects.extend(fleet.members.keys().nth(at).cloned().map(Effect::AskMemory));
        fleet.ask_again_at = fleet.uptime + ASK_AGAIN_EVERY;
    }
}

/// Weighs a fact, and begins another watch where it is weighed against something else from then on. Returns by what the watch
/// was passed, and whether another began.
fn weigh_in(trial: &mut Trial, at: Time, fact: Fact, policy: &Policy) -> (Option<PassedBy>, bool) {
    let held_against = trial.frozen().map(|b| (b.release.clone(), b.to));
    let passed = fact.apply(at, trial, policy);
    let is_new = held_against != trial.frozen().map(|b| (b.release.clone(), b.to));
    if is_new {
        trial.begin_anew();
        Fact::Ready.apply(at, trial, policy);
    }
    (passed, is_new)
}

pub(super) fn baseline_digest(of: &Baseline) -> u64 {
    let Baseline { release, from, to, judged, failed, .. } = of;
    let figures = [from.as_millis(), to.as_millis(), *judged, *failed];
    digest(release.as_str().bytes().chain(figures.into_iter().flat_map(u64::to_le_bytes)))
}
