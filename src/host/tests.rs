//! Trees of files that stand in for a kernel, and a group of our own in the real one.

mod real;

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::engine::host::{Filled, HostState, LimitedBy};
use crate::engine::time::Time;
use crate::host::Host;

const MIB: u64 = 1 << 20;

/// A kernel of files, and a sampler of it.
struct Kernel {
    root: TempDir,
    host: Host,
    seconds: u64,
}

impl Kernel {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let host = Host::under(root.path().to_owned(), root.path().to_owned());
        Self { root, host, seconds: 0 }
    }

    /// A machine of four processors and 32 GiB.
    fn machine() -> Self {
        let kernel = Self::new();
        kernel.write("/proc/meminfo", "MemTotal: 33554432 kB\nMemFree: 1048576 kB\nMemAvailable: 8388608 kB\nSwapTotal: 1024 kB\nSwapFree: 1000 kB\n");
        kernel.write("/proc/self/status", "Name:\toutrigger\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n");
        kernel.write("/sys/devices/system/cpu/online", "0-3\n");
        kernel.write("/proc/stat", "cpu  100 0 50 9000 10 5 5 0 0 0\ncpu0 25 0 12 2250 2 1 1 0 0 0\n");
        kernel
    }

    /// Unified, in the group `group` of a container that sees it as the root.
    fn v2(group: &str) -> Self {
        let kernel = Self::machine();
        kernel.write("/proc/self/cgroup", &format!("0::{group}\n"));
        kernel.write(
            "/proc/self/mountinfo",
            "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n",
        );
        kernel
    }

    /// As docker does it with v1: named as the machine sees it, mounted as the root.
    fn v1() -> Self {
        let kernel = Self::machine();
        kernel.write("/proc/self/cgroup", "5:memory:/docker/abc\n4:pids:/docker/abc\n3:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n0::/docker/abc\n");
        let mount = |controllers: &str| {
            format!(
                "36 31 0:29 /docker/abc /sys/fs/cgroup/{controllers} ro,nosuid master:9 - cgroup cgroup rw,{controllers}\n"
            )
        };
        let mounts = ["memory", "pids", "cpu,cpuacct"].map(mount).concat();
        kernel.write("/proc/self/mountinfo", &mounts);
        kernel
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Files of one group: `name text`, several.
    fn group(&self, at: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            self.write(&format!("/sys/fs/cgroup{at}/{name}"), text);
        }
    }

    /// Five seconds later.
    fn sample(&mut self) -> HostState {
        self.seconds += 5;
        let uptime = Duration::from_secs(self.seconds);
        self.host.sample(Time::from_millis(1_000 * self.seconds), uptime, &[])
    }
}

fn near(found: Option<f64>, expected: f64) -> bool {
    found.is_some_and(|found| (found - expected).abs() < 1e-9)
}

const V2_LIMITED: [(&str, &str); 10] = [
    ("memory.current", "400000000\n"),
    ("memory.max", "536870912\n"),
    ("memory.stat", "anon 1\nfile 2\ninactive_file 100000000\nactive_file 3\n"),
    ("memory.swap.current", "4096\n"),
    ("memory.events", "low 0\nhigh 0\nmax 83\noom 5\noom_kill 3\noom_group_kill 0\n"),
    ("memory.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00\n"),
    ("cpu.max", "50000 100000\n"),
    (
        "cpu.stat",
        "usage_usec 1000000\nuser_usec 1\nsystem_usec 1\nnr_periods 100\nnr_throttled 10\nthrottled_usec 200000\n",
    ),
    ("pids.max", "100\n"),
    ("pids.current", "12\n"),
];

#[test]
fn a_container_of_v2_is_measured_against_its_own_limits() {
    let mut kernel = Kernel::v2("/");
    kernel.group("", &V2_LIMITED);
    kernel.group("", &[("cpu.pressure", "some avg10=25.00 avg60=0.00 avg300=0.00 total=0\n")]);
    let first = kernel.sample();
    assert_eq!(first.memory.current, Some(400_000_000));
    assert_eq!(first.memory.working_set, Some(300_000_000));
    assert_eq!((first.memory.limit, first.memory.limited_by), (Some(512 * MIB), Some(LimitedBy::Container)));
    assert_eq!((first.memory.swap, first.memory.pressure), (Some(4096), Some(0.015)));
    assert_eq!((first.memory.oom_kills, first.memory.oom_kills_new), (Some(3), 0), "of before we came");
    assert_eq!(first.memory.oom_killed_at, None);
    assert_eq!((first.cpu.limit_millicores, first.cpu.limited_by), (Some(500), Some(LimitedBy::Container)));
    assert_eq!(
        (first.cpu.used_millicores, first.cpu.throttled_time),
        (None, None),
        "nothing to compare with"
    );
    assert_eq!(first.cpu.pressure, Some(0.25));
    assert_eq!(first.pids, Some(Filled { used: 12, of: Some(100) }));

    kernel.group(
        "",
        &[
            ("cpu.stat", "usage_usec 3000000\nnr_periods 150\nnr_throttled 40\nthrottled_usec 1700000\n"),
            ("memory.events", "oom_kill 5\n"),
        ],
    );
    let second = kernel.sample();
    assert_eq!(second.cpu.used_millicores, Some(400));
    assert!(
        near(second.cpu.throttled_periods, 0.6) && near(second.cpu.throttled_time, 0.3),
        "{:?}",
        second.cpu
    );
    assert!(near(second.cpu.share(), 0.8));
    assert_eq!((second.memory.oom_kills_new, second.memory.oom_killed_at), (2, Some(second.at)));
    let third = kernel.sample();
    assert_eq!((third.memory.oom_kills_new, third.memory.oom_killed_at), (0, Some(second.at)));
}

#[test]
fn without_limits_the_machines_memory_counts_and_the_containers_own_processor_time() {
    let mut kernel = Kernel::v2("/");
    kernel.group("", &V2_LIMITED);
    kernel.group("", &[("memory.max", "max\n"), ("cpu.max", "max 100000\n"), ("pids.max", "max\n")]);
    let state = kernel.sample();
    assert_eq!((state.memory.limit, state.memory.limited_by), (Some(32 << 30), Some(LimitedBy::Machine)));
    assert_eq!(state.memory.working_set, Some(24 << 30));
    assert_eq!(state.memory.current, Some(31 << 30));
    assert_eq!((state.memory.swap, state.memory.oom_kills), (Some(24 * 1024), Some(3)));
    assert_eq!((state.cpu.limit_millicores, state.cpu.limited_by), (Some(4000), Some(LimitedBy::Machine)));
    assert_eq!(state.pids, Some(Filled { used: 12, of: None }));
    kernel.group("", &[("cpu.stat", "usage_usec 11000000\n")]);
    let cpu = kernel.sample().cpu;
    assert_eq!((cpu.used_millicores, cpu.throttled_periods, cpu.throttled_time), (Some(2000), None, None));
    // A quota comes: what was counted of it before was not looked at.
    kernel.group("", &V2_LIMITED[6..8]);
    let cpu = kernel.sample().cpu;
    assert_eq!((cpu.limit_millicores, cpu.throttled_time), (Some(500), None));
}

#[test]
fn a_limit_beyond_the_machine_is_none() {
    for limit in ["9223372036854771712", "34359738368", "99999999999"] {
        let mut kernel = Kernel::v2("/");
        kernel.group("", &V2_LIMITED);
        kernel.group("", &[("memory.max", limit), ("cpu.max", "9000000 100000")]);
        let state = kernel.sample();
        assert_eq!((state.memory.limit, state.memory.limited_by), (Some(32 << 30), Some(LimitedBy::Machine)));
        assert_eq!(
            (state.cpu.limit_millicores, state.cpu.limited_by),
            (Some(4000), Some(LimitedBy::Machine))
        );
    }
}

#[test]
fn the_tightest_limit_of_all_groups_above_counts_with_the_usage_of_the_group_that_has_it() {
    let mut kernel = Kernel::v2("/pod/app");
    kernel.group("/pod/app", &V2_LIMITED);
    kernel.group(
        "/pod",
        &[
            ("memory.max", "500000000\n"),
            ("memory.current", "490000000\n"),
            ("memory.stat", "inactive_file 1000000\n"),
            ("cpu.max", "25000 100000\n"),
            ("cpu.stat", "usage_usec 7000000\nnr_periods 10\nnr_throttled 0\nthrottled_usec 0\n"),
            ("pids.max", "max\n"),
            ("pids.current", "700\n"),
        ],
    );
    kernel.group("", &[("cpu.max", "max 100000\n"), ("memory.max", "8589934592\n")]);
    let state = kernel.sample();
    assert_eq!((state.memory.limit, state.memory.working_set), (Some(500_000_000), Some(489_000_000)));
    assert_eq!(state.memory.oom_kills, Some(3), "those of our own group");
    assert_eq!(state.cpu.limit_millicores, Some(250));
    assert_eq!(state.pids, Some(Filled { used: 12, of: Some(100) }));
    kernel.group(
        "/pod",
        &[("cpu.stat", "usage_usec 8000000\nnr_periods 60\nnr_throttled 50\nthrottled_usec 2500000\n")],
    );
    kernel.group(
        "/pod/app",
        &[("cpu.stat", "usage_usec 1000001\nnr_periods 200\nnr_throttled 10\nthrottled_usec 200000\n")],
    );
    let cpu = kernel.sample().cpu;
    assert_eq!(cpu.used_millicores, Some(200));
    assert!(near(cpu.throttled_periods, 1.0) && near(cpu.throttled_time, 0.5), "{cpu:?}");
}

const V1_MEMORY: [(&str, &str); 4] = [
    ("memory.usage_in_bytes", "300000000\n"),
    ("memory.limit_in_bytes", "400000000\n"),
    (
        "memory.stat",
        "inactive_file 1\nhierarchical_memory_limit 400000000\ntotal_inactive_file 50000000\ntotal_swap 8192\n",
    ),
    ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
];

#[test]
fn a_container_of_v1_is_measured_against_its_own_limits() {
    let mut kernel = Kernel::v1();
    kernel.group("/memory", &V1_MEMORY);
    kernel.group("/pids", &[("pids.max", "64\n"), ("pids.current", "9\n")]);
    kernel.group(
        "/cpu,cpuacct",
        &[
            ("cpu.cfs_quota_us", "150000\n"),
            ("cpu.cfs_period_us", "100000\n"),
            ("cpu.stat", "nr_periods 10\nnr_throttled 0\nthrottled_time 0\n"),
            ("cpuacct.usage", "1000000000\n"),
        ],
    );
    let state = kernel.sample();
    assert_eq!((state.memory.limit, state.memory.working_set), (Some(400_000_000), Some(250_000_000)));
    assert_eq!((state.memory.swap, state.memory.oom_kills), (Some(8192), Some(1)));
    assert_eq!(state.cpu.limit_millicores, Some(1500));
    assert_eq!(state.pids, Some(Filled { used: 9, of: Some(64) }));
    kernel.group(
        "/cpu,cpuacct",
        &[
            ("cpu.stat", "nr_periods 60\nnr_throttled 25\nthrottled_time 1000000000\n"),
            ("cpuacct.usage", "6000000000\n"),
        ],
    );
    let cpu = kernel.sample().cpu;
    assert_eq!(cpu.used_millicores, Some(1000));
    assert!(near(cpu.throttled_periods, 0.5) && near(cpu.throttled_time, 0.2), "{cpu:?}");
}

#[test]
fn v1_without_limits_is_like_v2_without() {
    let mut kernel = Kernel::v1();
    kernel.group("/memory", &V1_MEMORY);
    kernel.group(
        "/memory",
        &[
            ("memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory.stat", "hierarchical_memory_limit 9223372036854771712\ntotal_inactive_file 5\n"),
        ],
    );
    kernel.group("/cpu,cpuacct", &[("cpu.cfs_quota_us", "-1\n"), ("cpu.cfs_period_us", "100000\n")]);
    kernel.group("/cpu,cpuacct", &[("cpuacct.usage", "1000000000\n")]);
    let state = kernel.sample();
    assert_eq!((state.memory.limit, state.memory.limited_by), (Some(32 << 30), Some(LimitedBy::Machine)));
    assert_eq!((state.cpu.limit_millicores, state.cpu.limited_by), (Some(4000), Some(LimitedBy::Machine)));
    kernel.group("/cpu,cpuacct", &[("cpuacct.usage", "2000000000\n")]);
    assert_eq!(kernel.sample().cpu.used_millicores, Some(200));
}

#[test]
fn a_limit_above_what_a_container_of_v1_sees_counts_too() {
    let mut kernel = Kernel::v1();
    kernel.group("/memory", &V1_MEMORY);
    kernel.group(
        "/memory",
        &[("memory.stat", "hierarchical_memory_limit 310000000\ntotal_inactive_file 10000000\n")],
    );
    let memory = kernel.sample().memory;
    assert_eq!((memory.limit, memory.working_set), (Some(310_000_000), Some(290_000_000)));
}

#[test]
fn where_both_versions_are_mounted_each_controller_is_read_where_it_is() {
    let mut kernel = Kernel::machine();
    kernel.write("/proc/self/cgroup", "4:memory:/job\n1:name=systemd:/\n0::/user\n");
    kernel.write(
        "/proc/self/mountinfo",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    );
    kernel.group("/memory/job", &V1_MEMORY);
    kernel.group("/unified/user", &V2_LIMITED);
    let state = kernel.sample();
    assert_eq!(state.memory.limit, Some(400_000_000));
    assert_eq!(state.cpu.limit_millicores, Some(500));
    assert_eq!(state.pids, Some(Filled { used: 12, of: Some(100) }));
    // Moved into another group, it is looked for anew.
    kernel.group("/memory/other", &V1_MEMORY);
    kernel.group("/memory/other", &[("memory.limit_in_bytes", "350000000\n")]);
    kernel.write("/proc/self/cgroup", "4:memory:/other\n1:name=systemd:/\n0::/user\n");
    assert_eq!(kernel.sample().memory.limit, Some(350_000_000));
}

#[test]
fn a_group_that_is_named_but_not_there_is_the_mounted_one() {
    let mut kernel = Kernel::v2("/system.slice/docker-abc.scope");
    kernel.group("", &V2_LIMITED);
    let memory = kernel.sample().memory;
    assert_eq!((memory.limit, memory.oom_kills), (Some(512 * MIB), Some(3)));
}

#[test]
fn without_control_groups_it_is_the_machine_that_is_measured() {
    let mut kernel = Kernel::machine();
    kernel.write("/proc/pressure/cpu", "some avg10=2.00 avg60=0.00 avg300=0.00 total=0\n");
    let state = kernel.sample();
    assert_eq!((state.memory.limit, state.memory.oom_kills), (Some(32 << 30), None));
    assert_eq!((state.cpu.used_millicores, state.cpu.limit_millicores), (None, Some(4000)));
    assert_eq!((state.cpu.pressure, state.pids), (Some(0.02), None));
    // Two more seconds of user's time, at a hundred ticks a second: idle and waiting ones do not count.
    kernel.write("/proc/stat", "cpu  300 0 50 9999 900 5 5 0 0 0\n");
    assert_eq!(kernel.sample().cpu.used_millicores, Some(400));
}

#[test]
fn the_agent_the_first_process_and_the_app_are_read() {
    let mut kernel = Kernel::machine();
    let stat = |used: u64, started: u64| {
        format!("7 (a) b) S 5 6 6 0 -1 0 1 0 0 0 {used} 0 0 0 20 0 14 0 {started} 31 380 1")
    };
    let limits = |soft: &str| {
        format!(
            "Limit                     Soft Limit           Hard Limit           Units\nMax open files            {soft}                 1048576              files\n"
        )
    };
    kernel.write("/proc/uptime", "5000.25 9000.00\n");
    kernel.write("/proc/1/stat", &stat(5, 100_000));
    kernel.write("/proc/self/stat", &stat(100, 100_500));
    kernel.write("/proc/self/limits", &limits("1024"));
    kernel.write("/proc/sys/fs/file-nr", "504\t4\t9223372036854775807\n");
    for (pid, soft, open) in [("self", "1024", 3), ("20", "unlimited", 9), ("21", "100", 8), ("22", "50", 6)]
    {
        kernel.write(&format!("/proc/{pid}/limits"), &limits(soft));
        (0..open).for_each(|fd| kernel.write(&format!("/proc/{pid}/fd/{fd}"), ""));
    }
    kernel.host.sample(Time::default(), Duration::from_secs(5), &[]);
    kernel.write("/proc/self/stat", &stat(110, 100_500));
    let state = kernel.host.sample(Time::default(), Duration::from_secs(10), &[20, 21, 22, 23]);
    assert_eq!(state.container_uptime, Some(Duration::from_millis(4_000_250)));
    assert_eq!((state.agent.cpu_millicores, state.agent.threads), (Some(20), Some(14)));
    assert_eq!(state.agent.uptime, Some(Duration::from_secs(10)));
    assert_eq!(state.descriptors.agent, Some(Filled { used: 3, of: Some(1024) }));
    assert_eq!(state.descriptors.machine, Some(Filled { used: 500, of: None }));
    let worst = state.descriptors.app.unwrap();
    assert_eq!((worst.pid, worst.open), (22, Filled { used: 6, of: Some(50) }), "nearest to its limit");
    let unlimited =
        kernel.host.sample(Time::default(), Duration::from_secs(15), &[20]).descriptors.app.unwrap();
    assert_eq!((unlimited.pid, unlimited.open), (20, Filled { used: 9, of: None }));
}

/// Every file is, in turn, missing, empty, cut, a directory and nonsense; nothing may panic, and no figure may come from it
/// that is impossible.
#[test]
fn files_that_are_cut_or_hold_nonsense_are_no_figures() {
    let make = |version: usize| {
        let kernel = if version == 1 { Kernel::v1() } else { Kernel::v2("/pod/app") };
        if version == 1 {
            kernel.group("/memory", &V1_MEMORY);
            kernel.group("/pids", &[("pids.max", "64\n"), ("pids.current", "9\n")]);
            kernel.group("/cpu,cpuacct", &[("cpu.cfs_quota_us", "150000"), ("cpu.cfs_period_us", "100000")]);
            kernel
                .group("/cpu,cpuacct", &[("cpu.stat", "nr_periods 10\n"), ("cpuacct.usage", "1000000000\n")]);
        } else {
            kernel.group("/pod/app", &V2_LIMITED);
            kernel.group("/pod", &V2_LIMITED);
        }
        kernel.write("/proc/self/stat", "7 (a) S 5 6 6 0 -1 0 1 0 0 0 9 0 0 0 20 0 14 0 1000 31 380 1");
        kernel.write("/proc/1/stat", "1 (a) S 5 6 6 0 -1 0 1 0 0 0 9 0 0 0 20 0 14 0 1000 31 380 1");
        kernel.write("/proc/uptime", "5000.25 9000.00\n");
        kernel.write("/proc/net/sockstat", "TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 103\n");
        kernel
    };
    let mut looked = 0;
    for version in [1, 2] {
        let mut kernel = make(version);
        let files = files_below(kernel.root.path());
        assert!(files.len() > 15, "{files:?}");
        for (file, nonsense) in files.iter().flat_map(|file| NONSENSE.map(|nonsense| (file, nonsense))) {
            kernel.host = Host::under(kernel.root.path().to_owned(), kernel.root.path().to_owned());
            kernel.sample();
            let path = kernel.root.path().join(file);
            let text = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            match nonsense {
                "missing" => {}
                "directory" => std::fs::create_dir(&path).unwrap(),
                "cut" => std::fs::write(&path, &text[..text.len() / 2]).unwrap(),
                text => std::fs::write(&path, text).unwrap(),
            }
            check_possible(&kernel.sample(), file);
            looked += 1;
            if path.is_dir() {
                std::fs::remove_dir(&path).unwrap();
            }
            std::fs::write(&path, text).unwrap();
        }
    }
    assert!(looked > 300, "{looked}");
}

const NONSENSE: [&str; 9] = [
    "missing",
    "directory",
    "cut",
    "",
    "\0\u{fffd}\n\n: ::\n",
    "-7\n",
    "99999999999999999999999999\n",
    "18446744073709551615 18446744073709551615\ninactive_file 18446744073709551615\nMemAvailable: 18446744073709551615\n",
    "some avg10=inf\nnr_periods 0\nnr_throttled 18446744073709551615\ncpu 18446744073709551615 1 18446744073709551615 1 1 1 1\n",
];

fn files_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = vec![root.to_owned()];
    while let Some(directory) = next.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                next.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn check_possible(state: &HostState, file: &str) {
    let shares = [
        state.cpu.throttled_periods,
        state.cpu.throttled_time,
        state.cpu.pressure,
        state.memory.pressure,
        state.disk.used_share,
    ];
    for share in shares.into_iter().flatten() {
        assert!((0.0..=1.0).contains(&share), "{file}: {state:?}");
    }
    assert!(state.memory.limit.is_none_or(|limit| limit > 0), "{file}: {state:?}");
    assert!(
        state.memory.working_set <= state.memory.current || state.memory.current.is_none(),
        "{file}: {state:?}"
    );
    assert!(state.cpu.limit_millicores.is_none_or(|limit| limit > 0), "{file}: {state:?}");
}
