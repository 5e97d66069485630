//! The smallest pieces of the wire form: times, durations, figures and names, each as people read it and none losing
//! a bit on the way back.

use std::time::{Duration, SystemTime};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;

/// The first millisecond that RFC 3339 cannot write: the year 10000.
const RFC3339_END_MS: u64 = 253_402_300_800_000;

/// A time as RFC 3339 in UTC, to the millisecond. Beyond the year 9999 it is the bare count of milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimeText(pub Time);

impl Serialize for TimeText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = self.0.as_millis();
        if millis >= RFC3339_END_MS {
            return serializer.collect_str(&millis);
        }
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        serializer.collect_str(&humantime::format_rfc3339_millis(at))
    }
}

impl<'de> Deserialize<'de> for TimeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Ok(millis) = text.parse() {
            return Ok(Self(Time::from_millis(millis)));
        }
        let at = humantime::parse_rfc3339(&text).map_err(D::Error::custom)?;
        let since = at.duration_since(SystemTime::UNIX_EPOCH).map_err(D::Error::custom)?;
        let millis = u64::try_from(since.as_millis()).map_err(D::Error::custom)?;
        Ok(Self(Time::from_millis(millis)))
    }
}

/// A duration in days, hours, minutes, seconds and their parts, as in `15m` or `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DurationText(pub Duration);

impl Serialize for DurationText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration_text(self.0))
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

/// Humantime's own form counts in years of 365.25 days, so that a year reads `11months 30days 3h …`. This one counts
/// in days and below; humantime reads it back.
fn duration_text(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), u64::from(duration.subsec_nanos()));
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (nanos / 1_000_000, "ms"),
        (nanos / 1_000 % 1_000, "us"),
        (nanos % 1_000, "ns"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A figure. JSON has no infinities; they are the texts `inf` and `-inf` (the logarithm of no evidence is one).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure(pub f64);

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl serde::de::Visitor<'_> for Visitor {
            type Value = Figure;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number, `inf`, `-inf` or `NaN`")
            }

            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Figure, E> {
                Ok(Figure(n))
            }

            fn visit_u64<E: serde::de::Error>(self, n: u64) -> Result<Figure, E> {
                Ok(Figure(n as f64))
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Figure, E> {
                Ok(Figure(n as f64))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Figure, E> {
                text.parse().map(Figure).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A release's name.
#[derive(Clone, Debug, PartialEq)]
pub struct ReleaseText(pub Release);

impl Serialize for ReleaseText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for ReleaseText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let release = Release::new(&name)
            .ok_or_else(|| D::Error::custom("a release is 1 to 128 visible ASCII characters"))?;
        Ok(Self(release))
    }
}

/// A record's key.
#[derive(Clone, Debug, PartialEq)]
pub struct IdText(pub RecordId);

impl Serialize for IdText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for IdText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|id| Self(RecordId::from_stored(&id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json<T: Serialize>(value: T) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn texts_are_what_a_person_would_write() {
        assert_eq!(json(TimeText(Time::from_millis(1_763_848_800_123))), "\"2025-11-22T22:00:00.123Z\"");
        assert_eq!(json(DurationText(Duration::from_secs(15 * 60))), "\"15m\"");
        assert_eq!(json(DurationText(Duration::from_secs(365 * 86_400))), "\"365d\"");
        assert_eq!(json(DurationText(Duration::from_millis(5_400_250))), "\"1h 30m 250ms\"");
        assert_eq!(json(DurationText(Duration::ZERO)), "\"0s\"");
        assert_eq!(json(Figure(0.25)), "0.25");
        assert_eq!(json(Figure(f64::NEG_INFINITY)), "\"-inf\"");
    }

    #[test]
    fn the_last_times_and_durations_come_back() {
        for millis in [0, RFC3339_END_MS - 1, RFC3339_END_MS, u64::MAX] {
            let text = json(TimeText(Time::from_millis(millis)));
            let back: TimeText = serde_json::from_str(&text).unwrap();
            assert_eq!(back.0.as_millis(), millis, "{text}");
        }
        for duration in [Duration::MAX, Duration::from_nanos(1)] {
            let text = json(DurationText(duration));
            let back: DurationText = serde_json::from_str(&text).unwrap();
            assert_eq!(back.0, duration, "{text}");
        }
        let back: Figure = serde_json::from_str(&json(Figure(f64::NAN))).unwrap();
        assert!(back.0.is_nan());
    }

    #[test]
    fn what_is_no_time_or_release_is_refused() {
        assert!(serde_json::from_str::<TimeText>("\"yesterday\"").is_err());
        assert!(serde_json::from_str::<ReleaseText>("\"a b\"").is_err());
        assert!(serde_json::from_str::<DurationText>("\"soon\"").is_err());
    }
}
