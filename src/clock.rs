//! The only reader of the clock.
//!
//! Owns both faces of time: the wall clock, read once at start, and the monotonic clock, which moves everything from
//! there. So [`Time`] never jumps while the agent lives, and still means something after a restart. Everything else is
//! handed `now`.
#![expect(clippy::disallowed_methods, reason = "the one place that may read the clock")]

use std::time::{Duration, Instant, SystemTime};

use crate::engine::time::Time;

/// Reads the time. Cheap to copy; all copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall_at_start: Time,
    started: Instant,
}

impl Clock {
    /// Reads the wall clock once and starts to count from there.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Self { wall_at_start: Time::from_millis(millis), started: Instant::now() }
    }

    /// The time now, to the millisecond.
    pub fn now(&self) -> Time {
        self.wall_at_start + self.started.elapsed()
    }

    /// A point on the monotonic clock, for measuring.
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// Microseconds since this clock was started, for the data path.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How long this clock has run.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
