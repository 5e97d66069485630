//! What is called a fault and what a warning, from readings of a scripted API.

use serde_json::{Value, json};

use super::*;
use crate::engine::record::Known;
use crate::platform::Platform as _;
use crate::platform::railway::samples::{known, release};
use crate::platform::railway::script::{Log, Say, start};
use crate::platform::railway::{Quota, Railway, examine};

/// What the API says where all is well.
fn answers(name: &str) -> Value {
    let meta = json!({"serviceManifest": {"deploy": {"overlapSeconds": 20, "drainingSeconds": 15,
        "multiRegionConfig": {"us-west2": {"numReplicas": 2}}}}});
    let node = |id: &str, status: &str, at: &str| {
        json!({"id": id, "status": status, "createdAt": at, "statusUpdatedAt": at, "canRollback": true,
            "canRedeploy": true, "meta": meta, "instances": [{"status": "RUNNING"}, {"status": "RUNNING"}]})
    };
    let live = node("bad-1", "SUCCESS", "2099-11-23T10:00:00.000Z");
    match name {
        "Token" => json!({"projectToken": {"projectId": "p-1", "environmentId": "e-1"}}),
        "Plan" => json!({"project": {"subscriptionType": "hobby"}}),
        "Settings" => json!({
            "platformStatus": {"isStable": true, "incident": null, "maintenance": null},
            "serviceInstance": {"activeDeployments": [live], "serviceName": "shop", "numReplicas": 1,
                "healthcheckPath": "/api/health", "healthcheckTimeout": 300, "overlapSeconds": 0,
                "drainingSeconds": null, "sleepApplication": false, "restartPolicyType": "ON_FAILURE",
                "restartPolicyMaxRetries": 10, "startCommand": null, "cronSchedule": null, "railwayConfigFile": "",
                "source": {"image": null, "repo": "me/shop"},
                "domains": {"serviceDomains": [{"domain": "shop.up.railway.app", "targetPort": 8080}],
                    "customDomains": [{"domain": "shop.example", "targetPort": null}]}},
        }),
        "History" => json!({"deployments": {"edges": [
            {"node": live}, {"node": node("good-2", "REMOVED", "2099-11-23T09:00:00.000Z")}],
            "pageInfo": {"hasNextPage": false, "endCursor": null}}}),
        "AutoDeploy" => json!({"serviceInstanceAutoDeployStatus": {"enabled": false, "reason": null}}),
        "Triggers" => json!({"deploymentTriggers": {"edges": [
            {"node": {"repository": "me/shop", "branch": "main", "checkSuites": true}}]}}),
        "Volumes" => json!({"environment": {"volumeInstances": {"edges": [
            {"node": {"serviceId": "s-1", "mountPath": "/data", "deletedAt": null}},
            {"node": {"serviceId": "other", "mountPath": "/pg", "deletedAt": null}}]}}}),
        "TcpPorts" => json!({"tcpProxies": [{"applicationPort": 5432, "deletedAt": null}]}),
        other => panic!("nobody should ask `{other}`"),
    }
}

/// The readiness where one answer is changed, or is an error.
async fn with(name: &'static str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Readiness {
    readiness(&known(), move |asked| {
        let mut data = answers(asked);
        if asked == name {
            change(&mut data);
        }
        Say::Data(data)
    })
    .await
    .0
}

async fn readiness(known: &Known, say: impl Fn(&str) -> Say + Send + Sync + 'static) -> (Readiness, Log) {
    let (config, log) = start(move |asked, _| say(&asked.name)).await;
    let platform = Railway::new(&config);
    let first = platform.readiness(known).await.unwrap();
    (first, log)
}

#[tokio::test]
async fn where_all_is_well_nothing_is_said_but_the_target() {
    let (ready, log) = readiness(&known(), |name| Say::Data(answers(name))).await;
    let target = Some("release good as deployment good-2 (created 2099-11-23T09:00:00Z)".to_owned());
    assert_eq!(ready, Readiness { target, ..Readiness::default() });
    assert_eq!(log.names(), ["Token", "Plan", "Settings", "History", "AutoDeploy"]);
}

#[tokio::test]
async fn what_never_changes_is_read_once() {
    let (config, log) = start(|asked, _| match asked.name.as_str() {
        "Plan" => Say::Error("Not Authorized"),
        name => Say::Data(answers(name)),
    })
    .await;
    let platform = Railway::new(&config);
    for _ in 0..2 {
        assert!(platform.readiness(&known()).await.unwrap().is_ready());
    }
    assert_eq!((log.count("Token"), log.count("Plan"), log.count("Settings")), (1, 1, 2));
}

#[tokio::test]
async fn each_thing_that_a_rollback_would_fail_by_is_a_fault() {
    let fault = |ready: Readiness| -> String {
        assert_eq!(ready.faults.len(), 1, "{ready:?}");
        ready.faults[0].clone()
    };
    let other = with("Token", |it| it["projectToken"]["environmentId"] = json!("e-2")).await;
    assert!(fault(other).contains("the token is for environment e-2 and not for e-1"));
    let unstable = with("Settings", |it| it["platformStatus"]["isStable"] = json!(false)).await;
    assert!(fault(unstable).contains("not stable"));
    let none = with("Settings", |it| it["serviceInstance"]["activeDeployments"] = json!([])).await;
    assert!(fault(none).contains("no deployment of the service is active"));
    let gone = with("History", |it| {
        let node = &mut it["deployments"]["edges"][1]["node"];
        (node["canRollback"], node["canRedeploy"]) = (json!(false), json!(false));
    })
    .await;
    let gone = fault(gone);
    assert!(gone.contains("the parachute is gone") && gone.contains("2099-11-23T09:00:00Z"), "{gone}");
    let (refused, _log) = readiness(&known(), |_| Say::Error("Not Authorized")).await;
    assert_eq!(refused.faults.len(), 2, "{refused:?}");
    assert!(refused.faults.iter().all(|fault| fault.contains("RAILWAY_TOKEN must hold")), "{refused:?}");
}

#[tokio::test]
async fn each_thing_that_a_person_should_know_is_a_warning() {
    let warned = async |name, change: fn(&mut Value), part: &str| {
        let ready = with(name, change).await;
        assert!(ready.is_ready() && ready.warnings.len() == 1, "{ready:?}");
        assert!(ready.warnings[0].contains(part), "{part} is missing in {ready:?}");
    };
    let deploy = "/serviceInstance/activeDeployments/0/meta/serviceManifest/deploy";
    assert!(answers("Settings").pointer(deploy).is_some());
    fn set(it: &mut Value, key: &str, value: Value) {
        it["serviceInstance"]["activeDeployments"][0]["meta"]["serviceManifest"]["deploy"][key] = value;
    }
    warned(
        "AutoDeploy",
        |it| it["serviceInstanceAutoDeployStatus"]["enabled"] = json!(true),
        "the next push ships the bad release",
    )
    .await;
    let three = |it: &mut Value| {
        set(it, "multiRegionConfig", json!({"a": {"numReplicas": 1}, "b": {"numReplicas": 2}}))
    };
    warned("Settings", three, "runs 3 replicas and service.replicas is 2").await;
    warned("Settings", |it| set(it, "overlapSeconds", json!(0)), "overlap is 0").await;
    warned("Settings", |it| set(it, "drainingSeconds", json!(0)), "draining is 0").await;
    warned("Settings", |it| set(it, "sleepApplication", json!(true)), "may sleep").await;
    let soon = |it: &mut Value| {
        it["deployments"]["edges"][1]["node"]["statusUpdatedAt"] = json!("2020-01-01T00:00:00.000Z");
    };
    warned("History", soon, "may be gone from 2020-01-04T00:00:00Z on").await;
    let unheld = |it: &mut Value| it["deployments"]["edges"][1]["node"]["canRollback"] = json!(false);
    warned("History", unheld, "would be deployed once more").await;
    let nobody = Known { target: None, ..known() };
    let (ready, _log) = readiness(&nobody, |name| Say::Data(answers(name))).await;
    assert!(ready.is_ready() && ready.warnings[0].contains("no release is known good yet"), "{ready:?}");
}

#[tokio::test]
async fn an_examination_tells_all_and_one_refusal_spoils_one_reading() {
    let (config, _log) = start(|asked, _| match asked.name.as_str() {
        "Volumes" => Say::Error("Bad Access"),
        name => Say::Data(answers(name)),
    })
    .await;
    let found = examine(&config, &known()).await;
    assert!(found.volumes.as_ref().unwrap_err().contains("Bad Access"));
    let settings = found.settings.unwrap();
    assert_eq!(
        (settings.source.as_deref(), settings.config_file, settings.restarts_max),
        (Some("me/shop"), None, Some(10))
    );
    assert_eq!(settings.domains.len(), 2);
    assert_eq!(settings.domains[0].target_port, Some(8080));
    let live = found.live.unwrap();
    assert_eq!((live.release, live.running, live.manifest.replicas), (Some(release("bad")), 2, Some(2)));
    assert_eq!(found.triggers.unwrap()[0].branch, "main");
    assert_eq!((found.tcp_ports.unwrap(), found.plan.unwrap()), (vec![5432], "hobby".to_owned()));
    assert_eq!(found.targets.unwrap().len(), 1);
    assert_eq!(found.quota, None::<Quota>);
}
