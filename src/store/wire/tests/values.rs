//! Any engine value that is stored as JSON.

use std::time::Duration;

use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};

use crate::engine::ballot::{Ask, Certificate, Key, Roster};
use crate::engine::baseline::BaselineSummary;
use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::health::{Change, Health, HealthChange};
use crate::engine::history::WatchPoint;
use crate::engine::judge::JUDGED_STATUSES;
use crate::engine::memory::{ReleaseMemory, Standing};
use crate::engine::peer::{Boot, Deployment, Peer};
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{
    ActStep, Decided, Decision, Exit, Happening, Lock, Outcome, PassedBy, Pause, Progress, Readiness, Reason,
    Record, StepOutcome, StepTaken, Verified,
};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::verdict::{Arm, Breach, NotJudgeable, StreamEvidence, StreamName, Undecided, Verdict};

pub(super) fn time() -> impl Strategy<Value = Time> {
    prop_oneof![0..4_000_000_000_000_u64, any::<u64>()].prop_map(Time::from_millis)
}

pub(super) fn duration() -> impl Strategy<Value = Duration> {
    (any::<u64>(), 0..1_000_000_000_u32, 0..64_u32).prop_map(|(s, ns, shift)| Duration::new(s >> shift, ns))
}

pub(super) fn figure() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => any::<f64>(),
        4 => 0.0..1.0,
        1 => Just(f64::NEG_INFINITY),
        1 => Just(f64::INFINITY),
        1 => Just(3.0),
    ]
}

pub(super) fn release() -> impl Strategy<Value = Release> {
    "[!-~]{1,128}".prop_map(|name| Release::new(&name).unwrap())
}

pub(super) fn id() -> impl Strategy<Value = RecordId> {
    (time(), any::<u16>(), any::<u16>()).prop_map(|(at, boot, seq)| RecordId::new(at, boot, seq))
}

pub(super) fn pause() -> impl Strategy<Value = Pause> {
    (".*", ".*", time(), option::of(time())).prop_map(|(by, reason, since, until)| Pause {
        by,
        reason,
        since,
        until,
    })
}

/// Every stream that there is.
pub(super) fn streams() -> Vec<StreamName> {
    let mut streams = vec![
        StreamName::Errors,
        StreamName::LatencyP50,
        StreamName::LatencyP90,
        StreamName::LatencyP95,
        StreamName::LatencyP99,
        StreamName::RouteErrors,
        StreamName::RouteP50,
        StreamName::RouteP95,
        StreamName::Crashes,
        StreamName::Cpu,
        StreamName::Memory,
        StreamName::Descriptors,
    ];
    streams.extend(JUDGED_STATUSES.map(StreamName::Status));
    streams
}

pub(super) fn stream() -> impl Strategy<Value = StreamName> {
    prop::sample::select(streams())
}

pub(super) fn breach() -> impl Strategy<Value = Breach> {
    use StreamName::{Cpu, Descriptors, LatencyP50, LatencyP90, LatencyP95, LatencyP99, Memory};
    let latency = prop::sample::select(vec![LatencyP50, LatencyP90, LatencyP95, LatencyP99]);
    let route =
        prop::sample::select(vec![StreamName::RouteErrors, StreamName::RouteP50, StreamName::RouteP95]);
    let arm = prop_oneof![Just(Arm::Errors), Just(Arm::Latency), Just(Arm::Hang), Just(Arm::Crashes)];
    prop_oneof![
        Just(Breach::Errors),
        latency.prop_map(Breach::Latency),
        (route, ".*").prop_map(|(stream, route)| Breach::Route { stream, route: route.into() }),
        prop::sample::select(JUDGED_STATUSES.to_vec()).prop_map(Breach::Status),
        Just(Breach::Crashes),
        prop::sample::select(vec![Cpu, Memory, Descriptors]).prop_map(Breach::Resource),
        arm.prop_map(Breach::Catastrophe)
    ]
}

pub(super) fn diagnosis() -> impl Strategy<Value = Diagnosis> {
    let ground = prop_oneof![
        Just(Ground::NothingElse),
        Just(Ground::ControlIsWell),
        ".*".prop_map(|probe| Ground::Overloads { probe: probe.into() }),
    ];
    prop_oneof![
        ground.prop_map(Diagnosis::Deployment),
        ".*".prop_map(|replica| Diagnosis::Replica { replica: replica.into() }),
        (".*", time(), time(), any::<bool>()).prop_map(|(probe, since, until, hold_ended)| {
            Diagnosis::Dependency { probe: probe.into(), since, until, hold_ended }
        }),
        any::<bool>().prop_map(|by_the_release| Diagnosis::Shared { by_the_release }),
        Just(Diagnosis::Network),
        Just(Diagnosis::Observer),
    ]
}

pub(super) fn point() -> impl Strategy<Value = WatchPoint> {
    (id(), any::<u32>()).prop_map(|(watch, seq)| WatchPoint { watch, seq })
}

pub(super) fn verdict() -> impl Strategy<Value = Verdict> {
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
        Just(Verdict::Undecided(Undecided::Shared)),
        Just(Verdict::Healthy),
        (breach(), time()).prop_map(|(breach, since)| Verdict::Degraded { breach, since }),
    ]
}

pub(super) fn evidence() -> impl Strategy<Value = StreamEvidence> {
    let name = (stream(), option::of(".*"));
    let recent = (option::of(figure()), option::of(figure()), option::of(figure()));
    let figures = prop::array::uniform7(figure());
    (name, figures, any::<u64>(), any::<u64>(), recent).prop_map(|(name, f, requests, bad, recent)| {
        StreamEvidence {
            name: name.0,
            route: name.1.map(Into::into),
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
            ln_attribution: recent.2,
        }
    })
}

pub(super) fn reason() -> impl Strategy<Value = Reason> {
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
        Just(Reason::Blamed),
        Just(Reason::NotBlamed),
        time().prop_map(|until| Reason::Holding { until }),
        Just(Reason::HoldEndedYoung),
        Just(Reason::HoldEndedOld),
        vote_reason(),
    ]
}

fn vote_reason() -> impl Strategy<Value = Reason> {
    let counts = (any::<u32>(), any::<u32>(), any::<u32>());
    prop_oneof![
        counts.prop_map(|(yes, down, needed)| Reason::Elected { yes, down, needed }),
        (any::<u32>(), any::<u32>()).prop_map(|(yes, needed)| Reason::NotElected { yes, needed }),
        Just(Reason::LeftToOthers),
        ".*".prop_map(|why| Reason::PlatformUnread { why }),
        release().prop_map(|live| Reason::NoLongerLive { live }),
        id().prop_map(|record| Reason::DecidedElsewhere { record }),
        Just(Reason::LeaseOver),
        Just(Reason::Refused { why: "no".to_owned() }),
        Just(Reason::TooManyVoters { met: 4, votes: 3 }),
        any::<u32>().prop_map(|down| Reason::AllDown { down }),
        (any::<u32>(), time()).prop_map(|(acts, until)| Reason::BudgetSpent { acts, until }),
        (".*", ".*", ".*").prop_map(|(probe, was, is)| Reason::SchemaMoved {
            probe: probe.into(),
            was: was.into(),
            is: is.into()
        }),
        (".*", ".*").prop_map(|(by, why)| Reason::AskedBy { by, why }),
    ]
}

pub(super) fn certificate() -> impl Strategy<Value = Certificate> {
    let peer =
        || (".*", any::<u64>()).prop_map(|(name, boot)| Peer { replica: name.into(), boot: Boot(boot) });
    let roster = (any::<u64>(), any::<u32>(), any::<bool>(), any::<u32>());
    let roster =
        roster.prop_map(|(version, replicas, watcher, down)| Roster { version, replicas, watcher, down });
    let ask = ("[!-~]{1,128}", prop::array::uniform4(any::<u64>()), release(), peer());
    let ask = ask.prop_map(|(name, [epoch, roster, policy, baseline], target, candidate)| Ask {
        key: Key { deployment: Deployment::new(&name).unwrap() },
        epoch,
        target,
        candidate,
        roster,
        policy,
        baseline,
    });
    (ask, prop::collection::vec(peer(), 0..5), roster, duration(), duration())
        .prop_map(|(ask, voters, roster, began, expires)| Certificate { ask, voters, roster, began, expires })
}

pub(super) fn progress() -> impl Strategy<Value = Progress> {
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

pub(super) fn summary() -> impl Strategy<Value = BaselineSummary> {
    let quantiles = prop::array::uniform8(option::of(any::<u64>()));
    let probes = prop::collection::vec((".*", option::of(any::<u64>())), 0..3);
    (release(), time(), time(), any::<u64>(), figure(), quantiles, probes).prop_map(
        |(release, from, to, requests, error_rate, us, probes)| BaselineSummary {
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
            cpu_millicores: us[5],
            memory_bytes: us[6],
            descriptors: us[7],
            probes: probes.into_iter().map(|(name, us)| (name.into(), us)).collect(),
        },
    )
}

pub(super) fn policy() -> impl Strategy<Value = Policy> {
    let mode = prop_oneof![Just(Mode::Observe), Just(Mode::Recommend), Just(Mode::Enforce)];
    let durations = prop::collection::vec(duration(), 12);
    let figures = prop::array::uniform12(figure());
    let counts = prop::array::uniform9(any::<u32>());
    let switches = prop::array::uniform6(any::<bool>());
    (mode, durations, figures, counts, switches).prop_map(|(mode, d, f, n, b)| Policy {
        mode,
        judging: b[0],
        watch: d[0],
        warm_up: d[1],
        warm_up_requests: n[0].into(),
        false_alarms: f[0],
        false_alarm_interval: d[2],
        error_ratio: f[1],
        error_floor: f[2],
        latency_ratio: f[3],
        judge_routes: b[1],
        judge_statuses: b[2],
        status_ratio: f[6],
        status_floor: f[7],
        judge_resources: b[3],
        resource_ratio: f[8],
        control_ratio: f[9],
        probe_floor: f[10],
        probe_ratio: f[11],
        hold: d[7],
        hold_blames_until: d[8],
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
        acts_an_hour: n[7],
        acts_a_day: n[8],
        lock: d[9],
        ignore_schema: b[5],
        confirm: d[10],
        confirm_max: d[11],
        act_after_watch: b[4],
        replicas: n[6],
    })
}

pub(super) fn decided() -> impl Strategy<Value = Decided> {
    (
        (prop_oneof![Just(Decision::RollBack), Just(Decision::Hold)], progress()),
        prop::collection::vec(reason(), 0..8),
        option::of(release()),
        (verdict(), option::of(diagnosis()), option::of(point())),
        prop::collection::vec(evidence(), 0..4),
        option::of(summary()),
        option::of(time()),
        (policy(), option::of(certificate()), prop::collection::vec(step(), 0..3)),
    )
        .prop_map(
            |(made, reasons, target, (verdict, diagnosis, point), evidence, baseline, ready_at, by)| {
                let ((decision, progress), (policy, certificate, steps)) = (made, by);
                Decided {
                    decision,
                    reasons,
                    target,
                    verdict,
                    diagnosis,
                    point,
                    evidence,
                    baseline,
                    ready_at,
                    policy,
                    progress,
                    certificate: certificate.map(Box::new),
                    steps,
                }
            },
        )
}

pub(super) fn health() -> impl Strategy<Value = Health> {
    prop_oneof![Just(Health::Unknown), Just(Health::Ok), Just(Health::Degraded), Just(Health::Failed)]
}

fn health_change() -> impl Strategy<Value = HealthChange> {
    (".*", any::<bool>(), health(), health(), duration(), ".*").prop_map(
        |(probe, critical, from, to, lasted, why)| {
            let change = Change { from, to, lasted };
            HealthChange { probe: probe.into(), critical, change, why }
        },
    )
}

fn passed_by() -> impl Strategy<Value = PassedBy> {
    prop_oneof![Just(PassedBy::Proof), Just(PassedBy::NotContradicted), Just(PassedBy::TimeCap)]
}

pub(super) fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        any::<bool>().prop_map(|known| Happening::Started { known }),
        Just(Happening::Ready),
        (option::of(any::<i32>()), option::of(any::<i32>()))
            .prop_map(|(code, signal)| Happening::Exited(Exit { code, signal })),
        (verdict(), verdict(), option::of(point())).prop_map(|(from, to, point)| Happening::VerdictChanged {
            from,
            to,
            point
        }),
        option::of(diagnosis()).prop_map(Happening::Diagnosed),
        (any::<u64>(), passed_by()).prop_map(|(requests, by)| Happening::WatchPassed { requests, by }),
        health_change().prop_map(Happening::HealthChanged),
        pause().prop_map(Happening::Paused),
        ".*".prop_map(|by| Happening::Resumed { by }),
        decided().prop_map(|decided| Happening::Decided(Box::new(decided))),
        (".*", ".*", time(), option::of(time()))
            .prop_map(|(by, reason, since, until)| Happening::Locked(Lock { by, reason, since, until })),
        ".*".prop_map(|by| Happening::Unlocked { by }),
        (id(), release(), outcome(), ".*").prop_map(|(decision, from, outcome, detail)| {
            Happening::Verified(Verified { decision, from, outcome, detail })
        }),
        (texts(), texts(), option::of(".*")).prop_map(|(faults, warnings, target)| {
            Happening::Readied(Readiness { faults, warnings, target })
        }),
    ]
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(".*", 0..3)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let all = [Outcome::Recovered, Outcome::NoChange, Outcome::Worse, Outcome::Unclear];
    prop::sample::select(all.to_vec())
}

fn step() -> impl Strategy<Value = StepTaken> {
    let steps = [ActStep::CancelQueued, ActStep::StopAutoDeploy, ActStep::Read, ActStep::Call, ActStep::Find];
    let outcome = prop_oneof![
        Just(StepOutcome::Begun),
        ".*".prop_map(|detail| StepOutcome::Done { detail }),
        ".*".prop_map(|reason| StepOutcome::Failed { reason }),
    ];
    (time(), prop::sample::select(steps.to_vec()), outcome).prop_map(|(at, step, outcome)| StepTaken {
        at,
        step,
        outcome,
    })
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    (id(), time(), release(), happening()).prop_map(|(id, at, release, what)| Record {
        id,
        at,
        release,
        what,
    })
}

pub(super) fn release_memory() -> impl Strategy<Value = ReleaseMemory> {
    let standing =
        prop_oneof![Just(Standing::OnTrial), Just(Standing::KnownGood), Just(Standing::RolledBack)];
    let crashes = prop::collection::vec(time(), 0..4);
    let shown = (option::of(summary()), option::of(figure()));
    let deployments = prop::collection::vec("[!-~]{1,128}", 0..3);
    let schemas = prop::collection::btree_map(".*", ".*", 0..3);
    let ran_as = (deployments, schemas);
    (
        (release(), time(), time(), standing),
        duration(),
        any::<u64>(),
        crashes,
        option::of(id()),
        (shown, ran_as),
    )
        .prop_map(|(who, judged_for, judged_requests, crashes, put_back_by, (shown, ran_as))| {
            let ((figures, score), (deployments, schemas)) = (shown, ran_as);
            let (release, first_ready, last_seen, standing) = who;
            ReleaseMemory {
                release,
                first_ready,
                last_seen,
                standing,
                judged_for,
                judged_requests,
                crashes,
                put_back_by,
                figures: figures.map(Box::new),
                score,
                deployments: deployments.iter().filter_map(|name| Deployment::new(name)).collect(),
                schemas: schemas.into_iter().map(|(probe, is)| (probe.into(), is.into())).collect(),
            }
        })
}
