//! The wire form of a dependency's health.

use serde::{Deserialize, Serialize};

use crate::engine::health::{Change, Health, HealthChange};
use crate::store::wire::text::DurationText;

/// A change of a dependency's health.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthChangeDoc {
    /// The event's name, for readers: `health.degraded`, `health.recovered` or `health.unknown`. It follows from the rest.
    #[serde(default)]
    pub event: String,
    /// The probe.
    pub probe: String,
    /// The service cannot do without this dependency.
    pub critical: bool,
    /// What it was.
    pub from: HealthDoc,
    /// What it is.
    pub to: HealthDoc,
    /// For how long it had been so.
    pub lasted: DurationText,
    /// What the last round found; empty where all is well.
    #[serde(default)]
    pub why: String,
}

/// How well a dependency is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthDoc {
    /// Nobody can tell.
    Unknown,
    /// It answers as it should.
    Ok,
    /// It answers, with something to say against it.
    Degraded,
    /// It does not answer as it should.
    Failed,
}

impl From<Health> for HealthDoc {
    fn from(health: Health) -> Self {
        match health {
            Health::Unknown => Self::Unknown,
            Health::Ok => Self::Ok,
            Health::Degraded => Self::Degraded,
            Health::Failed => Self::Failed,
        }
    }
}

impl From<HealthDoc> for Health {
    fn from(doc: HealthDoc) -> Self {
        match doc {
            HealthDoc::Unknown => Self::Unknown,
            HealthDoc::Ok => Self::Ok,
            HealthDoc::Degraded => Self::Degraded,
            HealthDoc::Failed => Self::Failed,
        }
    }
}

impl From<&HealthChange> for HealthChangeDoc {
    fn from(told: &HealthChange) -> Self {
        let HealthChange { probe, critical, change, why } = told;
        Self {
            event: told.event().to_owned(),
            probe: probe.to_string(),
            critical: *critical,
            from: change.from.into(),
            to: change.to.into(),
            lasted: DurationText(change.lasted),
            why: why.clone(),
        }
    }
}

impl From<HealthChangeDoc> for HealthChange {
    fn from(doc: HealthChangeDoc) -> Self {
        Self {
            probe: doc.probe.into(),
            critical: doc.critical,
            change: Change { from: doc.from.into(), to: doc.to.into(), lasted: doc.lasted.0 },
            why: doc.why,
        }
    }
}
