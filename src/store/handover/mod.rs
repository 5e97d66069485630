//! Handing over: what an agent remembers as items that another agent can take, and the union of two memories.
//!
//! **The union** changes nothing by the order in which items come, nor by their coming twice, as long as no bound on what is
//! kept is reached: each kind of item is a set that only grows, or a register whose greatest value stays. So agents that
//! told each other everything remember the same.
//!
//! **Damage.** Each item is sealed with a digest of its own. One that is not whole, or of a kind or form that this agent does
//! not know, is passed over and counted. All of an import is one transaction: after a crash it is there or it is not.
//!
//! It knows nothing of how items travel.

mod export;
mod import;
mod lives;
#[cfg(test)]
mod tests;

use crate::engine::history::OpenWatch;
use crate::engine::memory::Memory;
use crate::store::codec::item::{self, Content};

pub(super) use crate::store::handover::export::{Wanted, export, export_one};
pub(super) use crate::store::handover::import::import;

/// The longest item. A longer one is not exported, and refused as damaged.
pub const ITEM_BYTES_MAX: usize = 1 << 20;
/// A watch and its facts are exported if all their items together are no longer than this, else left out whole.
pub const WATCH_BYTES_MAX: usize = 8 << 20;
/// Records that are exported, newest first: decisions, pauses and ends of watches.
pub const RECORDS_EXPORTED: usize = 200;
/// The most items of one import; the others are left out and counted. An export has some 300, and one more for each quarter of
/// a megabyte of facts.
pub const ITEMS_MAX: usize = 4096;

/// A piece of what an agent remembers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// What it is about.
    pub kind: String,
    /// It, sealed.
    pub bytes: Vec<u8>,
}

/// What is to be exported beside baselines, releases, records and the pause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Export {
    /// The open watch with its facts.
    pub watch: bool,
}

/// What became of the items of an import.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// They told something new.
    pub taken: u64,
    /// What they told was known, or was superseded.
    pub known: u64,
    /// A kind or a form that this agent does not know.
    pub unknown: u64,
    /// They were damaged, or made no sense, or lacked the items that belong to them.
    pub damaged: u64,
    /// There were too many.
    pub left_out: u64,
}

/// An import that became durable.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// All that the store holds now.
    pub memory: Memory,
    /// What became of the items.
    pub report: ImportReport,
    /// The longest watch that the items told of, whole; whether it was taken or not.
    pub offered: Option<Box<OpenWatch>>,
}

impl Item {
    fn of(content: &Content) -> Self {
        let (kind, bytes) = item::seal(content);
        Self { kind: kind.to_owned(), bytes }
    }
}
