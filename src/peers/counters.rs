//! What was counted since the start. It knows not why.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::peers::envelope::Refused;

#[derive(Default)]
pub(super) struct Counters {
    refused: [AtomicU64; Refused::ALL.len()],
    pub(super) sent_bytes: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) dropped: AtomicU64,
    pub(super) skipped: AtomicU64,
}

impl Counters {
    pub(super) fn refuse(&self, why: Refused) {
        let at = Refused::ALL.iter().position(|it| *it == why);
        add(&self.refused[at.expect("every reason is in the list of all")], 1);
    }

    pub(super) fn refused(&self) -> Vec<(&'static str, u64)> {
        Refused::ALL.iter().zip(&self.refused).map(|(why, n)| (why.label(), get(n))).collect()
    }
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

pub(super) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
