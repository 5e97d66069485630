//! Many runs with random deaths: of agents, and of whoever carries the rollback out.
//!
//! After each run the platform was told to roll back at most once, to the right deployment, and once a quorum lived it did.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{eventually, figure};
use crate::scene::{Scene, degraded};

/// The longest rest before a death, in milliseconds: from the verdict to what follows it.
const BEFORE_DEATH_MAX_MS: u64 = 12_000;

/// When somebody dies.
#[derive(Clone, Copy, Debug)]
enum Death {
    /// An agent, so many milliseconds after the first verdict.
    OnTrial { number: usize, after: u64 },
    /// Whoever gave the order, at once.
    Executor,
    /// Nobody.
    None,
}

impl Death {
    fn choose(chance: &mut fastrand::Rng) -> Self {
        match chance.u32(..5) {
            0 => Self::None,
            1 | 2 => Self::Executor,
            _ => Self::OnTrial { number: chance.usize(..3), after: chance.u64(..BEFORE_DEATH_MAX_MS) },
        }
    }
}

pub(crate) fn kill_agent(scene: &Scene, is_it: impl Fn(&str, usize) -> bool) {
    let live = scene.stage.live().map(|live| live.deployment).unwrap_or_default();
    let agents = scene.stage.agents().into_iter().filter(|agent| agent.deployment == live);
    for (index, agent) in agents.enumerate() {
        if let Some((pid, _)) = agent.running.filter(|_| is_it(&agent.replica, index)) {
            // It may have ended by itself just now.
            let _gone = kill(Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGKILL);
        }
    }
}

/// The replica that carries out the newest rollback, as the proof of its election says.
pub(crate) async fn executor(scene: &Scene) -> Option<String> {
    let records = scene.records().await;
    let proof = records.iter().rev().find(|record| record["certificate"].is_object())?;
    Some(proof["certificate"]["ask"]["candidate"]["replica"].as_str()?.to_owned())
}

async fn run(number: u64, chance: &mut fastrand::Rng) {
    let (death, seed) = (Death::choose(chance), chance.u64(..));
    println!("run {number}: {death:?} seed {seed}");
    let Some(mut scene) = Scene::open(seed).await else { return };
    let mut watch = scene.stage.watch();
    let bad = scene.deploy_bad("v2", Duration::ZERO, seed ^ 1).await;
    degraded(&mut watch, &bad).await;
    match death {
        Death::OnTrial { number, after } => {
            tokio::time::sleep(Duration::from_millis(after)).await;
            kill_agent(&scene, |_, index| index == number);
        }
        Death::Executor => {
            let elected = eventually("somebody is elected", async || executor(&scene).await).await;
            kill_agent(&scene, |replica, _| replica == elected);
        }
        Death::None => {}
    }
    let (to, made) = scene.taken().await;
    assert_eq!(to, "v1");
    scene.live(&made).await;
    // Whatever was still on its way has come by then.
    scene.known_good("v1").await;
    assert_eq!(scene.rolled_back().await, [scene.first.clone()], "run {number}: {death:?}");
    assert_eq!(scene.stage.live().unwrap().deployment, made);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes a run; RAILWAY_RUNS=100 cargo nextest run --test railway --run-ignored all soak"]
async fn deaths_at_random_moments_never_lead_to_two_rollbacks_or_to_a_wrong_one() {
    let seed = figure("SEED").unwrap_or_else(|| fastrand::u64(..));
    let runs = figure("RAILWAY_RUNS").unwrap_or(0);
    println!("SEED={seed} RAILWAY_RUNS={runs}");
    let mut chance = fastrand::Rng::with_seed(seed);
    for number in 0..runs {
        run(number, &mut chance).await;
    }
}
