//! What several replicas saw in the same five seconds, put together: slots of the wall clock, shares of replicas, and the
//! rounds that are made of them.
//!
//! Merging is the union of a grow-only set: a share is named by slot and boot, so the order in which shares come, and how
//! often, changes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::peer::{Deployment, Peer};
use crate::engine::tick::{TICK, Tick};
use crate::engine::time::Time;

/// A piece of the wall clock, five seconds long, counted from the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u64);

/// Windows begin and end a few milliseconds beside the second.
const EARLY: Duration = Duration::from_millis(500);

impl Slot {
    /// The slot that a window belongs to that begins at `at`.
    pub fn of(at: Time) -> Self {
        Self((at + EARLY).as_millis() / TICK.as_millis() as u64)
    }

    /// When it begins.
    pub fn begin(self) -> Time {
        Time::from_millis(self.0 * TICK.as_millis() as u64)
    }

    /// When it ends.
    pub fn end(self) -> Time {
        Self(self.0 + 1).begin()
    }
}

/// What one replica saw in one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// Who saw it.
    pub of: Peer,
    /// Beside which deployment.
    pub deployment: Deployment,
    /// When.
    pub slot: Slot,
    /// How long the app had been ready at the slot's end; `None`: it was not.
    pub age: Option<Duration>,
    /// What. Its crashes are those of this slot.
    pub tick: Tick,
}

/// Which of the last shares of one peer somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whose.
    pub of: Peer,
    /// The newest that it has.
    pub newest: Slot,
    /// Bit `i`: it has that of `newest - i`.
    pub have: u16,
}

/// What all replicas of a deployment saw in one slot, as it is weighed and kept.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetRound {
    /// When.
    pub slot: Slot,
    /// By replica, ascending by name; with at most one entry a replica.
    pub candidate: Vec<(Arc<str>, Tick)>,
    /// The stable release beside it, pooled.
    pub control: Option<Tick>,
    /// How long the app of the replica that is ready longest had been so; `None`: none was ready.
    pub age: Option<Duration>,
}

/// Slots behind the present one in which shares are still taken; later, what was seen in them is settled. Half a minute.
pub const SLOTS_OPEN: u64 = 6;
/// Shares of one slot that are kept; more peers than these are not met.
const SHARES_MAX: usize = 256;

/// The shares of the slots that are still open.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Ledger {
    slots: BTreeMap<Slot, BTreeMap<Peer, Arc<Share>>>,
    /// Slots before this one are settled.
    floor: Slot,
    /// Shares that came too late, or from the future.
    refused: u64,
}

/// What became of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    /// It is new.
    New,
    /// It is there already.
    Known,
    /// It came too late, or its sender's clock is ahead.
    Refused,
}

impl Ledger {
    /// Takes a share; `present` is the slot that runs now.
    pub(crate) fn add(&mut self, share: Arc<Share>, present: Slot) -> Added {
        if share.slot < self.floor || share.slot.0 + SLOTS_OPEN < present.0 || share.slot.0 > present.0 + 1 {
            self.refused += 1;
            return Added::Refused;
        }
        let slot = self.slots.entry(share.slot).or_default();
        if slot.contains_key(&share.of) {
            return Added::Known;
        }
        if slot.len() >= SHARES_MAX {
            self.refused += 1;
            return Added::Refused;
        }
        slot.insert(share.of.clone(), share);
        Added::New
    }

    /// Shares that were refused so far.
    pub(crate) const fn refused(&self) -> u64 {
        self.refused
    }

    /// Nothing of slots before this one is needed any more.
    pub(crate) fn close_before(&mut self, floor: Slot) {
        self.floor = self.floor.max(floor);
        self.slots = self.slots.split_off(&self.floor);
    }

    /// The first open slot in which a replica of this deployment saw something.
    pub(crate) fn first(&self, of: &Deployment) -> Option<Slot> {
        let has = |shares: &BTreeMap<Peer, Arc<Share>>| shares.values().any(|share| share.deployment == *of);
        self.slots.iter().find(|(_, shares)| has(shares)).map(|(&slot, _)| slot)
    }

    /// Whether this agent's share of the slot is there.
    pub(crate) fn has(&self, slot: Slot, peer: &Peer) -> bool {
        self.slots.get(&slot).is_some_and(|shares| shares.contains_key(peer))
    }

    /// Who shared what it saw in the slot.
    pub(crate) fn sharers(&self, slot: Slot) -> impl Iterator<Item = &Peer> {
        self.slots.get(&slot).into_iter().flat_map(BTreeMap::keys)
    }

    /// What the replicas of `of` saw in the slot together; `None` when none of them shared anything.
    ///
    /// A replica whose app is younger than `warm_up` is left out beside one that is warm, but for its crashes; so is one that is
    /// not ready.
    pub(crate) fn round(
        &self,
        slot: Slot,
        of: &Deployment,
        control: Option<&Deployment>,
        warm_up: Duration,
    ) -> Option<FleetRound> {
        let shares = self.slots.get(&slot)?;
        let own: Vec<&Share> =
            shares.values().map(AsRef::as_ref).filter(|share| share.deployment == *of).collect();
        let age = own.iter().filter_map(|share| share.age).max();
        let is_warm = |share: &&&Share| share.age.is_some_and(|age| age >= warm_up);
        let least = if own.iter().any(|share| is_warm(&share)) { warm_up } else { Duration::ZERO };
        let mut candidate: BTreeMap<Arc<str>, Tick> = BTreeMap::new();
        for share in &own {
            let counts = share.age.is_some_and(|age| age >= least);
            let tick = if counts { share.tick.clone() } else { crashes_only(share) };
            match candidate.entry(Arc::clone(&share.of.replica)) {
                std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(tick)),
                // It started anew within the slot.
                std::collections::btree_map::Entry::Occupied(mut entry) => {
                    let sum = entry.get_mut();
                    sum.stalled |= tick.stalled;
                    sum.pool(&Tick { stalled: false, ..tick });
                }
            }
        }
        let mut others =
            shares.values().filter(|share| Some(&share.deployment) == control && !share.tick.stalled);
        let control = others.next().map(|first| {
            let mut sum = first.tick.clone();
            others.for_each(|share| sum.pool(&share.tick));
            sum
        });
        (!candidate.is_empty()).then(|| FleetRound {
            slot,
            candidate: candidate.into_iter().collect(),
            control,
            age,
        })
    }

    /// Which shares are here.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen: BTreeMap<&Peer, Seen> = BTreeMap::new();
        for (&slot, shares) in self.slots.iter().rev() {
            for of in shares.keys() {
                let new = || Seen { of: of.clone(), newest: slot, have: 0 };
                let entry = seen.entry(of).or_insert_with(new);
                let back = entry.newest.0 - slot.0;
                if back < u64::from(u16::BITS) {
                    entry.have |= 1 << back;
                }
            }
        }
        seen.into_values().collect()
    }

    /// The shares that are here and that somebody lacks who says that it has these.
    pub(crate) fn lacking(&self, theirs: &[Seen]) -> Vec<Arc<Share>> {
        let has = |of: &Peer, slot: Slot| {
            let seen = theirs.iter().find(|seen| seen.of == *of);
            seen.is_some_and(|seen| {
                let back = seen.newest.0.checked_sub(slot.0).filter(|&back| back < u64::from(u16::BITS));
                back.is_some_and(|back| seen.have & (1 << back) != 0)
            })
        };
        // What is settled there is in none of their slots, and lacks nothing.
        let newest = theirs.iter().map(|seen| seen.newest.0).max().unwrap_or(0);
        let is_open = |slot: Slot| slot.0 + SLOTS_OPEN > newest;
        let all = self.slots.iter().flat_map(|(&slot, shares)| shares.iter().map(move |each| (slot, each)));
        all.filter(|(slot, (of, _))| is_open(*slot) && !has(of, *slot))
            .map(|(_, (_, share))| Arc::clone(share))
            .collect()
    }
}

/// What counts of a replica whose app was not up, or not warm while others were.
fn crashes_only(share: &Share) -> Tick {
    let Tick { from, to, crashes, .. } = share.tick;
    Tick { from, to, crashes, ..Tick::default() }
}
