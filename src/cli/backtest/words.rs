//! Verdicts, lengths of time and figures in a few characters, for tables.

use std::time::Duration;

use crate::engine::verdict::{NotJudgeable, StreamName, Undecided, Unit, Verdict};

/// A verdict with its ground: `degraded: latency`.
pub(in crate::cli) fn verdict_text(verdict: &Verdict) -> String {
    let ground = match verdict {
        Verdict::Healthy => return "healthy".to_owned(),
        Verdict::Degraded { breach, .. } => breach.label(),
        Verdict::Undecided(why) => match why {
            Undecided::Starting => "starting",
            Undecided::WarmingUp { .. } => "warming up",
            Undecided::NoTraffic => "no traffic",
            Undecided::Gathering => "gathering",
            Undecided::Shared => "shared",
        },
        Verdict::NotJudgeable(why) => match why {
            NotJudgeable::SwitchedOff => "switched off",
            NotJudgeable::NoBaseline => "no baseline",
            NotJudgeable::BaselineTooSmall { .. } => "baseline too small",
        },
    };
    format!("{}: {ground}", verdict.label().replace('_', " "))
}

/// A length of time to the second.
pub(in crate::cli) fn age(length: Duration) -> String {
    let s = length.as_secs();
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s:02}s"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}

/// A stream's figure in its unit.
pub(in crate::cli) fn figure(name: StreamName, figure: f64) -> String {
    match name.unit() {
        Unit::Share => format!("{:.2} %", figure * 100.0),
        Unit::Microseconds => format!("{:.1} ms", figure / 1000.0),
        Unit::Millicores => format!("{:.2} cores", figure / 1000.0),
        Unit::Bytes => format!("{:.1} MiB", figure / 1_048_576.0),
        Unit::Count => format!("{figure:.0}"),
    }
}

/// At most so many characters, of names that are visible ASCII.
pub(in crate::cli) fn cut(text: &str, most: usize) -> &str {
    text.get(..most).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_fit_into_a_table() {
        let undecided = Verdict::Undecided(Undecided::NoTraffic);
        assert_eq!(verdict_text(&undecided), "undecided: no traffic");
        assert_eq!(
            verdict_text(&Verdict::NotJudgeable(NotJudgeable::NoBaseline)),
            "not judgeable: no baseline"
        );
        assert_eq!([9, 69, 3700].map(|s| age(Duration::from_secs(s))).join("|"), "9s|1m 09s|1h 01m");
        assert_eq!(figure(StreamName::Errors, 0.0123), "1.23 %");
        assert_eq!(figure(StreamName::LatencyP50, 8_040.0), "8.0 ms");
        assert_eq!((cut("abcdef", 3), cut("ab", 3)), ("abc", "ab"));
    }
}
