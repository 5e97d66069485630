//! Deployments for tests: `good` was replaced by `bad`, which is live and ours.

use crate::engine::peer;
use crate::engine::record::Known;
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::platform::railway::deployment::{Deployment, Image, Status};
use crate::platform::railway::examination::Manifest;

pub(super) fn release(name: &str) -> Release {
    Release::new(name).unwrap()
}

/// Removed, restorable, made at that minute from that commit, with a digest that goes with it.
pub(super) fn deployment(id: &str, minute: u64, commit: &str) -> Deployment {
    Deployment {
        id: id.to_owned(),
        status: Status::Removed,
        created_at: Some(Time::from_millis(minute * 60_000)),
        status_at: Some(Time::from_millis((minute + 1) * 60_000)),
        can_rollback: true,
        can_redeploy: true,
        image: Image { commit: Some(commit.to_owned()), digest: Some(format!("sha256:{commit}")) },
        manifest: Manifest::default(),
        running: 0,
        up: 0,
        down: 0,
    }
}

pub(super) fn named(ids: &[&str]) -> Vec<peer::Deployment> {
    ids.iter().map(|id| peer::Deployment::new(id).unwrap()).collect()
}

/// `bad-1` is ours, `good` ran as `good-1` and `good-2`, `worse` was rolled back.
pub(super) fn known() -> Known {
    Known {
        own: Some((peer::Deployment::new("bad-1").unwrap(), release("bad"))),
        releases: vec![
            (release("worse"), named(&["worse-1"])),
            (release("good"), named(&["good-1", "good-2"])),
            (release("bad"), named(&["bad-1"])),
        ],
        target: Some(release("good")),
        quarantined: vec![release("worse")],
    }
}
