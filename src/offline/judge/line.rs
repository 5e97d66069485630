//! One line: a JSON object with the figures of one replica, or of one of its routes, in one tick.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::error::Category;

use crate::engine::tick::{ProbeTick, Resources};
use crate::engine::window::Latencies;
use crate::offline::judge::values::{Count, Name, Packed, Pairs, Probes, Seconds, Statuses, Used, Whole};

/// The largest count in a line; a larger one is a fault. So large that sums over a hundred replicas stay exact.
pub const COUNT_MAX: u64 = 100_000_000;

/// Every field, as the docs list them.
const FIELDS: [&str; 16] = [
    "t",
    "replica",
    "route",
    "requests",
    "errors",
    "latency",
    "latency_us",
    "statuses",
    "crashes",
    "stalled",
    "arrived",
    "answered",
    "in_flight",
    "overdue",
    "resources",
    "probes",
];

/// A line whose values are what they may be, each by itself and together.
#[derive(Debug)]
pub(super) struct Line {
    /// The end of the tick, in milliseconds.
    pub(super) millis: u64,
    pub(super) replica: Option<String>,
    pub(super) route: Option<String>,
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) latencies: Option<Latencies>,
    pub(super) statuses: Option<Statuses>,
    pub(super) crashes: u64,
    pub(super) stalled: bool,
    pub(super) arrived: Option<u64>,
    pub(super) answered: Option<u64>,
    pub(super) in_flight: u64,
    pub(super) overdue: u64,
    pub(super) resources: Resources,
    pub(super) probes: Vec<ProbeTick>,
}

/// A line as it is read, before it is known to be whole.
#[derive(Default)]
struct Draft {
    t: Option<Seconds>,
    replica: Option<Name>,
    route: Option<Name>,
    requests: Option<Count>,
    errors: Option<Count>,
    latency: Option<Packed>,
    latency_us: Option<Pairs>,
    statuses: Option<Statuses>,
    crashes: Option<Count>,
    stalled: Option<bool>,
    arrived: Option<Count>,
    answered: Option<Count>,
    in_flight: Option<Count>,
    overdue: Option<Count>,
    resources: Option<Used>,
    probes: Option<Probes>,
}

/// Reads a line. `Err` holds what is wrong with it and what would be right, one text each; never none.
pub(super) fn parse(bytes: &[u8]) -> Result<Line, Vec<String>> {
    let field = Cell::new("");
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let draft = LineSeed(&field).deserialize(&mut deserializer);
    let draft = draft.and_then(|draft| deserializer.end().map(|()| draft));
    match draft {
        Ok(draft) => draft.finish(),
        Err(error) => Err(vec![told(&error, field.get())]),
    }
}

/// An error as one text: without the line that serde counts, for each line is read alone.
fn told(error: &serde_json::Error, field: &str) -> String {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    let text = text[..end].replacen(", expected", "; expected", 1);
    let named = if field.is_empty() { String::new() } else { format!("`{field}`: ") };
    match error.classify() {
        Category::Data => format!("{named}{text}"),
        Category::Syntax | Category::Eof | Category::Io => {
            let column = error.column();
            format!("{named}not JSON: {text} (column {column}); write one JSON object a line")
        }
    }
}

struct LineSeed<'a>(&'a Cell<&'static str>);

impl<'de> DeserializeSeed<'de> for LineSeed<'_> {
    type Value = Draft;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Draft, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LineSeed<'_> {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, as in {\"t\": 5, \"requests\": 100, \"errors\": 0}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft, A::Error> {
        let mut draft = Draft::default();
        while let Some(Key(key)) = map.next_key()? {
            let Some(&field) = FIELDS.iter().find(|&&field| field == key) else {
                let shown: String = key.chars().take(40).collect();
                let known = FIELDS.join(", ");
                return Err(A::Error::custom(format_args!("there is no field `{shown}`; there are {known}")));
            };
            self.0.set(field);
            let map = &mut map;
            match field {
                "t" => put(&mut draft.t, map),
                "replica" => put(&mut draft.replica, map),
                "route" => put(&mut draft.route, map),
                "requests" => put(&mut draft.requests, map),
                "errors" => put(&mut draft.errors, map),
                "latency" => put(&mut draft.latency, map),
                "latency_us" => put(&mut draft.latency_us, map),
                "statuses" => put(&mut draft.statuses, map),
                "crashes" => put(&mut draft.crashes, map),
                "stalled" => put(&mut draft.stalled, map),
                "arrived" => put(&mut draft.arrived, map),
                "answered" => put(&mut draft.answered, map),
                "in_flight" => put(&mut draft.in_flight, map),
                "overdue" => put(&mut draft.overdue, map),
                "resources" => put(&mut draft.resources, map),
                _ => put(&mut draft.probes, map),
            }?;
            self.0.set("");
        }
        Ok(draft)
    }
}

/// A key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(key))
            }

            fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(key.to_owned()))
            }
        }
        deserializer.deserialize_str(KeyVisitor).map(Self)
    }
}

/// Takes a field's value; `null` is as good as nothing.
fn put<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
    slot: &mut Option<T>,
    map: &mut A,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(A::Error::custom("stands there twice; give it once"));
    }
    *slot = map.next_value()?;
    Ok(())
}

impl Draft {
    /// Holds the values against each other.
    fn finish(self) -> Result<Line, Vec<String>> {
        let mut faults = Vec::new();
        let mut missing = |name: &str, remedy: &str| faults.push(format!("`{name}` is missing; {remedy}"));
        if self.t.is_none() {
            missing("t", "give the end of the tick in seconds since the release became ready");
        }
        if self.requests.is_none() {
            missing("requests", "give how many requests ended in the tick, 0 if none did");
        }
        if self.errors.is_none() {
            missing("errors", "give how many of the requests failed by the app's fault, 0 if none did");
        }
        let number = |count: Option<Count>| count.map(|Whole(number)| number);
        let (requests, errors) = (number(self.requests).unwrap_or(0), number(self.errors).unwrap_or(0));
        if self.requests.is_some() && errors > requests {
            faults.push(format!(
                "`errors` is {errors} of {requests} requests; it is the part of `requests` that failed"
            ));
        }
        let statuses = self.statuses.map_or(0, |statuses| statuses.sum);
        if self.requests.is_some() && statuses > requests {
            faults.push(format!(
                "`statuses` add up to {statuses} of {requests} requests; they are a part of `requests`"
            ));
        }
        let (in_flight, overdue) = (number(self.in_flight).unwrap_or(0), number(self.overdue).unwrap_or(0));
        if overdue > in_flight {
            faults.push(format!(
                "`overdue` is {overdue} of {in_flight} in flight; it is the part of `in_flight` that waits too long"
            ));
        }
        let latencies = match (self.latency, self.latency_us) {
            (Some(_), Some(_)) => {
                faults.push("`latency` and `latency_us` are both given; give one of them".to_owned());
                None
            }
            (Some(Packed(latencies)), None) | (None, Some(Pairs(latencies))) => Some(latencies),
            (None, None) => None,
        };
        let (Some(Seconds { millis }), true) = (self.t, faults.is_empty()) else { return Err(faults) };
        Ok(Line {
            millis,
            replica: self.replica.map(|Name(name)| name),
            route: self.route.map(|Name(name)| name),
            requests,
            errors,
            latencies,
            statuses: self.statuses,
            crashes: number(self.crashes).unwrap_or(0),
            stalled: self.stalled.unwrap_or(false),
            arrived: number(self.arrived),
            answered: number(self.answered),
            in_flight,
            overdue,
            resources: self.resources.map_or_else(Resources::default, Resources::from),
            probes: self.probes.map(|Probes(probes)| probes).unwrap_or_default(),
        })
    }
}
