//! Many seeds, and what they must have shown.

use crate::counts::{Counts, Seen};
use crate::mutation::Mutation;
use crate::plan::{Plan, Theme};
use crate::world::World;

/// Fleets a theme in every run.
const SEEDS: u64 = 100;
/// Fleets in which a broken agent has to be noticed; the first that notices ends the search.
const MUTANTS: u64 = 400;

fn run(plan: Plan, mutation: Option<Mutation>, told: bool) -> World {
    let mut world = World::new(plan, told);
    world.mutation = mutation;
    world.run();
    world
}

#[expect(clippy::disallowed_methods, reason = "how long to run is said by whoever runs the tests")]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Fleets of broken agents, until the invariants of these names have noticed; no others are looked at.
fn is_noticed(mutation: Mutation, themes: &[Theme], by: &'static [&'static str]) {
    let mut left: Vec<&str> = by.to_vec();
    for seed in 0..MUTANTS {
        for &theme in themes {
            let plan = Plan { replicas: 3, watcher: false, one_token: false, ..Plan::draw(theme, seed) };
            let mut world = World::new(plan, false);
            world.mutation = Some(mutation);
            world.witness.only = Some(by);
            world.run();
            let Some(violation) = &world.witness.violation else { continue };
            println!("{mutation:?}: {theme:?} seed {seed}: {}: {}", violation.name, violation.text);
            left.retain(|name| !violation.name.starts_with(&format!("{name} ")));
            if left.is_empty() {
                return;
            }
        }
    }
    panic!("{mutation:?} is not noticed by {left:?}");
}

#[test]
fn a_voter_that_breaks_a_rule_is_noticed_by_the_invariant_of_that_name() {
    is_noticed(Mutation::YesToAll, &[Theme::Network, Theme::Deaths], &["I4"]);
    is_noticed(Mutation::NoQuiet, &[Theme::Deaths], &["I5"]);
    is_noticed(Mutation::NoTilt, &[Theme::Deaths], &["I13"]);
    is_noticed(Mutation::DoubleCount, &[Theme::Quiet], &["I8"]);
}

#[test]
fn a_candidate_that_breaks_a_rule_is_noticed_by_the_invariant_of_that_name() {
    is_noticed(Mutation::NoIsYes, &[Theme::Network, Theme::Deaths], &["I14"]);
    is_noticed(Mutation::AbstentionIsYes, &[Theme::Deaths], &["I14"]);
    is_noticed(Mutation::AbstentionIsYes, &[Theme::Deaths], &["I3"]);
    is_noticed(Mutation::DeafToPause, &[Theme::Surroundings, Theme::Deaths], &["I10"]);
    is_noticed(Mutation::NoLease, &[Theme::Surroundings, Theme::Deaths], &["I2"]);
    is_noticed(Mutation::NoReread, &[Theme::Network, Theme::Deaths], &["I1"]);
}

/// Runs the fleets of a theme. All of them together must have got into these states.
fn sweep(theme: Theme, reached: &[Seen]) {
    let mut counts = Counts::default();
    let one = asked("FLEET_SEED");
    let seeds = match one {
        Some(seed) => seed..seed + 1,
        None => 0..asked("FLEET_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let plan = Plan::draw(theme, seed);
        if one.is_some() {
            println!("{plan:#?}");
        }
        let world = run(plan, None, one.is_some());
        if let Some(violation) = &world.witness.violation {
            panic!(
                "{theme:?} seed {seed}: {} at {:.3} s\n{}\n{}",
                violation.name,
                violation.at as f64 / 1000.0,
                violation.text,
                world.story()
            );
        }
        counts.add(&world.counts);
    }
    println!("{theme:?}\n{}", counts.text());
    if one.is_none() {
        let missed: Vec<&Seen> = reached.iter().filter(|&&what| counts.of(what) == 0).collect();
        assert!(missed.is_empty(), "{theme:?}: no fleet got as far as {missed:?}");
    }
}

#[test]
fn fleets_without_trouble_keep_every_promise() {
    let reached = [
        Seen::Asked,
        Seen::Elected,
        Seen::SaidYes,
        Seen::Called,
        Seen::CalledAlone,
        Seen::CallByWatcher,
        Seen::HandedOver,
        Seen::TakenUp,
        Seen::RolledBackGone,
        Seen::HeldForReplica,
        Seen::AbstainedOtherwise,
    ];
    sweep(Theme::Quiet, &reached);
}

#[test]
fn fleets_on_a_bad_network_keep_every_promise() {
    let reached = [
        Seen::AskedAgain,
        Seen::CompetingCandidates,
        Seen::CutDuringVote,
        Seen::OneWayCut,
        Seen::Duplicate,
        Seen::Replay,
        Seen::LateShare,
        Seen::NoGranted,
    ];
    sweep(Theme::Network, &reached);
}

#[test]
fn fleets_whose_agents_die_and_freeze_keep_every_promise() {
    let reached = [
        Seen::Crash,
        Seen::CrashAfterIntent,
        Seen::CrashAfterCall,
        Seen::Frozen,
        Seen::AbstainedQuiet,
        Seen::AbstainedTilt,
        Seen::AskedAgain,
        Seen::TakenUp,
    ];
    sweep(Theme::Deaths, &reached);
}

#[test]
fn fleets_on_a_moody_platform_keep_every_promise() {
    let reached = [
        Seen::LandedLate,
        Seen::ReplyLost,
        Seen::CallRefused,
        Seen::Unreadable,
        Seen::SecondDeploymentMidVote,
        Seen::ScaledUp,
        Seen::ScaledDown,
    ];
    sweep(Theme::Platform, &reached);
}

#[test]
fn fleets_with_ill_disks_clocks_and_dependencies_keep_every_promise() {
    let reached = [
        Seen::SlowWrite,
        Seen::NotRecorded,
        Seen::Paused,
        Seen::BeyondDrift,
        Seen::HeldForDependency,
        Seen::Refused,
    ];
    sweep(Theme::Surroundings, &reached);
}

#[test]
fn fleets_in_all_troubles_at_once_keep_every_promise() {
    let reached =
        [Seen::Called, Seen::Crash, Seen::Frozen, Seen::CutDuringVote, Seen::Paused, Seen::LandedLate];
    sweep(Theme::Everything, &reached);
}
