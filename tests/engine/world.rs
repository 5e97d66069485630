//! A service in virtual time: seeded traffic in, the engine's effects out.

use std::time::Duration;

use outrigger::engine::history::{FACTS_MAX, OpenWatch};
use outrigger::engine::memory::{Memory, ReleaseMemory, Standing};
use outrigger::engine::observation::{Method, Outcome, StatusClass};
use outrigger::engine::policy::{Mode, Policy};
use outrigger::engine::record::{Acted, Exit, Happening, Live, Record};
use outrigger::engine::release::Release;
use outrigger::engine::time::Time;
use outrigger::engine::window::{Count, Latencies, Window};
use outrigger::engine::{Effect, Engine, Identity, Input};

/// What the traffic is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests a second.
    pub(crate) rps: u64,
    /// Share that fails.
    pub(crate) errors: f64,
    /// Median latency in microseconds; lognormal with sigma 0.5.
    pub(crate) median_us: f64,
    /// All latencies are multiplied by this.
    pub(crate) slow: f64,
    /// The app answers nothing.
    pub(crate) hang: bool,
}

pub(crate) const HEALTHY: Load = Load { rps: 100, errors: 0.001, median_us: 8_000.0, slow: 1.0, hang: false };

/// The time at which every world begins.
pub(crate) const EPOCH: Time = Time::from_millis(1_800_000_000_000);

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) engine: Engine,
    pub(crate) log: Vec<(Duration, String)>,
    pub(crate) kept: Kept,
    rng: fastrand::Rng,
    open: u64,
}

/// What a store would hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) memory: Memory,
    pub(crate) records: Vec<Record>,
    pub(crate) orders: usize,
}

pub(crate) fn release(name: &str) -> Release {
    Release::new(name).expect("the script is well-formed")
}

pub(crate) fn enforcing() -> Policy {
    Policy { mode: Mode::Enforce, ..Policy::default() }
}

/// A store in which `v1` is known good with this much healthy history.
pub(crate) fn v1_known_good(seed: u64, policy: &Policy, history: Duration) -> Kept {
    v1_known_good_under(seed, policy, history, &mut || HEALTHY)
}

/// The same under a load of one's own.
pub(crate) fn v1_known_good_under(
    seed: u64,
    policy: &Policy,
    history: Duration,
    load: &mut dyn FnMut() -> Load,
) -> Kept {
    let mut w = World::start(seed, EPOCH, "v1", policy.clone(), Kept::default());
    w.ready();
    for _ in 0..history.as_secs() {
        let load = load();
        w.run(Duration::from_secs(1), load);
    }
    assert_eq!(w.engine.snapshot(w.now).standing, Standing::KnownGood, "{:?}", w.log);
    w.kept
}

impl World {
    pub(crate) fn start(seed: u64, now: Time, name: &str, policy: Policy, kept: Kept) -> Self {
        let identity = Identity { release: release(name), boot: seed as u16 };
        let (engine, effects) = Engine::start(now, identity, policy, kept.memory.clone());
        let rng = fastrand::Rng::with_seed(seed);
        let mut w = Self { now, engine, log: Vec::new(), kept, rng, open: 0 };
        w.perform(effects);
        w
    }

    pub(crate) fn ready(&mut self) {
        self.step(Input::BecameReady);
    }

    pub(crate) fn crash(&mut self) {
        self.step(Input::Exited(Exit { code: Some(3), signal: None }));
    }

    pub(crate) fn acted(&mut self, acted: Acted) {
        let id = self.last_order();
        self.step(Input::Acted { record: id, acted });
    }

    pub(crate) fn live(&mut self, live: Live) {
        let id = self.last_order();
        self.step(Input::PlatformAnswered { record: id, live });
    }

    fn last_order(&self) -> outrigger::engine::release::RecordId {
        self.engine.snapshot(self.now).last_decision.expect("a decision was made").id
    }

    pub(crate) fn step(&mut self, input: Input) {
        let effects = self.engine.step(self.now, input);
        self.perform(effects);
    }

    /// Runs for a time, a second at a time.
    pub(crate) fn run(&mut self, time: Duration, load: Load) {
        for _ in 0..time.as_secs() {
            let window = self.second(load);
            self.step(Input::Sealed(window));
        }
    }

    /// Runs until the log holds a line with `needle`, at most `most`; returns how long that took.
    pub(crate) fn run_until(&mut self, needle: &str, most: Duration, load: Load) -> Option<Duration> {
        let from = self.now;
        let seen = self.log.len();
        while self.now.since(from) < most {
            self.run(Duration::from_secs(1), load);
            if self.log[seen..].iter().any(|(_, line)| line.contains(needle)) {
                return Some(self.now.since(from));
            }
        }
        None
    }

    pub(crate) fn second(&mut self, load: Load) -> Window {
        let from = self.now;
        self.now = self.now + Duration::from_secs(1);
        let arrived = poisson(&mut self.rng, load.rps as f64);
        if load.hang {
            self.open += arrived;
            let fresh = vec![(600_000, arrived)];
            return Window {
                from,
                to: self.now,
                arrived,
                in_flight: self.open,
                waiting: self.open,
                overdue: self.open,
                latencies: Latencies::new(fresh),
                ..Window::default()
            };
        }
        let failed = (0..arrived).filter(|_| self.rng.f64() < load.errors).count() as u64;
        let latencies = (0..arrived).map(|_| (latency(&mut self.rng, load), 1)).collect();
        let count = |status, outcome, count| Count { method: Method::Get, status, outcome, count };
        Window {
            from,
            to: self.now,
            counts: vec![
                count(StatusClass::Success, Outcome::Answered, arrived - failed),
                count(StatusClass::ServerError, Outcome::AppError, failed),
            ],
            latencies: Latencies::new(latencies),
            arrived,
            answered: arrived,
            ..Window::default()
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(record) => self.record(record),
                Effect::RollBack(order) => {
                    self.kept.orders += 1;
                    self.say(format!("order {} -> {}", order.from, order.to));
                }
                Effect::AskPlatform { target, .. } => self.say(format!("ask for {target}")),
                Effect::KeepWatch(start) => {
                    self.kept.memory.watch = Some(Box::new(OpenWatch { start: *start, facts: Vec::new() }));
                }
                Effect::KeepFact(fact) => {
                    if let Some(watch) = &mut self.kept.memory.watch
                        && watch.facts.len() <= FACTS_MAX
                    {
                        watch.facts.push(*fact);
                    }
                }
                Effect::KeepBaseline(baseline) => {
                    let all = &mut self.kept.memory.baselines;
                    all.retain(|b| b.release != baseline.release);
                    all.insert(0, *baseline);
                }
                Effect::KeepRelease(memory) => self.keep_release(memory),
                Effect::KeepPause(pause) => self.kept.memory.pause = pause,
                Effect::Tell { .. } | Effect::Introduce(_) | Effect::AskMemory(_) | Effect::Follow(_) => {}
                Effect::SetSlowMark(mark) => self.say(format!("slow mark {}ms", mark.as_millis())),
            }
        }
    }

    fn keep_release(&mut self, memory: ReleaseMemory) {
        let all = &mut self.kept.memory.releases;
        all.retain(|r| r.release != memory.release);
        all.insert(0, memory);
    }

    fn record(&mut self, record: Record) {
        let line = match &record.what {
            Happening::Started { known } => format!("started known={known}"),
            Happening::Ready => "ready".to_owned(),
            Happening::Exited(exit) => format!("exited {:?}", exit.code),
            Happening::VerdictChanged { from, to, .. } => {
                format!("verdict {} -> {}", from.label(), to.label())
            }
            Happening::Diagnosed(whose) => {
                format!("diagnosis {}", whose.as_ref().map_or("none", |diagnosis| diagnosis.label()))
            }
            Happening::HealthChanged(told) => format!("{} {}", told.event(), told.probe),
            Happening::WatchPassed { .. } => "watch passed".to_owned(),
            Happening::Paused(p) => format!("paused by {}", p.by),
            Happening::Resumed { by } => format!("resumed by {by}"),
            Happening::Locked(lock) => format!("locked by {}", lock.by),
            Happening::Unlocked { by } => format!("unlocked by {by}"),
            Happening::Verified(of) => format!("verified {}", of.outcome.label()),
            Happening::Readied(readiness) => format!("readied {}", readiness.is_ready()),
            Happening::Decided(d) => {
                let names: Vec<String> = d.reasons.iter().map(|r| reason(&format!("{r:?}"))).collect();
                format!("decided {} {} [{}]", d.decision.label(), d.progress.label(), names.join(" "))
            }
        };
        self.say(line);
        self.kept.records.retain(|r| r.id != record.id);
        self.kept.records.push(record);
        self.kept.memory = derive(std::mem::take(&mut self.kept.memory), &self.kept.records);
    }

    fn say(&mut self, line: String) {
        let since = self.now.since(EPOCH);
        self.log.push((since, line));
    }
}

/// What a store derives from its records: the open decision and the last act.
pub(crate) fn derive(mut memory: Memory, records: &[Record]) -> Memory {
    use outrigger::engine::memory::{LastAct, OpenDecision};
    use outrigger::engine::record::{Decision, Progress};
    let rollbacks = records.iter().filter_map(|r| {
        let decided = r.what.decided().filter(|d| d.decision == Decision::RollBack)?;
        Some((r, decided))
    });
    memory.open = None;
    memory.last_act = None;
    memory.acts.clear();
    memory.unverified = None;
    for r in records {
        if let Happening::Locked(lock) = &r.what {
            memory.lock = Some(lock.clone());
        } else if matches!(r.what, Happening::Unlocked { .. }) {
            memory.lock = None;
        }
    }
    for (r, d) in rollbacks {
        if d.progress.is_open() {
            memory.open = Some(OpenDecision {
                id: r.id.clone(),
                at: r.at,
                from: r.release.clone(),
                decided: d.clone(),
            });
        }
        let is_said =
            records.iter().any(|of| matches!(&of.what, Happening::Verified(said) if said.decision == r.id));
        if matches!(d.progress, Progress::Succeeded { .. }) && !is_said {
            let (id, at, from) = (r.id.clone(), r.at, r.release.clone());
            memory.unverified = Some(Box::new(OpenDecision { id, at, from, decided: d.clone() }));
        }
        if !matches!(d.progress, Progress::DryRun { .. } | Progress::NothingToDo) {
            memory.acts.insert(0, r.at);
            memory.last_act =
                Some(LastAct { id: r.id.clone(), at: r.at, from: r.release.clone(), to: d.target.clone() });
        }
    }
    memory
}

fn reason(debug: &str) -> String {
    debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

fn latency(rng: &mut fastrand::Rng, load: Load) -> u64 {
    (load.median_us * (0.5 * normal(rng)).exp() * load.slow) as u64
}

/// Box and Muller, 1958.
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let (u, v) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A Poisson count; by the normal approximation where the mean is large.
fn poisson(rng: &mut fastrand::Rng, mean: f64) -> u64 {
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0) as u64;
    }
    let (limit, mut product, mut count) = ((-mean).exp(), rng.f64(), 0);
    while product > limit {
        product *= rng.f64();
        count += 1;
    }
    count
}
