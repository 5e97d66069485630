//! `outrigger check`: everything that can be known before a start, without changing anything.

use std::net::TcpListener;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::run::ConfigArgs;
use crate::cli::{EXIT_FAILED, EXIT_USAGE};
use crate::config::probes::{Probe, Probes, Why};
use crate::config::{Address, Loaded, Platform};
use crate::store;

/// Reads the configuration and says what would run.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub(super) fn check(args: &CheckArgs) -> ExitCode {
    let loaded = match args.config.load() {
        Ok((loaded, _)) => loaded,
        Err(faults) => {
            let all: Vec<String> = faults.iter().map(ToString::to_string).collect();
            if args.json {
                println!("{}", json!({ "ok": false, "faults": all, "warnings": [] }));
            } else {
                eprintln!("{faults}");
            }
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let faults = faults(args, &loaded);
    if args.json {
        print_json(&args.config, &loaded, &faults);
    } else {
        print_text(&args.config, &loaded, &faults);
    }
    match faults.iter().map(|f| f.code).max() {
        None => ExitCode::SUCCESS,
        Some(code) => ExitCode::from(code),
    }
}

struct Fault {
    code: u8,
    text: String,
}

fn faults(args: &CheckArgs, loaded: &Loaded) -> Vec<Fault> {
    let config = &loaded.config;
    let mut faults = Vec::new();
    if !args.config.command.is_empty() || config.app.upstream.is_some() {
        faults.extend(
            args.config.purpose_fault(loaded).map(|f| Fault { code: EXIT_USAGE, text: f.to_owned() }),
        );
    }
    let ports = [("listen.public", Some(config.listen.public)), ("listen.admin", config.listen.admin)];
    for (option, address) in ports.into_iter().filter_map(|(o, a)| Some((o, a?))) {
        if let Err(error) = TcpListener::bind(address) {
            let text = format!("{option}: {address} cannot be bound: {error}; choose a port that is free");
            faults.push(Fault { code: EXIT_FAILED, text });
        }
    }
    if let Err(error) = store::examine(&config.store) {
        let code = if error.is_misconfigured() || error.is_corrupt() { EXIT_USAGE } else { EXIT_FAILED };
        faults.push(Fault { code, text: format!("store.dir: {:#}", anyhow::Error::from(error)) });
    }
    faults
}

fn print_json(args: &ConfigArgs, loaded: &Loaded, faults: &[Fault]) {
    let options: serde_json::Map<String, serde_json::Value> = loaded
        .origins
        .iter()
        .map(|(name, s)| {
            (name.clone(), json!({ "value": s.value, "default": s.default, "from": s.origin.to_string() }))
        })
        .collect();
    let texts: Vec<&str> = faults.iter().map(|f| f.text.as_str()).collect();
    let left_out = loaded.config.probes.left_out.iter();
    let left_out: Vec<_> = left_out.map(|left| json!({ "what": left.what, "why": left.why })).collect();
    let all = json!({
        "ok": faults.is_empty(),
        "faults": texts,
        "warnings": loaded.warnings,
        "runs": app(args, loaded),
        "options": options,
        "probes": loaded.config.probes.list.iter().map(probe_json).collect::<Vec<_>>(),
        "probes_left_out": left_out,
    });
    println!("{all}");
}

fn print_text(args: &ConfigArgs, loaded: &Loaded, faults: &[Fault]) {
    let config = &loaded.config;
    println!("app          {}", app(args, loaded));
    println!("public port  {}", config.listen.public);
    match config.listen.admin {
        Some(admin) => println!("admin port   {admin}"),
        None => println!("admin port   off"),
    }
    println!("data         {}", config.store.dir.display());
    println!("mode         {}", config.policy.mode.label());
    println!("platform     {}", platform(&config.platform));
    print_probes(&config.probes);
    let changed: Vec<_> = loaded.origins.iter().filter(|(_, s)| s.value != s.default).collect();
    if !changed.is_empty() {
        println!("\noptions that differ from their defaults:");
    }
    for (name, setting) in changed {
        println!("  {name} = {}  ({}; default {})", setting.value, setting.origin, setting.default);
    }
    for warning in &loaded.warnings {
        println!("\nwarning: {warning}");
    }
    for fault in faults {
        eprintln!("fault: {}", fault.text);
    }
    if faults.is_empty() {
        println!("\nno faults");
    }
}

/// What would be asked, of whom and why; and what would not.
fn print_probes(probes: &Probes) {
    if probes.list.is_empty() && probes.left_out.is_empty() {
        println!("probes       none: no section asks for one, and no variable names a database");
        return;
    }
    println!("\nprobes:");
    let width = probes.list.iter().map(|probe| probe.name.len()).max().unwrap_or_default();
    for probe in &probes.list {
        println!(
            "  {:width$}  {}  {}  every {}, {}  ({})",
            probe.name,
            probe.ask.kind(),
            probe.target,
            humantime::format_duration(probe.interval),
            if probe.critical { "critical" } else { "not critical" },
            why(&probe.why)
        );
    }
    for left in &probes.left_out {
        println!("  left out: {}: {}", left.what, left.why);
    }
}

fn probe_json(probe: &Probe) -> serde_json::Value {
    json!({
        "name": probe.name,
        "kind": probe.ask.kind(),
        "target": probe.target,
        "interval_ms": probe.interval.as_millis() as u64,
        "timeout_ms": probe.timeout.as_millis() as u64,
        "critical": probe.critical,
        "why": why(&probe.why),
    })
}

fn why(why: &Why) -> String {
    match why {
        Why::Found(variable) => (*variable).to_owned(),
        Why::Configured(origin) => origin.to_string(),
    }
}

/// What `run` would stand before.
fn app(args: &ConfigArgs, loaded: &Loaded) -> String {
    let words: Vec<_> = args.command.iter().map(|word| word.to_string_lossy()).collect();
    match (&loaded.config.app.upstream, words.is_empty()) {
        (Some(Address::Authority(authority)), true) => format!("http://{authority}, run by others"),
        (Some(Address::Socket(path)), true) => format!("unix:{}, run by others", path.display()),
        (None, true) => "not told: `outrigger run` needs its command after `--`, or --upstream".to_owned(),
        (Some(_) | None, false) => words.join(" "),
    }
}

fn platform(platform: &Platform) -> String {
    match platform {
        Platform::DryRun => "dry-run: decides and records, does not act".to_owned(),
        // Its arguments may hold a secret.
        Platform::Command { roll_back, .. } => {
            format!("command: {}", roll_back.first().map_or("", String::as_str))
        }
        Platform::Local { address, .. } => format!("local: {address}"),
        Platform::Railway(railway) => match &railway.token {
            Some(_) => format!("railway: {}", railway.url.host_str().unwrap_or_default()),
            None => "railway, without a token: asks nothing, puts nothing back".to_owned(),
        },
    }
}
