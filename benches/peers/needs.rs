//! What must be there before anything starts: programs, cores, open files. All that is missing is said at once.

use std::fs;
use std::process::{Command, id};

use anyhow::{Context as _, bail};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Options;

/// A program and Debian's package of it.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("nginx", "-v", "nginx"),
    ("haproxy", "-v", "haproxy"),
    ("strace", "-V", "strace"),
    ("valgrind", "--version", "valgrind"),
    ("callgrind_annotate", "--version", "valgrind"),
    ("taskset", "--version", "util-linux"),
];

/// Connections beside the idle ones, and files beside two for each connection.
const CONNECTIONS_BESIDE: usize = 512;
const FILES_BESIDE: u64 = 512;

/// Which core has what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) load: usize,
    pub(crate) proxy: usize,
}

/// Looks, and binds this process to the core of the load.
pub(crate) fn check(options: &Options) -> anyhow::Result<Cores> {
    let missing: Vec<(&str, &str)> = PROGRAMS
        .iter()
        .filter(|(program, argument, _)| version(program, argument).is_none())
        .map(|(program, _, package)| (*program, *package))
        .collect();
    let mut faults = Vec::new();
    if !missing.is_empty() {
        let (programs, mut packages): (Vec<&str>, Vec<&str>) = missing.into_iter().unzip();
        packages.dedup();
        faults.push(format!(
            "{} missing: `apt-get install {}` on Debian (and disable the services that it starts)",
            programs.join(", "),
            packages.join(" ")
        ));
    }
    let wanted = connections_max(options) as u64 * 2 + FILES_BESIDE;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("read the limit of open files")?;
    if hard < wanted {
        faults.push(format!(
            "{wanted} open files are needed, {hard} are allowed: `ulimit -n` or a lower --idle"
        ));
    } else {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("raise the limit of open files")?;
    }
    if !options.binary.is_file() {
        faults.push(format!("`{}` is no file", options.binary.display()));
    }
    if options.rate == 0 || options.seconds == 0 || options.connections == 0 || options.rounds == 0 {
        faults.push("--rate, --seconds, --connections and --rounds are at least 1".to_owned());
    }
    if !faults.is_empty() {
        bail!("cannot start:\n  {}", faults.join("\n  "));
    }
    // The load wakes up by timers; the default slack of 50 us would be most of what is measured.
    prctl::set_timerslack(1).context("set the timer slack")?;
    let cores = cores()?;
    let bound = Command::new("taskset").args(["-acp", &cores.load.to_string(), &id().to_string()]).output();
    anyhow::ensure!(bound.is_ok_and(|output| output.status.success()), "could not bind the load to a core");
    Ok(cores)
}

/// How many connections every process is set up for.
pub(crate) fn connections_max(options: &Options) -> usize {
    options.idle.max(options.connections) + CONNECTIONS_BESIDE
}

/// The first two cores that we may use.
fn cores() -> anyhow::Result<Cores> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.context("/proc/self/status has no Cpus_allowed_list")?.trim();
    let allowed = allowed(list).with_context(|| format!("cores {list}"))?;
    match allowed[..] {
        [load, proxy, ..] => Ok(Cores { load, proxy }),
        [only] => {
            eprintln!("peers: one core only: load and proxy share it, and the times mean little");
            Ok(Cores { load: only, proxy: only })
        }
        [] => bail!("no core is allowed"),
    }
}

/// `0-3,8`.
fn allowed(list: &str) -> anyhow::Result<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        cores.extend(from.parse::<usize>()?..=to.parse::<usize>()?);
    }
    Ok(cores)
}

/// The first line of what it says of itself.
fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().trim().to_owned())
}

/// Machine and versions, for whoever reads the figures later.
pub(crate) fn described(cores: Cores) -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or("unknown CPU");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let versions: Vec<String> =
        PROGRAMS.iter().take(4).filter_map(|(program, argument, _)| version(program, argument)).collect();
    format!(
        "{}, Linux {}, proxy on core {}, load on core {}; {}",
        model.trim_start_matches([':', ' ', '\t']),
        kernel.trim(),
        cores.proxy,
        cores.load,
        versions.join("; ")
    )
}
