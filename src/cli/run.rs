//! `outrigger run`: from the command line to the agent, and its exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::agent::{self, Job};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, life_runtime, logs, runtime};
use crate::clock::Clock;
use crate::config::{self, Flags, Sources};

/// What `run` and `check` take.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file [default: outrigger.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// The public address [default: [::]:$PORT, or port 8080]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) listen: Option<String>,
    /// The admin address, or `off` [default: [::]:9900]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin: Option<String>,
    /// Where the app is, when it is not run as a child
    #[arg(long, value_name = "URL")]
    pub(super) upstream: Option<String>,
    /// The data directory [default: .outrigger, or on the platform's volume]
    #[arg(long, value_name = "DIR")]
    pub(super) data: Option<PathBuf>,
    /// The app's command and its arguments; `{port}` in an argument is replaced by the port it is to listen on
    #[arg(last = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

/// Runs the app under the agent, or the agent before an upstream.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  outrigger run -- node server.js\n  outrigger run -- uvicorn app:app --port {port}\n  outrigger run --upstream http://app:3000\n\nThe app is told its port by PORT and by `{port}`; the agent takes the public one."
)]
pub(super) struct RunArgs {
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

impl ConfigArgs {
    /// Reads the configuration; faults are printed, all at once.
    pub(super) fn load(&self) -> Result<(config::Loaded, Vec<(OsString, OsString)>), config::Faults> {
        let flags = Flags {
            listen: self.listen.clone(),
            admin: self.admin.clone(),
            upstream: self.upstream.clone(),
            data: self.data.clone(),
            ..Flags::default()
        };
        let sources = Sources::of_process(self.config.clone(), flags);
        let env = sources.env.clone();
        config::load(sources).map(|loaded| (loaded, env))
    }

    /// What is wrong with the command and the upstream taken together.
    pub(super) fn purpose_fault(&self, loaded: &config::Loaded) -> Option<&'static str> {
        match (self.command.is_empty(), &loaded.config.app.upstream) {
            (true, None) => Some(
                "nothing to stand before: give the app's command after `--` (outrigger run -- node server.js), or \
                 say where the app is with --upstream URL (option `app.upstream`)",
            ),
            (false, Some(_)) => Some(
                "both a command and `app.upstream` (--upstream) are given: the agent either runs the app or stands \
                 before one that runs elsewhere; leave one of them out",
            ),
            (true, Some(_)) | (false, None) => None,
        }
    }
}

pub(super) fn run(args: RunArgs) -> ExitCode {
    let clock = Clock::start();
    let (loaded, env) = match args.config.load() {
        Ok(read) => read,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    if let Some(fault) = args.config.purpose_fault(&loaded) {
        eprintln!("outrigger: {fault}");
        return ExitCode::from(EXIT_USAGE);
    }
    start(loaded, env, args.config.command, clock, Run::Agent)
}

/// Watches the replicas of a service without running one: remembers for good, breaks ties, and may act for the others.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  OUTRIGGER_PEER_KEY=... outrigger watch --data /data/outrigger\n\nIt needs the key that the replicas have, and where they are: `peers.name` or `peers.addresses`."
)]
pub(super) struct WatchArgs {
    /// The configuration file [default: outrigger.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    config: Option<PathBuf>,
    /// The admin address, or `off` [default: [::]:9900]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// The data directory [default: .outrigger, or on the platform's volume]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(super) fn watch(args: WatchArgs) -> ExitCode {
    let clock = Clock::start();
    let WatchArgs { config, admin, data } = args;
    let config = ConfigArgs { config, listen: None, admin, upstream: None, data, command: Vec::new() };
    match config.load() {
        Ok((loaded, env)) => start(loaded, env, Vec::new(), clock, Run::Watcher),
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// As what the agent runs.
#[derive(Clone, Copy, Debug)]
enum Run {
    Agent,
    Watcher,
}

fn start(
    loaded: config::Loaded,
    env: Vec<(OsString, OsString)>,
    command: Vec<OsString>,
    clock: Clock,
    run: Run,
) -> ExitCode {
    logs::start(&loaded.config.log, clock, &env);
    let origins = loaded.origins.clone();
    let (control, life) = match (runtime(), life_runtime()) {
        (Ok(control), Ok(life)) => (control, life),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let job = Job { loaded, command, env, clock, control: control.handle().clone() };
    // On the main thread: the app is bound to the life of the thread that starts it.
    let ran = life.block_on(async {
        match run {
            Run::Agent => agent::run(job).await,
            Run::Watcher => agent::watch(job).await,
        }
    });
    let code = match ran {
        Ok(code) => u8::try_from(code).unwrap_or(EXIT_FAILED),
        Err(error) => {
            let code = error.exit_code();
            let setting = error.option().and_then(|option| Some((option, origins.get(option)?)));
            eprintln!("outrigger: could not {:#}", anyhow::Error::from(error));
            if let Some((option, setting)) = setting {
                eprintln!("  {option} = {} stands in: {}", setting.value, setting.origin);
            }
            code
        }
    };
    control.shutdown_background();
    life.shutdown_background();
    ExitCode::from(code)
}
