//! Rows: how each write becomes one, and how one is read. Runs on the store's thread only.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use crate::engine::baseline::Baseline;
use crate::engine::memory::{
    ACTS_MAX, BASELINES_MAX, LastAct, Memory, OpenDecision, RELEASES_MAX, ReleaseMemory,
};
use crate::engine::record::{Decision, Happening, Pause, Progress, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::store::Write;
use crate::store::codec;
use crate::store::evidence;
use crate::store::locked;
use crate::store::outbox;
use crate::store::wire::{HappeningDoc, PauseDoc, RecordDoc, ReleaseDoc};

/// A row that was passed over because it cannot be read: which, and why.
pub(super) struct Damage {
    pub(super) row: String,
    pub(super) fault: String,
}

pub(super) fn write(connection: &Connection, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Record(record) => write_record(connection, record),
        Write::Watch(start) => evidence::write_watch(connection, start),
        Write::Fact(kept) => evidence::write_fact(connection, kept),
        Write::Baseline(baseline) => write_baseline(connection, baseline),
        Write::Release(memory) => write_release(connection, memory, std::slice::from_ref(memory)),
        Write::Alert(of) => outbox::write(connection, of),
        Write::Pause { pause, at } => write_pause(connection, pause.as_ref(), *at),
    }
}

fn write_record(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let act = is_act(record);
    // A failure is an act only where the same record was one before: where the intent had been written.
    let is_failure = record.what.decided().is_some_and(|d| matches!(d.progress, Progress::Failed { .. }));
    let was_act = is_failure && was_act(connection, record.id.as_str())?;
    put_record(connection, record, &json(&RecordDoc::from(record)), act || was_act)
}

/// Whether the record by itself says that an act was or may have been ordered.
pub(super) fn is_act(record: &Record) -> bool {
    let rollback = record.what.decided().filter(|d| d.decision == Decision::RollBack);
    rollback.is_some_and(|d| was_ordered(&d.progress))
}

fn was_act(connection: &Connection, id: &str) -> rusqlite::Result<bool> {
    let found = connection.query_row("SELECT act FROM records WHERE id = ?1", [id], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(false))
}

/// The row of a record over an older one of the same id. `act`: an act on it was or may have been ordered, unless its progress
/// says that there was none.
pub(super) fn put_record(
    connection: &Connection,
    record: &Record,
    doc: &str,
    act: bool,
) -> rusqlite::Result<()> {
    let decided = record.what.decided();
    let rollback = decided.filter(|d| d.decision == Decision::RollBack);
    connection.execute(
        "INSERT OR REPLACE INTO records (id, at_ms, release, kind, progress, target, open, act, doc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            record.id.as_str(),
            column(record.at.as_millis()),
            record.release.as_str(),
            HappeningDoc::from(&record.what).kind(),
            decided.map(|d| d.progress.label()),
            about(&record.what),
            rollback.is_some_and(|d| d.progress.is_open()),
            act,
            doc,
        ],
    )?;
    Ok(())
}

/// What a record is about, beside the release that ran: what was to be put back, or the rollback that was verified.
fn about(what: &Happening) -> Option<&str> {
    if let Happening::Verified(of) = what {
        return Some(of.decision.as_str());
    }
    what.decided().and_then(|d| d.target.as_ref()).map(Release::as_str)
}

/// Whether an act that has come this far was or may have been ordered. `Failed` does not tell by itself.
const fn was_ordered(progress: &Progress) -> bool {
    match progress {
        Progress::Intended
        | Progress::Accepted { .. }
        | Progress::Succeeded { .. }
        | Progress::Interrupted { .. } => true,
        Progress::NothingToDo | Progress::DryRun { .. } | Progress::Failed { .. } => false,
    }
}

pub(super) fn write_baseline(connection: &Connection, baseline: &Baseline) -> rusqlite::Result<()> {
    let latency = codec::histogram_to_bytes(&baseline.latency);
    let wide = codec::baseline::wide_to_bytes(baseline);
    connection.execute(
        "INSERT OR REPLACE INTO baselines (release, from_ms, to_ms, judged, failed, ticks, latency, wide, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            baseline.release.as_str(),
            column(baseline.from.as_millis()),
            column(baseline.to.as_millis()),
            column(baseline.judged),
            column(baseline.failed),
            json(&baseline.ticks_by_failed_ppm),
            latency,
            wide,
            codec::baseline::digest(baseline, &latency, Some(&wide)),
        ],
    )?;
    connection.execute(
        "DELETE FROM baselines WHERE rowid NOT IN
            (SELECT b.rowid FROM baselines b LEFT JOIN releases r ON r.release = b.release
                ORDER BY coalesce(r.standing = 'known_good', 0) DESC, b.to_ms DESC, b.release DESC LIMIT ?1)",
        [BASELINES_MAX as i64],
    )?;
    Ok(())
}

/// What is thought of a release, and the accounts that it follows from, where there are several.
pub(super) fn write_release(
    connection: &Connection,
    memory: &ReleaseMemory,
    accounts: &[ReleaseMemory],
) -> rusqlite::Result<()> {
    let accounts: Vec<ReleaseDoc> = accounts.iter().map(ReleaseDoc::from).collect();
    connection.execute(
        "INSERT OR REPLACE INTO releases (release, last_seen_ms, standing, doc, accounts)
         VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            memory.release.as_str(),
            column(memory.last_seen.as_millis()),
            memory.standing.label(),
            json(&ReleaseDoc::from(memory)),
            (accounts.len() > 1).then(|| json(&accounts)),
        ],
    )?;
    connection.execute(
        "DELETE FROM releases WHERE rowid NOT IN
            (SELECT rowid FROM releases
                ORDER BY standing = 'known_good' DESC, last_seen_ms DESC, release DESC LIMIT ?1)",
        [RELEASES_MAX as i64],
    )?;
    Ok(())
}

/// The pause in force, or that there is none, and since when it is so. The last change stays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PauseRegister {
    pub(super) at: Time,
    /// A pause as JSON, or `null`.
    pub(super) doc: String,
}

impl PauseRegister {
    fn read(&self) -> serde_json::Result<Option<PauseDoc>> {
        serde_json::from_str(&self.doc)
    }

    /// Agents that kept no time kept when the pause began.
    pub(super) fn dated(mut self) -> Self {
        if let (0, Ok(Some(pause))) = (self.at.as_millis(), self.read()) {
            self.at = pause.since.0;
        }
        self
    }

    pub(super) fn is_whole(&self) -> bool {
        self.read().is_ok()
    }

    /// Of two changes at once the brake stays.
    pub(super) fn rank(&self) -> (Time, bool, &str) {
        (self.at, !matches!(self.read(), Ok(None)), &self.doc)
    }
}

pub(super) fn pause_register(connection: &Connection) -> rusqlite::Result<Option<PauseRegister>> {
    let read = |row: &Row<'_>| Ok(PauseRegister { at: time(row, "at_ms")?, doc: text(row, "doc")? });
    let held = connection.query_row("SELECT doc, at_ms FROM pause", [], read).optional()?;
    Ok(held.map(PauseRegister::dated))
}

pub(super) fn put_pause(connection: &Connection, register: &PauseRegister) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO pause (only, doc, at_ms) VALUES (1, ?1, ?2)",
        params![register.doc, column(register.at.as_millis())],
    )?;
    Ok(())
}

/// Whoever changes it knows how it was: the change is later than that, whatever the clocks say.
fn write_pause(connection: &Connection, pause: Option<&Pause>, at: Time) -> rusqlite::Result<()> {
    let held = pause_register(connection)?;
    let doc = json(&pause.map(PauseDoc::from));
    if held.as_ref().is_some_and(|held| held.doc == doc) {
        return Ok(());
    }
    let at = held.map_or(at, |held| at.max(held.at + Duration::from_millis(1)));
    put_pause(connection, &PauseRegister { at, doc })
}

/// Everything that must survive a restart. Rows that cannot be read are passed over and told in `damage`.
pub(super) fn memory(connection: &Connection, damage: &mut Vec<Damage>) -> rusqlite::Result<Memory> {
    Ok(Memory {
        baselines: baselines(connection, damage)?,
        releases: releases(connection, damage)?,
        open: open_decision(connection, damage)?,
        last_act: last_act(connection)?,
        acts: acts(connection)?,
        pause: pause(connection, damage)?,
        lock: locked::lock(connection, damage)?,
        unverified: unverified(connection, damage)?,
        watch: evidence::open_watch(connection, damage)?,
    })
}

pub(super) fn baselines(
    connection: &Connection,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Vec<Baseline>> {
    let sql = format!("SELECT {BASELINE} FROM baselines ORDER BY to_ms DESC, release DESC LIMIT ?1");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([BASELINES_MAX as i64])?;
    let mut baselines = Vec::new();
    while let Some(row) = rows.next()? {
        let name = text(row, "release")?;
        match baseline(row, &name)? {
            Ok(baseline) => baselines.push(baseline),
            Err(fault) => damage.push(Damage { row: format!("baseline of {name}"), fault }),
        }
    }
    Ok(baselines)
}

const BASELINE: &str = "release, from_ms, to_ms, judged, failed, ticks, latency, wide, digest";

/// The baseline of this release, or what is wrong with it.
pub(super) fn baseline_of(
    connection: &Connection,
    name: &str,
) -> rusqlite::Result<Option<Result<Baseline, String>>> {
    let sql = format!("SELECT {BASELINE} FROM baselines WHERE release = ?1");
    connection.query_row(&sql, [name], |row| baseline(row, name)).optional()
}

fn baseline(row: &Row<'_>, name: &str) -> rusqlite::Result<Result<Baseline, String>> {
    let latency: Vec<u8> = row.get("latency")?;
    let digest: Vec<u8> = row.get("digest")?;
    let ticks = text(row, "ticks")?;
    let (Some(release), Ok(ticks)) = (Release::new(name), serde_json::from_str(&ticks)) else {
        return Ok(Err("its columns cannot be read".to_owned()));
    };
    let mut baseline = Baseline::empty(release, time(row, "from_ms")?);
    baseline.to = time(row, "to_ms")?;
    baseline.judged = number(row, "judged")?;
    baseline.failed = number(row, "failed")?;
    baseline.ticks_by_failed_ppm = ticks;
    let wide: Option<Vec<u8>> = row.get("wide")?;
    if codec::baseline::digest(&baseline, &latency, wide.as_deref()) != digest.as_slice() {
        return Ok(Err("its digest does not match".to_owned()));
    }
    let read = codec::histogram_from_bytes(&latency).and_then(|histogram| {
        baseline.latency = histogram;
        // Agents that knew no wide part wrote none.
        wide.map_or(Ok(()), |wide| codec::baseline::wide_from_bytes(&wide, &mut baseline))
    });
    Ok(read.map(|()| baseline).map_err(|error| error.to_string()))
}

fn releases(connection: &Connection, damage: &mut Vec<Damage>) -> rusqlite::Result<Vec<ReleaseMemory>> {
    let mut statement = connection
        .prepare("SELECT release, doc FROM releases ORDER BY last_seen_ms DESC, release DESC LIMIT ?1")?;
    let mut rows = statement.query([RELEASES_MAX as i64])?;
    let mut releases = Vec::new();
    while let Some(row) = rows.next()? {
        let doc = text(row, "doc")?;
        let name = text(row, "release")?;
        releases.extend(parse::<ReleaseDoc>(&doc, || format!("release {name}"), damage).map(Into::into));
    }
    Ok(releases)
}

/// The accounts that a row of a release holds; none where they cannot be read.
pub(super) fn accounts(row: &Row<'_>) -> rusqlite::Result<Vec<ReleaseMemory>> {
    let several: Option<String> = row.get("accounts").unwrap_or(None);
    let several = several.and_then(|docs| serde_json::from_str::<Vec<ReleaseDoc>>(&docs).ok());
    let docs = match several {
        Some(docs) => docs,
        None => serde_json::from_str::<ReleaseDoc>(&text(row, "doc")?).ok().into_iter().collect(),
    };
    Ok(docs.into_iter().map(Into::into).collect())
}

/// The accounts that are held of this release.
pub(super) fn accounts_of(connection: &Connection, name: &str) -> rusqlite::Result<Vec<ReleaseMemory>> {
    let found =
        connection.query_row("SELECT doc, accounts FROM releases WHERE release = ?1", [name], accounts);
    Ok(found.optional()?.unwrap_or_default())
}

fn open_decision(
    connection: &Connection,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Option<OpenDecision>> {
    let found: Option<(String, String)> = connection
        .query_row(
            "SELECT id, doc FROM records WHERE open = 1 ORDER BY at_ms DESC, id DESC LIMIT 1",
            [],
            |row| Ok((text(row, "id")?, text(row, "doc")?)),
        )
        .optional()?;
    let Some((id, doc)) = found else { return Ok(None) };
    let doc: Option<RecordDoc> = parse(&doc, || format!("record {id}"), damage);
    let Some(record) = doc.map(Record::from) else { return Ok(None) };
    let Record { id, at, release: from, what } = record;
    let Happening::Decided(decided) = what else { return Ok(None) };
    Ok(Some(OpenDecision { id, at, from, decided: *decided }))
}

/// The id of the last act. A record whose order is known never to have been given is none, whatever was feared before.
pub(super) const LAST_ACT: &str = "SELECT id FROM records
    WHERE act = 1 AND progress NOT IN ('dry_run', 'nothing_to_do') ORDER BY at_ms DESC, id DESC LIMIT 1";

/// When acts were made, from the columns alone.
fn acts(connection: &Connection) -> rusqlite::Result<Vec<Time>> {
    let mut statement = connection.prepare(
        "SELECT at_ms FROM records WHERE act = 1 AND progress NOT IN ('dry_run', 'nothing_to_do')
         ORDER BY at_ms DESC, id DESC LIMIT ?1",
    )?;
    statement.query_map([ACTS_MAX as i64], |row| time(row, "at_ms"))?.collect()
}

/// The last rollback that succeeded, unless a record says what it led to.
fn unverified(
    connection: &Connection,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Option<Box<OpenDecision>>> {
    const LAST: &str = "SELECT id FROM records WHERE act = 1 AND progress = 'succeeded'
        ORDER BY at_ms DESC, id DESC LIMIT 1";
    let Some(record) = record_by(connection, LAST, damage)? else { return Ok(None) };
    let Record { id, at, release: from, what } = record;
    let Happening::Decided(decided) = what else { return Ok(None) };
    let said: bool = connection.query_row(
        "SELECT count(*) > 0 FROM records WHERE kind = 'verified' AND target = ?1",
        [id.as_str()],
        |row| row.get(0),
    )?;
    Ok((!said).then(|| Box::new(OpenDecision { id, at, from, decided: *decided })))
}

/// The record that a query for an id finds.
pub(super) fn record_by(
    connection: &Connection,
    ids: &str,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Option<Record>> {
    let read = |row: &Row<'_>| Ok((text(row, "id")?, text(row, "doc")?));
    let sql = format!("SELECT id, doc FROM records WHERE id IN ({ids})");
    let Some((id, doc)) = connection.query_row(&sql, [], read).optional()? else { return Ok(None) };
    Ok(parse::<RecordDoc>(&doc, || format!("record {id}"), damage).map(Record::from))
}

/// From the columns alone: a record that can no longer be read whole still stops a second act.
fn last_act(connection: &Connection) -> rusqlite::Result<Option<LastAct>> {
    connection
        .query_row(
            &format!("SELECT id, at_ms, release, target FROM records WHERE id IN ({LAST_ACT})"),
            [],
            |row| {
                let (id, from) = (text(row, "id")?, text(row, "release")?);
                let to: Option<String> = row.get("target").unwrap_or(None);
                Ok(Release::new(&from).zip(Some(time(row, "at_ms")?)).map(|(from, at)| LastAct {
                    id: RecordId::from_stored(&id),
                    at,
                    from,
                    to: to.as_deref().and_then(Release::new),
                }))
            },
        )
        .optional()
        .map(Option::flatten)
}

fn pause(connection: &Connection, damage: &mut Vec<Damage>) -> rusqlite::Result<Option<Pause>> {
    let Some(held) = pause_register(connection)? else { return Ok(None) };
    let Some(pause) = parse::<Option<PauseDoc>>(&held.doc, || "pause".to_owned(), damage) else {
        return Ok(Some(unread_pause()));
    };
    Ok(pause.map(Pause::from))
}

/// A brake that cannot be read still brakes.
fn unread_pause() -> Pause {
    Pause {
        by: "outrigger".to_owned(),
        reason: "the stored pause is damaged".to_owned(),
        since: Time::default(),
        until: None,
    }
}

/// Records, newest first, older than the record `before`. A `before` that is not there was the oldest and is pruned:
/// nothing is older.
pub(super) fn records(
    connection: &Connection,
    limit: usize,
    before: Option<&str>,
) -> rusqlite::Result<Vec<serde_json::Value>> {
    let mut statement = connection.prepare(
        "SELECT * FROM records
         WHERE ?1 IS NULL OR (at_ms, id) < ((SELECT at_ms FROM records WHERE id = ?1), ?1)
         ORDER BY at_ms DESC, id DESC LIMIT ?2",
    )?;
    statement.query_map(params![before, column(limit as u64)], shown)?.collect()
}

/// The records with this id or, where there is none, up to two whose ids begin so.
pub(super) fn records_like(connection: &Connection, id: &str) -> rusqlite::Result<Vec<serde_json::Value>> {
    let mut exact = connection.prepare("SELECT * FROM records WHERE id = ?1")?;
    let found: Vec<_> = exact.query_map([id], shown)?.collect::<Result<_, _>>()?;
    if !found.is_empty() {
        return Ok(found);
    }
    let mut alike =
        connection.prepare("SELECT * FROM records WHERE id > ?1 AND id < ?1 || char(1114111) LIMIT 2")?;
    alike.query_map([id], shown)?.collect()
}

/// A record's JSON as it was stored; where it is damaged, what the columns still say.
fn shown(row: &Row<'_>) -> rusqlite::Result<serde_json::Value> {
    let doc = text(row, "doc")?;
    if let Ok(value) = serde_json::from_str(&doc) {
        return Ok(value);
    }
    Ok(serde_json::json!({
        "id": text(row, "id")?,
        "at_ms": number(row, "at_ms")?,
        "release": text(row, "release")?,
        "kind": text(row, "kind")?,
        "damaged": true,
    }))
}

fn parse<T: DeserializeOwned>(doc: &str, row: impl Fn() -> String, damage: &mut Vec<Damage>) -> Option<T> {
    serde_json::from_str(doc)
        .map_err(|error| damage.push(Damage { row: row(), fault: error.to_string() }))
        .ok()
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the wire types hold nothing that JSON cannot")
}

/// SQLite's integers are signed. A time or count beyond 2^63 does not occur and is kept as the largest.
pub(super) fn column(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Bytes that are no UTF-8 must not keep all other rows from being read.
pub(super) fn text(row: &Row<'_>, name: &str) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(name)?.as_bytes()?).into_owned())
}

pub(super) fn number(row: &Row<'_>, name: &str) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(name)?).unwrap_or(0))
}

pub(super) fn time(row: &Row<'_>, name: &str) -> rusqlite::Result<Time> {
    number(row, name).map(Time::from_millis)
}
