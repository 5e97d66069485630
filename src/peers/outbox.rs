//! What waits to be sent to one peer: votes before evidence, evidence before memory, each within its bound.
//!
//! It belongs to the peer and not to a connection, so what waits survives the change from one connection to another. Only
//! one connection of a pair takes from it at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Votes and evidence that wait for one peer: as many as two minutes of a large fleet. At the bound the oldest evidence goes,
/// and is asked for again later; without any, the oldest vote, which is repeated anyway.
pub(super) const MESSAGES_MAX: usize = 256;
/// The same in bytes.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// Bytes of memory that wait for all peers together. What would go beyond is not sent at all: half of a memory is worth
/// nothing, and whoever asked goes on without.
pub(super) const MEMORY_BYTES_MAX: usize = 32 << 20;

/// What kind of thing waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Votes, and what agents say of themselves.
    Vote,
    /// Shares, and who has which.
    Evidence,
    /// Memory that is handed over.
    Memory,
}

pub(super) struct Outbox {
    lanes: Mutex<Lanes>,
    memory: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Lanes {
    votes: VecDeque<Bytes>,
    evidence: VecDeque<Bytes>,
    memory: VecDeque<Bytes>,
    /// Of votes and evidence.
    bytes: usize,
    /// The connection that takes from it, and how it is woken.
    taker: Option<(u64, Arc<Notify>)>,
}

impl Outbox {
    /// `memory`: the bytes of memory that wait for all peers.
    pub(super) fn new(memory: Arc<AtomicUsize>) -> Self {
        Self { lanes: Mutex::default(), memory }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were dropped so that this one fits, or with it.
    pub(super) fn push(&self, lane: Lane, body: Bytes) -> u64 {
        let mut lanes = self.lock();
        let mut dropped = 0;
        let is_full = |lanes: &Lanes| {
            lanes.votes.len() + lanes.evidence.len() >= MESSAGES_MAX || lanes.bytes + body.len() > BYTES_MAX
        };
        while is_full(&lanes) {
            dropped += 1;
            let oldest = match lanes.evidence.pop_front() {
                Some(oldest) => Some(oldest),
                None if lane == Lane::Vote => lanes.votes.pop_front(),
                None => None,
            };
            match oldest {
                Some(oldest) => lanes.bytes -= oldest.len(),
                // It is evidence where only votes wait, or longer than all that may.
                None => return dropped,
            }
        }
        lanes.bytes += body.len();
        match lane {
            Lane::Vote => lanes.votes.push_back(body),
            Lane::Evidence | Lane::Memory => lanes.evidence.push_back(body),
        }
        lanes.wake();
        dropped
    }

    /// Whether all of it may wait.
    pub(super) fn push_memory(&self, pieces: &[Bytes]) -> bool {
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let fits = |now: usize| now.checked_add(length).filter(|sum| *sum <= MEMORY_BYTES_MAX);
        if self.memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            return false;
        }
        let mut lanes = self.lock();
        lanes.memory.extend(pieces.iter().cloned());
        lanes.wake();
        true
    }

    /// The next one for this connection; `None` when nothing waits, or another one takes.
    pub(super) fn pop(&self, taker: u64) -> Option<(Lane, Bytes)> {
        let mut lanes = self.lock();
        if lanes.taker.as_ref().is_none_or(|(id, _)| *id != taker) {
            return None;
        }
        if let Some(body) = lanes.votes.pop_front() {
            lanes.bytes -= body.len();
            return Some((Lane::Vote, body));
        }
        if let Some(body) = lanes.evidence.pop_front() {
            lanes.bytes -= body.len();
            return Some((Lane::Evidence, body));
        }
        let body = lanes.memory.pop_front()?;
        self.memory.fetch_sub(body.len(), Ordering::Relaxed);
        Some((Lane::Memory, body))
    }

    /// Puts back what was taken and could not be sent whole. One more than the bound does no harm.
    pub(super) fn put_back(&self, lane: Lane, body: Bytes) {
        let mut lanes = self.lock();
        match lane {
            Lane::Vote | Lane::Evidence => lanes.bytes += body.len(),
            Lane::Memory => {
                self.memory.fetch_add(body.len(), Ordering::Relaxed);
            }
        }
        match lane {
            Lane::Vote => lanes.votes.push_front(body),
            Lane::Evidence => lanes.evidence.push_front(body),
            Lane::Memory => lanes.memory.push_front(body),
        }
        lanes.wake();
    }

    /// From now on this connection takes.
    pub(super) fn give_to(&self, taker: Option<(u64, Arc<Notify>)>) {
        let mut lanes = self.lock();
        lanes.taker = taker;
        lanes.wake();
    }
}

impl Lanes {
    fn wake(&self) {
        if let Some((_, notify)) = &self.taker {
            notify.notify_one();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        let left: usize = self.lock().memory.iter().map(Bytes::len).sum();
        self.memory.fetch_sub(left, Ordering::Relaxed);
    }
}
