//! A rollback from its lock to what it led to: scripts of what happened and what the engine said.

use std::time::Duration;

use outrigger::engine::policy::Policy;
use outrigger::engine::record::{ActStep, Happening, Outcome, StepOutcome, Verified};
use outrigger::engine::{Effect, Input};

use crate::play::{START, continue_with};
use crate::world::{EPOCH, Kept, World, enforcing, release, v1_known_good};

/// Lines of `said` that hold one of these words.
fn only(said: &[String], words: &[&str]) -> Vec<String> {
    said.iter().filter(|line| words.iter().any(|word| line.contains(word))).cloned().collect()
}

fn known_good() -> Kept {
    v1_known_good(3, &enforcing(), Duration::from_secs(20 * 60))
}

fn play(policy: Policy, script: &str) -> (World, Vec<String>) {
    continue_with(World::start(11, EPOCH + START, "v2", policy, known_good()), script)
}

/// The release that was put back, from when it is live again, under this load.
fn put_back(after: &str) -> (World, Vec<String>) {
    let (w, _) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%\n accepted");
    let back = World::start(12, w.now, "v1", enforcing(), w.kept);
    continue_with(back, after)
}

fn verified(w: &World) -> Vec<Verified> {
    let of = |what: &Happening| if let Happening::Verified(of) = what { Some(of.clone()) } else { None };
    w.kept.records.iter().filter_map(|record| of(&record.what)).collect()
}

#[test]
fn a_rollback_locks_deployments_and_one_that_does_not_come_about_unlocks_them() {
    let words = ["lock", "roll_back"];
    let (w, said) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%\n refused");
    assert_eq!(
        only(&said, &words)[..4],
        [
            "80s locked by outrigger",
            "80s decided roll_back intended [Degraded Blamed OnTrial LastKnownGood ModeEnforce]",
            "80s decided roll_back failed [Degraded Blamed OnTrial LastKnownGood ModeEnforce]",
            "80s unlocked by outrigger",
        ]
    );
    assert_eq!(w.engine.snapshot(w.now).lock, None);
    let (w, _) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%\n accepted");
    let lock = w.engine.snapshot(w.now).lock.expect("deployments are locked");
    assert_eq!(lock.until, Some(lock.since + Duration::from_secs(24 * 3600)));
}

#[test]
fn a_persons_lock_is_neither_taken_over_nor_lifted_and_ends_in_its_time() {
    let words = ["lock"];
    let (_, said) =
        play(enforcing(), "ready\n lock ana 70s\n run 60s\n run 30s errors=50%\n refused\n run 5s");
    assert_eq!(
        only(&said, &words),
        [
            "0s locked by ana",
            "70s unlocked by the end of ana's lock",
            "80s locked by outrigger",
            "90s unlocked by outrigger"
        ]
    );
    let (w, said) =
        play(enforcing(), "ready\n lock ana\n run 60s\n run 20s errors=50%\n refused\n unlock bo");
    assert_eq!(only(&said, &words), ["0s locked by ana", "80s unlocked by bo"]);
    assert_eq!(w.engine.snapshot(w.now).lock, None);
}

#[test]
fn the_lock_outlives_the_agent() {
    let (w, _) = play(enforcing(), "ready\n lock ana 30m");
    let again = World::start(13, w.now, "v2", enforcing(), w.kept);
    assert_eq!(again.engine.snapshot(again.now).lock.map(|lock| lock.by), Some("ana".to_owned()));
}

#[test]
fn a_release_that_recovers_after_a_rollback_is_said_to_have() {
    let (w, said) = put_back("ready\n live v1\n run 4m");
    let [of] = verified(&w).try_into().unwrap();
    assert_eq!((of.outcome, of.from), (Outcome::Recovered, release("v2")), "{said:?} {}", of.detail);
    // Said once, and a restart does not say it again.
    let again = World::start(14, w.now, "v1", enforcing(), w.kept);
    let (again, _) = continue_with(again, "ready\n run 4m");
    assert_eq!(verified(&again).len(), 1);
}

#[test]
fn what_stays_as_bad_was_not_the_deployments_doing() {
    let (w, said) = put_back("ready\n live v1\n run 4m errors=50%");
    let [of] = verified(&w).try_into().unwrap();
    assert_eq!(of.outcome, Outcome::NoChange, "{said:?} {}", of.detail);
    // Put back by a rollback, it is never rolled back in turn.
    assert_eq!(w.kept.orders, 1);
}

#[test]
fn what_is_wrong_otherwise_is_worse() {
    let (w, said) = put_back("ready\n live v1\n run 4m slow=20x");
    let [of] = verified(&w).try_into().unwrap();
    assert_eq!(of.outcome, Outcome::Worse, "{said:?} {}", of.detail);
}

#[test]
fn without_traffic_nothing_is_claimed() {
    let (w, said) = put_back("ready\n live v1\n run 20m rps=0");
    assert!(verified(&w).is_empty(), "{said:?}");
    let (w, said) = put_back("ready\n live v1\n run 40m rps=0");
    let [of] = verified(&w).try_into().unwrap();
    assert_eq!(of.outcome, Outcome::Unclear, "{said:?} {}", of.detail);
}

#[test]
fn a_budget_that_is_spent_holds() {
    let mut kept = known_good();
    let now = EPOCH + START;
    // Two acts within the hour, on other releases.
    kept.memory.acts = vec![now - Duration::from_secs(900), now - Duration::from_secs(1800)];
    let w = World::start(11, now, "v2", enforcing(), kept);
    let (w, said) = continue_with(w, "ready\n run 60s\n run 30s errors=50%");
    assert!(only(&said, &["s decided"])[0].contains("BudgetSpent"), "{said:?}");
    assert_eq!(w.kept.orders, 0);
}

#[test]
fn a_schema_that_has_moved_on_since_the_target_ran_is_refused_by_name() {
    let mut kept = known_good();
    for memory in &mut kept.memory.releases {
        memory.schemas.insert("postgres".into(), "41".into());
    }
    let script = "ready\n schema 42\n run 60s\n run 30s errors=50%";
    let (w, said) = continue_with(World::start(11, EPOCH + START, "v2", enforcing(), kept.clone()), script);
    assert!(only(&said, &["s decided"])[0].contains("SchemaMoved"), "{said:?}");
    assert_eq!(w.kept.orders, 0);
    let brave = Policy { ignore_schema: true, ..enforcing() };
    let (w, _) = continue_with(World::start(11, EPOCH + START, "v2", brave, kept.clone()), script);
    assert_eq!(w.kept.orders, 1);
    let same = "ready\n schema 41\n run 60s\n run 30s errors=50%";
    let (w, _) = continue_with(World::start(11, EPOCH + START, "v2", enforcing(), kept), same);
    assert_eq!(w.kept.orders, 1);
}

#[test]
fn a_release_makes_a_later_schema_its_own_when_it_has_lived_with_it() {
    let (w, _) = play(enforcing(), "ready\n schema 41\n run 10m\n schema 42\n run 5m\n schema 42");
    let schema = |w: &World| w.kept.memory.releases[0].schemas["postgres"].clone();
    assert_eq!(&*schema(&w), "41");
    let (w, _) = continue_with(w, "run 11m\n schema 42\n run 1m");
    assert_eq!(&*schema(&w), "42");
}

#[test]
fn a_person_rolls_back_without_a_verdict_and_not_beside_another_rollback() {
    let (w, said) = play(Policy::default(), "ready\n run 60s\n ask ana\n ask bo\n accepted\n live v1");
    assert_eq!(
        only(&said, &["s decided", "s order"]),
        [
            "60s decided roll_back intended [AskedBy]",
            "60s order v2 -> v1",
            "60s decided hold nothing_to_do [AskedBy DecidedElsewhere]",
            "60s decided roll_back accepted [AskedBy]",
            "60s decided roll_back succeeded [AskedBy]",
        ]
    );
    assert_eq!(w.kept.orders, 1);
    let (_, said) = play(Policy::default(), "ready\n run 60s\n ask ana v2");
    assert_eq!(only(&said, &["s decided"]), ["60s decided hold nothing_to_do [AskedBy NoTarget]"]);
}

#[test]
fn each_step_is_kept_when_it_begins_and_when_it_ends() {
    let (mut w, _) = play(enforcing(), "ready\n run 60s\n run 20s errors=50%");
    let record = w.engine.snapshot(w.now).last_decision.unwrap().id;
    for outcome in [StepOutcome::Begun, StepOutcome::Done { detail: "ok".to_owned() }] {
        let step = Input::Stepped { record: record.clone(), step: ActStep::Call, outcome: outcome.clone() };
        let effects = w.engine.step(w.now, step);
        let Some(Effect::Record(kept)) = effects.first() else { panic!("{effects:?}") };
        let steps = &kept.what.decided().unwrap().steps;
        assert_eq!(steps.last().map(|of| (of.step, of.outcome.clone())), Some((ActStep::Call, outcome)));
    }
}
