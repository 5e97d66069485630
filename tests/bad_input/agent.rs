//! The real binary in a folder of its own: run to its end, or listened to while it runs.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// A working directory with nothing in it.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// The exit code, and every one of `parts` on stderr.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not in: {}", self.err);
        }
    }
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        command.args(arguments).current_dir(self.folder.path());
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let output = timeout(WAIT, self.command(arguments, environment).output());
        let output = output.await.expect("it ends in time").unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ended { code: as_a_shell(output.status), out: text(output.stdout), err: text(output.stderr) }
    }

    /// `run` on ports that are free, to its end.
    pub(crate) async fn agent(&self, arguments: &[&str]) -> Ended {
        self.run(&[&["run", "--listen", "127.0.0.1:0", "--admin", "off"], arguments].concat(), &[]).await
    }

    /// `run` on ports that are free, left running.
    pub(crate) fn start(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let all = [&["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], arguments].concat();
        let mut child = self.command(&all, environment).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Running { child, lines, said: Vec::new() }
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    pub(crate) said: Vec<String>,
}

impl Running {
    /// Reads stderr up to the first line that holds `part`.
    pub(crate) async fn hear(&mut self, part: &str) -> String {
        loop {
            let line = timeout(WAIT, self.lines.next_line()).await;
            let line =
                line.unwrap_or_else(|_| panic!("waited in vain for `{part}`: {:?}", self.said)).unwrap();
            let line = line.unwrap_or_else(|| panic!("it ended before it said `{part}`: {:?}", self.said));
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The public and the admin address.
    pub(crate) async fn listening(&mut self) -> (SocketAddr, SocketAddr) {
        let line: Value = serde_json::from_str(&self.hear("\"listening\"").await).unwrap();
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        (address("public"), address("admin"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid().cast_signed()), signal).unwrap();
    }

    /// Waits for its end: the exit code, and what else it said.
    pub(crate) async fn ended(mut self) -> (i32, Vec<String>) {
        let ended = timeout(WAIT, async {
            while let Some(line) = self.lines.next_line().await.unwrap() {
                self.said.push(line);
            }
            self.child.wait().await.unwrap()
        });
        let status = ended.await.expect("it ends in time");
        (as_a_shell(status), self.said)
    }
}

fn as_a_shell(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap()
}

/// A whole answer, head and body, as it came.
pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let fetched = timeout(WAIT, async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    });
    fetched.await.expect("an answer in time")
}

/// An app that answers every request with `hello`, and its URL.
pub(crate) async fn hello() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                // The prober connects and hangs up; that is no failure.
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
                let _ = stream.write_all(answer).await;
            });
        }
    });
    url
}

/// The text of a path, for a command line.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
