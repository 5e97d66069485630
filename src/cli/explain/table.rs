//! Evidence as a table that fits a terminal of a hundred columns.

use serde_json::Value;

use crate::cli::explain::figures::{clean, latency, number, percent, size, thousands, whole};
use crate::cli::explain::words::stream_name;

/// The longest name of a stream that is shown, in characters; a longer one is cut in its middle.
const NAME_MAX: usize = 36;
/// Beyond this a ratio says no more than "far more".
const TIMES_MAX: f64 = 1_000.0;
/// A stream that has come so far is shown also where only the main ones are.
const WORTH_A_LINE: f64 = 0.05;

/// The kind of a stream, such as `latency_p99`; of a status `status_404`, however it was written.
pub(super) fn kind(evidence: &Value) -> String {
    match evidence.get("stream") {
        Some(Value::String(name)) => clean(name),
        Some(Value::Object(fields)) => {
            let status = fields.get("status").and_then(Value::as_u64);
            status.map_or_else(|| "?".to_owned(), |status| format!("status_{status}"))
        }
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => "?".to_owned(),
    }
}

/// A figure of a stream in its unit.
pub(super) fn figure(kind: &str, value: f64) -> String {
    match kind {
        "cpu" => format!("{:.2} CPU", value / 1_000.0),
        "memory" => size(value),
        "descriptors" => thousands(value.max(0.0) as u64),
        name if is_latency(name) => latency(value),
        _ => percent(value),
    }
}

pub(super) fn is_latency(kind: &str) -> bool {
    kind.starts_with("latency") || matches!(kind, "route_p50" | "route_p95")
}

/// The level's share of what is needed; `None` where there is no such level.
fn level(evidence: &Value, key: &str) -> Option<f64> {
    let limit = number(evidence, &format!("{key}_limit")).filter(|limit| limit.is_finite())?;
    // JSON has no infinity: what is missing has not begun.
    let has = number(evidence, key).unwrap_or(0.0).max(0.0);
    Some((has / limit).clamp(0.0, 1.0))
}

/// How far a stream has come: the lesser of its levels.
pub(super) fn progress(evidence: &Value) -> f64 {
    let (requests, ticks) = (level(evidence, "ln_requests"), level(evidence, "ln_ticks"));
    [requests, ticks].into_iter().flatten().reduce(f64::min).unwrap_or(0.0)
}

/// Whether the stream is of all requests, or has come far enough to be told where only those are.
pub(super) fn is_main(evidence: &Value) -> bool {
    let kind = kind(evidence);
    kind == "errors" || kind.starts_with("latency") || progress(evidence) >= WORTH_A_LINE
}

/// The table, a line each; empty without evidence. `joint` is how far the latency streams have come together.
pub(super) fn evidence(streams: &[&Value], joint: Option<f64>) -> Vec<String> {
    if streams.is_empty() {
        return Vec::new();
    }
    let head = ["STREAM", "LAST MIN", "ALLOWED", "BASELINE", "TIMES", "REQUESTS", "TICKS"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(streams.iter().map(|stream| row(stream)));
    if let Some(joint) = joint {
        let none = String::new;
        let name = "all latency together".to_owned();
        rows.push([name, none(), none(), none(), none(), share(Some(joint)), none()]);
    }
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let mut line = format!("{:w$}", row[0], w = widths[0]);
        for (cell, w) in row.iter().zip(&widths).skip(1) {
            line.push_str(&format!("  {cell:>w$}"));
        }
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(evidence: &Value) -> [String; 7] {
    let kind = kind(evidence);
    let limit = number(evidence, "limit");
    let told = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| figure(&kind, value));
    // Of a route's latency only the share of requests beyond the limit may be known.
    let value = number(evidence, "recent_value").filter(|&value| !kind.starts_with("route_p") || value > 1.0);
    let now = match (value, number(evidence, "recent_share")) {
        (None, Some(share)) if is_latency(&kind) => format!("{} slow", percent(share)),
        (None, Some(share)) => percent(share),
        (value, _) => told(value),
    };
    let times = value.zip(limit).filter(|&(_, limit)| limit > 0.0).map(|(value, limit)| value / limit);
    let times = times.map_or_else(
        || "-".to_owned(),
        |times| if times < TIMES_MAX { format!("{times:.1}x") } else { "far more".to_owned() },
    );
    let (requests, ticks) = (level(evidence, "ln_requests"), level(evidence, "ln_ticks"));
    [
        name(evidence),
        now,
        told(limit),
        told(number(evidence, "baseline")),
        times,
        share(requests),
        share(ticks),
    ]
}

fn name(evidence: &Value) -> String {
    let route = evidence.get("route").and_then(Value::as_str).map(clean);
    let name = stream_name(&kind(evidence));
    let full = route.map_or_else(|| name.clone(), |route| format!("{name} of {route}"));
    let letters: Vec<char> = full.chars().collect();
    if letters.len() <= NAME_MAX {
        return full;
    }
    let (start, end) = (&letters[..NAME_MAX / 2], &letters[letters.len() - (NAME_MAX - NAME_MAX / 2 - 3)..]);
    start.iter().chain(&['.'; 3]).chain(end).collect()
}

fn share(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", (share * 100.0 + 1e-6).floor()))
}

/// How the guard band of a stream reads: what counts, by which ratio of which figure. `None` where it cannot be told.
pub(super) fn guard(evidence: &Value, policy: &Value) -> Option<String> {
    if let Some(told) = evidence.get("guard").and_then(Value::as_str) {
        return Some(format!("{}: {}", name(evidence), clean(told)));
    }
    let kind = kind(evidence);
    let (limit, own) = (number(evidence, "limit")?, number(evidence, "baseline")?);
    let told = |value: f64| figure(&kind, value);
    let (ratio, floor) = match kind.as_str() {
        name if is_latency(name) => (number(policy, "latency_ratio")?, 0.0),
        "errors" | "route_errors" => (number(policy, "error_ratio")?, number(policy, "error_floor")?),
        name if name.starts_with("status") => {
            (number(policy, "status_ratio")?, number(policy, "status_floor")?)
        }
        _ => return None,
    };
    // The limit is the larger of two: a multiple of the baseline's figure with its uncertainty, or that and a floor.
    let upper = (limit / ratio).min(limit - floor).max(0.0);
    let by = if upper * ratio >= upper + floor {
        format!("{ratio} times {}, the baseline's figure with its uncertainty", told(upper))
    } else {
        format!("{}, the baseline's figure with its uncertainty, and {} of room", told(upper), told(floor))
    };
    let what = if is_latency(&kind) { "slower than" } else { "more than" };
    Some(format!(
        "{}: {what} {} counts, which is {by}; the baseline's own figure is {}",
        name(evidence),
        told(limit),
        told(own)
    ))
}

/// How many of what was weighed were bad, for the main streams.
pub(super) fn weighed(evidence: &Value) -> Option<String> {
    let (bad, all) = (whole(evidence, "bad")?, whole(evidence, "requests")?);
    Some(format!(
        "{}: {} bad of {} weighed since judging began",
        name(evidence),
        thousands(bad),
        thousands(all)
    ))
}

/// Breaks a text into lines of at most `width` characters, between words.
pub(in crate::cli) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}
