//! An operator's own roll-back command, end to end: an agent beside an app, without any platform of ours.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger::clock::Clock;
use outrigger::stage::load::Load;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr};
use tokio::time::timeout;

use crate::process::{OUTRIGGER, WAIT, ask, ask_if_there, ask_json, eventually, outrigger, processes_with};

/// The operator's script: it keeps what it was told, once for each run.
const ROLL_BACK: &str = "#!/bin/sh\nenv | grep ^OUTRIGGER_ | sort >> \"$1/variables\"\ncat >> \"$1/input\"\n\
                         echo run >> \"$1/runs\"\necho the platform takes it\n";

struct Operator {
    dir: TempDir,
}

impl Operator {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("roll-back.sh");
        let mut file = std::fs::File::create(&script).unwrap();
        file.write_all(ROLL_BACK.as_bytes()).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o700)).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn says_live(&self, release: &str) {
        // Renamed into place: the command never reads half of it.
        std::fs::write(self.path("live.new"), format!("{release}\n")).unwrap();
        std::fs::rename(self.path("live.new"), self.path("live")).unwrap();
    }

    fn config(&self, release: &str) -> PathBuf {
        let dir = self.dir.path().to_str().unwrap();
        let text = format!(
            "[service]\nrelease = \"{release}\"\n\n[app]\ndrain = \"3s\"\n\n[judge]\nwatch = \"10s\"\nwarm_up = \"0s\"\n\
             warm_up_requests = 0\nknown_good_requests = 200\nbaseline_requests_min = 100\ncatastrophe_ticks = 2\n\
             catastrophe_error_share = 0.05\n\n[rollback]\nmode = \"enforce\"\n\n[platform]\nkind = \"command\"\n\
             roll_back = [\"{dir}/roll-back.sh\", \"{dir}\"]\ncurrent = [\"/bin/cat\", \"{dir}/live\"]\ntimeout = \"20s\"\n"
        );
        let path = self.path(&format!("{release}.toml"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }
}

/// An agent beside the demo's app.
struct Agent {
    child: Child,
    public: SocketAddr,
    log: Lines<BufReader<ChildStderr>>,
}

impl Agent {
    async fn start(operator: &Operator, release: &str, behave: &str) -> Self {
        let (config, data) = (operator.config(release), operator.data());
        let (config, data) = (config.to_str().unwrap(), data.to_str().unwrap());
        let agent =
            ["run", "--config", config, "--listen", "127.0.0.1:0", "--admin", "off", "--data", data, "--"];
        let app = [OUTRIGGER, "demo-app", "--port", "{port}", "--release", release, "--behave", behave];
        let words = agent.iter().chain(&app).chain(&["--after", "0s"]);
        let mut child = outrigger(words).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let listening = timeout(WAIT, async {
            while let Some(line) = log.next_line().await.unwrap() {
                let told: Value = serde_json::from_str(&line).unwrap();
                let field =
                    |name: &str| told.get(name).or_else(|| told["fields"].get(name)).and_then(Value::as_str);
                if field("message") == Some("listening") {
                    return field("public").unwrap().parse().ok();
                }
                said.push(line);
            }
            None
        });
        let public = listening.await.unwrap().unwrap_or_else(|| panic!("it never listened: {said:#?}"));
        Self { child, public, log }
    }

    /// SIGTERM, and its own end; what it logged since it listened.
    async fn end(mut self) -> Vec<String> {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        let mut lines = Vec::new();
        let ended = async {
            while let Some(line) = self.log.next_line().await.unwrap() {
                lines.push(line);
            }
            self.child.wait().await.unwrap()
        };
        let status = timeout(WAIT, ended).await.unwrap();
        assert!(status.success(), "{status}: {lines:#?}");
        lines
    }
}

async fn rollbacks(data: &Path) -> Vec<Value> {
    let history = ask_json(data, &["history", "--limit", "100"]).await;
    let records = history["records"].as_array().unwrap().clone();
    records.into_iter().filter(|record| record["decision"] == "roll_back").collect()
}

async fn rollback_that_is(data: &Path, progress: &str) -> Value {
    eventually(&format!("a rollback that is {progress}"), async || {
        let found = rollbacks(data).await;
        assert!(found.len() <= 1, "{found:#?}");
        found.into_iter().next().filter(|record| record["progress"]["progress"] == progress)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_command_is_run_once_with_the_decision_and_its_end_is_seen() {
    let operator = Operator::new();
    let data = operator.data();
    operator.says_live("v1");
    let agent = Agent::start(&operator, "v1", "good").await;
    let load = Load::start(agent.public, 100.0, 1, Clock::start());
    eventually("v1 is known good", async || {
        let status = ask_if_there(&data, &["status"]).await?;
        (status["standing"] == "known_good").then_some(())
    })
    .await;
    load.stop().await;
    agent.end().await;

    operator.says_live("v2");
    let agent = Agent::start(&operator, "v2", "errors").await;
    let load = Load::start(agent.public, 100.0, 2, Clock::start());
    let accepted = rollback_that_is(&data, "accepted").await;
    let id = accepted["id"].as_str().unwrap();
    assert_eq!((accepted["release"].as_str(), accepted["target"].as_str()), (Some("v2"), Some("v1")));
    assert!(accepted["progress"]["detail"].as_str().unwrap().contains("the platform takes it"), "{accepted}");
    let told: Value = serde_json::from_str(&operator.read("input")).unwrap();
    assert_eq!((told["decision"].as_str(), told["from"].as_str()), (Some(id), Some("v2")));
    assert_eq!((told["to"].as_str(), told["mode"].as_str()), (Some("v1"), Some("enforce")));
    let variables = operator.read("variables");
    for line in
        [&format!("OUTRIGGER_DECISION_ID={id}"), "OUTRIGGER_DECISION_FROM=v2", "OUTRIGGER_DECISION_TO=v1"]
    {
        assert!(variables.lines().any(|variable| variable == line), "no {line} in {variables}");
    }

    operator.says_live("v1");
    let succeeded = rollback_that_is(&data, "succeeded").await;
    assert_eq!(succeeded["id"], id);
    assert_eq!(operator.read("runs"), "run\n", "the command is run once for one decision");
    let text = ask(&data, &["explain", id]).await;
    assert!(text.contains("v1 was put back; it was seen live at "), "{text}");
    load.stop().await;
    agent.end().await;
    let left = processes_with(operator.dir.path().to_str().unwrap());
    assert!(left.is_empty(), "left behind: {left:#?}");
}
