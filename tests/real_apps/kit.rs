//! What `scripts/test` installed, and how each app is run. It does not know the agent.

use std::ffi::OsString;
use std::path::PathBuf;

/// The apps of `tests/apps/`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum App {
    FastApi,
    Node,
}

impl App {
    /// The program and its arguments. `port`: a number, or the agent's `{port}`.
    pub(crate) fn command(self, port: &str) -> Vec<OsString> {
        let apps = root().join("tests/apps");
        match self {
            Self::FastApi => {
                let mut command: Vec<OsString> =
                    vec![python().into(), "-m".into(), "uvicorn".into(), "app:app".into()];
                command.extend(["--app-dir".into(), apps.into(), "--no-access-log".into()]);
                command.extend(["--host", "127.0.0.1", "--port", port].map(OsString::from));
                command
            }
            Self::Node => vec!["node".into(), apps.join("server.js").into(), port.into()],
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> PathBuf {
    root().join("target/test-kit/venv/bin/python")
}

/// Whether the app can be run. If not, says so, and panics where that must not be.
pub(crate) fn is_installed(app: App) -> bool {
    if variable("REAL_APPS").is_some_and(|value| value == "off") {
        eprintln!("SKIPPED: {app:?} is not run, for REAL_APPS is off");
        return false;
    }
    let runs = |program: OsString, argument: &str| {
        std::process::Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
    };
    let installed = match app {
        App::FastApi => runs(python().into(), "-V"),
        App::Node => runs("node".into(), "--version"),
    };
    if !installed {
        assert!(
            variable("CI").is_none(),
            "the kit for {app:?} is missing: run scripts/test, which installs it"
        );
        eprintln!("SKIPPED: the kit for {app:?} is missing; scripts/test installs it");
    }
    installed
}

/// How much is sent up and fetched down.
pub(crate) fn bulk_bytes() -> u64 {
    if variable("REAL_APPS_BIG").is_some_and(|value| value == "1") { 1 << 30 } else { 64 << 20 }
}

/// What the started processes keep of our environment; the rest could be options of the agent.
pub(crate) fn kept_environment() -> Vec<(&'static str, OsString)> {
    ["PATH", "HOME", "TMPDIR", "LANG"].into_iter().filter_map(|name| Some((name, variable(name)?))).collect()
}

#[expect(clippy::disallowed_methods, reason = "tests have no configuration: the environment is theirs")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}
