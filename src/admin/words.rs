//! The verdict, and what would follow from it, in plain words. The page, the CLI and whoever reads the API say the same.

mod figures;
mod streams;
mod whose;

use crate::admin::streams::progress;
use crate::admin::words::figures::{duration, percent, thousands};
use crate::engine::ballot::Roster;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::Progress;
use crate::engine::snapshot::{DecisionView, Snapshot};
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, StreamName, Undecided, Verdict};

pub(super) use crate::admin::words::streams::{guard, ratio};
pub(super) use crate::admin::words::whose::{changes, outlook, whose};

/// A share of its limit that is not worth a word.
const NOTHING: f64 = 0.01;

/// Why the verdict is what it is, in a sentence or two.
pub(super) fn why(engine: &Snapshot) -> String {
    match &engine.verdict {
        Verdict::NotJudgeable(why) => not_judgeable(why),
        Verdict::Undecided(why) => undecided(engine, why),
        Verdict::Healthy => healthy(engine),
        Verdict::Degraded { breach, .. } => degraded(engine, breach),
    }
}

fn not_judgeable(why: &NotJudgeable) -> String {
    match why {
        NotJudgeable::SwitchedOff => "The judge is switched off by `judge.enabled`.".to_owned(),
        NotJudgeable::NoBaseline => {
            "There is nothing to compare with: no other release has passed its watch here. \
                                     Only crashes, hangs and mass failures can be told."
                .to_owned()
        }
        NotJudgeable::BaselineTooSmall { requests, needed } => {
            format!("The baseline holds {requests} judged requests; {needed} are needed.")
        }
    }
}

fn undecided(engine: &Snapshot, why: &Undecided) -> String {
    match why {
        Undecided::Starting => "The app has not become ready yet.".to_owned(),
        Undecided::WarmingUp { left, requests_left } => {
            let mut left_over = Vec::new();
            if !left.is_zero() {
                left_over.push(duration(*left));
            }
            if *requests_left > 0 {
                left_over.push(format!("{requests_left} requests"));
            }
            format!(
                "Warming up: a release's first moments are not judged ({} left).",
                left_over.join(" and ")
            )
        }
        Undecided::NoTraffic => "No requests come, so there is nothing to judge by.".to_owned(),
        Undecided::Shared => {
            "Worse than the baseline allows, but so is the stable release beside it.".to_owned()
        }
        Undecided::Gathering => match foremost(engine) {
            Some((name, share)) => {
                format!("Gathering evidence. {}", foremost_words(&name, share))
            }
            None => "Gathering evidence: so far nothing points either way.".to_owned(),
        },
    }
}

fn foremost_words(name: &str, share: f64) -> String {
    format!("Foremost: {name}, at {:.0} % of what it would take to call it degraded.", share * 100.0)
}

fn healthy(engine: &Snapshot) -> String {
    let requests = engine.evidence.iter().map(|s| s.requests).max().unwrap_or_default();
    let against = engine.baseline.as_ref().map_or_else(String::new, |b| format!(" than {}", b.release));
    let well =
        format!("Over {} judged requests no worse{against} beyond the guard bands.", thousands(requests));
    match foremost(engine) {
        Some((name, share)) => format!("{well} {}", foremost_words(&name, share)),
        None => well,
    }
}

fn degraded(engine: &Snapshot, breach: &Breach) -> String {
    let (found, otherwise) = match breach {
        Breach::Errors => (stream(engine, StreamName::Errors, None), "More requests fail than allowed."),
        Breach::Latency(name) => (stream(engine, *name, None), "Requests are slower than allowed."),
        Breach::Route { stream: name, route } => {
            let found = stream(engine, *name, Some(route));
            let is_errors = *name == StreamName::RouteErrors;
            let worse = if is_errors { "fails more often" } else { "is slower" };
            let otherwise = format!("{route} {worse} than allowed.");
            return found.map_or(otherwise, streams::stands);
        }
        Breach::Status(status) => {
            let found = stream(engine, StreamName::Status(*status), None);
            let otherwise = format!("More requests are answered with {status} than allowed.");
            return found.map_or(otherwise, streams::stands);
        }
        Breach::Crashes => (None, "The app crashes far more often than the baseline's release did."),
        Breach::Resource(name) => (stream(engine, *name, None), "The app uses more than allowed."),
        Breach::Catastrophe(arm) => return catastrophe(*arm, &engine.policy),
    };
    found.map_or_else(|| otherwise.to_owned(), streams::stands)
}

fn catastrophe(arm: Arm, policy: &Policy) -> String {
    let ticks = policy.catastrophe_ticks;
    match arm {
        Arm::Errors => format!(
            "At least {} of all requests failed, {ticks} ticks of 5 s in a row.",
            percent(policy.catastrophe_error_share)
        ),
        Arm::Latency => format!(
            "The median latency was more than {} times its limit, {ticks} ticks of 5 s in a row.",
            policy.catastrophe_latency_ratio
        ),
        Arm::Hang => format!("Requests are open and none ends, {ticks} ticks of 5 s in a row."),
        Arm::Crashes => {
            format!("The app crashed {} times within {}.", policy.crashes, duration(policy.crashes_within))
        }
    }
}

/// What the agent does, or would do if the release were found degraded.
pub(super) fn next(engine: &Snapshot, roster: Option<&Roster>) -> String {
    let degraded = matches!(engine.verdict, Verdict::Degraded { .. });
    if let (true, Some(decision)) = (degraded, &engine.last_decision) {
        return decided(decision);
    }
    let then = if degraded { "Degraded" } else { "If it degrades" };
    if !engine.policy.judging {
        return "Judging is switched off (`judge.enabled`): nothing will be decided.".to_owned();
    }
    if let Some(pause) = &engine.pause {
        return format!(
            "{then}: decided and recorded, but not acted on, because {} paused acting.",
            pause.by
        );
    }
    if let (true, Some(held)) = (degraded, engine.diagnosis.as_ref().and_then(|d| not_blamed(engine, d))) {
        return format!("{then}: {held}");
    }
    let Some(target) = &engine.target else {
        return format!("{then}: held and recorded, because no other release is known good.");
    };
    match engine.policy.mode {
        Mode::Observe => {
            format!("{then}: recorded only (mode observe). The release to put back would be {target}.")
        }
        Mode::Recommend => format!("{then}: a rollback to {target} is recommended; a person acts."),
        Mode::Enforce if roster.is_some() => {
            let (needed, votes) = roster.map_or((1, 1), |roster| (roster.needed(), roster.votes()));
            format!("{then}: the agents vote on a rollback to {target}; {needed} of {votes} have to agree.")
        }
        Mode::Enforce if engine.policy.replicas > 1 => {
            format!(
                "{then}: a rollback to {target} is recommended; one agent of several replicas does not act alone."
            )
        }
        Mode::Enforce => enforce(engine, then, target.as_str()),
    }
}

/// What a diagnosis keeps from being done; `None` where it speaks for a rollback.
fn not_blamed(engine: &Snapshot, diagnosis: &Diagnosis) -> Option<String> {
    match diagnosis {
        Diagnosis::Deployment(_) => None,
        Diagnosis::Dependency { hold_ended: false, until, probe, .. } => {
            Some(format!("held until {until}, because {probe} is worse, too."))
        }
        Diagnosis::Dependency { .. } => {
            let ready_at = engine.watch.as_ref().map(|w| w.ready_at);
            let is_young = ready_at.is_some_and(|at| engine.at.since(at) < engine.policy.hold_blames_until);
            (!is_young).then(|| "held, because a dependency is worse, too: a person decides.".to_owned())
        }
        Diagnosis::Replica { .. } | Diagnosis::Shared { .. } | Diagnosis::Network | Diagnosis::Observer => {
            Some("held, because putting the former release back would not help.".to_owned())
        }
    }
}

fn enforce(engine: &Snapshot, then: &str, target: &str) -> String {
    let passed = engine.watch.as_ref().is_some_and(|w| w.passed);
    if passed && !engine.policy.act_after_watch {
        return format!("{then}: held and recorded, because its watch has passed.");
    }
    match engine.cooldown_until {
        Some(until) if until > engine.at => format!("{then}: held until the cooldown ends at {until}."),
        Some(_) | None => format!("{then}: {target} is put back."),
    }
}

fn decided(decision: &DecisionView) -> String {
    let target = decision.target.as_ref().map_or("the last good release", |t| t.as_str());
    match &decision.progress {
        Progress::NothingToDo => format!("Decided to hold; record {} says why.", decision.id),
        Progress::Intended => format!("Rolling back to {target}: written down, about to be ordered."),
        Progress::Accepted { .. } => format!("Rolling back to {target}: the platform took the order."),
        Progress::Succeeded { .. } => format!("Rolled back: {target} is live."),
        Progress::DryRun { .. } => format!("Dry run: a rollback to {target} would have been ordered."),
        Progress::Failed { .. } => format!("The rollback to {target} failed: a person must act."),
        Progress::Interrupted { .. } => {
            format!("The rollback to {target} was interrupted and its end is not known: a person must act.")
        }
    }
}

/// The evidence that is nearest to its limit. Latency is judged by its streams taken together.
fn foremost(engine: &Snapshot) -> Option<(String, f64)> {
    let single =
        engine.evidence.iter().filter(|s| !is_joint(s.name)).map(|s| (streams::name(s), progress(s)));
    let joint = ("latency".to_owned(), engine.latency_progress);
    let farthest = std::iter::once(joint).chain(single).max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (!engine.evidence.is_empty() && farthest.1 >= NOTHING).then_some(farthest)
}

/// Whether a stream is judged together with others only.
const fn is_joint(name: StreamName) -> bool {
    matches!(
        name,
        StreamName::LatencyP50 | StreamName::LatencyP90 | StreamName::LatencyP95 | StreamName::LatencyP99
    )
}

fn stream<'a>(engine: &'a Snapshot, name: StreamName, route: Option<&str>) -> Option<&'a StreamEvidence> {
    engine.evidence.iter().find(|s| s.name == name && s.route.as_deref() == route)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::admin::tests::fixture;

    fn check(change: impl FnOnce(&mut Snapshot), want_why: &str, want_next: &str) {
        let mut engine = fixture::live().engine;
        change(&mut engine);
        assert_eq!((why(&engine).as_str(), next(&engine, None).as_str()), (want_why, want_next));
    }

    #[test]
    fn each_verdict_is_told_with_its_figures_and_what_follows() {
        check(
            |_| (),
            "Gathering evidence. Foremost: errors of GET /users/{id}, at 40 % of what it would take to call it degraded.",
            "If it degrades: v41 is put back.",
        );
        check(
            |e| e.verdict = Verdict::Healthy,
            "Over 4,200 judged requests no worse than v41 beyond the guard bands. Foremost: errors of GET /users/{id}, at \
             40 % of what it would take to call it degraded.",
            "If it degrades: v41 is put back.",
        );
        check(
            |e| e.verdict = Verdict::Degraded { breach: Breach::Errors, since: e.at },
            "1.5 % of requests failed in the last minute: 3 times the 0.50 % allowed, 15 times the baseline's 0.10 %.",
            "Degraded: v41 is put back.",
        );
        check(
            |e| {
                e.verdict =
                    Verdict::Undecided(Undecided::WarmingUp { left: Duration::ZERO, requests_left: 9 })
            },
            "Warming up: a release's first moments are not judged (9 requests left).",
            "If it degrades: v41 is put back.",
        );
        check(
            |e| {
                e.verdict =
                    Verdict::Degraded { breach: Breach::Latency(StreamName::LatencyP99), since: e.at };
                e.policy.mode = Mode::Recommend;
            },
            "The 99th percentile of latency was 210 ms in the last minute: 1.2 times the 180 ms allowed, 1.8 times the \
             baseline's 120 ms.",
            "Degraded: a rollback to v41 is recommended; a person acts.",
        );
    }

    #[test]
    fn what_keeps_the_agent_from_acting_is_named() {
        let next_of = |change: fn(&mut Snapshot)| {
            let mut engine = fixture::live().engine;
            change(&mut engine);
            next(&engine, None)
        };
        assert!(next_of(|e| e.pause = fixture::paused().engine.pause).contains("ana paused acting"));
        assert!(next_of(|e| e.target = None).contains("no other release is known good"));
        assert!(next_of(|e| e.policy.replicas = 3).contains("does not act alone"));
        assert!(next_of(|e| e.cooldown_until = Some(e.at + Duration::from_secs(60))).contains("cooldown"));
        assert!(next_of(|e| e.policy.judging = false).contains("switched off"));
        assert!(next_of(|e| e.watch.as_mut().unwrap().passed = true).contains("watch has passed"));
    }

    #[test]
    fn a_degraded_release_that_is_not_to_blame_is_held_and_the_reason_is_told() {
        let next_of = |diagnosis: Diagnosis, age_s: u64| {
            let mut engine = fixture::live().engine;
            engine.verdict = Verdict::Degraded { breach: Breach::Errors, since: engine.at };
            engine.diagnosis = Some(diagnosis);
            engine.at = fixture::START + Duration::from_secs(age_s);
            next(&engine, None)
        };
        let dependency = |hold_ended| Diagnosis::Dependency {
            probe: "postgres".into(),
            since: fixture::START,
            until: fixture::START + Duration::from_secs(180),
            hold_ended,
        };
        let young = 300;
        assert_eq!(
            next_of(dependency(false), young),
            "Degraded: held until 2025-11-22T22:03:00Z, because postgres is worse, too."
        );
        assert_eq!(next_of(dependency(true), young), "Degraded: v41 is put back.");
        assert!(next_of(dependency(true), 3600).contains("a person decides"));
        assert!(next_of(Diagnosis::Network, young).contains("would not help"));
    }

    #[test]
    fn each_breach_is_told_even_where_its_stream_is_not_shown() {
        for breach in [
            Breach::Errors,
            Breach::Latency(StreamName::LatencyP50),
            Breach::Route { stream: StreamName::RouteErrors, route: "GET /a".into() },
            Breach::Route { stream: StreamName::RouteP95, route: "GET /a".into() },
            Breach::Status(401),
            Breach::Crashes,
            Breach::Resource(StreamName::Memory),
            Breach::Catastrophe(Arm::Hang),
        ] {
            let mut engine = fixture::live().engine;
            engine.verdict = Verdict::Degraded { breach, since: engine.at };
            let full = why(&engine);
            engine.evidence.clear();
            assert!(full.ends_with('.') && why(&engine).ends_with('.'), "{full}");
        }
    }
}
