//! The demo's app: a tiny web service with believable latencies that misbehaves on command.
//!
//! It is a process of its own under a real agent, and knows of neither. It ends with its parent, so that a killed
//! agent leaves no app behind.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use nix::unistd::{Pid, getppid};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::stage::http::{Reply, json, serve};
use crate::stage::queries::Queries;

/// Half of all replies are faster.
const LATENCY_MEDIAN_MS: f64 = 8.0;
/// The spread of the latencies' logarithm: the 99th percentile is about three times the median.
const LATENCY_SIGMA: f64 = 0.5;
/// No reply is later than this by itself.
const LATENCY_MAX_MS: f64 = 500.0;
/// Every app fails now and then.
const ERROR_SHARE: f64 = 0.001;
/// The share of failures when told to fail.
const ERROR_SHARE_BAD: f64 = 0.10;
/// How much slower when told to be slow.
const SLOWDOWN: f64 = 4.0;
/// Where the slowest twentieth begins, in standard deviations of the latencies' logarithm,
const TAIL_FROM: f64 = 1.645;
/// and how much slower it is when told to be slow in the tail.
const TAIL_SLOWDOWN: f64 = 5.0;
/// How often what leaks, leaks.
const LEAK_EVERY: Duration = Duration::from_secs(1);
/// The memory that is lost each time,
pub const LEAK_BYTES: usize = 4 << 20;
/// and the file descriptors.
pub const LEAK_DESCRIPTORS: usize = 5;
/// A leak ends after so many times: at 240 MiB and 300 descriptors, which no machine and no limit minds.
const LEAKS_MAX: usize = 60;
/// When told to leak, replies get slower by their usual latency each time this has gone by.
pub const LEAK_SLOWER_EVERY: Duration = Duration::from_secs(20);
/// The one route that fails when told so,
pub const BAD_ROUTE: &str = "/checkout";
/// how many of a hundred requests are for it,
pub const BAD_ROUTE_PERCENT: u32 = 5;
/// and the share of these that fail then.
const BAD_ROUTE_ERROR_SHARE: f64 = 0.50;
/// How often it asks its database for each request,
pub const QUERIES: u32 = 1;
/// and when told to exhaust it.
pub const QUERIES_BAD: u32 = 40;
/// The exit code when told to crash.
pub const CRASH_CODE: u8 = 3;
/// How long open requests are given at SIGTERM; then they are cut off.
const DRAIN: Duration = Duration::from_secs(5);
/// How often it is checked that the parent still lives.
const PARENT_INTERVAL: Duration = Duration::from_millis(200);
/// What the app prints at the moment its fault begins.
pub const ONSET_LINE: &str = "demo app: the fault begins";

/// How the app behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// As it should.
    Good,
    /// One reply in ten is a 500.
    Errors,
    /// Four times slower.
    Slow,
    /// It takes requests and never answers.
    Hang,
    /// It exits, each time it is started.
    Crash,
    /// The slowest twentieth of its replies is five times slower, the others are as they were.
    Tail,
    /// It holds ever more memory and descriptors, and gets ever slower.
    Leak,
    /// One of its routes fails, which few ask for: half of its replies are a 500.
    OneRoute,
    /// It is well, and the database that it needs goes down for a while.
    DbDown,
    /// It asks the database far more for each request than the release before it.
    QueryStorm,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Good,
        Self::Errors,
        Self::Slow,
        Self::Hang,
        Self::Crash,
        Self::Tail,
        Self::Leak,
        Self::OneRoute,
        Self::DbDown,
        Self::QueryStorm,
    ];

    /// As typed on the command line.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Errors => "errors",
            Self::Slow => "slow",
            Self::Hang => "hang",
            Self::Crash => "crash",
            Self::Tail => "tail",
            Self::Leak => "leak",
            Self::OneRoute => "one-route",
            Self::DbDown => "db-down",
            Self::QueryStorm => "query-storm",
        }
    }

    /// What it does, for people.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Good => "As it should",
            Self::Errors => "One reply in ten is a 500",
            Self::Slow => "All replies are four times slower",
            Self::Hang => "It takes requests and never answers",
            Self::Crash => "It exits, each time it is started",
            Self::Tail => "The slowest 5 % of the replies are five times slower, the median stays",
            Self::Leak => "It holds ever more memory and file descriptors, and gets ever slower",
            Self::OneRoute => {
                "One route of ten, which 5 % of the requests are for, answers half of them with 500"
            }
            Self::DbDown => "It is well; its database goes down for a while, and nothing must be rolled back",
            Self::QueryStorm => "Forty queries a request instead of one: it exhausts the database",
        }
    }
}

impl Behaviour {
    /// Whether a database plays in it.
    pub const fn has_database(self) -> bool {
        matches!(self, Self::DbDown | Self::QueryStorm)
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Behaviour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|b| b.label() == text);
        found.ok_or_else(|| format!("`{text}` is none of {}", Self::ALL.map(Self::label).join(", ")))
    }
}

/// What a deployment's app is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppPlan {
    /// How it behaves,
    pub behave: Behaviour,
    /// from this long after its start.
    pub after: Duration,
    /// The seed of its chance.
    pub seed: u64,
}

impl AppPlan {
    /// An app that behaves well.
    pub const fn good(seed: u64) -> Self {
        Self { behave: Behaviour::Good, after: Duration::ZERO, seed }
    }
}

/// Everything the app's process is told.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Its port on loopback.
    pub port: u16,
    /// The release it says it is.
    pub release: String,
    /// How it behaves.
    pub plan: AppPlan,
    /// The database that it asks for each request.
    pub database: Option<SocketAddr>,
}

/// Runs the app until SIGTERM, SIGINT, its parent's end, or its own crash; returns the exit code.
pub async fn run(options: AppOptions) -> io::Result<u8> {
    // Read before anything else, so that a parent that dies from here on is noticed.
    let parent = getppid();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port))).await?;
    let stop = CancellationToken::new();
    let plan = options.plan;
    let app = Arc::new(App::new(options));
    let handler = {
        let app = app.clone();
        move |request: Request<Incoming>| {
            let app = app.clone();
            async move { app.answer(request.uri().path()).await }
        }
    };
    let server = tokio::spawn(serve(listener, stop.clone(), DRAIN, handler));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = orphaned(parent) => {}
        () = fault_began(plan) => return Ok(CRASH_CODE),
    }
    stop.cancel();
    // A panic of the server has been printed; there is nothing left to drain.
    let _ended = server.await;
    Ok(0)
}

/// Announces the fault when it begins; ends only when the fault is a crash.
async fn fault_began(plan: AppPlan) {
    // The database's fault is not the app's to announce.
    if !matches!(plan.behave, Behaviour::Good | Behaviour::DbDown) {
        tokio::time::sleep(plan.after).await;
        println!("{ONSET_LINE}");
    }
    match plan.behave {
        Behaviour::Crash => {}
        Behaviour::Leak => leak().await,
        Behaviour::Good
        | Behaviour::Errors
        | Behaviour::Slow
        | Behaviour::Hang
        | Behaviour::Tail
        | Behaviour::OneRoute
        | Behaviour::DbDown
        | Behaviour::QueryStorm => std::future::pending().await,
    }
}

/// Holds ever more, and never lets go.
async fn leak() {
    let mut held = Vec::new();
    let mut interval = tokio::time::interval(LEAK_EVERY);
    while held.len() < LEAKS_MAX {
        interval.tick().await;
        // Ones, for memory of zeros is not there until it is written to.
        let memory = vec![1_u8; LEAK_BYTES];
        // Where no more descriptors are to be had, it is a leak of memory all the same.
        let files: Vec<File> = (0..LEAK_DESCRIPTORS).filter_map(|_| File::open("/dev/null").ok()).collect();
        held.push((memory, files));
    }
    std::future::pending().await
}

/// Ends when the parent has died. Asked for by polling: a death signal would also fire when only the parent's thread
/// that started us ends.
async fn orphaned(parent: Pid) {
    let mut interval = tokio::time::interval(PARENT_INTERVAL);
    while getppid() == parent {
        interval.tick().await;
    }
}

#[derive(Debug)]
struct App {
    options: AppOptions,
    clock: Clock,
    served: AtomicU64,
    queries: Option<Queries>,
}

impl App {
    fn new(options: AppOptions) -> Self {
        let queries = options.database.map(Queries::new);
        Self { options, clock: Clock::start(), served: AtomicU64::new(0), queries }
    }

    async fn answer(&self, path: &str) -> Reply {
        let number = self.served.fetch_add(1, Ordering::Relaxed);
        let plan = self.options.plan;
        let ill_for = self.clock.uptime().checked_sub(plan.after);
        let behave = if ill_for.is_some() { plan.behave } else { Behaviour::Good };
        if behave == Behaviour::Hang {
            std::future::pending::<()>().await;
        }
        let asked = Asked { number, is_bad_route: path == BAD_ROUTE, ill_for: ill_for.unwrap_or_default() };
        let fate = Fate::of(behave, plan.seed, &asked);
        tokio::time::sleep(fate.latency).await;
        if let Some(queries) = &self.queries {
            let times = if behave == Behaviour::QueryStorm { QUERIES_BAD } else { QUERIES };
            if let Err(error) = queries.ask(times).await {
                let body = serde_json::json!({ "release": self.options.release, "error": error.to_string() });
                return json(StatusCode::INTERNAL_SERVER_ERROR, &body);
            }
        }
        let body = serde_json::json!({ "release": self.options.release, "request": number });
        json(fate.status, &body)
    }
}

/// One request, as far as its fate depends on it.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// The how-manieth.
    number: u64,
    /// It is for [`BAD_ROUTE`].
    is_bad_route: bool,
    /// For how long the app has misbehaved.
    ill_for: Duration,
}

/// What becomes of one request: the same for the same seed and number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Fate {
    latency: Duration,
    status: StatusCode,
}

impl Fate {
    fn of(behave: Behaviour, seed: u64, asked: &Asked) -> Self {
        // Two seeds' streams must not overlap when one is the other plus one, hence the odd factor.
        let mut chance = fastrand::Rng::with_seed(seed ^ asked.number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        // Box and Muller: two uniform numbers make a normal one; 1 - u is never zero.
        let (u, v) = (1.0 - chance.f64(), chance.f64());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        let (share, factor) = match behave {
            Behaviour::Good
            | Behaviour::Hang
            | Behaviour::Crash
            | Behaviour::DbDown
            | Behaviour::QueryStorm => (ERROR_SHARE, 1.0),
            Behaviour::Errors => (ERROR_SHARE_BAD, 1.0),
            Behaviour::Slow => (ERROR_SHARE, SLOWDOWN),
            Behaviour::Tail => (ERROR_SHARE, if normal > TAIL_FROM { TAIL_SLOWDOWN } else { 1.0 }),
            Behaviour::Leak => {
                (ERROR_SHARE, 1.0 + asked.ill_for.as_secs_f64() / LEAK_SLOWER_EVERY.as_secs_f64())
            }
            Behaviour::OneRoute => {
                (if asked.is_bad_route { BAD_ROUTE_ERROR_SHARE } else { ERROR_SHARE }, 1.0)
            }
        };
        let millis = (LATENCY_MEDIAN_MS * factor * (LATENCY_SIGMA * normal).exp()).min(LATENCY_MAX_MS);
        let failed = chance.f64() < share;
        let status = if failed { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
        Self { latency: Duration::from_secs_f64(millis / 1000.0), status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: u64 = 20_000;

    /// The share of failures, the median and the 99th percentile in milliseconds.
    fn seen(behave: Behaviour, is_bad_route: bool, ill_for: Duration) -> (f64, f64, f64) {
        let asked = |number| Asked { number, is_bad_route, ill_for };
        let mut fates: Vec<Fate> = (0..N).map(|i| Fate::of(behave, 7, &asked(i))).collect();
        let failed = fates.iter().filter(|f| f.status.is_server_error()).count();
        fates.sort_by_key(|f| f.latency);
        let at = |rank: u64| fates[rank as usize].latency.as_secs_f64() * 1000.0;
        (failed as f64 / N as f64, at(N / 2), at(N - N / 100))
    }

    fn check(behave: Behaviour) -> (f64, f64) {
        let (failed, median, _) = seen(behave, false, Duration::from_secs(5));
        (failed, median)
    }

    #[test]
    fn a_good_app_answers_in_eight_milliseconds_and_fails_once_in_a_thousand() {
        let (failed, median) = check(Behaviour::Good);
        assert!((0.0003..0.002).contains(&failed), "{failed}");
        assert!((7.6..8.4).contains(&median), "{median}");
    }

    #[test]
    fn a_bad_app_fails_one_in_ten_or_is_four_times_slower() {
        let (failed, median) = check(Behaviour::Errors);
        assert!((0.09..0.11).contains(&failed), "{failed}");
        assert!((7.6..8.4).contains(&median), "{median}");
        let (failed, median) = check(Behaviour::Slow);
        assert!((0.0003..0.002).contains(&failed), "{failed}");
        assert!((30.0..34.0).contains(&median), "{median}");
    }

    #[test]
    fn in_the_tail_the_median_stays_and_the_99th_percentile_more_than_doubles() {
        let (_, median, tail) = seen(Behaviour::Good, false, Duration::ZERO);
        let (failed, median_bad, tail_bad) = seen(Behaviour::Tail, false, Duration::ZERO);
        assert!((0.0003..0.002).contains(&failed), "{failed}");
        assert!((median_bad - median).abs() < 1e-9 && tail_bad > 4.0 * tail, "{median_bad}, {tail_bad}");
    }

    #[test]
    fn a_leak_makes_an_app_slower_the_longer_it_lasts() {
        let median = |secs| seen(Behaviour::Leak, false, Duration::from_secs(secs)).1;
        assert!((7.6..8.4).contains(&median(0)), "{}", median(0));
        assert!((15.2..16.8).contains(&median(20)) && (22.8..25.2).contains(&median(40)), "{}", median(20));
    }

    #[test]
    fn of_one_bad_route_half_the_requests_fail_and_of_the_others_none_more_than_usual() {
        let failed = |is_bad_route| seen(Behaviour::OneRoute, is_bad_route, Duration::ZERO).0;
        assert!((0.48..0.52).contains(&failed(true)), "{}", failed(true));
        assert!((0.0003..0.002).contains(&failed(false)), "{}", failed(false));
    }

    #[test]
    fn behaviours_are_read_as_they_are_written() {
        for behave in Behaviour::ALL {
            assert_eq!(behave.label().parse(), Ok(behave));
        }
        assert!("evil".parse::<Behaviour>().is_err());
    }
}
