//! Apps that listen on a socket in the file system.

use nix::sys::signal::Signal;

use crate::agent::{Place, get, words};
use crate::app;

/// The app on the socket that its arguments name.
fn on_socket() -> String {
    format!("SOCKET=\"$1\" exec {}", app::shell_command())
}

#[tokio::test]
async fn an_app_is_told_its_socket_and_is_served_there_also_after_a_crash() {
    let place = Place::new();
    let socket = place.path("app.sock");
    let environment = [
        ("OUTRIGGER__APP__SOCKET", socket.to_str().unwrap()),
        ("OUTRIGGER__APP__RESTART", "on-failure"),
        ("OUTRIGGER__PROXY__HOLD", "30s"),
    ];
    let mut agent = place.start(&words(["sh", "-c", &on_socket(), "sh", "{socket}"]), &environment);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    assert!(get(public, "/").await.ends_with("hello"));
    // The app leaves its socket behind, on which the next one could not listen.
    get(public, "/crash").await;
    agent.hear("app became ready").await;
    assert!(socket.exists());
    assert!(get(public, "/").await.ends_with("hello"));
    agent.signal(Signal::SIGTERM);
    let (code, said) = agent.ended().await;
    assert_eq!(code, 7, "{said:#?}");
}

#[tokio::test]
async fn a_socket_that_others_serve_is_an_upstream() {
    let place = Place::new();
    let socket = place.path("app.sock");
    let mut other = tokio::process::Command::new("sh")
        .args(["-c", &on_socket(), "sh"])
        .arg(&socket)
        .env("PORT", "0")
        .env("TOLD", place.path("told"))
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    place.until("up ", 1).await;
    let upstream = format!("unix:{}", socket.display());
    let mut agent = place.start(&[], &[("OUTRIGGER__APP__UPSTREAM", &upstream)]);
    let (public, _) = agent.listening().await;
    agent.hear("app became ready").await;
    assert!(get(public, "/").await.ends_with("hello"));
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.ended().await.0, 0);
    other.kill().await.unwrap();
}
