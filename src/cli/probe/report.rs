//! What came of asking by hand, for people and as JSON: the answer, where the time went, what was learnt, and what the agent
//! would make of it.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::probes::{Probe, Why};
use crate::engine::health::{FactValue, Found, Health, Round, Standing, Thresholds};

/// The width of the longest bar, in characters.
const BAR_MAX: usize = 32;
/// The most rounds that are told one by one; of more the last ones are.
const TOLD_MAX: usize = 20;

/// A probe, and the rounds that it made.
pub(super) struct Asked<'a> {
    pub(super) probe: &'a Probe,
    pub(super) rounds: &'a [Round],
}

/// The state that a round speaks for.
const fn state(found: Found) -> Health {
    match found {
        Found::Well => Health::Ok,
        Found::Impaired => Health::Degraded,
        Found::Failed => Health::Failed,
        Found::Unable => Health::Unknown,
    }
}

/// What the agent would call it after these rounds alone.
fn after(asked: &Asked<'_>) -> Health {
    let Probe { failure_threshold: failure, success_threshold: success, .. } = *asked.probe;
    let began = asked.rounds.first().map(|round| round.at).unwrap_or_default();
    let mut standing = Standing::new(began, Thresholds { failure, success });
    for round in asked.rounds {
        standing.see(round.at, round.found);
    }
    standing.health()
}

fn source(probe: &Probe) -> String {
    match &probe.why {
        Why::Found(variable) => (*variable).to_owned(),
        Why::Configured(origin) => origin.to_string(),
    }
}

/// The report on one probe.
pub(super) fn text(asked: &Asked<'_>) -> String {
    let Asked { probe, rounds } = asked;
    let mut out = String::new();
    let _ = writeln!(out, "{}  {}  {}  ({})", probe.name, probe.ask.kind(), probe.target, source(probe));
    if rounds.len() > 1 {
        several(&mut out, rounds);
    }
    let Some(last) = rounds.last() else { return out };
    let _ = writeln!(out, "\n{}", said(last));
    phases(&mut out, last);
    facts(&mut out, last);
    let _ = write!(out, "\n{}", outlook(asked));
    out
}

/// The last round in one sentence.
fn said(round: &Round) -> String {
    let why = &round.why;
    let latency = round.latency.map(millis).unwrap_or_default();
    match round.found {
        Found::Well => format!("ok: it answered in {latency}"),
        Found::Impaired => format!("degraded: it answered in {latency}, and {why}"),
        Found::Failed => format!("failed: {why}"),
        Found::Unable => format!("could not be asked: {why}"),
    }
}

fn several(out: &mut String, rounds: &[Round]) {
    let _ = writeln!(out);
    let untold = rounds.len().saturating_sub(TOLD_MAX);
    if untold > 0 {
        let _ = writeln!(out, "  ... {untold} rounds before");
    }
    for (i, round) in rounds.iter().enumerate().skip(untold) {
        let _ = writeln!(out, "  {:>4}  {}", i + 1, said(round));
    }
    let mut latencies: Vec<Duration> = rounds.iter().filter_map(|round| round.latency).collect();
    latencies.sort_unstable();
    let bad = rounds.iter().filter(|round| round.found != Found::Well).count();
    let _ = write!(out, "\n{} rounds, {bad} not well", rounds.len());
    if let (Some(first), Some(last)) = (latencies.first(), latencies.last()) {
        let middle = latencies[latencies.len() / 2];
        let _ = write!(
            out,
            "; latency {} at least, {} in the middle, {} at most",
            millis(*first),
            millis(middle),
            millis(*last)
        );
    }
    let _ = writeln!(out, "\n\nthe last of them:");
}

/// Where the time went: a bar a phase, the longest the full width.
fn phases(out: &mut String, round: &Round) {
    if round.phases.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nwhere the time went, {} in all:", millis(round.took));
    let longest = round.phases.iter().map(|phase| phase.took).max().unwrap_or_default().as_secs_f64();
    let width = round.phases.iter().map(|phase| phase.name.len()).max().unwrap_or_default();
    for phase in &round.phases {
        let share = if longest > 0.0 { phase.took.as_secs_f64() / longest } else { 0.0 };
        // What took any time is seen.
        let length = ((share * BAR_MAX as f64).round() as usize).max(usize::from(!phase.took.is_zero()));
        let (took, bar) = (millis(phase.took), "█".repeat(length));
        let line = format!("  {:width$}  {took:>10}  {bar}", phase.name);
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

fn facts(out: &mut String, round: &Round) {
    if round.facts.is_empty() {
        return;
    }
    let _ = writeln!(out, "\nwhat was learnt:");
    let width = round.facts.iter().map(|fact| fact.name.len()).max().unwrap_or_default();
    for fact in &round.facts {
        let value = match &fact.value {
            FactValue::Number(number) => number.to_string(),
            FactValue::Text(text) => text.clone(),
            FactValue::Truth(truth) => if *truth { "yes" } else { "no" }.to_owned(),
        };
        let _ = writeln!(out, "  {:width$}  {value}", fact.name);
    }
}

/// What the agent would do about it.
fn outlook(asked: &Asked<'_>) -> String {
    let Asked { probe, rounds } = asked;
    let found = rounds.last().map_or(Found::Unable, |round| round.found);
    let every = humantime::format_duration(probe.interval);
    let Probe { failure_threshold: failure, success_threshold: success, .. } = **probe;
    let rows = |count: u32| {
        if count == 1 { "one such round".to_owned() } else { format!("{count} such rounds in a row") }
    };
    let makes = |count: u32| if count == 1 { "makes" } else { "make" };
    let mut text = format!("The agent asks every {every}. ");
    let _ = match found {
        Found::Well => write!(
            text,
            "One such round makes it ok at the start; after a failure it takes {success} in a row."
        ),
        Found::Impaired => {
            write!(
                text,
                "{} {} it degraded, which is told and alarms nobody by itself.",
                rows(failure),
                makes(failure)
            )
        }
        Found::Failed => write!(
            text,
            "{} {} it failed; {}a release is not blamed for errors meanwhile.",
            rows(failure),
            makes(failure),
            if probe.critical {
                "it is critical, so the deep health page then answers 503, and "
            } else {
                ""
            }
        ),
        Found::Unable => write!(
            text,
            "This is evidence against nobody: {} {} its state unknown. What is to be put right is on this side.",
            rows(failure),
            makes(failure)
        ),
    };
    if rounds.len() > 1 {
        let _ =
            write!(text, " After these {} rounds it would call it {}.", rounds.len(), after(asked).label());
    }
    text
}

/// Without any probe.
pub(super) fn nothing(left_out: &[String]) -> String {
    let mut text = "no probe is configured, and no variable names a database that can be asked; give a URL, or a section such \
                    as [probe.orders] in outrigger.toml"
        .to_owned();
    for line in left_out {
        let _ = write!(text, "\n  left out: {line}");
    }
    text
}

/// All of it for machines.
pub(super) fn json(all: &[Asked<'_>], worst: Found) -> Value {
    let probes: Vec<Value> = all
        .iter()
        .map(|asked| {
            let Asked { probe, rounds } = asked;
            json!({
                "name": probe.name,
                "kind": probe.ask.kind(),
                "target": probe.target,
                "source": source(probe),
                "critical": probe.critical,
                "state": state(super::worst(rounds.iter())).label(),
                "after": after(asked).label(),
                "rounds": rounds.iter().map(round_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({ "state": state(worst).label(), "probes": probes })
}

fn round_json(round: &Round) -> Value {
    let ms = |took: Duration| took.as_micros() as f64 / 1000.0;
    let facts = round.facts.iter().map(|fact| {
        let value = match &fact.value {
            FactValue::Number(number) => json!(number),
            FactValue::Text(text) => json!(text),
            FactValue::Truth(truth) => json!(truth),
        };
        (fact.name.to_owned(), value)
    });
    json!({
        "found": state(round.found).label(),
        "took_ms": ms(round.took),
        "latency_ms": round.latency.map(ms),
        "why": round.why,
        "phases": round.phases.iter().map(|phase| json!({ "name": phase.name, "ms": ms(phase.took) })).collect::<Vec<_>>(),
        "facts": facts.collect::<serde_json::Map<_, _>>(),
    })
}

fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_micros() as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use crate::config::probes::{Ask, Server};
    use crate::engine::health::{Fact, Phase};
    use crate::engine::time::Time;

    fn probe() -> Probe {
        Probe {
            name: "db".to_owned(),
            why: Why::Configured(Origin::Flag("outrigger probe")),
            target: "tcp://db:5432".to_owned(),
            ask: Ask::Tcp(Server { host: "db".to_owned(), port: 5432 }),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            failure_threshold: 3,
            success_threshold: 2,
            critical: true,
            degraded_above: None,
            failed_above: None,
        }
    }

    fn round(found: Found, why: &str) -> Round {
        let latency = (found != Found::Failed).then_some(Duration::from_micros(8000));
        Round {
            at: Time::default(),
            took: Duration::from_micros(9000),
            found,
            latency,
            phases: vec![
                Phase { name: "resolve", took: Duration::from_micros(1000) },
                Phase { name: "connect", took: Duration::from_micros(8000) },
            ],
            facts: vec![Fact { name: "address", value: FactValue::Text("10.0.0.5:5432".to_owned()) }],
            why: why.to_owned(),
        }
    }

    #[test]
    fn a_good_round_is_told_with_its_times_and_facts() {
        let (probe, rounds) = (probe(), [round(Found::Well, "")]);
        let expected = "\
db  tcp  tcp://db:5432  (outrigger probe)

ok: it answered in 8.0 ms

where the time went, 9.0 ms in all:
  resolve      1.0 ms  ████
  connect      8.0 ms  ████████████████████████████████

what was learnt:
  address  10.0.0.5:5432

The agent asks every 5s. One such round makes it ok at the start; after a failure it takes 2 in a row.";
        assert_eq!(text(&Asked { probe: &probe, rounds: &rounds }), expected);
    }

    #[test]
    fn a_failure_says_what_would_follow() {
        let probe = probe();
        let rounds = [round(Found::Failed, "db:5432 refused the connection"), round(Found::Failed, "again")];
        let told = text(&Asked { probe: &probe, rounds: &rounds });
        for part in [
            "     1  failed: db:5432 refused the connection\n     2  failed: again\n",
            "2 rounds, 2 not well\n",
            "3 such rounds in a row make it failed; it is critical, so the deep health page then answers 503, and a \
             release is not blamed for errors meanwhile. After these 2 rounds it would call it unknown.",
        ] {
            assert!(told.contains(part), "{part:?} is not in:\n{told}");
        }
    }

    #[test]
    fn json_is_one_object() {
        let (probe, rounds) = (probe(), [round(Found::Impaired, "slow")]);
        let told = json(&[Asked { probe: &probe, rounds: &rounds }], Found::Impaired);
        let expected = json!({ "state": "degraded", "probes": [{
            "name": "db", "kind": "tcp", "target": "tcp://db:5432", "source": "outrigger probe", "critical": true,
            "state": "degraded", "after": "unknown",
            "rounds": [{
                "found": "degraded", "took_ms": 9.0, "latency_ms": 8.0, "why": "slow",
                "phases": [{ "name": "resolve", "ms": 1.0 }, { "name": "connect", "ms": 8.0 }],
                "facts": { "address": "10.0.0.5:5432" },
            }],
        }] });
        assert_eq!(told, expected);
    }
}
