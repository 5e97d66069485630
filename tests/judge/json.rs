//! `--json` and `docs/JUDGE_INPUT.md` say the same: the page's keys are those of the output, and its fields are accepted.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::place::Place;
use crate::recorded::{HEALTHY, Service};

const PAGE: &str = include_str!("../../docs/JUDGE_INPUT.md");

/// The names in the first column of the table that follows `after`.
fn documented(after: &str) -> BTreeSet<String> {
    let from = PAGE.find(after).unwrap_or_else(|| panic!("the page holds {after:?}"));
    let rows = PAGE[from..].lines().skip_while(|line| !line.starts_with('|'));
    let cells = rows.take_while(|line| line.starts_with('|')).skip(2).map(|line| line.split('|').nth(1));
    cells
        .flat_map(|cell| cell.expect("a row has cells").split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().expect("it is an object").keys().cloned().collect()
}

fn finite(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(f64::is_finite),
        Value::Array(items) => items.iter().all(finite),
        Value::Object(fields) => fields.values().all(finite),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[test]
fn the_keys_are_those_of_the_page() {
    let base = HEALTHY.recorded(1);
    let ill = Service { errors: |_, t| if t < 60 { 0.0 } else { 0.4 }, ticks: 60, ..HEALTHY }.recorded(2);
    let place = Place::with(&[("base", &base), ("new", &ill)]);
    let (ticks, summary) =
        place.judge(&["--baseline", "base", "--candidate", "new", "--control", "base", "--json"], "").json();
    let streams = documented("A stream is an object");
    for tick in &ticks {
        assert_eq!(keys(tick), documented("## What `--json` prints"));
        for stream in tick["streams"].as_object().expect("it is an object").values() {
            assert_eq!(keys(stream), streams);
        }
        assert!(finite(tick));
    }
    assert_eq!(keys(&summary), documented("Then one line more"));
    assert!(finite(&summary) && summary["rollback"] == Value::Bool(true), "{summary}");
    assert_eq!(ticks[0]["t"], 5, "a whole t stays whole");
    let known = ["healthy", "degraded", "undecided", "not_judgeable"];
    assert!(ticks.iter().all(|tick| known.contains(&tick["verdict"].as_str().expect("it is text"))));
}

#[test]
fn the_fields_of_the_page_are_accepted_and_there_are_no_others() {
    let place = Place::with(&[("new", r#"{"no":1}"#)]);
    let told = place.judge(&["--baseline", "new", "--candidate", "new"], "").err;
    let known =
        told.lines().next().and_then(|line| line.split_once("there are ")).expect("the fields are listed").1;
    let known: BTreeSet<String> = known.split(", ").map(str::to_owned).collect();
    assert_eq!(documented("A field that is not listed"), known);
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let place = Place::with(&[("base", &HEALTHY.recorded(1)), ("new", &HEALTHY.recorded(2))]);
    let run = || place.judge(&["--baseline", "base", "--candidate", "new", "--json"], "").out;
    assert_eq!(run(), run());
}
