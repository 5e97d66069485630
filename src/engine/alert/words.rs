//! Decisions, reasons and outcomes in words that a person understands who was asleep a minute ago.

use crate::engine::alert::figures;
use crate::engine::policy::Mode;
use crate::engine::record::{Decided, Lock, Outcome, PassedBy, Pause, Reason, StepOutcome, StepTaken};
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach};

/// What the release did, with the figure where there is one: it follows the release's name.
pub(super) fn breach(decided: &Decided) -> String {
    let Some(breach) = decided.verdict.breach() else {
        return "was not found degraded; a person asked for this".to_owned();
    };
    let did = match breach {
        Breach::Errors => "fails more of its requests than it may".to_owned(),
        Breach::Latency(_) => "answers more slowly than it may".to_owned(),
        Breach::Route { route, stream } if stream.quantile().is_none() => {
            format!("fails more of its requests on {route} than it may")
        }
        Breach::Route { route, .. } => format!("answers more slowly on {route} than it may"),
        Breach::Status(status) => format!("answers {status} more often than it may"),
        Breach::Crashes => "crashes more often than it may".to_owned(),
        Breach::Resource(_) => "uses more than it may".to_owned(),
        Breach::Catastrophe(Arm::Errors) => "fails a large share of its requests".to_owned(),
        Breach::Catastrophe(Arm::Latency) => "is many times slower than it may be".to_owned(),
        Breach::Catastrophe(Arm::Hang) => "holds requests open and finishes none".to_owned(),
        Breach::Catastrophe(Arm::Crashes) => "crashes again and again".to_owned(),
    };
    let figure = figures::of(decided).into_iter().next();
    let than = decided.baseline.as_ref().map_or("the baseline", |baseline| baseline.release.as_str());
    figure.map_or_else(
        || did.clone(),
        |figure| {
            let recent =
                figure.recent.map_or_else(String::new, |recent| format!("{recent} in the last minute, "));
            format!(
                "{did}: {} {recent}allowed are {}, {than} had {}",
                figure.what, figure.limit, figure.baseline
            )
        },
    )
}

/// Who agreed.
pub(super) fn agreed(decided: &Decided) -> String {
    let asked =
        |reason: &Reason| if let Reason::AskedBy { by, .. } = reason { Some(by.clone()) } else { None };
    let asked = decided.reasons.iter().find_map(asked);
    if let Some(by) = asked {
        return format!("{by} asked for it");
    }
    let Some(certificate) = &decided.certificate else {
        return if decided.policy.replicas > 1 {
            format!("no vote was held; {} replicas are configured", decided.policy.replicas)
        } else {
            "one replica, by itself".to_owned()
        };
    };
    let names: Vec<&str> = certificate.voters.iter().map(|voter| &*voter.replica).collect();
    let roster = &certificate.roster;
    let down = if roster.down == 0 { String::new() } else { format!("; {} reported down", roster.down) };
    format!("{} of {} agents: {}{down}", names.len(), roster.votes(), names.join(", "))
}

/// One step of the act.
pub(super) fn step(of: &StepTaken) -> String {
    let step = of.step.label().replace('_', " ");
    match &of.outcome {
        StepOutcome::Begun => format!("{}: {step}", of.at),
        StepOutcome::Done { detail } if detail.is_empty() => format!("{}: {step}: done", of.at),
        StepOutcome::Done { detail } => format!("{}: {step}: done: {detail}", of.at),
        StepOutcome::Failed { reason } => format!("{}: {step}: failed: {reason}", of.at),
    }
}

/// What a person is to do where nothing was done, by the weightiest reason.
pub(super) fn held(decided: &Decided, to: &str) -> String {
    let any = |of: fn(&Reason) -> bool| decided.reasons.iter().any(of);
    let text = match () {
        () if any(|r| matches!(r, Reason::WasPutBack)) => {
            "It was itself put back by a rollback and is never rolled back in turn: find out what both releases share, \
             and deploy a fix."
        }
        () if any(|r| matches!(r, Reason::SchemaMoved { .. })) => {
            "The former release may not work with the database as it is now, so it was not put back: undo the migration \
             first, or deploy a fix."
        }
        () if any(|r| matches!(r, Reason::Holding { .. })) => {
            "A dependency is worse, too, so the release is not blamed yet: look at the dependency. If that does not get \
             well, the agent decides again when the hold ends."
        }
        () if any(|r| matches!(r, Reason::NotBlamed | Reason::HoldEndedOld)) => {
            "Putting the former release back would probably not help: look at the dependencies and the platform first."
        }
        () if any(|r| matches!(r, Reason::NoTarget)) => {
            "No other release is known good, so there is nothing to put back: deploy a fix."
        }
        () if any(|r| matches!(r, Reason::Paused(_))) => {
            return format!("Acting is paused: put {to} back by hand, or run `outrigger resume`.");
        }
        () if any(|r| {
            matches!(r, Reason::BudgetSpent { .. } | Reason::CoolingDown { .. } | Reason::ActedBefore { .. })
        }) =>
        {
            "There were rollbacks before, and one more may not help: find out what goes wrong again and again, then act \
             by hand."
        }
        () if any(|r| matches!(r, Reason::NoLongerLive { .. })) => "Another release is live already.",
        () if decided.policy.mode == Mode::Observe => {
            return format!("The mode is observe. {to} could be put back by hand.");
        }
        () => return format!("A person must decide: put {to} back by hand, or deploy a fix."),
    };
    text.to_owned()
}

/// What is to be done after a verification.
pub(super) const fn verified(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Recovered => "Nothing is to be done at night; the release that was rolled back needs a fix.",
        Outcome::NoChange => "What is wrong is wrong still: look at dependencies, data and the platform now.",
        Outcome::Worse => {
            "The release that was put back is ill, too, and is not rolled back in turn: act by hand now."
        }
        Outcome::Unclear => "There was too little traffic to tell: look whether the service works.",
    }
}

/// By what a release is known good.
pub(super) fn known_good(requests: u64, by: PassedBy) -> String {
    let how = match by {
        PassedBy::Proof => "it was shown to be no worse than what is allowed",
        PassedBy::NotContradicted => "nothing spoke against it",
        PassedBy::TimeCap => "its longest watch ended and nothing spoke against it",
    };
    format!(
        "Over {requests} judged requests {how}. It is what a later release is measured by and rolled back to."
    )
}

pub(super) fn locked(lock: &Lock) -> String {
    format!("{} `outrigger unlock` ends it {}.", because(&lock.reason), until(lock.until))
}

pub(super) fn paused(pause: &Pause) -> String {
    format!(
        "{} Nothing is rolled back, whatever happens; `outrigger resume` ends it {}.",
        because(&pause.reason),
        until(pause.until)
    )
}

fn because(reason: &str) -> String {
    if reason.is_empty() { "No reason was given.".to_owned() } else { format!("Why: {reason}.") }
}

fn until(until: Option<Time>) -> String {
    until.map_or_else(|| "and nothing else does".to_owned(), |until| format!("before {until}"))
}

/// The reason's name.
pub(super) const fn label(reason: &Reason) -> &'static str {
    match reason {
        Reason::Degraded => "degraded",
        Reason::OnTrial => "on_trial",
        Reason::WatchHasPassed => "watch_has_passed",
        Reason::ModeObserve => "mode_observe",
        Reason::ModeRecommend => "mode_recommend",
        Reason::ModeEnforce => "mode_enforce",
        Reason::Paused(_) => "paused",
        Reason::CoolingDown { .. } => "cooling_down",
        Reason::NoTarget => "no_target",
        Reason::LastKnownGood => "last_known_good",
        Reason::WasPutBack => "was_put_back",
        Reason::SeveralReplicas { .. } => "several_replicas",
        Reason::ActedBefore { .. } => "acted_before",
        Reason::NotRecorded => "not_recorded",
        Reason::Blamed => "blamed",
        Reason::NotBlamed => "not_blamed",
        Reason::Holding { .. } => "holding",
        Reason::HoldEndedYoung => "hold_ended_young",
        Reason::HoldEndedOld => "hold_ended_old",
        Reason::Elected { .. } => "elected",
        Reason::NotElected { .. } => "not_elected",
        Reason::LeftToOthers => "left_to_others",
        Reason::PlatformUnread { .. } => "platform_unread",
        Reason::NoLongerLive { .. } => "no_longer_live",
        Reason::DecidedElsewhere { .. } => "decided_elsewhere",
        Reason::LeaseOver => "lease_over",
        Reason::Refused { .. } => "refused",
        Reason::BudgetSpent { .. } => "budget_spent",
        Reason::SchemaMoved { .. } => "schema_moved",
        Reason::AskedBy { .. } => "asked_by",
        Reason::AllDown { .. } => "all_down",
        Reason::TooManyVoters { .. } => "too_many_voters",
    }
}

/// The reason as a sentence; `None` where the alert says it anyway.
pub(super) fn reason(reason: &Reason) -> Option<String> {
    let text = match reason {
        Reason::Degraded | Reason::LastKnownGood | Reason::OnTrial | Reason::ModeEnforce => return None,
        Reason::WatchHasPassed => {
            "Its watch has passed, and the configuration (rollback.after_watch) does not let the agent act then."
        }
        Reason::ModeObserve => "The mode is observe: the agent judges and records, no more.",
        Reason::ModeRecommend => "The mode is recommend: a person acts, not the agent.",
        Reason::NoTarget => "No other release is known good.",
        Reason::WasPutBack => "This release was itself put back by a rollback.",
        Reason::NotRecorded => {
            "The intent could not be written down (is the disk full?), so nothing was done."
        }
        Reason::Blamed => "The release is to blame: nothing else got worse by itself.",
        Reason::NotBlamed => "Something else is to blame than the release.",
        Reason::HoldEndedYoung => {
            "A dependency is worse, too, but the release is young: putting it back is the smaller harm."
        }
        Reason::HoldEndedOld => "A dependency is worse, too, and the release is not young.",
        Reason::LeftToOthers => "Another agent decides.",
        Reason::LeaseOver => "The vote was over before the order could be given.",
        Reason::Paused(_)
        | Reason::CoolingDown { .. }
        | Reason::SeveralReplicas { .. }
        | Reason::ActedBefore { .. }
        | Reason::Holding { .. }
        | Reason::Elected { .. }
        | Reason::NotElected { .. }
        | Reason::PlatformUnread { .. }
        | Reason::NoLongerLive { .. }
        | Reason::DecidedElsewhere { .. }
        | Reason::Refused { .. }
        | Reason::BudgetSpent { .. }
        | Reason::SchemaMoved { .. }
        | Reason::AllDown { .. }
        | Reason::AskedBy { .. }
        | Reason::TooManyVoters { .. } => return Some(told(reason)),
    };
    Some(text.to_owned())
}

/// Those that name something.
fn told(reason: &Reason) -> String {
    match reason {
        Reason::Paused(pause) => format!("{} paused acting. {}", pause.by, because(&pause.reason)),
        Reason::CoolingDown { until } => format!("The rest after the last rollback lasts until {until}."),
        Reason::SeveralReplicas { replicas } => {
            format!("{replicas} replicas run, and one agent does not act for all without a vote.")
        }
        Reason::ActedBefore { record } => {
            format!("A rollback of this release was ordered before ({record}).")
        }
        Reason::Holding { until } => {
            format!("A dependency is worse, too: the release is not blamed until {until}.")
        }
        Reason::Elected { yes, down, needed } => {
            format!("{yes} agents agreed and {down} replicas are down; {needed} are enough.")
        }
        Reason::NotElected { yes, needed } => format!("Only {yes} agents agreed; {needed} are needed."),
        Reason::PlatformUnread { why } => format!("The platform could not say which release is live: {why}."),
        Reason::NoLongerLive { live } => format!("The platform says that {live} is live."),
        Reason::DecidedElsewhere { record } => format!("Another agent has decided ({record})."),
        Reason::Refused { why } => format!("The platform refused the order: {why}."),
        Reason::BudgetSpent { acts, until } => {
            format!(
                "There were {acts} rollbacks of late; by itself the agent makes the next one after {until} at the earliest."
            )
        }
        Reason::SchemaMoved { probe, was, is } => {
            format!("The schema that {probe} sees went from {was} to {is} since the former release ran.")
        }
        Reason::AllDown { down } => {
            format!("The platform says that all replicas ({down}) are down, and none of their agents is met.")
        }
        Reason::AskedBy { by, why } => format!("{by} asked for it. {}", because(why)),
        Reason::TooManyVoters { met, votes } => {
            format!("{met} agents would vote where there should be {votes}: service.replicas is set too low.")
        }
        Reason::Degraded
        | Reason::OnTrial
        | Reason::WatchHasPassed
        | Reason::ModeObserve
        | Reason::ModeRecommend
        | Reason::ModeEnforce
        | Reason::NoTarget
        | Reason::LastKnownGood
        | Reason::WasPutBack
        | Reason::NotRecorded
        | Reason::Blamed
        | Reason::NotBlamed
        | Reason::HoldEndedYoung
        | Reason::HoldEndedOld
        | Reason::LeftToOthers
        | Reason::LeaseOver => label(reason).replace('_', " "),
    }
}
