//! The store's thread: takes what is queued, writes it in as few transactions as possible, and answers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use crate::engine::history::OpenWatch;
use crate::store::error::WriteError;
use crate::store::open::Opened;
use crate::store::prune::{self, Bounds, PRUNE_EVERY};
use crate::store::rows;
use crate::store::{ImportReport, Imported, Item, Shared, Write, handover, outbox};

/// The most writes in one transaction, and so behind one sync of the disk. More are left for the next.
const BATCH_MAX: usize = 64;

pub(super) type Answer = oneshot::Sender<Result<(), WriteError>>;
pub(super) type Question = Box<dyn FnOnce(&Connection) + Send>;

/// What the thread is asked.
pub(super) enum Job {
    /// Write. Without an answer, a failure is logged here.
    Write(Write, Option<Answer>),
    /// Take over what others remember. What was queued before is written by then.
    Import(Vec<Item>, oneshot::Sender<Result<Imported, WriteError>>),
    /// Read. What was queued before is written by then.
    Read(Question),
    /// End. What was queued before is written by then.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    opened: Opened,
    shared: Arc<Shared>,
    bounds: Bounds,
    since_prune: u64,
    failing: bool,
}

impl Writer {
    pub(super) fn new(opened: Opened, shared: Arc<Shared>, bounds: Bounds) -> Self {
        let writer = Self { opened, shared, bounds, since_prune: 0, failing: false };
        writer.measure();
        writer
    }

    /// Until it is told to close or nobody is left to ask anything.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut pending = Vec::with_capacity(BATCH_MAX);
        while let Some(first) = jobs.blocking_recv() {
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Write(write, answer) => pending.push((write, answer)),
                    Job::Import(items, answer) => {
                        self.commit(&mut pending);
                        let _ = answer.send(self.import(&items));
                    }
                    Job::Read(question) => {
                        self.commit(&mut pending);
                        question(&self.opened.connection);
                    }
                    Job::Close(done) => {
                        self.commit(&mut pending);
                        self.end();
                        let _ = done.send(());
                        return;
                    }
                }
                next = if pending.len() < BATCH_MAX { jobs.try_recv().ok() } else { None };
            }
            self.commit(&mut pending);
        }
        self.end();
    }

    fn commit(&mut self, pending: &mut Vec<(Write, Option<Answer>)>) {
        // Whoever no longer waits has taken the write for lost and acted on that: it must not happen after all.
        pending.retain(|(_, answer)| answer.as_ref().is_none_or(|answer| !answer.is_closed()));
        if pending.is_empty() {
            return;
        }
        let count = pending.len() as u64;
        let result = self.transact(pending).map_err(|source| WriteError::Failed { source: Arc::new(source) });
        let counter = if result.is_ok() { &self.shared.written } else { &self.shared.failed };
        counter.fetch_add(count, Ordering::Relaxed);
        let unanswered = pending.iter().any(|(_, answer)| answer.is_none());
        self.tell(&result, unanswered);
        self.measure();
        for (_, answer) in pending.drain(..) {
            if let Some(answer) = answer {
                let _ = answer.send(result.clone());
            }
        }
    }

    /// All or nothing: an error rolls the whole transaction back.
    fn transact(&mut self, pending: &[(Write, Option<Answer>)]) -> rusqlite::Result<()> {
        let transaction = self.opened.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut queued = false;
        for (write, _) in pending {
            rows::write(&transaction, write)?;
            if let Some(outlets) = self.shared.outlets.get() {
                queued |= outbox::follow(&transaction, write, outlets)?;
            }
        }
        let since = self.since_prune + pending.len() as u64;
        let due = since >= PRUNE_EVERY;
        let mut untold = 0;
        if due {
            prune::prune(&transaction, self.bounds)?;
            untold = outbox::prune(&transaction)?;
        }
        transaction.commit()?;
        self.told_of(queued, untold);
        self.since_prune = if due { 0 } else { since };
        Ok(())
    }

    fn import(&mut self, items: &[Item]) -> Result<Imported, WriteError> {
        let result = self.unite(items).map_err(|source| WriteError::Failed { source: Arc::new(source) });
        self.tell(&result.as_ref().map(drop).map_err(Clone::clone), false);
        self.measure();
        let (report, offered) = result?;
        self.shared.written.fetch_add(report.taken, Ordering::Relaxed);
        let mut damage = Vec::new();
        let memory = rows::memory(&self.opened.connection, &mut damage);
        self.shared.report(damage);
        let memory = memory.map_err(|source| WriteError::Failed { source: Arc::new(source) })?;
        Ok(Imported { memory, report, offered: offered.map(Box::new) })
    }

    /// All or nothing, as with writes.
    fn unite(&mut self, items: &[Item]) -> rusqlite::Result<(ImportReport, Option<OpenWatch>)> {
        let transaction = self.opened.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let imported = handover::import(&transaction, items)?;
        let queued = match self.shared.outlets.get() {
            Some(outlets) => outbox::catch_up(&transaction, outlets)?,
            None => false,
        };
        prune::prune(&transaction, self.bounds)?;
        let untold = outbox::prune(&transaction)?;
        transaction.commit()?;
        // Also where nothing was queued: a peer may have told what waits.
        self.told_of(queued || imported.0.taken > 0, untold);
        Ok(imported)
    }

    /// Wakes whoever tells people, and says what nobody will be told.
    fn told_of(&self, queued: bool, untold: u64) {
        if queued {
            self.shared.queued.send_modify(|count| *count += 1);
        }
        if untold > 0 {
            self.shared.untold.fetch_add(untold, Ordering::Relaxed);
            tracing::error!(alerts = untold, "too many alerts wait, so the least urgent were dropped untold");
        }
    }

    /// An error that is answered is its asker's to log. The others are logged here, and only at the change: ticks
    /// would fail every five seconds.
    fn tell(&mut self, result: &Result<(), WriteError>, unanswered: bool) {
        match result {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("store writes again");
            }
            Err(error) if unanswered && !self.failing => {
                self.failing = true;
                tracing::error!(error = error as &dyn std::error::Error, "store cannot write");
            }
            Ok(()) | Err(_) => {}
        }
        let text = result.as_ref().err().map(chain);
        *self.shared.last_error.lock().expect("no holder of this lock panics") = text;
    }

    fn measure(&self) {
        let bytes = match &self.opened.path {
            Some(path) => file_bytes(path) + file_bytes(&wal(path)),
            None => memory_bytes(&self.opened.connection),
        };
        self.shared.size_bytes.store(bytes, Ordering::Relaxed);
    }

    /// The lock falls last, when the database is closed.
    fn end(self) {
        let Opened { connection, path, lock } = self.opened;
        if path.is_some() {
            // The log would be read at the next start anyway: a failure loses nothing.
            let folded = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = folded {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "store closed with its log unmerged"
                );
            }
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(error = &error as &dyn std::error::Error, "store did not close in order");
        }
        drop(lock);
    }
}

fn chain(error: &WriteError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |m| m.len())
}

fn memory_bytes(connection: &Connection) -> u64 {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap_or(0);
    u64::try_from(pragma("page_count") * pragma("page_size")).unwrap_or(0)
}
