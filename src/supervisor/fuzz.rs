//! What the kernel says of control groups as any text, for fuzzing.

use std::path::PathBuf;

use crate::supervisor::memory;

/// The files in which the kills of a process's group may be counted, by the text of its `/proc/…/cgroup`.
pub fn counters(membership: &str) -> Vec<PathBuf> {
    memory::candidates(membership)
}

/// The count in such a file.
pub fn kills(text: &str) -> Option<u64> {
    memory::parse_oom_kills(text)
}
