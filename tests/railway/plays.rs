//! What must happen once, and what must not happen at all.

use std::collections::BTreeMap;
use std::time::Duration;

use outrigger::stage::app::AppPlan;
use outrigger::stage::platform::{DeploymentOrder, Doing, VariableEdit};
use outrigger::stage::railway::commit;
use serde_json::{Value, json};

use crate::process::{ask_json, eventually};
use crate::scene::{Scene, brief, degraded};
use crate::stand_in::CALL;

/// From the switch to the fault.
pub(crate) const LATER: Duration = Duration::from_secs(20);
/// Longer than an agent waits for a reply.
const TOO_LATE: u64 = CALL.as_secs() + 4;

fn edit(value: &str) -> VariableEdit {
    let set = BTreeMap::from([("DEMO_BEHAVE".to_owned(), Some(value.to_owned()))]);
    VariableEdit { set, replace: false, deploy: true }
}

/// A rollback that was carried out once, of the first deployment; the decision says so.
pub(crate) async fn once(scene: &mut Scene, accused: &str) -> Value {
    let (to, made) = scene.taken().await;
    assert_eq!(to, "v1");
    scene.live(&made).await;
    let decision = scene.ended(accused).await;
    let told = brief(&decision);
    assert_eq!(decision["progress"]["progress"], "succeeded", "{told}");
    assert!(decision["target"].as_str().unwrap().starts_with(&commit("v1")[..12]), "{told}");
    assert_eq!(scene.rolled_back().await, std::slice::from_ref(&scene.first), "{told}");
    assert_eq!(scene.stage.live().unwrap().deployment, made);
    decision
}

/// A step of the act, as whoever gave the order has written it down: who took the decision over may have done so before the step
/// was told.
async fn took(scene: &Scene, decision: &Value, step: &str, outcome: &str) {
    let copies = scene.written().await;
    let copies = copies.iter().filter(|record| record["id"] == decision["id"]);
    let steps: Vec<&Value> = copies.map(|record| &record["steps"]).collect();
    let is_it = |taken: &Value| taken["step"] == step && taken["outcome"] == outcome;
    let mut all = steps.iter().filter_map(|steps| steps.as_array()).flatten();
    assert!(all.any(is_it), "no agent knows that `{step}` is {outcome}: {steps:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_turns_bad_after_the_switch_is_rolled_back_once_and_found_to_have_recovered() {
    let Some(mut scene) = Scene::open(1).await else { return };
    // So long that it cannot pass between the fault and the vote.
    let set = BTreeMap::from([("OUTRIGGER__JUDGE__WATCH".to_owned(), Some("5m".to_owned()))]);
    scene.stage.edit(&VariableEdit { set, replace: false, deploy: false }).unwrap();
    scene.deploy_bad("v2", LATER, 2).await;
    let decision = once(&mut scene, "v2").await;
    for wanted in [("read", "done"), ("call", "begun"), ("call", "done"), ("stop_auto_deploy", "failed")] {
        took(&scene, &decision, wanted.0, wanted.1).await;
    }
    let verified = scene.record("what it led to", |record| record["kind"] == "verified").await;
    let told = format!("{verified}; before: {}", decision["evidence"]);
    assert_eq!(
        (&verified["outcome"], &verified["decision"]),
        (&json!("recovered"), &decision["id"]),
        "{told}"
    );
    assert_eq!(scene.api.asked_for("deploymentRollback").await, 1);
    let status = ask_json(&scene.volumes()[0], &["status"]).await;
    assert_eq!(status["release"], decision["target"], "{status}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_variable_edit_of_the_same_commit_is_rolled_back_to_the_deployment_before() {
    let Some(mut scene) = Scene::open(11).await else { return };
    let edited = scene.stage.edit(&edit("errors")).unwrap().unwrap();
    scene.live(&edited).await;
    let (to, made) = scene.taken().await;
    assert_eq!(to, "v1");
    scene.live(&made).await;
    scene.ended("v1").await;
    assert_eq!(scene.rolled_back().await, [scene.first.clone()]);
    assert_eq!(scene.api.asked_for("deploymentRollback").await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_token_that_was_revoked_nothing_is_done_and_the_decision_says_why() {
    let Some(mut scene) = Scene::open(21).await else { return };
    scene.api.faults(json!({ "token_revoked": true })).await;
    scene.deploy_bad("v2", Duration::ZERO, 22).await;
    held(&scene, "Not Authorized").await;
    assert_eq!(scene.api.mutations().await, Vec::<String>::new());
    assert_eq!(scene.rolled_back().await, Vec::<String>::new());
    scene.close().await;
}

/// A decision to hold that names this.
pub(crate) async fn held(scene: &Scene, why: &str) -> Value {
    let names_it = |record: &Value| {
        record["kind"] == "decided"
            && record["decision"] == "hold"
            && record["reasons"].to_string().contains(why)
    };
    scene.record(&format!("a hold because of `{why}`"), names_it).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn spent_limits_an_incident_and_a_field_that_is_gone_are_held_against_and_then_it_acts_once() {
    let Some(mut scene) = Scene::open(31).await else { return };
    let limited = json!({ "limited": { "retry_after": 20 } });
    let incident = json!({ "unstable": "network trouble in one region" });
    let gone = json!({ "gone": ["Deployment.canRollback"] });
    let renamed = json!({ "renamed": { "Mutation.deploymentRollback": "deploymentRollbackV2" } });
    scene.api.faults(incident).await;
    scene.deploy_bad("v2", Duration::ZERO, 32).await;
    held(&scene, "network trouble in one region").await;
    scene.api.faults(limited).await;
    held(&scene, "limit of requests is spent").await;
    scene.api.faults(gone).await;
    held(&scene, "canRollback").await;
    scene.api.faults(renamed).await;
    held(&scene, "deploymentRollback").await;
    assert_eq!(scene.rolled_back().await, Vec::<String>::new());
    scene.api.faults(json!({})).await;
    once(&mut scene, "v2").await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn a_call_that_times_out_but_took_effect_is_made_once_and_the_decision_ends_succeeded() {
    let Some(mut scene) = Scene::open(41).await else { return };
    scene.api.faults(json!({ "slow": TOO_LATE, "only": ["deploymentRollback"] })).await;
    scene.deploy_bad("v2", Duration::ZERO, 42).await;
    let decision = once(&mut scene, "v2").await;
    // That it timed out is known to one who may have been ended by then, together with its release.
    took(&scene, &decision, "call", "begun").await;
    assert_eq!(scene.api.asked_for("deploymentRollback").await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn a_call_that_was_lost_on_the_way_or_had_no_effect_is_not_made_again_unseen() {
    for (seed, fault) in [(51, json!({ "rollback": "nothing" })), (53, json!({ "rollback": { "late": 20 } }))]
    {
        let Some(mut scene) = Scene::open(seed).await else { return };
        scene.api.faults(fault.clone()).await;
        scene.deploy_bad("v2", Duration::ZERO, seed + 1).await;
        let end = scene.ended("v2").await;
        let calls = scene.api.asked_for("deploymentRollback").await;
        let done = scene.rolled_back().await;
        assert!(calls == 1 && done.len() <= 1, "{fault}: {calls} calls, {done:?}, {}", brief(&end));
        let is_said = ["succeeded", "failed"].iter().any(|word| end["progress"]["progress"] == **word);
        assert!(is_said, "{fault}: {}", brief(&end));
        scene.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn the_platforms_own_redeploy_in_mid_ballot_ends_in_one_rollback_of_the_right_deployment() {
    let Some(mut scene) = Scene::open(61).await else { return };
    let mut watch = scene.stage.watch();
    let bad = scene.deploy_bad("v2", Duration::ZERO, 62).await;
    degraded(&mut watch, &bad).await;
    let again = scene.stage.order(&DeploymentOrder { order: Doing::Redeploy, deployment: bad });
    let again = again.unwrap();
    scene.live(&again).await;
    once(&mut scene, "v2").await;
    assert_eq!(scene.api.asked_for("deploymentRollback").await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn what_is_being_built_when_a_release_is_rolled_back_does_not_undo_it() {
    let Some(mut scene) = Scene::open(71).await else { return };
    scene.deploy_bad("v2", Duration::ZERO, 72).await;
    let building = scene.stage.push("v3", AppPlan::good(73), Duration::from_secs(300)).unwrap();
    let decision = once(&mut scene, "v2").await;
    took(&scene, &decision, "cancel_queued", "done").await;
    eventually("it is cancelled", async || {
        let rows = scene.stage.deployments();
        let row = rows.iter().find(|row| row.id == building)?;
        (row.status.label() == "cancelled").then_some(())
    })
    .await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn with_neither_overlap_nor_drain_a_bad_release_is_rolled_back_once() {
    let open =
        Scene::open_with(81, |options| (options.overlap, options.drain) = (Duration::ZERO, Duration::ZERO));
    let Some(mut scene) = open.await else { return };
    scene.deploy_bad("v2", LATER, 82).await;
    let (to, made) = scene.taken().await;
    assert_eq!(to, "v1");
    scene.live(&made).await;
    // Whoever gave the order was killed at the switch. Those who come after know at least what is live, and order nothing.
    scene.known_good("v1").await;
    assert_eq!(scene.rolled_back().await, [scene.first.clone()]);
    assert_eq!(scene.api.asked_for("deploymentRollback").await, 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; cargo nextest run --test railway --run-ignored all"]
async fn a_database_that_is_down_for_all_is_no_ground_for_a_rollback() {
    let open = Scene::open_with(91, |options| {
        options.settings = options.settings.replace("watch = \"10s\"", "watch = \"70s\"");
        // Sixty answers of a probe say what is usual, one a second.
        options.database = Some(Duration::from_micros(300));
    });
    let Some(mut scene) = open.await else { return };
    scene.stage.deploy("v2", AppPlan::good(92)).await.unwrap();
    scene.stage.database().unwrap().take_down();
    let blames_it =
        |record: &Value| record["decision"] == "hold" && record["diagnosis"]["diagnosis"] == "dependency";
    scene.record("a hold because of the database", blames_it).await;
    scene.stage.database().unwrap().bring_up().unwrap();
    scene.known_good("v2").await;
    assert_eq!(scene.api.mutations().await, Vec::<String>::new());
    assert_eq!(scene.rolled_back().await, Vec::<String>::new());
    scene.close().await;
}
