//! The lock, the gate and rollbacks by hand.

use std::time::Duration;

use serde_json::json;

use crate::admin::PeersView;
use crate::admin::shared::{Command, Rehearsal};
use crate::admin::tests::{Port, fixture};
use crate::clock::Clock;
use crate::engine::record::{Lock, Readiness};
use crate::engine::time::Time;

fn lock(until: Option<Time>) -> Lock {
    Lock { by: "ana".to_owned(), reason: "schema change".to_owned(), since: fixture::START, until }
}

/// Publishes a lock.
fn locked(port: &Port, until: Option<Time>) {
    let mut live = fixture::live();
    live.engine.lock = Some(lock(until));
    port.shared.publish(live, &fixture::window(1, 100, 3));
}

#[tokio::test]
async fn the_gate_says_open_locked_or_that_it_does_not_know() {
    let port = Port::open(None).await;
    let unknown = port.get("/api/gate").await;
    assert_eq!((unknown.status, &unknown.json()["open"]), (503, &json!(null)), "{}", unknown.body);
    port.publish();
    let open = port.get("/api/gate").await;
    assert_eq!((open.status, &open.json()["open"], &open.json()["lock"]), (200, &json!(true), &json!(null)));
    locked(&port, None);
    let shut = port.get("/api/gate").await;
    assert_eq!(
        (shut.status, &shut.json()["open"], shut.field("retry-after")),
        (423, &json!(false), Some("10"))
    );
    assert_eq!(shut.json()["lock"]["by"], "ana");
    assert_eq!(shut.error(), "deployments are locked by ana until unlocked: schema change");
    let mut alone = fixture::live();
    alone.started = Clock::start().now();
    alone.peers = Some(PeersView { peers: Vec::new(), ..super::peers::view() });
    port.shared.publish(alone, &fixture::window(1, 100, 3));
    let unknown = port.get("/api/gate").await;
    assert_eq!(unknown.status, 503, "others may have locked: {}", unknown.body);
    // Its time is over, although the agent has not lifted it yet.
    locked(&port, Some(fixture::START));
    assert_eq!(port.get("/api/gate").await.status, 200);
}

#[tokio::test]
async fn a_lock_and_its_end_are_commands_to_the_agent() {
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::Lock { by, reason, until, reply } = command else { panic!("{command:?}") };
        assert_eq!((by.as_str(), reason.as_str(), until.is_some()), ("ana", "freeze", true));
        reply.send(Ok(())).unwrap();
    });
    let answer = port.post("/api/lock", r#"{"by":"ana","reason":"freeze","for":"2h"}"#).await;
    assert_eq!((answer.status, &answer.json()["locked"]), (200, &json!(true)), "{}", answer.body);
    assert!(answer.json()["until"].is_string());
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::Unlock { reply, .. } = command else { panic!("{command:?}") };
        reply.send(Ok(false)).unwrap();
    });
    let answer = port.post("/api/unlock", r#"{"by":"ana"}"#).await;
    assert_eq!((answer.status, &answer.json()["was_locked"]), (200, &json!(false)));
    assert_eq!(port.post("/api/lock", r#"{"by":"ana"}"#).await.status, 400);
    let far = port.post("/api/lock", r#"{"by":"ana","reason":"x","for":"31days"}"#).await;
    assert!(far.error().contains("for a lock that only a person ends"), "{}", far.body);
}

#[tokio::test]
async fn a_rollback_is_rehearsed_or_ordered() {
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::Rehearse { to, reply } = command else { panic!("{command:?}") };
        assert_eq!(to.as_deref(), Some("v41"));
        let readiness = Readiness {
            faults: vec![],
            warnings: vec!["auto-deploy is on".to_owned()],
            target: Some("d-1".to_owned()),
        };
        let to = Some(fixture::release("v41"));
        reply.send(Ok(Rehearsal { from: fixture::release("v42"), to, readiness: Some(readiness) })).unwrap();
    });
    let answer = port.post("/api/rollback", r#"{"by":"ana","reason":"x","to":"v41","dry_run":true}"#).await;
    assert_eq!(
        answer.json(),
        json!({"dry_run": true, "platform": null, "release": "v42", "target": "v41", "ready": true,
            "platform_target": "d-1", "faults": [], "warnings": ["auto-deploy is on"]})
    );
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::Rehearse { reply, .. } = command else { panic!("{command:?}") };
        reply.send(Ok(Rehearsal { from: fixture::release("v42"), to: None, readiness: None })).unwrap();
    });
    port.publish();
    let none = port.post("/api/rollback", r#"{"by":"ana","reason":"x","dry_run":true}"#).await.json();
    assert_eq!((&none["ready"], &none["target"]), (&json!(false), &json!(null)));
    assert_eq!(none["platform"], fixture::live().platform);
    assert!(none["faults"][0].as_str().unwrap().contains("`--to RELEASE`"), "{none}");
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::RollBack { by, reason, to, reply } = command else { panic!("{command:?}") };
        assert_eq!((by.as_str(), reason.as_str(), to), ("ana", "x", None));
        reply.send(Ok(json!({"id": "0abc", "decision": "roll_back"}))).unwrap();
    });
    let ordered = port.post("/api/rollback", r#"{"by":"ana","reason":"x"}"#).await;
    assert_eq!(ordered.json(), json!({"dry_run": false, "record": {"id": "0abc", "decision": "roll_back"}}));
    let port = Port::open(Some(fixture::TOKEN)).await.agent(|command| {
        let Command::RollBack { reply, .. } = command else { panic!("{command:?}") };
        reply.send(Err("v9 is neither a release nor a deployment".to_owned())).unwrap();
    });
    let refused = port.post("/api/rollback", r#"{"by":"ana","reason":"x","to":"v9"}"#).await;
    assert_eq!((refused.status, refused.error().contains("v9")), (409, true));
}

#[tokio::test]
async fn the_snapshot_and_the_metrics_show_the_lock_and_the_readiness() {
    let port = Port::open(None).await;
    port.publish();
    let metrics = port.get("/metrics").await.body;
    assert!(
        metrics.contains("outrigger_deployments_locked 0") && !metrics.contains("rollback_ready"),
        "{metrics}"
    );
    let mut live = fixture::live();
    live.engine.lock = Some(lock(Some(fixture::START + Duration::from_secs(3600))));
    let faults = vec!["the token was refused".to_owned()];
    live.engine.readiness = Some(Readiness { faults, ..Readiness::default() });
    port.shared.publish(live, &fixture::window(2, 100, 3));
    let snapshot = port.get("/api/snapshot").await.json();
    assert_eq!(snapshot["lock"]["reason"], "schema change");
    assert_eq!(
        snapshot["readiness"],
        json!({"ready": false, "faults": ["the token was refused"], "warnings": [], "target": null})
    );
    let metrics = port.get("/metrics").await.body;
    assert!(
        metrics.contains("outrigger_deployments_locked 1") && metrics.contains("outrigger_rollback_ready 0"),
        "{metrics}"
    );
}
