//! What the judge could find at the present traffic, and how long it would take.
//!
//! The expected number of requests until the request level decides is `(ln(1/α) + c) / KL(p1 ‖ p0)`: Wald's lower bound
//! for any test is the first part; `c` = 1.8 is what the mixture over alternatives costs, measured.

use std::time::Duration;

use libm::{log, log1p};

use crate::engine::judge::{ERRORS_SHARE, Judge};
use crate::engine::policy::Policy;
use crate::engine::tick::TICK;

/// What the mixture over alternatives costs, in natural logarithms.
const MIXTURE: f64 = 1.8;
/// The tick level needs so many bad ticks.
const TICKS: f64 = 4.0;

/// What could be found at the present traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// Requests a second in the last tick.
    pub requests_per_second: f64,
    /// The smallest share of failures that would typically be called within two minutes; `None` without traffic.
    pub errors_in_two_minutes: Option<f64>,
    /// How long twice the allowed share of failures would typically take; `None` without traffic.
    pub doubled_errors_take: Option<Duration>,
}

/// How many requests until the evidence against `p0` typically reaches `ln_limit` when `p1` are bad.
pub(crate) fn requests_needed(p1: f64, p0: f64, ln_limit: f64) -> f64 {
    let divergence = p1 * log(p1 / p0) + (1.0 - p1) * (log1p(-p1) - log1p(-p0));
    (ln_limit + MIXTURE) / divergence.max(1e-12)
}

impl Judge {
    pub(crate) fn outlook(&self, policy: &Policy) -> Outlook {
        let rate = self.last_requests as f64 / TICK.as_secs_f64();
        let (p0, ln_limit) = (self.errors.null().p0, self.limits(policy, ERRORS_SHARE).requests);
        let takes = |p1: f64| requests_needed(p1, p0, ln_limit) / rate;
        let least = TICKS * TICK.as_secs_f64();
        let in_two_minutes = || {
            let (mut low, mut high) = (p0, 0.999);
            for _ in 0..40 {
                let middle = f64::midpoint(low, high);
                if takes(middle) <= 120.0 { high = middle } else { low = middle }
            }
            (takes(high) <= 120.0).then_some(high)
        };
        let has_traffic = rate > 0.0;
        Outlook {
            requests_per_second: rate,
            errors_in_two_minutes: has_traffic.then(in_two_minutes).flatten(),
            doubled_errors_take: has_traffic
                .then(|| Duration::from_secs_f64(takes((2.0 * p0).min(0.95)).max(least).min(1e9))),
        }
    }
}
