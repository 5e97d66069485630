//! What a second costs the engine, at 100 and at 1000 requests a second: a step within a tick, the step that closes a
//! tick, the snapshot, and a round of a whole fleet. Promise: under 100 us a step, under 1 ms a fleet's round.

use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use outrigger::engine::baseline::Baseline;
use outrigger::engine::memory::Memory;
use outrigger::engine::observation::{Method, Outcome, StatusClass};
use outrigger::engine::policy::Policy;
use outrigger::engine::release::Release;
use outrigger::engine::tick::{Round, RouteTick, TICK, Tick};
use outrigger::engine::time::Time;
use outrigger::engine::watch::Watch;
use outrigger::engine::window::{Count, Latencies, Window};
use outrigger::engine::{Effect, Engine, Identity, Input};

const RATES: [u64; 2] = [100, 1000];
/// How long the candidate has been judged when it is measured: its warm-up is over, its watch is not.
const ON_TRIAL: Duration = Duration::from_secs(120);

fn main() {
    divan::main();
}

/// A service in virtual time.
struct Service {
    now: Time,
    engine: Engine,
    rate: u64,
    rng: fastrand::Rng,
}

impl Service {
    /// A second release on trial against the baseline that the first one left behind.
    fn on_trial(rate: u64) -> Self {
        let mut memory = Memory::default();
        let watch = Policy::default().watch + Duration::from_secs(60);
        let first = Self::start(Time::from_millis(1_800_000_000_000), "v1", rate, memory.clone());
        let (first, effects) = first.run(watch);
        for effect in effects {
            match effect {
                Effect::KeepBaseline(baseline) => memory.baselines = vec![*baseline],
                Effect::KeepRelease(release) => memory.releases = vec![release],
                Effect::Record(_)
                | Effect::RollBack(_)
                | Effect::AskPlatform { .. }
                | Effect::KeepWatch(_)
                | Effect::KeepFact(_)
                | Effect::KeepPause(_)
                | Effect::Tell { .. }
                | Effect::Introduce(_)
                | Effect::Follow(_)
                | Effect::AskMemory(_)
                | Effect::SetSlowMark(_) => {}
            }
        }
        assert!(!memory.baselines.is_empty(), "the first release must leave a baseline");
        let (second, _) = Self::start(first.now, "v2", rate, memory).run(ON_TRIAL);
        let snapshot = second.engine.snapshot(second.now);
        assert!(
            snapshot.baseline.is_some() && !snapshot.evidence.is_empty(),
            "v2 must be judged: {snapshot:?}"
        );
        second
    }

    fn start(now: Time, release: &str, rate: u64, memory: Memory) -> Self {
        let release = Release::new(release).expect("the name is visible ASCII");
        let (mut engine, _) = Engine::start(now, Identity { release, boot: 1 }, Policy::default(), memory);
        engine.step(now, Input::BecameReady);
        Self { now, engine, rate, rng: fastrand::Rng::with_seed(1) }
    }

    fn run(mut self, time: Duration) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        for _ in 0..time.as_secs() {
            let window = self.second();
            effects.extend(self.engine.step(self.now, Input::Sealed(window)));
        }
        (self, effects)
    }

    /// The next second of healthy traffic, every thousandth request failing. Latencies come from the recorder's
    /// histogram, so their number is bounded; here each is one of at most 1000.
    fn second(&mut self) -> Window {
        let from = self.now;
        self.now = from + Duration::from_secs(1);
        let failed = u64::from(self.rng.u64(0..1000) < self.rate);
        let count = |status, outcome, count| Count { method: Method::Get, status, outcome, count };
        let latencies = (0..self.rate).map(|_| (4_000 + 8 * self.rng.u64(0..1000), 1)).collect();
        Window {
            from,
            to: self.now,
            counts: vec![
                count(StatusClass::Success, Outcome::Answered, self.rate - failed),
                count(StatusClass::ServerError, Outcome::AppError, failed),
            ],
            latencies: Latencies::new(latencies),
            arrived: self.rate,
            answered: self.rate,
            ..Window::default()
        }
    }

    /// Goes on until the next step closes a tick, or is the one after such a step.
    fn until(mut self, closes: bool) -> (Engine, Time, Window) {
        for _ in 0..=TICK.as_secs() {
            let before = self.engine.clone();
            let window = self.second();
            let effects = self.engine.step(self.now, Input::Sealed(window.clone()));
            if effects.iter().any(|effect| matches!(effect, Effect::KeepFact(_))) == closes {
                return (before, self.now, window);
            }
        }
        unreachable!("a tick closes within its length");
    }
}

fn bench_step(bencher: Bencher, rate: u64, closes: bool) {
    let (engine, now, window) = Service::on_trial(rate).until(closes);
    bencher.with_inputs(|| (engine.clone(), window.clone())).bench_local_values(|(mut engine, window)| {
        let effects = engine.step(now, Input::Sealed(window));
        (engine, effects)
    });
}

#[divan::bench(args = RATES)]
fn step_within_a_tick(bencher: Bencher, rate: u64) {
    bench_step(bencher, rate, false);
}

#[divan::bench(args = RATES)]
fn step_that_closes_a_tick(bencher: Bencher, rate: u64) {
    bench_step(bencher, rate, true);
}

/// A round of 50 replicas and 200 routes, at 1000 requests a second in all. Promise: under 1 ms.
#[divan::bench]
fn round_of_a_fleet(bencher: Bencher) {
    let mut fleet = Fleet::new();
    let mut watch = fleet.watch();
    for _ in 0..40 {
        let round = fleet.round();
        watch.see(fleet.now, &round);
    }
    let rounds: Vec<(Time, Round)> = (0..16)
        .map(|_| {
            let round = fleet.round();
            (fleet.now, round)
        })
        .collect();
    let mut next = rounds.iter().cycle();
    bencher.bench_local(|| {
        let (now, round) = next.next().expect("a cycle has no end");
        watch.see(*now, round)
    });
}

const REPLICAS: usize = 50;
const ROUTES: usize = 200;

/// Many replicas of a service with many routes.
struct Fleet {
    now: Time,
    rng: fastrand::Rng,
    names: Vec<Arc<str>>,
    routes: Vec<Arc<str>>,
}

impl Fleet {
    fn new() -> Self {
        Self {
            now: Time::from_millis(1_800_000_000_000),
            rng: fastrand::Rng::with_seed(1),
            names: (0..REPLICAS).map(|n| format!("replica-{n:02}").into()).collect(),
            routes: (0..ROUTES).map(|n| format!("GET /route-{n:03}").into()).collect(),
        }
    }

    fn watch(&mut self) -> Watch {
        let mut baseline = Baseline::empty(Release::new("v1").expect("visible ASCII"), self.now);
        for n in 0..720 {
            let round = self.round();
            baseline.learn(&round.pooled(), TICK * (n + 100));
        }
        let release = Release::new("v2").expect("visible ASCII");
        Watch::begin(self.now, release, Some(baseline), Policy::default())
    }

    fn round(&mut self) -> Round {
        self.now = self.now + TICK;
        let candidate = self.names.clone().into_iter().map(|name| (name, self.tick())).collect();
        Round { candidate, control: None }
    }

    fn tick(&mut self) -> Tick {
        let mut sum = Tick { from: self.now - TICK, to: self.now, ..Tick::default() };
        let mut all = Vec::new();
        for route in &self.routes {
            let n = self.rng.u64(0..2);
            if n == 0 {
                continue;
            }
            let latencies = Latencies::new(vec![(4_000 + 64 * self.rng.u64(0..100), n)]);
            all.extend_from_slice(latencies.pairs());
            sum.judged += n;
            let failed = u64::from(self.rng.u64(0..1000) < n);
            sum.failed += failed;
            sum.routes.push(RouteTick { route: route.clone(), ended: n, judged: n, failed, latencies });
        }
        sum.latencies = Latencies::new(all);
        (sum.ended, sum.arrived, sum.answered, sum.routed) = (sum.judged, sum.judged, sum.judged, sum.judged);
        sum
    }
}

#[divan::bench(args = RATES)]
fn snapshot(bencher: Bencher, rate: u64) {
    let service = Service::on_trial(rate);
    bencher.bench_local(|| service.engine.snapshot(service.now));
}
