//! Every release that is remembered, with what it has shown: what trends are drawn from.

use serde::Serialize;

use crate::admin::shared::Published;
use crate::admin::view::{BaselineJson, baseline, rfc3339};
use crate::engine::memory::ReleaseMemory;
use crate::engine::snapshot::Snapshot;

/// The releases as the API serves them, the running one first, then the one that became ready last, and so on. At most
/// [`RELEASES_MAX`](crate::engine::memory::RELEASES_MAX) and the running one.
#[derive(Debug, Serialize)]
pub(super) struct ReleasesJson<'a> {
    releases: Vec<ReleaseJson<'a>>,
}

#[derive(Debug, Serialize)]
struct ReleaseJson<'a> {
    release: &'a str,
    /// Whether it is the one that runs now.
    running: bool,
    standing: &'static str,
    /// When it became ready for the first time; of the running one, since when it is ready. `null`: not yet.
    first_ready: Option<String>,
    last_seen: String,
    judged_seconds: Option<f64>,
    judged_requests: Option<u64>,
    /// Crashes that are remembered of it; `null` of the running one, whose restarts the snapshot tells.
    crashes: Option<usize>,
    /// The record of the rollback that put it back, if one did.
    put_back_by: Option<&'a str>,
    /// The platform's deployments that it ran as, the newest last; empty of the running one.
    deployments: Vec<&'a str>,
    /// Its health score, 0 to 1; of one that no longer runs, the last.
    score: Option<f64>,
    /// What it has shown; `null` where nothing was kept.
    figures: Option<BaselineJson<'a>>,
}

/// All releases.
pub(super) fn json(published: &Published) -> ReleasesJson<'_> {
    let engine = &published.live.engine;
    let mut others: Vec<&ReleaseMemory> = engine.others.iter().collect();
    others.sort_by(|a, b| b.first_ready.cmp(&a.first_ready).then_with(|| a.release.cmp(&b.release)));
    ReleasesJson { releases: std::iter::once(running(engine)).chain(others.into_iter().map(other)).collect() }
}

fn running(engine: &Snapshot) -> ReleaseJson<'_> {
    let watch = engine.watch.as_ref();
    ReleaseJson {
        release: engine.release.as_str(),
        running: true,
        standing: engine.standing.label(),
        first_ready: watch.map(|w| rfc3339(w.ready_at)),
        last_seen: rfc3339(engine.at),
        judged_seconds: watch.map(|w| w.judged_for.as_secs_f64()),
        judged_requests: watch.map(|w| w.judged_requests),
        crashes: None,
        put_back_by: None,
        deployments: Vec::new(),
        score: engine.score,
        figures: Some(baseline(&engine.own)),
    }
}

fn other(kept: &ReleaseMemory) -> ReleaseJson<'_> {
    ReleaseJson {
        release: kept.release.as_str(),
        running: false,
        standing: kept.standing.label(),
        first_ready: Some(rfc3339(kept.first_ready)),
        last_seen: rfc3339(kept.last_seen),
        judged_seconds: Some(kept.judged_for.as_secs_f64()),
        judged_requests: Some(kept.judged_requests),
        crashes: Some(kept.crashes.len()),
        put_back_by: kept.put_back_by.as_ref().map(|id| id.as_str()),
        deployments: kept.deployments.iter().map(|deployment| deployment.as_str()).collect(),
        score: kept.score,
        figures: kept.figures.as_deref().map(baseline),
    }
}
