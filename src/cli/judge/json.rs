//! The judgement as JSON: an object a tick and one with the summary, as `docs/JUDGE_INPUT.md` says. Keys stay; new ones
//! may come.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::judge::figures::{figure, seconds, stream_key};
use crate::cli::judge::words;
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::policy::Policy;
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, NotJudgeable, StreamEvidence, Undecided, Unit, Verdict};
use crate::offline::judge::{Accusation, Judging, Moment, Summary};

/// A line a tick, in the order of its keys.
#[derive(Serialize)]
struct TickLine {
    t: Value,
    verdict: &'static str,
    why: Option<&'static str>,
    diagnosis: Option<&'static str>,
    diagnosis_detail: Option<Value>,
    breach: Option<String>,
    rollback: bool,
    score: Option<Value>,
    requests: u64,
    errors: u64,
    streams: BTreeMap<String, Stream>,
}

#[derive(Serialize)]
struct Stream {
    unit: &'static str,
    recent: Option<Value>,
    recent_share: Option<Value>,
    baseline: Value,
    limit: Value,
    allowed_share: Value,
    count: u64,
    bad: u64,
    evidence: Value,
    evidence_limit: Value,
    ticks: Value,
    ticks_limit: Value,
    attribution: Option<Value>,
    progress: Value,
}

pub(super) fn write(judging: &mut Judging, policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    while let Some(moment) = judging.next() {
        serde_json::to_writer(&mut *out, &tick_line(&moment, judging))?;
        out.write_all(b"\n")?;
    }
    if let Some(summary) = judging.summary() {
        serde_json::to_writer(&mut *out, &json!({ "summary": summary_of(&summary, judging, policy) }))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn tick_line(moment: &Moment, judging: &Judging) -> TickLine {
    let judgement = &moment.judgement;
    let diagnosis = judgement.diagnosis.as_ref();
    TickLine {
        t: seconds(moment.t),
        verdict: judgement.verdict.label(),
        why: why(&judgement.verdict),
        diagnosis: diagnosis.map(Diagnosis::label),
        diagnosis_detail: diagnosis.map(|d| detail(d, &|at| seconds(judging.t(at)))),
        breach: breach_of(&judgement.verdict).map(breach),
        rollback: judgement.blames_release(),
        score: judgement.score.map(figure),
        requests: moment.tick.judged,
        errors: moment.tick.failed,
        streams: streams(&moment.evidence),
    }
}

/// All streams of the whole; of those of a route only the ones that speak against the release, for there may be hundreds.
fn streams(evidence: &[StreamEvidence]) -> BTreeMap<String, Stream> {
    let shown = evidence.iter().filter(|stream| stream.route.is_none() || stream.progress() > 0.0);
    shown.map(|stream| (stream_key(stream), stream_of(stream))).collect()
}

fn stream_of(stream: &StreamEvidence) -> Stream {
    Stream {
        unit: match stream.name.unit() {
            Unit::Share => "share",
            Unit::Microseconds => "us",
            Unit::Millicores => "millicores",
            Unit::Bytes => "bytes",
            Unit::Count => "count",
        },
        recent: stream.recent_value.map(figure),
        recent_share: stream.recent_share.map(figure),
        baseline: figure(stream.baseline),
        limit: figure(stream.limit),
        allowed_share: figure(stream.p0),
        count: stream.requests,
        bad: stream.bad,
        evidence: figure(stream.ln_requests),
        evidence_limit: figure(stream.ln_requests_limit),
        ticks: figure(stream.ln_ticks),
        ticks_limit: figure(stream.ln_ticks_limit),
        attribution: stream.ln_attribution.map(figure),
        progress: figure(stream.progress()),
    }
}

const fn why(verdict: &Verdict) -> Option<&'static str> {
    Some(match verdict {
        Verdict::NotJudgeable(NotJudgeable::SwitchedOff) => "switched_off",
        Verdict::NotJudgeable(NotJudgeable::NoBaseline) => "no_baseline",
        Verdict::NotJudgeable(NotJudgeable::BaselineTooSmall { .. }) => "baseline_too_small",
        Verdict::Undecided(Undecided::Starting) => "starting",
        Verdict::Undecided(Undecided::WarmingUp { .. }) => "warming_up",
        Verdict::Undecided(Undecided::NoTraffic) => "no_traffic",
        Verdict::Undecided(Undecided::Gathering) => "gathering",
        Verdict::Undecided(Undecided::Shared) => "shared",
        Verdict::Healthy | Verdict::Degraded { .. } => return None,
    })
}

const fn breach_of(verdict: &Verdict) -> Option<&Breach> {
    match verdict {
        Verdict::Degraded { breach, .. } => Some(breach),
        Verdict::NotJudgeable(_) | Verdict::Undecided(_) | Verdict::Healthy => None,
    }
}

/// What was passed, as one text: the rule, and where it is about one, the stream or the route.
fn breach(breach: &Breach) -> String {
    match breach {
        Breach::Latency(stream) => stream.label().to_owned(),
        Breach::Route { stream, route } => format!("{} {route}", stream.label()),
        Breach::Errors
        | Breach::Status(_)
        | Breach::Crashes
        | Breach::Resource(_)
        | Breach::Catastrophe(_) => breach.label().to_owned(),
    }
}

/// What a diagnosis rests on; times as t.
fn detail(diagnosis: &Diagnosis, t: &dyn Fn(Time) -> Value) -> Value {
    match diagnosis {
        Diagnosis::Deployment(ground) => match ground {
            Ground::NothingElse => json!({ "ground": "nothing_else" }),
            Ground::ControlIsWell => json!({ "ground": "control_is_well" }),
            Ground::Overloads { probe } => json!({ "ground": "overloads", "probe": &**probe }),
        },
        Diagnosis::Replica { replica } => json!({ "replica": &**replica }),
        Diagnosis::Dependency { probe, since, until, hold_ended } => {
            json!({ "probe": &**probe, "since": t(*since), "until": t(*until), "hold_ended": hold_ended })
        }
        Diagnosis::Shared { by_the_release } => json!({ "by_the_release": by_the_release }),
        Diagnosis::Network | Diagnosis::Observer => json!({}),
    }
}

fn summary_of(summary: &Summary, judging: &Judging, policy: &Policy) -> Value {
    let t = |at| seconds(judging.t(at));
    // Where the release was to blame, that is what there is to say; else the last that was thought.
    let accusation: Option<&Accusation> = summary.blamed.as_ref().or(summary.first_degraded.as_ref());
    let diagnosis = accusation.map_or(summary.diagnosis.as_ref(), |a| a.diagnosis.as_ref());
    let baseline = &summary.baseline;
    let us = |value: Option<u64>| value.map_or(Value::Null, Value::from);
    json!({
        "verdict": summary.verdict.label(),
        "why": why(&summary.verdict),
        "first_degraded": summary.first_degraded.as_ref().map(|a| seconds(a.t)),
        "diagnosis": diagnosis.map(Diagnosis::label),
        "diagnosis_detail": diagnosis.map(|d| detail(d, &t)),
        "breach": accusation.map(|a| breach(&a.breach)),
        "rollback": summary.blamed.is_some(),
        "rollback_at": summary.blamed.as_ref().map(|a| seconds(a.t)),
        "hold_over_at": summary.hold_over.as_ref().map(|a| seconds(a.t)),
        "passed_at": summary.passed_at.map(seconds),
        "ticks": summary.ticks,
        "last_t": seconds(summary.last_t),
        "requests": summary.requests,
        "errors": summary.errors,
        "score": summary.score.map(figure),
        "streams": streams(&summary.evidence),
        "baseline": {
            "requests": baseline.requests,
            "error_rate": figure(baseline.error_rate),
            "p50_us": us(baseline.p50_us),
            "p90_us": us(baseline.p90_us),
            "p95_us": us(baseline.p95_us),
            "p99_us": us(baseline.p99_us),
        },
        "notes": summary.notes,
        "text": words::summary(summary, policy, &|at| judging.t(at)),
    })
}
