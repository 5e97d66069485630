//! Figures of a judgement as people read them, and as JSON holds them.

use serde_json::{Number, Value};

use crate::engine::verdict::{StreamEvidence, StreamName, Unit};

/// A number of seconds: whole where it is.
pub(super) fn seconds(t: f64) -> Value {
    if t.fract() == 0.0 { Value::from(t as u64) } else { figure(t) }
}

/// A figure to six digits, the same text everywhere; one that is not finite is `null`, for JSON has no infinity.
pub(super) fn figure(figure: f64) -> Value {
    if figure.fract() == 0.0 && figure.abs() < 1e15 {
        return Value::from(figure as i64);
    }
    let rounded = format!("{figure:.5e}").parse().ok().and_then(Number::from_f64);
    rounded.map_or(Value::Null, Value::Number)
}

/// A stream's own name, with its route: `route_errors GET /x`.
pub(super) fn stream_key(stream: &StreamEvidence) -> String {
    match &stream.route {
        Some(route) => format!("{} {route}", stream.name.label()),
        None => stream.name.label().to_owned(),
    }
}

/// A stream's figure in its unit.
pub(super) fn in_unit(name: StreamName, figure: f64) -> String {
    match name.unit() {
        Unit::Share => percent(figure),
        Unit::Microseconds => latency(figure),
        Unit::Millicores => format!("{:.2} cores", figure / 1000.0),
        Unit::Bytes => format!("{:.1} MiB", figure / 1_048_576.0),
        Unit::Count => format!("{figure:.0}"),
    }
}

/// A share as a percentage.
pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 || percent == 0.0 { format!("{percent:.0} %") } else { format!("{percent:.2} %") }
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

/// A time since the candidate became ready, as people write it: `4m 10s`.
pub(super) fn age(t: f64) -> String {
    let whole = t as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if t.fract() == 0.0 => format!("{whole}s"),
        (0, 0, 0) => format!("{t}s"),
        (0, 0, _) => format!("{minutes}m {:02}s", whole % 60),
        (0, ..) => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_short_and_finite_or_nothing() {
        let texts =
            [1.0, 0.1 + 0.2, f64::NAN, f64::INFINITY, -1234.5678, 1e-9].map(|f| figure(f).to_string());
        assert_eq!(texts, ["1", "0.3", "null", "null", "-1234.57", "1e-9"]);
        assert_eq!([seconds(5.0), seconds(2.5)].map(|t| t.to_string()), ["5", "2.5"]);
    }

    #[test]
    fn figures_read_as_people_write_them() {
        assert_eq!([percent(0.0), percent(0.0012), percent(0.5)].join("|"), "0 %|0.12 %|50 %");
        assert_eq!(
            [age(5.0), age(2.5), age(65.0), age(3_700.0), age(90_000.0)].join("|"),
            "5s|2.5s|1m 05s|1h 01m|1d 01h"
        );
        assert_eq!(in_unit(StreamName::Memory, 1_048_576.0), "1.0 MiB");
    }
}
