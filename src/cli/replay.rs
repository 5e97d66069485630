//! `outrigger replay`: a recorded watch judged again, by the recorded policy or by a changed one.
//!
//! It knows how that is asked for and shown; what is judged, and how, is `offline`'s and the engine's.

mod text;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::{EXIT_FAILED, EXIT_USAGE, print};
use crate::config::{self, Flags, Loaded, Sources};
use crate::engine::policy::Policy;
use crate::engine::watch::Judgement;
use crate::offline::replay::{Again, Case, Difference};
use crate::store::Archive;
use crate::store::wire::diagnosis::DiagnosisDoc;
use crate::store::wire::policy::PolicyDoc;
use crate::store::wire::verdict::{EvidenceDoc, VerdictDoc};

/// What the names of the judge's options begin with in the environment.
const JUDGE_VARIABLES: &str = "OUTRIGGER__JUDGE__";
/// Options whose names in a record are others, as (option, record).
const RENAMED: [(&str, &str); 5] = [
    ("enabled", "judging"),
    ("routes", "judge_routes"),
    ("statuses", "judge_statuses"),
    ("resources", "judge_resources"),
    // As the papers call it.
    ("rho", "latency_ratio"),
];
/// In records, but no options of the judge.
const NOT_THE_JUDGES: [&str; 11] = [
    "mode",
    "cooldown",
    "verify",
    "act_after_watch",
    "replicas",
    "acts_an_hour",
    "acts_a_day",
    "lock",
    "ignore_schema",
    "confirm",
    "confirm_max",
];

/// Where the store is.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    /// The configuration file [default: outrigger.toml, if it is there]
    #[arg(long, value_name = "FILE", env = "OUTRIGGER_CONFIG")]
    config: Option<PathBuf>,
    /// The data directory [default: .outrigger, or on the platform's volume]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Judges the watch of a record again.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  outrigger replay 0mi5x1c00\n  outrigger replay 0mi5x1c00 --set latency_ratio=1.3 --set routes=false\n\nThe store is read as it is, also beside a running agent, and nothing is changed.\n\nExit codes: 0 the outcome is the recorded one to the bit, or --set was given; 1 it is not, or the watch is no longer\nstored; 64 wrong usage or configuration."
)]
pub(super) struct ReplayArgs {
    /// The record of a decision or of a changed verdict: its id, or the beginning of it
    #[arg(value_name = "RECORD")]
    record: String,
    /// Judge by a changed policy, and say what would have been different: an option of the judge, as in latency_ratio=1.3
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// What is told instead of an outcome, and the exit code.
pub(super) struct Refused {
    pub(super) code: u8,
    pub(super) text: String,
}

impl StoreArgs {
    fn sources(&self) -> Sources {
        let flags = Flags { data: self.data.clone(), ..Flags::default() };
        Sources::of_process(self.config.clone(), flags)
    }

    /// Reads the configuration and opens the store that it names.
    pub(super) fn open(&self) -> Result<(Loaded, Archive), Refused> {
        let usage = |faults: config::Faults| Refused { code: EXIT_USAGE, text: faults.to_string() };
        let loaded = config::load(self.sources()).map_err(usage)?;
        let archive = Archive::open(&loaded.config.store.dir).map_err(|error| {
            let code = if error.is_corrupt() { EXIT_USAGE } else { EXIT_FAILED };
            Refused { code, text: format!("outrigger: could not {:#}", anyhow::Error::from(error)) }
        })?;
        Ok((loaded, archive))
    }
}

pub(super) fn replay(args: &ReplayArgs) -> ExitCode {
    match replayed(args) {
        Ok((text, code)) => {
            let printed = print(&text);
            if printed == ExitCode::SUCCESS { code } else { printed }
        }
        Err(refused) => {
            eprintln!("{}", refused.text);
            ExitCode::from(refused.code)
        }
    }
}

fn replayed(args: &ReplayArgs) -> Result<(String, ExitCode), Refused> {
    let (_, archive) = args.store.open()?;
    let case = Case::read(&archive, &args.record).map_err(|error| Refused {
        code: EXIT_FAILED,
        text: format!("outrigger: could not replay: {:#}", anyhow::Error::from(error)),
    })?;
    let recorded = &case.watch.start.policy;
    let again = case.judge(recorded);
    let differences = case.differences(&again);
    if args.set.is_empty() {
        let text = if args.json {
            json_of(&case, &again, &differences, None).to_string()
        } else {
            text::same(&case, &again, &differences)
        };
        let code = if differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) };
        return Ok((text, code));
    }
    let policy = changed(recorded, &args.set, args.store.sources())
        .map_err(|text| Refused { code: EXIT_USAGE, text })?;
    let otherwise = case.judge(&policy);
    let text = if args.json {
        json_of(&case, &again, &differences, Some((&policy, &otherwise))).to_string()
    } else {
        text::otherwise(&case, &again, &otherwise, &args.set)
    };
    Ok((text, ExitCode::SUCCESS))
}

/// The recorded policy with what was set, checked as the configuration's own options are.
fn changed(recorded: &Policy, sets: &[String], mut sources: Sources) -> Result<Policy, String> {
    let mut fields = fields(recorded);
    let known: Vec<String> =
        fields.keys().filter(|f| !NOT_THE_JUDGES.contains(&f.as_str())).cloned().collect();
    let mut variables: Vec<(String, String)> =
        known.iter().map(|field| (option(field).to_owned(), plain(&fields[field]))).collect();
    let mut set_fields = Vec::new();
    for set in sets {
        let (name, value) = set.split_once('=').ok_or_else(|| {
            format!("--set {set}: is not NAME=VALUE; give an option of the judge, as in latency_ratio=1.3")
        })?;
        let name = name.trim().trim_start_matches("judge.");
        let renamed = RENAMED.iter().find(|(option, _)| *option == name);
        let field = renamed.map_or(name, |(_, field)| field);
        if !known.iter().any(|k| k == field) {
            let names: Vec<&str> = known.iter().map(|field| option(field)).collect();
            return Err(format!("--set {set}: the judge has no such option; it has {}", names.join(", ")));
        }
        variables.retain(|(option_name, _)| option_name != option(field));
        variables.push((option(field).to_owned(), value.trim().to_owned()));
        set_fields.push(field.to_owned());
    }
    sources.env.retain(|(name, _)| !name.to_string_lossy().starts_with(JUDGE_VARIABLES));
    sources.env.extend(
        variables
            .into_iter()
            .map(|(name, value)| (format!("{JUDGE_VARIABLES}{}", name.to_uppercase()).into(), value.into())),
    );
    let loaded = config::load(sources).map_err(|faults| faults.to_string())?;
    let read = self::fields(&loaded.config.policy);
    for field in set_fields {
        fields.insert(field.clone(), read[&field].clone());
    }
    let doc: PolicyDoc = serde_json::from_value(Value::Object(fields))
        .expect("each field is one that such a document was written with");
    Ok(doc.into())
}

fn fields(policy: &Policy) -> Map<String, Value> {
    match serde_json::to_value(PolicyDoc::from(policy)) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// The option of a record's field.
fn option(field: &str) -> &str {
    RENAMED.iter().find(|(option, name)| *name == field && *option != "rho").map_or(field, |(o, _)| o)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn json_of(
    case: &Case,
    again: &Again,
    differences: &[Difference],
    otherwise: Option<(&Policy, &Again)>,
) -> Value {
    let differences: Vec<Value> = differences
        .iter()
        .map(|d| json!({ "of": d.what, "recorded": d.recorded, "again": d.again }))
        .collect();
    let mut all = json!({
        "record": case.record.id.as_str(),
        "watch": case.point.watch.as_str(),
        "release": case.record.release.as_str(),
        "facts": case.point.seq,
        "facts_stored": case.watch.facts.len(),
        "same": differences.is_empty(),
        "differences": differences,
        "recorded": { "verdict": VerdictDoc::from(&case.recorded.verdict) },
        "again": outcome(again),
    });
    if let Some((policy, otherwise)) = otherwise {
        all["policy"] = json!(PolicyDoc::from(policy));
        all["otherwise"] = outcome(otherwise);
    }
    all
}

fn outcome(again: &Again) -> Value {
    let first = |of: &Option<Judgement>| of.as_ref().map(judgement);
    let evidence: Vec<EvidenceDoc> = again.evidence.iter().map(EvidenceDoc::from).collect();
    json!({
        "at_the_record": judgement(&again.judgement),
        "evidence": evidence,
        "first_degraded": first(&again.first_degraded),
        "first_blamed": first(&again.first_blamed),
    })
}

fn judgement(of: &Judgement) -> Value {
    json!({
        "at_ms": of.at.as_millis(),
        "verdict": VerdictDoc::from(&of.verdict),
        "diagnosis": of.diagnosis.as_ref().map(DiagnosisDoc::from),
        "score": of.score,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Sources {
        let directory = std::env::temp_dir().join("outrigger-replay-tests-without-a-file");
        Sources { file: None, directory, env: Vec::new(), flags: Flags::default() }
    }

    fn set(sets: &[&str]) -> Result<Policy, String> {
        let sets: Vec<String> = sets.iter().map(|&s| s.to_owned()).collect();
        let recorded = Policy { error_ratio: 2.7, replicas: 3, ..Policy::default() };
        changed(&recorded, &sets, nowhere())
    }

    #[test]
    fn what_is_set_is_changed_and_nothing_else() {
        let recorded = Policy { error_ratio: 2.7, replicas: 3, ..Policy::default() };
        assert_eq!(set(&[]).unwrap(), recorded);
        let expected = Policy { latency_ratio: 1.3, judge_routes: false, ..recorded };
        assert_eq!(set(&["rho=1.3", "routes=false"]).unwrap(), expected);
        assert_eq!(set(&["judge.latency_ratio = 1.3", "judge.routes=false"]).unwrap(), expected);
        let watch = set(&["watch=20m"]).unwrap().watch;
        assert_eq!(watch, std::time::Duration::from_secs(1200));
    }

    #[test]
    fn what_the_judge_does_not_know_is_refused() {
        for (sets, fault) in [
            (["latency_rato=1.3"], "no such option"),
            (["mode=enforce"], "no such option"),
            (["latency_ratio"], "NAME=VALUE"),
            (["latency_ratio=0.5"], "LATENCY_RATIO"),
            (["warm_up=3d"], "INVALID"),
        ] {
            match set(&sets) {
                Err(said) if fault != "INVALID" => assert!(said.contains(fault), "{said}"),
                Err(_) => {}
                Ok(policy) => panic!("{sets:?} was taken: {policy:?}"),
            }
        }
    }
}
