//! What one agent has written down, as its store would hold it, and how what two agents hold becomes one: by union.

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger::engine::baseline::Baseline;
use outrigger::engine::history::{FACTS_MAX, KeptFact, OpenWatch, WatchStart};
use outrigger::engine::memory::{LastAct, Memory, OpenDecision, ReleaseMemory, Standing};
use outrigger::engine::record::{Decision, Happening, Lock, Pause, Progress, Record};
use outrigger::engine::release::{RecordId, Release};
use outrigger::engine::time::Time;

/// A store in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    /// Decisions, locks and what rollbacks led to: nothing else is read again.
    pub(crate) decisions: BTreeMap<RecordId, Arc<Record>>,
    pub(crate) baselines: BTreeMap<Release, Arc<Baseline>>,
    pub(crate) releases: BTreeMap<Release, ReleaseMemory>,
    /// The pause, or that it ended, and when that was said.
    pub(crate) pause: Option<(Time, Option<Pause>)>,
    pub(crate) watch: Option<(WatchStart, Vec<KeptFact>)>,
}

impl Disk {
    pub(crate) fn record(&mut self, record: &Record) {
        let is_kept = matches!(
            record.what,
            Happening::Decided(_)
                | Happening::Locked(_)
                | Happening::Unlocked { .. }
                | Happening::Verified(_)
        );
        if is_kept {
            self.decisions.insert(record.id.clone(), Arc::new(record.clone()));
        }
    }

    pub(crate) fn keep_fact(&mut self, fact: KeptFact) {
        if let Some((start, facts)) = &mut self.watch
            && start.id == fact.watch
            && facts.len() <= FACTS_MAX
        {
            facts.push(fact);
        }
    }

    /// Takes over all that the other has and this one lacks; whether that was anything.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let mut is_new = false;
        for (id, theirs) in &other.decisions {
            let ours = self.decisions.get(id);
            if ours.is_none_or(|ours| rank(ours) < rank(theirs)) {
                self.decisions.insert(id.clone(), Arc::clone(theirs));
                is_new = true;
            }
        }
        for (release, theirs) in &other.baselines {
            let ours = self.baselines.get(release);
            if ours.is_none_or(|ours| (ours.judged, ours.to) < (theirs.judged, theirs.to)) {
                self.baselines.insert(release.clone(), Arc::clone(theirs));
                is_new = true;
            }
        }
        for (release, theirs) in &other.releases {
            match self.releases.get_mut(release) {
                Some(ours) => {
                    let before = ours.clone();
                    join(ours, theirs);
                    is_new |= before != *ours;
                }
                None => {
                    self.releases.insert(release.clone(), theirs.clone());
                    is_new = true;
                }
            }
        }
        if let Some(theirs) = &other.pause
            && self.pause.as_ref().is_none_or(|ours| ours.0 < theirs.0)
        {
            self.pause = Some(theirs.clone());
            is_new = true;
        }
        if let Some((start, facts)) = &other.watch
            && self
                .watch
                .as_ref()
                .is_none_or(|(ours, own)| ours.release == start.release && own.len() < facts.len())
        {
            self.watch = Some((start.clone(), facts.clone()));
            is_new = true;
        }
        is_new
    }

    /// What an engine starts from.
    pub(crate) fn memory(&self) -> Memory {
        let mut releases: Vec<ReleaseMemory> = self.releases.values().cloned().collect();
        releases.sort_by_key(|release| std::cmp::Reverse(release.last_seen));
        let mut baselines: Vec<Baseline> = self.baselines.values().map(|b| Baseline::clone(b)).collect();
        baselines.sort_by_key(|baseline| std::cmp::Reverse(baseline.to));
        let watch = self.watch.clone().map(|(start, facts)| Box::new(OpenWatch { start, facts }));
        let pause = self.pause.as_ref().and_then(|(_, pause)| pause.clone());
        let mut memory = Memory { baselines, releases, pause, watch, lock: self.lock(), ..Memory::default() };
        for record in self.decisions.values() {
            let Some(decided) = record.what.decided().filter(|d| d.decision == Decision::RollBack) else {
                continue;
            };
            let (id, at, from) = (record.id.clone(), record.at, record.release.clone());
            if decided.progress.is_open() {
                memory.open =
                    Some(OpenDecision { id: id.clone(), at, from: from.clone(), decided: decided.clone() });
            }
            if !matches!(decided.progress, Progress::DryRun { .. } | Progress::NothingToDo) {
                memory.acts.insert(0, at);
                memory.last_act = Some(LastAct { id, at, from, to: decided.target.clone() });
            }
        }
        memory.unverified = self.unverified();
        memory
    }

    /// The lock in force is what the newest record says of it.
    fn lock(&self) -> Option<Lock> {
        let told = self.decisions.values().filter_map(|record| {
            if let Happening::Locked(lock) = &record.what {
                return Some((record.at, Some(lock.clone())));
            }
            matches!(record.what, Happening::Unlocked { .. }).then_some((record.at, None))
        });
        told.max_by_key(|(at, _)| *at).and_then(|(_, lock)| lock)
    }

    /// The last rollback that succeeded, if nobody said what it led to.
    fn unverified(&self) -> Option<Box<OpenDecision>> {
        let succeeded = self.decisions.values().rev().find_map(|record| {
            let decided = record.what.decided()?;
            let succeeded = matches!(decided.progress, Progress::Succeeded { .. });
            let (id, at, from) = (record.id.clone(), record.at, record.release.clone());
            succeeded.then(|| OpenDecision { id, at, from, decided: decided.clone() })
        })?;
        let is_said = self
            .decisions
            .values()
            .any(|record| matches!(&record.what, Happening::Verified(of) if of.decision == succeeded.id));
        (!is_said).then(|| Box::new(succeeded))
    }
}

/// What is further along counts.
fn rank(record: &Record) -> u8 {
    match record.what.decided().map(|decided| &decided.progress) {
        None | Some(Progress::Intended) => 0,
        Some(Progress::Accepted { .. }) => 1,
        Some(Progress::Interrupted { .. }) => 2,
        Some(Progress::Failed { .. }) => 3,
        Some(Progress::NothingToDo | Progress::DryRun { .. } | Progress::Succeeded { .. }) => 4,
    }
}

fn join(ours: &mut ReleaseMemory, theirs: &ReleaseMemory) {
    let standing = |r: &ReleaseMemory| match r.standing {
        Standing::OnTrial => 0,
        Standing::KnownGood => 1,
        Standing::RolledBack => 2,
    };
    if standing(theirs) > standing(ours) {
        ours.standing = theirs.standing;
    }
    ours.first_ready = ours.first_ready.min(theirs.first_ready);
    ours.last_seen = ours.last_seen.max(theirs.last_seen);
    ours.judged_for = ours.judged_for.max(theirs.judged_for);
    ours.judged_requests = ours.judged_requests.max(theirs.judged_requests);
    ours.put_back_by = ours.put_back_by.take().or_else(|| theirs.put_back_by.clone());
}
