//! Scripts: what happened, then what the engine said. Times are seconds since the release's agent started.

use std::time::Duration;

use outrigger::engine::policy::{Mode, Policy};
use outrigger::engine::record::{Happening, Progress};
use outrigger::engine::verdict::{NotJudgeable, Verdict};
use outrigger::engine::window::Latencies;
use outrigger::engine::{Effect, Engine, Identity, Input};

use crate::play::{START, continue_with};
use crate::world::{EPOCH, HEALTHY, Kept, Load, World, enforcing, release, v1_known_good};

/// Plays a script for release v2 with v1 known good, and compares what was said with what is expected.
fn check(policy: Policy, script: &str, expected: &str) {
    let (_, said) = play(policy, script);
    let want: Vec<&str> = expected.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    assert_eq!(said, want, "\nsaid:\n{}\n", said.join("\n"));
}

fn play(policy: Policy, script: &str) -> (World, Vec<String>) {
    let kept = v1_known_good(3, &enforcing(), Duration::from_secs(20 * 60));
    let w = World::start(11, EPOCH + START, "v2", policy, kept);
    continue_with(w, script)
}

#[test]
fn a_bad_release_is_rolled_back_and_the_end_is_seen() {
    check(
        enforcing(),
        "ready
         run 60s
         run 20s errors=50%
         accepted
         live v1",
        "0s started known=false
         0s slow mark 38ms
         0s ready
         40s verdict undecided -> healthy
         75s verdict healthy -> undecided
         80s verdict undecided -> degraded
         80s diagnosis deployment
         80s locked by outrigger
         80s decided roll_back intended [Degraded Blamed OnTrial LastKnownGood ModeEnforce]
         80s order v2 -> v1
         80s decided roll_back accepted [Degraded Blamed OnTrial LastKnownGood ModeEnforce]
         80s decided roll_back succeeded [Degraded Blamed OnTrial LastKnownGood ModeEnforce]",
    );
}

#[test]
fn without_leave_to_act_it_recommends_and_says_what_stands_in_the_way() {
    check(
        Policy { replicas: 3, ..Policy::default() },
        "ready
         run 60s
         run 30s errors=50%",
        "0s started known=false
         0s slow mark 38ms
         0s ready
         40s verdict undecided -> healthy
         75s verdict healthy -> undecided
         80s verdict undecided -> degraded
         80s diagnosis deployment
         80s decided hold nothing_to_do [Degraded Blamed OnTrial LastKnownGood ModeRecommend]",
    );
}

#[test]
fn a_pause_holds_and_its_end_lets_go() {
    check(
        enforcing(),
        "ready
         run 58s
         pause alice 40s
         run 45s errors=50%",
        "0s started known=false
         0s slow mark 38ms
         0s ready
         40s verdict undecided -> healthy
         58s paused by alice
         70s verdict healthy -> undecided
         75s verdict undecided -> degraded
         75s diagnosis deployment
         75s decided hold nothing_to_do [Degraded Blamed OnTrial LastKnownGood ModeEnforce Paused]
         98s resumed by the end of alice's pause
         98s locked by outrigger
         98s decided roll_back intended [Degraded Blamed OnTrial LastKnownGood ModeEnforce]
         98s order v2 -> v1",
    );
}

#[test]
fn a_lost_reply_is_asked_about_and_never_ordered_again() {
    let (w, said) = play(
        enforcing(),
        "ready
         run 60s
         run 20s errors=50%
         lost-reply
         run 5m errors=50%",
    );
    assert_eq!(w.kept.orders, 1);
    assert!(said.iter().filter(|l| l.contains("ask for v1")).count() > 10, "{said:?}");
    let last = &said[said.len() - 2..];
    assert!(last[0].contains("roll_back failed"), "{last:?}");
    assert!(last[1].contains("hold nothing_to_do") && last[1].contains("ActedBefore"), "{last:?}");
}

#[test]
fn an_intent_that_cannot_be_written_down_orders_nothing_and_is_tried_again_later() {
    let (w, said) = play(
        enforcing(),
        "ready
         run 60s
         run 20s errors=50%
         record-lost
         run 55s errors=50%",
    );
    assert_eq!(w.kept.orders, 1, "the world performs orders; the agent would not have: {said:?}");
    let (w, said) = continue_with(w, "run 10s errors=50%");
    assert_eq!(w.kept.orders, 2, "{said:?}");
}

#[test]
fn a_rehearsal_is_recorded_once_and_cools_nothing_down() {
    let (w, said) = play(
        enforcing(),
        "ready
         run 60s
         run 20s errors=50%
         rehearsed
         run 60s errors=50%",
    );
    assert_eq!((w.kept.orders, w.engine.snapshot(w.now).cooldown_until), (1, None), "{said:?}");
    let last: Vec<&str> = said.iter().rev().take(2).map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(last, ["unlocked", "decided"], "{said:?}");
    assert!(said[said.len() - 2].contains("dry_run"), "{said:?}");
}

#[test]
fn three_crashes_roll_back_although_nothing_could_be_judged() {
    let kept = v1_known_good(3, &enforcing(), Duration::from_secs(20 * 60));
    let mut now = EPOCH + START;
    let mut kept = kept;
    for start in 0..3 {
        // The agent ends with the app and is started again by the platform.
        let mut w = World::start(20 + start, now, "v2", enforcing(), kept.clone());
        w.ready();
        w.run(Duration::from_secs(4), HEALTHY);
        w.crash();
        assert_eq!(w.kept.orders, usize::from(start == 2), "{:?}", w.log);
        (now, kept) = (w.now + Duration::from_secs(1), w.kept);
    }
}

#[test]
fn the_first_release_has_nothing_to_be_weighed_against_and_becomes_the_measure() {
    let mut w = World::start(1, EPOCH, "v1", enforcing(), Kept::default());
    w.ready();
    w.run(Duration::from_secs(60), HEALTHY);
    let verdict = w.engine.snapshot(w.now).verdict;
    assert_eq!(verdict, Verdict::NotJudgeable(NotJudgeable::NoBaseline));
    w.run(Duration::from_secs(15 * 60), HEALTHY);
    assert!(w.engine.snapshot(w.now).watch.unwrap().passed);
    assert!(w.run_until("-> degraded", Duration::from_secs(60), Load { errors: 0.5, ..HEALTHY }).is_some());
    // After its watch, and without another release, it is held.
    assert_eq!(w.kept.orders, 0);
}

#[test]
fn whoever_opens_the_store_next_takes_the_rollback_up() {
    let (w, _) = play(
        enforcing(),
        "ready
         run 60s
         run 20s errors=50%
         accepted",
    );
    // v1 comes back: it verifies, closes, and is not judged for having been put back.
    let restored = World::start(12, w.now, "v1", enforcing(), w.kept.clone());
    let (restored, said) = continue_with(restored, "ready\n live v1");
    assert!(said.iter().any(|l| l.contains("roll_back succeeded")), "{said:?}");
    assert!(restored.kept.memory.open.is_none());
    let put_back = Duration::from_secs(20 * 60);
    let mut later = World::start(13, restored.now + put_back, "v1", enforcing(), restored.kept.clone());
    later.ready();
    later.run(Duration::from_secs(60), HEALTHY);
    later.run(Duration::from_secs(60), Load { errors: 0.9, ..HEALTHY });
    assert_eq!(later.kept.orders, 1, "a release that was put back is never rolled back: {:?}", later.log);

    // v2 comes back instead: it asks, and does not order again.
    let heir = || World::start(14, w.now, "v2", enforcing(), w.kept.clone());
    let script = "ready\n run 90s errors=50%\n cannot-tell\n run 60s errors=50%";
    let (waits, said) = continue_with(heir(), script);
    assert!(!said.iter().any(|l| l.contains("interrupted")), "one lost answer ends nothing: {said:?}");
    let (waits, said) = continue_with(waits, "run 3m errors=50%");
    assert_eq!(waits.kept.orders, 1, "{said:?}");
    assert!(said.iter().any(|l| l.contains("roll_back interrupted")), "{said:?}");
    assert!(said.last().unwrap().contains("ActedBefore"), "{said:?}");
    let told = format!("{:?}", waits.kept.records);
    assert!(told.contains("not seen live within 5m (no current command)"), "{told}");
    let (hears, said) = continue_with(heir(), &format!("{script}\n live v1"));
    assert_eq!(hears.kept.orders, 1, "{said:?}");
    assert!(said.iter().any(|l| l.contains("roll_back succeeded")), "a later answer counts: {said:?}");
}

#[test]
fn a_restart_continues_the_watch_and_keeps_the_baseline() {
    let (w, _) = play(enforcing(), "ready\n run 10m");
    let judged = w.engine.snapshot(w.now).watch.unwrap().judged_for;
    let own = w.engine.snapshot(w.now).own.requests;
    let again = World::start(15, w.now, "v2", enforcing(), w.kept.clone());
    let (again, said) = continue_with(again, "ready\n run 1s");
    let s = again.engine.snapshot(again.now);
    let lost = judged.saturating_sub(s.watch.unwrap().judged_for);
    assert!(lost <= Duration::from_secs(30), "{lost:?} of the watch were forgotten");
    assert!(s.own.requests + 100 * 90 > own, "{} of {own}", s.own.requests);
    assert!(said[0].contains("started known=true"), "{said:?}");
}

#[test]
fn the_cooldown_survives_a_restart() {
    let (w, _) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%\n accepted\n live v1");
    let third = World::start(16, w.now, "v3", enforcing(), w.kept.clone());
    let (third, said) = continue_with(third, "ready\n run 60s\n run 60s errors=50%");
    assert_eq!(third.kept.orders, 1, "{said:?}");
    assert!(said.last().unwrap().contains("CoolingDown"), "{said:?}");
    let (third, said) = continue_with(third, "run 10m errors=50%");
    assert_eq!(third.kept.orders, 2, "once it has cooled down it acts: {said:?}");
}

#[test]
fn a_burst_of_a_few_seconds_moves_nothing() {
    let (w, said) = play(enforcing(), "ready\n run 60s\n run 9s errors=50%\n run 3m");
    assert!(!said.iter().any(|l| l.contains("degraded")), "{said:?}");
    assert_eq!(w.kept.orders, 0);
}

#[test]
fn no_traffic_is_no_evidence() {
    let (w, said) = play(enforcing(), "ready\n run 60s\n run 10m rps=0");
    assert_eq!(w.engine.snapshot(w.now).verdict.label(), "undecided", "{said:?}");
    assert_eq!(w.kept.orders, 0);
}

#[test]
fn an_ill_minute_is_never_learnt_from() {
    let (w, _) = play(enforcing(), "ready\n run 2m\n run 5m errors=50%");
    let rate = w.engine.snapshot(w.now).own.error_rate;
    assert!(rate < 0.003, "{rate}");
}

/// The same memory and the same inputs give the same effects, to the bit.
#[test]
fn a_decision_can_be_replayed() {
    let kept = v1_known_good(3, &enforcing(), Duration::from_secs(20 * 60));
    let mut world = World::start(5, EPOCH + START, "v2", enforcing(), kept.clone());
    let mut inputs = vec![(world.now, Input::BecameReady)];
    for second in 0..120 {
        let errors = if second < 60 { 0.001 } else { 0.3 };
        let window = world.second(Load { errors, ..HEALTHY });
        inputs.push((world.now, Input::Sealed(window)));
    }
    let run = || {
        let identity = Identity { release: release("v2"), boot: 5 };
        let (mut engine, first) = Engine::start(EPOCH + START, identity, enforcing(), kept.memory.clone());
        let rest =
            inputs.iter().flat_map(|(at, input)| engine.step(*at, input.clone())).collect::<Vec<Effect>>();
        (first, rest)
    };
    let (first, again) = (run(), run());
    assert_eq!(first, again);
    let decided = first.1.iter().any(|e| {
        matches!(e, Effect::Record(r) if matches!(&r.what,
        Happening::Decided(d) if d.progress == Progress::Intended))
    });
    assert!(decided, "the replay must have reached a decision");
}

#[test]
fn judging_can_be_switched_off() {
    let policy = Policy { judging: false, mode: Mode::Enforce, ..Policy::default() };
    let (w, said) = play(policy, "ready\n run 60s\n run 5m errors=90%\n crash\n crash\n crash");
    assert_eq!(w.kept.orders, 0, "{said:?}");
    assert_eq!(w.engine.snapshot(w.now).verdict, Verdict::NotJudgeable(NotJudgeable::SwitchedOff));
}

/// Eight clients that wait for each answer before they ask again: when the app hangs, nothing arrives any more.
#[test]
fn a_closed_loop_that_hangs_is_called_although_nothing_arrives() {
    let (mut w, _) = play(enforcing(), "ready\n run 5m rps=8");
    let mark = w.engine.snapshot(w.now).evidence.last().unwrap().limit as u64;
    let mut called = None;
    for second in 1..=40 {
        let mut window = w.second(Load { rps: 0, ..HEALTHY });
        (window.in_flight, window.waiting, window.overdue) = (8, 8, 8);
        if second == 1 {
            window.latencies = Latencies::new(vec![(mark + 100_000, 8)]);
        }
        w.step(Input::Sealed(window));
        if called.is_none() && w.log.iter().any(|(_, l)| l.contains("-> degraded")) {
            called = Some(second);
        }
    }
    assert!(called.is_some_and(|s| s <= 30), "{called:?} {:?}", w.log);
}

#[test]
fn a_release_that_fails_everything_is_never_known_good_however_little_it_is_asked() {
    let policy = Policy { watch_max: Duration::from_secs(3600), ..enforcing() };
    let mut w = World::start(2, EPOCH, "v1", policy, Kept::default());
    w.ready();
    for _ in 0..3 * 3600 / 3 {
        w.run(Duration::from_secs(2), Load { rps: 0, ..HEALTHY });
        w.run(Duration::from_secs(1), Load { rps: 1, errors: 1.0, ..HEALTHY });
    }
    assert!(!w.log.iter().any(|(_, l)| l == "watch passed"), "{:?}", w.log);
}

#[test]
fn silence_is_no_recovery() {
    let (w, said) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%\n accepted\n run 20m rps=0");
    assert_eq!(w.engine.snapshot(w.now).verdict.label(), "degraded", "{said:?}");
    assert!(!said.iter().any(|l| l.contains("watch passed")), "{said:?}");
}

#[test]
fn an_illness_that_begins_in_the_last_seconds_of_a_watch_is_still_on_trial() {
    // The watch of 15 minutes begins when the release is warm, after 30 s and the tick that ends them.
    for clean in [905, 910, 915, 920, 925, 930, 935] {
        let script = format!("ready\n run {clean}s\n run 30s errors=50%");
        let (_, said) = play(enforcing(), &script);
        let passed = said.iter().position(|l| l.ends_with("watch passed"));
        let ordered = said.iter().position(|l| l.contains("order v2 -> v1"));
        assert!(ordered.is_some() || passed.is_some(), "{clean}: {said:?}");
        if let Some(passed) = passed {
            let onset = format!("{clean}s");
            let before = said[passed].split('s').next().unwrap().parse::<u64>().unwrap() <= clean + 4;
            assert!(before, "passed {} although it fell ill at {onset}", said[passed]);
        }
    }
}

#[test]
fn a_refused_order_is_tried_again_and_not_for_ever() {
    let mut script = "ready\n run 60s\n run 20s errors=50%\n refused\n".to_owned();
    script.push_str(&"run 65s errors=50%\n refused\n".repeat(6));
    let (w, said) = play(enforcing(), &script);
    assert_eq!(w.kept.orders, 4, "one order and three more tries: {said:?}");
}

#[test]
fn a_release_that_comes_again_after_its_rollback_is_tried_anew() {
    let (w, _) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%\n accepted\n live v1");
    let again = World::start(17, w.now + Duration::from_secs(3600), "v2", enforcing(), w.kept.clone());
    let (again, said) = continue_with(again, "ready\n run 60s\n run 30s errors=50%");
    assert_eq!(again.kept.orders, 2, "{said:?}");
}

#[test]
fn an_app_that_its_agent_starts_again_is_on_the_same_trial() {
    check(
        enforcing(),
        "ready
         run 60s
         crash
         run 2s rps=0
         ready
         run 60s",
        "0s started known=false
         0s slow mark 38ms
         0s ready
         40s verdict undecided -> healthy
         60s exited Some(3)
         60s verdict healthy -> undecided
         62s ready
         95s verdict undecided -> healthy",
    );
}

#[test]
fn three_crashes_under_one_agent_are_a_crash_loop_too() {
    let script =
        "ready\n run 20s\n crash\n ready\n run 20s\n crash\n ready\n run 20s\n crash\n ready\n run 20s";
    let (w, said) = play(enforcing(), script);
    assert_eq!(w.kept.orders, 1, "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("60s") && line.ends_with("order v2 -> v1")), "{said:?}");
    assert_eq!(said.iter().filter(|line| line.ends_with(" ready")).count(), 4, "{said:?}");
}

#[test]
fn a_restart_goes_on_with_the_evidence_and_a_replay_comes_to_the_same_to_the_bit() {
    use outrigger::engine::history::replay;
    let policy = Policy::default();
    let kept = v1_known_good(1, &policy, Duration::from_secs(20 * 60));
    let mut w = World::start(2, EPOCH + Duration::from_secs(7200), "v2", policy.clone(), kept);
    w.ready();
    w.run(Duration::from_secs(120), HEALTHY);
    w.run(Duration::from_secs(65), Load { errors: 0.006, ..HEALTHY });
    let before = w.engine.snapshot(w.now);
    assert!(before.evidence.iter().any(|e| e.requests > 10_000));
    // The agent is killed, and another one starts with what was kept.
    let mut again = World::start(3, w.now, "v2", policy.clone(), w.kept.clone());
    let after = again.engine.snapshot(again.now);
    assert_eq!(after.evidence, before.evidence);
    assert_eq!(after.score, before.score);
    again.ready();
    again.run(Duration::from_secs(60), Load { errors: 0.006, ..HEALTHY });
    let watch = again.kept.memory.watch.clone().expect("a watch is kept");
    assert_eq!(watch.start.at, EPOCH + Duration::from_secs(7200), "it is still the first one's");
    let replayed = replay(&watch.start, &watch.facts, &policy);
    let now = again.engine.snapshot(again.now);
    assert_eq!(replayed.evidence, now.evidence);
    assert_eq!(replayed.judgements.last().expect("facts were kept").1.verdict.label(), now.verdict.label());
    // By another policy it is another watch.
    let strict = Policy { error_ratio: 1.1, error_floor: 0.0005, ..policy };
    assert_ne!(replay(&watch.start, &watch.facts, &strict).evidence, now.evidence);
    let fresh = World::start(4, again.now, "v2", strict, again.kept.clone());
    assert!(fresh.engine.snapshot(fresh.now).evidence.iter().all(|e| e.requests == 0));
}

#[test]
fn a_release_that_crashes_again_and_again_stays_degraded_between_its_crashes() {
    let kept = v1_known_good(1, &enforcing(), Duration::from_secs(20 * 60));
    let policy = Policy { mode: Mode::Recommend, ..enforcing() };
    let mut w = World::start(2, EPOCH + Duration::from_secs(7200), "v2", policy, kept);
    w.ready();
    w.run(Duration::from_secs(14 * 60), HEALTHY);
    for _ in 0..8 {
        w.crash();
        w.ready();
        w.run(Duration::from_secs(40), HEALTHY);
    }
    let changes =
        w.log.iter().filter(|(_, line)| line.starts_with("verdict ") && line.contains("degraded")).count();
    assert_eq!(changes, 1, "{:?}", w.log);
    assert!(!w.log.iter().any(|(_, line)| line == "watch passed"), "{:?}", w.log);
}

#[test]
fn silence_does_not_promote_a_release_in_doubt() {
    let kept = v1_known_good(1, &enforcing(), Duration::from_secs(20 * 60));
    let mut w = World::start(2, EPOCH + Duration::from_secs(7200), "v2", enforcing(), kept);
    w.ready();
    w.run(Duration::from_secs(14 * 60 + 30), HEALTHY);
    // Some ticks of trouble, not enough for a verdict, and then nobody comes any more.
    w.run(Duration::from_secs(15), Load { errors: 0.1, ..HEALTHY });
    assert!(w.engine.snapshot(w.now).evidence[0].progress() > 0.5);
    w.run(Duration::from_secs(180), Load { rps: 0, ..HEALTHY });
    assert!(!w.log.iter().any(|(_, line)| line == "watch passed"), "{:?}", w.log);
}
