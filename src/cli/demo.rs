//! `outrigger demo`: the main job on one machine, told as it happens.
//!
//! Owns the arguments and how the play is shown. What is played, and what counts as right, is the stage's.

mod show;

use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::cli::demo::show::Show;
use crate::clock::Clock;
use crate::stage::app::{self, AppOptions, AppPlan, Behaviour};
use crate::stage::leash;
use crate::stage::plan::Plan;
use crate::stage::script::Script;
use crate::stage::{Stage, StageOptions};

/// Events not yet shown; at the bound the play waits for the terminal.
const EVENTS_MAX: usize = 256;
/// The exit code when the play was broken off by a signal.
const INTERRUPTED: u8 = 130;

/// Show the main job on this machine: deploy a good release, learn, deploy another, and see what the agent does
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How the second release behaves
    #[arg(long, default_value = "errors", value_parser = behaviours())]
    pub scenario: Behaviour,
    /// Requests a second
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(10..=1000))]
    pub rate: u32,
    /// The seed of the demo's chance: arrivals, latencies, failures
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Agents of each release; several find each other, share what they see, and vote on who rolls back
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub replicas: u8,
    /// Whether the agent judges releases; with `off` nothing is rolled back
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub judge: Switch,
    /// Write one JSON object a line to stdout, the summary last
    #[arg(long)]
    pub json: bool,
    /// Keep stores, logs and configuration in this directory, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Show no colours
    #[arg(long, env = "NO_COLOR", num_args = 0..=1, default_missing_value = "1", hide_env = true)]
    pub no_color: Option<String>,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// The demo's app, as an agent's child
#[derive(Args, Clone, Debug)]
pub struct DemoAppArgs {
    /// Its port on loopback
    #[arg(long)]
    pub port: u16,
    /// The release it says it is
    #[arg(long)]
    pub release: String,
    /// How it behaves
    #[arg(long, default_value = "good", value_parser = behaviours())]
    pub behave: Behaviour,
    /// From when on, after its start
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub after: Duration,
    /// The seed of its chance
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The database that it asks
    #[arg(long)]
    pub database: Option<SocketAddr>,
}

/// Run a command that is killed when the demo dies
#[derive(Args, Clone, Debug)]
pub struct DemoLeashArgs {
    /// The demo's process id
    #[arg(long)]
    pub parent: i32,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

fn behaviours() -> impl clap::builder::TypedValueParser<Value = Behaviour> {
    use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};
    let value = |one: Behaviour| PossibleValue::new(one.label()).help(one.about());
    let names = PossibleValuesParser::new(Behaviour::ALL.map(value));
    names.try_map(|name| name.parse::<Behaviour>())
}

/// Plays the demo. Success exactly if the agent did what was right.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("listen to signals")?;
    let clock = Clock::start();
    let dir = Dir::make(args.keep.as_deref(), clock)?;
    let program = std::env::current_exe().context("find this program's own file")?;
    let plan = Plan {
        scenario: args.scenario,
        rate: f64::from(args.rate),
        seed: args.seed,
        judging: args.judge == Switch::On,
        replicas: usize::from(args.replicas),
    };
    let options = plan.stage(StageOptions::new(vec![program.into_os_string()], dir.path.clone()));
    let stage = Stage::start(options, clock).await.context("open the stage")?;
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let mut show = Show::new(args.json, args.no_color.is_some_and(|value| !value.is_empty()));
    let shown = tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            show.event(&event);
        }
        show.end();
    });
    let summary = tokio::select! {
        summary = Script::new(&stage, plan, clock, sender).play() => Some(summary),
        () = signals.any() => None,
    };
    // A panic of the show has been printed; the processes are ended all the same.
    let _shown = shown.await;
    stage.stop().await;
    if let (Some(kept), false) = (&args.keep, args.json) {
        eprintln!("kept in {}", kept.display());
    }
    dir.remove();
    Ok(match summary {
        Some(summary) if summary.fault.is_none() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
        None => ExitCode::from(INTERRUPTED),
    })
}

/// Runs the demo's app until it is told to end, or crashes as told.
pub async fn run_app(args: DemoAppArgs) -> anyhow::Result<ExitCode> {
    let DemoAppArgs { port, release, behave, after, seed, database } = args;
    let plan = AppPlan { behave, after, seed };
    let code = app::run(AppOptions { port, release, plan, database }).await;
    code.map(ExitCode::from).with_context(|| format!("run the demo's app on port {port}"))
}

/// Becomes the command. Best called before any thread was started; returns only when that failed.
pub fn run_leash(args: &DemoLeashArgs) -> anyhow::Error {
    anyhow::Error::new(leash::exec(args.parent, &args.command)).context("start the demo's agent")
}

/// The signals that end the demo.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Where the demo's files are.
struct Dir {
    path: PathBuf,
    keep: bool,
}

impl Dir {
    fn make(keep: Option<&Path>, clock: Clock) -> anyhow::Result<Self> {
        let name = format!("outrigger-demo-{}-{}", std::process::id(), clock.now().as_millis());
        let wanted = keep.map_or_else(|| std::env::temp_dir().join(name), Path::to_owned);
        let made = DirBuilder::new().mode(0o700).recursive(keep.is_some()).create(&wanted);
        made.with_context(|| format!("make the directory `{}`", wanted.display()))?;
        // The app runs elsewhere, and the configuration names the path.
        let path = wanted.canonicalize().with_context(|| format!("find `{}`", wanted.display()))?;
        let mut entries = path.read_dir().with_context(|| format!("read `{}`", path.display()))?;
        anyhow::ensure!(entries.next().is_none(), "the directory `{}` is not empty", path.display());
        Ok(Self { path, keep: keep.is_some() })
    }

    fn remove(&self) {
        if self.keep {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the demo's files could not be removed");
        }
    }
}
