//! The Docker engine that `scripts/test` started, and containers in it. Knows no image's insides.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::images;

/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(60);
/// Between two looks at a condition that sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The network that `scripts/dockerd` made: its containers are reached from this machine, and reach nothing else.
const NETWORK: &str = "outrigger-test";
/// What an image may take to be built; the one that compiles is the longest.
const BUILD_WAIT: Duration = Duration::from_secs(3_600);

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

/// The engine, with our images in it.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    host: OsString,
}

impl Docker {
    /// The engine, if there is one. If not, says so, and panics where that must not be.
    pub(crate) async fn ready() -> Option<Self> {
        if variable("CONTAINER").is_some_and(|value| value == "off") {
            eprintln!("SKIPPED: no container is run, for CONTAINER is off");
            return None;
        }
        let Some(host) = variable("CONTAINER_DOCKER") else {
            assert!(
                variable("CI").is_none(),
                "there is no Docker engine for the tests: run scripts/test, which starts one as root; CONTAINER=off \
                 leaves these tests out"
            );
            eprintln!("SKIPPED: there is no Docker engine for the tests; scripts/test starts one as root");
            return None;
        };
        let docker = Self { host };
        images::make(&docker).await;
        Some(docker)
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let kit = home().join("unpacked/usr/bin");
        let path = variable("PATH").unwrap_or_default();
        let mut command = std::process::Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", &self.host).env("DOCKER_CONFIG", home().join("config"));
        // BuildKit needs a plugin that Debian does not have.
        command.env("DOCKER_BUILDKIT", "0").stdin(Stdio::null());
        command.env("PATH", [kit.into_os_string(), path].join(&OsString::from(":")));
        command
    }

    /// Runs a command of docker's to its end; what it printed, both kinds together where it failed.
    pub(crate) async fn try_run(&self, arguments: &[&str], limit: Duration) -> Result<String, String> {
        let mut command = Command::from(self.command(arguments));
        let output = timeout(limit, command.kill_on_drop(true).output()).await;
        let output =
            output.unwrap_or_else(|_| panic!("docker {arguments:?} took longer than {limit:?}")).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{}\n{}", text(&output.stdout), text(&output.stderr)))
        }
    }

    pub(crate) async fn run(&self, arguments: &[&str]) -> String {
        let ended = self.try_run(arguments, WAIT).await;
        ended.unwrap_or_else(|said| panic!("docker {arguments:?}: {said}"))
    }

    pub(crate) async fn build(&self, arguments: &[&str]) {
        let ended = self.try_run(&[&["build", "-q"], arguments].concat(), BUILD_WAIT).await;
        ended.unwrap_or_else(|said| panic!("docker build {arguments:?}: {said}"));
    }

    /// Starts a container: docker's options, the image, the arguments.
    pub(crate) async fn start(&self, options: &[&str], image: &str, arguments: &[&str]) -> Container {
        let all = [&["run", "-d", "--network", NETWORK], options, &[image], arguments].concat();
        Container { id: self.run(&all).await, docker: self.clone() }
    }
}

/// A container; removed when dropped.
#[derive(Debug)]
pub(crate) struct Container {
    id: String,
    docker: Docker,
}

impl Container {
    /// What `docker inspect` says, by a JSON pointer.
    pub(crate) async fn inspect(&self, pointer: &str) -> Value {
        let all: Value = serde_json::from_str(&self.docker.run(&["inspect", &self.id]).await).unwrap();
        all[0].pointer(pointer).cloned().unwrap_or_default()
    }

    /// A program in the container; what it printed.
    pub(crate) async fn exec(&self, command: &[&str]) -> String {
        self.docker.run(&[&["exec", &self.id], command].concat()).await
    }

    pub(crate) async fn signal(&self, name: &str) {
        self.docker.run(&["kill", "-s", name, &self.id]).await;
    }

    /// `docker stop` with the engine's own ten seconds.
    pub(crate) async fn stop(&self) {
        self.docker.run(&["stop", "-t", "10", &self.id]).await;
    }

    /// Its exit code, once it has ended.
    pub(crate) async fn ended(&self) -> i32 {
        self.docker.run(&["wait", &self.id]).await.parse().expect("docker wait prints the exit code")
    }

    pub(crate) async fn log(&self) -> String {
        let output = Command::from(self.docker.command(&["logs", &self.id])).output().await.unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// Waits until the agent has logged `message`, and gives the line.
    pub(crate) async fn said(&self, message: &str) -> Value {
        let mut command = Command::from(self.docker.command(&["logs", "-f", &self.id]));
        command.kill_on_drop(true).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut logs = command.spawn().unwrap();
        let mut lines = BufReader::new(logs.stderr.take().expect("it is piped")).lines();
        let heard = timeout(WAIT, async {
            while let Some(line) = lines.next_line().await.unwrap() {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == message {
                    return line;
                }
            }
            panic!("it ended before it said `{message}`");
        });
        heard.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain for it to say `{message}`"))
    }

    /// Its address on the tests' network.
    pub(crate) async fn address(&self) -> String {
        let pointer = format!("/NetworkSettings/Networks/{NETWORK}/IPAddress");
        self.inspect(&pointer).await.as_str().expect("it runs").to_owned()
    }

    /// One request on a connection of its own.
    pub(crate) async fn get(&self, path: &str) -> String {
        get(&self.address().await, path).await.expect("a connection").expect("an answer")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(output) = self.docker.command(&["logs", "--tail", "40", &self.id]).output()
        {
            eprintln!("--- the container's last words:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let removed: std::io::Result<ExitStatus> =
            self.docker.command(&["rm", "-f", "-v", &self.id]).stdout(Stdio::null()).status();
        // What could not be removed, `scripts/dockerd stop` removes.
        drop(removed);
    }
}

/// One request on a connection of its own: no connection is the outer error, no whole answer the inner one.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<std::io::Result<String>> {
    let mut stream = timeout(WAIT, TcpStream::connect((address, 8080))).await??;
    let exchange = async {
        let head = format!("GET {path} HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    };
    Ok(timeout(WAIT, exchange).await?)
}

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What `scripts/test` unpacked.
pub(crate) fn home() -> PathBuf {
    root().join("target/test-kit/docker")
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
