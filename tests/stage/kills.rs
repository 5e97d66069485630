//! `kill -9` of the agent at random moments under load, many of them around a rollback.
//!
//! After each the store opens and holds every record that was ever shown, no rollback is carried out twice, and the
//! decision comes to an end.

use std::collections::HashMap;

use outrigger::stage::event::StageEvent;
use serde_json::Value;

use crate::process::{ask_if_there, eventually, figure};
use crate::scene::{Scene, held};

/// Kills in a run that names no number.
const KILLS: u64 = 5;
/// Requests that are served while a bad release is on trial; a random moment is one of them.
const REQUESTS_OF_A_TRIAL: u64 = 1500;

/// When an agent is killed, counted in what happens and not in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    /// So many requests after the bad release went live.
    OnTrial(u64),
    /// When the decision's record can be read.
    Recorded,
    /// When the platform has taken the order.
    Ordered,
    /// So many requests after the platform took the order.
    BeingReplaced(u64),
    /// When the release that is put back goes live: its agent is killed.
    Restored,
}

impl Moment {
    /// One after the other, so that five kills meet each; where in it is chance.
    fn choose(round: u64, chance: &mut fastrand::Rng) -> Self {
        match round % 5 {
            0 => Self::Ordered,
            1 => Self::Recorded,
            2 => Self::OnTrial(chance.u64(..REQUESTS_OF_A_TRIAL)),
            3 => Self::Restored,
            _ => Self::BeingReplaced(chance.u64(..200)),
        }
    }

    async fn come(self, scene: &mut Scene, accused: &str) {
        match self {
            Self::OnTrial(requests) => served(scene, requests).await,
            Self::Recorded => {
                let volume = scene.volume();
                eventually("a decision", async || decision(&records(&volume).await?, accused)).await;
            }
            Self::Ordered => ordered(scene, accused).await,
            Self::BeingReplaced(requests) => {
                ordered(scene, accused).await;
                served(scene, requests).await;
            }
            Self::Restored => {
                ordered(scene, accused).await;
                let live = |event: &StageEvent| {
                    matches!(event, StageEvent::WentLive { release, .. } if release == "v1").then_some(())
                };
                scene.until("v1 is live again", live).await;
            }
        }
    }
}

async fn ordered(scene: &mut Scene, accused: &str) {
    let taken = |event: &StageEvent| {
        matches!(event, StageEvent::RollbackTaken { from, .. } if from == accused).then_some(())
    };
    scene.until("the order to roll back", taken).await;
}

async fn served(scene: &Scene, requests: u64) {
    let enough = scene.load.total().requests + requests;
    eventually("requests", async || (scene.load.total().requests >= enough).then_some(())).await;
}

/// What the agent of a volume shows; `None` while there is none.
async fn records(volume: &std::path::Path) -> Option<Vec<Value>> {
    let shown = ask_if_there(volume, &["history", "--limit", "200"]).await?;
    shown["records"].as_array().cloned()
}

/// The rollback of a release, if it was decided.
fn decision(records: &[Value], accused: &str) -> Option<Value> {
    records.iter().find(|r| r["release"] == accused && r["decision"] == "roll_back").cloned()
}

/// How far an act had come: a store that was written later says no less.
fn reached(record: &Value) -> usize {
    match record["progress"]["progress"].as_str() {
        None | Some("nothing_to_do") => 0,
        Some("intended") => 1,
        Some("accepted") => 2,
        Some(_) => 3,
    }
}

/// The store of a killed agent opens, nothing in it is damaged, and nothing that was shown is lost.
async fn check_store(scene: &Scene, deployment: &str, shown: &[Value]) {
    let held = held(&scene.volume_of(deployment)).await;
    assert_eq!(held.damaged, 0, "{deployment}");
    assert!(held.baselines > 0, "{deployment} has forgotten its baseline");
    let by_id: HashMap<&str, &Value> = held.records.iter().map(|r| (r["id"].as_str().unwrap(), r)).collect();
    for record in shown {
        let id = record["id"].as_str().unwrap();
        let kept = by_id.get(id).unwrap_or_else(|| panic!("{deployment} has lost {record}"));
        assert_eq!((&kept["at"], &kept["kind"]), (&record["at"], &record["kind"]), "{deployment}");
        assert!(reached(kept) >= reached(record), "{deployment} held {record} and holds {kept}");
    }
}

/// No decision was carried out twice or ordered twice, and no release was rolled back twice.
fn check_orders(scene: &mut Scene) {
    scene.catch_up();
    let mut accused = Vec::new();
    for event in &scene.seen {
        if let StageEvent::RollbackTaken { from, .. } = event {
            accused.push(from.clone());
        }
        let repeated = matches!(event, StageEvent::RollbackRepeated { .. });
        assert!(!repeated, "an order was given twice: {event:?}");
    }
    assert_eq!(scene.stage.rollbacks(), accused.len() as u64);
    let orders = accused.len();
    accused.sort();
    accused.dedup();
    assert_eq!(accused.len(), orders, "a release was rolled back twice: {accused:?}");
}

/// One bad release, one kill, and the decision's end.
async fn round(scene: &mut Scene, number: u64, chance: &mut fastrand::Rng) {
    let (moment, release) = (Moment::choose(number, chance), format!("bad{number}"));
    scene.deploy_bad(&release, number).await;
    moment.come(scene, &release).await;
    let asked = scene.live();
    let shown = records(&scene.volume_of(&asked)).await.unwrap_or_default();
    let killed = scene.kill().await;
    check_store(scene, &asked, &shown).await;
    if killed != asked {
        // The switch came in between: the killed one has shown nothing.
        check_store(scene, &killed, &[]).await;
    }
    let end = eventually("the decision's end", async || {
        let found = decision(&records(&scene.volume()).await?, &release)?;
        (reached(&found) == 3).then_some(found)
    })
    .await;
    let progress = end["progress"]["progress"].as_str().unwrap();
    println!("{release}: killed {killed} {moment:?} with {} records shown: {progress}", shown.len());
    assert!(["succeeded", "interrupted", "failed"].contains(&progress), "{end}");
    check_orders(scene);
    let live = scene.stage.live().unwrap().release;
    let order =
        |event: &&StageEvent| matches!(event, StageEvent::RollbackTaken { from, .. } if *from == release);
    if progress == "succeeded" {
        assert_eq!((live.as_str(), scene.seen.iter().filter(order).count()), ("v1", 1), "{end}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_killed_at_random_moments_lose_no_record_and_roll_back_at_most_once() {
    let seed = figure("SEED").unwrap_or_else(|| fastrand::u64(..));
    let kills = figure("KILLS").unwrap_or(KILLS);
    println!("SEED={seed} KILLS={kills}");
    let mut chance = fastrand::Rng::with_seed(seed);
    let mut scene = Scene::open("0s", seed).await;
    for number in 0..kills {
        round(&mut scene, number, &mut chance).await;
    }
    scene.close().await;
}
