//! The metrics of the probes: at most 64 of them with about 50 series each.

use prometheus::proto::{MetricFamily, MetricType};

use crate::admin::live::Live;
use crate::admin::metrics::{counter, cumulative, family, flag, gauge, histogram, labelled};
use crate::admin::probes::word;
use crate::engine::health::{Fact, FactValue, Found, Health};
use crate::engine::window::SPREAD_BOUNDS_US;

const STATES: [Health; 4] = [Health::Ok, Health::Degraded, Health::Failed, Health::Unknown];
const FOUND: [Found; 4] = [Found::Well, Found::Impaired, Found::Failed, Found::Unable];

pub(super) fn families(live: &Live) -> Vec<MetricFamily> {
    let (mut info, mut status, mut rounds, mut latencies, mut facts) =
        (vec![], vec![], vec![], vec![], vec![]);
    for state in &live.probes {
        let probe = ("probe", &*state.name);
        let critical = if state.critical { "true" } else { "false" };
        info.push((vec![probe, ("kind", state.kind), ("critical", critical)], 1.0));
        for is in STATES {
            status.push((vec![probe, ("status", is.label())], flag(is == state.health)));
        }
        for found in FOUND {
            let count = state.rounds[found as usize];
            rounds.push((vec![probe, ("found", word(found))], count as f64));
        }
        let counted = cumulative(&SPREAD_BOUNDS_US, &state.answers.counts);
        let metric = histogram(counted, state.answers.count(), state.answers.sum_us as f64 / 1e6);
        latencies.push(labelled(metric, vec![probe]));
        let known = state.last.iter().flat_map(|round| &round.facts);
        facts.extend(known.filter_map(|fact| Some((vec![probe, ("fact", fact.name)], figure(fact)?))));
    }
    vec![
        gauge("outrigger_probe_info", "The probes that run.", info),
        gauge("outrigger_probe_status", "1 for the state that a dependency is in.", status),
        counter("outrigger_probe_rounds_total", "Rounds of asking, by what they came to.", rounds),
        family(
            "outrigger_probe_latency_seconds",
            "How long a dependency took to answer.",
            MetricType::HISTOGRAM,
            latencies,
        ),
        gauge(
            "outrigger_probe_fact",
            "What the last round found, as a number; its unit is at the end of the fact's name.",
            facts,
        ),
    ]
}

fn figure(fact: &Fact) -> Option<f64> {
    match fact.value {
        FactValue::Number(number) => Some(number),
        FactValue::Truth(truth) => Some(flag(truth)),
        FactValue::Text(_) => None,
    }
}
