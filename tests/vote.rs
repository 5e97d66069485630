//! The vote searched for a state in which two act: all that few agents can do in some ticks, and the same with one
//! ingredient left out.
//!
//! The agents are the real machine. `VOTE_BOUNDS=large` searches more agents, restarts and ticks (see docs/VOTE.md).

#[path = "vote/steps.rs"]
mod steps;
#[path = "vote/world.rs"]
mod world;

use std::time::Duration;

use stateright::{Checker, HasDiscoveries, Model};

use crate::steps::{ACTS, ONE};
use crate::world::{Without, World};

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Searched to the end; nothing is found.
#[track_caller]
fn safe(name: &str, world: World) -> usize {
    let search = world.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    if let Some(path) = search.discovery(ONE) {
        panic!("{name}: two act: {:#?}", path.into_actions());
    }
    assert!(search.is_done(), "{name}: not searched to the end");
    assert!(search.discovery(ACTS).is_some(), "{name}: nobody ever acts");
    println!("safe    {name}: {} states, {} steps deep", search.unique_state_count(), search.max_depth());
    search.unique_state_count()
}

/// Two act; the shortest way there.
#[track_caller]
fn unsafe_(name: &str, world: World) -> usize {
    let search = world.checker().threads(1).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let Some(path) = search.discovery(ONE) else {
        panic!("{name}: nothing found in {} states", search.unique_state_count());
    };
    let steps = path.into_actions();
    println!("unsafe  {name}: {} steps: {steps:?}", steps.len());
    steps.len()
}

fn world(without: Without, agents: u32) -> World {
    World { agents: agents as usize, rosters: vec![agents], ..World::new(without) }
}

#[test]
fn two_agents_never_both_act() {
    safe("2 agents", world(Without::Nothing, 2));
}

#[test]
fn three_agents_never_two_act() {
    safe("3 agents", world(Without::Nothing, 3));
}

#[test]
fn answers_that_come_late_or_twice_do_not_make_two_act() {
    safe("2 agents, late answers", World { mail: true, ..world(Without::Nothing, 2) });
}

#[test]
fn a_candidate_without_a_vote_acts_alone() {
    safe(
        "2 voters and a watcher that stands",
        World { watcher: true, agents: 3, ..world(Without::Nothing, 2) },
    );
}

#[test]
fn each_ingredient_is_needed() {
    let small = |without| World { restarts: 0, ..world(without, 2) };
    unsafe_("without the look at the platform", small(Without::Reread));
    unsafe_("grants that do not bind", small(Without::Lock));
    let mut renewal = World { restarts: 0, ticks: 7, ..world(Without::Renewal, 3) };
    renewal.limits.lease = seconds(2);
    unsafe_("a grant said again binds no longer", renewal);
    unsafe_("without an end of the right to call", small(Without::Expiry));
    let restarts = |without| World { elections: 1, ..world(without, 3) };
    unsafe_("without silence after a start", restarts(Without::Quiet));
    // Only an answer that comes late needs the name of the start: it was to one that has forgotten its epochs since.
    let boots = World { elections: 2, mail: true, ticks: 3, ..restarts(Without::Boots) };
    unsafe_("answers to the replica", boots);
    unsafe_("a minority is enough", World { rosters: vec![1], restarts: 0, ..world(Without::Nothing, 3) });
    let halves =
        World { rosters: vec![2], agents: 4, restarts: 0, elections: 1, ..World::new(Without::Nothing) };
    unsafe_("a majority of those that are reachable", halves);
    let more =
        World { rosters: vec![3], agents: 4, restarts: 0, elections: 1, ..World::new(Without::Nothing) };
    unsafe_("one agent more than the roster says", more);
    let mut margin = small(Without::Nothing);
    margin.limits.call = Duration::ZERO;
    unsafe_("a lock of the lease alone", margin);
}

/// With a drift of one tick in the limits.
fn drifting(agents: u32) -> World {
    let mut world = World { restarts: 0, ticks: 7, ..world(Without::Nothing, agents) };
    world.limits.drift = seconds(1);
    world
}

#[test]
fn a_call_may_land_late_by_the_drift_and_no_later() {
    safe("lands 1 tick late, drift 1", World { landing: 2, ..drifting(2) });
    unsafe_("lands 2 ticks late, drift 1", World { landing: 3, ..drifting(2) });
}

#[test]
fn the_platform_may_lag_by_the_drift_and_no_more() {
    safe("lags 1 tick, drift 1", World { lag: 1, ..drifting(2) });
    unsafe_("lags 2 ticks, drift 1", World { lag: 2, ..drifting(2) });
    unsafe_("lags 1 tick and lands 1 late, drift 1", World { lag: 1, landing: 2, ..drifting(2) });
}

#[test]
fn clocks_may_differ_by_the_drift_and_no_more() {
    // An executor whose clock is slow is bound by it as a voter, too; so it takes two others.
    let three = || World { elections: 1, ticks: 5, ..drifting(3) };
    safe("clocks 1 tick apart, drift 1", World { slips: 1, ..three() });
    unsafe_("clocks 2 ticks apart, drift 1", World { slips: 2, ..three() });
    unsafe_("clocks 1 tick apart, lags 1, drift 1", World { slips: 1, lag: 1, ..three() });
}

/// From one replica to three; the two others start then.
fn growing(without: Without) -> World {
    World { rosters: vec![1, 3], started: vec![1, 2], restarts: 0, elections: 1, ..World::new(without) }
}

/// From three replicas to one, while the others still run.
fn shrinking(without: Without) -> World {
    World { rosters: vec![3, 1], restarts: 0, elections: 1, ..World::new(without) }
}

#[test]
fn a_roster_may_change_because_it_has_to_settle_and_is_looked_at_again() {
    safe("1 to 3 replicas", growing(Without::Nothing));
    safe("3 to 1 replicas", shrinking(Without::Nothing));
    unsafe_("1 to 3 replicas, roster not looked at again", growing(Without::RosterReread));
    unsafe_("3 to 1 replicas, roster not looked at again", shrinking(Without::RosterReread));
    unsafe_("3 to 1 replicas, by a new roster at once", shrinking(Without::Settling));
    safe("1 to 3 replicas, voters overlook the version", growing(Without::RosterCheck));
    safe("3 to 1 replicas, voters overlook the version", shrinking(Without::RosterCheck));
}

/// One falls, then another, and the platform says so.
fn falling(without: Without) -> World {
    World { crashes: 2, restarts: 0, elections: 1, ..world(without, 3) }
}

#[test]
fn the_dead_may_be_left_out_once_their_grants_have_run_out() {
    safe("3 agents, 2 fall", falling(Without::Nothing));
    unsafe_("the dead say yes", falling(Without::LivingMajority));
    unsafe_("the dead are left out at once", falling(Without::Settling));
}

/// Minutes and gigabytes; see docs/VOTE.md.
#[test]
fn larger_worlds_are_as_safe() {
    if !is_large() {
        eprintln!("SKIPPED: larger worlds are searched with VOTE_BOUNDS=large");
        return;
    }
    safe(
        "2 agents, 3 elections, 2 restarts",
        World { elections: 3, restarts: 2, ticks: 9, ..world(Without::Nothing, 2) },
    );
    safe("3 agents, 2 restarts", World { restarts: 2, ..world(Without::Nothing, 3) });
    safe("3 agents, 2 fall, 2 elections", World { elections: 2, ..falling(Without::Nothing) });
    safe("3 agents, late answers", World { mail: true, elections: 1, ..world(Without::Nothing, 3) });
    safe("4 agents, no restart", World { restarts: 0, elections: 1, ..world(Without::Nothing, 4) });
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn is_large() -> bool {
    std::env::var("VOTE_BOUNDS").is_ok_and(|value| value == "large")
}
