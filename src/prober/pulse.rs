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
