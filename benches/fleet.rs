//! What agents cost one another: a fleet of real agents on this machine, without traffic or with a little, and what each
//! takes of a processor, of memory and of the network between them.
//!
//! `cargo build --release && cargo bench --bench fleet -- [AGENTS] [SECONDS] [REQUESTS A SECOND AND AGENT]`

#![expect(clippy::disallowed_methods, reason = "a program of its own that measures time")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Every agent's own ports begin here; it has three.
const FIRST_PORT: u16 = 21_000;
/// Until all have met and the start is forgotten.
const SETTLE: Duration = Duration::from_secs(20);
/// Agents whose addresses all know from the start.
const TOLD: usize = 8;
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

struct Fleet(Vec<Child>);

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn main() {
    let arguments: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let agents = arguments.first().copied().unwrap_or(3);
    let seconds = arguments.get(1).copied().unwrap_or(30) as u64;
    let rate = arguments.get(2).copied().unwrap_or(0);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/release/outrigger");
    let program = std::env::var_os("FLEET_PROGRAM").map_or(program, PathBuf::from);
    let folder = tempfile::tempdir().expect("a folder");
    let app = app();
    let mut fleet = Fleet((0..agents).map(|i| agent(&program, folder.path(), i, agents, app)).collect());
    std::thread::sleep(SETTLE);
    for (i, child) in fleet.0.iter_mut().enumerate() {
        let ended = child.try_wait().expect("a child of ours");
        let said = std::fs::read_to_string(folder.path().join(format!("{i}.log"))).unwrap_or_default();
        assert!(ended.is_none(), "an agent ended at its start: {ended:?}: {said}");
    }
    let load = (rate > 0)
        .then(|| std::thread::spawn(move || load(agents, rate, SETTLE + Duration::from_secs(seconds))));
    let before = Cost::of(&fleet);
    let began = Instant::now();
    std::thread::sleep(Duration::from_secs(seconds));
    let (after, took) = (Cost::of(&fleet), began.elapsed().as_secs_f64());
    after.print(&before, took, agents);
    drop(fleet);
    drop(load);
}

/// An app that answers at once.
fn app() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let mut chunk = [0; 4096];
    while stream.read(&mut chunk).is_ok_and(|n| n > 0) && stream.write_all(REPLY).is_ok() {}
}

fn agent(program: &Path, folder: &Path, i: usize, of: usize, app: u16) -> Child {
    let port = |i: usize, which: u16| FIRST_PORT + (i as u16) * 3 + which;
    // The first ones are told; the others are heard of from them.
    let peers: Vec<String> = (0..of.min(TOLD)).map(|i| format!("\"127.0.0.1:{}\"", port(i, 2))).collect();
    let file = folder.join(format!("{i}.toml"));
    let text = format!(
        "[service]\nname = \"fleet\"\nrelease = \"v1\"\nreplica = \"r{i}\"\nreplicas = {of}\n\
         [listen]\npublic = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\npeers = \"127.0.0.1:{}\"\n\
         [app]\nupstream = \"http://127.0.0.1:{app}\"\n[peers]\naddresses = [{}]\n[proxy]\nworkers = 1\n",
        port(i, 0),
        port(i, 1),
        port(i, 2),
        peers.join(", ")
    );
    std::fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(&file).arg("--data").arg(folder.join(format!("data{i}")));
    command.env("OUTRIGGER_PEER_KEY", "key-of-the-benchmark-no-secret").env("OUTRIGGER_TOKEN", TOKEN);
    command
        .stdout(Stdio::null())
        .stderr(
            std::fs::File::create(folder.join(format!("{i}.log")))
                .map_or_else(|_| Stdio::null(), Stdio::from),
        )
        .spawn()
        .expect("the release build is there")
}

const TOKEN: &str = "token-of-the-benchmark-no-secret";

/// As many requests a second to each agent, one connection each.
fn load(agents: usize, rate: usize, time: Duration) {
    let mut streams: Vec<TcpStream> = (0..agents)
        .filter_map(|i| TcpStream::connect(("127.0.0.1", FIRST_PORT + (i as u16) * 3)).ok())
        .collect();
    let began = Instant::now();
    let mut chunk = [0; 4096];
    while began.elapsed() < time {
        let next = Instant::now() + Duration::from_secs(1) / rate as u32;
        for stream in &mut streams {
            let sent = stream.write_all(b"GET /items/7 HTTP/1.1\r\nhost: fleet\r\n\r\n");
            let _ = sent.and_then(|()| stream.read(&mut chunk));
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// What the agents took so far.
struct Cost {
    /// Ticks of the processor, by agent.
    ticks: Vec<u64>,
    /// Resident memory in KiB, by agent.
    resident: Vec<u64>,
    /// The peers' figures of the first agent.
    metrics: BTreeMap<String, f64>,
}

impl Cost {
    fn of(fleet: &Fleet) -> Self {
        let read =
            |pid: u32, file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let ticks = |child: &Child| {
            let stat = read(child.id(), "stat");
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
            let field = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
            field(11) + field(12)
        };
        let resident = |child: &Child| {
            let status = read(child.id(), "status");
            let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
            line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
        };
        Self {
            ticks: fleet.0.iter().map(ticks).collect(),
            resident: fleet.0.iter().map(resident).collect(),
            metrics: metrics(),
        }
    }

    fn print(&self, before: &Self, seconds: f64, agents: usize) {
        let hz = 100.0;
        let shares: Vec<f64> = self
            .ticks
            .iter()
            .zip(&before.ticks)
            .map(|(a, b)| (a - b) as f64 / hz / seconds * 100.0)
            .collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let resident: Vec<f64> = self.resident.iter().map(|&kib| kib as f64 / 1024.0).collect();
        println!("agents                      {agents}");
        println!("processor, % of a core      mean {:.2}  most {:.2}", mean(&shares), most(&shares));
        println!("resident memory, MiB        mean {:.1}  most {:.1}", mean(&resident), most(&resident));
        for (name, now) in &self.metrics {
            let then = before.metrics.get(name).copied().unwrap_or(0.0);
            let rate = if name.contains("_total") { (now - then) / seconds } else { *now };
            println!("{name}: {rate:.1}{}", if name.contains("_total") { " a second" } else { "" });
        }
    }
}

/// The first agent's metrics of its peers.
fn metrics() -> BTreeMap<String, f64> {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", FIRST_PORT + 1)) else { return BTreeMap::new() };
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n"
    );
    let mut text = String::new();
    let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut text));
    let lines = text.lines().filter(|line| line.starts_with("outrigger_peer"));
    lines
        .filter_map(|line| line.rsplit_once(' ').and_then(|(n, v)| Some((n.to_owned(), v.parse().ok()?))))
        .collect()
}
