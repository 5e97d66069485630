//! The stand-in by itself: that what agents are tested against is what Railway's schema and its known behaviour say.

use std::time::Duration;

use outrigger::clock::Clock;
use outrigger::stage::app::AppPlan;
use outrigger::stage::event::StageEvent;
use outrigger::stage::railway::ids;
use outrigger::stage::{Stage, StageOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::process::{OUTRIGGER, WAIT};
use crate::stand_in::{ACCOUNT_TOKEN, PROJECT_TOKEN, StandIn};

const PROJECT: (&str, &str) = ("Project-Access-Token", PROJECT_TOKEN);

const DEPLOYMENTS: &str = "query Deployments($input: DeploymentListInput!, $first: Int) { deployments(input: $input, \
    first: $first) { edges { node { id status canRollback meta instances { id status } } } } }";
const ROLLBACK: &str = "mutation Rollback($id: String!) { deploymentRollback(id: $id) }";

/// A stage whose agents do not call the stand-in.
async fn stage(api: &StandIn) -> (Stage, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StageOptions::new(vec![OUTRIGGER.into()], dir.path().to_owned());
    options.overlap = Duration::from_millis(100);
    let stage = Stage::start(options, Clock::start()).await.unwrap();
    api.stands_before(stage.api_address()).await;
    (stage, dir)
}

fn service() -> Value {
    let [project, environment, service] = ids().map(|(_, id)| id);
    json!({ "projectId": project, "environmentId": environment, "serviceId": service })
}

async fn deployments(api: &StandIn) -> Vec<Value> {
    let (status, reply) = api.ask(PROJECT, DEPLOYMENTS, json!({ "input": service(), "first": 10 })).await;
    assert_eq!((status, &reply["errors"]), (200, &Value::Null), "{reply}");
    let edges = reply["data"]["deployments"]["edges"].as_array().unwrap().clone();
    edges.into_iter().map(|edge| edge["node"].clone()).collect()
}

fn first_error(reply: &Value) -> &str {
    reply["errors"][0]["message"].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_the_stage_by_the_real_schema_and_rolls_back_by_deployment() {
    let Some(api) = StandIn::start().await else { return };
    let (stage, _dir) = stage(&api).await;
    let mut events = stage.events();
    let first = stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let second = stage.deploy("v2", AppPlan::good(2)).await.unwrap();
    let shown = deployments(&api).await;
    let ids: Vec<&str> = shown.iter().map(|node| node["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [&second, &first], "newest first");
    assert_eq!((&shown[0]["status"], &shown[0]["canRollback"]), (&json!("SUCCESS"), &json!(true)));
    assert_eq!(shown[0]["instances"][0]["status"], "RUNNING");
    let regions = &shown[0]["meta"]["serviceManifest"]["deploy"]["multiRegionConfig"];
    assert_eq!(regions.as_object().unwrap().values().next().unwrap()["numReplicas"], 1);

    let (status, reply) = api.ask(PROJECT, ROLLBACK, json!({ "id": first })).await;
    assert_eq!((status, &reply["data"]["deploymentRollback"]), (200, &json!(true)), "{reply}");
    let live = timeout(WAIT, async {
        loop {
            if let Ok(StageEvent::WentLive { id, release, .. }) = events.recv().await
                && id != first
                && release == "v1"
            {
                return id;
            }
        }
    });
    let live = live.await.unwrap();
    let shown = deployments(&api).await;
    assert_eq!((&shown[0]["id"], &shown[0]["status"]), (&json!(live), &json!("SUCCESS")));
    assert_eq!(shown[0]["meta"]["reason"], "rollback");
    assert_eq!(shown[0]["meta"]["commitHash"], shown[2]["meta"]["commitHash"]);
    assert_eq!(api.mutations().await, ["deploymentRollback"]);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_refuses_with_200_what_railway_refuses_with_200() {
    let Some(api) = StandIn::start().await else { return };
    let (stage, _dir) = stage(&api).await;
    stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let wrong = [
        ("Authorization", format!("Bearer {PROJECT_TOKEN}")),
        ("Project-Access-Token", ACCOUNT_TOKEN.to_owned()),
        ("Project-Access-Token", String::new()),
    ];
    for (header, value) in &wrong {
        let (status, reply) = api.ask((header, value), "{ projectToken { projectId } }", json!({})).await;
        assert_eq!((status, first_error(&reply)), (200, "Not Authorized"), "{header}");
    }
    let account = format!("Bearer {ACCOUNT_TOKEN}");
    let (_, reply) = api.ask(("Authorization", &account), "{ projectToken { projectId } }", json!({})).await;
    assert_eq!(first_error(&reply), "Not Authorized", "it is for project tokens only");
    let off = "mutation Off($input: ServiceInstanceAutoDeployUpdateInput!) { serviceInstanceAutoDeployUpdate(input: $input) \
               { enabled } }";
    let mut input = service();
    input["enabled"] = json!(false);
    let (status, reply) = api.ask(PROJECT, off, json!({ "input": input })).await;
    assert_eq!((status, first_error(&reply)), (200, "Bad Access"));
    let (_, reply) = api.ask(("Authorization", &account), off, json!({ "input": input })).await;
    assert_eq!(reply["data"]["serviceInstanceAutoDeployUpdate"]["enabled"], false, "{reply}");
    // As Railway's own pages show it, which its schema refuses.
    let (status, reply) =
        api.ask(PROJECT, "mutation { deploymentRollback(id: \"a\") { id status } }", json!({})).await;
    assert_eq!(
        (status, &reply["errors"][0]["extensions"]["code"]),
        (200, &json!("GRAPHQL_VALIDATION_FAILED"))
    );
    let (status, _) = api.ask(PROJECT, DEPLOYMENTS, json!({ "input": { "successfulOnly": true } })).await;
    assert_eq!(status, 400);
    assert_eq!(stage.rollbacks(), 0);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_faults_are_what_they_say_and_its_log_holds_no_secret() {
    let Some(api) = StandIn::start().await else { return };
    let (stage, _dir) = stage(&api).await;
    let first = stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    stage.deploy("v2", AppPlan::good(2)).await.unwrap();
    api.faults(json!({ "gone": ["Deployment.canRollback"] })).await;
    let (status, reply) = api.ask(PROJECT, DEPLOYMENTS, json!({ "input": service() })).await;
    assert_eq!(status, 200);
    assert!(first_error(&reply).contains("canRollback"), "{reply}");
    api.faults(json!({ "status": { &first: "CANCELLED" } })).await;
    assert_eq!(deployments(&api).await[1]["status"], "CANCELLED", "no status of the schema");
    api.faults(json!({ "limited": { "retry_after": 7 } })).await;
    let body = json!({ "query": "{ platformStatus { isStable } }" });
    let reply = api.post("/graphql/v2", PROJECT, &body).await.unwrap();
    assert_eq!(reply.status().as_u16(), 429);
    let header = |name: &str| reply.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
    assert!(header("retry-after") <= 7 && header("x-ratelimit-remaining") == 0);
    api.faults(json!({ "rollback": "nothing" })).await;
    let (_, reply) = api.ask(PROJECT, ROLLBACK, json!({ "id": first })).await;
    assert_eq!((&reply["data"]["deploymentRollback"], stage.rollbacks()), (&json!(true), 0));
    api.faults(json!({ "http": 502, "body": "html", "only": ["deploymentRollback"], "times": 1 })).await;
    let (status, reply) = api.ask(PROJECT, ROLLBACK, json!({ "id": first })).await;
    assert_eq!((status, reply, stage.rollbacks()), (502, Value::Null, 1), "and yet it was done");
    api.faults(json!({ "stale": 60 })).await;
    let before = deployments(&api).await.len();
    stage.push("v3", AppPlan::good(3), WAIT).unwrap();
    assert_eq!(deployments(&api).await.len(), before);
    api.faults(json!({})).await;
    assert_eq!(deployments(&api).await.len(), before + 1);
    let set = "mutation Set($input: VariableUpsertInput!) { variableUpsert(input: $input) }";
    let mut input = service();
    input["name"] = json!("STRIPE_KEY");
    input["value"] = json!("planted-value");
    input["skipDeploys"] = json!(true);
    let (_, reply) = api.ask(PROJECT, set, json!({ "input": input })).await;
    assert_eq!(reply["data"]["variableUpsert"], true, "{reply}");
    let log = json!(api.log().await).to_string();
    for secret in [PROJECT_TOKEN, ACCOUNT_TOKEN, "planted-value"] {
        assert!(!log.contains(secret), "{log}");
    }
    stage.stop().await;
}
