//! A worker: one thread with its own connections, its own pool and its own shard of the recorder.
//!
//! Workers share nothing that is written on the way of a request but two counters of their own line. A panic in one
//! connection's task ends that connection only.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::io::AsyncRead;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::engine::time::Time;
use crate::proxy::buffer::{Buffer, Buffers};
use crate::proxy::client;
use crate::proxy::connect::Reached;
use crate::proxy::plan::{Arm, LocalPages, Phase, Plan};
use crate::proxy::pool::Pool;
use crate::proxy::split::mirror::Copies;
use crate::proxy::split::{ArmId, Counter};
use crate::proxy::starving::{Starving, Waits};
use crate::proxy::watch::Watches;
use crate::recorder::Shard;

/// When a connection is to end, requests that lie in the kernel are still read for this long.
const LAST_READ: Duration = Duration::from_millis(200);
/// The length of a date in a head, as in `Sun, 06 Nov 1994 08:49:37 GMT`.
const DATE_LEN: usize = 29;

/// What all threads of the data path share.
#[derive(Debug)]
pub(super) struct Control {
    /// Replies carry `Connection: close`.
    pub(super) draining: AtomicBool,
    /// The listener closes; connections end when they are idle.
    pub(super) stop: CancellationToken,
    /// What is left is cut.
    pub(super) cut: CancellationToken,
    /// Requests that wait for the app, in all workers.
    pub(super) held: AtomicUsize,
    /// Requests that are at the app, in all workers; counted where there is a limit.
    pub(super) in_flight: AtomicUsize,
    /// Whether kept connections are in the way of requests.
    pub(super) starving: Arc<Starving>,
    /// A connection ended: the acceptor may have been waiting for it.
    pub(super) freed: Notify,
    pub(super) loads: Box<[Load]>,
}

/// One worker's own counters.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Load {
    pub(super) open: AtomicUsize,
    pub(super) last_arrival_us: AtomicU64,
}

/// An accepted connection, on its way to a worker; counted until it is dropped.
pub(super) struct Handoff {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) place: Place,
}

/// One of the connections that are open at once.
pub(super) struct Place {
    control: Arc<Control>,
    index: usize,
}

impl Place {
    pub(super) fn take(control: &Arc<Control>, index: usize) -> Self {
        control.loads[index].open.fetch_add(1, Ordering::Relaxed);
        Self { control: Arc::clone(control), index }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.control.loads[self.index].open.fetch_sub(1, Ordering::Relaxed);
        self.control.freed.notify_one();
    }
}

/// What a worker is made of; sent to its thread.
pub(super) struct Seed {
    pub(super) index: usize,
    pub(super) settings: Arc<config::Proxy>,
    pub(super) plan: Arc<ArcSwap<Plan>>,
    /// Of the stable arm and the candidate.
    pub(super) shards: [Arc<Shard>; 2],
    pub(super) clock: Clock,
    pub(super) local: LocalPages,
    pub(super) control: Arc<Control>,
}

/// What the requests of one worker share.
pub(super) struct Worker {
    index: usize,
    pub(super) settings: Arc<config::Proxy>,
    pub(super) plan: Arc<ArcSwap<Plan>>,
    shards: [Arc<Shard>; 2],
    pub(super) clock: Clock,
    pub(super) local: LocalPages,
    pub(super) control: Arc<Control>,
    pools: [Rc<Pool>; 2],
    reached: [Reached; 2],
    pub(super) buffers: Buffers,
    pub(super) watches: Rc<Watches>,
    /// Connections are being ended by us, at a deadline.
    pub(super) cutting: Rc<Cell<bool>>,
    date: Cell<[u8; DATE_LEN]>,
    /// What went where, of requests and of their copies.
    pub(super) chosen: Counter,
    pub(super) mirrored: Counter,
    pub(super) copies: Copies,
    pub(super) waits: Waits,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("index", &self.index).finish_non_exhaustive()
    }
}

impl Worker {
    fn new(seed: &Seed) -> Self {
        let settings = &seed.settings;
        let pool = || Pool::new(seed.clock, settings.upstream_idle, settings.upstream_idle_max);
        Self {
            index: seed.index,
            settings: Arc::clone(settings),
            plan: Arc::clone(&seed.plan),
            shards: seed.shards.clone(),
            clock: seed.clock,
            local: Arc::clone(&seed.local),
            control: Arc::clone(&seed.control),
            pools: [pool(), pool()],
            reached: Default::default(),
            buffers: Buffers::default(),
            watches: Rc::new(Watches::new(settings)),
            cutting: Rc::new(Cell::new(false)),
            date: Cell::new(date(seed.clock.now())),
            chosen: Counter::new(fastrand::u64(..)),
            mirrored: Counter::new(fastrand::u64(..)),
            copies: Copies::default(),
            waits: Waits::new(Arc::clone(&seed.control.starving)),
        }
    }

    pub(super) fn load(&self) -> &Load {
        &self.control.loads[self.index]
    }

    /// Whether clients are to come back on other connections.
    pub(super) fn is_draining(&self) -> bool {
        self.control.draining.load(Ordering::Relaxed)
    }

    /// Where what belongs to no arm is counted.
    pub(super) fn shard(&self) -> &Arc<Shard> {
        self.shard_of(ArmId::Stable)
    }

    pub(super) fn shard_of(&self, arm: ArmId) -> &Arc<Shard> {
        &self.shards[arm as usize]
    }

    pub(super) fn pool(&self, arm: ArmId) -> &Rc<Pool> {
        &self.pools[arm as usize]
    }

    pub(super) fn reached(&self, arm: ArmId) -> &Reached {
        &self.reached[arm as usize]
    }

    /// The arm as the plan has it; a candidate may have gone since it was chosen.
    #[expect(clippy::unused_self, reason = "reads as what it is: the worker's view of a plan")]
    pub(super) fn arm<'p>(&self, plan: &'p Plan, id: ArmId) -> Option<&'p Arm> {
        match id {
            ArmId::Stable => Some(&plan.stable),
            ArmId::Candidate => plan.split.as_ref().map(|split| &split.candidate),
        }
    }

    pub(super) fn phase(&self, id: ArmId) -> Phase {
        self.arm(&self.plan.load(), id).map_or(Phase::Gone, |arm| arm.phase)
    }

    /// The date for replies that have none, to the second or so.
    pub(super) fn date(&self) -> [u8; DATE_LEN] {
        self.date.get()
    }

    /// Reads once. A buffer in which nothing lies is lent for the moment of the read only: who waits holds none.
    pub(super) fn poll_fill(
        &self,
        buffer: &mut Buffer,
        reader: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        if !buffer.is_lent() {
            *buffer = self.buffers.buffer();
        }
        let read = buffer.poll_fill(reader, cx);
        if read.is_pending() && buffer.is_empty() && !buffer.is_large() {
            self.buffers.give(std::mem::take(buffer));
        }
        read
    }

    /// What is due once in a while.
    fn sweep(&self, late_us: u64) {
        self.watches.sweep();
        self.shard().lag(late_us);
        self.date.set(date(self.clock.now()));
        self.waits.sweep(self.clock.micros());
        let keeps_none = self.control.starving.keeps_none(|| self.clock.micros());
        let plan = self.plan.load();
        for id in [ArmId::Stable, ArmId::Candidate] {
            if let Some(arm) = self.arm(&plan, id) {
                self.pool(id).follow(arm);
            }
            self.pool(id).sweep();
            if keeps_none && self.pool(id).empty() {
                self.control.starving.closed(self.clock.micros());
            }
        }
    }
}

fn date(now: Time) -> [u8; DATE_LEN] {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(now.as_millis());
    let text = httpdate::fmt_http_date(at);
    let mut date = [b' '; DATE_LEN];
    for (to, from) in date.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    date
}

/// Serves what is handed over until the acceptor has gone and all connections have ended, or the cut; says how many
/// were cut.
pub(super) async fn run(seed: &Seed, accepted: &mut mpsc::Receiver<Handoff>) -> usize {
    let worker = Rc::new(Worker::new(seed));
    let mut connections = JoinSet::new();
    let watchers: Vec<_> = worker.pools.iter().map(|pool| watch(Rc::clone(pool))).collect();
    let turn = worker.watches.length();
    let mut sweep = tokio::time::interval(turn);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut due_us = worker.clock.micros();
    let cut = worker.control.cut.clone();
    let mut stopped = std::pin::pin!(stopped(worker.control.stop.clone()));
    let (mut accepting, mut closing) = (true, false);
    while accepting || !connections.is_empty() {
        tokio::select! {
            () = cut.cancelled() => break,
            handoff = accepted.recv(), if accepting => match handoff {
                Some(handoff) => {
                    connections.spawn_local(client::serve(Rc::clone(&worker), handoff));
                }
                None => accepting = false,
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(error = &error as &dyn std::error::Error, "connection task failed");
                }
            }
            _ = sweep.tick() => {
                let now_us = worker.clock.micros();
                worker.sweep(now_us.saturating_sub(due_us));
                due_us = now_us + turn.as_micros() as u64;
            }
            () = &mut stopped, if !closing => {
                closing = true;
                worker.watches.close();
            }
        }
    }
    worker.cutting.set(true);
    let left = connections.len();
    connections.shutdown().await;
    for watcher in watchers {
        watcher.abort();
    }
    left
}

fn watch(pool: Rc<Pool>) -> tokio::task::AbortHandle {
    tokio::task::spawn_local(async move { pool.watch().await }).abort_handle()
}

/// The stop, and a little later.
async fn stopped(stop: CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_READ).await;
}
