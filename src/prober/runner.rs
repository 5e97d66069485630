//! One probe's task: when it asks, for how long, and what is made of the answer.
//!
//! Rounds never overlap: the task asks, waits for the answer or the limit, and only then asks again. Whoever wants to know
//! sooner than the interval wakes it, and all who do so while a round is under way share that round.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::clock::Clock;
use crate::config::{Secret, probes as options};
use crate::engine::health::{
    FactValue, Found, Health, HealthChange, Point, ProbeState, Round, Row, Standing, Thresholds,
};
use crate::engine::tick::ProbeTick;
use crate::engine::time::Time;
use crate::engine::window::{Latencies, Spread};
use crate::prober::probe::{FACTS_MAX, Failure, Probe, Reply, cut};
use crate::prober::pulse::Pulse;

/// The pause between two rounds at least, also when somebody wants to know: what is down is not hammered.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Rounds that a probe remembers: an hour at the default interval.
const HISTORY_MAX: usize = 720;
/// So many of the last answers say what is usual.
const USUAL_OF: usize = 120;
/// The first rounds are spread over this time, so that a start does not ask everybody at once.
const FIRST_WITHIN: Duration = Duration::from_millis(500);
/// An interval is drawn from this range around the configured one, so that replicas do not ask in step.
const JITTER: std::ops::Range<f64> = 0.9..1.1;

/// A round that comes earlier than this share of the interval after the last one that counted was made because somebody
/// asked: it is told, and counts for nothing that is judged, alerted on or remembered. Else whoever asks often would make an
/// outage of a blip.
const COUNTS_AFTER: f64 = 0.8;

/// What is known of one probe, by whoever asks.
pub(super) struct Seat {
    /// Asks for a round now.
    wanted: Notify,
    state: watch::Sender<Arc<ProbeState>>,
    /// Nobody asks any more, by a fault of ours.
    is_broken: AtomicBool,
    /// An answer that is no older is not asked for again, whoever wants to know.
    least_age: Duration,
    /// How long a round may take.
    timeout: Duration,
    books: Mutex<Books>,
}

struct Books {
    history: VecDeque<Point>,
    /// Since the last window was sealed.
    tick: ProbeTick,
}

impl Seat {
    pub(super) fn new(options: &options::Probe, clock: Clock) -> Self {
        let name: Arc<str> = options.name.as_str().into();
        let source = match &options.why {
            options::Why::Found(variable) => (*variable).into(),
            options::Why::Configured(origin) => origin.to_string().into(),
        };
        let state = ProbeState {
            name: Arc::clone(&name),
            kind: options.ask.kind(),
            target: options.target.as_str().into(),
            source,
            critical: options.critical,
            interval: options.interval,
            health: Health::Unknown,
            since: clock.now(),
            row: Row::default(),
            last: None,
            rounds: [0; 4],
            answers: Spread::default(),
            usual_us: None,
        };
        let books = Books { history: VecDeque::new(), tick: ProbeTick { name, ..ProbeTick::default() } };
        Self {
            wanted: Notify::new(),
            state: watch::Sender::new(Arc::new(state)),
            is_broken: AtomicBool::new(false),
            least_age: least_age(options),
            timeout: options.timeout,
            books: Mutex::new(books),
        }
    }

    /// What is known now.
    pub(super) fn state(&self) -> Arc<ProbeState> {
        Arc::clone(&self.state.borrow())
    }

    /// Tells of every round that ends.
    pub(super) fn watch(&self) -> watch::Receiver<Arc<ProbeState>> {
        self.state.subscribe()
    }

    pub(super) fn history(&self) -> Vec<Point> {
        self.books().history.iter().copied().collect()
    }

    /// What was found since the last call; `None` where nothing was asked.
    pub(super) fn take(&self) -> Option<ProbeTick> {
        let mut books = self.books();
        let empty = ProbeTick { name: Arc::clone(&books.tick.name), ..ProbeTick::default() };
        let taken = std::mem::replace(&mut books.tick, empty);
        (taken.ok + taken.failed > 0 || taken.load.is_some()).then_some(taken)
    }

    /// What is known when it is new enough, and confirmed where it is bad; rounds are asked for until then.
    pub(super) async fn fresh(&self, asked: &Asking) -> Arc<ProbeState> {
        let mut changes = self.watch();
        loop {
            let state = Arc::clone(&changes.borrow_and_update());
            if self.is_known(&state, asked) {
                return state;
            }
            self.wanted.notify_one();
            if changes.changed().await.is_err() {
                return state;
            }
        }
    }

    /// The same when the time of whoever asks is over. A dependency that was asked and has not answered has failed, unless
    /// it may take longer than that, or we ourselves were `stalled` by so much.
    pub(super) fn at_the_deadline(&self, now: Time, asked: &Asking, stalled: Duration) -> Arc<ProbeState> {
        let mut state = self.state();
        let took = timer().duration_since(asked.since);
        if self.is_known(&state, asked) || took < self.timeout {
            return state;
        }
        let late = Arc::make_mut(&mut state);
        if stalled > took / 4 {
            late.health = Health::Unknown;
            late.since = asked.at;
            let why = format!("the agent itself was stalled for {} ms", stalled.as_millis());
            late.last = Some(Round { took, why, ..Round::unable(now) });
            return state;
        }
        late.row.see(asked.at, Found::Failed);
        late.row.see(now, Found::Failed);
        if late.last.as_ref().is_none_or(|round| round.found != Found::Failed) {
            let why = format!("no answer yet after {} ms", took.as_millis());
            late.last = Some(Round { found: Found::Failed, took, why, ..Round::unable(now) });
        }
        state
    }

    fn is_known(&self, state: &ProbeState, asked: &Asking) -> bool {
        let is_after = rounds(state) > asked.rounds;
        let max_age = asked.max_age.max(self.least_age);
        let is_young = |at: Time| !max_age.is_zero() && asked.at.since(at) <= max_age;
        let is_new = is_after || state.last.as_ref().is_some_and(|round| is_young(round.at));
        is_new && state.is_settled() || self.is_broken.load(Ordering::Relaxed)
    }

    /// Somebody asks at `at`, to whom what is no older than `max_age` is new enough.
    pub(super) fn asking(&self, at: Time, max_age: Duration) -> Asking {
        Asking { at, since: timer(), max_age, rounds: rounds(&self.state()) }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The runtime's timer, by which pauses are kept.
#[expect(
    clippy::disallowed_methods,
    reason = "pauses are slept by this timer, which tests can stop; no time is told by it"
)]
pub(super) fn timer() -> Instant {
    Instant::now()
}

/// Somebody wants to know.
pub(super) struct Asking {
    at: Time,
    /// The same, to measure from.
    since: Instant,
    max_age: Duration,
    /// Rounds that had ended by then.
    rounds: u64,
}

/// Secrets shorter than this are not looked for: they would be found in any words.
const SECRET_LEN_MIN: usize = 4;

/// The secrets that a probe is given.
pub(super) fn secrets(ask: &options::Ask) -> Vec<Secret> {
    let mut all: Vec<&Secret> = Vec::new();
    match ask {
        options::Ask::Postgres(ask) => all.extend(&ask.password),
        options::Ask::Redis(ask) => {
            all.extend(&ask.password);
            all.extend(ask.sentinel.as_ref().and_then(|sentinel| sentinel.password.as_ref()));
        }
        options::Ask::Mysql(ask) => all.extend(&ask.password),
        options::Ask::Http(ask) => all.extend(ask.headers.iter().map(|(_, value)| value)),
        options::Ask::Tcp(_) | options::Ask::Dns(_) | options::Ask::Grpc(_) | options::Ask::Command(_) => {}
    }
    all.into_iter().filter(|secret| secret.expose().len() >= SECRET_LEN_MIN).cloned().collect()
}

/// A database is asked as often as somebody wants to know; with an API we are guests, and a command costs a process.
fn least_age(options: &options::Probe) -> Duration {
    match options.ask {
        options::Ask::Postgres(_) | options::Ask::Redis(_) | options::Ask::Mysql(_) => Duration::ZERO,
        options::Ask::Http(_)
        | options::Ask::Tcp(_)
        | options::Ask::Dns(_)
        | options::Ask::Grpc(_)
        | options::Ask::Command(_) => options.interval / 5,
    }
}

fn rounds(state: &ProbeState) -> u64 {
    state.rounds.iter().sum()
}

/// Asks one dependency, for as long as the agent lives.
pub(super) struct Runner {
    pub(super) probe: Box<dyn Probe>,
    pub(super) options: options::Probe,
    pub(super) seat: Arc<Seat>,
    pub(super) clock: Clock,
    pub(super) pulse: Arc<Pulse>,
    pub(super) changes: mpsc::Sender<HealthChange>,
    pub(super) shutdown: CancellationToken,
    /// What no words may hold.
    pub(super) secrets: Vec<Secret>,
}

impl Runner {
    pub(super) async fn run(mut self) {
        let thresholds =
            Thresholds { failure: self.options.failure_threshold, success: self.options.success_threshold };
        let mut standing = Standing::new(self.clock.now(), thresholds);
        let mut ended = timer();
        let mut pause = FIRST_WITHIN.min(self.options.interval).mul_f64(fastrand::f64());
        let mut counted: Option<Instant> = None;
        let mut measured: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => break,
                () = self.seat.wanted.notified() => {
                    tokio::time::sleep_until(ended + PAUSE_MIN.min(pause)).await;
                }
                () = tokio::time::sleep_until(ended + pause) => {}
            }
            let began = timer();
            let is_due =
                |last: Instant| began.duration_since(last) >= self.options.interval.mul_f64(COUNTS_AFTER);
            let counts = counted.is_none_or(is_due);
            let shutdown = self.shutdown.clone();
            let mut answered = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                answered = self.round() => answered,
            };
            ended = timer();
            let gap = measured.map(|before| ended.duration_since(before));
            if answered.what.is_ok() || answered.load.is_some() {
                measured = Some(ended);
            }
            // After a gap it would be what was asked in the whole of it.
            if gap.is_none_or(|gap| gap > 2 * self.options.interval) {
                answered.load = None;
            }
            if counts {
                counted = Some(began);
            }
            self.note(&mut standing, answered, counts);
            let share = JITTER.start + (JITTER.end - JITTER.start) * fastrand::f64();
            pause = self.options.interval.mul_f64(share);
        }
    }

    /// One round within its time.
    async fn round(&mut self) -> Answered {
        let began = self.clock.instant();
        let limit = self.options.timeout;
        let asked = tokio::time::timeout(limit, self.probe.ask()).await;
        let took = self.clock.instant().duration_since(began);
        let stalled = self.pulse.worst_within(took);
        let what = match asked {
            Ok(what) => what,
            Err(_elapsed) => {
                let text = format!(
                    "{} did not come within {}",
                    self.probe.stage(),
                    humantime::format_duration(limit)
                );
                self.probe.give_up();
                Err(Failure::Down(text))
            }
        };
        // Where the agent itself was late, what it took for silence may have been its own.
        let what = match what {
            Err(Failure::Down(text)) if stalled > limit / 4 => {
                let late = humantime::format_duration(Duration::from_millis(stalled.as_millis() as u64));
                Err(Failure::Unable(format!(
                    "the agent itself was stalled for {late}, so this says nothing: {text}"
                )))
            }
            what => what,
        };
        let load = match &what {
            Ok(reply) => reply.load,
            Err(_) => self.probe.load(),
        };
        Answered { what, load, took, stalled }
    }

    /// Makes what follows from a round known.
    fn note(&self, standing: &mut Standing, answered: Answered, counts: bool) {
        let now = self.clock.now();
        let (load, stalled) = (answered.load, answered.stalled);
        let round = self.judge(answered);
        let change = if counts { standing.see(now, round.found) } else { None };
        debug!(probe = %self.options.name, found = ?round.found, took_ms = round.took.as_millis() as u64, why = %round.why, "probed");
        self.add_load(load);
        let usual_us = if counts { self.enter(&round, stalled) } else { self.seat.state().usual_us };
        let why = round.why.clone();
        self.seat.state.send_modify(|state| {
            let state = Arc::make_mut(state);
            state.health = standing.health();
            state.since = standing.since();
            state.row.see(now, round.found);
            state.rounds[round.found as usize] += 1;
            if let Some(latency) = round.latency {
                state.answers.add(latency.as_micros() as u64);
            }
            state.usual_us = usual_us;
            state.last = Some(round);
        });
        let Some(change) = change else { return };
        let told = HealthChange {
            probe: self.options.name.as_str().into(),
            critical: self.options.critical,
            change,
            why,
        };
        log_change(&told);
        if self.changes.try_send(told).is_err() {
            warn!(probe = %self.options.name, "a change of a dependency's health could not be recorded: the control plane does not listen");
        }
    }

    /// A round from an answer.
    fn judge(&self, answered: Answered) -> Round {
        let Answered { what, took, stalled, .. } = answered;
        let empty = Round { took, ..Round::unable(self.clock.now()) };
        match what {
            Err(Failure::Unable(why)) => Round { why: self.told(&why), ..empty },
            Err(Failure::Down(why)) => Round { found: Found::Failed, why: self.told(&why), ..empty },
            Ok(Reply { latency, phases, mut facts, mut concerns, .. }) => {
                facts.truncate(FACTS_MAX);
                for fact in &mut facts {
                    if let FactValue::Text(text) = &mut fact.value {
                        *text = self.told(text);
                    }
                }
                let found = match self.slowness(latency, stalled) {
                    None if concerns.is_empty() => Found::Well,
                    None => Found::Impaired,
                    Some((found, text)) => {
                        concerns.insert(0, text);
                        found
                    }
                };
                let why = self.told(&concerns.join("; "));
                Round { found, latency: Some(latency), phases, facts, why, ..empty }
            }
        }
    }

    /// Words as they may be told: one line, cut, and without what a server may have echoed of our credentials.
    fn told(&self, words: &str) -> String {
        let mut words = words.to_owned();
        for secret in &self.secrets {
            if words.contains(secret.expose()) {
                words = words.replace(secret.expose(), "[not shown]");
            }
        }
        cut(&words)
    }

    /// Whether an answer was slower than it may be. It is not held against the dependency where our own lateness may be the
    /// reason.
    fn slowness(&self, latency: Duration, stalled: Duration) -> Option<(Found, String)> {
        let beyond = |limit: Option<Duration>| limit.filter(|limit| latency.saturating_sub(stalled) > *limit);
        let text = |limit: Duration| {
            format!(
                "the answer took {} ms; {} is allowed",
                latency.as_millis(),
                humantime::format_duration(limit)
            )
        };
        if let Some(limit) = beyond(self.options.failed_above) {
            return Some((Found::Failed, text(limit)));
        }
        beyond(self.options.degraded_above).map(|limit| (Found::Impaired, text(limit)))
    }

    /// Writes a round into the history, and into what the next window holds. Returns the usual latency.
    fn enter(&self, round: &Round, stalled: Duration) -> Option<u64> {
        let latency_us = round.latency.map(|latency| latency.as_micros() as u64);
        let mut books = self.seat.books();
        if books.history.len() == HISTORY_MAX {
            books.history.pop_front();
        }
        books.history.push_back(Point { at: round.at, found: round.found, latency_us });
        let tick = &mut books.tick;
        match round.found {
            Found::Well | Found::Impaired => tick.ok += 1,
            Found::Failed => tick.failed += 1,
            Found::Unable => {}
        }
        // An answer that we ourselves may have kept waiting says nothing of the dependency's speed.
        if let Some(us) = latency_us.filter(|_| round.found != Found::Failed && stalled.is_zero()) {
            tick.latencies.merge(&Latencies::new(vec![(us, 1)]));
        }
        let mut recent: Vec<u64> =
            books.history.iter().rev().filter_map(|point| point.latency_us).take(USUAL_OF).collect();
        recent.sort_unstable();
        recent.get(recent.len() / 2).copied()
    }

    /// Every round's load is part of the sum.
    fn add_load(&self, load: Option<u64>) {
        let Some(load) = load else { return };
        let mut books = self.seat.books();
        books.tick.load = Some(books.tick.load.unwrap_or(0).saturating_add(load));
    }
}

struct Answered {
    what: Result<Reply, Failure>,
    load: Option<u64>,
    took: Duration,
    /// By how much the agent itself was late meanwhile.
    stalled: Duration,
}

/// Says that a probe's task has ended by a fault of ours, so that nobody waits for it and nothing is claimed.
pub(super) fn give_up(seat: &Seat, clock: Clock, why: &str) {
    error!(probe = %seat.state().name, %why, "a probe failed by a fault of the agent's, and is not asked any more until the next start");
    seat.is_broken.store(true, Ordering::Relaxed);
    seat.state.send_modify(|state| {
        let state = Arc::make_mut(state);
        state.health = Health::Unknown;
        state.since = clock.now();
        state.row = Row::default();
        let why = "the probe itself failed, which is a fault of the agent's; its log has more".to_owned();
        state.last = Some(Round { why, ..Round::unable(clock.now()) });
    });
}

fn log_change(told: &HealthChange) {
    let HealthChange { probe, critical, change, why } = told;
    let (event, from, to) = (told.event(), change.from.label(), change.to.label());
    let lasted_s = change.lasted.as_secs();
    if change.to == Health::Ok {
        info!(event, %probe, critical, from, to, lasted_s, "a dependency is well");
    } else {
        warn!(event, %probe, critical, from, to, lasted_s, %why, "a dependency is not well");
    }
}
