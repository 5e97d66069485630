//! Tests that need a place of their own run once more, in a process of their own behind some other command.

use std::ffi::OsStr;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Set where the test runs in its place; the value is the test's own.
const PLACE: &str = "PROBES_PLACE";
/// The whole test, in there.
const WAIT: Duration = Duration::from_secs(120);

/// What the test was given for its place, where it runs in it.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
pub(crate) fn here() -> Option<String> {
    std::env::var(PLACE).ok()
}

/// Runs the test `name` behind `before`, with `given` for it, and fails if it does. Where `before` may not be run it is
/// skipped, aloud.
pub(crate) async fn run_in(before: &[&OsStr], given: &str, name: &str) {
    let command = |rest: &[&OsStr]| {
        let words = [before, rest].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(PLACE, given).kill_on_drop(true);
        command
    };
    let own = std::env::current_exe().unwrap();
    if !before.is_empty()
        && !command(&["true".as_ref()]).output().await.is_ok_and(|tried| tried.status.success())
    {
        eprintln!("SKIPPED: {before:?} is not permitted here; it needs root");
        return;
    }
    let mut again = command(&[own.as_os_str(), name.as_ref(), "--exact".as_ref(), "--nocapture".as_ref()]);
    let ran = timeout(WAIT, again.output()).await.expect("it ends in time").unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && out.contains("1 passed"), "{}: {out}\n{err}", ran.status);
}
