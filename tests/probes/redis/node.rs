//! A Redis or a Sentinel of a test's own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use outrigger::config::Secret;
use outrigger::config::probes::{Ask, Redis, Role, Server as Address, Tls, TlsMode};
use tempfile::TempDir;

use crate::asked::Asked;
use crate::server::{Server, eventually, free_port, program};

/// A server, and how to start it again.
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    words: Vec<String>,
    /// What its own client needs to get in.
    pub(crate) way_in: Vec<String>,
}

/// Whether these tests can run here.
pub(crate) fn can_run() -> bool {
    program("redis-server").is_some() && program("redis-cli").is_some()
}

impl Node {
    /// A server with these options besides a port and a folder.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let password = options.iter().position(|word| *word == "--requirepass").map(|at| options[at + 1]);
        let way_in = password.map(|password| vec!["-a".to_owned(), password.to_owned()]).unwrap_or_default();
        let words = options.iter().map(|&word| word.to_owned()).collect();
        Self::start_in(folder, words, way_in).await
    }

    pub(crate) async fn start_in(folder: TempDir, words: Vec<String>, way_in: Vec<String>) -> Self {
        // Another process may take the port before it is used: then it ends at once.
        for _ in 0..5 {
            let port = free_port();
            let mut server = launch(folder.path(), port, &words);
            if is_up(&mut server, port, &way_in).await {
                return Self { server, port, folder, words, way_in };
            }
        }
        panic!("no server came up: {}", log(folder.path()));
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again where it was, with what it had saved; `more` options besides.
    pub(crate) async fn restart(&mut self, more: &[&str]) {
        self.server.kill();
        let words: Vec<String> =
            self.words.iter().cloned().chain(more.iter().map(|&word| word.to_owned())).collect();
        self.server = launch(self.folder.path(), self.port, &words);
        assert!(is_up(&mut self.server, self.port, &self.way_in).await, "{}", log(self.folder.path()));
    }

    /// Starts it again without waiting for it.
    pub(crate) fn relaunch(&mut self, more: &[&str]) {
        self.server.kill();
        let words: Vec<String> =
            self.words.iter().cloned().chain(more.iter().map(|&word| word.to_owned())).collect();
        self.server = launch(self.folder.path(), self.port, &words);
    }

    /// What it says to a command.
    pub(crate) fn tell(&self, words: &[&str]) -> String {
        tell(self.port, &self.way_in, words)
    }

    /// A number that it tells about itself.
    pub(crate) fn info(&self, name: &str) -> Option<String> {
        let told = self.tell(&["info"]);
        let line = told.lines().find_map(|line| line.split_once(':').filter(|(n, _)| *n == name));
        line.map(|(_, value)| value.trim().to_owned())
    }

    /// How many connections of ours it lists.
    pub(crate) fn ours(&self) -> usize {
        self.tell(&["client", "list"]).lines().filter(|line| line.contains(" name=outrigger ")).count()
    }

    /// Ends the probe, and waits until none of its connections is left: nobody's but the one that asks for the list.
    pub(crate) async fn nobody_is_left(&self, asked: Asked) {
        drop(asked);
        eventually("no connection is left", async || {
            let list = self.tell(&["client", "list", "type", "normal"]);
            (list.lines().filter(|line| line.contains("id=")).count() == 1).then_some(())
        })
        .await;
    }

    /// How it is asked.
    pub(crate) fn redis(&self) -> Redis {
        redis("127.0.0.1", self.port)
    }
}

fn tell(port: u16, way_in: &[String], words: &[&str]) -> String {
    let client = program("redis-cli").expect("it was looked for");
    let told = Command::new(client)
        .args(["-p", &port.to_string(), "--no-auth-warning"])
        .args(way_in)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&told.stdout).into_owned() + &String::from_utf8_lossy(&told.stderr)
}

fn launch(folder: &Path, port: u16, words: &[String]) -> Server {
    let mut command = Command::new(program("redis-server").expect("it was looked for"));
    let port = port.to_string();
    let is_configured = words.first().is_some_and(|first| first.ends_with(".conf"));
    let (file, words) = if is_configured { words.split_at(1) } else { words.split_at(0) };
    let listens_in_tls = words.iter().any(|word| word == "--tls-cert-file");
    let ports = if listens_in_tls {
        ["--tls-port", &port, "--port", "0"]
    } else {
        ["--port", &port, "--tls-port", "0"]
    };
    command.args(file).args(ports).args(["--bind", "127.0.0.1", "--dir"]).arg(folder).args(words);
    Server::start(&mut command, &folder.join("log"))
}

async fn is_up(server: &mut Server, port: u16, way_in: &[String]) -> bool {
    eventually("the server is up", async || {
        if server.has_ended() {
            return Some(false);
        }
        (tell(port, way_in, &["ping"]).trim() == "PONG").then_some(true)
    })
    .await
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// How a server without a password is asked, by patient thresholds.
pub(crate) fn redis(host: &str, port: u16) -> Redis {
    Redis {
        servers: vec![Address { host: host.to_owned(), port }],
        sentinel: None,
        user: None,
        password: None,
        database: 0,
        tls: Tls { mode: TlsMode::Disable, ca_file: None },
        role: Role::Any,
        memory_max: 0.9,
        lag_max: Duration::from_secs(30),
    }
}

/// Starts to ask.
pub(crate) fn start(ask: Redis) -> Asked {
    Asked::start(crate::asked::options("cache", "redis://127.0.0.1", Ask::Redis(ask)))
}

pub(crate) fn secret(text: &str) -> Option<Secret> {
    Some(Secret::new(text.to_owned()))
}
