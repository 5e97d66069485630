//! The idle-close race: an app closes an idle connection in the moment when the proxy sends a request on it.
//!
//! Against the real binary: no request fails, and none comes to the app twice, whatever the app's limit and however near
//! to it the requests come. Clients do not pipeline and do not send again.
//!
//! `RACE=full` sends 20,000 requests a cell instead of some hundreds (ten minutes). `RACE_PEERS=1` puts nginx and
//! HAProxy under the same load and prints what share of it fails; without it they are left out. (Neither begins with
//! `OUTRIGGER_`: the agent refuses such variables that it does not know.) To see the tables:
//! `RACE_PEERS=1 cargo nextest run --test race --no-capture`.

#[path = "race/app.rs"]
mod app;
#[path = "race/load.rs"]
mod load;
#[path = "race/subject.rs"]
mod subject;

use std::ffi::OsString;
use std::time::Duration;

use crate::app::{App, Habit};
use crate::load::{Load, Method, Outcome};
use crate::subject::{Agent, Haproxy, Nginx};

/// How often a cell is tried when the machine stands still; then it has failed.
const TRIES_MAX: usize = 3;
/// What `RACE=full` sends in each cell, over so many connections where the app's limit is long.
const FULL_REQUESTS: usize = 20_000;
const FULL_CLIENTS: usize = 200;
/// Connections of a cell otherwise.
const CLIENTS: usize = 60;

const TENTH: Habit = Habit { idle_limit: Duration::from_millis(100), announces: false };
const SECOND: Habit = Habit { idle_limit: Duration::from_secs(1), announces: false };
const ANNOUNCED: Habit = Habit { idle_limit: Duration::from_secs(1), announces: true };
const FIVE_SECONDS: Habit = Habit { idle_limit: Duration::from_secs(5), announces: false };

/// Above every app's limit here: the agent is not saved by its own. And many workers, each of which has to learn the
/// app's: until it has seen a connection close, it races.
const UNAWARE: [(&str, &str); 2] =
    [("OUTRIGGER__PROXY__UPSTREAM_IDLE", "30s"), ("OUTRIGGER__PROXY__WORKERS", "30")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_closes_after_100_ms_costs_no_request() {
    let outcomes = both_methods(TENTH, 25, &[]).await;
    outcomes.iter().for_each(Outcome::is_flawless);
    // Or nothing was raced for.
    outcomes.iter().for_each(|o| assert!(o.closed_idle > 0 && o.reused > 0, "{o:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_closes_after_1_s_costs_no_request() {
    let outcomes = both_methods(SECOND, 10, &[]).await;
    outcomes.iter().for_each(Outcome::is_flawless);
    outcomes.iter().for_each(|o| assert!(o.closed_idle > 0 && o.reused > 0, "{o:?}"));
}

/// The agent's own limit is lower; it closes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_closes_after_5_s_costs_no_request() {
    let outcomes = both_methods(FIVE_SECONDS, 4, &[]).await;
    outcomes.iter().for_each(Outcome::is_flawless);
    outcomes.iter().for_each(|o| assert!(o.reused > 0, "{o:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_announces_its_limit_costs_no_request() {
    both_methods(ANNOUNCED, 10, &[]).await.iter().for_each(Outcome::is_flawless);
    both_methods(ANNOUNCED, 3, &UNAWARE).await.iter().for_each(Outcome::is_flawless);
}

/// An operator who sets `proxy.upstream_idle` too high loses connections, not requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_own_limit_above_the_apps_costs_no_request() {
    let (tenth, second, five) = tokio::join!(
        both_methods(TENTH, 25, &UNAWARE),
        both_methods(SECOND, 10, &UNAWARE),
        both_methods(FIVE_SECONDS, 4, &UNAWARE),
    );
    for outcome in [tenth, second, five].iter().flatten() {
        outcome.is_flawless();
        assert!(outcome.closed_idle > 0 && outcome.reused > 0, "{outcome:?}");
    }
}

/// The same load on the app itself fails: it is a race, and this load finds it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_keep_connections_to_the_app_itself_lose_requests() {
    let load = Load { method: Method::Get, waves: 10, clients: CLIENTS };
    let app = App::start(TENTH, load.requests()).await;
    let outcome = load.run(&app, app.address()).await;
    assert!(outcome.failed > 0 && outcome.failed < outcome.requests, "{outcome:?}");
    assert_eq!(outcome.arrived_twice, 0, "nobody sends again: {outcome:?}");
}

/// Prints, and asserts nothing: others' shares are no promise of ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_load_on_nginx_and_haproxy_for_comparison() {
    if variable("RACE_PEERS").is_none_or(|value| value != "1") {
        eprintln!("SKIPPED: nginx and HAProxy are raced with RACE_PEERS=1");
        return;
    }
    for (habit, waves) in [(TENTH, 25), (SECOND, 10), (FIVE_SECONDS, 4)] {
        let limit = habit.idle_limit;
        for method in [Method::Get, Method::Post] {
            let load = load(habit, waves, method);
            let app = || App::start(habit, load.requests());
            let (a, n, h, i, j) = tokio::join!(app(), app(), app(), app(), app());
            let (agent, nginx) = tokio::join!(Agent::start(a.address(), &[]), Nginx::start(n.address()));
            let (safe, always, again) = tokio::join!(
                Haproxy::start(h.address(), "http-reuse safe"),
                Haproxy::start(i.address(), "http-reuse always"),
                Haproxy::start(j.address(), "http-reuse safe\n  retry-on all-retryable-errors"),
            );
            // One after the other within each method would take five times as long; they share two cores here.
            let (agent, nginx, safe, always, again) = tokio::join!(
                load.run(&a, agent.address()),
                load.run(&n, nginx.address()),
                load.run(&h, safe.address()),
                load.run(&i, always.address()),
                load.run(&j, again.address()),
            );
            for (name, outcome) in [
                ("outrigger", agent),
                ("nginx", nginx),
                ("HAProxy, http-reuse safe", safe),
                ("HAProxy, http-reuse always", always),
                ("HAProxy, retry-on all-retryable-errors", again),
            ] {
                println!("{limit:>5?} {method:?} {name:<40} {outcome}");
            }
        }
    }
}

/// GET and POST at once, each with an app and an agent of its own.
async fn both_methods(habit: Habit, waves: usize, environment: &[(&str, &str)]) -> [Outcome; 2] {
    let (get, post) = tokio::join!(
        cell(habit, waves, environment, Method::Get),
        cell(habit, waves, environment, Method::Post)
    );
    [get, post]
}

async fn cell(habit: Habit, waves: usize, environment: &[(&str, &str)], method: Method) -> Outcome {
    let load = load(habit, waves, method);
    let mut tries = 0;
    loop {
        tries += 1;
        let app = App::start(habit, load.requests()).await;
        let agent = Agent::start(app.address(), environment).await;
        let outcome = load.run(&app, agent.address()).await;
        println!("{:>5?} {method:?} {environment:?} {outcome}", habit.idle_limit);
        if tries == TRIES_MAX || !outcome.proves_nothing(habit.idle_limit) {
            return outcome;
        }
        eprintln!("once more, for the machine stood still: {outcome:?}");
    }
}

fn load(habit: Habit, waves: usize, method: Method) -> Load {
    if !is_full() {
        return Load { method, waves, clients: CLIENTS };
    }
    // More at once would take longer than the shortest limit itself.
    let clients = if habit.idle_limit < SECOND.idle_limit { CLIENTS } else { FULL_CLIENTS };
    Load { method, waves: FULL_REQUESTS.div_ceil(clients), clients }
}

fn is_full() -> bool {
    variable("RACE").is_some_and(|value| value == "full")
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
