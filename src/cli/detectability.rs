//! `outrigger detectability`: what the judge could find at this service's traffic, as a table.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::{EXIT_FAILED, EXIT_USAGE, judge, print};
use crate::engine::baseline::Baseline;
use crate::engine::policy::Policy;
use crate::offline::detectability::{Kind, Smallest, WITHIN, smallest, usual_rate};

const AFTER_HELP: &str = "\
The baseline is a file of ticks as `outrigger judge` reads them (docs/JUDGE_INPUT.md).
The table says which fault would be called, with a probability of 90 %, within 30, 120
and 600 seconds of judged traffic in which it was there from the first second; found by
simulating 60 watches for each size.

Example:
  outrigger detectability --baseline day.jsonl
  outrigger detectability --baseline day.jsonl --rate 5 --rate 50

Exit codes: 0; 1 the baseline is too small to judge by; 64 something is wrong with the input.";

/// What could be found.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DetectabilityArgs {
    /// What normal is: ticks of a release that was well; `-` is stdin
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// Judged requests a second; may be given several times [default: the baseline's own]
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Vec<f64>,
    /// The policy, from a configuration file; without it the defaults hold [default file: none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// The most requests a second that are simulated.
const RATE_MAX: f64 = 100_000.0;

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| *rate > 0.0 && *rate <= RATE_MAX);
    rate.ok_or_else(|| format!("is not a rate; give requests a second above 0, at most {RATE_MAX}"))
}

pub(super) fn detectability(args: &DetectabilityArgs) -> ExitCode {
    let (baseline, tick, policy) = match judge::read_baseline(&args.baseline, args.config.as_deref()) {
        Ok(read) => read,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if baseline.judged < policy.baseline_requests_min {
        let (held, needed) = (baseline.judged, policy.baseline_requests_min);
        eprintln!("outrigger: the baseline holds {held} judged requests; {needed} are needed to judge by it");
        return ExitCode::from(EXIT_FAILED);
    }
    let rates = if args.rate.is_empty() { vec![usual_rate(&baseline, tick)] } else { args.rate.clone() };
    let Some(rows) = rows(&baseline, &rates, &policy) else {
        eprintln!("outrigger: nothing can be judged by this baseline and policy");
        return ExitCode::from(EXIT_FAILED);
    };
    print(&if args.json { json(&rows) } else { table(&baseline, &rows) })
}

type Row = (f64, Vec<Smallest>);

fn rows(baseline: &Baseline, rates: &[f64], policy: &Policy) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for (n, &rate) in rates.iter().enumerate() {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            if std::io::stderr().is_terminal() {
                let (n, of) = (n + 1, rates.len());
                eprintln!("simulating {rate:.1} requests a second ({n} of {of}), {} ...", name(kind));
            }
            found.push(smallest(kind, baseline, rate, policy)?);
        }
        rows.push((rate, found));
    }
    Some(rows)
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Errors => "error_rate",
        Kind::Slower => "slowdown",
        Kind::SlowerTail => "tail_slowdown",
    }
}

fn json(rows: &[Row]) -> String {
    let of = |(rate, found): &Row| {
        let mut row = json!({ "requests_per_second": rate });
        for smallest in found {
            let mut sizes = serde_json::Map::new();
            for (within, size) in WITHIN.iter().zip(smallest.sizes) {
                sizes.insert(format!("within_{}s", within.as_secs()), json!(size));
            }
            row[name(smallest.kind)] = sizes.into();
        }
        row
    };
    json!({ "rows": rows.iter().map(of).collect::<Vec<_>>() }).to_string()
}

fn table(baseline: &Baseline, rows: &[Row]) -> String {
    let summary = baseline.summary();
    let ms = |us: Option<u64>| us.map_or("-".to_owned(), |us| format!("{:.1} ms", us as f64 / 1000.0));
    let mut lines = vec![format!(
        "Baseline: {} judged requests, {:.3} % failed, p50 {}, p99 {}.",
        baseline.judged,
        100.0 * baseline.error_rate(),
        ms(summary.p50_us),
        ms(summary.p99_us)
    )];
    lines.push("The smallest fault called with a probability of 90 %".to_owned());
    lines.push("within 30 / 120 / 600 s of judged traffic:\n".to_owned());
    let heads = ["requests/s", "failing requests", "all slower", "slowest 5 % slower"];
    lines.push(format!("{:>10}  {:>24}  {:>24}  {:>24}", heads[0], heads[1], heads[2], heads[3]));
    for (rate, found) in rows {
        let cells: Vec<String> = found.iter().map(cell).collect();
        lines.push(format!("{rate:>10.1}  {:>24}  {:>24}  {:>24}", cells[0], cells[1], cells[2]));
    }
    lines.join("\n")
}

fn cell(smallest: &Smallest) -> String {
    let one = |size: Option<f64>| match (size, smallest.kind) {
        (None, _) => "-".to_owned(),
        (Some(share), Kind::Errors) if share >= 0.1 => format!("{:.0}", 100.0 * share),
        (Some(share), Kind::Errors) => format!("{:.1}", 100.0 * share),
        (Some(factor), Kind::Slower | Kind::SlowerTail) => format!("{factor:.1}"),
    };
    let unit = if smallest.kind == Kind::Errors { " %" } else { "x" };
    format!("{}{unit}", smallest.sizes.map(one).join(" / "))
}
