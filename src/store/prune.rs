//! Forgetting: evidence and records beyond their bounds, oldest first, a chunk at a time.
//!
//! Old rows are deleted in the writer's own transactions, and their pages are used again: the file does not grow beyond
//! what its bounds ask for, nor does it shrink.

use rusqlite::{Connection, params};

/// Rows are counted and pruned each time this many writes were made: a table exceeds its bound by at most this.
pub(super) const PRUNE_EVERY: u64 = 256;
/// The most rows that are deleted from a table at a time. A greater excess (a bound that was lowered) is worked off
/// chunk by chunk: at twice the rate at which it could grow.
pub(super) const PRUNE_CHUNK: u64 = 512;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) evidence_max: u64,
    pub(super) records_max: u64,
}

pub(super) fn prune(connection: &Connection, bounds: Bounds) -> rusqlite::Result<()> {
    let excess = |sql, max: u64| -> rusqlite::Result<i64> {
        let rows: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        let excess = u64::try_from(rows).unwrap_or(0).saturating_sub(max).min(PRUNE_CHUNK);
        Ok(excess as i64)
    };
    let evidence = excess("SELECT count(*) FROM evidence", bounds.evidence_max)?;
    if evidence > 0 {
        connection.execute(
            "DELETE FROM evidence WHERE id IN (SELECT id FROM evidence ORDER BY id LIMIT ?1)",
            params![evidence],
        )?;
    }
    // Kept at any age: decisions under way (the engine has one at a time) and the last act, on which the cooldown
    // and "one act a release" rest.
    let records = excess("SELECT count(*) FROM records", bounds.records_max)?;
    if records > 0 {
        connection.execute(
            "DELETE FROM records WHERE id IN (
                SELECT id FROM records
                WHERE open = 0
                  AND id IS NOT (SELECT id FROM records WHERE act = 1 ORDER BY at_ms DESC, id DESC LIMIT 1)
                ORDER BY at_ms, id LIMIT ?1)",
            params![records],
        )?;
    }
    Ok(())
}
