//! What to do about a degraded release: a pure function from the situation to a decision and its reasons, in the order
//! in which they were weighed.

use std::time::Duration;

use crate::engine::diagnosis::Diagnosis;
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{Decision, Pause, Reason};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;

/// All that the decision depends on besides the verdict, which is "degraded".
#[derive(Clone, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) policy: &'a Policy,
    /// The agents vote before anything is done.
    pub(crate) by_vote: bool,
    pub(crate) on_trial: bool,
    pub(crate) was_put_back: bool,
    pub(crate) target: Option<&'a Release>,
    pub(crate) pause: Option<&'a Pause>,
    pub(crate) cooldown_until: Option<Time>,
    pub(crate) acted_before: Option<&'a RecordId>,
    pub(crate) diagnosis: Option<&'a Diagnosis>,
    /// How old the release is.
    pub(crate) age: Duration,
    /// What else stands in the way.
    pub(crate) against: Vec<Reason>,
}

/// Decides. Every condition that stands in the way is named, not only the first: whoever reads the record shall not
/// lift one only to meet the next.
pub(crate) fn decide(s: &Situation<'_>) -> (Decision, Vec<Reason>) {
    let mut reasons = vec![Reason::Degraded];
    let mut blocked = Vec::new();
    match blame(s) {
        (reason, true) => reasons.push(reason),
        (reason, false) => blocked.push(reason),
    }
    if s.on_trial {
        reasons.push(Reason::OnTrial);
    } else if !s.policy.act_after_watch {
        blocked.push(Reason::WatchHasPassed);
    }
    if s.was_put_back {
        blocked.push(Reason::WasPutBack);
    }
    match s.target {
        Some(_) => reasons.push(Reason::LastKnownGood),
        None => blocked.push(Reason::NoTarget),
    }
    if let Some(record) = s.acted_before {
        blocked.push(Reason::ActedBefore { record: record.clone() });
    }
    match s.policy.mode {
        Mode::Observe => blocked.push(Reason::ModeObserve),
        Mode::Recommend => blocked.push(Reason::ModeRecommend),
        Mode::Enforce => reasons.push(Reason::ModeEnforce),
    }
    if s.policy.mode == Mode::Enforce && s.policy.replicas > 1 && !s.by_vote {
        blocked.push(Reason::SeveralReplicas { replicas: s.policy.replicas });
    }
    if let Some(pause) = s.pause {
        blocked.push(Reason::Paused(pause.clone()));
    }
    if let Some(until) = s.cooldown_until {
        blocked.push(Reason::CoolingDown { until });
    }
    blocked.extend(s.against.iter().cloned());
    let decision = if blocked.is_empty() { Decision::RollBack } else { Decision::Hold };
    reasons.extend(blocked);
    (decision, reasons)
}

/// What the diagnosis says about putting the former release back, and whether that is for it.
fn blame(s: &Situation<'_>) -> (Reason, bool) {
    match s.diagnosis {
        Some(Diagnosis::Deployment(_)) => (Reason::Blamed, true),
        Some(Diagnosis::Dependency { hold_ended: false, until, .. }) => {
            (Reason::Holding { until: *until }, false)
        }
        Some(Diagnosis::Dependency { hold_ended: true, .. }) if s.age < s.policy.hold_blames_until => {
            (Reason::HoldEndedYoung, true)
        }
        Some(Diagnosis::Dependency { .. }) => (Reason::HoldEndedOld, false),
        Some(
            Diagnosis::Replica { .. } | Diagnosis::Shared { .. } | Diagnosis::Network | Diagnosis::Observer,
        )
        | None => (Reason::NotBlamed, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::diagnosis::Ground;

    fn check(change: impl FnOnce(&mut Policy, &mut Situation<'_>), want: (Decision, &[Reason])) {
        let mut policy = Policy { mode: Mode::Enforce, ..Policy::default() };
        let target = Release::new("v1").unwrap();
        let base = policy.clone();
        let mut s = Situation {
            policy: &base,
            by_vote: false,
            on_trial: true,
            was_put_back: false,
            target: Some(&target),
            pause: None,
            cooldown_until: None,
            acted_before: None,
            diagnosis: Some(&Diagnosis::Deployment(Ground::NothingElse)),
            age: Duration::ZERO,
            against: Vec::new(),
        };
        change(&mut policy, &mut s);
        s.policy = &policy;
        let (decision, reasons) = decide(&s);
        assert_eq!((decision, reasons.as_slice()), want);
    }

    #[test]
    fn a_degraded_release_on_trial_with_a_target_is_rolled_back() {
        let want =
            [Reason::Degraded, Reason::Blamed, Reason::OnTrial, Reason::LastKnownGood, Reason::ModeEnforce];
        check(|_, _| {}, (Decision::RollBack, &want));
    }

    #[test]
    fn every_obstacle_is_named() {
        let until = Time::from_millis(9);
        check(
            |p, s| {
                p.mode = Mode::Recommend;
                s.target = None;
                s.cooldown_until = Some(until);
            },
            (
                Decision::Hold,
                &[
                    Reason::Degraded,
                    Reason::Blamed,
                    Reason::OnTrial,
                    Reason::NoTarget,
                    Reason::ModeRecommend,
                    Reason::CoolingDown { until },
                ],
            ),
        );
    }

    #[test]
    fn one_agent_of_several_does_not_act() {
        let want = [
            Reason::Degraded,
            Reason::Blamed,
            Reason::OnTrial,
            Reason::LastKnownGood,
            Reason::ModeEnforce,
            Reason::SeveralReplicas { replicas: 3 },
        ];
        check(|p, _| p.replicas = 3, (Decision::Hold, &want));
    }

    #[test]
    fn after_the_watch_it_acts_only_if_told_to() {
        let held = [
            Reason::Degraded,
            Reason::Blamed,
            Reason::LastKnownGood,
            Reason::ModeEnforce,
            Reason::WatchHasPassed,
        ];
        check(|_, s| s.on_trial = false, (Decision::Hold, &held));
        let acts = [Reason::Degraded, Reason::Blamed, Reason::LastKnownGood, Reason::ModeEnforce];
        check(
            |p, s| {
                s.on_trial = false;
                p.act_after_watch = true;
            },
            (Decision::RollBack, &acts),
        );
    }

    #[test]
    fn whose_fault_it_is_decides_whether_the_former_release_would_help() {
        let dependency = |hold_ended| Diagnosis::Dependency {
            probe: "postgres".into(),
            since: Time::from_millis(1),
            until: Time::from_millis(9),
            hold_ended,
        };
        let cases = [
            (Diagnosis::Replica { replica: "a".into() }, 0, Reason::NotBlamed, Decision::Hold),
            (Diagnosis::Network, 0, Reason::NotBlamed, Decision::Hold),
            (Diagnosis::Observer, 0, Reason::NotBlamed, Decision::Hold),
            (dependency(false), 0, Reason::Holding { until: Time::from_millis(9) }, Decision::Hold),
            (dependency(true), 60, Reason::HoldEndedYoung, Decision::RollBack),
            (dependency(true), 3600, Reason::HoldEndedOld, Decision::Hold),
        ];
        for (diagnosis, age_s, reason, decision) in cases {
            let policy = Policy { mode: Mode::Enforce, ..Policy::default() };
            let target = Release::new("v1").unwrap();
            let got = decide(&Situation {
                policy: &policy,
                by_vote: false,
                on_trial: true,
                was_put_back: false,
                target: Some(&target),
                pause: None,
                cooldown_until: None,
                acted_before: None,
                diagnosis: Some(&diagnosis),
                age: Duration::from_secs(age_s),
                against: Vec::new(),
            });
            assert_eq!(got.0, decision, "{diagnosis:?}");
            assert!(got.1.contains(&reason), "{diagnosis:?}: {:?}", got.1);
        }
    }
}
