//! An app that serves one connection at a time, or one a thread, is starved by the connections that are kept to it: the
//! next request waits on a new connection until an idle one is closed.
//!
//! So a request that has waited for a while on a new connection without a byte is taken for a sign, and while there is
//! one, connections are closed after their request and the idle ones at once. If the request is answered right after
//! that, it was so, and for some time no connection is kept. If it is not, it was merely slow; after a few of those the
//! sign is not believed for a while. What it costs to be wrong is a new connection a request, a tenth of a millisecond
//! on loopback.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// A wait on a new connection that is taken for a sign.
const SIGN_US: u64 = 500_000;
/// An answer so soon after connections were closed was held up by them.
const SOON_US: u64 = 300_000;
/// How long no connection is kept to an app that was starved.
const ALONE_US: u64 = 600_000_000;
/// After so many signs that were none,
const DOUBTS_MAX: u32 = 3;
/// signs are not believed for so long.
const DOUBT_US: u64 = 60_000_000;
/// How many waits one worker looks at; more are not.
const WAITS_MAX: usize = 1024;

/// What all workers know of it.
#[derive(Debug, Default)]
pub(super) struct Starving {
    /// Requests whose wait is a sign.
    signs: AtomicUsize,
    /// When connections were first closed because of one; zero while none were.
    closed_us: AtomicU64,
    /// Until when none is kept.
    alone_until_us: AtomicU64,
    doubts: AtomicU32,
    doubted_us: AtomicU64,
}

impl Starving {
    /// Whether no connection is to be kept at `now_us`.
    pub(super) fn keeps_none(&self, now_us: impl FnOnce() -> u64) -> bool {
        let (signs, alone) =
            (self.signs.load(Ordering::Relaxed), self.alone_until_us.load(Ordering::Relaxed));
        if signs == 0 && alone == 0 {
            return false;
        }
        let now_us = now_us();
        let is_believed = self.doubts.load(Ordering::Relaxed) < DOUBTS_MAX
            || now_us.saturating_sub(self.doubted_us.load(Ordering::Relaxed)) > DOUBT_US;
        now_us < alone || signs > 0 && is_believed
    }

    /// Idle connections were closed because of a sign. Only the first time counts while there is one: an answer soon
    /// after that was held up by them, a later one was not.
    pub(super) fn closed(&self, now_us: u64) {
        let _ = self.closed_us.compare_exchange(0, now_us, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn answered(&self, now_us: u64) {
        let closed_us = self.closed_us.load(Ordering::Relaxed);
        if closed_us > 0 && now_us.saturating_sub(closed_us) < SOON_US {
            if self.alone_until_us.swap(now_us + ALONE_US, Ordering::Relaxed) < now_us {
                tracing::warn!("the app serves few connections at a time, so none is kept to it for now");
            }
            self.doubts.store(0, Ordering::Relaxed);
        } else {
            self.doubted_us.store(now_us, Ordering::Relaxed);
            self.doubts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The waits of one worker.
#[derive(Debug)]
pub(super) struct Waits {
    starving: Arc<Starving>,
    all: RefCell<Vec<Weak<Wait>>>,
}

/// One request's wait for the first byte on a new connection.
#[derive(Debug)]
pub(super) struct Wait {
    since_us: u64,
    is_sign: Cell<bool>,
    starving: Arc<Starving>,
}

impl Waits {
    pub(super) fn new(starving: Arc<Starving>) -> Self {
        Self { starving, all: RefCell::default() }
    }

    /// A wait begins.
    pub(super) fn begin(&self, now_us: u64) -> Rc<Wait> {
        let wait = Rc::new(Wait {
            since_us: now_us,
            is_sign: Cell::new(false),
            starving: Arc::clone(&self.starving),
        });
        let mut all = self.all.borrow_mut();
        if all.len() < WAITS_MAX {
            all.push(Rc::downgrade(&wait));
        }
        drop(all);
        wait
    }

    /// Looks for signs.
    pub(super) fn sweep(&self, now_us: u64) {
        let mut all = self.all.borrow_mut();
        all.retain(|wait| {
            let Some(wait) = wait.upgrade() else { return false };
            let is_sign = now_us.saturating_sub(wait.since_us) >= SIGN_US;
            if is_sign {
                wait.is_sign.set(true);
                self.starving.signs.fetch_add(1, Ordering::Relaxed);
            }
            !is_sign
        });
    }
}

impl Wait {
    /// The first byte came.
    pub(super) fn answered(&self, now_us: impl FnOnce() -> u64) {
        if self.is_sign.get() {
            self.starving.answered(now_us());
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.is_sign.get() && self.starving.signs.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.starving.closed_us.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits() -> (Waits, Arc<Starving>) {
        let starving = Arc::new(Starving::default());
        (Waits::new(Arc::clone(&starving)), starving)
    }

    #[test]
    fn an_answer_right_after_connections_were_closed_says_that_they_were_in_the_way() {
        let (waits, starving) = waits();
        let wait = waits.begin(1);
        waits.sweep(1000);
        assert!(!starving.keeps_none(|| 1000));
        waits.sweep(600_000);
        assert!(starving.keeps_none(|| 600_000));
        starving.closed(600_000);
        wait.answered(|| 610_000);
        drop(wait);
        assert!(starving.keeps_none(|| 610_000 + ALONE_US - 1));
        assert!(!starving.keeps_none(|| 610_000 + ALONE_US));
    }

    #[test]
    fn an_app_that_is_merely_slow_is_doubted_thrice_and_then_left_its_connections() {
        let (waits, starving) = waits();
        for round in 0..4 {
            let at = round * 10_000_000;
            let wait = waits.begin(at);
            waits.sweep(at + SIGN_US);
            // The sweep looks again and again, and closes what it finds each time.
            for look in 0..18 {
                let now_us = at + SIGN_US + look * 250_000;
                assert_eq!(starving.keeps_none(|| now_us), round < 3, "{round}");
                starving.closed(now_us);
            }
            wait.answered(|| at + 5_000_000);
        }
        assert!(!starving.keeps_none(|| 50_000_000));
    }
}
