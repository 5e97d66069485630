//! Figures, times and foreign text as people read them.

use serde_json::Value;

use crate::engine::time::Time;

/// The longest foreign text that is shown, in characters; the rest is cut with `...`.
const TEXT_MAX: usize = 2_000;

/// The text at `key`, cleaned; `default` when there is none.
pub(in crate::cli) fn text_or(value: &Value, key: &str, default: &str) -> String {
    value.get(key).and_then(Value::as_str).map_or_else(|| default.to_owned(), clean)
}

/// Without control characters: what a platform said must not move the cursor of a terminal.
pub(in crate::cli) fn clean(text: &str) -> String {
    let mut out: String =
        text.trim().chars().take(TEXT_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().count() > TEXT_MAX {
        out.push_str("...");
    }
    out
}

/// A number, also where it was written as text because JSON has no infinity.
pub(super) fn number(value: &Value, key: &str) -> Option<f64> {
    let found = value.get(key)?;
    found.as_f64().or_else(|| found.as_str()?.parse().ok())
}

/// A whole number.
pub(in crate::cli) fn whole(value: &Value, key: &str) -> Option<u64> {
    value.get(key)?.as_u64()
}

/// The name inside a tagged value (`{"verdict":"degraded", …}`), or the value itself where it is text.
pub(in crate::cli) fn tag<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    let found = value.get(key)?;
    found.as_str().or_else(|| found.get(key)?.as_str()).or_else(|| found.get("label")?.as_str())
}

/// A time to the second, with its date.
pub(in crate::cli) fn time(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => seconds(&clean(text)),
        Some(Value::Number(n)) => n.as_u64().map_or_else(unknown, |ms| Time::from_millis(ms).to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => unknown(),
    }
}

/// Milliseconds since the epoch of an RFC 3339 text.
pub(super) fn millis(value: Option<&Value>) -> Option<u64> {
    let at = humantime::parse_rfc3339(value?.as_str()?).ok()?;
    u64::try_from(at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?.as_millis()).ok()
}

fn seconds(text: &str) -> String {
    match text.split_once('.') {
        Some((to_seconds, rest)) if rest.ends_with('Z') => format!("{to_seconds}Z"),
        _ => text.to_owned(),
    }
}

fn unknown() -> String {
    "an unknown time".to_owned()
}

/// A length of time, at most two units: `4m 10s`.
pub(super) fn length(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A share as a percentage, with as many digits as its size asks for.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        p if p >= 99.95 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        p if p >= 0.01 || p == 0.0 => format!("{p:.2} %"),
        p => format!("{p:.4} %"),
    }
}

/// A latency.
pub(super) fn latency(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} us"),
        us if us < 10_000.0 => format!("{:.1} ms", us / 1_000.0),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

/// A count with its thousands set apart.
pub(super) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let first = digits.len() % 3;
    let mut out = digits[..first].to_owned();
    for group in digits.as_bytes()[first..].chunks(3) {
        if !out.is_empty() {
            out.push(',');
        }
        out.extend(group.iter().map(|&b| char::from(b)));
    }
    out
}

/// A size in memory.
pub(super) fn size(bytes: f64) -> String {
    let mib = bytes / 1_048_576.0;
    match mib {
        m if m >= 1_024.0 => format!("{:.2} GiB", m / 1_024.0),
        m if m >= 100.0 => format!("{m:.0} MiB"),
        m => format!("{m:.1} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!(
            [percent(0.0982), percent(0.001), percent(1.0), percent(0.00001)].join("|"),
            "9.8 %|0.10 %|100 %|0.0010 %"
        );
        assert_eq!(
            [latency(250.0), latency(1_540.0), latency(32_000.0), latency(2_500_000.0)].join("|"),
            "250 us|1.5 ms|32 ms|2.50 s"
        );
        assert_eq!(
            [thousands(0), thousands(999), thousands(1_000), thousands(1_234_567)].join("|"),
            "0|999|1,000|1,234,567"
        );
        assert_eq!(
            [length(9), length(250), length(3_700), length(90_000)].join("|"),
            "9s|4m 10s|1h 1m|1d 1h"
        );
    }

    #[test]
    fn foreign_text_cannot_move_the_cursor() {
        assert_eq!(clean("ok\x1b[2J\nbye"), "ok [2J bye");
        assert_eq!(clean(&"x".repeat(3_000)).chars().count(), TEXT_MAX + 3);
    }
}
