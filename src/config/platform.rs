//! The options of `[platform]`: who puts a release back, and with what. It does not know what a platform is asked.

use std::net::IpAddr;
use std::time::Duration;

use url::{Host, Url};

use crate::config::environment::Surroundings;
use crate::config::options::{Config, Platform, Railway};
use crate::config::reader::Reader;
use crate::config::units::{self, Wrong};
use crate::config::value::{Origin, Value};
use crate::engine::policy::Mode;

/// A command that does not end in time is asked to end, and killed, within so long.
const KILLED_WITHIN: Duration = Duration::from_secs(4);
/// How long a call or a command of the platform may take by default.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Where Railway's public API is.
const RAILWAY_URL: &str = "https://backboard.railway.com/graphql/v2";
/// Requests of Railway's API in an hour by default: a fifth of what the smallest paid plan allows, and several times what
/// one read a minute needs.
const REQUESTS_PER_HOUR: u32 = 200;
/// The longest name of a project, an environment or a service, in characters.
const ID_LEN_MAX: usize = 64;

const URL_REMEDY: &str = "give a plain URL with nothing behind the port, such as \"http://127.0.0.1:3000\"";
const API_REMEDY: &str =
    "give an https:// URL, such as \"https://backboard.railway.com/graphql/v2\", or \"\" for just that";
const ID_REMEDY: &str = "give the id that the platform shows in the service's address, or \"\"";

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    DryRun,
    Command,
    Local,
    Railway,
}

/// What was read.
pub(super) struct Read {
    pub(super) platform: Platform,
    /// The longest that a call of it may take until it has no more effect: also of one that only rehearses, for voters keep to
    /// what they granted so long.
    pub(super) call: Duration,
    /// The project, the environment and the service whose agents belong together, where all three are named. A watcher is a
    /// service of its own there, and names the one that it watches.
    pub(super) scope: Option<String>,
}

/// Reads them.
pub(super) fn read(reader: &mut Reader, surroundings: &Surroundings) -> Read {
    let kinds = [
        ("dry-run", Kind::DryRun),
        ("command", Kind::Command),
        ("local", Kind::Local),
        ("railway", Kind::Railway),
    ];
    let kind = reader.choice("platform.kind", &kinds);
    let roll_back = reader.list("platform.roll_back");
    let current = reader.list("platform.current");
    let timeout = reader.duration("platform.timeout", TIMEOUT, "1s", "1h");
    let (address, api) = match kind {
        Kind::Railway => (None, reader.optional("platform.url", API_REMEDY, api)),
        Kind::DryRun | Kind::Command | Kind::Local => {
            (reader.optional("platform.url", URL_REMEDY, units::authority), None)
        }
    };
    let ids = ["platform.project", "platform.environment", "platform.service"];
    let [project, environment, service] =
        ids.map(|option| reader.optional(option, ID_REMEDY, id).unwrap_or_default());
    let is_named = [&project, &environment, &service].iter().all(|id| !id.is_empty());
    let scope = is_named.then(|| format!("{project}/{environment}/{service}"));
    let railway = Railway {
        url: api.unwrap_or_else(|| Url::parse(RAILWAY_URL).expect("the constant is a URL")),
        token: None,
        project,
        environment,
        service,
        timeout,
        requests_per_hour: reader.small("platform.requests_per_hour", REQUESTS_PER_HOUR, 60, 100_000),
        cancel_queued: reader.truth("platform.cancel_queued", true),
        stop_auto_deploy: reader.truth("platform.stop_auto_deploy", true),
        replicas: 1,
    };
    let platform = match kind {
        Kind::DryRun => Platform::DryRun,
        Kind::Command => Platform::Command { roll_back, current, timeout },
        Kind::Local => Platform::Local { address: address.unwrap_or_default(), timeout },
        Kind::Railway => Platform::Railway(Box::new(with_token(reader, surroundings, railway))),
    };
    Read { platform, call: timeout + KILLED_WITHIN, scope }
}

/// The project's token before the account's: it can do less.
fn with_token(reader: &mut Reader, surroundings: &Surroundings, railway: Railway) -> Railway {
    let Some((variable, token)) = surroundings.railway_tokens.first() else { return railway };
    if token.is_none() {
        reader.blame_all(format!(
            "{variable} holds no token (its value is not shown); give visible ASCII characters without spaces, as the \
             platform's dashboard shows them once, or unset it"
        ));
    }
    Railway { token: token.clone(), ..railway }
}

/// TLS, but for this machine: the token goes with every request.
fn api(value: &Value) -> Result<Url, Wrong> {
    let text = units::line(value, 1024)?;
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or a password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("holds more than a path");
    }
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return Err("names no host"),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback => Ok(url),
        "http" => Err("would send the token in plain text"),
        _ => Err("is not an https:// URL"),
    }
}

fn id(value: &Value) -> Result<String, Wrong> {
    let text = units::line(value, ID_LEN_MAX)?;
    if text.bytes().all(|b| b.is_ascii_graphic()) { Ok(text.to_owned()) } else { Err("is no id") }
}

/// What can only be wrong between options.
pub(super) fn cross_check(reader: &mut Reader, config: &Config) {
    let mut require = |holds, options: &[&str], rule: &str| reader.require(holds, options, rule);
    match &config.platform {
        Platform::DryRun => {}
        Platform::Command { roll_back, .. } => require(
            !roll_back.is_empty(),
            &["platform.kind", "platform.roll_back"],
            "there is no command that puts a release back; give one, as in roll_back = [\"./roll-back.sh\"]",
        ),
        Platform::Local { address, .. } => require(
            !address.is_empty(),
            &["platform.kind", "platform.url"],
            "the platform's address is missing; give one, as in url = \"http://127.0.0.1:7000\"",
        ),
        Platform::Railway(railway) => {
            let ids = [
                ("platform.project", &railway.project, "RAILWAY_PROJECT_ID"),
                ("platform.environment", &railway.environment, "RAILWAY_ENVIRONMENT_ID"),
                ("platform.service", &railway.service, "RAILWAY_SERVICE_ID"),
            ];
            for (option, id, variable) in ids {
                // Without a token nothing is asked, so nothing need be named.
                require(
                    railway.token.is_none() || !id.is_empty(),
                    &["platform.kind", option],
                    &format!(
                        "nothing says what is to be read; {variable} does where the platform runs us, elsewhere give \
                         the id, which stands in the dashboard's address"
                    ),
                );
            }
        }
    }
}

/// What is allowed and will hurt.
pub(super) fn warnings(reader: &Reader, config: &Config, warn: &mut impl FnMut(bool, String)) {
    let platform = &config.platform;
    let enforces = config.policy.mode == Mode::Enforce;
    // Where there is a watcher, it is the one that acts.
    warn(
        *platform == Platform::DryRun && enforces && !config.service.watcher,
        "rollback.mode is \"enforce\" but platform.kind is \"dry-run\": decisions are recorded, nothing is put back"
            .to_owned(),
    );
    warn(
        matches!(platform, Platform::Railway(railway) if railway.token.is_none()),
        "platform.kind is \"railway\" but neither RAILWAY_TOKEN nor RAILWAY_API_TOKEN is set: this agent asks the \
         platform nothing and puts nothing back; set one of them, or leave both acts to an agent that has one"
            .to_owned(),
    );
    let timeout = match platform {
        Platform::DryRun => Duration::ZERO,
        Platform::Command { timeout, .. } | Platform::Local { timeout, .. } => *timeout,
        Platform::Railway(railway) => railway.timeout,
    };
    let verify = config.policy.verify;
    warn(
        timeout > verify,
        format!(
            "platform.timeout ({}) is longer than rollback.verify ({}): a rollback may be called failed while it is \
             still being ordered",
            units::duration_text(timeout),
            units::duration_text(verify)
        ),
    );
    unused_options(reader, platform, warn);
}

const COMMANDS: &[&str] = &["platform.roll_back", "platform.current"];
const ADDRESS: &[&str] = &["platform.url"];
const RAILWAY: &[&str] = &[
    "platform.project",
    "platform.environment",
    "platform.service",
    "platform.requests_per_hour",
    "platform.cancel_queued",
    "platform.stop_auto_deploy",
];

/// Options of the platform that the chosen kind does not look at. What the platform itself says is nobody's mistake.
fn unused_options(reader: &Reader, platform: &Platform, warn: &mut impl FnMut(bool, String)) {
    let (kind, unused) = match platform {
        Platform::DryRun => ("dry-run", [COMMANDS, ADDRESS, RAILWAY]),
        Platform::Command { .. } => ("command", [&[], ADDRESS, RAILWAY]),
        Platform::Local { .. } => ("local", [COMMANDS, &[], RAILWAY]),
        Platform::Railway(_) => ("railway", [COMMANDS, &[], &[]]),
    };
    for option in unused.into_iter().flatten() {
        let origin = reader.origin(option);
        let is_unused =
            !matches!(origin, Origin::Default | Origin::Platform(_)) && !reader.is_at_default(option);
        warn(is_unused, format!("{option} ({origin}) has no effect: platform.kind is \"{kind}\""));
    }
}
