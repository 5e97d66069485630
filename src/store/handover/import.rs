//! The union of what is held and what is handed over, row by row, in the transaction of the caller.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use crate::engine::baseline::Baseline;
use crate::engine::history::{FACTS_MAX, KeptFact, OpenWatch, WatchStart};
use crate::engine::memory::ReleaseMemory;
use crate::engine::record::{Progress, Record};
use crate::engine::release::RecordId;
use crate::engine::time::Time;
use crate::store::codec::item::{self, Content, Refused};
use crate::store::handover::lives::Lives;
use crate::store::handover::{ITEM_BYTES_MAX, ITEMS_MAX, ImportReport, Item};
use crate::store::rows::{self, PauseRegister, column, text};
use crate::store::wire::{RecordDoc, ReleaseDoc};
use crate::store::{codec, evidence, outbox};

/// What became of one item.
enum Outcome {
    Taken,
    Known,
    Unknown,
    Damaged,
}

impl Outcome {
    const fn of(changed: bool) -> Self {
        if changed { Self::Taken } else { Self::Known }
    }
}

impl ImportReport {
    fn count(&mut self, outcome: &Outcome, items: u64) {
        let count = match outcome {
            Outcome::Taken => &mut self.taken,
            Outcome::Known => &mut self.known,
            Outcome::Unknown => &mut self.unknown,
            Outcome::Damaged => &mut self.damaged,
        };
        *count += items;
    }
}

/// A watch as its items told of it.
#[derive(Default)]
struct Told {
    start: Option<(Box<WatchStart>, u32)>,
    facts: BTreeMap<u32, KeptFact>,
    items: u64,
    /// Two items told different things of it.
    is_torn: bool,
}

/// Takes what is new. Also returns the longest watch that was told of, whether it was taken or not: whoever runs beside the same
/// release may go on with it.
pub(in crate::store) fn import(
    connection: &Connection,
    items: &[Item],
) -> rusqlite::Result<(ImportReport, Option<OpenWatch>)> {
    let mut report =
        ImportReport { left_out: items.len().saturating_sub(ITEMS_MAX) as u64, ..ImportReport::default() };
    let mut contents = Vec::new();
    for item in items.iter().take(ITEMS_MAX) {
        let is_short = item.bytes.len() <= ITEM_BYTES_MAX;
        match if is_short { item::open(&item.kind, &item.bytes) } else { Err(Refused::Damaged) } {
            Ok(content) => contents.push(content),
            Err(Refused::Unknown) => report.count(&Outcome::Unknown, 1),
            Err(Refused::Damaged) => report.count(&Outcome::Damaged, 1),
        }
    }
    // Releases first: which baselines are kept depends on what is thought of theirs.
    contents.sort_by_key(Content::kind);
    let mut watches: BTreeMap<RecordId, Told> = BTreeMap::new();
    for content in contents {
        let outcome = match content {
            Content::Release(docs) => release(connection, &docs)?,
            Content::Record { act, doc } => record(connection, act, &doc)?,
            Content::Baseline(baseline) => Outcome::of(self::baseline(connection, &baseline)?),
            Content::Pause { at, doc } => pause(connection, at, doc)?,
            Content::Told(doc) => told(connection, &doc)?,
            Content::Watch { start, facts } => {
                watches.entry(start.id.clone()).or_default().begin(start, facts);
                continue;
            }
            Content::Facts { watch, facts } => {
                watches.entry(watch).or_default().add(facts);
                continue;
            }
        };
        report.count(&outcome, 1);
    }
    let mut offered: Option<OpenWatch> = None;
    for told in watches.into_values() {
        let items = told.items;
        let Some((start, facts)) = told.whole() else {
            report.count(&Outcome::Damaged, items);
            continue;
        };
        report.count(&watch(connection, &start, &facts)?, items);
        if offered.as_ref().is_none_or(|offered| offered.facts.len() < facts.len()) {
            offered = Some(OpenWatch { start, facts });
        }
    }
    Ok((report, offered))
}

fn release(connection: &Connection, docs: &[String]) -> rusqlite::Result<Outcome> {
    let told: Result<Vec<ReleaseDoc>, _> = docs.iter().map(|doc| serde_json::from_str(doc)).collect();
    let Ok(told) = told else { return Ok(Outcome::Unknown) };
    let told: Vec<ReleaseMemory> = told.into_iter().map(Into::into).collect();
    let names: BTreeSet<_> = told.iter().map(|of| of.release.clone()).collect();
    let Some(name) = names.first().filter(|_| names.len() == 1) else { return Ok(Outcome::Damaged) };
    let held = rows::accounts_of(connection, name.as_str())?;
    let before = Lives::of(held.iter().cloned());
    let after = Lives::of(held.iter().cloned().chain(told));
    let Some(view) = after.view().filter(|_| after != before || held.is_empty()) else {
        return Ok(Outcome::Known);
    };
    rows::write_release(connection, &view, &after.accounts().cloned().collect::<Vec<_>>())?;
    Ok(Outcome::Taken)
}

fn record(connection: &Connection, act: bool, doc: &str) -> rusqlite::Result<Outcome> {
    let Some(told) = read(doc) else { return Ok(Outcome::Unknown) };
    if !item::is_id(told.id.as_str()) {
        return Ok(Outcome::Damaged);
    }
    let held: Option<(String, bool)> = connection
        .query_row("SELECT doc, act FROM records WHERE id = ?1", [told.id.as_str()], |row| {
            Ok((text(row, "doc")?, row.get("act")?))
        })
        .optional()?;
    let Some((held_doc, held_act)) = held else {
        rows::put_record(connection, &told, doc, act)?;
        return Ok(Outcome::Taken);
    };
    // That an act may have been ordered is never taken back.
    let act = act || held_act;
    let joined = joined(&held_doc, doc);
    let is_news = joined != held_doc || act != held_act;
    if let Some(record) = read(&joined).filter(|_| is_news) {
        rows::put_record(connection, &record, &joined, act)?;
    }
    Ok(Outcome::of(is_news))
}

/// What two accounts of a record come to: the one that is further, with the steps of the one that saw more of them. Who ends a
/// rollback is often not who gave the order, and has seen none of its steps.
fn joined(held: &str, told: &str) -> String {
    let (held_rest, held_steps) = apart(held);
    let (told_rest, told_steps) = apart(told);
    let key = |doc: &str, rest: &str| {
        let record = read(doc);
        let (stage, at, _) = record.as_ref().map_or((0, Time::default(), ""), |of| further(of, doc));
        (record.is_some(), stage, at, rest.to_owned())
    };
    let is_further = key(told, &told_rest) > key(held, &held_rest);
    let rank = |steps: &Value| (steps.as_array().map_or(0, Vec::len), steps.to_string());
    let steps = if rank(&told_steps) > rank(&held_steps) { told_steps.clone() } else { held_steps.clone() };
    let (further, its_steps) = if is_further { (told, told_steps) } else { (held, held_steps) };
    if steps == its_steps {
        return further.to_owned();
    }
    match serde_json::from_str::<Value>(further) {
        Ok(Value::Object(mut doc)) => {
            doc.insert("steps".to_owned(), steps);
            Value::Object(doc).to_string()
        }
        Ok(_) | Err(_) => further.to_owned(),
    }
}

/// A record's document without its steps, and those.
fn apart(doc: &str) -> (String, Value) {
    match serde_json::from_str::<Value>(doc) {
        Ok(Value::Object(mut parts)) => {
            let steps = parts.remove("steps").unwrap_or_default();
            (Value::Object(parts).to_string(), steps)
        }
        Ok(_) | Err(_) => (doc.to_owned(), Value::Null),
    }
}

fn read(doc: &str) -> Option<Record> {
    serde_json::from_str::<RecordDoc>(doc).ok().map(Record::from)
}

/// How far along a record is: what is over is further than what is under way, then the later, then by the letter.
fn further<'a>(record: &Record, doc: &'a str) -> (u8, Time, &'a str) {
    let (stage, at) = match record.what.decided().map(|decided| &decided.progress) {
        Some(Progress::Intended) => (1, Time::default()),
        Some(Progress::Accepted { .. }) => (2, Time::default()),
        Some(Progress::NothingToDo | Progress::DryRun { .. }) | None => (3, Time::default()),
        Some(Progress::Failed { at, .. } | Progress::Interrupted { at, .. }) => (3, *at),
        // Whoever saw it live saw more than who did not.
        Some(Progress::Succeeded { at, .. }) => (4, *at),
    };
    (stage, at, doc)
}

/// Of two of a release the one that judged more, then the one that ends later, then by its digest.
fn baseline(connection: &Connection, told: &Baseline) -> rusqlite::Result<bool> {
    let held = rows::baseline_of(connection, told.release.as_str())?.and_then(Result::ok);
    let is_more = held.is_none_or(|held| baseline_rank(told) > baseline_rank(&held));
    if is_more {
        rows::write_baseline(connection, told)?;
    }
    Ok(is_more)
}

fn baseline_rank(of: &Baseline) -> (i64, i64, [u8; 32]) {
    (column(of.judged), column(of.to.as_millis()), codec::baseline::digest_of(of))
}

/// A register: the last change stays; of two at once the pause, then by the letter.
fn pause(connection: &Connection, at: Time, doc: String) -> rusqlite::Result<Outcome> {
    let told = PauseRegister { at, doc }.dated();
    if !told.is_whole() {
        return Ok(Outcome::Unknown);
    }
    let held = rows::pause_register(connection)?;
    let is_later = held.is_none_or(|held| told.rank() > held.rank());
    if is_later {
        rows::put_pause(connection, &told)?;
    }
    Ok(Outcome::of(is_later))
}

/// A set that only grows: what anybody told was told. The earliest time stays.
fn told(connection: &Connection, doc: &str) -> rusqlite::Result<Outcome> {
    let Ok(told) = serde_json::from_str::<Vec<outbox::Told>>(doc) else { return Ok(Outcome::Unknown) };
    if told.len() > outbox::TOLD_EXPORTED {
        return Ok(Outcome::Damaged);
    }
    let mut changed = false;
    for of in &told {
        changed |= outbox::told(connection, of)?;
    }
    Ok(Outcome::of(changed))
}

impl Told {
    fn begin(&mut self, start: Box<WatchStart>, facts: u32) {
        self.items += 1;
        match &self.start {
            // The same watch, told of twice: the longer has the shorter's facts.
            Some((held, count)) => {
                self.is_torn |= *held != start;
                self.start = Some((start, facts.max(*count)));
            }
            None => self.start = Some((start, facts)),
        }
    }

    fn add(&mut self, facts: Vec<KeptFact>) {
        self.items += 1;
        for fact in facts {
            let is_other = self.facts.get(&fact.seq).is_some_and(|held| *held != fact);
            self.is_torn |= is_other;
            self.facts.insert(fact.seq, fact);
        }
    }

    /// The beginning and all facts, if they are there.
    fn whole(self) -> Option<(WatchStart, Vec<KeptFact>)> {
        let (start, count) = self.start.filter(|_| !self.is_torn)?;
        let is_whole = self.facts.len() == count as usize
            && count as usize <= FACTS_MAX
            && self.facts.keys().copied().eq(1..=count);
        is_whole.then(|| (*start, self.facts.into_values().collect()))
    }
}

/// Taken only where this agent watches another release by itself, or none. Of several of a release, the one that began last.
fn watch(connection: &Connection, start: &WatchStart, facts: &[KeptFact]) -> rusqlite::Result<Outcome> {
    if evidence::is_own(connection, start)? {
        return Ok(Outcome::Known);
    }
    if let Some(held) = evidence::inherited(connection, start.release.as_str())? {
        let rank = |start: &WatchStart, facts: &[KeptFact]| {
            (start.at, start.id.clone(), facts.len(), item::fingerprint(start, facts))
        };
        let is_later = match evidence::watch(connection, &held, FACTS_MAX + 1)? {
            Some(Ok(held)) if held.gap.is_none() => rank(start, facts) > rank(&held.start, &held.facts),
            Some(_) | None => true,
        };
        if !is_later {
            return Ok(Outcome::Known);
        }
        evidence::forget(connection, &held)?;
    }
    evidence::forget(connection, start.id.as_str())?;
    evidence::write_inherited(connection, start)?;
    facts.iter().try_for_each(|fact| evidence::write_fact_row(connection, fact))?;
    Ok(Outcome::Taken)
}
