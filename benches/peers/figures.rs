//! The figures: kept by round, shown as medians and as ratios to nginx.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::load::Traffic;
use crate::subject::Subject;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Cpu,
    Instructions,
    SystemCalls,
    P50,
    AddedP50,
    P99,
    AddedP99,
    ResidentIdle,
    ResidentFew,
    ResidentMany(usize),
    PerConnection,
}

impl Measure {
    fn title(self) -> String {
        match self {
            Self::Cpu => "CPU time a request, us".to_owned(),
            Self::Instructions => "user instructions a request".to_owned(),
            Self::SystemCalls => "system calls a request".to_owned(),
            Self::P50 => "p50, us".to_owned(),
            Self::AddedP50 => "p50 over direct, us".to_owned(),
            Self::P99 => "p99, us".to_owned(),
            Self::AddedP99 => "p99 over direct, us".to_owned(),
            Self::ResidentIdle => "RSS idle, MiB".to_owned(),
            Self::ResidentFew => "RSS, 64 idle connections, MiB".to_owned(),
            Self::ResidentMany(connections) => format!("RSS, {connections} idle connections, MiB"),
            Self::PerConnection => "an idle connection, KiB".to_owned(),
        }
    }

    fn decimals(self) -> usize {
        match self {
            Self::Instructions => 0,
            Self::SystemCalls => 2,
            Self::Cpu
            | Self::P50
            | Self::AddedP50
            | Self::P99
            | Self::AddedP99
            | Self::ResidentIdle
            | Self::ResidentFew
            | Self::ResidentMany(_)
            | Self::PerConnection => 1,
        }
    }
}

/// `None`: memory, which belongs to no traffic.
type Key = (Option<Traffic>, Measure, Subject);

#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// One value a round.
    values: BTreeMap<Key, Vec<f64>>,
    /// Which system calls, in the last round.
    calls: BTreeMap<(Traffic, Subject), BTreeMap<String, f64>>,
    /// Why a figure is missing.
    notes: BTreeSet<String>,
}

impl Figures {
    pub(crate) fn push(&mut self, traffic: Option<Traffic>, measure: Measure, subject: Subject, value: f64) {
        self.values.entry((traffic, measure, subject)).or_default().push(value);
    }

    pub(crate) fn calls(&mut self, traffic: Traffic, subject: Subject, calls: BTreeMap<String, f64>) {
        self.calls.insert((traffic, subject), calls);
    }

    pub(crate) fn note(&mut self, note: String) {
        self.notes.insert(note);
    }

    /// After a round: what each proxy took longer than the upstream itself.
    pub(crate) fn add_latency_over_direct(&mut self, traffic: Traffic) {
        for (of, over) in [(Measure::P50, Measure::AddedP50), (Measure::P99, Measure::AddedP99)] {
            let last = |figures: &Self, subject| {
                figures.values.get(&(Some(traffic), of, subject)).and_then(|v| v.last().copied())
            };
            let Some(direct) = last(self, Subject::Direct) else { continue };
            for subject in Subject::PROXIES {
                if let Some(value) = last(self, subject) {
                    self.push(Some(traffic), over, subject, value - direct);
                }
            }
        }
    }

    /// A line a measure, a column a subject: the median, and in brackets the ratio to nginx, min/median/max of the rounds.
    pub(crate) fn table(&self) -> String {
        let mut table = String::new();
        for traffic in Traffic::ALL.map(Some).into_iter().chain([None]) {
            let mut measures: Vec<Measure> = self
                .values
                .keys()
                .filter(|(of, ..)| *of == traffic)
                .map(|(_, measure, _)| *measure)
                .collect();
            measures.dedup();
            measures.sort_unstable();
            measures.dedup();
            if measures.is_empty() {
                continue;
            }
            let _ = write!(table, "\n{:<32}", traffic.map_or("Memory", Traffic::title));
            Subject::ALL.iter().for_each(|subject| {
                let _ = write!(table, "{:>29}", subject.name());
            });
            table.push('\n');
            for measure in measures {
                let _ = write!(table, "{:<32}", measure.title());
                for subject in Subject::ALL {
                    let _ = write!(table, "{:>29}", self.cell(traffic, measure, subject));
                }
                table.push('\n');
            }
        }
        table.push_str("\nIn brackets: the ratio to nginx in the same round, lowest/median/highest.\n");
        table.push_str("nginx's memory is that of its one process, without a master.\n");
        self.notes.iter().for_each(|note| {
            let _ = writeln!(table, "{note}");
        });
        table
    }

    fn cell(&self, traffic: Option<Traffic>, measure: Measure, subject: Subject) -> String {
        let Some(values) = self.values.get(&(traffic, measure, subject)) else { return "-".to_owned() };
        let decimals = measure.decimals();
        let shown = format!("{:.decimals$}", spread(values).1);
        if subject == Subject::Nginx {
            return format!("{shown} (1)           ");
        }
        let ratios = self.ratios(traffic, measure, values);
        if ratios.is_empty() {
            return format!("{shown} (-)           ");
        }
        let (min, median, max) = spread(&ratios);
        format!("{shown} ({min:.2}/{median:.2}/{max:.2})")
    }

    /// To nginx, round by round; none where nginx's own figure is not above zero.
    fn ratios(&self, traffic: Option<Traffic>, measure: Measure, values: &[f64]) -> Vec<f64> {
        let Some(nginx) = self.values.get(&(traffic, measure, Subject::Nginx)) else { return Vec::new() };
        values
            .iter()
            .zip(nginx)
            .filter(|(_, nginx)| **nginx > 0.0)
            .map(|(value, nginx)| value / nginx)
            .collect()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let figure = |((traffic, measure, subject), values): (&Key, &Vec<f64>)| {
            serde_json::json!({
                "traffic": traffic.map(Traffic::title),
                "measure": measure.title(),
                "subject": subject.name(),
                "rounds": values,
                "ratios_to_nginx": self.ratios(*traffic, *measure, values),
            })
        };
        let calls = |((traffic, subject), calls): (&(Traffic, Subject), &BTreeMap<String, f64>)| {
            let calls: BTreeMap<&String, &f64> = calls.iter().filter(|(_, count)| **count > 0.005).collect();
            serde_json::json!({ "traffic": traffic.title(), "subject": subject.name(), "calls": calls })
        };
        serde_json::json!({
            "measures": self.values.iter().map(figure).collect::<Vec<_>>(),
            "system_calls": self.calls.iter().map(calls).collect::<Vec<_>>(),
        })
    }
}

/// Lowest, median, highest. There is one at least: who has no value has no entry.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1])
}
