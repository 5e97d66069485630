//! The real binary, told where alerts go.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::WAIT;
use crate::sink::Sink;

/// The address's secret part and the signature's secret: nothing may say it.
pub(crate) const PLANTED: &str = "pLanted0Secret0That0Nobody0May0Tell";

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    folder: PathBuf,
    admin: SocketAddr,
    log: Arc<Mutex<String>>,
    reading: JoinHandle<()>,
}

fn command(folder: &Path, sink: &Sink) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("OUTRIGGER__LOG__FORMAT", "json")
        .env("OUTRIGGER__LOG__FILTER", "debug")
        .env("OUTRIGGER__ALERTS__TIMEOUT", "3s")
        .env("ALERT_THRESHOLD", "Low")
        .env("OUTRIGGER_ALERT_WEBHOOK", format!("http://{}/{PLANTED}", sink.address))
        .env("OUTRIGGER_ALERT_SECRET", PLANTED)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// A test alert by hand: the exit code, and all that it said.
pub(crate) async fn test(folder: &Path, sink: &Sink) -> (Option<i32>, String) {
    let output =
        timeout(WAIT, command(folder, sink).args(["alerts", "test"]).output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

impl Agent {
    /// Once it listens.
    pub(crate) async fn start(folder: &Path, sink: &Sink) -> Self {
        let program = env!("CARGO_BIN_EXE_outrigger");
        let mut child = command(folder, sink)
            .args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", "data"])
            .args(["--", program, "demo-app", "--port", "{port}", "--release", "v1"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let listening = timeout(WAIT, async {
            while let Ok(Some(line)) = lines.next_line().await {
                log.lock().unwrap().push_str(&line);
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "listening" {
                    return line;
                }
            }
            panic!("the agent ended before it listened: {}", log.lock().unwrap());
        });
        let listening = listening.await.unwrap();
        let more = Arc::clone(&log);
        let reading = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                more.lock().unwrap().push_str(&line);
            }
        });
        let admin = listening["admin"].as_str().unwrap().parse().unwrap();
        Self { child, folder: folder.to_owned(), admin, log, reading }
    }

    /// A command to it, by its socket.
    pub(crate) async fn run(&self, what: &str) {
        let run = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
            command.current_dir(&self.folder).env_clear().args([what, "--data", "data"]).output()
        };
        let output = timeout(WAIT, run()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub(crate) async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut reply = String::new();
        timeout(WAIT, stream.read_to_string(&mut reply)).await.unwrap().unwrap();
        reply
    }

    /// Its metrics as soon as this is among them.
    pub(crate) async fn metrics_with(&self, wanted: &str) -> String {
        let asked = async {
            loop {
                let metrics = self.metrics().await;
                if metrics.contains(wanted) {
                    return metrics;
                }
            }
        };
        timeout(WAIT, asked).await.unwrap_or_else(|_| panic!("waited in vain for {wanted}"))
    }

    /// Kills it, as the kernel would, and returns all that it has said.
    pub(crate) async fn kill(mut self) -> String {
        self.child.kill().await.unwrap();
        self.reading.await.unwrap();
        std::mem::take(&mut self.log.lock().unwrap())
    }
}
