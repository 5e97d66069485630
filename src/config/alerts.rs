//! The options about whom to tell. The addresses are secrets: whoever knows one can write there. So they are only taken
//! from the environment, and are never shown.

use std::ffi::OsString;
use std::time::Duration;

use url::{Host, Url};

use crate::config::environment::{raw, variable_fault};
use crate::config::fault::Fault;
use crate::config::options::Secret;
use crate::config::reader::Reader;
use crate::config::units::{self, Wrong};
use crate::engine::alert::Severity;

/// The address that alerts are posted to.
const WEBHOOK: &str = "OUTRIGGER_ALERT_WEBHOOK";
/// What posts are signed with.
const SECRET: &str = "OUTRIGGER_ALERT_SECRET";
/// Slack's incoming webhook.
const SLACK: &str = "OUTRIGGER_SLACK_WEBHOOK";
/// All of them: no fault may show their values.
pub(super) const VARIABLES: [&str; 3] = [WEBHOOK, SECRET, SLACK];
/// The least and the greatest length of the secret, in characters.
const SECRET_LEN: std::ops::RangeInclusive<usize> = 16..=512;
/// The longest address.
const URL_LEN_MAX: usize = 2048;
/// How long a receiver may take by default.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to tell, and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Alerts {
    /// Where alerts are posted as JSON.
    pub webhook: Option<Hook>,
    /// What these posts are signed with.
    pub secret: Option<Secret>,
    /// Slack's incoming webhook.
    pub slack: Option<Hook>,
    /// What is less severe is told nobody.
    pub threshold: Severity,
    /// Where people find the dashboard.
    pub link: Option<String>,
    /// How long a receiver may take to answer.
    pub timeout: Duration,
}

impl Default for Alerts {
    fn default() -> Self {
        Self {
            webhook: None,
            secret: None,
            slack: None,
            threshold: Severity::Medium,
            link: None,
            timeout: TIMEOUT,
        }
    }
}

/// An address that whoever knows it can write to. It cannot be printed.
#[derive(Clone, PartialEq)]
pub struct Hook(Url);

impl Hook {
    /// The address itself, for the moment of calling it.
    pub fn expose(&self) -> &Url {
        &self.0
    }

    /// `https`, or `http` on this machine.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let url = Some(text).filter(|text| text.len() <= URL_LEN_MAX).and_then(|text| Url::parse(text).ok());
        let url = url.filter(|url| url.host().is_some()).ok_or("is no address")?;
        match url.scheme() {
            "https" => Ok(Self(url)),
            "http" if is_here(&url) => Ok(Self(url)),
            "http" => Err("is not encrypted and leads off this machine"),
            _ => Err("is no https address"),
        }
    }
}

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[address not shown]")
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// What the environment alone may say.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    webhook: Option<Hook>,
    secret: Option<Secret>,
    slack: Option<Hook>,
}

impl Secrets {
    pub(super) fn read(env: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Self {
        Self {
            webhook: hook(env, WEBHOOK, faults),
            secret: secret(env, faults),
            slack: hook(env, SLACK, faults),
        }
    }
}

/// An empty variable counts as absent.
fn hook(env: &[(OsString, OsString)], name: &str, faults: &mut Vec<Fault>) -> Option<Hook> {
    let value = raw(env, name).filter(|value| !value.is_empty())?;
    let parsed = value.to_str().ok_or("is not UTF-8").and_then(|text| Hook::parse(text.trim()));
    parsed
        .map_err(|wrong| {
            let remedy = "give an https address (http only to 127.0.0.1, [::1] or localhost), or unset it";
            faults.push(variable_fault(name, &format!("{wrong} (its value is not shown); {remedy}")));
        })
        .ok()
}

fn secret(env: &[(OsString, OsString)], faults: &mut Vec<Fault>) -> Option<Secret> {
    let value = raw(env, SECRET).filter(|value| !value.is_empty())?;
    let fits = |text: &&str| SECRET_LEN.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    let text = value.to_str().filter(fits);
    if text.is_none() {
        let problem = "is no secret of 16 to 512 visible ASCII characters (its value is not shown); make one with \
                       `openssl rand -hex 32`, or unset it";
        faults.push(variable_fault(SECRET, problem));
    }
    text.map(|text| Secret::new(text.to_owned()))
}

pub(super) fn read(reader: &mut Reader, secrets: &Secrets) -> Alerts {
    for (key, variable) in [("webhook", WEBHOOK), ("slack", SLACK), ("secret", SECRET)] {
        refuse(reader, key, variable);
    }
    let severities = Severity::ALL.map(|severity| (severity.label(), severity));
    let Secrets { webhook, secret, slack } = secrets.clone();
    let link_remedy =
        "give the address where people find the dashboard, such as \"https://shop-admin.example.com\"";
    Alerts {
        webhook,
        secret,
        slack,
        threshold: reader.choice_or("alerts.threshold", &severities, Severity::Medium),
        link: reader.optional("alerts.link", link_remedy, |value| {
            let text = units::line(value, URL_LEN_MAX)?;
            let url = Url::parse(text).map_err(|_| "is no address")?;
            let is_web = matches!(url.scheme(), "http" | "https") && url.host().is_some();
            match () {
                () if !is_web => Err("is no http address"),
                () if !url.username().is_empty() || url.password().is_some() => Err("holds credentials"),
                () => Ok(text.to_owned()),
            }
        }),
        timeout: reader.duration("alerts.timeout", TIMEOUT, "100ms", "30s"),
    }
}

/// What would be a secret in a file.
fn refuse(reader: &mut Reader, key: &str, variable: &str) {
    if let Some(origin) = reader.below("alerts.").get(key).cloned() {
        let problem =
            format!(" is a secret, and secrets are only taken from the environment: set {variable}");
        reader.blame_at(&origin, &format!("alerts.{key}"), &problem);
    }
}
