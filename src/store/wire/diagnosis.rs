//! A diagnosis, and a point in a watch, on the wire.

use serde::{Deserialize, Serialize};

use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::history::WatchPoint;
use crate::store::wire::text::{IdText, TimeText};

/// Whose fault it is: `{"diagnosis":"dependency","probe":…,"since":…}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "diagnosis", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum DiagnosisDoc {
    Deployment { ground: GroundDoc, probe: Option<String> },
    Replica { replica: String },
    Dependency { probe: String, since: TimeText, until: TimeText, hold_ended: bool },
    Shared { by_the_release: bool },
    Network,
    Observer,
}

/// Why the release is blamed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each variant is the engine's of the same name")]
pub enum GroundDoc {
    NothingElse,
    ControlIsWell,
    Overloads,
}

/// After which fact of which watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchPointDoc {
    /// The watch.
    pub watch: IdText,
    /// How many facts of it had been seen.
    pub seq: u32,
}

impl From<&Diagnosis> for DiagnosisDoc {
    fn from(diagnosis: &Diagnosis) -> Self {
        match diagnosis {
            Diagnosis::Deployment(ground) => {
                let (ground, probe) = match ground {
                    Ground::NothingElse => (GroundDoc::NothingElse, None),
                    Ground::ControlIsWell => (GroundDoc::ControlIsWell, None),
                    Ground::Overloads { probe } => (GroundDoc::Overloads, Some(probe.to_string())),
                };
                Self::Deployment { ground, probe }
            }
            Diagnosis::Replica { replica } => Self::Replica { replica: replica.to_string() },
            Diagnosis::Dependency { probe, since, until, hold_ended } => Self::Dependency {
                probe: probe.to_string(),
                since: TimeText(*since),
                until: TimeText(*until),
                hold_ended: *hold_ended,
            },
            Diagnosis::Shared { by_the_release } => Self::Shared { by_the_release: *by_the_release },
            Diagnosis::Network => Self::Network,
            Diagnosis::Observer => Self::Observer,
        }
    }
}

impl From<DiagnosisDoc> for Diagnosis {
    fn from(doc: DiagnosisDoc) -> Self {
        match doc {
            DiagnosisDoc::Deployment { ground, probe } => Self::Deployment(match ground {
                GroundDoc::NothingElse => Ground::NothingElse,
                GroundDoc::ControlIsWell => Ground::ControlIsWell,
                GroundDoc::Overloads => Ground::Overloads { probe: probe.unwrap_or_default().into() },
            }),
            DiagnosisDoc::Replica { replica } => Self::Replica { replica: replica.into() },
            DiagnosisDoc::Dependency { probe, since, until, hold_ended } => {
                Self::Dependency { probe: probe.into(), since: since.0, until: until.0, hold_ended }
            }
            DiagnosisDoc::Shared { by_the_release } => Self::Shared { by_the_release },
            DiagnosisDoc::Network => Self::Network,
            DiagnosisDoc::Observer => Self::Observer,
        }
    }
}

impl From<&WatchPoint> for WatchPointDoc {
    fn from(point: &WatchPoint) -> Self {
        Self { watch: IdText(point.watch.clone()), seq: point.seq }
    }
}

impl From<WatchPointDoc> for WatchPoint {
    fn from(doc: WatchPointDoc) -> Self {
        Self { watch: doc.watch.0, seq: doc.seq }
    }
}
