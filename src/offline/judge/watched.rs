//! The watch: round by round, and what is to be said at its end.

use crate::engine::baseline::{Baseline, BaselineSummary};
use crate::engine::diagnosis::Diagnosis;
use crate::engine::policy::Policy;
use crate::engine::release::Release;
use crate::engine::tick::{Round, Tick};
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, StreamEvidence, Verdict};
use crate::engine::watch::{Judgement, Watch};
use crate::offline::judge::fault::Faults;
use crate::offline::judge::history;
use crate::offline::judge::recording::seconds;
use crate::offline::judge::rounds::{Recorded, Recording, place};

/// A candidate whose first tick ends later than this, in milliseconds, has the time of a clock: 30 days.
const FIRST_T_MAX_MS: u64 = 30 * 24 * 3600 * 1000;

/// Recordings that fit together.
#[derive(Clone, Debug)]
pub struct Inputs {
    baseline: Recording,
    candidate: Recording,
    control: Option<Recording>,
}

impl Inputs {
    /// Holds the recordings against each other. `candidate` and `control` come with the names that faults call them by.
    ///
    /// `None` with a fault. A baseline may hold nothing: then nothing is judgeable.
    pub fn new(
        baseline: Recording,
        candidate: (&str, Recording),
        control: Option<(&str, Recording)>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let (name, candidate) = candidate;
        if candidate.rounds.is_empty() {
            faults.whole(name, "holds no tick; give at least one line");
        }
        if candidate.rounds.first().is_some_and(|round| round.millis > FIRST_T_MAX_MS) {
            let text = "begins more than 30 days after its start; count t from when the release became ready";
            faults.whole(name, text);
        }
        if let Some((control_name, control)) = &control {
            let meets = |round: &Recorded| candidate.at(round.millis).is_some();
            if control.rounds.is_empty() {
                faults.whole(
                    control_name,
                    "holds no tick; leave --control out where nothing runs beside the candidate",
                );
            } else if !candidate.rounds.is_empty() && !control.rounds.iter().any(meets) {
                let text =
                    format!("has no t that {name} has; count the t of both from the candidate's start");
                faults.whole(control_name, &text);
            }
        }
        let control = control.map(|(_, control)| control);
        faults.is_empty().then_some(Self { baseline, candidate, control })
    }

    /// How many ticks of the candidate there are to judge.
    pub const fn ticks(&self) -> usize {
        self.candidate.rounds.len()
    }
}

impl Recording {
    fn at(&self, millis: u64) -> Option<&Recorded> {
        let at = self.rounds.binary_search_by_key(&millis, |round| round.millis).ok()?;
        Some(&self.rounds[at])
    }
}

/// One tick, judged.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The t of its end, in seconds.
    pub t: f64,
    /// What is thought after it.
    pub judgement: Judgement,
    /// How far each stream has come.
    pub evidence: Vec<StreamEvidence>,
    /// What all live replicas of the candidate saw in it.
    pub tick: Tick,
}

impl Moment {
    /// How far the stream nearest to its limit has come, from 0 to 1.
    pub fn progress(&self) -> f64 {
        self.evidence.iter().map(StreamEvidence::progress).fold(0.0, f64::max)
    }
}

/// What was passed, whose fault that is, and when it was first said.
#[derive(Clone, Debug)]
pub struct Accusation {
    /// The t of the tick after which it was said, in seconds.
    pub t: f64,
    /// What was passed.
    pub breach: Breach,
    /// Whose fault it is.
    pub diagnosis: Option<Diagnosis>,
    /// The evidence at that time.
    pub evidence: Vec<StreamEvidence>,
    /// The watch had been passed before.
    pub is_past_watch: bool,
}

/// What is to be said of the whole.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The verdict at the end.
    pub verdict: Verdict,
    /// The diagnosis at the end.
    pub diagnosis: Option<Diagnosis>,
    /// The health score at the end.
    pub score: Option<f64>,
    /// Ticks judged.
    pub ticks: u64,
    /// The candidate's requests,
    pub requests: u64,
    /// and those that failed.
    pub errors: u64,
    /// The t of the last tick, in seconds.
    pub last_t: f64,
    /// The first time that the candidate was called degraded.
    pub first_degraded: Option<Accusation>,
    /// The first time that the candidate was to blame: here it would have been put back.
    pub blamed: Option<Accusation>,
    /// The first time that the hold for a worse dependency was over while the candidate was young: here it would have been
    /// put back as the smaller harm, although it is not known to be at fault.
    pub hold_over: Option<Accusation>,
    /// When the watch was passed, in seconds.
    pub passed_at: Option<f64>,
    /// The evidence at the end.
    pub evidence: Vec<StreamEvidence>,
    /// What it was held against.
    pub baseline: BaselineSummary,
    /// What a reader should know of the recordings.
    pub notes: Vec<String>,
}

/// A watch under way: an iterator over judged ticks.
pub struct Judging {
    watch: Watch,
    inputs: Inputs,
    next: usize,
    ready_at: Time,
    baseline: BaselineSummary,
    /// Ticks for which the control has no line.
    alone: u64,
    last: Option<(Judgement, f64)>,
    requests: u64,
    errors: u64,
    first_degraded: Option<Accusation>,
    blamed: Option<Accusation>,
    hold_over: Option<Accusation>,
    /// Up to which t a candidate is young.
    young_until: f64,
}

impl Judging {
    /// Begins when the candidate became ready: at t = 0.
    pub fn begin(inputs: Inputs, policy: Policy) -> Self {
        let baseline = history::baseline(&inputs.baseline);
        // The candidate's time goes on where the baseline's ended.
        let ready_at = baseline.to;
        let summary = Baseline::summary(&baseline);
        let candidate = Release::new("candidate").expect("the name is visible ASCII");
        let young_until = policy.hold_blames_until.as_secs_f64();
        let baseline_or_none = (baseline.all_ticks > 0).then_some(baseline);
        Self {
            watch: Watch::begin(ready_at, candidate, baseline_or_none, policy),
            inputs,
            next: 0,
            ready_at,
            baseline: summary,
            alone: 0,
            last: None,
            requests: 0,
            errors: 0,
            first_degraded: None,
            blamed: None,
            hold_over: None,
            young_until,
        }
    }

    /// A time of the engine's as t, in seconds.
    pub const fn t(&self, at: Time) -> f64 {
        seconds(at.as_millis().saturating_sub(self.ready_at.as_millis()))
    }

    fn round(&mut self) -> Option<(u64, Round)> {
        let recorded = self.inputs.candidate.rounds.get(self.next)?;
        self.next += 1;
        let mut candidate = recorded.replicas.clone();
        candidate.iter_mut().for_each(|(_, tick)| place(tick, self.ready_at));
        let control =
            self.inputs.control.as_ref().map(|control| match control.at(recorded.millis) {
                Some(beside) => beside.pooled(self.ready_at),
                None => {
                    self.alone += 1;
                    let mut nothing = recorded.replicas.first().map_or_else(Tick::default, |(_, tick)| {
                        Tick { from: tick.from, to: tick.to, ..Tick::default() }
                    });
                    place(&mut nothing, self.ready_at);
                    nothing
                }
            });
        Some((recorded.millis, Round { candidate, control }))
    }

    fn accuse(&mut self, moment: &Moment) {
        let Verdict::Degraded { breach, .. } = &moment.judgement.verdict else { return };
        let accusation = || Accusation {
            t: moment.t,
            breach: breach.clone(),
            diagnosis: moment.judgement.diagnosis.clone(),
            evidence: moment.evidence.clone(),
            is_past_watch: self.watch.passed_at().is_some_and(|passed| passed < moment.judgement.at),
        };
        if self.first_degraded.is_none() {
            self.first_degraded = Some(accusation());
        }
        if self.blamed.is_none() && moment.judgement.blames_release() {
            self.blamed = Some(accusation());
        }
        let is_over =
            matches!(moment.judgement.diagnosis, Some(Diagnosis::Dependency { hold_ended: true, .. }));
        if self.hold_over.is_none() && is_over && moment.t < self.young_until {
            self.hold_over = Some(accusation());
        }
    }

    /// What is to be said of the ticks judged so far; `None` before the first.
    pub fn summary(&self) -> Option<Summary> {
        let (judgement, last_t) = self.last.clone()?;
        Some(Summary {
            verdict: judgement.verdict,
            diagnosis: judgement.diagnosis,
            score: judgement.score,
            ticks: self.next as u64,
            requests: self.requests,
            errors: self.errors,
            last_t,
            first_degraded: self.first_degraded.clone(),
            blamed: self.blamed.clone(),
            hold_over: self.hold_over.clone(),
            passed_at: self.watch.passed_at().map(|at| self.t(at)),
            evidence: self.watch.evidence(),
            baseline: self.baseline.clone(),
            notes: self.notes(),
        })
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (baseline, candidate) = (self.inputs.baseline.tick, self.inputs.candidate.tick);
        if baseline != candidate
            && self.inputs.baseline.rounds.len() > 1
            && self.inputs.candidate.rounds.len() > 1
        {
            notes.push(format!(
                "the baseline's ticks are {} s long and the candidate's {} s: how clumped errors are cannot be compared",
                baseline.as_secs_f64(),
                candidate.as_secs_f64()
            ));
        }
        if self.alone > 0 {
            notes.push(format!("the control has no line for {} of {} ticks", self.alone, self.next));
        }
        notes
    }
}

impl Iterator for Judging {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        let (millis, round) = self.round()?;
        let now = self.ready_at + std::time::Duration::from_millis(millis);
        let judgement = self.watch.see(now, &round);
        let moment =
            Moment { t: seconds(millis), judgement, evidence: self.watch.evidence(), tick: round.pooled() };
        self.requests += moment.tick.judged;
        self.errors += moment.tick.failed;
        self.accuse(&moment);
        self.last = Some((moment.judgement.clone(), moment.t));
        Some(moment)
    }
}
