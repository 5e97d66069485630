//! The replies that the agent makes itself: one table, one form.
//!
//! Each says its code in `x-outrigger-error`, and each has one outcome, so that what is answered and whose fault it was
//! cannot drift apart. It does not know how requests are sent.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::engine::observation::Outcome;
use crate::proxy::body::ReplyBody;
use crate::proxy::headers::X_REQUEST_ID;
use crate::proxy::plan::Phase;

const X_OUTRIGGER_ERROR: HeaderName = HeaderName::from_static("x-outrigger-error");
/// Seconds after which a client may try again where nothing of its request was executed.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why the agent answered in the app's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `Host` is missing, doubled or not a host.
    BadHost,
    /// The target is neither a path nor an absolute URL.
    BadTarget,
    /// `Transfer-Encoding` is not exactly one `chunked`.
    BadFraming,
    /// A real transfer coding that is not supported.
    UnknownCoding,
    /// `CONNECT`.
    Connect,
    /// The client's body broke off or could not be read.
    BadBody,
    /// The app was not ready within the time that a request is held.
    NotReady,
    /// Too many requests are held already.
    TooManyHeld,
    /// The app refuses connections.
    Unreachable,
    /// The app accepts no connection in time.
    ConnectTimeout,
    /// The agent ran out of sockets or files.
    OutOfResources,
    /// The app is ending.
    Draining,
    /// The app closed the connection before a reply, or its reply cannot be read.
    BadReply,
    /// A pooled connection turned out closed, and the request cannot be sent twice.
    Stale,
    /// No reply head in time.
    Timeout,
}

/// One line of the table.
struct Row(u16, &'static str, Outcome);

impl Refusal {
    fn row(self) -> Row {
        match self {
            Self::BadHost => Row(400, "bad-host", Outcome::ClientFault),
            Self::BadTarget => Row(400, "bad-target", Outcome::ClientFault),
            Self::BadFraming => Row(400, "bad-framing", Outcome::ClientFault),
            Self::UnknownCoding => Row(501, "unknown-transfer-coding", Outcome::ClientFault),
            Self::Connect => Row(405, "connect-not-supported", Outcome::ClientFault),
            Self::BadBody => Row(400, "bad-request-body", Outcome::ClientFault),
            Self::NotReady => Row(503, "upstream-not-ready", Outcome::NotReady),
            Self::TooManyHeld => Row(503, "too-many-requests-held", Outcome::Shed),
            Self::Unreachable => Row(503, "upstream-unreachable", Outcome::AppUnreachable),
            Self::ConnectTimeout => Row(504, "upstream-connect-timeout", Outcome::AppUnreachable),
            Self::OutOfResources => Row(503, "agent-out-of-resources", Outcome::Shed),
            Self::Draining => Row(503, "draining", Outcome::Draining),
            Self::BadReply => Row(502, "upstream-bad-reply", Outcome::AppBadReply),
            Self::Stale => Row(502, "upstream-connection-stale", Outcome::StaleConnection),
            Self::Timeout => Row(504, "upstream-timeout", Outcome::AppTimeout),
        }
    }

    /// The status code that the client is sent.
    pub(super) fn status(self) -> u16 {
        self.row().0
    }

    /// How the request is counted.
    pub(super) fn outcome(self) -> Outcome {
        self.row().2
    }

    /// The same, in a phase: an app that was told to end may break off what it had begun.
    pub(super) fn outcome_in(self, phase: Phase) -> Outcome {
        let is_broken_off = matches!(self, Self::BadReply | Self::Stale);
        if is_broken_off && phase == Phase::Draining { Outcome::Draining } else { self.outcome() }
    }

    /// Whether the client's connection ends with this reply: what follows on it could be read differently, or the
    /// client should come back on another one.
    fn closes(self) -> bool {
        match self {
            Self::BadHost
            | Self::BadTarget
            | Self::BadFraming
            | Self::UnknownCoding
            | Self::Connect
            | Self::BadBody
            | Self::Draining
            | Self::Stale => true,
            Self::NotReady
            | Self::TooManyHeld
            | Self::Unreachable
            | Self::ConnectTimeout
            | Self::OutOfResources
            | Self::BadReply
            | Self::Timeout => false,
        }
    }

    /// The reply to a request with this method and id.
    pub(super) fn reply(self, method: &Method, id: Option<HeaderValue>) -> Response<ReplyBody> {
        let Row(code, name, _) = self.row();
        let text = Bytes::from(format!("{code} {}\n", name.replace('-', " ")));
        let length = text.len();
        let body = if *method == Method::HEAD { Bytes::new() } else { text };
        let mut response = Response::new(ReplyBody::local(body));
        *response.status_mut() = StatusCode::from_u16(code).expect("every code of the table is a status");
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_OUTRIGGER_ERROR, HeaderValue::from_static(name));
        if let Some(id) = id {
            headers.insert(X_REQUEST_ID, id);
        }
        if code == 503 {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if self.closes() {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::engine::observation::Fault;

    #[test]
    fn a_refusal_has_one_form_and_head_gets_no_body() {
        let id = HeaderValue::from_static("r1");
        let reply = Refusal::NotReady.reply(&Method::GET, Some(id));
        assert_eq!(
            (reply.status().as_u16(), &reply.headers()["x-outrigger-error"]),
            (503, &HeaderValue::from_static("upstream-not-ready"))
        );
        assert_eq!(reply.headers()["retry-after"], "1");
        assert_eq!(reply.headers()["x-request-id"], "r1");
        assert_eq!(reply.headers()["cache-control"], "no-store");
        assert_eq!(reply.headers()["content-length"], "23");
        assert_eq!(reply.body().size_hint().exact(), Some(23));
        assert!(!reply.headers().contains_key("connection"));
        let head = Refusal::NotReady.reply(&Method::HEAD, None);
        assert_eq!(
            (&head.headers()["content-length"], head.body().size_hint().exact()),
            (&HeaderValue::from_static("23"), Some(0))
        );
    }

    #[test]
    fn what_the_client_did_is_never_the_apps_fault() {
        for refusal in [
            Refusal::BadHost,
            Refusal::BadTarget,
            Refusal::BadFraming,
            Refusal::UnknownCoding,
            Refusal::Connect,
            Refusal::BadBody,
        ] {
            assert_eq!(refusal.outcome().fault(), Fault::Client);
            assert!(refusal.closes());
        }
    }
}
