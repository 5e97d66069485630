//! Processes under test: started, listened to, ended; and the one way in which these tests wait.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::family::offspring;
use crate::kit::{self, App};

/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// Between two looks at a condition that sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// What the app writes in its folder.
const ACCESS_LOG: &str = "access.log";
const CONNECTION_LOG: &str = "connections.log";
/// Lines of a process that a failed test shows.
const LINES_SHOWN: usize = 60;

/// Looks until the condition holds, under [`WAIT`].
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
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

/// Looks until the figure is the expected one, under [`WAIT`]; says what it was last.
pub(crate) async fn eventually_is(what: &str, expected: f64, look: impl AsyncFn() -> f64) {
    let last = Mutex::new(f64::NAN);
    let looked = timeout(WAIT, async {
        loop {
            let seen = look().await;
            *last.lock().expect("no holder of this lock panics") = seen;
            if seen == expected {
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    let in_time = looked.await.is_ok();
    let last = last.into_inner().expect("no holder of this lock panics");
    assert!(in_time, "{what}: expected {expected}, last seen {last} after {WAIT:?}");
}

/// A running process; killed when dropped, with all that it has started.
pub(crate) struct Process {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    news: watch::Receiver<usize>,
}

impl Process {
    pub(crate) fn start(command: &[OsString], environment: &[(&str, OsString)], folder: &Path) -> Self {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(kit::kept_environment())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("could not start {}: {e}", program.display()));
        let said = Arc::new(Mutex::new(Vec::new()));
        let (heard, news) = watch::channel(0);
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let into = said.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                into.lock().expect("no holder of this lock panics").push(line);
                heard.send_modify(|count| *count += 1);
            }
        });
        Self { child, said, news }
    }

    /// Waits for the first line on stderr in which `find` finds something.
    pub(crate) async fn hear<T>(&mut self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        let heard = timeout(WAIT, async {
            loop {
                let found =
                    self.said.lock().expect("no holder of this lock panics").iter().find_map(|l| find(l));
                if let Some(found) = found {
                    return found;
                }
                self.news.changed().await.unwrap_or_else(|_| panic!("it fell silent before it said {what}"));
            }
        });
        heard.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain for it to say {what}"))
    }

    pub(crate) fn id(&self) -> i32 {
        self.child.id().expect("it has not been waited for").cast_signed()
    }

    pub(crate) fn terminate(&self) {
        kill(Pid::from_raw(self.id()), Signal::SIGTERM).expect("it runs");
    }

    /// The exit code as a shell would say it.
    pub(crate) async fn ended(&mut self) -> i32 {
        let status =
            timeout(WAIT, self.child.wait()).await.expect("it ends in time").expect("it can be waited for");
        as_a_shell(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(id) = self.child.id() {
            let family = offspring(id.cast_signed());
            // An error means that it ended by itself.
            let _ = self.child.start_kill();
            family.kill();
        }
        if std::thread::panicking() {
            let said = self.said.lock().expect("no holder of this lock panics");
            eprintln!("--- its last words on stderr:");
            said.iter().skip(said.len().saturating_sub(LINES_SHOWN)).for_each(|line| eprintln!("{line}"));
        }
    }
}

fn as_a_shell(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).expect("it ended by itself or by a signal")
}

/// The file to which the app writes one line a request, or one line an ended connection.
pub(crate) struct AccessLog(PathBuf);

impl AccessLog {
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self(folder.join(ACCESS_LOG))
    }

    pub(crate) fn of_connections(folder: &Path) -> Self {
        Self(folder.join(CONNECTION_LOG))
    }

    pub(crate) fn lines(&self) -> usize {
        self.count("")
    }

    pub(crate) fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.0).unwrap_or_default()
    }
}

/// An app on its own, without the agent.
pub(crate) struct Direct {
    pub(crate) address: SocketAddr,
    pub(crate) log: AccessLog,
    process: Process,
    _folder: TempDir,
}

impl Direct {
    pub(crate) async fn start(app: App) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let log = AccessLog::in_folder(folder.path());
        let mut process =
            Process::start(&app.command("0"), &environment(folder.path()), &app.working_folder());
        // Most say "… running on http://ADDRESS", uvicorn with more behind it; gunicorn has its own words.
        let address = process
            .hear("its address", |line| {
                let says = ["running on http://", "Listening at: http://"];
                let (_, rest) = says.iter().find_map(|words| line.split_once(words))?;
                rest.split_whitespace().next()?.parse().ok()
            })
            .await;
        Self { address, log, process, _folder: folder }
    }

    /// Sends SIGTERM and gives the exit code.
    pub(crate) async fn end(mut self) -> i32 {
        self.process.terminate();
        self.process.ended().await
    }
}

/// What an app is told, with the agent or without. All its files are in `folder`.
pub(crate) fn environment(folder: &Path) -> Vec<(&'static str, OsString)> {
    let files = folder.join("files");
    fs::create_dir_all(&files).expect("the folder is ours");
    fs::write(files.join("asset.bin"), crate::bulk::block()).expect("the folder is ours");
    let mut environment = kit::libraries();
    environment.extend([
        ("ACCESS_LOG", folder.join(ACCESS_LOG).into()),
        ("CONNECTION_LOG", folder.join(CONNECTION_LOG).into()),
        ("FILES", files.into()),
        ("EXIT_CODE", crate::EXIT_CODE.to_string().into()),
    ]);
    environment
}
