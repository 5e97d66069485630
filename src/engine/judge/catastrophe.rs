//! The rule that needs no baseline: armed from the first request, also while a release warms up.
//!
//! Windowed *and* persistent: an arm fires only when every one of the last few ticks agrees, so that a healthy service's
//! hard burst of some seconds does not fire it. The errors, the latency and the hang arm look at ticks; the crash arm looks
//! at the app's own ends.

use std::collections::VecDeque;

use crate::engine::policy::Policy;
use crate::engine::time::Time;
use crate::engine::verdict::Arm;
use crate::engine::tick::Tick;

/// What a baseline, where there is one, adds to the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Known {
    /// The share of failures that the baseline itself allows; zero without one.
    pub(crate) errors_limit: f64,
    /// The limit of the median; not while a release warms up.
    pub(crate) median_limit_us: Option<u64>,
    /// `overdue` means slower than the baseline allows.
    pub(crate) is_slow_marked: bool,
}

/// What the rule remembers: the last few ticks, at most `catastrophe_ticks`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Catastrophe {
    recent: VecDeque<Tick>,
}

impl Catastrophe {
    /// Looks at one more tick.
    pub(crate) fn observe(&mut self, tick: &Tick, known: Known, policy: &Policy) -> Option<Arm> {
        if tick.stalled {
            self.recent.clear();
            return None;
        }
        let keep = policy.catastrophe_ticks as usize;
        while self.recent.len() >= keep {
            self.recent.pop_front();
        }
        self.recent.push_back(tick.clone());
        if self.recent.len() < keep {
            return None;
        }
        self.fires(known, policy)
    }

    /// Forgets the past, for a new start of the app.
    pub(crate) fn reset(&mut self) {
        self.recent.clear();
    }

    fn fires(&self, known: Known, policy: &Policy) -> Option<Arm> {
        if self.errors(known.errors_limit, policy) {
            return Some(Arm::Errors);
        }
        if self.hangs(known.is_slow_marked, policy) {
            return Some(Arm::Hang);
        }
        known.median_limit_us.filter(|&limit| self.is_slow(limit, policy)).map(|_| Arm::Latency)
    }

    fn errors(&self, usual: f64, policy: &Policy) -> bool {
        let share = policy.catastrophe_error_share.max(usual);
        let judged: u64 = self.recent.iter().map(|t| t.judged).sum();
        let all = self.recent.iter().all(|t| t.judged > 0 && t.failed as f64 > share * t.judged as f64);
        all && judged >= policy.catastrophe_requests_min
    }

    /// Nothing was answered in any tick, while in each the app was awaited: beyond what the baseline knows, or, where there
    /// is none, by many.
    fn hangs(&self, is_slow_marked: bool, policy: &Policy) -> bool {
        let many = |t: &Tick| !is_slow_marked && t.waiting >= policy.catastrophe_requests_min;
        let awaited = |t: &Tick| t.overdue > 0 || many(t);
        let arrived: u64 = self.recent.iter().map(|t| t.arrived).sum();
        let open = self.recent.back().map_or(0, |t| t.waiting);
        self.recent.iter().all(|t| t.answered == 0 && t.waiting > 0 && awaited(t))
            && arrived + open >= policy.catastrophe_requests_min
    }

    fn is_slow(&self, median_limit_us: u64, policy: &Policy) -> bool {
        let limit = median_limit_us as f64 * policy.catastrophe_latency_ratio;
        let counted: u64 = self.recent.iter().map(|t| t.latencies.count()).sum();
        let all = self.recent.iter().all(|t| t.latencies.quantile(0.5).is_some_and(|m| m as f64 > limit));
        all && counted >= policy.catastrophe_requests_min
    }
}

/// Whether the app's crashes, oldest first, are a loop.
pub(crate) fn is_crash_loop(crashes: &[Time], now: Time, policy: &Policy) -> bool {
    let recent = crashes.iter().filter(|&&at| now.since(at) <= policy.crashes_within).count();
    recent >= policy.crashes as usize
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::window::Latencies;

    fn tick(judged: u64, failed: u64) -> Tick {
        Tick { judged, failed, arrived: judged, answered: judged, ended: judged, ..Tick::default() }
    }

    fn first_alarm(ticks: &[Tick], median: Option<u64>) -> Option<(usize, Arm)> {
        alarm(ticks, Known { median_limit_us: median, ..Known::default() })
    }

    fn alarm(ticks: &[Tick], known: Known) -> Option<(usize, Arm)> {
        let policy = Policy::default();
        let mut rule = Catastrophe::default();
        ticks.iter().enumerate().find_map(|(i, t)| rule.observe(t, known, &policy).map(|arm| (i + 1, arm)))
    }

    #[test]
    fn a_total_failure_fires_after_four_ticks_and_a_burst_of_three_does_not() {
        assert_eq!(first_alarm(&vec![tick(50, 50); 6], None), Some((4, Arm::Errors)));
        let burst = [tick(50, 0), tick(50, 25), tick(50, 50), tick(50, 25), tick(50, 0), tick(50, 50)];
        assert_eq!(first_alarm(&burst, None), None);
    }

    #[test]
    fn a_handful_of_failed_requests_is_no_catastrophe() {
        assert_eq!(first_alarm(&vec![tick(4, 4); 4], None), None);
        assert_eq!(first_alarm(&vec![tick(5, 5); 4], None), Some((4, Arm::Errors)));
    }

    #[test]
    fn a_hang_is_seen_although_nothing_ends() {
        let hang = Tick { arrived: 50, waiting: 200, overdue: 150, ..Tick::default() };
        assert_eq!(first_alarm(&vec![hang.clone(); 6], None), Some((4, Arm::Hang)));
        // One request that hangs beside answered ones is not a hang.
        let one = Tick { waiting: 1, overdue: 1, ..tick(50, 0) };
        assert_eq!(first_alarm(&vec![one; 6], None), None);
        // A closed loop of eight clients that all hang: arrivals stop.
        let closed = Tick { waiting: 8, overdue: 8, ..Tick::default() };
        assert_eq!(first_alarm(&vec![closed; 6], None), None, "too few to be told from long polls");
    }

    #[test]
    fn what_the_baseline_knows_is_no_catastrophe() {
        let failing = vec![tick(50, 15); 6];
        assert_eq!(alarm(&failing, Known::default()), Some((4, Arm::Errors)));
        assert_eq!(alarm(&failing, Known { errors_limit: 0.4, ..Known::default() }), None);
        // Twenty-five long polls that all came again after a deployment.
        let polls = vec![Tick { waiting: 25, arrived: 7, ..Tick::default() }; 6];
        assert_eq!(alarm(&polls, Known::default()), Some((4, Arm::Hang)));
        assert_eq!(alarm(&polls, Known { is_slow_marked: true, ..Known::default() }), None);
    }

    #[test]
    fn a_slow_median_needs_a_limit_to_be_held_against() {
        let slow = Tick { latencies: Latencies::new(vec![(60_000, 50)]), ..tick(50, 0) };
        assert_eq!(first_alarm(&vec![slow.clone(); 6], Some(10_000)), Some((4, Arm::Latency)));
        assert_eq!(first_alarm(&vec![slow; 6], None), None);
    }

    #[test]
    fn three_crashes_within_two_minutes_are_a_loop() {
        let policy = Policy::default();
        let at = |s: u64| Time::from_millis(s * 1000);
        assert!(is_crash_loop(&[at(0), at(60), at(119)], at(119), &policy));
        assert!(!is_crash_loop(&[at(0), at(60), at(121)], at(121), &policy));
        assert!(!is_crash_loop(&[at(0), at(60)], at(60), &policy));
        assert_eq!(policy.crashes_within, Duration::from_secs(120));
    }

    #[test]
    fn a_stalled_tick_is_no_evidence() {
        let stalled = Tick { stalled: true, ..tick(50, 50) };
        let mut ticks = vec![tick(50, 50); 3];
        ticks.push(stalled);
        ticks.extend(vec![tick(50, 50); 3]);
        assert_eq!(first_alarm(&ticks, None), None);
    }
}
