//! One agent process: how it is started, what is read from it, how it is ended.
//!
//! Both its outputs are always drained into files, so that it never blocks on a full pipe. Of its log only one line is
//! understood: the one that says where it listens.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use crate::config::Secret;
use crate::stage::app::ONSET_LINE;
use crate::stage::event::{Addresses, AgentExit};
use crate::stage::leash;

/// Of a longer line the rest is kept in the file and not understood.
const LINE_MAX: usize = 64 * 1024;
/// What is kept of one output; more is drained and dropped.
const LOG_MAX: u64 = 64 << 20;
/// The variable that hands over the key: a configuration file or an argument could be read by others.
const PEER_KEY: &str = "OUTRIGGER_PEER_KEY";
/// Facts not yet taken; at the bound the reader waits, and what it reads with it.
const HEARD_MAX: usize = 16;

/// What was understood of a process's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The agent listens.
    Listening(Addresses),
    /// The app's fault began.
    FaultBegan,
}

/// How to start an agent.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    /// How Outrigger is called.
    pub(crate) outrigger: Vec<OsString>,
    /// The agent's subcommand and arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Where its outputs are kept.
    pub(crate) dir: PathBuf,
    /// What it shares with the other agents of the stage.
    pub(crate) peer_key: Option<Secret>,
    /// What the platform tells it by variables.
    pub(crate) environment: Vec<(String, Secret)>,
}

/// A running agent, at the head of its own process group.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    pid: u32,
    heard: mpsc::Receiver<Heard>,
}

impl Process {
    /// Starts it. The environment holds at most that key and what the stage's platform tells: what the operator's shell or platform
    /// sets must not change the demo.
    pub(crate) fn start(launch: &Launch) -> io::Result<Self> {
        let (program, leading) = launch.outrigger.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let log = log_file(&launch.dir.join("agent.log"))?;
        let out = log_file(&launch.dir.join("app.log"))?;
        let mut child = Command::new(program)
            .args(leading)
            .args([leash::SUBCOMMAND, "--parent"])
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&launch.outrigger)
            .args(&launch.arguments)
            .env_clear()
            .envs(launch.peer_key.iter().map(|key| (PEER_KEY, key.expose())))
            .envs(launch.environment.iter().map(|(name, value)| (name, value.expose())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(drain(stderr, log, sender.clone(), listening));
        }
        if let Some(stdout) = child.stdout.take() {
            tokio::spawn(drain(stdout, out, sender, fault_began));
        }
        Ok(Self { child, pid, heard })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The next fact heard, or the end. May be dropped and called again.
    pub(crate) async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            Some(heard) = self.heard.recv() => Next::Heard(heard),
            status = self.child.wait() => Next::Ended(exit(status)),
        }
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        // It may have ended already, which is as well.
        let _gone = kill(self.nix_pid(), Signal::SIGTERM);
    }

    /// Kills the agent alone; its app is left to end by itself, or with [`Process::sweep`].
    pub(crate) fn kill(&mut self) {
        let _gone = self.child.start_kill();
    }

    /// Kills whatever is left of its group, as a container dies with its first process.
    pub(crate) fn sweep(&self) {
        let _gone = killpg(self.nix_pid(), Signal::SIGKILL);
    }

    fn nix_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.pid).expect("the kernel's process ids fit an i32"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.sweep();
    }
}

/// What a process did next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It said something.
    Heard(Heard),
    /// It ended.
    Ended(AgentExit),
}

fn exit(status: io::Result<ExitStatus>) -> AgentExit {
    match status {
        Ok(status) => AgentExit { code: status.code(), signal: status.signal() },
        // Waiting for one's own child fails only when it was reaped elsewhere: it is gone, how is not known.
        Err(_) => AgentExit { code: None, signal: None },
    }
}

/// Opened to append: a restarted agent goes on in the same file.
fn log_file(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

async fn drain(
    mut from: impl AsyncRead + Unpin,
    mut file: File,
    heard: mpsc::Sender<Heard>,
    understand: fn(&[u8]) -> Option<Heard>,
) {
    let mut chunk = vec![0; 16 * 1024];
    let mut line = Vec::new();
    let mut kept = 0;
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let bytes = &chunk[..count];
        if kept < LOG_MAX {
            // A full disk must not stop the stage; the log is then incomplete.
            let _best_effort = file.write_all(bytes);
            kept += count as u64;
        }
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            if line.len() + part.len() <= LINE_MAX {
                line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                if let Some(fact) = understand(&line) {
                    // Nobody listens any more once the process's keeper has gone.
                    let _gone = heard.send(fact).await;
                }
                line.clear();
            }
        }
    }
}

/// The agent's JSON line `listening`; its fields may stand beside the message or in `fields`.
fn listening(line: &[u8]) -> Option<Heard> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| line.get(name).or_else(|| line.get("fields")?.get(name))?.as_str();
    if field("message")? != "listening" {
        return None;
    }
    let (public, admin) = (field("public")?.parse().ok()?, field("admin")?.parse().ok()?);
    Some(Heard::Listening(Addresses { public, admin }))
}

fn fault_began(line: &[u8]) -> Option<Heard> {
    let found = line.windows(ONSET_LINE.len()).any(|w| w == ONSET_LINE.as_bytes());
    found.then_some(Heard::FaultBegan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_addresses_are_read_from_its_log_flat_or_nested() {
        let flat =
            br#"{"level":"INFO","message":"listening","public":"127.0.0.1:81","admin":"127.0.0.1:82"}"#;
        let nested = br#"{"fields":{"message":"listening","public":"127.0.0.1:81","admin":"127.0.0.1:82"}}"#;
        let addresses =
            Addresses { public: "127.0.0.1:81".parse().unwrap(), admin: "127.0.0.1:82".parse().unwrap() };
        assert_eq!(listening(flat), Some(Heard::Listening(addresses)));
        assert_eq!(listening(nested), Some(Heard::Listening(addresses)));
        assert_eq!(listening(br#"{"message":"app listening","public":"127.0.0.1:81"}"#), None);
        assert_eq!(listening(b"listening"), None);
    }

    #[tokio::test]
    async fn a_long_line_is_kept_and_the_next_one_still_understood() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut text = vec![b'x'; 3 * LINE_MAX];
        text.push(b'\n');
        text.extend_from_slice(ONSET_LINE.as_bytes());
        text.push(b'\n');
        let (sender, mut heard) = mpsc::channel(1);
        drain(text.as_slice(), log_file(&path).unwrap(), sender, fault_began).await;
        assert_eq!(heard.recv().await, Some(Heard::FaultBegan));
        assert_eq!(std::fs::read(path).unwrap().len(), text.len());
    }
}
