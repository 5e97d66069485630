//! URLs of Postgres as libpq reads them, of Redis and its Sentinels, and of MySQL.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::options::Secret;
use crate::config::probes::{Mysql, Postgres, Redis, Role, Schema, Sentinel, Server, Tls, TlsMode};
use crate::config::units::Wrong;
use crate::config::urls::{Parts, decoded, name, parts};

/// Beyond this share of connections, and of Redis's memory, a server is degraded, unless an option says otherwise.
pub(in crate::config) const SHARE_MAX: f64 = 0.9;
/// So far may a replica be behind, unless an option says otherwise.
pub(in crate::config) const LAG_MAX: Duration = Duration::from_secs(30);

const NO_USER: Wrong = "names no user";

/// libpq's words, those of its descendants, and what they mean.
fn postgres_tls(word: &str) -> Result<TlsMode, Wrong> {
    match word {
        "disable" | "false" => Ok(TlsMode::Disable),
        // `allow` tries without first; one connection that works is all that a probe wants of either.
        "allow" | "prefer" => Ok(TlsMode::Prefer),
        "require" | "no-verify" | "true" => Ok(TlsMode::Require),
        "verify-ca" => Ok(TlsMode::VerifyCa),
        "verify-full" => Ok(TlsMode::VerifyFull),
        _ => Err("has an sslmode that libpq does not know"),
    }
}

pub(super) fn postgres(url: &str, user: Option<&str>) -> Result<Postgres, Wrong> {
    let parts = parts(url, &['/', '?'])?;
    let tls = match parts.parameter(&["sslmode", "ssl"])? {
        Some(word) => postgres_tls(&word)?,
        None => TlsMode::Prefer,
    };
    let ca_file = parts.parameter(&["sslrootcert"])?;
    let tls = match ca_file.as_deref() {
        // The public authorities; libpq then takes no weaker mode.
        Some("system") => Tls { mode: TlsMode::VerifyFull, ca_file: None },
        Some(path) => Tls { mode: tls, ca_file: Some(PathBuf::from(path)) },
        None => Tls { mode: tls, ca_file: None },
    };
    let role = match parts.parameter(&["target_session_attrs"])?.as_deref() {
        Some("primary" | "read-write") => Role::Primary,
        Some("standby") => Role::Replica,
        Some(_) | None => Role::Any,
    };
    let named = parts.parameter(&["user"])?;
    let user = named.or(parts.user()?).or_else(|| user.map(str::to_owned)).ok_or(NO_USER)?;
    let database = match parts.parameter(&["dbname"])? {
        Some(database) => database,
        None => Some(decoded(parts.path)?).filter(|name| !name.is_empty()).unwrap_or_else(|| user.clone()),
    };
    Ok(Postgres {
        servers: postgres_servers(&parts)?,
        database,
        password: parts.parameter(&["password"])?.map(Secret::new).or(parts.password()?),
        user,
        tls,
        role,
        connections_max: SHARE_MAX,
        lag_max: LAG_MAX,
        schema: Schema::Auto,
    })
}

/// The hosts before the path, or those of the parameters `host` and `port`.
fn postgres_servers(parts: &Parts<'_>) -> Result<Vec<Server>, Wrong> {
    const PORT: u16 = 5432;
    const NUMBER: Wrong = "has no port from 1 to 65535";
    let port = |text: &str| match text {
        "" => Ok(PORT),
        text => text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(NUMBER),
    };
    let ports = match parts.parameter(&["port"])? {
        Some(list) => list.split(',').map(port).collect::<Result<Vec<_>, _>>()?,
        None => Vec::new(),
    };
    let mut servers = parts.servers(ports.first().copied().unwrap_or(PORT))?;
    if let Some(hosts) = parts.parameter(&["host"])? {
        let at = |i: usize| ports.get(i).or(ports.first()).copied().unwrap_or(PORT);
        let server = |(i, host): (usize, &str)| Ok(Server { host: name(host.to_owned())?, port: at(i) });
        servers = hosts.split(',').enumerate().map(server).collect::<Result<_, Wrong>>()?;
    }
    if servers.is_empty() {
        servers.push(Server { host: String::new(), port: ports.first().copied().unwrap_or(PORT) });
    }
    for server in &mut servers {
        if server.host.is_empty() {
            server.host.push_str("localhost");
        }
    }
    Ok(servers)
}

pub(super) fn redis(url: &str) -> Result<Redis, Wrong> {
    let parts = parts(url, &['/', '?', '#'])?;
    let verified = parts.parameter(&["ssl_cert_reqs"])?.is_none_or(|word| {
        let word = word.to_ascii_lowercase();
        word != "none" && word != "cert_none"
    });
    let mode = match parts.scheme.starts_with("rediss") {
        false => TlsMode::Disable,
        true if parts.fragment == "insecure" || !verified => TlsMode::Require,
        true => TlsMode::VerifyFull,
    };
    let password = parts.parameter(&["pass", "password"])?.map(Secret::new);
    let mut redis = Redis {
        servers: Vec::new(),
        sentinel: None,
        user: parts.parameter(&["user", "username"])?.or(parts.user()?),
        password: password.or(parts.password()?),
        database: parts.parameter(&["db"])?.map_or(Ok(0), |text| redis_database(&text))?,
        tls: Tls { mode, ca_file: None },
        role: Role::Any,
        memory_max: SHARE_MAX,
        lag_max: LAG_MAX,
    };
    match parts.scheme.as_str() {
        "unix" | "redis+unix" => redis_socket(&parts, &mut redis)?,
        "redis+sentinel" | "rediss+sentinel" => {
            let (primary, database) = parts.path.split_once('/').unwrap_or((parts.path, ""));
            sentinels(&parts, &mut redis, primary, database)?;
        }
        "redis-sentinel" => sentinels(&parts, &mut redis, parts.fragment, parts.path)?,
        _ => {
            redis.servers.push(parts.server(Some(6379))?);
            if !parts.path.is_empty() {
                redis.database = redis_database(parts.path)?;
            }
        }
    }
    Ok(redis)
}

fn redis_database(text: &str) -> Result<u32, Wrong> {
    text.trim_end_matches('/')
        .parse()
        .map_err(|_| "has a path that is not the number of a database, such as /0")
}

fn redis_socket(parts: &Parts<'_>, redis: &mut Redis) -> Result<(), Wrong> {
    if !parts.hosts.is_empty() || parts.path.is_empty() {
        return Err("is not the absolute path of a socket, as in unix:///run/redis.sock");
    }
    redis.servers.push(Server { host: format!("/{}", decoded(parts.path)?), port: 0 });
    Ok(())
}

fn sentinels(parts: &Parts<'_>, redis: &mut Redis, primary: &str, database: &str) -> Result<(), Wrong> {
    const PORT: u16 = 26379;
    redis.servers = parts.servers(PORT)?;
    if redis.servers.is_empty() || redis.servers.iter().any(|server| server.host.is_empty()) {
        return Err("names no host of a Sentinel");
    }
    let primary = decoded(primary)?;
    if primary.is_empty() {
        return Err("does not name what the Sentinels watch, as in redis+sentinel://host:26379/mymaster");
    }
    redis.sentinel = Some(Sentinel { primary, user: None, password: None });
    if !database.is_empty() {
        redis.database = redis_database(database)?;
    }
    Ok(())
}

pub(super) fn mysql(url: &str, user: Option<&str>) -> Result<Mysql, Wrong> {
    let parts = parts(url, &['/', '?', '#'])?;
    let mode = match parts.parameter(&["ssl-mode", "sslmode", "ssl_mode"])? {
        None => TlsMode::Prefer,
        Some(word) => match word.to_ascii_lowercase().replace('-', "_").as_str() {
            "disabled" | "disable" => TlsMode::Disable,
            "preferred" | "prefer" => TlsMode::Prefer,
            "required" | "require" => TlsMode::Require,
            "verify_ca" => TlsMode::VerifyCa,
            "verify_identity" | "verify_full" => TlsMode::VerifyFull,
            _ => return Err("has an ssl-mode that MySQL does not know"),
        },
    };
    let ca_file = parts.parameter(&["ssl-ca", "ssl_ca", "sslca"])?.map(PathBuf::from);
    Ok(Mysql {
        server: parts.server(Some(3306))?,
        user: parts.user()?.or_else(|| user.map(str::to_owned)).ok_or(NO_USER)?,
        password: parts.password()?,
        database: decoded(parts.path)?,
        tls: Tls { mode, ca_file },
        connections_max: SHARE_MAX,
    })
}
