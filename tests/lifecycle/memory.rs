//! An app that the kernel kills for want of memory: it is told apart from any other SIGKILL.

use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::agent::{Place, processes, words};

/// More than the agent needs, and nothing for an app that takes all.
const LIMIT: &str = "104857600";

/// A control group with a limit of memory, of either version; removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let membership = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let name = format!("outrigger-test-{}", std::process::id());
        let of = |line: &str, root: &str, limit: &str| {
            let group = PathBuf::from(format!("{root}/{}/{name}", line.splitn(3, ':').nth(2)?));
            std::fs::create_dir(&group).ok()?;
            let made = Self(group);
            // Without swap where it is counted, for the app would only get slower.
            let _ = std::fs::write(made.0.join("memory.swap.max"), "0");
            std::fs::write(made.0.join(limit), LIMIT).ok()?;
            Some(made)
        };
        let v1 = membership.lines().find(|line| line.split(':').nth(1) == Some("memory"));
        let v2 = membership.lines().find(|line| line.starts_with("0::"));
        let first = v1.and_then(|line| of(line, "/sys/fs/cgroup/memory", "memory.limit_in_bytes"));
        first.or_else(|| of(v2?, "/sys/fs/cgroup", "memory.max"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[tokio::test]
async fn an_app_that_runs_out_of_memory_is_told_apart() {
    let Some(group) = Group::new() else {
        eprintln!("SKIPPED: a control group with a limit of memory cannot be made here");
        return;
    };
    let place = Place::new();
    let enter = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", group.0.display());
    let before = words(["sh", "-c", &enter, "sh"]);
    // `tail` keeps a line until it ends, and this one does not.
    let agent = place.start_behind(&before, &words(["tail", "/dev/zero"]), &[]);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 137, "{said:#?}");
    let ended = said.iter().find(|line| line.contains("app ended unexpectedly")).unwrap();
    assert!(ended.contains("\"out_of_memory\":true"), "{ended}");
}

#[tokio::test]
async fn an_app_that_somebody_killed_is_not() {
    let place = Place::new();
    let mut agent = place.start(&words(["sleep", "1000"]), &[]);
    agent.hear("app started").await;
    let app = processes().find(|process| process.parent == agent.pid()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(app.pid), Signal::SIGKILL).unwrap();
    let (code, said) = agent.ended().await;
    assert_eq!(code, 137, "{said:#?}");
    let ended = said.iter().find(|line| line.contains("app ended unexpectedly")).unwrap();
    assert!(ended.contains("\"out_of_memory\":false"), "{ended}");
}
