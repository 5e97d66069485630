//! The judge's limits and shares.

use std::time::Duration;

use super::*;
use crate::engine::release::Release;
use crate::engine::window::Latencies;

/// A day at 100 requests a second with 0.1 % errors: spread evenly, or in one tick of a hundred.
fn day(in_bursts: bool) -> Arc<Baseline> {
    let mut baseline = Baseline::empty(Release::new("v1").expect("visible ASCII"), Time::from_millis(0));
    for n in 0..17_280_u64 {
        let failed = if in_bursts { u64::from(n % 100 == 0) * 50 } else { u64::from(n % 2 == 0) };
        let from = Time::from_millis(5_000 * n);
        let latencies = Latencies::new(vec![(8_000, 500)]);
        let to = from + Duration::from_secs(5);
        let age = Duration::from_secs(5 * n);
        baseline.learn(&Tick { from, to, judged: 500, failed, latencies, ..Tick::default() }, age);
    }
    Arc::new(baseline)
}

#[test]
fn errors_that_come_in_bursts_have_to_persist_a_tick_longer() {
    let policy = Policy::default();
    let ticks_limit = |baseline: &Arc<Baseline>| {
        let judge = Judge::new(baseline, &policy).expect("a day is enough");
        judge.evidence(&policy)[0].ln_ticks_limit
    };
    let (even, bursty) = (day(false), day(true));
    assert!((even.error_rate() - bursty.error_rate()).abs() < 1e-5);
    assert!((ticks_limit(&bursty) - ticks_limit(&even) - 2.0 * log(0.95 / 0.02)).abs() < 1e-9);
}

#[test]
fn the_shares_do_not_exceed_the_budget() {
    let streams = ERRORS_SHARE + LATENCY_SHARE + ROUTE_ERRORS_SHARE + ROUTE_LATENCY_SHARE;
    let all = streams + STATUS_SHARE + CRASHES_SHARE + RESOURCES_SHARE;
    assert!(all <= 0.96 + 1e-12, "{all}: the rest is the catastrophe rule's");
}
