//! What was said live is said again: from a real store, after it was closed and opened, on any number of threads.

use std::path::Path;
use std::time::Duration;

use crate::config;
use crate::engine::history::{self, FACTS_MAX, WatchPoint};
use crate::engine::memory::{Memory, Standing};
use crate::engine::observation::{Method, Outcome, StatusClass};
use crate::engine::policy::{Mode, Policy};
use crate::engine::record::{Exit, Happening, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::snapshot::Snapshot;
use crate::engine::tick::{ProbeTick, Resources};
use crate::engine::time::Time;
use crate::engine::verdict::{Undecided, Verdict};
use crate::engine::window::{Count, Latencies, RouteWindow, Window};
use crate::engine::{Effect, Engine, Identity, Input};
use crate::offline::backtest::{Backtest, Stored};
use crate::offline::replay::{Case, ReplayError};
use crate::store::{self, Archive, Store, Write};

const EPOCH: Time = Time::from_millis(1_800_000_000_000);
/// Watches in one store: it keeps no more than 256.
const A_STORE: u64 = 250;

#[derive(Clone, Copy)]
struct Load {
    errors: f64,
    slow: f64,
    rps: u64,
    probe_slow: u64,
}

const WELL: Load = Load { errors: 0.002, slow: 1.0, rps: 60, probe_slow: 1 };

/// A service with two routes, in virtual time.
struct Service {
    now: Time,
    random: fastrand::Rng,
}

impl Service {
    fn second(&mut self, load: Load) -> Window {
        let from = self.now;
        self.now = self.now + Duration::from_secs(1);
        let arrived = self.random.u64(load.rps / 2..=load.rps * 3 / 2);
        let mut routes: Vec<RouteWindow> = ["/users/{id}", "/orders"]
            .map(|route| RouteWindow {
                method: Method::Get,
                route: route.into(),
                ended: 0,
                judged: 0,
                failed: 0,
                watched: [0; 7],
                latencies: Latencies::default(),
            })
            .into();
        let mut latencies = Vec::new();
        let mut failed = 0;
        for n in 0..arrived {
            let us = (4000.0 * load.slow * (1.0 + 3.0 * self.random.f64().powi(4))) as u64;
            let has_failed = self.random.f64() < load.errors;
            let route = &mut routes[usize::from(n % 3 == 0)];
            route.ended += 1;
            route.judged += 1;
            route.failed += u64::from(has_failed);
            route.watched[3] += u64::from(self.random.u8(..) == 0);
            route.latencies.merge(&Latencies::new(vec![(us - us % 100, 1)]));
            latencies.push((us, 1));
            failed += u64::from(has_failed);
        }
        let count = |status, outcome, count| Count { method: Method::Get, status, outcome, count };
        let resources = Resources {
            cpu_millicores: Some(200 + self.random.u64(..60)),
            memory_bytes: Some((100 << 20) + self.random.u64(..4096)),
            descriptors: None,
        };
        let probe = ProbeTick {
            name: "postgres".into(),
            ok: 1,
            failed: 0,
            latencies: Latencies::new(vec![(900 * load.probe_slow + self.random.u64(..300), 1)]),
            load: Some(4),
        };
        Window {
            from,
            to: self.now,
            counts: vec![
                count(StatusClass::Success, Outcome::Answered, arrived - failed),
                count(StatusClass::ServerError, Outcome::AppError, failed),
            ],
            latencies: Latencies::new(latencies),
            arrived,
            answered: arrived,
            routes,
            resources,
            probes: vec![probe],
            ..Window::default()
        }
    }
}

fn release(name: &str) -> Release {
    Release::new(name).unwrap()
}

fn policy() -> Policy {
    Policy { mode: Mode::Recommend, watch: Duration::from_secs(240), ..Policy::default() }
}

fn settings(dir: &Path) -> config::Store {
    config::Store { dir: dir.to_owned(), dir_is_explicit: true, evidence_max: 200_000, records_max: 100_000 }
}

/// Which writes never reach the store.
type IsLost = fn(&Write) -> bool;

const NOTHING_LOST: IsLost = |_| false;

/// As the agent does: in the order of the effects, to the store.
async fn keep(store: &Store, effects: Vec<Effect>, records: &mut Vec<Record>, is_lost: IsLost) {
    let writes = effects.into_iter().filter_map(|effect| match effect {
        Effect::Record(record) => {
            records.push(record.clone());
            Some(Write::Record(record))
        }
        Effect::KeepWatch(start) => Some(Write::Watch(start)),
        Effect::KeepFact(fact) => Some(Write::Fact(fact)),
        Effect::KeepBaseline(baseline) => Some(Write::Baseline(baseline)),
        Effect::KeepRelease(memory) => Some(Write::Release(memory)),
        Effect::KeepPause(pause) => Some(Write::Pause { pause, at: Time::default() }),
        Effect::RollBack(_)
        | Effect::AskPlatform { .. }
        | Effect::Tell { .. }
        | Effect::Introduce(_)
        | Effect::Follow(_)
        | Effect::AskMemory(_)
        | Effect::SetSlowMark(_) => None,
    });
    let writes = writes.filter(|write| !is_lost(write)).map(|write| store.write(write));
    futures_util::future::try_join_all(writes).await.unwrap();
}

/// What was said live at the end of a watch.
struct Live {
    watch: RecordId,
    facts: u32,
    snapshot: Snapshot,
}

/// A memory in which `v1` is known good.
fn known_good() -> Memory {
    let mut service = Service { now: EPOCH, random: fastrand::Rng::with_seed(1) };
    let identity = Identity { release: release("v1"), boot: 1 };
    let (mut engine, mut effects) = Engine::start(EPOCH, identity, policy(), Memory::default());
    effects.extend(engine.step(EPOCH, Input::BecameReady));
    for _ in 0..20 * 60 {
        let window = service.second(WELL);
        effects.extend(engine.step(service.now, Input::Sealed(window)));
    }
    let mut memory = Memory::default();
    for effect in effects {
        match effect {
            Effect::KeepBaseline(baseline) => memory.baselines = vec![*baseline],
            Effect::KeepRelease(release) => memory.releases = vec![release],
            Effect::Record(_)
            | Effect::KeepWatch(_)
            | Effect::KeepFact(_)
            | Effect::KeepPause(_)
            | Effect::RollBack(_)
            | Effect::AskPlatform { .. }
            | Effect::Tell { .. }
            | Effect::Introduce(_)
            | Effect::Follow(_)
            | Effect::AskMemory(_)
            | Effect::SetSlowMark(_) => {}
        }
    }
    assert_eq!(memory.releases[0].standing, Standing::KnownGood);
    memory
}

/// Each kind of watch in turn: well, failing, slow, a slow database, crashing; each third one is restarted midway.
async fn run(
    store: &Store,
    n: u64,
    good: &Memory,
    records: &mut Vec<Record>,
    is_lost: IsLost,
) -> Option<Live> {
    let start = EPOCH + Duration::from_secs(100_000 + n * 1_000);
    let mut service = Service { now: start, random: fastrand::Rng::with_seed(n) };
    let identity = Identity { release: release(&format!("w{n}")), boot: n as u16 };
    let (mut engine, effects) = Engine::start(start, identity.clone(), policy(), good.clone());
    keep(store, effects, records, is_lost).await;
    let effects = engine.step(start, Input::BecameReady);
    keep(store, effects, records, is_lost).await;
    let bad = match n % 5 {
        1 => Load { errors: 0.06, ..WELL },
        2 => Load { slow: 2.5, ..WELL },
        3 => Load { slow: 3.0, probe_slow: 20, ..WELL },
        _ => WELL,
    };
    let length = 240 + n % 7 * 15;
    for second in 0..length {
        let window = service.second(if second < 90 { WELL } else { bad });
        let mut effects = engine.step(service.now, Input::Sealed(window));
        if n % 5 == 4 && second % 40 == 20 {
            effects.extend(engine.step(service.now, Input::Exited(Exit { code: Some(1), signal: None })));
            effects.extend(engine.step(service.now, Input::BecameReady));
        }
        if n.is_multiple_of(3) && second == 150 {
            keep(store, std::mem::take(&mut effects), records, is_lost).await;
            let memory = store.memory().await.unwrap();
            let watch = memory.watch.clone().expect("the watch is whole");
            assert!(watch.start.release == identity.release && watch.facts.len() <= FACTS_MAX);
            // The agent's other memories are those of the last release, as they would be in a store of its own.
            let releases =
                good.releases.iter().chain(memory.releases.iter().filter(|r| r.release == identity.release));
            let releases = releases.cloned().collect();
            let memory = Memory { watch: Some(watch), releases, ..good.clone() };
            let again =
                Engine::start(service.now, Identity { boot: 7000, ..identity.clone() }, policy(), memory);
            engine = again.0;
            keep(store, again.1, records, is_lost).await;
            effects = engine.step(service.now, Input::BecameReady);
        }
        keep(store, effects, records, is_lost).await;
    }
    let open = store.memory().await.unwrap().watch?;
    assert_eq!(open.start.release, identity.release);
    let facts = open.facts.len() as u32;
    Some(Live { watch: open.start.id, facts, snapshot: engine.snapshot(service.now) })
}

fn said(tested: &Backtest) -> String {
    format!("{tested:?}")
}

async fn replay_all(from: u64, count: u64) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let good = known_good();
    let store = store::open(&settings(dir.path())).unwrap();
    let (mut records, mut live) = (Vec::new(), Vec::new());
    for n in from..from + count {
        live.push(run(&store, n, &good, &mut records, NOTHING_LOST).await.unwrap());
    }
    store.close().await;
    let store = store::open(&settings(dir.path())).unwrap();

    let archive = Archive::open(dir.path()).unwrap();
    for was in &live {
        let watch = archive.watch(&was.watch).unwrap().unwrap();
        assert_eq!((watch.facts.len(), &watch.gap), (was.facts as usize, &None));
        let again = history::replay(&watch.start, &watch.facts, &policy());
        let (_, last) = again.judgements.last().unwrap();
        let live = (&was.snapshot.verdict, &was.snapshot.diagnosis, &was.snapshot.evidence);
        assert_eq!(format!("{live:?}"), format!("{:?}", (&last.verdict, &last.diagnosis, &again.evidence)));
    }
    let pointing: Vec<&Record> = records.iter().filter(|record| record.what.point().is_some()).collect();
    let decisions = pointing.iter().filter(|record| matches!(record.what, Happening::Decided(_))).count();
    for record in &pointing {
        let case = Case::read(&archive, record.id.as_str()).unwrap();
        let again = case.judge(&case.watch.start.policy);
        assert_eq!(case.differences(&again), [], "{} of {}", record.id, record.release);
    }
    let on_one = Stored::read(archive).unwrap().judge(&policy(), 1, &|| {});
    let on_four = Stored::read(Archive::open(dir.path()).unwrap()).unwrap().judge(&policy(), 4, &|| {});
    assert_eq!(said(&on_one), said(&on_four));
    assert_eq!((on_one.outcomes.len(), on_one.unreadable.len()), (live.len(), 0));
    for (was, is) in live.iter().rev().zip(&on_one.outcomes) {
        assert_eq!((&was.watch, &was.snapshot.verdict), (&is.watch, &is.verdict));
    }
    store.close().await;
    let degraded = on_one.outcomes.iter().filter(|o| o.first_degraded.is_some()).count();
    (decisions, degraded)
}

#[tokio::test]
async fn recorded_watches_are_judged_again_to_the_bit_on_any_number_of_threads() {
    let (decisions, degraded) = replay_all(0, 30).await;
    assert!(decisions >= 6 && (6..30).contains(&degraded), "{decisions} decisions, {degraded} degraded");
}

/// `cargo test --release --lib offline::tests::a_thousand -- --ignored`
#[tokio::test]
#[ignore = "takes minutes"]
async fn a_thousand_recorded_watches_are_judged_again_to_the_bit() {
    for from in (0..1000).step_by(A_STORE as usize) {
        replay_all(from, A_STORE).await;
    }
}

/// The first release has nothing to be held against until it passed: its own past then, in a watch that begins midway.
#[tokio::test]
async fn a_watch_that_begins_midway_is_judged_again_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::open(&settings(dir.path())).unwrap();
    let mut service = Service { now: EPOCH, random: fastrand::Rng::with_seed(1) };
    let identity = Identity { release: release("v1"), boot: 1 };
    let (mut engine, mut effects) = Engine::start(EPOCH, identity, policy(), Memory::default());
    effects.extend(engine.step(EPOCH, Input::BecameReady));
    for second in 0..12 * 60 {
        let load = if second < 600 { WELL } else { Load { errors: 0.06, ..WELL } };
        let window = service.second(load);
        effects.extend(engine.step(service.now, Input::Sealed(window)));
    }
    keep(&store, effects, &mut Vec::new(), NOTHING_LOST).await;
    let watch = store.memory().await.unwrap().watch.unwrap();
    assert!(watch.start.at > EPOCH && watch.start.baseline.is_some(), "{:?}", watch.start.at);
    let again = history::replay(&watch.start, &watch.facts, &policy());
    let (_, last) = again.judgements.last().unwrap();
    let live = engine.snapshot(service.now);
    let live = (&live.verdict, &live.diagnosis, &live.evidence);
    assert_eq!(format!("{live:?}"), format!("{:?}", (&last.verdict, &last.diagnosis, &again.evidence)));
}

#[tokio::test]
async fn another_policy_says_what_would_have_been_different() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::open(&settings(dir.path())).unwrap();
    let mut records = Vec::new();
    // A slow one.
    run(&store, 2, &known_good(), &mut records, NOTHING_LOST).await.unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    let decided = records.iter().find(|record| matches!(record.what, Happening::Decided(_))).unwrap();
    let case = Case::read(&archive, decided.id.as_str()).unwrap();
    let lax = case.judge(&Policy { latency_ratio: 10.0, ..policy() });
    assert!(lax.first_degraded.is_none() && lax.first_blamed.is_none(), "{:?}", lax.first_degraded);
    let same = case.judge(&policy());
    let keen = case.judge(&Policy { latency_ratio: 1.1, ..policy() });
    let at = |of: &crate::offline::replay::Again| of.first_degraded.as_ref().unwrap().at;
    assert!(at(&keen) <= at(&same));
    assert!(!case.differences(&lax).is_empty(), "other evidence is told");
    store.close().await;
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told() {
    for (is_lost, fault) in [
        (
            (|write| matches!(write, Write::Fact(kept) if kept.seq == 3)) as IsLost,
            "only 2 can be judged again: of its facts, 3 to 3 are not there",
        ),
        (|write| matches!(write, Write::Watch(_)), "is no longer stored"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = store::open(&settings(dir.path())).unwrap();
        let mut records = Vec::new();
        assert!(run(&store, 1, &known_good(), &mut records, is_lost).await.is_none());
        let archive = Archive::open(dir.path()).unwrap();
        let read = |id: &str| Case::read(&archive, id).map(drop).unwrap_err();
        assert!(matches!(read("zzzzzzzzz"), ReplayError::NoRecord { .. }));
        let ready = records.iter().find(|record| record.what == Happening::Ready).unwrap();
        assert!(matches!(read(ready.id.as_str()), ReplayError::NoPoint { kind: "ready", .. }));
        let pointing = records.iter().rfind(|record| record.what.point().is_some()).unwrap();
        let error = read(pointing.id.as_str());
        assert!(error.to_string().contains(fault), "{error}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_limit_that_healthy_releases_breach_is_to_be_raised() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::open(&settings(dir.path())).unwrap();
    // A slow one of which no record says that it was.
    let is_lost: IsLost = |write| matches!(write, Write::Record(_));
    run(&store, 2, &known_good(), &mut Vec::new(), is_lost).await.unwrap();
    let watch = Archive::open(dir.path()).unwrap().watches().unwrap()[0].id.clone();
    let well = Happening::VerdictChanged {
        from: Verdict::Undecided(Undecided::Gathering),
        to: Verdict::Healthy,
        point: Some(WatchPoint { watch, seq: 20 }),
    };
    let release = Release::new("v2").unwrap();
    let at = Time::from_millis(1_800_000_000_000);
    let id = RecordId::new(at, 9, 9);
    store.write(Write::Record(Record { id, at, release, what: well })).await.unwrap();
    store.close().await;
    let stored = || Stored::read(Archive::open(dir.path()).unwrap()).unwrap();
    let tested = stored().judge(&policy(), 2, &|| {});
    let [raise] = tested.raises.as_slice() else { panic!("{:?}", tested.raises) };
    assert_eq!((raise.option, raise.from, raise.watches.len()), ("judge.latency_ratio", 1.5, 1));
    let to = raise.to.unwrap();
    assert!((2.0..4.5).contains(&to), "{to}");
    let tested = stored().judge(&Policy { latency_ratio: to, ..policy() }, 2, &|| {});
    assert_eq!(tested.raises, []);
    assert!(tested.outcomes[0].was_well() && !tested.outcomes[0].was_ill());
    let closest = tested.outcomes[0].closest.as_ref().unwrap();
    assert!((0.0..1.0).contains(&closest.0), "{closest:?}");
    let judged = stored();
    assert!(!judged.is_empty() && judged.len() == 1);
}
