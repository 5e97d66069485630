//! Logs go to stderr: readable on a terminal, else one JSON object a line.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::Log;

/// Sets up logging for this process.
pub(super) fn start(log: &Log) {
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
        let lines = fmt::layer().with_ansi(is_terminal).with_target(false);
        registry.with(lines.with_writer(std::io::stderr)).init();
    }
}
