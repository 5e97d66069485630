//! A simulated service: Poisson arrivals on some routes, Bernoulli errors, latencies from a table, probes of two
//! dependencies, resources; drawn by the tick, one tick a replica, as the agents would have recorded them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use outrigger::engine::tick::{ProbeTick, Resources, Round, RouteTick, TICK, Tick};
use outrigger::engine::time::Time;
use outrigger::engine::window::{Latencies, WATCHED_STATUSES};

use crate::chance::{binomial, normal, poisson};
use crate::effects::{BAD_ROUTE, Effect, Moment, Reach, Second};
use crate::shape::{Slowness, Table};

/// Shares of answers with 401 and 404 that are usual on known routes.
const USUAL_401: f64 = 0.01;
const USUAL_404: f64 = 0.02;
/// Clients of a hanging app give up after so many ticks.
const PATIENCE_TICKS: usize = 6;
/// The age at which an open request is told as slow, in microseconds.
const SLOW_MARK_US: u64 = 1_000_000;
/// When every watch begins: a Wednesday, 20:00 UTC.
pub(crate) const READY: Time = Time::from_millis(1_799_870_400_000);

/// What a service is like, without what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Requests a second.
    pub(crate) rate: f64,
    pub(crate) table: Arc<Table>,
    pub(crate) replicas: usize,
    /// The share of traffic of each route.
    pub(crate) routes: Arc<[(Arc<str>, f64)]>,
    /// The candidate's share of the traffic where the stable release runs beside it.
    pub(crate) weight: Option<f64>,
}

/// Three routes with 70, 20 and 10 % of the traffic, or so many with the same share.
pub(crate) fn routes(count: usize) -> Arc<[(Arc<str>, f64)]> {
    let name = |i: usize| -> Arc<str> { format!("GET /r{i:03}").into() };
    if count == 3 {
        return [0.7, 0.2, 0.1].into_iter().enumerate().map(|(i, share)| (name(i), share)).collect();
    }
    (0..count).map(|i| (name(i), 1.0 / count as f64)).collect()
}

/// A service as it runs.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) setup: Setup,
    pub(crate) effects: Vec<Effect>,
    rng: Rng,
    now: Time,
    started: Time,
    /// Requests that hang, by the tick of their arrival, of each replica.
    hanging: Vec<VecDeque<u64>>,
}

impl Service {
    /// At the beginning of its history or of its watch.
    pub(crate) fn new(setup: Setup, effects: Vec<Effect>, seed: u64, now: Time) -> Self {
        let hanging = vec![VecDeque::new(); setup.replicas + 1];
        Self { setup, effects, rng: Rng::with_seed(seed), now, started: now, hanging }
    }

    /// The app is started again.
    pub(crate) fn restart(&mut self) {
        self.started = self.now;
    }

    /// How old the app is.
    pub(crate) fn age(&self) -> Duration {
        self.now.since(self.started)
    }

    /// Goes on with other chance: what happens from here on depends on the seed and on nothing before.
    pub(crate) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::with_seed(seed);
    }

    /// The next five seconds, and when they end.
    pub(crate) fn next(&mut self) -> (Time, Round) {
        let from = self.now;
        self.effects.iter_mut().for_each(|effect| effect.next_tick(&mut self.rng));
        let mut seconds = Vec::with_capacity(5);
        for i in 0..TICK.as_secs() {
            self.effects.iter_mut().for_each(|effect| effect.next_second(&mut self.rng));
            let at = from + Duration::from_secs(i);
            seconds.push((self.moment(at), self.effects.clone()));
        }
        let arm = |reaches: &[Reach]| -> Vec<Second> {
            let of = |(at, effects): &(Moment, Vec<Effect>)| {
                let mut second = Second::healthy(self.setup.rate);
                effects.iter().filter(|e| reaches.contains(&e.reach)).for_each(|e| e.apply(&mut second, *at));
                second
            };
            seconds.iter().map(of).collect()
        };
        let first = arm(&[Reach::All, Reach::Candidate, Reach::First]);
        let others = arm(&[Reach::All, Reach::Candidate]);
        let stable = arm(&[Reach::All]);
        self.now = from + TICK;
        let weight = self.setup.weight.unwrap_or(1.0);
        let replicas = self.setup.replicas;
        let candidate = (0..replicas)
            .map(|i| {
                let seconds = if i == 0 { &first } else { &others };
                (
                    Arc::from(["a", "b", "c", "d"][i % 4]),
                    self.tick(from, seconds, weight / replicas as f64, i),
                )
            })
            .collect();
        let control =
            self.setup.weight.map(|weight| self.tick(from, &stable, 1.0 - weight, self.setup.replicas));
        (self.now, Round { candidate, control })
    }

    fn moment(&self, at: Time) -> Moment {
        let watch_s = (at.as_millis() as f64 - READY.as_millis() as f64) / 1000.0;
        Moment { age_s: at.since(self.started).as_secs_f64(), watch_s }
    }

    /// What one replica sees with this share of the traffic.
    fn tick(&mut self, from: Time, seconds: &[Second], share: f64, replica: usize) -> Tick {
        let mut tick = Tick { from, to: from + TICK, ..Tick::default() };
        let mut drawn = Drawn::new(self.setup.routes.len());
        for alike in seconds.chunk_by(|a, b| a == b) {
            let mean = alike[0].rate * share * alike.len() as f64;
            let n = poisson(&mut self.rng, mean);
            tick.arrived += n;
            tick.crashes += u64::from(alike[0].crashes);
            if alike[0].hangs {
                self.hang(&mut tick, n, replica, &mut drawn);
            } else {
                self.answer(&mut tick, n, &alike[0], &mut drawn);
                let more = (
                    alike[0].scans * share * alike.len() as f64,
                    alike[0].logins * share * alike.len() as f64,
                );
                self.answer_strangers(&mut tick, more, &mut drawn);
            }
        }
        tick.routed = drawn.routes.iter().map(|r| r.ended).sum();
        let named = drawn.routes.into_iter().zip(drawn.by_route).zip(self.setup.routes.iter());
        let asked_for = named.filter(|((route, _), _)| route.ended > 0);
        tick.routes = asked_for
            .map(|((route, pairs), (name, _))| RouteTick {
                route: name.clone(),
                latencies: Latencies::new(pairs),
                ..route
            })
            .collect();
        tick.latencies = Latencies::new(drawn.all);
        let last = seconds.last().expect("a tick has five seconds");
        tick.probes = self.probes(last, share);
        tick.resources = self.resources(last, share);
        tick
    }

    fn answer(&mut self, tick: &mut Tick, n: u64, second: &Second, drawn: &mut Drawn) {
        tick.judged += n;
        tick.ended += n;
        tick.answered += n;
        let rng = &mut self.rng;
        let (mut left, mut rest) = (n, 1.0);
        for (i, (_, share)) in self.setup.routes.iter().enumerate() {
            let count =
                if i + 1 == self.setup.routes.len() { left } else { binomial(rng, left, share / rest) };
            left -= count;
            rest -= share;
            if count == 0 {
                continue;
            }
            let is_bad = i == BAD_ROUTE;
            let errors = if is_bad { second.errors.max(second.bad_route.0) } else { second.errors };
            let failed = binomial(rng, count, errors);
            let route = &mut drawn.routes[i];
            route.ended += count;
            route.judged += count;
            route.failed += failed;
            tick.failed += failed;
            let usual = if i == 0 { USUAL_401 / 0.7 } else { 0.0 };
            let unauthorized = if second.unauthorized > 0.0 { second.unauthorized } else { usual };
            let refused = binomial(rng, count - failed, unauthorized);
            tick.watched[place(401)] += refused;
            tick.watched[place(404)] += binomial(rng, count - failed - refused, USUAL_404);
            let slow = second.slow * if is_bad { second.bad_route.1 } else { 1.0 };
            let seen = drawn.by_route[i].len();
            self.setup.table.draw(
                rng,
                count,
                Slowness { all: slow, tail: second.tail },
                &mut drawn.by_route[i],
            );
            drawn.all.extend_from_slice(&drawn.by_route[i][seen..]);
        }
    }

    /// Scanners outside the routes, and guesses at passwords on the first one.
    fn answer_strangers(&mut self, tick: &mut Tick, (scans, logins): (f64, f64), drawn: &mut Drawn) {
        let rng = &mut self.rng;
        let scans = if scans > 0.0 { poisson(rng, scans) } else { 0 };
        let logins = if logins > 0.0 { poisson(rng, logins) } else { 0 };
        tick.arrived += scans + logins;
        tick.answered += scans + logins;
        tick.judged += scans + logins;
        tick.ended += scans + logins;
        tick.watched[place(401)] += logins;
        drawn.all.push((3_000, scans));
        drawn.routes[0].ended += logins;
        drawn.routes[0].judged += logins;
        let seen = drawn.by_route[0].len();
        self.setup.table.draw(rng, logins, Slowness::NONE, &mut drawn.by_route[0]);
        drawn.all.extend_from_slice(&drawn.by_route[0][seen..]);
    }

    fn hang(&mut self, tick: &mut Tick, n: u64, replica: usize, drawn: &mut Drawn) {
        let queue = &mut self.hanging[replica];
        tick.overdue = queue.iter().sum();
        queue.push_back(n);
        tick.waiting = queue.iter().sum();
        if queue.len() > PATIENCE_TICKS {
            tick.ended += queue.pop_front().unwrap_or_default();
        }
        drawn.all.push((SLOW_MARK_US, n));
    }

    /// One probe of the database and one of the cache. The database's load is what is asked of it: two queries a request, and
    /// some whatever comes.
    fn probes(&mut self, second: &Second, share: f64) -> Vec<ProbeTick> {
        let rng = &mut self.rng;
        let (fails, slow, load) = second.probe;
        let asked = (4 + poisson(rng, second.rate * share * 10.0)) as f64 * load;
        let mut probe = |name: &str, fails: f64, slow: f64, load: Option<u64>| {
            let failed = u64::from(rng.f64() < fails);
            let took = (2_000.0 * (0.3 * normal(rng)).exp() * slow) as u64;
            ProbeTick {
                name: name.into(),
                ok: 1 - failed,
                failed,
                latencies: Latencies::new(vec![(took, 1 - failed)]),
                load,
            }
        };
        vec![probe("postgres", fails, slow, Some(asked as u64)), probe("redis", 0.0, 1.0, None)]
    }

    fn resources(&mut self, second: &Second, share: f64) -> Resources {
        let rng = &mut self.rng;
        let busy = second.rate * share * second.slow.sqrt();
        let cpu = (20.0 + 2.0 * busy) * (1.0 + 0.05 * normal(rng));
        let memory = 3e8 * (1.0 + 0.01 * normal(rng)) * second.memory;
        Resources {
            cpu_millicores: Some(cpu.max(1.0) as u64),
            memory_bytes: Some(memory as u64),
            descriptors: Some(40 + poisson(rng, busy * 0.05)),
        }
    }
}

/// The requests of a tick while they are drawn.
struct Drawn {
    routes: Vec<RouteTick>,
    by_route: Vec<Vec<(u64, u64)>>,
    all: Vec<(u64, u64)>,
}

impl Drawn {
    fn new(routes: usize) -> Self {
        Self {
            routes: vec![RouteTick::default(); routes],
            by_route: vec![Vec::new(); routes],
            all: Vec::new(),
        }
    }
}

/// Where a status is counted.
fn place(status: u16) -> usize {
    WATCHED_STATUSES.iter().position(|&s| s == status).expect("it is one of the watched statuses")
}
