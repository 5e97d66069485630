//! The image's HEALTHCHECK, with shorter pauses than its own, as Docker sees it.

use serde_json::Value;

use crate::docker::{Container, Docker, eventually};
use crate::images::{AGENT, APP};

/// For images that have the check.
const OFTEN: [&str; 3] = ["--health-interval=200ms", "--health-start-period=0s", "--health-retries=2"];
/// For a user's image, which has to name it.
const CHECK: [&str; 2] = ["--health-cmd=outrigger healthcheck", "--health-timeout=3s"];

#[tokio::test]
async fn it_is_healthy_with_a_ready_app_and_not_while_the_agent_is_frozen() {
    let Some(docker) = Docker::ready().await else { return };
    let app = docker.start(&["--network-alias", "health-app"], APP, &[]).await;
    app.said("app became ready").await;
    let options =
        [&OFTEN[..], &["-e", "OUTRIGGER__APP__UPSTREAM=http://health-app:8080", "-e", "PORT=8123"]].concat();
    let container = docker.start(&options, AGENT, &[]).await;
    becomes(&container, "healthy").await;
    assert!(last_words(&container).await.ends_with("127.0.0.1:8123 says `healthy` (200)"));
    container.signal("STOP").await;
    becomes(&container, "unhealthy").await;
    let said = last_words(&container).await;
    assert!(said.contains("no answer from 127.0.0.1:8123 within 2s"), "{said}");
    container.signal("CONT").await;
    becomes(&container, "healthy").await;
}

#[tokio::test]
async fn it_is_not_healthy_while_the_app_does_not_listen() {
    let Some(docker) = Docker::ready().await else { return };
    let options = [&OFTEN[..], &CHECK].concat();
    let container = docker.start(&options, APP, &["sleep", "1000"]).await;
    becomes(&container, "unhealthy").await;
    let said = last_words(&container).await;
    assert!(said.ends_with("not healthy: the agent at 127.0.0.1:8080 says `starting` (503)"), "{said}");
}

#[tokio::test]
async fn it_says_nothing_of_an_app_that_hangs_after_it_was_ready() {
    let Some(docker) = Docker::ready().await else { return };
    let options = [&OFTEN[..], &CHECK].concat();
    let container =
        docker.start(&options, APP, &["sh", "-c", "exec httpd -f -p 127.0.0.1:$PORT -h /app/www"]).await;
    becomes(&container, "healthy").await;
    let app = container.said("app started").await["pid"].to_string();
    container.exec(&["kill", "-STOP", &app]).await;
    let before = checks(&container).await.last().cloned().unwrap_or_default();
    let after = eventually("all checks that Docker remembers are later ones", async || {
        let checks = checks(&container).await;
        let later = |check: &Value| check["Start"].as_str() > before["Start"].as_str();
        (checks.len() == 5 && checks.iter().all(later)).then_some(checks)
    })
    .await;
    assert!(after.iter().all(|check| check["ExitCode"] == 0), "{after:?}");
    let state = container.exec(&["grep", "State", &format!("/proc/{app}/status")]).await;
    assert!(state.contains("stopped"), "the app did hang: {state}");
}

async fn becomes(container: &Container, status: &str) {
    let what = format!("the container is {status}");
    eventually(&what, async || (container.inspect("/State/Health/Status").await == status).then_some(()))
        .await;
}

/// The checks that Docker remembers, five at most, the last one last.
async fn checks(container: &Container) -> Vec<Value> {
    container.inspect("/State/Health/Log").await.as_array().cloned().unwrap_or_default()
}

async fn last_words(container: &Container) -> String {
    let checks = checks(container).await;
    let last = checks.last().expect("its status came from a check");
    last["Output"].as_str().expect("a check has an output").trim_end().to_owned()
}
