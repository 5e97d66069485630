//! Long simulations behind a flag, for the figures in the docs; no promise is asserted here but that they ran.
//!
//! `cargo test --test engine studies -- --ignored --nocapture`

use std::time::Duration;

use crate::world::{EPOCH, HEALTHY, Kept, Load, World, enforcing, v1_known_good_under};

const MINUTE: Duration = Duration::from_secs(60);
const START: Duration = Duration::from_secs(30 * 3600);
/// A day of history, so that the baseline knows the bursts.
const HISTORY: Duration = Duration::from_secs(24 * 3600);
const RUNS: u64 = 300;

/// How a service's own errors come.
#[derive(Clone, Copy, Debug)]
struct Clumps {
    name: &'static str,
    /// Seconds that a burst lasts, from and to.
    seconds: (u64, u64),
    /// Share of failures in it.
    share: f64,
}

const CLUMPS: [Clumps; 3] = [
    Clumps { name: "none", seconds: (0, 0), share: 0.0 },
    Clumps { name: "mild", seconds: (1, 4), share: 0.2 },
    Clumps { name: "hard", seconds: (5, 15), share: 0.5 },
];

/// A service with 0.1 % errors, nine tenths of them in bursts.
struct Service {
    clumps: Clumps,
    rps: u64,
    left: u64,
    rng: fastrand::Rng,
}

impl Service {
    fn new(clumps: Clumps, rps: u64, seed: u64) -> Self {
        Self { clumps, rps, left: 0, rng: fastrand::Rng::with_seed(seed ^ 0x5eed) }
    }

    fn second(&mut self) -> Load {
        let (from, to) = self.clumps.seconds;
        let mean = (from + to) as f64 / 2.0 * self.clumps.share;
        if self.left == 0 && mean > 0.0 && self.rng.f64() < 0.0009 / mean {
            self.left = self.rng.u64(from..=to);
        }
        let quiet = if mean > 0.0 { 0.0001 } else { 0.001 };
        let errors = if self.left > 0 { self.clumps.share } else { quiet };
        self.left = self.left.saturating_sub(1);
        Load { errors, rps: self.rps, ..HEALTHY }
    }
}

fn history(clumps: Clumps, rps: u64) -> Kept {
    let mut service = Service::new(clumps, rps, 1);
    v1_known_good_under(1, &enforcing(), HISTORY, &mut || service.second())
}

#[test]
#[ignore = "takes minutes; run by hand for the figures in the docs"]
fn studies_of_false_alarms_and_delays() {
    println!("| traffic | clumps | false alarms in {RUNS} watches | 2 % errors | 10 % | 50 % | 2x latency |");
    println!("|---|---|---|---|---|---|---|");
    for rps in [1, 3, 10, 100] {
        for clumps in CLUMPS {
            let kept = history(clumps, rps);
            let alarms = (0..RUNS).filter(|&seed| false_alarm(seed, clumps, rps, &kept)).count();
            let ill = |errors, slow| delays(clumps, rps, &kept, Load { errors, slow, rps, ..HEALTHY });
            println!(
                "| {rps} req/s | {} | {alarms} | {} | {} | {} | {} |",
                clumps.name,
                ill(0.02, 1.0),
                ill(0.10, 1.0),
                ill(0.50, 1.0),
                ill(0.001, 2.0)
            );
        }
    }
}

fn false_alarm(seed: u64, clumps: Clumps, rps: u64, kept: &Kept) -> bool {
    let mut w = World::start(seed, EPOCH + START, "v2", enforcing(), kept.clone());
    let mut service = Service::new(clumps, rps, seed);
    w.ready();
    for _ in 0..16 * 60 {
        let load = service.second();
        w.run(Duration::from_secs(1), load);
    }
    w.log.iter().any(|(_, l)| l.contains("-> degraded"))
}

/// Median and 95th percentile of the time from an onset in the third minute.
fn delays(clumps: Clumps, rps: u64, kept: &Kept, ill: Load) -> String {
    let mut all: Vec<u64> = (0..60)
        .map(|seed| {
            let mut w = World::start(1000 + seed, EPOCH + START, "v2", enforcing(), kept.clone());
            let mut service = Service::new(clumps, rps, seed);
            w.ready();
            for _ in 0..180 + seed % 5 {
                let load = service.second();
                w.run(Duration::from_secs(1), load);
            }
            w.run_until("-> degraded", 12 * MINUTE, ill).map_or(u64::MAX, |d| d.as_secs())
        })
        .collect();
    all.sort_unstable();
    let show = |s: u64| if s == u64::MAX { "never".to_owned() } else { format!("{s}") };
    format!("{} / {} s", show(all[30]), show(all[57]))
}
