//! A recorded watch judged again up to a record: by the recorded policy, which must give the same to the bit, or by
//! another, to see what would have been different.
//!
//! It reads the store beside a running agent and changes nothing. It knows nothing of how the outcome is shown.

use crate::engine::diagnosis::Diagnosis;
use crate::engine::history::{self, KeptFact, WatchPoint};
use crate::engine::policy::Policy;
use crate::engine::record::{PassedBy, Record};
use crate::engine::release::RecordId;
use crate::engine::time::Time;
use crate::engine::verdict::{StreamEvidence, StreamName, Verdict};
use crate::engine::watch::Judgement;
use crate::store::{Archive, ReadError, StoredWatch};

/// A record cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be read.
    #[error("read record `{record}`")]
    Read {
        /// What was looked for.
        record: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// There is no such record.
    #[error("there is no record `{record}`; `outrigger history` lists those that there are")]
    NoRecord {
        /// What was looked for.
        record: String,
    },
    /// The record says nothing of a watch.
    #[error(
        "record `{record}` is of kind `{kind}` and rests on no recorded watch; replay one of a decision or of a changed \
         verdict"
    )]
    NoPoint {
        /// The record.
        record: RecordId,
        /// Its kind.
        kind: &'static str,
    },
    /// The watch is no longer stored.
    #[error("the watch `{watch}` is no longer stored; only the newest are kept (option store.evidence_max)")]
    NoWatch {
        /// The watch.
        watch: RecordId,
    },
    /// The watch is not whole up to the record.
    #[error(
        "of the {needed} facts of the watch `{watch}` up to the record only {found} can be judged again: {why}"
    )]
    NotWhole {
        /// The watch.
        watch: RecordId,
        /// Facts up to the record.
        needed: u32,
        /// Facts that are there, from the first on.
        found: usize,
        /// What happened to the next.
        why: String,
    },
}

/// What a record says was thought.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The verdict.
    pub verdict: Verdict,
    /// The diagnosis and the evidence; only decisions say them.
    pub rest: Option<(Option<Diagnosis>, Vec<StreamEvidence>)>,
}

/// What is thought when it is judged again.
#[derive(Clone, Debug)]
pub struct Again {
    /// The judgement at the record's point.
    pub judgement: Judgement,
    /// The evidence then.
    pub evidence: Vec<StreamEvidence>,
    /// In all facts that are stored, also those after the point: the first judgement that calls the release degraded.
    pub first_degraded: Option<Judgement>,
    /// And the first that would put the former release back.
    pub first_blamed: Option<Judgement>,
    /// When the watch was passed, and by what.
    pub passed: Option<(Time, PassedBy)>,
}

/// Something that did not come out as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of what.
    pub what: String,
    /// As recorded.
    pub recorded: String,
    /// As judged again.
    pub again: String,
}

/// A record with the watch that it rests on.
#[derive(Clone, Debug)]
pub struct Case {
    /// The record.
    pub record: Record,
    /// The watch, whole at least up to the point.
    pub watch: StoredWatch,
    /// After which fact the record was made.
    pub point: WatchPoint,
    /// What it says.
    pub recorded: Recorded,
}

impl Case {
    /// Reads a record and its watch. `record` is its id or the beginning of it.
    ///
    /// # Errors
    ///
    /// It is not there, rests on no watch, or that one is no longer whole.
    pub fn read(archive: &Archive, record: &str) -> Result<Self, ReplayError> {
        let read = |source| ReplayError::Read { record: record.to_owned(), source };
        let found = archive.record(record).map_err(read)?;
        let found = found.ok_or_else(|| ReplayError::NoRecord { record: record.to_owned() })?;
        let (Some(point), Some(recorded)) = (found.what.point().cloned(), recorded(&found)) else {
            let kind = kind(&found);
            return Err(ReplayError::NoPoint { record: found.id, kind });
        };
        let watch = archive.watch(&point.watch).map_err(read)?;
        let watch = watch.ok_or_else(|| ReplayError::NoWatch { watch: point.watch.clone() })?;
        if point.seq == 0 || watch.facts.len() < point.seq as usize {
            let why = match &watch.gap {
                _ if point.seq == 0 => "it was made before the first".to_owned(),
                Some(gap) => gap.clone(),
                None => "the last ones were never stored".to_owned(),
            };
            let (watch, needed, found) = (point.watch, point.seq, watch.facts.len());
            return Err(ReplayError::NotWhole { watch, needed, found, why });
        }
        Ok(Self { record: found, watch, point, recorded })
    }

    /// The facts up to the record.
    pub fn facts(&self) -> &[KeptFact] {
        &self.watch.facts[..self.point.seq as usize]
    }

    /// Judges the watch again.
    pub fn judge(&self, policy: &Policy) -> Again {
        let to_point = history::replay(&self.watch.start, self.facts(), policy);
        let whole = history::replay(&self.watch.start, &self.watch.facts, policy);
        let (_, judgement) =
            to_point.judgements.into_iter().next_back().expect("a case holds the facts up to its point");
        let judgements = || whole.judgements.iter().map(|(_, judgement)| judgement);
        Again {
            judgement,
            evidence: to_point.evidence,
            first_degraded: judgements().find(|j| is_degraded(&j.verdict)).cloned(),
            first_blamed: judgements().find(|j| j.blames_release()).cloned(),
            passed: whole.passed,
        }
    }

    /// What of `again` is not, to the bit, what was recorded.
    pub fn differences(&self, again: &Again) -> Vec<Difference> {
        let mut differences = Vec::new();
        compare("verdict", &self.recorded.verdict, &again.judgement.verdict, &mut differences);
        let Some((diagnosis, evidence)) = &self.recorded.rest else { return differences };
        compare("diagnosis", diagnosis, &again.judgement.diagnosis, &mut differences);
        for (was, is) in paired(evidence, &again.evidence) {
            let of = was.or(is).map(stream_text).unwrap_or_default();
            compare(&format!("evidence of {of}"), &was, &is, &mut differences);
        }
        differences
    }
}

/// Whether the verdict is that the release is degraded.
pub const fn is_degraded(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Degraded { .. })
}

/// A stream by its name, with its route.
pub fn stream_text(of: &StreamEvidence) -> String {
    of.route
        .as_ref()
        .map_or_else(|| of.name.label().to_owned(), |route| format!("{} {route}", of.name.label()))
}

/// The same streams side by side: all of the first in their order, then what only the second holds.
pub fn paired<'a>(
    first: &'a [StreamEvidence],
    second: &'a [StreamEvidence],
) -> Vec<(Option<&'a StreamEvidence>, Option<&'a StreamEvidence>)> {
    let key = |e: &'a StreamEvidence| -> (StreamName, Option<&'a str>) { (e.name, e.route.as_deref()) };
    let find = |all: &'a [StreamEvidence], of| all.iter().find(|&e| key(e) == key(of));
    let both = first.iter().map(|was| (Some(was), find(second, was)));
    let new = second.iter().filter(|is| find(first, is).is_none()).map(|is| (None, Some(is)));
    both.chain(new).collect()
}

/// By their debug form: it tells any two figures apart that are not the same to the bit, and minus zero from zero.
fn compare<T: std::fmt::Debug>(what: &str, recorded: &T, again: &T, into: &mut Vec<Difference>) {
    let (recorded, again) = (format!("{recorded:?}"), format!("{again:?}"));
    if recorded != again {
        into.push(Difference { what: what.to_owned(), recorded, again });
    }
}

fn recorded(record: &Record) -> Option<Recorded> {
    let verdict = record.what.verdict()?.clone();
    let rest = record.what.decided().map(|decided| (decided.diagnosis.clone(), decided.evidence.clone()));
    Some(Recorded { verdict, rest })
}

fn kind(record: &Record) -> &'static str {
    crate::store::wire::HappeningDoc::from(&record.what).kind()
}
