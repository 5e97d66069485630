//! Which signals reach the app, how often, and what ends both.

use nix::sys::signal::Signal;

use crate::agent::Place;
use crate::app;

#[tokio::test]
async fn each_signal_reaches_the_app_once_and_neither_ends() {
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[]);
    agent.hear("app became ready").await;
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGWINCH, "WINCH"),
    ] {
        agent.signal(signal);
        place.until(&format!("got {name}"), 1).await;
    }
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 7, "{said:#?}");
    let told = place.told();
    for name in ["HUP", "QUIT", "USR1", "USR2", "WINCH", "TERM"] {
        assert_eq!(told.iter().filter(|line| **line == format!("got {name}")).count(), 1, "{name}: {told:?}");
    }
    assert_eq!(place.count("got INT"), 0);
}

#[tokio::test]
async fn an_interrupt_ends_the_app_by_an_interrupt() {
    let place = Place::new();
    let mut agent = place.start(&app::command(), &[]);
    agent.hear("app became ready").await;
    agent.signal(Signal::SIGINT);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 7, "{said:#?}");
    assert_eq!((place.count("got INT"), place.count("got TERM")), (1, 0), "{:?}", place.told());
}

#[tokio::test]
async fn a_signal_for_the_group_reaches_all_of_it_when_that_is_asked_for() {
    let place = Place::new();
    // This wrapper catches the signal and passes nothing on.
    let script = format!("trap ':' USR2; {} & while ! wait; do :; done", app::shell_command());
    let command = crate::agent::words(["sh", "-c", &script]);
    let mut agent = place.start(&command, &[("OUTRIGGER__APP__SIGNALS", "group")]);
    agent.hear("app became ready").await;
    agent.signal(Signal::SIGUSR2);
    place.until("got USR2", 1).await;
    agent.signal(Signal::SIGTERM);
    agent.ended().await;
    assert_eq!(place.running(), [""; 0]);
}
