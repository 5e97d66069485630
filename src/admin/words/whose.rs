//! Whose fault it is, what would change the verdict, and what could be found at this traffic.

use crate::admin::words::figures::{duration, percent, times};
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::judge::Outlook;
use crate::engine::policy::Policy;
use crate::engine::snapshot::Snapshot;
use crate::engine::verdict::{NotJudgeable, StreamName, Undecided, Verdict};

/// The diagnosis, and why it says so.
pub(in crate::admin) fn whose(diagnosis: &Diagnosis, policy: &Policy) -> String {
    match diagnosis {
        Diagnosis::Deployment(Ground::NothingElse) => {
            "The release is to blame: it is worse as a whole, and nothing else is; no dependency got worse with it."
                .to_owned()
        }
        Diagnosis::Deployment(Ground::ControlIsWell) => {
            "The release is to blame: the stable release beside it, under the same traffic, is well.".to_owned()
        }
        Diagnosis::Deployment(Ground::Overloads { probe }) => format!(
            "The release is to blame: {probe} is worse, too, but only since this release runs, and it asks far more of \
             {probe} than the baseline did."
        ),
        Diagnosis::Replica { replica } => format!(
            "Replica {replica} is to blame: without it the release is no worse than allowed. Replace that replica; \
             putting the former release back would not help."
        ),
        Diagnosis::Dependency { probe, since, until, hold_ended } => {
            let worse = format!(
                "{probe} is to blame: it is worse since {since}, too, and the release does not ask more of it than the \
                 baseline did."
            );
            let young = duration(policy.hold_blames_until);
            if *hold_ended {
                format!("{worse} The hold ended at {until}: younger than {young}, the release is put back all the same; \
                         of an older one a person decides.")
            } else {
                format!("{worse} The release is not blamed until the hold ends at {until}.")
            }
        }
        Diagnosis::Shared { by_the_release: true } => {
            "The stable release beside it got worse, too, after this one started and while the dependencies are well: \
             this release may have broken what both share, a schema for example. A person must look."
                .to_owned()
        }
        Diagnosis::Shared { by_the_release: false } => {
            "What is shared is to blame: the stable release beside it suffers as well, or nearly.".to_owned()
        }
        Diagnosis::Network => "The network or the platform is to blame, or this agent's view of them: all dependencies \
                               got worse at once."
            .to_owned(),
        Diagnosis::Observer => "What was seen is doubtful: the agent itself was stalled in half of the last ticks or \
                                more. Look at the machine first."
            .to_owned(),
    }
}

/// What would change the verdict.
pub(in crate::admin) fn changes(engine: &Snapshot) -> String {
    match &engine.verdict {
        Verdict::NotJudgeable(NotJudgeable::SwitchedOff) => "Setting `judge.enabled = true`.".to_owned(),
        Verdict::NotJudgeable(NotJudgeable::NoBaseline | NotJudgeable::BaselineTooSmall { .. }) => {
            "When this release passes its watch, it becomes what itself and later ones are compared with.".to_owned()
        }
        Verdict::Undecided(Undecided::Starting) => "The app becoming ready.".to_owned(),
        Verdict::Undecided(Undecided::WarmingUp { .. }) => "The end of the warm-up.".to_owned(),
        Verdict::Undecided(Undecided::NoTraffic) => "Requests: without them nothing is weighed.".to_owned(),
        Verdict::Undecided(Undecided::Gathering) => "Degraded: when a stream's evidence is complete by request and by \
             tick. Healthy: when the last five minutes show all requests' streams to be within their limits."
            .to_owned(),
        Verdict::Undecided(Undecided::Shared) => {
            "Degraded: when bad requests concentrate on this release, by evidence of 100 to 1. Else it ends when the \
             trouble does."
                .to_owned()
        }
        Verdict::Healthy => "Undecided: when a stream's evidence is half complete. Degraded: when it is complete by \
                             request and by tick."
            .to_owned(),
        Verdict::Degraded { .. } => recovery(engine),
    }
}

fn recovery(engine: &Snapshot) -> String {
    let ends = "It ends after 12 good ticks of 5 s in a row that also show the streams to be within their limits; at \
                the latest after 15 minutes of good ticks.";
    match &engine.diagnosis {
        Some(Diagnosis::Dependency { until, hold_ended: false, .. }) => {
            format!("{ends} The hold ends at {until}, whatever the dependency does.")
        }
        Some(_) | None => ends.to_owned(),
    }
}

/// What would typically be found at this traffic, and how soon.
pub(in crate::admin) fn outlook(outlook: &Outlook, engine: &Snapshot) -> String {
    let errors = engine.evidence.iter().find(|s| s.name == StreamName::Errors);
    let rate = outlook.requests_per_second;
    let Some(takes) = outlook.doubled_errors_take.filter(|_| rate > 0.0) else {
        return "Without requests nothing would be found but crashes and hangs.".to_owned();
    };
    let found = match outlook.errors_in_two_minutes {
        Some(share) => format!(
            "a share of {} failures or more would typically be found within two minutes",
            percent(share)
        ),
        None => "no share of failures would be found within two minutes by counting".to_owned(),
    };
    let doubled = errors.map(|s| format!(" ({})", percent(2.0 * s.p0))).unwrap_or_default();
    let takes = if takes.as_secs() >= 7 * 24 * 3600 {
        "takes more than a week".to_owned()
    } else {
        format!("takes about {}", duration(takes))
    };
    let each = if (rate - 1.0).abs() < 0.05 { "request/s" } else { "requests/s" };
    format!("At {} {each} {found}; twice the allowed share{doubled} {takes}.", times(rate))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::tests::fixture;
    use crate::engine::verdict::Breach;

    #[test]
    fn the_outlook_is_told_in_requests_shares_and_time() {
        let engine = fixture::live().engine;
        let mut seen = engine.outlook.unwrap();
        assert_eq!(
            outlook(&seen, &engine),
            "At 12 requests/s a share of 2.1 % failures or more would typically be found within two minutes; twice the \
             allowed share (1.0 %) takes about 6m 35s."
        );
        seen.doubled_errors_take = None;
        assert!(outlook(&seen, &engine).starts_with("Without requests"));
        seen = Outlook {
            errors_in_two_minutes: None,
            doubled_errors_take: Some(Duration::from_secs(9_000_000)),
            ..seen
        };
        assert!(outlook(&seen, &engine).contains("no share of failures"));
        assert!(outlook(&seen, &engine).ends_with("takes more than a week."));
    }

    #[test]
    fn each_diagnosis_says_why_and_a_hold_says_until_when() {
        let policy = Policy::default();
        let dependency = |hold_ended| Diagnosis::Dependency {
            probe: "postgres".into(),
            since: fixture::START,
            until: fixture::START + Duration::from_secs(180),
            hold_ended,
        };
        let mut engine = fixture::live().engine;
        engine.verdict = Verdict::Degraded { breach: Breach::Errors, since: fixture::START };
        engine.diagnosis = Some(dependency(false));
        let text = whose(&dependency(false), &policy);
        assert!(
            text.contains("postgres is to blame")
                && text.contains("until the hold ends at 2025-11-22T22:03:00Z"),
            "{text}"
        );
        assert!(changes(&engine).contains("12 good ticks") && changes(&engine).contains("22:03:00Z"));
        let text = whose(&dependency(true), &policy);
        assert!(text.contains("younger than 15m"), "{text}");
        let all = [
            Diagnosis::Deployment(Ground::NothingElse),
            Diagnosis::Deployment(Ground::ControlIsWell),
            Diagnosis::Deployment(Ground::Overloads { probe: "redis".into() }),
            Diagnosis::Replica { replica: "r2".into() },
            Diagnosis::Shared { by_the_release: true },
            Diagnosis::Shared { by_the_release: false },
            Diagnosis::Network,
            Diagnosis::Observer,
        ];
        let mut told: Vec<String> = all.iter().map(|d| whose(d, &policy)).collect();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), all.len());
    }
}
