//! How the fleet came to know its first release: a watch that passed, before anything is looked at.

use std::sync::Arc;
use std::time::Duration;

use outrigger::engine::memory::Standing;
use outrigger::engine::policy::Policy;
use outrigger::engine::release::Release;
use outrigger::engine::{Effect, Engine, Identity, Input};

use crate::agent::EPOCH;
use crate::app::{self, Health, Second};
use crate::chance::Chance;
use crate::disk::Disk;
use crate::world::policy;

const SECONDS: u64 = 400;

/// The memory of an agent that watched `v1` for a while.
pub(crate) fn known_good() -> Disk {
    let mut chance = Chance::new(1);
    let policy = Policy { watch: Duration::from_secs(120), ..policy(1) };
    let mut now = EPOCH - Duration::from_secs(SECONDS + 60);
    let identity = Identity { release: Release::new("v1").expect("a well-formed name"), boot: 1 };
    let (mut engine, effects) = Engine::start(now, identity, policy, Disk::default().memory());
    let mut disk = Disk::default();
    keep(&mut disk, effects);
    keep(&mut disk, engine.step(now, Input::BecameReady));
    for _ in 0..SECONDS {
        let from = now;
        now = now + Duration::from_secs(1);
        let second = Second { health: Health::Well, requests: 18, database: Some(true), stalled: false };
        let window = app::window(&mut chance, from, now, second);
        keep(&mut disk, engine.step(now, Input::Sealed(window)));
    }
    let is_good = disk.releases.values().any(|release| release.standing == Standing::KnownGood);
    assert!(is_good && !disk.baselines.is_empty(), "the first release must be known good");
    disk
}

fn keep(disk: &mut Disk, effects: Vec<Effect>) {
    for effect in effects {
        match effect {
            Effect::KeepBaseline(baseline) => {
                disk.baselines.insert(baseline.release.clone(), Arc::new(*baseline));
            }
            Effect::KeepRelease(release) => {
                disk.releases.insert(release.release.clone(), release);
            }
            Effect::Record(_)
            | Effect::RollBack(_)
            | Effect::AskPlatform { .. }
            | Effect::KeepWatch(_)
            | Effect::KeepFact(_)
            | Effect::KeepPause(_)
            | Effect::SetSlowMark(_)
            | Effect::Tell { .. }
            | Effect::Introduce(_)
            | Effect::Follow(_)
            | Effect::AskMemory(_) => {}
        }
    }
}
