//! What the app uses: processor time, resident memory and open file descriptors of all its processes together.
//!
//! Its processes are those below us that nobody else waits for (see `tree`), so what a wrapper started, or left behind, is
//! among them. The figures are the kernel's, from `/proc`; where it shows none, nothing is claimed.
//!
//! **Memory** is the sum of the processes' resident sets. Pages that several of them share count once for each, so the
//! figure is too high for an app of many processes, but always by the same rule. **Descriptors** can only be counted of
//! processes that we may look into: same user, or root.
//!
//! **Processor time** is what the processes used since the last sample. One that ended in between has left its time with
//! the process that waited for it, if that one is the app's; what it had used before the last sample is not counted a
//! second time. The time of an orphan that ended is lost from its last sample on. So the figure may be too small, and is
//! never negative.
//!
//! It does not know what is much, nor when it is asked.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{SysconfVar, getpid, sysconf};

use crate::engine::tick::Resources;
use crate::supervisor::reaper::OwnChildren;
use crate::supervisor::tree::Tree;

/// An app of more processes is not looked at: a sum over some of them would say less than nothing.
const PROCESSES_MAX: usize = 1024;

/// Descriptors of all processes together that are counted, as each costs a little; what is beyond is left out. Far above
/// what an app opens that is not leaking.
const DESCRIPTORS_MAX: u64 = 1 << 18;

/// Samples what the app uses.
#[derive(Debug)]
pub struct Usage {
    own: OwnChildren,
    last: Option<Look>,
}

/// The processes at one moment.
#[derive(Debug)]
struct Look {
    at: Duration,
    processes: HashMap<u32, Process>,
}

/// One process as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// When it started; with its id, who it is.
    started: u64,
    /// Clock ticks that it used itself.
    used: u64,
    /// Clock ticks that its children had used that have ended and that it waited for, and theirs.
    waited: u64,
    /// Resident pages.
    pages: u64,
}

impl Usage {
    /// `own` is the set of our own children, of which the app will be one.
    pub const fn new(own: OwnChildren) -> Self {
        Self { own, last: None }
    }

    /// What the app, whose first process is `app`, uses at `now` by a clock that only counts up. The first sample has no
    /// processor time. It reads some files a process, so it may take milliseconds, and blocks.
    pub fn sample(&mut self, app: u32, now: Duration) -> Resources {
        let tree = Tree::look();
        let mut others = self.own.pids();
        others.remove(&app);
        self.sample_these(&tree.below(getpid().as_raw().cast_unsigned(), &others), now)
    }

    /// The processes of the last sample; none where there were too many.
    pub fn pids(&self) -> Vec<u32> {
        self.last.iter().flat_map(|look| look.processes.keys().copied()).collect()
    }

    fn sample_these(&mut self, pids: &[u32], now: Duration) -> Resources {
        if pids.is_empty() || pids.len() > PROCESSES_MAX {
            self.last = None;
            return Resources::default();
        }
        let processes = pids.iter().filter_map(|&pid| Some((pid, read(pid)?))).collect();
        let look = Look { at: now, processes };
        let pages: u64 = look.processes.values().map(|process| process.pages).sum();
        let cpu_millicores = self.last.as_ref().and_then(|last| millicores(last, &look));
        let found = Resources {
            cpu_millicores,
            memory_bytes: system(SysconfVar::PAGE_SIZE).filter(|_| pages > 0).map(|size| pages * size),
            descriptors: descriptors(look.processes.keys().copied()),
        };
        self.last = Some(look);
        found
    }
}

/// The processor time between two looks, in thousandths of a processor.
fn millicores(last: &Look, now: &Look) -> Option<u64> {
    let elapsed = now.at.checked_sub(last.at).filter(|elapsed| !elapsed.is_zero())?;
    let seconds = used(&last.processes, &now.processes) as f64 / system(SysconfVar::CLK_TCK)? as f64;
    Some((1000.0 * seconds / elapsed.as_secs_f64()).round() as u64)
}

/// Clock ticks used between two looks.
fn used(last: &HashMap<u32, Process>, now: &HashMap<u32, Process>) -> u64 {
    let still = |pid: u32, then: &Process| now.get(&pid).is_some_and(|found| found.started == then.started);
    // What those that ended had used already, by who has waited for it: the nearest that is still there.
    let mut known: HashMap<u32, u64> = HashMap::new();
    for (pid, gone) in last.iter().filter(|&(&pid, then)| !still(pid, then)) {
        let mut heir = gone.parent;
        // Parents are a tree, read at one moment; should ids have been used again meanwhile, it ends all the same.
        for _ in 0..last.len() {
            match last.get(&heir) {
                Some(then) if heir != *pid && !still(heir, then) => heir = then.parent,
                Some(_) | None => break,
            }
        }
        *known.entry(heir).or_default() += gone.used + gone.waited;
    }
    let since = |(pid, process): (&u32, &Process)| match last.get(pid) {
        Some(then) if then.started == process.started => {
            let inherited = process.waited.saturating_sub(then.waited);
            let known = known.get(pid).copied().unwrap_or_default();
            process.used.saturating_sub(then.used) + inherited.saturating_sub(known)
        }
        Some(_) | None => process.used + process.waited,
    };
    now.iter().map(since).sum()
}

/// `None` where it has ended.
fn read(pid: u32) -> Option<Process> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// A process by the text of `/proc/…/stat`; the fields are counted from behind its name, which may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    // Times of waited-for children may be below zero by an old kernel's rounding.
    let time = |at: usize| Some(u64::try_from(fields.get(at)?.parse::<i64>().ok()?).unwrap_or(0));
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        used: time(11)? + time(12)?,
        waited: time(13)? + time(14)?,
        started: number(19)?,
        pages: number(21)?,
    })
}

/// How many descriptors are open; `None` where one of the processes may not be looked into.
fn descriptors(pids: impl Iterator<Item = u32>) -> Option<u64> {
    let mut open = 0;
    for pid in pids {
        match std::fs::read_dir(format!("/proc/{pid}/fd")) {
            Ok(entries) => open += entries.take((DESCRIPTORS_MAX - open) as usize).count() as u64,
            Err(error) if has_ended(&error) => {}
            Err(_) => return None,
        }
    }
    Some(open)
}

fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

fn system(what: SysconfVar) -> Option<u64> {
    u64::try_from(sysconf(what).ok()??).ok().filter(|&value| value > 0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
    use tokio::process::{Child, ChildStdin, ChildStdout, Command};

    use super::*;
    use crate::supervisor::CHILDREN_OF_TESTS;

    const PATIENCE: Duration = Duration::from_secs(30);
    const MIB: u64 = 1 << 20;

    /// A shell that does one step of its script at each line that it is sent, and says when.
    struct Shell {
        child: Child,
        asks: ChildStdin,
        says: Lines<BufReader<ChildStdout>>,
    }

    impl Shell {
        fn run(script: &str) -> Self {
            let mut child = Command::new("sh")
                .args(["-c", script])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let (asks, says) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            Self { child, asks, says: BufReader::new(says).lines() }
        }

        async fn line(&mut self) -> String {
            let line = tokio::time::timeout(PATIENCE, self.says.next_line());
            line.await.expect("it answers in time").unwrap().expect("it says something")
        }

        async fn ask(&mut self) {
            self.asks.write_all(b"go\n").await.unwrap();
        }

        async fn step(&mut self) -> String {
            self.ask().await;
            self.line().await
        }

        /// What it and all below it uses.
        fn sample(&self, usage: &mut Usage, now_s: u64) -> Resources {
            let pid = self.child.id().unwrap();
            let mut pids = Tree::look().below(pid, &HashSet::new());
            pids.push(pid);
            usage.sample_these(&pids, Duration::from_secs(now_s))
        }
    }

    fn usage() -> Usage {
        Usage::new(OwnChildren::default())
    }

    #[tokio::test]
    async fn memory_is_that_of_all_the_apps_processes() {
        let _alone = CHILDREN_OF_TESTS.lock().await;
        let hold = "x=$(head -c 40000000 /dev/zero | tr '\\0' x)";
        let mut shell = Shell::run(&format!(
            "echo up; read _; {hold}; echo more; read _; ( {hold}; echo child; read _ ) <&0; read _"
        ));
        let mut usage = usage();
        shell.line().await;
        let before = shell.sample(&mut usage, 0).memory_bytes.unwrap();
        assert!((MIB / 4..20 * MIB).contains(&before), "a shell holds {before} bytes");
        shell.step().await;
        let one = shell.sample(&mut usage, 5).memory_bytes.unwrap() - before;
        assert!((38 * MIB..300 * MIB).contains(&one), "{one}");
        shell.step().await;
        let both = shell.sample(&mut usage, 10).memory_bytes.unwrap() - before;
        assert!(both > one + 38 * MIB, "the child's is not in it: {one}, {both}");
    }

    #[tokio::test]
    async fn descriptors_are_counted_one_by_one_and_no_longer_when_they_are_closed() {
        let _alone = CHILDREN_OF_TESTS.lock().await;
        let mut shell = Shell::run(
            "echo up; read _; exec 5</dev/null 6</dev/null 7</dev/null; echo open; \
             read _; exec 6<&-; echo closed; read _; ( exec 8</dev/null; echo child; read _ ) <&0; read _",
        );
        let mut usage = usage();
        shell.line().await;
        let before = shell.sample(&mut usage, 0).descriptors.unwrap();
        assert!(before >= 3, "{before}");
        shell.step().await;
        assert_eq!(shell.sample(&mut usage, 5).descriptors, Some(before + 3));
        shell.step().await;
        assert_eq!(shell.sample(&mut usage, 10).descriptors, Some(before + 2));
        // A child has its own, those that it got from the shell included.
        shell.step().await;
        let both = shell.sample(&mut usage, 15).descriptors.unwrap();
        assert!(both > 2 * (before + 2), "the child's are not in it: {before}, {both}");
    }

    /// The shell's own account of its time and its children's, in milliseconds: a line each, such as `0m0.01s 0m0.02s`.
    async fn told(shell: &mut Shell) -> u64 {
        let millis = |time: &str| {
            let (minutes, seconds) = time.trim_end_matches('s').split_once('m').unwrap();
            minutes.parse::<u64>().unwrap() * 60_000 + (seconds.parse::<f64>().unwrap() * 1000.0) as u64
        };
        let lines = [shell.line().await, shell.line().await].join(" ");
        lines.split_ascii_whitespace().map(millis).sum()
    }

    #[tokio::test]
    async fn processor_time_is_what_was_used_since_the_last_sample_also_by_children_that_ended() {
        let _alone = CHILDREN_OF_TESTS.lock().await;
        let burn = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
        let mut shell = Shell::run(&format!(
            "{burn}; times; read _; ( {burn} ); times; read _; {burn}; times; read _; times; read _"
        ));
        let mut usage = usage();
        let mut before = told(&mut shell).await;
        assert_eq!(shell.sample(&mut usage, 0).cpu_millicores, None, "there is nothing to compare with");
        for second in 1..=3_u64 {
            shell.ask().await;
            let after = told(&mut shell).await;
            // One second has gone by, so millicores are milliseconds. The kernel counts by hundredths, each figure apart.
            let found = shell.sample(&mut usage, second).cpu_millicores.unwrap();
            assert!(found.abs_diff(after - before) <= 50, "step {second}: {found}, {}", after - before);
            assert_eq!(found >= 60, second < 3, "step {second}: {found}");
            before = after;
        }
    }

    #[test]
    fn nothing_is_said_of_an_app_that_is_gone() {
        let mut usage = usage();
        assert_eq!(usage.sample_these(&[], Duration::ZERO), Resources::default());
        // An id beyond the kernel's greatest.
        let found = usage.sample_these(&[1 << 30], Duration::from_secs(5));
        assert_eq!((found.cpu_millicores, found.memory_bytes), (None, None));
    }

    fn look(processes: &[(u32, u32, u64, u64)]) -> HashMap<u32, Process> {
        let of = |&(pid, parent, used, waited)| {
            (pid, Process { parent, started: u64::from(pid), used, waited, pages: 1 })
        };
        processes.iter().map(of).collect()
    }

    #[test]
    fn what_ended_is_counted_once_and_never_below_zero() {
        let last = look(&[(10, 1, 100, 50), (11, 10, 700, 0), (12, 11, 300, 0)]);
        assert_eq!(used(&last, &last), 0);
        // Both ended, 11 after 20 more and 12 after 5 more, and 10 waited for them.
        assert_eq!(used(&last, &look(&[(10, 1, 101, 50 + 1025)])), 26);
        // 10 does not wait: the kernel drops their time.
        assert_eq!(used(&last, &look(&[(10, 1, 103, 50)])), 3);
        // 11 ended, and 12 with what it went on to use is an orphan now.
        assert_eq!(used(&last, &look(&[(10, 1, 100, 50 + 710), (12, 1, 304, 0)])), 14);
        // 10 ended; its heir is not the app's.
        assert_eq!(used(&last, &look(&[(11, 1, 701, 0), (12, 11, 300, 0)])), 1);
        // A new one counts from its start, also under an old number.
        assert_eq!(
            used(&last, &look(&[(10, 1, 100, 50), (11, 10, 700, 0), (12, 11, 300, 0), (13, 10, 9, 1)])),
            10
        );
        let mut again = last.clone();
        again.insert(12, Process { parent: 11, started: 99, used: 8, waited: 0, pages: 1 });
        assert_eq!(used(&last, &again), 8);
    }

    #[test]
    fn an_app_of_too_many_processes_is_not_looked_at() {
        let own = getpid().as_raw().cast_unsigned();
        let mut usage = usage();
        assert!(usage.sample_these(&vec![own; PROCESSES_MAX], Duration::ZERO).memory_bytes.is_some());
        assert_eq!(usage.sample_these(&vec![own; PROCESSES_MAX + 1], Duration::ZERO), Resources::default());
    }

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let stat = "7 (a) S 1 (b)) S 5 6 6 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 777 1000 42 18446744073709551615";
        let found = Process { parent: 5, started: 777, used: 23, waited: 27, pages: 42 };
        assert_eq!(parse(stat), Some(found));
        assert_eq!(parse(&stat.replace(" 13 14 ", " -1 14 ")).map(|p| p.waited), Some(14));
        assert_eq!(parse("7 (sh) S 5 6"), None);
        assert_eq!(parse(""), None);
    }
}
