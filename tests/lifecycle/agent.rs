//! The real binary over an app in a folder of its own, what both say, and the one way in which these tests wait.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(90);
/// Between two looks at a condition that sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(WAIT, future).await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await
}

/// The words as they stand in a command.
pub(crate) fn words<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Vec<OsString> {
    words.into_iter().map(Into::into).collect()
}

/// A folder, and what the processes in it told.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `outrigger run` over `app`, behind `before`, which is to start it. The app answers with code 7 when asked to end.
    pub(crate) fn start_behind(
        &self,
        before: &[OsString],
        app: &[OsString],
        environment: &[(&str, &str)],
    ) -> Agent {
        let mut all = before.to_vec();
        all.push(env!("CARGO_BIN_EXE_outrigger").into());
        all.extend(words(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"]));
        all.push(self.path("data").into());
        all.push("--".into());
        all.extend(app.iter().cloned());
        let mut command = Command::new(&all[0]);
        command.args(&all[1..]).current_dir(self.folder.path()).env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", self.folder.path());
        command.env("TOLD", self.path("told")).env("CODE", "7").envs(environment.iter().copied());
        let out = std::fs::File::create(self.path("out")).unwrap();
        command.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Agent { child, lines, said: Vec::new() }
    }

    pub(crate) fn start(&self, app: &[OsString], environment: &[(&str, &str)]) -> Agent {
        self.start_behind(&[], app, environment)
    }

    /// What the app wrote down so far.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("told")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn count(&self, line: &str) -> usize {
        self.told().iter().filter(|one| one.starts_with(line)).count()
    }

    /// Waits until the app has written `line` down so often.
    pub(crate) async fn until(&self, line: &str, times: usize) {
        eventually(line, || (self.count(line) >= times).then_some(())).await;
    }

    /// Processes that were started in this place and still run, by what they are.
    pub(crate) fn running(&self) -> Vec<String> {
        processes().filter(|process| process.in_folder(self.folder.path())).map(|p| p.command).collect()
    }
}

/// A test that fails leaves nothing running: with the agent only its own child dies, not what a wrapper runs.
impl Drop for Place {
    fn drop(&mut self) {
        for process in processes().filter(|process| process.in_folder(self.folder.path())) {
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
    }
}

/// A process of this machine.
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) zombie: bool,
    pub(crate) command: String,
}

impl Process {
    fn in_folder(&self, folder: &Path) -> bool {
        let environment = std::fs::read(format!("/proc/{}/environ", self.pid)).unwrap_or_default();
        !self.zombie && String::from_utf8_lossy(&environment).contains(folder.to_str().unwrap())
    }
}

/// Every process that can be seen.
pub(crate) fn processes() -> impl Iterator<Item = Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let zombie = fields.next()? == "Z";
        let parent = fields.next()?.parse().ok()?;
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        Some(Process { pid, parent, zombie, command: String::from_utf8_lossy(&command).replace('\0', " ") })
    })
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
}

impl Agent {
    /// Reads stderr up to the first line that holds `part`.
    pub(crate) async fn hear(&mut self, part: &str) -> String {
        let heard = async {
            loop {
                let line = self.lines.next_line().await.unwrap();
                let line =
                    line.unwrap_or_else(|| panic!("it ended before it said `{part}`: {:#?}", self.said));
                self.said.push(line.clone());
                if line.contains(part) {
                    return line;
                }
            }
        };
        let heard = timeout(WAIT, heard).await;
        heard.unwrap_or_else(|_| panic!("waited in vain for `{part}`: {:#?}", self.said))
    }

    /// The public and the admin address.
    pub(crate) async fn listening(&mut self) -> (SocketAddr, SocketAddr) {
        let line: Value = serde_json::from_str(&self.hear("\"listening\"").await).unwrap();
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        (address("public"), address("admin"))
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().unwrap().cast_signed()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end: the exit code, and all that it said.
    pub(crate) async fn ended(mut self) -> (i32, Vec<String>) {
        let status = soon("its end", async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push(line);
            }
            self.child.wait().await.unwrap()
        })
        .await;
        (status.code().or_else(|| Some(128 + status.signal()?)).unwrap(), self.said)
    }
}

/// A connection to `address` with a request for `path` on it.
pub(crate) async fn ask(address: SocketAddr, path: &str, more: &str) -> TcpStream {
    let mut stream = soon("a connection", TcpStream::connect(address)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the other side ends or breaks the connection, and whether it broke it.
pub(crate) async fn rest(stream: &mut TcpStream) -> (String, bool) {
    let mut got = Vec::new();
    let broken = soon("the end of a connection", stream.read_to_end(&mut got)).await.is_err();
    (String::from_utf8_lossy(&got).into_owned(), broken)
}

/// Reads on until `text` has come.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut got = Vec::new();
    soon(text, async {
        while !String::from_utf8_lossy(&got).contains(text) {
            got.push(stream.read_u8().await.unwrap());
        }
    })
    .await;
    String::from_utf8(got).unwrap()
}

/// A whole answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    rest(&mut ask(address, path, "connection: close\r\n").await).await.0
}
