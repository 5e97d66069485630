//! Records and snapshots as text for someone who was asleep. Pure: JSON in, text out.
//!
//! The JSON comes from an agent that may be of another version, so nothing in it is relied on: what is missing is left
//! out or called unknown, and what is not known is shown by its name.

mod decided;
pub(super) mod figures;
mod live;
mod state;
pub(super) mod steps;
pub(super) mod table;
mod vote;
mod words;

#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::cli::explain::figures::{tag, text_or, thousands, time, whole};

pub use crate::cli::explain::live::now;
pub use crate::cli::explain::state::status;

/// One record, in full.
pub fn record(record: &Value) -> String {
    let id = text_or(record, "id", "(no id)");
    let release = text_or(record, "release", "(unknown)");
    let head = format!("Record {id}, {}, release {release}\n\n", time(record.get("at")));
    let body = if record.get("kind").and_then(Value::as_str) == Some("decided") {
        decided::explain(record)
    } else {
        let whose = record.get("whose").and_then(words::diagnosis);
        let whose = whose.map(|told| format!("To blame is {told}.\n")).unwrap_or_default();
        format!("{}.\n{whose}{}", capital(&happening(record)), afterwards(record))
    };
    head + &body
}

/// Many records, one a line, in the order given.
pub fn history(records: &[Value]) -> String {
    if records.is_empty() {
        return "Nothing has happened yet.\n".to_owned();
    }
    let head = ["TIME", "RECORD", "RELEASE", "WHAT"].map(str::to_owned);
    let row =
        |r: &Value| [time(r.get("at")), text_or(r, "id", "-"), text_or(r, "release", "-"), happening(r)];
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(records.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let line = |[at, id, release, what]: &[String; 4]| {
        let [a, b, c] = widths;
        format!("{at:a$}  {id:b$}  {release:c$}  {what}\n")
    };
    rows.iter().map(line).collect()
}

/// A decision in a few words.
pub(super) fn in_short(record: &Value) -> String {
    decided::in_short(record)
}

/// What happened, in a few words.
fn happening(record: &Value) -> String {
    match record.get("kind").and_then(Value::as_str) {
        Some("started") if record.get("known").and_then(Value::as_bool) == Some(true) => {
            "the agent started; it knew this release".to_owned()
        }
        Some("started") => "the agent started beside a release that was new to it".to_owned(),
        Some("ready") => "the app became ready".to_owned(),
        Some("exited") => exited(record),
        Some("verdict_changed") => {
            let named = |key: &str| record.get(key).map_or_else(|| "unknown".to_owned(), words::verdict);
            format!("the verdict went from {} to {}", named("from"), named("to"))
        }
        Some("watch_passed") => {
            let requests = whole(record, "requests").map(thousands);
            let over = requests.map(|n| format!(" over {n} requests")).unwrap_or_default();
            let by = match record.get("by").and_then(Value::as_str) {
                Some("proof") => ", by proof",
                Some("not_contradicted") => ", and nothing spoke against it",
                Some("time_cap") => ", by the time cap: there was too little traffic",
                Some(_) | None => "",
            };
            format!("the watch passed{over}{by}; the release is known good")
        }
        Some("diagnosed") => match record.get("whose").and_then(words::diagnosis_in_short) {
            Some(whose) => format!("the diagnosis is {whose}"),
            None => "the diagnosis is over: nothing is wrong any more".to_owned(),
        },
        Some("health_changed") => health_changed(record),
        Some("paused") => {
            let until = match record.get("until") {
                None | Some(Value::Null) => "until resumed".to_owned(),
                until => format!("until {}", time(until)),
            };
            let (by, why) = (text_or(record, "by", "someone"), text_or(record, "reason", "no reason given"));
            format!("{by} paused acting {until}: {why}")
        }
        Some("resumed") => format!("{} resumed acting", text_or(record, "by", "someone")),
        Some("decided") => decided::in_short(record),
        Some("locked") => steps::locked(record),
        Some("unlocked") => format!("{} unlocked deployments", text_or(record, "by", "someone")),
        Some("verified") => steps::verified(record),
        Some("readied") => steps::readied(record),
        Some(other) => format!("{} (not known to this version)", figures::clean(other)),
        None => "(not a record)".to_owned(),
    }
}

fn health_changed(record: &Value) -> String {
    let (from, to) = (text_or(record, "from", "unknown"), text_or(record, "to", "unknown"));
    let probe = text_or(record, "probe", "a dependency");
    let why = text_or(record, "why", "");
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    format!("the dependency {probe} went from {from} to {to}{why}")
}

fn exited(record: &Value) -> String {
    let number = |key: &str| record.get(key).and_then(Value::as_i64);
    match (number("code"), number("signal")) {
        (Some(0), _) => "the app ended by itself, exit code 0".to_owned(),
        (Some(code), _) => format!("the app crashed, exit code {code}"),
        (None, Some(signal)) => format!("the app was ended by signal {signal}"),
        (None, None) => "the app ended, it is not known how".to_owned(),
    }
}

/// What a record that is no decision means for the reader.
fn afterwards(record: &Value) -> &'static str {
    match record.get("kind").and_then(Value::as_str) {
        Some("verdict_changed") if record.get("to").is_some_and(|to| tag_of(to) == Some("degraded")) => {
            "What was decided about it is the next record; see `outrigger history`.\n"
        }
        Some("paused") => {
            "Until then decisions are recorded and nothing is done; `outrigger resume` ends it sooner.\n"
        }
        Some("locked") => {
            "`outrigger gate` and /api/gate say so to whoever deploys; `outrigger unlock` ends it. Nothing on the platform\n\
             is locked: a push to a branch that deploys by itself still deploys.\n"
        }
        Some("unlocked") => "Whoever asks `outrigger gate` may deploy again.\n",
        Some("verified") => match record.get("outcome").and_then(Value::as_str) {
            Some("recovered") => "Repair what was rolled back, then `outrigger unlock` and deploy it.\n",
            Some("no_change" | "worse") => {
                "Act now: look beside the code, at dependencies, data and traffic. It is not rolled back any further.\n"
            }
            _ => "Look at the figures yourself: `outrigger status`.\n",
        },
        Some("readied") if record.get("ready").and_then(Value::as_bool) == Some(false) => {
            "Lift what stands in the way before a rollback is needed; `outrigger doctor` says where.\n"
        }
        Some("diagnosed") => "A decision that rests on it is a record of its own; see `outrigger history`.\n",
        Some("exited") => "Crashes are counted; several within a short time are a verdict by themselves.\n",
        Some("watch_passed") => {
            "It is now a baseline for later releases, and what a rollback would put back.\n"
        }
        _ => "",
    }
}

fn tag_of(verdict: &Value) -> Option<&str> {
    verdict.as_str().or_else(|| tag(verdict, "verdict")).or_else(|| tag(verdict, "label"))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
