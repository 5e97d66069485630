//! The options of probes as the rest of the agent sees them: checked, with their types. Every secret is a [`Secret`], so
//! none of this prints one.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::options::Secret;
use crate::config::value::Origin;

/// All probes that are to run, and what was found and is not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    /// Those that run, ascending by name; at most [`crate::engine::tick::PROBES_MAX`].
    pub list: Vec<Probe>,
    /// What might have become a probe and did not, with the reason: for `outrigger check`.
    pub left_out: Vec<LeftOut>,
}

/// A variable or a section that no probe was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The variable's or the section's name.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// One probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Its name: 1 to 32 of `a-z`, `0-9` and `-`, a letter first.
    pub name: String,
    /// Why it runs.
    pub why: Why,
    /// Whom it asks, for people: a URL without user, password or query.
    pub target: String,
    /// What it asks.
    pub ask: Ask,
    /// How often.
    pub interval: Duration,
    /// How long one round may take.
    pub timeout: Duration,
    /// So many bad rounds in a row make the state worse.
    pub failure_threshold: u32,
    /// So many good ones make it better.
    pub success_threshold: u32,
    /// Whether the service cannot do without: the deep health page answers 503 while it has failed.
    pub critical: bool,
    /// A slower answer counts as degraded.
    pub degraded_above: Option<Duration>,
    /// A slower answer counts as failed.
    pub failed_above: Option<Duration>,
}

/// Why a probe runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// A variable that names a dependency was found.
    Found(&'static str),
    /// A section of its own asks for it.
    Configured(Origin),
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// A Postgres server, or a pgbouncer before one.
    Postgres(Postgres),
    /// A Redis server, alone or found by Sentinels.
    Redis(Redis),
    /// A MySQL or MariaDB server.
    Mysql(Mysql),
    /// An HTTP API.
    Http(Box<Http>),
    /// A port that accepts.
    Tcp(Server),
    /// A name that resolves.
    Dns(Dns),
    /// A gRPC server with the standard health service.
    Grpc(Grpc),
    /// A program of the operator's.
    Command(Command),
}

impl Ask {
    /// The kind as it is written in the file.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Mysql(_) => "mysql",
            Self::Http(_) => "http",
            Self::Tcp(_) => "tcp",
            Self::Dns(_) => "dns",
            Self::Grpc(_) => "grpc",
            Self::Command(_) => "command",
        }
    }
}

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name, an address without brackets, or, where the kind allows it, the absolute path of a socket (for Postgres of its
    /// directory, as in libpq).
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) if self.host.starts_with('/') => write!(f, "{}", self.host),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How TLS is used, in libpq's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Not at all.
    Disable,
    /// Where the server can; its certificate is not verified.
    Prefer,
    /// Always; the certificate is not verified.
    Require,
    /// Always; the certificate must come from a known authority, for whatever name.
    VerifyCa,
    /// Always; the certificate must be the server's.
    VerifyFull,
}

/// TLS towards a dependency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// How it is used.
    pub mode: TlsMode,
    /// Authorities besides the public ones: a PEM file, which was readable when the options were checked.
    pub ca_file: Option<PathBuf>,
}

/// What a replicated server should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whatever it is.
    Any,
    /// The one that takes writes.
    Primary,
    /// One that follows.
    Replica,
}

/// A Postgres server.
#[derive(Clone, Debug, PartialEq)]
pub struct Postgres {
    /// Tried in this order; at least one.
    pub servers: Vec<Server>,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
    /// TLS.
    pub tls: Tls,
    /// What it should be; another role counts as failed.
    pub role: Role,
    /// Beyond this share of the connections that ordinary users may have it counts as degraded.
    pub connections_max: f64,
    /// A replica that is further behind counts as degraded.
    pub lag_max: Duration,
    /// How the version of the schema is found.
    pub schema: Schema,
}

/// How the version of a schema is found.
#[derive(Clone, PartialEq, Eq)]
pub enum Schema {
    /// The tables of the usual migration tools are looked for.
    Auto,
    /// It is not looked for.
    Off,
    /// By the operator's own query, whose first column of its first row is the version. It runs read-only.
    Query(String),
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "Auto",
            Self::Off => "Off",
            // It may hold what is nobody's business.
            Self::Query(_) => "Query([not shown])",
        })
    }
}

/// A Redis server.
#[derive(Clone, Debug, PartialEq)]
pub struct Redis {
    /// The server, or with `sentinel` the Sentinels; at least one.
    pub servers: Vec<Server>,
    /// How the Sentinels are asked for the server; `None`: `servers` holds the server itself.
    pub sentinel: Option<Sentinel>,
    /// The user of an ACL.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u32,
    /// TLS: `Disable`, `Require` or `VerifyFull`.
    pub tls: Tls,
    /// What it should be; another role counts as failed.
    pub role: Role,
    /// Beyond this share of `maxmemory` it counts as degraded.
    pub memory_max: f64,
    /// A replica that has heard nothing from its primary for longer counts as degraded.
    pub lag_max: Duration,
}

/// Redis Sentinels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentinel {
    /// The name under which they watch the primary.
    pub primary: String,
    /// The user of the Sentinels' own ACL.
    pub user: Option<String>,
    /// The Sentinels' own password.
    pub password: Option<Secret>,
}

/// A MySQL or MariaDB server.
#[derive(Clone, Debug, PartialEq)]
pub struct Mysql {
    /// The server.
    pub server: Server,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Option<Secret>,
    /// The database; empty: none.
    pub database: String,
    /// TLS.
    pub tls: Tls,
    /// Beyond this share of `max_connections` it counts as degraded.
    pub connections_max: f64,
}

/// An HTTP API.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// The server.
    pub server: Server,
    /// The host as the request names it: with the port where it is not the scheme's own.
    pub authority: String,
    /// Path and query, which may hold a secret.
    pub path: Secret,
    /// TLS; `None`: plain.
    pub tls: Option<Tls>,
    /// The method.
    pub method: String,
    /// Header fields; values may hold secrets.
    pub headers: Vec<(String, Secret)>,
    /// Statuses that are well.
    pub status: Vec<RangeInclusive<u16>>,
    /// Text that the body must hold.
    pub body_contains: Option<String>,
    /// A condition on a body of JSON.
    pub json: Option<JsonCondition>,
    /// A certificate that ends sooner counts as degraded.
    pub certificate_min: Duration,
}

/// A value that a body of JSON must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonCondition {
    /// Where, as an RFC 6901 pointer such as `/status/indicator`.
    pub pointer: String,
    /// What: a string's text, or a number, a truth value or null as it is written in JSON.
    pub equals: String,
}

/// A name that resolves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The name.
    pub name: String,
    /// Addresses that must be among the answers.
    pub expect: Vec<IpAddr>,
}

/// A gRPC server.
#[derive(Clone, Debug, PartialEq)]
pub struct Grpc {
    /// The server.
    pub server: Server,
    /// The host as the request names it.
    pub authority: String,
    /// TLS; `None`: plain HTTP/2.
    pub tls: Option<Tls>,
    /// The service that is asked for; empty: the server as a whole.
    pub service: String,
}

/// A program of the operator's. Its exit code is the answer: 0 well, 1 degraded, 2 failed, anything else: it could not tell.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments, which may hold secrets.
    pub words: Vec<String>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Command([{} words])", self.words.len())
    }
}
