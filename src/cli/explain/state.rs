//! The agent's snapshot as text.

use serde_json::Value;

use crate::cli::explain::figures::{clean, length, number, tag, text_or, thousands, time, whole};
use crate::cli::explain::{live, steps, table, words};

/// What is so now.
pub fn status(snapshot: &Value) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: String| {
        if !what.is_empty() {
            text.push_str(&format!("{name:<11}{what}\n"));
        }
    };
    line("service", service(snapshot));
    line("release", release(snapshot));
    line("app", app(snapshot));
    line("verdict", verdict(snapshot));
    line("whose", live::whose(snapshot, 87).join("\n           "));
    line("score", number(snapshot, "score").map(|score| format!("{score:.2}")).unwrap_or_default());
    line("watch", snapshot.get("watch").map(watch).unwrap_or_default());
    line("mode", mode(snapshot));
    line("lock", snapshot.get("lock").filter(|lock| lock.is_object()).map(steps::locked).unwrap_or_default());
    let readiness = snapshot.get("readiness").filter(|readiness| readiness.is_object());
    line("rollback", readiness.map(steps::readied).unwrap_or_default());
    line("next", snapshot.get("verdict").map(|v| text_or(v, "next", "")).unwrap_or_default());
    line("target", text_or(snapshot, "target", "none: no other release is known good"));
    let baseline = snapshot.get("baseline").filter(|baseline| baseline.is_object());
    line("baseline", baseline.map_or_else(|| "none".to_owned(), words::baseline));
    let outlook = snapshot.get("outlook").map(|outlook| text_or(outlook, "says", "")).unwrap_or_default();
    line("outlook", table::wrapped(&outlook, 87).join("\n           "));
    if let Some(decision) = snapshot.get("last_decision").filter(|decision| decision.is_object()) {
        line("decision", last_decision(decision));
    }
    for warning in snapshot.get("warnings").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        line("warning", warning.as_str().map(clean).unwrap_or_default());
    }
    text + &evidence(snapshot)
}

/// The streams of all requests, and those that have come far.
fn evidence(snapshot: &Value) -> String {
    let streams = snapshot.get("evidence").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let main: Vec<&Value> = streams.iter().filter(|stream| table::is_main(stream)).collect();
    let rows = table::evidence(&main, number(snapshot, "latency_progress"));
    if rows.is_empty() {
        return String::new();
    }
    let left = streams.len() - main.len();
    let more = if left > 0 { format!(" (and {left} more)") } else { String::new() };
    let rows: String = rows.iter().map(|row| format!("  {row}\n")).collect();
    format!("\nevidence; `outrigger explain` says what it means{more}\n{rows}")
}

fn service(snapshot: &Value) -> String {
    let Some(service) = snapshot.get("service").filter(|service| service.is_object()) else {
        return String::new();
    };
    let (name, environment) = (text_or(service, "name", "?"), text_or(service, "environment", "?"));
    let up = whole(snapshot, "uptime_seconds").map(|seconds| format!(", agent up {}", length(seconds)));
    format!("{name} in {environment}, replica {}{}", text_or(service, "replica", "?"), up.unwrap_or_default())
}

fn release(snapshot: &Value) -> String {
    let standing = text_or(snapshot, "standing", "unknown standing").replace('_', " ");
    format!("{} ({standing})", text_or(snapshot, "release", "(unknown)"))
}

fn app(snapshot: &Value) -> String {
    let Some(app) = snapshot.get("app").filter(|app| app.is_object()) else { return String::new() };
    // Only a watcher stands before nothing.
    if app.get("upstream").and_then(Value::as_str) == Some("") {
        return "none: this is a watcher".to_owned();
    }
    let mut text = format!("{} at {}", text_or(app, "phase", "unknown"), text_or(app, "upstream", "?"));
    if let Some(restarts) = whole(app, "restarts").filter(|&restarts| restarts > 0) {
        text.push_str(&format!(", restarted {restarts} times"));
    }
    let detail = text_or(app, "detail", "");
    if detail.is_empty() { text } else { format!("{text}: {detail}") }
}

fn verdict(snapshot: &Value) -> String {
    let Some(verdict) = snapshot.get("verdict") else { return "unknown".to_owned() };
    let since = verdict.get("since").filter(|since| since.is_string());
    let since = since.map(|since| format!(" since {}", time(Some(since)))).unwrap_or_default();
    let why = text_or(verdict, "why", "");
    let why = if why.is_empty() { String::new() } else { format!(". {why}") };
    format!("{}{since}{why}", words::verdict(verdict))
}

fn watch(watch: &Value) -> String {
    if !watch.is_object() {
        return "not begun: the app has not become ready".to_owned();
    }
    let requests = whole(watch, "judged_requests").map(|n| format!(", {} requests judged", thousands(n)));
    let judged =
        number(watch, "judged_seconds").map(|seconds| format!(", judged for {}", length(seconds as u64)));
    let end = if watch.get("passed").and_then(Value::as_bool) == Some(true) {
        "passed".to_owned()
    } else {
        format!("ends {}", time(watch.get("ends_at")))
    };
    format!("{end}{}{}", judged.unwrap_or_default(), requests.unwrap_or_default())
}

fn mode(snapshot: &Value) -> String {
    let mut text = text_or(snapshot, "mode", "unknown");
    if let Some(platform) = snapshot.get("platform").and_then(Value::as_str) {
        text.push_str(&format!(", platform {}", clean(platform).replace('_', "-")));
    }
    if let Some(pause) = snapshot.get("pause").filter(|pause| pause.is_object()) {
        let until = match pause.get("until") {
            None | Some(Value::Null) => "until resumed".to_owned(),
            until => format!("until {}", time(until)),
        };
        let (by, why) = (text_or(pause, "by", "someone"), text_or(pause, "reason", "no reason given"));
        text.push_str(&format!("; PAUSED by {by} {until}: {why}"));
    }
    if snapshot.get("cooldown_until").is_some_and(Value::is_string) {
        text.push_str(&format!("; cooling down until {}", time(snapshot.get("cooldown_until"))));
    }
    text
}

fn last_decision(decision: &Value) -> String {
    let what = text_or(decision, "decision", "unknown").replace('_', " ");
    let progress = tag(decision, "progress").unwrap_or("unknown").replace('_', " ");
    let target = decision.get("target").and_then(Value::as_str).map(|t| format!(" to {}", clean(t)));
    let (id, at) = (text_or(decision, "id", "?"), time(decision.get("at")));
    let target = target.unwrap_or_default();
    format!("{at} {what}{target}: {}; `outrigger explain {id}` says why", clean(&progress))
}
