//! What alerts tell of and how urgent they are: closed lists, with the names that documents and options use.

/// How urgent it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Low,
    /// To be looked at in working hours.
    Medium,
    /// To be looked at now.
    High,
    /// A person must act now: nobody else will.
    Critical,
}

impl Severity {
    /// All of them, the least urgent first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    /// The name in configuration and documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The one of this name.
    pub fn named(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.label() == label)
    }
}

/// What an alert tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A rollback is about to be ordered.
    RollbackTriggered,
    /// A rollback would have been ordered, were the platform more than a rehearsal.
    RollbackRehearsed,
    /// The target is live.
    RollbackSucceeded,
    /// The rollback failed.
    RollbackFailed,
    /// What became of the rollback is not known.
    RollbackInterrupted,
    /// What the rollback led to.
    RollbackVerified,
    /// The release is degraded and nothing is done.
    DecisionHeld,
    /// A critical dependency got worse.
    HealthDegraded,
    /// A critical dependency got better.
    HealthRecovered,
    /// A release is known good.
    KnownGood,
    /// Deployments were locked.
    Locked,
    /// Deployments were unlocked.
    Unlocked,
    /// Acting was paused.
    Paused,
    /// Acting was resumed.
    Resumed,
    /// A rollback would not be possible now.
    RollbackUnready,
    /// A rollback would be possible again.
    RollbackReady,
    /// A release runs that was rolled back before.
    DeployedAgain,
    /// Several alerts that were too many to be told one by one.
    Summary,
    /// A person tries whether alerts arrive.
    Test,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::RollbackTriggered,
        Self::RollbackRehearsed,
        Self::RollbackSucceeded,
        Self::RollbackFailed,
        Self::RollbackInterrupted,
        Self::RollbackVerified,
        Self::DecisionHeld,
        Self::HealthDegraded,
        Self::HealthRecovered,
        Self::KnownGood,
        Self::Locked,
        Self::Unlocked,
        Self::Paused,
        Self::Resumed,
        Self::RollbackUnready,
        Self::RollbackReady,
        Self::DeployedAgain,
        Self::Summary,
        Self::Test,
    ];

    /// The name in documents.
    pub const fn label(self) -> &'static str {
        match self {
            Self::RollbackTriggered => "rollback.triggered",
            Self::RollbackRehearsed => "rollback.rehearsed",
            Self::RollbackSucceeded => "rollback.succeeded",
            Self::RollbackFailed => "rollback.failed",
            Self::RollbackInterrupted => "rollback.interrupted",
            Self::RollbackVerified => "rollback.verified",
            Self::DecisionHeld => "decision.held",
            Self::HealthDegraded => "health.degraded",
            Self::HealthRecovered => "health.recovered",
            Self::KnownGood => "deployment.known_good",
            Self::Locked => "lock.locked",
            Self::Unlocked => "lock.unlocked",
            Self::Paused => "acting.paused",
            Self::Resumed => "acting.resumed",
            Self::RollbackUnready => "rollback.unready",
            Self::RollbackReady => "rollback.ready",
            Self::DeployedAgain => "deployment.again",
            Self::Summary => "alerts.summary",
            Self::Test => "alerts.test",
        }
    }

    /// The one of this name.
    pub fn named(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.label() == label)
    }
}
