//! The real binary, running an app, and what it says of itself.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{self, Client};
use crate::kit::App;
use crate::process::{AccessLog, Process, environment, eventually};

/// Time to drain; and a watch that is over soon, for a release's baseline is kept from then on.
const CONFIG: &str = "[app]\ndrain = \"20s\"\n\
    [judge]\nwatch = \"5s\"\nknown_good_requests = 100\nwarm_up = \"0s\"\nwarm_up_requests = 0\n";

pub(crate) struct Agent {
    pub(crate) public: SocketAddr,
    pub(crate) log: AccessLog,
    pub(crate) ended_connections: AccessLog,
    admin: SocketAddr,
    app: App,
    process: Process,
    folder: TempDir,
}

impl Agent {
    /// Starts the agent with the app and waits until both are ready.
    pub(crate) async fn start(app: App) -> Self {
        Self::start_in(app, &[], tempfile::tempdir().expect("a temporary folder can be made")).await
    }

    /// Starts it by way of another program, whose first words these are.
    pub(crate) async fn start_under(launcher: &[&str], app: App) -> Self {
        Self::start_in(app, launcher, tempfile::tempdir().expect("a temporary folder can be made")).await
    }

    /// Starts the agent again on the data that it left behind.
    pub(crate) async fn start_again(self) -> Self {
        Self::start_in(self.app, &[], self.folder).await
    }

    async fn start_in(app: App, launcher: &[&str], folder: TempDir) -> Self {
        let config = folder.path().join("outrigger.toml");
        fs::write(&config, CONFIG).expect("the folder is ours");
        let mut command: Vec<OsString> = launcher.iter().map(OsString::from).collect();
        command.extend([env!("CARGO_BIN_EXE_outrigger").into(), "run".into()]);
        command.extend([
            "--config".into(),
            config.into(),
            "--data".into(),
            folder.path().join("data").into(),
        ]);
        command.extend(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--"].map(OsString::from));
        command.extend(app.command("{port}"));
        let log = AccessLog::in_folder(folder.path());
        let ended_connections = AccessLog::of_connections(folder.path());
        let mut process = Process::start(&command, &environment(folder.path()), &app.working_folder());
        let (public, admin) = process.hear("where it listens", listening).await;
        let agent = Self { public, log, ended_connections, admin, app, process, folder };
        eventually("the agent is healthy", async || {
            let (_, body) = Client::of(agent.admin).get("/api/health").await;
            let health: Value = serde_json::from_slice(&body).ok()?;
            (health["status"] == "healthy").then_some(())
        })
        .await;
        agent
    }

    /// Where the app itself listens, by its own word.
    pub(crate) async fn app_address(&self) -> SocketAddr {
        let (status, body) = Client::of(self.public).get("/where").await;
        assert_eq!(status, 200);
        let port = client::json(&body)["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        (Ipv4Addr::LOCALHOST, port.expect("the app names its port")).into()
    }

    /// The sum of a metric over all its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let (status, body) = Client::of(self.admin).get("/metrics").await;
        assert_eq!(status, 200);
        sum(str::from_utf8(&body).expect("metrics are UTF-8"), name)
    }

    /// The sum of a metric over those of its label sets in which a label has this value.
    pub(crate) async fn metric_of(&self, name: &str, value: &str) -> f64 {
        let (status, body) = Client::of(self.admin).get("/metrics").await;
        assert_eq!(status, 200);
        let looked_for = format!("=\"{value}\"");
        let text = str::from_utf8(&body).expect("metrics are UTF-8");
        text.lines().filter(|line| line.contains(&looked_for)).map(|line| sum(line, name)).sum()
    }

    /// What stands at a JSON pointer in `/api/snapshot`; `null` where nothing does.
    pub(crate) async fn snapshot(&self, pointer: &str) -> Value {
        let (status, body) = Client::of(self.admin).get("/api/snapshot").await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        let snapshot: Value = serde_json::from_slice(&body).expect("a snapshot is JSON");
        snapshot.pointer(pointer).cloned().unwrap_or_default()
    }

    /// The highest resident memory so far, of the agent alone.
    pub(crate) fn peak_memory_kib(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the agent runs");
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux tells the peak");
        line.trim().trim_end_matches(" kB").trim().parse().expect("it is a number of KiB")
    }

    /// Waits until the agent has logged `message`.
    pub(crate) async fn said(&mut self, message: &str) {
        let looked_for = format!("\"message\":\"{message}\"");
        self.process.hear(message, |line| line.contains(&looked_for).then_some(())).await;
    }

    /// Its own process, or that of the program that started it.
    pub(crate) fn id(&self) -> i32 {
        self.process.id()
    }

    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    pub(crate) async fn ended(&mut self) -> i32 {
        self.process.ended().await
    }
}

/// The addresses in the agent's JSON line `listening`; its fields may stand beside the message or in `fields`.
fn listening(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
    (field("message")? == "listening").then_some(())?;
    Some((field("public")?.parse().ok()?, field("admin")?.parse().ok()?))
}

fn sum(exposition: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let number = match rest.strip_prefix('{') {
            Some(labels) => labels.rsplit_once('}')?.1,
            None => rest.strip_prefix(' ')?,
        };
        number.split_whitespace().next()?.parse::<f64>().ok()
    };
    exposition.lines().filter_map(value).sum()
}

#[test]
fn the_listening_line_is_understood_flat_and_nested() {
    let expected = Some(("127.0.0.1:81".parse().unwrap(), "127.0.0.1:82".parse().unwrap()));
    let fields = r#""message":"listening","public":"127.0.0.1:81","admin":"127.0.0.1:82""#;
    assert_eq!(listening(&format!("{{\"level\":\"INFO\",{fields}}}")), expected);
    assert_eq!(listening(&format!("{{\"fields\":{{{fields}}}}}")), expected);
    assert_eq!(listening("INFO listening"), None);
    assert_eq!(listening(r#"{"message":"app listening","public":"127.0.0.1:81"}"#), None);
}

#[test]
fn a_metric_is_summed_over_its_labels_and_no_other_metric_is() {
    let text = "# TYPE a_total counter\na_total{x=\"1 } 2\"} 3\na_total{x=\"b\"} 4 1700000000\na_total_other 9\na_total 0.5\n";
    assert_eq!(sum(text, "a_total"), 7.5);
}
