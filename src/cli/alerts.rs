//! `outrigger alerts`: whether alerts arrive, tried by hand.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::run::ConfigArgs;
use crate::cli::{EXIT_FAILED, EXIT_USAGE};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::engine::alert::{self, Context};
use crate::notify::{self, Sent};

/// Whom to tell, and whether it arrives.
#[derive(Debug, Args)]
pub(super) struct AlertsArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Send a test alert to each receiver that is configured, and say what came back: exit code 0 if all took it
    #[command(
        after_help = "Exit codes: 0 each receiver took it, 1 one of them did not, 64 no receiver is configured, or the \
                      configuration is wrong."
    )]
    Test(ConfigArgs),
}

pub(super) async fn alerts(args: AlertsArgs) -> ExitCode {
    let What::Test(args) = args.what;
    match args.load() {
        Ok((loaded, _)) => test(&loaded).await,
        Err(faults) => {
            eprintln!("{faults}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

async fn test(loaded: &Loaded) -> ExitCode {
    let config = &loaded.config;
    let channels = match notify::channels(&config.alerts) {
        Ok(channels) if channels.is_empty() => {
            eprintln!(
                "outrigger: nobody is to be told: set OUTRIGGER_ALERT_WEBHOOK or OUTRIGGER_SLACK_WEBHOOK"
            );
            return ExitCode::from(EXIT_USAGE);
        }
        Ok(channels) => channels,
        Err(error) => {
            eprintln!("outrigger: could not {:#}", anyhow::Error::from(error));
            return ExitCode::from(EXIT_FAILED);
        }
    };
    let context = Context {
        service: config.service.name.clone(),
        environment: config.service.environment.clone(),
        link: config.alerts.link.clone(),
        ..Context::default()
    };
    let alert = alert::test(Clock::start().now(), &context);
    let mut all = true;
    for channel in channels {
        let sent = channel.send(&alert).await;
        all &= sent == Sent::Told;
        println!("{}: {}", channel.kind().label(), words(&sent));
    }
    if all { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

fn words(sent: &Sent) -> String {
    match sent {
        Sent::Told => "told".to_owned(),
        Sent::Busy { after } => {
            format!("busy; it asks to come again after {}", humantime::format_duration(*after))
        }
        Sent::Refused { why } => format!("refused: {why}; look at the address"),
        Sent::Failed { why } => format!("failed: {why}"),
    }
}
