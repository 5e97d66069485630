//! Forgetting: evidence and records beyond their bounds, oldest first, a chunk at a time.
//!
//! Old rows are deleted in the writer's own transactions, and their pages are used again: the file does not grow beyond
//! what its bounds ask for, nor does it shrink.
//!
//! **Watches.** A release runs for weeks and its deploy took minutes, so the newest evidence alone would leave nothing to
//! judge again. Half of the room is for the beginnings of the newest watches, some half hour of each: at 20,000 ticks,
//! of 25 watches. The other half is for the newest evidence, whatever it belongs to. A watch whose first fact is gone
//! goes, too; one whose later facts are gone can be judged again up to there.
//!
//! **Room.** What ticks saw by route takes 1 to 3 KB in a tick of 50 busy routes. The blobs of all evidence take at most
//! [`TICK_BYTES`] times the bound on its number, 82 MB at 20,000 ticks; beyond that the oldest go before their number is
//! reached. A watch takes as much as the baseline that it holds, up to 100 KB: 2.5 MB for 25 watches, 25 MB at the very
//! most.

use rusqlite::{Connection, params};

use crate::store::locked::LAST_LOCK;
use crate::store::rows::LAST_ACT;

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

/// The first half hour of a watch, in facts, and some: what it takes to judge most watches again.
const FIRST_FACTS: u64 = 400;
/// The least and the most watches of which the beginning is kept; where it is gone the watch goes, too.
pub(super) const WATCHES_MAX: usize = 256;
/// The room for a tick's latencies and for what it saw by route and by probe, taken over all of them: a tick of 50 busy
/// routes takes half of it. Where ticks take more, fewer are kept, as though the bound on their number were lower.
const TICK_BYTES: u64 = 4096;

pub(super) fn prune(connection: &Connection, bounds: Bounds) -> rusqlite::Result<()> {
    prune_evidence(connection, bounds.evidence_max)?;
    prune_watches(connection)?;
    prune_records(connection, bounds.records_max)
}

fn prune_evidence(connection: &Connection, max: u64) -> rusqlite::Result<()> {
    let (rows, bytes): (i64, i64) =
        connection.query_row("SELECT count(*), coalesce(sum(bytes), 0) FROM evidence", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (rows, bytes) = (u64::try_from(rows).unwrap_or(0), u64::try_from(bytes).unwrap_or(0));
    let mean = bytes.checked_div(rows).unwrap_or(0).max(1);
    let max = max.min(max.saturating_mul(TICK_BYTES) / mean);
    let excess = rows.saturating_sub(max).min(PRUNE_CHUNK);
    if excess == 0 {
        return Ok(());
    }
    connection.execute(
        "DELETE FROM evidence WHERE id IN (
            SELECT id FROM evidence
            WHERE NOT coalesce(seq <= ?2 AND watch IN (SELECT id FROM watches ORDER BY n DESC LIMIT ?3), 0)
            ORDER BY id LIMIT ?1)",
        params![excess as i64, FIRST_FACTS as i64, (max / 2 / FIRST_FACTS).max(1) as i64],
    )?;
    Ok(())
}

/// The last two are kept in any case: the last may have no facts yet.
fn prune_watches(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM watches
         WHERE n NOT IN (SELECT n FROM watches ORDER BY n DESC LIMIT 2)
           AND (n NOT IN (SELECT n FROM watches ORDER BY n DESC LIMIT ?1)
                OR NOT EXISTS (SELECT 1 FROM evidence WHERE evidence.watch = watches.id AND seq = 1))",
        [WATCHES_MAX as i64],
    )?;
    Ok(())
}

fn prune_records(connection: &Connection, max: u64) -> rusqlite::Result<()> {
    let rows: i64 = connection.query_row("SELECT count(*) FROM records", [], |row| row.get(0))?;
    let excess = u64::try_from(rows).unwrap_or(0).saturating_sub(max).min(PRUNE_CHUNK);
    // Kept at any age: decisions under way (the engine has one at a time), the last act, on which the cooldown and "one act
    // a release" rest, and what says whether deployments are locked.
    if excess > 0 {
        connection.execute(
            &format!(
                "DELETE FROM records WHERE id IN (
                    SELECT id FROM records WHERE open = 0 AND id IS NOT ({LAST_ACT}) AND id IS NOT ({LAST_LOCK})
                    ORDER BY at_ms, id LIMIT ?1)"
            ),
            params![excess as i64],
        )?;
    }
    Ok(())
}
