//! Idle connections to the app: one pool a worker, last in first out.
//!
//! The commonest harm a proxy does is to write on a kept connection in the moment when the app closes it. So a
//! connection is used only well below the app's own limit, which is learnt: from `Keep-Alive: timeout=N`, and from the
//! age at which the app was seen to close an idle one. What was seen is forgotten again, slowly: a worker that the app
//! recycles closes its connections at any age, and one such close shall not cost a pool for good. A new connection on loopback costs a tenth of a millisecond;
//! being stingy is cheap. The pool does not connect, and does not know what a request is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use crate::clock::Clock;
use crate::proxy::account::Progress;
use crate::proxy::body::RequestBody;
use crate::proxy::io::{Sink, Wire};

/// The read buffer of a connection to the app; a reply's head beyond it is a bad reply.
const BUFFER_MAX: usize = 64 * 1024;
/// Closes at a younger age are taken for an app that ends, not for its idle limit.
const OBSERVED_AGE_MIN: Duration = Duration::from_millis(20);
/// A request that must not be sent twice takes a connection that was idle for a quarter of the limit at most, and never
/// for longer than this: before the limit is learnt, a quarter of the configured one may be too old.
const CAREFUL_AGE_MAX: Duration = Duration::from_millis(50);

/// An observed limit rises by one in so many parts with each sweep (a second): tenfold in five minutes.
const FORGET: u64 = 128;

/// A connection to the app. Dropped, it is closed at once: HTTP/1.1 has no other way to cancel.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    wire: Arc<Wire>,
    idle_since_us: Rc<Cell<Option<u64>>>,
    generation: u64,
    driver: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// The idle connections of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    clock: Clock,
    idle: RefCell<Vec<Connection>>,
    /// At the bound a connection is closed instead of kept.
    idle_max: usize,
    configured_us: u64,
    /// What the app announced.
    announced_us: Cell<u64>,
    /// Half the age at which it closed an idle connection; rises with every sweep.
    observed_us: Cell<u64>,
    generation: Cell<u64>,
}

impl Pool {
    pub(super) fn new(clock: Clock, idle_limit: Duration, idle_max: usize) -> Self {
        let configured_us = micros(idle_limit);
        Self {
            clock,
            idle: RefCell::new(Vec::new()),
            idle_max,
            configured_us,
            announced_us: Cell::new(configured_us),
            observed_us: Cell::new(configured_us),
            generation: Cell::new(0),
        }
    }

    /// Speaks HTTP/1.1 on a new socket and drives it on this worker.
    pub(super) async fn adopt(
        self: &Rc<Self>,
        stream: TcpStream,
        generation: u64,
    ) -> Result<Connection, hyper::Error> {
        let (sink, wire) = Sink::new(stream);
        let (sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER_MAX).handshake(TokioIo::new(sink)).await?;
        let idle_since_us = Rc::new(Cell::new(None::<u64>));
        let (pool, idle) = (Rc::clone(self), Rc::clone(&idle_since_us));
        let driver = tokio::task::spawn_local(async move {
            // Its error, if any, is the exchange's, and is handled there.
            let _ = connection.with_upgrades().await;
            if let Some(since_us) = idle.take() {
                pool.saw_close(generation, pool.clock.micros().saturating_sub(since_us));
            }
        });
        Ok(Connection { sender, wire, idle_since_us, generation, driver: driver.abort_handle() })
    }

    /// The youngest usable idle connection. `careful`: for a request that must not be sent twice.
    pub(super) async fn take(&self, generation: u64, careful: bool) -> Option<Connection> {
        self.follow(generation);
        if self.idle.borrow().is_empty() {
            return None;
        }
        // The app's close may lie in the kernel, unseen: the drivers have their turn first.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let limit_us = self.limit_us();
        let age_max_us = if careful { (limit_us / 4).min(micros(CAREFUL_AGE_MAX)) } else { limit_us };
        let now_us = self.clock.micros();
        let mut idle = self.idle.borrow_mut();
        while let Some(connection) = idle.pop() {
            let age_us =
                connection.idle_since_us.get().map_or(u64::MAX, |since| now_us.saturating_sub(since));
            if connection.generation != generation || !connection.sender.is_ready() || age_us >= limit_us {
                continue;
            }
            if age_us >= age_max_us {
                // All others are older still.
                idle.push(connection);
                return None;
            }
            connection.idle_since_us.set(None);
            return Some(connection);
        }
        None
    }

    fn put(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if connection.generation == self.generation.get() && idle.len() < self.idle_max && self.limit_us() > 0
        {
            connection.idle_since_us.set(Some(self.clock.micros()));
            idle.push(connection);
        }
    }

    /// Closes what has been idle too long or was closed by the app.
    pub(super) fn sweep(&self, generation: u64) {
        self.follow(generation);
        let observed_us = self.observed_us.get();
        self.observed_us.set(self.configured_us.min(observed_us + observed_us / FORGET + 1));
        let (now_us, limit_us) = (self.clock.micros(), self.limit_us());
        self.idle.borrow_mut().retain(|c| {
            !c.sender.is_closed()
                && c.idle_since_us.get().is_some_and(|since| now_us.saturating_sub(since) < limit_us)
        });
    }

    /// The app said that it keeps idle connections for `seconds`.
    pub(super) fn heard_timeout(&self, seconds: u64) {
        let theirs_us = seconds.saturating_mul(1_000_000);
        let limit_us = theirs_us.saturating_sub(1_000_000).min(theirs_us / 10 * 6);
        self.announced_us.set(self.configured_us.min(limit_us));
    }

    fn saw_close(&self, generation: u64, age_us: u64) {
        if generation == self.generation.get() && age_us >= micros(OBSERVED_AGE_MIN) {
            self.observed_us.set(self.observed_us.get().min(age_us / 2));
        }
    }

    fn limit_us(&self) -> u64 {
        self.announced_us.get().min(self.observed_us.get())
    }

    /// With another start of the app, all that was kept and learnt is void.
    fn follow(&self, generation: u64) {
        if self.generation.replace(generation) != generation {
            self.idle.borrow_mut().clear();
            self.announced_us.set(self.configured_us);
            self.observed_us.set(self.configured_us);
        }
    }
}

/// A connection in use for one request.
#[derive(Debug)]
pub(super) struct Lease {
    connection: Connection,
    pool: Rc<Pool>,
    /// Whether it has served a request before.
    pub(super) reused: bool,
    keep: bool,
}

impl Lease {
    pub(super) fn new(pool: &Rc<Pool>, connection: Connection, reused: bool) -> Self {
        connection.wire.begin();
        Self { connection, pool: Rc::clone(pool), reused, keep: true }
    }

    /// Sends requests on it.
    pub(super) fn sender(&mut self) -> &mut SendRequest<RequestBody> {
        &mut self.connection.sender
    }

    /// Whether a byte of a reply has come.
    pub(super) fn has_replied(&self) -> bool {
        self.connection.wire.has_replied()
    }

    /// It will not be used again after this request.
    pub(super) fn spend(&mut self) {
        self.keep = false;
    }

    /// The whole reply was read: back to the pool, where that is safe.
    pub(super) fn release(self, progress: &Progress) {
        let good = self.keep
            && progress.is_sent()
            && !self.connection.wire.is_dead()
            && self.connection.sender.is_ready();
        if good {
            self.pool.put(self.connection);
        }
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_after(learn: impl FnOnce(&Pool)) -> u64 {
        let pool = Pool::new(Clock::start(), Duration::from_millis(1500), 4);
        learn(&pool);
        pool.limit_us() / 1000
    }

    #[test]
    fn the_idle_limit_stays_well_below_the_apps_own() {
        assert_eq!(limit_after(|p| p.heard_timeout(5)), 1500);
        assert_eq!(limit_after(|p| p.heard_timeout(2)), 1000);
        assert_eq!(limit_after(|p| p.heard_timeout(1)), 0);
        assert_eq!(limit_after(|p| p.saw_close(0, 100_000)), 50);
        assert_eq!(limit_after(|p| p.saw_close(0, 10_000)), 1500);
        assert_eq!(limit_after(|p| p.saw_close(7, 100_000)), 1500);
    }

    #[test]
    fn one_early_close_does_not_cost_the_pool_for_good() {
        let swept = |seconds: usize| {
            limit_after(|p| {
                p.saw_close(0, 30_000);
                (0..seconds).for_each(|_| p.sweep(0));
            })
        };
        assert_eq!(swept(0), 15);
        assert!((20..30).contains(&swept(60)), "{}", swept(60));
        assert_eq!(swept(900), 1500);
    }

    #[test]
    fn another_start_of_the_app_voids_what_was_learnt() {
        assert_eq!(
            limit_after(|p| {
                p.saw_close(0, 100_000);
                p.follow(1);
            }),
            1500
        );
    }
}
