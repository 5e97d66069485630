//! Logs go to stderr: readable on a terminal, else one JSON object a line.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::Clock;
use crate::config::Log;

/// The time of day in UTC, to the second: whoever looks at a terminal knows the day.
struct TimeOfDay(Clock);

impl FormatTime for TimeOfDay {
    fn format_time(&self, into: &mut Writer<'_>) -> std::fmt::Result {
        let second = self.0.now().as_millis() / 1000 % 86_400;
        write!(into, "{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

/// Sets up logging for this process.
pub(super) fn start(log: &Log, clock: Clock, env: &[(OsString, OsString)]) {
    let is_terminal = std::io::stderr().is_terminal();
    let json = log.json.unwrap_or(!is_terminal);
    // The configuration checked that it parses.
    let filter: Targets =
        log.filter.parse().unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO));
    let registry = tracing_subscriber::registry().with(filter);
    if json {
        let lines = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
        registry.with(lines.with_target(false).with_writer(std::io::stderr)).init();
    } else {
        let lines = fmt::layer().with_timer(TimeOfDay(clock)).with_target(false);
        let lines = lines.with_ansi(is_terminal && shows_colours(env));
        registry.with(lines.with_writer(std::io::stderr)).init();
    }
}

/// By the convention of no-color.org: any text in `NO_COLOR` says no.
fn shows_colours(env: &[(OsString, OsString)]) -> bool {
    !env.iter()
        .any(|(name, value)| name == "NO_COLOR" && !value.is_empty() || name == "TERM" && value == "dumb")
}
