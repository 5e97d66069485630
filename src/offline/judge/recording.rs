//! A recording as it stands in a file: its lines, each within its bounds, and what is wrong with them.

use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use crate::engine::route::GROUPS_MAX;
use crate::engine::tick::REPLICAS_MAX;
use crate::offline::judge::fault::Faults;
use crate::offline::judge::line::{self, Line};
use crate::offline::judge::rounds::{self, Recording};

/// The longest line, in bytes; a longer one is a fault, and is not held in memory.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// The most lines of a recording; more are a fault, and are not read.
pub const LINES_MAX: usize = 1_000_000;
/// The most pairs of latencies of a recording, in whichever form: 320 MB of them. More are a fault, and no further line
/// is read.
const PAIRS_MAX: usize = 20_000_000;
/// The name of a replica that has none.
const ONLY_REPLICA: &str = "self";

/// A line and its place.
#[derive(Debug)]
pub(super) struct Entry {
    /// From 1.
    pub(super) number: usize,
    pub(super) replica: Arc<str>,
    pub(super) route: Option<Arc<str>>,
    pub(super) line: Line,
}

/// What of a recording has been read.
struct Reading<'a> {
    name: &'a str,
    faults: &'a mut Faults,
    entries: Vec<Entry>,
    /// Each replica's last t.
    replicas: HashMap<Arc<str>, u64>,
    routes: HashMap<Arc<str>, ()>,
    pairs: usize,
}

/// Reads a recording. `name` is how faults call it; `None` where there are any.
pub fn read(name: &str, from: impl BufRead, faults: &mut Faults) -> Option<Recording> {
    let mut found = Faults::default();
    let mut reading = Reading {
        name,
        faults: &mut found,
        entries: Vec::new(),
        replicas: HashMap::new(),
        routes: HashMap::new(),
        pairs: 0,
    };
    if let Err(error) = reading.lines(from) {
        reading.faults.whole(name, &format!("cannot be read: {error}; name a readable file"));
    }
    let entries = reading.entries;
    let recording = if found.is_empty() { rounds::of(name, entries, &mut found) } else { None };
    let is_well = found.is_empty();
    faults.append(found);
    recording.filter(|_| is_well)
}

impl Reading<'_> {
    fn lines(&mut self, mut from: impl BufRead) -> io::Result<()> {
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            if from.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            if number > LINES_MAX {
                let text =
                    format!("there are more than {LINES_MAX} lines; give a shorter time or fewer routes");
                self.faults.line(self.name, number, &text);
                break;
            }
            if bytes.len() > LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
                let text =
                    "the line is longer than 1 MiB; give one tick a line, its latencies as a histogram";
                self.faults.line(self.name, number, text);
                skip_line(&mut from)?;
                continue;
            }
            self.line(number, &bytes);
            if self.pairs > PAIRS_MAX {
                let text =
                    format!("there are more than {PAIRS_MAX} latencies so far; round them to two digits");
                self.faults.line(self.name, number, &text);
                break;
            }
        }
        Ok(())
    }

    fn line(&mut self, number: usize, bytes: &[u8]) {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let mut line = match line::parse(bytes) {
            Ok(line) => line,
            Err(faults) => return faults.iter().for_each(|text| self.faults.line(self.name, number, text)),
        };
        let replica = line.replica.take();
        let Some(replica) = self.replica(number, replica.as_deref().unwrap_or(ONLY_REPLICA), line.millis)
        else {
            return;
        };
        let route = match line.route.take() {
            None => None,
            Some(route) => match interned(&mut self.routes, &route, GROUPS_MAX) {
                Some(route) => Some(route),
                None => {
                    let text = format!("`route` is the {}th one; give at most {GROUPS_MAX}", GROUPS_MAX + 1);
                    return self.faults.line(self.name, number, &text);
                }
            },
        };
        self.pairs += line.latencies.as_ref().map_or(0, |latencies| latencies.pairs().len());
        self.pairs += line.probes.iter().map(|probe| probe.latencies.pairs().len()).sum::<usize>();
        self.entries.push(Entry { number, replica, route, line });
    }

    /// The replica by its name, if its time goes on.
    fn replica(&mut self, number: usize, name: &str, millis: u64) -> Option<Arc<str>> {
        let Some(replica) = interned(&mut self.replicas, name, REPLICAS_MAX) else {
            let text = format!("`replica` is the {}th one; give at most {REPLICAS_MAX}", REPLICAS_MAX + 1);
            self.faults.line(self.name, number, &text);
            return None;
        };
        let last = self.replicas.entry(replica.clone()).or_default();
        if millis < *last {
            let (t, before) = (seconds(millis), seconds(*last));
            let text = format!(
                "`t` is {t} after {before} of the same replica; sort the lines by t, or name the replicas"
            );
            self.faults.line(self.name, number, &text);
            return None;
        }
        *last = millis;
        Some(replica)
    }
}

/// The name as it was first seen; `None` beyond the bound.
fn interned<V: Default>(names: &mut HashMap<Arc<str>, V>, name: &str, most: usize) -> Option<Arc<str>> {
    if let Some((known, _)) = names.get_key_value(name) {
        return Some(known.clone());
    }
    if names.len() >= most {
        return None;
    }
    let name: Arc<str> = name.into();
    names.insert(name.clone(), V::default());
    Some(name)
}

/// Milliseconds as people write seconds.
pub(super) const fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}

/// Reads up to the end of a line, holding nothing.
fn skip_line(from: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = from.fill_buf()?;
        let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else {
            let all = bytes.len();
            from.consume(all);
            if all == 0 {
                return Ok(());
            }
            continue;
        };
        from.consume(at + 1);
        return Ok(());
    }
}
