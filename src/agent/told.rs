//! What happened, as one line of the log.

use tracing::{error, info, warn};

use crate::engine::diagnosis::Diagnosis;
use crate::engine::record::{Decided, Decision, Happening, Outcome, Progress, Reason, Record, Verified};
use crate::engine::release::RecordId;

/// One line a happening, for whoever reads logs rather than records.
pub(super) fn log_record(record: &Record) {
    let (id, release) = (&record.id, &record.release);
    match &record.what {
        Happening::VerdictChanged { from, to, .. } => {
            info!(record = %id, %release, from = from.label(), to = to.label(), "verdict changed");
        }
        Happening::Diagnosed(diagnosis) => {
            let diagnosis = diagnosis.as_ref().map_or("none", Diagnosis::label);
            info!(record = %id, %release, diagnosis, "diagnosis changed");
        }
        Happening::WatchPassed { requests, by } => {
            info!(record = %id, %release, requests, by = by.label(), "watch passed, the release is known good");
        }
        Happening::Decided(decided) => log_decision(id, record, decided),
        Happening::Paused(pause) => {
            info!(record = %id, by = %pause.by, reason = %pause.reason, "acting paused")
        }
        Happening::Resumed { by } => info!(record = %id, %by, "acting resumed"),
        Happening::Locked(lock) => {
            warn!(record = %id, by = %lock.by, reason = %lock.reason, "deployments locked");
        }
        Happening::Unlocked { by } => info!(record = %id, %by, "deployments unlocked"),
        Happening::Verified(of) => log_verified(id, of),
        Happening::Readied(readiness) if readiness.is_ready() => {
            let target = readiness.target.as_deref().unwrap_or_default();
            info!(record = %id, target, warnings = readiness.warnings.join("; "), "a rollback would be possible");
        }
        Happening::Readied(readiness) => {
            error!(record = %id, faults = readiness.faults.join("; "), "a rollback would not be possible");
        }
        // Whoever saw these happen has said so: the app's life, the prober.
        Happening::Started { .. } | Happening::Ready | Happening::Exited(_) | Happening::HealthChanged(_) => {
        }
    }
}

fn log_verified(id: &RecordId, of: &Verified) {
    let (decision, outcome, detail) = (&of.decision, of.outcome.label(), &of.detail);
    match of.outcome {
        Outcome::Recovered => info!(record = %id, %decision, outcome, detail, "the rollback helped"),
        Outcome::NoChange | Outcome::Worse | Outcome::Unclear => {
            error!(record = %id, %decision, outcome, detail, "the rollback is not known to have helped");
        }
    }
}

fn log_decision(id: &RecordId, record: &Record, decided: &Decided) {
    let target = decided.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let (decision, progress) = (decided.decision.label(), decided.progress.label());
    let needs_a_person = matches!(decided.progress, Progress::Failed { .. } | Progress::Interrupted { .. })
        || decided.decision == Decision::Hold;
    if decided.reasons.contains(&Reason::LeftToOthers) {
        info!(record = %id, release = %record.release, %target, "decision left to an agent that may call the platform");
    } else if needs_a_person {
        error!(record = %id, release = %record.release, %target, decision, progress, "decision needs a person");
    } else {
        warn!(record = %id, release = %record.release, %target, decision, progress, "decision made");
    }
}
