//! Single processes: the agent itself, the container's first, and how near the app's are to their descriptors' limits.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use crate::engine::host::{AgentUse, Descriptors, Filled, OfProcess};
use crate::host::cpu::in_micros;
use crate::host::files::{Root, limit, rest};

/// Of an app of more processes only so many are looked at.
const PROCESSES_MAX: usize = 1024;

/// Descriptors of one process that are counted, as each costs a little; what is beyond is left out. Far above any limit
/// that people set.
const DESCRIPTORS_MAX: usize = 1 << 20;

/// The agent's processor time at the last sample.
#[derive(Debug, Default)]
pub(super) struct AgentMeter {
    last: Option<(Duration, u64)>,
}

impl AgentMeter {
    pub(super) fn read(&mut self, root: &Root, now: Duration) -> AgentUse {
        let Some(stat) = root.text("/proc/self/stat").and_then(|text| Stat::parse(&text)) else {
            self.last = None;
            return AgentUse::default();
        };
        let used_us = in_micros(stat.used);
        let since = |(at, before): (Duration, u64)| {
            let elapsed = now.checked_sub(at).filter(|elapsed| !elapsed.is_zero())?;
            let used = used_us?.checked_sub(before)?;
            Some((1000.0 * used as f64 / elapsed.as_micros() as f64).round() as u64)
        };
        let cpu_millicores = self.last.and_then(since);
        self.last = used_us.map(|used| (now, used));
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
        AgentUse {
            cpu_millicores,
            resident: page.and_then(|size| stat.pages.checked_mul(size)),
            threads: Some(stat.threads),
            ..AgentUse::default()
        }
    }
}

/// A process as the kernel counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    /// Clock ticks that it used.
    used: u64,
    threads: u64,
    /// Clock ticks from the machine's start to its own.
    started: u64,
    /// Resident pages.
    pages: u64,
}

impl Stat {
    /// By the text of `/proc/…/stat`; the fields are counted from behind its name, which may hold anything.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Self {
            used: number(11)?.checked_add(number(12)?)?,
            threads: number(17)?,
            started: number(19)?,
            pages: number(21)?,
        })
    }
}

/// How long the first process has run that we see.
pub(super) fn container_uptime(root: &Root) -> Option<Duration> {
    let started = Stat::parse(&root.text("/proc/1/stat")?)?.started;
    let text = root.text("/proc/uptime")?;
    let machine: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    let machine = Duration::try_from_secs_f64(machine).ok()?;
    machine.checked_sub(Duration::from_micros(in_micros(started)?))
}

/// `app`: its processes.
pub(super) fn descriptors(root: &Root, app: &[u32]) -> Descriptors {
    let of = |&pid: &u32| Some(OfProcess { pid, open: open(root, &pid.to_string())? });
    // Without a limit none is near to it, so that the one that holds most comes last of these.
    let nearness = |of: &OfProcess| (of.open.share().unwrap_or(0.0), of.open.used);
    let app = app.iter().take(PROCESSES_MAX).filter_map(of);
    Descriptors {
        app: app
            .max_by(|a, b| nearness(a).partial_cmp(&nearness(b)).expect("shares of whole numbers compare")),
        agent: open(root, "self"),
        machine: machine(root),
    }
}

fn open(root: &Root, process: &str) -> Option<Filled> {
    let entries = std::fs::read_dir(root.at(format!("/proc/{process}/fd"))).ok()?;
    let used = entries.take(DESCRIPTORS_MAX).count() as u64;
    let limits = root.text(format!("/proc/{process}/limits"));
    let soft = limits
        .as_deref()
        .and_then(|text| limit(rest(text, "Max open files")?.split_ascii_whitespace().next()?));
    Some(Filled { used, of: soft })
}

/// By `/proc/sys/fs/file-nr`: allocated, of these free, and at most.
fn machine(root: &Root) -> Option<Filled> {
    let text = root.text("/proc/sys/fs/file-nr")?;
    let mut fields = text.split_ascii_whitespace();
    let (allocated, free): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Filled { used: allocated.saturating_sub(free), of: fields.next().and_then(limit) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let text = "7 (a) b (c)) S 5 6 6 0 -1 4194304 1 0 0 0 30 12 0 0 20 0 14 0 3736684 3133440 380 184467";
        let expected = Stat { used: 42, threads: 14, started: 3_736_684, pages: 380 };
        assert_eq!(Stat::parse(text), Some(expected));
        for cut in 0..text.len() - " 184467".len() {
            // Cut within the last number it is another number; nothing can be said against that.
            let found = Stat::parse(&text[..cut]);
            assert!(found.is_none() || found.is_some_and(|stat| stat.pages < 380), "{cut}: {found:?}");
        }
    }
}
