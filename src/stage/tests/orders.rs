//! Orders by deployment, and what agents are told where they believe themselves on Railway.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::Secret;
use crate::stage::app::{AppPlan, Behaviour};
use crate::stage::event::StageEvent;
use crate::stage::platform::{DeploymentOrder, Doing, VariableEdit};
use crate::stage::railway::{Railway, Token};
use crate::stage::tests::{PATIENCE, Scene};

const TOKEN: &str = "planted-token-of-the-stage";

async fn hosted(retention: Duration) -> Scene {
    Scene::open(|options| {
        *options = options.clone().with_replicas(2);
        options.railway = Some(Railway {
            url: "http://127.0.0.1:1/graphql/v2".to_owned(),
            token: Secret::new(TOKEN.to_owned()),
            kind: Token::Project,
            call: Duration::from_secs(5),
            retention,
        });
    })
    .await
}

fn order(scene: &Scene, order: Doing, deployment: &str) -> Result<String, String> {
    let order = DeploymentOrder { order, deployment: deployment.to_owned() };
    scene.stage.order(&order).map_err(|error| error.to_string())
}

async fn live(scene: &mut Scene, wanted: &str) {
    scene.until(|e| matches!(e, StageEvent::WentLive { id, .. } if id == wanted).then_some(())).await;
}

async fn service(scene: &Scene) -> Value {
    let api = scene.stage.api_address();
    let reply = scene.client.get(api, "/v1/service", "platform", PATIENCE).await.unwrap();
    serde_json::from_slice(reply.body()).unwrap()
}

fn row<'a>(service: &'a Value, id: &str) -> &'a Value {
    service["deployments"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap()
}

fn edit(value: &str, deploy: bool) -> VariableEdit {
    let set = BTreeMap::from([("DEMO_BEHAVE".to_owned(), Some(value.to_owned()))]);
    VariableEdit { set, replace: false, deploy }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_makes_a_deployment_with_the_variables_of_the_one_it_puts_back() {
    let mut scene = hosted(Duration::from_secs(600)).await;
    let first = scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let second = scene.stage.edit(&edit("errors", true)).unwrap().unwrap();
    live(&mut scene, &second).await;
    let third = order(&scene, Doing::RollBack, &first).unwrap();
    live(&mut scene, &third).await;
    let now = service(&scene).await;
    let told = |id: &str| row(&now, id)["variables"]["DEMO_BEHAVE"].clone();
    assert_eq!([told(&first), told(&second), told(&third)], ["good", "errors", "good"].map(Value::from));
    let reason = |id: &str| (row(&now, id)["reason"].clone(), row(&now, id)["of"].clone());
    assert_eq!(reason(&second), (json!("redeploy"), json!(first)));
    assert_eq!(reason(&third), (json!("rollback"), json!(first)));
    assert_eq!((now["live"].clone(), scene.stage.rollbacks()), (json!(third), 1));
    assert_eq!(row(&now, &first)["commit"], row(&now, &third)["commit"]);
    // The service's own variables are what they were edited to.
    assert_eq!(now["variables"]["DEMO_BEHAVE"], "errors");
    let again = order(&scene, Doing::Redeploy, &third).unwrap();
    live(&mut scene, &again).await;
    assert_eq!(row(&service(&scene).await, &again)["variables"]["DEMO_BEHAVE"], "errors");
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_that_skips_deploys_makes_none_and_an_image_is_kept_for_its_time_only() {
    let mut scene = hosted(Duration::ZERO).await;
    let first = scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    assert_eq!(scene.stage.edit(&edit("slow", false)).unwrap(), None);
    assert_eq!(scene.stage.deployments().len(), 1);
    scene.stage.deploy("v2", AppPlan::good(1)).await.unwrap();
    scene.until(|e| matches!(e, StageEvent::Removed { id } if *id == first).then_some(())).await;
    assert_eq!(row(&service(&scene).await, &first)["restorable"], false);
    let refused = order(&scene, Doing::RollBack, &first).unwrap_err();
    assert!(refused.contains("not there any more"), "{refused}");
    assert_eq!(scene.stage.rollbacks(), 0);
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_built_can_be_cancelled_and_never_starts() {
    let scene = hosted(Duration::from_secs(600)).await;
    let first = scene.stage.deploy("v1", AppPlan::good(1)).await.unwrap();
    let next = scene.stage.push("v2", AppPlan::good(1), PATIENCE).unwrap();
    assert_eq!(row(&service(&scene).await, &next)["status"], "building");
    assert!(order(&scene, Doing::Cancel, &first).unwrap_err().contains("is live"));
    order(&scene, Doing::Cancel, &next).unwrap();
    let cancelled = async {
        while row(&service(&scene).await, &next)["status"] != "cancelled" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, cancelled).await.expect("it is cancelled");
    assert_eq!(scene.stage.live().unwrap().deployment, first);
    assert_eq!(scene.stage.agents().len(), 2);
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_are_told_where_they_are_by_variables_and_the_token_is_nowhere_else() {
    let scene = hosted(Duration::from_secs(600)).await;
    let plan = AppPlan { behave: Behaviour::Errors, after: Duration::from_secs(90), seed: 1 };
    let id = scene.stage.deploy("v1", plan).await.unwrap();
    let agents = scene.stage.agents();
    let pid = agents[1].running.unwrap().0;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8(environment).unwrap();
    let told = |name: &str| {
        environment.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    assert_eq!(told("RAILWAY_DEPLOYMENT_ID"), Some(id.clone()));
    assert_eq!(told("RAILWAY_REPLICA_ID"), Some(agents[1].replica.clone()));
    assert_eq!(told("RAILWAY_TOKEN").as_deref(), Some(TOKEN));
    assert_eq!(
        (told("DEMO_BEHAVE").as_deref(), told("DEMO_AFTER").as_deref()),
        (Some("errors"), Some("1m30s"))
    );
    let config = scene.dir.path().join(&id).join("r2/outrigger.toml");
    let config = std::fs::read_to_string(config).unwrap();
    assert!(config.contains("kind = \"railway\"") && config.contains("timeout = \"5s\""), "{config}");
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(
        !config.contains(TOKEN) && !line.contains(TOKEN) && !format!("{:?}", scene.stage).contains(TOKEN)
    );
    scene.stage.stop().await;
}
