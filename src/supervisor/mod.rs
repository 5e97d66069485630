//! The app as a child process: its start, its signals, its end; and the duties of a process that may be PID 1.
//!
//! It owns what an `exec` needs and what a shell would say when one fails, the set of our own children, the reaping of
//! everybody else's, and the list of signals that we take. It does not know when to stop or restart the app, nor what
//! a drain is: it hands over what was received, and does what it is told.
//!
//! **Who may call [`Supervisor::spawn`].** The child asks the kernel to be killed when its parent dies
//! (`PR_SET_PDEATHSIG`), so that a killed agent leaves no app behind that holds the port and that nobody watches. That
//! wish is bound to the *thread* that forked: if that thread ends, the app is killed although the process lives. So the
//! app is spawned from the main thread only (from the future that the main thread blocks on, never from a spawned
//! task): it does not end before the process. The kernel drops the wish when a set-user-id program is executed.
//!
//! **Process groups.** The app leads a group of its own, unless our standard input is a terminal. With its own group
//! the app and what it started can be told from ourselves and ended together, and a Ctrl-C reaches only us, who drain
//! first and tell the app after. But a process outside the terminal's foreground group that reads from the terminal is
//! stopped by SIGTTIN, so at a terminal the app stays in our group: there Ctrl-C reaches both at once, as it does for
//! any command a person runs, and a relayed HUP, QUIT, WINCH or CONT may arrive twice. At a terminal a person wants
//! the prompt back; the drain matters where a platform sends its signal to us alone.
//!
//! **Signals.** An app that is its own first process gets what is meant for it; past a wrapper (`sh -c`, `npm`) a signal
//! goes to what the wrapper runs, see `tree`. When the first process has ended, what it left behind is ended too.
//!
//! **What the child gets**: our standard streams as they are (no pipe between: its buffering, its order, its colours,
//! and its logs outlive us), default signal dispositions and an empty mask (the standard library sees to both; what was
//! *ignored* when we started stays ignored, as under `nohup`), the limit on open files that we were started with, and
//! our environment without what is ours.

mod app;
#[doc(hidden)]
pub mod fuzz;
mod memory;
mod reaper;
mod signals;
#[cfg(test)]
mod tests;
mod tree;
mod usage;

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::unistd::{getpid, getppid, gettid};
use tokio::process::Command;

use crate::config::Reach;

pub use nix::sys::signal::Signal;

pub use crate::supervisor::app::{App, Rest, exit_code};
pub use crate::supervisor::reaper::{OwnChild, OwnChildren, reap};
pub use crate::supervisor::signals::{Received, Signals};
pub use crate::supervisor::usage::Usage;

/// Where a port for the app is looked for: above the well-known ones and below those that Linux gives, unless told
/// otherwise, to whoever asks for any.
const PORTS: Range<u16> = 10_240..32_768;
/// Ports that are tried there; when all are taken, the system chooses one.
const PORT_TRIES_MAX: usize = 100;
/// Held by tests that have children: the agents among them end whatever is below the process when they end.
#[cfg(test)]
pub(crate) static CHILDREN_OF_TESTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The most open files we ask for, should we be allowed more: enough for ten thousand clients and as many connections
/// to the app many times over. Beyond it `accept` fails, and the proxy's own limit is far below.
const OPEN_FILES_MAX: rlim_t = 1 << 20;

/// The prefix of our own variables: no child gets them, for they hold our secrets.
const OWN_VARIABLES: &[u8] = b"OUTRIGGER_";

/// Why the app could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The command is empty.
    #[error("no command was given: name a program after `--`")]
    Empty,
    /// There is no such program.
    #[error(
        "command `{command}` was not found: it must be the path of an executable file, or its name in a directory of PATH"
    )]
    NotFound {
        /// The program.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is there and cannot be executed.
    #[error(
        "command `{command}` cannot be executed: it must be a program, or a script whose first line names one, with permission to execute"
    )]
    NotExecutable {
        /// The program.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system could not make a process.
    #[error("start a process for command `{command}`")]
    Fork {
        /// The program.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SpawnError {
    /// The exit code that a shell would end with.
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Empty => 64,
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::Fork { .. } => 1,
        }
    }

    fn new(command: &OsStr, source: io::Error) -> Self {
        let name = command.to_string_lossy().into_owned();
        let is_path = command.as_bytes().contains(&b'/');
        match source.raw_os_error().map(Errno::from_raw) {
            // The file is there, so what was not found is the interpreter that its first line names.
            Some(Errno::ENOENT) if is_path && Path::new(command).exists() => {
                Self::NotExecutable { command: name, source }
            }
            Some(Errno::ENOENT) => Self::NotFound { command: name, source },
            Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ESRCH) => {
                Self::Fork { command: name, source }
            }
            _ => Self::NotExecutable { command: name, source },
        }
    }
}

/// What is to be started, and how.
#[derive(Clone, Copy)]
pub struct Launch<'a> {
    /// The program and its arguments; `{port}` and `{socket}` in the arguments are replaced.
    pub command: &'a [OsString],
    /// The port that the app is to listen on; PORT is set to it.
    pub port: u16,
    /// The socket that it is to listen on instead.
    pub socket: Option<&'a Path>,
    /// How far signals go.
    pub reach: Reach,
    /// Which variables are withheld besides our own.
    pub hidden: &'a dyn Fn(&OsStr) -> bool,
}

/// What is needed to start the app and to be its parent.
#[derive(Debug)]
pub struct Supervisor {
    own: OwnChildren,
    before: Before,
}

/// What a child gets back that we changed for ourselves.
#[derive(Clone, Debug, Default)]
struct Before {
    open_files: Option<(rlim_t, rlim_t)>,
    dispositions: Vec<Signal>,
}

impl Supervisor {
    /// Makes this process fit to be a parent: it inherits the orphans below it, as PID 1 does by nature, and may open
    /// as many files as the hard limit allows. Neither is worth failing for; what could not be had is logged.
    pub fn start() -> Self {
        if getpid().as_raw() != 1
            && let Err(error) = prctl::set_child_subreaper(true)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "orphans of the app will not be reaped: could not become a subreaper"
            );
        }
        // The app may run as the same user: it shall not read our memory or our environment, where the token is. A child
        // gets the default back when it executes its command.
        if let Err(error) = prctl::set_dumpable(false) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the app can read this process: could not become undumpable"
            );
        }
        let dispositions = signals::ignore_terminal_stops();
        Self { own: OwnChildren::default(), before: Before { open_files: raise_open_files(), dispositions } }
    }

    /// The set of our own children. Whatever else in this process spawns one must do so through
    /// [`OwnChildren::adopt`], or the reaper takes its status away.
    pub fn own_children(&self) -> OwnChildren {
        self.own.clone()
    }

    /// Starts the app. **Only from the main thread**, see the module's page; within a tokio runtime.
    #[expect(clippy::disallowed_methods, reason = "handed on to the child; nothing of it is read here")]
    pub fn spawn(&self, launch: &Launch<'_>) -> Result<App, SpawnError> {
        self.spawn_in(std::env::vars_os(), launch)
    }

    fn spawn_in(
        &self,
        environment: impl Iterator<Item = (OsString, OsString)>,
        launch: &Launch<'_>,
    ) -> Result<App, SpawnError> {
        let (program, arguments) = launch.command.split_first().ok_or(SpawnError::Empty)?;
        let mut made = Command::new(program);
        made.args(arguments.iter().map(|argument| launch.fill(argument)))
            .env_clear()
            .envs(environment.filter(|(name, _)| !is_own(name) && !(launch.hidden)(name)))
            .env("PORT", launch.port.to_string())
            .kill_on_drop(true);
        let own_group = !io::stdin().is_terminal();
        if own_group {
            made.process_group(0);
        }
        if gettid() != getpid() {
            tracing::warn!(
                "the app is started from another thread than the main one, and will die with that thread"
            );
        }
        if let Some(socket) = launch.socket {
            remove_socket(socket);
        }
        before_exec(&mut made, self.before.clone());
        let oom_kills_before = memory::oom_kills();
        let mut child = None;
        let own = self.own.adopt(&mut || {
            let started = made.spawn()?;
            let pid = started.id().expect("a child that nobody has waited for has an id");
            child = Some(started);
            Ok(pid)
        });
        let own = own.map_err(|source| SpawnError::new(program, source))?;
        let child = child.expect("adopting succeeded, so the child was started");
        if let Err(error) = memory::prefer(own.pid()) {
            // The kernel then chooses by size, which is the app's as a rule.
            tracing::debug!(error = &error as &dyn std::error::Error, "the app's oom score was not raised");
        }
        let asked = HashSet::new();
        Ok(App { child, own, own_group, reach: launch.reach, asked, oom_kills_before })
    }
}

impl Launch<'_> {
    fn fill(&self, argument: &OsStr) -> OsString {
        let filled = with(argument, b"{port}", self.port.to_string().as_bytes());
        match self.socket {
            Some(socket) => with(&filled, b"{socket}", socket.as_os_str().as_bytes()),
            None => filled,
        }
    }
}

/// A socket that an app before this one left behind would keep this one from listening. Whatever else is there is left,
/// and the app says what it thinks of it.
fn remove_socket(path: &Path) {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
        && let Err(error) = std::fs::remove_file(path)
    {
        tracing::warn!(
            path = %path.display(),
            error = &error as &dyn std::error::Error,
            "the app's old socket could not be removed"
        );
    }
}

/// What the child does between fork and exec.
#[expect(unsafe_code, reason = "`pre_exec` is unsafe; the argument is beside the call")]
fn before_exec(command: &mut Command, before: Before) {
    let parent = getpid();
    let prepare = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Had the parent died before the line above, the kernel's promise would never be kept.
        if getppid() != parent {
            return Err(Errno::ESRCH.into());
        }
        if let Some((soft, hard)) = before.open_files {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        before.dispositions.iter().try_for_each(|&one| signals::restore(one))
    };
    // SAFETY: the closure runs in the forked child of a process with several threads, so it may only do what is safe
    // in a signal handler: it makes system calls on values it owns (prctl, getppid, setrlimit, sigaction), takes no lock,
    // and allocates nothing, for an `io::Error` made of an error number holds just that.
    unsafe { command.pre_exec(prepare) };
}

/// A port on loopback that nobody listens on now. Another process may take it before the app does; then the app says
/// so itself, and ends.
///
/// Not one that the system would choose: until the app listens, it might give the same one to any connection, of ours or
/// of the app itself, or to any listener. And it is not held: only an app that sets `SO_REUSEADDR` could then have it.
pub fn free_port() -> io::Result<u16> {
    let free = |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr().map(|address| address.port())
    };
    (0..PORT_TRIES_MAX).find_map(|_| free(fastrand::u16(PORTS)).ok()).map_or_else(|| free(0), Ok)
}

fn is_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(OWN_VARIABLES)
}

/// `argument` with `text` in every place of `place`.
fn with(argument: &OsStr, place: &[u8], text: &[u8]) -> OsString {
    let mut rest = argument.as_bytes();
    let mut made = Vec::with_capacity(rest.len());
    while let Some(at) = rest.windows(place.len()).position(|window| window == place) {
        made.extend_from_slice(&rest[..at]);
        made.extend_from_slice(text);
        rest = &rest[at + place.len()..];
    }
    made.extend_from_slice(rest);
    OsString::from_vec(made)
}

/// Raises the limit on open files and returns what it was, if it was changed.
fn raise_open_files() -> Option<(rlim_t, rlim_t)> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = hard.min(OPEN_FILES_MAX);
    if wanted <= soft {
        return None;
    }
    match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => Some((soft, hard)),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                soft,
                hard,
                "the limit on open files could not be raised"
            );
            None
        }
    }
}
