//! The lock that deployments are under, as the records tell it. What cannot be read locks.

use rusqlite::{Connection, OptionalExtension as _};

use crate::engine::record::{Happening, Lock};
use crate::engine::time::Time;
use crate::store::rows::{Damage, record_by};

/// The lock in force is what the newest record says of it.
pub(super) const LAST_LOCK: &str =
    "SELECT id FROM records WHERE kind IN ('locked', 'unlocked') ORDER BY at_ms DESC, id DESC LIMIT 1";

/// A lock that cannot be read still locks.
pub(super) fn lock(connection: &Connection, damage: &mut Vec<Damage>) -> rusqlite::Result<Option<Lock>> {
    let kind = format!("SELECT kind FROM records WHERE id = ({LAST_LOCK})");
    let kind: Option<String> = connection.query_row(&kind, [], |row| row.get(0)).optional()?;
    if kind.as_deref() != Some("locked") {
        return Ok(None);
    }
    let found = record_by(connection, LAST_LOCK, damage)?.map(|record| record.what);
    Ok(Some(if let Some(Happening::Locked(lock)) = found { lock } else { unread_lock() }))
}

fn unread_lock() -> Lock {
    Lock {
        by: "outrigger".to_owned(),
        reason: "the stored lock is damaged".to_owned(),
        since: Time::default(),
        until: None,
    }
}
