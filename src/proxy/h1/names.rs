//! Names of fields that mean something to a hop, and lists inside their values.
//!
//! Connection-level fields end at each hop (RFC 9110, 7.6.1). A client must not be able to remove what the edge or we
//! add by naming it in `Connection`, so those names are on a list of their own. It does not know where a field stands.

use crate::proxy::h1::scan;
use crate::proxy::h1::scan::is_token;

/// How many names one message may nominate in its `Connection` lines; more are not looked at.
const NOMINATED_MAX: usize = 64;

/// Names that a `Connection` line cannot remove, and whose twins with underscores are dropped: frameworks that fold
/// `_` to `-` would take the twin for the real one.
const TRUSTED: [&[u8]; 19] = [
    b"host",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"transfer-encoding",
    b"forwarded",
    b"x-real-ip",
    b"traceparent",
    b"tracestate",
    b"authorization",
    b"proxy-authorization",
    b"cookie",
    b"set-cookie",
    b"cache-control",
    b"expect",
    b"date",
    b"trailer",
    b"location",
    b"www-authenticate",
];
const TRUSTED_PREFIXES: [&[u8]; 3] = [b"x-forwarded-", b"x-request-", b"x-railway-"];

/// Fields that a trailer section must not carry: framing, routing, credentials (RFC 9110, 6.5.1), and those of one hop.
const NOT_IN_TRAILERS: [&[u8]; 21] = [
    b"content-length",
    b"transfer-encoding",
    b"host",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"upgrade",
    b"authorization",
    b"proxy-authorization",
    b"cookie",
    b"set-cookie",
    b"content-type",
    b"content-encoding",
    b"content-range",
    b"cache-control",
    b"expect",
    b"forwarded",
    b"x-real-ip",
    b"http2-settings",
];
const NOT_IN_TRAILERS_PREFIX: &[u8] = b"x-forwarded-";

/// Whether `name`, a token, is `lower` but for case. Of the bytes of tokens, `b | 0x20` is a lower-case letter, a digit
/// or a hyphen only for that one and its capital.
#[inline]
pub(super) fn is<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    name.iter().zip(lower).fold(0, |differ, (&a, &b)| differ | ((a | 0x20) ^ b)) == 0
}

/// Whether a nomination leaves `name` alone.
pub(super) fn is_trusted(name: &[u8]) -> bool {
    is_listed(name, &TRUSTED, &TRUSTED_PREFIXES)
}

/// Whether `name` has an underscore and would be a trusted name with hyphens.
#[inline]
pub(super) fn is_twin(name: &[u8]) -> bool {
    // Most names are none by their first letter and length; an underscore is looked for in the others only.
    let may_be = match (name.first().map(|b| b | 0x20), name.len()) {
        (Some(b'c'), 12..=16) | (Some(b't' | b'w'), 16..=17) | (Some(b'p'), 19) | (Some(b's'), 10) => true,
        (Some(b'x'), length) => length >= 9,
        _ => false,
    };
    may_be && name.contains(&b'_') && is_trusted(name)
}

/// Whether a trailer section may carry `name`, or what a framework that folds underscores makes of it.
pub(super) fn is_trailer(name: &[u8]) -> bool {
    !is_listed(name, &NOT_IN_TRAILERS, &[NOT_IN_TRAILERS_PREFIX])
}

fn is_listed(name: &[u8], list: &[&[u8]], prefixes: &[&[u8]]) -> bool {
    let begins = |prefix: &&[u8]| name.get(..prefix.len()).is_some_and(|start| is_folded(start, prefix));
    list.iter().any(|listed| is_folded(name, listed)) || prefixes.iter().any(begins)
}

/// Whether the two are the same but for case and underscores.
fn is_folded(name: &[u8], lower: &[u8]) -> bool {
    let fold = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() == lower.len() && name.iter().zip(lower).all(|(&a, &b)| fold(a) == b)
}

/// The comma-separated tokens of one value; empty ones are left out.
pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// All `Connection` lines of one message.
#[derive(Clone, Copy, Default)]
pub(super) struct Connection {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// Some line names other fields.
    pub(super) nominates: bool,
}

impl Connection {
    pub(super) fn add(&mut self, value: &[u8]) {
        // What nearly all say.
        if is(value, b"keep-alive") {
            self.keep_alive = true;
            return;
        }
        for token in tokens(value) {
            match token.len() {
                5 if token.eq_ignore_ascii_case(b"close") => self.close = true,
                10 if token.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
                7 if token.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
                2 if token.eq_ignore_ascii_case(b"te") => {}
                _ => self.nominates = true,
            }
        }
    }

    /// Whether the connection lives on after the message, by its version and what was said.
    pub(super) fn lasts(self, minor: u8) -> bool {
        !self.close && (minor == 1 || self.keep_alive)
    }
}

/// Whether one of `lines`, the values of all `Connection` lines, takes `name` out of the message.
pub(super) fn is_nominated<'v>(name: &[u8], lines: impl Iterator<Item = &'v [u8]>) -> bool {
    let named = lines.flat_map(tokens).take(NOMINATED_MAX).any(|token| token.eq_ignore_ascii_case(name));
    named && !is_trusted(name)
}

/// What a `Transfer-Encoding` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    /// Exactly `chunked`.
    Chunked,
    /// Codings that we do not know, and `chunked` last.
    Unknown,
    /// Anything else: where the message ends is not to be known.
    Bad,
}

pub(super) fn coding(value: &[u8]) -> Coding {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Coding::Chunked;
    }
    let mut codings = value.rsplit(|&b| b == b',').map(<[u8]>::trim_ascii);
    let ends = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let is_real = |coding: &[u8]| {
        !coding.is_empty()
            && coding.iter().all(|&b| is_token(b))
            && !coding.eq_ignore_ascii_case(b"chunked")
            && !coding.eq_ignore_ascii_case(b"identity")
    };
    if ends && codings.all(is_real) { Coding::Unknown } else { Coding::Bad }
}

/// What a `Content-Length` line says: 1 to 19 digits, which no `u64` is too small for.
pub(super) fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 19 {
        return None;
    }
    let digit = |sum: u64, b: &u8| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0'));
    value.iter().try_fold(0, digit)
}

/// A host name, an IPv4 address or an IPv6 one in brackets, with an optional port.
pub(super) fn is_host(host: &[u8]) -> bool {
    let after = match host {
        [b'[', rest @ ..] => {
            let Some(end) = rest.iter().position(|&b| b == b']') else { return false };
            let address = std::str::from_utf8(&rest[..end]).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            &rest[end + 1..]
        }
        _ => match scan::host(host) {
            0 => return false,
            end => &host[end..],
        },
    };
    match after {
        [] | [b':'] => true,
        // Leading zeros are digits, too, but no more than a port has.
        [b':', port @ ..] => port.len() <= 5 && length(port).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    }
}
