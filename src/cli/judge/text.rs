//! The judgement as a table, a chart of three rows, and words.

use std::io::{self, Write};

use crate::cli::judge::chart::sparkline;
use crate::cli::judge::figures::{age, latency, percent, stream_key};
use crate::cli::judge::words;
use crate::engine::diagnosis::Diagnosis;
use crate::engine::policy::Policy;
use crate::engine::verdict::StreamEvidence;
use crate::offline::judge::{Judging, Moment};

/// Rows of the table that are there for the sake of time: one a minute, or fewer where there would be more.
const ROWS_MAX: u64 = 40;
/// Rows that are there because something changed; more are left out, and counted.
const CHANGES_MAX: usize = 60;
/// The longest name in the last column, in characters; the rest is cut.
const NEAREST_CHARS_MAX: usize = 48;

const HEAD: [&str; 9] =
    ["T", "VERDICT", "DIAGNOSIS", "REQUESTS", "ERRORS", "P50", "P99", "EVIDENCE", "NEAREST"];

/// What is kept of a tick.
struct Row {
    t: f64,
    cells: [String; 9],
    is_change: bool,
}

/// One row of the chart.
#[derive(Default)]
struct Series {
    progress: Vec<Option<f64>>,
    errors: Vec<Option<f64>>,
    p99: Vec<Option<f64>>,
}

pub(super) fn write(judging: &mut Judging, policy: &Policy, out: &mut impl Write) -> io::Result<()> {
    let (mut rows, mut series) = (Vec::<Row>::new(), Series::default());
    let mut before = None;
    for moment in judging.by_ref() {
        let now =
            (moment.judgement.verdict.label(), moment.judgement.diagnosis.as_ref().map(Diagnosis::label));
        series.add(&moment);
        rows.push(Row { t: moment.t, cells: cells(&moment), is_change: before != Some(now) });
        before = Some(now);
    }
    table(&rows, out)?;
    series.write(out)?;
    writeln!(out)?;
    for said in
        judging.summary().iter().flat_map(|summary| words::summary(summary, policy, &|at| judging.t(at)))
    {
        writeln!(out, "{said}")?;
    }
    Ok(())
}

fn cells(moment: &Moment) -> [String; 9] {
    let (tick, judgement) = (&moment.tick, &moment.judgement);
    let at = |q: f64| tick.latencies.quantile(q).map_or_else(|| "-".to_owned(), |us| latency(us as f64));
    let share = |k: u64, n: u64| if n == 0 { "-".to_owned() } else { percent(k as f64 / n as f64) };
    let nearest = moment.evidence.iter().max_by(|a, b| a.progress().total_cmp(&b.progress()));
    let nearest = nearest.filter(|stream| stream.progress() > 0.0);
    [
        age(moment.t),
        judgement.verdict.label().to_owned(),
        judgement.diagnosis.as_ref().map_or("-", Diagnosis::label).to_owned(),
        tick.judged.to_string(),
        share(tick.failed, tick.judged),
        at(0.50),
        at(0.99),
        nearest.map_or_else(|| "-".to_owned(), |stream| percent(stream.progress())),
        nearest.map_or_else(|| "-".to_owned(), short),
    ]
}

fn short(stream: &StreamEvidence) -> String {
    let name = stream_key(stream);
    if name.chars().count() <= NEAREST_CHARS_MAX {
        return name;
    }
    name.chars().take(NEAREST_CHARS_MAX - 3).chain("...".chars()).collect()
}

/// The rows to show: changes, the last, and one each so many minutes.
fn thinned(rows: &[Row]) -> (Vec<&Row>, usize) {
    let last = rows.last().map_or(0.0, |row| row.t);
    let minutes = ((last / 60.0) as u64 / ROWS_MAX + 1) as f64;
    let (mut shown, mut changes, mut left_out) = (Vec::new(), 0, 0);
    let mut next = 0.0;
    for (i, row) in rows.iter().enumerate() {
        let is_due = row.t >= next || i + 1 == rows.len();
        changes += usize::from(row.is_change);
        if row.is_change && !is_due && changes > CHANGES_MAX {
            left_out += 1;
        } else if row.is_change || is_due {
            shown.push(row);
        }
        if is_due {
            next = ((row.t / 60.0 / minutes).floor() + 1.0) * 60.0 * minutes;
        }
    }
    (shown, left_out)
}

fn table(rows: &[Row], out: &mut impl Write) -> io::Result<()> {
    let (shown, left_out) = thinned(rows);
    let head = HEAD.map(str::to_owned);
    let lines: Vec<&[String; 9]> = std::iter::once(&head).chain(shown.iter().map(|row| &row.cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            // Figures stand to the right, names to the left.
            let is_figure = matches!(column, 0 | 3..=7);
            let cell = if is_figure { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            text.push_str(&cell);
        }
        writeln!(out, "{}", text.trim_end())?;
    }
    if left_out > 0 {
        writeln!(out, "... and {left_out} changes more")?;
    }
    writeln!(out)
}

impl Series {
    fn add(&mut self, moment: &Moment) {
        let tick = &moment.tick;
        self.progress.push(Some(moment.progress()));
        self.errors.push((tick.judged > 0).then(|| tick.failed as f64 / tick.judged as f64));
        self.p99.push(tick.latencies.quantile(0.99).map(|us| us as f64));
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let most = |figures: &[Option<f64>]| figures.iter().flatten().copied().reduce(f64::max);
        writeln!(out, "evidence  {}  full: a limit is reached", sparkline(&self.progress, 1.0))?;
        if let Some(errors) = most(&self.errors) {
            writeln!(out, "errors    {}  at most {}", sparkline(&self.errors, errors), percent(errors))?;
        }
        if let Some(p99) = most(&self.p99) {
            writeln!(out, "p99       {}  at most {}", sparkline(&self.p99, p99), latency(p99))?;
        }
        Ok(())
    }
}
