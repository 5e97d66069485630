//! The engine's names in plain words: verdicts, breaches, reasons, streams.

use serde_json::Value;

use crate::cli::explain::figures::{
    clean, latency, number, percent, power, tag, text_or, thousands, time, whole,
};

/// A verdict with its breach or its cause.
pub(super) fn verdict(value: &Value) -> String {
    let named = value.as_str().or_else(|| tag(value, "verdict")).or_else(|| tag(value, "label"));
    let name = named.map_or_else(|| "unknown".to_owned(), |name| clean(name).replace('_', " "));
    let detail = value.get("breach").or_else(|| value.get("because")).and_then(Value::as_str);
    detail.map_or_else(|| name.clone(), |detail| format!("{name} ({})", clean(detail).replace('_', " ")))
}

/// What was passed, as a sentence about the release.
pub(super) fn breach(verdict: &Value) -> String {
    let latency = match verdict.get("stream").and_then(Value::as_str) {
        Some(stream) => format!("answered more slowly than its baseline allows ({})", stream_name(stream)),
        None => "answered more slowly than its baseline allows".to_owned(),
    };
    match verdict.get("breach").and_then(Value::as_str) {
        Some("errors") => "failed more of its requests than its baseline allows".to_owned(),
        Some("latency") => latency,
        Some("catastrophe_errors") => "failed a large share of its requests, tick after tick".to_owned(),
        Some("catastrophe_latency") => "was many times slower than it may be, tick after tick".to_owned(),
        Some("catastrophe_hang") => "held requests open and finished none, tick after tick".to_owned(),
        Some("catastrophe_crashes") => "crashed again and again".to_owned(),
        Some(other) => format!("was found degraded ({})", clean(other)),
        None => "was found degraded".to_owned(),
    }
}

fn stream_name(stream: &str) -> String {
    match stream {
        "errors" => "errors".to_owned(),
        "latency_p50" => "median latency".to_owned(),
        "latency_p90" => "latency at 90 %".to_owned(),
        "latency_p99" => "latency at 99 %".to_owned(),
        other => clean(other),
    }
}

/// One stream against its limits.
pub(super) fn stream(evidence: &Value) -> String {
    let name = text_or(evidence, "stream", "?");
    let is_latency = name.starts_with("latency");
    let figure = |value: f64| if is_latency { latency(value) } else { percent(value) };
    let told = |key: &str| number(evidence, key).map_or_else(|| "unknown".to_owned(), figure);
    let mut line = format!("{}: ", stream_name(&name));
    let share = number(evidence, "recent_share").map(percent);
    match (number(evidence, "recent_value").map(figure), share) {
        (None, None) => line.push_str("no requests in the last minute"),
        (Some(value), Some(share)) if is_latency => {
            line.push_str(&format!("{value} in the last minute ({share} of requests over the limit)"));
        }
        (Some(value), _) | (None, Some(value)) => line.push_str(&format!("{value} in the last minute")),
    }
    if let (Some(bad), Some(requests)) = (whole(evidence, "bad"), whole(evidence, "requests")) {
        line.push_str(&format!(
            ", {} of {} requests since judging began",
            thousands(bad),
            thousands(requests)
        ));
    }
    line.push_str(&format!("; baseline {}, allowed {}", told("baseline"), told("limit")));
    line.push_str(&format!(
        "; evidence {} and {}",
        level(evidence, "ln_requests", "by request"),
        level(evidence, "ln_ticks", "by tick")
    ));
    line
}

fn level(evidence: &Value, key: &str, unit: &str) -> String {
    let has = number(evidence, key).map_or_else(|| "unknown".to_owned(), power);
    match number(evidence, &format!("{key}_limit")) {
        Some(limit) => format!("{has} {unit} against {} needed", power(limit)),
        None => format!("{has} {unit}"),
    }
}

/// A reason of a decision as a sentence, and what it kept from being done.
pub(super) fn reason(reason: &Value) -> String {
    let Some(name) = reason.as_str().or_else(|| reason.get("reason").and_then(Value::as_str)) else {
        return "a reason that this version cannot read".to_owned();
    };
    match name {
        "degraded" => "the release is degraded".to_owned(),
        "on_trial" => "it is still on trial: its watch is not over".to_owned(),
        "watch_has_passed" => {
            "its watch has passed, and rollback.after_watch does not let the agent act then".to_owned()
        }
        "mode_observe" => "the mode is observe: the agent judges and records, no more".to_owned(),
        "mode_recommend" => "the mode is recommend: a person acts, not the agent".to_owned(),
        "mode_enforce" => "the mode is enforce: the agent may act".to_owned(),
        "paused" => paused(reason),
        "cooling_down" => format!("the rest after the last act lasts until {}", time(reason.get("until"))),
        "no_target" => "no other release is known good, so there is nothing to put back".to_owned(),
        "last_known_good" => "the target is the last release that was known good".to_owned(),
        "was_put_back" => {
            "this release was itself put back by a rollback; such a one is never rolled back in turn"
                .to_owned()
        }
        "several_replicas" => {
            let count = whole(reason, "replicas").map_or_else(|| "several".to_owned(), thousands);
            format!("{count} replicas run, and one agent does not act for all without a vote")
        }
        "acted_before" => {
            let record = text_or(reason, "record", "an earlier record");
            format!("a rollback of this release was ordered before ({record}); there is one a release")
        }
        "not_recorded" => "the intent could not be written down, so nothing was done".to_owned(),
        other => format!("{} (not known to this version)", clean(other)),
    }
}

fn paused(reason: &Value) -> String {
    let pause = reason.get("pause").unwrap_or(reason);
    let until = match pause.get("until") {
        None | Some(Value::Null) => "until someone resumes it".to_owned(),
        until => format!("until {}", time(until)),
    };
    let (by, why) = (text_or(pause, "by", "someone"), text_or(pause, "reason", ""));
    let why = if why.is_empty() || why == "paused" { String::new() } else { format!(": {why}") };
    format!("{by} paused acting {until}{why}")
}

/// A baseline in one line.
pub(super) fn baseline(baseline: &Value) -> String {
    let mut line = format!("release {}", text_or(baseline, "release", "(unknown)"));
    if let Some(requests) = whole(baseline, "requests") {
        line.push_str(&format!(", {} requests", thousands(requests)));
    }
    if let Some(rate) = number(baseline, "error_rate") {
        line.push_str(&format!(", {} errors", percent(rate)));
    }
    for (key, name) in [("p50_us", "p50"), ("p90_us", "p90"), ("p99_us", "p99")] {
        if let Some(us) = number(baseline, key) {
            line.push_str(&format!(", {name} {}", latency(us)));
        }
    }
    if let (Some(Value::String(_)), Some(Value::String(_))) = (baseline.get("from"), baseline.get("to")) {
        line.push_str(&format!(" ({} to {})", time(baseline.get("from")), time(baseline.get("to"))));
    }
    line
}
