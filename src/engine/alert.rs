//! What people are told of a record, and how urgent it is: from one record always the same alert.
//!
//! It knows nobody who is told, and not whether anybody was. `None` says that the record is nobody's business at night:
//! another record of the same thing tells it, or the log is enough.
//!
//! **The key** makes one alert of what several agents record. A rollback's record is one over the whole fleet, so its id
//! and how far it has come are the key. What each agent records for itself (a hold, a dependency's health) is named by what
//! all of them see alike, and by the hour or the ten minutes: the same again later is told again. Where something goes to
//! and fro within them ([`standing`]), the same state again after another one has the key [`again`] with its number.

mod figures;
mod kinds;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use crate::engine::health::{Health, HealthChange};
use crate::engine::record::{
    Decided, Decision, Happening, Outcome, Progress, Readiness, Reason, Record, Verified,
};
use crate::engine::release::Release;
use crate::engine::time::Time;

pub use crate::engine::alert::kinds::{Event, Severity};

/// How many figures an alert has at most: that of the breach, and others that are beyond their limits, too.
pub const FIGURES_MAX: usize = 5;
/// The same of a release's hold, and of a release that is known good, is told once in so long.
const HOLD_AGAIN: Duration = Duration::from_secs(3600);
/// The same change of a dependency's health is told once in so long.
const HEALTH_AGAIN: Duration = Duration::from_secs(600);

/// What got worse, against what and by how much; the figures with their units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// What was measured, in words: `errors of GET /users/{id}`.
    pub what: String,
    /// The stream's name.
    pub stream: String,
    /// What the baseline had.
    pub baseline: String,
    /// What is allowed.
    pub limit: String,
    /// What it was in the last minute; `None`: nothing was measured.
    pub recent: Option<String>,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// The same for what is the same, over the whole fleet.
    pub key: String,
    /// Of what.
    pub event: Event,
    /// How urgent.
    pub severity: Severity,
    /// When it happened.
    pub at: Time,
    /// One line.
    pub title: String,
    /// What it means and what is to be done, in a few sentences.
    pub summary: String,
    /// What got worse.
    pub figures: Vec<Figure>,
    /// Why the decision fell as it did, one sentence each.
    pub reasons: Vec<String>,
    /// Who agreed.
    pub agreed: Option<String>,
    /// What was done, step by step.
    pub steps: Vec<String>,
    /// What became of it.
    pub progress: Option<String>,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// The release that it is about.
    pub release: Option<String>,
    /// The release that is put back.
    pub target: Option<String>,
    /// The record to look up.
    pub record: Option<String>,
    /// Where people find the dashboard.
    pub link: Option<String>,
}

/// What the record itself does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The service's name.
    pub service: String,
    /// The environment's name.
    pub environment: String,
    /// Where people find the dashboard.
    pub link: Option<String>,
    /// The release was rolled back before.
    pub was_rolled_back: bool,
    /// The last that was told is that a rollback would not be possible.
    pub was_unready: bool,
}

/// What people are to be told of a record.
pub fn of(record: &Record, context: &Context) -> Option<Alert> {
    let blank = blank(record, context);
    match &record.what {
        Happening::Decided(decided) => of_decided(record, decided, blank),
        Happening::Verified(verified) => Some(of_verified(verified, blank)),
        Happening::Readied(readiness) => of_readiness(readiness, context, blank),
        Happening::HealthChanged(change) => of_health(record.at, change, blank),
        Happening::Started { .. } => of_start(record, context, blank),
        Happening::WatchPassed { requests, by } => Some(Alert {
            key: format!("known_good:{}:{}", record.release, within(record.at, HOLD_AGAIN)),
            event: Event::KnownGood,
            title: format!("{} is known good", record.release),
            summary: words::known_good(*requests, *by),
            ..blank
        }),
        Happening::Locked(lock) => Some(Alert {
            event: Event::Locked,
            title: format!("Deployments are locked by {}", lock.by),
            summary: words::locked(lock),
            ..blank
        }),
        Happening::Unlocked { by } => Some(Alert {
            event: Event::Unlocked,
            title: format!("Deployments are unlocked by {by}"),
            summary: "New releases may be deployed again.".to_owned(),
            ..blank
        }),
        Happening::Paused(pause) => Some(Alert {
            event: Event::Paused,
            title: format!("Acting is paused by {}", pause.by),
            summary: words::paused(pause),
            ..blank
        }),
        Happening::Resumed { by } => Some(Alert {
            event: Event::Resumed,
            title: format!("Acting is resumed by {by}"),
            summary: "What the mode allows is done again.".to_owned(),
            ..blank
        }),
        // Each of these is told by what follows from it: a decision, or nothing.
        Happening::Ready
        | Happening::Exited(_)
        | Happening::VerdictChanged { .. }
        | Happening::Diagnosed(_) => None,
    }
}

/// One that a person sends to see whether it arrives.
pub fn test(at: Time, context: &Context) -> Alert {
    let Context { service, environment, link, .. } = context.clone();
    Alert {
        key: format!("test:{}", at.as_millis()),
        event: Event::Test,
        severity: Severity::Low,
        at,
        title: "A test: alerts arrive here".to_owned(),
        summary: "Somebody ran `outrigger alerts test`. Nothing is wrong and nothing is to be done."
            .to_owned(),
        figures: Vec::new(),
        reasons: Vec::new(),
        agreed: None,
        steps: Vec::new(),
        progress: None,
        service,
        environment,
        release: None,
        target: None,
        record: None,
        link,
    }
}

/// All alerts, as one; the most urgent first. `None` of none.
pub fn summary(at: Time, alerts: &[Alert]) -> Option<Alert> {
    let most = alerts.iter().max_by_key(|alert| alert.severity)?;
    let mut sorted: Vec<&Alert> = alerts.iter().collect();
    sorted.sort_by_key(|alert| (std::cmp::Reverse(alert.severity), alert.at));
    let keys = digest(alerts.iter().map(|alert| alert.key.as_str()));
    let line = |alert: &&Alert| format!("{} ({}): {}", alert.at, alert.severity.label(), alert.title);
    Some(Alert {
        key: format!("summary:{keys:016x}"),
        event: Event::Summary,
        at,
        title: format!("{} more alerts", alerts.len()),
        summary: "There were too many to tell one by one. The newest state is on the dashboard and in `outrigger status`."
            .to_owned(),
        figures: Vec::new(),
        reasons: sorted.iter().map(line).collect(),
        agreed: None,
        steps: Vec::new(),
        progress: None,
        release: None,
        target: None,
        record: None,
        ..most.clone()
    })
}

/// What a key tells of where a later alert takes an earlier one back: the thing (a dependency, or whether a rollback is
/// possible) and how it is. `None`: nothing takes it back.
pub fn standing(key: &str) -> Option<(&str, &str)> {
    let (said, _when) = key.rsplit_once(':')?;
    match said.split_once(':') {
        Some(("health", _)) => said.rsplit_once(':'),
        Some(("unready", faults)) => Some(("ready", faults)),
        None if said == "ready" => Some(("ready", "")),
        Some(_) | None => None,
    }
}

/// The key of what is told under `key` for this time.
pub fn again(key: &str, time: u32) -> String {
    if time > 1 { format!("{key}#{time}") } else { key.to_owned() }
}

/// For which time `told` tells what `key` does; `None`: it tells something else.
pub fn times(told: &str, key: &str) -> Option<u32> {
    match told.strip_prefix(key)? {
        "" => Some(1),
        rest => rest.strip_prefix('#')?.parse().ok(),
    }
}

/// Everything that does not depend on what happened; of a low severity, and keyed by the record.
fn blank(record: &Record, context: &Context) -> Alert {
    let Context { service, environment, link, .. } = context.clone();
    Alert {
        key: format!("{}:{}", kind(&record.what), record.id),
        event: Event::Test,
        severity: Severity::Low,
        at: record.at,
        title: String::new(),
        summary: String::new(),
        figures: Vec::new(),
        reasons: Vec::new(),
        agreed: None,
        steps: Vec::new(),
        progress: None,
        service,
        environment,
        release: Some(record.release.as_str().to_owned()),
        target: None,
        record: Some(record.id.as_str().to_owned()),
        link,
    }
}

const fn kind(what: &Happening) -> &'static str {
    match what {
        Happening::Locked(_) | Happening::Unlocked { .. } => "lock",
        Happening::Paused(_) | Happening::Resumed { .. } => "pause",
        Happening::Decided(_) => "rollback",
        Happening::Verified(_) => "verified",
        Happening::Readied(_) => "ready",
        Happening::HealthChanged(_) => "health",
        Happening::Started { .. }
        | Happening::Ready
        | Happening::Exited(_)
        | Happening::VerdictChanged { .. }
        | Happening::Diagnosed(_)
        | Happening::WatchPassed { .. } => "release",
    }
}

fn of_decided(record: &Record, decided: &Decided, blank: Alert) -> Option<Alert> {
    let blank = Alert {
        figures: figures::of(decided),
        reasons: decided.reasons.iter().filter_map(words::reason).collect(),
        agreed: Some(words::agreed(decided)),
        steps: decided.steps.iter().map(words::step).collect(),
        target: decided.target.as_ref().map(|target| target.as_str().to_owned()),
        ..blank
    };
    match decided.decision {
        Decision::RollBack => of_rollback(record, decided, blank),
        Decision::Hold => of_hold(record, decided, blank),
    }
}

fn of_rollback(record: &Record, decided: &Decided, blank: Alert) -> Option<Alert> {
    let (from, to) = (&record.release, decided.target.as_ref().map_or("its predecessor", Release::as_str));
    let why = words::breach(decided);
    let (event, severity, title, progress) = match &decided.progress {
        Progress::Intended => (
            Event::RollbackTriggered,
            Severity::High,
            format!("Rolling {from} back to {to}"),
            "The order goes to the platform now.".to_owned(),
        ),
        // What comes next tells more.
        Progress::Accepted { .. } | Progress::NothingToDo => return None,
        Progress::Succeeded { at, detail } => (
            Event::RollbackSucceeded,
            Severity::Medium,
            format!("Rolled {from} back to {to}"),
            format!("{to} was seen live at {at}: {detail}. Whether that helped is told next."),
        ),
        Progress::DryRun { detail } => (
            Event::RollbackRehearsed,
            Severity::High,
            format!("{from} should be rolled back to {to}; the platform only rehearses"),
            format!("Nothing was done: {detail}. Put {to} back by hand."),
        ),
        Progress::Failed { at, reason } => (
            Event::RollbackFailed,
            Severity::Critical,
            format!("The rollback of {from} to {to} failed"),
            format!(
                "It failed at {at}: {reason}. It is not tried again: look at the platform and put {to} back by hand."
            ),
        ),
        Progress::Interrupted { at, reason } => (
            Event::RollbackInterrupted,
            Severity::Critical,
            format!("Whether {from} was rolled back to {to} is not known"),
            format!(
                "Found at {at}: {reason}. It is not ordered again: look at the platform which release is live, and put \
                 {to} back by hand if it is not."
            ),
        ),
    };
    Some(Alert {
        key: format!("rollback:{}:{}", record.id, decided.progress.label()),
        event,
        severity,
        title,
        summary: format!("{from} {why}."),
        progress: Some(progress),
        ..blank
    })
}

fn of_hold(record: &Record, decided: &Decided, blank: Alert) -> Option<Alert> {
    let severity = held(&decided.reasons)?;
    let breach = decided.verdict.breach().map_or("none", |breach| breach.label());
    let labels = digest(decided.reasons.iter().map(words::label));
    let from = &record.release;
    let to = decided.target.as_ref().map_or_else(|| "the former release".to_owned(), ToString::to_string);
    let why = words::breach(decided);
    Some(Alert {
        key: format!("hold:{from}:{breach}:{labels:016x}:{}", within(record.at, HOLD_AGAIN)),
        event: Event::DecisionHeld,
        severity,
        title: format!("{from} {}is not rolled back", if breach == "none" { "" } else { "is degraded and " }),
        summary: format!("{from} {why}. {}", words::held(decided, &to)),
        progress: Some("Nothing was done.".to_owned()),
        ..blank
    })
}

/// How urgent it is that nothing is done; `None`: another agent does, or has decided.
fn held(reasons: &[Reason]) -> Option<Severity> {
    let any = |of: fn(&Reason) -> bool| reasons.iter().any(of);
    match () {
        () if any(|r| matches!(r, Reason::LeftToOthers | Reason::DecidedElsewhere { .. })) => None,
        () if any(|r| matches!(r, Reason::NoLongerLive { .. })) => Some(Severity::Low),
        () if any(|r| matches!(r, Reason::WasPutBack | Reason::Refused { .. } | Reason::NotRecorded)) => {
            Some(Severity::Critical)
        }
        () if any(|r| matches!(r, Reason::ModeObserve | Reason::Holding { .. })) => Some(Severity::Medium),
        () => Some(Severity::High),
    }
}

fn of_verified(verified: &Verified, blank: Alert) -> Alert {
    let from = &verified.from;
    let restored = blank.release.clone().unwrap_or_default();
    let (severity, title) = match verified.outcome {
        Outcome::Recovered => {
            (Severity::Medium, format!("The rollback of {from} helped: {restored} is well"))
        }
        Outcome::NoChange => {
            (Severity::Critical, format!("The rollback of {from} did not help: it was not the cause"))
        }
        Outcome::Worse => {
            (Severity::Critical, format!("It is worse since {from} was rolled back to {restored}"))
        }
        Outcome::Unclear => (Severity::High, format!("Whether the rollback of {from} helped cannot be told")),
    };
    Alert {
        key: format!("verified:{}", verified.decision),
        event: Event::RollbackVerified,
        severity,
        title,
        summary: format!("{}. {}", verified.detail, words::verified(verified.outcome)),
        progress: Some(verified.outcome.label().to_owned()),
        release: Some(from.as_str().to_owned()),
        target: Some(restored),
        record: Some(verified.decision.as_str().to_owned()),
        ..blank
    }
}

fn of_readiness(readiness: &Readiness, context: &Context, blank: Alert) -> Option<Alert> {
    let hour = within(blank.at, HOLD_AGAIN);
    let faults = digest(readiness.faults.iter().map(String::as_str));
    if !readiness.is_ready() {
        return Some(Alert {
            key: format!("unready:{faults:016x}:{hour}"),
            event: Event::RollbackUnready,
            severity: Severity::High,
            title: "A rollback would not be possible now".to_owned(),
            summary: "If the running release turns bad, nothing can be put back until this is repaired."
                .to_owned(),
            reasons: readiness.faults.clone(),
            ..blank
        });
    }
    context.was_unready.then(|| Alert {
        key: format!("ready:{hour}"),
        event: Event::RollbackReady,
        severity: Severity::Medium,
        title: "A rollback would be possible again".to_owned(),
        summary: "What stood in its way is gone.".to_owned(),
        reasons: readiness.warnings.clone(),
        target: readiness.target.clone(),
        ..blank
    })
}

fn of_health(at: Time, of: &HealthChange, blank: Alert) -> Option<Alert> {
    let (probe, change) = (&of.probe, of.change);
    let why = if of.why.is_empty() { String::new() } else { format!(": {}", of.why) };
    let (event, severity, title) = match (change.from, change.to) {
        (_, Health::Failed) => {
            (Event::HealthDegraded, Severity::High, format!("{probe} does not answer as it should"))
        }
        (Health::Ok | Health::Unknown, Health::Degraded) => {
            (Event::HealthDegraded, Severity::Medium, format!("{probe} is slow or short of reserves"))
        }
        (Health::Failed | Health::Degraded, Health::Ok) => {
            (Event::HealthRecovered, Severity::Medium, format!("{probe} is well again"))
        }
        (_, Health::Degraded | Health::Ok | Health::Unknown) => return None,
    };
    of.critical.then(|| Alert {
        key: format!("health:{probe}:{}:{}", change.to.label(), within(at, HEALTH_AGAIN)),
        event,
        severity,
        title,
        summary: format!(
            "The service cannot do without it. It was {} for {} and is {} now{why}.",
            change.from.label(),
            figures::lasting(change.lasted),
            change.to.label()
        ),
        ..blank
    })
}

fn of_start(record: &Record, context: &Context, blank: Alert) -> Option<Alert> {
    let release = &record.release;
    context.was_rolled_back.then(|| Alert {
        key: format!("again:{release}:{}", within(record.at, HOLD_AGAIN)),
        event: Event::DeployedAgain,
        severity: Severity::High,
        title: format!("{release} runs again, although it was rolled back"),
        summary: "It is on trial anew. If nobody meant to deploy it again, deploy another one.".to_owned(),
        ..blank
    })
}

/// Which stretch of this length it is in.
fn within(at: Time, length: Duration) -> u64 {
    at.as_millis() / u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// FNV-1a over the texts, each with its end.
fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> u64 {
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0xff]));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
