//! Time limits without timers: one look in a while at all connections of a worker.
//!
//! A timer a request would cost more than the request's parsing. Instead each connection writes down by which turn of
//! the worker's sweep it wants to have heard something, and the sweep wakes those that have waited too long. So a limit
//! is kept to one turn, a quarter of a second by default; where a shorter limit is configured the turns are shorter.
//!
//! It does not know what a limit is for: whoever waits decides what a late answer means.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::config;

/// The time between two sweeps, at most
const TURN_MAX: Duration = Duration::from_millis(250);
/// and at least.
const TURN_MIN: Duration = Duration::from_millis(25);
/// A limit is kept to this share of itself, until the shortest turn is reached.
const TURNS_PER_LIMIT: u32 = 20;
/// No limit.
const NEVER: u64 = u64::MAX;

/// Whom a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// The client, to send something.
    ClientSends,
    /// The client, to take something.
    ClientTakes,
    /// The app, to take or to send something.
    App,
}

const LIMITS: usize = 3;

/// The wait was longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

/// What one connection waits for.
#[derive(Debug)]
pub(super) struct Watch {
    /// The turn at which each limit is over.
    until: [Cell<u64>; LIMITS],
    waker: RefCell<Option<Waker>>,
    place: Cell<usize>,
    watches: Rc<Watches>,
}

impl Watch {
    /// The time until `limit` is over begins anew; zero: it never is.
    fn arm(&self, limit: Limit, span: Duration, cx: &Context<'_>) {
        let turns = self.watches.turns(span);
        let until = if turns == 0 { NEVER } else { self.watches.turn.get() + turns };
        self.until[limit as usize].set(until);
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }

    /// Nobody is waited for any more.
    pub(super) fn disarm(&self, limit: Limit) {
        self.until[limit as usize].set(NEVER);
    }

    /// Whether `limit` is over.
    pub(super) fn is_late(&self, limit: Limit) -> bool {
        self.until[limit as usize].get() <= self.watches.turn.get()
    }

    /// Whether idle connections are to end.
    pub(super) fn is_closing(&self) -> bool {
        self.watches.closing.get()
    }

    /// The time until `limit` is over begins, unless it has begun.
    pub(super) fn arm_once(&self, limit: Limit, span: Duration, cx: &Context<'_>) {
        if self.until[limit as usize].get() == NEVER {
            self.arm(limit, span, cx);
        }
    }

    /// Polls `what` under a limit that begins when it first has to wait; the caller re-arms by asking again.
    pub(super) fn poll<T>(
        &self,
        limit: Limit,
        span: Duration,
        cx: &mut Context<'_>,
        what: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Late>> {
        if let Poll::Ready(done) = what(cx) {
            self.disarm(limit);
            return Poll::Ready(Ok(done));
        }
        if self.is_late(limit) {
            self.disarm(limit);
            return Poll::Ready(Err(Late));
        }
        self.arm_once(limit, span, cx);
        Poll::Pending
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watches.leave(self.place.get());
    }
}

/// All connections of one worker.
#[derive(Debug)]
pub(super) struct Watches {
    /// Counts the sweeps.
    turn: Cell<u64>,
    length: Duration,
    closing: Cell<bool>,
    all: RefCell<Vec<std::rc::Weak<Watch>>>,
}

impl Watches {
    /// Turns short enough for every limit of `settings`.
    pub(super) fn new(settings: &config::Proxy) -> Self {
        let limits = [
            settings.idle_timeout,
            settings.head_timeout,
            settings.body_timeout,
            settings.send_timeout,
            settings.response_timeout,
        ];
        let shortest = limits.into_iter().filter(|limit| !limit.is_zero()).min().unwrap_or(TURN_MAX);
        let length = (shortest / TURNS_PER_LIMIT).clamp(TURN_MIN, TURN_MAX);
        Self { turn: Cell::new(0), length, closing: Cell::new(false), all: RefCell::default() }
    }

    /// The time between two sweeps.
    pub(super) const fn length(&self) -> Duration {
        self.length
    }

    /// A place among the watched.
    pub(super) fn enrol(self: &Rc<Self>) -> Rc<Watch> {
        let mut all = self.all.borrow_mut();
        let watch = Rc::new(Watch {
            until: [const { Cell::new(NEVER) }; LIMITS],
            waker: RefCell::new(None),
            place: Cell::new(all.len()),
            watches: Rc::clone(self),
        });
        all.push(Rc::downgrade(&watch));
        watch
    }

    fn leave(&self, place: usize) {
        let mut all = self.all.borrow_mut();
        all.swap_remove(place);
        // The one that was moved may itself be on its way out: then its place is of no use any more.
        if let Some(moved) = all.get(place).and_then(std::rc::Weak::upgrade) {
            moved.place.set(place);
        }
    }

    /// One turn: wakes whoever has waited too long.
    pub(super) fn sweep(&self) {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        self.wake(|watch| watch.until.iter().any(|until| until.get() <= turn));
    }

    /// From now on idle connections end.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.wake(|_| true);
    }

    fn wake(&self, whom: impl Fn(&Watch) -> bool) {
        for watch in self.all.borrow().iter().filter_map(std::rc::Weak::upgrade) {
            if whom(&watch)
                && let Some(waker) = &*watch.waker.borrow()
            {
                waker.wake_by_ref();
            }
        }
    }

    /// A span in turns, rounded up, and one more because the present turn has begun already; zero for no limit.
    fn turns(&self, span: Duration) -> u64 {
        if span.is_zero() {
            return 0;
        }
        let turns = span.as_micros().div_ceil(self.length.as_micros());
        u64::try_from(turns).unwrap_or(NEVER / 2) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watches() -> Rc<Watches> {
        Rc::new(Watches::new(&config::Proxy::default()))
    }

    #[test]
    fn a_limit_is_over_after_its_turns_and_not_before() {
        let watches = watches();
        let watch = watches.enrol();
        let mut cx = Context::from_waker(Waker::noop());
        let mut wait = || watch.poll(Limit::App, Duration::from_secs(3), &mut cx, |_| Poll::<()>::Pending);
        for _ in 0..13 {
            assert_eq!(wait(), Poll::Pending);
            watches.sweep();
        }
        assert_eq!(wait(), Poll::Ready(Err(Late)));
        assert_eq!(wait(), Poll::Pending, "the next wait begins anew");
    }

    #[test]
    fn what_came_in_time_disarms_and_zero_is_no_limit() {
        let watches = watches();
        let watch = watches.enrol();
        let mut cx = Context::from_waker(Waker::noop());
        let second = Duration::from_millis(250);
        assert_eq!(watch.poll(Limit::App, second, &mut cx, |_| Poll::<()>::Pending), Poll::Pending);
        assert_eq!(watch.poll(Limit::App, second, &mut cx, |_| Poll::Ready(7)), Poll::Ready(Ok(7)));
        (0..9).for_each(|_| watches.sweep());
        assert!(!watch.is_late(Limit::App));
        assert_eq!(
            watch.poll(Limit::ClientSends, Duration::ZERO, &mut cx, |_| Poll::<()>::Pending),
            Poll::Pending
        );
        (0..9).for_each(|_| watches.sweep());
        assert!(!watch.is_late(Limit::ClientSends));
    }

    #[test]
    fn places_are_given_back_in_any_order() {
        let watches = watches();
        let mut held: Vec<_> = (0..5).map(|_| watches.enrol()).collect();
        for at in [1, 0, 2, 1, 0] {
            held.remove(at);
            let places: Vec<_> = held.iter().map(|watch| watch.place.get()).collect();
            let mut sorted = places.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..held.len()).collect::<Vec<_>>(), "{places:?}");
        }
        assert!(watches.all.borrow().is_empty());
    }

    #[test]
    fn turns_are_short_enough_for_the_shortest_limit() {
        let with = |limit| {
            let settings = config::Proxy { response_timeout: limit, ..config::Proxy::default() };
            Watches::new(&settings).length()
        };
        assert_eq!(with(Duration::from_secs(320)), Duration::from_millis(250));
        assert_eq!(with(Duration::from_secs(2)), Duration::from_millis(100));
        assert_eq!(with(Duration::from_millis(100)), Duration::from_millis(25));
    }
}
