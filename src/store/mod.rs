//! Baselines, evidence, decision records: SQLite on its own thread.
//!
//! **What it promises.** [`Store::write`] returns when the write is on the disk (write-ahead log, synced at each
//! commit), so an intent written before an act survives whatever happens during the act. After `kill -9` or a power
//! cut the store holds every write that was acknowledged, and of a transaction all or nothing.
//!
//! **One thread, one queue.** A disk may stall for seconds; neither the engine nor the data path may. So the database
//! lives on a thread of its own behind a bounded queue ([`QUEUE_MAX`]): [`Store::write`] waits for a place,
//! [`Store::try_write`] drops and counts. Whatever is queued together is written in one transaction with one sync, in
//! its order; when it fails, each of its writes fails with the same error, and the thread goes on: a full disk is a
//! state that ends.
//!
//! **It does not judge.** It knows no clock (but one that says what of a peer's memory is news for people), no thresholds, and of a decision only how far its act has come. It never
//! repairs or overwrites a damaged database: it names it. A damaged row is passed over and reported, except that a
//! damaged pause still pauses and a damaged record of an act still counts as one.
//!
//! **Its size** is bounded by the numbers of ticks and records that are kept. Measured: a busy service's tick (200
//! different latencies) takes some 750 bytes, and what it saw by route 1 to 3 KB more where 50 routes are busy, 6 KB where
//! 200 are. The default of 20,000 ticks takes 15 MB without routes and at most some 90 MB with them (`prune` says how);
//! What several replicas saw in a slot is kept replica by replica and takes as many times as much; fewer are kept then.
//! 48 hours (34,560 ticks) without routes take 25 to 29 MB, which the check at the start reads in 40 ms. A baseline of 50
//! routes and all hours of the week takes 55 KB, of 200 routes 100 KB. A record of a decision takes some 3 KB, others a
//! tenth of that.

pub mod wire;

mod archive;
mod codec;
mod copy;
mod error;
mod evidence;
#[doc(hidden)]
pub mod fuzz;
mod handover;
mod locked;
mod open;
mod outbox;
mod prune;
mod rows;
mod schema;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config;
use crate::engine::baseline::Baseline;
use crate::engine::history::{KeptFact, WatchStart};
use crate::engine::memory::{Memory, ReleaseMemory};
use crate::engine::record::{Pause, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::store::open::Opened;
use crate::store::prune::Bounds;
use crate::store::rows::Damage;
use crate::store::writer::{Job, Writer};

pub use crate::store::archive::{Archive, FACTS_READ_MAX, ListedWatch, POINTS_READ_MAX};
pub use crate::store::copy::clone_store;
pub use crate::store::error::{CloneError, OpenError, ReadError, WriteError};
pub use crate::store::evidence::StoredWatch;
pub use crate::store::handover::{
    Export, ITEM_BYTES_MAX, ITEMS_MAX, ImportReport, Imported, Item, RECORDS_EXPORTED, WATCH_BYTES_MAX,
};
pub use crate::store::open::DATABASE_FILE;
pub use crate::store::outbox::{AlertStep, AlertWrite, OutboxRow, Outlets, Pending};

/// How many writes and reads wait at most. At the bound [`Store::write`] and all reads wait for a place, and
/// [`Store::try_write`] drops. The largest write, a baseline, takes some 100 KB: 25 MB in the worst case.
pub const QUEUE_MAX: usize = 256;
/// The most records that one call returns; a higher limit is cut to this.
pub const RECORDS_READ_MAX: usize = 1000;
/// The most ticks that one call returns; a higher limit is cut to this.
pub const TICKS_READ_MAX: usize = 5000;
/// The shortest beginning of a record's id that stands for it; a shorter one finds only a record of just that id.
pub const PREFIX_MIN: usize = 6;

/// What can be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A record, over an older one of the same id.
    Record(Record),
    /// What a watch begins from.
    Watch(Box<WatchStart>),
    /// A fact of a watch.
    Fact(Box<KeptFact>),
    /// A baseline, in place of an older one of the same release.
    Baseline(Box<Baseline>),
    /// What is thought of a release.
    Release(ReleaseMemory),
    /// The pause in force, or that there is none.
    Pause {
        /// The pause.
        pause: Option<Pause>,
        /// When that changed.
        at: Time,
    },
    /// What became of an alert.
    Alert(AlertWrite),
}

/// How the store is.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreStatus {
    /// The database; `None` in memory.
    pub path: Option<PathBuf>,
    /// The version of its tables.
    pub schema_version: u32,
    /// Its size with its log.
    pub size_bytes: u64,
    /// Writes that became durable.
    pub written: u64,
    /// Writes that found the queue full, or the store closed, and were dropped.
    pub dropped: u64,
    /// Writes whose transaction failed.
    pub failed: u64,
    /// Stored rows that were found damaged and passed over.
    pub damaged: u64,
    /// Why the last transaction failed; `None` once one worked again.
    pub last_error: Option<String>,
    /// Whether it survives a restart.
    pub durable: bool,
}

/// What the thread and the handles share.
#[derive(Debug, Default)]
struct Shared {
    path: Option<PathBuf>,
    size_bytes: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
    damaged: AtomicU64,
    last_error: Mutex<Option<String>>,
    /// Whom alerts are queued for; unset: nobody.
    outlets: OnceLock<Outlets>,
    /// Goes up when alerts were queued.
    queued: watch::Sender<u64>,
    /// Alerts that were dropped untold.
    untold: AtomicU64,
}

impl Shared {
    fn report(&self, damage: Vec<Damage>) {
        for Damage { row, fault } in damage {
            self.damaged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(row, fault, "stored row is damaged and was passed over");
        }
    }
}

/// A handle on the store. Cheap to clone; when the last one is dropped the thread writes what is queued and ends.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// Opens the store in the configured directory, creates what is missing, and starts its thread. Blocks for as long as
/// the check of an existing database takes.
pub fn open(config: &config::Store) -> Result<Store, OpenError> {
    start(open::on_disk(&config.dir)?, config)
}

/// A store that forgets everything when it is closed.
pub fn in_memory(config: &config::Store) -> Result<Store, OpenError> {
    start(open::in_memory()?, config)
}

fn start(opened: Opened, config: &config::Store) -> Result<Store, OpenError> {
    let shared = Arc::new(Shared { path: opened.path.clone(), ..Shared::default() });
    let bounds = Bounds { evidence_max: config.evidence_max, records_max: config.records_max };
    let writer = Writer::new(opened, Arc::clone(&shared), bounds);
    let (jobs, queue) = mpsc::channel(QUEUE_MAX);
    std::thread::Builder::new()
        .name("outrigger-store".to_owned())
        .spawn(move || writer.run(queue))
        .map_err(|source| OpenError::Thread { source })?;
    Ok(Store { jobs, shared })
}

impl Store {
    /// Writes, and returns when it is durable. Waits for a place in the queue. Dropping the future once it has been
    /// polled may or may not take the write back.
    pub async fn write(&self, write: Write) -> Result<(), WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Write(write, Some(answer))).await.map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)?
    }

    /// Queues a write that may be lost: a fact, a baseline that will be written again. Never waits; returns whether it
    /// was queued. What is dropped or fails is counted in the status.
    pub fn try_write(&self, write: Write) -> bool {
        let queued = self.jobs.try_send(Job::Write(write, None)).is_ok();
        if !queued {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        queued
    }

    /// Everything that the engine must know after a restart.
    pub async fn memory(&self) -> Result<Memory, ReadError> {
        self.ask(rows::memory).await
    }

    /// Up to `limit` records as JSON ([`wire::RecordDoc`]), newest first; older than the record `before`, if given.
    pub async fn records(
        &self,
        limit: usize,
        before: Option<RecordId>,
    ) -> Result<Vec<serde_json::Value>, ReadError> {
        let limit = limit.min(RECORDS_READ_MAX);
        self.ask(move |connection, _| rows::records(connection, limit, before.as_ref().map(RecordId::as_str)))
            .await
    }

    /// The record of this id, or the only one whose id begins so (at least [`PREFIX_MIN`] characters).
    pub async fn record(&self, id: &str) -> Result<Option<serde_json::Value>, ReadError> {
        let wanted = id.to_owned();
        let mut found = self.ask(move |connection, _| rows::records_like(connection, &wanted)).await?;
        if found.len() > 1 && id.len() >= PREFIX_MIN {
            return Err(ReadError::Ambiguous { prefix: id.to_owned() });
        }
        Ok(found.pop().filter(|record| id.len() >= PREFIX_MIN || record["id"] == id))
    }

    /// The release's ticks, those of several replicas put together, that began in `[from, to)`, oldest first; of more than `limit`, the newest.
    pub async fn ticks(
        &self,
        release: &Release,
        from: Time,
        to: Time,
        limit: usize,
    ) -> Result<Vec<Tick>, ReadError> {
        let (release, limit) = (release.clone(), limit.min(TICKS_READ_MAX));
        self.ask(move |connection, damage| evidence::ticks(connection, &release, (from, to), limit, damage))
            .await
    }

    /// What other agents may take over of what is remembered.
    pub async fn export(&self, what: Export) -> Result<Vec<Item>, ReadError> {
        self.ask(move |connection, damage| handover::export(connection, what, damage)).await
    }

    /// What a write changed, as it is held now, to be told to others as it happens; `None` where they need not know, or it is
    /// not held any more. Ask after the write.
    pub async fn export_one(&self, write: &Write) -> Result<Option<Item>, ReadError> {
        let Some(wanted) = handover::Wanted::of(write) else { return Ok(None) };
        self.ask(move |connection, _| handover::export_one(connection, &wanted)).await
    }

    /// Takes over what other agents remember, beside what is held; all of it is durable then, or none. A watch is taken only
    /// if all items that belong to it are there.
    pub async fn import(&self, items: Vec<Item>) -> Result<Imported, WriteError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Import(items, answer)).await.map_err(|_| WriteError::Closed)?;
        answered.await.map_err(|_| WriteError::Closed)?
    }

    /// From now on alerts are queued for these, once and for all: a second word changes nothing.
    pub fn tell_through(&self, outlets: Outlets) {
        let _ = self.shared.outlets.set(outlets);
    }

    /// Changes whenever alerts were queued, or what became of them was written.
    pub fn alerts_queued(&self) -> watch::Receiver<u64> {
        self.shared.queued.subscribe()
    }

    /// The alerts that wait for this channel, the most urgent first, up to 200.
    pub async fn alerts_pending(&self, channel: &'static str) -> Result<Vec<Pending>, ReadError> {
        self.ask(move |connection, damage| outbox::pending(connection, channel, damage)).await
    }

    /// All alerts that are remembered, the newest first.
    pub async fn alerts(&self) -> Result<Vec<OutboxRow>, ReadError> {
        self.ask(|connection, _| outbox::list(connection)).await
    }

    /// Alerts that were dropped untold, because too many waited.
    pub fn alerts_dropped(&self) -> u64 {
        self.shared.untold.load(Ordering::Relaxed)
    }

    /// How the store is, as of now and without waiting for it.
    pub fn status(&self) -> StoreStatus {
        let shared = &self.shared;
        StoreStatus {
            path: shared.path.clone(),
            schema_version: schema::SCHEMA_VERSION,
            size_bytes: shared.size_bytes.load(Ordering::Relaxed),
            written: shared.written.load(Ordering::Relaxed),
            dropped: shared.dropped.load(Ordering::Relaxed),
            failed: shared.failed.load(Ordering::Relaxed),
            damaged: shared.damaged.load(Ordering::Relaxed),
            last_error: shared.last_error.lock().expect("no holder of this lock panics").clone(),
            durable: shared.path.is_some(),
        }
    }

    /// Writes what is queued, merges the log, ends the thread and frees the directory. Other handles find the store
    /// closed from then on.
    pub async fn close(self) {
        let (done, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(done)).await.is_ok() {
            // An error means that the thread has ended already.
            let _ = closed.await;
        }
    }

    async fn ask<T, F>(&self, question: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &mut Vec<Damage>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let question = Box::new(move |connection: &Connection| {
            let mut damage = Vec::new();
            let result = question(connection, &mut damage);
            // Before the answer: whoever has it sees the count too.
            shared.report(damage);
            let _ = answer.send(result);
        });
        self.jobs.send(Job::Read(question)).await.map_err(|_| ReadError::Closed)?;
        answered.await.map_err(|_| ReadError::Closed)?.map_err(|source| ReadError::Failed { source })
    }
}

/// Whether the directory and the database in it can be used. Another agent that holds them is no fault here; nothing is
/// made or changed, but that SQLite may leave an empty log beside a database that it read.
///
/// # Errors
///
/// What [`open`] would say.
pub fn examine(config: &config::Store) -> Result<(), OpenError> {
    open::examine(&config.dir)
}
