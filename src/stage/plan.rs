//! What the demo plays: the scenario, and the settings by which a quarter of an hour becomes a minute.
//!
//! Whatever differs from the defaults is told to whoever looks on.

use std::net::SocketAddr;
use std::time::Duration;

use crate::stage::StageOptions;
use crate::stage::app::{self, AppPlan, Behaviour};
use crate::stage::platform::CALL_TIMEOUT;

/// The demo's watch, in place of 15 minutes, if one route need not be learnt.
pub const WATCH: Duration = Duration::from_secs(55);
/// The same where the database must be known: sixty of a probe's answers say what is usual.
const WATCH_DATABASE: Duration = Duration::from_secs(75);
/// How often the database is asked, in place of 5 seconds,
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// and within which time, in place of 2 seconds.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
/// The database can answer so many times the queries that it is usually asked.
const DATABASE_RESERVE: f64 = 15.0;
/// How long the database is down.
pub(crate) const OUTAGE: Duration = Duration::from_secs(45);
/// The demo's warm-up, in place of 30 seconds.
pub const WARM_UP: Duration = Duration::from_secs(10);
/// From the end of the warm-up to the fault, so that a healthy candidate is seen first.
const ONSET_AFTER_WARM_UP: Duration = Duration::from_secs(6);
/// Where there are several agents, what one of them saw may come to the others so late; only then has a watch passed.
const SETTLES: Duration = Duration::from_secs(35);
/// From the warm-up's end to the fault where agents vote: whoever started grants nothing for the lease, the longest call and what clocks may differ by.
const ONSET_AFTER_WARM_UP_OF_SEVERAL: Duration = Duration::from_secs(24);
/// From each start of a crashing app to its end.
const CRASH_AFTER: Duration = Duration::from_secs(4);
/// For so many requests of the bad route its watch is long enough: a route is judged by itself once the baseline holds 500,
/// and chance takes some away.
const ROUTE_REQUESTS: f64 = 640.0;
/// Where one route is to tell, the error rate of all requests may rise by so much.
const ERROR_FLOOR: f64 = 0.03;
/// From the fault to the order to roll back; then the agent was wrong.
const ORDER_MAX: Duration = Duration::from_secs(50);
/// The same where one route is to tell, of which a tick holds few requests.
const ORDER_MAX_ONE_ROUTE: Duration = Duration::from_secs(75);
/// And where the agent is known not to judge.
const ORDER_MAX_UNJUDGED: Duration = Duration::from_secs(25);
/// The whole demo, its end included, takes less than three minutes with that watch; what is left is for ending the
/// processes.
const LIMIT: Duration = Duration::from_secs(160);

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// How the second release behaves.
    pub scenario: Behaviour,
    /// Requests a second.
    pub rate: f64,
    /// The seed of all chance.
    pub seed: u64,
    /// Whether the agent judges.
    pub judging: bool,
    /// How many agents each deployment has.
    pub replicas: usize,
}

impl Plan {
    /// The demo's watch: [`WATCH`], or longer where clients are few and the one bad route must be learnt first, or how fast
    /// the database usually answers.
    pub fn watch(&self) -> Duration {
        let asked_a_second = self.rate * f64::from(app::BAD_ROUTE_PERCENT) / 100.0;
        let learnt = Duration::from_secs((ROUTE_REQUESTS / asked_a_second).ceil() as u64);
        if self.is_one_route() {
            return WATCH.max(learnt);
        }
        if self.judging && self.scenario == Behaviour::QueryStorm { WATCH_DATABASE } else { WATCH }
    }

    /// How long the whole demo may take.
    pub(crate) fn limit(&self) -> Duration {
        LIMIT
            + (self.watch() - WATCH)
            + self.patience().saturating_sub(ORDER_MAX)
            + (self.onset_after_warm_up() - ONSET_AFTER_WARM_UP)
            + 2 * self.settles()
    }

    /// From the fault to the order to roll back.
    pub(crate) fn patience(&self) -> Duration {
        match (self.judging, self.is_one_route()) {
            (false, _) => ORDER_MAX_UNJUDGED,
            (true, true) => ORDER_MAX_ONE_ROUTE,
            (true, false) => ORDER_MAX,
        }
    }

    /// From a watch's end to when nothing can undo it.
    pub(crate) fn settles(&self) -> Duration {
        if self.replicas > 1 { SETTLES } else { Duration::ZERO }
    }

    fn onset_after_warm_up(&self) -> Duration {
        if self.replicas > 1 { ONSET_AFTER_WARM_UP_OF_SEVERAL } else { ONSET_AFTER_WARM_UP }
    }

    /// How the stage behaves for this.
    pub fn stage(&self, options: StageOptions) -> StageOptions {
        let options = StageOptions { settings: self.settings(), database: self.database(), ..options };
        if self.replicas > 1 { options.with_replicas(self.replicas) } else { options }
    }

    /// How long the database takes for a command, where one plays in the scenario.
    pub fn database(&self) -> Option<Duration> {
        let usual = self.rate * f64::from(app::QUERIES);
        self.scenario.has_database().then(|| Duration::from_secs_f64(1.0 / (usual * DATABASE_RESERVE)))
    }

    /// Whether all depends on one route.
    fn is_one_route(&self) -> bool {
        self.judging && self.scenario == Behaviour::OneRoute
    }

    /// Requests that make a release known good: the default, unless the demo's watch would never see as many.
    pub fn known_good_requests(&self) -> u64 {
        let half = (self.rate * (self.watch() - WARM_UP).as_secs_f64() / 2.0) as u64;
        half.clamp(1, 1000)
    }

    /// The agents' configuration: what the demo sets besides addresses and names.
    pub fn settings(&self) -> String {
        let error_floor = match self.is_one_route() {
            true => format!("error_floor = {ERROR_FLOOR}\n"),
            false => String::new(),
        };
        format!(
            "[judge]\nenabled = {}\n{error_floor}watch = \"{}s\"\nwarm_up = \"{}s\"\nknown_good_requests = {}\n\n\
             [rollback]\nmode = \"enforce\"\n",
            self.judging,
            self.watch().as_secs(),
            WARM_UP.as_secs(),
            self.known_good_requests(),
        )
    }

    /// The settings that are not the defaults, for people.
    pub fn overrides(&self) -> Vec<String> {
        let mut texts = vec![
            format!("for the demo: watch {}s instead of 15m", self.watch().as_secs()),
            format!("for the demo: warm-up {}s instead of 30s", WARM_UP.as_secs()),
            "for the demo: mode enforce instead of recommend".to_owned(),
        ];
        if self.known_good_requests() != 1000 {
            texts.push(format!(
                "for the demo: known good after {} requests instead of 1000",
                self.known_good_requests()
            ));
        }
        if self.is_one_route() {
            texts.push(format!(
                "for the demo: error_floor {ERROR_FLOOR} instead of 0.003, so that not the error rate of all requests \
                 but the route itself is what tells"
            ));
        }
        if self.scenario.has_database() {
            texts.push(format!(
                "for the demo: the database is asked every {} instead of 5s, and has to answer within {} instead of 2s",
                humantime::format_duration(PROBE_INTERVAL),
                humantime::format_duration(PROBE_TIMEOUT),
            ));
        }
        if self.scenario == Behaviour::Leak {
            texts.push(format!(
                "for the demo: a leak of {} MiB and {} file descriptors a second, which doubles the latency in {}s; a \
                 real one takes hours, and shows in the memory first, which is judged by minutes",
                app::LEAK_BYTES >> 20,
                app::LEAK_DESCRIPTORS,
                app::LEAK_SLOWER_EVERY.as_secs(),
            ));
        }
        if self.replicas > 1 {
            texts.push(format!(
                "for the demo: a call of the platform takes at most {} instead of 1m, for voters keep to what they granted \
                 that much longer; the peers' addresses are listed instead of looked up",
                humantime::format_duration(CALL_TIMEOUT),
            ));
        }
        if !self.judging {
            texts.push("for the demo: judge off instead of on".to_owned());
        }
        texts
    }

    /// What the second release's app is told.
    pub(crate) fn second_app(&self) -> AppPlan {
        let after = match self.scenario {
            Behaviour::Crash => CRASH_AFTER,
            Behaviour::Good
            | Behaviour::Errors
            | Behaviour::Slow
            | Behaviour::Hang
            | Behaviour::Tail
            | Behaviour::Leak
            | Behaviour::OneRoute
            | Behaviour::DbDown
            | Behaviour::QueryStorm => WARM_UP + self.onset_after_warm_up(),
        };
        AppPlan { behave: self.scenario, after, seed: self.seed.wrapping_add(1) }
    }
}

/// The section of an agent's configuration that has the database at `address` asked.
pub(crate) fn probe(address: SocketAddr) -> String {
    let text = |time: Duration| humantime::format_duration(time).to_string();
    format!(
        "\n[probe.database]\nurl = \"redis://{address}\"\ninterval = \"{}\"\ntimeout = \"{}\"\n",
        text(PROBE_INTERVAL),
        text(PROBE_TIMEOUT),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { scenario: Behaviour::OneRoute, rate: 100.0, seed: 1, judging: true, replicas: 1 };

    #[test]
    fn the_one_route_is_watched_until_it_is_known_and_nothing_else_takes_longer() {
        assert_eq!(PLAN.watch(), Duration::from_secs(128));
        assert_eq!(PLAN.limit() - PLAN.watch(), LIMIT - WATCH + Duration::from_secs(25));
        assert_eq!(Plan { rate: 1000.0, ..PLAN }.watch(), WATCH);
        assert_eq!(Plan { judging: false, ..PLAN }.watch(), WATCH);
        assert_eq!(Plan { scenario: Behaviour::Leak, ..PLAN }.watch(), WATCH);
        assert!(PLAN.settings().contains("error_floor = 0.03\nwatch = \"128s\""), "{}", PLAN.settings());
    }

    #[test]
    fn where_agents_vote_the_fault_begins_when_all_of_them_may_grant() {
        let three = Plan { scenario: Behaviour::Errors, replicas: 3, ..PLAN };
        let alone = Plan { replicas: 1, ..three };
        let quiet = crate::engine::ballot::Limits { call: CALL_TIMEOUT, ..Default::default() }.lock();
        assert!(three.second_app().after > quiet && alone.second_app().after < quiet);
        let later = three.second_app().after - alone.second_app().after;
        assert_eq!(three.limit() - alone.limit(), later + 2 * SETTLES);
        assert!(
            three.overrides().iter().any(|text| text.contains("a call of the platform takes at most 15s"))
        );
    }

    #[test]
    fn what_is_not_as_in_reality_is_said() {
        let said = |plan: Plan| plan.overrides().join("\n");
        assert!(said(PLAN).contains("error_floor 0.03 instead of 0.003"), "{}", said(PLAN));
        let leak = Plan { scenario: Behaviour::Leak, ..PLAN };
        assert!(said(leak).contains("a leak of 4 MiB and 5 file descriptors a second"), "{}", said(leak));
        assert!(!leak.settings().contains("error_floor"));
    }
}
