//! Containers that are held tight: no capability, a read-only root, little memory, few processes.

use crate::docker::Docker;
use crate::images::{AGENT, APP};

/// What a careful operator writes.
const TIGHT: [&str; 8] = [
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--pids-limit",
    "64",
    "--init=false",
];
/// In a message of the start: the data directory cannot be written.
const NO_DATA: &str = "create the data directory";

#[tokio::test]
async fn a_read_only_root_without_capabilities_serves_and_warns_that_nothing_is_kept() {
    let Some(docker) = Docker::ready().await else { return };
    let options = [&TIGHT[..], &["--user", "10001"]].concat();
    let container = docker.start(&options, APP, &[]).await;
    let warned = container.said("this will hurt").await;
    assert!(warned["warning"].as_str().is_some_and(|text| text.contains(NO_DATA)), "{warned}");
    container.said("app became ready").await;
    assert!(container.get("/").await.ends_with("hello\n"));
    container.stop().await;
    assert_eq!(container.ended().await, 3);
}

#[tokio::test]
async fn the_image_keeps_its_data_in_a_volume_at_its_working_directory() {
    let Some(docker) = Docker::ready().await else { return };
    let app = docker.start(&["--network-alias", "data-app"], APP, &[]).await;
    app.said("app became ready").await;
    let options =
        [&TIGHT[..], &["-v", "/data", "-e", "OUTRIGGER__APP__UPSTREAM=http://data-app:8080"]].concat();
    let container = docker.start(&options, AGENT, &[]).await;
    container.said("app became ready").await;
    assert!(container.get("/").await.ends_with("hello\n"), "the upstream is found by its name");
    assert!(!container.log().await.contains(NO_DATA));
    assert_eq!(container.inspect("/Config/User").await, "10001:10001");
    // Through the socket, which is in the data directory.
    let status = container.exec(&["/outrigger", "status", "--json"]).await;
    assert!(status.contains("\"durable\": true"), "{status}");
}

#[tokio::test]
async fn an_app_that_takes_all_memory_is_killed_and_the_agent_says_so() {
    let Some(docker) = Docker::ready().await else { return };
    let container =
        docker.start(&["--memory", "48m", "--memory-swap", "48m"], APP, &["tail", "/dev/zero"]).await;
    assert_eq!(container.ended().await, 137);
    assert_eq!(container.inspect("/State/OOMKilled").await, true);
    let ended = container.said("app ended unexpectedly").await;
    assert_eq!((&ended["code"], &ended["out_of_memory"]), (&137.into(), &true.into()), "{ended}");
}
