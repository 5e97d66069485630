//! Three agents a deployment, without a disk, on a platform that carries out every order: they agree, and one acts once.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger::clock::Clock;
use outrigger::stage::StageOptions;
use outrigger::stage::app::AppPlan;
use outrigger::stage::event::StageEvent;
use outrigger::stage::fleet::{FleetEvent, Watch};
use outrigger::stage::load::Load;
use serde_json::Value;
use tokio::time::timeout;

use crate::demo::play_with;
use crate::process::{WAIT, ask, ask_if_there, eventually};
use crate::scene::{Scene, held};

/// Agents of each deployment.
const REPLICAS: usize = 3;

fn three(options: StageOptions) -> StageOptions {
    options.with_replicas(REPLICAS)
}

/// The next change among the agents that is wanted.
async fn among<T>(watch: &mut Watch, what: &str, wanted: impl Fn(&FleetEvent) -> Option<T>) -> T {
    let found = timeout(WAIT, async {
        loop {
            if let Some(found) = watch.next().await.iter().find_map(&wanted) {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
}

/// SIGKILL from outside, as an accident.
fn kill_agent(scene: &Scene, name: &str) {
    let agents = scene.stage.agents();
    // One that is just being started again, or has ended, is as dead as can be.
    let running = agents.iter().find(|agent| agent.name == name).and_then(|agent| agent.running);
    if let Some((pid, _)) = running {
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL).unwrap();
    }
}

async fn ordered(scene: &mut Scene, accused: &str) {
    let order = |event: &StageEvent| {
        matches!(event, StageEvent::RollbackTaken { from, .. } if from == accused).then_some(())
    };
    scene.until("the order to roll back", order).await;
}

/// What was ordered is seen through, and was ordered once.
async fn seen_through(scene: &mut Scene, accused: &str, before: u64) {
    let live = |event: &StageEvent| {
        matches!(event, StageEvent::WentLive { release, .. } if release == "v1").then_some(())
    };
    scene.until("v1 is live again", live).await;
    let done = |record: &Value| {
        record["release"] == accused
            && record["decision"] == "roll_back"
            && record["progress"]["progress"] == "succeeded"
    };
    eventually("the restored remembers that the rollback has succeeded", async || {
        let shown = ask_if_there(&scene.volume(), &["history", "--limit", "50"]).await?;
        shown["records"].as_array()?.iter().any(done).then_some(())
    })
    .await;
    scene.catch_up();
    assert_eq!(scene.stage.rollbacks(), before + 1, "{accused} was put back once");
    assert_eq!(scene.stage.live().unwrap().release, "v1");
}

/// Who carried out the rollback of this release, as the records of its deployment prove.
async fn executor(scene: &Scene, deployment: &str, accused: &str) -> String {
    eventually("the proof of an election", async || {
        for number in 1..=REPLICAS {
            let volume = scene.volume_of_agent(deployment, number);
            // An agent that has ended meanwhile has left its store.
            let records = match ask_if_there(&volume, &["history", "--limit", "50"]).await {
                Some(shown) => shown["records"].as_array().cloned().unwrap_or_default(),
                None => held(&volume).await.records,
            };
            let mut records = records.iter();
            let proof =
                records.find(|record| record["release"] == accused && record["certificate"].is_object());
            if let Some(proof) = proof {
                return Some(proof["certificate"]["ask"]["candidate"]["replica"].as_str()?.to_owned());
            }
        }
        None
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_with_three_replicas_ends_with_one_rollback_on_which_they_agreed() {
    let played = play_with("errors", &["--replicas", "3", "--rate", "60"]).await;
    let summary = played.summary();
    let told = format!("{summary}\n{}", played.errors);
    assert_eq!((played.code, &summary["ok"]), (Some(0), &Value::Bool(true)), "{told}");
    assert_eq!((summary["rollbacks"].as_u64(), played.count("rollback_taken")), (Some(1), 1), "{told}");
    assert_eq!((summary["replicas"].as_u64(), summary["votes"].as_u64()), (Some(3), Some(3)), "{told}");
    assert!(summary["agreed"].as_array().is_some_and(|agreed| agreed.len() >= 2), "{told}");
    let from = summary["baselines_from"].as_object().expect(&told);
    assert_eq!(from.len(), REPLICAS, "each holds the former generation's baseline: {told}");
    for event in ["met", "handover", "verdict", "asks", "answered", "elected"] {
        assert!(played.count(event) > 0, "no `{event}` was shown: {told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_killed_from_outside_before_the_vote_or_with_the_order_given_changes_nothing() {
    let mut scene = Scene::open_with("0s", 21, three).await;
    let mut watch = scene.stage.watch();
    let accused = scene.deploy_bad("bad1", 22).await;
    let degraded = among(&mut watch, "a verdict", |event| {
        let FleetEvent::Verdict { agent, verdict, .. } = event else { return None };
        (verdict == "degraded" && agent.ends_with(&accused)).then(|| agent.clone())
    });
    let degraded = degraded.await;
    kill_agent(&scene, &degraded);
    ordered(&mut scene, "bad1").await;
    seen_through(&mut scene, "bad1", 0).await;

    scene.known_good("v1").await;
    let accused = scene.deploy_bad("bad2", 23).await;
    ordered(&mut scene, "bad2").await;
    let executor = executor(&scene, &accused, "bad2").await;
    kill_agent(&scene, &executor);
    seen_through(&mut scene, "bad2", 1).await;
    scene.close().await;
}

/// What each agent of the live deployment shows.
async fn shown(scene: &Scene, what: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let live = scene.live();
    let mut all = Vec::new();
    for number in 1..=REPLICAS {
        let volume = scene.volume_of_agent(&live, number);
        let status = eventually(what, async || {
            ask_if_there(&volume, &["status"]).await.filter(|status| wanted(status))
        });
        all.push(status.await);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_agent_of_the_next_generation_holds_the_formers_baseline() {
    let mut scene = Scene::open_with("10m", 31, |options| {
        let mut options = three(options);
        options.overlap = Duration::from_secs(3);
        options
    })
    .await;
    scene.stage.deploy("v2", AppPlan::good(32)).await.unwrap();
    let held = |status: &Value| status["release"] == "v2" && status["baseline"]["release"] == "v1";
    // A newcomer may hold a lesser one until it has asked whoever knows more.
    let all = eventually("all of v2 hold the same baseline of v1", async || {
        let all = shown(&scene, "an agent of v2 holds v1's baseline", held).await;
        all.iter().all(|status| status["baseline"] == all[0]["baseline"]).then_some(all)
    })
    .await;
    assert!(all[0]["baseline"]["requests"].as_u64() >= Some(100), "{}", all[0]);
    scene.catch_up();
    let copied = |event: &StageEvent| matches!(event, StageEvent::Created { volume_from: Some(_), .. });
    assert!(!scene.seen.iter().any(copied), "it came over the network alone");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_meeting_of_generations_the_absence_of_a_baseline_is_told() {
    let mut scene = Scene::open_with("10m", 41, |options| {
        let mut options = three(options);
        (options.overlap, options.drain, options.recreate) = (Duration::ZERO, Duration::ZERO, true);
        options
    })
    .await;
    // So few requests that v2 does not come to know itself while it is looked at.
    let few = Load::start(scene.stage.edge_address(), 1.0, 43, Clock::start());
    std::mem::replace(&mut scene.load, few).stop().await;
    scene.stage.deploy("v2", AppPlan::good(42)).await.unwrap();
    let ready = |status: &Value| {
        status["release"] == "v2"
            && status["app"]["phase"] == "ready"
            && status["verdict"]["label"] == "not_judgeable"
    };
    for status in shown(&scene, "an agent of v2 says that it cannot judge", ready).await {
        assert_eq!(status["baseline"], Value::Null, "{status}");
        let why = status["verdict"]["why"].as_str().unwrap();
        assert!(why.contains("nothing to compare with"), "{why}");
    }
    let live = scene.live();
    let text = ask(&scene.volume_of_agent(&live, 2), &["status"]).await;
    assert!(text.contains("nothing to compare with"), "{text}");
    scene.catch_up();
    assert_eq!(scene.stage.rollbacks(), 0);
    scene.close().await;
}
