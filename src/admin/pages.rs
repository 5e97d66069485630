//! The dashboard's files, embedded: it needs no network but this port.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

/// Scripts and styles from this port only, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One embedded file.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    kind: &'static str,
    text: &'static str,
}

pub(super) const INDEX: File =
    File { kind: "text/html; charset=utf-8", text: include_str!("page/index.html") };
pub(super) const STYLE: File = File { kind: "text/css; charset=utf-8", text: include_str!("page/style.css") };
pub(super) const APP: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/app.js") };
pub(super) const CHARTS: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/charts.js") };
pub(super) const DEPENDENCIES: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/dependencies.js") };
pub(super) const HOST: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/host.js") };
pub(super) const PARACHUTE: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/parachute.js") };
pub(super) const PEERS: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/peers.js") };
pub(super) const RECORDS: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/records.js") };
pub(super) const RELEASES: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/releases.js") };
pub(super) const STREAMS: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/streams.js") };
pub(super) const ROUTES: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/routes.js") };
pub(super) const WORDS: File =
    File { kind: "text/javascript; charset=utf-8", text: include_str!("page/words.js") };

impl File {
    /// The file, or 304 when the browser has it.
    pub(super) fn serve(self, request: &HeaderMap) -> Response {
        let tag = self.tag();
        let known = request.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
        let held =
            known.is_some_and(|list| list.split(',').any(|t| t.trim().trim_start_matches("W/") == tag));
        let tag = HeaderValue::from_str(&tag).expect("a digest in quotes is visible ASCII");
        let fixed = [
            (header::CONTENT_TYPE, HeaderValue::from_static(self.kind)),
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::ETAG, tag),
        ];
        if held {
            (StatusCode::NOT_MODIFIED, fixed).into_response()
        } else {
            (fixed, self.text).into_response()
        }
    }

    /// From the content, so that a new build is fetched and an old one is not.
    fn tag(self) -> String {
        let digest = Sha256::digest(self.text.as_bytes());
        let mut tag = String::from("\"");
        for byte in &digest[..8] {
            write!(tag, "{byte:02x}").expect("a String takes all text");
        }
        tag.push('"');
        tag
    }
}

/// What every reply carries, whatever it is.
pub(super) const ALWAYS: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];
