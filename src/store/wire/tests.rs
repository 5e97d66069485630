//! Every engine value comes back from its JSON equal.

mod values;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::any;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::engine::ballot::{Ask, Certificate, Key, Roster};
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::history::WatchStart;
use crate::engine::memory::ReleaseMemory;
use crate::engine::peer::{Boot, Deployment, Peer};
use crate::engine::policy::Policy;
use crate::engine::record::{Decided, Decision, Exit, Happening, PassedBy, Progress, Reason, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{Breach, StreamName, Verdict};
use crate::store::wire::certificate::CertificateDoc;
use crate::store::wire::decided::ReasonDoc;
use crate::store::wire::tests::values::{
    decided, duration, id, policy, record, release, release_memory, streams, time,
};
use crate::store::wire::watch::WatchDoc;
use crate::store::wire::{RecordDoc, ReleaseDoc};

#[test]
fn every_record_comes_back_from_its_json() {
    const CASES: u32 = 4096;
    let kinds = Cell::new(BTreeSet::new());
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    // Always the same draws: that each kind is among them is asserted below.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
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
                seen.extend(d.certificate.as_ref().map(|_| "certificate"));
                type Is = fn(&ReasonDoc) -> bool;
                let has = |is: Is| d.reasons.iter().map(ReasonDoc::from).any(|doc| is(&doc));
                let told: [(&str, Is); 3] = [
                    ("elected", |doc| matches!(doc, ReasonDoc::Elected { .. })),
                    ("not elected", |doc| matches!(doc, ReasonDoc::NotElected { .. })),
                    ("decided elsewhere", |doc| matches!(doc, ReasonDoc::DecidedElsewhere { .. })),
                ];
                seen.extend(told.into_iter().filter(|(_, is)| has(*is)).map(|(name, _)| name));
                seen.insert(d.verdict.label());
                seen.extend(d.diagnosis.as_ref().map(Diagnosis::label));
            }
            kinds.set(seen);
            // By way of a tree as well: that is how the admin API hands it on.
            let tree: RecordDoc = serde_json::from_value(serde_json::to_value(&doc).unwrap()).unwrap();
            assert_eq!(Record::from(tree), record);
            assert_eq!(Record::from(read), record, "{text}");
            Ok(())
        })
        .unwrap();
    assert_eq!(kinds.take().len(), 14 + 7 + 4 + 6 + 4, "the run did not meet every kind");
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
        diagnosis: Some(Diagnosis::Deployment(Ground::NothingElse)),
        point: None,
        evidence: Vec::new(),
        baseline: None,
        ready_at: None,
        policy: Policy::default(),
        progress: Progress::NothingToDo,
        certificate: None,
        steps: Vec::new(),
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
fn a_certificate_reads_as_documented() {
    let peer = |replica: &str, boot| Peer { replica: replica.into(), boot: Boot(boot) };
    let certificate = Certificate {
        ask: Ask {
            key: Key { deployment: Deployment::new("d-7").unwrap() },
            epoch: 3,
            target: Release::new("v1").unwrap(),
            candidate: peer("a", u64::MAX),
            roster: 0,
            policy: 0xbeef,
            baseline: 1 << 63,
        },
        voters: vec![peer("a", u64::MAX), peer("c", 12)],
        roster: Roster { version: 0, replicas: 3, watcher: false, down: 1 },
        began: Duration::from_secs(60),
        expires: Duration::from_secs(70),
    };
    let doc = CertificateDoc::from(&certificate);
    let expected = serde_json::json!({
        "ask": {"deployment": "d-7", "epoch": 3, "target": "v1",
            "candidate": {"replica": "a", "boot": "ffffffffffffffff"}, "roster": "0000000000000000",
            "policy": "000000000000beef", "baseline": "8000000000000000"},
        "voters": [{"replica": "a", "boot": "ffffffffffffffff"}, {"replica": "c", "boot": "000000000000000c"}],
        "roster": {"version": "0000000000000000", "replicas": 3, "watcher": false, "down": 1},
        "began": "1m", "expires": "1m 10s",
    });
    assert_eq!(serde_json::to_value(&doc).unwrap(), expected);
    assert_eq!(Certificate::from(doc), certificate);
}

#[test]
fn every_stream_comes_back_under_a_name_of_its_own() {
    let mut names = BTreeSet::new();
    for stream in streams() {
        let doc = crate::store::wire::verdict::StreamDoc::from(stream);
        let text = serde_json::to_string(&doc).unwrap();
        let read: crate::store::wire::verdict::StreamDoc = serde_json::from_str(&text).unwrap();
        assert_eq!(StreamName::from(read), stream, "{text}");
        names.insert(text);
    }
    assert_eq!(names.len(), streams().len());
}

#[test]
fn every_watch_comes_back_from_its_json() {
    let start = (id(), time(), release(), time(), any::<bool>(), duration(), any::<u64>(), policy());
    TestRunner::new(Config { cases: 128, failure_persistence: None, ..Config::default() })
        .run(&start, |(id, at, release, first_ready, passed, judged_for, judged_requests, policy)| {
            let baseline = None;
            let start = WatchStart {
                id,
                at,
                release,
                first_ready,
                passed,
                judged_for,
                judged_requests,
                baseline,
                policy,
            };
            let text = serde_json::to_string(&WatchDoc::from(&start)).unwrap();
            let read: WatchDoc = serde_json::from_str(&text).unwrap();
            assert_eq!(read.into_start(start.id.clone(), at, start.release.clone(), None), start);
            Ok(())
        })
        .unwrap();
}

/// As the first agents wrote it, before there were diagnoses, routes and watches.
#[test]
fn a_record_of_an_older_agent_reads() {
    let text = r#"{"id":"0mi5x1c000b1c200","at":"2025-11-22T22:00:00.000Z","at_ms":1763848800000,"release":"v2",
        "kind":"decided","decision":"hold","reasons":[{"reason":"degraded"},{"reason":"mode_recommend"}],
        "target":"v1","verdict":{"verdict":"degraded","breach":"latency","stream":"latency_p99",
        "since":"2025-11-22T21:59:55.000Z"},"evidence":[{"stream":"errors","baseline":0.001,"limit":0.004,
        "p0":0.004,"requests":900,"bad":3,"recent_share":0.002,"recent_value":null,"ln_requests":"-inf",
        "ln_requests_limit":7.6,"ln_ticks":0.5,"ln_ticks_limit":7.6}],"baseline":{"release":"v1",
        "from":"2025-11-22T20:00:00.000Z","to":"2025-11-22T21:00:00.000Z","requests":90000,"error_rate":0.001,
        "mean_us":9000,"p50_us":8000,"p90_us":15000,"p95_us":18000,"p99_us":26000},"ready_at":null,
        "policy":{"mode":"recommend","judging":true,"watch":"15m","latency_ratio":1.7},
        "progress":{"progress":"nothing_to_do"}}"#;
    let doc: RecordDoc = serde_json::from_str(text).unwrap();
    let Happening::Decided(decided) = Record::from(doc).what else { panic!("a decision") };
    assert_eq!((decided.diagnosis, decided.point, decided.certificate), (None, None, None));
    assert_eq!((decided.evidence[0].route.clone(), decided.evidence[0].ln_attribution), (None, None));
    assert_eq!(decided.policy, Policy { latency_ratio: 1.7, ..Policy::default() });
    let baseline = decided.baseline.unwrap();
    assert_eq!((baseline.cpu_millicores, baseline.probes), (None, Vec::new()));

    let passed = r#"{"id":"0abc","at":"2025-11-22T22:00:00Z","at_ms":1763848800000,"release":"v1",
        "kind":"watch_passed","requests":1234}"#;
    let doc: RecordDoc = serde_json::from_str(passed).unwrap();
    let by = PassedBy::NotContradicted;
    assert_eq!(Record::from(doc).what, Happening::WatchPassed { requests: 1234, by });
    let changed = r#"{"id":"0abd","at":"2025-11-22T22:00:00Z","at_ms":1763848800000,"release":"v1",
        "kind":"verdict_changed","from":{"verdict":"healthy"},"to":{"verdict":"healthy"}}"#;
    let doc: RecordDoc = serde_json::from_str(changed).unwrap();
    let (from, to) = (Verdict::Healthy, Verdict::Healthy);
    assert_eq!(Record::from(doc).what, Happening::VerdictChanged { from, to, point: None });
    let release = r#"{"release":"v1","first_ready":"2025-11-22T22:00:00Z","last_seen":"2025-11-22T22:00:00Z",
        "standing":"known_good","judged_for":"15m","judged_requests":9,"crashes":[],"put_back_by":null}"#;
    let read: ReleaseDoc = serde_json::from_str(release).unwrap();
    let memory = ReleaseMemory::from(read);
    assert_eq!((memory.figures, memory.score), (None, None));
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
                assert_eq!(doc["verdict"]["breach"], breach_label(breach));
            }
            for (evidence, doc) in decided.evidence.iter().zip(doc["evidence"].as_array().unwrap()) {
                if let StreamName::Status(status) = evidence.name {
                    assert_eq!(doc["stream"]["status"], status);
                } else {
                    assert_eq!(doc["stream"], evidence.name.label());
                }
            }
            if let Some(diagnosis) = &decided.diagnosis {
                assert_eq!(doc["diagnosis"]["diagnosis"], diagnosis.label());
            }
            Ok(())
        })
        .unwrap();
}

/// On the wire the status and the resource stand beside the breach.
fn breach_label(breach: &Breach) -> &'static str {
    match breach {
        Breach::Status(_) => "status",
        Breach::Resource(_) => "resource",
        Breach::Errors
        | Breach::Latency(_)
        | Breach::Route { .. }
        | Breach::Crashes
        | Breach::Catastrophe(_) => breach.label(),
    }
}

#[test]
fn fields_of_a_newer_agent_are_passed_over() {
    let text = r#"{"id":"0abc","at":"2025-11-22T22:00:00Z","at_ms":1763848800000,"release":"v1",
        "kind":"exited","code":1,"signal":null,"cause":"oom","severity":{"level":3}}"#;
    let doc: RecordDoc = serde_json::from_str(text).unwrap();
    assert_eq!(Record::from(doc).what, Happening::Exited(Exit { code: Some(1), signal: None }));
}
