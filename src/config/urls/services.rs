//! URLs of what is no database: HTTP, TCP, DNS, gRPC; and the HTTP APIs that are known by name.

use std::time::Duration;

use crate::config::options::Secret;
use crate::config::probes::{Dns, Grpc, Http, JsonCondition, Server, Tls, TlsMode};
use crate::config::units::Wrong;
use crate::config::urls::{name, parts};

/// A certificate that ends sooner is a concern, unless an option says otherwise.
const CERTIFICATE_MIN: Duration = Duration::from_secs(14 * 86_400);

/// An API by its name: its URL, the statuses that are well, and what stands where in the body.
type Preset = (&'static str, &'static str, &'static [u16], Option<(&'static str, &'static str)>);

/// HTTP APIs that tell up from down without a key.
pub(in crate::config) const PRESETS: [Preset; 5] = [
    // Without a key they refuse, which only an API that is up does.
    ("stripe", "https://api.stripe.com/v1/charges", &[401], None),
    ("openai", "https://api.openai.com/v1/models", &[401], None),
    ("anthropic", "https://api.anthropic.com/v1/models", &[401], None),
    ("slack", "https://slack.com/api/api.test", &[200], Some(("/ok", "true"))),
    // 403: too many questions from this address within an hour; it is up.
    ("github", "https://api.github.com/rate_limit", &[200], None),
];

/// What a preset asks, by its place in [`PRESETS`].
pub(in crate::config) fn preset(place: usize) -> Http {
    let (_, url, ..) = PRESETS[place];
    let mut http = http(url).expect("the URLs of presets parse");
    judge_by(&mut http, place);
    http
}

/// What a preset calls well, for whatever URL.
pub(in crate::config) fn judge_by(http: &mut Http, place: usize) {
    let (_, _, status, json) = PRESETS[place];
    http.status = status.iter().map(|&status| status..=status).collect();
    http.json = json
        .map(|(pointer, equals)| JsonCondition { pointer: pointer.to_owned(), equals: equals.to_owned() });
}

/// The host as a request names it.
fn authority(server: &Server, own_port: u16) -> String {
    let text = server.to_string();
    let own = format!(":{own_port}");
    if server.port == own_port { text.strip_suffix(&own).unwrap_or(&text).to_owned() } else { text }
}

pub(super) fn http(url: &str) -> Result<Http, Wrong> {
    let parts = parts(url, &['/', '?', '#'])?;
    parts.without_credentials()?;
    let port = if parts.scheme == "https" { 443 } else { 80 };
    let server = parts.server(Some(port))?;
    // The path as it was written, without the fragment.
    let behind = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = behind.find(['/', '?']).map_or("", |at| &behind[at..]);
    let path = path.split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    path.parse::<http::uri::PathAndQuery>().map_err(|_| "has a path with characters that no path has")?;
    Ok(Http {
        authority: authority(&server, port),
        server,
        path: Secret::new(path),
        tls: (port == 443).then_some(Tls { mode: TlsMode::VerifyFull, ca_file: None }),
        method: "GET".to_owned(),
        headers: Vec::new(),
        status: vec![200..=399],
        body_contains: None,
        json: None,
        certificate_min: CERTIFICATE_MIN,
    })
}

pub(super) fn tcp(url: &str) -> Result<Server, Wrong> {
    let parts = parts(url, &['/', '?', '#'])?;
    parts.without_credentials()?;
    if !parts.path.is_empty() || !parts.query.is_empty() {
        return Err("is more than a host and a port");
    }
    parts.server(None)
}

pub(super) fn dns(url: &str) -> Result<Dns, Wrong> {
    let text = url.split_once(':').map_or("", |(_, rest)| rest);
    let text = text.strip_prefix("//").unwrap_or(text);
    if text.is_empty() || text.contains(['/', '?', '#', '@', ':']) {
        return Err("is not dns: and a name, as in dns:db.example.com");
    }
    Ok(Dns { name: name(text.to_owned())?, expect: Vec::new() })
}

pub(super) fn grpc(url: &str) -> Result<Grpc, Wrong> {
    let parts = parts(url, &['/', '?', '#'])?;
    parts.without_credentials()?;
    if !parts.path.is_empty() || !parts.query.is_empty() {
        return Err("is more than a host and a port; the service has an option of its own");
    }
    let is_tls = parts.scheme == "grpcs";
    let server = parts.server(is_tls.then_some(443))?;
    Ok(Grpc {
        authority: authority(&server, if is_tls { 443 } else { 80 }),
        server,
        tls: is_tls.then_some(Tls { mode: TlsMode::VerifyFull, ca_file: None }),
        service: String::new(),
    })
}
