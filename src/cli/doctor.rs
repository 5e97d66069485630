//! `outrigger doctor`: what is configured, what the platform says of the service, and what to change and where.
//!
//! It reads and changes nothing: the configuration as `outrigger run` would, the running agent if there is one, and Railway if
//! that is the platform. What of it is worth a word is said in `own` and `railway`, which are pure.

mod finding;
mod own;
mod railway;
mod service;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::doctor::finding::{Finding, Level};
use crate::cli::read::{self, Agent};
use crate::cli::{EXIT_FAILED, EXIT_USAGE, print};
use crate::clock::Clock;
use crate::config::{Config, Flags, Loaded, Platform, Sources, load};
use crate::engine::peer::Deployment;
use crate::engine::record::Known;
use crate::engine::release::Release;
use crate::platform::railway::examine;

/// Looks at the whole set-up, and says what to change and where; changes nothing
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Run it where the agent runs, with the same variables: it reads the same configuration. Railway is asked only \
                  where platform.kind is railway and a token is there, with some twelve requests; elsewhere it says that Railway \
                  was not asked.\n\nExit codes: 0 no faults, 1 faults, 64 the configuration itself is wrong."
)]
pub(super) struct DoctorArgs {
    /// The configuration file [default: outrigger.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory [default: as the configuration says, else .outrigger]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn doctor(args: &DoctorArgs) -> ExitCode {
    let flags = Flags { data: args.data.clone(), ..Flags::default() };
    let loaded = match load(Sources::of_process(args.config.clone(), flags)) {
        Ok(loaded) => loaded,
        Err(faults) => {
            eprintln!("{faults}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let findings = examined(&loaded).await;
    let text = if args.json { finding::json(&findings) } else { finding::text(&findings) };
    let printed = print(&text);
    let has_faults = findings.iter().any(|finding| finding.level == Level::Fault);
    if has_faults { ExitCode::from(EXIT_FAILED) } else { printed }
}

async fn examined(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let running = Running::ask(config).await;
    let mut findings = own::of_config(loaded);
    findings.extend(own::of_agent(running.as_ref()));
    if let Platform::Railway(options) = &config.platform {
        let known = running.as_ref().map_or_else(Known::default, |running| running.known(config));
        let found = examine(options, &known).await;
        if railway::barred(&found).is_some() {
            // The agent found the same when it looked.
            findings.retain(|finding| finding.code != "parachute");
        }
        let now = Clock::start().now();
        findings.extend(railway::of(&found, config, now));
        findings.extend(service::of(&found, config, now));
    }
    findings
}

/// What the running agent says.
#[derive(Clone, Debug)]
struct Running {
    snapshot: Value,
    /// Whether a quorum could be reached.
    quorum: Value,
    /// What is remembered of releases.
    releases: Value,
}

impl Running {
    /// `None`: none runs here.
    async fn ask(config: &Config) -> Option<Self> {
        let agent = Agent { data: Some(config.store.dir.clone()), ..Agent::default() };
        let snapshot = read::get(&agent, "/api/snapshot").await.ok()?;
        let peers = read::get(&agent, "/api/peers").await.unwrap_or_default();
        let releases = read::get(&agent, "/api/releases").await.unwrap_or_default();
        let quorum = peers.get("quorum").cloned().unwrap_or_default();
        Some(Self { snapshot, quorum, releases })
    }

    /// What the agent knows of releases and the platform's deployments.
    fn known(&self, config: &Config) -> Known {
        let release = |of: &Value, key: &str| of.get(key).and_then(Value::as_str).and_then(Release::new);
        let all: Vec<&Value> =
            self.releases.get("releases").and_then(Value::as_array).into_iter().flatten().collect();
        let deployments = |of: &Value| {
            let named = of.get("deployments").and_then(Value::as_array).into_iter().flatten();
            named.filter_map(Value::as_str).filter_map(Deployment::new).collect::<Vec<_>>()
        };
        let standing = |of: &Value| of.get("standing").and_then(Value::as_str) == Some("rolled_back");
        let own = config.service.deployment.as_deref().and_then(Deployment::new);
        Known {
            own: own.zip(release(&self.snapshot, "release")),
            releases: all.iter().filter_map(|of| Some((release(of, "release")?, deployments(of)))).collect(),
            target: release(&self.snapshot, "target"),
            quarantined: all
                .iter()
                .filter(|of| standing(of))
                .filter_map(|of| release(of, "release"))
                .collect(),
        }
    }
}
