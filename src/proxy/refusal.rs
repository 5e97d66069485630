//! The replies that the agent makes itself: one table, one form.
//!
//! Each says its code in `x-outrigger-error`, and each has one outcome, so that what is answered and whose fault it was
//! cannot drift apart. It does not know how requests are sent.

use std::io::Write as _;

use crate::engine::observation::Outcome;
use crate::proxy::h1::BadRequest;
use crate::proxy::plan::Phase;

/// Why the agent answered in the app's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request's head cannot be read.
    BadHead,
    /// Not HTTP/1.0 or 1.1.
    BadVersion,
    /// `Host` is missing, doubled or not a host.
    BadHost,
    /// The target is neither a path nor an absolute URL, or holds a fragment.
    BadTarget,
    /// The target is too long.
    LongTarget,
    /// The head is too long or has too many fields.
    LongHead,
    /// `Transfer-Encoding` or `Content-Length` can be read in two ways.
    BadFraming,
    /// A real transfer coding that is not supported.
    UnknownCoding,
    /// `CONNECT`.
    Connect,
    /// The client's body broke off or could not be read.
    BadBody,
    /// The head did not come to its end in time.
    SlowHead,
    /// The client fell silent within its body.
    SlowBody,
    /// The app was not ready within the time that a request is held.
    NotReady,
    /// Too many requests are held already.
    TooManyHeld,
    /// Too many requests are at the app already.
    TooManyInFlight,
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
    const fn row(self) -> Row {
        match self {
            Self::BadHead => Row(400, "bad-request-head", Outcome::ClientFault),
            Self::BadVersion => Row(505, "version-not-supported", Outcome::ClientFault),
            Self::BadHost => Row(400, "bad-host", Outcome::ClientFault),
            Self::BadTarget => Row(400, "bad-target", Outcome::ClientFault),
            Self::LongTarget => Row(414, "target-too-long", Outcome::ClientFault),
            Self::LongHead => Row(431, "head-too-long", Outcome::ClientFault),
            Self::BadFraming => Row(400, "bad-framing", Outcome::ClientFault),
            Self::UnknownCoding => Row(501, "unknown-transfer-coding", Outcome::ClientFault),
            Self::Connect => Row(405, "connect-not-supported", Outcome::ClientFault),
            Self::BadBody => Row(400, "bad-request-body", Outcome::ClientFault),
            Self::SlowHead => Row(408, "request-head-timeout", Outcome::ClientFault),
            Self::SlowBody => Row(408, "request-body-timeout", Outcome::ClientFault),
            Self::NotReady => Row(503, "upstream-not-ready", Outcome::NotReady),
            Self::TooManyHeld => Row(503, "too-many-requests-held", Outcome::Shed),
            Self::TooManyInFlight => Row(503, "too-many-requests-in-flight", Outcome::Shed),
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
    pub(super) const fn status(self) -> u16 {
        self.row().0
    }

    /// How the request is counted.
    pub(super) const fn outcome(self) -> Outcome {
        self.row().2
    }

    /// The same, in a phase: an app that was told to end may break off what it had begun.
    pub(super) fn outcome_in(self, phase: Phase) -> Outcome {
        let is_broken_off = matches!(self, Self::BadReply | Self::Stale);
        if is_broken_off && phase == Phase::Draining { Outcome::Draining } else { self.outcome() }
    }

    /// Whether the client's connection ends with this reply: what follows on it could be read differently, or the
    /// client should come back on another one.
    pub(super) const fn closes(self) -> bool {
        match self {
            Self::BadHead
            | Self::BadVersion
            | Self::BadHost
            | Self::BadTarget
            | Self::LongTarget
            | Self::LongHead
            | Self::BadFraming
            | Self::UnknownCoding
            | Self::Connect
            | Self::BadBody
            | Self::SlowHead
            | Self::SlowBody
            | Self::Draining
            | Self::Stale => true,
            Self::NotReady
            | Self::TooManyHeld
            | Self::TooManyInFlight
            | Self::Unreachable
            | Self::ConnectTimeout
            | Self::OutOfResources
            | Self::BadReply
            | Self::Timeout => false,
        }
    }

    /// Appends the reply to `out`. `id`: the request's, where it is known; `bodyless`: it answers a HEAD.
    pub(super) fn render(self, bodyless: bool, id: Option<&[u8]>, close: bool, out: &mut Vec<u8>) {
        let Row(code, name, _) = self.row();
        let text = name.replace('-', " ");
        let length = text.len() + 5;
        let reason = reason(code);
        let head = write!(
            out,
            "HTTP/1.1 {code} {reason}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\n\
             cache-control: no-store\r\nx-outrigger-error: {name}\r\n"
        );
        head.expect("memory takes all");
        if let Some(id) = id {
            out.extend_from_slice(b"x-request-id: ");
            out.extend_from_slice(id);
            out.extend_from_slice(b"\r\n");
        }
        if code == 503 {
            // Nothing of the request was executed, so it may be tried again soon.
            out.extend_from_slice(b"retry-after: 1\r\n");
        }
        if code == 405 {
            // RFC 9110, 15.5.6: what is allowed is up to the app; nothing that we know of.
            out.extend_from_slice(b"allow: \r\n");
        }
        if close || self.closes() {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if !bodyless {
            writeln!(out, "{code} {text}").expect("memory takes all");
        }
    }
}

impl From<BadRequest> for Refusal {
    fn from(bad: BadRequest) -> Self {
        match bad {
            BadRequest::Line | BadRequest::Field => Self::BadHead,
            BadRequest::Version => Self::BadVersion,
            BadRequest::Target => Self::BadTarget,
            BadRequest::TargetTooLong => Self::LongTarget,
            BadRequest::Connect => Self::Connect,
            BadRequest::HeadTooLong | BadRequest::TooManyFields => Self::LongHead,
            BadRequest::Host => Self::BadHost,
            BadRequest::Framing => Self::BadFraming,
            BadRequest::UnknownCoding => Self::UnknownCoding,
        }
    }
}

/// The reason phrases of the table's codes (RFC 9110, 15; RFC 6585).
const fn reason(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        414 => "URI Too Long",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "HTTP Version Not Supported",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::observation::Fault;

    fn text(refusal: Refusal, bodyless: bool, id: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        refusal.render(bodyless, id, false, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_has_one_form_and_head_gets_no_body() {
        let reply = text(Refusal::NotReady, false, Some(b"r1"));
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            head.lines().collect::<Vec<_>>(),
            [
                "HTTP/1.1 503 Service Unavailable",
                "content-type: text/plain; charset=utf-8",
                "content-length: 23",
                "cache-control: no-store",
                "x-outrigger-error: upstream-not-ready",
                "x-request-id: r1",
                "retry-after: 1",
            ]
        );
        assert_eq!((body, body.len()), ("503 upstream not ready\n", 23));
        let head_only = text(Refusal::NotReady, true, None);
        assert!(
            head_only.ends_with("retry-after: 1\r\n\r\n") && head_only.contains("content-length: 23\r\n")
        );
    }

    #[test]
    fn what_the_client_did_is_never_the_apps_fault() {
        for refusal in [
            Refusal::BadHead,
            Refusal::BadVersion,
            Refusal::BadHost,
            Refusal::BadTarget,
            Refusal::LongTarget,
            Refusal::LongHead,
            Refusal::BadFraming,
            Refusal::UnknownCoding,
            Refusal::Connect,
            Refusal::BadBody,
            Refusal::SlowHead,
            Refusal::SlowBody,
        ] {
            assert_eq!(refusal.outcome().fault(), Fault::Client);
            assert!(refusal.closes());
            assert!(text(refusal, false, None).contains("\r\nconnection: close\r\n"));
        }
    }
}
