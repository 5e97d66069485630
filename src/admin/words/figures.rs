//! Figures as people read them.

use std::time::Duration;

use crate::engine::verdict::Unit;

pub(super) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = match percent {
        p if p == 0.0 || p >= 10.0 => 0,
        p if p >= 1.0 => 1,
        p if p >= 0.01 => 2,
        _ => 4,
    };
    format!("{percent:.digits$} %")
}

pub(super) fn latency(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.2} s", us / 1e6)
    } else if us >= 1e4 {
        format!("{:.0} ms", us / 1e3)
    } else {
        format!("{:.1} ms", us / 1e3)
    }
}

fn bytes(n: f64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    match n {
        n if n >= 1024.0 * MIB => format!("{:.2} GiB", n / 1024.0 / MIB),
        n if n >= 100.0 * MIB => format!("{:.0} MiB", n / MIB),
        n => format!("{:.1} MiB", n / MIB),
    }
}

/// A stream's figure in its unit.
pub(super) fn figure(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => percent(value),
        Unit::Microseconds => latency(value),
        Unit::Millicores => format!("{:.2} CPU", value / 1000.0),
        Unit::Bytes => bytes(value),
        Unit::Count => thousands(value.round() as u64),
    }
}

/// How many times, with the digits that matter.
pub(super) fn times(ratio: f64) -> String {
    let digits = usize::from(ratio < 10.0);
    let text = format!("{ratio:.digits$}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

pub(super) fn duration(d: Duration) -> String {
    humantime::format_duration(Duration::from_secs(d.as_secs_f64().ceil() as u64)).to_string()
}

pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_in_their_units() {
        let told = [
            figure(Unit::Share, 0.00002),
            figure(Unit::Share, 0.021),
            figure(Unit::Microseconds, 812_000.0),
            figure(Unit::Millicores, 1_400.0),
            figure(Unit::Bytes, 536_870_912.0),
            figure(Unit::Count, 1_812.0),
            times(3.0),
            times(15.4),
            times(1.25),
        ];
        assert_eq!(told.join("|"), "0.0020 %|2.1 %|812 ms|1.40 CPU|512 MiB|1,812|3|15|1.2");
    }
}
