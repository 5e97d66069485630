//! What must hold of every fleet, by name, looked at from outside after every step: the witness sees all agents, their true
//! clocks, and the platform.
//!
//! It believes no agent: what was granted it has heard itself, what is down it knows from the platform.

#[path = "invariants/calls.rs"]
mod calls;
#[path = "invariants/course.rs"]
mod course;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::ballot::{Answer, Ask, Key, Limits, Opinion};
use outrigger::engine::evidence::{Share, Slot};
use outrigger::engine::history::{Fact, KeptFact};
use outrigger::engine::peer::{Message, Peer};
use outrigger::engine::record::{Decision, Happening, Live, Reason, Record};
use outrigger::engine::verdict::Verdict;

use crate::agent::{Agent, AgentId};
use crate::counts::Seen;
use crate::plan::Plan;
use crate::world::World;

/// What was shared, by the boot that saw it.
type SharedByBoot = BTreeMap<u64, (u64, u64)>;
/// A roster and since when.
type RosterSince = (u64, (u32, u32));

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) name: &'static str,
    pub(crate) at: u64,
    pub(crate) text: String,
}

/// A yes that was said.
#[derive(Clone, Debug)]
pub(crate) struct Granted {
    pub(crate) candidate: Peer,
    pub(crate) epoch: u64,
    /// By the voter's own clock: when it was said first, and last.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

/// What is known of one agent from outside.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    pub(crate) grants: BTreeMap<Key, Vec<Granted>>,
    /// Until then, by its own clock, it must not trust itself: it stood still.
    pub(crate) tilted: Option<Duration>,
    /// When it last ran, by its own clock.
    pub(crate) ran: Option<Duration>,
    pub(crate) smooth: Option<Duration>,
    pub(crate) paused: bool,
    /// What the platform told it last, and when by its own clock.
    pub(crate) read: Option<(Live, Duration)>,
    pub(crate) asked_platform: Option<Duration>,
    /// The last decision that it noted, without its id.
    pub(crate) noted: Option<(Decision, Vec<Reason>, &'static str)>,
    pub(crate) rounds: BTreeMap<Slot, Vec<(Arc<str>, u64, u64)>>,
    pub(crate) asks: BTreeMap<u64, Duration>,
}

pub(crate) struct Witness {
    pub(crate) violation: Option<Violation>,
    /// Only these are looked at, where a test breaks others on purpose.
    pub(crate) only: Option<&'static [&'static str]>,
    pub(crate) seats: Vec<Seat>,
    pub(crate) limits: Limits,
    /// What each start of each replica said that it saw.
    pub(crate) shared: BTreeMap<(Arc<str>, Slot), SharedByBoot>,
    /// When votes were asked for last.
    pub(crate) asked: Option<u64>,
    /// Since when so many agents know of a pause.
    pub(crate) beyond_drift: bool,
    pub(crate) now: u64,
    pub(crate) askers: BTreeSet<AgentId>,
    /// By deployment: its replicas and how many of them were down, from when on.
    pub(crate) rosters: BTreeMap<usize, Vec<RosterSince>>,
}

impl Witness {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            violation: None,
            only: None,
            seats: Vec::new(),
            limits: Limits::default(),
            shared: BTreeMap::new(),
            asked: None,
            beyond_drift: plan.rates > crate::plan::RATES_WITHIN,
            now: 0,
            askers: BTreeSet::new(),
            rosters: BTreeMap::new(),
        }
    }

    pub(crate) fn fail(&mut self, name: &'static str, at: u64, text: String) {
        if self.only.is_some_and(|only| !only.iter().any(|id| name.starts_with(&format!("{id} ")))) {
            return;
        }
        self.violation.get_or_insert(Violation { name, at, text });
    }

    pub(crate) fn booted(&mut self, id: AgentId, now: u64) {
        self.now = now;
        self.seats.resize_with(id + 1, Seat::default);
    }

    /// An agent's loop runs, and takes note of the time.
    pub(crate) fn runs(&mut self, id: AgentId, agent: &mut Agent, now: u64) {
        self.now = now;
        let uptime = agent.uptime(now);
        let seat = &mut self.seats[id];
        // A hair more than the limit: what is exactly at it may be taken for either.
        let gap = self.limits.gap + Duration::from_millis(10);
        if seat.ran.is_some_and(|ran| uptime.saturating_sub(ran) > gap) {
            seat.tilted = Some(uptime + self.limits.tilt - Duration::from_millis(10));
        }
        seat.ran = Some(uptime);
        agent.ran = now;
    }

    /// For an agent that does not notice that it stood still: time without gaps.
    pub(crate) fn smooth_uptime(&mut self, id: AgentId, uptime: Duration) -> Duration {
        let seat = &mut self.seats[id];
        let at_most = seat.smooth.unwrap_or_default() + Duration::from_millis(900);
        let smooth = uptime.min(at_most);
        seat.smooth = Some(smooth);
        smooth
    }

    pub(crate) fn paused(&mut self, id: AgentId, is_paused: bool, _now: u64) {
        self.seats[id].paused = is_paused;
    }

    pub(crate) fn has_pause(&self) -> bool {
        self.seats.iter().any(|seat| seat.paused)
    }

    pub(crate) fn read(&mut self, id: AgentId, live: &Live, _now: u64) {
        let seat = &mut self.seats[id];
        let uptime = seat.ran.unwrap_or_default();
        seat.read = Some((live.clone(), uptime));
    }

    pub(crate) fn asks_platform(&mut self, id: AgentId, _now: u64) {
        let seat = &mut self.seats[id];
        seat.asked_platform = seat.ran;
    }

    /// Votes were asked for a short while ago.
    pub(crate) fn is_voting(&self) -> bool {
        self.asked.is_some_and(|asked| self.now < asked + 10_000)
    }

    /// I8, first part: what is weighed is what was seen, and each of it once.
    pub(crate) fn fact(&mut self, id: AgentId, kept: &KeptFact) {
        let Fact::Round(round) = &kept.fact else { return };
        let mut entries = Vec::new();
        for (replica, tick) in &round.candidate {
            let said = self.shared.get(&(Arc::clone(replica), round.slot));
            let sum = said.map_or((0, 0), |said| {
                said.values().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1))
            });
            if tick.judged > sum.0 || tick.failed > sum.1 {
                let text = format!(
                    "agent {id} weighs {} of {} failed of {replica} in {:?}; said were {} of {}",
                    tick.failed, tick.judged, round.slot, sum.1, sum.0
                );
                let at = self.now;
                self.fail("I8 what is weighed was seen, and once", at, text);
            }
            entries.push((Arc::clone(replica), tick.judged, tick.failed));
        }
        let is_named_once = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !is_named_once {
            let at = self.now;
            self.fail("I8 a replica is weighed once", at, format!("agent {id}, {:?}", round.slot));
        }
        self.seats[id].rounds.insert(round.slot, entries);
    }

    /// I11: nothing is told twice. I12: a platform that cannot be read says nothing.
    pub(crate) fn recorded(&mut self, id: AgentId, record: &Record, now: u64) {
        if record.what.decided().is_none()
            && let Some(to) = record.what.verdict()
            && !matches!(to, Verdict::Degraded { .. })
        {
            // What follows is about another time that it was degraded.
            self.seats[id].noted = None;
        }
        let Happening::Decided(decided) = &record.what else { return };
        let seat = &mut self.seats[id];
        let noted = (decided.decision, decided.reasons.clone(), decided.progress.label());
        let is_told_again = decided.decision == Decision::Hold && seat.noted.as_ref() == Some(&noted);
        seat.noted = Some(noted);
        let read = seat.read.clone();
        if is_told_again {
            let text = format!("agent {id} notes again {:?}", decided.reasons);
            self.fail("I11 one record a decision and change", now, text);
        }
        for reason in &decided.reasons {
            if let Reason::NoLongerLive { live } = reason
                && read.as_ref().map(|(live, _)| live) != Some(&Live::Release(live.clone()))
            {
                let text = format!("agent {id} holds since {live} is live; the platform said {read:?}");
                self.fail("I12 unreadable is never changed", now, text);
            }
        }
    }

    fn share(&mut self, share: &Share) {
        let key = (Arc::clone(&share.of.replica), share.slot);
        let of = self.shared.entry(key).or_default();
        of.insert(share.of.boot.0, (share.tick.judged, share.tick.failed));
    }
}

impl World {
    /// An agent says something to another.
    pub(crate) fn note_told(&mut self, id: AgentId, message: &Message) {
        match message {
            // What it passes on of others was theirs to say.
            Message::Share(share) if share.of == self.agents[id].peer => self.witness.share(share),
            Message::Share(_) => self.counts.see(Seen::LateShare),
            Message::Seen(_) => {}
            Message::Ask(ask) => self.note_ask(id, ask),
            Message::Answer(answer) => self.note_answer(id, answer),
        }
    }

    fn note_ask(&mut self, id: AgentId, ask: &Ask) {
        let uptime = self.uptime_of(id);
        let is_new = !self.witness.seats[id].asks.contains_key(&ask.epoch);
        if is_new {
            self.counts.see(if self.witness.seats[id].asks.is_empty() {
                Seen::Asked
            } else {
                Seen::AskedAgain
            });
            self.say(|w| format!("{} asks in epoch {} for {}", w.name(id), ask.epoch, ask.target));
            if self.witness.is_voting() && !self.witness.askers.contains(&id) {
                self.counts.see(Seen::CompetingCandidates);
            }
        }
        self.witness.seats[id].asks.entry(ask.epoch).or_insert(uptime);
        if !self.witness.is_voting() {
            self.witness.askers.clear();
        }
        self.witness.askers.insert(id);
        self.witness.asked = Some(self.now);
    }

    fn note_answer(&mut self, id: AgentId, answer: &Answer) {
        self.count_opinion(answer.opinion);
        self.say(|w| format!("{} answers {} {:?}", w.name(id), answer.candidate, answer.opinion));
        if answer.opinion != Opinion::Yes {
            return;
        }
        let (now, uptime) = (self.now, self.uptime_of(id));
        if uptime + Duration::from_millis(1) < self.witness.limits.lock() {
            let text = format!("agent {id} grants at the age of {uptime:?}");
            self.witness.fail("I5 who started a short while ago grants nothing", now, text);
        }
        self.check_tilt(id, "grants");
        self.grant(id, &answer.key, &answer.candidate, answer.epoch, uptime);
    }

    /// I13: who stood still does not trust itself.
    pub(crate) fn check_tilt(&mut self, id: AgentId, does: &str) {
        let uptime = self.uptime_of(id);
        if self.witness.seats[id].tilted.is_some_and(|until| uptime < until) {
            let text = format!("agent {id} {does} at {uptime:?}, and stood still before");
            let now = self.now;
            self.witness.fail("I13 who stood still neither grants nor calls", now, text);
        }
    }

    /// I4: of one voter, for one key, no two grants overlap.
    pub(crate) fn grant(&mut self, id: AgentId, key: &Key, candidate: &Peer, epoch: u64, at: Duration) {
        let lock = self.witness.limits.lock();
        let now = self.now;
        let grants = self.witness.seats[id].grants.entry(key.clone()).or_default();
        let other = grants.iter().find(|grant| grant.candidate != *candidate && at < grant.first + lock);
        let overlaps = other.cloned();
        match grants.iter_mut().find(|grant| grant.candidate == *candidate && grant.epoch == epoch) {
            Some(grant) => {
                grant.first = grant.first.min(at);
                grant.last = grant.last.max(at);
            }
            None => grants.push(Granted { candidate: candidate.clone(), epoch, first: at, last: at }),
        }
        if let Some(other) = overlaps {
            let text = format!(
                "agent {id} grants {candidate} (epoch {epoch}) at {at:?}, and {} (epoch {}) at {:?}",
                other.candidate, other.epoch, other.first
            );
            self.witness.fail("I4 grants never overlap", now, text);
        }
    }
}
