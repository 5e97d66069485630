//! Headers of one hop, and the few that we add.
//!
//! Pure. Connection-level fields end at each hop (RFC 9110, 7.6.1); everything else passes unchanged. A client must not
//! be able to remove what the edge or we add by naming it in `Connection`, so those names are on a list of their own.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Uri, request};

use crate::engine::time::Time;

pub(super) const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// How many names one message may nominate in its `Connection` lines; more are not looked at.
const NOMINATED_MAX: usize = 64;

/// Names that a `Connection` line cannot remove, and whose twins with underscores are dropped: frameworks that fold
/// `_` to `-` would take the twin for the real one.
const TRUSTED: [&str; 19] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "forwarded",
    "x-real-ip",
    "traceparent",
    "tracestate",
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "cache-control",
    "expect",
    "date",
    "trailer",
    "location",
    "www-authenticate",
];
const TRUSTED_PREFIXES: [&str; 3] = ["x-forwarded-", "x-request-", "x-railway-"];

/// Fields that a trailer section must not carry: framing, routing, credentials (RFC 9110, 6.5.1).
const NOT_IN_TRAILERS: [HeaderName; 16] = [
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::HOST,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::EXPECT,
];

/// What was asked of this hop and was taken out of the headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Hop {
    /// The protocols to switch to, where an upgrade was asked for.
    pub(super) upgrade: Option<HeaderValue>,
    /// The sender takes trailers.
    pub(super) trailers: bool,
}

/// Takes everything out of `headers` that belongs to one connection only.
pub(super) fn strip_hop(headers: &mut HeaderMap) -> Hop {
    let mut hop = Hop::default();
    if headers.contains_key(header::TE) {
        hop.trailers = tokens(headers, &header::TE).any(|t| t.eq_ignore_ascii_case("trailers"));
        headers.remove(header::TE);
    }
    if headers.contains_key(header::CONNECTION) {
        let asked = tokens(headers, &header::CONNECTION).any(|t| t.eq_ignore_ascii_case("upgrade"));
        if asked {
            hop.upgrade = upgrade_asked(headers);
        }
        let nominated: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
            .take(NOMINATED_MAX)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            .filter(|name| !is_trusted(name.as_str()))
            .collect();
        for name in nominated {
            headers.remove(name);
        }
        headers.remove(header::CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HTTP2_SETTINGS] {
        headers.remove(name);
    }
    hop
}

/// The one `Upgrade` line. Cleartext HTTP/2 is not let through: nothing behind it could be observed.
fn upgrade_asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut lines = headers.get_all(header::UPGRADE).iter();
    let (line, more) = (lines.next()?, lines.next());
    let h2c = tokens(headers, &header::UPGRADE).any(|t| t.eq_ignore_ascii_case("h2c"));
    (more.is_none() && !h2c && !line.is_empty()).then(|| line.clone())
}

/// The comma-separated tokens of every line of `name`.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn is_trusted(name: &str) -> bool {
    TRUSTED.contains(&name) || TRUSTED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether `reply` switches to a protocol that `asked` names.
pub(super) fn same_protocol(asked: &HeaderValue, reply: &HeaderMap) -> bool {
    let Ok(asked) = asked.to_str() else { return false };
    let mut chosen = tokens(reply, &header::UPGRADE);
    match (chosen.next(), chosen.next()) {
        (Some(one), None) => asked.split(',').any(|a| a.trim().eq_ignore_ascii_case(one)),
        _ => false,
    }
}

/// Drops names with underscores that frameworks would take for a trusted header.
pub(super) fn drop_twins(headers: &mut HeaderMap) {
    if !headers.keys().any(|name| name.as_str().contains('_')) {
        return;
    }
    let twins: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().contains('_') && is_trusted(&name.as_str().replace('_', "-")))
        .cloned()
        .collect();
    for name in twins {
        headers.remove(name);
    }
}

/// Adds what an app behind a proxy expects, where nobody before us has. The edge's own values pass unchanged.
pub(super) fn add_forwarded(headers: &mut HeaderMap, peer: IpAddr) {
    if !headers.contains_key(&X_FORWARDED_FOR)
        && let Ok(value) = HeaderValue::from_str(&peer.to_canonical().to_string())
    {
        headers.insert(X_FORWARDED_FOR, value);
    }
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !headers.contains_key(&X_FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
}

/// The request's id, made where there is none: a UUID of version 7 from the time and `random`.
pub(super) fn request_id(headers: &mut HeaderMap, now: Time, random: u128) -> HeaderValue {
    if let Some(id) = headers.get(&X_REQUEST_ID) {
        return id.clone();
    }
    let millis = u128::from(now.as_millis()) & 0xffff_ffff_ffff;
    let bits = (millis << 80) | (0x7 << 76) | (random & 0x0fff_3fff_ffff_ffff_ffff) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let text = format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    let id = HeaderValue::from_str(&text).expect("hex digits and hyphens are a header's value");
    headers.insert(X_REQUEST_ID, id.clone());
    id
}

/// Makes the target origin-form. An absolute one's authority replaces `Host` (RFC 9112, 3.2.2).
pub(super) fn to_origin_form(parts: &mut request::Parts) {
    let Some(authority) = parts.uri.authority() else { return };
    if let Ok(host) = HeaderValue::from_str(without_user(authority)) {
        parts.headers.insert(header::HOST, host);
    }
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(path);
}

fn without_user(authority: &Authority) -> &str {
    let text = authority.as_str();
    text.rsplit_once('@').map_or(text, |(_, host)| host)
}

/// How long the app keeps an idle connection, in seconds, where its reply says so.
pub(super) fn keep_alive_timeout(headers: &HeaderMap) -> Option<u64> {
    tokens(headers, &KEEP_ALIVE).find_map(|token| {
        let (name, value) = token.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse().ok())?
    })
}

/// Takes out of a trailer section what must not be in one.
pub(super) fn filter_trailers(trailers: &mut HeaderMap) {
    for name in NOT_IN_TRAILERS {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        headers
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_connection_line_is_read_and_its_names_removed() {
        let mut headers = map(&[
            ("connection", "x-a"),
            ("connection", "close, X-B"),
            ("x-a", "1"),
            ("x-b", "2"),
            ("x-c", "3"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("trailer", "x-t"),
        ]);
        assert_eq!(strip_hop(&mut headers), Hop::default());
        assert_eq!(names(&headers), ["trailer", "x-c"]);
    }

    #[test]
    fn a_connection_line_cannot_remove_what_the_edge_adds() {
        let mut headers = map(&[
            (
                "connection",
                "close, X-Forwarded-For, Host, Cookie, Authorization, X-Railway-Edge, X-Request-Id",
            ),
            ("x-forwarded-for", "1.2.3.4"),
            ("host", "a"),
            ("cookie", "b=c"),
            ("authorization", "d"),
            ("x-railway-edge", "e"),
            ("x-request-id", "f"),
        ]);
        strip_hop(&mut headers);
        assert_eq!(
            names(&headers),
            ["authorization", "cookie", "host", "x-forwarded-for", "x-railway-edge", "x-request-id"]
        );
    }

    #[test]
    fn trailers_and_upgrades_are_noted_before_they_are_stripped() {
        let mut headers =
            map(&[("te", "gzip, trailers"), ("connection", "TE, Upgrade"), ("upgrade", "websocket")]);
        let hop = strip_hop(&mut headers);
        assert!(hop.trailers && headers.is_empty());
        assert_eq!(hop.upgrade.unwrap(), "websocket");
    }

    #[test]
    fn an_upgrade_without_its_connection_token_or_to_h2c_is_none() {
        for lines in [
            &[("upgrade", "websocket")][..],
            &[("connection", "upgrade"), ("upgrade", "h2c"), ("http2-settings", "AAA")][..],
            &[("connection", "upgrade"), ("upgrade", "websocket, H2C")][..],
            &[("connection", "upgrade"), ("upgrade", "a"), ("upgrade", "b")][..],
        ] {
            let mut headers = map(lines);
            assert_eq!(strip_hop(&mut headers).upgrade, None, "{lines:?}");
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn only_an_asked_protocol_is_the_same() {
        let asked = HeaderValue::from_static("websocket");
        assert!(same_protocol(&asked, &map(&[("upgrade", "WebSocket")])));
        assert!(!same_protocol(&asked, &map(&[("upgrade", "tls/1.0")])));
        assert!(!same_protocol(&asked, &map(&[])));
        assert!(!same_protocol(&asked, &map(&[("upgrade", "websocket, x")])));
    }

    #[test]
    fn underscore_twins_of_trusted_names_are_dropped() {
        let mut headers = map(&[("x_forwarded_for", "evil"), ("content_length", "3"), ("my_name", "kept")]);
        drop_twins(&mut headers);
        assert_eq!(names(&headers), ["my_name"]);
    }

    #[test]
    fn forwarded_headers_are_added_only_where_absent() {
        let peer = "::ffff:10.0.0.9".parse().unwrap();
        let mut headers = map(&[("host", "a.example")]);
        add_forwarded(&mut headers, peer);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.9");
        assert_eq!(
            (&headers["x-forwarded-proto"], &headers["x-forwarded-host"]),
            (&HeaderValue::from_static("http"), &HeaderValue::from_static("a.example"))
        );
        let mut headers = map(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")]);
        add_forwarded(&mut headers, peer);
        assert_eq!((headers.len(), &headers["x-forwarded-proto"]), (2, &HeaderValue::from_static("https")));
    }

    #[test]
    fn a_request_id_is_kept_or_made_as_a_uuid_of_version_7() {
        let mut headers = map(&[("x-request-id", "theirs")]);
        assert_eq!(request_id(&mut headers, Time::from_millis(1), 0), "theirs");
        let mut headers = HeaderMap::new();
        let id = request_id(&mut headers, Time::from_millis(0x0123_4567_89ab), u128::MAX);
        assert_eq!(id, "01234567-89ab-7fff-bfff-ffffffffffff");
        assert_eq!(headers["x-request-id"], id);
        let id = request_id(&mut HeaderMap::new(), Time::from_millis(0x0123_4567_89ab), 0);
        assert_eq!(id, "01234567-89ab-7000-8000-000000000000");
    }

    #[test]
    fn an_absolute_target_replaces_host() {
        let (mut parts, ()) = http::Request::builder()
            .uri("http://user@real.example:81/a?b")
            .header("host", "fake.example")
            .body(())
            .unwrap()
            .into_parts();
        to_origin_form(&mut parts);
        assert_eq!(
            (parts.uri.to_string().as_str(), &parts.headers["host"]),
            ("/a?b", &HeaderValue::from_static("real.example:81"))
        );
    }

    #[test]
    fn the_apps_keep_alive_time_is_read() {
        assert_eq!(keep_alive_timeout(&map(&[("keep-alive", "max=100, Timeout=5")])), Some(5));
        assert_eq!(keep_alive_timeout(&map(&[("keep-alive", "timeout=x")])), None);
        assert_eq!(keep_alive_timeout(&map(&[])), None);
    }

    #[test]
    fn trailers_carry_no_framing_and_no_credentials() {
        let mut trailers = map(&[("content-length", "9"), ("host", "x"), ("set-cookie", "a"), ("x-t", "v")]);
        filter_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["x-t"]);
    }
}
