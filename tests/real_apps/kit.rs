//! What `scripts/test` installed, and how each app is run. It does not know the agent.

use std::ffi::OsString;
use std::path::PathBuf;

/// The apps of `tests/apps/`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum App {
    /// `app.py` under uvicorn.
    FastApi,
    /// `server.js`: Node's own server.
    Node,
    /// `express.js`.
    Express,
    /// `flask_app.py` under gunicorn's sync worker, one of them, which serves one request at a time.
    Flask {
        /// After so many requests gunicorn puts a new worker in place of the old one; 0: never.
        requests_a_worker: u32,
    },
    /// `next/`, built before, and started as its users do it: npx, which runs a shell, which runs the server.
    Next,
}

impl App {
    /// Under gunicorn as it comes.
    pub(crate) const FLASK: Self = Self::Flask { requests_a_worker: 0 };

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
            Self::Express => vec!["node".into(), apps.join("express.js").into(), port.into()],
            Self::Flask { requests_a_worker } => {
                let mut command: Vec<OsString> = vec![python().into(), "-m".into(), "gunicorn".into()];
                command.extend(["--chdir".into(), apps.into()]);
                let bind = format!("127.0.0.1:{port}");
                command.extend(
                    ["--workers", "1", "--worker-class", "sync", "--bind", &bind].map(OsString::from),
                );
                let requests = requests_a_worker.to_string();
                command.extend(
                    ["--max-requests", &requests, "--no-control-socket", "flask_app:app"].map(OsString::from),
                );
                command
            }
            Self::Next => {
                let words =
                    ["npx", "--no-install", "next", "start", "--hostname", "127.0.0.1", "--port", port];
                words.map(OsString::from).to_vec()
            }
        }
    }

    /// Where it is run: Next.js wants to stand in its own folder.
    pub(crate) fn working_folder(self) -> PathBuf {
        match self {
            Self::Next => kit().join("next"),
            Self::FastApi | Self::Node | Self::Express | Self::Flask { .. } => root(),
        }
    }
}

/// What every app is told about where its libraries are; and none of them calls home.
pub(crate) fn libraries() -> Vec<(&'static str, OsString)> {
    vec![
        ("NODE_PATH", kit().join("node/node_modules").into()),
        ("NEXT_TELEMETRY_DISABLED", "1".into()),
        ("npm_config_update_notifier", "false".into()),
        ("npm_config_offline", "true".into()),
        // Running the tests leaves nothing behind in the tree.
        ("PYTHONDONTWRITEBYTECODE", "1".into()),
    ]
}

fn kit() -> PathBuf {
    root().join("target/test-kit")
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn python() -> PathBuf {
    kit().join("venv/bin/python")
}

/// Whether the app can be run. If not, says so, and panics where that must not be.
pub(crate) fn is_installed(app: App) -> bool {
    if variable("REAL_APPS").is_some_and(|value| value == "off") {
        eprintln!("SKIPPED: {app:?} is not run, for REAL_APPS is off");
        return false;
    }
    // Next.js is large and takes a minute to build, so it can be left out by itself.
    if app == App::Next && variable("NEXT").is_some_and(|value| value == "off") {
        eprintln!("SKIPPED: {app:?} is not run, for NEXT is off");
        return false;
    }
    let runs = |program: OsString, argument: &str| {
        std::process::Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success())
    };
    let installed = match app {
        App::FastApi | App::Flask { .. } => runs(python().into(), "-V"),
        App::Node => runs("node".into(), "--version"),
        App::Express => kit().join("node/node_modules/express").is_dir(),
        App::Next => kit().join("next/.next/BUILD_ID").is_file(),
    };
    if !installed {
        assert!(!must_be_whole(), "the kit for {app:?} is missing: run scripts/test, which installs it");
        eprintln!("SKIPPED: the kit for {app:?} is missing; scripts/test installs it");
    }
    installed
}

/// Whether what is missing is a failure and no reason to skip.
pub(crate) fn must_be_whole() -> bool {
    variable("CI").is_some()
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
