//! The data path: listening, forwarding, timing, and whose fault a failure was.
//!
//! Owns the public listener, the clients' connections and those to the app. One acceptor hands each connection to one of
//! a few workers; a worker is a thread that owns its connections, its pool and its shard of the recorder, so that
//! nothing on a request's way is shared or waits for anyone else. hyper does the framing; the contract is ours:
//!
//! - bytes that the app would have seen, it sees, but for the headers of one hop and the few that are added;
//! - a request is never sent twice unless nothing of it was executed;
//! - a truncated reply looks truncated, and no buffer grows with a body;
//! - every request has one outcome, charged to whom it belongs.
//!
//! It does not know releases, verdicts or what a slow request is: it reads a [`Plan`], writes to the recorder, and is
//! told when to drain.

mod accept;
mod account;
mod asked;
mod buffer;
mod client;
mod connect;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
mod h1;
mod plan;
mod pool;
mod refusal;
mod relay;
mod socket;
mod split;
mod starving;
mod tunnel;
mod watch;
mod worker;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
pub use crate::proxy::plan::{Arm, LocalPage, LocalPages, LocalRequest, Phase, Plan, Upstream};
pub use crate::proxy::split::{ArmId, Choice, Key, Mirror, Share, Split};
use crate::proxy::worker::{Control, Handoff, Load, Seed};
use crate::recorder::Shard;

/// Before a worker that failed is started again: a fault that comes back at once must not become a busy loop.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// After the cut, how long the workers may take to say what they cut; then they are left to themselves.
const CUT_WAIT: Duration = Duration::from_secs(1);

/// Why the data path could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are fewer shards than workers.
    #[error("{workers} workers need as many shards, not {shards}")]
    Shards {
        /// Workers.
        workers: usize,
        /// Shards.
        shards: usize,
    },
    /// The listener could not be taken over.
    #[error("take over the public listener")]
    Listener(#[source] std::io::Error),
    /// A runtime could not be made.
    #[error("make the runtime of `{thread}`")]
    Runtime {
        /// For which thread.
        thread: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A thread could not be started.
    #[error("start the thread `{thread}`")]
    Thread {
        /// Which.
        thread: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections and tunnels that were still open at the deadline and were cut.
    pub cut: usize,
}

/// The running data path. Dropped, it is cut.
#[derive(Debug)]
pub struct DataPlane {
    address: SocketAddr,
    control: Arc<Control>,
    /// Each worker's last word; taken by the first [`DataPlane::finish`].
    ended: Mutex<Vec<oneshot::Receiver<usize>>>,
}

/// Where requests are recorded: one shard a worker, in order, for each of the two apps of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Shards<'a> {
    /// Of the app that serves.
    pub stable: &'a [Arc<Shard>],
    /// Of the one beside it.
    pub candidate: &'a [Arc<Shard>],
}

/// Starts the acceptor and the workers.
pub fn start(
    settings: config::Proxy,
    listener: std::net::TcpListener,
    plan: Arc<ArcSwap<Plan>>,
    shards: Shards<'_>,
    clock: Clock,
    local: LocalPages,
) -> Result<DataPlane, StartError> {
    let workers = settings.workers.max(1);
    let least = shards.stable.len().min(shards.candidate.len());
    if least < workers {
        return Err(StartError::Shards { workers, shards: least });
    }
    let address = listener.local_addr().map_err(StartError::Listener)?;
    listener.set_nonblocking(true).map_err(StartError::Listener)?;
    let control = Arc::new(Control {
        draining: AtomicBool::new(false),
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
        held: AtomicUsize::new(0),
        in_flight: AtomicUsize::new(0),
        starving: Arc::default(),
        freed: Notify::new(),
        loads: (0..workers).map(|_| Load::default()).collect(),
    });
    let connections_max = settings.connections_max.max(1);
    let settings = Arc::new(settings);
    let mut senders = Vec::new();
    let mut ended = Vec::new();
    // From here on a failure drops it, which ends the threads that have started.
    let plane = |ended| DataPlane { address, control: Arc::clone(&control), ended: Mutex::new(ended) };
    for (index, pair) in shards.stable.iter().zip(shards.candidate).take(workers).enumerate() {
        let seed = Seed {
            index,
            settings: Arc::clone(&settings),
            plan: Arc::clone(&plan),
            shards: [Arc::clone(pair.0), Arc::clone(pair.1)],
            clock,
            local: Arc::clone(&local),
            control: Arc::clone(&control),
        };
        let (sender, accepted) = mpsc::channel(accept::HANDOFFS_MAX);
        senders.push(sender);
        match start_worker(seed, accepted) {
            Ok(end) => ended.push(end),
            Err(error) => {
                drop(plane(ended));
                return Err(error);
            }
        }
    }
    let plane = plane(ended);
    let acceptor = accept::Acceptor { control: Arc::clone(&control), workers: senders, connections_max };
    start_acceptor(acceptor, listener)?;
    Ok(plane)
}

fn start_worker(
    seed: Seed,
    mut accepted: mpsc::Receiver<Handoff>,
) -> Result<oneshot::Receiver<usize>, StartError> {
    let name = format!("proxy-{}", seed.index);
    let runtime = runtime(&name)?;
    let (said, ended) = oneshot::channel();
    spawn(name, move || {
        let cut = persistently(|| LocalSet::new().block_on(&runtime, worker::run(&seed, &mut accepted)));
        // Nobody may be asking any more.
        let _ = said.send(cut);
    })?;
    Ok(ended)
}

/// Runs `work` to its end, and again from its start where it panics: what it held is lost, what comes next is served.
fn persistently<T>(mut work: impl FnMut() -> T) -> T {
    loop {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(&mut work)) {
            Ok(done) => return done,
            Err(_panic) => {
                // The panic itself was told by the process's hook.
                tracing::error!(
                    "a worker of the data path failed and is started again; its connections are lost"
                );
                std::thread::sleep(RESTART_PAUSE);
            }
        }
    }
}

fn start_acceptor(acceptor: accept::Acceptor, listener: std::net::TcpListener) -> Result<(), StartError> {
    let name = "proxy-accept".to_owned();
    let runtime = runtime(&name)?;
    let listener = {
        let _entered = runtime.enter();
        tokio::net::TcpListener::from_std(listener).map_err(StartError::Listener)?
    };
    spawn(name, move || runtime.block_on(acceptor.run(listener)))
}

fn runtime(thread: &str) -> Result<Runtime, StartError> {
    let built = Builder::new_current_thread().enable_all().thread_name(thread).build();
    built.map_err(|source| StartError::Runtime { thread: thread.to_owned(), source })
}

fn spawn(thread: String, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
    let spawned = std::thread::Builder::new().name(thread.clone()).spawn(run);
    spawned.map(drop).map_err(|source| StartError::Thread { thread, source })
}

impl DataPlane {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many client connections are open, tunnels among them.
    pub fn open_connections(&self) -> usize {
        self.control.loads.iter().map(|load| load.open.load(Ordering::Relaxed)).sum()
    }

    /// When the last request arrived that was not for our own pages: microseconds of the process's clock, zero if none
    /// has.
    pub fn last_arrival_us(&self) -> u64 {
        let arrivals = self.control.loads.iter().map(|load| load.last_arrival_us.load(Ordering::Relaxed));
        arrivals.max().unwrap_or(0)
    }

    /// From now on every reply carries `Connection: close`. Connections are still accepted: the edge may go on to route
    /// here for some seconds, and closing idle ones would race with its next request.
    pub fn begin_drain(&self) {
        self.control.draining.store(true, Ordering::Relaxed);
    }

    /// Cuts what is open, without waiting for it: a running [`DataPlane::finish`] then ends.
    pub fn cut(&self) {
        self.control.cut.cancel();
    }

    /// Empties the accept queue, stops listening, lets every connection end its exchange, and after `deadline` cuts
    /// what is left, tunnels and streams among them, without a clean end.
    pub async fn finish(&self, deadline: Duration) -> Drained {
        self.begin_drain();
        self.control.stop.cancel();
        let ended = std::mem::take(&mut *self.ended.lock().expect("no holder of this lock panics"));
        let mut all = std::pin::pin!(futures_util::future::join_all(ended));
        let ends = match tokio::time::timeout(deadline, &mut all).await {
            Ok(ends) => ends,
            Err(_) => {
                self.control.cut.cancel();
                tokio::time::timeout(CUT_WAIT, all).await.unwrap_or_default()
            }
        };
        Drained { cut: ends.into_iter().map(Result::unwrap_or_default).sum() }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.control.stop.cancel();
        self.control.cut.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_is_started_again() {
        let mut starts = 0;
        let done = persistently(|| {
            starts += 1;
            assert!(starts == 3, "the worker fails twice");
            "served"
        });
        assert_eq!((done, starts), ("served", 3));
    }
}
