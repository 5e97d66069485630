//! The rule that needs no baseline: armed from the first request, also while a release warms up.
//!
//! Windowed *and* persistent: an arm fires only when every one of the last few ticks agrees, so that a healthy service's
//! hard burst of some seconds does not fire it. The errors, the latency and the hang arm look at ticks; the crash arm looks
//! at the app's own ends.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::judge::binomial;
use crate::engine::judge::counts::Counts;
use crate::engine::judge::rest::Blame;
use crate::engine::policy::Policy;
use crate::engine::time::Time;
use crate::engine::verdict::Arm;

/// Beside a stable release failures are the judged one's if they are so many more than this multiple of the stable one's,
const BESIDE_RATIO: f64 = 1.5;
/// whose share is not known but for this probability,
const BESIDE_MISS: f64 = 0.01;
/// that chance brings them so rarely.
const BESIDE_BY_CHANCE: f64 = 1e-5;

/// What a baseline, where there is one, adds to the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Known {
    /// The share of failures that the baseline itself allows; zero without one.
    pub(crate) errors_limit: f64,
    /// `overdue` means slower than the baseline allows.
    pub(crate) is_slow_marked: bool,
    /// The baseline's own failures come in bursts: they must last a tick longer.
    pub(crate) is_clumped: bool,
}

/// What the rule remembers: the last few ticks, `catastrophe_ticks` of them or one more.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Catastrophe {
    recent: VecDeque<(Counts, Option<Counts>)>,
}

impl Catastrophe {
    /// Looks at one more tick, and at what the stable release beside did in it. A stalled tick is `None`.
    pub(crate) fn observe(
        &mut self,
        counts: Option<Counts>,
        control: Option<Counts>,
        known: Known,
        policy: &Policy,
    ) -> Option<Arm> {
        let Some(counts) = counts else {
            self.recent.clear();
            return None;
        };
        let keep = policy.catastrophe_ticks as usize + usize::from(known.is_clumped);
        while self.recent.len() >= keep {
            self.recent.pop_front();
        }
        self.recent.push_back((counts, control));
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
        self.is_slow(policy).then_some(Arm::Latency)
    }

    /// What the stable release did in these ticks; `None` where none runs, or nobody asks it anything.
    fn beside(&self) -> Option<Counts> {
        let sum: Counts = self.recent.iter().filter_map(|(_, control)| control.as_ref()).sum();
        (!sum.is_empty()).then_some(sum)
    }

    fn errors(&self, usual: f64, policy: &Policy) -> bool {
        let share = policy.catastrophe_error_share.max(usual);
        let judged: u64 = self.recent.iter().map(|(t, _)| t.judged).sum();
        let failed: u64 = self.recent.iter().map(|(t, _)| t.failed).sum();
        let all = self.recent.iter().all(|(t, _)| t.judged > 0 && t.failed as f64 > share * t.judged as f64);
        let is_ours = self.beside().is_none_or(|c| {
            let theirs = BESIDE_RATIO * binomial::upper_limit(c.judged, c.failed, BESIDE_MISS);
            binomial::upper_tail(judged, theirs.min(0.99), failed) <= BESIDE_BY_CHANCE
        });
        all && judged >= policy.catastrophe_requests_min && is_ours
    }

    /// Nothing was answered in any tick, while in each the app was awaited: beyond what the baseline knows, or, where there
    /// is none, by many.
    fn hangs(&self, is_slow_marked: bool, policy: &Policy) -> bool {
        let many = |t: &Counts| !is_slow_marked && t.waiting >= policy.catastrophe_requests_min;
        let awaited = |t: &Counts| t.overdue > 0 || many(t);
        let arrived: u64 = self.recent.iter().map(|(t, _)| t.arrived).sum();
        let open = self.recent.back().map_or(0, |(t, _)| t.waiting);
        let is_ours = self.beside().is_none_or(|c| c.answered > 0);
        self.recent.iter().all(|(t, _)| t.answered == 0 && t.waiting > 0 && awaited(t))
            && arrived + open >= policy.catastrophe_requests_min
            && is_ours
    }

    /// In each tick more than half of the requests took longer than the mark.
    fn is_slow(&self, policy: &Policy) -> bool {
        let timed: u64 = self.recent.iter().map(|(t, _)| t.timed).sum();
        let all = self.recent.iter().all(|(t, _)| 2 * t.hopeless > t.timed);
        let is_ours = self.beside().is_none_or(|c| 2 * c.hopeless < c.timed);
        all && timed >= policy.catastrophe_requests_min && is_ours
    }
}

/// What each replica did in the last few ticks: does the rule fire whichever of them is left out?
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ByReplica(VecDeque<Vec<(Arc<str>, Counts)>>);

impl ByReplica {
    /// Takes note of a tick of all replicas.
    pub(crate) fn observe(&mut self, parts: Vec<(Arc<str>, Counts)>, policy: &Policy) {
        // One more than the rule may need.
        while self.0.len() > policy.catastrophe_ticks as usize {
            self.0.pop_front();
        }
        self.0.push_back(parts);
    }

    /// Forgets the past, for a new start of the app.
    pub(crate) fn reset(&mut self) {
        self.0.clear();
    }

    /// Whose catastrophe it is. Of the rest of a service fewer requests are asked for.
    pub(crate) fn blame(&self, known: Known, policy: &Policy) -> Blame {
        let last = self.0.back().map(Vec::as_slice).unwrap_or_default();
        if last.len() < 2 {
            return Blame::All;
        }
        let rest_min = (policy.catastrophe_requests_min / 2).max(1);
        let policy = Policy { catastrophe_requests_min: rest_min, ..policy.clone() };
        let well = last.iter().filter(|(replica, _)| !self.fires_without(replica, known, &policy));
        match well.min_by(|(a, ca), (b, cb)| share(cb).total_cmp(&share(ca)).then_with(|| a.cmp(b))) {
            None => Blame::All,
            Some((replica, _)) => Blame::One(replica.clone()),
        }
    }

    fn fires_without(&self, replica: &Arc<str>, known: Known, policy: &Policy) -> bool {
        let mut rule = Catastrophe::default();
        let arms = self.0.iter().map(|parts| {
            let rest = parts.iter().filter(|(other, _)| other != replica).map(|(_, counts)| counts);
            rule.observe(Some(rest.sum()), None, known, policy)
        });
        arms.last().flatten().is_some()
    }
}

/// How ill a replica is: its share of failures, or of what it leaves unanswered.
fn share(counts: &Counts) -> f64 {
    let failed = counts.failed as f64 / counts.judged.max(1) as f64;
    let slow = counts.hopeless as f64 / counts.timed.max(1) as f64;
    let hangs = if counts.answered == 0 && counts.waiting > 0 { 1.0 } else { 0.0 };
    failed.max(slow).max(hangs)
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

    fn tick(judged: u64, failed: u64) -> Counts {
        Counts { judged, failed, timed: judged, arrived: judged, answered: judged, ..Counts::default() }
    }

    fn first_alarm(ticks: &[Counts]) -> Option<(usize, Arm)> {
        alarm(ticks, Known::default())
    }

    fn alarm(ticks: &[Counts], known: Known) -> Option<(usize, Arm)> {
        beside(ticks, None, known)
    }

    fn beside(ticks: &[Counts], control: Option<Counts>, known: Known) -> Option<(usize, Arm)> {
        let policy = Policy::default();
        let mut rule = Catastrophe::default();
        let mut each = ticks.iter().enumerate();
        each.find_map(|(i, t)| rule.observe(Some(*t), control, known, &policy).map(|arm| (i + 1, arm)))
    }

    #[test]
    fn a_total_failure_fires_after_four_ticks_and_a_burst_of_three_does_not() {
        assert_eq!(first_alarm(&vec![tick(50, 50); 6]), Some((4, Arm::Errors)));
        let burst = [tick(50, 0), tick(50, 25), tick(50, 50), tick(50, 25), tick(50, 0), tick(50, 50)];
        assert_eq!(first_alarm(&burst), None);
    }

    #[test]
    fn a_handful_of_failed_requests_is_no_catastrophe() {
        assert_eq!(first_alarm(&vec![tick(4, 4); 4]), None);
        assert_eq!(first_alarm(&vec![tick(5, 5); 4]), Some((4, Arm::Errors)));
    }

    #[test]
    fn a_hang_is_seen_although_nothing_ends() {
        let hang = Counts { arrived: 50, waiting: 200, overdue: 150, ..Counts::default() };
        assert_eq!(first_alarm(&vec![hang; 6]), Some((4, Arm::Hang)));
        // One request that hangs beside answered ones is not a hang.
        let one = Counts { waiting: 1, overdue: 1, ..tick(50, 0) };
        assert_eq!(first_alarm(&vec![one; 6]), None);
        // A closed loop of eight clients that all hang: arrivals stop.
        let closed = Counts { waiting: 8, overdue: 8, ..Counts::default() };
        assert_eq!(first_alarm(&vec![closed; 6]), None, "too few to be told from long polls");
    }

    #[test]
    fn what_the_baseline_knows_is_no_catastrophe() {
        let failing = vec![tick(50, 15); 6];
        assert_eq!(alarm(&failing, Known::default()), Some((4, Arm::Errors)));
        assert_eq!(alarm(&failing, Known { errors_limit: 0.4, ..Known::default() }), None);
        // Twenty-five long polls that all came again after a deployment.
        let polls = vec![Counts { waiting: 25, arrived: 7, ..Counts::default() }; 6];
        assert_eq!(alarm(&polls, Known::default()), Some((4, Arm::Hang)));
        assert_eq!(alarm(&polls, Known { is_slow_marked: true, ..Known::default() }), None);
    }

    #[test]
    fn a_median_beyond_the_mark_fires_and_one_within_does_not() {
        let slow = Counts { hopeless: 26, ..tick(50, 0) };
        assert_eq!(first_alarm(&vec![slow; 6]), Some((4, Arm::Latency)));
        assert_eq!(first_alarm(&vec![Counts { hopeless: 25, ..slow }; 6]), None);
    }

    #[test]
    fn what_the_stable_release_suffers_as_well_is_no_catastrophe_of_this_one() {
        let known = Known::default();
        let hang = Counts { arrived: 50, waiting: 200, overdue: 150, ..Counts::default() };
        let slow = Counts { hopeless: 40, ..tick(50, 0) };
        for (ill, arm) in [(tick(50, 50), Arm::Errors), (hang, Arm::Hang), (slow, Arm::Latency)] {
            assert_eq!(beside(&[ill; 6], Some(tick(450, 0)), known), Some((4, arm)));
            assert_eq!(beside(&[ill; 6], Some(ill), known), None);
            // Nobody asks it anything: it proves nothing.
            assert_eq!(beside(&[ill; 6], Some(Counts::default()), known), Some((4, arm)));
        }
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
        let (policy, mut rule) = (Policy::default(), Catastrophe::default());
        let ill = Some(tick(50, 50));
        for counts in [ill, ill, ill, None, ill, ill, ill] {
            assert_eq!(rule.observe(counts, None, Known::default(), &policy), None);
        }
        assert_eq!(rule.observe(ill, None, Known::default(), &policy), Some(Arm::Errors));
    }
}
