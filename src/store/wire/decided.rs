//! A decision on the wire, with all that it rested on.

use serde::{Deserialize, Serialize};

use crate::engine::baseline::BaselineSummary;
use crate::engine::record::{Decided, Decision, Progress, Reason};
use crate::store::wire::PauseDoc;
use crate::store::wire::certificate::CertificateDoc;
use crate::store::wire::diagnosis::{DiagnosisDoc, WatchPointDoc};
use crate::store::wire::lock::StepDoc;
use crate::store::wire::policy::PolicyDoc;
use crate::store::wire::text::{Figure, IdText, ReleaseText, TimeText};
use crate::store::wire::verdict::{EvidenceDoc, VerdictDoc};

/// A decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecidedDoc {
    /// What.
    pub decision: DecisionDoc,
    /// Why, in the order in which it was weighed.
    pub reasons: Vec<ReasonDoc>,
    /// The release to put back.
    pub target: Option<ReleaseText>,
    /// The verdict.
    pub verdict: VerdictDoc,
    /// Whose fault it is.
    #[serde(default)]
    pub diagnosis: Option<DiagnosisDoc>,
    /// After which fact of which watch.
    #[serde(default)]
    pub point: Option<WatchPointDoc>,
    /// The evidence at that moment.
    pub evidence: Vec<EvidenceDoc>,
    /// What it was weighed against.
    pub baseline: Option<BaselineSummaryDoc>,
    /// When the release became ready.
    pub ready_at: Option<TimeText>,
    /// The policy in force.
    pub policy: PolicyDoc,
    /// How far the act has come.
    pub progress: ProgressDoc,
    /// Who agreed, where several had to. It says nothing where nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Box<CertificateDoc>>,
    /// The steps of the act.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepDoc>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionDoc {
    /// Put the target back.
    RollBack,
    /// Do nothing.
    Hold,
}

/// A reason: `{"reason":"cooling_down","until":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum ReasonDoc {
    Degraded,
    OnTrial,
    WatchHasPassed,
    ModeObserve,
    ModeRecommend,
    ModeEnforce,
    Paused { pause: PauseDoc },
    CoolingDown { until: TimeText },
    NoTarget,
    LastKnownGood,
    WasPutBack,
    SeveralReplicas { replicas: u32 },
    ActedBefore { record: IdText },
    NotRecorded,
    Blamed,
    NotBlamed,
    Holding { until: TimeText },
    HoldEndedYoung,
    HoldEndedOld,
    Elected { yes: u32, down: u32, needed: u32 },
    NotElected { yes: u32, needed: u32 },
    LeftToOthers,
    PlatformUnread { why: String },
    NoLongerLive { live: ReleaseText },
    DecidedElsewhere { record: IdText },
    LeaseOver,
    Refused { why: String },
    TooManyVoters { met: u32, votes: u32 },
    BudgetSpent { acts: u32, until: TimeText },
    SchemaMoved { probe: String, was: String, is: String },
    AskedBy { by: String, why: String },
    AllDown { down: u32 },
}

/// How far an act has come: `{"progress":"succeeded","at":…,"detail":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum ProgressDoc {
    NothingToDo,
    Intended,
    Accepted { detail: String },
    Succeeded { at: TimeText, detail: String },
    DryRun { detail: String },
    Failed { at: TimeText, reason: String },
    Interrupted { at: TimeText, reason: String },
}

/// A baseline in figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineSummaryDoc {
    /// The release that was observed.
    pub release: ReleaseText,
    /// When its first tick began.
    pub from: TimeText,
    /// When its last tick ended.
    pub to: TimeText,
    /// Judged requests.
    pub requests: u64,
    /// Share of them that failed.
    pub error_rate: Figure,
    /// Mean latency.
    pub mean_us: Option<u64>,
    /// Median.
    pub p50_us: Option<u64>,
    /// 90th percentile.
    pub p90_us: Option<u64>,
    /// 95th percentile.
    pub p95_us: Option<u64>,
    /// 99th percentile.
    pub p99_us: Option<u64>,
    /// Median of the processor time used, in thousandths of a processor.
    #[serde(default)]
    pub cpu_millicores: Option<u64>,
    /// 95th percentile of the memory held.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// 95th percentile of the file descriptors open.
    #[serde(default)]
    pub descriptors: Option<u64>,
    /// Each dependency's median latency in microseconds.
    #[serde(default)]
    pub probes: Vec<(String, Option<u64>)>,
}

impl From<&Decided> for DecidedDoc {
    fn from(d: &Decided) -> Self {
        Self {
            decision: match d.decision {
                Decision::RollBack => DecisionDoc::RollBack,
                Decision::Hold => DecisionDoc::Hold,
            },
            reasons: d.reasons.iter().map(ReasonDoc::from).collect(),
            target: d.target.clone().map(ReleaseText),
            verdict: (&d.verdict).into(),
            diagnosis: d.diagnosis.as_ref().map(DiagnosisDoc::from),
            point: d.point.as_ref().map(WatchPointDoc::from),
            evidence: d.evidence.iter().map(EvidenceDoc::from).collect(),
            baseline: d.baseline.as_ref().map(BaselineSummaryDoc::from),
            ready_at: d.ready_at.map(TimeText),
            policy: (&d.policy).into(),
            progress: (&d.progress).into(),
            certificate: d.certificate.as_deref().map(|of| Box::new(of.into())),
            steps: d.steps.iter().map(StepDoc::from).collect(),
        }
    }
}

impl From<DecidedDoc> for Decided {
    fn from(doc: DecidedDoc) -> Self {
        Self {
            decision: match doc.decision {
                DecisionDoc::RollBack => Decision::RollBack,
                DecisionDoc::Hold => Decision::Hold,
            },
            reasons: doc.reasons.into_iter().map(Reason::from).collect(),
            target: doc.target.map(|r| r.0),
            verdict: doc.verdict.into(),
            diagnosis: doc.diagnosis.map(Into::into),
            point: doc.point.map(Into::into),
            evidence: doc.evidence.into_iter().map(Into::into).collect(),
            baseline: doc.baseline.map(Into::into),
            ready_at: doc.ready_at.map(|t| t.0),
            policy: doc.policy.into(),
            progress: doc.progress.into(),
            certificate: doc.certificate.map(|of| Box::new((*of).into())),
            steps: doc.steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<&Reason> for ReasonDoc {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Degraded => Self::Degraded,
            Reason::OnTrial => Self::OnTrial,
            Reason::WatchHasPassed => Self::WatchHasPassed,
            Reason::ModeObserve => Self::ModeObserve,
            Reason::ModeRecommend => Self::ModeRecommend,
            Reason::ModeEnforce => Self::ModeEnforce,
            Reason::Paused(pause) => Self::Paused { pause: pause.into() },
            Reason::CoolingDown { until } => Self::CoolingDown { until: TimeText(*until) },
            Reason::NoTarget => Self::NoTarget,
            Reason::LastKnownGood => Self::LastKnownGood,
            Reason::WasPutBack => Self::WasPutBack,
            Reason::SeveralReplicas { replicas } => Self::SeveralReplicas { replicas: *replicas },
            Reason::ActedBefore { record } => Self::ActedBefore { record: IdText(record.clone()) },
            Reason::NotRecorded => Self::NotRecorded,
            Reason::Blamed => Self::Blamed,
            Reason::NotBlamed => Self::NotBlamed,
            Reason::Holding { until } => Self::Holding { until: TimeText(*until) },
            Reason::HoldEndedYoung => Self::HoldEndedYoung,
            Reason::HoldEndedOld => Self::HoldEndedOld,
            Reason::Elected { yes, down, needed } => {
                Self::Elected { yes: *yes, down: *down, needed: *needed }
            }
            Reason::NotElected { yes, needed } => Self::NotElected { yes: *yes, needed: *needed },
            Reason::LeftToOthers => Self::LeftToOthers,
            Reason::PlatformUnread { why } => Self::PlatformUnread { why: why.clone() },
            Reason::NoLongerLive { live } => Self::NoLongerLive { live: ReleaseText(live.clone()) },
            Reason::DecidedElsewhere { record } => Self::DecidedElsewhere { record: IdText(record.clone()) },
            Reason::LeaseOver => Self::LeaseOver,
            Reason::Refused { why } => Self::Refused { why: why.clone() },
            Reason::TooManyVoters { met, votes } => Self::TooManyVoters { met: *met, votes: *votes },
            Reason::BudgetSpent { acts, until } => Self::BudgetSpent { acts: *acts, until: TimeText(*until) },
            Reason::SchemaMoved { probe, was, is } => {
                Self::SchemaMoved { probe: probe.to_string(), was: was.to_string(), is: is.to_string() }
            }
            Reason::AllDown { down } => Self::AllDown { down: *down },
            Reason::AskedBy { by, why } => Self::AskedBy { by: by.clone(), why: why.clone() },
        }
    }
}

impl From<ReasonDoc> for Reason {
    fn from(doc: ReasonDoc) -> Self {
        match doc {
            ReasonDoc::Degraded => Self::Degraded,
            ReasonDoc::OnTrial => Self::OnTrial,
            ReasonDoc::WatchHasPassed => Self::WatchHasPassed,
            ReasonDoc::ModeObserve => Self::ModeObserve,
            ReasonDoc::ModeRecommend => Self::ModeRecommend,
            ReasonDoc::ModeEnforce => Self::ModeEnforce,
            ReasonDoc::Paused { pause } => Self::Paused(pause.into()),
            ReasonDoc::CoolingDown { until } => Self::CoolingDown { until: until.0 },
            ReasonDoc::NoTarget => Self::NoTarget,
            ReasonDoc::LastKnownGood => Self::LastKnownGood,
            ReasonDoc::WasPutBack => Self::WasPutBack,
            ReasonDoc::SeveralReplicas { replicas } => Self::SeveralReplicas { replicas },
            ReasonDoc::ActedBefore { record } => Self::ActedBefore { record: record.0 },
            ReasonDoc::NotRecorded => Self::NotRecorded,
            ReasonDoc::Blamed => Self::Blamed,
            ReasonDoc::NotBlamed => Self::NotBlamed,
            ReasonDoc::Holding { until } => Self::Holding { until: until.0 },
            ReasonDoc::HoldEndedYoung => Self::HoldEndedYoung,
            ReasonDoc::HoldEndedOld => Self::HoldEndedOld,
            ReasonDoc::Elected { yes, down, needed } => Self::Elected { yes, down, needed },
            ReasonDoc::NotElected { yes, needed } => Self::NotElected { yes, needed },
            ReasonDoc::LeftToOthers => Self::LeftToOthers,
            ReasonDoc::PlatformUnread { why } => Self::PlatformUnread { why },
            ReasonDoc::NoLongerLive { live } => Self::NoLongerLive { live: live.0 },
            ReasonDoc::DecidedElsewhere { record } => Self::DecidedElsewhere { record: record.0 },
            ReasonDoc::LeaseOver => Self::LeaseOver,
            ReasonDoc::Refused { why } => Self::Refused { why },
            ReasonDoc::TooManyVoters { met, votes } => Self::TooManyVoters { met, votes },
            ReasonDoc::BudgetSpent { acts, until } => Self::BudgetSpent { acts, until: until.0 },
            ReasonDoc::SchemaMoved { probe, was, is } => {
                Self::SchemaMoved { probe: probe.into(), was: was.into(), is: is.into() }
            }
            ReasonDoc::AllDown { down } => Self::AllDown { down },
            ReasonDoc::AskedBy { by, why } => Self::AskedBy { by, why },
        }
    }
}

impl From<&Progress> for ProgressDoc {
    fn from(progress: &Progress) -> Self {
        match progress.clone() {
            Progress::NothingToDo => Self::NothingToDo,
            Progress::Intended => Self::Intended,
            Progress::Accepted { detail } => Self::Accepted { detail },
            Progress::Succeeded { at, detail } => Self::Succeeded { at: TimeText(at), detail },
            Progress::DryRun { detail } => Self::DryRun { detail },
            Progress::Failed { at, reason } => Self::Failed { at: TimeText(at), reason },
            Progress::Interrupted { at, reason } => Self::Interrupted { at: TimeText(at), reason },
        }
    }
}

impl From<ProgressDoc> for Progress {
    fn from(doc: ProgressDoc) -> Self {
        match doc {
            ProgressDoc::NothingToDo => Self::NothingToDo,
            ProgressDoc::Intended => Self::Intended,
            ProgressDoc::Accepted { detail } => Self::Accepted { detail },
            ProgressDoc::Succeeded { at, detail } => Self::Succeeded { at: at.0, detail },
            ProgressDoc::DryRun { detail } => Self::DryRun { detail },
            ProgressDoc::Failed { at, reason } => Self::Failed { at: at.0, reason },
            ProgressDoc::Interrupted { at, reason } => Self::Interrupted { at: at.0, reason },
        }
    }
}

impl From<&BaselineSummary> for BaselineSummaryDoc {
    fn from(b: &BaselineSummary) -> Self {
        Self {
            release: ReleaseText(b.release.clone()),
            from: TimeText(b.from),
            to: TimeText(b.to),
            requests: b.requests,
            error_rate: Figure(b.error_rate),
            mean_us: b.mean_us,
            p50_us: b.p50_us,
            p90_us: b.p90_us,
            p95_us: b.p95_us,
            p99_us: b.p99_us,
            cpu_millicores: b.cpu_millicores,
            memory_bytes: b.memory_bytes,
            descriptors: b.descriptors,
            probes: b.probes.iter().map(|(name, us)| (name.to_string(), *us)).collect(),
        }
    }
}

impl From<BaselineSummaryDoc> for BaselineSummary {
    fn from(doc: BaselineSummaryDoc) -> Self {
        Self {
            release: doc.release.0,
            from: doc.from.0,
            to: doc.to.0,
            requests: doc.requests,
            error_rate: doc.error_rate.0,
            mean_us: doc.mean_us,
            p50_us: doc.p50_us,
            p90_us: doc.p90_us,
            p95_us: doc.p95_us,
            p99_us: doc.p99_us,
            cpu_millicores: doc.cpu_millicores,
            memory_bytes: doc.memory_bytes,
            descriptors: doc.descriptors,
            probes: doc.probes.into_iter().map(|(name, us)| (name.into(), us)).collect(),
        }
    }
}
