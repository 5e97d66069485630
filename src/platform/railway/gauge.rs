//! How many requests may still be made: our own limit by the hour, and what the API says of its own.
//!
//! Pure: the time, since any beginning, is an argument. **An act always passes.** What it takes beyond the limit, the reads
//! after it make up for. And looking ahead never takes what is needed to see a rollback through.

use std::time::Duration;

use http::{HeaderMap, header};

use crate::platform::railway::examination::Quota;
use crate::platform::railway::fault::ApiError;

const HOUR: Duration = Duration::from_secs(3600);
/// The share of the hour's limit that may be spent at once on looking ahead, and once more on what is live; the rest comes by
/// and by, so that no hour sees more.
const AT_ONCE: f64 = 0.25;
/// For how long nothing is read after the API said "too many requests" without saying until when.
const REST: Duration = Duration::from_secs(60);
/// For how long at most, whatever it says: a clock that is wrong somewhere must not silence us for a day.
const REST_MAX: Duration = HOUR;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To know whether a rollback would be possible.
    Look,
    /// To know what is live, before an act and after it.
    Read,
    /// To put a release back: the order, and what must be read for it.
    Act,
}

/// The state of both limits.
#[derive(Debug)]
pub(super) struct Gauge {
    per_hour: u32,
    left: f64,
    at: Duration,
    held_until: Option<Duration>,
    quota: Option<Quota>,
}

impl Gauge {
    pub(super) fn new(per_hour: u32, now: Duration) -> Self {
        Self { per_hour, left: at_once(per_hour), at: now, held_until: None, quota: None }
    }

    /// Takes one request, or says why not.
    pub(super) fn take(&mut self, now: Duration, purpose: Purpose) -> Result<(), ApiError> {
        self.fill(now);
        let reserve = match purpose {
            Purpose::Look => Some(0.0),
            Purpose::Read => Some(at_once(self.per_hour)),
            Purpose::Act => None,
        };
        if let Some(reserve) = reserve {
            if let Some(after) =
                self.held_until.and_then(|until| until.checked_sub(now)).filter(|it| !it.is_zero())
            {
                return Err(ApiError::HeldOff { after: whole(after) });
            }
            let missing = 1.0 - self.left - reserve;
            if missing > 0.0 {
                let after = whole(Duration::from_secs_f64(missing / self.rate()));
                return Err(ApiError::Budget { per_hour: self.per_hour, after });
            }
        }
        self.held_until = self.held_until.filter(|&until| until > now);
        // However many acts there are, the debt ends within two hours.
        self.left = (self.left - 1.0).max(-2.0 * at_once(self.per_hour));
        Ok(())
    }

    /// Whether there is room for so many looks at once.
    pub(super) fn has_room(&mut self, now: Duration, looks: u32) -> bool {
        self.fill(now);
        self.held_until.is_none_or(|until| until <= now) && self.left >= f64::from(looks)
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.left = (self.left + passed * self.rate()).min(at_once(self.per_hour));
        self.at = now;
    }

    /// Requests a second that come by and by.
    fn rate(&self) -> f64 {
        f64::from(self.per_hour) * (1.0 - 2.0 * AT_ONCE) / HOUR.as_secs_f64()
    }

    /// Takes in what a reply's headers say.
    pub(super) fn note(&mut self, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
        if let Some(remaining) = number("x-ratelimit-remaining") {
            self.quota = Some(Quota { limit: number("x-ratelimit-limit"), remaining });
        }
    }

    /// The API said that it was asked too often; for how long it is left alone.
    pub(super) fn hold_off(&mut self, now: Duration, headers: &HeaderMap) -> Duration {
        let seconds = |text: &str| text.trim().parse::<u64>().ok().map(Duration::from_secs);
        let said = headers.get(header::RETRY_AFTER).and_then(|value| seconds(value.to_str().ok()?));
        let rest = said.unwrap_or(REST).min(REST_MAX);
        self.held_until = Some(now + rest);
        self.quota = Some(Quota { limit: self.quota.and_then(|quota| quota.limit), remaining: 0 });
        rest
    }

    pub(super) const fn quota(&self) -> Option<Quota> {
        self.quota
    }
}

fn at_once(per_hour: u32) -> f64 {
    f64::from(per_hour) * AT_ONCE
}

/// Seconds are exact enough for people.
fn whole(after: Duration) -> Duration {
    Duration::from_secs(after.as_secs() + 1)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn no_hour_sees_more_reads_than_the_limit() {
        let mut gauge = Gauge::new(100, s(0));
        let made: Vec<u64> = (0..7200).filter(|&at| gauge.take(s(at), Purpose::Read).is_ok()).collect();
        let worst =
            (0..3600).map(|from| made.iter().filter(|&&at| (from..from + 3600).contains(&at)).count()).max();
        assert!((95..=100).contains(&worst.unwrap()), "{worst:?}");
        let refused = (0..2).find_map(|_| gauge.take(s(7200), Purpose::Read).err());
        let refused = refused.expect("one second brings no two requests").to_string();
        assert!(refused.contains("100 requests an hour (platform.requests_per_hour)"), "{refused}");
    }

    #[test]
    fn looking_ahead_leaves_something_to_see_a_rollback_through() {
        let mut gauge = Gauge::new(200, s(0));
        let looks =
            std::iter::repeat_with(|| gauge.take(s(0), Purpose::Look)).take_while(Result::is_ok).count();
        let reads =
            std::iter::repeat_with(|| gauge.take(s(0), Purpose::Read)).take_while(Result::is_ok).count();
        assert_eq!((looks, reads), (50, 50));
        assert!(!gauge.has_room(s(1800), 1) && gauge.has_room(s(2400), 5));
    }

    #[test]
    fn an_act_passes_when_reads_do_not_and_reads_make_up_for_it() {
        let mut gauge = Gauge::new(60, s(0));
        while gauge.take(s(0), Purpose::Read).is_ok() {}
        for _ in 0..50 {
            gauge.take(s(0), Purpose::Act).unwrap();
        }
        assert!(gauge.take(s(1200), Purpose::Read).is_err());
        gauge.take(s(2400), Purpose::Read).unwrap();
    }

    #[test]
    fn after_too_many_requests_only_acts_pass_until_the_time_is_over() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("30"));
        let mut gauge = Gauge::new(1000, s(0));
        assert_eq!(gauge.hold_off(s(10), &headers), s(30));
        assert!(matches!(gauge.take(s(39), Purpose::Read), Err(ApiError::HeldOff { .. })));
        gauge.take(s(39), Purpose::Act).unwrap();
        assert!(gauge.take(s(39), Purpose::Read).is_err(), "the act does not end it");
        gauge.take(s(40), Purpose::Read).unwrap();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("999999"));
        assert_eq!(gauge.hold_off(s(50), &headers), HOUR);
        assert_eq!(gauge.hold_off(s(50), &HeaderMap::new()), REST);
        assert_eq!(gauge.quota(), Some(Quota { limit: None, remaining: 0 }));
    }
}
