//! Which probes run: those that sections ask for, and those that the environment's variables name.
//!
//! Owns how the two are put together, and the limits on all of them. What a URL means it does not know.

mod discovery;
mod kinds;
mod section;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::dependencies::discovery::Discovered;
use crate::config::environment::{PROBE, user_name};
use crate::config::probes::{LeftOut, Probe, Probes};
use crate::config::reader::Reader;
use crate::config::units;
use crate::config::value::{Origin, Value};
use crate::engine::tick::PROBES_MAX;

/// How often a probe asks, and how long it waits, unless options say otherwise.
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
/// So many bad rounds in a row make a state worse, and so many good ones better, unless options say otherwise.
const FAILURE_THRESHOLD: u32 = 3;
const SUCCESS_THRESHOLD: u32 = 2;

/// The options of `[probes]`: for all that do not say otherwise themselves.
struct Common {
    interval: Duration,
    timeout: Duration,
    failure_threshold: u32,
    success_threshold: u32,
    ca_file: Option<PathBuf>,
}

/// What there is besides options.
struct Surroundings<'a> {
    env: &'a [(OsString, OsString)],
    /// Whom databases take for the user when a URL names none.
    user: Option<String>,
    discovered: Discovered,
}

/// Reads all options of probes; adds what will hurt to `warnings`. With a file that was not understood (`broken`), only what
/// holds for all is read: sections would be called incomplete that are not.
pub(super) fn read(
    reader: &mut Reader,
    env: &[(OsString, OsString)],
    broken: bool,
    warnings: &mut Vec<String>,
) -> Probes {
    let discover = reader.truth("probes.discover", true);
    let common = common(reader);
    let names = names(reader);
    if broken {
        for key in reader.below(&format!("{PROBE}.")).into_keys() {
            reader.claim(&format!("{PROBE}.{key}"));
        }
        return Probes::default();
    }
    let user = user_name(env);
    let mut discovered =
        if discover { discovery::discover(env, user.as_deref()) } else { Discovered::default() };
    warnings.append(&mut discovered.warnings);
    reader.add_presets(std::mem::take(&mut discovered.layer));
    let mut probes = Probes { list: Vec::new(), left_out: std::mem::take(&mut discovered.left_out) };
    let all: BTreeMap<String, Option<Origin>> = discovered
        .kinds
        .iter()
        .map(|kind| ((*kind).to_owned(), None))
        .chain(names.into_iter().map(|(name, place)| (name, Some(place))))
        .collect();
    let surroundings = Surroundings { env, user, discovered };
    for (name, place) in &all {
        match section::read(reader, &surroundings, &common, name, place.as_ref()) {
            section::Read::Runs(probe) => probes.list.push(*probe),
            section::Read::LeftOut(why) => {
                probes.left_out.push(LeftOut { what: format!("[{PROBE}.{name}]"), why })
            }
            section::Read::Faulty => {}
        }
    }
    limit(reader, &probes.list);
    probes
}

fn common(reader: &mut Reader) -> Common {
    let common = Common {
        interval: reader.duration("probes.interval", INTERVAL, "1s", "1h"),
        timeout: reader.duration("probes.timeout", TIMEOUT, "100ms", "1m"),
        failure_threshold: reader.small("probes.failure_threshold", FAILURE_THRESHOLD, 1, 100),
        success_threshold: reader.small("probes.success_threshold", SUCCESS_THRESHOLD, 1, 100),
        ca_file: ca_file(reader, "probes.ca_file"),
    };
    let options = ["probes.timeout", "probes.interval"];
    reader.require(common.timeout < common.interval, &options, TOO_LONG);
    common
}

const TOO_LONG: &str =
    "a round must end before the next one begins; make the timeout shorter than the interval";
const CA_FILE_REMEDY: &str = "give the path of a PEM file with certificates of authorities";

/// A file of authorities that can be read.
fn ca_file(reader: &mut Reader, option: &str) -> Option<PathBuf> {
    let path = |value: &Value| units::line(value, 4096).map(PathBuf::from);
    let path = reader.optional(option, CA_FILE_REMEDY, path)?;
    if let Err(problem) = authorities(&path) {
        reader.blame(option, &format!(" = {:?} {problem}; {CA_FILE_REMEDY}", path.display().to_string()));
    }
    Some(path)
}

/// What is wrong with a file of authorities.
fn authorities(path: &std::path::Path) -> Result<(), String> {
    use std::io::Read as _;
    /// More than all public authorities together.
    const LEN_MAX: u64 = 4 * 1024 * 1024;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(LEN_MAX).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let mark = b"-----BEGIN CERTIFICATE-----";
    let holds_one = bytes.windows(mark.len()).any(|window| window == mark);
    if holds_one { Ok(()) } else { Err("holds no certificate".to_owned()) }
}

/// The names of all probes that a layer names, each with its place: the file's line, else the variable or flag.
fn names(reader: &Reader) -> BTreeMap<String, Origin> {
    let of_keys = reader.below(&format!("{PROBE}.")).into_iter().filter_map(|(key, origin)| {
        let (name, _) = key.split_once('.')?;
        Some((name.to_owned(), origin))
    });
    let mut names: BTreeMap<String, Origin> = of_keys.collect();
    names.extend(reader.tables().iter().cloned());
    names
}

fn limit(reader: &mut Reader, probes: &[Probe]) {
    if probes.len() > PROBES_MAX {
        let count = probes.len();
        reader.blame_all(format!("{count} probes would run; {PROBES_MAX} are the most: leave some out"));
    }
}
