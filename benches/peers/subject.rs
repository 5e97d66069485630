//! The processes: started on their core, alone or under an instrument, looked at, and ended. Dropped, they are killed.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::{sleep, timeout};

use crate::load::{Load, Traffic};
use crate::recipes;

/// A start or an end takes no longer, under an instrument either; or the run ends.
const WAIT: Duration = Duration::from_secs(120);
/// Between two looks at what sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Where ports are looked for, and how often; then the run ends.
const PORTS: Range<u16> = 10_240..32_768;
const PORT_TRIES_MAX: usize = 100;
/// What is shown of a process that did not start.
const LINES_SHOWN: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The upstream itself.
    Direct,
    Outrigger,
    Nginx,
    Haproxy,
}

impl Subject {
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Outrigger, Self::Nginx, Self::Haproxy];
    pub(crate) const PROXIES: [Self; 3] = [Self::Outrigger, Self::Nginx, Self::Haproxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Outrigger => "outrigger",
            Self::Nginx => "nginx",
            Self::Haproxy => "HAProxy",
        }
    }
}

/// What watches a process. It is in the way from the start to the end, so only differences of two runs count.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Instrument {
    Strace,
    Callgrind,
}

impl Instrument {
    /// What stands before the program. `-D`: the program stays our child, so that we can end it.
    fn prefix(self, into: &Path) -> Vec<OsString> {
        let texts = |texts: &[&str]| texts.iter().map(OsString::from).collect::<Vec<_>>();
        match self {
            Self::Strace => [texts(&["strace", "-D", "-f", "-c", "-o"]), vec![into.into()]].concat(),
            Self::Callgrind => {
                let mut file = OsString::from("--callgrind-out-file=");
                file.push(into);
                [texts(&["valgrind", "--tool=callgrind", "-q"]), vec![file]].concat()
            }
        }
    }
}

/// How processes are started in this run.
#[derive(Debug)]
pub(crate) struct Starter {
    pub(crate) binary: PathBuf,
    pub(crate) core: usize,
    /// What each is told to accept at most.
    pub(crate) connections_max: usize,
}

/// A running process.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Running {
    /// nginx with the replies, on the core of the load.
    pub(crate) async fn upstream(starter: &Starter) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = free_port()?;
        fs::write(
            folder.path().join("conf"),
            recipes::upstream(folder.path(), address, starter.connections_max),
        )?;
        let command = nginx_command(folder.path());
        Self::spawn(starter, &command, address, folder).await.context("start the upstream")
    }

    pub(crate) async fn start(
        starter: &Starter,
        subject: Subject,
        upstream: SocketAddr,
        instrument: Option<Instrument>,
    ) -> anyhow::Result<Self> {
        let what = || format!("start {} under {instrument:?}", subject.name());
        Self::try_start(starter, subject, upstream, instrument).await.with_context(what)
    }

    async fn try_start(
        starter: &Starter,
        subject: Subject,
        upstream: SocketAddr,
        instrument: Option<Instrument>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let place = folder.path();
        let address = free_port()?;
        let mut command: Vec<OsString> =
            ["taskset", "-c", &starter.core.to_string()].map(OsString::from).to_vec();
        command.extend(instrument.into_iter().flat_map(|i| i.prefix(&place.join("counts"))));
        match subject {
            Subject::Direct => bail!("the upstream is started apart"),
            Subject::Outrigger => {
                command.push(starter.binary.clone().into_os_string());
                command.extend(["run", "--admin", "127.0.0.1:0", "--listen"].map(OsString::from));
                command.extend([address.to_string(), "--upstream".into()].map(OsString::from));
                command.extend([format!("http://{upstream}"), "--data".into()].map(OsString::from));
                command.push(place.join("data").into_os_string());
            }
            Subject::Nginx => {
                fs::write(
                    place.join("conf"),
                    recipes::nginx_proxy(place, address, upstream, starter.connections_max),
                )?;
                command.extend(nginx_command(place));
            }
            Subject::Haproxy => {
                fs::write(place.join("conf"), recipes::haproxy(address, upstream, starter.connections_max))?;
                command.extend(["haproxy", "-db", "-f"].map(OsString::from));
                command.push(place.join("conf").into_os_string());
            }
        }
        Self::spawn(starter, &command, address, folder).await
    }

    /// Started, and ready: it has answered a request.
    async fn spawn(
        starter: &Starter,
        command: &[OsString],
        address: SocketAddr,
        folder: TempDir,
    ) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().expect("a command has a program");
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("OUTRIGGER__PROXY__WORKERS", "1")
            .env("OUTRIGGER__PROXY__CONNECTIONS_MAX", starter.connections_max.to_string())
            .env("OUTRIGGER__SERVICE__RELEASE", "bench")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("run {}", program.display()))?;
        let said = Arc::new(Mutex::new(VecDeque::new()));
        tokio::spawn(listen(child.stderr.take().expect("it is piped"), Arc::clone(&said)));
        let mut running = Self { address, child, folder };
        let ready = timeout(WAIT, running.ready()).await.context("it is not ready in time").flatten();
        if ready.is_err() {
            for line in said.lock().expect("no holder of this lock panics").iter() {
                eprintln!("    it says: {line}");
            }
        }
        ready.map(|()| running)
    }

    async fn ready(&mut self) -> anyhow::Result<()> {
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                // What it said is heard first.
                sleep(LOOK_AGAIN).await;
                bail!("it ended at once: {status}");
            }
            sleep(LOOK_AGAIN).await;
        }
        let address = self.address;
        let asked = tokio::task::spawn_blocking(move || Load::open(address, Traffic::Small, 1));
        asked.await?.map(drop)
    }

    fn pid(&self) -> anyhow::Result<i32> {
        Ok(self.child.id().context("it has ended")?.cast_signed())
    }

    /// CPU time of all its threads so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let mut total = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()?))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            let run_ns = text.split(' ').next().unwrap_or_default();
            total += run_ns.parse::<u64>().context("read schedstat")?;
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let line = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
        Ok(line.parse()?)
    }

    /// Ends it, and gives what its instrument wrote.
    pub(crate) async fn ended(mut self) -> anyhow::Result<Counts> {
        kill(Pid::from_raw(self.pid()?), Signal::SIGTERM)?;
        timeout(WAIT, self.child.wait()).await.context("it does not end")??;
        let file = self.folder.path().join("counts");
        // strace writes when all that it traced has ended, and then ends itself.
        let written = timeout(WAIT, async {
            while fs::metadata(&file).map_or(0, |meta| meta.len()) == 0 {
                sleep(LOOK_AGAIN).await;
            }
            sleep(LOOK_AGAIN).await;
        });
        written.await.context("its instrument wrote nothing")?;
        ensure!(file.is_file(), "its instrument wrote nothing");
        Ok(Counts { file, _folder: self.folder })
    }
}

/// What an instrument wrote; removed when dropped.
pub(crate) struct Counts {
    pub(crate) file: PathBuf,
    _folder: TempDir,
}

/// Keeps the last lines.
async fn listen(stderr: ChildStderr, said: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut said = said.lock().expect("no holder of this lock panics");
        said.push_back(line);
        if said.len() > LINES_SHOWN {
            said.pop_front();
        }
    }
}

fn nginx_command(place: &Path) -> Vec<OsString> {
    let mut command: Vec<OsString> = ["nginx", "-e", "stderr", "-p"].map(OsString::from).to_vec();
    command.extend([place.into(), "-c".into(), place.join("conf").into_os_string()]);
    command
}

/// Free now, and below the range from which the system gives ports to those who ask for any: another process is not
/// given it before ours has bound it.
fn free_port() -> anyhow::Result<SocketAddr> {
    for _ in 0..PORT_TRIES_MAX {
        let address = SocketAddr::from(([127, 0, 0, 1], fastrand::u16(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port is free in {PORTS:?}")
}
