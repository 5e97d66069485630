//! The container's memory, or the machine's where nobody limits the container.

use std::path::Path;

use crate::engine::host::{LimitedBy, Memory};
use crate::engine::time::Time;
use crate::host::files::{Root, keyed, limit, number, pressure};
use crate::host::groups::{Group, Version};

/// Whom the kernel has killed for want of memory since the last sample.
#[derive(Debug, Default)]
pub(super) struct OomMeter {
    last: Option<u64>,
    killed_at: Option<Time>,
}

impl OomMeter {
    /// Adds to `memory` what its counter says of the time since the last look. A counter that went back is another
    /// group's: nothing is said of the time between.
    pub(super) fn look(&mut self, memory: &mut Memory, at: Time) {
        let new = self.last.zip(memory.oom_kills).map_or(0, |(last, now)| now.saturating_sub(last));
        self.last = memory.oom_kills;
        if new > 0 {
            self.killed_at = Some(at);
        }
        memory.oom_kills_new = new;
        memory.oom_killed_at = self.killed_at;
    }
}

pub(super) fn read(root: &Root, group: Option<&Group>) -> Memory {
    let machine = Machine::read(&root.text("/proc/meminfo").unwrap_or_default());
    let mut memory = match group.and_then(|group| limited(root, group, machine.total)) {
        Some(memory) => memory,
        None => {
            machine.memory().unwrap_or_else(|| group.map_or_else(Memory::default, |group| own(root, group)))
        }
    };
    memory.oom_kills = group.and_then(|group| oom_kills(root, group));
    memory.pressure = group
        .filter(|group| group.version == Version::Two)
        .and_then(|group| root.text(group.own().join("memory.pressure")))
        .or_else(|| root.text("/proc/pressure/memory"))
        .and_then(|text| pressure(&text));
    memory
}

/// Of the level with the tightest limit; `None` where none is below what the machine has.
fn limited(root: &Root, group: &Group, machine: Option<u64>) -> Option<Memory> {
    let names = Names::of(group.version);
    let counts = |limit: &u64| machine.is_none_or(|total| *limit < total);
    let seen = group
        .tightest(|level| limit(&root.text(level.join(names.limit))?).filter(counts))
        .map(|(level, limit)| (level.to_owned(), limit));
    // Of a level that we cannot see v1 tells the limit, and the outermost that we see is the nearest to it.
    let unseen = names
        .limit_above
        .and_then(|key| keyed(&root.text(group.own().join("memory.stat"))?, key))
        .and_then(|found| limit(&found.to_string()))
        .filter(counts)
        .filter(|&above| seen.as_ref().is_none_or(|(_, limit)| above < *limit))
        .map(|limit| (group.outermost().to_owned(), limit));
    let (level, limit) = unseen.or(seen)?;
    let limited_by = Some(LimitedBy::Container);
    Some(Memory { limit: Some(limit), limited_by, ..usage(root, &level, &names) })
}

/// Usage without any limit to compare it with.
fn own(root: &Root, group: &Group) -> Memory {
    usage(root, group.own(), &Names::of(group.version))
}

fn usage(root: &Root, level: &Path, names: &Names) -> Memory {
    let stat = root.text(level.join("memory.stat"));
    let stat = |key| keyed(stat.as_deref()?, key);
    let current = root.text(level.join(names.current)).and_then(|text| number(&text));
    let swap = match names.swap {
        Swap::File(name) => root.text(level.join(name)).and_then(|text| number(&text)),
        Swap::Stat(key) => stat(key),
    };
    Memory {
        current,
        working_set: current.zip(stat(names.inactive_file)).map(|(all, files)| all.saturating_sub(files)),
        swap,
        ..Memory::default()
    }
}

/// In our own group; with v2 also in those below it.
fn oom_kills(root: &Root, group: &Group) -> Option<u64> {
    keyed(&root.text(group.own().join(Names::of(group.version).events))?, "oom_kill")
}

/// How v1 and v2 call the same.
struct Names {
    current: &'static str,
    limit: &'static str,
    /// The tightest limit of ours and all above, in `memory.stat`.
    limit_above: Option<&'static str>,
    /// With the groups below it, in `memory.stat`.
    inactive_file: &'static str,
    swap: Swap,
    events: &'static str,
}

enum Swap {
    File(&'static str),
    Stat(&'static str),
}

impl Names {
    const fn of(version: Version) -> Self {
        match version {
            Version::One => Self {
                current: "memory.usage_in_bytes",
                limit: "memory.limit_in_bytes",
                limit_above: Some("hierarchical_memory_limit"),
                inactive_file: "total_inactive_file",
                swap: Swap::Stat("total_swap"),
                events: "memory.oom_control",
            },
            Version::Two => Self {
                current: "memory.current",
                limit: "memory.max",
                limit_above: None,
                inactive_file: "inactive_file",
                swap: Swap::File("memory.swap.current"),
                events: "memory.events",
            },
        }
    }
}

/// The machine's memory, in bytes.
struct Machine {
    total: Option<u64>,
    free: Option<u64>,
    available: Option<u64>,
    swap_total: Option<u64>,
    swap_free: Option<u64>,
}

impl Machine {
    fn read(meminfo: &str) -> Self {
        let of = |key| keyed(meminfo, key).map(|kib| kib.saturating_mul(1024));
        Self {
            total: of("MemTotal").filter(|&total| total > 0),
            free: of("MemFree"),
            available: of("MemAvailable"),
            swap_total: of("SwapTotal"),
            swap_free: of("SwapFree"),
        }
    }

    fn memory(&self) -> Option<Memory> {
        let without = |all: Option<u64>, rest: Option<u64>| Some(all?.saturating_sub(rest?));
        Some(Memory {
            current: without(self.total, self.free),
            working_set: without(self.total, self.available),
            limit: Some(self.total?),
            limited_by: Some(LimitedBy::Machine),
            swap: without(self.swap_total, self.swap_free),
            ..Memory::default()
        })
    }
}
