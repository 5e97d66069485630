//! Servers as child processes: started in a folder of their own on a free port, frozen, killed; and all gone at the end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Where Debian puts programs that are not on everybody's path.
const PLACES: [&str; 5] =
    ["/usr/lib/postgresql/*/bin", "/usr/local/bin", "/usr/bin", "/usr/sbin", "/usr/local/sbin"];
/// Between two looks at a condition that sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// As elsewhere: it comes within this time, or never.
const WAIT: Duration = crate::asked::WAIT;

/// The program of that name; `None`, said aloud, where these tests are left out or it is not installed. Where `CI` is set its
/// absence is a failure.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    if variable("PROBES").is_some_and(|value| value == "off") {
        eprintln!("skipped: PROBES=off");
        return None;
    }
    let found =
        PLACES.iter().flat_map(|place| folders(place)).map(|folder| folder.join(name)).find(|p| p.exists());
    if found.is_none() {
        assert!(variable("CI").is_none(), "{name} is not installed; scripts/test does that");
        eprintln!("skipped: {name} is not installed; scripts/test does that");
    }
    found
}

/// What the test's own environment says.
#[expect(clippy::disallowed_methods, reason = "tests are switched by their own environment")]
fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// The folders of a place, of several versions the newest first.
fn folders(place: &str) -> Vec<PathBuf> {
    let Some((before, after)) = place.split_once("/*/") else { return vec![PathBuf::from(place)] };
    let versions = std::fs::read_dir(before).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = versions.map(|version| version.join(after)).collect();
    folders.sort();
    folders.reverse();
    folders
}

/// A port that nobody listens on, outside the range from which the kernel draws by itself. Another process may still take
/// it before it is used, so a server that does not come up is started again on another.
pub(crate) fn free_port() -> u16 {
    (0..1000)
        .map(|_| fastrand::u16(20_000..32_000))
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .expect("one of a thousand ports is free")
}

/// A server and all that it has started; killed when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts `command` in a process group of its own, with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        use std::os::unix::process::CommandExt as _;
        let log = std::fs::File::create(log).expect("the folder is there");
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child }
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Sends a signal to it and all that it has started.
    pub(crate) fn signal(&self, signal: Signal) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        killpg(group, signal).expect("it runs");
    }

    /// Stops it where it stands: it accepts, and answers nothing.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Ends it at once, and waits until it has.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(WAIT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
}
