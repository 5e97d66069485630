//! What an observation costs the data path, and what the seal costs the agent. Promise: under 60 ns an observation, its
//! path included.

use std::cell::RefCell;
use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use outrigger::engine::observation::{Method, Outcome};
use outrigger::engine::time::Time;
use outrigger::recorder::{Asked, Ended, Recorder, Shard, Traffic};

/// More than one, so that not every latency falls into the bucket that is warm.
const LATENCIES: usize = 1024;

/// A path of usual length.
const PATH: &[u8] = b"/api/v1/customers/184467/orders/0f6c1a9e";

fn main() {
    divan::main();
}

/// Spread over 1 to 33 ms, the same in each run.
fn latencies() -> Vec<u64> {
    let mut rng = fastrand::Rng::with_seed(1);
    (0..LATENCIES).map(|_| 1_000 + rng.u64(0..32_000)).collect()
}

fn observe(shard: &Shard, now_us: u64, latency_us: u64) {
    let asked = Asked { method: Method::Get, path: black_box(PATH), class: Traffic::User };
    let ticket = shard.arrived(&asked, Some(now_us));
    shard.answered(&ticket, latency_us);
    shard.end(
        ticket,
        &Ended {
            status: 200,
            outcome: Outcome::Answered,
            now_us: now_us + latency_us,
            reached_us: Some(40),
            total_us: Some(latency_us + 90),
            retried: false,
            is_stream: false,
        },
    );
}

/// A request from its arrival to its end, `LATENCIES` of them an iteration: divide by the items. The window is sealed
/// between iterations, outside of the time taken, so that its journal never fills.
#[divan::bench]
fn observation(bencher: Bencher) {
    let recorder = RefCell::new(Recorder::new(1, Time::from_millis(0)));
    let shard = recorder.borrow().shards()[0].clone();
    let latencies = latencies();
    let seal = || recorder.borrow_mut().seal(Time::from_millis(1000), 1_000_000, false);
    bencher.counter(ItemsCount::new(LATENCIES)).with_inputs(|| drop(seal())).bench_local_values(|()| {
        for (i, &latency) in latencies.iter().enumerate() {
            observe(black_box(&shard), i as u64, black_box(latency));
        }
    });
}

/// The end of a second in which so many requests were observed, their route known.
#[divan::bench(args = [100, 1000, 10_000])]
fn seal(bencher: Bencher, requests: u64) {
    let latencies = latencies();
    let filled = || {
        let mut recorder = Recorder::new(1, Time::from_millis(0));
        for second in 1..5 {
            (0..10).for_each(|i| observe(&recorder.shards()[0], i, 1));
            recorder.seal(Time::from_millis(second * 1000), 1_000_000, false);
        }
        for (i, &latency) in (0..requests).zip(latencies.iter().cycle()) {
            observe(&recorder.shards()[0], i, latency);
        }
        recorder
    };
    bencher.with_inputs(filled).bench_local_values(|mut recorder| {
        let window = recorder.seal(Time::from_millis(5000), 1_000_000, false);
        (recorder, window)
    });
}
