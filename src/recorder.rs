//! The open window: what the data path writes and the agent seals each second.
//!
//! One shard a worker, each behind its own mutex and on its own cache lines: the worker is the only writer, so the
//! lock is uncontended but for the moment of the seal, and costs less than the clock reading beside it. Sealing swaps
//! the histogram for an empty one and copies the counters, so the data path never waits for whoever reads.
//!
//! **What has not finished is not forgotten.** A hung app finishes nothing, and a histogram of finished requests would
//! call it healthy. So each open request has a slot; at the seal, those that have waited for the app longer than the
//! *slow mark* are recorded with the age reached, once, and not again when they end.
//!
//! It does not know what a latency means: the slow mark is set by the engine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::engine::baseline::LATENCY_US_RANGE;
use crate::engine::observation::{Method, Outcome, StatusClass};
use crate::engine::time::Time;
use crate::engine::window::{Count, Latencies, Window};

const METHODS: usize = Method::ALL.len();
const STATUSES: usize = StatusClass::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// Until the engine has set a slow mark, a request that has waited this long is overdue. Its age is not recorded as a
/// latency then: without a baseline nobody knows what is slow, and the true latency, which is to become the baseline, comes
/// when it is answered.
pub const OVERDUE_DEFAULT: Duration = Duration::from_secs(10);
/// No slow mark is set.
const UNSET: u64 = u64::MAX;

/// An open request's place in its shard. Every ticket must be given back by [`Shard::end`].
#[derive(Debug)]
pub struct Ticket(u32);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Free,
    /// The request is on its way to the app.
    Sending,
    /// The app has the whole request and has not answered.
    Waiting {
        since_us: u64,
        /// Its age was recorded as a latency already.
        recorded: bool,
    },
    /// The reply's head came; what follows depends on the client's speed too.
    Answering,
}

/// One worker's share of the open window.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    open: Mutex<Open>,
    slow_mark_us: AtomicU64,
}

#[derive(Debug)]
struct Open {
    counts: [u32; METHODS * STATUSES * OUTCOMES],
    latency: Histogram<u32>,
    arrived: u64,
    answered: u64,
    in_flight: u64,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Shard {
    fn new() -> Self {
        Self {
            open: Mutex::new(Open {
                counts: [0; METHODS * STATUSES * OUTCOMES],
                latency: window_histogram(),
                arrived: 0,
                answered: 0,
                in_flight: 0,
                slots: Vec::new(),
                free: Vec::new(),
            }),
            slow_mark_us: AtomicU64::new(UNSET),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }

    /// A request's head was read and its body is still to be sent to the app.
    pub fn arrived(&self) -> Ticket {
        self.lock().open(Slot::Sending)
    }

    /// A request without a body was read at `now_us` (microseconds of the process's clock): from here the app is
    /// awaited.
    pub fn arrived_whole(&self, now_us: u64) -> Ticket {
        self.lock().open(Slot::Waiting { since_us: now_us, recorded: false })
    }

    /// The last byte of the request was sent at `now_us`: from here the app is awaited.
    pub fn sent(&self, ticket: &Ticket, now_us: u64) {
        let mut open = self.lock();
        let slot = &mut open.slots[ticket.0 as usize];
        if *slot == Slot::Sending {
            *slot = Slot::Waiting { since_us: now_us, recorded: false };
        }
    }

    /// The reply's head came, `latency_us` after the app was first awaited.
    pub fn answered(&self, ticket: &Ticket, latency_us: u64) {
        let mut open = self.lock();
        let counted = matches!(open.slots[ticket.0 as usize], Slot::Waiting { recorded: true, .. });
        open.slots[ticket.0 as usize] = Slot::Answering;
        open.answered += 1;
        if !counted {
            open.latency.saturating_record(latency_us);
        }
    }

    /// The request ended at `now_us`.
    ///
    /// A client that left an app which had kept it waiting beyond the slow mark is no error, but its wait is recorded:
    /// users flee slow apps, and dropping them would hide the slowness.
    pub fn end(&self, ticket: Ticket, method: Method, status: StatusClass, outcome: Outcome, now_us: u64) {
        let slow_mark = self.slow_mark_us.load(Ordering::Relaxed);
        let mut open = self.lock();
        let slot = std::mem::replace(&mut open.slots[ticket.0 as usize], Slot::Free);
        if let (Outcome::ClientAborted, Slot::Waiting { since_us, recorded: false }) = (outcome, slot) {
            let waited = now_us.saturating_sub(since_us);
            if waited > slow_mark {
                open.latency.saturating_record(waited);
            }
        }
        open.free.push(ticket.0);
        open.in_flight -= 1;
        open.count(method, status, outcome);
    }

    /// A request ended that never had a ticket: it was refused before it could be one.
    pub fn refused(&self, method: Method, status: StatusClass, outcome: Outcome) {
        self.lock().count(method, status, outcome);
    }

    fn seal(&self, now_us: u64, spare: &mut Histogram<u32>, into: &mut Sealed) {
        let slow_mark = self.slow_mark_us.load(Ordering::Relaxed);
        let overdue_us = if slow_mark == UNSET { micros(OVERDUE_DEFAULT) } else { slow_mark };
        let mut guard = self.lock();
        let open = &mut *guard;
        for slot in &mut open.slots {
            if let Slot::Waiting { since_us, recorded } = slot {
                let age = now_us.saturating_sub(*since_us);
                if !*recorded && age > slow_mark {
                    *recorded = true;
                    open.latency.saturating_record(age);
                }
                into.waiting += 1;
                into.overdue += u64::from(age > overdue_us);
            }
        }
        std::mem::swap(&mut open.latency, spare);
        for (sum, count) in into.counts.iter_mut().zip(&mut open.counts) {
            *sum += u64::from(std::mem::take(count));
        }
        into.arrived += std::mem::take(&mut open.arrived);
        into.answered += std::mem::take(&mut open.answered);
        into.in_flight += open.in_flight;
    }
}

impl Open {
    fn open(&mut self, slot: Slot) -> Ticket {
        self.arrived += 1;
        self.in_flight += 1;
        match self.free.pop() {
            Some(i) => {
                self.slots[i as usize] = slot;
                Ticket(i)
            }
            None => {
                self.slots.push(slot);
                Ticket((self.slots.len() - 1) as u32)
            }
        }
    }

    fn count(&mut self, method: Method, status: StatusClass, outcome: Outcome) {
        self.counts[(method.index() * STATUSES + status.index()) * OUTCOMES + outcome.index()] += 1;
    }
}

#[derive(Default)]
struct Sealed {
    counts: Vec<u64>,
    arrived: u64,
    answered: u64,
    in_flight: u64,
    waiting: u64,
    overdue: u64,
}

/// All shards, and the hand that seals them.
#[derive(Debug)]
pub struct Recorder {
    shards: Vec<Arc<Shard>>,
    spare: Histogram<u32>,
    opened: Time,
}

impl Recorder {
    /// `shards` open windows (at least one) that begin at `now`.
    pub fn new(shards: usize, now: Time) -> Self {
        let shards = (0..shards.max(1)).map(|_| Arc::new(Shard::new())).collect();
        Self { shards, spare: window_histogram(), opened: now }
    }

    /// The shards, one a worker.
    pub fn shards(&self) -> &[Arc<Shard>] {
        &self.shards
    }

    /// From this age on a request that waits for the app counts as slow while it is still open.
    pub fn set_slow_mark(&self, mark: Duration) {
        for shard in &self.shards {
            shard.slow_mark_us.store(micros(mark), Ordering::Relaxed);
        }
    }

    /// Closes the open window at `now` (`now_us` by the data path's clock), opens the next, and returns what was
    /// observed. `stalled`: the caller knows that the agent itself was late.
    pub fn seal(&mut self, now: Time, now_us: u64, stalled: bool) -> Window {
        let mut sealed = Sealed { counts: vec![0; METHODS * STATUSES * OUTCOMES], ..Sealed::default() };
        let mut pairs = Vec::new();
        for shard in &self.shards {
            self.spare.reset();
            shard.seal(now_us, &mut self.spare, &mut sealed);
            pairs.extend(
                self.spare.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value().into())),
            );
        }
        let from = std::mem::replace(&mut self.opened, now);
        Window {
            from,
            to: now,
            counts: counts(&sealed.counts),
            latencies: Latencies::new(pairs),
            arrived: sealed.arrived,
            answered: sealed.answered,
            in_flight: sealed.in_flight,
            waiting: sealed.waiting,
            overdue: sealed.overdue,
            stalled,
        }
    }
}

fn counts(flat: &[u64]) -> Vec<Count> {
    let place = |i: usize| Count {
        method: Method::ALL[i / (STATUSES * OUTCOMES)],
        status: StatusClass::ALL[i / OUTCOMES % STATUSES],
        outcome: Outcome::ALL[i % OUTCOMES],
        count: flat[i],
    };
    (0..flat.len()).filter(|&i| flat[i] > 0).map(place).collect()
}

fn window_histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(LATENCY_US_RANGE.0, LATENCY_US_RANGE.1, 3)
        .expect("the bounds and digits are constants that the histogram accepts")
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder() -> Recorder {
        let r = Recorder::new(2, Time::from_millis(0));
        r.set_slow_mark(Duration::from_millis(100));
        r
    }

    fn seal(r: &mut Recorder, at_ms: u64) -> Window {
        r.seal(Time::from_millis(at_ms), at_ms * 1000, false)
    }

    #[test]
    fn a_window_holds_what_ended_in_it_from_every_shard() {
        let mut r = recorder();
        for (i, shard) in r.shards().to_vec().iter().enumerate() {
            let t = shard.arrived_whole(0);
            shard.answered(&t, 5_000 * (i as u64 + 1));
            shard.end(t, Method::Get, StatusClass::Success, Outcome::Answered, 6_000);
        }
        let w = seal(&mut r, 1000);
        assert_eq!((w.ended(), w.judged(), w.failed(), w.arrived, w.in_flight), (2, 2, 0, 2, 0));
        assert_eq!(w.latencies.count(), 2);
        assert_eq!(w.latencies.slower_than(6_000), 1);
        assert_eq!((w.from, w.to), (Time::from_millis(0), Time::from_millis(1000)));
        assert_eq!(seal(&mut r, 2000).ended(), 0);
    }

    #[test]
    fn a_hung_request_is_counted_once_while_it_hangs() {
        let mut r = recorder();
        let shard = r.shards()[0].clone();
        let t = shard.arrived_whole(0);
        let w = seal(&mut r, 1000);
        assert_eq!((w.in_flight, w.waiting, w.overdue, w.latencies.slower_than(900_000)), (1, 1, 1, 1));
        let w = seal(&mut r, 2000);
        assert_eq!((w.overdue, w.latencies.count()), (1, 0));
        shard.answered(&t, 2_500_000);
        shard.end(t, Method::Get, StatusClass::Success, Outcome::Answered, 2_600_000);
        let w = seal(&mut r, 3000);
        assert_eq!((w.ended(), w.latencies.count(), w.in_flight), (1, 0, 0));
    }

    #[test]
    fn without_a_slow_mark_a_long_poll_keeps_its_true_latency() {
        let mut r = Recorder::new(1, Time::from_millis(0));
        let shard = r.shards()[0].clone();
        let t = shard.arrived_whole(0);
        let w = seal(&mut r, 12_000);
        assert_eq!((w.overdue, w.latencies.count()), (1, 0));
        shard.answered(&t, 20_000_000);
        shard.end(t, Method::Get, StatusClass::Success, Outcome::Answered, 20_000_000);
        assert_eq!(seal(&mut r, 21_000).latencies.slower_than(19_000_000), 1);
    }

    #[test]
    fn a_slow_upload_is_not_a_slow_app() {
        let mut r = recorder();
        let shard = r.shards()[0].clone();
        let t = shard.arrived();
        assert_eq!(seal(&mut r, 5000).latencies.count(), 0);
        shard.sent(&t, 5_000_000);
        assert_eq!(seal(&mut r, 5050).latencies.count(), 0);
        assert_eq!(seal(&mut r, 5200).latencies.count(), 1);
        shard.end(t, Method::Post, StatusClass::None, Outcome::ClientAborted, 5_300_000);
    }

    #[test]
    fn a_client_that_fled_a_slow_app_leaves_its_wait_behind() {
        let mut r = recorder();
        let shard = r.shards()[0].clone();
        let (quick, slow) = (shard.arrived_whole(0), shard.arrived_whole(0));
        shard.end(quick, Method::Get, StatusClass::None, Outcome::ClientAborted, 50_000);
        shard.end(slow, Method::Get, StatusClass::None, Outcome::ClientAborted, 150_000);
        let w = seal(&mut r, 1000);
        assert_eq!((w.ended(), w.judged(), w.latencies.count()), (2, 0, 1));
    }
}
