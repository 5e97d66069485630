//! A group of our own in this very kernel, where we may make one: the figures against what is really done in it.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::clock::Clock;
use crate::engine::host::{HostState, LimitedBy};
use crate::host::Host;
use crate::host::files::Root;
use crate::host::groups::{Group, Groups, Version};

/// How long what was killed may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);
const LIMIT: u64 = 64 << 20;

/// Waits for a line, holds 20 MB, then says a line after each bit of work.
const BURN: &str = "read _; x=$(head -c 20000000 /dev/zero | tr '\\0' x); \
    while :; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; echo x; done";
/// Waits for a line, then holds more than it may.
const GREED: &str = "read _; x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived";

/// Groups below our own; removed at the end.
struct Made(Vec<PathBuf>);

impl Drop for Made {
    fn drop(&mut self) {
        // What the shells' pipes held goes a moment after them.
        let clock = Clock::start();
        for group in &self.0 {
            while std::fs::remove_dir(group).is_err() && clock.uptime() < PATIENCE {
                std::thread::yield_now();
            }
        }
    }
}

impl Made {
    /// `None`, aloud, where that is not possible.
    fn make() -> Option<Self> {
        let mut groups = Groups::default();
        groups.refresh(&Root::new("/".into()));
        let name = format!("outrigger-test-{}", std::process::id());
        let ours = [groups.cpu, groups.cpuacct, groups.memory];
        let is_one = |group: &Option<Group>| group.as_ref().is_some_and(|g| g.version == Version::One);
        if !ours.iter().all(is_one) {
            eprintln!("SKIPPED: the processor's and the memory's controllers are not of v1 here");
            return None;
        }
        let mut made = Self(Vec::new());
        for group in ours.into_iter().flatten() {
            let path = group.own().join(&name);
            match std::fs::create_dir(&path) {
                // Two controllers in one hierarchy.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    eprintln!("SKIPPED: {} may not be made: {error}", path.display());
                    return None;
                }
                Ok(()) => made.0.push(path),
            }
        }
        Some(made)
    }

    fn set(&self, file: &str, value: u64) {
        let of_it = self.0.iter().map(|group| group.join(file)).find(|path| path.exists());
        std::fs::write(of_it.unwrap_or_else(|| panic!("there is a {file}")), value.to_string()).unwrap();
    }

    /// Runs a shell in the groups.
    fn run(&self, script: &str) -> Shell {
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        for group in &self.0 {
            std::fs::write(group.join("cgroup.procs"), child.id().to_string()).unwrap();
        }
        let (mut asks, says) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        asks.write_all(b"go\n").unwrap();
        Shell { child, says: BufReader::new(says).lines(), _asks: asks }
    }
}

struct Shell {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    _asks: ChildStdin,
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A root in which `process` is the one that looks.
fn seen_by(process: u32, root: &Path) -> Host {
    let proc = root.join("proc");
    std::fs::create_dir(&proc).unwrap();
    symlink("/sys", root.join("sys")).unwrap();
    symlink(format!("/proc/{process}"), proc.join("self")).unwrap();
    for name in ["meminfo", "stat", "uptime", "1", "net", "sys"] {
        symlink(format!("/proc/{name}"), proc.join(name)).unwrap();
    }
    Host::under(root.to_owned(), root.to_owned())
}

#[test]
fn a_process_in_a_group_of_this_kernel_is_seen_to_be_throttled_and_killed_for_want_of_memory() {
    let Some(made) = Made::make() else { return };
    made.set("cpu.cfs_period_us", 100_000);
    made.set("cpu.cfs_quota_us", 5_000);
    made.set("memory.limit_in_bytes", LIMIT);
    let clock = Clock::start();
    let root = tempfile::tempdir().unwrap();
    let mut shell = made.run(BURN);
    let mut host = seen_by(shell.child.id(), root.path());
    let mut sample = || host.sample(clock.now(), clock.uptime(), &[]);
    shell.says.next().unwrap().unwrap();
    let before = sample();
    assert_eq!((before.cpu.limit_millicores, before.cpu.limited_by), (Some(50), Some(LimitedBy::Container)));
    assert_eq!((before.memory.limit, before.memory.limited_by), (Some(LIMIT), Some(LimitedBy::Container)));
    assert!(
        before.memory.working_set.is_some_and(|bytes| (19_000_000..LIMIT).contains(&bytes)),
        "{before:?}"
    );
    assert_eq!(before.memory.oom_kills, Some(0));

    // Some twenty periods.
    (0..60).for_each(|_| drop(shell.says.next().unwrap().unwrap()));
    let throttled = sample();
    let cpu = throttled.cpu;
    assert!(cpu.used_millicores.is_some_and(|used| (5..=75).contains(&used)), "{cpu:?}");
    assert!(cpu.throttled_periods.is_some_and(|share| share > 0.3), "{cpu:?}");
    assert!(cpu.throttled_time.is_some_and(|share| share > 0.2), "{cpu:?}");
    drop(shell);

    made.set("cpu.cfs_quota_us", 100_000);
    let mut greedy = made.run(GREED);
    let ended = greedy.says.next();
    assert!(ended.is_none(), "it lives on with three times its limit: {ended:?}");
    assert_eq!(greedy.child.wait().unwrap().signal(), Some(9));
    // Nobody is in it any more: `self` is gone, and the group that was found is looked at on.
    let after: HostState = sample();
    assert_eq!((after.memory.oom_kills, after.memory.oom_kills_new), (Some(1), 1), "{after:?}");
    assert_eq!(after.memory.oom_killed_at, Some(after.at));
}
