//! Whose fault is it? Rounds of several replicas, a stable release beside, dependencies: in, the diagnosis: out.

use std::time::Duration;

use outrigger::engine::baseline::Baseline;
use outrigger::engine::diagnosis::{Diagnosis, Ground};
use outrigger::engine::policy::Policy;
use outrigger::engine::tick::{ProbeTick, Resources, Round, RouteTick, Tick};
use outrigger::engine::time::Time;
use outrigger::engine::verdict::{Breach, StreamName, Undecided, Verdict};
use outrigger::engine::watch::{Judgement, Watch};
use outrigger::engine::window::Latencies;

use crate::world::release;

const START: Time = Time::from_millis(1_800_000_000_000);
const STEP: Duration = Duration::from_secs(5);

/// What one replica is like; chance comes from the scene's seed.
#[derive(Clone, Copy, Debug)]
struct Like {
    requests: u64,
    errors: f64,
    slow: f64,
    /// Of the route that has one request in fifty.
    rare_errors: f64,
    unauthorized: f64,
    memory_mib: u64,
    crash: bool,
}

const WELL: Like = Like {
    requests: 500,
    errors: 0.001,
    slow: 1.0,
    rare_errors: 0.001,
    unauthorized: 0.01,
    memory_mib: 200,
    crash: false,
};

#[derive(Clone, Copy, Debug, Default)]
struct Database {
    fails: bool,
    slow: bool,
    /// Connections in use.
    load: u64,
}

struct Scene {
    rng: fastrand::Rng,
    watch: Watch,
    now: Time,
}

fn draw(rng: &mut fastrand::Rng, n: u64, p: f64) -> u64 {
    (0..n).filter(|_| rng.f64() < p).count() as u64
}

fn tick(rng: &mut fastrand::Rng, to: Time, like: Like) -> Tick {
    let latencies = |rng: &mut fastrand::Rng, n: u64, slow: f64| {
        let normal = |rng: &mut fastrand::Rng| (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        Latencies::new((0..n).map(|_| ((8_000.0 * (0.5 * normal(rng)).exp() * slow) as u64, 1)).collect())
    };
    let rare = like.requests / 50;
    let (common_failed, rare_failed) =
        (draw(rng, like.requests - rare, like.errors), draw(rng, rare, like.rare_errors));
    let route = |route: &str, n, failed, latencies: Latencies| RouteTick {
        route: route.into(),
        ended: n,
        judged: n,
        failed,
        latencies,
    };
    let (common, few) = (latencies(rng, like.requests - rare, like.slow), latencies(rng, rare, like.slow));
    let mut all = common.clone();
    all.merge(&few);
    let mut watched = [0; 7];
    watched[1] = draw(rng, like.requests, like.unauthorized);
    Tick {
        from: to - STEP,
        to,
        judged: like.requests,
        failed: common_failed + rare_failed,
        latencies: all,
        ended: like.requests,
        arrived: like.requests,
        answered: like.requests,
        routed: like.requests,
        watched,
        routes: vec![
            route("GET /", like.requests - rare, common_failed, common),
            route("GET /rare", rare, rare_failed, few),
        ],
        crashes: u64::from(like.crash),
        resources: Resources {
            cpu_millicores: Some(300),
            memory_bytes: Some(like.memory_mib << 20),
            descriptors: Some(50),
        },
        ..Tick::default()
    }
}

fn probes(tick: &mut Tick, name: &str, database: Database) {
    let us = if database.slow { 40_000 } else { 2_000 };
    tick.probes.push(ProbeTick {
        name: name.into(),
        ok: u64::from(!database.fails),
        failed: u64::from(database.fails),
        latencies: Latencies::new(if database.fails { Vec::new() } else { vec![(us, 1)] }),
        load: Some(database.load),
    });
}

impl Scene {
    fn open(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut baseline = Baseline::empty(release("v1"), START);
        for n in 0..720 {
            let to = START + STEP * (n + 1);
            let mut tick = tick(&mut rng, to, WELL);
            probes(&mut tick, "postgres", Database { load: 20, ..Database::default() });
            probes(&mut tick, "redis", Database { load: 20, ..Database::default() });
            baseline.learn(&tick, STEP * (n + 100));
        }
        let ready = START + Duration::from_secs(7 * 24 * 3600);
        let watch = Watch::begin(ready, release("v2"), Some(baseline), Policy::default());
        Self { rng, watch, now: ready }
    }

    /// One round of these replicas.
    fn round(&mut self, replicas: &[Like], control: Option<Like>, databases: [Database; 2]) -> Judgement {
        self.now = self.now + STEP;
        let mut candidate = Vec::new();
        for (i, like) in replicas.iter().enumerate() {
            let mut tick = tick(&mut self.rng, self.now, *like);
            probes(&mut tick, "postgres", databases[0]);
            probes(&mut tick, "redis", databases[1]);
            candidate.push((format!("r{i}").into(), tick));
        }
        let control = control.map(|like| tick(&mut self.rng, self.now, like));
        self.watch.see(self.now, &Round { candidate, control })
    }

    /// Rounds until it is degraded, at most so many.
    fn until_degraded(
        &mut self,
        rounds: u32,
        replicas: &[Like],
        control: Option<Like>,
        databases: [Database; 2],
    ) -> (u32, Judgement) {
        for n in 1..=rounds {
            let judgement = self.round(replicas, control, databases);
            if matches!(judgement.verdict, Verdict::Degraded { .. }) {
                return (n, judgement);
            }
        }
        panic!("not degraded within {rounds} rounds: {:#?}", self.watch.evidence());
    }

    fn well(&mut self, rounds: u32, replicas: usize) {
        for _ in 0..rounds {
            let judgement = self.round(&vec![WELL; replicas], None, [calm(), calm()]);
            assert!(!matches!(judgement.verdict, Verdict::Degraded { .. }), "{judgement:?}");
        }
    }
}

fn calm() -> Database {
    Database { load: 20, ..Database::default() }
}

fn breach(judgement: &Judgement) -> &Breach {
    let Verdict::Degraded { breach, .. } = &judgement.verdict else { panic!("{judgement:?}") };
    breach
}

#[test]
fn a_release_whose_replicas_are_all_worse_is_to_blame() {
    let mut scene = Scene::open(1);
    scene.well(30, 3);
    let ill = Like { errors: 0.02, ..WELL };
    let (rounds, judgement) = scene.until_degraded(8, &[ill; 3], None, [calm(), calm()]);
    assert_eq!(judgement.diagnosis, Some(Diagnosis::Deployment(Ground::NothingElse)));
    assert!(judgement.blames_release() && rounds >= 3, "{rounds}");
}

#[test]
fn one_ill_replica_of_three_is_not_the_releases_fault() {
    for ill in [Like { errors: 0.3, ..WELL }, Like { slow: 4.0, ..WELL }, Like { memory_mib: 900, ..WELL }] {
        let mut scene = Scene::open(2);
        scene.well(30, 3);
        let (_, judgement) = scene.until_degraded(120, &[WELL, ill, WELL], None, [calm(), calm()]);
        assert_eq!(judgement.diagnosis, Some(Diagnosis::Replica { replica: "r1".into() }), "{ill:?}");
        for _ in 0..60 {
            let judgement = scene.round(&[WELL, ill, WELL], None, [calm(), calm()]);
            assert!(!judgement.blames_release(), "{ill:?}: {judgement:?}");
        }
        // The others follow: then it is the release.
        let blamed = (0..120).any(|_| scene.round(&[ill; 3], None, [calm(), calm()]).blames_release());
        assert!(blamed, "{ill:?}");
    }
}

#[test]
fn a_failing_database_is_not_the_releases_fault_and_is_forgotten_when_it_is_over() {
    let mut scene = Scene::open(3);
    scene.well(30, 3);
    let ill = Like { errors: 0.3, ..WELL };
    let down = Database { fails: true, ..calm() };
    let (_, judgement) = scene.until_degraded(8, &[ill; 3], None, [down, calm()]);
    assert!(
        matches!(&judgement.diagnosis, Some(Diagnosis::Dependency { probe, .. }) if &**probe == "postgres"),
        "{judgement:?}"
    );
    for n in 0..200 {
        let is_over = n > 8;
        let like = if is_over { WELL } else { ill };
        let judgement = scene.round(&[like; 3], None, [if is_over { calm() } else { down }, calm()]);
        assert!(!judgement.blames_release(), "round {n}: {judgement:?}");
    }
    let ill = Like { errors: 0.02, ..WELL };
    let blamed = (0..20).any(|_| scene.round(&[ill; 3], None, [calm(), calm()]).blames_release());
    assert!(blamed, "what was forgotten is the outage, not how to judge");
}

#[test]
fn a_release_that_overloads_its_own_database_is_to_blame() {
    let mut scene = Scene::open(4);
    scene.well(30, 1);
    let ill = Like { slow: 5.0, ..WELL };
    let crushed = Database { slow: true, load: 200, ..calm() };
    let (_, judgement) = scene.until_degraded(10, &[ill], None, [crushed, calm()]);
    let ground = Ground::Overloads { probe: "postgres".into() };
    assert_eq!(judgement.diagnosis, Some(Diagnosis::Deployment(ground)));
    // The same with a load as usual is the database's own trouble.
    let mut scene = Scene::open(4);
    scene.well(30, 1);
    let slow = Database { slow: true, ..calm() };
    let (_, judgement) = scene.until_degraded(10, &[ill], None, [slow, calm()]);
    assert!(matches!(judgement.diagnosis, Some(Diagnosis::Dependency { .. })), "{judgement:?}");
}

#[test]
fn all_dependencies_at_once_are_the_network() {
    let mut scene = Scene::open(5);
    scene.well(30, 1);
    let down = Database { fails: true, ..calm() };
    let (_, judgement) = scene.until_degraded(8, &[Like { errors: 0.5, ..WELL }], None, [down, down]);
    assert_eq!(judgement.diagnosis, Some(Diagnosis::Network));
}

#[test]
fn a_hold_ends() {
    let mut scene = Scene::open(6);
    scene.well(30, 1);
    let (ill, down) = (Like { errors: 0.5, ..WELL }, Database { fails: true, ..calm() });
    let (_, judgement) = scene.until_degraded(8, &[ill], None, [down, calm()]);
    let held = |judgement: &Judgement| match judgement.diagnosis {
        Some(Diagnosis::Dependency { hold_ended, .. }) => !hold_ended,
        _ => panic!("{judgement:?}"),
    };
    assert!(held(&judgement));
    let rounds = Policy::default().hold.as_secs() / 5;
    let all: Vec<bool> = (0..rounds).map(|_| held(&scene.round(&[ill], None, [down, calm()]))).collect();
    assert!(all[..all.len() - 1].iter().all(|&held| held) && !all[all.len() - 1]);
}

#[test]
fn what_the_stable_release_suffers_as_well_is_shared() {
    let mut scene = Scene::open(7);
    scene.well(30, 1);
    let ill = Like { errors: 0.3, slow: 3.0, rare_errors: 0.3, ..WELL };
    for _ in 0..60 {
        let judgement = scene.round(&[ill], Some(Like { requests: 1500, ..ill }), [calm(), calm()]);
        assert!(!matches!(judgement.verdict, Verdict::Degraded { .. }), "{judgement:?}");
    }
    let judgement = scene.round(&[ill], Some(Like { requests: 1500, ..ill }), [calm(), calm()]);
    assert_eq!(judgement.verdict, Verdict::Undecided(Undecided::Shared));
    // It came after the release, and no dependency is worse: it may be the release's doing all the same.
    assert_eq!(judgement.diagnosis, Some(Diagnosis::Shared { by_the_release: true }));
}

#[test]
fn beside_a_stable_release_that_is_well_the_candidate_is_to_blame() {
    for ill in [Like { errors: 0.02, ..WELL }, Like { slow: 2.0, ..WELL }, Like { errors: 0.9, ..WELL }] {
        let mut scene = Scene::open(8);
        let beside = Some(Like { requests: 1500, ..WELL });
        for _ in 0..30 {
            scene.round(&[WELL], beside, [calm(), calm()]);
        }
        let (rounds, judgement) = scene.until_degraded(8, &[ill], beside, [calm(), calm()]);
        assert_eq!(judgement.diagnosis, Some(Diagnosis::Deployment(Ground::ControlIsWell)), "{ill:?}");
        assert!(rounds >= 3);
    }
}

#[test]
fn one_broken_route_among_others_is_found_and_named() {
    let mut scene = Scene::open(9);
    scene.well(30, 3);
    let ill = Like { rare_errors: 0.3, ..WELL };
    let (_, judgement) = scene.until_degraded(24, &[ill; 3], None, [calm(), calm()]);
    let route = Breach::Route { stream: StreamName::RouteErrors, route: "GET /rare".into() };
    assert!(breach(&judgement) == &route || breach(&judgement) == &Breach::Errors, "{judgement:?}");
    assert!(judgement.blames_release());
}

#[test]
fn a_storm_of_401_and_a_leak_and_slow_crashes_are_found() {
    let mut scene = Scene::open(10);
    scene.well(30, 1);
    let (_, judgement) =
        scene.until_degraded(12, &[Like { unauthorized: 0.4, ..WELL }], None, [calm(), calm()]);
    assert_eq!(breach(&judgement), &Breach::Status(401));

    let mut scene = Scene::open(11);
    scene.well(30, 1);
    let (_, judgement) =
        scene.until_degraded(120, &[Like { memory_mib: 500, ..WELL }], None, [calm(), calm()]);
    assert_eq!(breach(&judgement), &Breach::Resource(StreamName::Memory));

    let mut scene = Scene::open(12);
    scene.well(30, 1);
    let found = (0..480).find(|n| {
        let like = Like { crash: n % 36 == 35, ..WELL };
        matches!(scene.round(&[like], None, [calm(), calm()]).verdict, Verdict::Degraded { .. })
    });
    assert!(found.is_some(), "a crash each three minutes, for forty minutes");
}

#[test]
fn a_score_is_high_in_health_and_low_in_illness() {
    let mut scene = Scene::open(13);
    scene.well(60, 2);
    let well = scene.round(&[WELL; 2], None, [calm(), calm()]).score.expect("it is judged");
    let ill = Like { errors: 0.05, ..WELL };
    let (_, judgement) = scene.until_degraded(8, &[ill; 2], None, [calm(), calm()]);
    let ill = judgement.score.expect("it is judged");
    assert!(well > 0.7 && (0.0..=0.5).contains(&ill), "{well} {ill}");
}

#[test]
fn watches_judged_again_and_in_pieces_come_to_the_same_to_the_bit() {
    let run = |ill_from: u64| {
        let mut scene = Scene::open(14);
        let mut all = Vec::new();
        for n in 0..80 {
            let like = if n >= ill_from { Like { slow: 1.8, ..WELL } } else { WELL };
            all.push(scene.round(&[like; 2], None, [calm(), calm()]));
        }
        (all, scene.watch.evidence())
    };
    let (once, again, other) = (run(50), run(50), run(51));
    assert_eq!(once, again);
    assert_ne!(once.1, other.1, "one tick more or less shows");
}

#[test]
fn an_outage_from_the_first_second_on_is_forgotten_when_it_is_over() {
    let mut scene = Scene::open(15);
    let (ill, down) = (Like { errors: 0.6, ..WELL }, Database { fails: true, ..calm() });
    for n in 0..120 {
        let (like, database) = if n < 24 { (ill, down) } else { (WELL, calm()) };
        let judgement = scene.round(&[like; 2], None, [database, calm()]);
        assert!(!judgement.blames_release(), "round {n}: {judgement:?}");
    }
}

#[test]
fn a_stable_release_that_has_gone_answers_for_nothing() {
    let mut scene = Scene::open(16);
    for _ in 0..60 {
        scene.round(&[WELL], Some(Like { requests: 1500, ..WELL }), [calm(), calm()]);
    }
    for _ in 0..60 {
        scene.round(&[WELL], None, [calm(), calm()]);
    }
    let (rounds, judgement) =
        scene.until_degraded(8, &[Like { errors: 0.05, ..WELL }], None, [calm(), calm()]);
    assert_eq!(judgement.diagnosis, Some(Diagnosis::Deployment(Ground::NothingElse)));
    assert!(rounds >= 4, "{rounds}: and the tick level counts again");
}

#[test]
fn one_replica_that_fails_from_the_start_does_not_condemn_the_release() {
    let mut scene = Scene::open(17);
    for n in 0..60 {
        let ill = Like { errors: 1.0, ..WELL };
        let judgement = scene.round(&[WELL, ill, WELL], None, [calm(), calm()]);
        assert!(!judgement.blames_release(), "round {n}: {judgement:?}");
    }
    // It is replaced, and its past is not the release's.
    for n in 0..120 {
        let judgement = scene.round(&[WELL, WELL], None, [calm(), calm()]);
        assert!(!judgement.blames_release(), "round {n}: {judgement:?}");
    }
}
