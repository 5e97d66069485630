//! Is it me? A heartbeat on the runtime that the probes run on: where it comes late, an answer that seemed to be missing may
//! have been there all along.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// How often it beats.
const BEAT: Duration = Duration::from_millis(100);
/// Lateness below this is the timer's and the scheduler's own.
const LATE_MIN: Duration = Duration::from_millis(20);
/// How many late beats are remembered; the oldest is forgotten. A late one is late by at least [`LATE_MIN`].
const LATE_MAX: usize = 64;

/// How late the runtime has been lately.
pub(super) struct Pulse {
    clock: Clock,
    /// When a beat came late, and by how much.
    late: Mutex<VecDeque<(Instant, Duration)>>,
    last: Mutex<Instant>,
}

impl Pulse {
    /// Starts to beat, within a runtime, until `shutdown`.
    pub(super) fn start(clock: Clock, shutdown: CancellationToken) -> Arc<Self> {
        let pulse =
            Arc::new(Self { clock, late: Mutex::new(VecDeque::new()), last: Mutex::new(clock.instant()) });
        let beating = Arc::clone(&pulse);
        tokio::spawn(async move {
            let mut beat = tokio::time::interval(BEAT);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = shutdown.cancelled() => return,
                    _ = beat.tick() => beating.beat(),
                }
            }
        });
        pulse
    }

    fn beat(&self) {
        let now = self.clock.instant();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let late = now.duration_since(*last).saturating_sub(BEAT);
        *last = now;
        if late < LATE_MIN {
            return;
        }
        let mut all = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() == LATE_MAX {
            all.pop_front();
        }
        all.push_back((now, late));
    }

    /// By how much the runtime was late at most within the last `span`. A beat that is due and has not come counts, too.
    pub(super) fn worst_within(&self, span: Duration) -> Duration {
        let now = self.clock.instant();
        let due = now.duration_since(*self.last.lock().unwrap_or_else(PoisonError::into_inner));
        let outstanding = Some(due.saturating_sub(BEAT)).filter(|late| *late >= LATE_MIN).unwrap_or_default();
        let all = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            all.iter().filter(|(at, _)| now.duration_since(*at) <= span + BEAT).map(|(_, late)| *late);
        recent.max().unwrap_or_default().max(outstanding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALL: Duration = Duration::from_millis(600);

    /// Waits for a beat after `moment`.
    async fn beaten_after(pulse: &Pulse, moment: Instant) {
        while *pulse.last.lock().unwrap() <= moment {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_stalled_runtime_is_seen_during_the_stall_and_after_it() {
        let clock = Clock::start();
        let shutdown = CancellationToken::new();
        let pulse = Pulse::start(clock, shutdown.clone());
        beaten_after(&pulse, clock.instant()).await;
        // The stall is what is tested: nothing else runs on this runtime meanwhile.
        std::thread::sleep(STALL);
        let seen = pulse.worst_within(Duration::ZERO);
        assert!(seen >= STALL - 2 * BEAT, "a beat that is due counts: {seen:?}");
        let over = clock.instant();
        beaten_after(&pulse, over).await;
        let seen = pulse.worst_within(clock.instant().duration_since(over));
        assert!(seen >= STALL - 2 * BEAT, "a beat that came late counts: {seen:?}");
        shutdown.cancel();
    }

    #[tokio::test]
    async fn what_was_late_long_ago_or_hardly_is_forgotten() {
        let clock = Clock::start();
        let now = clock.instant();
        let pulse = Pulse { clock, late: Mutex::new(VecDeque::new()), last: Mutex::new(now) };
        let before = |time: Duration| now.checked_sub(time).unwrap();
        pulse.late.lock().unwrap().push_back((before(Duration::from_secs(60)), Duration::from_secs(5)));
        pulse.late.lock().unwrap().push_back((before(Duration::from_secs(30)), Duration::from_secs(2)));
        assert_eq!(pulse.worst_within(Duration::from_secs(90)), Duration::from_secs(5));
        assert_eq!(pulse.worst_within(Duration::from_secs(45)), Duration::from_secs(2));
        for _ in 0..2 * LATE_MAX {
            *pulse.last.lock().unwrap() = before(Duration::from_secs(1));
            pulse.beat();
        }
        assert_eq!(pulse.late.lock().unwrap().len(), LATE_MAX, "the oldest are forgotten");
    }
}
