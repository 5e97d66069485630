//! Arguments, log set-up, exit codes: what a person types and gets back.
//!
//! Exit codes are stable: 0 done, 1 failed, 64 wrong usage or configuration, 75 not now (locked, or under way); `probe` has a code a state; `run` passes on the app's own code, 126 and
//! 127 where it could not be started, and 128 + n where signal n ended it, as a shell would.

mod alerts;
mod backtest;
mod check;
pub mod demo;
mod detectability;
mod doctor;
pub mod explain;
pub mod gate;
mod healthcheck;
mod judge;
mod logs;
mod probe;
mod quorum;
pub mod read;
mod replay;
pub mod rollback;
mod run;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

/// Wrong usage or configuration.
pub(crate) const EXIT_USAGE: u8 = 64;
/// A failed run.
pub(crate) const EXIT_FAILED: u8 = 1;
/// Not now: deployments are locked, or what was begun is still under way.
pub(crate) const EXIT_TEMPORARY: u8 = 75;

/// Runs beside a web service's replica: supervises the app, proxies and observes every request, judges each new release
/// against the last good one, and rolls a bad one back.
#[derive(Debug, Parser)]
#[command(name = "outrigger", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the app as a child, or stand before an upstream, and watch over it
    Run(run::RunArgs),
    Watch(run::WatchArgs),
    /// See it work on this machine: deploy a good release, then a bad one, and watch it being rolled back
    Demo(demo::DemoArgs),
    /// The verdict now, and what it rests on
    Status(read::Status),
    /// Whether enough agents could agree to a rollback now, and one of them act: exit code 0 if so
    #[command(
        after_help = "Exit codes: 0 a quorum can be reached and one of its agents may act; 1 something is missing, and each \
                      `missing` line says what (that rollback.mode is not enforce is such a line, too), or no agent answers; \
                      64 wrong usage or configuration."
    )]
    Quorum(read::Status),
    /// What happened, newest first
    History(read::History),
    /// One record in full: what was decided, why, and what came of it
    Explain(read::Explain),
    /// Judge a recorded watch again: the same to the bit, or what another policy would have said
    Replay(replay::ReplayArgs),
    /// Judge all recorded watches again by the configured policy: false alarms, and limits that are too low
    Backtest(backtest::BacktestArgs),
    /// Stop acting until resumed; watching and judging go on
    Pause(read::Pause),
    /// Act again
    Resume(read::Resume),
    /// Lock deployments: `outrigger gate` says so to whoever deploys
    #[command(
        after_help = "Exit codes: 0 deployments are locked, 1 no agent answers or it refuses (also where the lock is in force \
                      and could not be written down: it says so), 64 wrong usage or configuration."
    )]
    Lock(gate::Lock),
    /// Unlock deployments
    Unlock(gate::Unlock),
    /// Whether deployments are unlocked: exit code 0 if so, 75 if not
    Gate(gate::Gate),
    /// Put the last good release back, or another one, and see each step
    Rollback(rollback::Rollback),
    /// Try whether alerts arrive
    Alerts(alerts::AlertsArgs),
    /// Read the configuration, say what would run, and find every fault; changes nothing
    Check(check::CheckArgs),
    Doctor(doctor::DoctorArgs),
    /// Ask a dependency by hand, as the agent would, and explain the answer
    Probe(probe::ProbeArgs),
    /// Judge ticks that were recorded anywhere: a baseline and a candidate in, a verdict a tick out
    Judge(judge::JudgeArgs),
    /// Which faults the judge could find at this service's traffic, and how soon
    Detectability(detectability::DetectabilityArgs),
    /// Ask the agent in this container whether it is well, for HEALTHCHECK: exit code 0 if so
    Healthcheck(healthcheck::HealthcheckArgs),
    /// The demo's own app
    #[command(hide = true)]
    DemoApp(demo::DemoAppArgs),
    /// What ties the demo's agents to the demo
    #[command(hide = true)]
    DemoLeash(demo::DemoLeashArgs),
}

/// Does what the command line says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A message that cannot be printed changes nothing about the exit code.
            let _ = error.print();
            hint(&error);
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Run(args) => run::run(args),
        Command::Watch(args) => run::watch(args),
        Command::Demo(args) => block_on(async { ended(demo::run(args).await) }),
        Command::Status(args) => block_on(async { told(read::status(&args).await) }),
        Command::Quorum(args) => block_on(async { said(read::quorum(&args).await) }),
        Command::History(args) => block_on(async { told(read::history(&args).await) }),
        Command::Explain(args) => block_on(async { told(read::explain(&args).await) }),
        Command::Replay(args) => replay::replay(&args),
        Command::Backtest(args) => backtest::backtest(&args),
        Command::Pause(args) => block_on(async { told(read::pause(&args).await) }),
        Command::Resume(args) => block_on(async { told(read::resume(&args).await) }),
        Command::Lock(args) => block_on(async { told(gate::lock(&args).await) }),
        Command::Unlock(args) => block_on(async { told(gate::unlock(&args).await) }),
        Command::Gate(args) => block_on(async { coded(gate::gate(&args, |line| eprintln!("{line}")).await) }),
        Command::Rollback(args) => {
            block_on(async { coded(rollback::rollback(&args, &mut rollback::AtTerminal).await) })
        }
        Command::Alerts(args) => block_on(alerts::alerts(args)),
        Command::Check(args) => check::check(&args),
        Command::Doctor(args) => block_on(doctor::doctor(&args)),
        Command::Probe(args) => probe::probe(&args),
        Command::Judge(args) => judge::judge(&args),
        Command::Detectability(args) => detectability::detectability(&args),
        Command::Healthcheck(args) => healthcheck::healthcheck(&args),
        Command::DemoApp(args) => block_on(async { ended(demo::run_app(args).await) }),
        Command::DemoLeash(args) => ended(Err(demo::run_leash(&args))),
    }
}

/// The commonest slip: the app's command without the `--` before it.
fn hint(error: &clap::Error) {
    let stray = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) if !text.starts_with('-') => text,
        Some(_) | None => return,
    };
    if error.kind() == ErrorKind::UnknownArgument {
        eprintln!(
            "\nIs `{stray}` the app? Its command stands behind `--`, as in: outrigger run -- node server.js"
        );
    }
}

/// The exit code of a job, its error printed.
fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("outrigger: could not {error:#}");
        ExitCode::from(EXIT_FAILED)
    })
}

/// Prints what was asked for, or why not.
fn told(result: Result<String, read::ReadError>) -> ExitCode {
    match result {
        Ok(text) => print(&text),
        Err(error) => {
            let code = ExitCode::from(error.exit_code());
            eprintln!("outrigger: {:#}", anyhow::Error::from(error));
            code
        }
    }
}

/// Prints what was asked for; whether it is so is the exit code.
fn said(result: Result<(String, bool), read::ReadError>) -> ExitCode {
    coded(result.map(|(text, is_so)| (text, if is_so { 0 } else { EXIT_FAILED })))
}

/// Prints what was asked for, and ends with its code.
fn coded(result: Result<(String, u8), read::ReadError>) -> ExitCode {
    match result {
        Ok((text, 0)) => print(&text),
        Ok((text, code)) => {
            if !text.is_empty() {
                let _ = print(&text);
            }
            ExitCode::from(code)
        }
        Err(error) => told(Err(error)),
    }
}

/// To stdout. That a reader has gone (`outrigger history | head`) is no fault; that it cannot be written (a full disk) is.
fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("outrigger: could not print: {error}");
            ExitCode::from(EXIT_FAILED)
        }
        Ok(()) | Err(_) => ExitCode::SUCCESS,
    }
}

fn block_on(job: impl Future<Output = ExitCode>) -> ExitCode {
    match runtime() {
        Ok(runtime) => runtime.block_on(job),
        Err(code) => code,
    }
}

/// The control plane's runtime: two threads besides the one that blocks on it.
fn runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    built(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all())
}

/// The runtime of the app's life: the main thread alone.
fn life_runtime() -> Result<tokio::runtime::Runtime, ExitCode> {
    built(tokio::runtime::Builder::new_current_thread().enable_all())
}

fn built(builder: &mut tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, ExitCode> {
    builder.build().map_err(|error| {
        eprintln!("outrigger: could not start: build the runtime: {error}");
        ExitCode::from(EXIT_FAILED)
    })
}
