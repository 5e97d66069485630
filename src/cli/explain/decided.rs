//! A decision as text: what happened, against what it was weighed, why, how far it came, what to do next.

use serde_json::Value;

use crate::cli::explain::figures::{clean, length, millis, tag, text_or, time};
use crate::cli::explain::live::{how_to_read, in_list};
use crate::cli::explain::{steps, table, vote, words};

/// Reasons that explain why less was done than could have been.
const BRAKES: [&str; 22] = [
    "watch_has_passed",
    "mode_observe",
    "mode_recommend",
    "paused",
    "cooling_down",
    "no_target",
    "was_put_back",
    "several_replicas",
    "acted_before",
    "not_blamed",
    "holding",
    "hold_ended_old",
    "not_elected",
    "left_to_others",
    "platform_unread",
    "no_longer_live",
    "decided_elsewhere",
    "lease_over",
    "refused",
    "too_many_voters",
    "budget_spent",
    "schema_moved",
];

/// A decision for the history: what, and how far it came.
pub(super) fn in_short(record: &Value) -> String {
    let target = target(record);
    match (decision(record), progress(record)) {
        ("roll_back", "succeeded") => format!("rolled back to {target}"),
        ("roll_back", "dry_run") => format!("would have rolled back to {target} (dry run)"),
        ("roll_back", "failed") => format!("rollback to {target} FAILED: a person must act"),
        ("roll_back", "interrupted") => format!("rollback to {target} was INTERRUPTED: a person must act"),
        ("roll_back", "intended" | "accepted") => format!("rolling back to {target}, under way"),
        ("roll_back", other) => format!("decided to roll back to {target} ({})", other.replace('_', " ")),
        ("hold", _) if is_asked_for(record) => "a rollback was asked for, and nothing was done".to_owned(),
        ("hold", _) => {
            let why = names(record).find(|name| BRAKES.contains(name) || *name == "not_recorded");
            let why = why.map(|name| format!(" ({})", clean(name).replace('_', " "))).unwrap_or_default();
            format!("degraded, and nothing was done{why}")
        }
        (other, _) => format!("decided: {}", clean(other).replace('_', " ")),
    }
}

/// A decision in full, without the record's head.
pub(super) fn explain(record: &Value) -> String {
    let mut text = String::new();
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("{title}\n"));
            lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
            text.push('\n');
        }
    };
    section("What happened", happened(record));
    section(
        "What it was weighed against",
        match record.get("baseline") {
            None | Some(Value::Null) => {
                vec!["no baseline: only the rules that need none could tell".to_owned()]
            }
            Some(baseline) => table::wrapped(&words::baseline(baseline), 96),
        },
    );
    let whose = record.get("diagnosis").and_then(words::diagnosis);
    section("Who is to blame", whose.iter().flat_map(|told| table::wrapped(told, 96)).collect());
    section("By how much", by_how_much(record));
    section("What counts as bad", guards(record));
    let reasons = record.get("reasons").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    section("Why this decision", reasons.iter().flat_map(|reason| in_list(&words::reason(reason))).collect());
    let agreed = record.get("certificate").map(vote::agreed).unwrap_or_default();
    section("Who agreed", agreed.iter().flat_map(|line| table::wrapped(line, 96)).collect());
    section("What was done", done(record));
    section("What to do next", next(record).iter().flat_map(|line| table::wrapped(line, 96)).collect());
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn happened(record: &Value) -> Vec<String> {
    let verdict = record.get("verdict").unwrap_or(&Value::Null);
    let release = text_or(record, "release", "(unknown)");
    let mut first = if is_asked_for(record) && tag(record, "verdict") != Some("degraded") {
        format!("A person asked for a rollback of release {release}, which was {}", words::verdict(verdict))
    } else {
        format!("Release {release} {}", words::breach(verdict))
    };
    if verdict.get("since").is_some_and(Value::is_string) {
        first.push_str(&format!(", since {}", time(verdict.get("since"))));
    }
    let age = millis(record.get("at"))
        .zip(millis(record.get("ready_at")))
        .map(|(at, ready)| at.saturating_sub(ready));
    let age = age.map(|age| format!(", {} after the release became ready", length(age / 1_000)));
    let decision = match decision(record) {
        "roll_back" => format!("to roll back to {}", target(record)),
        "hold" => "to hold: nothing was done".to_owned(),
        other => format!("\"{}\"", clean(other)),
    };
    let at = time(record.get("at"));
    vec![first + ".", format!("Decided at {at}{}: {decision}.", age.unwrap_or_default())]
}

fn streams(record: &Value) -> Vec<&Value> {
    record.get("evidence").and_then(Value::as_array).into_iter().flatten().collect()
}

fn by_how_much(record: &Value) -> Vec<String> {
    let streams = streams(record);
    let mut lines = table::evidence(&streams, None);
    let breach = record.get("verdict").and_then(|verdict| verdict.get("breach")).and_then(Value::as_str);
    if !streams.is_empty() && breach.is_some_and(|breach| breach.starts_with("catastrophe")) {
        lines.push(
            "(The catastrophe rule decided. It looks at the last ticks only and does not wait for".to_owned(),
        );
        lines.push("this evidence.)".to_owned());
    } else {
        lines.extend(how_to_read(!streams.is_empty()));
    }
    lines.extend(streams.iter().filter(|stream| table::is_main(stream)).filter_map(|s| table::weighed(s)));
    lines
}

fn guards(record: &Value) -> Vec<String> {
    let policy = record.get("policy").unwrap_or(&Value::Null);
    let streams = streams(record);
    let main = streams.iter().filter(|stream| table::is_main(stream));
    main.filter_map(|stream| table::guard(stream, policy)).flat_map(|line| in_list(&line)).collect()
}

fn done(record: &Value) -> Vec<String> {
    let progress_value = record.get("progress").unwrap_or(&Value::Null);
    let target = target(record);
    let at = |text: &str| match progress_value.get("at") {
        None | Some(Value::Null) => text.to_owned(),
        at => format!("{text} at {}", time(at)),
    };
    let first = match progress(record) {
        "nothing_to_do" => "Nothing: the release was left in place.".to_owned(),
        "intended" => format!("The rollback to {target} was written down and was about to be ordered."),
        "accepted" => format!("The platform took the order; {target} had not been seen live yet."),
        "succeeded" => format!("{target} was put back; {}.", at("it was seen live")),
        "dry_run" => format!("Nothing: a dry run. {target} would have been put back."),
        "failed" => format!("The rollback to {target} failed; {}.", at("that was found")),
        "interrupted" => {
            let found = at("found");
            format!(
                "The agent ended before it knew what became of the order ({found}). It was not ordered again."
            )
        }
        other => format!("{} (not known to this version).", clean(other)),
    };
    let said = ["detail", "reason"].iter().find_map(|key| progress_value.get(key)?.as_str());
    let said =
        said.filter(|said| !said.trim().is_empty()).map(|said| format!("It was said: {}", clean(said)));
    let taken = steps::lines(record).into_iter().flat_map(|line| in_list(&line));
    std::iter::once(first).chain(said).chain(taken).collect()
}

fn next(record: &Value) -> Vec<String> {
    let target = target(record);
    let release = text_or(record, "release", "(unknown)");
    let line = match (decision(record), progress(record)) {
        (_, "succeeded") => format!(
            "Nothing at once. Find out what is wrong with {release} before it is deployed again; see `outrigger status` \
             for whether the service has recovered."
        ),
        (_, "intended" | "accepted") => {
            format!(
                "Wait: `outrigger status` says when {target} is live, and calls a person if it does not come."
            )
        }
        (_, "dry_run") => format!(
            "If the service is still ill, put {target} back by hand. To let the agent do it, configure [platform]."
        ),
        (_, "failed" | "interrupted") => format!(
            "Act now: look at what is live on the platform, and put {target} back by hand if {release} still is."
        ),
        _ => return held(record, &target),
    };
    vec![line]
}

/// What to do where nothing was done, by what stood in the way.
fn held(record: &Value, target: &str) -> Vec<String> {
    let by_hand = format!("If the service is still ill, put {target} back by hand.");
    let advice = |name: &str| match name {
        "mode_observe" | "mode_recommend" => {
            Some("To let the agent do it next time, set rollback.mode = \"enforce\".".to_owned())
        }
        "paused" => Some("To let the agent act again: `outrigger resume`.".to_owned()),
        "cooling_down" => Some("The agent looks again when its rest is over.".to_owned()),
        "no_target" => {
            Some("Nothing can be put back: repair the release and deploy it, going forward.".to_owned())
        }
        "was_put_back" => {
            Some("Look beside the code: a dependency, data or traffic may be what is ill.".to_owned())
        }
        "watch_has_passed" => {
            Some("The release was good for its whole watch: look first for what else has changed.".to_owned())
        }
        "acted_before" => {
            Some("The earlier rollback did not end it: see its record with `outrigger explain`.".to_owned())
        }
        "not_blamed" => Some("Look at what the diagnosis names, not at the release.".to_owned()),
        "holding" => Some("Wait for the end of the hold; look at the dependency meanwhile.".to_owned()),
        "hold_ended_old" => {
            Some("Look at the dependency first; the release was there before it failed.".to_owned())
        }
        "not_recorded" => Some("See that the data directory is writable and not full.".to_owned()),
        other => vote::advice(other).or_else(|| steps::advice(other)).map(str::to_owned),
    };
    let has_target = record.get("target").is_some_and(Value::is_string);
    let advised = names(record).filter_map(advice);
    has_target.then_some(by_hand).into_iter().chain(advised).collect()
}

fn decision(record: &Value) -> &str {
    record.get("decision").and_then(Value::as_str).unwrap_or("unknown")
}

fn progress(record: &Value) -> &str {
    tag(record, "progress").unwrap_or("unknown")
}

/// Whether a person asked for it.
fn is_asked_for(record: &Value) -> bool {
    names(record).any(|name| name == "asked_by")
}

fn names(record: &Value) -> impl Iterator<Item = &str> {
    let reasons = record.get("reasons").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    reasons.iter().filter_map(|reason| reason.as_str().or_else(|| reason.get("reason")?.as_str()))
}

fn target(record: &Value) -> String {
    text_or(record, "target", "the last good release")
}
