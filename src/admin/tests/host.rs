//! The container and the agent, as the snapshot and the metrics tell of them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::admin::tests::{Port, fixture};
use crate::engine::host::{Cpu, Descriptors, Filled, HostState, LimitedBy, Memory, OfProcess, Sockets};

fn state() -> HostState {
    HostState {
        at: fixture::START,
        cpu: Cpu {
            used_millicores: Some(480),
            limit_millicores: Some(500),
            limited_by: Some(LimitedBy::Container),
            throttled_periods: Some(0.5),
            throttled_time: Some(0.25),
            pressure: None,
        },
        memory: Memory {
            working_set: Some(300),
            limit: Some(512),
            limited_by: Some(LimitedBy::Machine),
            oom_kills: Some(2),
            ..Memory::default()
        },
        descriptors: Descriptors {
            app: Some(OfProcess { pid: 41, open: Filled { used: 75, of: Some(100) } }),
            agent: Some(Filled { used: 30, of: None }),
            machine: None,
        },
        sockets: Sockets { tcp_in_use: Some(7), ..Sockets::default() },
        container_uptime: Some(Duration::from_millis(90_500)),
        ..HostState::default()
    }
}

#[tokio::test]
async fn the_host_is_told_as_far_as_it_is_known() {
    let port = Port::open(None).await;
    port.shared.publish(fixture::live(), &fixture::window(1, 1, 0));
    assert_eq!(port.get("/api/snapshot").await.json()["host"], Value::Null, "before the first sample");
    assert!(!port.get("/metrics").await.body.contains("outrigger_host_"));

    let live = crate::admin::Live { host: Some(Arc::new(state())), ..fixture::live() };
    port.shared.publish(live, &fixture::window(1, 1, 0));
    let json = port.get("/api/snapshot").await.json();
    let host = &json["host"];
    assert_eq!(
        (&host["cpu"]["limited_by"], &host["cpu"]["throttled_time"]),
        (&"container".into(), &0.25.into())
    );
    assert_eq!(
        (&host["memory"]["limited_by"], &host["memory"]["limit_bytes"]),
        (&"machine".into(), &512.into())
    );
    assert_eq!(host["descriptors"]["app"]["share"], 0.75);
    assert_eq!(
        (&host["descriptors"]["app_pid"], &host["descriptors"]["machine"]),
        (&41.into(), &Value::Null)
    );
    assert_eq!((&host["pids"], &host["uptime_seconds"]), (&Value::Null, &90.into()));

    let metrics = port.get("/metrics").await.body;
    for line in [
        "outrigger_host_cpu_cores 0.48",
        "outrigger_host_cpu_limit_cores 0.5",
        "outrigger_host_cpu_throttled_ratio 0.25",
        "outrigger_host_memory_bytes 300",
        "outrigger_host_oom_kills_total 2",
        "outrigger_host_descriptors_used_ratio{of=\"app\"} 0.75",
        "outrigger_host_sockets{kind=\"tcp_in_use\"} 7",
        "outrigger_agent_descriptors 30",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
    }
    for unknown in ["outrigger_host_pids", "outrigger_host_pressure", "of=\"agent\"", "kind=\"udp"] {
        assert!(!metrics.contains(unknown), "{unknown} in {metrics}");
    }
}
