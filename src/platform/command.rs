//! The operator's own commands: one puts a release back, another, optional, prints what is live.
//!
//! The decision is told twice: in variables (`OUTRIGGER_DECISION_ID`, `_FROM`, `_TO`, `_BREACH`, `_MODE`, `_AT`), for a
//! shell script, and as one JSON object on standard input, for everything else. The rest of our environment is passed
//! on, the platform's token with it, which is what such a command works with; our own variables are not.
//!
//! **The verdict on a command** is its exit code and nothing else: 0 is "taken", another is "refused, nothing was done",
//! which the docs tell the operator. A command that was killed, by us or by anybody, may have got half way.
//!
//! **It outlives us.** A rollback replaces the very deployment that we run in, so being told to end is what a rollback
//! that works looks like from here. The command has a group of its own, no signal of ours reaches it but at its
//! time-out, and dropping the future leaves it running.
//!
//! Output is read all the time, whatever its size, and its end kept; so a command can neither block on a full pipe nor
//! fill our memory. What the command leaves running in the background is left alone if it ended in time, but its output
//! is not read any more.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::timeout;

use crate::engine::record::{Acted, Known, Live, Order};
use crate::engine::release::Release;
use crate::https::chain;
use crate::platform::{Adopt, BoxFuture, Journal, Platform, printable};

/// How much of the end of a command's output is kept; what came before is forgotten.
const TAIL_MAX: usize = 16 * 1024;

/// How much of the beginning of its standard output is kept, for the first line: twice a release's longest name. A
/// longer line is no release's name.
const HEAD_MAX: usize = 2 * Release::LEN_MAX;

/// How much is read at once.
const CHUNK: usize = 8 * 1024;

/// How long a command is given to end after SIGTERM; then its group is killed.
const TERM_GRACE: Duration = Duration::from_secs(2);

/// How long the kernel is given to end a killed command; then we go on without its end.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// How long output is read on after the command has ended, should somebody hold its pipes open.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);

/// The prefix of our own variables, which no command gets; the decision's own are set for it.
const OWN_VARIABLES: &[u8] = b"OUTRIGGER_";

/// The operator's commands.
pub(super) struct Command {
    roll_back: Vec<String>,
    current: Vec<String>,
    timeout: Duration,
    adopt: Adopt,
}

/// The decision as the command reads it. Names are for ever: scripts of operators depend on them.
#[derive(Serialize)]
struct Decision<'a> {
    decision: &'a str,
    from: &'a str,
    to: &'a str,
    breach: &'a str,
    mode: &'a str,
    at: String,
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("no command is configured")]
    Empty,
    #[error("start `{program}`")]
    Start {
        program: String,
        #[source]
        source: io::Error,
    },
    #[error("wait for `{program}`")]
    Wait {
        program: String,
        #[source]
        source: io::Error,
    },
}

/// How a command ended, and what it wrote.
struct Ran {
    end: End,
    output: Kept,
}

enum End {
    Exited(ExitStatus),
    TimedOut,
}

/// What is kept of a command's output.
#[derive(Default)]
struct Kept {
    head: Vec<u8>,
    tail: VecDeque<u8>,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Platform for Command {
    fn kind(&self) -> &'static str {
        "command"
    }

    fn roll_back<'a>(
        &'a self,
        order: &'a Order,
        _known: &'a Known,
        _journal: &'a Journal,
    ) -> BoxFuture<'a, Acted> {
        Box::pin(async move {
            let decision = Decision::new(order);
            match self.run(&self.roll_back, decision.variables(), decision.line()).await {
                Ok(ran) => self.acted(&ran),
                Err(error @ (RunError::Empty | RunError::Start { .. })) => {
                    Acted::Refused { reason: chain(&error) }
                }
                Err(error @ RunError::Wait { .. }) => Acted::Unknown { reason: chain(&error) },
            }
        })
    }

    fn current<'a>(&'a self, _known: &'a Known) -> BoxFuture<'a, Live> {
        Box::pin(async move {
            if self.current.is_empty() {
                return Live::Unknown {
                    reason: "no command that prints the live release is configured".into(),
                };
            }
            match self.run(&self.current, Vec::new(), Vec::new()).await {
                Ok(ran) => self.live(&ran),
                Err(error) => Live::Unknown { reason: chain(&error) },
            }
        })
    }
}

impl Command {
    pub(super) fn new(roll_back: Vec<String>, current: Vec<String>, timeout: Duration, adopt: Adopt) -> Self {
        Self { roll_back, current, timeout, adopt }
    }

    fn acted(&self, ran: &Ran) -> Acted {
        let (how, output) = (self.how(&ran.end), ran.output.text());
        let told = if output.is_empty() { how } else { format!("{how}: {output}") };
        match &ran.end {
            End::Exited(status) => match status.code() {
                Some(0) => Acted::Accepted { detail: if output.is_empty() { told } else { output } },
                Some(_) => Acted::Refused { reason: told },
                None => Acted::Unknown { reason: told },
            },
            End::TimedOut => Acted::Unknown { reason: told },
        }
    }

    fn live(&self, ran: &Ran) -> Live {
        match &ran.end {
            End::Exited(status) if status.success() => match ran.output.first_line() {
                Some(release) => Live::Release(release),
                None => Live::Unknown {
                    reason: "the command did not print a release on its first line".to_owned(),
                },
            },
            End::Exited(_) | End::TimedOut => {
                Live::Unknown { reason: format!("{}: {}", self.how(&ran.end), ran.output.text()) }
            }
        }
    }

    fn how(&self, end: &End) -> String {
        match end {
            End::Exited(status) => format!("the command ended with {status}"),
            End::TimedOut => {
                format!(
                    "the command did not end within {} and was stopped",
                    humantime::format_duration(self.timeout)
                )
            }
        }
    }

    async fn run(
        &self,
        command: &[String],
        decision: Vec<(&'static str, String)>,
        input: Vec<u8>,
    ) -> Result<Ran, RunError> {
        let (program, arguments) = command.split_first().ok_or(RunError::Empty)?;
        let mut made = tokio::process::Command::new(program);
        made.args(arguments)
            .env_clear()
            .envs(passed_on())
            .envs(decision)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = None;
        let own = (self.adopt)(&mut || {
            let started = made.spawn()?;
            let pid = started.id().expect("a child that nobody has waited for has an id");
            child = Some(started);
            Ok(pid)
        });
        let failed = |source| RunError::Start { program: program.clone(), source };
        let _own = own.map_err(failed)?;
        let child = child.expect("adopting succeeded, so the child was started");
        let failed = |source| RunError::Wait { program: program.clone(), source };
        bounded(child, input, self.timeout).await.map_err(failed)
    }
}

/// Runs the conversation with a child, and stops the child's whole group if it takes too long.
async fn bounded(mut child: Child, input: Vec<u8>, limit: Duration) -> io::Result<Ran> {
    let group = child.id().map(|pid| Pid::from_raw(pid.cast_signed()));
    let kept = Mutex::new(Kept::default());
    let end = {
        let mut talk = std::pin::pin!(converse(&mut child, input, &kept));
        match timeout(limit, &mut talk).await {
            Ok(status) => End::Exited(status?),
            Err(_late) => {
                stop(group, Signal::SIGTERM);
                let ended = timeout(TERM_GRACE, &mut talk).await.is_ok();
                // What the command started may have outlived it, or have ignored the first signal.
                stop(group, Signal::SIGKILL);
                if !ended && timeout(KILL_GRACE, &mut talk).await.is_err() {
                    tracing::warn!("a killed command has not ended; its end is not waited for");
                }
                End::TimedOut
            }
        }
    };
    Ok(Ran { end, output: kept.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) })
}

/// Feeds the child, reads what it writes, and waits for its end, all at once: none may wait for another.
async fn converse(child: &mut Child, input: Vec<u8>, kept: &Mutex<Kept>) -> io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command need not read it: a broken pipe is no fault.
            let _ = stdin.write_all(&input).await;
        }
    };
    let mut talk = std::pin::pin!(async {
        tokio::join!(feed, drain(stdout, Stream::Stdout, kept), drain(stderr, Stream::Stderr, kept));
    });
    tokio::select! {
        status = child.wait() => {
            // Its last words may still be in the pipes; more than that is not ours to wait for.
            let _ = timeout(OUTPUT_GRACE, &mut talk).await;
            status
        }
        () = &mut talk => child.wait().await,
    }
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, from: Stream, kept: &Mutex<Kept>) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; CHUNK];
    // A pipe that cannot be read has nothing more to say.
    while let Ok(n @ 1..) = pipe.read(&mut chunk).await {
        lock(kept).take(&chunk[..n], from);
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn stop(group: Option<Pid>, signal: Signal) {
    // The only fault there can be is that nobody is left to be stopped.
    let _ = group.map(|group| killpg(group, signal));
}

/// Our environment without what is ours.
#[expect(clippy::disallowed_methods, reason = "handed on to the command; nothing of it is read here")]
fn passed_on() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| !is_own(name))
}

fn is_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(OWN_VARIABLES)
}

impl Kept {
    fn take(&mut self, bytes: &[u8], from: Stream) {
        if let Stream::Stdout = from {
            let room = HEAD_MAX - self.head.len();
            self.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        }
        let end = &bytes[bytes.len().saturating_sub(TAIL_MAX)..];
        let excess = (self.tail.len() + end.len()).saturating_sub(TAIL_MAX);
        self.tail.drain(..excess);
        self.tail.extend(end);
    }

    fn text(&self) -> String {
        let (a, b) = self.tail.as_slices();
        printable(&[a, b].concat())
    }

    fn first_line(&self) -> Option<Release> {
        let line = self.head.split(|&byte| byte == b'\n').next()?;
        Release::new(std::str::from_utf8(line).ok()?.trim())
    }
}

impl<'a> Decision<'a> {
    fn new(order: &'a Order) -> Self {
        Self {
            decision: order.record.as_str(),
            from: order.from.as_str(),
            to: order.to.as_str(),
            breach: order.breach,
            mode: order.mode.label(),
            at: order.at.to_string(),
        }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        [
            ("OUTRIGGER_DECISION_ID", self.decision),
            ("OUTRIGGER_DECISION_FROM", self.from),
            ("OUTRIGGER_DECISION_TO", self.to),
            ("OUTRIGGER_DECISION_BREACH", self.breach),
            ("OUTRIGGER_DECISION_MODE", self.mode),
            ("OUTRIGGER_DECISION_AT", &self.at),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec()
    }

    fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("text under constant names is always JSON");
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
