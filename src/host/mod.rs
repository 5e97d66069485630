//! The container and this very process against their limits: processors, memory, descriptors, disk, sockets.
//!
//! Owns where the kernel tells it: control groups of v1, of v2 and of both at once, `/proc`, and the data directory's file
//! system. All of it is read from under a root, so that a tree of files can stand in for a kernel. What cannot be read, or
//! reads as nonsense, is *not known*, never a guess and never an error: containers hide different parts of it.
//!
//! It does not know what is much, what the figures are for, nor which processes are the app's: that is told to it.
//!
//! **The limit that counts** is the tightest one of our group and of those above it that we can see. What is compared with
//! it is the usage of the group that has it, neighbours included: that is what the kernel compares.

mod cpu;
mod disk;
mod files;
mod groups;
mod memory;
mod processes;
mod sockets;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use crate::engine::host::{AgentUse, Filled, HostState};
use crate::engine::time::Time;
use crate::host::cpu::CpuMeter;
use crate::host::files::{Root, limit, number};
use crate::host::groups::Groups;
use crate::host::memory::OomMeter;
use crate::host::processes::AgentMeter;

/// Samples the container and this process.
#[derive(Debug)]
pub struct Host {
    root: Root,
    data: PathBuf,
    groups: Groups,
    cpu: CpuMeter,
    oom: OomMeter,
    agent: AgentMeter,
}

impl Host {
    /// Of this machine; `data`: where the agent writes. Nothing is read yet.
    pub fn new(data: PathBuf) -> Self {
        Self::under(PathBuf::from("/"), data)
    }

    /// `root` stands in for `/`.
    pub fn under(root: PathBuf, data: PathBuf) -> Self {
        Self {
            root: Root::new(root),
            data,
            groups: Groups::default(),
            cpu: CpuMeter::default(),
            oom: OomMeter::default(),
            agent: AgentMeter::default(),
        }
    }

    /// What is so at `at`; `uptime` is the same moment by the agent's own monotonic clock, and `app` the app's processes.
    /// It reads some forty small files, so it may take a millisecond, and blocks: on a file system that hangs for as long
    /// as that does.
    pub fn sample(&mut self, at: Time, uptime: Duration, app: &[u32]) -> HostState {
        self.groups.refresh(&self.root);
        let mut memory = memory::read(&self.root, self.groups.memory.as_ref());
        self.oom.look(&mut memory, at);
        HostState {
            at,
            cpu: self.cpu.read(&self.root, &self.groups, uptime),
            memory,
            pids: self.pids(),
            descriptors: processes::descriptors(&self.root, app),
            disk: disk::read(&self.data),
            sockets: sockets::read(&self.root),
            container_uptime: processes::container_uptime(&self.root),
            agent: AgentUse { uptime: Some(uptime), ..self.agent.read(&self.root, uptime) },
        }
    }

    /// Processes and threads, of the tightest limit.
    fn pids(&self) -> Option<Filled> {
        let group = self.groups.pids.as_ref()?;
        let level = group.tightest(|level| limit(&self.root.text(level.join("pids.max"))?));
        let (level, of) = match level {
            Some((level, of)) => (level, Some(of)),
            None => (group.own(), None),
        };
        let used = number(&self.root.text(level.join("pids.current"))?)?;
        Some(Filled { used, of })
    }
}
