//! Whether the kernel killed somebody in our control group for want of memory.
//!
//! A SIGKILL says nothing of its sender. The group's own counter does, where it can be read (cgroup v2); where it
//! cannot, nothing is claimed.

use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

/// How many processes of our control group the kernel has killed for want of memory so far.
pub(super) fn oom_kills() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let events = std::fs::read_to_string(events_path(&membership)?).ok()?;
    parse_oom_kills(&events)
}

/// Whether the counter rose; not if either reading is missing.
pub(super) fn rose(before: Option<u64>, after: Option<u64>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if after > before)
}

/// Where our group's events are, by the text of `/proc/self/cgroup`: the line of the unified hierarchy, `0::/path`.
fn events_path(membership: &str) -> Option<PathBuf> {
    let group = membership.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(Path::new(CGROUPS).join(group).join("memory.events"))
}

fn parse_oom_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_are_read_from_the_groups_events() {
        let events = "low 0\nhigh 0\nmax 83\noom 5\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(parse_oom_kills(events), Some(3));
        assert_eq!(parse_oom_kills("low 0\noom 2\n"), None);
        assert_eq!(parse_oom_kills("oom_kill many\n"), None);
    }

    #[test]
    fn the_group_is_that_of_the_unified_hierarchy() {
        let mixed = "12:pids:/docker/abc\n1:name=systemd:/x\n0::/user.slice/app.service\n";
        let path = events_path(mixed);
        assert_eq!(path, Some(PathBuf::from("/sys/fs/cgroup/user.slice/app.service/memory.events")));
        assert_eq!(events_path("0::/\n"), Some(PathBuf::from("/sys/fs/cgroup/memory.events")));
        assert_eq!(events_path("4:memory:/docker/abc\n"), None);
    }

    #[test]
    fn nothing_is_claimed_without_both_readings() {
        assert!(rose(Some(1), Some(2)));
        assert!(!rose(Some(2), Some(2)));
        assert!(!rose(None, Some(2)));
        assert!(!rose(Some(2), None));
    }
}
