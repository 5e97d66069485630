//! One probe: what its section says, over what was found, over the defaults.

use std::time::Duration;

use crate::config::dependencies::{Common, Surroundings, TOO_LONG, authorities, kinds};
use crate::config::environment::PROBE;
use crate::config::fault::meant;
use crate::config::probes::{Ask, Command, Postgres, Probe, Tls, Why};
use crate::config::reader::{Reader, Show};
use crate::config::units::Wrong;
use crate::config::urls::{self, Kind, PRESETS};
use crate::config::value::{Origin, Value};

const URL_REMEDY: &str = "give a URL such as postgres://user@host:5432/db, redis://host:6379, mysql://user@host/db, \
                          https://host/path, tcp://host:port, dns:name or grpc://host:port";

/// What came of one section.
pub(super) enum Read {
    /// A probe.
    Runs(Box<Probe>),
    /// None, for this reason.
    LeftOut(String),
    /// None: the faults are told.
    Faulty,
}

/// Reads one section; `place` is where it stands, unless it is only found.
pub(super) fn read(
    reader: &mut Reader,
    surroundings: &Surroundings<'_>,
    common: &Common,
    name: &str,
    place: Option<&Origin>,
) -> Read {
    let prefix = format!("{PROBE}.{name}.");
    let at = |key: &str| format!("{prefix}{key}");
    let enabled = reader.truth(&at("enabled"), true);
    let kind = reader.optional_choice(&at("kind"), &Kind::ALL);
    let preset = preset(reader, &prefix, kind);
    let whom = match whom(reader, surroundings, &prefix, kind, preset) {
        Whom::Is(ask, origin) => Some((*ask, origin)),
        Whom::Faulty => None,
        Whom::Nobody if !enabled => {
            strangers(reader, &prefix, name, None);
            return Read::LeftOut(off(reader, &prefix));
        }
        Whom::Nobody => {
            if let Some(why) = nobody(reader, surroundings, name, place) {
                strangers(reader, &prefix, name, None);
                return Read::LeftOut(why);
            }
            None
        }
    };
    let Some((mut ask, origin)) = whom else {
        strangers(reader, &prefix, name, None);
        return Read::Faulty;
    };
    check_kind(reader, &prefix, kind, &ask);
    let found = Kind::of(&ask);
    if let (Ask::Http(http), Some(preset)) = (&mut ask, preset) {
        urls::judge_by(http, preset);
    }
    let interval =
        if preset.is_some() { common.interval.max(kinds::GUEST_INTERVAL) } else { common.interval };
    let mut probe = schedule(reader, common, name, interval, ask, &origin, place);
    kinds::amend(reader, surroundings, &prefix, &mut probe.ask);
    kinds::tls(reader, common.ca_file.as_deref(), &prefix, &mut probe.ask);
    check_authorities(reader, &prefix, &origin, &probe.ask);
    strangers(reader, &prefix, name, Some(found));
    if enabled { Read::Runs(Box::new(probe)) } else { Read::LeftOut(off(reader, &prefix)) }
}

fn off(reader: &Reader, prefix: &str) -> String {
    format!("enabled = false ({})", reader.origin(&format!("{prefix}enabled")))
}

/// The place of the preset in the list of all.
fn preset(reader: &mut Reader, prefix: &str, kind: Option<Kind>) -> Option<usize> {
    let option = format!("{prefix}preset");
    if kind.is_some_and(|kind| kind != Kind::Http)
        || !reader.below(prefix).contains_key("preset") && kind.is_none()
    {
        return None;
    }
    let words: Vec<(&str, usize)> = PRESETS.iter().enumerate().map(|(i, (name, ..))| (*name, i)).collect();
    reader.optional_choice(&option, &words)
}

enum Whom {
    Is(Box<Ask>, Origin),
    Nobody,
    Faulty,
}

/// Whom to ask: by `url` or `url_from`, whichever stands in the higher layer; else by a preset or a command.
fn whom(
    reader: &mut Reader,
    surroundings: &Surroundings<'_>,
    prefix: &str,
    kind: Option<Kind>,
    preset: Option<usize>,
) -> Whom {
    let at = |key: &str| format!("{prefix}{key}");
    if kind == Some(Kind::Command) || kind.is_none() && reader.below(prefix).contains_key("command") {
        let words = command(reader, &at("command"));
        let origin = reader.origin(&at("command")).clone();
        return words
            .map_or(Whom::Faulty, |words| Whom::Is(Box::new(Ask::Command(Command { words })), origin));
    }
    let user = surroundings.user.as_deref();
    let parse = |value: &Value| urls::parse(value.text().ok_or("is not text in quotes")?.trim(), user);
    let url = reader.optional_as(&at("url"), URL_REMEDY, Show::Nothing, parse);
    let from = reader.optional_as(&at("url_from"), kinds::VARIABLE_REMEDY, Show::Name, kinds::variable);
    let origins = [at("url"), at("url_from")].map(|option| reader.origin(&option).clone());
    let [of_url, of_from] = [origins[0].height(), origins[1].height()];
    if reader.is_faulty(&at("url")) || reader.is_faulty(&at("url_from")) {
        return Whom::Faulty;
    }
    if url.is_some() && from.is_some() && of_url == of_from {
        reader.require(false, &[&at("url"), &at("url_from")], "a probe asks one; leave one of them out");
        return Whom::Faulty;
    }
    let [origin, origin_from] = origins;
    match (url, from) {
        (url, Some(variable)) if url.is_none() || of_from > of_url => {
            named(reader, surroundings, &at("url_from"), &variable, origin_from)
        }
        (Some(ask), _) if urls::holds_password(&ask) && !may_hold_password(&origin) => {
            reader.blame(&at("url"), refusal(&origin));
            Whom::Faulty
        }
        (Some(ask), _) => Whom::Is(Box::new(ask), origin),
        (None, _) => match preset {
            Some(preset) => {
                let origin = reader.origin(&at("preset")).clone();
                Whom::Is(Box::new(Ask::Http(Box::new(urls::preset(preset)))), origin)
            }
            None => Whom::Nobody,
        },
    }
}

const fn may_hold_password(origin: &Origin) -> bool {
    match origin {
        Origin::Variable(_) | Origin::Platform(_) => true,
        Origin::File { .. } | Origin::Flag(_) | Origin::Default => false,
    }
}

const fn refusal(origin: &Origin) -> &'static str {
    match origin {
        Origin::Flag(_) => {
            " holds a password (not shown), which everybody on this machine can read in the list of processes: put the URL \
             into a variable and give its name, as in `outrigger probe env:DATABASE_URL`"
        }
        Origin::File { .. } | Origin::Variable(_) | Origin::Platform(_) | Origin::Default => {
            " holds a password (not shown), and a file is no place for one: put the URL into a variable and give its name, \
             as in url_from = \"DATABASE_URL\""
        }
    }
}

/// Whom a variable names.
fn named(
    reader: &mut Reader,
    surroundings: &Surroundings<'_>,
    option: &str,
    variable: &str,
    origin: Origin,
) -> Whom {
    let Some(url) = kinds::secret(reader, surroundings, option, variable) else { return Whom::Faulty };
    match urls::parse(url.expose(), surroundings.user.as_deref()) {
        Ok(ask) => Whom::Is(Box::new(ask), origin),
        Err(wrong) => {
            reader.blame(option, &format!(": the value of {variable} (not shown) {wrong}; {URL_REMEDY}"));
            Whom::Faulty
        }
    }
}

fn command(reader: &mut Reader, option: &str) -> Option<Vec<String>> {
    let word = |text: &str| -> Result<String, Wrong> {
        if text.contains('\0') { Err("holds a null character") } else { Ok(text.to_owned()) }
    };
    let remedy = r#"give a list of at most 64 texts, the program first, as in ["./check.sh", "--quick"]"#;
    let words = reader.hidden_texts(option, "[]", remedy, word);
    let is_missing = words.as_ref().is_none_or(|words| words.first().is_none_or(String::is_empty));
    if is_missing && !reader.is_faulty(option) {
        reader.blame(option, &format!(" names no program; {remedy}"));
    }
    words.filter(|_| !is_missing)
}

/// A section that nobody is asked by: a fault, or, where a variable was found and not understood, the reason.
fn nobody(
    reader: &mut Reader,
    surroundings: &Surroundings<'_>,
    name: &str,
    place: Option<&Origin>,
) -> Option<String> {
    let Discovery { broken, is_kind, nearest } = Discovery::of(surroundings, name);
    if broken {
        return Some("its variable was found, and holds no URL that is understood".to_owned());
    }
    let (place, what) = (place.unwrap_or(&Origin::Default), format!("[{PROBE}.{name}]"));
    if is_kind {
        let text = ": no variable that names such a server was found, so there is nothing to amend: give url or url_from, \
                    or leave it out where there is none";
        reader.blame_at(place, &what, text);
        return None;
    }
    let hint = nearest.map(|name| format!("; did you mean [{PROBE}.{name}]?")).unwrap_or_default();
    let text = format!(": nothing tells whom it asks: give url, url_from or command, or a preset{hint}");
    reader.blame_at(place, &what, &text);
    None
}

struct Discovery {
    broken: bool,
    is_kind: bool,
    nearest: Option<&'static str>,
}

impl Discovery {
    fn of(surroundings: &Surroundings<'_>, name: &str) -> Self {
        let kinds = ["postgres", "redis", "mysql"];
        Self {
            broken: surroundings.discovered.broken.contains(&name),
            is_kind: kinds.contains(&name),
            nearest: meant(name, surroundings.discovered.kinds.iter().copied()),
        }
    }
}

fn check_kind(reader: &mut Reader, prefix: &str, kind: Option<Kind>, ask: &Ask) {
    let found = Kind::of(ask);
    if let Some(kind) = kind.filter(|kind| *kind != found) {
        let text = format!(
            " = {:?} does not fit its URL, which is one of {}; leave it out, or give another URL",
            kind.label(),
            found.label()
        );
        reader.blame(&format!("{prefix}kind"), &text);
    }
}

/// What all kinds have: when to ask, and what follows from the answers.
fn schedule(
    reader: &mut Reader,
    common: &Common,
    name: &str,
    interval: Duration,
    ask: Ask,
    origin: &Origin,
    place: Option<&Origin>,
) -> Probe {
    let at = |key: &str| format!("{PROBE}.{name}.{key}");
    let why = match (origin, place) {
        (Origin::Platform(variable), _) => Why::Found(variable),
        (_, Some(place)) => Why::Configured(place.clone()),
        (origin, None) => Why::Configured(origin.clone()),
    };
    let probe = Probe {
        name: name.to_owned(),
        why,
        target: urls::target(&ask),
        interval: reader.duration(&at("interval"), interval, "1s", "1h"),
        timeout: reader.duration(&at("timeout"), common.timeout, "100ms", "1m"),
        failure_threshold: reader.small(&at("failure_threshold"), common.failure_threshold, 1, 100),
        success_threshold: reader.small(&at("success_threshold"), common.success_threshold, 1, 100),
        critical: reader.truth(&at("critical"), kinds::is_critical(Kind::of(&ask))),
        degraded_above: reader.optional_duration(&at("degraded_above"), "1ms", "1m"),
        failed_above: reader.optional_duration(&at("failed_above"), "1ms", "1m"),
        ask,
    };
    let times = [at("timeout"), at("interval")];
    // What stands in [probes] is told there.
    if times.iter().any(|option| reader.origin(option).is_explicit()) {
        reader.require(probe.timeout < probe.interval, &[&times[0], &times[1]], TOO_LONG);
    }
    let limits = [at("degraded_above"), at("failed_above")];
    let in_order =
        probe.degraded_above.zip(probe.failed_above).is_none_or(|(degraded, failed)| degraded < failed);
    reader.require(
        in_order,
        &[&limits[0], &limits[1]],
        "what has failed is worse; make degraded_above shorter",
    );
    for (option, limit) in limits.iter().zip([probe.degraded_above, probe.failed_above]) {
        let fits = limit.is_none_or(|limit| limit < probe.timeout);
        let rule = "no answer takes that long: a round has ended by then; make it shorter than the timeout";
        reader.require(fits, &[option, &times[0]], rule);
    }
    probe
}

/// A file of authorities that the URL names; those of options, and of URLs that were found, are checked already.
fn check_authorities(reader: &mut Reader, prefix: &str, origin: &Origin, ask: &Ask) {
    let tls = match ask {
        Ask::Postgres(Postgres { tls, .. }) => tls,
        Ask::Mysql(ask) => &ask.tls,
        Ask::Redis(_) | Ask::Http(_) | Ask::Tcp(_) | Ask::Dns(_) | Ask::Grpc(_) | Ask::Command(_) => return,
    };
    let is_from_url = *reader.origin(&format!("{prefix}ca_file")) == Origin::Default;
    let Tls { ca_file: Some(file), .. } = tls else { return };
    if is_from_url
        && !matches!(origin, Origin::Platform(_))
        && *reader.origin("probes.ca_file") == Origin::Default
        && let Err(problem) = authorities(file)
    {
        let key = if *reader.origin(&format!("{prefix}url_from")) == *origin { "url_from" } else { "url" };
        let text =
            format!(": the file of authorities that the URL names {problem}; put it there, or give ca_file");
        reader.blame(&format!("{prefix}{key}"), &text);
    }
}

/// Keys that the kind does not have. Without a kind, those that none has.
fn strangers(reader: &mut Reader, prefix: &str, name: &str, kind: Option<Kind>) {
    let all = || Kind::ALL.iter().map(|(_, kind)| *kind);
    let own: Vec<&str> = kind.map_or_else(|| all().flat_map(kinds::keys).collect(), kinds::keys);
    for (key, origin) in reader.below(prefix) {
        let option = format!("{PROBE}.{name}.{key}");
        // What was found and is not asked for is nobody's mistake.
        if own.contains(&key.as_str()) || matches!(origin, Origin::Platform(_)) {
            reader.claim(&option);
            continue;
        }
        let owners: Vec<&str> =
            all().filter(|kind| kinds::keys(*kind).contains(&key.as_str())).map(Kind::label).collect();
        let text = match (kind, meant(&key, own.iter().copied())) {
            (Some(kind), _) if !owners.is_empty() => format!(
                ": a probe of kind {:?} has no such option, only one of kind {}",
                kind.label(),
                owners.iter().map(|label| format!("{label:?}")).collect::<Vec<_>>().join(" or ")
            ),
            (_, Some(near)) => format!(": there is no such option; did you mean {PROBE}.{name}.{near}?"),
            (_, None) if ["password", "secret", "token"].iter().any(|word| key.contains(word)) => {
                ": there is no such option; secrets are only taken from the environment, as with url_from = \"DATABASE_URL\""
                    .to_owned()
            }
            (_, None) => ": there is no such option; docs/CONFIGURATION.md lists all".to_owned(),
        };
        reader.blame_at(&origin, &option, &text);
    }
}
