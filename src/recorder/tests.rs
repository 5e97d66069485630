//! What is counted, when, and how often.

use std::collections::BTreeSet;

use super::*;
use crate::engine::window::RouteWindow;

fn recorder() -> Recorder {
    let r = Recorder::new(2, Time::from_millis(0));
    r.set_slow_mark(Duration::from_millis(100));
    r
}

/// The same numbers in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// Above 0 and at most 1.
    fn share(&mut self) -> f64 {
        ((self.next() >> 12) + 1) as f64 / (1u64 << 52) as f64
    }
}

fn arrived(shard: &Shard, awaited_us: Option<u64>) -> Ticket {
    ask(shard, b"/", Traffic::User, awaited_us)
}

fn ask(shard: &Shard, path: &[u8], class: Traffic, awaited_us: Option<u64>) -> Ticket {
    shard.arrived(&Asked { method: Method::Get, path, class }, awaited_us)
}

fn ended(status: u16, outcome: Outcome, now_us: u64) -> Ended {
    Ended { status, outcome, now_us, reached_us: None, total_us: None, retried: false, is_stream: false }
}

fn seal(r: &mut Recorder, at_ms: u64) -> Window {
    r.seal(Time::from_millis(at_ms), at_ms * 1000, false)
}

#[test]
fn a_window_holds_what_ended_in_it_from_every_shard() {
    let mut r = recorder();
    for (i, shard) in r.shards().to_vec().iter().enumerate() {
        let t = arrived(shard, Some(0));
        shard.answered(&t, 5_000 * (i as u64 + 1));
        shard.end(t, &ended(200, Outcome::Answered, 6_000));
    }
    let w = seal(&mut r, 1000);
    assert_eq!((w.ended(), w.judged(), w.failed(), w.arrived, w.in_flight), (2, 2, 0, 2, 0));
    assert_eq!(w.latencies.count(), 2);
    assert_eq!(w.latencies.slower_than(6_000), 1);
    assert_eq!((w.from, w.to), (Time::from_millis(0), Time::from_millis(1000)));
    assert_eq!(seal(&mut r, 2000).ended(), 0);
}

#[test]
fn slots_grow_without_moving_and_come_back() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    let tickets: Vec<_> = (0..1_000).map(|_| arrived(&shard, Some(0))).collect();
    assert_eq!(seal(&mut r, 50).in_flight, 1_000);
    for ticket in tickets {
        shard.answered(&ticket, 7);
        shard.end(ticket, &ended(200, Outcome::Answered, 60_000));
    }
    let w = seal(&mut r, 100);
    assert_eq!((w.in_flight, w.answered, w.latencies.pairs()), (0, 1_000, [(7, 1_000)].as_slice()));
}

#[test]
fn the_latency_of_a_stream_is_recorded_while_it_goes_on() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    let t = arrived(&shard, Some(0));
    shard.answered(&t, 5_000);
    let w = seal(&mut r, 1_000);
    assert_eq!((w.waiting, w.in_flight, w.answered, w.latencies.count()), (0, 1, 1, 1));
    shard.end(t, &ended(200, Outcome::Answered, 9_000_000));
    assert_eq!(seal(&mut r, 10_000).latencies.count(), 0);
}

/// Whatever a seal interleaves with, each request is counted once and its latency recorded once.
#[test]
fn a_seal_beside_the_worker_loses_and_doubles_nothing() {
    const REQUESTS: u64 = 200_000;
    let mut r = Recorder::new(1, Time::from_millis(0));
    r.set_slow_mark(Duration::from_micros(2));
    let shard = r.shards()[0].clone();
    let worker = std::thread::spawn(move || {
        for i in 0..REQUESTS {
            let t = arrived(&shard, Some(0));
            shard.answered(&t, 1 + i % 3);
            shard.end(t, &ended(200, Outcome::Answered, 3));
        }
    });
    let (mut ended, mut latencies, mut answered) = (0, 0, 0);
    let mut at = 0;
    loop {
        let is_over = worker.is_finished();
        at += 1;
        let w = seal(&mut r, at);
        ended += w.ended();
        latencies += w.latencies.count();
        answered += w.answered;
        if is_over {
            break;
        }
    }
    worker.join().unwrap();
    assert_eq!((ended, latencies, answered), (REQUESTS, REQUESTS, REQUESTS));
}

#[test]
fn a_hung_request_is_counted_once_while_it_hangs() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    let t = arrived(&shard, Some(0));
    let w = seal(&mut r, 1000);
    assert_eq!((w.in_flight, w.waiting, w.overdue, w.latencies.slower_than(900_000)), (1, 1, 1, 1));
    let w = seal(&mut r, 2000);
    assert_eq!((w.overdue, w.latencies.count()), (1, 0));
    shard.answered(&t, 2_500_000);
    shard.end(t, &ended(200, Outcome::Answered, 2_600_000));
    let w = seal(&mut r, 3000);
    assert_eq!((w.ended(), w.latencies.count(), w.in_flight), (1, 0, 0));
}

#[test]
fn without_a_slow_mark_a_long_poll_keeps_its_true_latency() {
    let mut r = Recorder::new(1, Time::from_millis(0));
    let shard = r.shards()[0].clone();
    let t = arrived(&shard, Some(0));
    let w = seal(&mut r, 12_000);
    assert_eq!((w.overdue, w.latencies.count()), (1, 0));
    shard.answered(&t, 20_000_000);
    shard.end(t, &ended(200, Outcome::Answered, 20_000_000));
    assert_eq!(seal(&mut r, 21_000).latencies.slower_than(19_000_000), 1);
}

#[test]
fn a_slow_upload_is_not_a_slow_app() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    let t = arrived(&shard, None);
    assert_eq!(seal(&mut r, 5000).latencies.count(), 0);
    shard.sent(&t, 5_000_000);
    assert_eq!(seal(&mut r, 5050).latencies.count(), 0);
    assert_eq!(seal(&mut r, 5200).latencies.count(), 1);
    shard.end(t, &ended(0, Outcome::ClientAborted, 5_300_000));
}

#[test]
fn a_client_that_fled_a_slow_app_leaves_its_wait_behind() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    let (quick, slow) = (arrived(&shard, Some(0)), arrived(&shard, Some(0)));
    shard.end(quick, &ended(0, Outcome::ClientAborted, 50_000));
    shard.end(slow, &ended(0, Outcome::ClientAborted, 150_000));
    let w = seal(&mut r, 1000);
    assert_eq!((w.ended(), w.judged(), w.latencies.count()), (2, 0, 1));
}

fn user(shard: &Shard, path: &str, status: u16, latency_us: u64) {
    let t = ask(shard, path.as_bytes(), Traffic::User, Some(0));
    shard.answered(&t, latency_us);
    let outcome = if status >= 500 { Outcome::AppError } else { Outcome::Answered };
    shard.end(t, &ended(status, outcome, latency_us));
}

/// So that `/users/{id}` is known.
fn taught() -> Recorder {
    let mut r = recorder();
    for second in 1..=5 {
        (0..5).for_each(|_| user(&r.shards()[0], "/users/17", 200, 1_000));
        seal(&mut r, second * 1_000);
    }
    r
}

fn route<'a>(window: &'a Window, route: &str) -> &'a RouteWindow {
    window.routes.iter().find(|r| &*r.route == route).unwrap_or_else(|| panic!("{route} in {window:?}"))
}

#[test]
fn a_window_tells_its_routes_apart() {
    let mut r = taught();
    for (i, shard) in r.shards().to_vec().iter().enumerate() {
        user(shard, &format!("/users/{}", 20 + i), 200, 5_000);
        user(shard, "/users/9", 404, 2_000);
        user(shard, "/users/9", 500, 70_000);
        user(shard, "/wp-login.php", 404, 300);
    }
    let w = seal(&mut r, 6_000);
    assert_eq!((w.ended(), w.latencies.count(), w.unrouted), (8, 8, 0));
    let users = route(&w, "/users/{id}");
    assert_eq!((users.ended, users.judged, users.failed), (6, 6, 2));
    assert_eq!(users.watched, [0, 0, 0, 2, 0, 0, 0]);
    assert_eq!((users.latencies.count(), users.latencies.slower_than(60_000)), (6, 2));
    let other = route(&w, "_other");
    assert_eq!((other.ended, other.is_judgeable(), users.is_judgeable()), (2, false, true));
    assert_eq!(seal(&mut r, 7_000).routes, []);
}

#[test]
fn health_checks_are_in_no_figure_of_users() {
    let mut r = taught();
    let shard = r.shards()[0].clone();
    let open = ask(&shard, b"/users/1", Traffic::Health, Some(0));
    let done = ask(&shard, b"/users/1", Traffic::Health, Some(0));
    shard.answered(&done, 9_000_000);
    shard.end(done, &Ended { total_us: Some(9), retried: true, ..ended(503, Outcome::AppError, 9_000_000) });
    let w = seal(&mut r, 20_000);
    let (from, to) = (w.from, w.to);
    assert_eq!(w, Window { from, to, health: 1, ..Window::default() });
    shard.end(open, &ended(0, Outcome::ClientAborted, 30_000_000));
    assert_eq!((seal(&mut r, 30_000).health, seal(&mut r, 31_000).health), (1, 0));
    user(&shard, "/users/1", 200, 5);
    let w = seal(&mut r, 32_000);
    assert_eq!((w.arrived, w.ended(), route(&w, "/users/{id}").ended), (1, 1, 1));
}

#[test]
fn a_hung_request_is_slow_in_its_route_once_and_while_it_hangs() {
    let mut r = taught();
    let shard = r.shards()[0].clone();
    let t = ask(&shard, b"/users/17", Traffic::User, Some(5_000_000));
    let w = seal(&mut r, 6_000);
    let users = route(&w, "/users/{id}");
    assert_eq!((users.ended, users.latencies.count(), users.latencies.slower_than(900_000)), (0, 1, 1));
    assert_eq!(seal(&mut r, 7_000).routes, []);
    shard.answered(&t, 2_500_000);
    shard.end(t, &ended(200, Outcome::Answered, 7_600_000));
    let w = seal(&mut r, 8_000);
    let users = route(&w, "/users/{id}");
    assert_eq!((users.ended, users.latencies.count()), (1, 0));
}

#[test]
fn waits_durations_and_retries_are_summed_up() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    for (i, is_stream) in [false, false, true].into_iter().enumerate() {
        let t = arrived(&shard, Some(0));
        let (reached_us, total_us, retried) = (Some(300), Some(2_000), i == 0);
        shard.end(t, &Ended { reached_us, total_us, retried, is_stream, ..ended(200, Outcome::Answered, 9) });
    }
    let t = arrived(&shard, None);
    shard.end(t, &ended(0, Outcome::ClientAborted, 9));
    let w = seal(&mut r, 1_000);
    assert_eq!((w.reached.count(), w.reached.sum_us, w.total.count(), w.total.sum_us), (3, 900, 2, 4_000));
    assert_eq!(w.retried, 1);
}

#[test]
fn a_window_in_which_a_worker_was_late_is_stalled() {
    let mut r = recorder();
    r.shards()[0].lag(240_000);
    r.shards()[1].lag(250_000);
    r.shards()[1].lag(3);
    let w = seal(&mut r, 1_000);
    assert_eq!((w.lag_us, w.stalled), (250_000, false));
    r.shards()[1].lag(250_001);
    assert!(seal(&mut r, 2_000).stalled);
    assert!(!seal(&mut r, 3_000).stalled);
}

#[test]
fn clients_that_leave_early_are_no_error_and_do_not_move_the_latency() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    for i in 0..1_000 {
        let t = arrived(&shard, Some(0));
        if i % 5 == 0 {
            shard.end(t, &ended(0, Outcome::ClientAborted, 50_000));
        } else {
            shard.answered(&t, 10_000);
            shard.end(t, &ended(200, Outcome::Answered, 10_100));
        }
    }
    let w = seal(&mut r, 1_000);
    assert_eq!((w.ended(), w.judged(), w.failed()), (1_000, 800, 0));
    assert_eq!((w.latencies.count(), w.latencies.slower_than(10_007)), (800, 0));
}

#[test]
fn faults_of_clients_are_no_errors_of_the_app() {
    let mut r = taught();
    let shard = r.shards()[0].clone();
    for i in 0..100 {
        match i % 10 {
            0 => shard.refused(Method::Other, 400, Outcome::ClientFault),
            1 => shard.refused(Method::Get, 431, Outcome::ClientFault),
            2 => {
                shard.end(ask(&shard, b"/users/3", Traffic::User, None), &ended(400, Outcome::ClientFault, 0))
            }
            _ => user(&shard, "/users/3", 200, 1_000),
        }
    }
    let w = seal(&mut r, 6_000);
    assert_eq!((w.ended(), w.judged(), w.failed()), (100, 70, 0));
    let users = route(&w, "/users/{id}");
    assert_eq!((users.ended, users.judged, users.failed, users.watched), (80, 70, 0, [0; 7]));
}

#[test]
fn beyond_the_journal_only_the_figures_by_route_are_left_out() {
    let mut r = recorder();
    let shard = r.shards()[0].clone();
    let path = "/x".repeat(500);
    let fit = journal::BYTES_MAX / crate::engine::route::PATH_MAX;
    (0..fit + 7).for_each(|_| user(&shard, &path, 200, 1_000));
    let w = seal(&mut r, 1_000);
    assert_eq!((w.ended(), w.latencies.count(), w.unrouted), (fit as u64 + 7, fit as u64 + 7, 7));
    assert_eq!(w.routes.iter().map(|r| r.ended).sum::<u64>(), fit as u64);
    (0..journal::ENTRIES_MAX + 7).for_each(|_| user(&shard, "/", 200, 1_000));
    assert_eq!(seal(&mut r, 2_000).unrouted, 7);
    assert_eq!(seal(&mut r, 3_000).unrouted, 0);
}

/// A million paths with ids in them and 50,000 that do not exist: few routes, and memory that does not grow.
#[test]
fn distinct_paths_cost_no_memory() {
    let mut r = taught();
    let shard = r.shards()[0].clone();
    let held = |r: &Recorder| {
        let open = shard.lock();
        let tickets = open.asking.capacity() + open.noted.capacity() + open.free.capacity();
        let journals = open.journal.held_bytes() + r.spare.journal.held_bytes();
        r.routing.routes.held_bytes() + r.routing.held_bytes() + journals + tickets
    };
    let (mut dice, mut warm, mut labels) = (Dice(5), 0, BTreeSet::new());
    for second in 0..50 {
        for i in 0..21_000 {
            match i % 21 {
                0 => user(&shard, &format!("/{:x}.php", dice.next()), 404, 900),
                _ => user(&shard, &format!("/users/{:016x}/{}", dice.next(), dice.next() >> 32), 200, 900),
            }
        }
        let w = seal(&mut r, 10_000 + second * 1_000);
        assert_eq!((w.ended(), w.unrouted), (21_000, 0));
        labels.extend(w.routes.into_iter().map(|route| route.route));
        if second == 9 {
            warm = held(&r);
        }
    }
    assert_eq!(labels.into_iter().map(|l| l.to_string()).collect::<Vec<_>>(), ["/users/{id}/{id}", "_other"]);
    assert_eq!(held(&r), warm);
    assert!(warm < 6 << 20, "{warm} bytes");
}

/// Eight workers, one of them idle; read each few milliseconds while they write.
#[test]
fn merged_quantiles_are_those_of_all_requests() {
    const REQUESTS: usize = 20_000;
    let mut r = Recorder::new(8, Time::from_millis(0));
    let drawn = |worker: u64| -> Vec<u64> {
        let mut dice = Dice(worker);
        (0..REQUESTS).map(|_| (1_000.0 * (-dice.share().ln()).exp2()) as u64 + 100 * worker).collect()
    };
    let workers: Vec<_> = (1..8u64)
        .map(|worker| {
            let shard = r.shards()[worker as usize].clone();
            std::thread::spawn(move || drawn(worker).into_iter().for_each(|us| user(&shard, "/", 200, us)))
        })
        .collect();
    let (mut merged, mut by_route, mut at) = (Latencies::default(), Latencies::default(), 0);
    loop {
        let is_over = workers.iter().all(std::thread::JoinHandle::is_finished);
        at += 1;
        let w = seal(&mut r, at);
        merged.merge(&w.latencies);
        w.routes.iter().for_each(|route| by_route.merge(&route.latencies));
        if is_over {
            break;
        }
    }
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let mut exact: Vec<u64> = (1..8).flat_map(drawn).collect();
    exact.sort_unstable();
    assert_eq!((merged.count(), by_route.count()), (exact.len() as u64, exact.len() as u64));
    for q in [0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
        let truth = exact[((q * exact.len() as f64).ceil() as usize).max(1) - 1] as f64;
        let error = |of: &Latencies| (of.quantile(q).unwrap() as f64 - truth) / truth;
        assert!((0.0..=0.001).contains(&error(&merged)), "{q}: {}", error(&merged));
        assert!((0.0..=0.01).contains(&error(&by_route)), "{q}: {}", error(&by_route));
    }
}
