//! Slack's messages, read by Slack's own library for Python. `scripts/test` installs it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use outrigger::clock::Clock;
use outrigger::config::{Flags, Sources, load};
use outrigger::engine::alert::{self, Alert, Context, Figure, Severity};
use outrigger::engine::time::Time;
use outrigger::notify::{self, Sent};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::WAIT;
use crate::sink::Sink;

/// Reads each message's blocks, lets the library validate them, and looks for what it passed over.
const JUDGE: &str = r##"
import json, sys
from slack_sdk.models.blocks import Block
from slack_sdk.models.attachments import BlockAttachment

def judge(blocks):
    parsed = Block.parse_all(blocks)
    assert len(parsed) == len(blocks) <= 50, blocks
    for block, given in zip(parsed, blocks):
        block.validate_json()
        assert type(block).__name__ in ("HeaderBlock", "SectionBlock", "ContextBlock"), block
        assert block.to_dict() == given, (block.to_dict(), given)
        kind, text = given["type"], given.get("text", {}).get("text", "")
        assert len(text) <= (150 if kind == "header" else 3000), (kind, len(text))
        assert all(len(field["text"]) <= 2000 for field in given.get("fields", [])), given
        assert all(len(part["text"]) <= 3000 for part in given.get("elements", [])), given

count = 0
for line in sys.stdin:
    message = json.loads(line)
    assert message["text"], message
    judge(message["blocks"])
    for attachment in message["attachments"]:
        judge(attachment["blocks"])
        BlockAttachment(blocks=Block.parse_all(attachment["blocks"]), color=attachment["color"]).validate_json()
    count += 1
print(count, "judged")
"##;

/// One of each kind that differs in form: short, with everything, and with texts that are far too long.
fn alerts() -> Vec<Alert> {
    let context =
        Context { service: "shop".to_owned(), environment: "production".to_owned(), ..Context::default() };
    let short = alert::test(Time::from_millis(1_763_848_800_000), &context);
    let text = |text: &str| Some(text.to_owned());
    let figure = Figure {
        what: "failed requests of GET /users/{id}".to_owned(),
        stream: "route_errors".to_owned(),
        baseline: "0.10 %".to_owned(),
        limit: "0.50 %".to_owned(),
        recent: None,
    };
    let full = Alert {
        severity: Severity::Critical,
        figures: vec![figure; alert::FIGURES_MAX],
        reasons: vec!["Because <of> & that.".to_owned()],
        agreed: text("2 of 3 agents: a, b"),
        steps: vec!["call: done".to_owned()],
        progress: text("It failed."),
        release: text("v42"),
        target: text("v41"),
        record: text("0192"),
        link: text("https://admin.example.com/?a=b&c=d"),
        ..short.clone()
    };
    let long = "<&> long ".repeat(900);
    let long = Alert {
        title: long.clone(),
        summary: long.clone(),
        reasons: vec![long.clone(); 60],
        figures: vec![
            Figure {
                what: long.clone(),
                stream: long.clone(),
                baseline: long.clone(),
                limit: long.clone(),
                recent: None
            };
            alert::FIGURES_MAX
        ],
        release: text(&long),
        target: text(&long),
        record: text(&long),
        agreed: Some(long.clone()),
        progress: Some(String::new()),
        ..full.clone()
    };
    vec![short, full, long]
}

#[tokio::test]
async fn slacks_own_library_takes_every_message() {
    let Some(python) = python() else { return };
    let sink = Sink::start(Vec::new()).await;
    let channel = channel(&sink);
    for alert in alerts() {
        assert_eq!(channel.send(&alert).await, Sent::Told);
    }
    let lines: String = sink.posts().iter().map(|post| format!("{}\n", post.body)).collect();
    let (ok, text) = judge(&python, &lines).await;
    assert!(ok && text.contains("3 judged"), "{text}");
    // And it would have said so: a header that is too long.
    let broken = lines.replacen("[low] shop", &"x".repeat(151), 1);
    assert!(!judge(&python, &broken).await.0, "a header of more than 150 characters was taken");
}

#[tokio::test]
async fn an_answer_that_says_nothing_in_time_is_a_failure_that_names_no_address() {
    let sink = Sink::start(vec![crate::sink::Answer::Silence, crate::sink::Answer::Cut]).await;
    let channel = channel(&sink);
    for _ in 0..2 {
        let began = Clock::start();
        let sent = channel.send(&alerts()[0]).await;
        assert!(began.uptime() < Duration::from_secs(30));
        let Sent::Failed { why } = sent else { panic!("{sent:?}") };
        assert!(!why.contains("planted"), "{why}");
    }
    assert!(!format!("{channel:?}").contains("planted"), "{channel:?}");
}

fn channel(sink: &Sink) -> notify::Channel {
    let url = format!("http://{}/services/planted", sink.address);
    let env = [("OUTRIGGER_SLACK_WEBHOOK", url.as_str()), ("OUTRIGGER__ALERTS__TIMEOUT", "1s")];
    let env = env.map(|(name, value)| (OsString::from(name), OsString::from(value))).to_vec();
    let directory = std::env::temp_dir();
    let sources = Sources { file: None, directory, env, flags: Flags::default() };
    let config = load(sources).unwrap_or_else(|faults| panic!("{faults}")).config;
    notify::channels(&config.alerts).unwrap().pop().unwrap()
}

async fn judge(python: &Path, lines: &str) -> (bool, String) {
    let mut child = Command::new(python)
        .args(["-c", JUDGE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    let output = timeout(WAIT, child.wait_with_output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Python with Slack's library; `None`, and said so, where it is not installed.
fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-kit/venv/bin/python");
    let found = std::process::Command::new(&python).args(["-c", "import slack_sdk"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let is_off = variable("REAL_APPS").is_some_and(|value| value == "off");
    assert!(is_off || variable("CI").is_none(), "slack_sdk is missing: run scripts/test, which installs it");
    eprintln!("SKIPPED: slack_sdk is missing; scripts/test installs it");
    None
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
