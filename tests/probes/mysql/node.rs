//! A MariaDB of a test's own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use outrigger::config::Secret;
use outrigger::config::probes::{Ask, Mysql, Server as Address, Tls, TlsMode};
use tempfile::TempDir;

use crate::asked::Asked;
use crate::server::{Server, eventually, free_port, program};

/// A server, and how to start it again.
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    words: Vec<String>,
}

/// Whether these tests can run here.
pub(crate) fn can_run() -> bool {
    ["mariadbd", "mariadb", "mariadb-install-db"].iter().all(|name| program(name).is_some())
}

impl Node {
    /// A server with a user `app` (password `pw`) that may log in, and these options.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let folder = folder();
        let words = options.iter().map(|&word| word.to_owned()).collect();
        Self::start_in(folder, words).await
    }

    pub(crate) async fn start_in(folder: TempDir, words: Vec<String>) -> Self {
        let installed = Command::new(program("mariadb-install-db").expect("it was looked for"))
            .args([
                "--no-defaults",
                "--user=mysql",
                "--skip-test-db",
                "--auth-root-authentication-method=normal",
            ])
            .arg(format!("--datadir={}", folder.path().join("data").display()))
            .output()
            .expect("it runs");
        assert!(installed.status.success(), "{installed:?}");
        for _ in 0..5 {
            let port = free_port();
            let mut server = launch(folder.path(), port, &words);
            if is_up(&mut server, folder.path()).await {
                let node = Self { server, port, folder, words };
                node.tell("CREATE USER app@'%' IDENTIFIED BY 'pw'");
                return node;
            }
        }
        panic!("no server came up: {}", log(folder.path()));
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        self.server.kill();
        self.server = launch(self.folder.path(), self.port, &self.words);
        assert!(is_up(&mut self.server, self.folder.path()).await, "{}", log(self.folder.path()));
    }

    /// What it answers to a query of its administrator.
    pub(crate) fn tell(&self, query: &str) -> String {
        let told = client(self.folder.path(), query).output().expect("it runs");
        assert!(told.status.success(), "{query}: {told:?}");
        String::from_utf8_lossy(&told.stdout).into_owned()
    }

    /// How many connections of ours it lists.
    pub(crate) fn ours(&self) -> usize {
        let list = self.tell("SELECT COUNT(*) FROM information_schema.processlist WHERE user <> 'root'");
        list.trim().parse().expect("it is a number")
    }

    /// Ends the probe, and waits until none of its connections is left.
    pub(crate) async fn nobody_is_left(&self, asked: Asked) {
        drop(asked);
        eventually("no connection is left", async || (self.ours() == 0).then_some(())).await;
    }

    /// A client that sits there until it is killed.
    pub(crate) fn sitter(&self, number: usize) -> Server {
        let mut command = client(self.folder.path(), "SELECT SLEEP(600)");
        Server::start(&mut command, &self.folder.path().join(format!("sitter{number}")))
    }

    /// How it is asked as `app`.
    pub(crate) fn mysql(&self) -> Mysql {
        Mysql {
            server: Address { host: "127.0.0.1".to_owned(), port: self.port },
            user: "app".to_owned(),
            password: Some(Secret::new("pw".to_owned())),
            database: String::new(),
            tls: Tls { mode: TlsMode::Prefer, ca_file: None },
            connections_max: 0.9,
        }
    }
}

/// A folder that the server's own user may enter.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

pub(crate) fn socket(folder: &Path) -> PathBuf {
    folder.join("data").join("sock")
}

fn client(folder: &Path, query: &str) -> Command {
    let mut command = Command::new(program("mariadb").expect("it was looked for"));
    command.args(["--no-defaults", "-u", "root", "-N", "-B", "-e", query]);
    command.arg(format!("--socket={}", socket(folder).display())).stdin(Stdio::null());
    command
}

fn launch(folder: &Path, port: u16, words: &[String]) -> Server {
    let mut command = Command::new(program("mariadbd").expect("it was looked for"));
    command
        .args(["--no-defaults", "--user=mysql", "--bind-address=127.0.0.1"])
        .args(["--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0"])
        .arg(format!("--datadir={}", folder.join("data").display()))
        .arg(format!("--socket={}", socket(folder).display()))
        .arg(format!("--port={port}"))
        .args(words);
    Server::start(&mut command, &folder.join("log"))
}

async fn is_up(server: &mut Server, folder: &Path) -> bool {
    eventually("the server is up", async || {
        if server.has_ended() {
            return Some(false);
        }
        let answered = client(folder, "SELECT 1").output().is_ok_and(|told| told.status.success());
        answered.then_some(true)
    })
    .await
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_default()
}

/// Starts to ask.
pub(crate) fn start(ask: Mysql) -> Asked {
    Asked::start(crate::asked::options("shop", "mysql://127.0.0.1", Ask::Mysql(ask)))
}
