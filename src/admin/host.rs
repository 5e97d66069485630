//! The container and the agent against their limits, as the API and the page show them.

use serde::Serialize;

use crate::admin::view::rfc3339;
use crate::engine::host::{Cpu, Descriptors, Disk, Filled, HostState, Memory, Sockets};

/// What is not known is `null`. Shares run from 0 to 1.
#[derive(Debug, Serialize)]
pub(super) struct HostJson {
    at: String,
    cpu: CpuJson,
    memory: MemoryJson,
    pids: Option<FilledJson>,
    descriptors: DescriptorsJson,
    disk: DiskJson,
    sockets: SocketsJson,
    uptime_seconds: Option<u64>,
    agent: AgentJson,
}

#[derive(Debug, Serialize)]
struct CpuJson {
    used_millicores: Option<u64>,
    limit_millicores: Option<u64>,
    /// `container` or `machine`.
    limited_by: Option<&'static str>,
    throttled_periods: Option<f64>,
    throttled_time: Option<f64>,
    pressure: Option<f64>,
}

#[derive(Debug, Serialize)]
struct MemoryJson {
    current_bytes: Option<u64>,
    working_set_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    /// `container` or `machine`.
    limited_by: Option<&'static str>,
    swap_bytes: Option<u64>,
    pressure: Option<f64>,
    oom_kills: Option<u64>,
    oom_killed_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct FilledJson {
    used: u64,
    limit: Option<u64>,
    share: Option<f64>,
}

#[derive(Debug, Serialize)]
struct DescriptorsJson {
    /// Of the app's process that is nearest to its limit.
    app: Option<FilledJson>,
    app_pid: Option<u32>,
    agent: Option<FilledJson>,
    machine: Option<FilledJson>,
}

#[derive(Debug, Serialize)]
struct DiskJson {
    total_bytes: Option<u64>,
    available_bytes: Option<u64>,
    used_share: Option<f64>,
    inodes_used_share: Option<f64>,
}

#[derive(Debug, Serialize)]
struct SocketsJson {
    tcp_in_use: Option<u64>,
    tcp_orphans: Option<u64>,
    tcp_time_wait: Option<u64>,
    tcp_allocated: Option<u64>,
    tcp_memory_bytes: Option<u64>,
    udp_in_use: Option<u64>,
}

#[derive(Debug, Serialize)]
struct AgentJson {
    uptime_seconds: Option<u64>,
    cpu_millicores: Option<u64>,
    resident_bytes: Option<u64>,
    threads: Option<u64>,
    /// By how much the control loop was late at most in the last seconds.
    loop_lag_us: Option<u64>,
}

impl HostJson {
    pub(super) fn of(host: &HostState) -> Self {
        let agent = &host.agent;
        Self {
            at: rfc3339(host.at),
            cpu: cpu(&host.cpu),
            memory: memory(&host.memory),
            pids: host.pids.map(filled),
            descriptors: descriptors(&host.descriptors),
            disk: disk(&host.disk),
            sockets: sockets(&host.sockets),
            uptime_seconds: host.container_uptime.map(|uptime| uptime.as_secs()),
            agent: AgentJson {
                uptime_seconds: agent.uptime.map(|uptime| uptime.as_secs()),
                cpu_millicores: agent.cpu_millicores,
                resident_bytes: agent.resident,
                threads: agent.threads,
                loop_lag_us: agent.loop_lag_us,
            },
        }
    }
}

fn cpu(cpu: &Cpu) -> CpuJson {
    CpuJson {
        used_millicores: cpu.used_millicores,
        limit_millicores: cpu.limit_millicores,
        limited_by: cpu.limited_by.map(|by| by.label()),
        throttled_periods: cpu.throttled_periods,
        throttled_time: cpu.throttled_time,
        pressure: cpu.pressure,
    }
}

fn memory(memory: &Memory) -> MemoryJson {
    MemoryJson {
        current_bytes: memory.current,
        working_set_bytes: memory.working_set,
        limit_bytes: memory.limit,
        limited_by: memory.limited_by.map(|by| by.label()),
        swap_bytes: memory.swap,
        pressure: memory.pressure,
        oom_kills: memory.oom_kills,
        oom_killed_at: memory.oom_killed_at.map(rfc3339),
    }
}

fn filled(filled: Filled) -> FilledJson {
    FilledJson { used: filled.used, limit: filled.of, share: filled.share() }
}

fn descriptors(descriptors: &Descriptors) -> DescriptorsJson {
    DescriptorsJson {
        app: descriptors.app.map(|app| filled(app.open)),
        app_pid: descriptors.app.map(|app| app.pid),
        agent: descriptors.agent.map(filled),
        machine: descriptors.machine.map(filled),
    }
}

fn disk(disk: &Disk) -> DiskJson {
    DiskJson {
        total_bytes: disk.total,
        available_bytes: disk.available,
        used_share: disk.used_share,
        inodes_used_share: disk.inodes_used_share,
    }
}

fn sockets(sockets: &Sockets) -> SocketsJson {
    SocketsJson {
        tcp_in_use: sockets.tcp_in_use,
        tcp_orphans: sockets.tcp_orphans,
        tcp_time_wait: sockets.tcp_time_wait,
        tcp_allocated: sockets.tcp_allocated,
        tcp_memory_bytes: sockets.tcp_memory,
        udp_in_use: sockets.udp_in_use,
    }
}
