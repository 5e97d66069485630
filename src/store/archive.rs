//! A store that is only read, beside the agent that may be writing it.
//!
//! It takes no lock, makes and changes nothing (but that SQLite may leave an empty log beside a database that nobody
//! has open), and blocks: it is for commands, not for agents.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::engine::record::Record;
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::store::error::{OpenError, ReadError};
use crate::store::evidence::{self, StoredWatch};
use crate::store::open::{BUSY_TIMEOUT, DATABASE_FILE, sort_out};
use crate::store::prune::WATCHES_MAX;
use crate::store::rows::{self, column, text};
use crate::store::wire::RecordDoc;
use crate::store::{PREFIX_MIN, schema};

/// The most facts that are read of a watch: some 28 hours. Of a longer one the rest is left out, and said to be.
pub const FACTS_READ_MAX: usize = 20_000;
/// The most records in which watches' points are looked up, newest first. The verdicts of older watches are not known.
pub const POINTS_READ_MAX: usize = 100_000;

/// The first schema that holds watches.
const WATCHES_SINCE: u32 = 2;

/// A database that is only read.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
    path: PathBuf,
}

/// A watch in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedWatch {
    /// Its id.
    pub id: RecordId,
    /// When it began.
    pub at: Time,
    /// The judged release.
    pub release: Release,
}

impl Archive {
    /// Opens the database in `dir`.
    ///
    /// # Errors
    ///
    /// It is not there, cannot be read, or a newer agent wrote it.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(DATABASE_FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let found = schema::version(&connection)?;
            Ok((connection, found))
        };
        let (connection, found) = open().map_err(|error| sort_out(&path, error))?;
        let known = schema::SCHEMA_VERSION;
        if found > known {
            return Err(OpenError::NewerSchema { path, found, known });
        }
        Ok(Self { connection, path })
    }

    /// The database.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The stored watches, newest first. An agent that kept none wrote none.
    ///
    /// # Errors
    ///
    /// The query failed.
    pub fn watches(&self) -> Result<Vec<ListedWatch>, ReadError> {
        self.with_watches(|connection| {
            let listed = evidence::listed(connection, WATCHES_MAX)?.into_iter();
            Ok(listed.map(|(id, at, release)| ListedWatch { id, at, release }).collect())
        })
    }

    /// A watch with its facts, at most [`FACTS_READ_MAX`] of them.
    ///
    /// # Errors
    ///
    /// The query failed, or the watch is there and damaged.
    pub fn watch(&self, id: &RecordId) -> Result<Option<StoredWatch>, ReadError> {
        let found = self.with_watches(|connection| {
            // One read, so that a writer cannot come between the facts.
            let transaction = connection.unchecked_transaction()?;
            evidence::watch(&transaction, id.as_str(), FACTS_READ_MAX)
        })?;
        found.transpose().map_err(|fault| ReadError::Damaged { row: format!("watch {id}"), fault })
    }

    /// The record of this id, or the only one whose id begins so.
    ///
    /// # Errors
    ///
    /// The query failed, several records begin so, or the record is there and damaged.
    pub fn record(&self, id: &str) -> Result<Option<Record>, ReadError> {
        let mut found = rows::records_like(&self.connection, id).map_err(failed)?;
        if found.len() > 1 && id.len() >= PREFIX_MIN {
            return Err(ReadError::Ambiguous { prefix: id.to_owned() });
        }
        let Some(doc) = found.pop().filter(|doc| id.len() >= PREFIX_MIN || doc["id"] == id) else {
            return Ok(None);
        };
        serde_json::from_value::<RecordDoc>(doc)
            .map(|doc| Some(doc.into()))
            .map_err(|error| ReadError::Damaged { row: format!("record {id}"), fault: error.to_string() })
    }

    /// The records that point into watches (changed verdicts, and decisions), oldest first; of more than
    /// [`POINTS_READ_MAX`], the newest. Those that cannot be read are left out.
    ///
    /// # Errors
    ///
    /// The query failed.
    pub fn pointing(&self) -> Result<Vec<Record>, ReadError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT doc FROM records WHERE kind IN ('verdict_changed', 'decided')
                 ORDER BY at_ms DESC, id DESC LIMIT ?1",
            )?;
            let docs = statement.query_map([column(POINTS_READ_MAX as u64)], |row| text(row, "doc"))?;
            let mut records = Vec::new();
            for doc in docs {
                let record = serde_json::from_str::<RecordDoc>(&doc?).ok().map(Record::from);
                records.extend(record.filter(|record| record.what.point().is_some()));
            }
            records.reverse();
            Ok(records)
        };
        read().map_err(failed)
    }

    fn with_watches<T: Default>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, ReadError> {
        let read = || {
            let has_watches = schema::version(&self.connection)? >= WATCHES_SINCE;
            if has_watches { read(&self.connection) } else { Ok(T::default()) }
        };
        read().map_err(failed)
    }
}

const fn failed(source: rusqlite::Error) -> ReadError {
    ReadError::Failed { source }
}
