//! One agent in its namespace, beside the demo's app: started, asked, killed, frozen and woken.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::land::Place;

/// The binary.
const OUTRIGGER: &str = env!("CARGO_BIN_EXE_outrigger");
/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(120);
/// Between two looks at a condition that sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// What is shown of an agent's log when a test has failed.
const LOG_LINES: usize = 30;
/// Every agent's, each in a namespace of its own.
const PUBLIC_PORT: u16 = 8080;

/// Looks until there is something to see, under [`WAIT`].
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = timeout(WAIT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
}

/// What an agent is told.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) deployment: &'static str,
    pub(crate) release: &'static str,
    pub(crate) behave: &'static str,
    pub(crate) replicas: usize,
    pub(crate) peer_key: String,
    /// The platform's door.
    pub(crate) platform: SocketAddr,
    pub(crate) dir: PathBuf,
}

/// An agent.
pub(crate) struct Agent {
    pub(crate) part: Part,
    pub(crate) place: Place,
    child: Child,
}

impl Agent {
    /// Starts it with an empty disk.
    pub(crate) fn start(part: Part, place: Place) -> Self {
        let child = spawn(&part, &place);
        Self { part, place, child }
    }

    /// Starts it again, as the platform does: the same replica, another boot, an empty disk.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.part, &self.place);
    }

    /// Where clients go.
    pub(crate) fn public(&self) -> SocketAddr {
        SocketAddr::from((self.place.address, PUBLIC_PORT))
    }

    /// Its status, if it answers.
    pub(crate) async fn status(&self) -> Option<Value> {
        self.ask(&["status"]).await
    }

    /// Whether it could reach a quorum, and with whom.
    pub(crate) async fn quorum(&self) -> Option<Value> {
        self.ask(&["quorum"]).await
    }

    /// What it remembers, newest first, its own and what it was handed.
    pub(crate) async fn history(&self) -> Option<Vec<Value>> {
        let ran = self.ask(&["history"]).await?;
        ran["records"].as_array().cloned()
    }

    /// The other agents of its deployment that it has met; `None` while it does not say.
    pub(crate) async fn met(&self) -> Option<usize> {
        let quorum = self.quorum().await?;
        let voters = quorum["voters"].as_array()?;
        Some(voters.iter().filter(|voter| voter.as_str() != Some(&self.part.name)).count())
    }

    /// Until it has met so many.
    pub(crate) async fn meets(&self, count: usize) {
        let what = format!("{} has met {count}", self.part.name);
        eventually(&what, async || (self.met().await? == count).then_some(())).await;
    }

    async fn ask(&self, words: &[&str]) -> Option<Value> {
        let mut command = Command::new(OUTRIGGER);
        command.args(words).arg("--json").arg("--data").arg(self.data());
        command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
        // A frozen agent takes the question and never answers.
        let ran = timeout(Duration::from_secs(5), command.output()).await.ok()?.ok()?;
        // The code tells whether all is well, what is printed tells what is; where nobody answered nothing is printed.
        serde_json::from_slice(&ran.stdout).ok()
    }

    fn data(&self) -> PathBuf {
        self.part.dir.join("volume")
    }

    /// Until its status is as wanted.
    pub(crate) async fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let what = format!("{}: {what}", self.part.name);
        eventually(&what, async || self.status().await.filter(|status| wanted(status))).await
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.part.dir.join("agent.log")).unwrap_or_default()
    }

    /// SIGKILL, and its end.
    pub(crate) async fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        timeout(WAIT, self.child.wait()).await.expect("a killed agent ends").unwrap();
        // The app goes with the container.
        self.sweep();
    }

    /// SIGSTOP: it stands still and holds its connections.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub(crate) fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.child.id() {
            kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
        }
    }

    fn sweep(&self) {
        let [ip, netns, _, name] = self.place.command();
        let listed = std::process::Command::new(ip).args([netns, "pids", name]).output().unwrap();
        for pid in String::from_utf8(listed.stdout).unwrap().lines() {
            let _ended = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Its directory goes with the test; what it said last may tell what went wrong.
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(LOG_LINES);
            eprintln!("{}:\n{}", self.part.name, lines[last..].join("\n"));
        }
    }
}

fn spawn(part: &Part, place: &Place) -> Child {
    let volume = part.dir.join("volume");
    let _first = std::fs::remove_dir_all(&volume);
    std::fs::create_dir_all(&volume).unwrap();
    let config = part.dir.join("outrigger.toml");
    std::fs::write(&config, configuration(part)).unwrap();
    let log =
        |name: &str| std::fs::File::options().create(true).append(true).open(part.dir.join(name)).unwrap();
    let before = place.command();
    let own = std::process::id().to_string();
    let (config, volume) = (config.to_str().unwrap(), volume.to_str().unwrap());
    Command::new(before[0])
        .args(&before[1..])
        // Ended with this process, however that ends.
        .args([OUTRIGGER, "demo-leash", "--parent", &own, "--"])
        .args([OUTRIGGER, "run", "--config", config, "--data", volume, "--"])
        .args([OUTRIGGER, "demo-app", "--port", "{port}", "--release", part.release])
        .args(["--behave", part.behave, "--after", "0s"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("OUTRIGGER_PEER_KEY", &part.peer_key)
        .stdin(Stdio::null())
        .stdout(log("app.log"))
        .stderr(log("agent.log"))
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

fn configuration(part: &Part) -> String {
    let Part { name, deployment, release, replicas, platform, .. } = part;
    // The first one is to be known good soon. An agent that is cut off needs longer than that to see what is wrong, for it
    // has a third of the evidence; a watch that has passed by then would be a rightful reason not to act.
    let watch = if *release == "v1" { "10s" } else { "90s" };
    format!(
        "[service]\nname = \"shop\"\nenvironment = \"test\"\nrelease = \"{release}\"\nreplica = \"{name}\"\n\
         replicas = {replicas}\ndeployment = \"{deployment}\"\n\n[listen]\npublic = \"[::]:{PUBLIC_PORT}\"\n\
         admin = \"off\"\npeers = \"[::]:9901\"\n\n[peers]\nname = \"shop.internal\"\nrefresh = \"1s\"\n\n\
         [platform]\nkind = \"local\"\nurl = \"http://{platform}\"\ntimeout = \"5s\"\n\n[log]\nformat = \"json\"\n\n\
         [judge]\nwatch = \"{watch}\"\nwarm_up = \"0s\"\nwarm_up_requests = 0\nknown_good_requests = 200\n\
         baseline_requests_min = 100\n\n[rollback]\nmode = \"enforce\"\nverify = \"15s\"\n"
    )
}
