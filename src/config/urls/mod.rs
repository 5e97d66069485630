//! URLs of dependencies, as their own clients read them: what is asked, whom, and as whom. What is wrong is told in words
//! that never repeat a part of the URL, for any part may be a secret in the wrong place.
//!
//! It knows no option and no variable. The URLs are taken apart by hand: those of libpq and of Sentinels name several hosts,
//! which no general parser allows.

mod databases;
mod services;

#[cfg(test)]
mod tests;

use crate::config::options::Secret;
use crate::config::probes::{Ask, Server, TlsMode};
use crate::config::units::Wrong;

pub(super) use crate::config::urls::services::{PRESETS, judge_by, preset};

/// The longest URL that is looked at, in bytes.
const LEN_MAX: usize = 4096;
/// The most hosts of one URL.
const HOSTS_MAX: usize = 16;

const AT: Wrong =
    "holds an @ behind its host: a /, ?, # or @ within a password is written as %2F, %3F, %23 or %40";

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Postgres,
    Redis,
    Mysql,
    Http,
    Tcp,
    Dns,
    Grpc,
    Command,
}

impl Kind {
    /// All, by their names in the file.
    pub(super) const ALL: [(&'static str, Self); 8] = [
        ("postgres", Self::Postgres),
        ("redis", Self::Redis),
        ("mysql", Self::Mysql),
        ("http", Self::Http),
        ("tcp", Self::Tcp),
        ("dns", Self::Dns),
        ("grpc", Self::Grpc),
        ("command", Self::Command),
    ];

    pub(super) fn label(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("", |(label, _)| label)
    }

    pub(super) fn of(ask: &Ask) -> Self {
        match ask {
            Ask::Postgres(_) => Self::Postgres,
            Ask::Redis(_) => Self::Redis,
            Ask::Mysql(_) => Self::Mysql,
            Ask::Http(_) => Self::Http,
            Ask::Tcp(_) => Self::Tcp,
            Ask::Dns(_) => Self::Dns,
            Ask::Grpc(_) => Self::Grpc,
            Ask::Command(_) => Self::Command,
        }
    }

    /// By the scheme of a URL; drivers that stand behind a `+`, as in `postgresql+asyncpg`, change nothing.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let scheme = url.split_once(':')?.0.to_ascii_lowercase();
        match scheme.as_str() {
            "redis" | "rediss" | "redis+unix" | "unix" | "redis+sentinel" | "rediss+sentinel"
            | "redis-sentinel" => return Some(Self::Redis),
            "http" | "https" => return Some(Self::Http),
            "tcp" => return Some(Self::Tcp),
            "dns" => return Some(Self::Dns),
            "grpc" | "grpcs" => return Some(Self::Grpc),
            _ => {}
        }
        match scheme.split_once('+').map_or(scheme.as_str(), |(base, _driver)| base) {
            "postgres" | "postgresql" | "postgis" => Some(Self::Postgres),
            "mysql" | "mysql2" | "mariadb" => Some(Self::Mysql),
            _ => None,
        }
    }
}

/// What a URL asks. `user` is whom the databases take for the user when the URL names none.
pub(super) fn parse(url: &str, user: Option<&str>) -> Result<Ask, Wrong> {
    if url.len() > LEN_MAX {
        return Err("is too long");
    }
    if url.chars().any(|c| c.is_control() || c == ' ') {
        return Err("holds spaces or control characters");
    }
    match Kind::of_url(url).ok_or("is no URL with a scheme that is known")? {
        Kind::Postgres => databases::postgres(url, user).map(Ask::Postgres),
        Kind::Redis => databases::redis(url).map(Ask::Redis),
        Kind::Mysql => databases::mysql(url, user).map(Ask::Mysql),
        Kind::Http => services::http(url).map(|http| Ask::Http(Box::new(http))),
        Kind::Tcp => services::tcp(url).map(Ask::Tcp),
        Kind::Dns => services::dns(url).map(Ask::Dns),
        Kind::Grpc => services::grpc(url).map(Ask::Grpc),
        Kind::Command => Err("is no URL with a scheme that is known"),
    }
}

/// Whether a password came with it.
pub(super) const fn holds_password(ask: &Ask) -> bool {
    match ask {
        Ask::Postgres(ask) => ask.password.is_some(),
        Ask::Redis(ask) => ask.password.is_some(),
        Ask::Mysql(ask) => ask.password.is_some(),
        Ask::Http(_) | Ask::Tcp(_) | Ask::Dns(_) | Ask::Grpc(_) | Ask::Command(_) => false,
    }
}

/// Whom a probe asks, for people: no user, no password, no query.
pub(super) fn target(ask: &Ask) -> String {
    let joined = |servers: &[Server]| servers.iter().map(Server::to_string).collect::<Vec<_>>().join(",");
    match ask {
        Ask::Postgres(ask) if ask.servers[0].host.starts_with('/') => {
            format!("postgres:///{}?host={}", ask.database, ask.servers[0])
        }
        Ask::Postgres(ask) => format!("postgres://{}/{}", joined(&ask.servers), ask.database),
        Ask::Mysql(ask) => format!("mysql://{}/{}", ask.server, ask.database),
        Ask::Redis(ask) => {
            let scheme = if ask.tls.mode == TlsMode::Disable { "redis" } else { "rediss" };
            let database = if ask.database == 0 { String::new() } else { format!("/{}", ask.database) };
            match &ask.sentinel {
                Some(sentinel) => {
                    format!("{scheme}+sentinel://{}/{}{database}", joined(&ask.servers), sentinel.primary)
                }
                None if ask.servers[0].host.starts_with('/') => format!("unix://{}", ask.servers[0]),
                None => format!("{scheme}://{}{database}", ask.servers[0]),
            }
        }
        // Its path may hold a secret.
        Ask::Http(ask) => {
            format!("{}://{}", if ask.tls.is_some() { "https" } else { "http" }, ask.authority)
        }
        Ask::Tcp(server) => format!("tcp://{server}"),
        Ask::Dns(ask) => format!("dns:{}", ask.name),
        Ask::Grpc(ask) => {
            format!("{}://{}", if ask.tls.is_some() { "grpcs" } else { "grpc" }, ask.authority)
        }
        // So may its arguments.
        Ask::Command(ask) => ask.words.first().cloned().unwrap_or_default(),
    }
}

/// A URL taken apart; users, passwords and names are still encoded.
#[derive(Debug)]
struct Parts<'a> {
    scheme: String,
    user: &'a str,
    password: &'a str,
    /// What stands between the user and the path: hosts with their ports.
    hosts: &'a str,
    /// Without its first `/`.
    path: &'a str,
    query: Vec<(&'a str, &'a str)>,
    fragment: &'a str,
}

/// `marks`: what ends the hosts. libpq knows no fragment, so a `#` may stand in its passwords.
fn parts<'a>(url: &'a str, marks: &[char]) -> Result<Parts<'a>, Wrong> {
    let (scheme, rest) = url.split_once("://").ok_or("has no // behind its scheme")?;
    let (authority, rest) = rest.split_at(rest.find(marks).unwrap_or(rest.len()));
    if rest.contains('@') {
        return Err(AT);
    }
    let (rest, fragment) = match rest.split_once('#') {
        Some(parts) if marks.contains(&'#') => parts,
        Some(_) | None => (rest, ""),
    };
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let pair = |pair: &'a str| pair.split_once('=').unwrap_or((pair, ""));
    Ok(Parts {
        scheme: scheme.to_ascii_lowercase(),
        user,
        password,
        hosts,
        path: path.strip_prefix('/').unwrap_or(path),
        query: query.split('&').filter(|text| !text.is_empty()).map(pair).collect(),
        fragment,
    })
}

impl<'a> Parts<'a> {
    /// The last value of a parameter, as libraries do where it stands twice; decoded.
    fn parameter(&self, names: &[&str]) -> Result<Option<String>, Wrong> {
        let found =
            self.query.iter().rev().find(|(name, _)| names.contains(&name.to_ascii_lowercase().as_str()));
        found.map(|(_, value)| decoded(value)).transpose().map(|value| value.filter(|v| !v.is_empty()))
    }

    fn user(&self) -> Result<Option<String>, Wrong> {
        decoded(self.user).map(|user| (!user.is_empty()).then_some(user))
    }

    fn password(&self) -> Result<Option<Secret>, Wrong> {
        decoded(self.password).map(|password| (!password.is_empty()).then(|| Secret::new(password)))
    }

    /// All hosts; none named is none.
    fn servers(&self, port: u16) -> Result<Vec<Server>, Wrong> {
        if self.hosts.is_empty() {
            return Ok(Vec::new());
        }
        if self.hosts.split(',').count() > HOSTS_MAX {
            return Err("names more than 16 hosts");
        }
        self.hosts.split(',').map(|host| server(host, port)).collect()
    }

    /// The one host.
    fn server(&self, port: Option<u16>) -> Result<Server, Wrong> {
        // Port 0 stands for one that must be named.
        let mut servers = self.servers(port.unwrap_or(0))?;
        match servers.pop() {
            Some(_) if !servers.is_empty() => Err("names more than one host"),
            Some(server) if server.host.is_empty() => Err("names no host"),
            Some(server) if server.port == 0 => Err("names no port"),
            Some(server) => Ok(server),
            None => Err("names no host"),
        }
    }

    fn without_credentials(&self) -> Result<(), Wrong> {
        if self.user.is_empty() && self.password.is_empty() {
            Ok(())
        } else {
            Err("holds a user name or a password, which such a probe does not take there")
        }
    }
}

/// `host`, `host:port`, `[address]:port`; an encoded path of a socket too. An empty host stays empty.
fn server(text: &str, default: u16) -> Result<Server, Wrong> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("has a [ without a ]")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address between [ and ]")?;
            let port = rest.strip_prefix(':').unwrap_or(rest);
            if port.len() == rest.len() && !rest.is_empty() {
                return Err("has something else than a port behind ]");
            }
            (host.to_owned(), port)
        }
        None => {
            let (host, port) = text.split_once(':').unwrap_or((text, ""));
            (name(decoded(host)?)?, port)
        }
    };
    let number = || port.parse::<u16>().ok().filter(|port| *port > 0).ok_or("has no port from 1 to 65535");
    Ok(Server { host, port: if port.is_empty() { default } else { number()? } })
}

/// A host's name, an address, or the path of a socket.
fn name(host: String) -> Result<String, Wrong> {
    if host.starts_with('/') {
        return Ok(host);
    }
    let fits = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let is_address = || host.parse::<std::net::IpAddr>().is_ok();
    if host.chars().all(fits) && host.len() <= 253 || is_address() {
        Ok(host)
    } else {
        Err("names a host with characters that no host's name has")
    }
}

/// `%2F` is `/`.
fn decoded(text: &str) -> Result<String, Wrong> {
    const BROKEN: Wrong = "holds a % without two hexadecimal digits behind it; % itself is written as %25";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or(BROKEN)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(BROKEN);
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| BROKEN)?);
        rest = &behind[2..];
    }
    let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 when its % are decoded")?;
    if text.chars().any(char::is_control) { Err("holds control characters") } else { Ok(text) }
}

/// What [`decoded`] takes back.
pub(super) fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    out
}
