//! How far each open request is, readable without the lock.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;

/// The first run of slots; each next one is twice as long.
const FIRST_RUN: usize = 64;
/// Runs of slots: four million in all, above every limit of connections.
const RUNS: usize = 16;

/// How far an open request is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Slot {
    Free,
    /// The request is on its way to the app.
    Sending,
    /// The app has the whole request and has not answered.
    Waiting {
        since_us: u64,
    },
    /// The reply's head came; what follows depends on the client's speed too.
    Answered {
        latency_us: u64,
    },
}

impl Slot {
    /// As one word: the kind in the lowest two bits. Times are cut to 62 bits, which is 146,000 years.
    pub(super) const fn word(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Sending => 1,
            Self::Waiting { since_us } => since_us << 2 | 2,
            Self::Answered { latency_us } => latency_us << 2 | 3,
        }
    }

    pub(super) const fn of(word: u64) -> Self {
        let us = word >> 2;
        match word & 3 {
            0 => Self::Free,
            1 => Self::Sending,
            2 => Self::Waiting { since_us: us },
            _ => Self::Answered { latency_us: us },
        }
    }
}

/// Slots that grow without moving, so that they can be read outside the lock.
#[derive(Debug, Default)]
pub(super) struct Slots([OnceLock<Box<[AtomicU64]>>; RUNS]);

impl Slots {
    pub(super) fn at(&self, ticket: u32) -> &AtomicU64 {
        let place = ticket as usize + FIRST_RUN;
        let run = (place / FIRST_RUN).ilog2() as usize;
        let start = FIRST_RUN << run;
        let slots = self.0[run].get_or_init(|| (0..start).map(|_| AtomicU64::new(0)).collect());
        &slots[place - start]
    }
}
