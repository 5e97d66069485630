//! The figures of a decision as people read them.

use std::time::Duration;

use crate::engine::alert::{FIGURES_MAX, Figure};
use crate::engine::record::Decided;
use crate::engine::verdict::{Arm, Breach, StreamEvidence, StreamName, Unit};

/// The breach's own figure first, then others that are beyond their limits.
pub(super) fn of(decided: &Decided) -> Vec<Figure> {
    let breach = decided.verdict.breach().and_then(stream);
    let is_breach = |of: &&StreamEvidence| {
        breach
            .as_ref()
            .is_some_and(|(name, route)| of.name == *name && of.route.as_deref() == route.as_deref())
    };
    let is_beyond = |of: &&StreamEvidence| recent(of).is_some_and(|recent| recent > of.limit);
    let first = decided.evidence.iter().filter(is_breach);
    let others = decided.evidence.iter().filter(|of| !is_breach(of)).filter(is_beyond);
    first.chain(others).take(FIGURES_MAX).map(figure).collect()
}

/// Which stream's figures a breach is about.
fn stream(breach: &Breach) -> Option<(StreamName, Option<&str>)> {
    match breach {
        Breach::Errors | Breach::Catastrophe(Arm::Errors) => Some((StreamName::Errors, None)),
        Breach::Latency(stream) | Breach::Resource(stream) => Some((*stream, None)),
        Breach::Route { stream, route } => Some((*stream, Some(route))),
        Breach::Status(status) => Some((StreamName::Status(*status), None)),
        Breach::Crashes | Breach::Catastrophe(Arm::Crashes) => Some((StreamName::Crashes, None)),
        Breach::Catastrophe(Arm::Latency) => Some((StreamName::LatencyP50, None)),
        Breach::Catastrophe(Arm::Hang) => None,
    }
}

fn figure(of: &StreamEvidence) -> Figure {
    let unit = of.name.unit();
    Figure {
        what: what(of),
        stream: of.label(),
        baseline: value(of.baseline, unit),
        limit: value(of.limit, unit),
        recent: recent(of).map(|recent| value(recent, unit)),
    }
}

/// In the stream's own unit.
fn recent(of: &StreamEvidence) -> Option<f64> {
    match of.name.unit() {
        Unit::Share => of.recent_share.or(of.recent_value),
        Unit::Microseconds | Unit::Millicores | Unit::Bytes | Unit::Count => of.recent_value,
    }
}

fn what(of: &StreamEvidence) -> String {
    let name = match of.name {
        StreamName::Errors | StreamName::RouteErrors => "failed requests".to_owned(),
        StreamName::LatencyP50 | StreamName::RouteP50 => "median latency".to_owned(),
        StreamName::LatencyP90 => "latency, 90th percentile".to_owned(),
        StreamName::LatencyP95 | StreamName::RouteP95 => "latency, 95th percentile".to_owned(),
        StreamName::LatencyP99 => "latency, 99th percentile".to_owned(),
        StreamName::Status(status) => format!("answers with status {status}"),
        StreamName::Crashes => "stretches of 5 s with a crash".to_owned(),
        StreamName::Cpu => "processor time".to_owned(),
        StreamName::Memory => "memory".to_owned(),
        StreamName::Descriptors => "open file descriptors".to_owned(),
    };
    of.route.as_ref().map_or_else(|| name.clone(), |route| format!("{name} of {route}"))
}

fn value(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => percent(value),
        Unit::Microseconds => latency(value),
        Unit::Millicores => format!("{:.2} processors", value / 1e3),
        Unit::Bytes => size(value),
        Unit::Count => format!("{value:.0}"),
    }
}

/// With as many digits as its size asks for.
fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p >= 99.95 => format!("{p:.0} %"),
        p if p >= 1.0 => format!("{p:.1} %"),
        p if p >= 0.01 || p == 0.0 => format!("{p:.2} %"),
        p => format!("{p:.4} %"),
    }
}

fn latency(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e4 => format!("{:.1} ms", us / 1e3),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.2} s", us / 1e6),
    }
}

fn size(bytes: f64) -> String {
    match bytes / 1_048_576.0 {
        m if m >= 1024.0 => format!("{:.2} GiB", m / 1024.0),
        m if m >= 100.0 => format!("{m:.0} MiB"),
        m => format!("{m:.1} MiB"),
    }
}

/// A length of time to the second, at most two units.
pub(super) fn lasting(time: Duration) -> String {
    let s = time.as_secs();
    match (s / 86_400, s / 3600 % 24, s / 60 % 60) {
        (0, 0, 0) => format!("{s} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", s % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}
