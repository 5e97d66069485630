//! From the journals of a window to the figures by route.

use crate::engine::observation::{Fault, Outcome};
use crate::engine::route::{GROUPS_MAX, GroupId, Routes, Visit};
use crate::engine::time::Time;
use crate::engine::window::{Latencies, RouteWindow, WATCHED_STATUSES};
use crate::recorder::journal::{Journal, Line};

/// The bits of a latency that are kept: an error below 1 %.
const LATENCY_BITS: u32 = 8;

/// Adds journals up by route.
#[derive(Debug)]
pub(super) struct Routing {
    pub(super) routes: Routes,
    counts: Vec<Figures>,
    /// Group and latency of all that was asked; it grows to what the busiest window needed, which the journals bound.
    latencies: Vec<(GroupId, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    ended: u64,
    judged: u64,
    failed: u64,
    watched: [u64; WATCHED_STATUSES.len()],
}

impl Routing {
    pub(super) fn new(routes: Routes) -> Self {
        Self { routes, counts: vec![Figures::default(); GROUPS_MAX], latencies: Vec::new() }
    }

    pub(super) fn begin(&mut self, now: Time) {
        self.routes.begin(now);
        self.counts.fill(Figures::default());
        self.latencies.clear();
    }

    pub(super) fn add(&mut self, journal: &Journal) {
        for line in journal.lines() {
            let Line { path, method, status, outcome, latency_us } = line;
            let group = self.routes.group(&Visit { method, path, status, outcome });
            if let Some(us) = latency_us {
                self.latencies.push((group, rounded(us)));
            }
            let Some(outcome) = outcome else { continue };
            let figures = &mut self.counts[group.index()];
            figures.ended += 1;
            figures.judged += u64::from(outcome.is_judged());
            figures.failed += u64::from(outcome.fault() == Fault::App);
            let watched = WATCHED_STATUSES.iter().position(|&watched| watched == status);
            if let (Some(at), Outcome::Answered | Outcome::ClientLeft) = (watched, outcome) {
                figures.watched[at] += 1;
            }
        }
    }

    /// What was asked in this window, by route. A group whose place was given to another within the window is counted as
    /// that one, which then begins with a few requests that were not its own.
    pub(super) fn windows(&mut self) -> Vec<RouteWindow> {
        self.latencies.sort_unstable();
        let mut windows = Vec::new();
        for slice in self.latencies.chunk_by(|a, b| a.0 == b.0) {
            let pairs =
                slice.chunk_by(|a, b| a == b).map(|run| (run[0].1.into(), run.len() as u64)).collect();
            windows.extend(self.window(slice[0].0, Latencies::new(pairs)));
        }
        for at in self.routes.ids() {
            if self.counts[at.index()].ended > 0 && self.latencies.binary_search_by_key(&at, |l| l.0).is_err()
            {
                windows.extend(self.window(at, Latencies::default()));
            }
        }
        windows
    }

    /// Memory that is held, in bytes, besides the routes.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.counts.capacity() * size_of::<Figures>()
            + self.latencies.capacity() * size_of::<(GroupId, u32)>()
    }

    fn window(&self, id: GroupId, latencies: Latencies) -> Option<RouteWindow> {
        let group = self.routes.get(id)?;
        let Figures { ended, judged, failed, watched } = self.counts[id.index()];
        let (method, route) = (group.method, group.route.clone());
        Some(RouteWindow { method, route, ended, judged, failed, watched, latencies })
    }
}

/// The largest value that shares its first [`LATENCY_BITS`] bits, as histograms have it.
fn rounded(us: u64) -> u32 {
    let us = us.min(u64::from(u32::MAX)) as u32;
    let dropped = (u32::BITS - us.leading_zeros()).saturating_sub(LATENCY_BITS);
    us | ((1u64 << dropped) - 1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_kept_to_two_digits() {
        for us in [0, 1, 99, 127, 128, 1000, 54_321, 3_600_000_000] {
            let kept = u64::from(rounded(us));
            assert!(kept >= us && (kept - us) * 128 <= us, "{us} {kept}");
        }
        assert_eq!(rounded(rounded(54_321).into()), rounded(54_321));
    }
}
