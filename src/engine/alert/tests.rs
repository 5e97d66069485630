//! What is told of which record, how urgently, and under which key.

use std::sync::Arc;

use super::*;
use crate::engine::baseline::Baseline;
use crate::engine::health::Change;
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{ActStep, Lock, Pause, StepOutcome, StepTaken};
use crate::engine::release::RecordId;
use crate::engine::verdict::{Breach, StreamEvidence, StreamName, Verdict};

/// 22 November 2025, 22:00 UTC: the beginning of an hour.
const AT: Time = Time::from_millis(1_763_848_800_000);

fn release(name: &str) -> Release {
    Release::new(name).unwrap()
}

fn context() -> Context {
    Context {
        service: "shop".to_owned(),
        environment: "production".to_owned(),
        link: Some("https://admin.example.com".to_owned()),
        ..Context::default()
    }
}

fn record_at(at: Time, what: Happening) -> Record {
    Record { id: RecordId::from_stored("0192-x"), at, release: release("v42"), what }
}

fn told(what: Happening) -> Option<Alert> {
    of(&record_at(AT, what), &context())
}

fn errors() -> StreamEvidence {
    StreamEvidence {
        name: StreamName::Errors,
        route: None,
        baseline: 0.001,
        limit: 0.005,
        p0: 0.005,
        requests: 4000,
        bad: 400,
        recent_share: Some(0.098),
        recent_value: None,
        ln_requests: 30.0,
        ln_requests_limit: 12.0,
        ln_ticks: 30.0,
        ln_ticks_limit: 12.0,
        ln_attribution: None,
    }
}

fn decided(decision: Decision, reasons: Vec<Reason>, progress: Progress) -> Decided {
    let slow = StreamEvidence {
        name: StreamName::LatencyP99,
        baseline: 120_000.0,
        limit: 180_000.0,
        recent_share: None,
        recent_value: Some(2_100_000.0),
        ..errors()
    };
    Decided {
        decision,
        reasons,
        target: Some(release("v41")),
        verdict: Verdict::Degraded { breach: Breach::Errors, since: AT },
        diagnosis: None,
        point: None,
        evidence: vec![slow, errors()],
        baseline: Some(Baseline::empty(release("v41"), AT).summary()),
        ready_at: Some(AT),
        policy: Policy::default(),
        progress,
        certificate: None,
        steps: Vec::new(),
    }
}

fn rollback(progress: Progress) -> Alert {
    let of = decided(Decision::RollBack, vec![Reason::Degraded, Reason::LastKnownGood], progress);
    told(Happening::Decided(Box::new(of))).unwrap()
}

fn hold(reasons: Vec<Reason>) -> Option<Alert> {
    told(Happening::Decided(Box::new(decided(Decision::Hold, reasons, Progress::NothingToDo))))
}

#[test]
fn a_rollback_says_what_got_worse_against_what_by_how_much_and_who_decided() {
    let alert = rollback(Progress::Intended);
    assert_eq!(alert.title, "Rolling v42 back to v41");
    assert_eq!(
        alert.summary,
        "v42 fails more of its requests than it may: failed requests 9.8 % in the last minute, allowed are 0.50 %, v41 \
         had 0.10 %."
    );
    assert_eq!((alert.severity, alert.event), (Severity::High, Event::RollbackTriggered));
    assert_eq!(alert.agreed.as_deref(), Some("one replica, by itself"));
    let figures: Vec<_> = alert.figures.iter().map(|f| (f.stream.as_str(), f.recent.as_deref())).collect();
    assert_eq!(figures, [("errors", Some("9.8 %")), ("latency_p99", Some("2.10 s"))]);
    assert_eq!(alert.link.as_deref(), Some("https://admin.example.com"));
}

#[test]
fn a_rollbacks_key_is_its_record_and_how_far_it_has_come() {
    let at = AT;
    let failed = rollback(Progress::Failed { at, reason: "no image".to_owned() });
    let lost = rollback(Progress::Interrupted { at, reason: "no answer".to_owned() });
    let done = rollback(Progress::Succeeded { at, detail: "live".to_owned() });
    assert_eq!(rollback(Progress::Intended).key, "rollback:0192-x:intended");
    assert_eq!(failed.key, "rollback:0192-x:failed");
    assert_eq!((failed.severity, lost.severity), (Severity::Critical, Severity::Critical));
    assert_eq!((done.severity, done.event), (Severity::Medium, Event::RollbackSucceeded));
    let accepted = Progress::Accepted { detail: String::new() };
    assert_eq!(told(Happening::Decided(Box::new(decided(Decision::RollBack, Vec::new(), accepted)))), None);
}

#[test]
fn steps_are_told_in_words() {
    let mut of = decided(Decision::RollBack, Vec::new(), Progress::Failed { at: AT, reason: "x".to_owned() });
    let step = |outcome| StepTaken { at: AT, step: ActStep::CancelQueued, outcome };
    of.steps = vec![step(StepOutcome::Begun), step(StepOutcome::Failed { reason: "no right".to_owned() })];
    let alert = told(Happening::Decided(Box::new(of))).unwrap();
    assert_eq!(
        alert.steps,
        ["2025-11-22T22:00:00Z: cancel queued", "2025-11-22T22:00:00Z: cancel queued: failed: no right"]
    );
}

#[test]
fn agents_that_hold_for_the_same_reasons_within_the_hour_have_the_same_key() {
    let paused = |by: &str| {
        let pause = Pause { by: by.to_owned(), reason: "migration".to_owned(), since: AT, until: None };
        vec![Reason::Degraded, Reason::Paused(pause)]
    };
    let key_at = |at, reasons| {
        let of = decided(Decision::Hold, reasons, Progress::NothingToDo);
        super::of(&record_at(at, Happening::Decided(Box::new(of))), &context()).unwrap().key
    };
    let key = key_at(AT, paused("ana"));
    assert_eq!(key, key_at(AT + Duration::from_secs(3599), paused("ben")), "figures and names do not count");
    assert_ne!(key, key_at(AT + Duration::from_secs(3600), paused("ana")), "an hour later it is told again");
    assert_ne!(key, key_at(AT, vec![Reason::Degraded, Reason::NoTarget]));
}

#[test]
fn each_reason_for_holding_has_its_urgency_and_its_advice() {
    let until = AT + Duration::from_secs(60);
    let table: Vec<(Reason, Severity, &str)> = vec![
        (Reason::ModeRecommend, Severity::High, "put v41 back by hand, or deploy a fix"),
        (Reason::ModeObserve, Severity::Medium, "A person must decide"),
        (Reason::NoTarget, Severity::High, "No other release is known good"),
        (Reason::WasPutBack, Severity::Critical, "never rolled back in turn"),
        (Reason::Holding { until }, Severity::Medium, "look at the dependency"),
        (Reason::NotBlamed, Severity::High, "would probably not help"),
        (Reason::CoolingDown { until }, Severity::High, "find out what goes wrong again and again"),
        (Reason::BudgetSpent { acts: 3, until }, Severity::High, "find out what goes wrong again and again"),
        (
            Reason::SchemaMoved { probe: "db".into(), was: "7".into(), is: "8".into() },
            Severity::High,
            "undo the migration first",
        ),
        (Reason::Refused { why: "no".to_owned() }, Severity::Critical, "A person must decide"),
        (Reason::NotRecorded, Severity::Critical, "A person must decide"),
    ];
    for (reason, severity, advice) in table {
        let alert = hold(vec![Reason::Degraded, reason.clone()]).unwrap();
        assert_eq!(alert.severity, severity, "{reason:?}");
        assert!(alert.summary.contains(advice), "{reason:?}: {}", alert.summary);
        assert_eq!(alert.reasons.len(), 1, "{reason:?}: {:?}", alert.reasons);
        assert!(alert.reasons[0].ends_with('.'), "{:?}", alert.reasons);
    }
}

#[test]
fn a_decision_that_is_left_to_others_is_nobodys_page() {
    assert_eq!(hold(vec![Reason::Degraded, Reason::LeftToOthers]), None);
    assert_eq!(hold(vec![Reason::DecidedElsewhere { record: RecordId::from_stored("x") }]), None);
}

#[test]
fn what_a_rollback_led_to_is_told_once_a_rollback() {
    let verified = |outcome| {
        let decision = RecordId::from_stored("the-rollback");
        let of =
            Verified { decision, from: release("v43"), outcome, detail: "0.1 % of 900 failed".to_owned() };
        told(Happening::Verified(of)).unwrap()
    };
    let severities = [Outcome::Recovered, Outcome::NoChange, Outcome::Worse, Outcome::Unclear]
        .map(|outcome| verified(outcome).severity);
    assert_eq!(severities, [Severity::Medium, Severity::Critical, Severity::Critical, Severity::High]);
    let alert = verified(Outcome::NoChange);
    assert_eq!(alert.key, "verified:the-rollback");
    assert_eq!((alert.release.as_deref(), alert.target.as_deref()), (Some("v43"), Some("v42")));
    assert!(alert.summary.contains("look at dependencies"), "{}", alert.summary);
}

#[test]
fn the_parachutes_loss_is_told_and_its_return_only_then() {
    let gone = Readiness { faults: vec!["the token was revoked".to_owned()], ..Readiness::default() };
    let alert = told(Happening::Readied(gone)).unwrap();
    assert_eq!((alert.event, alert.severity), (Event::RollbackUnready, Severity::High));
    assert_eq!(alert.reasons, ["the token was revoked"]);
    let there = Happening::Readied(Readiness::default());
    assert_eq!(told(there.clone()), None);
    let context = Context { was_unready: true, ..context() };
    assert_eq!(of(&record_at(AT, there), &context).unwrap().event, Event::RollbackReady);
}

#[test]
fn only_a_critical_dependencys_outage_is_told_and_its_first_answer_is_not() {
    let change = |critical, from, to| {
        let change = Change { from, to, lasted: Duration::from_secs(90) };
        let probe: Arc<str> = "postgres".into();
        told(Happening::HealthChanged(HealthChange { probe, critical, change, why: "refused".to_owned() }))
    };
    let failed = change(true, Health::Ok, Health::Failed).unwrap();
    assert_eq!(failed.severity, Severity::High);
    assert!(
        failed.summary.contains("It was ok for 1 min 30 s and is failed now: refused."),
        "{}",
        failed.summary
    );
    assert!(failed.key.starts_with("health:postgres:failed:"), "{}", failed.key);
    assert_eq!(change(true, Health::Failed, Health::Ok).unwrap().event, Event::HealthRecovered);
    assert_eq!(change(true, Health::Unknown, Health::Ok), None);
    assert_eq!(change(true, Health::Failed, Health::Degraded), None);
    assert_eq!(change(false, Health::Ok, Health::Failed), None);
}

#[test]
fn a_release_that_was_rolled_back_and_runs_again_is_told() {
    let start = Happening::Started { known: true };
    assert_eq!(told(start.clone()), None);
    let alert = of(&record_at(AT, start), &Context { was_rolled_back: true, ..context() }).unwrap();
    assert_eq!((alert.event, alert.severity), (Event::DeployedAgain, Severity::High));
}

#[test]
fn what_people_did_themselves_is_low() {
    let lock = Lock { by: "ana".to_owned(), reason: "freeze".to_owned(), since: AT, until: None };
    let pause = Pause { by: "ana".to_owned(), reason: "freeze".to_owned(), since: AT, until: Some(AT) };
    for what in [
        Happening::Locked(lock),
        Happening::Unlocked { by: "ana".to_owned() },
        Happening::Paused(pause),
        Happening::Resumed { by: "ana".to_owned() },
        Happening::WatchPassed { requests: 9, by: crate::engine::record::PassedBy::Proof },
    ] {
        let alert = told(what).unwrap();
        assert_eq!(alert.severity, Severity::Low, "{}", alert.title);
        assert!(!alert.title.is_empty() && !alert.summary.is_empty());
    }
}

#[test]
fn a_rollback_that_a_person_asked_for_says_so() {
    let mut of = decided(
        Decision::RollBack,
        vec![Reason::AskedBy { by: "ana".to_owned(), why: "checkout is wrong".to_owned() }],
        Progress::Intended,
    );
    of.verdict = Verdict::Healthy;
    of.policy.mode = Mode::Recommend;
    let alert = told(Happening::Decided(Box::new(of))).unwrap();
    assert_eq!(alert.agreed.as_deref(), Some("ana asked for it"));
    assert_eq!(alert.reasons, ["ana asked for it. Why: checkout is wrong."]);
}

#[test]
fn several_alerts_become_one_that_is_as_urgent_as_the_most_urgent_and_has_their_titles() {
    let first = rollback(Progress::Intended);
    let second = rollback(Progress::Succeeded { at: AT, detail: "live".to_owned() });
    let one = summary(AT, &[second.clone(), first.clone()]).unwrap();
    assert_eq!((one.event, one.severity), (Event::Summary, Severity::High));
    assert_eq!(one.reasons.len(), 2);
    assert!(one.reasons[0].ends_with(&first.title), "{:?}", one.reasons);
    assert_eq!(one.key, summary(AT, &[second, first]).unwrap().key);
    assert_eq!(summary(AT, &[]), None);
}

#[test]
fn what_goes_to_and_fro_is_known_by_its_key_and_numbered() {
    assert_eq!(standing("health:postgres:failed:7"), Some(("health:postgres", "failed")));
    assert_eq!(standing("health:a:b:ok:7#2"), Some(("health:a:b", "ok")));
    assert_eq!(
        (standing("unready:0f:7"), standing("ready:7#3")),
        (Some(("ready", "0f")), Some(("ready", "")))
    );
    for key in ["hold:v42:errors:00:7", "pause:0192-x", "rollback:0192-x:failed", "verified:y"] {
        assert_eq!(standing(key), None, "{key}");
    }
    assert_eq!((again("k", 1), again("k", 2)), ("k".to_owned(), "k#2".to_owned()));
    assert_eq!((times("k", "k"), times("k#12", "k"), times("k1", "k")), (Some(1), Some(12), None));
}
