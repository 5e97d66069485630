//! What was asked and how it failed, in words without a secret.

use std::io;
use std::ops::RangeInclusive;

use http::{header, response};

use crate::config::probes::Http as Ask;
use crate::prober::dial::{Line, io_cause, io_failure, is_own};
use crate::prober::probe::{Failure, chain};

/// The longest path that is told, in bytes; instead of a longer one there is a word about it.
const PATH_LEN_MAX: usize = 100;
/// The longest word in a path that is told, in bytes,
const WORD_LEN_MAX: usize = 16;
/// and the longest of letters and digits.
const MIXED_LEN_MAX: usize = 8;
/// The most digits of such a word: enough for a version or a year, few for a key.
const DIGITS_MAX: usize = 4;

/// Method and URL, as far as they may be told.
pub(super) fn request(ask: &Ask) -> String {
    let scheme = if ask.tls.is_some() { "https" } else { "http" };
    let Ask { method, authority, path, .. } = ask;
    match tellable(path.expose()) {
        Some(path) => format!("{method} {scheme}://{authority}{path}"),
        None => format!("{method} {scheme}://{authority} (whose path is not told)"),
    }
}

/// The path without its query, where nothing in it looks like a key: it is made of short words, and of few digits.
fn tellable(path: &str) -> Option<&str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let is_plain = |word: &str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
        let len_max = if digits > 0 && letters > 0 { MIXED_LEN_MAX } else { WORD_LEN_MAX };
        word.len() <= len_max && digits <= DIGITS_MAX && digits + letters == word.len()
    };
    (path.len() <= PATH_LEN_MAX && path.split(['/', '-', '_', '.']).all(is_plain)).then_some(path)
}

/// An answer with a status that is not expected.
pub(super) fn wrong_status(told: &str, head: &response::Parts, expected: &[RangeInclusive<u16>]) -> String {
    let to = head.headers.get(header::LOCATION).filter(|_| head.status.is_redirection()).and_then(place);
    let to = to.map(|to| format!(" to {to}")).unwrap_or_default();
    let range = |range: &RangeInclusive<u16>| match (range.start(), range.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let expected: Vec<String> = expected.iter().map(range).collect();
    format!("{told} answered {}{to}; {} is expected", head.status, expected.join(" or "))
}

/// Where a redirect leads to, as far as it may be told.
fn place(location: &http::HeaderValue) -> Option<String> {
    let to: http::Uri = location.to_str().ok()?.parse().ok()?;
    let path = tellable(to.path()).unwrap_or("/…");
    match (to.scheme_str(), to.authority()) {
        (Some(scheme), Some(authority)) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            Some(format!("{scheme}://{host}{path}"))
        }
        _ => Some(path.to_owned()),
    }
}

/// No answer at all.
pub(super) fn no_answer(told: &str, line: &Line, error: &hyper::Error) -> Failure {
    let server = line.server();
    match io_cause(error) {
        Some(cause) if is_own(cause) => return io_failure(&format!("no answer to {told}"), cause),
        Some(cause) if is_reset(cause) => {
            return Failure::Down(format!("{server} reset the connection before it answered {told}"));
        }
        Some(_) | None => {}
    }
    Failure::Down(if error.is_incomplete_message() || is_end(error) {
        format!("{server} closed the connection without an answer to {told}")
    } else if error.is_parse() {
        let hint = if line.is_tls() { "" } else { "; perhaps the port wants TLS" };
        format!("{server} answered {told} with something that is not HTTP/1.1 ({}){hint}", chain(error))
    } else {
        format!("no answer to {told}: {}", chain(error))
    })
}

/// An answer that ended too early, after `read` bytes of its body.
pub(super) fn broken_off(told: &str, read: usize, error: &hyper::Error) -> Failure {
    let why = match io_cause(error) {
        Some(cause) if is_own(cause) => return io_failure(&format!("the answer to {told}"), cause),
        Some(cause) if is_reset(cause) => "the connection was reset".to_owned(),
        Some(_) | None if error.is_incomplete_message() || is_end(error) => {
            "the connection was closed".to_owned()
        }
        Some(_) | None => chain(error),
    };
    Failure::Down(format!("the answer to {told} broke off after {read} bytes of its body: {why}"))
}

/// Whether it is nothing but the connection's end.
pub(super) fn is_end(error: &hyper::Error) -> bool {
    io_cause(error).is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof)
}

fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_where_nothing_in_it_looks_like_a_key() {
        for told in ["/", "", "/v1/charges", "/api/v2/status.json", "/health-check_deep", "/2024-11-01/x"] {
            assert_eq!(tellable(told), Some(told));
        }
        assert_eq!(tellable("/v1/charges?key=sk_live_1"), Some("/v1/charges"));
        for kept in [
            "/services/T01ABCDEF/B02",
            "/bot123456:ABC-DEF/getMe",
            "/hooks/QWErtyUIOpasDFGhjkl",
            "/user@example/x",
            "/a%40b",
            "/x/9f86d081884c7d65",
        ] {
            assert_eq!(tellable(kept), None);
        }
        assert_eq!(tellable(&"/abc".repeat(40)), None);
    }

    #[test]
    fn a_redirect_is_told_without_what_may_be_secret() {
        let tell = |location: &str| place(&location.parse().unwrap()).unwrap();
        assert_eq!(
            tell("https://a:b@login.example.com/sign-in?token=x"),
            "https://login.example.com/sign-in"
        );
        assert_eq!(tell("/login?next=abc"), "/login");
        assert_eq!(tell("https://x.example/0123456789abcdef"), "https://x.example/…");
    }
}
