//! What is handed over: each row as an item, in an order that depends on what they say alone.

use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::engine::baseline::Baseline;
use crate::engine::history::{KeptFact, OpenWatch};
use crate::engine::record::Happening;
use crate::engine::release::RecordId;
use crate::store::codec::item::Content;
use crate::store::handover::{Export, ITEM_BYTES_MAX, Item, RECORDS_EXPORTED, WATCH_BYTES_MAX};
use crate::store::rows::{self, Damage, text};
use crate::store::wire::{RecordDoc, ReleaseDoc};
use crate::store::{AlertStep, Write, evidence, outbox};

/// The kinds of record that others need to know.
const TRAVELLING: &str =
    "kind IN ('decided', 'paused', 'resumed', 'watch_passed', 'locked', 'unlocked', 'verified')";
/// The facts of one item take so many bytes by themselves before another item is begun.
const FACTS_BYTES: usize = 256 * 1024;

/// What a write changed, to be told to others as it is held after it.
pub(in crate::store) enum Wanted {
    Record(String),
    Release(String),
    Baseline(String),
    Pause,
    Told(String, String),
}

impl Wanted {
    /// `None`: others need not know.
    pub(in crate::store) fn of(write: &Write) -> Option<Self> {
        match write {
            Write::Record(record) => match &record.what {
                Happening::Decided(_)
                | Happening::Paused(_)
                | Happening::Resumed { .. }
                | Happening::WatchPassed { .. }
                | Happening::Locked(_)
                | Happening::Unlocked { .. }
                | Happening::Verified(_) => Some(Self::Record(record.id.as_str().to_owned())),
                Happening::Started { .. }
                | Happening::Ready
                | Happening::Exited(_)
                | Happening::VerdictChanged { .. }
                | Happening::Diagnosed(_)
                | Happening::HealthChanged(_)
                | Happening::Readied(_) => None,
            },
            Write::Release(memory) => Some(Self::Release(memory.release.as_str().to_owned())),
            Write::Baseline(baseline) => Some(Self::Baseline(baseline.release.as_str().to_owned())),
            Write::Pause { .. } => Some(Self::Pause),
            Write::Alert(of) => matches!(of.step, AlertStep::Told { .. })
                .then(|| Self::Told(of.key.clone(), of.channel.clone())),
            Write::Watch(_) | Write::Fact(_) => None,
        }
    }
}

/// All that is to be handed over. What cannot be read is left out and told in `damage`.
pub(in crate::store) fn export(
    connection: &Connection,
    what: Export,
    damage: &mut Vec<Damage>,
) -> rusqlite::Result<Vec<Item>> {
    let mut items = Vec::new();
    let each = |sql: &str, of: fn(&Row<'_>) -> rusqlite::Result<Option<Item>>| {
        let mut statement = connection.prepare(sql)?;
        let found: Vec<Option<Item>> = statement.query_map([], of)?.collect::<Result<_, _>>()?;
        Ok::<_, rusqlite::Error>(found.into_iter().flatten())
    };
    items.extend(each("SELECT * FROM releases ORDER BY release", release)?);
    items.extend(each(&records(), record)?);
    let baselines = rows::baselines(connection, damage)?;
    items.extend(baselines.into_iter().filter_map(baseline));
    items.extend(pause(connection)?);
    items.extend(told(connection, None)?);
    if what.watch {
        items.extend(
            evidence::open_watch(connection, damage)?
                .and_then(|watch| self::watch(*watch))
                .unwrap_or_default(),
        );
    }
    Ok(items)
}

/// One thing as it is held now.
pub(in crate::store) fn export_one(
    connection: &Connection,
    wanted: &Wanted,
) -> rusqlite::Result<Option<Item>> {
    let one = |sql: &str, key: &str, of: fn(&Row<'_>) -> rusqlite::Result<Option<Item>>| {
        connection.query_row(sql, [key], of).optional().map(Option::flatten)
    };
    match wanted {
        Wanted::Record(id) => one("SELECT * FROM records WHERE id = ?1", id, record),
        Wanted::Release(name) => one("SELECT * FROM releases WHERE release = ?1", name, release),
        Wanted::Baseline(name) => {
            Ok(rows::baseline_of(connection, name)?.and_then(Result::ok).and_then(baseline))
        }
        Wanted::Pause => pause(connection),
        Wanted::Told(key, channel) => told(connection, Some((key, channel))),
    }
}

fn records() -> String {
    format!(
        "SELECT * FROM records WHERE id IN (
            SELECT id FROM (SELECT id FROM records WHERE {TRAVELLING}
                            ORDER BY at_ms DESC, id DESC LIMIT {RECORDS_EXPORTED})
            UNION SELECT id FROM records WHERE open = 1
            UNION SELECT id FROM ({}))
         ORDER BY at_ms, id",
        rows::LAST_ACT
    )
}

fn fitting(item: Item) -> Option<Item> {
    (item.bytes.len() <= ITEM_BYTES_MAX).then_some(item)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<Item>> {
    let doc = text(row, "doc")?;
    let is_whole = serde_json::from_str::<RecordDoc>(&doc).is_ok();
    let content = Content::Record { act: row.get("act")?, doc };
    Ok(is_whole.then(|| Item::of(&content)).and_then(fitting))
}

fn release(row: &Row<'_>) -> rusqlite::Result<Option<Item>> {
    let docs: Vec<String> = rows::accounts(row)?.iter().map(|of| rows::json(&ReleaseDoc::from(of))).collect();
    Ok((!docs.is_empty()).then(|| Item::of(&Content::Release(docs))).and_then(fitting))
}

fn baseline(of: Baseline) -> Option<Item> {
    fitting(Item::of(&Content::Baseline(Box::new(of))))
}

fn pause(connection: &Connection) -> rusqlite::Result<Option<Item>> {
    let held = rows::pause_register(connection)?;
    // A damaged one brakes here and is nobody else's.
    let whole = held.filter(rows::PauseRegister::is_whole);
    Ok(whole.map(|held| Item::of(&Content::Pause { at: held.at, doc: held.doc })))
}

/// Which alerts were told to whom.
fn told(connection: &Connection, only: Option<(&str, &str)>) -> rusqlite::Result<Option<Item>> {
    let told = outbox::all_told(connection, only)?;
    Ok((!told.is_empty()).then(|| Item::of(&Content::Told(rows::json(&told)))).and_then(fitting))
}

/// The watch and all its facts, or nothing where they are too long.
fn watch(watch: OpenWatch) -> Option<Vec<Item>> {
    let OpenWatch { start, facts } = watch;
    let id = start.id.clone();
    let count = facts.len() as u32;
    let mut items = vec![Item::of(&Content::Watch { start: Box::new(start), facts: count })];
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    for fact in facts {
        bytes += crate::store::codec::fact::room(&fact);
        chunk.push(fact);
        if bytes >= FACTS_BYTES {
            items.push(sealed(&id, std::mem::take(&mut chunk)));
            bytes = 0;
        }
    }
    if !chunk.is_empty() {
        items.push(sealed(&id, chunk));
    }
    let all: usize = items.iter().map(|item| item.bytes.len()).sum();
    let fits = all <= WATCH_BYTES_MAX && items.iter().all(|item| item.bytes.len() <= ITEM_BYTES_MAX);
    fits.then_some(items)
}

fn sealed(watch: &RecordId, facts: Vec<KeptFact>) -> Item {
    Item::of(&Content::Facts { watch: watch.clone(), facts })
}
