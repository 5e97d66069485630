//! What is to be told to people: queued in the transaction of the record that it comes from, one row a channel, until it was
//! told or given up.
//!
//! **What it promises.** There is never a record whose alert was lost with the process, and never an alert without its
//! record. A key is queued once a channel, whoever records the same again; what a peer says it has told counts as told.
//!
//! **Bounds.** [`ROWS_MAX`] rows, looked at with the other tables. What was told goes first, the oldest first, then what was
//! given up. Rows that wait go last, the least urgent first, and that is logged and counted.
//!
//! It sends nothing, and does not know when a row is due.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::clock::Clock;
use crate::engine::alert::{self, Alert, Context, Severity};
use crate::engine::memory::Standing;
use crate::engine::record::{Happening, Record};
use crate::engine::time::Time;
use crate::store::Write;
use crate::store::rows::{Damage, column, json, number, text};
use crate::store::wire::RecordDoc;
use crate::store::wire::alert::AlertDoc;

/// Rows at most; beyond them the oldest that were told go.
const ROWS_MAX: u64 = 1000;
/// Rows that wait and are read at once; more are read when these are done.
const PENDING_READ_MAX: usize = 200;
/// What peers hand over is told if it is not older than so many milliseconds.
const NEWS_MS: u64 = 3_600_000;
/// What was told is handed over to peers, the newest first, up to so many.
pub(super) const TOLD_EXPORTED: usize = 200;

/// Whom alerts are queued for.
#[derive(Clone, Debug)]
pub struct Outlets {
    /// The channels' names.
    pub channels: Vec<&'static str>,
    /// What is less severe is not queued.
    pub threshold: Severity,
    /// What records do not say.
    pub context: Context,
    /// Says what of a peer's memory is news.
    pub clock: Clock,
}

/// An alert that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Pending {
    /// It.
    pub alert: Alert,
    /// This agent recorded what it tells of; otherwise a peer did.
    pub own: bool,
    /// When it was queued here.
    pub queued: Time,
    /// How often it was tried.
    pub attempts: u32,
    /// When it may be tried again; meaningless before the first attempt.
    pub next: Time,
    /// How many wait for the channel, this one too, read or not.
    pub waiting: u64,
}

/// What became of an alert on a channel.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertWrite {
    /// The alert's key.
    pub key: String,
    /// The channel.
    pub channel: String,
    /// What.
    pub step: AlertStep,
}

/// A step on an alert's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertStep {
    /// It is about to be tried.
    Tried {
        /// When it may be tried again.
        next: Time,
    },
    /// It is not to be tried before this time.
    Later {
        /// When it may be tried again.
        next: Time,
    },
    /// It was told.
    Told {
        /// When.
        at: Time,
    },
    /// It will not be told any more.
    GivenUp,
}

/// One row, for people.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct OutboxRow {
    /// The alert's key.
    pub key: String,
    /// The channel.
    pub channel: String,
    /// `pending`, `sent` or `given_up`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
}

/// Told to somebody: alert and channel, and when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Told {
    pub(super) key: String,
    pub(super) channel: String,
    pub(super) at_ms: u64,
}

/// Queues what follows from a write; whether anything was.
pub(super) fn follow(connection: &Connection, write: &Write, outlets: &Outlets) -> rusqlite::Result<bool> {
    let Write::Record(record) = write else { return Ok(matches!(write, Write::Alert(_))) };
    queue(connection, record, outlets, true)
}

/// Queues what follows from records that peers handed over; whether anything was.
pub(super) fn catch_up(connection: &Connection, outlets: &Outlets) -> rusqlite::Result<bool> {
    let since = outlets.clock.now().as_millis().saturating_sub(NEWS_MS);
    let mut statement = connection.prepare(
        "SELECT doc FROM records WHERE at_ms >= ?1
         AND kind IN ('decided', 'verified', 'locked', 'unlocked', 'paused', 'resumed') ORDER BY at_ms, id",
    )?;
    let docs: Vec<String> =
        statement.query_map([column(since)], |row| text(row, "doc"))?.collect::<Result<_, _>>()?;
    let mut any = false;
    for record in docs.iter().filter_map(|doc| serde_json::from_str::<RecordDoc>(doc).ok()).map(Record::from)
    {
        any |= queue(connection, &record, outlets, false)?;
    }
    Ok(any)
}

fn queue(connection: &Connection, record: &Record, outlets: &Outlets, own: bool) -> rusqlite::Result<bool> {
    let context = context(connection, record, outlets)?;
    let Some(alert) = alert::of(record, &context).filter(|alert| alert.severity >= outlets.threshold) else {
        return Ok(false);
    };
    let now = outlets.clock.now();
    let mut any = false;
    for channel in &outlets.channels {
        let Some(key) = key(connection, &alert.key, channel)? else { continue };
        let alert = Alert { key, ..alert.clone() };
        let doc = json(&AlertDoc::from(&alert));
        let row = params![alert.key, channel, alert.severity.label(), own, column(now.as_millis()), doc];
        any |= 0 < connection.execute(
            "INSERT OR IGNORE INTO outbox (key, channel, severity, own, queued_ms, next_ms, attempts, state, doc)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 'pending', ?6)",
            row,
        )?;
    }
    Ok(any)
}

/// The key that an alert is queued under; `None`: it is the last word on its subject already. Whoever tells of something that
/// goes to and fro tells each turn of it, or people would believe the last but one. Replicas that saw the same turns name
/// them alike.
fn key(connection: &Connection, key: &str, channel: &str) -> rusqlite::Result<Option<String>> {
    let Some((subject, state)) = alert::standing(key) else { return Ok(Some(key.to_owned())) };
    let sql = "SELECT key FROM outbox WHERE channel = ?1 ORDER BY queued_ms DESC, n DESC";
    let mut statement = connection.prepare(sql)?;
    let keys: Vec<String> =
        statement.query_map([channel], |row| text(row, "key"))?.collect::<Result<_, _>>()?;
    let Some(times) = keys.iter().filter_map(|told| alert::times(told, key)).max() else {
        return Ok(Some(key.to_owned()));
    };
    let last = keys.iter().filter_map(|told| alert::standing(told)).find(|(of, _)| *of == subject);
    let is_last = last.is_some_and(|(_, last)| last == state);
    Ok((!is_last).then(|| alert::again(key, times.saturating_add(1))))
}

/// What the alert depends on beside its record.
fn context(connection: &Connection, record: &Record, outlets: &Outlets) -> rusqlite::Result<Context> {
    let one =
        |sql: &str, key: &str| connection.query_row(sql, [key], |row| row.get::<_, String>(0)).optional();
    let mut context = outlets.context.clone();
    match &record.what {
        Happening::Started { .. } => {
            let standing = one("SELECT standing FROM releases WHERE release = ?1", record.release.as_str())?;
            context.was_rolled_back = standing.as_deref() == Some(Standing::RolledBack.label());
        }
        Happening::Readied(_) => {
            let last = "SELECT key FROM outbox WHERE key LIKE 'unready:%' OR key LIKE ?1
                        ORDER BY queued_ms DESC, n DESC LIMIT 1";
            context.was_unready = one(last, "ready:%")?.is_some_and(|key| key.starts_with("unready:"));
        }
        Happening::Ready
        | Happening::Exited(_)
        | Happening::VerdictChanged { .. }
        | Happening::Diagnosed(_)
        | Happening::HealthChanged(_)
        | Happening::WatchPassed { .. }
        | Happening::Paused(_)
        | Happening::Resumed { .. }
        | Happening::Decided(_)
        | Happening::Locked(_)
        | Happening::Unlocked { .. }
        | Happening::Verified(_) => {}
    }
    Ok(context)
}

/// What was told stays told.
pub(super) fn write(connection: &Connection, of: &AlertWrite) -> rusqlite::Result<()> {
    let waits = "WHERE key = ?1 AND channel = ?2 AND state = 'pending'";
    match of.step {
        AlertStep::Tried { next } => connection.execute(
            &format!("UPDATE outbox SET attempts = attempts + 1, next_ms = ?3 {waits}"),
            params![of.key, of.channel, column(next.as_millis())],
        )?,
        AlertStep::Later { next } => connection.execute(
            &format!("UPDATE outbox SET next_ms = ?3 {waits}"),
            params![of.key, of.channel, column(next.as_millis())],
        )?,
        AlertStep::GivenUp => connection
            .execute(&format!("UPDATE outbox SET state = 'given_up' {waits}"), params![of.key, of.channel])?,
        AlertStep::Told { at } => {
            let at_ms = at.as_millis();
            usize::from(told(connection, &Told { key: of.key.clone(), channel: of.channel.clone(), at_ms })?)
        }
    };
    Ok(())
}

/// It was told, here or by a peer; whether that is new. What comes later of the same key finds it told.
pub(super) fn told(connection: &Connection, of: &Told) -> rusqlite::Result<bool> {
    let at = column(of.at_ms);
    let changed = connection.execute(
        "INSERT INTO outbox (key, channel, severity, own, queued_ms, next_ms, attempts, state, told_ms, doc)
         VALUES (?1, ?2, '', 0, ?3, 0, 0, 'sent', ?3, 'null')
         ON CONFLICT (key, channel) DO UPDATE SET state = 'sent', told_ms = ?3
         WHERE state != 'sent' OR told_ms > ?3",
        params![of.key, of.channel, at],
    )?;
    Ok(changed > 0)
}

/// What was told, the newest first; with a key, that on that channel.
pub(super) fn all_told(connection: &Connection, only: Option<(&str, &str)>) -> rusqlite::Result<Vec<Told>> {
    let (key, channel) = only.unzip();
    let mut statement = connection.prepare(
        "SELECT key, channel, told_ms FROM outbox
         WHERE state = 'sent' AND (?1 IS NULL OR key = ?1) AND (?2 IS NULL OR channel = ?2)
         ORDER BY told_ms DESC, key, channel LIMIT ?3",
    )?;
    let of = |row: &Row<'_>| {
        let at: i64 = row.get("told_ms")?;
        Ok(Told {
            key: text(row, "key")?,
            channel: text(row, "channel")?,
            at_ms: u64::try_from(at).unwrap_or(0),
        })
    };
    statement.query_map(params![key, channel, TOLD_EXPORTED as i64], of)?.collect()
}

/// What waits for this channel, the most urgent first, then the oldest. What cannot be read (a newer agent knows more events) is
/// told in `damage` and given up, or it would be read again and again.
pub(super) fn pending(
    connection: &Connection,
    channel: &str,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Vec<Pending>> {
    let mut statement = connection.prepare(
        "SELECT *, count(*) OVER () AS waiting FROM outbox WHERE channel = ?1 AND state = 'pending'
         ORDER BY CASE severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, n
         LIMIT ?2",
    )?;
    let of = |row: &Row<'_>| {
        let alert = serde_json::from_str::<AlertDoc>(&text(row, "doc")?).ok().and_then(AlertDoc::into_alert);
        let time = |at: i64| Time::from_millis(u64::try_from(at).unwrap_or(0));
        let pending = alert.map(|alert| {
            Ok::<_, rusqlite::Error>(Pending {
                alert,
                own: row.get("own")?,
                queued: time(row.get("queued_ms")?),
                attempts: row.get("attempts")?,
                next: time(row.get("next_ms")?),
                waiting: number(row, "waiting")?,
            })
        });
        Ok((text(row, "key")?, pending.transpose()?))
    };
    let mut found = Vec::new();
    for row in statement.query_map(params![channel, PENDING_READ_MAX as i64], of)? {
        match row? {
            (_, Some(pending)) => found.push(pending),
            (key, None) => {
                let channel = channel.to_owned();
                write(connection, &AlertWrite { key: key.clone(), channel, step: AlertStep::GivenUp })?;
                damage.push(Damage {
                    row: format!("outbox {key}"),
                    fault: "no alert that is known".to_owned(),
                });
            }
        }
    }
    Ok(found)
}

/// All rows, the newest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut statement =
        connection.prepare("SELECT key, channel, state, attempts FROM outbox ORDER BY n DESC LIMIT ?1")?;
    let of = |row: &Row<'_>| {
        Ok(OutboxRow {
            key: text(row, "key")?,
            channel: text(row, "channel")?,
            state: text(row, "state")?,
            attempts: row.get("attempts")?,
        })
    };
    statement.query_map([ROWS_MAX as i64], of)?.collect()
}

/// Forgets what is beyond the bound; how many rows went that waited.
pub(super) fn prune(connection: &Connection) -> rusqlite::Result<u64> {
    let rows: i64 = connection.query_row("SELECT count(*) FROM outbox", [], |row| row.get(0))?;
    let mut excess = u64::try_from(rows).unwrap_or(0).saturating_sub(ROWS_MAX);
    for state in ["sent", "given_up"] {
        let gone = connection.execute(
            "DELETE FROM outbox WHERE n IN (SELECT n FROM outbox WHERE state = ?1 ORDER BY n LIMIT ?2)",
            params![state, column(excess)],
        )?;
        excess -= gone as u64;
    }
    let lost = connection.execute(
        "DELETE FROM outbox WHERE n IN (
            SELECT n FROM outbox ORDER BY CASE severity WHEN 'critical' THEN 3 WHEN 'high' THEN 2 WHEN 'medium' THEN 1
            ELSE 0 END, n LIMIT ?1)",
        [column(excess)],
    )?;
    Ok(lost as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::engine::health::{Change, Health, HealthChange};
    use crate::engine::release::{RecordId, Release};
    use crate::store::schema;

    /// The beginning of ten minutes.
    const AT: u64 = 1_763_848_800_000;

    fn open() -> (Connection, Outlets) {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let context = Context { service: "shop".to_owned(), ..Context::default() };
        let channels = vec!["webhook"];
        (connection, Outlets { channels, threshold: Severity::Low, context, clock: Clock::start() })
    }

    fn turned(second: u64, from: Health, to: Health) -> Record {
        let change = Change { from, to, lasted: Duration::from_secs(60) };
        let of = HealthChange { probe: "postgres".into(), critical: true, change, why: String::new() };
        Record {
            id: RecordId::from_stored(&format!("health-{second}")),
            at: Time::from_millis(AT + second * 1000),
            release: Release::new("v1").unwrap(),
            what: Happening::HealthChanged(of),
        }
    }

    fn waiting(connection: &Connection) -> Vec<Pending> {
        pending(connection, "webhook", &mut Vec::new()).unwrap()
    }

    #[test]
    fn the_last_word_on_a_dependency_is_true_however_often_it_turns() {
        let turns = [
            turned(60, Health::Ok, Health::Failed),
            turned(180, Health::Failed, Health::Ok),
            turned(300, Health::Ok, Health::Failed),
            turned(310, Health::Unknown, Health::Failed),
            turned(320, Health::Failed, Health::Ok),
        ];
        let [(here, outlets), (there, others)] = [open(), open()];
        for turn in &turns {
            queue(&here, turn, &outlets, true).unwrap();
            // What the one has told, the other has not to tell.
            for told_of in waiting(&here) {
                let at_ms = outlets.clock.now().as_millis();
                told(&there, &Told { key: told_of.alert.key, channel: "webhook".to_owned(), at_ms }).unwrap();
            }
            assert!(!queue(&there, turn, &others, true).unwrap());
        }
        let found = waiting(&here);
        let words: Vec<(&str, bool)> =
            found.iter().map(|it| (it.alert.event.label(), it.alert.key.ends_with("#2"))).collect();
        let expected = [
            ("health.degraded", false),
            ("health.degraded", true),
            ("health.recovered", false),
            ("health.recovered", true),
        ];
        assert_eq!(words, expected, "{found:?}");
    }

    #[test]
    fn all_that_wait_are_counted_and_the_urgent_are_read_first() {
        let (connection, outlets) = open();
        let rows = PENDING_READ_MAX as u64 + 50;
        for n in 0..rows {
            let key = format!("health:p{n}:ok:1");
            let severity = if n + 1 == rows { "high" } else { "low" };
            queue(&connection, &turned(60, Health::Ok, Health::Failed), &outlets, true).unwrap();
            let sql =
                "UPDATE outbox SET key = ?1, severity = ?2, attempts = ?3 WHERE key LIKE 'health:postgres:%'";
            connection.execute(sql, params![key, severity, column(n)]).unwrap();
        }
        let found = waiting(&connection);
        assert_eq!((found.len(), found[0].waiting), (PENDING_READ_MAX, rows));
        assert_eq!(u64::from(found[0].attempts), rows - 1, "the urgent one, which came last");
    }
}
