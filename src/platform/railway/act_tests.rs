//! Orders against a scripted API: which steps are taken, in which order, and what each answer leads to.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::engine::record::{Live, StepOutcome};
use crate::platform::Platform as _;
use crate::platform::railway::Railway;
use crate::platform::railway::samples::{known, named, release};
use crate::platform::railway::script::{Asked, Log, Say, start};

/// One deployment as the API tells it.
fn node(id: &str, status: &str, minute: u64, commit: &str) -> Value {
    json!({"id": id, "status": status, "createdAt": format!("2026-11-23T10:{minute:02}:00.000Z"),
        "statusUpdatedAt": null, "canRollback": true, "canRedeploy": true, "instances": [],
        "meta": {"commitHash": commit, "imageDigest": format!("sha256:{commit}")}})
}

/// What the API says of a service, and of orders.
#[derive(Clone)]
struct World {
    is_stable: bool,
    active: Vec<Value>,
    history: Vec<Value>,
    call: Say,
    stop: Say,
    /// What is listed once the call was made.
    made: Option<Value>,
    /// What is live once automatic deployments were stopped.
    then: Option<Vec<Value>>,
}

fn world() -> World {
    let live = node("bad-1", "SUCCESS", 50, "c9");
    World {
        is_stable: true,
        active: vec![live.clone()],
        history: vec![live, node("good-2", "REMOVED", 30, "c1"), node("good-1", "REMOVED", 10, "c1")],
        call: Say::Data(json!({"deploymentRollback": true})),
        stop: Say::Data(json!({"serviceInstanceAutoDeployUpdate": {"enabled": false}})),
        made: Some(node("fresh", "DEPLOYING", 55, "c1")),
        then: None,
    }
}

impl World {
    fn answer(&self, asked: &Asked, called: bool, stopped: bool) -> Say {
        match asked.name.as_str() {
            "Live" => Say::Data(json!({
                "platformStatus": {"isStable": self.is_stable, "incident": {"message": "Builds are slow"},
                    "maintenance": null},
                "serviceInstance": {"activeDeployments": self.then.as_ref().filter(|_| stopped).unwrap_or(&self.active)},
            })),
            "History" => {
                let made = self.made.iter().filter(|_| called);
                let edges: Vec<Value> = made.chain(&self.history).map(|it| json!({"node": it})).collect();
                let page = json!({"hasNextPage": false, "endCursor": null});
                Say::Data(json!({"deployments": {"edges": edges, "pageInfo": page}}))
            }
            "RollBack" => self.call.clone(),
            "Redeploy" => Say::Data(json!({"deploymentRedeploy": {"id": "fresh"}})),
            "Cancel" => Say::Data(json!({"deploymentCancel": true})),
            "StopAutoDeploy" => self.stop.clone(),
            other => panic!("nobody should ask `{other}`"),
        }
    }

    async fn run(self) -> Ran {
        self.run_as(known(), |_| {}).await
    }

    async fn run_as(self, known: Known, set: impl FnOnce(&mut crate::config::Railway)) -> Ran {
        let so_far = Mutex::new((false, false));
        let (mut config, log) = start(move |asked, _| {
            let mut so_far = so_far.lock().unwrap();
            so_far.0 |= asked.name == "RollBack";
            so_far.1 |= asked.name == "StopAutoDeploy";
            self.answer(asked, so_far.0, so_far.1)
        })
        .await;
        set(&mut config);
        let platform = Railway::new(&config);
        let steps = Arc::new(Mutex::new(Vec::new()));
        let told = steps.clone();
        let journal = Journal::new(move |step, outcome| told.lock().unwrap().push((step, outcome)));
        let order = Order { from: release("bad"), to: release("good"), ..crate::platform::tests::order() };
        let acted = platform.roll_back(&order, &known, &journal).await;
        let steps = steps.lock().unwrap().clone();
        Ran { acted, log, steps, platform }
    }
}

struct Ran {
    acted: Acted,
    log: Log,
    steps: Vec<(ActStep, StepOutcome)>,
    platform: Railway,
}

impl Ran {
    fn refused(&self) -> &str {
        let Acted::Refused { reason } = &self.acted else { panic!("{:?}", self.acted) };
        for mutation in ["RollBack", "Redeploy", "Cancel", "StopAutoDeploy"] {
            assert_eq!(self.log.count(mutation), 0, "nothing may be changed: {reason}");
        }
        reason
    }

    fn outcome(&self, step: ActStep) -> &str {
        let ended = self.steps.iter().rfind(|(of, outcome)| *of == step && *outcome != StepOutcome::Begun);
        match &ended.unwrap().1 {
            StepOutcome::Done { detail } => detail,
            StepOutcome::Failed { reason } => reason,
            StepOutcome::Begun => unreachable!(),
        }
    }
}

#[tokio::test]
async fn the_newest_good_deployment_is_put_back_and_the_new_one_found() {
    let ran = world().run().await;
    assert_eq!(ran.acted, Acted::Accepted { detail: "deployment fresh from good-2".to_owned() });
    assert_eq!(ran.log.names(), ["Live", "History", "StopAutoDeploy", "Live", "RollBack", "History"]);
    assert_eq!(ran.log.all()[4].variables, json!({"id": "good-2"}));
    let steps: Vec<_> = ran.steps.iter().map(|(step, _)| step.label()).collect();
    assert_eq!(
        steps,
        [
            "read",
            "read",
            "stop_auto_deploy",
            "stop_auto_deploy",
            "read",
            "read",
            "call",
            "call",
            "find",
            "find"
        ]
    );
    // What the order made is known from now on, whatever it was made from.
    let made = ran.platform.memo().made.front().cloned();
    assert_eq!(made, Some(("fresh".to_owned(), release("good"))));
}

#[tokio::test]
async fn if_another_deployment_is_live_nothing_is_done() {
    let other = node("good-2", "SUCCESS", 52, "c1");
    let ran = World { active: vec![world().active[0].clone(), other], ..world() }.run().await;
    assert!(ran.refused().contains("deployment good-2 of release good is live now"), "{:?}", ran.acted);
    let strange = node("who-1", "SUCCESS", 52, "c7");
    let ran = World { active: vec![strange], ..world() }.run().await;
    assert!(ran.refused().contains("who-1 of an unknown release is live now"), "{:?}", ran.acted);
    let none = World { active: Vec::new(), ..world() }.run().await;
    assert!(none.refused().contains("no deployment of the service is active"));
}

#[tokio::test]
async fn a_watcher_accuses_by_the_deployments_that_it_knows() {
    let watcher = || Known { own: Some((named(&["watch-1"])[0].clone(), release("watch"))), ..known() };
    let ran = world().run_as(watcher(), |_| {}).await;
    assert!(matches!(ran.acted, Acted::Accepted { .. }), "{:?}", ran.acted);
    let unknown = Known { releases: vec![known().releases[1].clone()], ..watcher() };
    let ran = world().run_as(unknown, |_| {}).await;
    assert!(ran.refused().contains("not the accused one"));
}

#[tokio::test]
async fn while_the_platform_is_unstable_nothing_is_done() {
    let ran = World { is_stable: false, ..world() }.run().await;
    assert!(ran.refused().contains("Builds are slow"), "{:?}", ran.acted);
}

#[tokio::test]
async fn without_a_target_nothing_is_done() {
    let mut gone = world();
    for it in &mut gone.history {
        (it["canRollback"], it["canRedeploy"]) = (json!(false), json!(false));
    }
    let ran = gone.run().await;
    assert!(ran.refused().contains("does not hold the image of deployment good-2"), "{:?}", ran.acted);
}

#[tokio::test]
async fn where_the_image_is_gone_the_target_is_deployed_once_more() {
    let mut gone = world();
    for it in &mut gone.history {
        it["canRollback"] = json!(false);
    }
    let ran = gone.run().await;
    let Acted::Accepted { detail } = &ran.acted else { panic!("{:?}", ran.acted) };
    assert_eq!(detail, "deployment fresh from good-2, deployed once more as a fall-back");
    assert_eq!((ran.log.count("RollBack"), ran.log.count("Redeploy")), (0, 1));
}

#[tokio::test]
async fn what_is_on_its_way_is_cancelled_first() {
    let mut busy = world();
    busy.history.insert(0, node("next-1", "BUILDING", 58, "c10"));
    busy.history.insert(0, node("next-2", "NEEDS_APPROVAL", 59, "c11"));
    // Made with what is live now, or before it: what is on its way goes live later all the same.
    busy.history.insert(2, node("twin", "BUILDING", 50, "c12"));
    busy.history.push(node("slow", "QUEUED", 40, "c13"));
    busy.history.push(node("left", "NEEDS_APPROVAL", 40, "c14"));
    let ran = busy.clone().run().await;
    assert!(matches!(ran.acted, Acted::Accepted { .. }), "{:?}", ran.acted);
    let names = ran.log.names();
    assert_eq!(names[..3], ["Live", "History", "Cancel"]);
    assert_eq!((ran.log.count("Cancel"), ran.log.count("StopAutoDeploy")), (4, 1));
    assert_eq!(ran.outcome(ActStep::CancelQueued), "cancelled next-2, next-1, twin, slow");
    let ran =
        busy.run_as(known(), |config| (config.cancel_queued, config.stop_auto_deploy) = (false, false)).await;
    assert_eq!((ran.log.count("Cancel"), ran.log.count("StopAutoDeploy")), (0, 0));
}

#[tokio::test]
async fn if_somebody_is_putting_the_target_back_already_nothing_is_done() {
    for status in ["QUEUED", "DEPLOYING", "SUCCESS"] {
        let mut busy = world();
        busy.history.insert(0, node("by-hand", status, 58, "c1"));
        let ran = busy.run().await;
        assert!(ran.refused().contains("puts release good back already"), "{status}: {:?}", ran.acted);
    }
    let mut slow = world();
    slow.history.push(node("earlier", "QUEUED", 40, "c1"));
    assert!(slow.run().await.refused().contains("puts release good back already"));
}

#[tokio::test]
async fn a_precaution_that_fails_is_told_and_does_not_stop_the_act() {
    let ran = World { stop: Say::Error("Bad Access"), ..world() }.run().await;
    assert!(matches!(ran.acted, Acted::Accepted { .. }), "{:?}", ran.acted);
    let told = ran.outcome(ActStep::StopAutoDeploy);
    assert!(
        told.contains("the next push ships the bad release again") && told.contains("Bad Access"),
        "{told}"
    );
}

#[tokio::test]
async fn a_clear_no_is_a_refusal() {
    for call in [
        Say::Data(json!({"deploymentRollback": false})),
        Say::Error("Deployment is not rollbackable"),
        Say::Error("Not Authorized"),
        Say::Raw(429, "retry-after: 5\r\n".to_owned(), "{}".to_owned()),
    ] {
        let ran = World { call, made: None, ..world() }.run().await;
        let Acted::Refused { reason } = &ran.acted else { panic!("{:?}", ran.acted) };
        assert!(reason.ends_with("(but before that: automatic deployments were switched off)"), "{reason}");
        assert_eq!(ran.log.count("RollBack"), 1);
    }
    let failed = Say::Error("An unexpected error occurred");
    let ran = World { call: failed, ..world() }.run().await;
    assert!(matches!(ran.acted, Acted::Unknown { .. }), "it was done, whatever is said: {:?}", ran.acted);
}

#[tokio::test]
async fn what_goes_live_while_precautions_are_taken_is_not_replaced() {
    let ran = World { then: Some(vec![node("mended", "SUCCESS", 60, "c10")]), ..world() }.run().await;
    let Acted::Refused { reason } = &ran.acted else { panic!("{:?}", ran.acted) };
    assert!(reason.contains("deployment mended of an unknown release is live now"), "{reason}");
    assert_eq!((ran.log.count("RollBack"), ran.log.count("StopAutoDeploy")), (0, 1));
}

#[tokio::test]
async fn an_unclear_answer_is_never_asked_for_again_but_what_came_of_it_is_looked_for() {
    for call in [Say::Half, Say::Silence, Say::Error("Problem processing request")] {
        let ran = World { call: call.clone(), ..world() }
            .run_as(known(), |config| config.timeout = Duration::from_secs(20))
            .await;
        let Acted::Unknown { reason } = &ran.acted else { panic!("{:?}", ran.acted) };
        assert!(reason.contains("deployment fresh of release good has appeared since"), "{reason}");
        assert_eq!(ran.log.count("RollBack"), 1);
    }
}

#[tokio::test]
async fn a_new_deployment_that_is_not_listed_is_not_made_up() {
    let ran = World { made: None, ..world() }
        .run_as(known(), |config| config.timeout = Duration::from_secs(2))
        .await;
    let Acted::Accepted { detail } = &ran.acted else { panic!("{:?}", ran.acted) };
    assert_eq!(detail, "from good-2; the new deployment is not listed yet");
    assert_eq!(ran.platform.memo().made.len(), 0);
}

async fn current(world: World, known: &Known) -> (Live, Log, Railway) {
    let (config, log) = start(move |asked, _| world.answer(asked, false, false)).await;
    let platform = Railway::new(&config);
    let live = platform.current(known).await;
    (live, log, platform)
}

#[tokio::test]
async fn what_is_live_is_known_by_its_id_or_by_what_it_was_made_from() {
    let (live, log, _) = current(world(), &known()).await;
    assert_eq!((live, log.names()), (Live::Release(release("bad")), vec!["Live".to_owned()]));

    let fresh = node("fresh", "SUCCESS", 55, "c1");
    let mut put_back = World { active: vec![fresh.clone()], ..world() };
    put_back.history.insert(0, fresh);
    let (live, log, platform) = current(put_back, &known()).await;
    assert_eq!(live, Live::Release(release("good")));
    platform.current(&known()).await;
    assert_eq!(log.names(), ["Live", "History"], "what was read just now is not read again");
    platform.memo().live = None;
    platform.current(&known()).await;
    assert_eq!(log.names(), ["Live", "History", "Live"], "what was found once is not looked for again");

    let (unstable, ..) = current(World { is_stable: false, ..world() }, &known()).await;
    assert!(
        matches!(&unstable, Live::Unread { reason } if reason.contains("Builds are slow")),
        "{unstable:?}"
    );
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let (mut config, log) = start(|_, _| Say::Silence).await;
    config.token = None;
    let platform = Railway::new(&config);
    assert!(matches!(platform.current(&known()).await, Live::Unknown { .. }));
    assert_eq!(platform.readiness(&known()).await, None);
    let order = Order { from: release("bad"), to: release("good"), ..crate::platform::tests::order() };
    let acted = platform.roll_back(&order, &known(), &Journal::silent()).await;
    assert!(matches!(acted, Acted::Refused { .. }) && log.names().is_empty());
}
