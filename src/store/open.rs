//! Opening: the directory, its lock, the checks before the first byte is written, the connection's settings.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::error::OpenError;
use crate::store::schema;

/// The database in the data directory.
pub const DATABASE_FILE: &str = "outrigger.db";
/// The lock in the data directory; it holds the pid of its holder.
const LOCK_FILE: &str = "lock";

/// How long a statement waits for another process that reads the same database (a clone being made). Beyond it the
/// statement fails, and the write with it.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A larger file is not checked page by page at the start: the check reads all of it, at some 500 MB/s. The default
/// bounds keep a store far below; one above is opened unchecked, and says so.
const QUICK_CHECK_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// The log is cut back to this size after a checkpoint, so that one large transaction does not keep its disk space.
const WAL_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// The most bytes read from the lock file: a pid is shorter.
const LOCK_TEXT_MAX: u64 = 32;

/// A database that is ours alone, until dropped.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// `None` in memory.
    pub(super) path: Option<PathBuf>,
    pub(super) lock: Option<Flock<File>>,
}

/// Opens the database in `dir`, and makes what is missing.
pub(super) fn on_disk(dir: &Path) -> Result<Opened, OpenError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| OpenError::CreateDir { path: dir.to_owned(), source })?;
    let lock = take_lock(dir)?;
    let path = dir.join(DATABASE_FILE);
    let connection = connect(&path).map_err(|error| sort_out(&path, error))?;
    check(&connection, &path)?;
    let connection = set_up(connection, &path)?;
    Ok(Opened { connection, path: Some(path), lock: Some(lock) })
}

/// A database that is gone when it is closed.
pub(super) fn in_memory() -> Result<Opened, OpenError> {
    let open = || {
        let mut connection = Connection::open_in_memory()?;
        connection.pragma_update(None, "foreign_keys", true)?;
        schema::migrate(&mut connection)?;
        Ok(connection)
    };
    let connection = open().map_err(|error| sort_out(Path::new(":memory:"), error))?;
    Ok(Opened { connection, path: None, lock: None })
}

fn take_lock(dir: &Path) -> Result<Flock<File>, OpenError> {
    let not_writable = |source| OpenError::NotWritable { path: dir.to_owned(), source };
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(dir.join(LOCK_FILE))
        .map_err(not_writable)?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((file, Errno::EWOULDBLOCK)) => {
            return Err(OpenError::Locked { path: dir.to_owned(), holder: holder(file) });
        }
        Err((_, errno)) => return Err(not_writable(errno.into())),
    };
    // The lock is the kernel's and falls with the process; the pid is only for people.
    lock.set_len(0).map_err(not_writable)?;
    lock.rewind().map_err(not_writable)?;
    writeln!(lock, "{}", std::process::id()).map_err(not_writable)?;
    Ok(lock)
}

fn holder(file: File) -> String {
    let mut text = String::new();
    let read = file.take(LOCK_TEXT_MAX).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!("process {pid}"),
        _ => "another process".to_owned(),
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // Until all checks have passed, closing must not write the log back into a file that may be damaged.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Reads only.
fn check(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found = schema::version(connection).map_err(|error| sort_out(path, error))?;
    let known = schema::SCHEMA_VERSION;
    if found > known {
        return Err(OpenError::NewerSchema { path: path.to_owned(), found, known });
    }
    let bytes = std::fs::metadata(path).map(|m| m.len()).unwrap_or(0);
    if bytes > QUICK_CHECK_BYTES_MAX {
        tracing::warn!(path = %path.display(), bytes, "large database opened without a check");
        return Ok(());
    }
    // It stops at the first fault.
    let fault: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| sort_out(path, error))?;
    if fault == "ok" { Ok(()) } else { Err(OpenError::Corrupt { path: path.to_owned(), fault }) }
}

fn set_up(mut connection: Connection, path: &Path) -> Result<Connection, OpenError> {
    let mut configure = || -> rusqlite::Result<String> {
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        // FULL: a commit has reached the disk when it returns. NORMAL would lose the last ones with the power.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |row| {
            row.get::<_, i64>(0)
        })?;
        schema::migrate(&mut connection)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        Ok(mode)
    };
    let mode = configure().map_err(|error| sort_out(path, error))?;
    if mode == "wal" { Ok(connection) } else { Err(OpenError::NoWal { path: path.to_owned(), mode }) }
}

pub(super) fn sort_out(path: &Path, source: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt { path, fault: source.to_string() }
        }
        Some(ErrorCode::ReadOnly) => OpenError::NotWritable {
            path,
            source: std::io::Error::new(std::io::ErrorKind::ReadOnlyFilesystem, source),
        },
        Some(_) | None => OpenError::Database { path, source },
    }
}

/// Looks whether `dir` could be opened, without making or changing anything.
pub(super) fn examine(dir: &Path) -> Result<(), OpenError> {
    if !dir.exists() {
        let parent = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
        return match nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK) {
            Ok(()) if parent.is_dir() => Ok(()),
            Ok(()) => Err(OpenError::CreateDir { path: dir.to_owned(), source: Errno::ENOTDIR.into() }),
            Err(errno) => Err(OpenError::CreateDir { path: dir.to_owned(), source: errno.into() }),
        };
    }
    let writable = nix::unistd::access(dir, nix::unistd::AccessFlags::W_OK);
    writable.map_err(|errno| OpenError::NotWritable { path: dir.to_owned(), source: errno.into() })?;
    let path = dir.join(DATABASE_FILE);
    if !path.exists() {
        return Ok(());
    }
    let connection = connect(&path).map_err(|error| sort_out(&path, error))?;
    check(&connection, &path)
}
