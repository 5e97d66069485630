//! What the app uses, sampled once a tick beside the control plane.
//!
//! Reading `/proc` may take milliseconds, so it is done on a thread of its own; what it found is put into the next window
//! that is sealed. It knows no limits.

use tokio::sync::oneshot;
use tracing::error;

use crate::clock::Clock;
use crate::engine::tick::Resources;
use crate::supervisor::Usage;

/// A sample is begun at every how-manieth seal: once a tick.
const EVERY: u32 = 5;

/// The samples of one app.
#[derive(Debug)]
pub(super) struct Sampling {
    clock: Clock,
    seals: u32,
    state: State,
}

/// At most one sample is under way.
#[derive(Debug)]
enum State {
    Idle(Usage),
    Busy(oneshot::Receiver<(Usage, Resources)>),
    /// A sample panicked, which was printed. There will be none any more.
    Failed,
}

impl Sampling {
    pub(super) const fn new(clock: Clock, usage: Usage) -> Self {
        Self { clock, seals: 0, state: State::Idle(usage) }
    }

    /// To be called at each seal, within a runtime: what has been found since the last one. The next sample is begun when
    /// it is due, of the app whose first process is `app`; where there is none, nothing is sampled.
    pub(super) fn take(&mut self, app: Option<u32>) -> Resources {
        let found = self.hear();
        if self.seals.is_multiple_of(EVERY)
            && let Some(app) = app
        {
            self.begin(app);
        }
        self.seals = self.seals.wrapping_add(1);
        found
    }

    fn hear(&mut self) -> Resources {
        let State::Busy(heard) = &mut self.state else { return Resources::default() };
        match heard.try_recv() {
            Ok((usage, found)) => {
                self.state = State::Idle(usage);
                found
            }
            Err(oneshot::error::TryRecvError::Empty) => Resources::default(),
            Err(oneshot::error::TryRecvError::Closed) => {
                error!("sampling failed: what the app uses is not judged until the next start");
                self.state = State::Failed;
                Resources::default()
            }
        }
    }

    /// One that takes longer than a tick is waited for: the sample that would be due then is left out.
    fn begin(&mut self, app: u32) {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(mut usage) => {
                let (found, heard) = oneshot::channel();
                let clock = self.clock;
                tokio::task::spawn_blocking(move || {
                    let sampled = usage.sample(app, clock.uptime());
                    // Nobody listens any more when the agent has ended.
                    let _ = found.send((usage, sampled));
                });
                self.state = State::Busy(heard);
            }
            state @ (State::Busy(_) | State::Failed) => self.state = state,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::supervisor::{CHILDREN_OF_TESTS, OwnChildren};

    async fn next(sampling: &mut Sampling, app: Option<u32>) -> Resources {
        let found = async {
            loop {
                let found = sampling.take(app);
                // Of a process that is just being made some figures cannot be read yet.
                if found.memory_bytes > Some(0) {
                    return found;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), found).await.expect("a sample comes in time")
    }

    /// The children of this very process, which other tests come and go with; ours is there throughout.
    #[tokio::test]
    async fn each_sample_is_told_once_and_none_is_begun_without_an_app() {
        let _alone = CHILDREN_OF_TESTS.lock().await;
        let mut child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = child.id();
        let mut sampling = Sampling::new(Clock::start(), Usage::new(OwnChildren::default()));
        let first = next(&mut sampling, pid).await;
        assert!(first.descriptors > Some(0), "{first:?}");
        let second = next(&mut sampling, pid).await;
        assert!(second.memory_bytes > Some(0) && second.cpu_millicores.is_some(), "{second:?}");
        // Whatever is still under way is heard; then there is silence.
        while matches!(sampling.state, State::Busy(_)) {
            sampling.take(None);
            tokio::task::yield_now().await;
        }
        for _ in 0..2 * EVERY {
            assert_eq!(sampling.take(None), Resources::default());
            assert!(matches!(sampling.state, State::Idle(_)), "{sampling:?}");
        }
        child.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_sample_is_begun_once_a_tick_and_one_at_a_time() {
        let mut sampling = Sampling::new(Clock::start(), Usage::new(OwnChildren::default()));
        sampling.take(Some(1));
        assert!(matches!(sampling.state, State::Busy(_)));
        let (_silent, heard) = oneshot::channel();
        sampling.state = State::Busy(heard);
        (0..2 * EVERY).for_each(|_| assert_eq!(sampling.take(Some(1)), Resources::default()));
        let (panicked, heard) = oneshot::channel();
        drop(panicked);
        sampling.state = State::Busy(heard);
        sampling.take(Some(1));
        assert!(matches!(sampling.state, State::Failed));
        (0..2 * EVERY).for_each(|_| assert_eq!(sampling.take(Some(1)), Resources::default()));
        assert!(matches!(sampling.state, State::Failed));
    }
}
