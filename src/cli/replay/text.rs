//! What came of a replay, as people read it.

use crate::cli::backtest::words::{age, figure, verdict_text};
use crate::engine::diagnosis::Diagnosis;
use crate::engine::time::Time;
use crate::engine::verdict::StreamEvidence;
use crate::engine::watch::Judgement;
use crate::offline::replay::{Again, Case, Difference, paired, stream_text};

/// By the recorded policy.
pub(super) fn same(case: &Case, again: &Again, differences: &[Difference]) -> String {
    let mut lines = vec![header(case)];
    lines.push(format!("recorded  {}", verdict_text(&case.recorded.verdict)));
    lines.push(format!("again     {}", verdict_text(&again.judgement.verdict)));
    if differences.is_empty() {
        let what =
            if case.recorded.rest.is_some() { "verdict, diagnosis and evidence" } else { "the verdict" };
        lines.push(format!("the same to the bit: {what}"));
    }
    for difference in differences {
        lines.push(format!("different: {}", difference.what));
        lines.push(format!("  recorded {}", difference.recorded));
        lines.push(format!("  again    {}", difference.again));
    }
    lines.join("\n")
}

/// By another policy.
pub(super) fn otherwise(case: &Case, again: &Again, otherwise: &Again, sets: &[String]) -> String {
    let mut lines = vec![header(case), format!("changed   {}", sets.join(", "))];
    let began = case.watch.start.at;
    for (name, of) in [("recorded ", again), ("changed  ", otherwise)] {
        lines.push(format!("by the {name} policy: {}", verdict_text(&of.judgement.verdict)));
        lines.push(format!("  first degraded {}", first(of.first_degraded.as_ref(), began)));
        lines.push(format!("  first blamed   {}", first(of.first_blamed.as_ref(), began)));
    }
    lines.push(effect(again, otherwise));
    lines.push(String::new());
    lines.push(format!(
        "{:<34} {:>10} {:>10} {:>9} {:>9}   evidence at the record, recorded and changed",
        "", "limit", "changed", "reached", "changed"
    ));
    lines.extend(paired(&again.evidence, &otherwise.evidence).into_iter().map(row));
    lines.join("\n")
}

fn header(case: &Case) -> String {
    format!(
        "record    {} of {}, release {}\nwatch     {} from {}, {} of {} stored facts",
        case.record.id,
        case.record.at,
        case.record.release,
        case.point.watch,
        case.watch.start.at,
        case.point.seq,
        case.watch.facts.len()
    )
}

fn first(of: Option<&Judgement>, began: Time) -> String {
    let Some(judgement) = of else { return "never in what is stored".to_owned() };
    let whose = judgement.diagnosis.as_ref().map_or("", Diagnosis::label);
    let after = age(judgement.at.since(began));
    format!("{after} after the watch began: {} {whose}", verdict_text(&judgement.verdict))
        .trim_end()
        .to_owned()
}

fn effect(again: &Again, otherwise: &Again) -> String {
    let at = |of: &Again| of.first_blamed.as_ref().map(|judgement| judgement.at);
    match (at(again), at(otherwise)) {
        (None, None) => "the release would not have been put back by either policy".to_owned(),
        (Some(_), None) => "the changed policy would not have blamed the release".to_owned(),
        (None, Some(_)) => "only the changed policy would have blamed the release".to_owned(),
        (Some(was), Some(is)) if is < was => {
            format!("the changed policy would have blamed the release {} sooner", age(was.since(is)))
        }
        (Some(was), Some(is)) if is > was => {
            format!("the changed policy would have blamed the release {} later", age(is.since(was)))
        }
        (Some(_), Some(_)) => "both policies blame the release at the same tick".to_owned(),
    }
}

fn row((was, is): (Option<&StreamEvidence>, Option<&StreamEvidence>)) -> String {
    let name = was.or(is).map(stream_text).unwrap_or_default();
    let limit = |of: Option<&StreamEvidence>| of.map_or_else(|| "-".to_owned(), |e| figure(e.name, e.limit));
    let reached = |of: Option<&StreamEvidence>| {
        of.map_or_else(|| "-".to_owned(), |e| format!("{:.0} %", e.progress() * 100.0))
    };
    format!("{name:<34} {:>10} {:>10} {:>9} {:>9}", limit(was), limit(is), reached(was), reached(is))
}
