//! `outrigger judge`: recordings from files to a judgement on stdout. Knows how it is shown; what is judged, and how, is
//! `offline`'s and the engine's.

mod chart;
mod figures;
mod json;
mod text;
mod words;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::{EXIT_FAILED, EXIT_USAGE};
use crate::config::{self, Flags, Sources};
use crate::engine::baseline::Baseline;
use crate::engine::policy::Policy;
use crate::engine::verdict::{Undecided, Verdict};
use crate::offline::judge::{self as offline, Faults, Inputs, Judging, Recording, Summary};

/// With `--exit-code`: nothing was judged, or nothing could be.
const EXIT_NOT_JUDGED: u8 = 2;
/// The name that stands for stdin.
const STDIN: &str = "-";
/// Bytes that are read or written at once.
const BUFFER: usize = 256 * 1024;

const AFTER_HELP: &str = "\
Each file holds one JSON object a line, for one replica in one tick of some seconds:
  {\"t\": 5, \"requests\": 512, \"errors\": 1, \"latency_us\": [[8000, 480], [21000, 32]]}
docs/JUDGE_INPUT.md describes all fields, and what --json prints.

Examples:
  outrigger judge --baseline stable.jsonl --candidate new.jsonl
  outrigger judge --baseline day.jsonl --candidate canary.jsonl --control stable.jsonl --json
  collect | outrigger judge --baseline day.jsonl --candidate - --exit-code

Exit codes:
  0   judged, whatever the verdict
  1   with --exit-code: the release would have been put back
  2   with --exit-code: it could not be judged, or was still warming up
  64  something is wrong with the input; each fault is named with its line, and nothing was judged";

/// Judges recorded ticks.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct JudgeArgs {
    /// What normal is: ticks of a release that was well, at best of a day; `-` is stdin
    #[arg(long, value_name = "FILE")]
    baseline: PathBuf,
    /// The release to judge, its t counted from when it became ready; `-` is stdin
    #[arg(long, value_name = "FILE")]
    candidate: PathBuf,
    /// The stable release that ran beside the candidate in the same ticks; `-` is stdin
    #[arg(long, value_name = "FILE")]
    control: Option<PathBuf>,
    /// The policy, from a configuration file; without it the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One JSON object a tick, then one with the summary, instead of a table
    #[arg(long)]
    json: bool,
    /// End with exit code 1 where the release would have been put back, with 2 where it was not judged
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn judge(args: &JudgeArgs) -> ExitCode {
    let (inputs, policy) = match read(args) {
        Ok(read) => read,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let mut judging = Judging::begin(inputs, policy.clone());
    let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
    let written = if args.json {
        json::write(&mut judging, &policy, &mut out)
    } else {
        text::write(&mut judging, &policy, &mut out)
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => {}
        // That a reader has gone (`outrigger judge ... | head`) is no fault, and changes nothing about the verdict.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => judging.by_ref().for_each(drop),
        Err(error) => {
            eprintln!("outrigger: could not print the judgement: {error}");
            return ExitCode::from(EXIT_FAILED);
        }
    }
    ExitCode::from(if args.exit_code { judging.summary().map_or(EXIT_NOT_JUDGED, |s| gate(&s)) } else { 0 })
}

/// What a pipeline is told: a release that was not judged has not passed.
fn gate(summary: &Summary) -> u8 {
    if summary.blamed.is_some() || summary.hold_over.is_some() {
        return EXIT_FAILED;
    }
    match &summary.verdict {
        Verdict::NotJudgeable(_)
        | Verdict::Undecided(Undecided::Starting | Undecided::WarmingUp { .. } | Undecided::NoTraffic) => {
            EXIT_NOT_JUDGED
        }
        Verdict::Undecided(Undecided::Gathering | Undecided::Shared)
        | Verdict::Healthy
        | Verdict::Degraded { .. } => 0,
    }
}

/// All that is needed, or all that is wrong with it, one fault a line.
fn read(args: &JudgeArgs) -> Result<(Inputs, Policy), String> {
    let mut faults = Faults::default();
    let files = [Some(&args.baseline), Some(&args.candidate), args.control.as_ref()];
    if files.iter().flatten().filter(|path| is_stdin(path)).count() > 1 {
        faults.whole(STDIN, "stands for stdin, which can be read once; give the other recordings as files");
        return Err(faults.to_string());
    }
    let policy = policy(args.config.as_deref());
    let [baseline, candidate, control] = files.map(|path| recording(path?, &mut faults));
    let named = |path: &PathBuf| path.display().to_string();
    let inputs = match (baseline, candidate, faults.is_empty()) {
        (Some(baseline), Some(candidate), true) => {
            let control_name = args.control.as_ref().map(named).unwrap_or_default();
            let control = control.map(|control| (control_name.as_str(), control));
            Inputs::new(baseline, (&named(&args.candidate), candidate), control, &mut faults)
        }
        _ => None,
    };
    match (inputs, policy) {
        (Some(inputs), Ok(policy)) => Ok((inputs, policy)),
        (_, Err(wrong)) if faults.is_empty() => Err(wrong),
        (_, Err(wrong)) => Err(format!("{wrong}\n{faults}")),
        (None, Ok(_)) => Err(faults.to_string()),
    }
}

/// A baseline and the policy, for other commands, or all that is wrong with them.
pub(super) fn read_baseline(
    path: &Path,
    config: Option<&Path>,
) -> Result<(Baseline, Duration, Policy), String> {
    let mut faults = Faults::default();
    let policy = policy(config);
    let read = recording(path, &mut faults).filter(|_| faults.is_empty());
    match (read, policy) {
        (Some(read), Ok(policy)) => Ok((offline::baseline(&read), read.tick, policy)),
        (Some(_), Err(wrong)) => Err(wrong),
        (None, Ok(_)) => Err(faults.to_string()),
        (None, Err(wrong)) => Err(format!("{wrong}\n{faults}")),
    }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// `None` with a fault.
fn recording(path: &Path, faults: &mut Faults) -> Option<Recording> {
    if is_stdin(path) {
        return offline::read(STDIN, BufReader::with_capacity(BUFFER, io::stdin().lock()), faults);
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => offline::read(&name, BufReader::with_capacity(BUFFER, file), faults),
        Err(error) => {
            faults.whole(&name, &format!("cannot be read: {error}; name a readable file"));
            None
        }
    }
}

/// The policy of a configuration file, and of nothing else: what a judgement rests on must not hang on the surroundings.
fn policy(file: Option<&Path>) -> Result<Policy, String> {
    let Some(file) = file else { return Ok(Policy::default()) };
    let (file, directory) = (Some(file.to_owned()), PathBuf::new());
    let sources = Sources { file, directory, env: Vec::new(), flags: Flags::default() };
    config::load(sources).map(|loaded| loaded.config.policy).map_err(|faults| faults.to_string())
}
