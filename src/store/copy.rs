//! A copy of a store, as a volume snapshot would be: consistent, even while its agent writes.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::store::error::CloneError;
use crate::store::open::{BUSY_TIMEOUT, DATABASE_FILE};

/// The copy's name until it is whole. One left behind by a crash is overwritten.
const PARTIAL_FILE: &str = "outrigger.db.partial";

/// How often a busy source is asked again; beyond that the clone fails. A writer in WAL mode does not keep readers
/// off, so only a checkpoint or a recovery can.
const BUSY_TRIES: u32 = 50;
/// The pause between two tries.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Copies the store in `from_dir`, which another process may hold open and write, into `to_dir`, which is created and
/// must hold none. Blocks; the copy is one read transaction of the source and does not stop its writer.
pub fn clone_store(from_dir: &Path, to_dir: &Path) -> Result<(), CloneError> {
    let (from, to) = (from_dir.join(DATABASE_FILE), to_dir.join(DATABASE_FILE));
    let partial = to_dir.join(PARTIAL_FILE);
    let read = |source| CloneError::Read { path: from.clone(), source };
    let write = |source| CloneError::Write { path: to.clone(), source };
    let rename = |source| CloneError::Rename { path: to.clone(), source };

    std::fs::create_dir_all(to_dir)
        .map_err(|source| CloneError::CreateDir { path: to_dir.to_owned(), source })?;
    if to.exists() {
        return Err(CloneError::Exists { path: to });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(&from, flags).map_err(read)?;
    source.busy_timeout(BUSY_TIMEOUT).map_err(read)?;
    // A file that is no database is the source's fault: found here, not in the copying.
    source.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0)).map_err(read)?;

    let mut copy = Connection::open(&partial).map_err(write)?;
    if !copy_pages(&source, &mut copy).map_err(write)? {
        return Err(CloneError::Busy { path: from });
    }
    copy.close().map_err(|(_, source)| write(source))?;
    std::fs::rename(&partial, &to).map_err(rename)?;
    File::open(to_dir).and_then(|dir| dir.sync_all()).map_err(rename)
}

/// All pages in one step, so that no write of another process comes between two. Returns whether it came to its end.
fn copy_pages(source: &Connection, copy: &mut Connection) -> rusqlite::Result<bool> {
    let backup = Backup::new(source, copy)?;
    for _ in 0..BUSY_TRIES {
        if backup.step(-1)? == StepResult::Done {
            return Ok(true);
        }
        std::thread::sleep(BUSY_PAUSE);
    }
    Ok(false)
}
