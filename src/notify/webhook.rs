//! The document that is posted to a webhook. It changes only by adding (docs/ALERTS.md).

use http::{HeaderMap, HeaderName};
use ring::hmac;
use serde::Serialize;

use crate::config::Secret;
use crate::engine::alert::{Alert, Figure};
use crate::notify::value;

/// The document's name and version.
const SCHEMA: &str = "outrigger.alert.v1";
/// The same for the same alert, however often and from whichever replica it comes.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// HMAC-SHA256 of the body, as `sha256=` and hexadecimal digits.
const SIGNATURE: HeaderName = HeaderName::from_static("outrigger-signature-256");

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    key: &'a str,
    event: &'static str,
    severity: &'static str,
    at: String,
    at_ms: u64,
    title: &'a str,
    summary: &'a str,
    service: &'a str,
    environment: &'a str,
    release: Option<&'a str>,
    target: Option<&'a str>,
    record: Option<&'a str>,
    agreed_by: Option<&'a str>,
    progress: Option<&'a str>,
    figures: Vec<FigureDocument<'a>>,
    reasons: &'a [String],
    steps: &'a [String],
    link: Option<&'a str>,
}

#[derive(Serialize)]
struct FigureDocument<'a> {
    what: &'a str,
    stream: &'a str,
    baseline: &'a str,
    limit: &'a str,
    recent: Option<&'a str>,
}

/// The headers and the body.
pub(super) fn request(alert: &Alert, secret: Option<&Secret>) -> (HeaderMap, Vec<u8>) {
    let body = serde_json::to_vec(&document(alert)).expect("the document holds nothing that JSON cannot");
    let mut headers = HeaderMap::new();
    headers.insert(IDEMPOTENCY_KEY, value(&alert.key));
    if let Some(secret) = secret {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        let tag = hmac::sign(&key, &body);
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        headers.insert(SIGNATURE, value(&format!("sha256={digits}")));
    }
    (headers, body)
}

fn document(alert: &Alert) -> Document<'_> {
    Document {
        schema: SCHEMA,
        key: &alert.key,
        event: alert.event.label(),
        severity: alert.severity.label(),
        at: alert.at.to_string(),
        at_ms: alert.at.as_millis(),
        title: &alert.title,
        summary: &alert.summary,
        service: &alert.service,
        environment: &alert.environment,
        release: alert.release.as_deref(),
        target: alert.target.as_deref(),
        record: alert.record.as_deref(),
        agreed_by: alert.agreed.as_deref(),
        progress: alert.progress.as_deref(),
        figures: alert.figures.iter().map(figure).collect(),
        reasons: &alert.reasons,
        steps: &alert.steps,
        link: alert.link.as_deref(),
    }
}

fn figure(of: &Figure) -> FigureDocument<'_> {
    let Figure { what, stream, baseline, limit, recent } = of;
    FigureDocument { what, stream, baseline, limit, recent: recent.as_deref() }
}
