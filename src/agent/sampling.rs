//! What the app uses, and the container and we ourselves, sampled once a tick beside the control plane.
//!
//! Reading `/proc` and the control groups may take milliseconds, so it is done on a thread of its own. What the app uses is
//! put into the next window that is sealed; of the host the last sample is kept, to be shown. It knows no limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::error;

use crate::clock::Clock;
use crate::engine::host::HostState;
use crate::engine::tick::Resources;
use crate::host::Host;
use crate::supervisor::Usage;

/// A sample is begun at every how-manieth seal: once a tick.
const EVERY: u32 = 5;

/// The samples of one app and of the host.
#[derive(Debug)]
pub(super) struct Sampling {
    clock: Clock,
    seals: u32,
    state: State,
    /// The last sample of the host.
    host: Option<Arc<HostState>>,
    /// By how much a seal was late at most since then.
    late_us: u64,
}

/// What is older is not shown any more.
const STALE: Duration = Duration::from_secs(30);

/// At most one sample is under way.
#[derive(Debug)]
enum State {
    Idle(Box<Samplers>),
    Busy(oneshot::Receiver<(Box<Samplers>, Found)>),
    /// A sample panicked, which was printed. There will be none any more.
    Failed,
}

/// What reads.
#[derive(Debug)]
struct Samplers {
    usage: Usage,
    host: Host,
}

/// What was read.
#[derive(Debug)]
struct Found {
    app: Resources,
    host: HostState,
}

impl Samplers {
    /// Without an app there is nothing to say of it, and of the host there is.
    fn sample(&mut self, clock: Clock, app: Option<u32>) -> Found {
        let (resources, pids) = match app {
            Some(app) => (self.usage.sample(app, clock.uptime()), self.usage.pids()),
            None => (Resources::default(), Vec::new()),
        };
        Found { app: resources, host: self.host.sample(clock.now(), clock.uptime(), &pids) }
    }
}

impl Sampling {
    pub(super) fn new(clock: Clock, usage: Usage, host: Host) -> Self {
        let state = State::Idle(Box::new(Samplers { usage, host }));
        Self { clock, seals: 0, state, host: None, late_us: 0 }
    }

    /// To be called at each seal, within a runtime: what the app, whose first process is `app`, was found to use since the
    /// last one. The next sample is begun when it is due.
    pub(super) fn take(&mut self, app: Option<u32>) -> Resources {
        let found = self.hear();
        if self.seals.is_multiple_of(EVERY) {
            self.begin(app);
        }
        self.seals = self.seals.wrapping_add(1);
        found
    }

    /// The control loop sealed so much too late: how far our own events lag.
    pub(super) const fn was_late(&mut self, by_us: u64) {
        if by_us > self.late_us {
            self.late_us = by_us;
        }
    }

    /// The last sample of the host; `None` before the first, and where none has come for long: a disk may hang.
    pub(super) fn host(&self) -> Option<Arc<HostState>> {
        let now = self.clock.now();
        self.host.clone().filter(|host| now.since(host.at) <= STALE)
    }

    fn hear(&mut self) -> Resources {
        let State::Busy(heard) = &mut self.state else { return Resources::default() };
        match heard.try_recv() {
            Ok((samplers, Found { app, mut host })) => {
                self.state = State::Idle(samplers);
                host.agent.loop_lag_us = Some(std::mem::take(&mut self.late_us));
                self.host = Some(Arc::new(host));
                app
            }
            Err(oneshot::error::TryRecvError::Empty) => Resources::default(),
            Err(oneshot::error::TryRecvError::Closed) => {
                error!("sampling failed: what the app uses is not judged until the next start");
                self.state = State::Failed;
                // What it was would soon be untrue.
                self.host = None;
                Resources::default()
            }
        }
    }

    /// One that takes longer than a tick is waited for: the sample that would be due then is left out.
    fn begin(&mut self, app: Option<u32>) {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(mut samplers) => {
                let (found, heard) = oneshot::channel();
                let clock = self.clock;
                tokio::task::spawn_blocking(move || {
                    let sampled = samplers.sample(clock, app);
                    // Nobody listens any more when the agent has ended.
                    let _ = found.send((samplers, sampled));
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

    fn sampling() -> Sampling {
        let host = Host::new(std::env::temp_dir());
        Sampling::new(Clock::start(), Usage::new(OwnChildren::default()), host)
    }

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
    async fn each_sample_is_told_once_and_without_an_app_nothing_is_said_of_it() {
        let _alone = CHILDREN_OF_TESTS.lock().await;
        let mut child = tokio::process::Command::new("sleep").arg("60").kill_on_drop(true).spawn().unwrap();
        let pid = child.id();
        let mut sampling = sampling();
        let first = next(&mut sampling, pid).await;
        assert!(first.descriptors > Some(0), "{first:?}");
        let second = next(&mut sampling, pid).await;
        assert!(second.memory_bytes > Some(0) && second.cpu_millicores.is_some(), "{second:?}");
        let host = sampling.host().unwrap();
        assert_eq!(host.descriptors.app.map(|of| of.open.used > 0), Some(true), "{host:?}");
        // Whatever is still under way is heard; then there is silence.
        sampling.seals = 1;
        while matches!(sampling.state, State::Busy(_)) {
            sampling.take(None);
            sampling.seals = 1;
            tokio::task::yield_now().await;
        }
        let mut later = 0;
        while later < 3 {
            assert_eq!(sampling.take(None), Resources::default());
            let now = sampling.host().unwrap();
            if now.at > host.at && now.descriptors.app.is_none() {
                later += 1;
            }
            tokio::task::yield_now().await;
        }
        child.kill().await.unwrap();
    }

    #[tokio::test]
    async fn a_sample_is_begun_once_a_tick_and_one_at_a_time() {
        let mut sampling = sampling();
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

    #[tokio::test]
    async fn the_host_is_sampled_without_an_app_and_told_how_late_the_loop_was() {
        let mut sampling = sampling();
        assert_eq!(sampling.host(), None);
        sampling.was_late(700);
        sampling.was_late(300);
        let found = async {
            loop {
                assert_eq!(sampling.take(None), Resources::default());
                if let Some(host) = sampling.host() {
                    return host;
                }
                tokio::task::yield_now().await;
            }
        };
        let host =
            tokio::time::timeout(Duration::from_secs(30), found).await.expect("a sample comes in time");
        assert_eq!(host.agent.loop_lag_us, Some(700));
        assert!(host.agent.resident > Some(0) && host.agent.threads > Some(0), "{host:?}");
        assert_eq!(sampling.late_us, 0, "it is told once");
    }
}
