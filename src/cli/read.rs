//! Commands that ask a running agent: `status`, `history`, `explain`, `pause`, `resume`.
//!
//! Owns their arguments, how the agent is found (its unix socket in the data directory, or its admin port elsewhere), and what is sent. What an
//! answer looks like as text is `explain`'s.

mod client;
#[cfg(test)]
pub(super) mod kit;

use std::path::PathBuf;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::cli::read::client::{LIMIT, Way};
use crate::cli::{explain, quorum};
use crate::config::{Faults, Flags, Secret, Sources, admin_token, load, process_environment, user_name};

pub use crate::cli::read::client::AskError;

/// The agent's socket in its data directory.
pub const SOCKET: &str = "outrigger.sock";
/// The most records that are asked for at once; the answer then still fits its bound.
const RECORDS_MAX: u16 = 500;
/// The longest record id that is asked for, in characters.
const ID_LEN_MAX: usize = 64;

/// Where the agent is, and how to answer.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Agent {
    /// The agent's data directory; its socket is in there [default: as the configuration says, else .outrigger]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The agent's configuration file, which names the data directory
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub config: Option<PathBuf>,
    /// An agent elsewhere: the address of its admin port, such as <http://watcher.railway.internal:9900>. OUTRIGGER_TOKEN
    /// must hold that agent's token
    #[arg(long, value_name = "URL", conflicts_with_all = ["data", "config"])]
    pub url: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `outrigger status`
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Status {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
}

/// `outrigger history`
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 they are shown, 1 no agent answers or it refuses, 64 wrong usage or configuration."
)]
pub struct History {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// How many records, newest first
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=i64::from(RECORDS_MAX)))]
    pub limit: u16,
}

/// `outrigger explain`
#[derive(Clone, Debug, clap::Args)]
pub struct Explain {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// The record's id, as `outrigger history` shows it; without one, the verdict of this moment is explained
    #[arg(value_name = "RECORD", value_parser = record_id)]
    pub record: Option<String>,
}

/// `outrigger pause`
#[derive(Clone, Debug, clap::Args)]
pub struct Pause {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// For how long, such as 30m or 2h; without it, until `outrigger resume`
    #[arg(long = "for", value_name = "TIME", value_parser = pause_length)]
    pub length: Option<String>,
    /// Why, for whoever finds the pause
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub reason: String,
    /// Who pauses; by default the user of this shell
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `outrigger resume`
#[derive(Clone, Debug, clap::Args)]
pub struct Resume {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// Who resumes; by default the user of this shell
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The data directory is not known because the configuration is wrong; the faults, one a line.
    #[error(
        "the configuration does not say where the agent is; put it right, or name the data directory with --data:\n{0}"
    )]
    Configuration(Faults),
    /// `--url` is no address.
    #[error(
        "--url is no plain address; give that of the agent's admin port, such as \
         http://watcher.railway.internal:9900, and its token in OUTRIGGER_TOKEN, never in the address"
    )]
    Url,
    /// The agent did not do it.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The agent knows no such record.
    #[error("there is no record {id}; `outrigger history` lists them")]
    NoRecord {
        /// The record that was asked for.
        id: String,
    },
}

impl ReadError {
    /// The process's exit code: 64 for what the caller must write otherwise, else 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Configuration(_) | Self::Url => 64,
            Self::Ask(_) | Self::NoRecord { .. } => 1,
        }
    }
}

/// What is so now, as text to be printed.
///
/// # Errors
///
/// Where no agent is found, or it refuses; so for all commands below.
pub async fn status(args: &Status) -> Result<String, ReadError> {
    let snapshot = get(&args.agent, "/api/snapshot").await?;
    Ok(rendered(&args.agent, &snapshot, explain::status))
}

/// Whether a quorum could be reached now, as text to be printed, and whether it is so.
///
/// # Errors
///
/// See [`status`].
pub async fn quorum(args: &Status) -> Result<(String, bool), ReadError> {
    let answer = get(&args.agent, "/api/peers").await?;
    let found = answer.get("quorum").unwrap_or(&Value::Null);
    Ok((rendered(&args.agent, found, quorum::text), quorum::is_reachable(found)))
}

/// What happened, one record a line.
///
/// # Errors
///
/// See [`status`].
pub async fn history(args: &History) -> Result<String, ReadError> {
    let answer = get(&args.agent, &format!("/api/records?limit={}", args.limit)).await?;
    let table = |answer: &Value| {
        let records = answer.get("records").unwrap_or(answer).as_array();
        explain::history(records.map_or(&[], Vec::as_slice))
    };
    Ok(rendered(&args.agent, &answer, table))
}

/// One record in full; without one, why the agent says what it says now.
///
/// # Errors
///
/// See [`status`]; and where there is no such record.
pub async fn explain(args: &Explain) -> Result<String, ReadError> {
    let Some(id) = &args.record else {
        let snapshot = get(&args.agent, "/api/snapshot").await?;
        return Ok(rendered(&args.agent, &snapshot, explain::now));
    };
    let answer = get(&args.agent, &format!("/api/records/{id}")).await;
    match answer {
        Err(ReadError::Ask(AskError::Refused { status, .. })) if status == StatusCode::NOT_FOUND => {
            Err(ReadError::NoRecord { id: id.clone() })
        }
        answer => Ok(rendered(&args.agent, &answer?, explain::record)),
    }
}

/// Keeps the agent from acting.
///
/// # Errors
///
/// See [`status`].
pub async fn pause(args: &Pause) -> Result<String, ReadError> {
    let mut body = json!({ "by": by(args.by.as_deref()), "reason": args.reason });
    if let Some(length) = &args.length {
        body["for"] = json!(length);
    }
    let answer = post(&args.agent, "/api/pause", body).await?;
    let said = |answer: &Value| match answer.get("until").and_then(Value::as_str) {
        Some(until) => format!("Acting is paused until {until}. `outrigger resume` ends it sooner.\n"),
        None => "Acting is paused until `outrigger resume`.\n".to_owned(),
    };
    Ok(rendered(&args.agent, &answer, said))
}

/// Lets the agent act again.
///
/// # Errors
///
/// See [`status`].
pub async fn resume(args: &Resume) -> Result<String, ReadError> {
    let answer = post(&args.agent, "/api/resume", json!({ "by": by(args.by.as_deref()) })).await?;
    Ok(rendered(&args.agent, &answer, |_| "Acting is resumed.\n".to_owned()))
}

pub(super) async fn get(agent: &Agent, path: &str) -> Result<Value, ReadError> {
    Ok(client::ask(&way(agent)?, Method::GET, path, None).await?)
}

pub(super) async fn post(agent: &Agent, path: &str, body: Value) -> Result<Value, ReadError> {
    post_within(LIMIT, agent, path, body).await
}

pub(super) async fn post_within(
    limit: Duration,
    agent: &Agent,
    path: &str,
    body: Value,
) -> Result<Value, ReadError> {
    Ok(client::ask_within(limit, &way(agent)?, Method::POST, path, Some(body)).await?)
}

/// A page of which every status means something.
pub(super) async fn look(agent: &Agent, path: &str) -> Result<(StatusCode, Value), ReadError> {
    Ok(client::look(&way(agent)?, path).await?)
}

fn way(agent: &Agent) -> Result<Way, ReadError> {
    let Some(url) = &agent.url else { return Ok(Way::Socket(socket(agent)?)) };
    let base = address(url).ok_or(ReadError::Url)?;
    let token = admin_token(&process_environment()).map(Secret::new);
    Ok(Way::Port { base, token })
}

/// A named data directory is enough: a faulty configuration must not keep a person from pausing.
fn socket(agent: &Agent) -> Result<PathBuf, ReadError> {
    if let Some(data) = &agent.data {
        return Ok(data.join(SOCKET));
    }
    let loaded = load(Sources::of_process(agent.config.clone(), Flags::default()));
    Ok(loaded.map_err(ReadError::Configuration)?.config.store.dir.join(SOCKET))
}

pub(super) fn rendered(agent: &Agent, answer: &Value, text: impl FnOnce(&Value) -> String) -> String {
    if agent.json { format!("{answer:#}\n") } else { text(answer) }
}

pub(super) fn by(named: Option<&str>) -> String {
    let user = || user_name(&process_environment()).unwrap_or_else(|| "someone at the shell".to_owned());
    named.map_or_else(user, str::to_owned)
}

fn record_id(text: &str) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.len() <= ID_LEN_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| text.to_owned()).ok_or_else(|| {
        "a record's id is made of letters and digits, as in 0mhab3k2q1a2b01; `outrigger history` lists them".to_owned()
    })
}

/// A plain address with a host, and no secret in it: everybody on a machine sees its command lines. What was given is not
/// repeated.
fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    is_plain.then_some(url)
}

pub(super) fn pause_length(text: &str) -> Result<String, String> {
    match humantime::parse_duration(text) {
        // "30M" would be thirty months.
        Ok(length) if !length.is_zero() && !text.contains('M') => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("give a time with its unit, such as 30m, 2h or 1d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    enum Line {
        Status(Status),
        History(History),
        Explain(Explain),
        Pause(Pause),
        Resume(Resume),
    }

    fn parse(line: &str) -> Result<Line, String> {
        let words = std::iter::once("outrigger").chain(line.split(' '));
        Line::try_parse_from(words).map_err(|error| error.to_string())
    }

    /// Runs a command line against an agent that answers once with `answer`; what was printed, and what was asked.
    async fn run(line: &str, status: u16, answer: &str) -> (Result<String, ReadError>, String) {
        let (dir, _, served) = kit::answering(vec![(status, answer.to_owned())]);
        let line = parse(&format!("{line} --data {}", dir.path().display())).unwrap();
        let printed = async {
            match &line {
                Line::Status(args) => super::status(args).await,
                Line::History(args) => history(args).await,
                Line::Explain(args) => explain(args).await,
                Line::Pause(args) => pause(args).await,
                Line::Resume(args) => resume(args).await,
            }
        };
        let (printed, served) = tokio::join!(printed, served);
        (printed, served.unwrap().remove(0))
    }

    #[tokio::test]
    async fn a_pause_says_who_why_and_for_how_long() {
        let (printed, asked) = run(
            "pause --for 30m --reason migration --by ana",
            200,
            r#"{"paused":true,"until":"2025-11-22T04:00:00Z"}"#,
        )
        .await;
        assert_eq!(
            printed.unwrap(),
            "Acting is paused until 2025-11-22T04:00:00Z. `outrigger resume` ends it sooner.\n"
        );
        let body: Value = serde_json::from_str(asked.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert!(asked.starts_with("POST /api/pause "));
        assert_eq!(body, json!({"by": "ana", "reason": "migration", "for": "30m"}));
    }

    #[tokio::test]
    async fn the_answer_is_printed_as_text_or_as_json() {
        let (text, asked) = run("history --limit 3", 200, r#"{"records":[]}"#).await;
        assert_eq!(text.unwrap(), "Nothing has happened yet.\n");
        assert!(asked.starts_with("GET /api/records?limit=3 "));
        let (json, _) = run("status --json", 200, r#"{"release":"v2"}"#).await;
        assert_eq!(json.unwrap(), "{\n  \"release\": \"v2\"\n}\n");
        let (now, asked) = run("explain", 200, r#"{"release":"v2","verdict":{"label":"healthy"}}"#).await;
        assert!(now.unwrap().starts_with("Release v2: healthy\n") && asked.starts_with("GET /api/snapshot "));
        let (resumed, _) = run("resume --by ana", 200, r#"{"paused":false}"#).await;
        assert_eq!(resumed.unwrap(), "Acting is resumed.\n");
    }

    #[tokio::test]
    async fn an_unknown_record_is_named() {
        let (error, asked) = run("explain 0abc", 404, r#"{"error":"no"}"#).await;
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "there is no record 0abc; `outrigger history` lists them");
        assert_eq!(error.exit_code(), 1);
        assert!(asked.starts_with("GET /api/records/0abc "));
    }

    #[test]
    fn wrong_arguments_say_what_would_be_right() {
        for (line, part) in [
            ("explain ../snapshot", "`outrigger history` lists them"),
            ("pause --for soon", "such as 30m"),
            ("pause --for 30M", "such as 30m"),
            ("history --limit 0", "1..=500"),
            ("status --data a --config b", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn an_address_holds_no_secret_and_is_not_repeated() {
        for url in ["watcher", "ftp://host", "http://ana:hunter2@host:9900", "http://host/?token=hunter2"] {
            let error = way(&Agent { url: Some(url.to_owned()), ..Agent::default() }).unwrap_err();
            assert_eq!(error.exit_code(), 64);
            assert!(
                error.to_string().contains("OUTRIGGER_TOKEN") && !error.to_string().contains("hunter2"),
                "{error}"
            );
        }
        let url = Some("http://watcher.railway.internal:9900".to_owned());
        assert!(matches!(way(&Agent { url, ..Agent::default() }), Ok(Way::Port { .. })));
    }

    #[test]
    fn a_faulty_configuration_is_the_callers_to_put_right() {
        let agent = Agent { config: Some(PathBuf::from("/nowhere/outrigger.toml")), ..Agent::default() };
        let error = socket(&agent).unwrap_err();
        assert_eq!(error.exit_code(), 64);
        assert!(error.to_string().contains("/nowhere/outrigger.toml"), "{error}");
    }
}
