//! Every engine value comes back from its JSON equal.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::engine::baseline::BaselineSummary;
use crate::engine::memory::{ReleaseMemory, Standing};
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{Decided, Decision, Exit, Happening, Pause, Progress, Reason, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, StreamName, Undecided, Verdict};
use crate::store::wire::{RecordDoc, ReleaseDoc};

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![0..4_000_000_000_000_u64, any::<u64>()].prop_map(Time::from_millis)
}

fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32, 0..64_u32).prop_map(|(s, ns, shift)| Duration::new(s >> shift, ns))
}

fn figure() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => any::<f64>(),
        4 => 0.0..1.0,
        1 => Just(f64::NEG_INFINITY),
        1 => Just(f64::INFINITY),
        1 => Just(3.0),
    ]
}

fn release() -> impl Strategy<Value = Release> {
    "[!-~]{1,128}".prop_map(|name| Release::new(&name).unwrap())
}

fn id() -> impl Strategy<Value = RecordId> {
    (time(), any::<u16>(), any::<u16>()).prop_map(|(at, boot, seq)| RecordId::new(at, boot, seq))
}

fn pause() -> impl Strategy<Value = Pause> {
    (".*", ".*", time(), option::of(time())).prop_map(|(by, reason, since, until)| Pause {
        by,
        reason,
        since,
        until,
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let stream = prop_oneof![
        Just(StreamName::Errors),
        Just(StreamName::LatencyP50),
        Just(StreamName::LatencyP90),
        Just(StreamName::LatencyP99)
    ];
    let arm = prop_oneof![Just(Arm::Errors), Just(Arm::Latency), Just(Arm::Hang), Just(Arm::Crashes)];
    let breach = prop_oneof![
        Just(Breach::Errors),
        stream.prop_map(Breach::Latency),
        arm.prop_map(Breach::Catastrophe)
    ];
    prop_oneof![
        Just(Verdict::NotJudgeable(NotJudgeable::SwitchedOff)),
        Just(Verdict::NotJudgeable(NotJudgeable::NoBaseline)),
        (any::<u64>(), any::<u64>()).prop_map(|(requests, needed)| {
            Verdict::NotJudgeable(NotJudgeable::BaselineTooSmall { requests, needed })
        }),
        Just(Verdict::Undecided(Undecided::Starting)),
        (duration(), any::<u64>()).prop_map(|(left, requests_left)| {
            Verdict::Undecided(Undecided::WarmingUp { left, requests_left })
        }),
        Just(Verdict::Undecided(Undecided::NoTraffic)),
        Just(Verdict::Undecided(Undecided::Gathering)),
        Just(Verdict::Healthy),
        (breach, time()).prop_map(|(breach, since)| Verdict::Degraded { breach, since }),
    ]
}

fn evidence() -> impl Strategy<Value = StreamEvidence> {
    let name = prop_oneof![Just(StreamName::Errors), Just(StreamName::LatencyP99)];
    let recent = (option::of(figure()), option::of(figure()));
    let figures = prop::array::uniform7(figure());
    (name, figures, any::<u64>(), any::<u64>(), recent).prop_map(|(name, f, requests, bad, recent)| {
        StreamEvidence {
            name,
            baseline: f[0],
            limit: f[1],
            p0: f[2],
            requests,
            bad,
            recent_share: recent.0,
            recent_value: recent.1,
            ln_requests: f[3],
            ln_requests_limit: f[4],
            ln_ticks: f[5],
            ln_ticks_limit: f[6],
        }
    })
}

fn reason() -> impl Strategy<Value = Reason> {
    prop_oneof![
        Just(Reason::Degraded),
        Just(Reason::OnTrial),
        Just(Reason::WatchHasPassed),
        Just(Reason::ModeObserve),
        Just(Reason::ModeRecommend),
        Just(Reason::ModeEnforce),
        pause().prop_map(Reason::Paused),
        time().prop_map(|until| Reason::CoolingDown { until }),
        Just(Reason::NoTarget),
        Just(Reason::LastKnownGood),
        Just(Reason::WasPutBack),
        any::<u32>().prop_map(|replicas| Reason::SeveralReplicas { replicas }),
        id().prop_map(|record| Reason::ActedBefore { record }),
        Just(Reason::NotRecorded),
    ]
}

fn progress() -> impl Strategy<Value = Progress> {
    prop_oneof![
        Just(Progress::NothingToDo),
        Just(Progress::Intended),
        ".*".prop_map(|detail| Progress::Accepted { detail }),
        (time(), ".*").prop_map(|(at, detail)| Progress::Succeeded { at, detail }),
        ".*".prop_map(|detail| Progress::DryRun { detail }),
        (time(), ".*").prop_map(|(at, reason)| Progress::Failed { at, reason }),
        (time(), ".*").prop_map(|(at, reason)| Progress::Interrupted { at, reason }),
    ]
}

fn summary() -> impl Strategy<Value = BaselineSummary> {
    let quantiles = prop::array::uniform5(option::of(any::<u64>()));
    (release(), time(), time(), any::<u64>(), figure(), quantiles).prop_map(
        |(release, from, to, requests, error_rate, us)| BaselineSummary {
            release,
            from,
            to,
            requests,
            error_rate,
            mean_us: us[0],
            p50_us: us[1],
            p90_us: us[2],
            p95_us: us[3],
            p99_us: us[4],
        },
    )
}

fn policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![Just(Mode::Observe), Just(Mode::Recommend), Just(Mode::Enforce)];
    let durations = prop::collection::vec(duration(), 7);
    let figures = prop::array::uniform6(figure());
    let counts = prop::array::uniform7(any::<u32>());
    (mode, durations, figures, counts, any::<bool>(), any::<bool>()).prop_map(|(mode, d, f, n, a, b)| {
        Policy {
            mode,
            judging: a,
            watch: d[0],
            warm_up: d[1],
            warm_up_requests: n[0].into(),
            false_alarms: f[0],
            false_alarm_interval: d[2],
            error_ratio: f[1],
            error_floor: f[2],
            latency_ratio: f[3],
            baseline_requests_min: n[1].into(),
            known_good_requests: n[2].into(),
            watch_max: d[3],
            catastrophe_ticks: n[3],
            catastrophe_error_share: f[4],
            catastrophe_requests_min: n[4].into(),
            catastrophe_latency_ratio: f[5],
            crashes: n[5],
            crashes_within: d[4],
            cooldown: d[5],
            verify: d[6],
            act_after_watch: b,
            replicas: n[6],
        }
    })
}

fn decided() -> impl Strategy<Value = Decided> {
    (
        (prop_oneof![Just(Decision::RollBack), Just(Decision::Hold)], progress()),
        prop::collection::vec(reason(), 0..8),
        option::of(release()),
        verdict(),
        prop::collection::vec(evidence(), 0..4),
        option::of(summary()),
        option::of(time()),
        policy(),
    )
        .prop_map(
            |((decision, progress), reasons, target, verdict, evidence, baseline, ready_at, policy)| {
                Decided { decision, reasons, target, verdict, evidence, baseline, ready_at, policy, progress }
            },
        )
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        any::<bool>().prop_map(|known| Happening::Started { known }),
        Just(Happening::Ready),
        (option::of(any::<i32>()), option::of(any::<i32>()))
            .prop_map(|(code, signal)| Happening::Exited(Exit { code, signal })),
        (verdict(), verdict()).prop_map(|(from, to)| Happening::VerdictChanged { from, to }),
        any::<u64>().prop_map(|requests| Happening::WatchPassed { requests }),
        pause().prop_map(Happening::Paused),
        ".*".prop_map(|by| Happening::Resumed { by }),
        decided().prop_map(|decided| Happening::Decided(Box::new(decided))),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (id(), time(), release(), happening()).prop_map(|(id, at, release, what)| Record {
        id,
        at,
        release,
        what,
    })
}

fn release_memory() -> impl Strategy<Value = ReleaseMemory> {
    let standing =
        prop_oneof![Just(Standing::OnTrial), Just(Standing::KnownGood), Just(Standing::RolledBack)];
    let crashes = prop::collection::vec(time(), 0..4);
    ((release(), time(), time(), standing), duration(), any::<u64>(), crashes, option::of(id())).prop_map(
        |((release, first_ready, last_seen, standing), judged_for, judged_requests, crashes, put_back_by)| {
            ReleaseMemory {
                release,
                first_ready,
                last_seen,
                standing,
                judged_for,
                judged_requests,
                crashes,
                put_back_by,
            }
        },
    )
}

#[test]
fn every_record_comes_back_from_its_json() {
    const CASES: u32 = 512;
    let kinds = Cell::new(BTreeSet::new());
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&record(), |record| {
            let doc = RecordDoc::from(&record);
            let text = serde_json::to_string(&doc).unwrap();
            let read: RecordDoc = serde_json::from_str(&text).unwrap();
            assert_eq!(read, doc);
            let mut seen = kinds.take();
            seen.insert(doc.what.kind());
            if let Happening::Decided(d) = &record.what {
                seen.insert(d.progress.label());
                seen.insert(d.verdict.label());
            }
            kinds.set(seen);
            // By way of a tree as well: that is how the admin API hands it on.
            let tree: RecordDoc = serde_json::from_value(serde_json::to_value(&doc).unwrap()).unwrap();
            assert_eq!(Record::from(tree), record);
            assert_eq!(Record::from(read), record, "{text}");
            Ok(())
        })
        .unwrap();
    assert_eq!(kinds.take().len(), 8 + 7 + 4, "the run did not meet every kind");
}

#[test]
fn every_release_comes_back_from_its_json() {
    TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() })
        .run(&release_memory(), |memory| {
            let text = serde_json::to_string(&ReleaseDoc::from(&memory)).unwrap();
            let read: ReleaseDoc = serde_json::from_str(&text).unwrap();
            assert_eq!(ReleaseMemory::from(read), memory);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_record_reads_as_documented() {
    let decided = Decided {
        decision: Decision::Hold,
        reasons: vec![Reason::Degraded, Reason::CoolingDown { until: Time::from_millis(1_763_848_900_000) }],
        target: Release::new("v1"),
        verdict: Verdict::Degraded { breach: Breach::Errors, since: Time::from_millis(1_763_848_800_000) },
        evidence: Vec::new(),
        baseline: None,
        ready_at: None,
        policy: Policy::default(),
        progress: Progress::NothingToDo,
    };
    let at = Time::from_millis(1_763_848_800_123);
    let record = Record {
        id: RecordId::new(at, 1, 2),
        at,
        release: Release::new("v2").unwrap(),
        what: Happening::Decided(Box::new(decided)),
    };
    let doc = serde_json::to_value(RecordDoc::from(&record)).unwrap();
    assert_eq!(doc["kind"], "decided");
    assert_eq!(doc["at"], "2025-11-22T22:00:00.123Z");
    assert_eq!(doc["at_ms"], 1_763_848_800_123_u64);
    assert_eq!(doc["decision"], "hold");
    assert_eq!(doc["policy"]["watch"], "15m");
    assert_eq!(doc["policy"]["mode"], "recommend");
    assert_eq!(doc["progress"], serde_json::json!({"progress": "nothing_to_do"}));
    assert_eq!(
        doc["verdict"],
        serde_json::json!({"verdict": "degraded", "breach": "errors", "since": "2025-11-22T22:00:00.000Z"})
    );
    assert_eq!(
        doc["reasons"][1],
        serde_json::json!({"reason": "cooling_down", "until": "2025-11-22T22:01:40.000Z"})
    );
}

#[test]
fn labels_on_the_wire_are_the_engines_own() {
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    runner
        .run(&decided(), |decided| {
            let doc = serde_json::to_value(crate::store::wire::decided::DecidedDoc::from(&decided)).unwrap();
            assert_eq!(doc["decision"], decided.decision.label());
            assert_eq!(doc["verdict"]["verdict"], decided.verdict.label());
            assert_eq!(doc["progress"]["progress"], decided.progress.label());
            assert_eq!(doc["policy"]["mode"], decided.policy.mode.label());
            if let Verdict::Degraded { breach, .. } = &decided.verdict {
                assert_eq!(doc["verdict"]["breach"], breach.label());
            }
            for (evidence, doc) in decided.evidence.iter().zip(doc["evidence"].as_array().unwrap()) {
                assert_eq!(doc["stream"], evidence.name.label());
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn fields_of_a_newer_agent_are_passed_over() {
    let text = r#"{"id":"0abc","at":"2025-11-22T22:00:00Z","at_ms":1763848800000,"release":"v1",
        "kind":"exited","code":1,"signal":null,"cause":"oom","severity":{"level":3}}"#;
    let doc: RecordDoc = serde_json::from_str(text).unwrap();
    assert_eq!(Record::from(doc).what, Happening::Exited(Exit { code: Some(1), signal: None }));
}
