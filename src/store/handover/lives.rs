//! What several agents remember of one release, put together.
//!
//! A release may live more than once: it is rolled back, deployed again and tried anew. Agents of one deployment become
//! ready at different moments, so a later beginning alone is no new life; one after the release was last seen as rolled
//! back is. What is known is therefore kept by beginning, and counts only if no rollback is known that came later. In
//! this form it is a set that only grows, and in which order it was told changes nothing.

use std::collections::BTreeMap;

use crate::engine::memory::{CRASHES_MAX, DEPLOYMENTS_MAX, ReleaseMemory, Standing};
use crate::engine::time::Time;
use crate::store::rows::json;
use crate::store::wire::ReleaseDoc;
use crate::store::wire::text::Figure;

/// Beginnings that are told apart. At the bound the two earliest count as one: a rollback between them would be held against
/// both.
pub(super) const LIVES_MAX: usize = 16;

/// All accounts of one release.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lives {
    /// All that a rollback put an end to.
    ended: Option<ReleaseMemory>,
    /// What began later, by when it did.
    going: BTreeMap<Time, ReleaseMemory>,
}

impl Lives {
    /// From accounts in any order.
    pub(super) fn of(accounts: impl IntoIterator<Item = ReleaseMemory>) -> Self {
        let mut lives = Self::default();
        accounts.into_iter().for_each(|account| lives.add(account));
        lives.settle();
        lives
    }

    /// Each account that must be kept, the ended one first.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &ReleaseMemory> {
        self.ended.iter().chain(self.going.values())
    }

    /// What the engine is told; `None` where there is no account at all.
    pub(super) fn view(&self) -> Option<ReleaseMemory> {
        let going = self.going.values().cloned().reduce(join);
        going.or_else(|| self.ended.clone())
    }

    fn add(&mut self, mut account: ReleaseMemory) {
        // As in `join`: one account joined with itself is itself.
        account.deployments.sort_unstable();
        account.deployments.dedup();
        if account.standing == Standing::RolledBack {
            self.end(account);
            return;
        }
        let at = account.first_ready;
        let joined = match self.going.remove(&at) {
            Some(before) => join(before, account),
            None => account,
        };
        self.going.insert(at, joined);
    }

    fn end(&mut self, account: ReleaseMemory) {
        let mut joined = match self.ended.take() {
            Some(before) => join(before, account),
            None => account,
        };
        joined.standing = Standing::RolledBack;
        self.ended = Some(joined);
    }

    /// Whatever began before the release was last seen as rolled back was rolled back with it.
    fn settle(&mut self) {
        while let Some((at, end)) =
            self.going.keys().next().copied().zip(self.ended.as_ref().map(|e| e.last_seen))
            && at <= end
        {
            let account = self.going.remove(&at).expect("its key was just read");
            self.end(account);
        }
        while self.going.len() > LIVES_MAX {
            let (first, earliest) = self.going.pop_first().expect("there are many");
            let (_, next) = self.going.pop_first().expect("there are many");
            self.going.insert(first, join(earliest, next));
        }
    }
}

/// What two accounts of the same life come to: commutative, associative and idempotent.
fn join(a: ReleaseMemory, b: ReleaseMemory) -> ReleaseMemory {
    let later = if figures_rank(&a) >= figures_rank(&b) { &a } else { &b };
    let mut crashes = [a.crashes.as_slice(), &b.crashes].concat();
    crashes.sort_unstable();
    crashes.dedup();
    crashes.drain(..crashes.len().saturating_sub(CRASHES_MAX));
    // By time they would not be the same at every agent: by name they are.
    let mut deployments = [a.deployments.as_slice(), &b.deployments].concat();
    deployments.sort_unstable();
    deployments.dedup();
    deployments.drain(..deployments.len().saturating_sub(DEPLOYMENTS_MAX));
    ReleaseMemory {
        release: a.release.clone(),
        first_ready: a.first_ready.min(b.first_ready),
        last_seen: a.last_seen.max(b.last_seen),
        standing: if standing_rank(a.standing) >= standing_rank(b.standing) {
            a.standing
        } else {
            b.standing
        },
        judged_for: a.judged_for.max(b.judged_for),
        judged_requests: a.judged_requests.max(b.judged_requests),
        crashes,
        figures: later.figures.clone(),
        score: later.score,
        put_back_by: a.put_back_by.clone().max(b.put_back_by.clone()),
        deployments,
        schemas: later.schemas.clone(),
    }
}

const fn standing_rank(standing: Standing) -> u8 {
    match standing {
        Standing::OnTrial => 0,
        Standing::KnownGood => 1,
        Standing::RolledBack => 2,
    }
}

/// The figures that were seen last; of two at once, either, but always the same.
fn figures_rank(of: &ReleaseMemory) -> (Time, String) {
    let doc = ReleaseDoc::from(of);
    (of.last_seen, json(&(doc.figures, of.score.map(Figure), doc.schemas)))
}
