//! Idle connections to the app: one pool a worker and arm, last in first out.
//!
//! The commonest harm a proxy does is to write on a kept connection in the moment when the app closes it. So a
//! connection is used only well below the app's own limit, which is learnt: from `Keep-Alive: timeout=N`, and from the
//! age at which the app was seen to close an idle one. What was seen is forgotten again, slowly: a worker that the app
//! recycles closes its connections at any age, and one such close shall not cost a pool for good. A new connection on
//! loopback costs a tenth of a millisecond; being stingy is cheap. The pool does not connect, and does not know what a
//! request is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::Clock;
use crate::proxy::plan::{Arm, Upstream};
use crate::proxy::socket::AppSocket;

/// Closes at a younger age are taken for an app that ends, not for its idle limit.
const OBSERVED_AGE_MIN: Duration = Duration::from_millis(20);
/// A request that must not be sent twice takes a connection that was idle for a quarter of the limit at most, and never
/// for longer than this: before the limit is learnt, a quarter of the configured one may be too old.
const CAREFUL_AGE_MAX: Duration = Duration::from_millis(50);
/// A connection that was idle for less is taken as it is; beyond, the kernel is asked whether the app has closed it.
const ASKED_AGE_MIN_US: u64 = 1_000;
/// An observed limit rises by one in so many parts each second: tenfold in five minutes.
const FORGET: u64 = 128;
/// How often that happens.
const FORGET_EVERY_US: u64 = 1_000_000;

/// A connection to the app. Dropped, it is closed at once: HTTP/1.1 has no other way to cancel.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: AppSocket,
    idle_since_us: u64,
    /// Which of the pool's apps it leads to.
    epoch: u64,
    /// Its last reply had no body.
    bodyless: bool,
}

/// The idle connections of one worker to one arm.
#[derive(Debug)]
pub(super) struct Pool {
    clock: Clock,
    idle: RefCell<Vec<Connection>>,
    /// At the bound a connection is closed instead of kept.
    idle_max: usize,
    configured_us: u64,
    /// What the app announced.
    announced_us: Cell<u64>,
    /// Half the age at which it closed an idle connection; rises again with time.
    observed_us: Cell<u64>,
    forgot_us: Cell<u64>,
    generation: Cell<u64>,
    /// Whose connections these are.
    upstream: RefCell<Option<Upstream>>,
    /// Counts the apps, and the starts of each, that were followed.
    epoch: Cell<u64>,
    /// Woken when the app does something on an idle connection.
    watcher: RefCell<Waker>,
}

impl Pool {
    pub(super) fn new(clock: Clock, idle_limit: Duration, idle_max: usize) -> Rc<Self> {
        let configured_us = micros(idle_limit);
        Rc::new(Self {
            clock,
            idle: RefCell::new(Vec::new()),
            idle_max,
            configured_us,
            announced_us: Cell::new(configured_us),
            observed_us: Cell::new(configured_us),
            forgot_us: Cell::new(0),
            generation: Cell::new(0),
            upstream: RefCell::new(None),
            epoch: Cell::new(0),
            watcher: RefCell::new(Waker::noop().clone()),
        })
    }

    /// Watches the idle connections for closes by the app, for as long as it is polled.
    pub(super) async fn watch(&self) {
        std::future::poll_fn(|cx| {
            if !self.watcher.borrow().will_wake(cx.waker()) {
                *self.watcher.borrow_mut() = cx.waker().clone();
            }
            let now_us = self.clock.micros();
            let mut closed_us = None;
            self.idle.borrow_mut().retain(|connection| {
                let stirs = connection.socket.poll_stirs(cx).is_ready();
                if stirs {
                    let age_us = now_us.saturating_sub(connection.idle_since_us);
                    closed_us = Some(closed_us.unwrap_or(age_us).min(age_us));
                }
                !stirs
            });
            if let Some(age_us) = closed_us {
                self.saw_close(age_us);
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// The youngest usable idle connection. `careful`: for a request that must not be sent twice.
    pub(super) fn take(&self, arm: &Arm, careful: bool) -> Option<Connection> {
        self.follow(arm);
        let mut idle = self.idle.borrow_mut();
        let limit_us = self.limit_us();
        let age_max_us = if careful { (limit_us / 4).min(micros(CAREFUL_AGE_MAX)) } else { limit_us };
        let now_us = self.clock.micros();
        while let Some(connection) = idle.pop() {
            let age_us = now_us.saturating_sub(connection.idle_since_us);
            if age_us >= limit_us {
                continue;
            }
            if age_us >= age_max_us {
                // All others are older still.
                idle.push(connection);
                return None;
            }
            let is_doubtful = careful || connection.bodyless || age_us >= ASKED_AGE_MIN_US;
            if is_doubtful && !connection.socket.is_silent() {
                continue;
            }
            return Some(connection);
        }
        None
    }

    fn put(&self, mut connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if connection.epoch != self.epoch.get() || idle.len() >= self.idle_max {
            return;
        }
        let watcher = self.watcher.borrow();
        let mut cx = Context::from_waker(&watcher);
        if self.limit_us() > 0 && connection.socket.poll_stirs(&mut cx).is_pending() {
            connection.idle_since_us = self.clock.micros();
            idle.push(connection);
        }
    }

    /// Closes what has been idle too long.
    pub(super) fn sweep(&self) {
        let now_us = self.clock.micros();
        self.forget(now_us);
        let limit_us = self.limit_us();
        self.idle.borrow_mut().retain(|c| now_us.saturating_sub(c.idle_since_us) < limit_us);
    }

    fn forget(&self, now_us: u64) {
        if now_us.saturating_sub(self.forgot_us.get()) >= FORGET_EVERY_US {
            self.forgot_us.set(now_us);
            let observed_us = self.observed_us.get();
            self.observed_us.set(self.configured_us.min(observed_us + observed_us / FORGET + 1));
        }
    }

    /// Closes all that is idle; whether there was any.
    pub(super) fn empty(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let had_some = !idle.is_empty();
        idle.clear();
        had_some
    }

    /// The app said that it keeps idle connections for `seconds`.
    pub(super) fn heard_timeout(&self, seconds: u64) {
        let theirs_us = seconds.saturating_mul(1_000_000);
        let limit_us = theirs_us.saturating_sub(1_000_000).min(theirs_us / 10 * 6);
        self.announced_us.set(self.configured_us.min(limit_us));
    }

    fn saw_close(&self, age_us: u64) {
        if age_us >= micros(OBSERVED_AGE_MIN) {
            self.observed_us.set(self.observed_us.get().min(age_us / 2));
        }
    }

    fn limit_us(&self) -> u64 {
        self.announced_us.get().min(self.observed_us.get())
    }

    /// With another start of the app, or another app, all that was kept and learnt is void.
    pub(super) fn follow(&self, arm: &Arm) {
        let is_same = self.generation.replace(arm.generation) == arm.generation
            && self.upstream.borrow().as_ref() == Some(&arm.upstream);
        if !is_same {
            *self.upstream.borrow_mut() = Some(arm.upstream.clone());
            self.epoch.set(self.epoch.get() + 1);
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
}

impl Lease {
    /// An idle connection of `pool`.
    pub(super) fn again(pool: &Rc<Pool>, connection: Connection) -> Self {
        Self { connection, pool: Rc::clone(pool), reused: true }
    }

    /// A connection to `arm` that was just made.
    pub(super) fn fresh(pool: &Rc<Pool>, socket: AppSocket, arm: &Arm) -> Self {
        pool.follow(arm);
        let epoch = pool.epoch.get();
        let connection = Connection { socket, idle_since_us: 0, epoch, bodyless: false };
        Self { connection, pool: Rc::clone(pool), reused: false }
    }

    /// Its socket.
    pub(super) fn socket(&mut self) -> &mut AppSocket {
        &mut self.connection.socket
    }

    /// Its socket, for good.
    pub(super) fn into_socket(self) -> AppSocket {
        self.connection.socket
    }

    /// The exchange ended as it should and both sides can go on: back to the pool.
    pub(super) fn release(mut self, bodyless: bool) {
        self.connection.bodyless = bodyless;
        self.pool.put(self.connection);
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
        assert_eq!(limit_after(|p| p.saw_close(100_000)), 50);
        assert_eq!(limit_after(|p| p.saw_close(10_000)), 1500);
    }

    #[test]
    fn one_early_close_does_not_cost_the_pool_for_good() {
        let swept = |seconds: usize| {
            limit_after(|p| {
                p.saw_close(30_000);
                for _ in 0..seconds {
                    p.forgot_us.set(0);
                    p.forget(FORGET_EVERY_US);
                }
            })
        };
        assert_eq!(swept(0), 15);
        assert!((20..30).contains(&swept(60)), "{}", swept(60));
        assert_eq!(swept(900), 1500);
    }

    #[test]
    fn another_app_or_start_of_it_voids_what_was_learnt() {
        assert_eq!(
            limit_after(|p| {
                p.saw_close(100_000);
                p.follow(&Arm {
                    upstream: Upstream::Loopback { port: 1 },
                    generation: 0,
                    phase: crate::proxy::plan::Phase::Serving,
                });
            }),
            1500
        );
    }
}
