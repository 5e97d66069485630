//! What can fail, one variant an operation.

use std::path::PathBuf;
use std::sync::Arc;

/// The store could not be opened. Nothing was overwritten.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory could not be made.
    #[error(
        "create the data directory `{path}`; it must be a path below a directory that this user may write, or one that \
         exists and that this user may write"
    )]
    CreateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing can be written in the directory.
    #[error("write in the data directory `{path}`; it must be a directory that this user may write")]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another agent holds the directory.
    #[error(
        "the data directory `{path}` is in use by {holder}; each agent needs its own, so stop that one or name another \
         directory"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, as far as it said.
        holder: String,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "the database `{path}` is damaged ({fault}); move it away to start anew, or restore it from a copy"
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        fault: String,
    },
    /// A newer agent wrote it.
    #[error(
        "the database `{path}` has schema {found} and this agent knows schemas up to {known}; run the newer agent, or \
         name another data directory"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The file system cannot hold a write-ahead log.
    #[error(
        "the database `{path}` cannot keep a write-ahead log (its journal mode stays `{mode}`); the data directory must \
         be on a local file system"
    )]
    NoWal {
        /// The file.
        path: PathBuf,
        /// The journal mode that it has.
        mode: String,
    },
    /// Any other fault of the database.
    #[error("open the database `{path}`")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The store's thread could not be started.
    #[error("start the thread of the store")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl OpenError {
    /// Whether the operator named a directory that cannot be used.
    pub const fn is_misconfigured(&self) -> bool {
        matches!(self, Self::CreateDir { .. } | Self::NotWritable { .. })
    }

    /// Whether the file is there, can be read, and is damaged.
    pub const fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

/// A write did not become durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The transaction failed: a full disk, say. The store goes on, and a later write may work.
    #[error("write to the store")]
    Failed {
        /// Why. It is shared by all writes of the transaction.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The query failed.
    #[error("read from the store")]
    Failed {
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// What is stored there cannot be read.
    #[error("the stored {row} is damaged: {fault}")]
    Damaged {
        /// What.
        row: String,
        /// Why.
        fault: String,
    },
    /// Several records begin alike.
    #[error("several records begin with `{prefix}`; give more of its id")]
    Ambiguous {
        /// What they begin with.
        prefix: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// A store could not be cloned.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The directory could not be made.
    #[error("create the directory `{path}`")]
    CreateDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is a database already, and it is not overwritten.
    #[error("the database `{path}` exists already; clone into an empty directory")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The database to clone could not be read.
    #[error("read the database `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The copy could not be written.
    #[error("write the copy `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The copy could not be given its name.
    #[error("name the copy `{path}`")]
    Rename {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database was busy for too long.
    #[error("the database `{path}` stayed busy")]
    Busy {
        /// The file.
        path: PathBuf,
    },
}
