//! Evidence: the facts of watches, a row each, and what each watch began from.
//!
//! A fact is read as it was written, to the bit, or it is told as damage: a check stands in each row. A watch can be
//! judged again up to the first fact that is missing.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use sha2::{Digest as _, Sha256};

use crate::engine::baseline::Baseline;
use crate::engine::history::{FACTS_MAX, Fact, KeptFact, OpenWatch, WatchStart};
use crate::engine::release::{RecordId, Release};
use crate::engine::tick::{Round, Tick};
use crate::engine::time::Time;
use crate::store::codec;
use crate::store::rows::{Damage, column, json, number, text, time};
use crate::store::wire::watch::WatchDoc;

/// What was read of a watch.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredWatch {
    /// What it began from.
    pub start: WatchStart,
    /// Its facts in order, from the first to the last before one that is missing.
    pub facts: Vec<KeptFact>,
    /// Why there are no more facts, where there should be.
    pub gap: Option<String>,
}

pub(super) fn write_watch(connection: &Connection, start: &WatchStart) -> rusqlite::Result<()> {
    let next =
        connection.query_row("SELECT max(coalesce(max(n), 0), 0) + 1 FROM watches", [], |row| row.get(0))?;
    put_watch(connection, next, start)
}

/// A watch of another agent: older than all of its own, whenever it began.
pub(super) fn write_inherited(connection: &Connection, start: &WatchStart) -> rusqlite::Result<()> {
    let next =
        connection.query_row("SELECT min(coalesce(min(n), 0), 0) - 1 FROM watches", [], |row| row.get(0))?;
    put_watch(connection, next, start)
}

/// Whether this agent has that watch by itself, or watches that release by itself.
pub(super) fn is_own(connection: &Connection, start: &WatchStart) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM watches WHERE n > 0 AND id = ?1)
             OR EXISTS (SELECT 1 FROM watches
                        WHERE n = (SELECT max(n) FROM watches WHERE n > 0) AND release = ?2)",
        [start.id.as_str(), start.release.as_str()],
        |row| row.get(0),
    )
}

/// The id of another agent's watch of the release.
pub(super) fn inherited(connection: &Connection, release: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT id FROM watches WHERE n < 0 AND release = ?1";
    connection.query_row(sql, [release], |row| text(row, "id")).optional()
}

/// Forgets a watch with its facts.
pub(super) fn forget(connection: &Connection, id: &str) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM evidence WHERE watch = ?1", [id])?;
    connection.execute("DELETE FROM watches WHERE id = ?1", [id])?;
    Ok(())
}

fn put_watch(connection: &Connection, n: i64, start: &WatchStart) -> rusqlite::Result<()> {
    let doc = json(&WatchDoc::from(start));
    let baseline = start.baseline.as_ref().map(codec::baseline::to_bytes);
    let digest = watch_digest(start.id.as_str(), start.release.as_str(), start.at, &doc, baseline.as_deref());
    connection.execute(
        "INSERT OR REPLACE INTO watches (n, id, at_ms, release, doc, baseline, digest)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            n,
            start.id.as_str(),
            column(start.at.as_millis()),
            start.release.as_str(),
            doc,
            baseline,
            digest
        ],
    )?;
    Ok(())
}

fn watch_digest(id: &str, release: &str, at: Time, doc: &str, baseline: Option<&[u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let at = at.as_millis().to_be_bytes();
    let parts = [id.as_bytes(), release.as_bytes(), &at, doc.as_bytes()];
    for part in parts.into_iter().chain(baseline) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A fact of this agent's own. Another's watch that it goes on with is its own from then on.
pub(super) fn write_fact(connection: &Connection, kept: &KeptFact) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE watches SET n = (SELECT max(max(n), 0) + 1 FROM watches) WHERE id = ?1 AND n < 0",
        [kept.watch.as_str()],
    )?;
    write_fact_row(connection, kept)
}

pub(super) fn write_fact_row(connection: &Connection, kept: &KeptFact) -> rusqlite::Result<()> {
    let tick = codec::fact::columns(kept.at, &kept.fact);
    let latencies = codec::latencies_to_bytes(&tick.latencies);
    let more = codec::fact::more_to_bytes(&kept.fact);
    connection.execute(
        "INSERT INTO evidence
            (release, from_ms, to_ms, judged, failed, ended, arrived, answered, waiting, overdue, stalled, latencies,
             watch, seq, at_ms, kind, more, checked, bytes)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        params![
            kept.release.as_str(),
            column(tick.from.as_millis()),
            column(tick.to.as_millis()),
            column(tick.judged),
            column(tick.failed),
            column(tick.ended),
            column(tick.arrived),
            column(tick.answered),
            column(tick.waiting),
            column(tick.overdue),
            tick.stalled,
            latencies,
            kept.watch.as_str(),
            kept.seq,
            column(kept.at.as_millis()),
            codec::fact::kind(&kept.fact),
            more,
            codec::fact::check(kept, &latencies, &more),
            column((latencies.len() + more.len()) as u64),
        ],
    )?;
    Ok(())
}

/// The figures of a row that have columns.
fn figures(row: &Row<'_>) -> rusqlite::Result<Tick> {
    Ok(Tick {
        from: time(row, "from_ms")?,
        to: time(row, "to_ms")?,
        judged: number(row, "judged")?,
        failed: number(row, "failed")?,
        ended: number(row, "ended")?,
        arrived: number(row, "arrived")?,
        answered: number(row, "answered")?,
        waiting: number(row, "waiting")?,
        overdue: number(row, "overdue")?,
        stalled: row.get("stalled")?,
        ..Tick::default()
    })
}

/// The tick of a row, whoever wrote it.
fn tick(row: &Row<'_>) -> rusqlite::Result<Result<Tick, String>> {
    let latencies: Vec<u8> = row.get("latencies")?;
    let more: Option<Vec<u8>> = row.get("more")?;
    let mut tick = figures(row)?;
    let read = codec::latencies_from_bytes(&latencies).and_then(|latencies| {
        tick.latencies = latencies;
        codec::fact::wide_from_bytes(&more.unwrap_or_default(), &mut tick)
    });
    Ok(read.map(|()| tick).map_err(|error| error.to_string()))
}

fn fact(row: &Row<'_>) -> rusqlite::Result<Result<KeptFact, String>> {
    let (latencies, more): (Vec<u8>, Vec<u8>) = (row.get("latencies")?, row.get("more")?);
    let (kind, release) = (text(row, "kind")?, text(row, "release")?);
    let fact = if kind == "tick" {
        tick(row)?.map(|tick| Fact::Tick(Box::new(tick)))
    } else {
        codec::fact::event_from_bytes(&kind, &more).map_err(|error| error.to_string())
    };
    let fact = match (fact, Release::new(&release)) {
        (Ok(fact), Some(release)) => KeptFact {
            watch: RecordId::from_stored(&text(row, "watch")?),
            seq: row.get("seq")?,
            at: time(row, "at_ms")?,
            release,
            fact,
        },
        (Ok(_), None) => return Ok(Err("its release cannot be read".to_owned())),
        (Err(fault), _) => return Ok(Err(fault)),
    };
    let checked: Vec<u8> = row.get("checked")?;
    // A round is read from its bytes alone; the sums beside them must be its own.
    let is_sum =
        !matches!(fact.fact, Fact::Round(_)) || *codec::fact::columns(fact.at, &fact.fact) == figures(row)?;
    if is_sum && codec::fact::check(&fact, &latencies, &more) == checked.as_slice() {
        return Ok(Ok(fact));
    }
    Ok(Err("its check does not match".to_owned()))
}

/// The tick of a row: of a round, what all its replicas saw together.
fn pooled(row: &Row<'_>) -> rusqlite::Result<Result<Tick, String>> {
    if text(row, "kind")? == "tick" {
        return tick(row);
    }
    let pooled = |kept: KeptFact| match kept.fact {
        Fact::Round(round) => Ok(Round { candidate: round.candidate, control: None }.pooled()),
        Fact::Tick(_) | Fact::Ready | Fact::Exited { .. } | Fact::Restarted => {
            Err("it is no round".to_owned())
        }
    };
    Ok(fact(row)?.and_then(pooled))
}

/// Ticks, and rounds of several replicas put together, that began in `[from, to)`, the newest `limit` of them, oldest first.
pub(super) fn ticks(
    connection: &Connection,
    release: &Release,
    (from, to): (Time, Time),
    limit: usize,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Vec<Tick>> {
    let mut statement = connection.prepare(
        "SELECT * FROM evidence WHERE release = ?1 AND from_ms >= ?2 AND from_ms < ?3 AND kind IN ('tick', 'round')
         ORDER BY from_ms DESC, id DESC LIMIT ?4",
    )?;
    let (from, to) = (column(from.as_millis()), column(to.as_millis()));
    let mut rows = statement.query(params![release.as_str(), from, to, column(limit as u64)])?;
    let mut ticks = Vec::new();
    while let Some(row) = rows.next()? {
        match pooled(row)? {
            Ok(tick) => ticks.push(tick),
            Err(fault) => damage.push(Damage { row: format!("tick {}", row.get::<_, i64>("id")?), fault }),
        }
    }
    ticks.reverse();
    Ok(ticks)
}

/// The watch that this agent began last, or another one, if all its facts are there and are not too many to go on from.
pub(super) fn open_watch(
    connection: &Connection,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Option<Box<OpenWatch>>> {
    // Those of other agents count where there is none of its own, the one that began last.
    let newest = "SELECT id FROM watches ORDER BY max(n, 0) DESC, at_ms DESC, id DESC LIMIT 1";
    let newest: Option<String> = connection.query_row(newest, [], |row| text(row, "id")).optional()?;
    let Some(id) = newest else { return Ok(None) };
    let row = || format!("watch {id}");
    // Watches and their facts may be dropped by a full queue. Facts of an unknown watch are a later one's.
    let orphan =
        "SELECT watch FROM evidence WHERE id = (SELECT max(id) FROM evidence WHERE watch IS NOT NULL)
                  AND watch NOT IN (SELECT id FROM watches)";
    if connection.query_row(orphan, [], |_| Ok(())).optional()?.is_some() {
        let fault = "a later watch lost its beginning".to_owned();
        damage.push(Damage { row: row(), fault });
        return Ok(None);
    }
    let last: Option<u32> =
        connection.query_row("SELECT max(seq) FROM evidence WHERE watch = ?1", [&id], |row| row.get(0))?;
    if last.unwrap_or(0) as usize > FACTS_MAX {
        return Ok(None);
    }
    match watch(connection, &id, FACTS_MAX + 1)? {
        Some(Ok(StoredWatch { start, facts, gap: None })) => Ok(Some(Box::new(OpenWatch { start, facts }))),
        Some(Ok(StoredWatch { gap: Some(fault), .. }) | Err(fault)) => {
            damage.push(Damage { row: row(), fault });
            Ok(None)
        }
        None => Ok(None),
    }
}

/// What is held of a watch, with at most `limit` facts; `None` when it is not there.
pub(super) fn watch(
    connection: &Connection,
    id: &str,
    limit: usize,
) -> rusqlite::Result<Option<Result<StoredWatch, String>>> {
    let mut statement = connection.prepare("SELECT * FROM watches WHERE id = ?1")?;
    let Some(start) = statement.query_row([id], start).optional()? else { return Ok(None) };
    let start = match start {
        Ok(start) => start,
        Err(fault) => return Ok(Some(Err(fault))),
    };
    let (facts, gap) = facts(connection, id, limit)?;
    Ok(Some(Ok(StoredWatch { start, facts, gap })))
}

fn start(row: &Row<'_>) -> rusqlite::Result<Result<WatchStart, String>> {
    let (id, release, doc) = (text(row, "id")?, text(row, "release")?, text(row, "doc")?);
    let at = time(row, "at_ms")?;
    let baseline: Option<Vec<u8>> = row.get("baseline")?;
    let digest: Vec<u8> = row.get("digest")?;
    if watch_digest(&id, &release, at, &doc, baseline.as_deref()) != digest.as_slice() {
        return Ok(Err("its digest does not match".to_owned()));
    }
    let baseline = baseline.as_deref().map(codec::baseline::from_bytes).transpose();
    let baseline: Option<Baseline> = match baseline {
        Ok(baseline) => baseline,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let Some(release) = Release::new(&release) else {
        return Ok(Err("its release cannot be read".to_owned()));
    };
    Ok(serde_json::from_str::<WatchDoc>(&doc)
        .map(|doc| doc.into_start(RecordId::from_stored(&id), at, release, baseline))
        .map_err(|error| error.to_string()))
}

/// The facts of a watch up to the first that is missing, and why it is.
fn facts(
    connection: &Connection,
    watch: &str,
    limit: usize,
) -> rusqlite::Result<(Vec<KeptFact>, Option<String>)> {
    let mut statement =
        connection.prepare("SELECT * FROM evidence WHERE watch = ?1 ORDER BY seq, id LIMIT ?2")?;
    let mut rows = statement.query(params![watch, column(limit as u64)])?;
    let mut facts: Vec<KeptFact> = Vec::new();
    while let Some(row) = rows.next()? {
        let due = facts.len() as u32 + 1;
        let seq: u32 = row.get("seq")?;
        if seq != due {
            let fault = if seq > due {
                format!("of its facts, {due} to {} are not there", seq - 1)
            } else {
                format!("its fact {seq} is there twice")
            };
            return Ok((facts, Some(fault)));
        }
        match fact(row)? {
            Ok(fact) => facts.push(fact),
            Err(fault) => return Ok((facts, Some(format!("its fact {seq} cannot be read: {fault}")))),
        }
    }
    Ok((facts, None))
}

/// Each watch's id, when it began and its release; newest first.
pub(super) fn listed(
    connection: &Connection,
    limit: usize,
) -> rusqlite::Result<Vec<(RecordId, Time, Release)>> {
    let mut statement =
        connection.prepare("SELECT id, at_ms, release FROM watches ORDER BY n DESC LIMIT ?1")?;
    let rows = statement.query_map([column(limit as u64)], |row| {
        let release = Release::new(&text(row, "release")?)
            .ok_or_else(|| rusqlite::Error::InvalidColumnType(2, "release".to_owned(), Type::Text))?;
        Ok((RecordId::from_stored(&text(row, "id")?), time(row, "at_ms")?, release))
    })?;
    rows.collect()
}
