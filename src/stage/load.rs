//! A steady load: clients who come when they come, whether or not the service keeps up.
//!
//! It is open-loop: a slow service does not slow its clients down, so a queue shows as one. Arrivals are random with a
//! seed. It counts what a client sees: an answer of 5xx, none in time, or no connection is a failure.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http::Response;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::stage::app::{BAD_ROUTE, BAD_ROUTE_PERCENT};
use crate::stage::http::{Client, ClientError};

/// How long a client waits.
pub const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);
/// Requests open at once; at the bound a client is turned away and counted as failed.
const OPEN_MAX: usize = 10_000;
/// Arrivals later than this (the machine stood still) are skipped, not made up for in a burst.
const LATE_MAX: Duration = Duration::from_secs(1);
/// The latencies that are told apart, in microseconds; slower ones count as the greatest.
const LATENCY_US_MAX: u64 = 60_000_000;
/// What clients ask for, each so many times in a hundred; `#` is a number below [`IDS`].
const ASKED_FOR: [(u32, &str); 10] = [
    (24, "/"),
    (20, "/items/#"),
    (14, "/search?q=boat"),
    (10, "/cart"),
    (8, "/categories/#"),
    (8, "/users/#"),
    (5, "/users/#/orders"),
    (4, "/orders/#"),
    (2, "/prices"),
    (BAD_ROUTE_PERCENT, BAD_ROUTE),
];
/// So many things of each kind there are.
const IDS: u32 = 1000;

/// What ended in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Served {
    /// Requests ended.
    pub requests: u64,
    /// Of those, failed: 5xx, no answer in time, no connection.
    pub failed: u64,
    /// Of those, no answer in time.
    pub timed_out: u64,
    /// The median latency; 0 without requests.
    pub p50_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
}

impl Served {
    /// Failed requests as a share of all, 0 to 1.
    pub fn failed_share(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.failed as f64 / self.requests as f64 }
    }
}

#[derive(Debug)]
struct Tally {
    served: Served,
    latency_us: Histogram<u32>,
}

impl Tally {
    fn new() -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)
            .expect("the bounds and digits are constants that the histogram accepts");
        Self { served: Served::default(), latency_us }
    }

    fn add(&mut self, fate: Fate, took: Duration) {
        self.served.requests += 1;
        self.served.failed += u64::from(fate != Fate::Answered);
        self.served.timed_out += u64::from(fate == Fate::TimedOut);
        self.latency_us.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    fn served(&self) -> Served {
        let ms = |quantile| self.latency_us.value_at_quantile(quantile) as f64 / 1000.0;
        Served { p50_ms: ms(0.50), p99_ms: ms(0.99), ..self.served }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    Failed,
    TimedOut,
}

impl Fate {
    fn of(reply: Result<Response<Bytes>, ClientError>) -> Self {
        match reply {
            Ok(reply) if reply.status().is_server_error() => Self::Failed,
            Ok(_) => Self::Answered,
            Err(ClientError::TimedOut { .. }) => Self::TimedOut,
            Err(
                ClientError::Connect { .. }
                | ClientError::Send { .. }
                | ClientError::Read { .. }
                | ClientError::Build(_),
            ) => Self::Failed,
        }
    }
}

#[derive(Debug)]
struct Tallies {
    second: Tally,
    total: Tally,
}

/// A load under way. Dropping it stops it.
#[derive(Debug)]
pub struct Load {
    tallies: Arc<Mutex<Tallies>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Load {
    /// Sends `rate` requests a second to `target`, from now on.
    pub fn start(target: SocketAddr, rate: f64, seed: u64, clock: Clock) -> Self {
        let tallies = Arc::new(Mutex::new(Tallies { second: Tally::new(), total: Tally::new() }));
        let stop = CancellationToken::new();
        let clients = Clients { target, clock, client: Client::default(), tallies: tallies.clone() };
        let task = tokio::spawn(clients.come(rate, fastrand::Rng::with_seed(seed), stop.clone()));
        Self { tallies, stop, task }
    }

    /// What ended since this was last asked.
    pub fn take_second(&self) -> Served {
        let mut tallies = lock(&self.tallies);
        let served = tallies.second.served();
        tallies.second.served = Served::default();
        tallies.second.latency_us.reset();
        served
    }

    /// What ended since the start.
    pub fn total(&self) -> Served {
        lock(&self.tallies).total.served()
    }

    /// Lets no more clients come, waits for those that are there, and returns the total.
    pub async fn stop(mut self) -> Served {
        self.stop.cancel();
        // Clients wait a limited time, so this ends; a panic in there has been printed.
        let _ended = (&mut self.task).await;
        self.total()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

#[derive(Clone)]
struct Clients {
    target: SocketAddr,
    clock: Clock,
    client: Client,
    tallies: Arc<Mutex<Tallies>>,
}

impl Clients {
    async fn come(self, rate: f64, mut chance: fastrand::Rng, stop: CancellationToken) {
        let open = Arc::new(Semaphore::new(OPEN_MAX));
        let mut requests = JoinSet::new();
        let mut next = self.clock.instant();
        loop {
            // Exponential gaps: clients do not know of one another.
            next += Duration::from_secs_f64(-(1.0 - chance.f64()).ln() / rate);
            next = next.max(self.clock.instant() - LATE_MAX);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = stop.cancelled() => break,
            }
            while requests.try_join_next().is_some() {}
            let path = path(&mut chance);
            match open.clone().try_acquire_owned() {
                Ok(permit) => {
                    let clients = self.clone();
                    requests.spawn(async move {
                        clients.ask(&path).await;
                        drop(permit);
                    });
                }
                Err(_) => self.tally(Fate::Failed, Duration::ZERO),
            }
        }
        while requests.join_next().await.is_some() {}
    }

    async fn ask(&self, path: &str) {
        let asked = self.clock.instant();
        let reply = self.client.get(self.target, path, "demo.example", CLIENT_TIMEOUT).await;
        self.tally(Fate::of(reply), self.clock.instant().saturating_duration_since(asked));
    }

    fn tally(&self, fate: Fate, took: Duration) {
        let mut tallies = lock(&self.tallies);
        tallies.second.add(fate, took);
        tallies.total.add(fate, took);
    }
}

/// What the next client asks for.
fn path(chance: &mut fastrand::Rng) -> String {
    let all: u32 = ASKED_FOR.iter().map(|(weight, _)| weight).sum();
    let mut drawn = chance.u32(..all);
    let found = ASKED_FOR.iter().find(|(weight, _)| {
        let is_it = drawn < *weight;
        drawn = drawn.saturating_sub(*weight);
        is_it
    });
    let (_, path) = found.expect("what is drawn is below the sum of the weights");
    path.replace('#', &chance.u32(..IDS).to_string())
}

fn lock(tallies: &Mutex<Tallies>) -> MutexGuard<'_, Tallies> {
    tallies.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_ask_for_ten_routes_and_seldom_for_the_one_that_may_be_bad() {
        let mut chance = fastrand::Rng::with_seed(7);
        let paths: Vec<String> = (0..10_000).map(|_| path(&mut chance)).collect();
        let share = |of: &dyn Fn(&str) -> bool| paths.iter().filter(|p| of(p)).count() as f64 / 1e4;
        assert!((0.04..0.06).contains(&share(&|p| p == BAD_ROUTE)));
        assert!((0.22..0.26).contains(&share(&|p| p == "/")));
        assert!((0.18..0.22).contains(&share(&|p| p.starts_with("/items/"))));
        assert!(paths.iter().all(|p| !p.contains('#')));
        let mut again = fastrand::Rng::with_seed(7);
        assert!(paths.iter().all(|p| *p == path(&mut again)), "the same seed asks for the same");
    }
}
