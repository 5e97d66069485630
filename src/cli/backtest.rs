//! `outrigger backtest`: every stored watch judged again by the configured policy.
//!
//! It knows how that is asked for and shown; what is judged, and how, is `offline`'s and the engine's.

pub(super) mod words;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Args;
use serde_json::{Value, json};

use crate::cli::backtest::words::{age, verdict_text};
use crate::cli::replay::{Refused, StoreArgs};
use crate::cli::{EXIT_FAILED, print};
use crate::engine::diagnosis::Diagnosis;
use crate::offline::backtest::{Backtest, Outcome, Raise, Stored};
use crate::store::wire::diagnosis::DiagnosisDoc;
use crate::store::wire::verdict::VerdictDoc;

/// Threads at most; half of the processors otherwise, for the app runs beside.
const THREADS_MAX: usize = 4;

/// Judges all stored watches again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  outrigger backtest\n  outrigger backtest --config stricter.toml --json\n\nThe policy is that of the configuration as `outrigger run` would read it; without one, the defaults. The store is read\nas it is, also beside a running agent, and nothing is changed."
)]
pub(super) struct BacktestArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub(super) fn backtest(args: &BacktestArgs) -> ExitCode {
    match tested(args) {
        Ok(text) => print(&text),
        Err(refused) => {
            eprintln!("{}", refused.text);
            ExitCode::from(refused.code)
        }
    }
}

fn tested(args: &BacktestArgs) -> Result<String, Refused> {
    let (loaded, archive) = args.store.open()?;
    let stored = Stored::read(archive).map_err(|error| Refused {
        code: EXIT_FAILED,
        text: format!("outrigger: could not {:#}", anyhow::Error::from(error)),
    })?;
    let threads = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).clamp(1, THREADS_MAX));
    let (all, judged, shows) = (stored.len(), AtomicUsize::new(0), std::io::stderr().is_terminal());
    let progress = || {
        let judged = judged.fetch_add(1, Ordering::Relaxed) + 1;
        if shows {
            let mut to = std::io::stderr().lock();
            let end = if judged == all { "\n" } else { "" };
            // Nothing hangs on whether it can be seen.
            let _ = write!(to, "\r{judged} of {all} watches judged{end}").and_then(|()| to.flush());
        }
    };
    let tested = stored.judge(&loaded.config.policy, threads, &progress);
    Ok(if args.json { json_of(&tested).to_string() } else { text(&tested) })
}

/// Healthy on record, and blamed by this policy.
fn false_alarms(of: &Backtest) -> usize {
    of.outcomes.iter().filter(|o| o.was_well() && o.first_blamed.is_some()).count()
}

fn text(of: &Backtest) -> String {
    if of.outcomes.is_empty() && of.unreadable.is_empty() {
        return "no watch is stored: an agent that judges stores one for each release that it sees"
            .to_owned();
    }
    let mut lines = vec![format!(
        "{:<16} {:<20} {:<20} {:>6} {:>9}  {:<24} {:<32} {:>9}  {:<11} {}",
        "watch",
        "release",
        "began",
        "ticks",
        "requests",
        "recorded",
        "now",
        "degraded",
        "diagnosis",
        "would roll back"
    )];
    lines.extend(of.outcomes.iter().map(row));
    lines.extend(
        of.outcomes
            .iter()
            .filter_map(|o| Some(format!("watch {}: judged only up to there: {}", o.watch, o.gap.as_ref()?))),
    );
    lines.extend(of.unreadable.iter().map(|(watch, why)| format!("watch {watch}: not judged: {why}")));
    lines.push(String::new());
    lines.push(summary(of));
    let well = of.outcomes.iter().filter(|o| o.was_well());
    let closest = well.filter_map(|o| o.closest.as_ref().map(|(share, name)| (*share, name, &o.watch)));
    if let Some((share, name, watch)) = closest.max_by(|(a, ..), (b, ..)| a.total_cmp(b)) {
        lines.push(format!(
            "Of the healthy ones, {watch} came closest to an alarm: {name}, {:.0} % of the limit.",
            share * 100.0
        ));
    }
    lines.extend(of.raises.iter().map(raise));
    lines.join("\n")
}

fn row(o: &Outcome) -> String {
    let recorded = o.recorded.verdict.as_ref().map_or_else(|| "-".to_owned(), |v| v.label().to_owned());
    let acted = if o.recorded.rolled_back { ", rolled back" } else { "" };
    let degraded = o.first_degraded.as_ref().map_or_else(|| "-".to_owned(), |(at, _)| age(at.since(o.began)));
    format!(
        "{:<16} {:<20} {:<20} {:>6} {:>9}  {:<24} {:<32} {:>9}  {:<11} {}",
        o.watch.as_str(),
        words::cut(o.release.as_str(), 20),
        o.began.to_string(),
        o.ticks,
        o.requests,
        format!("{recorded}{acted}"),
        verdict_text(&o.verdict),
        degraded,
        o.diagnosis.as_ref().map_or("-", Diagnosis::label),
        if o.first_blamed.is_some() { "yes" } else { "no" }
    )
}

fn summary(of: &Backtest) -> String {
    let well = of.outcomes.iter().filter(|o| o.was_well()).count();
    let ill: Vec<&Outcome> = of.outcomes.iter().filter(|o| o.was_ill()).collect();
    let found = ill.iter().filter(|o| o.first_blamed.is_some()).count();
    let (all, ill) = (of.outcomes.len(), ill.len());
    let mut said = format!(
        "{all} watches judged: of {well} healthy ones {} would have been rolled back, of {ill} degraded ones {found}.",
        false_alarms(of)
    );
    if all > well + ill {
        said.push_str(&format!(" Of {} others no record tells a verdict.", all - well - ill));
    }
    said
}

fn raise(of: &Raise) -> String {
    let watches = of.watches.len();
    match of.to {
        Some(to) => format!(
            "Recommended: raise {} from {} to {to}; {watches} healthy watches exceed it now, none would then.",
            of.option, of.from
        ),
        None => format!(
            "{watches} healthy watches exceed {} = {}, and would at three times that; look at what they saw.",
            of.option, of.from
        ),
    }
}

fn json_of(of: &Backtest) -> Value {
    let watches: Vec<Value> = of.outcomes.iter().map(outcome).collect();
    let unreadable: Vec<Value> =
        of.unreadable.iter().map(|(watch, why)| json!({ "watch": watch.as_str(), "why": why })).collect();
    let raises: Vec<Value> = of
        .raises
        .iter()
        .map(|raise| {
            let watches: Vec<&str> = raise.watches.iter().map(|watch| watch.as_str()).collect();
            json!({ "option": raise.option, "from": raise.from, "to": raise.to, "watches": watches })
        })
        .collect();
    json!({
        "watches": watches,
        "not_judged": unreadable,
        "healthy": of.outcomes.iter().filter(|o| o.was_well()).count(),
        "healthy_rolled_back": false_alarms(of),
        "raises": raises,
    })
}

fn outcome(o: &Outcome) -> Value {
    let degraded_ms = o.first_degraded.as_ref().map(|(at, _)| at.since(o.began).as_millis() as u64);
    json!({
        "watch": o.watch.as_str(),
        "release": o.release.as_str(),
        "began": o.began.to_string(),
        "ticks": o.ticks,
        "requests": o.requests,
        "recorded": o.recorded.verdict.as_ref().map(VerdictDoc::from),
        "was_degraded": o.recorded.was_degraded,
        "rolled_back": o.recorded.rolled_back,
        "verdict": VerdictDoc::from(&o.verdict),
        "diagnosis": o.diagnosis.as_ref().map(DiagnosisDoc::from),
        "degraded_after_ms": degraded_ms,
        "would_roll_back": o.first_blamed.is_some(),
        "closest": o.closest.as_ref().map(|(share, stream)| json!({ "share": share, "stream": stream })),
        "gap": o.gap,
    })
}
