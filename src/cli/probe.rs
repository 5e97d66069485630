//! `outrigger probe`: one dependency asked by hand, with the agent's own code, and what came of it explained.
//!
//! Owns the arguments, the exit code, and when it has asked often enough. What a probe asks, and what an answer is worth, it
//! does not know; what the report looks like is `report`'s.

mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::cli::probe::report::Asked;
use crate::cli::{EXIT_USAGE, life_runtime, print};
use crate::clock::Clock;
use crate::config::probes::Probe;
use crate::config::{BY_HAND, ByHand, Flags, Loaded, Sources, load};
use crate::engine::health::{Found, Round};
use crate::prober::{Adopt, Prober};

/// Rounds that can be asked for at once.
const COUNT_MAX: u16 = 1000;
/// What a round may take beside its own time limit: the pause before it, and the start. After that it is given up; no round
/// takes longer, so nobody sees it.
const BESIDES: Duration = Duration::from_secs(5);
/// Changes of state that nobody reads; the others are dropped.
const CHANGES_MAX: usize = 1;
/// The probe asks when it is told to, not by itself.
const NEVER: Duration = Duration::from_secs(365 * 86_400);
/// A round is told apart from the one before by its time, which is told to the millisecond.
const TICK: Duration = Duration::from_millis(2);

/// Asks a dependency by hand, as the agent would, and explains the answer.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  outrigger probe                      every probe that `outrigger check` lists\n  outrigger probe postgres --count 5\n  outrigger probe tcp://db.internal:5432\n  outrigger probe env:DATABASE_URL     a URL with a password stays out of the list of processes\n\nExit codes: 0 ok, 1 degraded, 2 failed, 3 could not be asked, 64 wrong usage or configuration; of several rounds or\nprobes the worst: failed, then degraded, then could not be asked.\n\nWith --json one object: {\"state\", \"probes\": [{\"name\", \"kind\", \"target\", \"source\", \"critical\", \"state\", \"after\", \"rounds\": [{\"found\",\n\"took_ms\", \"latency_ms\", \"why\", \"phases\": [{\"name\", \"ms\"}], \"facts\": {}}]}]}; `state` is ok, degraded, failed or unknown; `after` is the\nstate that the agent would have after these rounds alone."
)]
pub(super) struct ProbeArgs {
    /// A probe's name, a URL, or env:VARIABLE; without it all configured probes, one after the other
    #[arg(value_name = "NAME|URL")]
    what: Option<String>,
    /// The configuration file [default: outrigger.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    config: Option<PathBuf>,
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(COUNT_MAX)))]
    count: u16,
    /// How long one round may take, instead of what the configuration says: 100ms to 1m
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    timeout: Option<Duration>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn time_limit(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(100)..=Duration::from_secs(60);
    let parsed = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    range.contains(&parsed).then_some(parsed).ok_or_else(|| "give a time from 100ms to 1m".to_owned())
}

pub(super) fn probe(args: &ProbeArgs) -> ExitCode {
    let (probes, left_out) = match chosen(args) {
        Ok(chosen) => chosen,
        Err(fault) => {
            eprintln!("outrigger: {fault}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = match life_runtime() {
        Ok(runtime) => runtime,
        Err(_told) => return ExitCode::from(code(Found::Unable)),
    };
    let mut all = Vec::new();
    for probe in probes {
        let rounds = runtime.block_on(ask(&probe, args));
        if !args.json {
            let text = report::text(&Asked { probe: &probe, rounds: &rounds });
            // Each as soon as it is known: the next one may take its time.
            let _told = print(&if all.is_empty() { text } else { format!("\n{text}") });
        }
        all.push((probe, rounds));
    }
    let worst = worst(all.iter().flat_map(|(_, rounds)| rounds));
    let asked: Vec<Asked<'_>> = all.iter().map(|(probe, rounds)| Asked { probe, rounds }).collect();
    if args.json {
        let _told = print(&report::json(&asked, worst).to_string());
    } else if asked.is_empty() {
        let _told = print(&report::nothing(&left_out));
    }
    ExitCode::from(code(worst))
}

/// The worst of all rounds. What could not be asked is no evidence, so it is worse only than what is well.
fn worst<'a>(rounds: impl Iterator<Item = &'a Round>) -> Found {
    let rank = |found: Found| match found {
        Found::Well => 0,
        Found::Unable => 1,
        Found::Impaired => 2,
        Found::Failed => 3,
    };
    rounds.map(|round| round.found).max_by_key(|found| rank(*found)).unwrap_or(Found::Well)
}

const fn code(found: Found) -> u8 {
    match found {
        Found::Well => 0,
        Found::Impaired => 1,
        Found::Failed => 2,
        Found::Unable => 3,
    }
}

/// The probes that are meant, and what was left out of all; or what is wrong.
fn chosen(args: &ProbeArgs) -> Result<(Vec<Probe>, Vec<String>), String> {
    let what = args.what.as_deref();
    let by_hand = what.and_then(by_hand);
    let flags = Flags { probe: by_hand.clone(), ..Flags::default() };
    let Loaded { config, .. } =
        load(Sources::of_process(args.config.clone(), flags)).map_err(|faults| faults.to_string())?;
    let name = if by_hand.is_some() { Some(BY_HAND) } else { what };
    let left_out: Vec<String> =
        config.probes.left_out.iter().map(|left| format!("{}: {}", left.what, left.why)).collect();
    let mut list = config.probes.list;
    if let Some(name) = name {
        let names: Vec<String> = list.iter().map(|probe| probe.name.clone()).collect();
        list.retain(|probe| probe.name == name);
        if list.is_empty() {
            return Err(no_such(name, &names, &left_out));
        }
    }
    for probe in &mut list {
        probe.timeout = args.timeout.unwrap_or(probe.timeout);
    }
    Ok((list, left_out))
}

/// A URL, or a variable that holds one, as it was typed; else it is a name.
fn by_hand(what: &str) -> Option<ByHand> {
    if let Some(variable) = what.strip_prefix("env:") {
        return Some(ByHand::Variable(variable.to_owned()));
    }
    // No probe's name holds a colon but in front of a port.
    let is_url = what.contains("://") || what.starts_with("dns:");
    is_url.then(|| ByHand::Url(what.to_owned()))
}

fn no_such(name: &str, names: &[String], left_out: &[String]) -> String {
    if let Some((host, port)) = name.rsplit_once(':')
        && port.parse::<u16>().is_ok()
        && !host.contains(['@', ':'])
    {
        return format!(
            "{name} is no probe's name and no URL; whether a port accepts is asked with tcp://{name}"
        );
    }
    // It may be a URL without its scheme, password and all.
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let named = if name.len() <= 32 && name.chars().all(fits) { format!(" `{name}`") } else { String::new() };
    let mut text = format!("there is no probe{named}");
    match names {
        [] => text.push_str(", nor any other"),
        names => text.push_str(&format!("; there are: {}", names.join(", "))),
    }
    text.push_str("; a URL, or env: and the name of a variable that holds one, can be given too");
    for line in left_out {
        text.push_str(&format!("\n  left out: {line}"));
    }
    text
}

/// Asks so many rounds, one after the other.
async fn ask(probe: &Probe, args: &ProbeArgs) -> Vec<Round> {
    let clock = Clock::start();
    // The nearest that a single round comes to a state, so that nothing waits for a second one.
    let options = Probe { failure_threshold: 1, success_threshold: 1, interval: NEVER, ..probe.clone() };
    let (changes, _unread) = mpsc::channel(CHANGES_MAX);
    let shutdown = CancellationToken::new();
    let adopt: Adopt = Arc::new(|spawn| spawn().map(|_pid| Box::new(()) as Box<dyn Send>));
    let prober = Prober::start(&[options], clock, &adopt, &changes, &shutdown);
    let within = probe.timeout + BESIDES;
    let mut rounds: Vec<Round> = Vec::new();
    for _ in 0..args.count {
        if !rounds.is_empty() {
            tokio::time::sleep(TICK).await;
        }
        let last = prober.fresh(Duration::ZERO, within).await.first().and_then(|state| state.last.clone());
        rounds.push(last.unwrap_or_else(|| Round {
            at: clock.now(),
            took: within,
            found: Found::Unable,
            latency: None,
            phases: Vec::new(),
            facts: Vec::new(),
            why: "no round ended in time, which is a fault of the agent's".to_owned(),
        }));
    }
    shutdown.cancel();
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_a_name_a_url_or_a_variable() {
        assert!(by_hand("postgres").is_none());
        assert!(by_hand("orders-db").is_none());
        assert!(
            matches!(by_hand("env:DATABASE_URL"), Some(ByHand::Variable(name)) if name == "DATABASE_URL")
        );
        assert!(matches!(by_hand("tcp://a:1"), Some(ByHand::Url(_))));
        assert!(matches!(by_hand("dns:a"), Some(ByHand::Url(_))));
    }

    #[test]
    fn a_name_that_is_not_there_is_told_with_those_that_are() {
        let names = ["postgres".to_owned(), "redis".to_owned()];
        let told = no_such("postgers", &names, &["MYSQL_URL: it is empty".to_owned()]);
        assert_eq!(
            told,
            "there is no probe `postgers`; there are: postgres, redis; a URL, or env: and the name of a variable that holds \
             one, can be given too\n  left out: MYSQL_URL: it is empty"
        );
        assert!(no_such("db:5432", &names, &[]).ends_with("is asked with tcp://db:5432"));
        assert!(!no_such("u:hunter2@db", &names, &[]).contains("hunter2"));
        assert!(!no_such("u:hunter2@db:5432", &names, &[]).contains("hunter2"));
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst_round() {
        let round = |found| Round {
            at: Default::default(),
            took: Duration::ZERO,
            found,
            latency: None,
            phases: Vec::new(),
            facts: Vec::new(),
            why: String::new(),
        };
        let of = |all: &[Found]| {
            let rounds: Vec<Round> = all.iter().map(|found| round(*found)).collect();
            code(worst(rounds.iter()))
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[Found::Well, Found::Unable]), 3);
        assert_eq!(of(&[Found::Unable, Found::Impaired, Found::Well]), 1);
        assert_eq!(of(&[Found::Unable, Found::Failed, Found::Impaired]), 2);
    }
}
