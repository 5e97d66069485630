//! What is refused before anything else looks at it: requests that two parsers could read differently.
//!
//! Pure. Most of framing is settled inside hyper; here is what it lets through.

use http::header::{self, HeaderMap};
use http::{Method, Version, request};

use crate::proxy::reply::Refusal;

/// Whether the request may go on; otherwise how it is refused.
pub(super) fn check(parts: &request::Parts) -> Result<(), Refusal> {
    if parts.method == Method::CONNECT {
        return Err(Refusal::Connect);
    }
    check_transfer_encoding(&parts.headers)?;
    let absolute = parts.uri.scheme().is_some();
    if parts.uri.authority().is_some() && !absolute {
        return Err(Refusal::BadTarget);
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => Ok(()),
        (None, None) if parts.version == Version::HTTP_10 => Ok(()),
        _ => Err(Refusal::BadHost),
    }
}

/// Absent, or exactly one line with exactly `chunked`: hyper takes `gzip, chunked` too, and the re-framed message
/// would have lost its coding.
fn check_transfer_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(line) = lines.next() else { return Ok(()) };
    if lines.next().is_some() {
        return Err(Refusal::BadFraming);
    }
    if line.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = line.as_bytes().split(|&b| b == b',').map(<[u8]>::trim_ascii);
    let chunked = codings.clone().filter(|c| c.eq_ignore_ascii_case(b"chunked")).count();
    if chunked == 1 && codings.all(|c| !c.is_empty()) {
        return Err(Refusal::UnknownCoding);
    }
    Err(Refusal::BadFraming)
}

/// A host name, an IPv4 address or an IPv6 one in brackets, with an optional port.
fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, after)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                (address, if after.is_empty() { None } else { Some(after) })
            }
            _ => return false,
        },
        None => match host.find(':') {
            Some(at) => (&host[..at], Some(&host[at..])),
            None => (host, None),
        },
    };
    let port_is_good = port.is_none_or(|port| {
        port.strip_prefix(':').is_some_and(|digits| {
            digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok())
        })
    });
    let is_name_byte = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b':')
    };
    port_is_good && !name.is_empty() && name.bytes().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(build: impl FnOnce(request::Builder) -> request::Builder) -> Option<Refusal> {
        let (parts, ()) = build(http::Request::builder()).body(()).unwrap().into_parts();
        check(&parts).err()
    }

    #[test]
    fn exactly_one_valid_host_is_needed() {
        assert_eq!(refused(|r| r.uri("/").header("host", "a")), None);
        assert_eq!(refused(|r| r.uri("/")), Some(Refusal::BadHost));
        assert_eq!(refused(|r| r.uri("/").version(Version::HTTP_10)), None);
        assert_eq!(refused(|r| r.uri("/").header("host", "a").header("host", "a")), Some(Refusal::BadHost));
    }

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for good in ["a", "a.example:80", "127.0.0.1:65535", "[::1]", "[::1]:80", "a_b", "a:"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in
            ["", "a b/c", "a/b", "a:99999", "a:+1", "[::1", "[x]", ":80", "a@b", "[::1]80", "a,b", "a:1:2"]
        {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn only_plain_chunked_is_a_transfer_encoding() {
        let with =
            |te: &'static str| refused(|r| r.uri("/").header("host", "a").header("transfer-encoding", te));
        assert_eq!(with("chunked"), None);
        assert_eq!(with("Chunked"), None);
        assert_eq!(with("gzip, chunked"), Some(Refusal::UnknownCoding));
        for bad in ["chunked, chunked", ",chunked", "identity", "xchunked", "chunked,"] {
            assert_eq!(with(bad), Some(Refusal::BadFraming), "{bad}");
        }
        let two = refused(|r| {
            r.uri("/")
                .header("host", "a")
                .header("transfer-encoding", "x")
                .header("transfer-encoding", "chunked")
        });
        assert_eq!(two, Some(Refusal::BadFraming));
    }

    #[test]
    fn connect_and_bare_authorities_are_refused() {
        assert_eq!(refused(|r| r.method("CONNECT").uri("a:443").header("host", "a")), Some(Refusal::Connect));
        assert_eq!(refused(|r| r.uri("a:443").header("host", "a")), Some(Refusal::BadTarget));
        assert_eq!(refused(|r| r.uri("http://b/").header("host", "a")), None);
        assert_eq!(refused(|r| r.method("OPTIONS").uri("*").header("host", "a")), None);
    }
}
