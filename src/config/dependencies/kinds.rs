//! The options that only some kinds of probes have.

use std::path::Path;
use std::time::Duration;

use crate::config::dependencies::{Surroundings, ca_file};
use crate::config::environment::raw;
use crate::config::options::Secret;
use crate::config::probes::{Ask, Http, JsonCondition, Mysql, Postgres, Redis, Role, Schema, Tls, TlsMode};
use crate::config::reader::{Reader, Show};
use crate::config::units::{self, Wrong};
use crate::config::urls::Kind;
use crate::config::value::{Origin, Value};

/// The longest query and the longest text that is looked for, in characters.
const TEXT_LEN_MAX: usize = 4096;

const COMMON: &[&str] = &[
    "kind",
    "url",
    "url_from",
    "enabled",
    "interval",
    "timeout",
    "failure_threshold",
    "success_threshold",
    "critical",
    "degraded_above",
    "failed_above",
];
const TLS: &[&str] = &["tls", "ca_file"];

/// The keys of a kind.
pub(super) fn keys(kind: Kind) -> Vec<&'static str> {
    let own: &[&str] = match kind {
        Kind::Postgres => &["role", "connections_max", "lag_max", "schema"],
        Kind::Redis => &["role", "memory_max", "lag_max", "sentinel_user", "sentinel_password_from"],
        Kind::Mysql => &["connections_max"],
        Kind::Http => &[
            "preset",
            "method",
            "headers",
            "headers_from",
            "status",
            "body_contains",
            "json",
            "certificate_min",
        ],
        Kind::Tcp => &[],
        Kind::Dns => &["expect"],
        Kind::Grpc => &["service"],
        Kind::Command => &["command"],
    };
    let tls = match kind {
        Kind::Postgres | Kind::Redis | Kind::Mysql | Kind::Http | Kind::Grpc => TLS,
        Kind::Tcp | Kind::Dns | Kind::Command => &[],
    };
    let common = COMMON.iter().filter(|key| kind != Kind::Command || !key.starts_with("url"));
    common.chain(tls).chain(own).copied().collect()
}

/// Reads what only this kind has, over what its URL said.
pub(super) fn amend(reader: &mut Reader, surroundings: &Surroundings<'_>, prefix: &str, ask: &mut Ask) {
    match ask {
        Ask::Postgres(ask) => postgres(reader, prefix, ask),
        Ask::Redis(ask) => redis(reader, surroundings, prefix, ask),
        Ask::Mysql(ask) => mysql(reader, prefix, ask),
        Ask::Http(ask) => http(reader, surroundings, prefix, ask),
        Ask::Dns(ask) => {
            let address = |text: &str| text.parse().map_err(|_| "holds what is no IP address");
            let remedy = r#"give a list of IP addresses, as in ["10.0.0.5", "fd12::5"]"#;
            ask.expect =
                reader.hidden_texts(&at(prefix, "expect"), "[]", remedy, address).unwrap_or_default();
        }
        Ask::Grpc(ask) => {
            let service = |value: &Value| units::line(value, 256).map(str::to_owned);
            let remedy = "give a service's name, such as \"shop.v1.Orders\"";
            ask.service = reader.optional(&at(prefix, "service"), remedy, service).unwrap_or_default();
        }
        Ask::Tcp(_) | Ask::Command(_) => {}
    }
}

fn at(prefix: &str, key: &str) -> String {
    format!("{prefix}{key}")
}

const ROLES: [(&str, Role); 3] = [("any", Role::Any), ("primary", Role::Primary), ("replica", Role::Replica)];

fn postgres(reader: &mut Reader, prefix: &str, ask: &mut Postgres) {
    ask.role = reader.choice_or(&at(prefix, "role"), &ROLES, ask.role);
    ask.connections_max = reader.share(&at(prefix, "connections_max"), ask.connections_max, 0.01, 1.0);
    ask.lag_max = reader.duration(&at(prefix, "lag_max"), ask.lag_max, "100ms", "1d");
    let schema = |value: &Value| match units::line(value, TEXT_LEN_MAX)? {
        "auto" => Ok(Schema::Auto),
        "off" => Ok(Schema::Off),
        query if query.trim_start().to_ascii_lowercase().starts_with("select ") => {
            Ok(Schema::Query(query.to_owned()))
        }
        _ => Err("is neither a word that is known nor a query"),
    };
    let remedy = "give \"auto\", \"off\", or a query that begins with select, as in \"select max(version) from migrations\"";
    let schema = reader.optional_as(&at(prefix, "schema"), remedy, Show::Name, schema);
    ask.schema = schema.unwrap_or(Schema::Auto);
}

fn redis(reader: &mut Reader, surroundings: &Surroundings<'_>, prefix: &str, ask: &mut Redis) {
    ask.role = reader.choice_or(&at(prefix, "role"), &ROLES, ask.role);
    ask.memory_max = reader.share(&at(prefix, "memory_max"), ask.memory_max, 0.01, 1.0);
    ask.lag_max = reader.duration(&at(prefix, "lag_max"), ask.lag_max, "1s", "1d");
    let user = |value: &Value| units::line(value, 256).map(str::to_owned);
    let user = reader.optional(&at(prefix, "sentinel_user"), "give the name of a user", user);
    let option = at(prefix, "sentinel_password_from");
    let password = reader.optional_as(&option, VARIABLE_REMEDY, Show::Name, variable);
    let password = password.and_then(|variable| secret(reader, surroundings, &option, &variable));
    match &mut ask.sentinel {
        Some(sentinel) => (sentinel.user, sentinel.password) = (user, password),
        None => {
            for key in ["sentinel_user", "sentinel_password_from"] {
                let option = at(prefix, key);
                if *reader.origin(&option) != Origin::Default && !reader.is_at_default(&option) {
                    reader.blame(&option, NO_SENTINEL);
                }
            }
        }
    }
}

const NO_SENTINEL: &str =
    ": the URL names no Sentinels; leave it out, or give a URL such as redis+sentinel://host:26379/mymaster";

fn mysql(reader: &mut Reader, prefix: &str, ask: &mut Mysql) {
    ask.connections_max = reader.share(&at(prefix, "connections_max"), ask.connections_max, 0.01, 1.0);
}

fn http(reader: &mut Reader, surroundings: &Surroundings<'_>, prefix: &str, ask: &mut Http) {
    let methods = [("GET", "GET"), ("HEAD", "HEAD"), ("OPTIONS", "OPTIONS"), ("POST", "POST")];
    ask.method = reader.choice(&at(prefix, "method"), &methods).to_owned();
    headers(reader, surroundings, prefix, ask);
    let default: Vec<String> = ask
        .status
        .iter()
        .map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => format!("\"{first}\""),
            (first, last) => format!("\"{first}-{last}\""),
        })
        .collect();
    let status = |text: &str| {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(first..=last),
            _ => Err("holds what is no status"),
        }
    };
    let remedy = r#"give a list of statuses from 100 to 599 in quotes, as in ["200-299", "401"]"#;
    let default = format!("[{}]", default.join(", "));
    let status = reader.hidden_texts(&at(prefix, "status"), &default, remedy, status);
    match status {
        Some(status) if status.is_empty() => {
            reader.blame(&at(prefix, "status"), " = [] allows no status at all")
        }
        Some(status) => ask.status = status,
        None => {}
    }
    let text = |value: &Value| units::line(value, TEXT_LEN_MAX).map(str::to_owned);
    let remedy = "give a text that the body must hold";
    ask.body_contains = reader.optional_as(&at(prefix, "body_contains"), remedy, Show::Nothing, text);
    let remedy = "give where a value stands and what it is, as in \"/status = ok\"";
    let json = reader.optional_as(&at(prefix, "json"), remedy, Show::Nothing, condition);
    ask.json = json.or(ask.json.take());
    ask.certificate_min = reader.duration(&at(prefix, "certificate_min"), ask.certificate_min, "0s", "1000d");
}

fn condition(value: &Value) -> Result<JsonCondition, Wrong> {
    let text = units::line(value, TEXT_LEN_MAX)?;
    let (pointer, equals) = text.split_once('=').ok_or("has no =")?;
    let (pointer, equals) = (pointer.trim(), equals.trim());
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err("does not begin with /");
    }
    Ok(JsonCondition { pointer: pointer.to_owned(), equals: equals.to_owned() })
}

/// Header fields that the agent sets itself.
const OWN_FIELDS: [&str; 5] = ["host", "connection", "content-length", "transfer-encoding", "te"];
/// What the names of fields that hold a secret contain.
const SECRET_FIELDS: [&str; 6] = ["authorization", "cookie", "key", "token", "secret", "password"];

fn field(text: &str) -> Result<(String, String), Wrong> {
    let (name, value) = text.split_once(':').ok_or("holds what is no field: it has no colon")?;
    let name = name.trim().to_ascii_lowercase();
    name.parse::<http::HeaderName>().map_err(|_| "holds a name that no header field has")?;
    if OWN_FIELDS.contains(&name.as_str()) {
        return Err("holds a field that the agent sets itself");
    }
    Ok((name, value.trim().to_owned()))
}

fn headers(reader: &mut Reader, surroundings: &Surroundings<'_>, prefix: &str, ask: &mut Http) {
    let plain = |text: &str| {
        let (name, value) = field(text)?;
        value.parse::<http::HeaderValue>().map_err(|_| "holds a value that no header field has")?;
        Ok((name, Secret::new(value)))
    };
    let option = at(prefix, "headers");
    let remedy = r#"give a list of at most 64 fields, as in ["accept: application/json"]"#;
    ask.headers = reader.hidden_texts(&option, "[]", remedy, plain).unwrap_or_default();
    let is_secret = |(name, _): &(String, Secret)| SECRET_FIELDS.iter().any(|word| name.contains(word));
    if matches!(reader.origin(&option), Origin::File { .. }) && ask.headers.iter().any(is_secret) {
        reader.blame(
            &option,
            " holds a field that is a secret, and a file is no place for one: put its value into a variable and name it, \
             as in headers_from = [\"authorization: API_AUTHORIZATION\"]",
        );
    }
    let named = |text: &str| {
        let (name, value) = field(text)?;
        Ok((name, variable(&Value::Text(value))?))
    };
    let option = at(prefix, "headers_from");
    let remedy = r#"give a list of fields and the variables that hold their values, as in ["authorization: API_AUTHORIZATION"]"#;
    for (name, variable) in reader.hidden_texts(&option, "[]", remedy, named).unwrap_or_default() {
        let Some(value) = secret(reader, surroundings, &option, &variable) else { continue };
        if value.expose().parse::<http::HeaderValue>().is_err() {
            reader.blame(
                &option,
                &format!(": the value of {variable} (not shown) cannot stand in a header field"),
            );
        }
        ask.headers.push((name, value));
    }
}

pub(super) const VARIABLE_REMEDY: &str = "give the name of a variable, such as \"ORDERS_URL\"";

/// The name of a variable.
pub(super) fn variable(value: &Value) -> Result<String, Wrong> {
    let text = units::line(value, 128)?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.is_empty() || !text.bytes().all(fits) || text.as_bytes()[0].is_ascii_digit() {
        return Err("is no name of a variable");
    }
    Ok(text.to_owned())
}

/// What a variable holds that an option names.
pub(super) fn secret(
    reader: &mut Reader,
    surroundings: &Surroundings<'_>,
    option: &str,
    variable: &str,
) -> Option<Secret> {
    let value = raw(surroundings.env, variable).and_then(|value| value.to_str()).map(str::trim);
    match value {
        Some(value) if !value.is_empty() => Some(Secret::new(value.to_owned())),
        Some(_) | None => {
            let problem = if value.is_some() { "is empty" } else { "is not set, or not UTF-8" };
            reader.blame(option, &format!(": the variable {variable} {problem}; set it, or name another"));
            None
        }
    }
}

/// Reads `tls` and `ca_file`, over what the URL said. A file for all is for those that verify: with `prefer` and `require` it
/// would turn verification on for servers that are not known to have a certificate of it.
pub(super) fn tls(reader: &mut Reader, common: Option<&Path>, prefix: &str, ask: &mut Ask) {
    const ALL: [(&str, TlsMode); 5] = [
        ("disable", TlsMode::Disable),
        ("prefer", TlsMode::Prefer),
        ("require", TlsMode::Require),
        ("verify-ca", TlsMode::VerifyCa),
        ("verify-full", TlsMode::VerifyFull),
    ];
    const REDIS: [(&str, TlsMode); 3] = [ALL[0], ALL[2], ALL[4]];
    const SCHEME: [(&str, TlsMode); 3] = [ALL[2], ALL[3], ALL[4]];
    let (words, tls): (&[(&str, TlsMode)], Option<&mut Tls>) = match ask {
        Ask::Postgres(ask) => (&ALL, Some(&mut ask.tls)),
        Ask::Mysql(ask) => (&ALL, Some(&mut ask.tls)),
        Ask::Redis(ask) => (&REDIS, Some(&mut ask.tls)),
        Ask::Http(ask) => (&SCHEME, ask.tls.as_mut()),
        Ask::Grpc(ask) => (&SCHEME, ask.tls.as_mut()),
        Ask::Tcp(_) | Ask::Dns(_) | Ask::Command(_) => return,
    };
    let mode = reader.optional_choice(&at(prefix, "tls"), words);
    let file = ca_file(reader, &at(prefix, "ca_file"));
    let Some(tls) = tls else {
        if mode.is_some() || file.is_some() {
            let key = if mode.is_some() { "tls" } else { "ca_file" };
            reader.blame(&at(prefix, key), ": the URL's scheme speaks no TLS; give https:// or grpcs://");
        }
        return;
    };
    tls.mode = mode.unwrap_or(tls.mode);
    tls.ca_file = file.or(tls.ca_file.take());
    if tls.ca_file.is_none() && matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull) {
        tls.ca_file = common.map(Path::to_owned);
    }
}

/// Whether the service cannot do without, unless an option says otherwise.
pub(super) const fn is_critical(kind: Kind) -> bool {
    matches!(kind, Kind::Postgres | Kind::Redis | Kind::Mysql)
}

/// How often a known API is asked at most, unless an option says otherwise: the agent is a guest there.
pub(super) const GUEST_INTERVAL: Duration = Duration::from_secs(60);
