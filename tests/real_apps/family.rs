//! Processes that others started, as `/proc` tells of them.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::eventually;

/// A process that a test looked at; not the next one that is given the same number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Member {
    id: i32,
    /// In ticks since the machine's start.
    started: u64,
    state: char,
}

impl Member {
    fn of(id: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets and may hold anything, brackets too.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        Some(Self { id, started: fields.nth(18)?.parse().ok()?, state })
    }

    /// Whether it has not ended. One that only waits to be reaped has.
    fn is_running(self) -> bool {
        Self::of(self.id).is_some_and(|now| now.started == self.started && !now.is_zombie())
    }

    pub(crate) const fn is_zombie(self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// Everything that a process has started, directly or not, as far as it is still its offspring.
pub(crate) fn offspring(of: i32) -> Family {
    let mut members: Vec<Member> = Vec::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        let found: Vec<Member> = children(parent).into_iter().filter_map(Member::of).collect();
        parents.extend(found.iter().map(|member| member.id));
        members.extend(found);
    }
    Family(members)
}

/// The children of all threads of a process.
pub(crate) fn children(of: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// All that are in the same pid namespace.
pub(crate) fn neighbours(of: i32) -> Family {
    let namespace = |id: i32| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
    let ours = namespace(of).expect("it runs, and Linux tells its namespace");
    let all = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let ids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A zombie has no namespace to show any more; its parent has.
    let parents = ids.filter(|&id| namespace(id).as_ref() == Some(&ours)).collect::<Vec<i32>>();
    let mut members: Vec<Member> = parents.iter().copied().filter_map(Member::of).collect();
    let zombies = parents.iter().flat_map(|&id| children(id)).filter_map(Member::of);
    members.extend(zombies.filter(|member| member.is_zombie()).collect::<Vec<_>>());
    Family(members)
}

/// Processes seen together. What is left of them when a test is over is killed, so that a failed one leaves nothing.
#[derive(Debug)]
pub(crate) struct Family(pub(crate) Vec<Member>);

impl Family {
    fn left(&self) -> Vec<Member> {
        self.0.iter().copied().filter(|member| member.is_running()).collect()
    }

    /// Ends what is left.
    pub(crate) fn kill(&self) {
        for member in self.left() {
            // It may end by itself in this very moment.
            let _ = kill(Pid::from_raw(member.id), Signal::SIGKILL);
        }
    }

    /// Waits until all have ended.
    pub(crate) async fn has_ended(&self) {
        eventually("no process is left", async || self.left().is_empty().then_some(())).await;
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill();
        }
    }
}
