//! One watch of the study after the other: the judge and its rivals on the same traffic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use outrigger::engine::policy::Policy;
use outrigger::engine::tick::TICK;
use outrigger::engine::verdict::Verdict;
use outrigger::engine::watch::{Judgement, Watch};

use crate::cases::{Case, Fault};
use crate::chance::{name_seed, seed};
use crate::effects::{Effect, Reach};
use crate::history::{self, History, release};
use crate::rivals::{RIVALS, Rivals};
use crate::service::{READY, Service, Setup, routes};
use crate::shape::{Shape, Table};

/// How long a healthy watch is looked at, and how long a fault is waited for.
pub(crate) const WATCH_S: u64 = 30 * 60;
/// The median latency of every service.
const MEDIAN_US: f64 = 20_000.0;

/// How much of the study is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// Starts of the app in the history, and hours after each.
    pub(crate) starts: u32,
    pub(crate) hours: f64,
    /// Whether the rivals look on.
    pub(crate) rivals: bool,
}

type Key = String;
type Slot = Arc<OnceLock<Arc<History>>>;

/// The services' histories, each made once.
#[derive(Default)]
pub(crate) struct Histories(Mutex<HashMap<Key, Slot>>);

impl Histories {
    pub(crate) fn of(&self, setup: &Setup, shape: Shape, habits: &[Effect], scale: Scale) -> Arc<History> {
        let whats: Vec<_> = habits.iter().map(|h| h.what).collect();
        let key = format!("{} {shape:?} {} {} {whats:?}", setup.rate, setup.replicas, setup.routes.len());
        let slot = self.0.lock().expect("no holder panics").entry(key).or_default().clone();
        slot.get_or_init(|| history::build(setup, habits, scale.starts, scale.hours)).clone()
    }
}

/// Does all jobs on all processors. The results are in the jobs' order, and no result depends on another.
pub(crate) fn parallel<J: Sync, R: Send>(jobs: &[J], work: impl Fn(&J) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<R>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { return };
                    *results[at].lock().expect("no holder panics") = Some(work(job));
                }
            });
        }
    });
    let taken =
        |slot: Mutex<Option<R>>| slot.into_inner().expect("no holder panics").expect("every job was done");
    results.into_iter().map(taken).collect()
}

pub(crate) fn setup(shape: Shape, rate: f64, replicas: usize, of_routes: usize) -> Setup {
    Setup {
        rate,
        table: Arc::new(Table::new(shape, MEDIAN_US)),
        replicas,
        routes: routes(of_routes),
        weight: None,
    }
}

/// A watch with all that looks at it.
#[derive(Clone)]
pub(crate) struct Trial {
    pub(crate) service: Service,
    pub(crate) watch: Watch,
    history: Arc<History>,
    rivals: Option<Rivals>,
    age_s: u64,
    /// The judge has spoken; only the rivals are still waited for.
    is_decided: bool,
}

/// What was thought after a tick.
pub(crate) struct Seen {
    pub(crate) age_s: u64,
    /// `None` once it was decided.
    pub(crate) judgement: Option<Judgement>,
    pub(crate) rivals: [bool; RIVALS.len()],
}

impl Trial {
    pub(crate) fn new(service: Service, history: Arc<History>, rivals: bool) -> Self {
        let watch = Watch::begin(READY, release("v2"), Some(history.baseline.clone()), Policy::default());
        Self { service, watch, history, rivals: rivals.then(Rivals::default), age_s: 0, is_decided: false }
    }

    pub(crate) fn tick(&mut self) -> Seen {
        let (now, round) = self.service.next();
        self.age_s += TICK.as_secs();
        let judgement = (!self.is_decided).then(|| self.watch.see(now, &round));
        let mut rivals = [false; RIVALS.len()];
        if let Some(all) = &mut self.rivals {
            rivals = all.see(&self.history, &round.pooled());
        }
        Seen { age_s: self.age_s, judgement, rivals }
    }
}

impl Seen {
    pub(crate) fn blames_release(&self) -> bool {
        self.judgement.as_ref().is_some_and(Judgement::blames_release)
    }
}

/// What came of a cell of healthy watches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms {
    pub(crate) watches: u64,
    /// Which watches ended with the release blamed, and by what.
    pub(crate) blamed: Vec<(u64, String)>,
    /// Degraded, but for the fault of something else.
    pub(crate) excused: u64,
    pub(crate) rivals: [u64; RIVALS.len()],
}

/// The watch of one run of a healthy case.
pub(crate) fn healthy_trial(case: &Case, rate: f64, run: u64, histories: &Histories, scale: Scale) -> Trial {
    let history_rate = case.busy.map_or(rate, |(busy, _)| busy);
    let mut of = setup(case.shape, history_rate, case.replicas, case.routes);
    let history = histories.of(&of, case.shape, &case.habits, scale);
    of.rate = rate;
    let seed = seed(&[name_seed(case.name), rate.to_bits(), run]);
    let begins = |effect: Effect| match case.happens_s {
        Some((from, to)) => effect.from((from + seed % (to - from)) as f64),
        None => effect,
    };
    let effects = case.habits.iter().copied().chain(case.news.iter().copied().map(begins)).collect();
    Trial::new(Service::new(of, effects, seed, READY), history, scale.rivals)
}

/// Runs a healthy case so many times.
pub(crate) fn healthy(case: &Case, rate: f64, watches: u64, histories: &Histories, scale: Scale) -> Alarms {
    let mut all = Alarms { watches, ..Alarms::default() };
    for run in 0..watches {
        let mut trial = healthy_trial(case, rate, run, histories, scale);
        let (mut blamed, mut excused, mut rivals) = (None, false, [false; RIVALS.len()]);
        for _ in 0..WATCH_S / TICK.as_secs() {
            let seen = trial.tick();
            if blamed.is_none() && seen.blames_release() {
                blamed = Some(describe(&seen));
            }
            excused |= seen.judgement.as_ref().is_some_and(|j| j.diagnosis.is_some());
            rivals.iter_mut().zip(seen.rivals).for_each(|(ever, now)| *ever |= now);
        }
        all.excused += u64::from(excused && blamed.is_none());
        all.blamed.extend(blamed.map(|how| (run, how)));
        all.rivals.iter_mut().zip(rivals).for_each(|(sum, ever)| *sum += u64::from(ever));
    }
    all
}

/// When and by what a release was blamed, in a few words.
pub(crate) fn describe(seen: &Seen) -> String {
    let Some(judgement) = &seen.judgement else { return "decided".to_owned() };
    let breach = match &judgement.verdict {
        Verdict::Degraded { breach, .. } => format!("{breach:?}"),
        verdict @ (Verdict::NotJudgeable(_) | Verdict::Undecided(_) | Verdict::Healthy) => {
            verdict.label().to_owned()
        }
    };
    format!("at {} s: {breach} {:?}", seen.age_s, judgement.diagnosis)
}

/// What came of a fault in a cell: seconds from the onset, `None` for never within half an hour.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays {
    pub(crate) judge: Vec<Option<u64>>,
    pub(crate) rivals: [Vec<Option<u64>>; RIVALS.len()],
    /// Watches in which the release had been blamed before the onset.
    pub(crate) early: u64,
    /// By what it was blamed first in the first watch.
    pub(crate) how: String,
}

/// Faults of services that are alike until the onset.
#[derive(Clone, Debug)]
pub(crate) struct Onset {
    pub(crate) shape: Shape,
    pub(crate) routes: usize,
    pub(crate) rate: f64,
    /// Seconds after the start.
    pub(crate) at_s: u64,
    pub(crate) faults: Vec<Fault>,
    pub(crate) watches: u64,
}

/// One watch of a fault from its onset on, as [`delays`] runs it but for its chance.
pub(crate) fn faulty_trial(
    fault: &Fault,
    rate: f64,
    at_s: u64,
    run: u64,
    histories: &Histories,
    scale: Scale,
) -> Trial {
    let setup = setup(fault.shape, rate, 1, fault.routes);
    let history = histories.of(&setup, fault.shape, &[], scale);
    let effect = Effect::new(fault.what, Reach::Candidate).from(at_s as f64);
    let seed = seed(&[at_s, rate.to_bits(), name_seed(fault.name), run]);
    Trial::new(Service::new(setup, vec![effect], seed, READY), history, false)
}

/// Runs each fault so many times. The time up to the onset is run once for all of them.
pub(crate) fn delays(of: &Onset, histories: &Histories, scale: Scale) -> Vec<Delays> {
    let setup = setup(of.shape, of.rate, 1, of.routes);
    let history = histories.of(&setup, of.shape, &[], scale);
    let mut all = vec![Delays::default(); of.faults.len()];
    for run in 0..of.watches {
        let seed_of = |what: u64| seed(&[of.at_s, of.rate.to_bits(), of.shape as u64, what, run]);
        let service = Service::new(setup.clone(), Vec::new(), seed_of(0), READY);
        let mut clean = Trial::new(service, history.clone(), scale.rivals);
        let is_early =
            (0..of.at_s / TICK.as_secs()).fold(false, |early, _| early | clean.tick().blames_release());
        // Not always at the beginning of a tick, unless it came with the release.
        let onset_s = of.at_s + if of.at_s > 0 { run % TICK.as_secs() } else { 0 };
        for (fault, delays) in of.faults.iter().zip(&mut all) {
            if is_early {
                delays.early += 1;
                continue;
            }
            let mut trial = clean.clone();
            trial.service.reseed(seed_of(1 + name_seed(fault.name)));
            trial.service.effects.push(Effect::new(fault.what, Reach::Candidate).from(onset_s as f64));
            one_delay(trial, onset_s, delays);
        }
    }
    for delays in &mut all {
        delays.judge.sort_unstable_by_key(|d| d.unwrap_or(u64::MAX));
        delays.rivals.iter_mut().for_each(|r| r.sort_unstable_by_key(|d| d.unwrap_or(u64::MAX)));
    }
    all
}

fn one_delay(mut trial: Trial, onset_s: u64, delays: &mut Delays) {
    let (mut judge, mut rivals) = (None, [None; RIVALS.len()]);
    let has_rivals = trial.rivals.is_some();
    while trial.age_s < onset_s + WATCH_S {
        let seen = trial.tick();
        let delay = seen.age_s.saturating_sub(onset_s);
        if judge.is_none() && seen.blames_release() {
            judge = Some(delay);
            trial.is_decided = true;
            if delays.how.is_empty() {
                delays.how = describe(&seen);
            }
        }
        for (first, now) in rivals.iter_mut().zip(seen.rivals) {
            *first = first.or(now.then_some(delay));
        }
        if judge.is_some() && (!has_rivals || rivals.iter().all(Option::is_some)) {
            break;
        }
    }
    delays.judge.push(judge);
    delays.rivals.iter_mut().zip(rivals).for_each(|(list, first)| list.push(first));
}
