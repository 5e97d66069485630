//! What the container and the agent use of what they are given, at one moment, and what of it is worth a word.
//!
//! Plain data, and the comparison with limits that are handed in. What could not be read is `None`: nothing is claimed of
//! it, and nothing is concluded from it.

use std::time::Duration;

use crate::engine::time::Time;

/// For so long after the kernel killed somebody for want of memory it is said. Longer than between two looks of most
/// monitors, short enough that it is still news.
const OOM_IS_NEWS: Duration = Duration::from_secs(120);

/// All that was found in one sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostState {
    /// When it was taken.
    pub at: Time,
    /// The processors.
    pub cpu: Cpu,
    /// The memory.
    pub memory: Memory,
    /// Processes and threads of the container.
    pub pids: Option<Filled>,
    /// Open file descriptors.
    pub descriptors: Descriptors,
    /// The file system of the data directory.
    pub disk: Disk,
    /// Sockets of the container's network.
    pub sockets: Sockets,
    /// How long the container's first process has run.
    pub container_uptime: Option<Duration>,
    /// The agent itself.
    pub agent: AgentUse,
}

/// So much of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// In use.
    pub used: u64,
    /// Of so much; `None`: there is no limit.
    pub of: Option<u64>,
}

impl Filled {
    /// The used share; `None` without a limit. Above 1 where more is in use than a limit that was lowered allows.
    pub fn share(self) -> Option<f64> {
        self.of.filter(|&of| of > 0).map(|of| self.used as f64 / of as f64)
    }
}

/// Who sets a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// The control group of the container, or one above it.
    Container,
    /// Nobody, so it is what the machine has.
    Machine,
}

impl LimitedBy {
    /// The name in the API.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Machine => "machine",
        }
    }
}

/// The processors. Figures over time are since the last sample, so the first has none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// Used by the container, or by the machine where no control group can be read; in thousandths of a processor.
    pub used_millicores: Option<u64>,
    /// What may be used at most: the quota, or the processors that we may run on if they are fewer.
    pub limit_millicores: Option<u64>,
    /// Whose limit that is.
    pub limited_by: Option<LimitedBy>,
    /// The share of the quota's periods in which the container was stopped because it was used up. Only with a quota.
    pub throttled_periods: Option<f64>,
    /// The share of time in which it was stopped; at most [`Self::throttled_periods`].
    pub throttled_time: Option<f64>,
    /// The share of time in which somebody had to wait for a processor, over 10 seconds, by the kernel's account.
    pub pressure: Option<f64>,
}

impl Cpu {
    /// The share of the limit that was used.
    pub fn share(&self) -> Option<f64> {
        Filled { used: self.used_millicores?, of: Some(self.limit_millicores?) }.share()
    }
}

/// The memory, in bytes. Where nobody limits the container, `limit` and `working_set` are the machine's, since it is the
/// machine that would run out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// All that is counted towards the limit, files in the page cache too.
    pub current: Option<u64>,
    /// Without files that the kernel can drop at once: what counts.
    pub working_set: Option<u64>,
    /// The limit.
    pub limit: Option<u64>,
    /// Whose limit that is.
    pub limited_by: Option<LimitedBy>,
    /// Swap in use.
    pub swap: Option<u64>,
    /// The share of time in which somebody had to wait for memory, over 10 seconds, by the kernel's account.
    pub pressure: Option<f64>,
    /// Processes that the kernel killed for want of memory, since the container began.
    pub oom_kills: Option<u64>,
    /// Of those, the ones since the last sample.
    pub oom_kills_new: u64,
    /// When a sample last found a new one.
    pub oom_killed_at: Option<Time>,
}

impl Memory {
    /// The working set as a share of the limit.
    pub fn share(&self) -> Option<f64> {
        Filled { used: self.working_set?, of: Some(self.limit?) }.share()
    }
}

/// Open file descriptors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// Of the app's process that is nearest to its own limit.
    pub app: Option<OfProcess>,
    /// Of the agent, of its own limit.
    pub agent: Option<Filled>,
    /// Of the whole machine.
    pub machine: Option<Filled>,
}

/// Open file descriptors of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfProcess {
    /// The process.
    pub pid: u32,
    /// Of its own soft limit.
    pub open: Filled,
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Disk {
    /// Its size, in bytes.
    pub total: Option<u64>,
    /// What we may still write, in bytes: without what is kept for root.
    pub available: Option<u64>,
    /// The used share of what we may write at all.
    pub used_share: Option<f64>,
    /// The used share of its inodes; `None` where it has no fixed number.
    pub inodes_used_share: Option<f64>,
}

/// Sockets, of both versions of IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// TCP sockets in use.
    pub tcp_in_use: Option<u64>,
    /// TCP sockets that no process holds any more and that are not closed yet.
    pub tcp_orphans: Option<u64>,
    /// TCP connections that are over and keep their port for a while.
    pub tcp_time_wait: Option<u64>,
    /// TCP sockets that were allocated, in whatever state.
    pub tcp_allocated: Option<u64>,
    /// Memory of TCP's buffers, in bytes.
    pub tcp_memory: Option<u64>,
    /// UDP sockets in use.
    pub udp_in_use: Option<u64>,
}

/// What the agent uses itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentUse {
    /// How long it has run.
    pub uptime: Option<Duration>,
    /// Processor time since the last sample, in thousandths of a processor.
    pub cpu_millicores: Option<u64>,
    /// Resident memory, in bytes.
    pub resident: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// By how much the control loop was late at most since the last sample, in microseconds.
    pub loop_lag_us: Option<u64>,
}

/// What is still called well. Shares from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Memory in use, of its limit.
    pub memory_max: f64,
    /// Space or inodes in use, of the data directory's file system.
    pub disk_max: f64,
    /// Descriptors in use by one process, of its limit.
    pub descriptors_max: f64,
    /// Time in which the container was kept from the processor by its quota.
    pub throttled_max: f64,
}

impl HostState {
    /// What is beyond `limits`: one sentence each, of what, how much, and where the limit is. Empty: nothing is.
    pub fn concerns(&self, limits: &Limits) -> Vec<String> {
        let mut concerns = Vec::new();
        concerns.extend(self.memory.concern(limits.memory_max));
        concerns.extend(self.oom());
        concerns.extend(self.disk.concerns(limits.disk_max));
        concerns.extend(self.descriptors.concerns(limits.descriptors_max));
        concerns.extend(self.cpu.concern(limits.throttled_max));
        concerns
    }

    fn oom(&self) -> Option<String> {
        let killed_at = self.memory.oom_killed_at.filter(|&at| self.at.since(at) < OOM_IS_NEWS)?;
        let ago = self.at.since(killed_at).as_secs();
        let all = self.memory.oom_kills.unwrap_or(self.memory.oom_kills_new);
        Some(format!(
            "memory: the kernel killed a process of this container for want of memory {ago} s ago, {all} so far"
        ))
    }
}

impl Memory {
    fn concern(&self, max: f64) -> Option<String> {
        let share = self.share().filter(|&share| share > max)?;
        let (used, of) = (bytes(self.working_set?), bytes(self.limit?));
        let whose = match self.limited_by {
            Some(LimitedBy::Machine) => "the machine's ",
            Some(LimitedBy::Container) | None => "",
        };
        Some(format!("memory: {used} of {whose}{of} in use, {}", beyond(share, max)))
    }
}

impl Disk {
    fn concerns(&self, max: f64) -> impl Iterator<Item = String> + use<> {
        let space = self.used_share.filter(|&share| share > max).map(|share| {
            let left = self.available.map(|left| format!(", {} left", bytes(left))).unwrap_or_default();
            format!("disk: the data directory's file system is full to {}{left}", beyond(share, max))
        });
        let inodes = self.inodes_used_share.filter(|&share| share > max).map(|share| {
            format!("disk: inodes of the data directory's file system are used to {}", beyond(share, max))
        });
        space.into_iter().chain(inodes)
    }
}

impl Descriptors {
    fn concerns(&self, max: f64) -> impl Iterator<Item = String> + use<> {
        let said = move |open: Filled, who: String| {
            let share = open.share().filter(|&share| share > max)?;
            Some(format!(
                "descriptors: {who} holds {} of {}, {}",
                open.used,
                open.of.unwrap_or_default(),
                beyond(share, max)
            ))
        };
        let app = self.app.and_then(|app| said(app.open, format!("process {} of the app", app.pid)));
        let agent = self.agent.and_then(|open| said(open, "the agent".to_owned()));
        let machine = self.machine.and_then(|open| said(open, "the machine".to_owned()));
        app.into_iter().chain(agent).chain(machine)
    }
}

impl Cpu {
    fn concern(&self, max: f64) -> Option<String> {
        let share = self.throttled_time.filter(|&share| share > max)?;
        let limit = match self.limit_millicores {
            Some(limit) => format!(" of {:.2} processors", limit as f64 / 1000.0),
            None => String::new(),
        };
        Some(format!(
            "processor: time in which the quota{limit} stopped the container: {}",
            beyond(share, max)
        ))
    }
}

/// A share and the limit that it is beyond, such as `96.1 % (well up to 95 %)`. Cut, not rounded, so that 100 % is all.
fn beyond(share: f64, max: f64) -> String {
    let cut = (share * 1000.0).floor() / 10.0;
    let max = (max * 1000.0).round() / 10.0;
    format!("{cut} % (well up to {max} %)")
}

fn bytes(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib < 10_240.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { memory_max: 0.95, disk_max: 0.95, descriptors_max: 0.9, throttled_max: 0.25 };
    const MIB: u64 = 1 << 20;

    fn memory(working_set: u64, limit: u64) -> HostState {
        let memory = Memory { working_set: Some(working_set), limit: Some(limit), ..Memory::default() };
        HostState { at: Time::from_millis(1_000_000), memory, ..HostState::default() }
    }

    #[test]
    fn nothing_is_concluded_from_what_is_not_known() {
        assert!(HostState::default().concerns(&LIMITS).is_empty());
        let unlimited = Filled { used: u64::MAX, of: None };
        assert_eq!(unlimited.share(), None);
        assert_eq!(Filled { used: 7, of: Some(0) }.share(), None, "no share of nothing");
        let descriptors =
            Descriptors { agent: Some(unlimited), machine: Some(unlimited), ..Descriptors::default() };
        assert!(HostState { descriptors, ..HostState::default() }.concerns(&LIMITS).is_empty());
    }

    #[test]
    fn memory_is_a_concern_above_its_share_and_not_at_it() {
        assert!(memory(95 * MIB, 100 * MIB).concerns(&LIMITS).is_empty());
        assert_eq!(
            memory(490 * MIB, 512 * MIB).concerns(&LIMITS),
            ["memory: 490 MiB of 512 MiB in use, 95.7 % (well up to 95 %)"]
        );
        let mut machine = memory(31 << 30, 32 << 30);
        machine.memory.limited_by = Some(LimitedBy::Machine);
        assert_eq!(
            machine.concerns(&LIMITS),
            ["memory: 31.0 GiB of the machine's 32.0 GiB in use, 96.8 % (well up to 95 %)"]
        );
    }

    #[test]
    fn a_kill_for_want_of_memory_is_said_for_two_minutes() {
        let mut state = memory(1, 100);
        state.memory.oom_kills = Some(3);
        state.memory.oom_killed_at = Some(state.at - Duration::from_secs(40));
        assert_eq!(
            state.concerns(&LIMITS),
            ["memory: the kernel killed a process of this container for want of memory 40 s ago, 3 so far"]
        );
        state.memory.oom_killed_at = Some(state.at - OOM_IS_NEWS);
        assert!(state.concerns(&LIMITS).is_empty());
    }

    #[test]
    fn the_disk_is_a_concern_by_space_and_by_inodes() {
        let disk = Disk {
            total: Some(1000 * MIB),
            available: Some(21 * MIB),
            used_share: Some(0.9789),
            inodes_used_share: Some(1.0),
        };
        let state = HostState { disk, ..HostState::default() };
        assert_eq!(
            state.concerns(&LIMITS),
            [
                "disk: the data directory's file system is full to 97.8 % (well up to 95 %), 21 MiB left",
                "disk: inodes of the data directory's file system are used to 100 % (well up to 95 %)"
            ]
        );
    }

    #[test]
    fn descriptors_are_a_concern_by_process() {
        let open = |used, of| Filled { used, of: Some(of) };
        let descriptors = Descriptors {
            app: Some(OfProcess { pid: 41, open: open(980, 1024) }),
            agent: Some(open(900, 1000)),
            machine: Some(open(999, 1000)),
        };
        let state = HostState { descriptors, ..HostState::default() };
        assert_eq!(
            state.concerns(&LIMITS),
            [
                "descriptors: process 41 of the app holds 980 of 1024, 95.7 % (well up to 90 %)",
                "descriptors: the machine holds 999 of 1000, 99.9 % (well up to 90 %)"
            ]
        );
    }

    #[test]
    fn being_throttled_is_a_concern_by_time_not_by_periods() {
        let mut cpu = Cpu {
            limit_millicores: Some(500),
            throttled_periods: Some(0.9),
            throttled_time: Some(0.2),
            ..Cpu::default()
        };
        assert!(HostState { cpu, ..HostState::default() }.concerns(&LIMITS).is_empty());
        cpu.throttled_time = Some(0.4321);
        assert_eq!(
            HostState { cpu, ..HostState::default() }.concerns(&LIMITS),
            [
                "processor: time in which the quota of 0.50 processors stopped the container: 43.2 % (well up to 25 %)"
            ]
        );
    }
}
