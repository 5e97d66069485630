//! The open window: what the data path writes and the agent seals each second.
//!
//! One shard a worker, each behind its own mutex and on its own cache lines: the worker is the only writer, so the lock is
//! uncontended but for the moment of the seal. Sealing swaps the histogram for an empty one and copies the counters, so
//! the data path never waits for whoever reads.
//!
//! **What has not finished is not forgotten.** A hung app finishes nothing, and a histogram of finished requests would
//! call it healthy. So each open request has a slot; at the seal, those that have waited for the app longer than the
//! *slow mark* are recorded with the age reached, once, and not again when they end.
//!
//! A request costs two turns of the lock, at its arrival and at its end, and one plain store between them, when the reply's
//! head comes. A slot's word lies outside the lock: only the request's own worker writes it, the seal only reads it. What
//! was noted of a slot already lies inside the lock, so that whoever comes first, the end or the seal, records, and the
//! other does not.
//!
//! It does not know what a latency means: the slow mark is set by the engine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
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
/// latency then: without a baseline nobody knows what is slow, and the true latency, which is to become the baseline,
/// comes when it is answered.
pub const OVERDUE_DEFAULT: Duration = Duration::from_secs(10);
/// No slow mark is set.
const UNSET: u64 = u64::MAX;

/// An open request's place in its shard. Every ticket must be given back by [`Shard::end`].
#[derive(Debug)]
pub struct Ticket(u32);

/// How far an open request is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Free,
    /// The request is on its way to the app.
    Sending,
    /// The app has the whole request and has not answered.
    Waiting {
        since_us: u64,
    },
    /// The reply's head came; what follows depends on the client's speed too.
    Answered {
        latency_us: u64,
    },
}

impl Slot {
    /// As one word: the kind in the lowest two bits. Times are cut to 62 bits, which is 146,000 years.
    const fn word(self) -> u64 {
        match self {
            Self::Free => 0,
            Self::Sending => 1,
            Self::Waiting { since_us } => since_us << 2 | 2,
            Self::Answered { latency_us } => latency_us << 2 | 3,
        }
    }

    const fn of(word: u64) -> Self {
        let us = word >> 2;
        match word & 3 {
            0 => Self::Free,
            1 => Self::Sending,
            2 => Self::Waiting { since_us: us },
            _ => Self::Answered { latency_us: us },
        }
    }
}

/// What was recorded of an open request already.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Noted {
    Nothing,
    /// Its age, as a latency: it was overdue.
    Age,
    /// That it was answered, and its latency if not its age before.
    Answer,
}

/// The first run of slots; each next one is twice as long.
const FIRST_RUN: usize = 64;
/// Runs of slots: four million in all, above every limit of connections.
const RUNS: usize = 16;

/// Slots that grow without moving, so that they can be read outside the lock.
#[derive(Debug, Default)]
struct Slots([OnceLock<Box<[AtomicU64]>>; RUNS]);

impl Slots {
    fn at(&self, ticket: u32) -> &AtomicU64 {
        let place = ticket as usize + FIRST_RUN;
        let run = (place / FIRST_RUN).ilog2() as usize;
        let start = FIRST_RUN << run;
        let slots = self.0[run].get_or_init(|| (0..start).map(|_| AtomicU64::new(0)).collect());
        &slots[place - start]
    }
}

/// What was asked.
pub struct Asked<'a> {
    pub method: Method,
    pub path: &'a [u8],
    pub class: Traffic,
}
/// Who asked.
#[derive(Clone, Copy, PartialEq)]
pub enum Traffic {
    User,
    Health,
}
/// How it ended.
pub struct Ended {
    pub status: u16,
    pub outcome: Outcome,
    pub now_us: u64,
    pub reached_us: Option<u64>,
    pub total_us: Option<u64>,
    pub retried: bool,
    pub is_stream: bool,
}

/// One worker's share of the open window.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    methods: Mutex<std::collections::HashMap<u32, Method>>,
    open: Mutex<Open>,
    slots: Slots,
    slow_mark_us: AtomicU64,
}

#[derive(Debug)]
struct Open {
    counts: [u32; METHODS * STATUSES * OUTCOMES],
    latency: Histogram<u32>,
    arrived: u64,
    answered: u64,
    /// What was recorded of each ticket ever given out.
    noted: Vec<Noted>,
    /// Tickets that came back.
    free: Vec<u32>,
}

impl Shard {
    fn new() -> Self {
        Self {
            methods: Mutex::default(),
            open: Mutex::new(Open {
                counts: [0; METHODS * STATUSES * OUTCOMES],
                latency: window_histogram(),
                arrived: 0,
                answered: 0,
                noted: Vec::new(),
                free: Vec::new(),
            }),
            slots: Slots::default(),
            slow_mark_us: AtomicU64::new(UNSET),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().expect("no holder of this lock panics")
    }

    /// A request's head was read and its body is still to be sent to the app.
    pub fn arrived(&self, asked: &Asked<'_>, awaited: Option<u64>) -> Ticket {
        let t = self.open(awaited.map_or(Slot::Sending, |since_us| Slot::Waiting { since_us }));
        self.methods.lock().unwrap().insert(t.0, asked.method);
        t
    }
    pub fn lag(&self, _us: u64) {}

    /// A request without a body was read at `now_us` (microseconds of the process's clock): from here the app is
    /// awaited.
    pub fn arrived_whole(&self, now_us: u64) -> Ticket {
        self.open(Slot::Waiting { since_us: now_us })
    }

    fn open(&self, slot: Slot) -> Ticket {
        let mut open = self.lock();
        open.arrived += 1;
        let ticket = open.free.pop().unwrap_or_else(|| {
            open.noted.push(Noted::Nothing);
            (open.noted.len() - 1) as u32
        });
        self.slots.at(ticket).store(slot.word(), Ordering::Release);
        Ticket(ticket)
    }

    /// The last byte of the request was sent at `now_us`: from here the app is awaited, if its head has not come yet.
    pub fn sent(&self, ticket: &Ticket, now_us: u64) {
        let slot = self.slots.at(ticket.0);
        if Slot::of(slot.load(Ordering::Relaxed)) == Slot::Sending {
            slot.store(Slot::Waiting { since_us: now_us }.word(), Ordering::Release);
        }
    }

    /// The reply's head came, `latency_us` after the app was first awaited.
    pub fn answered(&self, ticket: &Ticket, latency_us: u64) {
        self.slots.at(ticket.0).store(Slot::Answered { latency_us }.word(), Ordering::Release);
    }

    /// The request ended at `now_us`.
    ///
    /// A client that left an app which had kept it waiting beyond the slow mark is no error, but its wait is recorded:
    /// users flee slow apps, and dropping them would hide the slowness.
    pub fn end(&self, ticket: Ticket, ended: &Ended) {
        let (status, outcome, now_us) = (StatusClass::of(ended.status), ended.outcome, ended.now_us);
        let method = self.methods.lock().unwrap()[&ticket.0];
        let slot = self.slots.at(ticket.0);
        let mut open = self.lock();
        match Slot::of(slot.load(Ordering::Relaxed)) {
            Slot::Answered { latency_us } => open.note_answer(ticket.0, latency_us),
            Slot::Waiting { since_us } if outcome == Outcome::ClientAborted => {
                let waited = now_us.saturating_sub(since_us);
                if waited > self.slow_mark_us.load(Ordering::Relaxed) {
                    open.note_age(ticket.0, waited);
                }
            }
            Slot::Free | Slot::Sending | Slot::Waiting { .. } => {}
        }
        slot.store(Slot::Free.word(), Ordering::Release);
        open.noted[ticket.0 as usize] = Noted::Nothing;
        open.free.push(ticket.0);
        open.count(method, status, outcome);
    }

    /// A request ended that never had a ticket: it was refused before it could be one.
    pub fn refused(&self, method: Method, status: u16, outcome: Outcome) {
        let status = StatusClass::of(status);
        self.lock().count(method, status, outcome);
    }

    fn seal(&self, now_us: u64, spare: &mut Histogram<u32>, into: &mut Sealed) {
        let slow_mark = self.slow_mark_us.load(Ordering::Relaxed);
        let overdue_us = if slow_mark == UNSET { micros(OVERDUE_DEFAULT) } else { slow_mark };
        let mut guard = self.lock();
        let open = &mut *guard;
        for ticket in 0..open.noted.len() as u32 {
            match Slot::of(self.slots.at(ticket).load(Ordering::Acquire)) {
                Slot::Free | Slot::Sending => {}
                Slot::Answered { latency_us } => open.note_answer(ticket, latency_us),
                Slot::Waiting { since_us } => {
                    let age = now_us.saturating_sub(since_us);
                    if age > slow_mark {
                        open.note_age(ticket, age);
                    }
                    into.waiting += 1;
                    into.overdue += u64::from(age > overdue_us);
                }
            }
        }
        std::mem::swap(&mut open.latency, spare);
        for (sum, count) in into.counts.iter_mut().zip(&mut open.counts) {
            *sum += u64::from(std::mem::take(count));
        }
        into.arrived += std::mem::take(&mut open.arrived);
        into.answered += std::mem::take(&mut open.answered);
        into.in_flight += (open.noted.len() - open.free.len()) as u64;
    }
}

impl Open {
    fn note_answer(&mut self, ticket: u32, latency_us: u64) {
        let noted = std::mem::replace(&mut self.noted[ticket as usize], Noted::Answer);
        if noted == Noted::Nothing {
            self.latency.saturating_record(latency_us);
        }
        self.answered += u64::from(noted != Noted::Answer);
    }

    fn note_age(&mut self, ticket: u32, age_us: u64) {
        let noted = &mut self.noted[ticket as usize];
        if *noted == Noted::Nothing {
            *noted = Noted::Age;
            self.latency.saturating_record(age_us);
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
    fn slots_grow_without_moving_and_come_back() {
        let mut r = recorder();
        let shard = r.shards()[0].clone();
        let tickets: Vec<_> = (0..1_000).map(|_| shard.arrived_whole(0)).collect();
        assert_eq!(seal(&mut r, 50).in_flight, 1_000);
        for ticket in tickets {
            shard.answered(&ticket, 7);
            shard.end(ticket, Method::Get, StatusClass::Success, Outcome::Answered, 60_000);
        }
        let w = seal(&mut r, 100);
        assert_eq!((w.in_flight, w.answered, w.latencies.pairs()), (0, 1_000, [(7, 1_000)].as_slice()));
    }

    #[test]
    fn the_latency_of_a_stream_is_recorded_while_it_goes_on() {
        let mut r = recorder();
        let shard = r.shards()[0].clone();
        let t = shard.arrived_whole(0);
        shard.answered(&t, 5_000);
        let w = seal(&mut r, 1_000);
        assert_eq!((w.waiting, w.in_flight, w.answered, w.latencies.count()), (0, 1, 1, 1));
        shard.end(t, Method::Get, StatusClass::Success, Outcome::Answered, 9_000_000);
        assert_eq!(seal(&mut r, 10_000).latencies.count(), 0);
    }

    /// Whatever a seal interleaves with, each request is counted once and its latency recorded once.
    #[test]
    fn a_seal_beside_the_worker_loses_and_doubles_nothing() {
        const REQUESTS: u64 = 200_000;
        let mut r = Recorder::new(1, Time::from_millis(0));
        r.set_slow_mark(Duration::from_micros(2));
        let shard = r.shards()[0].clone();
        let worker = std::thread::spawn(move || {
            for i in 0..REQUESTS {
                let t = shard.arrived_whole(0);
                shard.answered(&t, 1 + i % 3);
                shard.end(t, Method::Get, StatusClass::Success, Outcome::Answered, 3);
            }
        });
        let (mut ended, mut latencies, mut answered) = (0, 0, 0);
        let mut at = 0;
        loop {
            let is_over = worker.is_finished();
            at += 1;
            let w = seal(&mut r, at);
            ended += w.ended();
            latencies += w.latencies.count();
            answered += w.answered;
            if is_over {
                break;
            }
        }
        worker.join().unwrap();
        assert_eq!((ended, latencies, answered), (REQUESTS, REQUESTS, REQUESTS));
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
