//! The environment: the only look at it, what each variable is to us, and what the platform says of itself.
//!
//! A variable that begins with `OUTRIGGER_` and that we do not know is a fault: a misspelt threshold would otherwise
//! keep its default in silence. Every other program's variables are none of our business.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use crate::config::alerts;
use crate::config::fault::Fault;
use crate::config::options::{RailwayToken, Secret, TokenKind};
use crate::config::value::{Layer, Origin, Value};

/// What the names of all options begin with, as in `OUTRIGGER__JUDGE__WATCH`.
pub(super) const OPTION_PREFIX: &str = "OUTRIGGER__";
/// The section of tables that have their own names.
pub(super) const PROBE: &str = "probe";
/// What the names of such options begin with, as in `OUTRIGGER__PROBE__ORDERS_DB__CRITICAL`.
const PROBE_PREFIX: &str = "OUTRIGGER__PROBE__";
/// The longest name of a probe.
const PROBE_NAME_LEN_MAX: usize = 32;
/// Names of ours that are no options.
pub(super) const FIXED: [&str; 6] = [
    "OUTRIGGER_CONFIG",
    "OUTRIGGER_TOKEN",
    "OUTRIGGER_PEER_KEY",
    "OUTRIGGER_ALERT_WEBHOOK",
    "OUTRIGGER_ALERT_SECRET",
    "OUTRIGGER_SLACK_WEBHOOK",
];
/// What the agent itself sets for commands that it runs: no input.
const DECISION_PREFIX: &str = "OUTRIGGER_DECISION_";
/// The least and the greatest length of the token, in characters.
const TOKEN_LEN: std::ops::RangeInclusive<usize> = 16..=512;
/// The least and the greatest length of a peer key, in characters.
const PEER_KEY_LEN: std::ops::RangeInclusive<usize> = 16..=512;
/// Keys that are valid at once: the new one and the old one.
const PEER_KEYS_MAX: usize = 2;
/// Variables whose values no fault may show.
const SECRETS: [&str; 4] = ["OUTRIGGER_TOKEN", "OUTRIGGER_PEER_KEY", RAILWAY_TOKEN, RAILWAY_API_TOKEN];
/// The variable of a project's token.
const RAILWAY_TOKEN: &str = "RAILWAY_TOKEN";
/// The variable of an account's token, or a workspace's.
const RAILWAY_API_TOKEN: &str = "RAILWAY_API_TOKEN";
/// The longest token of the platform's that is taken, in characters.
const RAILWAY_TOKEN_LEN_MAX: usize = 4096;
/// What is kept back of the platform's drain time, in milliseconds: for our own end after the app's.
const DRAIN_MARGIN_MS: u64 = 2_000;
/// The longest drain time that is believed, in seconds.
const DRAIN_MAX_S: u64 = 3_600;

/// The process's environment.
#[expect(clippy::disallowed_methods, reason = "the one place that may read the environment")]
pub fn process_environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}

/// The token of an agent elsewhere, for the commands that ask it.
pub fn admin_token(env: &[(OsString, OsString)]) -> Option<String> {
    let value = raw(env, "OUTRIGGER_TOKEN")?.to_str()?.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The name of the person at the keyboard, as far as the environment tells.
pub fn user_name(env: &[(OsString, OsString)]) -> Option<String> {
    ["USER", "LOGNAME"].iter().find_map(|name| {
        let value = raw(env, name)?.to_str()?;
        (!value.is_empty()).then(|| value.to_owned())
    })
}

/// What surrounds us, apart from the options.
#[derive(Default)]
pub(super) struct Surroundings {
    /// `OUTRIGGER_CONFIG`.
    pub(super) file: Option<PathBuf>,
    /// `OUTRIGGER_TOKEN`.
    pub(super) token: Option<Secret>,
    /// `OUTRIGGER_PEER_KEY`: one, or two while they are changed.
    pub(super) peer_keys: Vec<Secret>,
    /// Where alerts go.
    pub(super) alerts: alerts::Secrets,
    /// The variables that hold a token of the platform's, and the tokens; `None` where it is none.
    pub(super) railway_tokens: Vec<(&'static str, Option<RailwayToken>)>,
    /// Texts that no fault may show.
    pub(super) secrets: Vec<String>,
    /// `AUTO_ROLLBACK_ENABLED` is false.
    pub(super) forbids_acting: bool,
    /// `DEPLOYMENT_STRATEGY`, when it is another than `standard`.
    pub(super) strategy: Option<String>,
    /// We run on Railway.
    pub(super) on_railway: bool,
    /// Where the volume is mounted, if there is one.
    pub(super) volume: Option<String>,
    /// What the platform says, as the lowest layer above the defaults.
    pub(super) presets: Layer,
}

impl Surroundings {
    /// Reads the variables that are no options.
    pub(super) fn read(env: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Self {
        let mut found = Self { file: raw(env, "OUTRIGGER_CONFIG").map(PathBuf::from), ..Self::default() };
        if found.file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            faults.push(variable_fault(
                "OUTRIGGER_CONFIG",
                "is empty; give the path of a TOML file, or unset it",
            ));
            found.file = None;
        }
        let secrets = SECRETS.into_iter().chain(alerts::VARIABLES);
        found.secrets = secrets.filter_map(|name| raw(env, name)?.to_str().map(str::to_owned)).collect();
        // Each key of two may be found alone in a wrong place.
        let parts: Vec<String> =
            found.secrets.iter().flat_map(|it| it.split(',')).map(|it| it.trim().to_owned()).collect();
        found.secrets.extend(parts);
        found.secrets.retain(|secret| !secret.is_empty());
        found.token = token(env, faults);
        found.peer_keys = peer_keys(env, faults);
        found.alerts = alerts::Secrets::read(env, faults);
        found.railway_tokens = railway_tokens(env);
        found.forbids_acting = match text(env, "AUTO_ROLLBACK_ENABLED", faults).map(str::to_ascii_lowercase) {
            None => false,
            Some(value) if ["false", "0", "no", "off"].contains(&value.as_str()) => true,
            Some(value) if ["true", "1", "yes", "on"].contains(&value.as_str()) => false,
            Some(_) => {
                let problem = "is neither true nor false; give false to keep the agent from acting, or true";
                faults.push(variable_fault("AUTO_ROLLBACK_ENABLED", problem));
                true
            }
        };
        let strategy = text(env, "DEPLOYMENT_STRATEGY", faults).filter(|value| *value != "standard");
        found.strategy = strategy.map(str::to_owned);
        found.read_platform(env, faults);
        found
    }

    fn read_platform(&mut self, env: &[(OsString, OsString)], faults: &mut Vec<Fault>) {
        let is_railway = |name: &OsStr| name.to_str().is_some_and(|name| RAILWAY_MARKS.contains(&name));
        self.on_railway = env.iter().any(|(name, _)| is_railway(name));
        let mut preset = |option: &str, variable, value: Option<String>| {
            if let Some(value) = value {
                self.presets.insert(option.to_owned(), (Value::Plain(value), Origin::Platform(variable)));
            }
        };
        for (option, variable) in [
            ("service.release", "RAILWAY_DEPLOYMENT_ID"),
            // Over the deployment's id: a redeployment of the same commit is the same release.
            ("service.release", "RAILWAY_GIT_COMMIT_SHA"),
            ("service.deployment", "RAILWAY_DEPLOYMENT_ID"),
            ("service.replica", "RAILWAY_REPLICA_ID"),
            ("service.environment", "RAILWAY_ENVIRONMENT_NAME"),
            ("service.name", "RAILWAY_SERVICE_NAME"),
            ("peers.name", "RAILWAY_PRIVATE_DOMAIN"),
            ("platform.project", "RAILWAY_PROJECT_ID"),
            ("platform.environment", "RAILWAY_ENVIRONMENT_ID"),
            ("platform.service", "RAILWAY_SERVICE_ID"),
        ] {
            preset(option, variable, text(env, variable, faults).map(str::to_owned));
        }
        let threshold = text(env, "ALERT_THRESHOLD", faults).map(str::to_ascii_lowercase);
        preset("alerts.threshold", "ALERT_THRESHOLD", threshold);
        if let Some(port) = text(env, "PORT", faults) {
            match port.parse::<u16>() {
                Ok(port) if port > 0 => preset("listen.public", "PORT", Some(format!("[::]:{port}"))),
                Ok(_) | Err(_) => faults.push(variable_fault("PORT", "is not a port; give 1 to 65535")),
            }
        }
        const DRAIN: &str = "RAILWAY_DEPLOYMENT_DRAINING_SECONDS";
        match text(env, DRAIN, faults).map(str::parse::<u64>) {
            Some(Ok(seconds)) if seconds <= DRAIN_MAX_S => {
                let all = seconds * 1_000;
                let drain = all - DRAIN_MARGIN_MS.min(all / 2);
                preset("app.drain", DRAIN, Some(format!("{drain}ms")));
            }
            Some(Ok(_) | Err(_)) => {
                faults.push(variable_fault(DRAIN, "is not a number of seconds; give 0 to 3600"));
            }
            // The platform's own default: it kills at once.
            None if self.on_railway => preset("app.drain", DRAIN, Some("0s".to_owned())),
            None => {}
        }
        self.volume = text(env, "RAILWAY_VOLUME_MOUNT_PATH", faults).map(str::to_owned);
        if let Some(volume) = &self.volume {
            let dir = format!("{}/outrigger", volume.trim_end_matches('/'));
            let origin = Origin::Platform("RAILWAY_VOLUME_MOUNT_PATH");
            self.presets.insert("store.dir".to_owned(), (Value::Plain(dir), origin));
        }
    }
}

/// Variables that are only set on Railway.
const RAILWAY_MARKS: [&str; 4] =
    ["RAILWAY_DEPLOYMENT_ID", "RAILWAY_ENVIRONMENT_NAME", "RAILWAY_SERVICE_NAME", "RAILWAY_REPLICA_ID"];

/// The options among the variables, and faults for names of ours that are neither. Whether an option of that name
/// exists is only known once all have been read.
pub(super) fn layer(env: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in env {
        let Some(name) = name.to_str() else {
            if name.as_encoded_bytes().starts_with(b"OUTRIGGER_") {
                let shown = name.to_string_lossy();
                faults.push(variable_fault(&shown, "has a name that is not UTF-8; unset it"));
            }
            continue;
        };
        if !name.starts_with("OUTRIGGER_") || name.starts_with(DECISION_PREFIX) || FIXED.contains(&name) {
            continue;
        }
        // A name of another form stays as it is: no option is called so, and the reader says what was meant.
        let option = option_of(name).unwrap_or_else(|| name.to_owned());
        match value.to_str() {
            Some(text) => {
                layer.insert(option, (Value::Plain(text.to_owned()), Origin::Variable(name.to_owned())));
            }
            None => faults.push(variable_fault(name, "has a value that is not UTF-8; give one that is")),
        }
    }
    layer
}

/// The option that a variable sets: `judge.watch` for `OUTRIGGER__JUDGE__WATCH`.
fn option_of(variable: &str) -> Option<String> {
    let upper = |text: &str| !text.bytes().any(|b| b.is_ascii_lowercase());
    if let Some(rest) = variable.strip_prefix(PROBE_PREFIX) {
        let (name, key) = rest.rsplit_once("__")?;
        let probe = name.to_ascii_lowercase().replace('_', "-");
        let fits = upper(name) && upper(key) && is_probe_name(&probe);
        return fits.then(|| format!("{PROBE}.{probe}.{}", key.to_ascii_lowercase()));
    }
    let (section, key) = variable.strip_prefix(OPTION_PREFIX)?.split_once("__")?;
    (upper(section) && upper(key)).then(|| format!("{section}.{key}").to_ascii_lowercase())
}

/// 1 to 32 of `a-z`, `0-9` and `-`, a letter first.
pub(super) fn is_probe_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    name.len() <= PROBE_NAME_LEN_MAX
        && name.bytes().all(fits)
        && name.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
}

/// The variable that sets an option.
pub(super) fn variable_of(option: &str) -> String {
    format!("{OPTION_PREFIX}{}", option.replace('.', "__").replace('-', "_").to_ascii_uppercase())
}

pub(super) fn raw<'a>(env: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    env.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_os_str())
}

/// A variable's text; an empty one counts as absent, as the platform sets it when there is nothing to tell.
fn text<'a>(env: &'a [(OsString, OsString)], name: &str, faults: &mut Vec<Fault>) -> Option<&'a str> {
    let value = raw(env, name)?.to_str().or_else(|| {
        faults.push(variable_fault(name, "has a value that is not UTF-8; give one that is"));
        None
    })?;
    (!value.trim().is_empty()).then(|| value.trim())
}

fn token(env: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Option<Secret> {
    let value = raw(env, "OUTRIGGER_TOKEN")?;
    let fits = |t: &&str| TOKEN_LEN.contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic());
    let token = value.to_str().filter(fits);
    if token.is_none() {
        let remedy = "make one with `openssl rand -hex 32`, or unset it";
        let problem =
            format!("is no token of 16 to 512 visible ASCII characters (its value is not shown); {remedy}");
        faults.push(variable_fault("OUTRIGGER_TOKEN", &problem));
    }
    token.map(|token| Secret::new(token.to_owned()))
}

/// They are the platform's variables, not ours: what is wrong with them is only told where they are needed.
fn railway_tokens(env: &[(OsString, OsString)]) -> Vec<(&'static str, Option<RailwayToken>)> {
    let token = |(name, kind)| {
        let value = raw(env, name)?;
        if value.to_str().is_some_and(|text| text.trim().is_empty()) {
            return None;
        }
        let fits = |t: &&str| t.len() <= RAILWAY_TOKEN_LEN_MAX && t.bytes().all(|b| b.is_ascii_graphic());
        let text = value.to_str().map(str::trim).filter(fits);
        Some((name, text.map(|text| RailwayToken { kind, secret: Secret::new(text.to_owned()) })))
    };
    let variables = [(RAILWAY_TOKEN, TokenKind::Project), (RAILWAY_API_TOKEN, TokenKind::Account)];
    variables.into_iter().filter_map(token).collect()
}

/// Keys are only taken whole: a typing error in the second one would otherwise cut a fleet in two some day.
fn peer_keys(env: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Vec<Secret> {
    let Some(value) = raw(env, "OUTRIGGER_PEER_KEY") else { return Vec::new() };
    let fits = |key: &&str| PEER_KEY_LEN.contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
    let keys: Vec<&str> = value.to_str().unwrap_or_default().split(',').map(str::trim).collect();
    if keys.len() > PEER_KEYS_MAX || !keys.iter().all(fits) || (keys.len() == 2 && keys[0] == keys[1]) {
        let remedy = "make one with `openssl rand -hex 32`, or unset it";
        let problem = format!(
            "is no key of 16 to 512 visible ASCII characters, nor two different ones with a comma between them (its \
             value is not shown); {remedy}"
        );
        faults.push(variable_fault("OUTRIGGER_PEER_KEY", &problem));
        return Vec::new();
    }
    keys.into_iter().map(|key| Secret::new(key.to_owned())).collect()
}

pub(super) fn variable_fault(name: &str, problem: &str) -> Fault {
    Fault::at(&Origin::Variable(name.to_owned()), problem.to_owned())
}
