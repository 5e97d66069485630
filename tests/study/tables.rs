//! The study's tables, in Markdown.

use crate::cases::{Case, Fault};
use crate::chance::{at_share, upper_95};
use crate::rivals::RIVALS;
use crate::run::{Alarms, Delays, Onset};

pub(crate) fn seconds(delay: Option<u64>) -> String {
    delay.map_or_else(|| "never".to_owned(), |s| s.to_string())
}

pub(crate) fn share(k: u64, n: u64) -> String {
    if k == 0 { format!("0 of {n}") } else { format!("{:.2} %", 100.0 * k as f64 / n as f64) }
}

pub(crate) fn rate(rate: f64) -> String {
    format!("{rate}")
}

pub(crate) fn alarms_head() -> String {
    let rivals = RIVALS.join(" | ");
    format!(
        "| healthy case | req/s | judge: blamed | at most (95 %) | other's fault | {rivals} |\n{}",
        "|---".repeat(5 + RIVALS.len()) + "|"
    )
}

pub(crate) fn alarms_row(case: &Case, at: f64, of: &Alarms, with_rivals: bool) -> String {
    let blamed = of.blamed.len() as u64;
    let show =
        |&k: &u64| if with_rivals { format!("{:.1} %", percent(k, of.watches)) } else { "-".to_owned() };
    let rivals: Vec<String> = of.rivals.iter().map(show).collect();
    format!(
        "| {} | {} | {} | {:.2} % | {:.1} % | {} |",
        case.name,
        rate(at),
        share(blamed, of.watches),
        100.0 * upper_95(of.watches, blamed),
        percent(of.excused, of.watches),
        rivals.join(" | ")
    )
}

fn percent(k: u64, n: u64) -> f64 {
    100.0 * k as f64 / n.max(1) as f64
}

pub(crate) fn delays_head() -> String {
    let rivals = RIVALS.join(" | ");
    format!(
        "| fault | shape | onset | req/s | judge: median / 95th | promised | {rivals} |\n{}",
        "|---".repeat(6 + RIVALS.len()) + "|"
    )
}

/// A row, and by how much the promise was missed, if it was.
pub(crate) fn delays_row(
    of: &Onset,
    fault: &Fault,
    delays: &Delays,
    promised: Promised,
    with_rivals: bool,
) -> (String, Option<String>) {
    let show = |list: &[Option<u64>]| {
        if list.is_empty() {
            return "-".to_owned();
        }
        format!("{} / {}", seconds(at_share(list, 0.5)), seconds(at_share(list, 0.95)))
    };
    let rival = |list: &Vec<_>| if with_rivals { show(list) } else { "-".to_owned() };
    let rivals: Vec<String> = delays.rivals.iter().map(rival).collect();
    let misses =
        |share: f64, most: Option<u64>| most.is_some_and(|most| is_later(&delays.judge, share, most));
    let is_missed = misses(0.5, promised.median) || misses(0.95, promised.late);
    let promise = match (promised.median, promised.late) {
        (Some(median), Some(late)) => format!("{median} / {late}"),
        (Some(median), None) => format!("{median}"),
        (None, _) => "-".to_owned(),
    };
    let mark = if is_missed { " **missed**" } else { "" };
    let row = format!(
        "| {} | {} | {} | {} | {}{mark} | {promise} | {} |",
        fault.name,
        of.shape.label(),
        onset(of.at_s),
        rate(of.rate),
        show(&delays.judge),
        rivals.join(" | ")
    );
    let miss = is_missed.then(|| format!("{row} <!-- {} -->", delays.how));
    (row, miss)
}

/// Whether so many watches took longer than `most` seconds that chance does not explain it (one in a thousand), if the
/// quantile at `share` is at most that.
fn is_later(delays: &[Option<u64>], share: f64, most: u64) -> bool {
    let late = delays.iter().filter(|delay| delay.is_none_or(|delay| delay > most)).count();
    let (n, p) = (delays.len(), 1.0 - share);
    let mut term = (1.0 - p).powi(n as i32);
    let mut fewer = 0.0;
    for k in 0..late {
        fewer += term;
        term *= (n - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
    }
    1.0 - fewer < 0.001
}

/// What a delay may be at most, in seconds of wall time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promised {
    pub(crate) median: Option<u64>,
    pub(crate) late: Option<u64>,
}

fn onset(at_s: u64) -> String {
    if at_s == 0 { "at start".to_owned() } else { format!("{} min", at_s / 60) }
}
