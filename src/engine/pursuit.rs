//! A rollback under way: from the intent to its end, across the death of whoever ordered it.
//!
//! When the restored release goes live, the accused release's agents are killed, and the one that gave the order with
//! them. So an open rollback is an obligation that lies in the store, and whichever agent opens that store next takes it up
//! in one of three roles. In none of them is the order ever given again: a lost reply is resolved by asking the platform.

use std::time::Duration;

use crate::engine::Effect;
use crate::engine::memory::{LastAct, OpenDecision};
use crate::engine::policy::Policy;
use crate::engine::record::{
    Acted, Decided, Decision, Happening, Live, Order, Progress, Reason, Record, STEPS_MAX, StepTaken,
};
use crate::engine::release::{RecordId, Release};
use crate::engine::snapshot::DecisionView;
use crate::engine::time::Time;

/// Whoever takes a rollback up has at least so long to see what became of it.
const LOOK_AROUND: Duration = Duration::from_secs(30);

/// What this agent is to the rollback under way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    /// It runs beside the accused release and gave the order.
    Accuser,
    /// It runs beside the accused release and found the order in the store.
    Heir,
    /// It runs beside the release that was put back.
    Restored,
    /// It runs beside a third release.
    Stranger,
}

/// A rollback under way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pursuit {
    id: RecordId,
    at: Time,
    from: Release,
    to: Release,
    decided: Decided,
    role: Role,
    deadline: Time,
    /// Why the platform could not say what is live when it was asked last.
    unanswered: Option<String>,
}

/// How a pursuit goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// It is still open.
    Open,
    /// It came to an end.
    Ended,
}

impl Pursuit {
    /// Begins with a decision just made.
    pub(crate) fn begin(
        id: RecordId,
        now: Time,
        from: Release,
        decided: Decided,
        policy: &Policy,
    ) -> Option<Self> {
        let to = decided.target.clone()?;
        let deadline = now + policy.verify;
        Some(Self { id, at: now, from, to, decided, role: Role::Accuser, deadline, unanswered: None })
    }

    /// Takes up what a former agent left.
    pub(crate) fn take_up(now: Time, own: &Release, open: OpenDecision, policy: &Policy) -> Option<Self> {
        let to = open.decided.target.clone()?;
        let role = if *own == to {
            Role::Restored
        } else if *own == open.from {
            Role::Heir
        } else {
            Role::Stranger
        };
        // Not renewed at every start, or an agent that keeps dying would never say that a person must act.
        let deadline = (open.at + policy.verify).max(now + LOOK_AROUND);
        let OpenDecision { id, at, from, decided } = open;
        Some(Self { id, at, from, to, decided, role, deadline, unanswered: None })
    }

    /// What people are shown of it.
    pub(crate) fn view(&self) -> DecisionView {
        DecisionView {
            id: self.id.clone(),
            at: self.at,
            decision: self.decided.decision.label(),
            target: Some(self.to.clone()),
            progress: self.decided.progress.clone(),
        }
    }

    /// The act that it is.
    pub(crate) fn act(&self) -> LastAct {
        LastAct { id: self.id.clone(), at: self.at, from: self.from.clone(), to: Some(self.to.clone()) }
    }

    pub(crate) fn id(&self) -> &RecordId {
        &self.id
    }

    pub(crate) fn from(&self) -> &Release {
        &self.from
    }

    pub(crate) fn to(&self) -> &Release {
        &self.to
    }

    pub(crate) fn decided(&self) -> &Decided {
        &self.decided
    }

    pub(crate) fn is_by_the_restored(&self) -> bool {
        self.role == Role::Restored
    }

    /// Whoever else has ended it knows as much of it as this agent.
    pub(crate) fn is_by_a_stranger(&self) -> bool {
        self.role == Role::Stranger
    }

    /// It was found in the store by an agent beside the accused release.
    pub(crate) fn is_by_an_heir(&self) -> bool {
        self.role == Role::Heir
    }

    /// As it lies in the store.
    pub(crate) fn open(self) -> OpenDecision {
        OpenDecision { id: self.id, at: self.at, from: self.from, decided: self.decided }
    }

    /// The intent, and the order that follows it.
    pub(crate) fn order(&self) -> [Effect; 2] {
        let order = Order {
            record: self.id.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            mode: self.decided.policy.mode,
            breach: breach_label(&self.decided),
            at: self.at,
            not_after: self.decided.certificate.as_ref().map(|certificate| certificate.expires),
        };
        [self.record(), Effect::RollBack(order)]
    }

    /// The record as it stands.
    pub(crate) fn record(&self) -> Effect {
        Effect::Record(Record {
            id: self.id.clone(),
            at: self.at,
            release: self.from.clone(),
            what: Happening::Decided(Box::new(self.decided.clone())),
        })
    }

    /// A step of it has come so far. What is beyond the bound is left out.
    pub(crate) fn stepped(&mut self, step: StepTaken) {
        if self.decided.steps.len() < STEPS_MAX {
            self.decided.steps.push(step);
        }
    }

    /// The platform answered the order.
    pub(crate) fn acted(&mut self, now: Time, acted: Acted) -> Step {
        match acted {
            Acted::Accepted { detail } => self.set(Progress::Accepted { detail }),
            Acted::DryRun { detail } => self.set(Progress::DryRun { detail }),
            Acted::Refused { reason } => self.set(Progress::Failed { at: now, reason }),
            // It may have been done. It is not ordered again; the platform is asked until the deadline.
            Acted::Unknown { reason } => {
                self.set(Progress::Accepted { detail: format!("not certain: {reason}") })
            }
        }
    }

    /// Whether the platform is to be asked now. The restored release's agent first waits for its own app.
    pub(crate) fn asks(&self, is_ready: bool) -> Option<Effect> {
        let asks = match self.role {
            Role::Accuser => matches!(self.decided.progress, Progress::Accepted { .. }),
            Role::Restored => is_ready,
            Role::Heir | Role::Stranger => true,
        };
        asks.then(|| Effect::AskPlatform { record: self.id.clone(), target: self.to.clone() })
    }

    /// The platform said what is live. Where it could not, it is asked again until the deadline.
    pub(crate) fn answered(&mut self, now: Time, live: Live) -> Step {
        match (live, self.role) {
            (Live::Release(live), _) if live == self.to => {
                let detail = format!("{live} is live");
                self.set(Progress::Succeeded { at: now, detail })
            }
            (Live::Unknown { reason }, Role::Restored) => {
                let detail = format!("the app of {} is ready beside this agent; {reason}", self.to);
                self.set(Progress::Succeeded { at: now, detail })
            }
            // Until the order has its effect the accused release is live.
            (Live::Release(live), Role::Stranger) if live != self.from => {
                self.interrupt(now, format!("{live} is live instead"))
            }
            (Live::Unread { reason }, _)
            | (Live::Unknown { reason }, Role::Accuser | Role::Heir | Role::Stranger) => {
                self.unanswered = Some(reason);
                Step::Open
            }
            (Live::Release(_), Role::Accuser | Role::Heir | Role::Restored | Role::Stranger) => {
                self.unanswered = None;
                Step::Open
            }
        }
    }

    /// Time passed.
    pub(crate) fn expire(&mut self, now: Time) -> Step {
        if now < self.deadline {
            return Step::Open;
        }
        let waited = humantime::format_duration(self.decided.policy.verify);
        let why = self.unanswered.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
        let reason = format!("{} was not seen live within {waited}{why}", self.to);
        match (self.role, &self.unanswered) {
            (Role::Restored, Some(why)) => {
                let detail = format!("the app of {} is ready beside this agent; {why}", self.to);
                self.set(Progress::Succeeded { at: now, detail })
            }
            (Role::Accuser | Role::Restored, _) => self.set(Progress::Failed { at: now, reason }),
            (Role::Heir | Role::Stranger, _) => self.interrupt(now, reason),
        }
    }

    /// The intent was not durable in time, so nothing was ordered.
    pub(crate) fn withdraw(&mut self) {
        self.decided.decision = Decision::Hold;
        self.decided.reasons.push(Reason::NotRecorded);
        self.decided.progress = Progress::NothingToDo;
    }

    /// The platform refused: nothing was done, and it may be tried again, by whomever.
    pub(crate) fn refuse(&mut self, why: String) -> Step {
        self.decided.decision = Decision::Hold;
        self.decided.reasons.push(Reason::Refused { why });
        self.set(Progress::NothingToDo)
    }

    fn interrupt(&mut self, now: Time, reason: String) -> Step {
        let reason = format!("the agent that ordered it did not see its end: {reason}");
        self.set(Progress::Interrupted { at: now, reason })
    }

    fn set(&mut self, progress: Progress) -> Step {
        self.decided.progress = progress;
        if self.decided.progress.is_open() { Step::Open } else { Step::Ended }
    }
}

fn breach_label(decided: &Decided) -> &'static str {
    use crate::engine::verdict::Verdict;
    match &decided.verdict {
        Verdict::Degraded { breach, .. } => breach.label(),
        Verdict::Healthy | Verdict::Undecided(_) | Verdict::NotJudgeable(_) => "none",
    }
}
