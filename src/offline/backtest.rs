//! Every stored watch judged again by one policy: what it would have said, and how close healthy releases came to an alarm.
//!
//! It reads the store beside a running agent and changes nothing. It knows nothing of how the outcome is shown.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::engine::diagnosis::Diagnosis;
use crate::engine::history::{self, Fact, KeptFact, WatchStart};
use crate::engine::policy::Policy;
use crate::engine::record::{Decision, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, StreamName, Verdict};
use crate::engine::watch::Judgement;
use crate::offline::replay::{is_degraded, stream_text};
use crate::store::{Archive, ListedWatch, ReadError, StoredWatch};

/// How often the evidence of a watch is looked at, at even distances; a peak between two looks is not seen.
const LOOKS: usize = 16;
/// A limit is raised by this share,
const RAISE_BY: f64 = 0.1;
/// at most so many times (to three times what it was), until no healthy release breaches it. Then none is recommended.
const RAISES_MAX: usize = 12;

/// What the records say of a watch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnRecord {
    /// The last verdict.
    pub verdict: Option<Verdict>,
    /// It was called degraded once.
    pub was_degraded: bool,
    /// A rollback was decided.
    pub rolled_back: bool,
}

/// A watch judged again.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which.
    pub watch: RecordId,
    /// The judged release.
    pub release: Release,
    /// When it began.
    pub began: Time,
    /// Ticks that are stored.
    pub ticks: usize,
    /// Judged requests in them.
    pub requests: u64,
    /// What was said then.
    pub recorded: OnRecord,
    /// What the policy says after the last stored fact.
    pub verdict: Verdict,
    /// And whose fault it is.
    pub diagnosis: Option<Diagnosis>,
    /// When it first calls the release degraded, and by what.
    pub first_degraded: Option<(Time, Breach)>,
    /// When it first blames the release: it would be put back then.
    pub first_blamed: Option<Time>,
    /// The stream whose evidence came closest to its limit, and how close: 1 is the limit. Looked at sixteen times;
    /// `None` without evidence.
    pub closest: Option<(f64, String)>,
    /// Why not all facts could be judged, if so.
    pub gap: Option<String>,
}

/// A limit that is too low for this service.
#[derive(Clone, Debug, PartialEq)]
pub struct Raise {
    /// The option.
    pub option: &'static str,
    /// Its value.
    pub from: f64,
    /// The value with which no stored healthy release breaches it; `None` when even three times the value would not do.
    pub to: Option<f64>,
    /// The healthy watches that breach it now.
    pub watches: Vec<RecordId>,
}

/// All stored watches.
#[derive(Clone, Debug, Default)]
pub struct Backtest {
    /// Newest first.
    pub outcomes: Vec<Outcome>,
    /// Those that cannot be read, and why.
    pub unreadable: Vec<(RecordId, String)>,
    /// What should be raised.
    pub raises: Vec<Raise>,
}

impl Outcome {
    /// The records call it healthy: nothing spoke against the release, then or later. Of which no record tells a verdict is
    /// not known to have been well.
    pub const fn was_well(&self) -> bool {
        self.recorded.verdict.is_some() && !self.was_ill()
    }

    /// The records call it degraded, be it once.
    pub const fn was_ill(&self) -> bool {
        self.recorded.was_degraded || self.recorded.rolled_back
    }
}

/// The stored watches with what the records say of them.
pub struct Stored {
    archive: Mutex<Archive>,
    listed: Vec<ListedWatch>,
    on_record: HashMap<RecordId, OnRecord>,
}

impl Stored {
    /// Reads the list and the records; the watches themselves are read one by one as they are judged.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn read(archive: Archive) -> Result<Self, ReadError> {
        let listed = archive.watches()?;
        let mut on_record: HashMap<RecordId, OnRecord> = HashMap::new();
        for record in archive.pointing()? {
            if let Some(point) = record.what.point() {
                note(&record, on_record.entry(point.watch.clone()).or_default());
            }
        }
        Ok(Self { archive: Mutex::new(archive), listed, on_record })
    }

    /// How many watches there are.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Judges all of them on so many threads; the outcome does not depend on how many. `done` is called after each.
    pub fn judge(&self, policy: &Policy, threads: usize, done: &(dyn Fn() + Sync)) -> Backtest {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut found = Vec::new();
            while let Some(listed) = self.listed.get(next.fetch_add(1, Ordering::Relaxed)) {
                found.push((listed.id.clone(), self.judge_one(listed, policy)));
                done();
            }
            found
        };
        let found: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
            let ends = workers.into_iter().map(|w| w.join().expect("judging does not panic"));
            ends.flatten().collect()
        });
        let mut by_id: HashMap<RecordId, _> = found.into_iter().collect();
        let mut backtest = Backtest::default();
        for listed in &self.listed {
            match by_id.remove(&listed.id) {
                Some(Ok(outcome)) => backtest.outcomes.push(outcome),
                Some(Err(why)) => backtest.unreadable.push((listed.id.clone(), why)),
                None => {}
            }
        }
        backtest.raises = self.raises(&backtest.outcomes, policy);
        backtest
    }

    fn load(&self, id: &RecordId) -> Result<StoredWatch, String> {
        let archive = self.archive.lock().expect("no holder of this lock panics");
        match archive.watch(id) {
            Ok(Some(watch)) => Ok(watch),
            // The agent beside us prunes.
            Ok(None) => Err("it is no longer stored".to_owned()),
            Err(error) => Err(chain(&error)),
        }
    }

    fn judge_one(&self, listed: &ListedWatch, policy: &Policy) -> Result<Outcome, String> {
        let watch = self.load(&listed.id)?;
        let recorded = self.on_record.get(&listed.id).cloned().unwrap_or_default();
        judge(&watch, recorded, policy).ok_or_else(|| "none of its facts is stored".to_owned())
    }

    /// Which limits healthy releases breach, and how high they would have to be. Each limit by itself.
    fn raises(&self, outcomes: &[Outcome], policy: &Policy) -> Vec<Raise> {
        let mut raises: Vec<Raise> = Vec::new();
        for outcome in outcomes.iter().filter(|o| o.was_well() && o.first_blamed.is_some()) {
            let Some((_, breach)) = &outcome.first_degraded else { continue };
            let Some((option, ratio)) = limit_of(breach) else { continue };
            let from = *ratio(&mut policy.clone());
            let at = raises.iter().position(|raise| raise.option == option).unwrap_or_else(|| {
                raises.push(Raise { option, from, to: Some(from), watches: Vec::new() });
                raises.len() - 1
            });
            let raise = &mut raises[at];
            raise.watches.push(outcome.watch.clone());
            if let Some(to) = raise.to {
                raise.to = self.raised(&outcome.watch, policy, (option, ratio), to);
            }
        }
        raises
    }

    /// From `at_least` on, the first value under which this watch does not breach that limit.
    fn raised(
        &self,
        id: &RecordId,
        policy: &Policy,
        (option, ratio): (&'static str, Ratio),
        at_least: f64,
    ) -> Option<f64> {
        let watch = self.load(id).ok()?;
        let mut policy = policy.clone();
        *ratio(&mut policy) = at_least;
        for _ in 0..=RAISES_MAX {
            let judged = history::replay(&watch.start, &watch.facts, &policy);
            let breached = judged.judgements.iter().find_map(|(_, judgement)| breach(judgement));
            if breached.and_then(limit_of).is_none_or(|(breached, _)| breached != option) {
                return Some(*ratio(&mut policy));
            }
            let value = ratio(&mut policy);
            *value = (*value * (1.0 + RAISE_BY) * 100.0).ceil() / 100.0;
        }
        None
    }
}

/// Judges a watch by a policy; `None` when no fact of it is there.
pub fn judge(watch: &StoredWatch, recorded: OnRecord, policy: &Policy) -> Option<Outcome> {
    let StoredWatch { start, facts, gap } = watch;
    let judged = history::replay(start, facts, policy);
    let (_, last) = judged.judgements.last()?;
    let degraded = judged.judgements.iter().find(|(_, judgement)| is_degraded(&judgement.verdict));
    let ticks = facts.iter().filter_map(|kept| match &kept.fact {
        Fact::Tick(tick) => Some(tick.judged),
        Fact::Round(round) => Some(round.candidate.iter().map(|(_, tick)| tick.judged).sum()),
        Fact::Ready | Fact::Exited { .. } | Fact::Restarted => None,
    });
    Some(Outcome {
        watch: start.id.clone(),
        release: start.release.clone(),
        began: start.at,
        ticks: ticks.clone().count(),
        requests: ticks.sum(),
        recorded,
        verdict: last.verdict.clone(),
        diagnosis: last.diagnosis.clone(),
        first_degraded: degraded.and_then(|(_, judgement)| Some((judgement.at, breach(judgement)?.clone()))),
        first_blamed: judged.judgements.iter().find(|(_, j)| j.blames_release()).map(|(_, j)| j.at),
        closest: closest(start, facts, policy),
        gap: gap.clone(),
    })
}

/// How close the evidence came to a limit, and of which stream; `None` where there was none.
fn closest(start: &WatchStart, facts: &[KeptFact], policy: &Policy) -> Option<(f64, String)> {
    let looks = (1..=LOOKS).map(|look| facts.len() * look / LOOKS).filter(|&seen| seen > 0);
    let evidence = looks.flat_map(|seen| history::replay(start, &facts[..seen], policy).evidence);
    let shares = evidence.map(|of| (of.progress(), of)).filter(|(share, _)| *share > 0.0);
    let (share, of) = shares.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some((share, stream_text(&of)))
}

fn note(record: &Record, into: &mut OnRecord) {
    let Some(verdict) = record.what.verdict() else { return };
    into.rolled_back |= record.what.decided().is_some_and(|of| of.decision == Decision::RollBack);
    into.was_degraded |= is_degraded(verdict);
    into.verdict = Some(verdict.clone());
}

const fn breach(judgement: &Judgement) -> Option<&Breach> {
    match &judgement.verdict {
        Verdict::Degraded { breach, .. } => Some(breach),
        Verdict::NotJudgeable(_) | Verdict::Undecided(_) | Verdict::Healthy => None,
    }
}

type Ratio = fn(&mut Policy) -> &mut f64;

/// The option whose value a breach exceeded. Crashes and catastrophes have none that a healthy release would need raised.
fn limit_of(breach: &Breach) -> Option<(&'static str, Ratio)> {
    let found: (&'static str, Ratio) = match breach {
        Breach::Errors | Breach::Route { stream: StreamName::RouteErrors, .. } => {
            ("judge.error_ratio", |policy| &mut policy.error_ratio)
        }
        Breach::Latency(_) | Breach::Route { .. } => {
            ("judge.latency_ratio", |policy| &mut policy.latency_ratio)
        }
        Breach::Status(_) => ("judge.status_ratio", |policy| &mut policy.status_ratio),
        Breach::Resource(_) => ("judge.resource_ratio", |policy| &mut policy.resource_ratio),
        Breach::Crashes | Breach::Catastrophe(_) => return None,
    };
    Some(found)
}

fn chain(error: &ReadError) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
