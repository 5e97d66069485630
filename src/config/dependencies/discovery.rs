//! Dependencies that the environment names: the variables by which platforms tell an app of its databases.
//!
//! Nothing here is a fault: the variables are the app's, which may well know what to do with what we do not understand. Each
//! that no probe is made of is told with the reason.

use std::ffi::OsString;

use crate::config::dependencies::authorities;
use crate::config::environment::raw;
use crate::config::probes::{Ask, LeftOut, Server, Tls};
use crate::config::urls::{self, Kind};
use crate::config::value::{Layer, Origin, Value};

/// Variables that hold a URL; of each kind the first holds.
const URLS: [&str; 8] = [
    "DATABASE_URL",
    "DATABASE_PRIVATE_URL",
    "POSTGRES_URL",
    "POSTGRES_PRIVATE_URL",
    "REDIS_URL",
    "REDIS_PRIVATE_URL",
    "MYSQL_URL",
    "MYSQL_PRIVATE_URL",
];
/// Variables that are never used.
const PUBLIC: [&str; 4] =
    ["DATABASE_PUBLIC_URL", "POSTGRES_PUBLIC_URL", "REDIS_PUBLIC_URL", "MYSQL_PUBLIC_URL"];

/// A server told by several variables.
struct Pieces {
    kind: Kind,
    host: &'static str,
    port: &'static str,
    user: &'static str,
    password: &'static str,
    database: &'static str,
    /// Further variables, and the URL's parameters that they are.
    parameters: &'static [(&'static str, &'static str)],
}

const PIECES: [Pieces; 3] = [
    Pieces {
        kind: Kind::Postgres,
        host: "PGHOST",
        port: "PGPORT",
        user: "PGUSER",
        password: "PGPASSWORD",
        database: "PGDATABASE",
        parameters: &[("PGSSLMODE", "sslmode"), ("PGSSLROOTCERT", "sslrootcert")],
    },
    Pieces {
        kind: Kind::Redis,
        host: "REDISHOST",
        port: "REDISPORT",
        user: "REDISUSER",
        password: "REDISPASSWORD",
        database: "",
        parameters: &[],
    },
    Pieces {
        kind: Kind::Mysql,
        host: "MYSQLHOST",
        port: "MYSQLPORT",
        user: "MYSQLUSER",
        password: "MYSQLPASSWORD",
        database: "MYSQLDATABASE",
        parameters: &[],
    },
];

/// What the variables tell.
#[derive(Default)]
pub(super) struct Discovered {
    /// The kinds of probe that run by themselves; they are the probes' names, too.
    pub(super) kinds: Vec<&'static str>,
    /// Kinds whose variable is there and not understood.
    pub(super) broken: Vec<&'static str>,
    /// The URLs, as options below all others.
    pub(super) layer: Layer,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) warnings: Vec<String>,
    /// The variable and the servers of each kind.
    found: Vec<(Kind, &'static str, Vec<Server>)>,
}

/// Looks at all variables that are known.
pub(super) fn discover(env: &[(OsString, OsString)], user: Option<&str>) -> Discovered {
    let mut discovered = Discovered::default();
    for variable in URLS {
        match raw(env, variable).map(|value| value.to_str().map(str::trim)) {
            None => {}
            Some(None) => discovered.leave_out(variable, "its value is not UTF-8"),
            Some(Some("")) => discovered.leave_out(variable, "it is empty"),
            Some(Some(url)) => discovered.see_url(variable, url, user),
        }
    }
    for pieces in &PIECES {
        if let Some(url) = joined(env, pieces) {
            discovered.see(pieces.host, pieces.kind, &url, user);
        }
    }
    for variable in PUBLIC {
        if raw(env, variable).is_some_and(|value| !value.is_empty()) {
            let why = "it leads through the public network; a section with url_from asks there all the same";
            discovered.leave_out(variable, why);
        }
    }
    discovered
}

impl Discovered {
    fn leave_out(&mut self, variable: &str, why: &str) {
        self.left_out.push(LeftOut { what: variable.to_owned(), why: why.to_owned() });
    }

    fn see_url(&mut self, variable: &'static str, url: &str, user: Option<&str>) {
        match Kind::of_url(url) {
            Some(kind @ (Kind::Postgres | Kind::Redis | Kind::Mysql)) => self.see(variable, kind, url, user),
            Some(Kind::Http | Kind::Tcp | Kind::Dns | Kind::Grpc | Kind::Command) | None => {
                self.leave_out(variable, stranger(url));
            }
        }
    }

    fn see(&mut self, variable: &'static str, kind: Kind, url: &str, user: Option<&str>) {
        let label = kind.label();
        let parsed = urls::parse(url, user).map_err(str::to_owned);
        let ask = match parsed.and_then(|ask| file_of(&ask).map_or(Ok(()), authorities).map(|()| ask)) {
            Ok(ask) => ask,
            Err(wrong) => {
                let why = format!("as a URL of {label} it {wrong} (its value is not shown)");
                self.warnings.push(format!("{variable} is not probed: {why}"));
                self.leave_out(variable, &why);
                self.broken.push(label);
                return;
            }
        };
        let servers = servers(&ask);
        if let Some((_, first, known)) = self.found.iter().find(|(found, ..)| *found == kind) {
            let why = if *known == servers {
                format!("it leads to the same server as {first}")
            } else {
                format!(
                    "only the first of a kind is found by itself, here {first}; for this one give a section of its own \
                     with url_from = \"{variable}\""
                )
            };
            self.leave_out(variable, &why);
            return;
        }
        let (value, origin) = (Value::Plain(url.to_owned()), Origin::Platform(variable));
        self.layer.insert(format!("probe.{label}.url"), (value, origin));
        self.kinds.push(label);
        self.found.push((kind, variable, servers));
    }
}

/// Why a URL is none of ours. Only what is named here is repeated: the rest may be a secret.
fn stranger(url: &str) -> &'static str {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme.to_ascii_lowercase().as_str() {
        "sqlite" | "sqlite3" | "file" | "libsql" => "it names a file, and a file is no server",
        "prisma" | "prisma+postgres" => "it leads to Prisma's proxy, which is not Postgres",
        "mongodb" | "mongodb+srv" => "MongoDB is not asked; a probe of kind \"tcp\" or \"command\" can",
        _ => "it is no URL of Postgres, Redis or MySQL (its value is not shown)",
    }
}

/// The file of authorities that a URL names.
fn file_of(ask: &Ask) -> Option<&std::path::Path> {
    tls_of(ask)?.ca_file.as_deref()
}

fn tls_of(ask: &Ask) -> Option<&Tls> {
    match ask {
        Ask::Postgres(ask) => Some(&ask.tls),
        Ask::Redis(ask) => Some(&ask.tls),
        Ask::Mysql(ask) => Some(&ask.tls),
        Ask::Http(_) | Ask::Tcp(_) | Ask::Dns(_) | Ask::Grpc(_) | Ask::Command(_) => None,
    }
}

fn servers(ask: &Ask) -> Vec<Server> {
    match ask {
        Ask::Postgres(ask) => ask.servers.clone(),
        Ask::Redis(ask) => ask.servers.clone(),
        Ask::Mysql(ask) => vec![ask.server.clone()],
        Ask::Http(_) | Ask::Tcp(_) | Ask::Dns(_) | Ask::Grpc(_) | Ask::Command(_) => Vec::new(),
    }
}

/// The URL that several variables make together.
fn joined(env: &[(OsString, OsString)], pieces: &Pieces) -> Option<String> {
    let text = |name: &str| {
        let value = raw(env, name)?.to_str()?.trim();
        (!value.is_empty()).then_some(value)
    };
    let encoded = |name: &str| text(name).map(urls::encoded).unwrap_or_default();
    let host = text(pieces.host)?;
    // A colon stands in no name: an IPv6 address.
    let host = if host.contains(':') { format!("[{host}]") } else { urls::encoded(host) };
    let port = text(pieces.port).map(|port| format!(":{port}")).unwrap_or_default();
    let (user, password) = (encoded(pieces.user), encoded(pieces.password));
    let credentials =
        if user.is_empty() && password.is_empty() { String::new() } else { format!("{user}:{password}@") };
    let parameters = pieces.parameters.iter().filter(|(name, _)| text(name).is_some());
    let query: Vec<String> = parameters.map(|(name, key)| format!("{key}={}", encoded(name))).collect();
    let (scheme, database) = (pieces.kind.label(), encoded(pieces.database));
    Some(format!("{scheme}://{credentials}{host}{port}/{database}?{}", query.join("&")))
}
