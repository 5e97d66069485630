//! The network between hosts: partitions in one or both directions, loss, delay, duplication, reordering.
//!
//! It carries; what is said is not its concern, nor who is met.

use std::collections::BTreeSet;

use crate::chance::Chance;

/// A machine with a name: a replica's place, or the watcher's. Whoever starts again there is in the same place.
pub(crate) type Host = usize;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weather {
    /// Messages lost, of a thousand.
    pub(crate) loss: u64,
    /// Messages that come twice, of a thousand.
    pub(crate) twice: u64,
    /// The longest delay of most messages, in milliseconds. Each message has its own, so they overtake one another.
    pub(crate) delay: u64,
    /// Messages, of a thousand, that take up to [`VERY_LATE`].
    pub(crate) late: u64,
}

pub(crate) const FAIR: Weather = Weather { loss: 0, twice: 0, delay: 20, late: 0 };

const VERY_LATE: u64 = 45_000;

/// Who is cut off from whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) id: u64,
    /// These are on one side, all others on the other.
    pub(crate) side: BTreeSet<Host>,
    /// What this side says is not heard on the other,
    pub(crate) out: bool,
    /// and the other way round.
    pub(crate) into: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    pub(crate) cuts: Vec<Cut>,
}

impl Network {
    pub(crate) const fn new() -> Self {
        Self { weather: FAIR, cuts: Vec::new() }
    }

    /// Whether what `from` says can reach `to`.
    pub(crate) fn reaches(&self, from: Host, to: Host) -> bool {
        !self.cuts.iter().any(|cut| match (cut.side.contains(&from), cut.side.contains(&to)) {
            (true, false) => cut.out,
            (false, true) => cut.into,
            (true, true) | (false, false) => false,
        })
    }

    /// How long each copy of a message takes; none: it is lost.
    pub(crate) fn carry(&self, from: Host, to: Host, chance: &mut Chance) -> Vec<u64> {
        let Weather { loss, twice, delay, late } = self.weather;
        // A connection that stalls may still deliver what it took when it moves again; often it breaks first.
        let is_cut = !self.reaches(from, to);
        if chance.per_mille(if is_cut { 900 } else { loss }) {
            return Vec::new();
        }
        let copies = if chance.per_mille(twice) { 2 } else { 1 };
        let once = |chance: &mut Chance| {
            if is_cut || chance.per_mille(late) {
                chance.between(5_000, VERY_LATE)
            } else {
                1 + chance.below(delay)
            }
        };
        (0..copies).map(|_| once(chance)).collect()
    }
}
