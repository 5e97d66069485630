//! Agents find one another by a name, and again after they were cut off.

use std::time::Duration;

use crate::agent::Agent;
use crate::land::is_possible;
use crate::names::Answers;
use crate::scene::{REPLICAS, Scene};

/// A look-up each second, and who does not answer is dialled again within some.
const SOON: Duration = Duration::from_secs(30);
/// Questions of three agents, for two kinds of address each, in some seconds.
const SOME_LOOK_UPS: u64 = 30;

/// Until each has met all others of its deployment.
async fn all_meet(agents: &[Agent]) {
    for agent in agents {
        agent.meets(REPLICAS - 1).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_agents_meet_by_name_and_again_within_seconds_after_they_were_cut_off() {
    if !is_possible() {
        return;
    }
    let scene = Scene::open("good").await;
    all_meet(&scene.agents).await;
    scene.agents[0].place.cut_off();
    scene.agents[0].meets(0).await;
    scene.agents[1].meets(1).await;
    scene.agents[0].place.heal();
    let again = tokio::time::timeout(SOON, all_meet(&scene.agents));
    again.await.expect("they meet again within seconds");
    // Packets that pass one way only make no acquaintance.
    scene.agents[0].place.deafen();
    scene.agents[0].meets(0).await;
    scene.agents[1].meets(1).await;
    scene.agents[0].place.heal();
    all_meet(&scene.agents).await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_service_that_is_empty_wrong_or_slow_parts_nobody() {
    if !is_possible() {
        return;
    }
    let scene = Scene::open("good").await;
    all_meet(&scene.agents).await;
    let nobody = "fd12:ffff::1".parse().unwrap();
    let lies =
        [(Vec::new(), Duration::ZERO), (vec![nobody], Duration::ZERO), (Vec::new(), Duration::from_secs(4))];
    for (addresses, after) in lies {
        scene.names.answer(Answers { addresses, after });
        scene.names.asked(SOME_LOOK_UPS).await;
        // Whom the lie had parted would not meet again while it lasts.
        all_meet(&scene.agents).await;
    }
    scene.close().await;
}
