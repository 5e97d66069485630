//! Every threshold that a decision depends on, checked once when the configuration was read.

use std::time::Duration;

use crate::engine::tick::TICK;

/// How much the agent may do by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Judge and record, recommend nothing.
    Observe,
    /// Judge, and record what should be done.
    Recommend,
    /// Judge and act.
    Enforce,
}

impl Mode {
    /// As written in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Recommend => "recommend",
            Self::Enforce => "enforce",
        }
    }
}

/// The thresholds. The configuration makes it; behind it nobody asks again whether a ratio is above one.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// What the agent may do.
    pub mode: Mode,
    /// Whether releases are judged at all.
    pub judging: bool,
    /// How long a new release is on trial, from the moment it became ready.
    pub watch: Duration,
    /// How long a release is not judged after it became ready.
    pub warm_up: Duration,
    /// And for how many requests.
    pub warm_up_requests: u64,
    /// The chance that a watch of a healthy release ends in "degraded", 0 to 1, shared out over the streams.
    pub false_alarms: f64,
    /// After the watch: the mean time between false alarms of a healthy release.
    pub false_alarm_interval: Duration,
    /// The error rate may rise to this multiple of the baseline's upper confidence limit,
    pub error_ratio: f64,
    /// and by at least this much, as a share from 0 to 1.
    pub error_floor: f64,
    /// A latency quantile may rise to this multiple of the baseline's upper confidence limit.
    pub latency_ratio: f64,
    /// Whether each route is judged by itself, too.
    pub judge_routes: bool,
    /// Whether 401, 403, 404, 409, 422 and 429 are judged.
    pub judge_statuses: bool,
    /// The share of one such status may rise to this multiple of the baseline's upper confidence limit,
    pub status_ratio: f64,
    /// and by at least this much, as a share from 0 to 1.
    pub status_floor: f64,
    /// Whether processor, memory and file descriptors are judged.
    pub judge_resources: bool,
    /// What the app uses may rise to this multiple of the baseline's own upper end.
    pub resource_ratio: f64,
    /// Beside a stable release: how often the candidate's rate of bad requests may be the stable one's before it is blamed.
    pub control_ratio: f64,
    /// A dependency is worse when its probes fail more often than the baseline's by this share, from 0 to 1,
    pub probe_floor: f64,
    /// or its latency exceeds this multiple of the baseline's.
    pub probe_ratio: f64,
    /// How long a release is not blamed while a dependency is worse, too.
    pub hold: Duration,
    /// A release younger than this is put back when the hold ends, although it is not known to be at fault: that is
    /// usually the smaller harm. Of an older one a person decides.
    pub hold_blames_until: Duration,
    /// The least judged requests of a baseline.
    pub baseline_requests_min: u64,
    /// The least judged requests of a watch before its release is known good.
    pub known_good_requests: u64,
    /// A watch with fewer requests than that goes on until this age.
    pub watch_max: Duration,
    /// Ticks in a row before the catastrophe rule fires.
    pub catastrophe_ticks: u32,
    /// The share of failures in each of them.
    pub catastrophe_error_share: f64,
    /// The least requests in all of them together.
    pub catastrophe_requests_min: u64,
    /// How often the median must exceed its limit.
    pub catastrophe_latency_ratio: f64,
    /// Crashes
    pub crashes: u32,
    /// within this time are a crash loop.
    pub crashes_within: Duration,
    /// The most acts within an hour; a person's own do not count.
    pub acts_an_hour: u32,
    /// The most acts within a day.
    pub acts_a_day: u32,
    /// How long deployments stay locked after a rollback; zero: they are not.
    pub lock: Duration,
    /// Whether a release is put back although a database's schema has moved on since it ran.
    pub ignore_schema: bool,
    /// How long a release that was put back must look well until the rollback counts as a recovery.
    pub confirm: Duration,
    /// How long there may be too little traffic to tell what a rollback led to.
    pub confirm_max: Duration,
    /// The rest after an act.
    pub cooldown: Duration,
    /// How long a rollback may take until the target must be live.
    pub verify: Duration,
    /// Whether to act on a release whose watch has passed.
    pub act_after_watch: bool,
    /// How many replicas the service runs. More than one: a single agent recommends, it does not act.
    pub replicas: u32,
}

impl Policy {
    /// The mean time between false alarms, in ticks.
    pub(crate) fn false_alarm_ticks(&self) -> f64 {
        self.false_alarm_interval.as_secs_f64() / TICK.as_secs_f64()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Recommend,
            judging: true,
            watch: Duration::from_secs(15 * 60),
            warm_up: Duration::from_secs(30),
            warm_up_requests: 50,
            false_alarms: 0.01,
            false_alarm_interval: Duration::from_secs(365 * 24 * 3600),
            error_ratio: 2.0,
            error_floor: 0.003,
            latency_ratio: 1.5,
            judge_routes: true,
            judge_statuses: true,
            status_ratio: 3.0,
            status_floor: 0.05,
            judge_resources: true,
            resource_ratio: 2.0,
            control_ratio: 1.25,
            probe_floor: 0.05,
            probe_ratio: 2.0,
            hold: Duration::from_secs(180),
            hold_blames_until: Duration::from_secs(15 * 60),
            baseline_requests_min: 200,
            known_good_requests: 1000,
            watch_max: Duration::from_secs(24 * 3600),
            catastrophe_ticks: 4,
            catastrophe_error_share: 0.25,
            catastrophe_requests_min: 20,
            catastrophe_latency_ratio: 5.0,
            crashes: 3,
            crashes_within: Duration::from_secs(120),
            acts_an_hour: 2,
            acts_a_day: 4,
            lock: Duration::from_secs(24 * 3600),
            ignore_schema: false,
            confirm: Duration::from_secs(120),
            confirm_max: Duration::from_secs(1800),
            cooldown: Duration::from_secs(600),
            verify: Duration::from_secs(300),
            act_after_watch: false,
            replicas: 1,
        }
    }
}
