//! The tables, and how a former schema becomes the present one.

use rusqlite::Connection;

/// One step a schema version, oldest first. A step that was ever released is never changed; a new one is added.
pub(super) const MIGRATIONS: [&str; 4] = [
    // `doc` is the wire form; the columns beside it are what is searched for.
    // `records.open`: the act may still be under way. `records.act`: it was or may have been ordered.
    "CREATE TABLE records (
        id TEXT PRIMARY KEY NOT NULL,
        at_ms INTEGER NOT NULL,
        release TEXT NOT NULL,
        kind TEXT NOT NULL,
        progress TEXT,
        target TEXT,
        open INTEGER NOT NULL,
        act INTEGER NOT NULL,
        doc TEXT NOT NULL
     ) STRICT;
     CREATE INDEX records_by_time ON records (at_ms, id);
     CREATE INDEX records_open ON records (at_ms, id) WHERE open = 1;
     CREATE INDEX records_act ON records (at_ms, id) WHERE act = 1;
     CREATE TABLE evidence (
        id INTEGER PRIMARY KEY,
        release TEXT NOT NULL,
        from_ms INTEGER NOT NULL,
        to_ms INTEGER NOT NULL,
        judged INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        ended INTEGER NOT NULL,
        arrived INTEGER NOT NULL,
        answered INTEGER NOT NULL,
        waiting INTEGER NOT NULL,
        overdue INTEGER NOT NULL,
        stalled INTEGER NOT NULL,
        latencies BLOB NOT NULL
     ) STRICT;
     CREATE INDEX evidence_by_time ON evidence (from_ms);
     CREATE TABLE baselines (
        release TEXT PRIMARY KEY NOT NULL,
        from_ms INTEGER NOT NULL,
        to_ms INTEGER NOT NULL,
        judged INTEGER NOT NULL,
        failed INTEGER NOT NULL,
        ticks TEXT NOT NULL,
        latency BLOB NOT NULL,
        digest BLOB NOT NULL
     ) STRICT;
     CREATE TABLE releases (
        release TEXT PRIMARY KEY NOT NULL,
        last_seen_ms INTEGER NOT NULL,
        standing TEXT NOT NULL,
        doc TEXT NOT NULL
     ) STRICT;
     CREATE TABLE pause (
        only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
        doc TEXT NOT NULL
     ) STRICT;",
    // Each row of `evidence` is a fact of a watch from now on; former ones are ticks of none. `seq` is the place in the
    // watch, `more` what has no column, `checked` guards the row, `bytes` is the length of its blobs.
    // `watches.n` is the order in which they began: clocks step back.
    "ALTER TABLE evidence ADD COLUMN watch TEXT;
     ALTER TABLE evidence ADD COLUMN seq INTEGER;
     ALTER TABLE evidence ADD COLUMN at_ms INTEGER;
     ALTER TABLE evidence ADD COLUMN kind TEXT NOT NULL DEFAULT 'tick';
     ALTER TABLE evidence ADD COLUMN more BLOB;
     ALTER TABLE evidence ADD COLUMN checked BLOB;
     ALTER TABLE evidence ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
     UPDATE evidence SET bytes = length(latencies);
     CREATE INDEX evidence_by_watch ON evidence (watch, seq, bytes);
     ALTER TABLE baselines ADD COLUMN wide BLOB;
     CREATE TABLE watches (
        n INTEGER PRIMARY KEY,
        id TEXT UNIQUE NOT NULL,
        at_ms INTEGER NOT NULL,
        release TEXT NOT NULL,
        doc TEXT NOT NULL,
        baseline BLOB,
        digest BLOB NOT NULL
     ) STRICT;",
    // `pause.at_ms` is when it was last changed (zero: not known), and its `doc` may be `null`: that there is no pause is
    // kept, too, with its time. `releases.accounts` is what several agents remember of it, where `doc` follows from more
    // than one account. Watches of other agents have an `n` below zero.
    "ALTER TABLE pause ADD COLUMN at_ms INTEGER NOT NULL DEFAULT 0;
     ALTER TABLE releases ADD COLUMN accounts TEXT;",
    // `own`: this agent recorded what it tells of. `state` is `pending`, `sent` or `given_up`. A row that a peer's word alone
    // made has the `doc` `null`.
    "CREATE TABLE outbox (
        n INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        channel TEXT NOT NULL,
        severity TEXT NOT NULL,
        own INTEGER NOT NULL,
        queued_ms INTEGER NOT NULL,
        next_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        state TEXT NOT NULL,
        told_ms INTEGER,
        doc TEXT NOT NULL,
        UNIQUE (key, channel)
     ) STRICT;
     CREATE INDEX outbox_by_state ON outbox (channel, state, n);",
];

/// The schema that this agent writes.
pub(super) const SCHEMA_VERSION: u32 = MIGRATIONS.len() as u32;

pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the schema up to date, in one transaction.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let from = version(connection)?;
    if from >= SCHEMA_VERSION {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in &MIGRATIONS[from as usize..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE pause (x)").unwrap();
        assert!(migrate(&mut connection).is_err());
        assert_eq!(version(&connection), Ok(0));
        let tables: u32 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        migrate(&mut connection).unwrap();
        assert_eq!(version(&connection), Ok(SCHEMA_VERSION));
    }
}
