//! The requests of one shard's open window with their paths, for the figures by route: written by the worker, grouped
//! off its path once the window is sealed.

use crate::engine::observation::{Method, Outcome};
use crate::engine::route::PATH_MAX;

/// Entries of one window. Beyond it a request is counted in all other figures, but in no route's; how many were left out
/// is counted as well.
pub(super) const ENTRIES_MAX: usize = 32_768;
/// Bytes of paths of one window; the same happens at this bound.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// No latency.
const NONE: u32 = u32::MAX;

/// What was asked, kept until it ends.
#[derive(Clone, Debug)]
pub(super) struct Asking {
    pub(super) method: Method,
    len: u16,
    path: [u8; PATH_MAX],
}

impl Asking {
    pub(super) const EMPTY: Self = Self { method: Method::Other, len: 0, path: [0; PATH_MAX] };

    /// Copies as much of the path as is ever looked at.
    pub(super) fn set(&mut self, method: Method, path: &[u8]) {
        let path = path.get(..PATH_MAX).unwrap_or(path);
        self.method = method;
        self.len = path.len() as u16;
        self.path[..path.len()].copy_from_slice(path);
    }

    fn path(&self) -> &[u8] {
        &self.path[..self.len as usize]
    }
}

/// Something that happened to a request: it ended, or a latency was recorded while it is open.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Where its path ends; it begins where the one before ends.
    end: u32,
    latency_us: u32,
    status: u16,
    method: Method,
    outcome: Option<Outcome>,
}

/// The same as it is read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line<'a> {
    pub(super) path: &'a [u8],
    pub(super) method: Method,
    /// 0: none was sent.
    pub(super) status: u16,
    /// `None`: it is still open.
    pub(super) outcome: Option<Outcome>,
    pub(super) latency_us: Option<u64>,
}

/// The journal. It grows to what the busiest window needed and is used again.
#[derive(Debug, Default)]
pub(super) struct Journal {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    left_out: u64,
}

impl Journal {
    pub(super) fn add(
        &mut self,
        asking: &Asking,
        status: u16,
        outcome: Option<Outcome>,
        latency_us: Option<u64>,
    ) {
        let path = asking.path();
        if self.entries.len() >= ENTRIES_MAX || self.bytes.len() + path.len() > BYTES_MAX {
            self.left_out += u64::from(outcome.is_some());
            return;
        }
        self.bytes.extend_from_slice(path);
        let latency_us = latency_us.map_or(NONE, |us| us.min(u64::from(NONE - 1)) as u32);
        let (end, method) = (self.bytes.len() as u32, asking.method);
        self.entries.push(Entry { end, latency_us, status, method, outcome });
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let starts = std::iter::once(0).chain(self.entries.iter().map(|entry| entry.end));
        starts.zip(&self.entries).map(|(start, entry)| Line {
            path: &self.bytes[start as usize..entry.end as usize],
            method: entry.method,
            status: entry.status,
            outcome: entry.outcome,
            latency_us: (entry.latency_us != NONE).then_some(entry.latency_us.into()),
        })
    }

    /// Requests that ended and are not in it.
    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
        self.left_out = 0;
    }

    /// Memory that is held, in bytes.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.bytes.capacity()
    }
}
