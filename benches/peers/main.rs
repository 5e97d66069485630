//! What a request costs through outrigger, nginx and HAProxy, in one run: `cargo bench --bench peers`.
//!
//! Each proxy has one core and one worker and forwards to the same nginx; the load and that nginx have the other core.
//! outrigger runs with everything on: judging, recording, its admin port, a store on disk. The subjects take turns,
//! round by round, and each figure is given as a ratio to nginx's of the same round: a bare time says more about the
//! machine than about the proxy. A reply that is not a 200 of the right length ends the run.

mod costs;
mod counts;
mod figures;
mod load;
mod needs;
mod profile;
mod recipes;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::costs::Bench;
use crate::figures::Figures;

/// CPU time, instructions, system calls, memory and added latency of a request, against nginx and HAProxy.
///
/// Quiet machine, nothing else running: times on a busy one are noise. Counts of instructions and system calls are not.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench peers --")]
struct Options {
    /// How often each subject has its turn. More rounds show how noisy the times are.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One short round, to see whether everything works. Its times mean nothing.
    #[arg(long)]
    quick: bool,
    /// Requests a second, in the rounds that measure time.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// How long each subject is measured at that rate, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// Kept connections at that rate.
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Idle connections for the figure of memory, beside that with 64.
    #[arg(long, default_value_t = 1_000)]
    idle: usize,
    /// Leaves out CPU time and latency: counts and memory hold on a busy machine, too.
    #[arg(long)]
    no_times: bool,
    /// Writes everything that was measured, round by round.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures this build of outrigger instead. Without symbols its profile has no names.
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_outrigger"))]
    binary: PathBuf,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        // `cargo test --benches` runs the benches, too.
        println!("peers: run it with `cargo bench --bench peers`");
        return ExitCode::SUCCESS;
    }
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: Options) -> anyhow::Result<()> {
    let cores = needs::check(&options)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    // Dropping the run kills all that it started, whatever ended it.
    let outcome = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            outcome = run(&options, cores) => outcome,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("terminated")),
        }
    });
    // A load may still be running into the killed processes.
    runtime.shutdown_background();
    outcome
}

async fn run(options: &Options, cores: needs::Cores) -> anyhow::Result<()> {
    let mut figures = Figures::default();
    let bench = Bench::start(options, cores).await?;
    let rounds = if options.quick { 1 } else { options.rounds };
    for round in 1..=rounds {
        bench.round(&mut figures, round, rounds).await?;
    }
    let dearest = bench.dearest().await?;
    print!("{}", figures.table());
    println!("\nDearest in outrigger, with all that they call, instructions a request (GET, 33 bytes):");
    for (name, instructions, share) in &dearest {
        println!("  {instructions:>9.0}  {:>4.1} %  {name}", share * 100.0);
    }
    println!("\n{}", needs::described(cores));
    if let Some(file) = &options.json {
        let json = serde_json::json!({
            "machine": needs::described(cores),
            "rate": options.rate,
            "seconds": options.seconds,
            "connections": options.connections,
            "quick": options.quick,
            "figures": figures.json(),
            "dearest": dearest,
        });
        let text = serde_json::to_string_pretty(&json).expect("plain data is JSON");
        std::fs::write(file, text + "\n").with_context(|| format!("write `{}`", file.display()))?;
    }
    Ok(())
}
