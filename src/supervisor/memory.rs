//! Whether the kernel killed somebody in our control group for want of memory, and whom it is to kill first.
//!
//! A SIGKILL says nothing of its sender. The group's own counter does, where it can be read (cgroup v1 and v2); where it
//! cannot, nothing is claimed.

use std::io;
use std::path::{Path, PathBuf};

const CGROUPS: &str = "/sys/fs/cgroup";

/// The app is to be killed before the agent, which is smaller and tells why: its score is so much higher than ours.
const SCORE_ABOVE_OURS: i32 = 100;

/// The kernel's bound of the score: the first to go.
const SCORE_MAX: i32 = 1000;

/// How many processes of our control group the kernel has killed for want of memory so far.
pub(super) fn oom_kills() -> Option<u64> {
    let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let readings = candidates(&membership).into_iter();
    readings.filter_map(|path| std::fs::read_to_string(path).ok()).find_map(|text| parse_oom_kills(&text))
}

/// Whether the counter rose; not if either reading is missing.
pub(super) fn rose(before: Option<u64>, after: Option<u64>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if after > before)
}

/// Makes the kernel prefer `pid` over us when memory runs out.
pub(super) fn prefer(pid: u32) -> io::Result<()> {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj")?;
    let own: i32 = own.trim().parse().map_err(io::Error::other)?;
    let score = (own + SCORE_ABOVE_OURS).min(SCORE_MAX);
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string())
}

/// Where our group's counter may be, by the text of `/proc/self/cgroup`, the likeliest first: in the memory hierarchy of
/// v1 (`4:memory:/path`), then in the unified one (`0::/path`). Within a container the path may be the host's, while the
/// container's own group is mounted as the root.
pub(super) fn candidates(membership: &str) -> Vec<PathBuf> {
    let group_of = |is_it: &dyn Fn(&str, &str) -> bool| {
        membership.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            is_it(id, controllers).then(|| path.trim_start_matches('/').to_owned())
        })
    };
    let mut found = Vec::new();
    if let Some(group) = group_of(&|_, controllers| controllers.split(',').any(|one| one == "memory")) {
        let root = Path::new(CGROUPS).join("memory");
        found.extend([root.join(group).join("memory.oom_control"), root.join("memory.oom_control")]);
    }
    if let Some(group) = group_of(&|id, controllers| id == "0" && controllers.is_empty()) {
        let root = Path::new(CGROUPS);
        found.extend([root.join(group).join("memory.events"), root.join("memory.events")]);
    }
    found
}

/// Both forms have a line `oom_kill N`.
pub(super) fn parse_oom_kills(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kills_are_read_from_the_groups_events() {
        let events = "low 0\nhigh 0\nmax 83\noom 5\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(parse_oom_kills(events), Some(3));
        assert_eq!(parse_oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Some(2));
        assert_eq!(parse_oom_kills("low 0\noom 2\n"), None);
        assert_eq!(parse_oom_kills("oom_kill many\n"), None);
    }

    fn files(membership: &str) -> Vec<String> {
        let paths = candidates(membership).into_iter();
        paths.map(|path| path.strip_prefix(CGROUPS).unwrap().display().to_string()).collect()
    }

    #[test]
    fn the_counter_is_looked_for_in_the_own_group_and_then_at_the_root() {
        assert_eq!(
            files("12:pids:/docker/abc\n1:name=systemd:/x\n0::/user.slice/app.service\n"),
            ["user.slice/app.service/memory.events", "memory.events"]
        );
        assert_eq!(
            files("5:cpu,memory:/docker/abc\n"),
            ["memory/docker/abc/memory.oom_control", "memory/memory.oom_control"]
        );
        let both = files("4:memory:/a\n0::/\n");
        assert_eq!(both[..2], ["memory/a/memory.oom_control", "memory/memory.oom_control"]);
        assert_eq!(both.len(), 4);
        assert!(files("nonsense\n").is_empty());
    }

    #[test]
    fn nothing_is_claimed_without_both_readings() {
        assert!(rose(Some(1), Some(2)));
        assert!(!rose(Some(2), Some(2)));
        assert!(!rose(None, Some(2)));
        assert!(!rose(Some(2), None));
    }
}
