//! The baseline of a service: its history, learnt tick by tick as the engine does it, and the same history in minutes for
//! the rules of others.

use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::baseline::Baseline;
use outrigger::engine::policy::Policy;
use outrigger::engine::release::Release;
use outrigger::engine::tick::{TICK, Tick};

use crate::chance::seed;
use crate::effects::Effect;
use crate::rivals::Minute;
use crate::service::{READY, Service, Setup};

/// Minutes of the history that the rivals compare with.
const MINUTES: usize = 60;

/// What is known of a service before the watch.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) baseline: Baseline,
    /// The last hour.
    pub(crate) minutes: Vec<Minute>,
    /// The 99th percentile.
    pub(crate) p99_us: u64,
}

pub(crate) fn release(name: &str) -> Release {
    Release::new(name).expect("the name is visible ASCII")
}

/// `starts` starts of the app, each followed by `hours` hours of health, up to the beginning of the watch.
pub(crate) fn build(setup: &Setup, habits: &[Effect], starts: u32, hours: f64) -> Arc<History> {
    let policy = Policy::default();
    let span = Duration::from_secs((hours * 3600.0) as u64);
    let from = READY - span * starts;
    let whole = Setup { weight: None, ..setup.clone() };
    let mut service = Service::new(whole, habits.to_vec(), seed(&[setup.rate.to_bits(), 0]), from);
    let mut baseline = Baseline::empty(release("v1"), from);
    let mut minutes = Vec::new();
    let mut minute: Vec<Tick> = Vec::new();
    for _ in 0..starts {
        service.restart();
        let (mut ended, mut is_warm) = (0, false);
        for _ in 0..span.as_secs() / TICK.as_secs() {
            let (_, round) = service.next();
            let tick = round.pooled();
            let age = service.age();
            ended += tick.ended;
            if is_warm {
                baseline.learn(&tick, age);
            } else {
                baseline.learn_start(&tick, age);
            }
            is_warm |= age >= policy.warm_up && ended >= policy.warm_up_requests;
            minute.push(tick);
            if minute.len() == 12 {
                minutes.push(Minute::of(&minute));
                minute.clear();
            }
        }
    }
    minutes.drain(..minutes.len().saturating_sub(MINUTES));
    let p99_us =
        if baseline.latency.is_empty() { u64::MAX / 4 } else { baseline.latency.value_at_quantile(0.99) };
    Arc::new(History { baseline, minutes, p99_us })
}
