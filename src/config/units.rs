//! How single values are written: durations, shares, addresses, URLs, paths. Every function says what is wrong in words
//! that do not repeat the value, because the value may be a secret in the wrong place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::options::Address;
use crate::config::value::Value;

/// What is wrong with a value.
pub(super) type Wrong = &'static str;

const OUT_OF_RANGE: Wrong = "is out of range";
/// The longest name of a service, an environment or a replica, in characters.
pub(super) const NAME_LEN_MAX: usize = 64;

/// The longest name of a host with its port: what the name service has room for, and six.
const PEER_LEN_MAX: usize = 259;
/// The longest path of a socket, in bytes: what the kernel has room for.
const SOCKET_LEN_MAX: usize = 107;

/// A duration with its unit.
pub(super) fn duration(value: &Value, least: Duration, most: Duration) -> Result<Duration, Wrong> {
    let text = value.text().ok_or("is not a duration in quotes")?.trim();
    // "15M" would be fifteen months; nobody who writes it means that.
    if text.contains('M') {
        return Err("has the unit M (a month); minutes are m");
    }
    let parsed = humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::UnknownUnit { unit, .. } if unit.is_empty() => "has no unit",
        humantime::DurationError::UnknownUnit { .. } => "has an unknown unit",
        humantime::DurationError::InvalidCharacter(_)
        | humantime::DurationError::NumberExpected(_)
        | humantime::DurationError::NumberOverflow
        | humantime::DurationError::Empty => "is not a duration",
    })?;
    (least..=most).contains(&parsed).then_some(parsed).ok_or(OUT_OF_RANGE)
}

/// A duration as it is written: the largest unit that leaves no rest.
pub(super) fn duration_text(duration: Duration) -> String {
    const UNITS: [(u128, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let millis = duration.as_millis();
    let fits = |&&(unit, _): &&(u128, &str)| millis >= unit && millis.is_multiple_of(unit);
    match UNITS.iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// A whole number.
pub(super) fn count(value: &Value, least: u64, most: u64) -> Result<u64, Wrong> {
    let number = match value {
        Value::Integer(number) => u64::try_from(*number).map_err(|_| OUT_OF_RANGE)?,
        Value::Plain(text) => text.trim().parse().map_err(|_| "is not a whole number")?,
        Value::Text(_) => return Err("is text; a number stands without quotes"),
        Value::Float(_) | Value::Boolean(_) | Value::List(_) | Value::Other(_) => {
            return Err("is not a whole number");
        }
    };
    (least..=most).contains(&number).then_some(number).ok_or(OUT_OF_RANGE)
}

/// A number that may have a fraction.
pub(super) fn number(value: &Value, least: f64, most: f64) -> Result<f64, Wrong> {
    let number = match value {
        Value::Integer(number) => *number as f64,
        Value::Float(number) => *number,
        Value::Plain(text) => text.trim().parse().map_err(|_| "is not a number")?,
        Value::Text(_) => return Err("is text; a number stands without quotes"),
        Value::Boolean(_) | Value::List(_) | Value::Other(_) => return Err("is not a number"),
    };
    (least..=most).contains(&number).then_some(number).ok_or(OUT_OF_RANGE)
}

/// A share: `0.01` or `"1%"`.
pub(super) fn share(value: &Value, least: f64, most: f64) -> Result<f64, Wrong> {
    let Some(text) = value.text() else { return number(value, least, most) };
    let parsed = match text.trim().strip_suffix('%') {
        // Divided, not multiplied: "1%" is then the same f64 as 0.01.
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse::<f64>(),
    };
    number(&Value::Float(parsed.map_err(|_| "is not a share")?), least, most)
}

/// `true` or `false`.
pub(super) fn truth(value: &Value) -> Result<bool, Wrong> {
    match value {
        Value::Boolean(value) => Ok(*value),
        Value::Plain(text) => {
            text.trim().to_ascii_lowercase().parse().map_err(|_| "is neither true nor false")
        }
        Value::Text(_) => Err("is text; true and false stand without quotes"),
        Value::Integer(_) | Value::Float(_) | Value::List(_) | Value::Other(_) => {
            Err("is neither true nor false")
        }
    }
}

/// Text on one line, of a bounded length.
pub(super) fn line(value: &Value, len_max: usize) -> Result<&str, Wrong> {
    let text = value.text().ok_or("is not text in quotes")?;
    if text.chars().any(char::is_control) {
        return Err("holds control characters");
    }
    if text.chars().count() > len_max { Err("is too long") } else { Ok(text) }
}

/// `address:port`.
pub(super) fn address(value: &Value) -> Result<SocketAddr, Wrong> {
    let text = line(value, 256)?;
    text.parse().map_err(|_| match text.strip_prefix(':').unwrap_or(text).parse::<u16>() {
        Ok(_) => "is a port without an address",
        Err(_) => "is not an IP address and port",
    })
}

/// A host's name or address, with or without a port, as peers are named.
pub(super) fn peer(text: &str) -> Result<String, Wrong> {
    if text.len() > PEER_LEN_MAX {
        return Err("is too long");
    }
    let is_host = |host: &str| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(at) = text.parse::<SocketAddr>() {
        return if at.port() == 0 { Err("has no port from 1 to 65535") } else { Ok(text.to_owned()) };
    }
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    match text.rsplit_once(':') {
        None if is_host(text) => Ok(text.to_owned()),
        Some((host, port)) if is_host(host) => match port.parse::<u16>() {
            Ok(1..) => Ok(text.to_owned()),
            Ok(0) | Err(_) => Err("has no port from 1 to 65535"),
        },
        None | Some(_) => Err("is no host"),
    }
}

/// Host and port of a plain `http://` URL.
pub(super) fn authority(value: &Value) -> Result<String, Wrong> {
    let text = line(value, 1024)?;
    let url: http::Uri = text.parse().map_err(|_| "is not a URL")?;
    match url.scheme_str() {
        Some("http") => {}
        Some("https") => return Err("asks for TLS, which is not spoken to a neighbour"),
        Some(_) => return Err("is not an http:// URL"),
        None => return Err("is not an http:// URL (it must begin with http://)"),
    }
    let authority = url.authority().ok_or("names no host")?;
    if authority.as_str().contains('@') {
        return Err("holds a user name or a password");
    }
    if authority.host().is_empty() || !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err("is more than a host and a port");
    }
    let port_is_wrong = authority.port_u16().is_none_or(|port| port == 0);
    if port_is_wrong && authority.as_str() != authority.host() {
        return Err("has no port from 1 to 65535");
    }
    Ok(format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80)))
}

/// Where an app is: a plain `http://` URL, or `unix:/path`.
pub(super) fn upstream(value: &Value) -> Result<Address, Wrong> {
    match line(value, 1024)?.strip_prefix("unix:") {
        Some(path) => socket(path).map(Address::Socket),
        None => authority(value).map(Address::Authority),
    }
}

/// The path of a socket.
pub(super) fn socket(text: &str) -> Result<PathBuf, Wrong> {
    if !text.starts_with('/') || text.ends_with('/') {
        return Err("is not the absolute path of a socket");
    }
    if text.len() > SOCKET_LEN_MAX { Err("is too long for a socket") } else { Ok(PathBuf::from(text)) }
}

/// A path of a request: `/ready`; or `off`.
pub(super) fn path(value: &Value) -> Result<Option<String>, Wrong> {
    match line(value, 1024)? {
        "off" => Ok(None),
        text if !text.starts_with('/') => Err("does not begin with /"),
        text if !text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') => {
            Err("holds what a path must not (spaces, # or other than ASCII)")
        }
        text => Ok(Some(text.to_owned())),
    }
}

/// `error` … `trace`, or a list of those with targets before them.
pub(super) fn log_filter(value: &Value) -> Result<String, Wrong> {
    let text = line(value, 1024)?;
    let level = |l: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&l);
    let target =
        |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:-".contains(&b));
    let directive = |part: &str| match part.split_once('=') {
        Some((name, l)) => target(name.trim()) && level(l.trim()),
        None => level(part),
    };
    if text.split(',').all(|part| directive(part.trim())) {
        Ok(text.to_owned())
    } else {
        Err("is no log filter")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Value {
        Value::Plain(text.to_owned())
    }

    #[test]
    fn a_duration_is_written_with_the_largest_unit_that_fits() {
        for text in ["0s", "10ms", "1500ms", "30s", "90s", "15m", "36h", "365d"] {
            let parsed = duration(&plain(text), Duration::ZERO, Duration::MAX).unwrap();
            assert_eq!(duration_text(parsed), text);
        }
    }

    #[test]
    fn a_percentage_is_the_same_share_to_the_bit() {
        for percent in 1..=100 {
            let as_percent = share(&plain(&format!("{percent}%")), 0.0, 1.0).unwrap();
            assert_eq!(as_percent, format!("{}.{:02}", percent / 100, percent % 100).parse::<f64>().unwrap());
        }
        assert_eq!(share(&plain("NaN"), 0.0, 1.0), Err(OUT_OF_RANGE));
    }

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        let ok = |text: &str| authority(&plain(text));
        assert_eq!(ok("http://app.internal:3000"), Ok("app.internal:3000".to_owned()));
        assert_eq!(ok("http://[::1]:3000/"), Ok("[::1]:3000".to_owned()));
        assert_eq!(ok("http://localhost"), Ok("localhost:80".to_owned()));
        for wrong in
            ["", "localhost:3000", "https://a", "http://a/b", "http://a:0", "http://u:p@a", "http://a?b"]
        {
            assert!(ok(wrong).is_err(), "{wrong}");
        }
        assert!(ok("http://a:99999").is_err());
    }

    #[test]
    fn a_peer_is_a_host_with_or_without_a_port() {
        let ok = peer;
        for right in
            ["shop.railway.internal", "a_b:1", "10.0.0.1", "10.0.0.1:9901", "fd12::1", "[fd12::1]:9901"]
        {
            assert_eq!(ok(right), Ok(right.to_owned()));
        }
        assert_eq!(ok("[fd12::1]"), Ok("fd12::1".to_owned()));
        for wrong in ["", "a:0", "a:", "a:99999", "http://a", "a/b", "a b", "[fd12::1]:0", ":9901", "a:b:c"] {
            assert!(ok(wrong).is_err(), "{wrong}");
        }
        assert!(peer(&"a".repeat(260)).is_err());
    }

    #[test]
    fn an_upstream_may_be_a_socket() {
        let ok = |text: &str| upstream(&plain(text));
        assert_eq!(ok("unix:/run/app.sock"), Ok(Address::Socket("/run/app.sock".into())));
        assert_eq!(ok("http://a:1"), Ok(Address::Authority("a:1".to_owned())));
        for wrong in ["unix:app.sock", "unix:", "unix:/run/", "unix://", "/run/app.sock"] {
            assert!(ok(wrong).is_err(), "{wrong}");
        }
        assert!(ok(&format!("unix:/{}", "a".repeat(107))).is_err());
        assert!(ok(&format!("unix:/{}", "a".repeat(106))).is_ok());
    }
}
