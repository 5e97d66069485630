//! What happens to a service, second by second: its own habits, its surroundings, and the faults of a release.
//!
//! An effect changes what is in force for one second; the service draws its requests from that.

use fastrand::Rng;

use crate::chance::normal;

/// The share of requests that fail by themselves.
pub(crate) const ERRORS: f64 = 0.001;
/// The share of them that comes in bursts, where errors come in bursts.
const IN_BURSTS: f64 = 0.9;
/// How much worse the worst hour of a day is than its best one.
const DAY: f64 = 0.35;
/// One bad route is this share of the traffic where there are fifty.
pub(crate) const BAD_ROUTE: usize = 17;

/// What is in force for one second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Second {
    /// Requests a second of the whole service.
    pub(crate) rate: f64,
    /// Share that fails.
    pub(crate) errors: f64,
    /// How many times slower all requests are,
    pub(crate) slow: f64,
    /// and how many times more the slowest twentieth.
    pub(crate) tail: f64,
    /// Nothing is answered.
    pub(crate) hangs: bool,
    /// The app crashes.
    pub(crate) crashes: bool,
    /// Share of answers that become 401.
    pub(crate) unauthorized: f64,
    /// More requests a second: answered 404 outside known routes,
    pub(crate) scans: f64,
    /// or answered 401 on a known one.
    pub(crate) logins: f64,
    /// Share of failures and slowness of the bad route.
    pub(crate) bad_route: (f64, f64),
    /// How often a probe of the database fails, how many times slower it is, and how much is asked of it.
    pub(crate) probe: (f64, f64, f64),
    /// How many times the memory is held.
    pub(crate) memory: f64,
}

impl Second {
    pub(crate) const fn healthy(rate: f64) -> Self {
        Self {
            rate,
            errors: ERRORS,
            slow: 1.0,
            tail: 1.0,
            hangs: false,
            crashes: false,
            unauthorized: 0.0,
            scans: 0.0,
            logins: 0.0,
            bad_route: (0.0, 1.0),
            probe: (0.0, 1.0, 1.0),
            memory: 1.0,
        }
    }
}

/// Whom an effect touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All that runs, also the stable release beside the candidate.
    All,
    /// The candidate's replicas.
    Candidate,
    /// The candidate's first replica.
    First,
}

/// An effect's kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum What {
    /// Nine tenths of the service's own errors come in bursts of so many seconds with this share of failures.
    ErrorBursts { least_s: u64, most_s: u64, share: f64 },
    /// Every five to fifteen minutes everything is four times slower for 5 to 15 seconds.
    SlowBursts,
    /// Five times slower after a start, decaying with this time constant.
    Cold { tau_s: f64 },
    /// Rate and latency rise and fall by 35 % over a day; the worst moment is a quarter of an hour after the watch began.
    Day,
    /// A factor on all latencies that wanders by 10 % from tick to tick (autoregressive, 0.9).
    Wobble,
    /// 20 % slower and 1.5 times the errors than the history.
    Drift,
    /// More memory and a little more latency, by a fifth over half an hour.
    Creep,
    /// The database fails or is slow for so long, and so do requests.
    Outage { for_s: f64, errors: f64, slow: f64, probe_fails: f64, probe_slow: f64 },
    /// An outage of 20 s, then three times the traffic for a minute.
    RetryStorm,
    /// Somebody scans for known holes for ten minutes, at five times the rate.
    Scanner,
    /// Somebody guesses passwords: 3 % of the traffic more, all of it answered 401.
    Logins,
    /// Less traffic than the history has, and slightly slower because caches are colder.
    Night,
    /// A share of requests fails.
    Errors(f64),
    /// All requests are so many times slower.
    Slow(f64),
    /// The slowest twentieth is so many times slower.
    Tail(f64),
    /// Nothing is answered.
    Hang,
    /// Over half an hour latency grows to 4x and memory to 3x.
    Leak,
    /// One route fails this often, and is so many times slower.
    BadRoute { errors: f64, slow: f64 },
    /// A share of answers becomes 401.
    Unauthorized(f64),
    /// A crash every three minutes, five seconds of refused requests each time.
    CrashLoop,
    /// The release asks five times as much of the database, which gets four times slower, and requests with it.
    OwnDatabase,
}

/// An effect in force.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effect {
    pub(crate) what: What,
    pub(crate) reach: Reach,
    /// Seconds after the release became ready at which it begins.
    pub(crate) from_s: f64,
    /// Seconds that a burst still lasts.
    left: u64,
    /// Seconds until the next one; `None` before the first.
    wait: Option<u64>,
    /// Where a wandering factor is.
    level: f64,
}

/// The moment that a second is drawn for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// Seconds since the app's last start.
    pub(crate) age_s: f64,
    /// Seconds since the judged release became ready; negative in its baseline's history.
    pub(crate) watch_s: f64,
}

impl Effect {
    pub(crate) const fn new(what: What, reach: Reach) -> Self {
        Self { what, reach, from_s: f64::NEG_INFINITY, left: 0, wait: None, level: 0.0 }
    }

    pub(crate) const fn from(self, from_s: f64) -> Self {
        Self { from_s, ..self }
    }

    /// Goes on by a tick; called before its seconds are asked for.
    pub(crate) fn next_tick(&mut self, rng: &mut Rng) {
        if self.what == What::Wobble {
            self.level = 0.9 * self.level + 0.1 * (1.0_f64 - 0.81).sqrt() * normal(rng);
        }
    }

    /// Goes on by a second.
    pub(crate) fn next_second(&mut self, rng: &mut Rng) {
        if self.left > 0 {
            self.left -= 1;
        } else if let What::ErrorBursts { least_s, most_s, share } = self.what {
            let mean = f64::midpoint(least_s as f64, most_s as f64) * share;
            if rng.f64() < IN_BURSTS * ERRORS / mean {
                self.left = rng.u64(least_s..=most_s);
            }
        } else if self.what == What::SlowBursts {
            let wait = self.wait.unwrap_or_else(|| rng.u64(0..900));
            self.wait = Some(wait.saturating_sub(1));
            if wait == 0 {
                self.left = rng.u64(5..=15);
                self.wait = Some(rng.u64(300..900));
            }
        }
    }

    /// Changes a second.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other kinds are events")]
    pub(crate) fn apply(&self, to: &mut Second, at: Moment) {
        let since = at.watch_s - self.from_s;
        if since < 0.0 {
            return;
        }
        match self.what {
            What::ErrorBursts { share, .. } => {
                to.errors = if self.left > 0 { share } else { to.errors * (1.0 - IN_BURSTS) };
            }
            What::SlowBursts => to.slow *= if self.left > 0 { 4.0 } else { 1.0 },
            // In steps of five seconds, so that the seconds of a tick are alike.
            What::Cold { tau_s } => to.slow *= 1.0 + 4.0 * (-(at.age_s - at.age_s % 5.0) / tau_s).exp(),
            What::Day => {
                let tick = at.watch_s - at.watch_s.rem_euclid(5.0);
                let phase = (tick - 900.0) / 86_400.0 * std::f64::consts::TAU;
                let factor = 1.0 + DAY * f64::midpoint(1.0, phase.cos());
                to.rate *= factor;
                to.slow *= factor;
            }
            What::Wobble => to.slow *= self.level.exp(),
            What::Drift => {
                to.slow *= 1.2;
                to.errors *= 1.5;
            }
            What::Creep => {
                let part = 0.2 * ((since - since % 5.0) / 1800.0).min(1.0);
                to.slow *= 1.0 + part / 2.0;
                to.memory *= 1.0 + part;
            }
            What::Night => to.slow *= 1.1,
            _ => self.apply_event(to, since),
        }
    }

    /// Those that begin at a moment.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an event outside its time, or a habit, changes nothing"
    )]
    fn apply_event(&self, to: &mut Second, since: f64) {
        match self.what {
            What::Outage { for_s, errors, slow, probe_fails, probe_slow } if since < for_s => {
                to.errors = errors;
                to.slow *= slow;
                to.probe = (probe_fails, probe_slow, to.probe.2);
            }
            What::RetryStorm if since < 20.0 => {
                to.errors = 0.5;
                to.probe = (0.9, 5.0, to.probe.2);
            }
            What::RetryStorm if since < 80.0 => {
                to.rate *= 3.0;
                to.slow *= 1.3;
            }
            What::Scanner if since < 600.0 => to.scans = 5.0 * to.rate,
            What::Logins => to.logins = 0.03 * to.rate,
            What::Errors(share) => to.errors = share,
            What::Slow(factor) => to.slow *= factor,
            What::Tail(factor) => to.tail *= factor,
            What::Hang => to.hangs = true,
            What::Leak => {
                let part = ((since - since % 5.0) / 1800.0).min(1.0);
                to.slow *= 1.0 + 3.0 * part;
                to.memory *= 1.0 + 2.0 * part;
            }
            What::BadRoute { errors, slow } => to.bad_route = (errors, slow),
            What::Unauthorized(share) => to.unauthorized = share,
            What::CrashLoop if since >= 20.0 => {
                let phase = (since - 20.0) % 180.0;
                to.crashes = phase < 1.0;
                if phase < 5.0 {
                    to.errors = 1.0;
                } else if phase < 20.0 {
                    to.slow *= 2.0;
                }
            }
            What::OwnDatabase => {
                to.slow *= 2.5;
                to.errors = to.errors.max(0.01);
                to.probe = (to.probe.0, 4.0, 5.0);
            }
            _ => {}
        }
    }
}
