//! The three proxies as processes: how each is configured, started, and ended. It does not know the cases.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::app::reserve;

/// Between two looks whether a proxy that does not say so listens by now.
const LOOK_AGAIN: Duration = Duration::from_millis(3);
/// Looks in all: a minute.
const LOOKS_MAX: usize = 20_000;
/// In this time a proxy listens, and has seen an app that is there.
const START_MAX: Duration = Duration::from_secs(20);
/// Lines of stderr that are kept for a failed case.
const LINES_MAX: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Outrigger,
    Nginx,
    Haproxy,
}

/// What a case tightens; the rest stays as in the configurations below.
#[derive(Clone, Copy)]
pub(crate) struct Knobs {
    pub(crate) head: Option<&'static str>,
    pub(crate) idle: Option<&'static str>,
    pub(crate) body: Option<&'static str>,
    pub(crate) send: Option<&'static str>,
    pub(crate) response: Option<&'static str>,
    pub(crate) connect: Option<&'static str>,
    pub(crate) hold: Option<&'static str>,
    pub(crate) held_max: Option<&'static str>,
    pub(crate) in_flight_max: Option<&'static str>,
    pub(crate) upstream_idle: Option<&'static str>,
    /// How many files the process may have open.
    pub(crate) files: Option<u32>,
    /// The agent starts a command of its own, and the app is where that command's port is.
    pub(crate) supervised: bool,
    /// The app is behind a unix socket.
    pub(crate) unix: bool,
}

impl Knobs {
    pub(crate) const NONE: Self = Self {
        head: None,
        idle: None,
        body: None,
        send: None,
        response: None,
        connect: None,
        hold: None,
        held_max: None,
        in_flight_max: None,
        upstream_idle: None,
        files: None,
        supervised: false,
        unix: false,
    };
}

/// A running proxy in front of one app; killed when dropped.
pub(crate) struct Subject {
    pub(crate) front: SocketAddr,
    /// Where outrigger's metrics are.
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) said: Arc<Mutex<Vec<String>>>,
    child: Child,
    _folder: TempDir,
    _port: Option<TcpSocket>,
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Subject {
    /// `waits`: the app is there, so the proxy is to have seen it before the case begins.
    pub(crate) fn start(kind: Kind, app_port: u16, knobs: &Knobs, waits: bool) -> Self {
        match kind {
            Kind::Outrigger => outrigger(app_port, knobs, waits),
            Kind::Nginx => peer(kind, |folder, front| nginx(folder, front, app_port, knobs), knobs),
            Kind::Haproxy => peer(kind, |_, front| haproxy(front, app_port, knobs), knobs),
        }
    }
}

fn command(program: &str, knobs: &Knobs, folder: &Path) -> Command {
    let mut command = match knobs.files {
        None => Command::new(program),
        Some(files) => {
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("ulimit -n {files}; exec \"$0\" \"$@\"")).arg(program);
            shell
        }
    };
    command.current_dir(folder).env_clear().env("PATH", "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Reads stderr to its end in a thread, keeps some of it, and gives what `find` finds first.
fn listen<T: Send + 'static>(
    child: &mut Child,
    find: impl Fn(&str) -> Option<T> + Send + 'static,
) -> (Arc<Mutex<Vec<String>>>, std::sync::mpsc::Receiver<T>) {
    let said = Arc::new(Mutex::new(Vec::new()));
    let (tell, found) = std::sync::mpsc::channel();
    let lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let into = Arc::clone(&said);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(it) = find(&line) {
                let _ = tell.send(it);
            }
            let mut kept = into.lock().expect("no holder of this lock panics");
            kept.push(line);
            let surplus = kept.len().saturating_sub(LINES_MAX);
            kept.drain(..surplus);
        }
    });
    (said, found)
}

/// Hands what comes on a unix socket to the app's port, and back.
fn bridge(path: &Path, app_port: u16) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, app_port)) else { return };
            let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &near, &mut &far);
                let _ = far.shutdown(Shutdown::Both);
            });
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut &far_too, &mut &near_too);
                let _ = near_too.shutdown(Shutdown::Both);
            });
        }
    });
}

/// What outrigger says of itself that matters here.
enum Said {
    Listening(SocketAddr, SocketAddr),
    Ready,
}

fn said_by_outrigger(line: &str) -> Option<Said> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let address = |name: &str| line[name].as_str()?.parse::<SocketAddr>().ok();
    match line["message"].as_str()? {
        "listening" => Some(Said::Listening(address("public")?, address("admin")?)),
        "app became ready" => Some(Said::Ready),
        _ => None,
    }
}

fn outrigger(app_port: u16, knobs: &Knobs, waits: bool) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(env!("CARGO_BIN_EXE_outrigger"), knobs, folder.path());
    command.args(["run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    if knobs.supervised {
        command.args(["--", "sleep", "3600"]).env("OUTRIGGER__APP__PORT", app_port.to_string());
    } else if knobs.unix {
        let path = folder.path().join("app.sock");
        bridge(&path, app_port);
        command.args(["--upstream", &format!("unix:{}", path.display())]);
    } else {
        command.args(["--upstream", &format!("http://127.0.0.1:{app_port}")]);
    }
    // One worker: which pool a request meets is then no matter of chance.
    command.env("OUTRIGGER__PROXY__WORKERS", "1").env("OUTRIGGER__SERVICE__RELEASE", "contract");
    let options = [
        ("HEAD_TIMEOUT", knobs.head),
        ("IDLE_TIMEOUT", knobs.idle),
        ("BODY_TIMEOUT", knobs.body),
        ("SEND_TIMEOUT", knobs.send),
        ("RESPONSE_TIMEOUT", knobs.response),
        ("CONNECT_TIMEOUT", knobs.connect),
        ("HOLD", knobs.hold),
        ("HELD_MAX", knobs.held_max),
        ("IN_FLIGHT_MAX", knobs.in_flight_max),
        ("UPSTREAM_IDLE", knobs.upstream_idle),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            command.env(format!("OUTRIGGER__PROXY__{name}"), value);
        }
    }
    let mut child = command.spawn().unwrap();
    let (said, heard) = listen(&mut child, said_by_outrigger);
    let mut addresses = None;
    let mut ready = !waits;
    while addresses.is_none() || !ready {
        match heard.recv_timeout(START_MAX) {
            Ok(Said::Listening(front, admin)) => addresses = Some((front, admin)),
            Ok(Said::Ready) => ready = true,
            Err(_) => break,
        }
    }
    let (front, admin) = addresses.unwrap_or_else(|| panic!("outrigger does not listen: {:?}", said.lock()));
    Subject { front, admin: Some(admin), said, child, _folder: folder, _port: None }
}

fn peer(kind: Kind, configuration: impl Fn(&Path, u16) -> String, knobs: &Knobs) -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let port = reserve(0);
    let front = port.local_addr().unwrap();
    let file = folder.path().join("configuration");
    std::fs::write(&file, configuration(folder.path(), front.port())).unwrap();
    let mut command = match kind {
        Kind::Nginx => {
            let mut command = command("nginx", knobs, folder.path());
            command.arg("-p").arg(folder.path()).args(["-e", "stderr"]).arg("-c").arg(&file);
            command
        }
        Kind::Haproxy | Kind::Outrigger => {
            let mut command = command("haproxy", knobs, folder.path());
            command.arg("-db").arg("-f").arg(&file);
            command
        }
    };
    let mut child = command.spawn().unwrap();
    let (said, _) = listen(&mut child, |_| None::<()>);
    for _ in 0..LOOKS_MAX {
        if TcpStream::connect(front).is_ok() {
            return Subject { front, admin: None, said, child, _folder: folder, _port: Some(port) };
        }
        if let Ok(Some(status)) = child.try_wait() {
            panic!("{kind:?} ended with {status}: {:?}", said.lock());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    panic!("{kind:?} does not listen: {:?}", said.lock())
}

/// As in production: connections to the app are kept, bodies are passed on as they come, the client's host is kept.
const NGINX: &str = include_str!("nginx.conf");
const HAPROXY: &str = include_str!("haproxy.cfg");

fn nginx(folder: &Path, front: u16, app: u16, knobs: &Knobs) -> String {
    let mut limits = String::new();
    let options = [
        ("client_header_timeout", knobs.head),
        ("keepalive_timeout", knobs.idle),
        ("client_body_timeout", knobs.body),
        ("send_timeout", knobs.send),
        ("proxy_read_timeout", knobs.response),
        ("proxy_connect_timeout", knobs.connect),
        ("limit_conn front", knobs.in_flight_max),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            limits.push_str(&format!("{name} {value};\n"));
        }
    }
    fill(NGINX, folder, front, app, &limits)
}

fn haproxy(front: u16, app: u16, knobs: &Knobs) -> String {
    let mut limits = String::new();
    let options = [
        ("timeout http-request", knobs.head),
        ("timeout http-keep-alive", knobs.idle),
        ("timeout client", knobs.body.or(knobs.send)),
        ("timeout server", knobs.response),
        ("timeout connect", knobs.connect),
        ("timeout queue", knobs.in_flight_max.map(|_| "500ms")),
        ("default-server maxconn", knobs.in_flight_max),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            limits.push_str(&format!("    {name} {value}\n"));
        }
    }
    // It does not start if its connections could need more files than it may have.
    let connections = if knobs.files.is_none() { "maxconn 2000" } else { "maxconn 20" };
    let text = HAPROXY.replace("# CONNECTIONS", connections);
    fill(&text, Path::new(""), front, app, &limits)
}

fn fill(text: &str, folder: &Path, front: u16, app: u16, limits: &str) -> String {
    text.replace("FOLDER", folder.to_str().unwrap())
        .replace("FRONT", &front.to_string())
        .replace("APP", &format!("127.0.0.1:{app}"))
        .replace("# LIMITS", limits)
}

/// The version that is installed, as `1.22.1`; none where it is not installed.
pub(crate) fn version(kind: Kind) -> Option<String> {
    let (program, argument) = match kind {
        Kind::Outrigger => return None,
        Kind::Nginx => ("nginx", "-v"),
        Kind::Haproxy => ("haproxy", "-v"),
    };
    let path = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let output = Command::new(program).arg(argument).env("PATH", path).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let end = text[start..].find(|c: char| !c.is_ascii_digit() && c != '.')?;
    Some(text[start..start + end].trim_end_matches('.').to_owned())
}
