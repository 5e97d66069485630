//! Logs go to stderr: readable on a terminal, else one JSON object a line.

use std::error::Error;
use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
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

/// One JSON object a line. Written here and not by the library's own format because that one prints an error without its
/// causes: "write to the store", and not that the disk is full.
struct JsonLine(Clock);

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut into: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.now().as_millis());
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), humantime::format_rfc3339_millis(at).to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.extend(fields.0.remove("message").map(|message| ("message".to_owned(), message)));
        line.extend(fields.0);
        writeln!(into, "{}", Value::Object(line))
    }
}

/// The longest text in a line, in characters; the rest is cut. Several fit into the 4,096 bytes that a pipe takes whole.
const TEXT_MAX: usize = 1_000;

/// An event's fields as JSON.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn put_text(&mut self, field: &Field, text: &str) {
        let end = text.char_indices().nth(TEXT_MAX).map_or(text.len(), |(i, _)| i);
        self.put(field, &text[..end]);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put_text(field, &format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(next) = cause {
            text = format!("{text}: {next}");
            cause = next.source();
        }
        self.put_text(field, &text);
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
        let lines = fmt::layer().event_format(JsonLine(clock));
        registry.with(lines.with_writer(std::io::stderr)).init();
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("write to the store")]
    struct Failed(#[source] std::io::Error);

    #[test]
    fn a_line_is_json_and_an_error_comes_with_its_causes() {
        let page = Page::default();
        let writer = page.clone();
        let lines = fmt::layer().event_format(JsonLine(Clock::start())).with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            let error = Failed(std::io::Error::other("disk \"full\""));
            tracing::error!(error = &error as &dyn Error, count = 3, "a write to the store failed");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "a write to the store failed");
        assert_eq!(line["error"], "write to the store: disk \"full\"");
        assert_eq!((&line["count"], &line["level"]), (&Value::from(3), &Value::from("ERROR")));
    }
}
