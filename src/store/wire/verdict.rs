//! A verdict and its evidence on the wire.

use serde::{Deserialize, Serialize};

use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, StreamName, Undecided, Verdict};
use crate::store::wire::text::{DurationText, Figure, TimeText};

/// A verdict: `{"verdict":"degraded","breach":"errors","since":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum VerdictDoc {
    /// Nothing can be said.
    NotJudgeable(NotJudgeableDoc),
    /// Nothing has been decided yet.
    Undecided(UndecidedDoc),
    /// No worse than the guard bands allow.
    Healthy,
    /// Worse.
    Degraded {
        /// What was passed.
        #[serde(flatten)]
        breach: BreachDoc,
        /// When.
        since: TimeText,
    },
}

/// Why nothing can be said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum NotJudgeableDoc {
    /// The judge is switched off.
    SwitchedOff,
    /// Nothing to compare with.
    NoBaseline,
    /// Too little to compare with.
    BaselineTooSmall {
        /// What the baseline holds.
        requests: u64,
        /// What it would need.
        needed: u64,
    },
}

/// Why nothing has been decided yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "because", rename_all = "snake_case")]
pub enum UndecidedDoc {
    /// The app has not been ready yet.
    Starting,
    /// The first seconds are not judged.
    WarmingUp {
        /// Time left at least.
        left: DurationText,
        /// Requests left at least.
        requests_left: u64,
    },
    /// No requests came.
    NoTraffic,
    /// The evidence does not reach either way.
    Gathering,
    /// Worse than the baseline allows, but so is the stable release beside it.
    Shared,
}

/// What was passed, by the engine's own label.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "breach", rename_all = "snake_case")]
pub enum BreachDoc {
    /// The error stream's limit.
    Errors,
    /// The latency streams' joint limit.
    Latency {
        /// The stream that carried most of it.
        stream: StreamDoc,
    },
    /// A route's error stream.
    RouteErrors {
        /// Which route.
        route: String,
    },
    /// A route's latency stream.
    RouteLatency {
        /// Which stream.
        stream: StreamDoc,
        /// Which route.
        route: String,
    },
    /// The share of one status.
    Status {
        /// Which status.
        status: u16,
    },
    /// Far more crashes than there used to be.
    Crashes,
    /// Far more use of a resource.
    Resource {
        /// Which resource.
        stream: StreamDoc,
    },
    /// The catastrophe rule, by failures.
    CatastropheErrors,
    /// The catastrophe rule, by latency.
    CatastropheLatency,
    /// The catastrophe rule: nothing ends.
    CatastropheHang,
    /// The catastrophe rule: crash upon crash.
    CatastropheCrashes,
}

/// A stream of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamDoc {
    /// Failed requests.
    Errors,
    /// Slower than the median allows.
    #[serde(rename = "latency_p50")]
    LatencyP50,
    /// Slower than the 90th percentile allows.
    #[serde(rename = "latency_p90")]
    LatencyP90,
    /// Slower than the 95th percentile allows.
    #[serde(rename = "latency_p95")]
    LatencyP95,
    /// Slower than the 99th percentile allows.
    #[serde(rename = "latency_p99")]
    LatencyP99,
    /// Failed requests of one route.
    RouteErrors,
    /// Slower than the route's median allows.
    #[serde(rename = "route_p50")]
    RouteP50,
    /// Slower than the route's 95th percentile allows.
    #[serde(rename = "route_p95")]
    RouteP95,
    /// Answers with this status.
    Status(u16),
    /// Crashes.
    Crashes,
    /// Processor time.
    Cpu,
    /// Memory.
    Memory,
    /// Open file descriptors.
    Descriptors,
}

/// How far a stream's evidence has come. `baseline`, `limit` and `recent_value` are shares from 0 to 1 in the error
/// stream and microseconds in the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvidenceDoc {
    /// Which stream.
    pub stream: StreamDoc,
    /// The route of a route's stream.
    #[serde(default)]
    pub route: Option<String>,
    /// The baseline's own figure.
    pub baseline: Figure,
    /// The guard band's edge.
    pub limit: Figure,
    /// The share of bad requests that is allowed.
    pub p0: Figure,
    /// Requests weighed.
    pub requests: u64,
    /// Of those, bad ones.
    pub bad: u64,
    /// The share of bad requests in the last minute.
    pub recent_share: Option<Figure>,
    /// The stream's own figure in the last minute.
    pub recent_value: Option<Figure>,
    /// Logarithm of the request-level detector.
    pub ln_requests: Figure,
    /// What it must reach.
    pub ln_requests_limit: Figure,
    /// Logarithm of the tick-level detector.
    pub ln_ticks: Figure,
    /// What it must reach.
    pub ln_ticks_limit: Figure,
    /// Logarithm of the evidence that bad requests concentrate on this release; where a stable one runs beside it.
    #[serde(default)]
    pub ln_attribution: Option<Figure>,
}

impl From<&Verdict> for VerdictDoc {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::NotJudgeable(NotJudgeable::SwitchedOff) => {
                Self::NotJudgeable(NotJudgeableDoc::SwitchedOff)
            }
            Verdict::NotJudgeable(NotJudgeable::NoBaseline) => {
                Self::NotJudgeable(NotJudgeableDoc::NoBaseline)
            }
            Verdict::NotJudgeable(NotJudgeable::BaselineTooSmall { requests, needed }) => {
                Self::NotJudgeable(NotJudgeableDoc::BaselineTooSmall { requests: *requests, needed: *needed })
            }
            Verdict::Undecided(why) => Self::Undecided(match why {
                Undecided::Starting => UndecidedDoc::Starting,
                Undecided::WarmingUp { left, requests_left } => {
                    UndecidedDoc::WarmingUp { left: DurationText(*left), requests_left: *requests_left }
                }
                Undecided::NoTraffic => UndecidedDoc::NoTraffic,
                Undecided::Gathering => UndecidedDoc::Gathering,
                Undecided::Shared => UndecidedDoc::Shared,
            }),
            Verdict::Healthy => Self::Healthy,
            Verdict::Degraded { breach, since } => {
                Self::Degraded { breach: breach.into(), since: TimeText(*since) }
            }
        }
    }
}

impl From<VerdictDoc> for Verdict {
    fn from(doc: VerdictDoc) -> Self {
        match doc {
            VerdictDoc::NotJudgeable(why) => Self::NotJudgeable(match why {
                NotJudgeableDoc::SwitchedOff => NotJudgeable::SwitchedOff,
                NotJudgeableDoc::NoBaseline => NotJudgeable::NoBaseline,
                NotJudgeableDoc::BaselineTooSmall { requests, needed } => {
                    NotJudgeable::BaselineTooSmall { requests, needed }
                }
            }),
            VerdictDoc::Undecided(why) => Self::Undecided(match why {
                UndecidedDoc::Starting => Undecided::Starting,
                UndecidedDoc::WarmingUp { left, requests_left } => {
                    Undecided::WarmingUp { left: left.0, requests_left }
                }
                UndecidedDoc::NoTraffic => Undecided::NoTraffic,
                UndecidedDoc::Gathering => Undecided::Gathering,
                UndecidedDoc::Shared => Undecided::Shared,
            }),
            VerdictDoc::Healthy => Self::Healthy,
            VerdictDoc::Degraded { breach, since } => {
                Self::Degraded { breach: breach.into(), since: since.0 }
            }
        }
    }
}

impl From<&Breach> for BreachDoc {
    fn from(breach: &Breach) -> Self {
        match breach {
            Breach::Errors => Self::Errors,
            Breach::Latency(stream) => Self::Latency { stream: (*stream).into() },
            Breach::Route { stream: StreamName::RouteErrors, route } => {
                Self::RouteErrors { route: route.to_string() }
            }
            Breach::Route { stream, route } => {
                Self::RouteLatency { stream: (*stream).into(), route: route.to_string() }
            }
            Breach::Status(status) => Self::Status { status: *status },
            Breach::Crashes => Self::Crashes,
            Breach::Resource(stream) => Self::Resource { stream: (*stream).into() },
            Breach::Catastrophe(Arm::Errors) => Self::CatastropheErrors,
            Breach::Catastrophe(Arm::Latency) => Self::CatastropheLatency,
            Breach::Catastrophe(Arm::Hang) => Self::CatastropheHang,
            Breach::Catastrophe(Arm::Crashes) => Self::CatastropheCrashes,
        }
    }
}

impl From<BreachDoc> for Breach {
    fn from(doc: BreachDoc) -> Self {
        match doc {
            BreachDoc::Errors => Self::Errors,
            BreachDoc::Latency { stream } => Self::Latency(stream.into()),
            BreachDoc::RouteErrors { route } => {
                Self::Route { stream: StreamName::RouteErrors, route: route.into() }
            }
            BreachDoc::RouteLatency { stream, route } => {
                Self::Route { stream: stream.into(), route: route.into() }
            }
            BreachDoc::Status { status } => Self::Status(status),
            BreachDoc::Crashes => Self::Crashes,
            BreachDoc::Resource { stream } => Self::Resource(stream.into()),
            BreachDoc::CatastropheErrors => Self::Catastrophe(Arm::Errors),
            BreachDoc::CatastropheLatency => Self::Catastrophe(Arm::Latency),
            BreachDoc::CatastropheHang => Self::Catastrophe(Arm::Hang),
            BreachDoc::CatastropheCrashes => Self::Catastrophe(Arm::Crashes),
        }
    }
}

impl From<StreamName> for StreamDoc {
    fn from(name: StreamName) -> Self {
        match name {
            StreamName::Errors => Self::Errors,
            StreamName::LatencyP50 => Self::LatencyP50,
            StreamName::LatencyP90 => Self::LatencyP90,
            StreamName::LatencyP95 => Self::LatencyP95,
            StreamName::LatencyP99 => Self::LatencyP99,
            StreamName::RouteErrors => Self::RouteErrors,
            StreamName::RouteP50 => Self::RouteP50,
            StreamName::RouteP95 => Self::RouteP95,
            StreamName::Status(status) => Self::Status(status),
            StreamName::Crashes => Self::Crashes,
            StreamName::Cpu => Self::Cpu,
            StreamName::Memory => Self::Memory,
            StreamName::Descriptors => Self::Descriptors,
        }
    }
}

impl From<StreamDoc> for StreamName {
    fn from(doc: StreamDoc) -> Self {
        match doc {
            StreamDoc::Errors => Self::Errors,
            StreamDoc::LatencyP50 => Self::LatencyP50,
            StreamDoc::LatencyP90 => Self::LatencyP90,
            StreamDoc::LatencyP95 => Self::LatencyP95,
            StreamDoc::LatencyP99 => Self::LatencyP99,
            StreamDoc::RouteErrors => Self::RouteErrors,
            StreamDoc::RouteP50 => Self::RouteP50,
            StreamDoc::RouteP95 => Self::RouteP95,
            StreamDoc::Status(status) => Self::Status(status),
            StreamDoc::Crashes => Self::Crashes,
            StreamDoc::Cpu => Self::Cpu,
            StreamDoc::Memory => Self::Memory,
            StreamDoc::Descriptors => Self::Descriptors,
        }
    }
}

impl From<&StreamEvidence> for EvidenceDoc {
    fn from(e: &StreamEvidence) -> Self {
        Self {
            stream: e.name.into(),
            route: e.route.as_ref().map(ToString::to_string),
            baseline: Figure(e.baseline),
            limit: Figure(e.limit),
            p0: Figure(e.p0),
            requests: e.requests,
            bad: e.bad,
            recent_share: e.recent_share.map(Figure),
            recent_value: e.recent_value.map(Figure),
            ln_requests: Figure(e.ln_requests),
            ln_requests_limit: Figure(e.ln_requests_limit),
            ln_ticks: Figure(e.ln_ticks),
            ln_ticks_limit: Figure(e.ln_ticks_limit),
            ln_attribution: e.ln_attribution.map(Figure),
        }
    }
}

impl From<EvidenceDoc> for StreamEvidence {
    fn from(doc: EvidenceDoc) -> Self {
        Self {
            name: doc.stream.into(),
            route: doc.route.map(Into::into),
            baseline: doc.baseline.0,
            limit: doc.limit.0,
            p0: doc.p0.0,
            requests: doc.requests,
            bad: doc.bad,
            recent_share: doc.recent_share.map(|f| f.0),
            recent_value: doc.recent_value.map(|f| f.0),
            ln_requests: doc.ln_requests.0,
            ln_requests_limit: doc.ln_requests_limit.0,
            ln_ticks: doc.ln_ticks.0,
            ln_ticks_limit: doc.ln_ticks_limit.0,
            ln_attribution: doc.ln_attribution.map(|f| f.0),
        }
    }
}
