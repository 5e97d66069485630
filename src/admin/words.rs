//! The verdict, and what would follow from it, in plain words. The page, the CLI and whoever reads the API say the same.

use std::time::Duration;

use crate::engine::policy::{Mode, Policy};
use crate::engine::record::Progress;
use crate::engine::snapshot::{DecisionView, Snapshot};
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, StreamName, Undecided, Verdict};

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
            Some((name, share)) if share >= 0.01 => {
                format!(
                    "Gathering evidence. Foremost: {name}, at {:.0} % of what it would take to call it degraded.",
                    share * 100.0
                )
            }
            Some(_) | None => "Gathering evidence: so far nothing points either way.".to_owned(),
        },
    }
}

fn healthy(engine: &Snapshot) -> String {
    let requests = engine.evidence.iter().map(|s| s.requests).max().unwrap_or_default();
    let against = engine.baseline.as_ref().map_or_else(String::new, |b| format!(" than {}", b.release));
    format!("Over {} judged requests no worse{against} beyond the guard bands.", thousands(requests))
}

fn degraded(engine: &Snapshot, breach: &Breach) -> String {
    let policy = &engine.policy;
    match breach {
        Breach::Errors => match stream(engine, StreamName::Errors) {
            Some(s) => format!(
                "{} of requests failed in the last minute; the limit is {}, the baseline {}.",
                s.recent_value.map_or("No known share".to_owned(), percent),
                percent(s.limit),
                percent(s.baseline)
            ),
            None => "More requests fail than the baseline allows.".to_owned(),
        },
        Breach::Latency(name) => match stream(engine, *name) {
            Some(s) => format!(
                "The {} was {} in the last minute; the limit is {}, the baseline {}.",
                stream_name(*name),
                s.recent_value.map_or("not known".to_owned(), latency),
                latency(s.limit),
                latency(s.baseline)
            ),
            None => "Requests are slower than the baseline allows.".to_owned(),
        },
        Breach::Route { .. } | Breach::Status(_) | Breach::Crashes | Breach::Resource(_) => {
            breach.label().to_owned()
        }
        Breach::Catastrophe(arm) => catastrophe(*arm, policy),
    }
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
pub(super) fn next(engine: &Snapshot) -> String {
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
    let Some(target) = &engine.target else {
        return format!("{then}: held and recorded, because no other release is known good.");
    };
    match engine.policy.mode {
        Mode::Observe => {
            format!("{then}: recorded only (mode observe). The release to put back would be {target}.")
        }
        Mode::Recommend => format!("{then}: a rollback to {target} is recommended; a person acts."),
        Mode::Enforce if engine.policy.replicas > 1 => {
            format!(
                "{then}: a rollback to {target} is recommended; one agent of several replicas does not act alone."
            )
        }
        Mode::Enforce => enforce(engine, then, target.as_str()),
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
fn foremost(engine: &Snapshot) -> Option<(&'static str, f64)> {
    let errors = stream(engine, StreamName::Errors)?.progress();
    Some(if errors >= engine.latency_progress {
        ("errors", errors)
    } else {
        ("latency", engine.latency_progress)
    })
}

fn stream(engine: &Snapshot, name: StreamName) -> Option<&StreamEvidence> {
    engine.evidence.iter().find(|s| s.name == name)
}

fn stream_name(name: StreamName) -> &'static str {
    match name {
        StreamName::Errors => "error rate",
        StreamName::LatencyP50 => "median latency",
        StreamName::LatencyP90 => "90th percentile of latency",
        StreamName::LatencyP95 => "95th percentile of latency",
        StreamName::LatencyP99 => "99th percentile of latency",
        StreamName::RouteErrors => "error rate of a route",
        StreamName::RouteP50 => "median latency of a route",
        StreamName::RouteP95 => "95th percentile of a route's latency",
        StreamName::Status(_) => "share of a 4xx status",
        StreamName::Crashes => "crashes",
        StreamName::Cpu => "processor time",
        StreamName::Memory => "memory",
        StreamName::Descriptors => "open file descriptors",
    }
}

fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let digits = if percent >= 10.0 || percent == 0.0 { 0 } else { 2 - usize::from(percent >= 1.0) };
    format!("{percent:.digits$} %")
}

fn latency(us: f64) -> String {
    if us >= 1e6 {
        format!("{:.2} s", us / 1e6)
    } else if us >= 1e4 {
        format!("{:.0} ms", us / 1e3)
    } else {
        format!("{:.1} ms", us / 1e3)
    }
}

fn duration(d: Duration) -> String {
    humantime::format_duration(Duration::from_secs(d.as_secs_f64().ceil() as u64)).to_string()
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::fixture;

    fn check(change: impl FnOnce(&mut Snapshot), want_why: &str, want_next: &str) {
        let mut engine = fixture::live().engine;
        change(&mut engine);
        assert_eq!((why(&engine).as_str(), next(&engine).as_str()), (want_why, want_next));
    }

    #[test]
    fn each_verdict_is_told_with_its_figures_and_what_follows() {
        check(
            |_| (),
            "Gathering evidence. Foremost: latency, at 34 % of what it would take to call it degraded.",
            "If it degrades: v41 is put back.",
        );
        check(
            |e| e.verdict = Verdict::Healthy,
            "Over 4,200 judged requests no worse than v41 beyond the guard bands.",
            "If it degrades: v41 is put back.",
        );
        check(
            |e| e.verdict = Verdict::Degraded { breach: Breach::Errors, since: e.at },
            "1.5 % of requests failed in the last minute; the limit is 0.50 %, the baseline 0.10 %.",
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
            "The 99th percentile of latency was 210 ms in the last minute; the limit is 180 ms, the baseline 120 ms.",
            "Degraded: a rollback to v41 is recommended; a person acts.",
        );
    }

    #[test]
    fn what_keeps_the_agent_from_acting_is_named() {
        let next_of = |change: fn(&mut Snapshot)| {
            let mut engine = fixture::live().engine;
            change(&mut engine);
            next(&engine)
        };
        assert!(next_of(|e| e.pause = fixture::paused().engine.pause).contains("ana paused acting"));
        assert!(next_of(|e| e.target = None).contains("no other release is known good"));
        assert!(next_of(|e| e.policy.replicas = 3).contains("does not act alone"));
        assert!(next_of(|e| e.cooldown_until = Some(e.at + Duration::from_secs(60))).contains("cooldown"));
        assert!(next_of(|e| e.policy.judging = false).contains("switched off"));
        assert!(next_of(|e| e.watch.as_mut().unwrap().passed = true).contains("watch has passed"));
    }
}
