//! When an app that has ended is started again. Pure: it is told the time and one throw of chance.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::Restart;
use crate::engine::record::Exit;

/// The pause before a start, doubled from the first to the second while starts fail one after another.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// An app that ran for so long did start; its end begins a new row.
const STEADY: Duration = Duration::from_secs(60);
/// So many ends
const ENDS_MAX: usize = 5;
/// within this time are too many: a person, or the platform, must see it.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What follows an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The agent ends with it.
    End,
    /// It ended too often, so the agent ends with it.
    GiveUp,
    /// It is started again after this pause.
    Again(Duration),
}

/// The ends of the app so far.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: Restart,
    ends: VecDeque<Duration>,
    row: u32,
}

impl Restarts {
    pub(super) fn new(policy: Restart) -> Self {
        Self { policy, ends: VecDeque::new(), row: 0 }
    }

    /// The app, which was started at `began`, ended at `now` (both on the process's clock). `chance`: from 0 to 1.
    pub(super) fn ended(&mut self, began: Duration, now: Duration, exit: Exit, chance: f64) -> Next {
        match self.policy {
            Restart::Never => return Next::End,
            Restart::OnFailure if !exit.is_crash() => return Next::End,
            Restart::OnFailure | Restart::Always => {}
        }
        self.ends.retain(|&end| now.saturating_sub(end) < ENDS_WITHIN);
        self.ends.push_back(now);
        if self.ends.len() >= ENDS_MAX {
            return Next::GiveUp;
        }
        let steady = now.saturating_sub(began) >= STEADY;
        self.row = if steady { 1 } else { self.row.saturating_add(1) };
        let doubled = PAUSE.0.saturating_mul(1 << (self.row - 1).min(16));
        // Replicas that fell together shall not rise together.
        Next::Again(doubled.min(PAUSE.1).mul_f64(0.5 + chance / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRASH: Exit = Exit { code: Some(1), signal: None };
    const DONE: Exit = Exit { code: Some(0), signal: None };

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_policy_says_which_ends_are_final() {
        let next = |policy, exit| Restarts::new(policy).ended(secs(0), secs(1), exit, 1.0);
        let again = Next::Again(Duration::from_millis(250));
        assert_eq!([next(Restart::Never, CRASH), next(Restart::Never, DONE)], [Next::End, Next::End]);
        assert_eq!([next(Restart::OnFailure, CRASH), next(Restart::OnFailure, DONE)], [again, Next::End]);
        assert_eq!([next(Restart::Always, CRASH), next(Restart::Always, DONE)], [again, again]);
        let killed = Exit { code: None, signal: Some(9) };
        assert_eq!(next(Restart::OnFailure, killed), again);
    }

    #[test]
    fn the_pause_doubles_to_ten_seconds_and_a_steady_run_begins_anew() {
        let mut restarts = Restarts::new(Restart::OnFailure);
        // Each run takes 20 s, so that four ends never fall within a minute and more.
        let mut pause = |began, now| match restarts.ended(secs(began), secs(now), CRASH, 1.0) {
            Next::Again(pause) => pause.as_millis(),
            other @ (Next::End | Next::GiveUp) => panic!("{other:?} at {now}"),
        };
        let pauses: Vec<u128> = (0..8).map(|i| pause(i * 20, i * 20 + 20)).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(pause(160, 220), 250);
    }

    #[test]
    fn chance_takes_half_of_the_pause_at_most() {
        let pause = |chance| Restarts::new(Restart::Always).ended(secs(0), secs(1), CRASH, chance);
        assert_eq!(pause(0.0), Next::Again(Duration::from_millis(125)));
        assert_eq!(pause(0.5), Next::Again(Duration::from_micros(187_500)));
    }

    #[test]
    fn five_ends_within_a_minute_are_too_many() {
        let mut restarts = Restarts::new(Restart::OnFailure);
        for second in 1..=4 {
            assert!(matches!(restarts.ended(secs(0), secs(second), CRASH, 0.0), Next::Again(_)));
        }
        assert_eq!(restarts.ended(secs(0), secs(60), CRASH, 0.0), Next::GiveUp);
        let mut restarts = Restarts::new(Restart::OnFailure);
        for second in 1..=4 {
            restarts.ended(secs(0), secs(second), CRASH, 0.0);
        }
        assert!(
            matches!(restarts.ended(secs(0), secs(61), CRASH, 0.0), Next::Again(_)),
            "the first is forgotten"
        );
    }
}
