//! What an agent stands for, and how far it has come.
//!
//! Plain data with its phases; what moves it on is `machine`'s.

use std::time::Duration;

use crate::engine::ballot::election::Election;
use crate::engine::ballot::{Certificate, Motion, Roster};

/// An agent's standing for one motion.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Candidacy {
    /// For what.
    pub(super) motion: Motion,
    /// By which electorate.
    pub(super) roster: Roster,
    /// The candidate has a vote itself.
    pub(super) has_vote: bool,
    /// Elections so far.
    pub(super) attempt: u8,
    /// How far it is.
    pub(super) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    /// No election yet, or the last one is over. The turns of the others count from then on.
    Waiting { since: Duration },
    /// Votes are asked for.
    Asking(Election),
    /// Enough have agreed. The order may be given.
    Elected(Election, Certificate),
    /// The order was given, or all attempts are used up. Nothing follows until the motion is made anew.
    Over,
}

impl Candidacy {
    /// The same thing is stood for: neither the rank nor who is down makes it another.
    pub(super) fn is_for(&self, motion: &Motion, roster: &Roster, has_vote: bool) -> bool {
        let ranked = Motion { rank: motion.rank, ..self.motion.clone() };
        ranked == *motion && self.roster.is_same_but_for_down(roster) && self.has_vote == has_vote
    }

    /// The election under way.
    pub(super) fn election(&self) -> Option<&Election> {
        match &self.phase {
            Phase::Asking(election) | Phase::Elected(election, _) => Some(election),
            Phase::Waiting { .. } | Phase::Over => None,
        }
    }
}
