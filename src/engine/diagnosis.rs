//! Whose fault it is that a release looks bad. A verdict says *that* it is worse; a diagnosis says whether putting the
//! former release back would help.

use std::sync::Arc;

use crate::engine::time::Time;

/// Why the release is blamed.
#[derive(Clone, Debug, PartialEq)]
pub enum Ground {
    /// All its replicas are worse, and nothing else is.
    NothingElse,
    /// The stable release beside it is well.
    ControlIsWell,
    /// A dependency is worse, too, but the release asks far more of it than the baseline did.
    Overloads {
        /// Which dependency.
        probe: Arc<str>,
    },
}

/// Whose fault it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Diagnosis {
    /// The release's.
    Deployment(Ground),
    /// One replica's: without it the rest is no worse than allowed.
    Replica {
        /// Which.
        replica: Arc<str>,
    },
    /// A dependency's: it got worse, too.
    Dependency {
        /// Which.
        probe: Arc<str>,
        /// Since when.
        since: Time,
        /// When the hold ends. A release that is young then is put back all the same, of an older one a person decides.
        until: Time,
        /// The hold has ended.
        hold_ended: bool,
    },
    /// The stable release beside it got worse, too. `by_the_release`: only after this one started and while the
    /// dependencies are well, so it may have broken what both share (a migration of the schema, say).
    Shared {
        /// Whether the release is suspected all the same.
        by_the_release: bool,
    },
    /// All dependencies at once got worse: the network, the platform, or this agent's view of them.
    Network,
    /// The agents themselves were stalled, so what they saw is doubtful.
    Observer,
}

impl Diagnosis {
    /// The name in records, metrics and `--json`.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Deployment(_) => "deployment",
            Self::Replica { .. } => "replica",
            Self::Dependency { .. } => "dependency",
            Self::Shared { .. } => "shared",
            Self::Network => "network",
            Self::Observer => "observer",
        }
    }

    /// Whether putting the former release back is what helps.
    pub const fn blames_release(&self) -> bool {
        matches!(self, Self::Deployment(_))
    }
}
