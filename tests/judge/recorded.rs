//! Recordings made up: a service of three replicas at 60 requests a second, some of them slow, few of them failed, the
//! same in each run.

use std::fmt::Write as _;

/// How a service behaves.
#[derive(Clone, Copy)]
pub(crate) struct Service {
    pub(crate) ticks: u64,
    /// The share of failures by replica and t.
    pub(crate) errors: fn(&str, u64) -> f64,
    /// How much slower than usual it is.
    pub(crate) slower: f64,
    /// Whether its database answers, by t; `None` without one.
    pub(crate) database: Option<fn(u64) -> bool>,
}

/// Half an hour of a healthy one.
pub(crate) const HEALTHY: Service = Service { ticks: 360, errors: usual, slower: 1.0, database: None };

pub(crate) fn usual(_: &str, _: u64) -> f64 {
    0.001
}

impl Service {
    /// As a file.
    pub(crate) fn recorded(self, seed: u64) -> String {
        let mut chance = fastrand::Rng::with_seed(seed);
        let mut text = String::new();
        for t in (1..=self.ticks).map(|tick| tick * 5) {
            for replica in ["a", "b", "c"] {
                let requests = chance.u64(80..120);
                let share = (self.errors)(replica, t);
                let errors = (0..requests).filter(|_| chance.f64() < share).count();
                let mut latency = || {
                    // Median 8 ms, 99th percentile some 60 ms.
                    let normal: f64 = (0..12).map(|_| chance.f64()).sum::<f64>() - 6.0;
                    (8.0 * (0.85 * normal).exp() * self.slower).ceil() as u64 * 1_000
                };
                let pairs: Vec<String> = (0..requests).map(|_| format!("[{},1]", latency())).collect();
                let probes = self.database.map_or_else(String::new, |answers| match answers(t) {
                    true => r#","probes":{"postgres":{"ok":1,"failed":0,"latency_us":[[900,1]]}}"#.to_owned(),
                    false => r#","probes":{"postgres":{"ok":0,"failed":1}}"#.to_owned(),
                });
                let pairs = pairs.join(",");
                writeln!(
                    text,
                    r#"{{"t":{t},"replica":"{replica}","requests":{requests},"errors":{errors},"latency_us":[{pairs}]{probes}}}"#
                )
                .expect("text can be written to");
            }
        }
        text
    }
}
