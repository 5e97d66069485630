//! Active checks: is the app ready, and how well is what it depends on?
//!
//! It owns the questions, how often they are asked, and what each answer says of a dependency. It does not know what follows
//! from that for a release. Readiness is asked until the answer is yes; how long an app may take to start is not its
//! business.
//!
//! **Invariant:** a probe asks one question at a time, within a limit, over at most two connections of its own; it never shares
//! the app's. What it finds is told in words that hold no secret.
//!
//! **Invariant:** our own trouble is not the dependency's. Where the agent was late, or had no descriptor, port or route left,
//! the round is *unable* and evidence against nobody.

mod command;
mod dial;
mod dns;
mod grpc;
mod http;
mod mysql;
mod postgres;
mod probe;
mod pulse;
mod readiness;
mod redis;
mod runner;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::probes::{Ask, Probe as Options};
use crate::engine::health::{HealthChange, Point, ProbeState};
use crate::engine::tick::ProbeTick;
use crate::prober::dial::Dialer;
use crate::prober::probe::Probe;
use crate::prober::pulse::Pulse;
use crate::prober::runner::{Asking, Runner, Seat};

pub use crate::prober::readiness::{Place, Readiness, Target};

/// Spawns a child of ours by the closure it is given, which returns the child's id, and keeps whoever reaps orphans from
/// taking its exit status for as long as the result lives.
pub type Adopt = Arc<dyn Fn(&mut dyn FnMut() -> io::Result<u32>) -> io::Result<Box<dyn Send>> + Send + Sync>;

/// All probes of an agent. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Prober {
    clock: Clock,
    seats: Arc<[Arc<Seat>]>,
    pulse: Option<Arc<Pulse>>,
}

impl Prober {
    /// Starts to ask, within a runtime, until `shutdown`. Changes of state go to `changes`; where nobody takes them they are
    /// dropped and logged.
    pub fn start(
        probes: &[Options],
        clock: Clock,
        adopt: &Adopt,
        changes: &mpsc::Sender<HealthChange>,
        shutdown: &CancellationToken,
    ) -> Self {
        if probes.is_empty() {
            return Self { clock, seats: Arc::new([]), pulse: None };
        }
        let pulse = Pulse::start(clock, shutdown.clone());
        let start = |options: &Options| {
            let seat = Arc::new(Seat::new(options, clock));
            let runner = Runner {
                probe: make(options, clock, adopt),
                options: options.clone(),
                seat: Arc::clone(&seat),
                clock,
                pulse: Arc::clone(&pulse),
                changes: changes.clone(),
                shutdown: shutdown.clone(),
                secrets: runner::secrets(&options.ask),
            };
            let watched = Arc::clone(&seat);
            tokio::spawn(async move {
                if let Err(failed) = tokio::spawn(runner.run()).await {
                    runner::give_up(&watched, clock, &failed.to_string());
                }
            });
            seat
        };
        let seats = probes.iter().map(start).collect();
        Self { clock, seats, pulse: Some(pulse) }
    }

    /// What is known now, in the order in which the probes were given.
    pub fn states(&self) -> Vec<Arc<ProbeState>> {
        self.seats.iter().map(|seat| seat.state()).collect()
    }

    /// The last rounds of a probe, the oldest first; `None` where there is no such probe.
    pub fn history(&self, name: &str) -> Option<Vec<Point>> {
        self.seats.iter().find(|seat| &*seat.state().name == name).map(|seat| seat.history())
    }

    /// What was found since the last call, for a window.
    pub fn take(&self) -> Vec<ProbeTick> {
        self.seats.iter().filter_map(|seat| seat.take()).collect()
    }

    /// What is known when no part of it is older than `max_age`, and a failure was confirmed by a second round; what is not
    /// known by then is asked for. However many ask, a probe makes one round at a time. What has not answered after `within`
    /// is told as failed.
    pub async fn fresh(&self, max_age: Duration, within: Duration) -> Vec<Arc<ProbeState>> {
        let now = self.clock.now();
        let asked: Vec<(&Seat, Asking)> =
            self.seats.iter().map(|seat| (&**seat, seat.asking(now, max_age))).collect();
        let all = futures_util::future::join_all(asked.iter().map(|(seat, asking)| seat.fresh(asking)));
        match tokio::time::timeout(within, all).await {
            Ok(states) => states,
            Err(_late) => {
                let stalled = self.pulse.as_ref().map_or(Duration::ZERO, |pulse| pulse.worst_within(within));
                let now = self.clock.now();
                asked.iter().map(|(seat, asking)| seat.at_the_deadline(now, asking, stalled)).collect()
            }
        }
    }
}

/// The probe that asks what the options say.
fn make(options: &Options, clock: Clock, adopt: &Adopt) -> Box<dyn Probe> {
    let dialer = Dialer::new(clock);
    match &options.ask {
        Ask::Postgres(ask) => Box::new(postgres::Postgres::new(ask.clone(), dialer, options.timeout)),
        Ask::Redis(ask) => Box::new(redis::Redis::new(ask.clone(), dialer)),
        Ask::Mysql(ask) => Box::new(mysql::Mysql::new(ask.clone(), dialer)),
        Ask::Http(ask) => Box::new(http::Http::new((**ask).clone(), dialer)),
        Ask::Tcp(server) => Box::new(tcp::Tcp::new(server.clone(), dialer)),
        Ask::Dns(ask) => Box::new(dns::Dns::new(ask.clone(), dialer)),
        Ask::Grpc(ask) => Box::new(grpc::Grpc::new(ask.clone(), dialer)),
        Ask::Command(ask) => Box::new(command::Command::new(ask.clone(), clock, Arc::clone(adopt))),
    }
}
