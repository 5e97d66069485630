//! What came out, in plain words for whoever has to act on it.

use crate::cli::judge::figures::{age, in_unit, latency, percent};
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::policy::{Mode, Policy};
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, StreamName, Undecided, Verdict};
use crate::offline::judge::{Accusation, Summary};

/// Why a release goes that is not known to be at fault.
const SMALLER_HARM: &str = ", when the hold is over and the release still young, as the smaller harm";

/// The whole, a sentence each.
pub(super) fn summary(summary: &Summary, policy: &Policy, t: &dyn Fn(Time) -> f64) -> Vec<String> {
    let errors = summary.errors as f64 / summary.requests.max(1) as f64;
    let mut said = vec![format!(
        "The verdict after {} ({} ticks, {} requests, {} failed) is {}.",
        age(summary.last_t),
        summary.ticks,
        summary.requests,
        percent(errors),
        verdict(&summary.verdict)
    )];
    if summary.baseline.requests > 0 {
        said.push(held_against(summary));
    }
    match (&summary.blamed, &summary.first_degraded) {
        (Some(blamed), first) => {
            if let Some(first) = first.as_ref().filter(|first| first.t < blamed.t) {
                said.push(accused(first));
                said.extend(first.diagnosis.as_ref().map(|d| diagnosis(d, t)));
            }
            said.push(accused(blamed));
            said.extend(blamed.diagnosis.as_ref().map(|d| diagnosis(d, t)));
        }
        (None, Some(first)) => {
            said.push(accused(first));
            said.extend(first.diagnosis.as_ref().map(|d| diagnosis(d, t)));
        }
        (None, None) => {
            said.extend(summary.diagnosis.as_ref().map(|d| diagnosis(d, t)));
            said.extend(nearest(&summary.evidence));
        }
    }
    said.push(done(summary, policy));
    said.extend(summary.passed_at.map(|at| format!("The watch was passed after {}.", age(at))));
    said.extend(summary.notes.iter().map(|note| format!("Note: {note}.")));
    said
}

fn held_against(summary: &Summary) -> String {
    let baseline = &summary.baseline;
    let us = |value: Option<u64>| value.map_or_else(|| "unknown".to_owned(), |us| latency(us as f64));
    format!(
        "It was held against {} requests of the baseline, of which {} failed; half were done in {}, 99 % in {}.",
        baseline.requests,
        percent(baseline.error_rate),
        us(baseline.p50_us),
        us(baseline.p99_us)
    )
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Healthy => "healthy".to_owned(),
        Verdict::Degraded { .. } => "degraded".to_owned(),
        Verdict::Undecided(why) => format!("undecided: {}", undecided(why)),
        Verdict::NotJudgeable(why) => format!("not judgeable: {}", not_judgeable(why)),
    }
}

fn undecided(why: &Undecided) -> String {
    match why {
        Undecided::Starting => "the app was not ready".to_owned(),
        Undecided::WarmingUp { left, requests_left } => format!(
            "the warm-up lasts {} more seconds and {requests_left} more requests",
            left.as_secs_f64().ceil()
        ),
        Undecided::NoTraffic => "no requests came".to_owned(),
        Undecided::Gathering => "the evidence does not reach either way".to_owned(),
        Undecided::Shared => "it is worse than allowed, but so is the stable release beside it".to_owned(),
    }
}

fn not_judgeable(why: &NotJudgeable) -> String {
    match why {
        NotJudgeable::SwitchedOff => "the configuration switches the judge off (judge.enabled)".to_owned(),
        NotJudgeable::NoBaseline => "there is no baseline".to_owned(),
        NotJudgeable::BaselineTooSmall { requests, needed } => {
            format!(
                "the baseline holds {requests} requests, {needed} are needed (judge.baseline_requests_min)"
            )
        }
    }
}

fn accused(accusation: &Accusation) -> String {
    let figures = stream(&accusation.breach)
        .and_then(|(name, route)| {
            accusation.evidence.iter().find(|s| s.name == name && s.route.as_deref() == route)
        })
        .map(|stream| format!(": {}", figures(stream)))
        .unwrap_or_default();
    format!("It was degraded at t = {}: {}{figures}.", age(accusation.t), breach(&accusation.breach))
}

fn stream(breach: &Breach) -> Option<(StreamName, Option<&str>)> {
    match breach {
        Breach::Errors => Some((StreamName::Errors, None)),
        Breach::Latency(name) | Breach::Resource(name) => Some((*name, None)),
        Breach::Route { stream, route } => Some((*stream, Some(route))),
        Breach::Status(status) => Some((StreamName::Status(*status), None)),
        Breach::Crashes => Some((StreamName::Crashes, None)),
        Breach::Catastrophe(_) => None,
    }
}

fn figures(stream: &StreamEvidence) -> String {
    let shown = |figure| in_unit(stream.name, figure);
    let recent = stream.recent_value.map_or_else(|| "nothing".to_owned(), shown);
    format!(
        "{recent} in the last minute, {} in the baseline, up to {} is allowed",
        shown(stream.baseline),
        shown(stream.limit)
    )
}

fn breach(breach: &Breach) -> String {
    match breach {
        Breach::Errors => "too many requests failed".to_owned(),
        Breach::Latency(stream) => format!("it was too slow, most of all at {}", named(*stream)),
        Breach::Route { stream: StreamName::RouteErrors, route } => {
            format!("too many requests of {route} failed")
        }
        Breach::Route { stream, route } => format!("{route} was too slow, at {}", named(*stream)),
        Breach::Status(status) => format!("too many requests were answered with {status}"),
        Breach::Crashes => "it crashed too often".to_owned(),
        Breach::Resource(stream) => format!("it used too much: {}", named(*stream)),
        Breach::Catastrophe(arm) => match arm {
            Arm::Errors => "a large part of all requests failed, tick after tick".to_owned(),
            Arm::Latency => "the median was far beyond its limit, tick after tick".to_owned(),
            Arm::Hang => "requests waited and none was answered, tick after tick".to_owned(),
            Arm::Crashes => "it crashed again and again".to_owned(),
        },
    }
}

/// A stream in words.
pub(super) const fn named(stream: StreamName) -> &'static str {
    match stream {
        StreamName::Errors => "failed requests",
        StreamName::LatencyP50 => "the median latency",
        StreamName::LatencyP90 => "the 90th percentile of latency",
        StreamName::LatencyP95 => "the 95th percentile of latency",
        StreamName::LatencyP99 => "the 99th percentile of latency",
        StreamName::RouteErrors => "failed requests of a route",
        StreamName::RouteP50 => "a route's median latency",
        StreamName::RouteP95 => "a route's 95th percentile of latency",
        StreamName::Status(_) => "answers with a status of 4xx",
        StreamName::Crashes => "crashes",
        StreamName::Cpu => "processor time",
        StreamName::Memory => "memory",
        StreamName::Descriptors => "file descriptors",
    }
}

fn diagnosis(diagnosis: &Diagnosis, t: &dyn Fn(Time) -> f64) -> String {
    match diagnosis {
        Diagnosis::Deployment(ground) => {
            let ground = match ground {
                Ground::NothingElse => "all its replicas are worse, and nothing else is".to_owned(),
                Ground::ControlIsWell => "the stable release beside it is well".to_owned(),
                Ground::Overloads { probe } => {
                    format!("{probe} is worse, too, but the release asks far more of it than the baseline did")
                }
            };
            format!("The release is to blame (diagnosis: deployment): {ground}.")
        }
        Diagnosis::Replica { replica } => {
            format!("One replica is to blame (diagnosis: replica): without {replica} the rest is well.")
        }
        Diagnosis::Dependency { probe, since, until, hold_ended } => {
            let then = if *hold_ended {
                "the hold has ended, and a person decides".to_owned()
            } else {
                format!("the release is not blamed before t = {}", age(t(*until)))
            };
            format!("A dependency is to blame (diagnosis: dependency): {probe} has been worse since t = {}; {then}.", age(t(*since)))
        }
        Diagnosis::Shared { by_the_release } => {
            let hint = if *by_the_release {
                "; it got worse only after this one started, which may have broken what both share"
            } else {
                ""
            };
            format!("Something that both share is to blame (diagnosis: shared): the stable release is worse, too{hint}.")
        }
        Diagnosis::Network => {
            "The network or the platform is to blame (diagnosis: network): all dependencies are worse at once.".to_owned()
        }
        Diagnosis::Observer => {
            "What was observed is doubtful (diagnosis: observer): the observers themselves were stalled.".to_owned()
        }
    }
}

/// Why it is not degraded: the stream that came nearest.
fn nearest(evidence: &[StreamEvidence]) -> Option<String> {
    let stream = evidence.iter().max_by(|a, b| a.progress().total_cmp(&b.progress()))?;
    let of = stream.route.as_ref().map(|route| format!(" ({route})")).unwrap_or_default();
    Some(match stream.progress() {
        progress if progress > 0.0 => format!(
            "Nearest to its limit are {}{of}, at {} of the evidence that is needed: {}.",
            named(stream.name),
            percent(progress),
            figures(stream)
        ),
        _ if stream.requests == 0 => "Nothing was weighed yet.".to_owned(),
        _ => "Nothing speaks against it.".to_owned(),
    })
}

/// What an agent would have done.
fn done(summary: &Summary, policy: &Policy) -> String {
    let (accusation, although) = match (&summary.blamed, &summary.hold_over) {
        (Some(blamed), Some(over)) if over.t < blamed.t => (over, SMALLER_HARM),
        (Some(blamed), _) => (blamed, ""),
        (None, Some(over)) => (over, SMALLER_HARM),
        (None, None) if summary.first_degraded.is_some() => {
            return "An agent would not put the former release back: that would not help. A person is told."
                .to_owned();
        }
        (None, None) => return "An agent would do nothing.".to_owned(),
    };
    let at = age(accusation.t);
    let recommend = format!("An agent would recommend a rollback at t = {at}{although}");
    match policy.mode {
        Mode::Observe => {
            format!("An agent would record that at t = {at} and do nothing: rollback.mode is observe.")
        }
        Mode::Recommend => format!("{recommend}: rollback.mode is recommend."),
        Mode::Enforce if accusation.is_past_watch && !policy.act_after_watch => {
            format!("{recommend}: the watch was over, and rollback.after_watch is off.")
        }
        Mode::Enforce if policy.replicas > 1 => {
            format!("{recommend}: with several replicas a single agent does not act.")
        }
        Mode::Enforce => format!("An agent would put the former release back at t = {at}{although}."),
    }
}
