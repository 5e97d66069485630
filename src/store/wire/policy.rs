//! The policy in force at a decision, on the wire.

use serde::{Deserialize, Serialize};

use crate::engine::policy::{Mode, Policy};
use crate::store::wire::text::{DurationText, Figure};

/// The mode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModeDoc {
    /// Judge and record.
    Observe,
    /// Say what should be done.
    Recommend,
    /// Act.
    Enforce,
}

/// Every threshold, by the engine's names.
/// What an older record does not name is at its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "each field is the engine's of the same name")]
pub struct PolicyDoc {
    pub mode: ModeDoc,
    pub judging: bool,
    pub watch: DurationText,
    pub warm_up: DurationText,
    pub warm_up_requests: u64,
    pub false_alarms: Figure,
    pub false_alarm_interval: DurationText,
    pub error_ratio: Figure,
    pub error_floor: Figure,
    pub latency_ratio: Figure,
    pub judge_routes: bool,
    pub judge_statuses: bool,
    pub status_ratio: Figure,
    pub status_floor: Figure,
    pub judge_resources: bool,
    pub resource_ratio: Figure,
    pub control_ratio: Figure,
    pub probe_floor: Figure,
    pub probe_ratio: Figure,
    pub hold: DurationText,
    pub hold_blames_until: DurationText,
    pub baseline_requests_min: u64,
    pub known_good_requests: u64,
    pub watch_max: DurationText,
    pub catastrophe_ticks: u32,
    pub catastrophe_error_share: Figure,
    pub catastrophe_requests_min: u64,
    pub catastrophe_latency_ratio: Figure,
    pub crashes: u32,
    pub crashes_within: DurationText,
    pub cooldown: DurationText,
    pub verify: DurationText,
    pub acts_an_hour: u32,
    pub acts_a_day: u32,
    pub lock: DurationText,
    pub ignore_schema: bool,
    pub confirm: DurationText,
    pub confirm_max: DurationText,
    pub act_after_watch: bool,
    pub replicas: u32,
}

impl Default for PolicyDoc {
    fn default() -> Self {
        Self::from(&Policy::default())
    }
}

impl From<Mode> for ModeDoc {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Observe => Self::Observe,
            Mode::Recommend => Self::Recommend,
            Mode::Enforce => Self::Enforce,
        }
    }
}

impl From<ModeDoc> for Mode {
    fn from(doc: ModeDoc) -> Self {
        match doc {
            ModeDoc::Observe => Self::Observe,
            ModeDoc::Recommend => Self::Recommend,
            ModeDoc::Enforce => Self::Enforce,
        }
    }
}

impl From<&Policy> for PolicyDoc {
    fn from(p: &Policy) -> Self {
        Self {
            mode: p.mode.into(),
            judging: p.judging,
            watch: DurationText(p.watch),
            warm_up: DurationText(p.warm_up),
            warm_up_requests: p.warm_up_requests,
            false_alarms: Figure(p.false_alarms),
            false_alarm_interval: DurationText(p.false_alarm_interval),
            error_ratio: Figure(p.error_ratio),
            error_floor: Figure(p.error_floor),
            latency_ratio: Figure(p.latency_ratio),
            judge_routes: p.judge_routes,
            judge_statuses: p.judge_statuses,
            status_ratio: Figure(p.status_ratio),
            status_floor: Figure(p.status_floor),
            judge_resources: p.judge_resources,
            resource_ratio: Figure(p.resource_ratio),
            control_ratio: Figure(p.control_ratio),
            probe_floor: Figure(p.probe_floor),
            probe_ratio: Figure(p.probe_ratio),
            hold: DurationText(p.hold),
            hold_blames_until: DurationText(p.hold_blames_until),
            baseline_requests_min: p.baseline_requests_min,
            known_good_requests: p.known_good_requests,
            watch_max: DurationText(p.watch_max),
            catastrophe_ticks: p.catastrophe_ticks,
            catastrophe_error_share: Figure(p.catastrophe_error_share),
            catastrophe_requests_min: p.catastrophe_requests_min,
            catastrophe_latency_ratio: Figure(p.catastrophe_latency_ratio),
            crashes: p.crashes,
            crashes_within: DurationText(p.crashes_within),
            cooldown: DurationText(p.cooldown),
            verify: DurationText(p.verify),
            acts_an_hour: p.acts_an_hour,
            acts_a_day: p.acts_a_day,
            lock: DurationText(p.lock),
            ignore_schema: p.ignore_schema,
            confirm: DurationText(p.confirm),
            confirm_max: DurationText(p.confirm_max),
            act_after_watch: p.act_after_watch,
            replicas: p.replicas,
        }
    }
}

impl From<PolicyDoc> for Policy {
    fn from(doc: PolicyDoc) -> Self {
        Self {
            mode: doc.mode.into(),
            judging: doc.judging,
            watch: doc.watch.0,
            warm_up: doc.warm_up.0,
            warm_up_requests: doc.warm_up_requests,
            false_alarms: doc.false_alarms.0,
            false_alarm_interval: doc.false_alarm_interval.0,
            error_ratio: doc.error_ratio.0,
            error_floor: doc.error_floor.0,
            latency_ratio: doc.latency_ratio.0,
            judge_routes: doc.judge_routes,
            judge_statuses: doc.judge_statuses,
            status_ratio: doc.status_ratio.0,
            status_floor: doc.status_floor.0,
            judge_resources: doc.judge_resources,
            resource_ratio: doc.resource_ratio.0,
            control_ratio: doc.control_ratio.0,
            probe_floor: doc.probe_floor.0,
            probe_ratio: doc.probe_ratio.0,
            hold: doc.hold.0,
            hold_blames_until: doc.hold_blames_until.0,
            baseline_requests_min: doc.baseline_requests_min,
            known_good_requests: doc.known_good_requests,
            watch_max: doc.watch_max.0,
            catastrophe_ticks: doc.catastrophe_ticks,
            catastrophe_error_share: doc.catastrophe_error_share.0,
            catastrophe_requests_min: doc.catastrophe_requests_min,
            catastrophe_latency_ratio: doc.catastrophe_latency_ratio.0,
            crashes: doc.crashes,
            crashes_within: doc.crashes_within.0,
            cooldown: doc.cooldown.0,
            verify: doc.verify.0,
            acts_an_hour: doc.acts_an_hour,
            acts_a_day: doc.acts_a_day,
            lock: doc.lock.0,
            ignore_schema: doc.ignore_schema,
            confirm: doc.confirm.0,
            confirm_max: doc.confirm_max.0,
            act_after_watch: doc.act_after_watch,
            replicas: doc.replicas,
        }
    }
}
