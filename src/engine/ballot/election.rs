//! One election that an agent stands in: who answered, and whether that is enough.
//!
//! It owns the count. It does not know what time it is, nor what is voted on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::ballot::{Abstention, Answer, Ask, Opinion, Roster};
use crate::engine::peer::Peer;

/// Replicas whose answers are kept. At the bound answers of others are left out, which can only cost a majority.
pub(super) const ANSWERS_MAX: usize = 256;

/// An election under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Election {
    /// What is asked.
    pub(super) ask: Ask,
    /// When it began to ask.
    pub(super) began: Duration,
    /// When everybody was asked last.
    pub(super) asked: Duration,
    /// The last answer of each replica, whichever of its starts gave it: a replica has one vote.
    answers: BTreeMap<Arc<str>, (Peer, Opinion)>,
}

impl Election {
    pub(super) fn new(ask: Ask, began: Duration) -> Self {
        Self { ask, began, asked: began, answers: BTreeMap::new() }
    }

    /// Whether this answers what is asked here.
    pub(super) fn is_for(&self, answer: &Answer) -> bool {
        let ask = &self.ask;
        answer.epoch == ask.epoch && answer.key == ask.key && answer.candidate == ask.candidate
    }

    /// A replica's opinion; the last one counts.
    pub(super) fn note(&mut self, voter: &Peer, opinion: Opinion) {
        if self.answers.len() < ANSWERS_MAX || self.answers.contains_key(&voter.replica) {
            self.answers.insert(voter.replica.clone(), (voter.clone(), opinion));
        }
    }

    /// Who answered, and how.
    pub(super) fn answers(&self) -> Vec<(Peer, Opinion)> {
        self.answers.values().cloned().collect()
    }

    /// Who said yes, ascending.
    pub(super) fn voters(&self) -> Vec<Peer> {
        let yes = self.answers.values().filter(|(_, opinion)| *opinion == Opinion::Yes);
        yes.map(|(voter, _)| voter.clone()).collect()
    }

    /// How many said yes.
    pub(super) fn yes(&self) -> u32 {
        self.count(|opinion| opinion == Opinion::Yes)
    }

    /// The roster that this election goes by, if so many have been down for long enough: whoever answered lives.
    pub(super) fn roster(&self, roster: &Roster, fallen: u32) -> Roster {
        let living = self.count(|opinion| opinion != Opinion::Abstain(Abstention::NoVote));
        let down = fallen.min(roster.down).min(roster.replicas).min(roster.votes().saturating_sub(living));
        Roster { down, ..*roster }
    }

    /// The living have elected this agent, by that roster. More who vote than there are votes elect nobody: then the
    /// roster is wrong, and what is a majority of it may be none.
    pub(super) fn is_won(&self, roster: &Roster) -> bool {
        let voting = self.count(|opinion| matches!(opinion, Opinion::Yes | Opinion::No(_)));
        voting <= roster.votes() && self.yes() >= roster.needed()
    }

    fn count(&self, which: impl Fn(Opinion) -> bool) -> u32 {
        let count = self.answers.values().filter(|(_, opinion)| which(*opinion)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
