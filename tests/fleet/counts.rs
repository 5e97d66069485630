//! What the simulated fleets went through: a simulation that never gets into trouble proves nothing.

use std::collections::BTreeMap;

/// States that are worth having been in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Asked,
    AskedAgain,
    CompetingCandidates,
    Elected,
    GaveUp,
    SaidYes,
    SaidNo,
    NoGranted,
    NoNotDegraded,
    NoStale,
    AbstainedQuiet,
    AbstainedTilt,
    AbstainedOtherwise,
    RosterRefused,
    PauseRefused,
    ActedRefused,
    Called,
    CalledAlone,
    CallByWatcher,
    CallWithDown,
    LandedLate,
    ReplyLost,
    CallRefused,
    LeaseOverBeforeOrder,
    Unreadable,
    NoLongerLive,
    DecidedElsewhere,
    NotRecorded,
    SlowWrite,
    Crash,
    CrashWhileAsking,
    CrashAfterIntent,
    CrashAfterCall,
    Frozen,
    CutDuringVote,
    OneWayCut,
    LateShare,
    LateAnswer,
    Duplicate,
    Refused,
    Replay,
    Paused,
    HandedOver,
    TakenUp,
    Interrupted,
    RolledBackGone,
    SecondDeploymentMidVote,
    ScaledUp,
    ScaledDown,
    BeyondDrift,
    HeldForDependency,
    HeldForReplica,
    Live,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<Seen, u64>);

impl Counts {
    pub(crate) fn see(&mut self, what: Seen) {
        *self.0.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (&what, count) in &other.0 {
            *self.0.entry(what).or_default() += count;
        }
    }

    pub(crate) fn of(&self, what: Seen) -> u64 {
        self.0.get(&what).copied().unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(what, count)| format!("{what:?} {count}\n")).collect()
    }
}
