//! What an agent that was killed still knows when it is started again; and how a rollback reads to a person.

use std::path::Path;

use outrigger::stage::StageOptions;
use outrigger::stage::app::AppPlan;
use outrigger::stage::event::StageEvent;
use serde_json::Value;

use crate::process::{ask, ask_json};
use crate::scene::Scene;

/// Kills the live agent and returns its status before, and the first one of its successor after which its app is ready.
async fn over_a_kill(scene: &mut Scene) -> (Value, Value) {
    let before = ask_json(&scene.volume(), &["status"]).await;
    let id = scene.kill().await;
    let again =
        |event: &StageEvent| matches!(event, StageEvent::Listening { id: up, .. } if *up == id).then_some(());
    scene.until("the killed agent is started again", again).await;
    let started = before["started"].clone();
    let ready = |status: &Value| status["started"] != started && status["app"]["phase"] == "ready";
    let after = scene.status("the new agent's app is ready", ready).await;
    (before, after)
}

async fn the_rollback_reads_well(volume: &Path) {
    let history = ask_json(volume, &["history", "--limit", "100"]).await;
    let records = history["records"].as_array().unwrap();
    let back = records.iter().find(|record| record["decision"] == "roll_back").unwrap();
    let text = ask(volume, &["explain", back["id"].as_str().unwrap()]).await;
    println!("{text}");
    for part in [
        "What happened\n  Release v3 failed ",
        " after the release became ready: to roll back to v1.",
        "What it was weighed against\n  release v1, ",
        "By how much\n  STREAM",
        "the release is degraded",
        "it is still on trial",
        "the mode is enforce: the agent may act",
        "the target is the last release that was known good",
        "What was done\n  v1 was put back; it was seen live at ",
        "Find out what is wrong with v3 before it is deployed again",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let text = ask(volume, &["history", "--limit", "100"]).await;
    println!("{text}");
    for part in ["rolled back to v1", "the watch passed over ", "the app became ready", "ana resumed acting"]
    {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_agent_forgets_neither_baseline_nor_pause_nor_cooldown() {
    // A standing that changes over the kill, because the watch passes, is no forgetting.
    let longer = |options: StageOptions| {
        let settings = options.settings.replace("watch = \"10s\"", "watch = \"30s\"");
        assert_ne!(settings, options.settings);
        StageOptions { settings, ..options }
    };
    let mut scene = Scene::open_with("10m", 5, longer).await;

    scene.stage.deploy("v2", AppPlan::good(6)).await.unwrap();
    let beside = |status: &Value| status["release"] == "v2" && status["app"]["phase"] == "ready";
    scene.status("v2 is ready", beside).await;
    ask(&scene.volume(), &["pause", "--by", "ana", "--reason", "migration"]).await;
    let (before, after) = over_a_kill(&mut scene).await;
    assert_eq!(before["baseline"]["release"], "v1");
    assert_eq!(after["baseline"], before["baseline"], "a kill changes no baseline");
    assert_eq!((&after["target"], &after["standing"]), (&before["target"], &before["standing"]));
    assert_eq!(after["pause"]["reason"], "migration");
    assert_eq!(after["pause"], before["pause"]);
    let text = ask(&scene.volume(), &["status"]).await;
    assert!(text.contains("PAUSED by ana until resumed: migration"), "{text}");

    ask(&scene.volume(), &["resume", "--by", "ana"]).await;
    scene.stage.deploy("v1", AppPlan::good(7)).await.unwrap();
    scene.known_good("v1").await;
    scene.deploy_bad("v3", 8).await;
    let back = |event: &StageEvent| {
        matches!(event, StageEvent::RollbackTaken { from, .. } if from == "v3").then_some(())
    };
    scene.until("v3 is rolled back", back).await;
    let done =
        |status: &Value| status["release"] == "v1" && status["last_decision"]["progress"] == "succeeded";
    scene.status("the rollback has succeeded", done).await;
    let (before, after) = over_a_kill(&mut scene).await;
    assert!(before["cooldown_until"].is_string(), "{before}");
    assert_eq!(after["cooldown_until"], before["cooldown_until"]);
    let text = ask(&scene.volume(), &["status"]).await;
    assert!(text.contains("; cooling down until "), "{text}");
    the_rollback_reads_well(&scene.volume()).await;
    assert_eq!(scene.stage.rollbacks(), 1);
    scene.close().await;
}
