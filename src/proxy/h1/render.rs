//! Heads for the next hop, from what was understood of the ones received.
//!
//! Lines between two that need care are copied at once. It adds what it is given and decides nothing.

use crate::proxy::h1::Framing;
use crate::proxy::h1::fields::{Class, Fields, Line};
use crate::proxy::h1::reply::Reply;
use crate::proxy::h1::request::Request;
use crate::proxy::h1::scan::is_token;

/// Room that is made for what is added to a head.
const ADDED: usize = 512;

/// What is added to a request on its way to the app, behind the client's own fields. The values are good ones: no
/// control bytes.
#[derive(Clone, Copy, Default)]
pub(in crate::proxy) struct Added<'a> {
    pub(in crate::proxy) request_id: Option<&'a [u8]>,
    pub(in crate::proxy) forwarded_for: Option<&'a [u8]>,
    pub(in crate::proxy) forwarded_proto: Option<&'a [u8]>,
    pub(in crate::proxy) forwarded_host: Option<&'a [u8]>,
    /// A cookie of ours, which the app does not see.
    pub(in crate::proxy) drop_cookie: Option<&'a str>,
    /// The app is asked to close the connection afterwards.
    pub(in crate::proxy) close: bool,
}

/// How a reply goes on to the client.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct Toward<'a> {
    /// Of the body as we send it. With `None`, a length that the app said to HEAD or with 304 stays.
    pub(in crate::proxy) framing: Framing,
    /// The connection ends afterwards.
    pub(in crate::proxy) close: bool,
    /// It stays, to an HTTP/1.0 client that asked for it.
    pub(in crate::proxy) keep_alive_10: bool,
    /// For a reply without a `Date`.
    pub(in crate::proxy) date: Option<&'a [u8]>,
    /// The value of one more `Set-Cookie` line.
    pub(in crate::proxy) set_cookie: Option<&'a [u8]>,
}

/// Copies runs of lines.
struct Copy<'b, 'o> {
    head: &'b [u8],
    /// What lies before it is settled.
    from: usize,
    out: &'o mut Vec<u8>,
}

impl<'b> Copy<'b, '_> {
    /// Copies what lies before `line`, and steps over it.
    fn up_to(&mut self, line: &Line<'b>) {
        self.out.extend_from_slice(&self.head[self.from..line.start]);
        self.from = line.end;
    }

    /// Writes `line` with another value.
    fn rename(&mut self, line: &Line<'b>, value: &[u8]) {
        field(line.field.name, value, self.out);
    }

    /// Copies what is left of the lines.
    fn rest(&mut self, fields: &Fields<'b>) {
        self.out.extend_from_slice(&self.head[self.from..fields.end()]);
    }
}

/// Appends the head for the app. `with_upgrade`: an upgrade that the request asks for is passed on.
pub(in crate::proxy) fn request_head(
    request: &Request<'_>,
    added: &Added<'_>,
    with_upgrade: bool,
    out: &mut Vec<u8>,
) {
    let fields = &request.fields;
    out.reserve(request.len + ADDED);
    let mut from = request.start;
    if request.is_absolute || request.minor == 0 {
        from = fields.first();
        request_line(request, out);
    }
    let upgrade = request.upgrade.filter(|_| with_upgrade);
    let tokens = [
        upgrade.map(|_| &b"Upgrade"[..]),
        request.trailers.then_some(&b"TE"[..]),
        added.close.then_some(&b"close"[..]),
    ];
    let mut connection = tokens.iter().any(Option::is_some);
    let mut trailers = request.trailers;
    let mut copy = Copy { head: fields.head(), from, out };
    for line in fields.special() {
        let stays = match line.class {
            Class::Cookie => added.drop_cookie.is_none(),
            Class::Expect => passes_expect(request, line.field.value),
            Class::Upgrade => upgrade.is_some(),
            Class::Pass | Class::Drop | Class::Host | Class::Length | Class::Coding => false,
            Class::Connection | Class::Te => false,
        };
        if stays {
            continue;
        }
        copy.up_to(&line);
        match line.class {
            Class::Host => copy.rename(&line, request.host.unwrap_or_default()),
            Class::Length | Class::Coding => framing(line.field.name, request.framing, copy.out),
            Class::Connection if connection => {
                connection_line(line.field.name, tokens, copy.out);
                connection = false;
            }
            Class::Te if trailers => {
                copy.rename(&line, b"trailers");
                trailers = false;
            }
            Class::Cookie => without_cookie(&line, added.drop_cookie.unwrap_or_default(), copy.out),
            Class::Pass | Class::Drop | Class::Connection | Class::Te | Class::Expect | Class::Upgrade => {}
        }
    }
    copy.rest(fields);
    if connection {
        connection_line(b"Connection", tokens, out);
    }
    let more = [
        (&b"X-Forwarded-For"[..], added.forwarded_for),
        (b"X-Forwarded-Proto", added.forwarded_proto),
        (b"X-Forwarded-Host", added.forwarded_host),
        (b"X-Request-Id", added.request_id),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            field(name, value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Where the one received cannot be copied. Without a `Host`, the version stays 1.0.
fn request_line(request: &Request<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method);
    out.push(b' ');
    if request.target.first() == Some(&b'?') {
        out.push(b'/');
    }
    out.extend_from_slice(request.target);
    let version: &[u8] = if request.host.is_some() { b" HTTP/1.1\r\n" } else { b" HTTP/1.0\r\n" };
    out.extend_from_slice(version);
    // HTTP/1.0 with an absolute target and no `Host` to put it in.
    if let Some(host) = request.host.filter(|_| request.is_absolute)
        && request.field("host").is_none()
    {
        field(b"Host", host, out);
    }
}

/// HTTP/1.0 has none; `100-continue` passes only before a body.
fn passes_expect(request: &Request<'_>, value: &[u8]) -> bool {
    request.minor == 1 && (request.expects_continue || !value.eq_ignore_ascii_case(b"100-continue"))
}

/// The line without the cookies named `name`; nothing where no other is left.
fn without_cookie(line: &Line<'_>, name: &str, out: &mut Vec<u8>) {
    let is_ours = |pair: &[u8]| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
    };
    let mut kept = line.field.value.split(|&b| b == b';').filter(|pair| !is_ours(pair));
    let Some(first) = kept.next() else { return };
    out.extend_from_slice(line.field.name);
    out.extend_from_slice(b": ");
    let value = out.len();
    out.extend_from_slice(first.trim_ascii_start());
    for pair in kept {
        out.push(b';');
        out.extend_from_slice(pair);
    }
    // Blanks that stood before a cookie of ours are the value's end now, and belong to no value.
    out.truncate(value + out[value..].trim_ascii_end().len());
    out.extend_from_slice(b"\r\n");
}

/// Appends the head for the client. On a 101 the switch is passed on.
pub(in crate::proxy) fn reply_head(reply: &Reply<'_>, toward: &Toward<'_>, out: &mut Vec<u8>) {
    out.reserve(reply.len + ADDED);
    status_line(reply, out);
    let switches = reply.status == 101;
    let tokens = [
        switches.then_some(&b"Upgrade"[..]),
        toward.close.then_some(&b"close"[..]),
        toward.keep_alive_10.then_some(&b"keep-alive"[..]),
    ];
    let mut connection = tokens.iter().any(Option::is_some);
    // A length stays where there is no body but could have been one.
    let body = match (toward.framing, reply.length) {
        (Framing::None, Some(length)) => Framing::Length(length),
        (framing, _) => framing,
    };
    let mut framed = matches!(body, Framing::None | Framing::Close);
    let fields = &reply.fields;
    let mut copy = Copy { head: fields.head(), from: fields.first(), out };
    for line in fields.special() {
        if line.class == Class::Upgrade && switches {
            continue;
        }
        copy.up_to(&line);
        match (line.class, body) {
            (Class::Length, Framing::Length(_)) | (Class::Coding, Framing::Chunked) if !framed => {
                framing(line.field.name, body, copy.out);
                framed = true;
            }
            (Class::Connection, _) if connection => {
                connection_line(line.field.name, tokens, copy.out);
                connection = false;
            }
            _ => {}
        }
    }
    copy.rest(fields);
    if !framed {
        framing(framing_name(body), body, out);
    }
    if let Some(date) = toward.date.filter(|_| !reply.has_date) {
        field(b"Date", date, out);
    }
    if let Some(cookie) = toward.set_cookie {
        field(b"Set-Cookie", cookie, out);
    }
    if connection {
        connection_line(b"Connection", tokens, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends an interim reply, one of 1xx but not 101, as it is passed on.
pub(in crate::proxy) fn interim_head(reply: &Reply<'_>, out: &mut Vec<u8>) {
    status_line(reply, out);
    let fields = &reply.fields;
    let mut copy = Copy { head: fields.head(), from: fields.first(), out };
    for line in fields.special() {
        copy.up_to(&line);
    }
    copy.rest(fields);
    out.extend_from_slice(b"\r\n");
}

/// HTTP/1.1, whatever the app speaks; with the space that belongs before an empty reason.
fn status_line(reply: &Reply<'_>, out: &mut Vec<u8>) {
    let digit = |by: u16| b'0' + u8::try_from(reply.status / by % 10).expect("a digit fits a byte");
    out.extend_from_slice(&[
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        b'1',
        b' ',
        digit(100),
        digit(10),
        digit(1),
    ]);
    out.push(b' ');
    out.extend_from_slice(reply.reason);
    out.extend_from_slice(b"\r\n");
}

fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    debug_assert!(name.iter().all(|&b| is_token(b)), "names are tokens");
    debug_assert!(!value.iter().any(|b| matches!(b, b'\r' | b'\n')), "a value has no line ends");
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn framing_name(framing: Framing) -> &'static [u8] {
    match framing {
        Framing::Chunked => b"Transfer-Encoding",
        Framing::Length(_) | Framing::None | Framing::Close => b"Content-Length",
    }
}

/// The one line that frames the body.
fn framing(name: &[u8], framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Chunked => field(name, b"chunked", out),
        Framing::Length(mut length) => {
            // As many digits as a length has at most.
            let mut digits = [b'0'; 20];
            let mut at = digits.len();
            while length > 0 || at == digits.len() {
                at -= 1;
                digits[at] = b'0' + u8::try_from(length % 10).expect("a digit fits a byte");
                length /= 10;
            }
            field(name, &digits[at..], out);
        }
        Framing::None | Framing::Close => {}
    }
}

fn connection_line(name: &[u8], tokens: [Option<&[u8]>; 3], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.push(b':');
    let mut separator: &[u8] = b" ";
    for token in tokens.into_iter().flatten() {
        out.extend_from_slice(separator);
        out.extend_from_slice(token);
        separator = b", ";
    }
    out.extend_from_slice(b"\r\n");
}
