//! The real binary over the demo's app, and the requests that its health pages are asked.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use outrigger::clock::Clock;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::asked::WAIT;
use crate::server::eventually;

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    _child: Child,
    _folder: TempDir,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    clock: Clock,
}

/// An answer.
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) took: Duration,
}

impl Agent {
    /// With these variables, once the app is ready.
    pub(crate) async fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let program = env!("CARGO_BIN_EXE_outrigger");
        let mut child = Command::new(program)
            .args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data"])
            .arg(folder.path().join("data"))
            .args(["--", program, "demo-app", "--port", "{port}", "--release", "v1"])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("OUTRIGGER__LOG__FORMAT", "json")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary was built");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
        let listening = timeout(WAIT, async {
            while let Ok(Some(line)) = lines.next_line().await {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "listening" {
                    return line;
                }
            }
            panic!("the agent ended before it listened");
        });
        let listening = listening.await.expect("it listens in time");
        // What it says from then on is read, so that it never waits for us.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let address = |name: &str| listening[name].as_str().and_then(|text| text.parse().ok());
        let (public, admin) = (address("public"), address("admin"));
        let agent = Self {
            _child: child,
            _folder: folder,
            public: public.expect("it says where"),
            admin: admin.expect("it says where"),
            clock: Clock::start(),
        };
        eventually("the app is ready", async || {
            (agent.get(agent.public, "/api/health").await.status == 200).then_some(())
        })
        .await;
        agent
    }

    /// Asks over a connection of its own.
    pub(crate) async fn get(&self, address: SocketAddr, path: &str) -> Page {
        let began = self.clock.instant();
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut reply = String::new();
        timeout(WAIT, stream.read_to_string(&mut reply)).await.expect("it answers").expect("it is whole");
        let took = self.clock.instant().duration_since(began);
        let (head, body) = reply.split_once("\r\n\r\n").expect("it has a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("it has a status");
        Page { status, body: serde_json::from_str(body).unwrap_or_default(), took }
    }
}
