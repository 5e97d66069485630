//! The open window: what the data path writes and the agent seals each second.
//!
//! One shard a worker, each behind its own mutex and on its own cache lines: the worker is the only writer, so the lock is
//! uncontended but for the moment of the seal. Sealing swaps the histogram and the journal for empty ones and copies the
//! counters, so the data path never waits for whoever reads.
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
//! **Paths are grouped off the hot path.** A worker copies the path twice, into the request's place and at its end into the
//! window's journal, both of which are memory that is used again. After the seal the journal is read and its paths become
//! routes.
//!
//! It does not know what a latency means: the slow mark is set by the engine.

mod journal;
mod routing;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::engine::baseline::LATENCY_US_RANGE;
use crate::engine::observation::{Method, Outcome, StatusClass};
use crate::engine::route::Routes;
use crate::engine::tick::Resources;
use crate::engine::time::Time;
use crate::engine::window::{Count, Latencies, Spread, Window};
use crate::recorder::journal::{Asking, Journal};
use crate::recorder::routing::Routing;
use crate::recorder::slots::{Slot, Slots};

const METHODS: usize = Method::ALL.len();
const STATUSES: usize = StatusClass::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// Until the engine has set a slow mark, a request that has waited this long is overdue. Its age is not recorded as a
/// latency then: without a baseline nobody knows what is slow, and the true latency, which is to become the baseline,
/// comes when it is answered.
pub const OVERDUE_DEFAULT: Duration = Duration::from_secs(10);
/// A worker that was late by more than this was stalled, and the requests that it served waited for it and not for the
/// app: such a window is no evidence.
pub const LAG_MAX: Duration = Duration::from_millis(250);
/// No slow mark is set.
const UNSET: u64 = u64::MAX;

/// What was asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: Method,
    /// The path, whatever bytes, without the query. What is beyond 256 bytes is not looked at.
    pub path: &'a [u8],
    /// By whom.
    pub class: Traffic,
}

/// Who asked, as far as it matters for figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Whoever the app is there for.
    User,
    /// The platform's health check, or a configured checker: kept out of all figures of users.
    Health,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The status that the client was sent; 0: none.
    pub status: u16,
    /// How.
    pub outcome: Outcome,
    /// When.
    pub now_us: u64,
    /// How long the app's connection was waited for: the pool, the connect, the hold while it starts.
    pub reached_us: Option<u64>,
    /// From the head's first byte to the last byte of the reply; `None` where the client left, or it was a tunnel.
    pub total_us: Option<u64>,
    /// It was sent a second time.
    pub retried: bool,
    /// The reply was a stream: how long it took says nothing.
    pub is_stream: bool,
}

/// An open request's place in its shard. Every ticket must be given back by [`Shard::end`].
#[derive(Debug)]
pub struct Ticket(u32);

/// What was recorded of an open request already.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Noted {
    Nothing,
    /// Its age, as a latency: it was overdue.
    Age,
    /// That it was answered, and its latency if not its age before.
    Answer,
    /// Nothing will be: it is a health check.
    Health,
}

/// One worker's share of the open window.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    open: Mutex<Open>,
    slots: Slots,
    slow_mark_us: AtomicU64,
    lag_us: AtomicU64,
}

#[derive(Debug)]
struct Open {
    counts: [u32; METHODS * STATUSES * OUTCOMES],
    latency: Histogram<u32>,
    journal: Journal,
    sums: Sums,
    /// Open health checks.
    checks: u64,
    /// What was recorded of each ticket ever given out.
    noted: Vec<Noted>,
    /// And what it asked.
    asking: Vec<Asking>,
    /// Tickets that came back.
    free: Vec<u32>,
}

/// What is only added up.
#[derive(Debug, Default)]
struct Sums {
    arrived: u64,
    answered: u64,
    retried: u64,
    health: u64,
    reached: Spread,
    total: Spread,
}

impl Sums {
    fn add(&mut self, other: &Self) {
        self.arrived += other.arrived;
        self.answered += other.answered;
        self.retried += other.retried;
        self.health += other.health;
        self.reached.merge(&other.reached);
        self.total.merge(&other.total);
    }
}

impl Shard {
    fn new() -> Self {
        Self {
            open: Mutex::new(Open {
                counts: [0; METHODS * STATUSES * OUTCOMES],
                latency: window_histogram(),
                journal: Journal::default(),
                sums: Sums::default(),
                checks: 0,
                noted: Vec::new(),
                asking: Vec::new(),
                free: Vec::new(),
            }),
            slots: Slots::default(),
            slow_mark_us: AtomicU64::new(UNSET),
            lag_us: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // Should whoever seals panic, what is counted may be off by a request; requests go on.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head was read. `awaited_us`: the time (microseconds of the process's clock) where the app has the whole
    /// request and is awaited from here on; `None`: something is still to be sent to it.
    pub fn arrived(&self, asked: &Asked<'_>, awaited_us: Option<u64>) -> Ticket {
        let slot = awaited_us.map_or(Slot::Sending, |since_us| Slot::Waiting { since_us });
        let mut open = self.lock();
        let ticket = open.free.pop().unwrap_or_else(|| {
            open.noted.push(Noted::Nothing);
            open.asking.push(Asking::EMPTY);
            (open.noted.len() - 1) as u32
        });
        match asked.class {
            Traffic::User => {
                open.sums.arrived += 1;
                open.asking[ticket as usize].set(asked.method, asked.path);
            }
            Traffic::Health => {
                open.checks += 1;
                open.noted[ticket as usize] = Noted::Health;
            }
        }
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

    /// The request ended.
    ///
    /// A client that left an app which had kept it waiting beyond the slow mark is no error, but its wait is recorded:
    /// users flee slow apps, and dropping them would hide the slowness.
    pub fn end(&self, ticket: Ticket, ended: &Ended) {
        let slot = self.slots.at(ticket.0);
        let mut guard = self.lock();
        let open = &mut *guard;
        let at = ticket.0 as usize;
        if open.noted[at] == Noted::Health {
            open.sums.health += 1;
            open.checks -= 1;
        } else {
            let latency_us = match Slot::of(slot.load(Ordering::Relaxed)) {
                Slot::Answered { latency_us } => open.note_answer(ticket.0, latency_us),
                Slot::Waiting { since_us } if ended.outcome == Outcome::ClientAborted => {
                    let waited = ended.now_us.saturating_sub(since_us);
                    let is_slow = waited > self.slow_mark_us.load(Ordering::Relaxed);
                    is_slow.then(|| open.note_age(ticket.0, waited)).flatten()
                }
                Slot::Free | Slot::Sending | Slot::Waiting { .. } => None,
            };
            let asking = &open.asking[at];
            open.journal.add(asking, ended.status, Some(ended.outcome), latency_us);
            let method = asking.method;
            open.sums.retried += u64::from(ended.retried);
            if let Some(us) = ended.reached_us {
                open.sums.reached.add(us);
            }
            if let (Some(us), false) = (ended.total_us, ended.is_stream) {
                open.sums.total.add(us);
            }
            open.count(method, ended.status, ended.outcome);
        }
        slot.store(Slot::Free.word(), Ordering::Release);
        open.noted[at] = Noted::Nothing;
        open.free.push(ticket.0);
    }

    /// A request ended that never had a ticket: it was refused before it could be one.
    pub fn refused(&self, method: Method, status: u16, outcome: Outcome) {
        self.lock().count(method, status, outcome);
    }

    /// The worker came `us` late to something that it had set itself a time for.
    pub fn lag(&self, us: u64) {
        self.lag_us.fetch_max(us, Ordering::Relaxed);
    }

    fn seal(&self, now_us: u64, spare: &mut Spare, into: &mut Sealed) {
        let slow_mark = self.slow_mark_us.load(Ordering::Relaxed);
        let overdue_us = if slow_mark == UNSET { micros(OVERDUE_DEFAULT) } else { slow_mark };
        into.lag_us = into.lag_us.max(self.lag_us.swap(0, Ordering::Relaxed));
        let mut guard = self.lock();
        let open = &mut *guard;
        for ticket in 0..open.noted.len() as u32 {
            if open.noted[ticket as usize] == Noted::Health {
                continue;
            }
            match Slot::of(self.slots.at(ticket).load(Ordering::Acquire)) {
                Slot::Free | Slot::Sending => {}
                Slot::Answered { latency_us } => {
                    let noted = open.note_answer(ticket, latency_us);
                    open.note_open(ticket, noted);
                }
                Slot::Waiting { since_us } => {
                    let age = now_us.saturating_sub(since_us);
                    if age > slow_mark {
                        let noted = open.note_age(ticket, age);
                        open.note_open(ticket, noted);
                    }
                    into.waiting += 1;
                    into.overdue += u64::from(age > overdue_us);
                }
            }
        }
        std::mem::swap(&mut open.latency, &mut spare.latency);
        std::mem::swap(&mut open.journal, &mut spare.journal);
        for (sum, count) in into.counts.iter_mut().zip(&mut open.counts) {
            *sum += u64::from(std::mem::take(count));
        }
        into.sums.add(&std::mem::take(&mut open.sums));
        into.in_flight += (open.noted.len() - open.free.len()) as u64 - open.checks;
    }
}

impl Open {
    /// The latency, where it is recorded now and was not before.
    fn note_answer(&mut self, ticket: u32, latency_us: u64) -> Option<u64> {
        let noted = std::mem::replace(&mut self.noted[ticket as usize], Noted::Answer);
        self.sums.answered += u64::from(noted != Noted::Answer);
        (noted == Noted::Nothing).then(|| {
            self.latency.saturating_record(latency_us);
            latency_us
        })
    }

    fn note_age(&mut self, ticket: u32, age_us: u64) -> Option<u64> {
        let noted = &mut self.noted[ticket as usize];
        (*noted == Noted::Nothing).then(|| {
            *noted = Noted::Age;
            self.latency.saturating_record(age_us);
            age_us
        })
    }

    /// A latency of a request that goes on.
    fn note_open(&mut self, ticket: u32, latency_us: Option<u64>) {
        if latency_us.is_some() {
            self.journal.add(&self.asking[ticket as usize], 0, None, latency_us);
        }
    }

    fn count(&mut self, method: Method, status: u16, outcome: Outcome) {
        let status = StatusClass::of(status).index();
        self.counts[(method.index() * STATUSES + status) * OUTCOMES + outcome.index()] += 1;
    }
}

/// What is swapped for a shard's own at the seal.
#[derive(Debug)]
struct Spare {
    latency: Histogram<u32>,
    journal: Journal,
}

#[derive(Default)]
struct Sealed {
    counts: Vec<u64>,
    sums: Sums,
    in_flight: u64,
    waiting: u64,
    overdue: u64,
    lag_us: u64,
}

/// All shards, and the hand that seals them.
#[derive(Debug)]
pub struct Recorder {
    shards: Vec<Arc<Shard>>,
    spare: Spare,
    routing: Routing,
    opened: Time,
}

impl Recorder {
    /// `shards` open windows (at least one) that begin at `now`, and nothing known of the routes.
    pub fn new(shards: usize, now: Time) -> Self {
        Self::with_routes(shards, now, Routes::new(Vec::new()))
    }

    /// The same with what is known of the routes.
    pub fn with_routes(shards: usize, now: Time, routes: Routes) -> Self {
        let shards = (0..shards.max(1)).map(|_| Arc::new(Shard::new())).collect();
        let spare = Spare { latency: window_histogram(), journal: Journal::default() };
        Self { shards, spare, routing: Routing::new(routes), opened: now }
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
        let (mut pairs, mut unrouted) = (Vec::new(), 0);
        self.routing.begin(now);
        for shard in &self.shards {
            self.spare.latency.reset();
            self.spare.journal.clear();
            shard.seal(now_us, &mut self.spare, &mut sealed);
            let recorded = self.spare.latency.iter_recorded();
            pairs.extend(recorded.map(|v| (v.value_iterated_to(), v.count_at_value().into())));
            self.routing.add(&self.spare.journal);
            unrouted += self.spare.journal.left_out();
        }
        let from = std::mem::replace(&mut self.opened, now);
        let Sealed { counts: flat, sums, in_flight, waiting, overdue, lag_us } = sealed;
        Window {
            from,
            to: now,
            counts: counts(&flat),
            latencies: Latencies::new(pairs),
            arrived: sums.arrived,
            answered: sums.answered,
            in_flight,
            waiting,
            overdue,
            stalled: stalled || lag_us > micros(LAG_MAX),
            lag_us,
            resources: Resources::default(),
            probes: Vec::new(),
            routes: self.routing.windows(),
            unrouted,
            reached: Box::new(sums.reached),
            total: Box::new(sums.total),
            retried: sums.retried,
            health: sums.health,
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
