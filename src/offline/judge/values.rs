//! The values of a line, each with what it may be: parsed once, so that nobody asks again.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::engine::tick::{PROBES_MAX, ProbeTick, Resources};
use crate::engine::window::{Latencies, WATCHED_STATUSES};
use crate::offline::judge::histogram::{self, PAIRS_MAX};
use crate::offline::judge::line::COUNT_MAX;

/// The longest name of a replica, a route or a probe, in characters; a longer one is a fault.
const NAME_CHARS_MAX: usize = 256;
/// The latest t, in seconds: some 3,000 years. A later one is a fault.
const T_MAX: f64 = 1e11;
/// The largest amount (bytes, a load); a larger one is a fault.
const AMOUNT_MAX: u64 = 1_000_000_000_000_000;
/// The slowest latency that is told apart, in microseconds: an hour. Slower ones count as this.
pub(super) const LATENCY_US_MAX: u64 = 3_600_000_000;

/// A whole number from 0 to `MAX`; also as `3.0`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whole<const MAX: u64>(pub(super) u64);

/// How many of something there are.
pub(super) type Count = Whole<COUNT_MAX>;
/// How much of something there is.
pub(super) type Amount = Whole<AMOUNT_MAX>;

impl<'de, const MAX: u64> Deserialize<'de> for Whole<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WholeVisitor::<MAX>)
    }
}

struct WholeVisitor<const MAX: u64>;

impl<const MAX: u64> Visitor<'_> for WholeVisitor<MAX> {
    type Value = Whole<MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from 0 to {MAX}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        let wrong = || E::invalid_value(Unexpected::Unsigned(number), &self);
        (number <= MAX).then_some(Whole(number)).ok_or_else(wrong)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let wrong = || E::invalid_value(Unexpected::Signed(number), &self);
        u64::try_from(number).map_err(|_| wrong()).and_then(|number| self.visit_u64(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let fits = number.fract() == 0.0 && (0.0..=MAX as f64).contains(&number);
        let wrong = || E::invalid_value(Unexpected::Float(number), &self);
        fits.then_some(Whole(number as u64)).ok_or_else(wrong)
    }
}

/// A time in seconds, kept in whole milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seconds {
    pub(super) millis: u64,
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberVisitor("a number of seconds, 0 or more", T_MAX)).map(|seconds| {
            let millis = (seconds * 1000.0).round() as u64;
            Self { millis }
        })
    }
}

/// A number from 0 to so much.
struct NumberVisitor(&'static str, f64);

impl Visitor<'_> for NumberVisitor {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        self.visit_f64(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        self.visit_f64(number as f64)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        let fits = (0.0..=self.1).contains(&number);
        fits.then_some(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

/// A latency in microseconds, rounded up; beyond an hour it is an hour.
struct Micros(u64);

impl<'de> Deserialize<'de> for Micros {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = NumberVisitor("a number of microseconds, 0 or more", f64::MAX);
        // Saturates, as casts do.
        deserializer.deserialize_any(visitor).map(|us| Self((us.ceil() as u64).min(LATENCY_US_MAX)))
    }
}

/// The name of a replica, a route or a probe.
#[derive(Clone, Debug)]
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of 1 to {NAME_CHARS_MAX} characters on one line")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        let fits = !name.is_empty()
            && name.chars().take(NAME_CHARS_MAX + 1).count() <= NAME_CHARS_MAX
            && !name.chars().any(char::is_control);
        let shown: String = name.chars().take(40).collect();
        fits.then(|| Name(name.to_owned())).ok_or_else(|| E::invalid_value(Unexpected::Str(&shown), &self))
    }
}

/// Latencies as base64 text of a histogram.
#[derive(Debug)]
pub(super) struct Packed(pub(super) Latencies);

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PackedVisitor)
    }
}

struct PackedVisitor;

impl Visitor<'_> for PackedVisitor {
    type Value = Packed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a histogram in HdrHistogram's V2 format as base64 text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Packed, E> {
        let mut pairs =
            histogram::from_base64(text).map_err(|wrong| E::custom(format_args!("it {wrong}")))?;
        pairs.iter_mut().for_each(|(value, _)| *value = (*value).min(LATENCY_US_MAX));
        bounded(pairs).map(Packed)
    }
}

/// Latencies as `[[microseconds, count], …]`.
#[derive(Debug)]
pub(super) struct Pairs(pub(super) Latencies);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PairsVisitor)
    }
}

struct PairsVisitor;

impl<'de> Visitor<'de> for PairsVisitor {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pairs, as in [[1500, 3], [9000, 1]]: microseconds and a count")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(Pair(value, count)) = list.next_element()? {
            if pairs.len() == PAIRS_MAX {
                return Err(A::Error::custom(format_args!(
                    "it has more than {PAIRS_MAX} pairs; round the values"
                )));
            }
            pairs.push((value, count));
        }
        bounded(pairs).map(Pairs)
    }
}

struct Pair(u64, u64);

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PairVisitor)
    }
}

struct PairVisitor;

impl<'de> Visitor<'de> for PairVisitor {
    type Value = Pair;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a pair of microseconds and a count, as in [1500, 3]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pair, A::Error> {
        let wrong = |length| A::Error::invalid_length(length, &self);
        let Micros(value) = list.next_element()?.ok_or_else(|| wrong(0))?;
        let Whole(count) = list.next_element::<Count>()?.ok_or_else(|| wrong(1))?;
        match list.next_element::<serde::de::IgnoredAny>()? {
            Some(_) => Err(wrong(3)),
            None => Ok(Pair(value, count)),
        }
    }
}

/// Latencies whose sum is a count, too.
fn bounded<E: Error>(pairs: Vec<(u64, u64)>) -> Result<Latencies, E> {
    let sum = pairs.iter().try_fold(0_u64, |sum, &(_, count)| sum.checked_add(count));
    match sum.filter(|&sum| sum <= COUNT_MAX) {
        Some(_) => Ok(Latencies::new(pairs)),
        None => {
            Err(E::custom(format_args!("it counts more than {COUNT_MAX} latencies; give one tick a line")))
        }
    }
}

/// Answers by status.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Statuses {
    /// In the order of [`WATCHED_STATUSES`].
    pub(super) watched: [u64; WATCHED_STATUSES.len()],
    /// With those that are not watched.
    pub(super) sum: u64,
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StatusesVisitor)
    }
}

struct StatusesVisitor;

impl<'de> Visitor<'de> for StatusesVisitor {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("counts by status, as in {\"401\": 3, \"404\": 1}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Statuses, A::Error> {
        let mut statuses = Statuses::default();
        let mut seen = [false; 100];
        while let Some(key) = map.next_key::<String>()? {
            let status =
                key.parse::<u16>().ok().filter(|status| (400..500).contains(status) && key.len() == 3);
            let wrong = || {
                let shown: String = key.chars().take(20).collect();
                A::Error::custom(format_args!(
                    "{shown:?} is no status from 400 to 499; 5xx answers are counted in `errors`"
                ))
            };
            let status = status.ok_or_else(wrong)?;
            if std::mem::replace(&mut seen[usize::from(status - 400)], true) {
                return Err(A::Error::custom(format_args!("{status} stands there twice; give it once")));
            }
            let Whole(count) = map.next_value::<Count>()?;
            statuses.sum += count;
            if let Some(at) = WATCHED_STATUSES.iter().position(|&watched| watched == status) {
                statuses.watched[at] = count;
            }
        }
        Ok(statuses)
    }
}

/// What the app used.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Used {
    cpu_millicores: Option<Amount>,
    memory_bytes: Option<Amount>,
    descriptors: Option<Amount>,
}

impl From<Used> for Resources {
    fn from(used: Used) -> Self {
        let number = |amount: Option<Amount>| amount.map(|Whole(number)| number);
        Self {
            cpu_millicores: number(used.cpu_millicores),
            memory_bytes: number(used.memory_bytes),
            descriptors: number(used.descriptors),
        }
    }
}

/// What the probes of one dependency found.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    ok: Count,
    failed: Count,
    latency: Option<Packed>,
    latency_us: Option<Pairs>,
    load: Option<Amount>,
}

/// All probes, by name.
#[derive(Debug, Default)]
pub(super) struct Probes(pub(super) Vec<ProbeTick>);

impl<'de> Deserialize<'de> for Probes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ProbesVisitor)
    }
}

struct ProbesVisitor;

impl<'de> Visitor<'de> for ProbesVisitor {
    type Value = Probes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("probes by name, as in {\"postgres\": {\"ok\": 5, \"failed\": 0}}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Probes, A::Error> {
        let mut probes: Vec<ProbeTick> = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            if probes.len() == PROBES_MAX {
                return Err(A::Error::custom(format_args!(
                    "there are more than {PROBES_MAX} probes; leave some out"
                )));
            }
            if probes.iter().any(|probe| *probe.name == *name) {
                return Err(A::Error::custom(format_args!("{name:?} stands there twice; give it once")));
            }
            let probe: Probe = map.next_value()?;
            let latencies = match (probe.latency, probe.latency_us) {
                (Some(_), Some(_)) => {
                    return Err(A::Error::custom(
                        "`latency` and `latency_us` are both given; give one of them",
                    ));
                }
                (Some(Packed(latencies)), None) | (None, Some(Pairs(latencies))) => latencies,
                (None, None) => Latencies::default(),
            };
            probes.push(ProbeTick {
                name: name.into(),
                ok: probe.ok.0,
                failed: probe.failed.0,
                latencies,
                load: probe.load.map(|Whole(load)| load),
            });
        }
        Ok(Probes(probes))
    }
}
