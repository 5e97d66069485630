//! Postgres servers and poolers of a test's own: made in a moment, as careless of their data as they can be.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User};
use outrigger::config::Secret;
use outrigger::config::probes::{Ask, Postgres, Role, Schema, Server as Place, Tls, TlsMode};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};

use crate::asked::Asked;
use crate::server::{Server, eventually, free_port, program};

/// A server, its data and its port.
pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) port: u16,
    programs: PathBuf,
    server: Option<Server>,
}

impl Cluster {
    /// Makes one and starts it, with more lines in `postgresql.conf`. `None`: Postgres is not installed.
    pub(crate) async fn start(more: &str) -> Option<Self> {
        let mut cluster = Self::make(more)?;
        cluster.up().await;
        Some(cluster)
    }

    /// Makes one. Whoever comes by TCP as `locked` must know its password; the others are trusted.
    pub(crate) fn make(more: &str) -> Option<Self> {
        let cluster = Self::empty()?;
        cluster.run("initdb", &["-N", "-A", "trust", "-U", "postgres", "--no-instructions"]);
        cluster.add(
            "postgresql.conf",
            &format!(
                "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nshared_buffers = 8MB\nfsync = off\n\
                 max_wal_senders = 5\nautovacuum = off\npassword_encryption = 'scram-sha-256'\n{more}\n",
                cluster.folder.path().display()
            ),
        );
        cluster.write(
            "data/pg_hba.conf",
            "local all all trust\nhost all locked 127.0.0.1/32 scram-sha-256\n\
             host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n",
            0o600,
        );
        Some(cluster)
    }

    /// A replica of it, started.
    pub(crate) async fn replica(&self) -> Self {
        let mut replica = Self::empty().expect("the primary was found");
        let port = self.port.to_string();
        let backup = [
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        ];
        replica.run("pg_basebackup", &backup);
        replica.add(
            "postgresql.conf",
            &format!("unix_socket_directories = '{}'\n", replica.folder.path().display()),
        );
        replica.up().await;
        replica
    }

    fn empty() -> Option<Self> {
        let programs = program("postgres")?.parent().expect("it is in a folder").to_owned();
        let folder = tempfile::tempdir().expect("there is room");
        give(folder.path(), 0o755);
        Some(Self { folder, port: free_port(), programs, server: None })
    }

    /// Starts the server, and waits until it answers.
    pub(crate) async fn up(&mut self) {
        self.spawn();
        eventually("the server answers", async || {
            if self.server.as_mut().is_some_and(Server::has_ended) {
                // Somebody else has the port; or what was killed before still holds on.
                self.spawn();
            }
            self.connect("postgres").await.ok()
        })
        .await;
    }

    /// Starts the server.
    pub(crate) fn spawn(&mut self) {
        let log = self.folder.path().join("log");
        self.server = Some(Server::start(
            as_postgres(&mut Command::new(self.programs.join("postgres")))
                .arg("-D")
                .arg(self.folder.path().join("data"))
                .args(["-p", &self.port.to_string()]),
            &log,
        ));
    }

    /// Ends the server and all its processes at once.
    pub(crate) fn kill(&mut self) {
        let family = self.children();
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
        for child in family {
            // It may have seen by itself that its parent is gone.
            let _ = kill(child, Signal::SIGKILL);
        }
    }

    /// Sends a signal to the postmaster alone.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.postmaster(), signal).expect("it runs");
    }

    /// Sends a signal to the postmaster and to all its processes, each of which leads a group of its own.
    pub(crate) fn signal_all(&self, signal: Signal) {
        self.signal(signal);
        for child in self.children() {
            let _ = kill(child, signal);
        }
    }

    fn postmaster(&self) -> Pid {
        let text = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).expect("it runs");
        let id = text.lines().next().expect("it holds the id").trim();
        Pid::from_raw(id.parse().expect("it is a number"))
    }

    fn children(&self) -> Vec<Pid> {
        if self.server.is_none() || !self.folder.path().join("data/postmaster.pid").exists() {
            return Vec::new();
        }
        let id = self.postmaster();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        children.split_whitespace().map(|id| Pid::from_raw(id.parse().expect("it is a number"))).collect()
    }

    /// The folder in which its socket is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file that the server may read.
    pub(crate) fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is there");
        give(&path, mode);
        path
    }

    fn add(&self, name: &str, more: &str) {
        let path = self.folder.path().join("data").join(name);
        let text = std::fs::read_to_string(&path).expect("it was made") + "\n" + more;
        std::fs::write(&path, text).expect("it was made");
    }

    fn run(&self, name: &str, words: &[&str]) {
        let mut command = Command::new(self.programs.join(name));
        as_postgres(&mut command).arg("-D").arg(self.folder.path().join("data")).args(words);
        let output = command.output().expect("it is installed");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A client of that user, in the database `postgres`.
    pub(crate) async fn connect(&self, user: &str) -> Result<Client, tokio_postgres::Error> {
        connect(self.port, user, "postgres").await
    }

    /// Runs statements as the superuser.
    pub(crate) async fn sql(&self, sql: &str) {
        let client = self.connect("postgres").await.expect("the server answers");
        client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// How many sessions of ours there are, as the server sees it.
    pub(crate) async fn ours(&self) -> i64 {
        let client = self.connect("postgres").await.expect("the server answers");
        let sql = "select count(*) from pg_stat_activity where application_name = 'outrigger'";
        client.query_one(sql, &[]).await.expect("it may").get(0)
    }

    /// Ends the sessions of ours.
    pub(crate) async fn end_ours(&self) {
        self.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'outrigger'",
        )
        .await;
    }

    /// Waits until no session of ours is left.
    pub(crate) async fn until_none_is_left(&self) {
        eventually("no session of ours is left", async || (self.ours().await == 0).then_some(())).await;
    }

    /// What a probe of it is asked for, as that user.
    pub(crate) fn ask(&self, user: &str) -> Postgres {
        ask(&[self.port], user, "postgres")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A pgbouncer before a cluster: two connections for the database `app`, in transaction mode.
pub(crate) struct Bouncer {
    pub(crate) port: u16,
    server: Server,
    _folder: TempDir,
}

impl Bouncer {
    /// `None`: pgbouncer is not installed.
    pub(crate) async fn start(cluster: &Cluster) -> Option<Self> {
        let program = program("pgbouncer")?;
        let folder = tempfile::tempdir().expect("there is room");
        give(folder.path(), 0o755);
        let port = free_port();
        let file = |name: &str, text: String| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("the folder is there");
            path
        };
        let users = file("users.txt", "\"postgres\" \"\"\n\"watcher\" \"\"\n\"plain\" \"\"\n".to_owned());
        let options = file(
            "bouncer.ini",
            format!(
                "[databases]\napp = host=127.0.0.1 port={} dbname=postgres pool_size=2 user=app\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
                 pool_mode = transaction\nadmin_users = postgres\nstats_users = watcher\n",
                cluster.port,
                users.display()
            ),
        );
        let log = folder.path().join("log");
        let mut server = Server::start(as_postgres(&mut Command::new(program)).arg(options), &log);
        eventually("pgbouncer answers", async || {
            assert!(!server.has_ended(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
            connect(port, "postgres", "pgbouncer").await.ok()
        })
        .await;
        Some(Self { port, server, _folder: folder })
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.server.kill();
    }
}

fn as_postgres(command: &mut Command) -> &mut Command {
    let user = User::from_name("postgres")
        .expect("the list of users can be read")
        .expect("Debian's package makes it");
    command.current_dir("/").uid(user.uid.as_raw()).gid(user.gid.as_raw())
}

fn give(path: &Path, mode: u32) {
    let user = User::from_name("postgres")
        .expect("the list of users can be read")
        .expect("Debian's package makes it");
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).expect("these tests run as root");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is there");
}

/// A client.
pub(crate) async fn connect(port: u16, user: &str, database: &str) -> Result<Client, tokio_postgres::Error> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(user).dbname(database);
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// What a probe is asked for.
pub(crate) fn ask(ports: &[u16], user: &str, database: &str) -> Postgres {
    Postgres {
        servers: ports.iter().map(|&port| Place { host: "127.0.0.1".to_owned(), port }).collect(),
        user: user.to_owned(),
        password: (user == "locked").then(|| Secret::new("opensesame".to_owned())),
        database: database.to_owned(),
        tls: Tls { mode: TlsMode::Disable, ca_file: None },
        role: Role::Any,
        connections_max: 0.9,
        lag_max: Duration::from_secs(30),
        schema: Schema::Auto,
    }
}

/// A probe that asks.
pub(crate) fn start(ask: Postgres) -> Asked {
    Asked::start(crate::asked::options("db", "postgres://127.0.0.1/", Ask::Postgres(ask)))
}

/// A probe that asks, with that much time for a round.
pub(crate) fn start_patient(ask: Postgres, timeout: Duration) -> Asked {
    let mut options = crate::asked::options("db", "postgres://127.0.0.1/", Ask::Postgres(ask));
    options.timeout = timeout;
    Asked::start(options)
}
