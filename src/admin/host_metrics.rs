//! The metrics of the container and of the agent itself: at most 30 series. What is not known has none.

use prometheus::proto::MetricFamily;

use crate::admin::metrics::{Samples, counter, gauge};
use crate::engine::host::{Filled, HostState};

pub(super) fn families(host: &HostState) -> Vec<MetricFamily> {
    let mut families = of_limits(host);
    families.extend(of_kinds(host));
    families.extend(of_the_agent(host));
    families
}

fn one(value: Option<f64>) -> Samples<'static> {
    value.map(|value| (vec![], value)).into_iter().collect()
}

fn whole(value: Option<u64>) -> Samples<'static> {
    one(value.map(|value| value as f64))
}

/// Thousandths of a processor as processors.
fn cores(value: Option<u64>) -> Samples<'static> {
    one(value.map(|millicores| millicores as f64 / 1e3))
}

/// One series for each that is known.
fn each<'a>(label: &'static str, known: &[(&'a str, Option<f64>)]) -> Samples<'a> {
    known.iter().filter_map(|&(name, value)| Some((vec![(label, name)], value?))).collect()
}

fn of_limits(host: &HostState) -> Vec<MetricFamily> {
    let (cpu, memory, disk) = (&host.cpu, &host.memory, &host.disk);
    vec![
        gauge("outrigger_host_cpu_cores", "Processors used in the last 5 s.", cores(cpu.used_millicores)),
        gauge(
            "outrigger_host_cpu_limit_cores",
            "Processors that may be used: the quota, or what the machine has.",
            cores(cpu.limit_millicores),
        ),
        gauge(
            "outrigger_host_cpu_throttled_ratio",
            "Share of the last 5 s in which the quota stopped the container.",
            one(cpu.throttled_time),
        ),
        gauge(
            "outrigger_host_memory_bytes",
            "Memory in use without files that can be dropped at once.",
            whole(memory.working_set),
        ),
        gauge(
            "outrigger_host_memory_limit_bytes",
            "Memory that may be used: the container's limit, or what the machine has.",
            whole(memory.limit),
        ),
        counter(
            "outrigger_host_oom_kills_total",
            "Processes of the container that the kernel killed for want of memory.",
            whole(memory.oom_kills),
        ),
        gauge(
            "outrigger_host_disk_used_ratio",
            "Used share of the data directory's file system.",
            one(disk.used_share),
        ),
        gauge(
            "outrigger_host_disk_inodes_used_ratio",
            "Used share of its inodes.",
            one(disk.inodes_used_share),
        ),
        gauge("outrigger_host_disk_available_bytes", "What is left of it.", whole(disk.available)),
        gauge(
            "outrigger_host_pids",
            "Processes and threads of the container.",
            whole(host.pids.map(|pids| pids.used)),
        ),
        gauge(
            "outrigger_host_pids_limit",
            "How many there may be; absent without a limit.",
            whole(host.pids.and_then(|pids| pids.of)),
        ),
        gauge(
            "outrigger_host_uptime_seconds",
            "How long the container's first process has run.",
            one(host.container_uptime.map(|uptime| uptime.as_secs_f64())),
        ),
    ]
}

fn of_kinds(host: &HostState) -> [MetricFamily; 3] {
    let sockets = &host.sockets;
    let kinds = [
        ("tcp_in_use", sockets.tcp_in_use),
        ("tcp_orphan", sockets.tcp_orphans),
        ("tcp_time_wait", sockets.tcp_time_wait),
        ("tcp_allocated", sockets.tcp_allocated),
        ("udp_in_use", sockets.udp_in_use),
    ];
    let open = &host.descriptors;
    [
        gauge(
            "outrigger_host_sockets",
            "Sockets of the container's network, by kind.",
            each("kind", &kinds.map(|(name, count)| (name, count.map(|count| count as f64)))),
        ),
        gauge(
            "outrigger_host_descriptors_used_ratio",
            "Open file descriptors as a share of their limit: of the app's process that is nearest to its own, of the \
             agent, of the machine.",
            each(
                "of",
                &[
                    ("app", open.app.and_then(|app| app.open.share())),
                    ("agent", open.agent.and_then(Filled::share)),
                    ("machine", open.machine.and_then(Filled::share)),
                ],
            ),
        ),
        gauge(
            "outrigger_host_pressure_ratio",
            "Share of the last 10 s in which somebody had to wait for it.",
            each("resource", &[("cpu", host.cpu.pressure), ("memory", host.memory.pressure)]),
        ),
    ]
}

fn of_the_agent(host: &HostState) -> [MetricFamily; 5] {
    let agent = &host.agent;
    [
        gauge(
            "outrigger_agent_cpu_cores",
            "Processors that the agent itself used in the last 5 s.",
            cores(agent.cpu_millicores),
        ),
        gauge("outrigger_agent_memory_bytes", "Its resident memory.", whole(agent.resident)),
        gauge("outrigger_agent_threads", "Its threads.", whole(agent.threads)),
        gauge(
            "outrigger_agent_descriptors",
            "Its open file descriptors.",
            whole(host.descriptors.agent.map(|open| open.used)),
        ),
        gauge(
            "outrigger_agent_loop_lag_seconds",
            "By how much the control loop was late at most in the last 5 s.",
            one(agent.loop_lag_us.map(|us| us as f64 / 1e6)),
        ),
    ]
}
