//! What a second costs the engine, at 100 and at 1000 requests a second: a step within a tick, the step that closes a
//! tick, and the snapshot. Promise: under 100 us a step.

use std::time::Duration;

use divan::Bencher;
use outrigger::engine::memory::Memory;
use outrigger::engine::observation::{Method, Outcome, StatusClass};
use outrigger::engine::policy::Policy;
use outrigger::engine::release::Release;
use outrigger::engine::time::Time;
use outrigger::engine::tick::TICK;
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

#[divan::bench(args = RATES)]
fn snapshot(bencher: Bencher, rate: u64) {
    let service = Service::on_trial(rate);
    bencher.bench_local(|| service.engine.snapshot(service.now));
}
