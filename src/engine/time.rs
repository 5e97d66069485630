//! A point in time as the engine knows it: milliseconds since the Unix epoch, handed in by the caller.
//!
//! The engine never reads a clock. `std::time::Instant` can neither be built nor stored, so nothing that holds one
//! can be replayed from a record; this type can.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in time, in whole milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// RFC 3339 in UTC, to the millisecond.
    pub fn to_rfc3339_millis(self) -> String {
        let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(self.0);
        humantime::format_rfc3339_millis(at).to_string()
    }

    /// How long ago `earlier` was; zero where `earlier` is not earlier.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(millis))
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(self.0);
        write!(f, "{}", humantime::format_rfc3339_seconds(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_by_durations_and_never_below_the_epoch() {
        let t = Time::from_millis(1_000);
        assert_eq!(t + Duration::from_secs(2), Time::from_millis(3_000));
        assert_eq!(t - Duration::from_secs(2), Time::from_millis(0));
        assert_eq!((t + Duration::from_secs(5)).since(t), Duration::from_secs(5));
        assert_eq!(t.since(t + Duration::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn time_prints_as_rfc_3339() {
        assert_eq!(Time::from_millis(1_763_848_800_123).to_string(), "2025-11-22T22:00:00Z");
    }
}
