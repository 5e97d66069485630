//! A worker: one thread with its own connections, its own pool and its own shard of the recorder.
//!
//! Workers share nothing that is written on the way of a request but two counters of their own line. A panic in one
//! connection's task ends that connection only.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::engine::observation::{Method, Outcome};
use crate::proxy::forward;
use crate::proxy::io::Tap;
use crate::proxy::plan::{LocalPages, Plan};
use crate::proxy::pool::Pool;
use crate::proxy::tunnel::Tunnel;
use crate::recorder::Shard;

/// The read buffer and the write queue of a client's connection; a head beyond it is answered 431.
const BUFFER_MAX: usize = 64 * 1024;
/// How often idle connections to the app are looked through.
const SWEEP: Duration = Duration::from_millis(250);
/// When a connection is to end, requests that lie in the kernel are still read for this long.
const LAST_READ: Duration = Duration::from_millis(200);
/// After our end of a connection, what the client still sends is read and dropped for this long, and up to this many
/// bytes: closing at once would reset the connection and destroy the reply on its way. Beyond, it is closed.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same, once the listener is closed.
const LINGER_AT_STOP: Duration = Duration::from_millis(500);

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
    pub(super) shard: Arc<Shard>,
    pub(super) clock: Clock,
    pub(super) local: LocalPages,
    pub(super) control: Arc<Control>,
}

/// What the requests of one worker share.
pub(super) struct Worker {
    index: usize,
    pub(super) settings: Arc<config::Proxy>,
    pub(super) plan: Arc<ArcSwap<Plan>>,
    pub(super) shard: Arc<Shard>,
    pub(super) clock: Clock,
    pub(super) local: LocalPages,
    pub(super) control: Arc<Control>,
    pub(super) pool: Rc<Pool>,
    /// The app was last reached on `::1`.
    pub(super) loopback_v6: Cell<bool>,
    /// Connections are being ended by us, at a deadline.
    pub(super) cutting: Rc<Cell<bool>>,
}

impl Worker {
    fn new(seed: Seed) -> Self {
        let pool = Pool::new(seed.clock, seed.settings.upstream_idle, seed.settings.upstream_idle_max);
        Self {
            index: seed.index,
            settings: seed.settings,
            plan: seed.plan,
            shard: seed.shard,
            clock: seed.clock,
            local: seed.local,
            control: seed.control,
            pool: Rc::new(pool),
            loopback_v6: Cell::new(false),
            cutting: Rc::new(Cell::new(false)),
        }
    }

    pub(super) fn load(&self) -> &Load {
        &self.control.loads[self.index]
    }
}

/// What the requests of one client's connection share.
pub(super) struct Line {
    pub(super) worker: Rc<Worker>,
    pub(super) peer: SocketAddr,
    /// Whether the socket is to be reset instead of closed.
    pub(super) reset: Arc<AtomicBool>,
    /// What the connection becomes when HTTP has ended on it.
    pub(super) tunnel: RefCell<Option<Tunnel>>,
}

/// Serves what is handed over until the acceptor has gone and all connections have ended, or the cut; says how many
/// were cut.
pub(super) async fn run(seed: Seed, mut accepted: mpsc::Receiver<Handoff>) -> usize {
    let worker = Rc::new(Worker::new(seed));
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let cut = worker.control.cut.clone();
    let mut accepting = true;
    while accepting || !connections.is_empty() {
        tokio::select! {
            () = cut.cancelled() => break,
            handoff = accepted.recv(), if accepting => match handoff {
                Some(handoff) => {
                    connections.spawn_local(serve(Rc::clone(&worker), handoff));
                }
                None => accepting = false,
            },
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!(error = &error as &dyn std::error::Error, "connection task failed");
                }
            }
            _ = sweep.tick() => worker.pool.sweep(worker.plan.load().stable.generation),
        }
    }
    worker.cutting.set(true);
    let left = connections.len();
    connections.shutdown().await;
    left
}

async fn serve(worker: Rc<Worker>, handoff: Handoff) {
    let Handoff { stream, peer, place } = handoff;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "connection was not registered");
            return;
        }
    };
    // Without it small replies wait for acknowledgements: slower, not wrong.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let tap = Tap::new(stream, Arc::clone(&reset));
    let line = Rc::new(Line { worker, peer, reset, tunnel: RefCell::new(None) });
    converse(&line, tap).await;
    drop(place);
}

async fn converse(line: &Rc<Line>, tap: Tap) {
    let worker = &line.worker;
    let service = service_fn(|request| {
        let line = Rc::clone(line);
        async move { Ok::<_, Infallible>(forward::handle(line, request).await) }
    });
    let mut connection = http1::Builder::new()
        .half_close(false)
        .pipeline_flush(false)
        .max_buf_size(BUFFER_MAX)
        .max_header_size(BUFFER_MAX)
        .timer(TokioTimer::new())
        .header_read_timeout(worker.settings.idle_timeout)
        .serve_connection(TokioIo::new(tap), service)
        .with_upgrades();
    let stop = &worker.control.stop;
    let result = tokio::select! {
        biased;
        result = &mut connection => result,
        () = stopped(stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    let unread = match result {
        Ok(()) => true,
        Err(error) if error.is_parse() => {
            // hyper answered it; no service saw it.
            worker.shard.refused(Method::Other, 400, Outcome::ClientFault);
            true
        }
        Err(error) => {
            tracing::debug!(error = &error as &dyn std::error::Error, peer = %line.peer, "connection ended");
            false
        }
    };
    let tunnel = line.tunnel.take();
    if let Some(tunnel) = tunnel {
        tunnel.run().await;
    } else if unread && let Some(parts) = connection.into_parts() {
        linger(parts.io.into_inner(), stop).await;
    }
}

/// The stop, and a little later.
async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(LAST_READ).await;
}

async fn linger(mut tap: Tap, stop: &CancellationToken) {
    let mut dropped = 0;
    let mut buffer = [0; 8 * 1024];
    let reading = async {
        while let Ok(n @ 1..) = tap.stream().read(&mut buffer).await {
            dropped += n;
            if dropped > LINGER_BYTES_MAX {
                break;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = tokio::time::sleep(LINGER) => {}
        () = async { stop.cancelled().await; tokio::time::sleep(LINGER_AT_STOP).await } => {}
    }
}
