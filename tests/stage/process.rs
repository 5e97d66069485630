//! Processes of the binary under test: how they are started and asked, and the one way in which these tests wait.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

/// Whatever is waited for comes within this time on a slow machine, or never.
pub(crate) const WAIT: Duration = Duration::from_secs(120);
/// Between two looks at a condition that sends no event.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The binary.
pub(crate) const OUTRIGGER: &str = env!("CARGO_BIN_EXE_outrigger");

/// Looks until there is something to see, under [`WAIT`].
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = timeout(WAIT, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
}

/// The binary with arguments and nothing of this process's environment: what a developer's shell or CI sets must not
/// change what is tested.
pub(crate) fn outrigger<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(OUTRIGGER);
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command for people against the agent of a data directory, and returns what it printed.
pub(crate) async fn ask(data: &Path, arguments: &[&str]) -> String {
    let ran = answer(data, arguments).await;
    let errors = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{arguments:?} ended with {}: {errors}", ran.status);
    String::from_utf8(ran.stdout).unwrap()
}

/// The same with `--json`.
pub(crate) async fn ask_json(data: &Path, arguments: &[&str]) -> Value {
    let printed = ask(data, &[arguments, &["--json"]].concat()).await;
    serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{arguments:?} printed no JSON, {e}: {printed}"))
}

/// The same where the agent may not be there yet.
pub(crate) async fn ask_if_there(data: &Path, arguments: &[&str]) -> Option<Value> {
    let ran = answer(data, &[arguments, &["--json"]].concat()).await;
    if ran.status.success() { serde_json::from_slice(&ran.stdout).ok() } else { None }
}

async fn answer(data: &Path, arguments: &[&str]) -> Output {
    let mut command = outrigger(arguments);
    command.arg("--data").arg(data);
    timeout(WAIT, command.output()).await.expect("a command for people ends").unwrap()
}

/// Processes with `text` in their command line, this one left out.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid == own || !pid.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // It may have ended since it was listed; then it is none of them.
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(text) {
            found.push(format!("{pid} {line}"));
        }
    }
    found
}

/// A figure of the environment, for those who run the tests.
#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
pub(crate) fn figure(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a whole number, not `{text}`")))
}
