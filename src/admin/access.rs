//! Who may read and who may act. Pure: the peer, the head of the request and the token go in, a ruling comes out.
//!
//! - **Loopback is no credential for acting.** The app lives there, and so does every request that it can be tricked into
//!   sending. Over TCP, what acts needs the token; without one configured, acting is left to the control socket, whose
//!   file permissions say who may.
//! - **Reads are free on this machine**, and need the token from elsewhere: they name releases, paths and traffic. Health
//!   and metrics are free everywhere, and so are the page's own files, which say nothing.
//! - **Nothing here is for the public.** A request that came through the platform's edge is refused, but for health.
//! - **The gate is for whoever deploys**, and that is often a pipeline elsewhere: with the token it may be asked through the
//!   edge and by any name, too. It tells of the lock and of nothing else.
//! - **A browser may be led here by a stranger's page.** So the page and the API look at `Host` (a public name that was
//!   made to point here), at `Origin` and at `Sec-Fetch-Site`.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Method, StatusCode, Uri, header};

use crate::config::Secret;

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Peer {
    /// Somebody over TCP.
    Tcp(SocketAddr),
    /// Somebody whom the permissions of the control socket let in.
    Unix,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Door {
    /// Health, which the platform itself asks for.
    Health,
    /// Metrics.
    Metrics,
    /// The page's own files.
    Page,
    /// Anything that tells of this service.
    Read,
    /// Whether deployments are locked.
    Gate,
    /// Anything that changes something.
    Act,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: &'static str,
}

const EDGE: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    message: "this request came through the platform's edge: only health and, with the token, /api/gate are answered \
              here; for all else use the private network",
};
const HOST: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    message: "Host must be an IP address, localhost, a name without dots or one that ends in .internal: a public name \
              may have been made to point here by somebody else",
};
const ORIGIN: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    message: "Origin must be this page's own: another site's page may neither read nor act here",
};
const TOKEN_WANTED: Refusal = Refusal {
    status: StatusCode::UNAUTHORIZED,
    message: "this needs `Authorization: Bearer <token>` with the value of OUTRIGGER_TOKEN",
};
const TOKEN_WRONG: Refusal = Refusal {
    status: StatusCode::UNAUTHORIZED,
    message: "the token is wrong: `Authorization: Bearer <token>` must carry the value of OUTRIGGER_TOKEN",
};
const NO_TOKEN_TO_ACT: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    message: "no token is configured, so nothing can be changed over TCP: set OUTRIGGER_TOKEN, or use `outrigger pause`, \
              `outrigger lock` and the like on the machine itself",
};
const NO_TOKEN_TO_READ: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    message: "no token is configured, so this can only be read on the machine itself: set OUTRIGGER_TOKEN to read it \
              from elsewhere",
};

/// What `method` and `path` ask for. What is not known is taken for the more guarded thing.
pub(super) fn door(method: &Method, path: &str) -> Door {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Door::Act;
    }
    match path {
        "/api/health" | "/api/health/deep" | "/api/live" | "/api/ready" | "/api/version" => Door::Health,
        "/metrics" => Door::Metrics,
        "/api/gate" => Door::Gate,
        "/" | "/style.css" => Door::Page,
        // The page's own scripts, which say nothing.
        script if script.ends_with(".js") && script.rfind('/') == Some(0) => Door::Page,
        _ => Door::Read,
    }
}

/// Rules on a request.
pub(super) fn check(
    peer: Peer,
    door: Door,
    uri: &Uri,
    headers: &HeaderMap,
    token: Option<&Secret>,
) -> Result<(), Refusal> {
    let address = match peer {
        Peer::Unix => return Ok(()),
        Peer::Tcp(address) => address,
    };
    // No page of a stranger's has the token, so whoever bears it need not say by which name it came.
    let bears_token = || token.is_some_and(|token| check_token(headers, token).is_ok());
    if door == Door::Health || (door == Door::Gate && bears_token()) {
        return Ok(());
    }
    if came_through_edge(headers) && door == Door::Gate {
        return check_token(headers, token.ok_or(NO_TOKEN_TO_READ)?);
    }
    if came_through_edge(headers) {
        return Err(EDGE);
    }
    match door {
        Door::Health | Door::Metrics => Ok(()),
        Door::Page => check_browser(door, uri, headers),
        Door::Read | Door::Gate => {
            check_browser(door, uri, headers)?;
            if is_local(address, headers) {
                Ok(())
            } else {
                check_token(headers, token.ok_or(NO_TOKEN_TO_READ)?)
            }
        }
        Door::Act => {
            check_browser(door, uri, headers)?;
            check_token(headers, token.ok_or(NO_TOKEN_TO_ACT)?)
        }
    }
}

/// Whether the peer may see what is inside: paths, errors, addresses.
pub(super) fn may_see_inside(peer: Peer, uri: &Uri, headers: &HeaderMap, token: Option<&Secret>) -> bool {
    match peer {
        Peer::Unix => true,
        Peer::Tcp(address) => {
            let trusted = token.is_some_and(|token| check_token(headers, token).is_ok());
            // A page that a stranger's name leads to this machine may ask, and is told no more than the public.
            let local = is_local(address, headers) && check_browser(Door::Read, uri, headers).is_ok();
            !came_through_edge(headers) && (local || trusted)
        }
    }
}

fn came_through_edge(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with("x-railway-"))
}

/// Whether the request began on this machine. What another proxy here passes on did not.
fn is_local(address: SocketAddr, headers: &HeaderMap) -> bool {
    let passed_on =
        ["forwarded", "x-forwarded-for", "x-real-ip"].iter().any(|&name| headers.contains_key(name));
    address.ip().to_canonical().is_loopback() && !passed_on
}

fn check_token(headers: &HeaderMap, token: &Secret) -> Result<(), Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|field| bearer(field.as_bytes()));
    if token.matches(given.ok_or(TOKEN_WANTED)?) { Ok(()) } else { Err(TOKEN_WRONG) }
}

/// Whether an `Authorization` field bears the token.
pub(super) fn bears(field: &[u8], token: &Secret) -> bool {
    bearer(field).is_some_and(|given| token.matches(given))
}

fn bearer(field: &[u8]) -> Option<&[u8]> {
    let (scheme, given) = field.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
}

fn check_browser(door: Door, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    // An absolute target overrides the Host field (RFC 9112, section 3.2.2).
    let authority = uri.authority().map(|a| a.as_str()).or_else(|| text(header::HOST)).ok_or(HOST)?;
    if !is_own_host(authority) {
        return Err(HOST);
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().map_err(|_| ORIGIN)?;
        let rest =
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).ok_or(ORIGIN)?;
        if !rest.eq_ignore_ascii_case(authority) {
            return Err(ORIGIN);
        }
    }
    // Requests that carry no Origin (a stranger's <script> or <img>) still say where they come from.
    let from_elsewhere = headers.get("sec-fetch-site").is_some_and(|v| v == "cross-site" || v == "same-site");
    let followed_link = headers.get("sec-fetch-mode").is_some_and(|v| v == "navigate");
    if door != Door::Page && from_elsewhere && !followed_link {
        return Err(ORIGIN);
    }
    Ok(())
}

/// Whether a name cannot belong to a stranger: an address, this machine, or a name that no public registry gives away.
fn is_own_host(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host);
    let named = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    host.parse::<IpAddr>().is_ok()
        || (!host.is_empty()
            && host.bytes().all(named)
            && (!host.contains('.') || host.ends_with(".internal") || host.ends_with(".localhost")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: &str = "127.0.0.1:5000";
    const REMOTE: &str = "10.1.2.3:5000";

    fn rule(peer: &str, door: Door, fields: &[(&str, &str)], token: Option<&str>) -> Result<(), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert("host", "127.0.0.1:9900".parse().unwrap());
        for (name, value) in fields {
            headers.insert(header::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        let token = token.map(|t| Secret::new(t.to_owned()));
        check(Peer::Tcp(peer.parse().unwrap()), door, &"/x".parse().unwrap(), &headers, token.as_ref())
    }

    #[test]
    fn acting_over_tcp_needs_the_token_even_from_loopback() {
        assert_eq!(rule(LOCAL, Door::Act, &[], Some("secret")), Err(TOKEN_WANTED));
        assert_eq!(
            rule(LOCAL, Door::Act, &[("authorization", "Bearer wrong")], Some("secret")),
            Err(TOKEN_WRONG)
        );
        assert_eq!(
            rule(LOCAL, Door::Act, &[("authorization", "Basic secret")], Some("secret")),
            Err(TOKEN_WANTED)
        );
        assert_eq!(rule(LOCAL, Door::Act, &[("authorization", "Bearer secret")], Some("secret")), Ok(()));
        assert_eq!(rule(REMOTE, Door::Act, &[("authorization", "bearer secret")], Some("secret")), Ok(()));
        assert_eq!(rule(LOCAL, Door::Act, &[("authorization", "Bearer ")], None), Err(NO_TOKEN_TO_ACT));
        assert!(
            NO_TOKEN_TO_ACT.message.contains("OUTRIGGER_TOKEN")
                && NO_TOKEN_TO_ACT.message.contains("outrigger pause")
        );
    }

    #[test]
    fn reads_are_free_on_this_machine_only() {
        assert_eq!(rule(LOCAL, Door::Read, &[], Some("secret")), Ok(()));
        assert_eq!(rule("[::ffff:127.0.0.1]:1", Door::Read, &[], Some("secret")), Ok(()));
        assert_eq!(rule(REMOTE, Door::Read, &[], Some("secret")), Err(TOKEN_WANTED));
        assert_eq!(rule(REMOTE, Door::Read, &[("authorization", "Bearer secret")], Some("secret")), Ok(()));
        assert_eq!(rule(REMOTE, Door::Read, &[], None), Err(NO_TOKEN_TO_READ));
        assert_eq!(
            rule(LOCAL, Door::Read, &[("x-forwarded-for", "1.2.3.4")], Some("secret")),
            Err(TOKEN_WANTED)
        );
        for door in [Door::Health, Door::Metrics, Door::Page] {
            assert_eq!(rule(REMOTE, door, &[], None), Ok(()));
        }
    }

    #[test]
    fn what_came_through_the_edge_sees_health_only() {
        for field in [("x-railway-edge", "railway/us-west"), ("x-railway-request-id", "1")] {
            assert_eq!(rule(LOCAL, Door::Health, &[field], None), Ok(()));
            for door in [Door::Metrics, Door::Page, Door::Read, Door::Act] {
                assert_eq!(rule(LOCAL, door, &[field, ("authorization", "Bearer s")], Some("s")), Err(EDGE));
            }
        }
    }

    #[test]
    fn the_gate_may_be_asked_through_the_edge_with_the_token_only() {
        let (edge, host) = (("x-railway-edge", "railway/us-west"), ("host", "gate.example.com"));
        let (right, wrong) = (("authorization", "Bearer secret"), ("authorization", "Bearer wrong"));
        assert_eq!(rule(REMOTE, Door::Gate, &[edge, host, right], Some("secret")), Ok(()));
        assert_eq!(rule(REMOTE, Door::Gate, &[edge, host, wrong], Some("secret")), Err(TOKEN_WRONG));
        assert_eq!(rule(LOCAL, Door::Gate, &[edge], Some("secret")), Err(TOKEN_WANTED));
        assert_eq!(rule(LOCAL, Door::Gate, &[edge, right], None), Err(NO_TOKEN_TO_READ));
        assert_eq!(rule(LOCAL, Door::Gate, &[], Some("secret")), Ok(()), "this machine reads freely");
        assert_eq!(rule(LOCAL, Door::Gate, &[host], None), Err(HOST), "but not a page led here");
        assert_eq!(rule(REMOTE, Door::Gate, &[], Some("secret")), Err(TOKEN_WANTED));
        assert_eq!(
            (door(&Method::GET, "/api/gate"), door(&Method::POST, "/api/gate")),
            (Door::Gate, Door::Act)
        );
    }

    #[test]
    fn a_public_name_that_points_here_is_refused() {
        for host in
            ["evil.example", "evil.example:9900", "127.0.0.1.evil.example", "", "a b", "localhost.evil.com"]
        {
            for door in [Door::Page, Door::Read] {
                assert_eq!(rule(LOCAL, door, &[("host", host)], None), Err(HOST), "{host}");
            }
        }
        for host in
            ["localhost", "LOCALHOST:9900", "[::1]:9900", "10.0.0.1", "app", "web.railway.internal:9900"]
        {
            assert_eq!(rule(LOCAL, Door::Page, &[("host", host)], None), Ok(()), "{host}");
        }
        assert_eq!(rule(LOCAL, Door::Metrics, &[("host", "metrics.example.com")], None), Ok(()));
    }

    #[test]
    fn another_sites_page_is_refused() {
        for origin in ["http://evil.example", "null", "http://127.0.0.1:3000", "file://"] {
            assert_eq!(rule(LOCAL, Door::Read, &[("origin", origin)], None), Err(ORIGIN), "{origin}");
        }
        assert_eq!(rule(LOCAL, Door::Read, &[("origin", "http://127.0.0.1:9900")], None), Ok(()));
        assert_eq!(rule(LOCAL, Door::Read, &[("sec-fetch-site", "cross-site")], None), Err(ORIGIN));
        assert_eq!(rule(LOCAL, Door::Read, &[("sec-fetch-site", "same-origin")], None), Ok(()));
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        assert_eq!(rule(LOCAL, Door::Read, &link, None), Ok(()));
    }

    #[test]
    fn what_is_not_known_is_guarded() {
        assert_eq!(door(&Method::GET, "/api/whatever"), Door::Read);
        assert_eq!(door(&Method::POST, "/api/health"), Door::Act);
        assert_eq!(door(&Method::DELETE, "/"), Door::Act);
        assert_eq!(door(&Method::HEAD, "/api/health/deep"), Door::Health);
    }
}
