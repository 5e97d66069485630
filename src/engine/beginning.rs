//! How an agent begins: what is remembered of the release that runs, what it is held against, and whether a watch that was
//! under way can be gone on with.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::history::{FACTS_MAX, OpenWatch, WatchPoint};
use crate::engine::memory::{LastAct, RELEASES_MAX, ReleaseMemory, Standing};
use crate::engine::policy::Policy;
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::engine::trial::Trial;

/// What is remembered of a release that runs from now on. A release that was rolled back and comes again is tried again
/// from the beginning.
pub(crate) fn remember(now: Time, release: &Release, known: Option<ReleaseMemory>) -> ReleaseMemory {
    let fresh = ReleaseMemory {
        release: release.clone(),
        first_ready: now,
        last_seen: now,
        standing: Standing::OnTrial,
        judged_for: Duration::ZERO,
        judged_requests: 0,
        crashes: Vec::new(),
        put_back_by: None,
        figures: None,
        score: None,
        deployments: Vec::new(),
        schemas: BTreeMap::new(),
    };
    match known {
        Some(known) if known.standing != Standing::RolledBack => ReleaseMemory { last_seen: now, ..known },
        Some(known) => ReleaseMemory { deployments: known.deployments, ..fresh },
        None => fresh,
    }
}

/// Whether the stored watch is this release's own and can be gone on with: judged by the same policy, and not so long that
/// starting would take its time.
pub(crate) fn may_go_on(open: &OpenWatch, now: Time, own: &ReleaseMemory, policy: &Policy) -> bool {
    let start = &open.start;
    let is_whole = open.facts.len() <= FACTS_MAX
        && open.facts.iter().zip(1..).all(|(fact, seq)| fact.seq == seq && fact.at <= now);
    start.release == own.release
        && start.first_ready == own.first_ready
        && start.policy == *policy
        && is_whole
}

/// Goes on with a watch: every fact of it is weighed again.
pub(crate) fn take_up(open: &OpenWatch) -> (Trial, WatchPoint) {
    let mut trial = open.start.trial();
    for kept in &open.facts {
        kept.fact.apply(kept.at, &mut trial, &open.start.policy);
    }
    let seq = open.facts.last().map_or(0, |fact| fact.seq);
    (trial, WatchPoint { watch: open.start.id.clone(), seq })
}

/// After a step back of the wall clock what is remembered may lie in the future; it counts as now.
pub(crate) fn no_later_than(now: Time, releases: &mut [ReleaseMemory], last_act: &mut Option<LastAct>) {
    for release in releases {
        release.last_seen = release.last_seen.min(now);
        release.first_ready = release.first_ready.min(now);
        release.crashes.retain(|&at| at <= now);
    }
    if let Some(act) = last_act {
        act.at = act.at.min(now);
    }
}

/// The baseline to freeze, and the running release's own.
///
/// A release that is known good is weighed against its own history, a release on trial against that of the last other
/// release that was known good.
pub(crate) fn choose(
    now: Time,
    own: &ReleaseMemory,
    others: &[ReleaseMemory],
    baselines: Vec<Baseline>,
    policy: &Policy,
) -> (Option<Baseline>, Baseline) {
    debug_assert!(others.len() <= RELEASES_MAX);
    let mine = baselines.iter().find(|b| b.release == own.release).cloned();
    let is_good =
        |b: &&Baseline| others.iter().any(|r| r.release == b.release && r.standing == Standing::KnownGood);
    // A newer one that is too small to judge by does not stand in the way of an older one that is not.
    let is_enough = |b: &Baseline| b.judged >= policy.baseline_requests_min;
    let frozen = match own.standing {
        Standing::KnownGood => mine.clone(),
        Standing::OnTrial | Standing::RolledBack => {
            baselines.iter().filter(is_good).max_by_key(|b| (is_enough(b), b.to)).cloned()
        }
    };
    (frozen, mine.unwrap_or_else(|| Baseline::empty(own.release.clone(), now)))
}
