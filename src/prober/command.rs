//! A program of the operator's: its exit code is the answer, its first line the words.
//!
//! It is started without a shell, in a process group of its own, and gets our environment without our own variables and
//! without the platform's tokens. When it ends, is dropped or takes too long, its whole group is killed: what is started
//! every few seconds may leave nothing behind. What leaves the group on purpose is not followed.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::probes::Command as Ask;
use crate::prober::Adopt;
use crate::prober::dial::Stage;
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply, chain, cut};

/// How much of the beginning of each of its two outputs is kept, for the first line; the rest is read and dropped.
const HEAD_MAX: usize = 4 * 1024;
/// How much is read at once.
const CHUNK: usize = 4 * 1024;
/// How long output is read on after its end, should somebody who left its group hold the pipes open.
const OUTPUT_GRACE: Duration = Duration::from_millis(100);
/// Variables that it does not get: all of ours,
const OWN_VARIABLES: &[u8] = b"OUTRIGGER_";
/// and those with which one could change what is deployed.
const TOKENS: [&str; 2] = ["RAILWAY_TOKEN", "RAILWAY_API_TOKEN"];

/// Asks by running a program. Its latency is the run's.
pub(super) struct Command {
    ask: Ask,
    clock: Clock,
    adopt: Adopt,
    stage: Stage,
}

/// A program that runs. It and its group are killed with this value.
struct Running {
    child: Child,
    /// `None` once it has ended.
    group: Option<Pid>,
    /// Keeps the reaper of orphans from its status.
    _own: Box<dyn Send>,
}

impl Command {
    pub(super) fn new(ask: Ask, clock: Clock, adopt: Adopt) -> Self {
        Self { ask, clock, adopt, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let Some((program, arguments)) = self.ask.words.split_first() else {
            return Err(Failure::Unable("no program is configured".to_owned()));
        };
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        self.stage.enter(format!("the end of the program `{name}`"));
        let began = self.clock.instant();
        let running = Running::start(program, arguments, &self.adopt).map_err(|error| {
            Failure::Unable(format!("the program `{program}` could not be started: {}", chain(&error)))
        })?;
        let (status, line) = running.end().await.map_err(|error| {
            Failure::Unable(format!("the end of the program `{name}` was not seen: {}", chain(&error)))
        })?;
        answer(&name, status, &line, self.clock.instant().duration_since(began))
    }
}

/// What an exit code and the first line of the output say.
fn answer(name: &str, status: ExitStatus, line: &str, latency: Duration) -> Result<Reply, Failure> {
    let said = if line.is_empty() { String::new() } else { format!(": {line}") };
    let mut reply = Reply { latency, ..Reply::default() };
    reply.phase("run", latency);
    match status.code() {
        Some(0) => {}
        Some(1) => reply.concern(format!("`{name}` ended with code 1, which says degraded{said}")),
        Some(2) => {
            return Err(Failure::Down(format!("`{name}` ended with code 2, which says failed{said}")));
        }
        Some(code) => {
            let text = format!("`{name}` ended with code {code}, which says that it cannot tell{said}");
            return Err(Failure::Unable(text));
        }
        None => {
            let signal = status.signal().and_then(|signal| Signal::try_from(signal).ok());
            let signal = signal.map_or("a signal", Signal::as_str);
            return Err(Failure::Unable(format!(
                "`{name}` was ended by {signal}, so it could not tell{said}"
            )));
        }
    }
    reply.number("exit_code", f64::from(status.code().unwrap_or_default()));
    if !line.is_empty() {
        reply.text("output", line);
    }
    Ok(reply)
}

impl Running {
    fn start(program: &str, arguments: &[String], adopt: &Adopt) -> io::Result<Self> {
        let mut made = tokio::process::Command::new(program);
        made.args(arguments)
            .env_clear()
            .envs(passed_on())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = None;
        let own = adopt(&mut || {
            let started = made.spawn()?;
            let pid = started.id().expect("a child that nobody has waited for has an id");
            child = Some((started, Pid::from_raw(pid.cast_signed())));
            Ok(pid)
        })?;
        let (child, group) = child.expect("adopting succeeded, so the child was started");
        Ok(Self { child, group: Some(group), _own: own })
    }

    /// Waits for its end; with the first line that it wrote.
    async fn end(mut self) -> io::Result<(ExitStatus, String)> {
        let (stdout, stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = {
            let mut reading = std::pin::pin!(async {
                tokio::join!(drain(stdout, &mut out), drain(stderr, &mut err));
            });
            tokio::select! {
                status = self.child.wait() => {
                    self.kill();
                    let _ = timeout(OUTPUT_GRACE, &mut reading).await;
                    status?
                }
                () = &mut reading => {
                    let status = self.child.wait().await;
                    self.kill();
                    status?
                }
            }
        };
        let line = first_line(&out).or_else(|| first_line(&err)).unwrap_or_default();
        Ok((status, line))
    }

    /// Kills what is left of its group. Its own id was free again for a moment where it was alone in it; that a new group
    /// took that very id meanwhile would need the kernel to have counted through all of them.
    fn kill(&mut self) {
        if let Some(group) = self.group.take() {
            // The only fault there can be is that nobody is left.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The runtime takes the status of a child that was dropped.
        self.kill();
    }
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = [0; CHUNK];
    // A pipe that cannot be read has nothing more to say.
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        let room = HEAD_MAX - kept.len();
        kept.extend_from_slice(&chunk[..n.min(room)]);
    }
}

/// The first line with something in it.
fn first_line(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(cut)
}

/// Our environment without what is ours, and without the platform's tokens.
#[expect(clippy::disallowed_methods, reason = "handed on to the program; nothing of it is read here")]
fn passed_on() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !is_kept(name))
}

fn is_kept(name: &OsStr) -> bool {
    name.as_bytes().starts_with(OWN_VARIABLES) || TOKENS.iter().any(|token| name == OsStr::new(token))
}

impl Probe for Command {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_the_answer_and_the_first_line_its_words() {
        let ended = |raw: i32, line: &str| answer("check", ExitStatus::from_raw(raw), line, Duration::ZERO);
        let reply = ended(0, "3 jobs wait").unwrap();
        assert!(reply.concerns.is_empty());
        assert_eq!(reply.facts.len(), 2, "{reply:?}");
        let reply = ended(1 << 8, "300 jobs wait").unwrap();
        assert_eq!(reply.concerns, ["`check` ended with code 1, which says degraded: 300 jobs wait"]);
        let failure = ended(2 << 8, "").unwrap_err();
        assert_eq!(failure, Failure::Down("`check` ended with code 2, which says failed".to_owned()));
        let failure = ended(3 << 8, "no such queue").unwrap_err();
        let text = "`check` ended with code 3, which says that it cannot tell: no such queue";
        assert_eq!(failure, Failure::Unable(text.to_owned()));
        let failure = ended(9, "").unwrap_err();
        assert_eq!(failure, Failure::Unable("`check` was ended by SIGKILL, so it could not tell".to_owned()));
    }

    #[test]
    fn the_first_line_is_the_first_with_something_in_it() {
        assert_eq!(first_line(b"\n  \n  one \ntwo\n").as_deref(), Some("one"));
        assert_eq!(first_line(b"\xff\n").as_deref(), Some("\u{fffd}"));
        assert_eq!(first_line(b"\n \n"), None);
    }

    #[test]
    fn our_variables_and_the_tokens_are_kept() {
        for (name, kept) in [
            ("OUTRIGGER_TOKEN", true),
            ("RAILWAY_TOKEN", true),
            ("RAILWAY_API_TOKEN", true),
            ("RAILWAY_SERVICE_ID", false),
            ("DATABASE_URL", false),
            ("PATH", false),
        ] {
            assert_eq!(is_kept(OsStr::new(name)), kept, "{name}");
        }
    }
}
