//! The vote over a real network: who is cut off never acts, who agrees acts once, and neither a kill nor a freeze makes it
//! twice or never.

use serde_json::Value;

use crate::agent::{Agent, eventually};
use crate::land::is_possible;
use crate::platform::Knock;
use crate::scene::{LONG, Scene};

/// A look at an agent tells that it finds its release degraded.
fn degraded(status: &Value) -> bool {
    status["verdict"]["label"] == "degraded"
}

/// It says that too few of its voters can be reached.
async fn says_no_quorum(agent: &Agent) {
    let what = format!("{} says that it cannot reach a quorum", agent.part.name);
    eventually(&what, async || {
        let quorum = agent.quorum().await?;
        let missing = quorum["missing"].as_array()?;
        let few = missing.iter().any(|missing| missing["code"] == "too_few_voters");
        (quorum["reachable"] == false && few).then_some(())
    })
    .await;
}

/// The first agent that is not this one.
fn other<'a>(scene: &'a Scene, name: &str) -> &'a Agent {
    scene.agents.iter().find(|agent| agent.part.name != name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_off_minority_never_acts_and_says_so_and_two_of_three_act_once() {
    if !is_possible() {
        return;
    }
    let mut scene = Scene::open("errors").await;
    // Each is alone: whoever it is, it has one vote of three.
    for agent in &scene.agents {
        agent.place.cut_off();
    }
    for agent in &scene.agents {
        agent.shows("it is degraded", degraded).await;
        says_no_quorum(agent).await;
    }
    let acted = tokio::time::timeout(LONG, scene.order()).await;
    assert!(acted.is_err(), "one of three acted alone: {acted:?}");
    assert_eq!(scene.platform.orders(), []);
    // Two of them find each other; the third stays alone.
    scene.agents[1].place.heal();
    scene.agents[2].place.heal();
    let executor = scene.order().await;
    assert_ne!(executor, "r1-d2");
    scene.ends_with_one_rollback().await;
    // Whoever was alone comes back with an evidence of its own, and is too late.
    scene.agents[0].place.heal();
    scene.nothing_more_is_ordered().await;
    scene.close().await;
}

/// When the executor is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When it has read what is live, before its order.
    Read,
    /// When its order was carried out, before it knows.
    Ordered,
    /// When the order was answered.
    Answered,
}

async fn executor_killed(moment: Moment) {
    if !is_possible() {
        return;
    }
    let mut scene = Scene::open("errors").await;
    scene.forget_knocks();
    scene.agents[0].shows("it is degraded", degraded).await;
    scene.platform.hold(matches!(moment, Moment::Ordered));
    let executor = match moment {
        Moment::Read => {
            scene
                .knock("a look at the platform", |knock| match knock {
                    Knock::Read { agent } | Knock::Ordered { agent, .. } => Some(agent.clone()),
                })
                .await
        }
        Moment::Ordered | Moment::Answered => scene.order().await,
    };
    if matches!(moment, Moment::Answered) {
        let accepted = |status: &Value| status["last_decision"].is_object();
        other(&scene, &executor).shows("another agent knows of it", accepted).await;
    }
    scene.named(&executor).kill().await;
    scene.platform.hold(false);
    // The platform starts it again: another boot of the same replica, which remembers nothing.
    scene.named(&executor).restart();
    scene.ends_with_one_rollback().await;
    scene.close().await;
}

#[ignore = "three minutes: cargo nextest run --test peers --run-ignored all"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_killed_when_it_has_read_the_platform_leaves_one_rollback() {
    executor_killed(Moment::Read).await;
}

#[ignore = "three minutes: cargo nextest run --test peers --run-ignored all"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_killed_before_its_order_is_answered_leaves_one_rollback() {
    executor_killed(Moment::Ordered).await;
}

#[ignore = "three minutes: cargo nextest run --test peers --run-ignored all"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_killed_after_its_order_was_answered_leaves_one_rollback() {
    executor_killed(Moment::Answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_frozen_in_the_vote_and_woken_after_it_does_no_harm() {
    if !is_possible() {
        return;
    }
    let mut scene = Scene::open("errors").await;
    // Whoever looks at the platform was elected: it stands still in the middle of its work.
    scene.forget_knocks();
    scene.agents[0].shows("it is degraded", degraded).await;
    let frozen = scene
        .knock("a look at the platform", |knock| match knock {
            Knock::Read { agent } | Knock::Ordered { agent, .. } => Some(agent.clone()),
        })
        .await;
    scene.named(&frozen).freeze();
    scene.ends_with_one_rollback().await;
    scene.named(&frozen).wake();
    scene.nothing_more_is_ordered().await;
    scene.close().await;
}
