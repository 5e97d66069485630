//! What a rollback led to, judged in reverse: the release that was put back is watched until it looks well for long enough,
//! or does not.

use crate::engine::memory::OpenDecision;
use crate::engine::record::{Happening, Outcome, Verified};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{StreamEvidence, StreamName, Verdict};
use crate::engine::{Effect, Engine};

/// Before a release is said to have recovered so many of its requests must have been judged.
const REQUESTS_MIN: u64 = 50;
/// The share of bad requests, or the figure, that was seen before the rollback may grow by this much, and is no worse.
const NO_WORSE: f64 = 1.5;
/// Of several agents the first says what it found; each further one says so only after so many seconds more.
const STAGGER_S: u64 = 15;

/// A rollback that put the running release back, and what is needed to say what it led to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aftermath {
    decision: OpenDecision,
    /// From when, and after how many judged requests; `None` until its app was ready and judged.
    begun: Option<(Time, u64)>,
}

impl Aftermath {
    pub(crate) fn id(&self) -> &RecordId {
        &self.decision.id
    }
}

impl Engine {
    /// The last rollback that succeeded, where nobody said yet what it led to.
    pub(super) fn look_after(&mut self, unverified: Option<Box<OpenDecision>>) {
        let is_of_this = |of: &OpenDecision| of.decided.target.as_ref() == Some(&self.own.release);
        match unverified.filter(|of| is_of_this(of)) {
            Some(decision) if self.aftermath.as_ref().is_some_and(|known| *known.id() == decision.id) => {}
            Some(decision) => {
                self.aftermath = Some(Box::new(Aftermath { decision: *decision, begun: None }));
            }
            None => self.aftermath = None,
        }
    }

    /// After each tick: can it be said?
    pub(super) fn verify(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.aftermath.is_none() || self.trial.ready_at().is_none() {
            return;
        }
        let judged = self.weighed_requests();
        let Some(aftermath) = &mut self.aftermath else { return };
        let (since, from) = *aftermath.begun.get_or_insert((now, judged));
        let aftermath = aftermath.clone();
        let found = match &self.verdict {
            Verdict::Degraded { .. } => Some(self.compare(&aftermath.decision)),
            Verdict::Healthy | Verdict::Undecided(_) | Verdict::NotJudgeable(_) => {
                let requests = judged.saturating_sub(from);
                let is_long = now.since(since) >= self.policy.confirm;
                if is_long && requests >= REQUESTS_MIN && !self.is_still_ill(&aftermath.decision) {
                    let length = humantime::format_duration(self.policy.confirm);
                    Some((
                        Outcome::Recovered,
                        format!("{requests} requests in {length} were no worse than the baseline"),
                    ))
                } else if now.since(since) >= self.policy.confirm_max {
                    let length = humantime::format_duration(self.policy.confirm_max);
                    Some((
                        Outcome::Unclear,
                        format!(
                            "{requests} requests in {length} are too few to tell, or neither well nor ill"
                        ),
                    ))
                } else {
                    None
                }
            }
        };
        let waited = now.since(since).as_secs() >= self.policy.confirm.as_secs() + self.turn() * STAGGER_S;
        let is_turn = self.turn() == 0 || waited;
        if let Some((outcome, detail)) = found.filter(|_| is_turn) {
            let OpenDecision { id, from, .. } = aftermath.decision;
            let verified = Verified { decision: id, from, outcome, detail };
            self.aftermath = None;
            effects.push(self.note(now, Happening::Verified(verified)));
        }
    }

    /// Requests of this release that were weighed. What it learns lags behind that.
    fn weighed_requests(&self) -> u64 {
        let errors = |of: &StreamEvidence| of.name == StreamName::Errors && of.route.is_none();
        self.trial.evidence(&self.policy).into_iter().find(errors).map_or(0, |of| of.requests)
    }

    /// Which of the agents of this deployment this one is, by their names.
    fn turn(&self) -> u64 {
        let Some(fleet) = &self.fleet else { return 0 };
        fleet.siblings().filter(|sibling| sibling.peer < fleet.setup.me).count() as u64
    }

    /// What was wrong before is beyond its limit still, although that is no proof yet.
    fn is_still_ill(&self, before: &OpenDecision) -> bool {
        let now = self.trial.evidence(&self.policy);
        let accused = worst(&before.decided.evidence);
        accused.is_some_and(|was| {
            let is = now.iter().find(|is| is.name == was.name && is.route == was.route);
            is.is_some_and(|is| {
                is.recent_share.is_some_and(|share| share > is.p0 * 2.0 && share > 0.5 * bad_share(was))
            })
        })
    }

    fn compare(&self, before: &OpenDecision) -> (Outcome, String) {
        let now = self.trial.evidence(&self.policy);
        let (Some(was), Some(is)) = (worst(&before.decided.evidence), worst(&now)) else {
            return (Outcome::NoChange, format!("{} is degraded too", self.own.release));
        };
        let now_of_was = now.iter().find(|of| of.name == was.name && of.route == was.route);
        let still = now_of_was.filter(|of| of.progress() >= 1.0 || is.name == of.name);
        match still {
            Some(of) if bad_share(of) > NO_WORSE * bad_share(was) => {
                (Outcome::Worse, figures(&before.from, &self.own.release, was, of))
            }
            Some(of) => (Outcome::NoChange, figures(&before.from, &self.own.release, was, of)),
            None => {
                let what = is.label();
                (Outcome::Worse, format!("{what} is wrong with {} now, and was not before", self.own.release))
            }
        }
    }
}

/// The stream whose evidence went furthest.
fn worst(evidence: &[StreamEvidence]) -> Option<&StreamEvidence> {
    // Failures say more than slowness where both are beyond their limits.
    let rank = |of: &&StreamEvidence| (of.progress(), of.name == StreamName::Errors, bad_share(of));
    evidence.iter().max_by(|a, b| {
        let (a, b) = (rank(a), rank(b));
        a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2))
    })
}

fn bad_share(of: &StreamEvidence) -> f64 {
    of.recent_share.unwrap_or(0.0)
}

fn figures(from: &Release, to: &Release, was: &StreamEvidence, is: &StreamEvidence) -> String {
    let percent = |of: &StreamEvidence| 100.0 * bad_share(of);
    format!("{}: {:.1} % bad with {to}, {:.1} % with {from}", is.label(), percent(is), percent(was))
}
