//! One agent's voter and candidate together.
//!
//! It owns when an agent grants, asks, is elected and may call. It does not know why anybody agrees (that comes as an
//! [`Opinion`]), who is reachable, or how messages travel. Every function takes the agent's uptime and is total: lost,
//! repeated and late messages change nothing but how long it takes.

use std::time::Duration;

use crate::engine::ballot::candidacy::{Candidacy, Phase};
use crate::engine::ballot::election::Election;
use crate::engine::ballot::electorate::Electorate;
use crate::engine::ballot::rank::mix;
use crate::engine::ballot::voter::Votes;
use crate::engine::ballot::{
    Abstention, Answer, Ask, BallotView, Certificate, Key, Limits, Motion, Objection, Opinion, Out, Roster,
    Standing,
};
use crate::engine::peer::Peer;

/// An ask is repeated so often.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Who lost an election begins the next one up to so many staggers later than it could, by chance of its boot: two of one
/// rank would otherwise meet again each time.
const SPREAD: u64 = 4;

/// See the module. Two are equal when they will behave alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ballot {
    me: Peer,
    limits: Limits,
    /// When it was heard of last by its own timer.
    last: Option<Duration>,
    /// Until when it does not trust itself.
    tilted: Duration,
    votes: Votes,
    electorate: Electorate,
    candidacy: Option<Candidacy>,
}

impl Ballot {
    /// Of an agent that starts now: its uptime is zero.
    pub fn new(me: Peer, limits: Limits) -> Self {
        let votes = Votes::default();
        let electorate = Electorate::default();
        Self { me, limits, last: None, tilted: Duration::ZERO, votes, electorate, candidacy: None }
    }

    /// Time passed. At least four times a second, and before anything else of a step.
    pub fn beat(&mut self, now: Duration) -> Vec<Out> {
        self.note(now);
        self.drive(now)
    }

    /// What is known of who may vote; whenever it is told, and best from the start: nobody stands by an electorate that it
    /// has not known for as long as a grant binds.
    pub fn roster(&mut self, now: Duration, roster: &Roster) {
        self.electorate.note(now, roster, self.limits.lock());
    }

    /// Stands for this. Saying it again changes nothing; standing for something else drops what it stood for, a certificate
    /// included. The first ask is a later beat's.
    pub fn stand(&mut self, now: Duration, motion: Motion, roster: Roster, has_vote: bool) {
        self.note(now);
        self.roster(now, &roster);
        match &mut self.candidacy {
            Some(candidacy) if candidacy.is_for(&motion, &roster, has_vote) => {
                candidacy.motion = motion;
                candidacy.roster = roster;
                self.review(now);
            }
            None | Some(_) => {
                let phase = Phase::Waiting { since: now };
                self.candidacy = Some(Candidacy { motion, roster, has_vote, attempt: 0, phase });
            }
        }
    }

    /// Stands for nothing any longer. What it granted itself still binds it.
    pub fn withdraw(&mut self, now: Duration) {
        self.note(now);
        self.candidacy = None;
    }

    /// Votes. `opinion` is what the agent's own computation says; `roster` is what it knows of who may vote.
    pub fn asked(&mut self, now: Duration, ask: &Ask, opinion: Opinion, roster: &Roster) -> Answer {
        self.note(now);
        self.roster(now, roster);
        let opinion = self.judge(now, ask, opinion, roster);
        Answer {
            key: ask.key.clone(),
            epoch: ask.epoch,
            candidate: ask.candidate.clone(),
            voter: self.me.clone(),
            opinion,
            seen: self.votes.seen(&ask.key),
        }
    }

    /// A vote came.
    pub fn answered(&mut self, now: Duration, answer: &Answer) -> Vec<Out> {
        self.note(now);
        if answer.candidate != self.me || answer.voter.replica == self.me.replica {
            return Vec::new();
        }
        let Some(Candidacy { motion, phase, .. }) = &mut self.candidacy else { return Vec::new() };
        if motion.key != answer.key {
            return Vec::new();
        }
        self.votes.raise(now, &answer.key, answer.seen);
        match phase {
            Phase::Asking(election) if election.is_for(answer) => {
                election.note(&answer.voter, answer.opinion);
                self.drive(now)
            }
            Phase::Asking(_) | Phase::Waiting { .. } | Phase::Elected(..) | Phase::Over => Vec::new(),
        }
    }

    /// Whether the order may be given now on this certificate. To be asked after the platform was read and right before
    /// the order is given.
    pub fn may_call(&self, now: Duration, certificate: &Certificate) -> bool {
        let mine = self.candidacy.as_ref().is_some_and(|candidacy| match &candidacy.phase {
            Phase::Elected(_, own) => own == certificate,
            Phase::Waiting { .. } | Phase::Asking(_) | Phase::Over => false,
        });
        let known = self.electorate.settled(&certificate.roster, self.limits.lock());
        mine && known.is_some()
            && certificate.ask.candidate == self.me
            && now < certificate.expires
            && self.doubt(now).is_none()
            && !self.is_gap(now)
    }

    /// The order was given. This agent stands no more for it, and grants nobody else anything until the call has landed.
    pub fn called(&mut self, now: Duration, key: &Key) {
        self.votes.call(now, key, &self.me, self.limits.lock());
        if let Some(candidacy) = self.candidacy.as_mut().filter(|candidacy| candidacy.motion.key == *key) {
            candidacy.phase = Phase::Over;
        }
        self.note(now);
    }

    /// How it stands, for people.
    pub fn view(&self, now: Duration) -> BallotView {
        let left = |until: Duration| Some(until.saturating_sub(now)).filter(|left| !left.is_zero());
        BallotView {
            standing: self.candidacy.as_ref().map(|candidacy| self.standing(candidacy)),
            granted: self
                .votes
                .longest(now)
                .map(|grant| (grant.ask.clone(), grant.until.saturating_sub(now))),
            tilt: left(self.tilted),
            quiet: left(self.limits.lock()),
        }
    }

    fn standing(&self, candidacy: &Candidacy) -> Standing {
        let election = candidacy.election();
        let counted = election.map(|election| election.roster(&candidacy.roster, self.electorate.fallen()));
        Standing {
            ask: election.map(|election| election.ask.clone()),
            attempt: candidacy.attempt,
            answers: election.map(Election::answers).unwrap_or_default(),
            needed: counted.unwrap_or(candidacy.roster).needed(),
        }
    }

    /// Whoever was not heard of for too long by its own timer may have been stopped, and what it knows may be old.
    fn note(&mut self, now: Duration) {
        if self.is_gap(now) {
            self.tilted = now + self.limits.tilt;
            self.candidacy = None;
        }
        self.last = self.last.max(Some(now));
        self.votes.forget(now);
    }

    fn is_gap(&self, now: Duration) -> bool {
        self.last.is_some_and(|last| now.saturating_sub(last) > self.limits.gap)
    }

    /// Why it does not trust itself now.
    fn doubt(&self, now: Duration) -> Option<Abstention> {
        if now < self.limits.lock() {
            return Some(Abstention::Quiet);
        }
        (now < self.tilted).then_some(Abstention::Tilt)
    }

    fn judge(&mut self, now: Duration, ask: &Ask, opinion: Opinion, roster: &Roster) -> Opinion {
        if let Some(doubt) = self.doubt(now) {
            return Opinion::Abstain(doubt);
        }
        if opinion != Opinion::Yes {
            return opinion;
        }
        if ask.roster != roster.version {
            return Opinion::No(Objection::OtherRoster);
        }
        match self.votes.grant(now, ask, self.limits.lock()) {
            Ok(()) => Opinion::Yes,
            Err(objection) => Opinion::No(objection),
        }
    }

    /// Moves the candidate on.
    fn drive(&mut self, now: Duration) -> Vec<Out> {
        let Some(mut candidacy) = self.candidacy.take() else { return Vec::new() };
        let phase = std::mem::replace(&mut candidacy.phase, Phase::Over);
        let (phase, out) = match phase {
            Phase::Waiting { since } if self.is_due(now, since, &candidacy) => {
                self.begin(now, since, &mut candidacy)
            }
            Phase::Asking(election) => self.count(now, election, &candidacy),
            Phase::Elected(election, certificate) if now >= certificate.expires => {
                self.lose(now, &election, &candidacy)
            }
            Phase::Waiting { .. } | Phase::Elected(..) | Phase::Over => (phase, None),
        };
        candidacy.phase = phase;
        self.candidacy = Some(candidacy);
        out.into_iter().collect()
    }

    /// Whether it is this candidate's turn.
    fn is_due(&self, now: Duration, since: Duration, candidacy: &Candidacy) -> bool {
        let lock = self.limits.lock();
        let Some(settled) = self.electorate.settled(&candidacy.roster, lock) else { return false };
        let turn = self.limits.stagger * candidacy.motion.rank;
        now >= since.max(lock).max(self.tilted).max(settled) + turn && self.doubt(now).is_none()
    }

    /// Begins an election: a vote for itself binds it like any other's, and so it does whoever has no vote.
    fn begin(&mut self, now: Duration, since: Duration, candidacy: &mut Candidacy) -> (Phase, Option<Out>) {
        let motion = &candidacy.motion;
        if let Some(grant) = self.votes.binding(now, &motion.key)
            && (grant.called || grant.ask.candidate != self.me)
        {
            // All who had granted the same one are free at about the same time; turns count from then.
            return (Phase::Waiting { since: grant.until.max(since) }, None);
        }
        let Some(epoch) = self.votes.seen(&motion.key).checked_add(1) else {
            return (Phase::Over, Some(Out::GaveUp { yes: 0 }));
        };
        let ask = Ask {
            key: motion.key.clone(),
            epoch,
            target: motion.target.clone(),
            candidate: self.me.clone(),
            roster: candidacy.roster.version,
            policy: motion.policy,
            baseline: motion.baseline,
        };
        if self.votes.grant(now, &ask, self.limits.lock()).is_err() {
            return (Phase::Waiting { since }, None);
        }
        candidacy.attempt += 1;
        let mut election = Election::new(ask.clone(), now);
        if candidacy.has_vote {
            election.note(&self.me, Opinion::Yes);
        }
        let (phase, out) = self.count(now, election, candidacy);
        (phase, out.or(Some(Out::Ask(ask))))
    }

    /// Whether enough have agreed, and whether there is time left.
    fn count(&self, now: Duration, mut election: Election, candidacy: &Candidacy) -> (Phase, Option<Out>) {
        let expires = election.began + self.limits.lease;
        if now >= expires {
            return self.lose(now, &election, candidacy);
        }
        let roster = election.roster(&candidacy.roster, self.electorate.fallen());
        if election.is_won(&roster) {
            let (ask, voters, began) = (election.ask.clone(), election.voters(), election.began);
            let certificate = Certificate { ask, voters, roster, began, expires };
            return (Phase::Elected(election, certificate.clone()), Some(Out::Elected(certificate)));
        }
        if now < election.asked + ASK_EVERY {
            return (Phase::Asking(election), None);
        }
        election.asked = now;
        let ask = election.ask.clone();
        (Phase::Asking(election), Some(Out::Ask(ask)))
    }

    /// An election ended without an order. The next begins when its own grant has run out, so that others had their turn. Where
    /// another candidate holds votes, too, all that was granted here runs out first, and who is of a higher rank waits once
    /// more: two that hold some voters each would otherwise keep them from one another for ever.
    fn lose(&self, now: Duration, election: &Election, candidacy: &Candidacy) -> (Phase, Option<Out>) {
        if candidacy.attempt >= self.limits.attempts {
            return (Phase::Over, Some(Out::GaveUp { yes: election.yes() }));
        }
        let chance = mix(&election.ask.key, self.me.boot, candidacy.attempt) % SPREAD;
        let spread = self.limits.stagger * u32::try_from(chance).unwrap_or_default();
        let is_split = election.answers().iter().any(|(_, o)| *o == Opinion::No(Objection::Granted));
        let since = match is_split {
            true => now + self.limits.lock() * (1 + candidacy.motion.rank.min(1)),
            false => election.began + self.limits.lock(),
        };
        (Phase::Waiting { since: since + spread }, None)
    }

    /// A certificate holds only while those that it counted as down are.
    fn review(&mut self, now: Duration) {
        let fallen = self.electorate.fallen();
        let Some(candidacy) = &mut self.candidacy else { return };
        let Phase::Elected(election, _) = &candidacy.phase else { return };
        if !election.is_won(&election.roster(&candidacy.roster, fallen)) {
            let since = now.max(election.began + self.limits.lock());
            candidacy.phase = Phase::Waiting { since };
        }
    }
}
