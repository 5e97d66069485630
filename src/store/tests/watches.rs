//! Watches: each comes back to the bit, or is told to be damaged.

use std::time::Duration;

use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use crate::config;
use crate::engine::history::{FACTS_MAX, Fact, KeptFact, WatchPoint, WatchStart};
use crate::engine::policy::Policy;
use crate::engine::record::{Exit, Happening};
use crate::engine::tick::{ProbeTick, Resources, RouteTick, Tick};
use crate::engine::time::Time;
use crate::engine::verdict::Verdict;
use crate::engine::window::Latencies;
use crate::store::prune::PRUNE_EVERY;
use crate::store::tests::rounds::any_round;
use crate::store::tests::{
    baseline, beside, open, record, release, seen, settings, tick, watch_id, write_all,
};
use crate::store::{self, Archive, OpenError, ReadError, Store, Write};

/// Columns hold numbers below 2^63.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..1000_u64, 0..(1_u64 << 63)]
}

fn latencies() -> impl Strategy<Value = Latencies> {
    prop::collection::vec((any::<u64>(), 1..1_000_000_u64), 0..30).prop_map(Latencies::new)
}

fn route() -> impl Strategy<Value = RouteTick> {
    ("[A-Z]{3,6} /[a-z{}/]{0,30}", any::<u64>(), any::<u64>(), any::<u64>(), latencies()).prop_map(
        |(route, ended, judged, failed, latencies)| RouteTick {
            route: route.into(),
            ended,
            judged,
            failed,
            latencies,
        },
    )
}

fn probe() -> impl Strategy<Value = ProbeTick> {
    (".{0,20}", any::<u64>(), any::<u64>(), latencies(), option::of(any::<u64>())).prop_map(
        |(name, ok, failed, latencies, load)| ProbeTick { name: name.into(), ok, failed, latencies, load },
    )
}

pub(super) fn any_tick() -> impl Strategy<Value = Tick> {
    let columns = (prop::array::uniform9(number()), any::<bool>(), latencies());
    let counts = (any::<u64>(), prop::array::uniform7(any::<u64>()), any::<u64>());
    let resources = prop::array::uniform3(option::of(any::<u64>()));
    let routes = prop::collection::vec(route(), 0..20);
    let probes = prop::collection::vec(probe(), 0..4);
    (columns, option::of((counts, resources)), routes, probes).prop_map(
        |((n, stalled, latencies), wide, routes, probes)| {
            let ((routed, watched, crashes), r) = wide.unwrap_or_default();
            Tick {
                from: Time::from_millis(n[0]),
                to: Time::from_millis(n[1]),
                judged: n[2],
                failed: n[3],
                latencies,
                ended: n[4],
                arrived: n[5],
                answered: n[6],
                waiting: n[7],
                overdue: n[8],
                stalled,
                routed,
                watched,
                routes,
                crashes,
                resources: Resources { cpu_millicores: r[0], memory_bytes: r[1], descriptors: r[2] },
                probes,
            }
        },
    )
}

pub(super) fn any_fact() -> impl Strategy<Value = Fact> {
    let exit = (option::of(any::<i32>()), option::of(any::<i32>()), any::<bool>());
    prop_oneof![
        5 => any_tick().prop_map(|tick| Fact::Tick(Box::new(tick))),
        3 => any_round().prop_map(|round| Fact::Round(Box::new(round))),
        1 => Just(Fact::Ready),
        1 => Just(Fact::Restarted),
        1 => exit.prop_map(|(code, signal, is_loop)| Fact::Exited { exit: Exit { code, signal }, is_loop }),
    ]
}

pub(super) fn begun(name: &str) -> WatchStart {
    WatchStart {
        id: watch_id(name),
        at: tick(0, 0).from,
        release: release(name),
        first_ready: Time::from_millis(77),
        passed: true,
        judged_for: Duration::from_secs(61),
        judged_requests: 1234,
        baseline: Some(rich("v0", 40)),
        policy: Policy { latency_ratio: 1.3, ..Policy::default() },
    }
}

/// A tick of a service with so many routes.
pub(super) fn rich_tick(n: u64, routes: u64) -> Tick {
    let latencies = |seed: u64, pairs: u64| {
        let at = |i: u64| {
            let us = 900 + (seed * 7919 + i * i * 613) % 30_000;
            us - us % if us < 10_000 { 100 } else { 1000 }
        };
        Latencies::new((0..pairs).map(|i| (at(i), 1 + i % 3)).collect())
    };
    let route = |i| RouteTick {
        route: format!("GET /api/v1/things-{i:02}/{{id}}/parts").into(),
        ended: 40,
        judged: 40,
        failed: n % 2,
        latencies: latencies(n + i, 12),
    };
    let probe = |name: &str| ProbeTick {
        name: name.into(),
        ok: 5,
        failed: 0,
        latencies: latencies(n, 5),
        load: Some(17 + n % 3),
    };
    Tick {
        routed: 500,
        watched: [0, 1, 2, 3, 0, 0, 1],
        routes: (0..routes).map(route).collect(),
        crashes: n % 50 / 49,
        resources: Resources {
            cpu_millicores: Some(300 + n % 400),
            memory_bytes: Some((200 << 20) + n * 4096),
            descriptors: Some(60 + n % 9),
        },
        probes: vec![probe("postgres"), probe("redis")],
        ..tick(n, 150)
    }
}

fn rich(name: &str, ticks: u64) -> crate::engine::baseline::Baseline {
    let mut of = baseline(name, 3);
    (0..ticks).for_each(|n| of.learn(&rich_tick(n, 50), Duration::from_secs(n * 5)));
    of
}

pub(super) fn kept(name: &str, seq: u32, fact: Fact) -> KeptFact {
    let at = Time::from_millis(1_763_848_800_000 + u64::from(seq) * 5000);
    KeptFact { watch: watch_id(name), seq, at, release: release(name), fact }
}

pub(super) async fn count(store: &Store, sql: &'static str) -> u64 {
    store.ask(move |connection, _| connection.query_row(sql, [], |row| row.get::<_, i64>(0))).await.unwrap()
        as u64
}

#[test]
fn every_fact_comes_back_to_the_bit() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let facts = prop::collection::vec(any_fact(), 1..12);
    TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() })
        .run(&facts, |facts| {
            let facts: Vec<_> = facts.into_iter().zip(1..).map(|(f, seq)| kept("v2", seq, f)).collect();
            let store = store::in_memory(&settings("".as_ref())).unwrap();
            let start = WatchStart { baseline: None, ..begun("v2") };
            let writes = facts.iter().cloned().map(|fact| Write::Fact(Box::new(fact)));
            runtime.block_on(write_all(&store, [Write::Watch(Box::new(start.clone()))]));
            runtime.block_on(write_all(&store, writes));
            let open = runtime.block_on(store.memory()).unwrap().watch.unwrap();
            assert_eq!(store.status().damaged, 0);
            assert_eq!((open.start, &open.facts), (start, &facts));
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_watch_survives_a_restart_with_its_baseline() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let facts = [Fact::Ready, Fact::Tick(Box::new(rich_tick(1, 5))), Fact::Restarted];
    let facts: Vec<_> = facts.into_iter().zip(1..).map(|(fact, seq)| kept("v2", seq, fact)).collect();
    write_all(&store, [Write::Watch(Box::new(begun("v1"))), Write::Watch(Box::new(begun("v2")))]).await;
    write_all(&store, facts.iter().cloned().map(|fact| Write::Fact(Box::new(fact)))).await;
    store.close().await;
    let store = open(dir.path());
    let watch = store.memory().await.unwrap().watch.unwrap();
    assert_eq!((&watch.start, &watch.facts), (&begun("v2"), &facts));

    // Beside the agent that has it open.
    let archive = Archive::open(dir.path()).unwrap();
    let ids: Vec<_> = archive.watches().unwrap().into_iter().map(|watch| watch.id).collect();
    assert_eq!(ids, [watch_id("v2"), watch_id("v1")]);
    let read = archive.watch(&watch_id("v2")).unwrap().unwrap();
    assert_eq!((read.start, read.facts, read.gap), (watch.start, watch.facts, None));
    assert_eq!(archive.watch(&watch_id("v9")).unwrap(), None);
    let read = store.memory().await.unwrap();
    assert!(read.watch.is_some());
}

#[tokio::test]
async fn a_watch_with_a_fault_is_told_and_not_gone_on_with() {
    for (sql, fault) in [
        ("DELETE FROM evidence WHERE seq = 2", "2 to 2 are not there"),
        ("UPDATE evidence SET failed = failed + 1 WHERE seq = 2", "check does not match"),
        ("UPDATE evidence SET more = x'0199' WHERE seq = 3", "bytes are damaged"),
        ("UPDATE evidence SET kind = 'rested' WHERE seq = 1", "unknown kind"),
        ("UPDATE evidence SET seq = 2 WHERE seq = 3", "there twice"),
        ("UPDATE watches SET at_ms = at_ms + 1", "digest does not match"),
        ("UPDATE watches SET baseline = NULL", "digest does not match"),
        ("UPDATE watches SET id = 'other'", ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let facts = [Fact::Ready, Fact::Tick(Box::new(tick(1, 9))), Fact::Tick(Box::new(rich_tick(2, 3)))];
        write_all(&store, [Write::Watch(Box::new(begun("v2")))]).await;
        let facts = facts.into_iter().zip(1..).map(|(fact, seq)| kept("v2", seq, fact));
        write_all(&store, facts.map(|fact| Write::Fact(Box::new(fact)))).await;
        beside(dir.path()).execute_batch(sql).unwrap();
        assert_eq!(store.memory().await.unwrap().watch, None, "{sql}");
        assert_eq!(store.status().damaged, 1, "{sql}");
        if fault.is_empty() {
            continue;
        }
        let said = match Archive::open(dir.path()).unwrap().watch(&watch_id("v2")) {
            Ok(watch) => watch.unwrap().gap.unwrap(),
            Err(error) => error.to_string(),
        };
        assert!(said.contains(fault), "{sql}: {said}");
    }
}

#[tokio::test]
async fn a_watch_too_long_to_go_on_with_is_no_fault() {
    let store = store::in_memory(&settings("".as_ref())).unwrap();
    write_all(&store, [Write::Watch(Box::new(begun("v1")))]).await;
    let longest = FACTS_MAX as u64;
    write_all(&store, (1..=longest).map(|n| seen("v1", n, tick(n, 1)))).await;
    assert_eq!(store.memory().await.unwrap().watch.unwrap().facts.len(), FACTS_MAX);
    write_all(&store, [seen("v1", longest + 1, tick(0, 1))]).await;
    assert_eq!(store.memory().await.unwrap().watch, None);
    assert_eq!(store.status().damaged, 0);
}

#[tokio::test]
async fn half_of_the_room_is_for_the_beginnings_of_the_newest_watches() {
    let bounded = config::Store { evidence_max: 4000, ..settings("".as_ref()) };
    let store = store::in_memory(&bounded).unwrap();
    for v in 0..12 {
        let name = format!("v{v}");
        let start = WatchStart { baseline: None, ..begun(&name) };
        write_all(&store, [Write::Watch(Box::new(start))]).await;
        write_all(&store, (1..=700).map(|n| seen(&name, n, Tick::starting(Time::default())))).await;
    }
    write_all(&store, (701..=5000).map(|n| seen("v11", n, Tick::starting(Time::default())))).await;
    let rows = count(&store, "SELECT count(*) FROM evidence").await;
    assert!((4000..=4000 + PRUNE_EVERY).contains(&rows), "{rows}");
    let whole = store
        .ask(|connection, _| {
            let read = |v| store::evidence::watch(connection, watch_id(v).as_str(), 10_000);
            ["v6", "v7", "v8", "v9", "v10", "v11"]
                .map(|v| read(v).map(|found| found.map(|watch| watch.unwrap().facts.len())))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()
        })
        .await
        .unwrap();
    assert_eq!(whole, [None, Some(400), Some(400), Some(400), Some(400), Some(400)]);
}

#[tokio::test]
async fn wide_ticks_are_kept_in_smaller_numbers() {
    let bounded = config::Store { evidence_max: 600, ..settings("".as_ref()) };
    let store = store::in_memory(&bounded).unwrap();
    write_all(&store, (1..=1400).map(|n| seen("v1", n, rich_tick(n, 600)))).await;
    let bytes = count(&store, "SELECT sum(bytes) FROM evidence").await;
    let rows = count(&store, "SELECT count(*) FROM evidence").await;
    let mean = bytes / rows;
    assert!(mean > 4096, "{mean}");
    assert!(bytes <= 600 * 4096 + PRUNE_EVERY * mean, "{rows} rows of {mean}");
}

#[tokio::test]
async fn records_that_point_into_a_watch_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let changed = |ms, seq| {
        let point = Some(WatchPoint { watch: watch_id("v2"), seq });
        let what = Happening::VerdictChanged { from: Verdict::Healthy, to: Verdict::Healthy, point };
        record(ms, 0, what)
    };
    let records = [changed(9, 3), record(4, 0, Happening::Ready), changed(2, 1)];
    write_all(&store, records.clone().map(Write::Record)).await;
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.pointing().unwrap(), [records[2].clone(), records[0].clone()]);
    assert_eq!(archive.record(records[0].id.as_str()).unwrap().as_ref(), Some(&records[0]));
    assert_eq!(archive.record("zzzzzzz").unwrap(), None);
    beside(dir.path()).execute_batch("UPDATE records SET doc = '{'").unwrap();
    let error = archive.record(records[0].id.as_str()).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
}

#[test]
fn an_archive_that_is_not_there_or_no_database_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let error = Archive::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    std::fs::write(dir.path().join(store::DATABASE_FILE), "no database at all, but long enough").unwrap();
    assert!(Archive::open(dir.path()).unwrap_err().is_corrupt());
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let (of, ticks) = (baseline("v1", 5), [tick(3, 7), tick(4, 7)]);
    let latency = store::codec::histogram_to_bytes(&of.latency);
    let digest = store::codec::baseline::digest(&of, &latency, None);
    let former = beside(dir.path());
    former.execute_batch(store::schema::MIGRATIONS[0]).unwrap();
    former.pragma_update(None, "user_version", 1).unwrap();
    let (from, to) = (of.from.as_millis() as i64, of.to.as_millis() as i64);
    let shares = serde_json::to_string(&of.ticks_by_failed_ppm).unwrap();
    former
        .execute(
            "INSERT INTO baselines VALUES ('v1', ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            rusqlite::params![from, to, of.judged as i64, of.failed as i64, shares, latency, digest],
        )
        .unwrap();
    for t in &ticks {
        let latencies = store::codec::latencies_to_bytes(&t.latencies);
        former
            .execute(
                "INSERT INTO evidence VALUES (NULL, 'v1', ?1, ?2, 500, ?3, 501, 502, 500, 3, 1, ?4, ?5)",
                rusqlite::params![
                    t.from.as_millis() as i64,
                    t.to.as_millis() as i64,
                    t.failed as i64,
                    t.stalled,
                    latencies
                ],
            )
            .unwrap();
    }
    former.close().unwrap();
    let archive = Archive::open(dir.path()).unwrap();
    assert_eq!(archive.watches().unwrap(), []);
    drop(archive);

    let store = open(dir.path());
    let memory = store.memory().await.unwrap();
    let [read] = memory.baselines.as_slice() else { panic!("one baseline") };
    assert_eq!((read.judged, &read.latency), (of.judged, &of.latency));
    assert_eq!((read.hours.len(), read.ages.len(), read.all_ticks), (0, of.ages.len(), 0));
    assert_eq!((memory.watch, store.status().damaged), (None, 0));
    let (from, to) = (Time::default(), Time::from_millis(u64::MAX));
    assert_eq!(store.ticks(&release("v1"), from, to, 10).await.unwrap(), ticks);
    write_all(&store, [Write::Baseline(Box::new(rich("v1", 9)))]).await;
    assert_eq!(store.memory().await.unwrap().baselines, [rich("v1", 9)]);
}

#[tokio::test]
async fn a_change_anywhere_in_a_baselines_wide_part_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write_all(&store, [Write::Baseline(Box::new(rich("v1", 9)))]).await;
    assert_eq!(store.memory().await.unwrap().baselines, [rich("v1", 9)]);
    for sql in ["UPDATE baselines SET wide = CAST(wide || x'00' AS BLOB)", "UPDATE baselines SET wide = NULL"]
    {
        beside(dir.path()).execute_batch(sql).unwrap();
        assert_eq!(store.memory().await.unwrap().baselines, []);
    }
    assert_eq!(store.status().damaged, 2);
}

/// Prints what the docs say of sizes. Run by hand:
/// `cargo test --lib store::tests::watches::sizes -- --ignored --nocapture`
#[test]
#[ignore = "measures, asserts little"]
fn sizes_of_busy_services_measured() {
    use crate::engine::baseline::Baseline;
    use crate::store::codec::{baseline as codec, fact, histogram_to_bytes};
    let mut random = fastrand::Rng::with_seed(7);
    let mut draw = |median: f64| {
        let spread: f64 = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
        (median * (0.5 * spread).exp()) as u64
    };
    for (routes, a_route) in [(5, 100), (50, 12), (50, 100), (200, 20)] {
        let mut of = Baseline::empty(release("v1"), tick(0, 0).from);
        let mut wide = 0;
        let ticks = 168 * 6;
        for n in 0..ticks {
            let at = Time::from_millis(1_763_848_800_000 + n * 600_000);
            let mut t = rich_tick(n, routes);
            (t.from, t.to) = (at, at + Duration::from_secs(5));
            for (i, route) in t.routes.iter_mut().enumerate() {
                let median = 2000.0 * (1.0 + i as f64 / 10.0);
                let pairs = (0..a_route).map(|_| (draw(median), 1)).map(|(us, n)| {
                    let step = 10_u64.pow((us.max(1).ilog10()).saturating_sub(1));
                    (us - us % step, n)
                });
                route.latencies = Latencies::new(pairs.collect());
            }
            let all = t.routes.iter().flat_map(|r| r.latencies.pairs().iter().copied());
            t.latencies = Latencies::new(all.collect());
            wide += fact::wide_to_bytes(&t).len() as u64;
            of.learn(&t, Duration::from_secs(5 * n));
        }
        let whole = codec::to_bytes(&of).len();
        let clock = crate::clock::Clock::start();
        let bytes = codec::wide_to_bytes(&of);
        println!(
            "{routes} routes of {a_route} requests a tick: {} bytes of a tick beside its latencies; a baseline of \
             {} hours: {} bytes wide, {} of latencies, {whole} whole, packed in {:?}",
            wide / ticks,
            of.hours.len(),
            bytes.len(),
            histogram_to_bytes(&of.latency).len(),
            clock.uptime()
        );
        assert!(whole < 1_000_000);
    }
}
