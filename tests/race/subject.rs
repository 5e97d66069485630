//! What stands between the clients and the app: the agent, and on demand nginx and HAProxy, as real processes that end
//! when dropped.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Whatever is waited for comes within this time on a slow machine, or never.
const WAIT: Duration = Duration::from_secs(60);
/// Between two looks whether a port is open; a process that is not ours sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Where a peer's port is looked for, and how often.
const PORTS: Range<u16> = 10_240..32_768;
const PORT_TRIES_MAX: usize = 100;

/// The real binary in front of an app.
pub(crate) struct Agent {
    address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl Agent {
    pub(crate) async fn start(app: SocketAddr, environment: &[(&str, &str)]) -> Self {
        let folder = folder();
        let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .args([
                "run",
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "off",
                "--upstream",
                &format!("http://{app}"),
            ])
            .arg("--data")
            .arg(folder.path().join("data"))
            .current_dir(folder.path())
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let listening = timeout(WAIT, async {
            while let Some(line) = lines.next_line().await.expect("it logs text") {
                if let Some(address) = listening(&line) {
                    return address;
                }
                eprintln!("{line}");
            }
            panic!("it ended before it listened");
        });
        let address = listening.await.expect("it listens in time");
        // What it says later goes to the test's output.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                eprintln!("{line}");
            }
        });
        Self { address, _child: child, _folder: folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn listening(line: &str) -> Option<SocketAddr> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["message"] == "listening").then(|| line["public"].as_str()?.parse().ok())?
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

/// A server that takes its port from a file and tells nobody when it listens.
struct Peer {
    address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl Peer {
    async fn start(
        program: &str,
        arguments: impl Fn(&str) -> Vec<String>,
        config: impl Fn(&str, SocketAddr) -> String,
    ) -> Self {
        let folder = folder();
        let address = free_port();
        let place = folder.path().to_str().expect("temporary folders have plain names");
        fs::write(folder.path().join("peer.conf"), config(place, address)).expect("the folder is ours");
        let child = Command::new(program)
            .args(arguments(place))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("{program} is needed for RACE_PEERS=1: {e}"));
        let open = timeout(WAIT, async {
            while TcpStream::connect(address).await.is_err() {
                sleep(LOOK_AGAIN).await;
            }
        });
        open.await.unwrap_or_else(|_| panic!("{program} does not listen"));
        Self { address, _child: child, _folder: folder }
    }
}

/// Free now, and below the range from which the system gives ports to those who ask for any: another process is not
/// given it before the peer has bound it.
fn free_port() -> SocketAddr {
    (0..PORT_TRIES_MAX)
        .map(|_| SocketAddr::from(([127, 0, 0, 1], fastrand::u16(PORTS))))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("one of many ports is free")
}

/// With a pool of upstream connections, as its manual says how.
pub(crate) struct Nginx(Peer);

impl Nginx {
    pub(crate) async fn start(app: SocketAddr) -> Self {
        let arguments =
            |place: &str| ["-p", place, "-c", "peer.conf", "-e", "stderr"].map(str::to_owned).to_vec();
        let config = |place: &str, address: SocketAddr| {
            format!(
                "daemon off; master_process off; pid {place}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
  uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
  upstream app {{ server {app}; keepalive 512; }}
  server {{
    listen {address};
    location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }}
  }}
}}
"
            )
        };
        Self(Peer::start("nginx", arguments, config).await)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

/// `reuse`: the lines that say how it re-uses connections and sends again.
pub(crate) struct Haproxy(Peer);

impl Haproxy {
    pub(crate) async fn start(app: SocketAddr, reuse: &str) -> Self {
        let arguments = |place: &str| vec!["-f".to_owned(), format!("{place}/peer.conf"), "-db".to_owned()];
        let config = |_: &str, address: SocketAddr| {
            format!(
                "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout http-keep-alive 60s
  {reuse}
frontend public
  bind {address}
  default_backend app
backend app
  server app {app}
"
            )
        };
        Self(Peer::start("haproxy", arguments, config).await)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
}
