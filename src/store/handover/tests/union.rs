//! In which order memories are put together, how often, and by way of whom, changes nothing.

use std::cell::Cell;
use std::time::Duration;

use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;

use crate::engine::memory::{ReleaseMemory, Standing};
use crate::engine::peer::Deployment;
use crate::engine::record::Progress;
use crate::engine::release::RecordId;
use crate::store::Write;
use crate::store::codec::item::Content;
use crate::store::handover::Item;
use crate::store::handover::tests::{
    at, begun, by, empty, exported, fact, item_of_pause, item_of_record, item_of_release, items_of_watch,
    memory, taken, thought, written,
};
use crate::store::tests::{baseline, rollback};

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("v1"), Just("v2")]
}

fn any_release() -> impl Strategy<Value = ReleaseMemory> {
    let standing =
        prop_oneof![Just(Standing::OnTrial), Just(Standing::KnownGood), Just(Standing::RolledBack)];
    let crashes = prop::collection::btree_set(0..30_u64, 0..4);
    let figures = option::of(0..4_u64);
    let deployments = prop::collection::vec("[ab]", 0..3);
    let schema = option::of("[ab]");
    let rest = (
        0..3_u64,
        0..3_u64,
        crashes,
        option::of(0..3_u16),
        figures,
        option::of(prop_oneof![Just(0.5), Just(0.9)]),
        (deployments, schema),
    );
    (name(), 0..30_u64, 0..12_u64, standing, rest).prop_map(|(name, first, long, standing, rest)| {
        let (judged_for, judged_requests, crashes, put_back_by, figures, score, (deployments, schema)) = rest;
        ReleaseMemory {
            judged_for: Duration::from_secs(judged_for),
            judged_requests,
            crashes: crashes.into_iter().map(at).collect(),
            put_back_by: put_back_by.map(|seq| RecordId::new(at(1), 1, seq)),
            figures: figures.map(|ticks| Box::new(baseline(name, ticks + 1).summary())),
            score,
            deployments: deployments.iter().filter_map(|name| Deployment::new(name)).collect(),
            schemas: schema.into_iter().map(|is| ("pg".into(), is.into())).collect(),
            ..thought(name, first, first + long, standing)
        }
    })
}

fn any_record() -> impl Strategy<Value = Item> {
    let text = || prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    let progress = prop_oneof![
        Just(Progress::NothingToDo),
        Just(Progress::Intended),
        text().prop_map(|detail| Progress::Accepted { detail }),
        (0..3_u64, text()).prop_map(|(ms, detail)| Progress::Succeeded { at: at(ms), detail }),
        text().prop_map(|detail| Progress::DryRun { detail }),
        (0..3_u64, text()).prop_map(|(ms, reason)| Progress::Failed { at: at(ms), reason }),
        (0..3_u64, text()).prop_map(|(ms, reason)| Progress::Interrupted { at: at(ms), reason }),
    ];
    (0..3_u64, progress, any::<bool>())
        .prop_map(|(ms, progress, act)| item_of_record(&rollback(ms, progress), act))
}

fn any_watch() -> impl Strategy<Value = Vec<Item>> {
    (name(), 0..3_u64, 0..2_u8, prop::collection::vec(0..3_u64, 0..3)).prop_map(|(name, ms, which, facts)| {
        let id = format!("{name}-{which}");
        let start = begun(&id, name, ms);
        let facts = facts.into_iter().zip(1..).map(|(n, seq)| fact(&id, name, seq, n));
        items_of_watch(&start, facts.collect())
    })
}

/// What one agent may hand over.
fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let baseline = (name(), 1..4_u64, 0..3_u64).prop_map(|(name, ticks, later)| {
        let mut of = baseline(name, ticks);
        of.to = of.to + Duration::from_millis(later);
        // So that some judged as many and end alike.
        of.judged = ticks / 2;
        Item::of(&Content::Baseline(Box::new(of)))
    });
    let pause = (0..6_u64, option::of(prop_oneof![Just("a"), Just("b")]))
        .prop_map(|(ms, who)| item_of_pause(ms, who.map(by).as_ref()));
    let single = prop_oneof![
        4 => any_release().prop_map(|memory| item_of_release(&memory)),
        4 => any_record(),
        2 => baseline,
        2 => pause,
    ];
    (prop::collection::vec(single, 0..8), option::of(any_watch()))
        .prop_map(|(singles, watch)| singles.into_iter().chain(watch.into_iter().flatten()).collect())
}

/// What an agent may have written by itself.
fn any_own() -> impl Strategy<Value = Vec<Write>> {
    let own = prop_oneof![
        any_release().prop_map(Write::Release),
        name().prop_map(|name| Write::Watch(Box::new(begun("own", name, 1)))),
        (0..6_u64, any::<bool>())
            .prop_map(|(ms, is_on)| Write::Pause { pause: is_on.then(|| by("me")), at: at(ms) }),
        (0..3_u64).prop_map(|ms| Write::Record(rollback(ms, Progress::Intended))),
    ];
    prop::collection::vec(own, 0..4)
}

fn holding(own: &[Write], imports: &[&[Item]]) -> Connection {
    let of = empty();
    written(&of, own.iter().cloned());
    for items in imports {
        taken(&of, items);
    }
    of
}

#[test]
fn memories_are_put_together_in_any_order_and_by_way_of_anybody() {
    let seen = Cell::new((0_u32, 0_u32, 0_u32));
    let sets = (any_own(), any_items(), any_items(), any_items());
    TestRunner::new(Config { cases: 400, failure_persistence: None, ..Config::default() })
        .run(&sets, |(own, a, b, c)| {
            let of = holding(&own, &[&a, &b, &c]);
            let expected = (memory(&of), exported(&of));
            // Another order.
            let other = holding(&own, &[&c, &a, &b]);
            assert_eq!((memory(&other), exported(&other)), expected);
            // By way of an agent that had put two of them together.
            let between = exported(&holding(&[], &[&b, &c]));
            let other = holding(&own, &[&a, &between]);
            assert_eq!((memory(&other), exported(&other)), expected);
            // Twice, and what it handed over itself.
            assert_eq!(taken(&of, &a) + taken(&of, &c) + taken(&of, &expected.1), 0);
            assert_eq!((memory(&of), exported(&of)), expected);
            let (mut anew, mut watches, mut acts) = seen.get();
            anew += u32::from(accounts(&of) > 0);
            watches += u32::from(expected.0.watch.is_some());
            acts += u32::from(expected.0.last_act.is_some());
            seen.set((anew, watches, acts));
            Ok(())
        })
        .unwrap();
    let (anew, watches, acts) = seen.get();
    assert!(anew > 40 && watches > 40 && acts > 40, "the run looked at too little: {anew} {watches} {acts}");
}

/// Releases of which several accounts are held.
fn accounts(of: &Connection) -> i64 {
    of.query_row("SELECT count(*) FROM releases WHERE accounts IS NOT NULL", [], |row| row.get(0)).unwrap()
}
