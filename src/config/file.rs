//! `outrigger.toml` as a layer: each value with its line. Knows TOML, knows no option; only that those of
//! probes stand one table deeper.

use std::io::Read as _;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use crate::config::environment::{PROBE, is_probe_name};
use crate::config::fault::Fault;
use crate::config::value::{Layer, Origin, Value};

/// The largest file that is read, in bytes; a larger one is a fault: it is not a configuration.
const LEN_MAX: u64 = 1024 * 1024;

const NO_TABLE: &str =
    "found outside of a probe's own table, as in `[probe.orders]` and below it `url_from = \"ORDERS_URL\"`";
const NO_NAME: &str =
    "is no name of a probe; give 1 to 32 of a to z, 0 to 9 and -, a letter first, as in [probe.orders-db]";

/// What a file held.
#[derive(Default)]
pub(super) struct File {
    /// Its options.
    pub(super) layer: Layer,
    /// Its sections and their lines.
    pub(super) sections: Vec<(String, Origin)>,
    /// The tables below `probe`, which have names of their own, and their lines.
    pub(super) tables: Vec<(String, Origin)>,
    /// It could not be read or parsed; the fault says why.
    pub(super) broken: bool,
}

/// Reads the file. One that is not required may be absent.
pub(super) fn read(path: &Path, required: bool, faults: &mut Vec<Fault>) -> File {
    let text = match text_of(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => return File::default(),
        Err(error) => {
            let remedy = "name a readable TOML file with --config or OUTRIGGER_CONFIG";
            faults.push(Fault::file(path, &format!("cannot be read: {error}; {remedy}")));
            return File { broken: true, ..File::default() };
        }
    };
    match DeTable::parse(&text) {
        Ok(table) => sections_of(path, &text, table.get_ref(), faults),
        Err(error) => {
            let (line, column) = position(&text, error.span().map_or(0, |span| span.start));
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            faults.push(Fault::in_file(path, line, column, &format!("not TOML: {message}")));
            File { broken: true, ..File::default() }
        }
    }
}

fn text_of(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind};
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LEN_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::new(ErrorKind::InvalidData, format!("it is not UTF-8 from byte {at} on"))
    })
}

fn sections_of(path: &Path, text: &str, table: &DeTable<'_>, faults: &mut Vec<Fault>) -> File {
    let origin = |at: usize| Origin::File { path: path.to_owned(), line: position(text, at).0 };
    let mut file = File::default();
    for (name, content) in table {
        let place = origin(name.span().start);
        let name = name.get_ref().as_ref();
        match content.get_ref() {
            DeValue::Table(tables) if name == PROBE => {
                for (name, content) in tables {
                    let place = origin(name.span().start);
                    let name = name.get_ref().as_ref();
                    let DeValue::Table(options) = content.get_ref() else {
                        faults.push(Fault::at(&place, format!("{PROBE}.{name}: {NO_TABLE}")));
                        continue;
                    };
                    if !is_probe_name(name) {
                        faults.push(Fault::at(&place, format!("[{PROBE}.{name:?}]: {NO_NAME}")));
                        continue;
                    }
                    for (key, value) in options {
                        let option = format!("{PROBE}.{name}.{}", key.get_ref());
                        file.layer.insert(option, (value_of(value), origin(key.span().start)));
                    }
                    file.tables.push((name.to_owned(), place));
                }
            }
            DeValue::Table(options) => {
                file.sections.push((name.to_owned(), place));
                for (key, value) in options {
                    let option = format!("{name}.{}", key.get_ref());
                    let place = origin(key.span().start);
                    file.layer.insert(option, (value_of(value), place));
                }
            }
            // Its value is not told: a stray line may hold anything, secrets too.
            DeValue::Array(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {
                let remedy =
                    "every option stands in a section, as in `[judge]` and below it `watch = \"15m\"`";
                faults.push(Fault::at(&place, format!("{name}: found outside of a section; {remedy}")));
            }
        }
    }
    file
}

fn value_of(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => integer(number).map_or(Value::Other("a huge number"), Value::Integer),
        DeValue::Float(number) => number.as_str().parse().map_or(Value::Other("a huge number"), Value::Float),
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Array(items) => Value::List(items.iter().map(value_of).collect()),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A list as it is written in TOML (and, but for rare escapes, in JSON).
pub(super) fn list(text: &str) -> Option<Value> {
    DeValue::parse(text).ok().map(|value| value_of(&value))
}

/// Line and column of a byte, from 1; columns are counted in characters.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at.min(text.len())).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
