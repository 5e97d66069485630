//! `outrigger lock`, `unlock` and `gate`: a bar to new deployments, and the question whether it is down.
//!
//! The lock is a record of the agent's, and nothing on the platform: it holds where whoever deploys asks for it.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::explain::figures::{text_or, time};
use crate::cli::read::{Agent, AskError, ReadError, by, look, pause_length, post, rendered};
use crate::cli::{EXIT_FAILED, EXIT_TEMPORARY};
use crate::clock::Clock;

/// How often the gate is asked while it is waited for.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// `outrigger lock`
#[derive(Clone, Debug, clap::Args)]
pub struct Lock {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// Why, for whoever finds the gate shut
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// For how long, such as 30m or 2h; without it, until `outrigger unlock`
    #[arg(long = "for", value_name = "TIME", value_parser = pause_length)]
    pub length: Option<String>,
    /// Who locks; by default the user of this shell
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `outrigger unlock`
#[derive(Clone, Debug, clap::Args)]
pub struct Unlock {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// Who unlocks; by default the user of this shell
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
}

/// `outrigger gate`
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 open, 75 locked, 1 it cannot be told (no agent answers, say), 64 wrong usage.\n\nExample:\n  \
                  outrigger gate --url https://watcher.example.com --wait 10m && ./deploy"
)]
pub struct Gate {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// Wait until it opens, at most so long, such as 10m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub wait: Option<Duration>,
}

/// Locks deployments.
///
/// # Errors
///
/// Where no agent is found, or it refuses; so for all commands below.
pub async fn lock(args: &Lock) -> Result<String, ReadError> {
    let mut body = json!({ "by": by(args.by.as_deref()), "reason": args.reason });
    if let Some(length) = &args.length {
        body["for"] = json!(length);
    }
    let answer = post(&args.agent, "/api/lock", body).await?;
    let said = |answer: &Value| match answer.get("until").and_then(Value::as_str) {
        Some(until) => format!("Deployments are locked until {until}. `outrigger unlock` ends it sooner.\n"),
        None => "Deployments are locked until `outrigger unlock`.\n".to_owned(),
    };
    Ok(rendered(&args.agent, &answer, said))
}

/// Unlocks them.
///
/// # Errors
///
/// See [`lock`].
pub async fn unlock(args: &Unlock) -> Result<String, ReadError> {
    let answer = post(&args.agent, "/api/unlock", json!({ "by": by(args.by.as_deref()) })).await?;
    let said = |answer: &Value| match answer.get("was_locked").and_then(Value::as_bool) {
        Some(false) => "Deployments were not locked.\n".to_owned(),
        Some(true) | None => "Deployments are unlocked.\n".to_owned(),
    };
    Ok(rendered(&args.agent, &answer, said))
}

/// Whether deployments are unlocked, as text to be printed and as exit code. `tell` is given a line whenever what is waited
/// for changes.
///
/// # Errors
///
/// See [`lock`].
pub async fn gate(args: &Gate, tell: impl FnMut(&str)) -> Result<(String, u8), ReadError> {
    gate_asked(ASK_EVERY, args, tell).await
}

async fn gate_asked(
    every: Duration,
    args: &Gate,
    mut tell: impl FnMut(&str),
) -> Result<(String, u8), ReadError> {
    let clock = Clock::start();
    let mut told = String::new();
    loop {
        let found = look(&args.agent, "/api/gate").await;
        // What the caller must write otherwise is not waited for.
        let is_usage = found.as_ref().is_err_and(|error| error.exit_code() != EXIT_FAILED);
        let is_open = found.as_ref().is_ok_and(|(status, said)| is_open(*status, said));
        let left = args.wait.unwrap_or_default().saturating_sub(clock.uptime());
        if is_open || is_usage || left.is_zero() {
            return ended(&args.agent, found);
        }
        let state = waiting_for(&found);
        if state != told {
            tell(&format!("waiting, at most {}: {state}", humantime::format_duration(whole_seconds(left))));
            told = state;
        }
        tokio::time::sleep(every.min(left)).await;
    }
}

fn is_open(status: StatusCode, said: &Value) -> bool {
    status == StatusCode::OK && said["open"] == true
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}

type Found = Result<(StatusCode, Value), ReadError>;

fn waiting_for(found: &Found) -> String {
    match found {
        Ok((_, said)) => shut(said),
        Err(error) => error.to_string(),
    }
}

fn ended(agent: &Agent, found: Found) -> Result<(String, u8), ReadError> {
    let (status, said) = found?;
    match status {
        // Something else that answers 200 is no gate.
        StatusCode::OK if !is_open(status, &said) => {
            let message =
                "this is no answer of an agent's gate; does the address lead to its admin port?".to_owned();
            Err(AskError::Refused { status, message }.into())
        }
        StatusCode::OK => {
            Ok((rendered(agent, &said, |_| "Open: deployments are not locked.\n".to_owned()), 0))
        }
        StatusCode::LOCKED => {
            Ok((rendered(agent, &said, |said| format!("{}\n", shut(said))), EXIT_TEMPORARY))
        }
        status => {
            let message = text_or(&said, "error", "it did not say why");
            if agent.json {
                return Ok((format!("{said:#}\n"), EXIT_FAILED));
            }
            Err(AskError::Refused { status, message }.into())
        }
    }
}

fn shut(said: &Value) -> String {
    let Some(lock) = said.get("lock").filter(|lock| lock.is_object()) else {
        return text_or(said, "error", "the agent cannot tell");
    };
    let until = match lock.get("until") {
        None | Some(Value::Null) => "until `outrigger unlock`".to_owned(),
        until => format!("until {}", time(until)),
    };
    let (by, why) = (text_or(lock, "by", "someone"), text_or(lock, "reason", "no reason given"));
    format!("Locked by {by} since {}, {until}: {why}", time(lock.get("since")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::read::kit::{Answers, answering};

    const LOCKED: &str = r#"{"open":false,"error":"locked","lock":{"by":"ana","reason":"schema change",
        "since":"2026-11-23T10:00:00.000Z","until":"2026-11-23T12:00:00.000Z"}}"#;
    const OPEN: &str = r#"{"open":true,"lock":null}"#;
    const UNKNOWN: &str = r#"{"open":null,"lock":null,"error":"the loop is stuck"}"#;

    async fn ask(
        answers: Answers,
        wait: Option<Duration>,
        json: bool,
    ) -> (Result<(String, u8), ReadError>, Vec<String>) {
        let (_dir, mut agent, _) = answering(answers);
        agent.json = json;
        let mut told = Vec::new();
        let found = gate(&Gate { agent, wait }, |line| told.push(line.to_owned())).await;
        (found, told)
    }

    #[tokio::test]
    async fn open_locked_and_not_known_are_told_apart() {
        let (open, _) = ask(vec![(200, OPEN.into())], None, false).await;
        assert_eq!(open.unwrap(), ("Open: deployments are not locked.\n".to_owned(), 0));
        let (locked, _) = ask(vec![(423, LOCKED.into())], None, false).await;
        let words = "Locked by ana since 2026-11-23T10:00:00Z, until 2026-11-23T12:00:00Z: schema change\n";
        assert_eq!(locked.unwrap(), (words.to_owned(), 75));
        let (unknown, _) = ask(vec![(503, UNKNOWN.into())], None, false).await;
        let unknown = unknown.unwrap_err();
        assert_eq!((unknown.exit_code(), unknown.to_string().contains("the loop is stuck")), (1, true));
        let (json, _) = ask(vec![(503, UNKNOWN.into())], None, true).await;
        let (json, code) = json.unwrap();
        assert_eq!((code, json.contains("\"open\": null")), (1, true), "{json}");
        let (nobody, _) = ask(vec![], None, false).await;
        assert_eq!(nobody.unwrap_err().exit_code(), 1);
        // An agent that knows no gate is no open one.
        let (old, _) = ask(vec![(404, r#"{"error":"there is no such page"}"#.into())], None, false).await;
        assert_eq!(old.unwrap_err().exit_code(), 1);
    }

    #[tokio::test]
    async fn it_waits_until_it_opens_and_tells_what_it_waits_for_once() {
        let answers =
            vec![(423, LOCKED.into()), (423, LOCKED.into()), (503, UNKNOWN.into()), (200, OPEN.into())];
        let (_dir, agent, _) = answering(answers);
        let mut told = Vec::new();
        let wait = Some(Duration::from_secs(600));
        let every = Duration::from_millis(1);
        let found = gate_asked(every, &Gate { agent, wait }, |line| told.push(line.to_owned())).await;
        assert_eq!(found.unwrap().1, 0);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("Locked by ana") && told[1].contains("the loop is stuck"), "{told:?}");
    }
}
