//! `outrigger rollback`: a person puts a release back, sees each step, and is told how it ended.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::cli::explain::figures::{tag, text_or};
use crate::cli::explain::{self, steps};
use crate::cli::read::{Agent, AskError, ReadError, by, get, post_within, rendered};
use crate::cli::{EXIT_FAILED, EXIT_TEMPORARY, EXIT_USAGE};
use crate::clock::Clock;

/// How long the agent may take to write the decision down and to order it, or to ask the platform; then it is called hung.
const ASK_MAX: Duration = Duration::from_secs(30);
/// How often the record is read while it is followed.
const READ_EVERY: Duration = Duration::from_secs(1);
/// So many times in a row the agent may not answer while it is followed; then it is gone.
const SILENCE_MAX: u32 = 10;

/// `outrigger rollback`
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 the target is live (or, with --dry-run, nothing stands in the way), 1 nothing was done or it \
                  failed (or, with --dry-run, it would fail, or the platform cannot tell), 75 it is under way and its end was \
                  not seen, 64 wrong usage.\n\nAn agent whose platform is dry-run puts nothing back: ask the one that has the \
                  token, such as the watcher."
)]
pub struct Rollback {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// What to put back: a release, one of the platform's deployments, or the first six characters or more of either; by
    /// default the last release that was known good
    #[arg(long, value_name = "RELEASE|DEPLOYMENT")]
    pub to: Option<String>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT", default_value = "no reason given")]
    pub reason: String,
    /// Who asks; by default the user of this shell
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Only say what would be put back and what stands in the way
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// How long to follow it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    pub wait: Duration,
}

/// What a person says to the question.
pub trait Person {
    /// Whether one is there.
    fn is_there(&self) -> bool;
    /// Shows `text` and asks; whether the answer was yes.
    fn agrees(&mut self, text: &str) -> bool;
    /// Shows a line.
    fn sees(&mut self, line: &str);
}

/// Who sits at this terminal.
#[derive(Debug)]
pub struct AtTerminal;

impl Person for AtTerminal {
    fn is_there(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    fn agrees(&mut self, text: &str) -> bool {
        eprint!("{text}\nDo it? [y/N] ");
        let mut said = String::new();
        let heard = std::io::stderr().flush().is_ok() && std::io::stdin().read_line(&mut said).is_ok();
        heard && matches!(said.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }

    fn sees(&mut self, line: &str) {
        eprintln!("{line}");
    }
}

/// Does it, and returns what is to be printed and the exit code.
///
/// # Errors
///
/// Where no agent is found, or it refuses.
pub async fn rollback(args: &Rollback, person: &mut impl Person) -> Result<(String, u8), ReadError> {
    rollback_read(READ_EVERY, args, person).await
}

async fn rollback_read(
    every: Duration,
    args: &Rollback,
    person: &mut impl Person,
) -> Result<(String, u8), ReadError> {
    if args.dry_run {
        let found = rehearse(args).await?;
        let code = if found.get("ready").and_then(Value::as_bool) == Some(true) { 0 } else { EXIT_FAILED };
        return Ok((rendered(&args.agent, &found, rehearsed), code));
    }
    if !args.yes {
        if args.agent.json || !person.is_there() {
            let text =
                "outrigger: nobody is here to confirm the rollback; say --yes, or look first with --dry-run";
            person.sees(text);
            return Ok((String::new(), EXIT_USAGE));
        }
        let found = rehearse(args).await?;
        if !person.agrees(&rehearsed(&found)) {
            return Ok(("Nothing was done.\n".to_owned(), EXIT_FAILED));
        }
    }
    let answer = ask(args, false).await?;
    let record = answer.get("record").unwrap_or(&Value::Null).clone();
    follow(every, args, record, person).await
}

async fn rehearse(args: &Rollback) -> Result<Value, ReadError> {
    ask(args, true).await
}

async fn ask(args: &Rollback, dry_run: bool) -> Result<Value, ReadError> {
    let mut body = json!({ "by": by(args.by.as_deref()), "reason": args.reason, "dry_run": dry_run });
    if let Some(to) = &args.to {
        body["to"] = json!(to);
    }
    post_within(ASK_MAX, &args.agent, "/api/rollback", body).await
}

/// What would be done, in words.
fn rehearsed(found: &Value) -> String {
    let release = text_or(found, "release", "(unknown)");
    let mut text = match found.get("target").and_then(Value::as_str) {
        Some(target) => {
            format!("Release {release} would be rolled back to {}.\n", explain::figures::clean(target))
        }
        None => format!("Release {release} runs, and there is nothing to put back.\n"),
    };
    if let Some(target) = found.get("platform_target").and_then(Value::as_str) {
        text.push_str(&format!("On the platform: {}\n", explain::figures::clean(target)));
    }
    for (key, title) in [("faults", "in the way"), ("warnings", "beware")] {
        for of in found.get(key).and_then(Value::as_array).into_iter().flatten() {
            text.push_str(&format!(
                "{title:<12}{}\n",
                of.as_str().map(explain::figures::clean).unwrap_or_default()
            ));
        }
    }
    text.push_str(match found.get("ready").and_then(Value::as_bool) {
        Some(true) => "Nothing stands in the way.\n",
        Some(false) => "It would fail.\n",
        None if is_dry(found) => "",
        None => "The platform has no means to tell whether it would work.\n",
    });
    if is_dry(found) {
        text.push_str(
            "This agent's platform is dry-run: nothing would be put back. Ask the agent that has the token.\n",
        );
    }
    text
}

/// Whether the agent says that its platform does nothing.
fn is_dry(found: &Value) -> bool {
    found.get("platform").and_then(Value::as_str) == Some("dry_run")
}

/// Shows each step as it is recorded, until the act has ended.
async fn follow(
    every: Duration,
    args: &Rollback,
    mut record: Value,
    person: &mut impl Person,
) -> Result<(String, u8), ReadError> {
    let clock = Clock::start();
    let id = text_or(&record, "id", "");
    person.sees(&format!("decision {id}: {}", explain::in_short(&record)));
    let (mut shown, mut silent) = (0, 0);
    loop {
        let lines = steps::lines(&record);
        for line in lines.iter().skip(shown) {
            person.sees(line);
        }
        shown = shown.max(lines.len());
        if !is_open(&record) {
            return Ok((rendered(&args.agent, &record, |record| end(record, &id)), code(&record)));
        }
        if clock.uptime() >= args.wait || silent > SILENCE_MAX {
            let why = if silent > 0 {
                "The agent has ended, as it must when the release that it runs beside is replaced. "
            } else {
                ""
            };
            let text = format!(
                "The rollback is under way, and its end was not seen. {why}See `outrigger explain {id}` beside the release \
                 that is put back, or what the platform has live.\n"
            );
            return Ok((rendered(&args.agent, &record, |_| text), EXIT_TEMPORARY));
        }
        tokio::time::sleep(every).await;
        match get(&args.agent, &format!("/api/records/{id}")).await {
            Ok(read) => (record, silent) = (read, 0),
            // It may not be written yet.
            Err(ReadError::Ask(AskError::Refused { status, .. })) if status == StatusCode::NOT_FOUND => {}
            Err(_) => silent += 1,
        }
    }
}

fn is_open(record: &Value) -> bool {
    matches!(tag(record, "progress"), Some("intended" | "accepted"))
}

fn code(record: &Value) -> u8 {
    match tag(record, "progress") {
        Some("succeeded") => 0,
        _ => EXIT_FAILED,
    }
}

fn end(record: &Value, id: &str) -> String {
    let mut text = format!("{}\n", explain::record(record).trim_end());
    if tag(record, "progress") == Some("succeeded") {
        text.push_str(
            "\nWhether it helped is judged in the next minutes and recorded; deployments are locked meanwhile: see \
             `outrigger status` and `outrigger history`, and `outrigger unlock` when the repaired release may go out.\n",
        );
    } else {
        if tag(record, "progress") == Some("dry_run") {
            text.push_str(
                "\nNothing was put back: this agent's platform is dry-run. Ask the agent that has the token.\n",
            );
        }
        text.push_str(&format!("\n`outrigger explain {id}` shows this again.\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::read::kit::{Answers, answering};

    /// A person who says yes or no, or is not there.
    struct Someone {
        says: Option<bool>,
        saw: String,
    }

    impl Person for Someone {
        fn is_there(&self) -> bool {
            self.says.is_some()
        }

        fn agrees(&mut self, text: &str) -> bool {
            self.sees(text);
            self.says == Some(true)
        }

        fn sees(&mut self, line: &str) {
            self.saw.push_str(line);
            self.saw.push('\n');
        }
    }

    const READY: &str = r#"{"dry_run":true,"release":"v2","target":"v1","ready":true,"platform_target":"deployment d-1",
        "faults":[],"warnings":["auto-deploy is on"]}"#;
    const BARRED: &str = r#"{"dry_run":true,"release":"v2","target":null,"ready":false,"faults":["no other release"],"warnings":[]}"#;

    fn record(progress: &str, steps: &str) -> String {
        format!(
            r#"{{"id":"0abc","at":"2026-11-23T10:00:00.000Z","release":"v2","kind":"decided","decision":"roll_back",
            "target":"v1","verdict":{{"verdict":"healthy"}},"reasons":[{{"reason":"asked_by","by":"ana","why":"x"}}],
            "progress":{{"progress":"{progress}"}},"steps":[{steps}]}}"#
        )
    }

    const STEP: &str = r#"{"at":"2026-11-23T10:00:01.000Z","step":"call","outcome":"begun"}"#;
    const DONE: &str = r#"{"at":"2026-11-23T10:00:02.000Z","step":"call","outcome":"done","detail":"true"}"#;

    async fn run(
        answers: Answers,
        says: Option<bool>,
        change: impl FnOnce(&mut Rollback),
    ) -> (Result<(String, u8), ReadError>, String, usize) {
        let count = answers.len();
        let (_dir, agent, served) = answering(answers);
        let mut args = Rollback {
            agent,
            to: None,
            reason: "checkout fails".to_owned(),
            by: Some("ana".to_owned()),
            dry_run: false,
            yes: false,
            wait: Duration::from_secs(600),
        };
        change(&mut args);
        let mut person = Someone { says, saw: String::new() };
        let found = rollback_read(Duration::from_millis(1), &args, &mut person).await;
        let asked = if served.is_finished() { served.await.unwrap().len() } else { 0 };
        assert!(asked == count || asked == 0);
        (found, person.saw, asked)
    }

    #[tokio::test]
    async fn a_dry_run_says_what_would_be_put_back_and_what_stands_in_the_way() {
        let (found, ..) = run(vec![(200, READY.into())], None, |args| args.dry_run = true).await;
        let (text, code) = found.unwrap();
        assert_eq!(code, 0);
        assert!(
            text.contains("Release v2 would be rolled back to v1.") && text.contains("auto-deploy is on"),
            "{text}"
        );
        let (found, ..) = run(vec![(200, BARRED.into())], None, |args| args.dry_run = true).await;
        let (text, code) = found.unwrap();
        assert_eq!((code, text.contains("no other release")), (1, true), "{text}");
    }

    #[tokio::test]
    async fn what_cannot_be_told_or_only_rehearses_is_no_success() {
        let unknown = READY.replace("\"ready\":true", "\"ready\":null");
        let (found, ..) = run(vec![(200, unknown.clone())], None, |args| args.dry_run = true).await;
        let (text, code) = found.unwrap();
        assert_eq!((code, text.contains("no means to tell")), (1, true), "{text}");
        let dry = unknown.replace("\"dry_run\":true", "\"dry_run\":true,\"platform\":\"dry_run\"");
        let (found, ..) = run(vec![(200, dry.clone())], None, |args| args.dry_run = true).await;
        let (text, code) = found.unwrap();
        assert_eq!((code, text.contains("Ask the agent that has the token.")), (1, true), "{text}");
        let (_, saw, _) = run(vec![(200, dry)], Some(false), |_| ()).await;
        assert!(saw.contains("nothing would be put back"), "{saw}");
        let ended = format!(r#"{{"dry_run":false,"record":{}}}"#, record("dry_run", ""));
        let (found, ..) = run(vec![(200, ended)], None, |args| args.yes = true).await;
        let (text, code) = found.unwrap();
        assert_eq!((code, text.contains("Nothing was put back")), (1, true), "{text}");
    }

    #[tokio::test]
    async fn nothing_is_done_without_a_yes() {
        let (nobody, saw, _) = run(vec![], None, |_| ()).await;
        assert_eq!(nobody.unwrap(), (String::new(), 64));
        assert!(saw.contains("--yes"), "{saw}");
        let (no, saw, _) = run(vec![(200, READY.into())], Some(false), |_| ()).await;
        assert_eq!(no.unwrap(), ("Nothing was done.\n".to_owned(), 1));
        assert!(saw.contains("v1"), "{saw}");
    }

    #[tokio::test]
    async fn each_step_is_shown_once_until_the_end() {
        let begun = format!(r#"{{"dry_run":false,"record":{}}}"#, record("intended", ""));
        let answers = vec![
            (200, READY.to_owned()),
            (200, begun),
            (404, r#"{"error":"there is no record"}"#.to_owned()),
            (200, record("intended", STEP)),
            (200, record("accepted", &format!("{STEP},{DONE}"))),
            (200, record("succeeded", &format!("{STEP},{DONE}"))),
        ];
        let (found, saw, _) = run(answers, Some(true), |_| ()).await;
        let (text, code) = found.unwrap();
        assert_eq!(code, 0, "{text}");
        assert_eq!(saw.matches("call the platform: begun").count(), 1, "{saw}");
        assert_eq!(saw.matches("call the platform: done: true").count(), 1, "{saw}");
        assert!(text.contains("outrigger unlock"), "{text}");
    }

    #[tokio::test]
    async fn an_agent_that_goes_with_its_release_is_no_failure_and_no_success() {
        let begun = format!(r#"{{"dry_run":false,"record":{}}}"#, record("accepted", ""));
        let (found, ..) = run(vec![(200, begun)], None, |args| args.yes = true).await;
        let (text, code) = found.unwrap();
        assert_eq!((code, text.contains("outrigger explain 0abc")), (75, true), "{text}");
        let held = record("nothing_to_do", "").replace("roll_back", "hold");
        let begun = format!(r#"{{"dry_run":false,"record":{held}}}"#);
        let (found, ..) = run(vec![(200, begun)], None, |args| args.yes = true).await;
        assert_eq!(found.unwrap().1, 1);
        let refused = vec![(409, r#"{"error":"v9 is neither a release nor a deployment"}"#.to_owned())];
        let (found, ..) = run(refused, None, |args| args.yes = true).await;
        let error = found.unwrap_err();
        assert!(error.to_string().contains("v9 is neither"), "{error}");
    }
}
