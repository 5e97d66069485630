//! An app that is started again by its agent, or not.

use nix::sys::signal::Signal;

use crate::agent::{Place, ask, get, rest, words};
use crate::app;

const ON_FAILURE: (&str, &str) = ("OUTRIGGER__APP__RESTART", "on-failure");
const HOLD: (&str, &str) = ("OUTRIGGER__PROXY__HOLD", "30s");

#[tokio::test]
async fn no_request_is_lost_that_comes_while_the_app_is_started_again() {
    const HELD: usize = 20;
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[ON_FAILURE, HOLD]);
    let (public, admin) = agent.listening().await;
    agent.hear("app became ready").await;
    assert!(get(public, "/").await.ends_with("hello"));
    let crash = get(public, "/crash").await;
    assert!(crash.starts_with("HTTP/1.1 502 "), "{crash}");
    agent.hear("the app will be started again").await;
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(ask(public, "/held", "connection: close\r\n").await);
    }
    for stream in &mut held {
        let (answer, _) = rest(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!((place.count("asked for /held"), place.count("up ")), (HELD, 2));
    agent.hear("app became ready").await;
    let metrics = get(admin, "/metrics").await;
    assert!(metrics.contains("\noutrigger_app_restarts_total 1\n"), "{metrics}");
    let records = get(admin, "/api/records?limit=50").await;
    assert_eq!(records.matches("\"exited\"").count(), 1, "{records}");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 7);
    assert_eq!(place.running(), [""; 0]);
}

#[tokio::test]
async fn by_default_the_apps_end_is_the_agents() {
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[]);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    get(public, "/crash").await;
    assert_eq!(agent.ended().await.0, 3);
    assert_eq!(place.count("up "), 1);
}

#[tokio::test]
async fn what_ends_well_is_not_started_again_on_failure() {
    let place = Place::new();
    let agent = place.start(&words(["sh", "-c", "echo run >> told; exit 0"]), &[ON_FAILURE]);
    assert_eq!(agent.ended().await.0, 0);
    assert_eq!(place.count("run"), 1);
}

#[tokio::test]
async fn five_crashes_in_a_row_are_enough() {
    let place = Place::new();
    let agent = place.start(&words(["sh", "-c", "echo run >> told; exit 5"]), &[ON_FAILURE]);
    let (code, said) = agent.ended().await;
    assert_eq!((code, place.count("run")), (5, 5), "{said:#?}");
    assert!(said.iter().any(|line| line.contains("the app ended too often")), "{said:#?}");
}

#[tokio::test]
async fn a_signal_between_two_starts_ends_the_agent_with_the_last_code() {
    let place = Place::new();
    let mut agent = place.start(&words(["sh", "-c", "echo run >> told; exit 5"]), &[ON_FAILURE]);
    for _ in 0..4 {
        agent.hear("the app will be started again").await;
    }
    // The fourth pause is a second at least.
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    assert_eq!((code, place.count("run")), (5, 4), "{said:#?}");
}

#[tokio::test]
async fn what_the_app_left_behind_is_ended_before_it_is_started_again() {
    let place = Place::new();
    // The wrapper crashes and leaves its server on the port; the next one could not listen.
    let script = format!(
        "[ -e once ] && exec {0}; touch once; {0} & sleep 0.01; read x < go; exit 3",
        app::shell_command()
    );
    nix::unistd::mkfifo(&place.path("go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut agent = place.start(&words(["sh", "-c", &script]), &[ON_FAILURE, HOLD]);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    std::fs::write(place.path("go"), "go\n").unwrap();
    agent.hear("app became ready").await;
    assert!(get(public, "/").await.ends_with("hello"));
    let told = place.told();
    assert_eq!(told[1..3], ["got TERM", "down"], "{told:?}");
    assert_eq!(place.count("up "), 2, "{told:?}");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 7);
}
