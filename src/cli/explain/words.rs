//! The engine's names in plain words: verdicts, breaches, reasons, streams.

use serde_json::Value;

use crate::cli::explain::figures::{clean, latency, number, percent, tag, text_or, thousands, time, whole};
use crate::cli::explain::{steps, vote};

/// A verdict with its breach or its cause.
pub(super) fn verdict(value: &Value) -> String {
    let named = value.as_str().or_else(|| tag(value, "verdict")).or_else(|| tag(value, "label"));
    let name = named.map_or_else(|| "unknown".to_owned(), |name| clean(name).replace('_', " "));
    let detail = value.get("breach").or_else(|| value.get("because")).and_then(Value::as_str);
    let detail = match (detail, whole(value, "status"), value.get("stream").and_then(Value::as_str)) {
        (Some("status"), Some(status), _) => Some(format!("status {status}")),
        (Some("resource"), _, Some(stream)) => Some(clean(stream)),
        (detail, ..) => detail.map(|detail| clean(detail).replace('_', " ")),
    };
    detail.map_or_else(|| name.clone(), |detail| format!("{name} ({detail})"))
}

/// What was passed, as a sentence about the release.
pub(super) fn breach(verdict: &Value) -> String {
    let stream = verdict.get("stream").and_then(Value::as_str);
    let on = match verdict.get("route").and_then(Value::as_str) {
        Some(route) => format!("on {}", clean(route)),
        None => "on one route".to_owned(),
    };
    let latency = match stream {
        Some(stream) => format!("answered more slowly than its baseline allows ({})", stream_name(stream)),
        None => "answered more slowly than its baseline allows".to_owned(),
    };
    match verdict.get("breach").and_then(Value::as_str) {
        Some("errors") => "failed more of its requests than its baseline allows".to_owned(),
        Some("latency") => latency,
        Some("route_errors") => format!("failed more of its requests {on} than its baseline allows"),
        Some("route_latency") => format!("answered more slowly {on} than its baseline allows"),
        Some("status") => {
            let status =
                whole(verdict, "status").map_or_else(|| "a 4xx status".to_owned(), |s| s.to_string());
            format!("answered {status} more often than its baseline allows")
        }
        Some("crashes") => "crashed far more often than its baseline did".to_owned(),
        Some("resource") => {
            format!(
                "used more than its baseline allows ({})",
                stream.map_or("a resource".to_owned(), stream_name)
            )
        }
        Some("catastrophe_errors") => "failed a large share of its requests, tick after tick".to_owned(),
        Some("catastrophe_latency") => "was many times slower than it may be, tick after tick".to_owned(),
        Some("catastrophe_hang") => "held requests open and finished none, tick after tick".to_owned(),
        Some("catastrophe_crashes") => "crashed again and again".to_owned(),
        Some(other) => format!("was found degraded ({})", clean(other)),
        None => "was found degraded".to_owned(),
    }
}

/// What a stream is called.
pub(super) fn stream_name(stream: &str) -> String {
    match stream {
        "errors" => "errors".to_owned(),
        "latency_p50" => "median latency".to_owned(),
        "latency_p90" => "latency at 90 %".to_owned(),
        "latency_p95" => "latency at 95 %".to_owned(),
        "latency_p99" => "latency at 99 %".to_owned(),
        "route_errors" => "errors".to_owned(),
        "route_p50" => "median".to_owned(),
        "route_p95" => "95 %".to_owned(),
        "cpu" => "processor time".to_owned(),
        "descriptors" => "file descriptors".to_owned(),
        other => match other.strip_prefix("status_") {
            Some(status) => format!("answers {}", clean(status)),
            None => clean(other),
        },
    }
}

/// A diagnosis and why it says so. `value` is a record's, or a snapshot's.
pub(super) fn diagnosis(value: &Value) -> Option<String> {
    if let Some(told) = value.get("why").and_then(Value::as_str) {
        return Some(clean(told));
    }
    let named = tag(value, "diagnosis").or_else(|| tag(value, "label"))?;
    let probe = text_or(value, "probe", "a dependency");
    Some(match named {
        "deployment" => match value.get("ground").and_then(Value::as_str) {
            Some("control_is_well") => {
                "the release: the stable release beside it, under the same traffic, was well".to_owned()
            }
            Some("overloads") => {
                format!("the release: {probe} got worse, too, but the release asked far more of it than the baseline did")
            }
            _ => "the release: it was worse as a whole, and nothing else was".to_owned(),
        },
        "replica" => format!(
            "replica {}: without it the release was no worse than allowed",
            text_or(value, "replica", "(unknown)")
        ),
        "dependency" => {
            let ended = value.get("hold_ended").and_then(Value::as_bool) == Some(true);
            let hold = if ended { "the hold ended" } else { "the release was not blamed until the hold would end" };
            format!("{probe}: it was worse since {}, too; {hold} at {}", time(value.get("since")), time(value.get("until")))
        }
        "shared" if value.get("by_the_release").and_then(Value::as_bool) == Some(true) => {
            "what is shared: the stable release beside it got worse, too, after this one started; it may have broken \
             what both share"
                .to_owned()
        }
        "shared" => "what is shared: the stable release beside it suffered as well".to_owned(),
        "network" => "the network or the platform: all dependencies got worse at once".to_owned(),
        "observer" => "the agent itself: it was stalled, so what it saw is doubtful".to_owned(),
        other => format!("{} (not known to this version)", clean(other)),
    })
}

/// A diagnosis for the history: its name, and what it names.
pub(super) fn diagnosis_in_short(value: &Value) -> Option<String> {
    let name = tag(value, "diagnosis").or_else(|| tag(value, "label"))?;
    let of = ["probe", "replica"].iter().find_map(|key| value.get(key)?.as_str());
    let of = of.map(|of| format!(" ({})", clean(of))).unwrap_or_default();
    Some(format!("{}{of}", clean(name)))
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
        "blamed" => "the release is to blame, so putting the former one back helps".to_owned(),
        "not_blamed" => {
            "something else is to blame, so putting the former release back would not help".to_owned()
        }
        "holding" => {
            format!("a dependency is worse, too: the release is not blamed until {}", time(reason.get("until")))
        }
        "hold_ended_young" => {
            "a dependency is worse, too, but the hold is over and the release is young: putting it back is the smaller harm"
                .to_owned()
        }
        "hold_ended_old" => {
            "a dependency is worse, too, and the release is not young: a person decides".to_owned()
        }
        "not_recorded" => "the intent could not be written down, so nothing was done".to_owned(),
        other => vote::reason(other, reason)
            .or_else(|| steps::reason(other, reason))
            .unwrap_or_else(|| format!("{} (not known to this version)", clean(other))),
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
    for (key, name) in [("p50_us", "p50"), ("p90_us", "p90"), ("p95_us", "p95"), ("p99_us", "p99")] {
        if let Some(us) = number(baseline, key) {
            line.push_str(&format!(", {name} {}", latency(us)));
        }
    }
    if let (Some(Value::String(_)), Some(Value::String(_))) = (baseline.get("from"), baseline.get("to")) {
        line.push_str(&format!(" ({} to {})", time(baseline.get("from")), time(baseline.get("to"))));
    }
    line
}
