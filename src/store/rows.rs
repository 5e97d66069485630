//! Rows: how each write becomes one, and how one is read. Runs on the store's thread only.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;

use crate::engine::baseline::Baseline;
use crate::engine::memory::{BASELINES_MAX, LastAct, Memory, OpenDecision, RELEASES_MAX, ReleaseMemory};
use crate::engine::record::{Decision, Happening, Pause, Progress, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::store::Write;
use crate::store::codec;
use crate::store::evidence;
use crate::store::wire::{PauseDoc, RecordDoc, ReleaseDoc};

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
        Write::Release(memory) => write_release(connection, memory),
        Write::Pause(Some(pause)) => write_pause(connection, pause),
        Write::Pause(None) => connection.execute("DELETE FROM pause", []).map(drop),
    }
}

fn write_record(connection: &Connection, record: &Record) -> rusqlite::Result<()> {
    let doc = RecordDoc::from(record);
    let decided = record.what.decided();
    let rollback = decided.filter(|d| d.decision == Decision::RollBack);
    let open = rollback.is_some_and(|d| d.progress.is_open());
    // A failure is an act only where the same record was one before: where the intent had been written.
    connection.execute(
        "INSERT INTO records (id, at_ms, release, kind, progress, target, open, act, doc)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
         ON CONFLICT (id) DO UPDATE SET
            at_ms = excluded.at_ms, release = excluded.release, kind = excluded.kind,
            progress = excluded.progress, target = excluded.target, open = excluded.open,
            act = CASE excluded.progress WHEN 'failed' THEN act ELSE excluded.act END,
            doc = excluded.doc",
        params![
            record.id.as_str(),
            column(record.at.as_millis()),
            record.release.as_str(),
            doc.what.kind(),
            decided.map(|d| d.progress.label()),
            decided.and_then(|d| d.target.as_ref()).map(Release::as_str),
            open,
            rollback.is_some_and(|d| was_ordered(&d.progress)),
            json(&doc),
        ],
    )?;
    Ok(())
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

fn write_baseline(connection: &Connection, baseline: &Baseline) -> rusqlite::Result<()> {
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
                ORDER BY coalesce(r.standing = 'known_good', 0) DESC, b.to_ms DESC, b.rowid DESC LIMIT ?1)",
        [BASELINES_MAX as i64],
    )?;
    Ok(())
}

fn write_release(connection: &Connection, memory: &ReleaseMemory) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO releases (release, last_seen_ms, standing, doc) VALUES (?1, ?2, ?3, ?4)",
        params![
            memory.release.as_str(),
            column(memory.last_seen.as_millis()),
            memory.standing.label(),
            json(&ReleaseDoc::from(memory)),
        ],
    )?;
    connection.execute(
        "DELETE FROM releases WHERE rowid NOT IN
            (SELECT rowid FROM releases
                ORDER BY standing = 'known_good' DESC, last_seen_ms DESC, rowid DESC LIMIT ?1)",
        [RELEASES_MAX as i64],
    )?;
    Ok(())
}

fn write_pause(connection: &Connection, pause: &Pause) -> rusqlite::Result<()> {
    let doc = json(&PauseDoc::from(pause));
    connection.execute("INSERT OR REPLACE INTO pause (only, doc) VALUES (1, ?1)", [doc])?;
    Ok(())
}

/// Everything that must survive a restart. Rows that cannot be read are passed over and told in `damage`.
pub(super) fn memory(connection: &Connection, damage: &mut Vec<Damage>) -> rusqlite::Result<Memory> {
    Ok(Memory {
        baselines: baselines(connection, damage)?,
        releases: releases(connection, damage)?,
        open: open_decision(connection, damage)?,
        last_act: last_act(connection)?,
        pause: pause(connection, damage)?,
        watch: evidence::open_watch(connection, damage)?,
    })
}

fn baselines(connection: &Connection, damage: &mut Vec<Damage>) -> rusqlite::Result<Vec<Baseline>> {
    let mut statement = connection.prepare(
        "SELECT release, from_ms, to_ms, judged, failed, ticks, latency, wide, digest FROM baselines
         ORDER BY to_ms DESC, rowid DESC LIMIT ?1",
    )?;
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
        .prepare("SELECT release, doc FROM releases ORDER BY last_seen_ms DESC, rowid DESC LIMIT ?1")?;
    let mut rows = statement.query([RELEASES_MAX as i64])?;
    let mut releases = Vec::new();
    while let Some(row) = rows.next()? {
        let doc = text(row, "doc")?;
        let name = text(row, "release")?;
        releases.extend(parse::<ReleaseDoc>(&doc, || format!("release {name}"), damage).map(Into::into));
    }
    Ok(releases)
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

/// From the columns alone: a record that can no longer be read whole still stops a second act.
fn last_act(connection: &Connection) -> rusqlite::Result<Option<LastAct>> {
    connection
        .query_row(
            "SELECT id, at_ms, release, target FROM records WHERE act = 1 ORDER BY at_ms DESC, id DESC LIMIT 1",
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
    let doc: Option<String> =
        connection.query_row("SELECT doc FROM pause", [], |row| text(row, "doc")).optional()?;
    let Some(doc) = doc else { return Ok(None) };
    let pause = parse::<PauseDoc>(&doc, || "pause".to_owned(), damage).map(Pause::from);
    // A brake that cannot be read still brakes.
    Ok(Some(pause.unwrap_or_else(|| Pause {
        by: "outrigger".to_owned(),
        reason: "the stored pause is damaged".to_owned(),
        since: Time::default(),
        until: None,
    })))
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
