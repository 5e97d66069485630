//! A request's head: its line, and what its fields say about this hop.
//!
//! Owns the rules of targets, hosts and framing of requests. It does not know what is added on the way to the app.

#[cfg(test)]
use crate::proxy::h1::fields::Field;
use crate::proxy::h1::fields::{BadFields, Class, Fields, Lines};
use crate::proxy::h1::names::{Coding, Connection, coding, is, is_host, is_twin, length, tokens};
use crate::proxy::h1::{Framing, HEAD_MAX, TARGET_MAX, is_waiting, scan};

/// Empty lines that are skipped before a request (RFC 9112, 2.2); one more is a bad request line.
const EMPTY_LINES_MAX: usize = 4;

/// Why a request was refused. After each of them the connection ends: where the next request begins is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum BadRequest {
    /// Not HTTP/1.x.
    #[error("not a request line")]
    Line,
    /// HTTP, but neither 1.0 nor 1.1.
    #[error("unknown version")]
    Version,
    /// Not a form of target that the method can have, or bytes that no target has.
    #[error("bad target")]
    Target,
    #[error("target is longer than {TARGET_MAX} bytes")]
    TargetTooLong,
    /// A tunnel to elsewhere was asked for.
    #[error("CONNECT is not served")]
    Connect,
    #[error("head is longer than {HEAD_MAX} bytes")]
    HeadTooLong,
    #[error("too many fields")]
    TooManyFields,
    /// A line is not a field, or is ended otherwise than by CRLF.
    #[error("bad header field")]
    Field,
    /// Not exactly one good `Host`.
    #[error("bad or missing Host")]
    Host,
    /// Where the body ends can be read in more than one way.
    #[error("bad Content-Length or Transfer-Encoding")]
    Framing,
    /// A transfer coding other than `chunked`.
    #[error("unknown transfer coding")]
    UnknownCoding,
}

impl From<BadFields> for BadRequest {
    fn from(bad: BadFields) -> Self {
        match bad {
            BadFields::Syntax => BadRequest::Field,
            BadFields::TooMany => BadRequest::TooManyFields,
        }
    }
}

/// A request's head as understood. It borrows the input. No `Debug`: heads hold secrets.
pub(in crate::proxy) struct Request<'b> {
    /// Bytes of the input that the head takes, with the empty lines before it.
    pub(in crate::proxy) len: usize,
    pub(in crate::proxy) method: &'b [u8],
    /// What the app is sent: a path with its query, or `*`. Only where an absolute target had a query and no path, it
    /// begins with the `?`, and rendering puts the `/` before it.
    pub(in crate::proxy) target: &'b [u8],
    /// 0 or 1.
    pub(in crate::proxy) minor: u8,
    /// What the app is sent as `Host`: the target's authority where there is one. `None` with HTTP/1.0 only.
    pub(in crate::proxy) host: Option<&'b [u8]>,
    /// `Length(0)` only where the client said so.
    pub(in crate::proxy) framing: Framing,
    /// The client would send another request on this connection.
    pub(in crate::proxy) keep_alive: bool,
    /// The client waits for a `100 Continue` before it sends its body.
    pub(in crate::proxy) expects_continue: bool,
    /// The `Upgrade` line of a request that may switch: a GET without a body, and not to cleartext HTTP/2, behind which
    /// nothing could be observed.
    pub(in crate::proxy) upgrade: Option<&'b [u8]>,
    /// The client takes trailers.
    pub(in crate::proxy) trailers: bool,
    pub(in crate::proxy) has_request_id: bool,
    pub(in crate::proxy) has_forwarded_for: bool,
    pub(in crate::proxy) has_forwarded_proto: bool,
    pub(in crate::proxy) has_forwarded_host: bool,
    pub(super) fields: Fields<'b>,
    /// Where the request line begins.
    pub(super) start: usize,
    /// The target was absolute.
    pub(super) is_absolute: bool,
}

impl<'b> Request<'b> {
    /// Reads the head that `input` begins with. `None`: more bytes are needed; then it is called again with the same
    /// bytes and more behind them, and the same `seen`, which is 0 at first and where it got to afterwards. A request
    /// line or a field may be refused before the whole head is there.
    pub(in crate::proxy) fn parse(input: &'b [u8], seen: &mut usize) -> Result<Option<Self>, BadRequest> {
        let input = &input[..input.len().min(HEAD_MAX)];
        if is_waiting(input, seen) {
            return Ok(None);
        }
        let Some(line) = request_line(input)? else { return partial(input) };
        let mut noted = Noted { is_absolute: line.authority.is_some(), ..Noted::default() };
        let mut fields = Fields::new(input, line.end);
        if !fields.read(|name, value| noted.classify(name, value))? {
            return partial(input);
        }
        *seen = 0;
        Ok(Some(noted.understand(line, fields)?))
    }

    /// The value of the first field of that name, which is in lower case.
    pub(in crate::proxy) fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.get(name)
    }

    /// All fields, as received.
    #[cfg(test)]
    pub(in crate::proxy) fn fields(&self) -> impl Iterator<Item = Field<'b>> {
        self.fields.iter()
    }

    /// The value of the first cookie of that name.
    pub(in crate::proxy) fn cookie(&self, name: &str) -> Option<&'b [u8]> {
        let mut pairs = self.fields.of(Class::Cookie).flat_map(|line| line.split(|&b| b == b';'));
        pairs.find_map(|pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// The target without its query.
    pub(in crate::proxy) fn path(&self) -> &'b [u8] {
        match self.target.iter().position(|&b| b == b'?') {
            Some(0) => b"/",
            Some(end) => &self.target[..end],
            None => self.target,
        }
    }
}

/// The head is not whole.
fn partial<T>(input: &[u8]) -> Result<Option<T>, BadRequest> {
    if input.len() < HEAD_MAX { Ok(None) } else { Err(BadRequest::HeadTooLong) }
}

struct RequestLine<'b> {
    start: usize,
    /// Behind its end.
    end: usize,
    method: &'b [u8],
    target: &'b [u8],
    authority: Option<&'b [u8]>,
    minor: u8,
}

fn request_line(input: &[u8]) -> Result<Option<RequestLine<'_>>, BadRequest> {
    let mut start = 0;
    while start < EMPTY_LINES_MAX * 2 {
        match &input[start..] {
            [b'\r', b'\n', ..] => start += 2,
            [] | [b'\r'] => return Ok(None),
            _ => break,
        }
    }
    let rest = &input[start..];
    let end = scan::token(rest);
    match rest.get(end) {
        Some(b' ') if end > 0 => {}
        Some(_) => return Err(BadRequest::Line),
        None => return Ok(None),
    }
    let (method, rest) = (&rest[..end], &rest[end + 1..]);
    let end = scan::target(rest);
    if end > TARGET_MAX {
        return Err(BadRequest::TargetTooLong);
    }
    match rest.get(end) {
        Some(b' ') if end > 0 => {}
        Some(b' ' | b'\r' | b'\n') => return Err(BadRequest::Line),
        Some(_) => return Err(BadRequest::Target),
        None => return Ok(None),
    }
    let (target, rest) = (&rest[..end], &rest[end + 1..]);
    let Some(minor) = version(rest)? else { return Ok(None) };
    if method == b"CONNECT" {
        return Err(BadRequest::Connect);
    }
    let end = input.len() - rest.len() + VERSION.len();
    let (authority, target) = split_target(method, target)?;
    Ok(Some(RequestLine { start, end, method, target, authority, minor }))
}

const VERSION: &[u8] = b"HTTP/1.1\r\n";

fn version(rest: &[u8]) -> Result<Option<u8>, BadRequest> {
    match rest.get(..VERSION.len()) {
        Some(b"HTTP/1.1\r\n") => Ok(Some(1)),
        Some(b"HTTP/1.0\r\n") => Ok(Some(0)),
        Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9', b'\r', b'\n']) => {
            Err(BadRequest::Version)
        }
        Some(_) => Err(BadRequest::Line),
        None if rest.contains(&b'\n') => Err(BadRequest::Line),
        None => Ok(None),
    }
}

/// The authority of an absolute target, and what the app is sent.
fn split_target<'b>(method: &[u8], target: &'b [u8]) -> Result<(Option<&'b [u8]>, &'b [u8]), BadRequest> {
    match target {
        [b'/', ..] => return Ok((None, target)),
        b"*" if method == b"OPTIONS" => return Ok((None, target)),
        _ => {}
    }
    let colon = target.iter().position(|&b| b == b':').ok_or(BadRequest::Target)?;
    let (scheme, rest) = target.split_at(colon);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    let rest = rest.strip_prefix(b"://").filter(|_| is_scheme).ok_or(BadRequest::Target)?;
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    let user_end = authority.iter().rposition(|&b| b == b'@').map_or(0, |at| at + 1);
    let host = &authority[user_end..];
    if !is_host(host) {
        return Err(BadRequest::Target);
    }
    let target = match target {
        // RFC 9112, 3.2.4.
        [] if method == b"OPTIONS" => b"*",
        [] => b"/",
        _ => target,
    };
    Ok((Some(host), target))
}

/// What the fields say, gathered while they are read.
#[derive(Default)]
struct Noted<'b> {
    is_absolute: bool,
    hosts: Lines<'b>,
    lengths: Lines<'b>,
    codings: Lines<'b>,
    upgrades: Lines<'b>,
    connection: Connection,
    expects_continue: bool,
    trailers: bool,
    request_id: bool,
    forwarded_for: bool,
    forwarded_proto: bool,
    forwarded_host: bool,
}

impl<'b> Noted<'b> {
    #[inline]
    fn classify(&mut self, name: &'b [u8], value: &'b [u8]) -> Class {
        match (name.len(), name.first().map_or(0, |b| b | 0x20)) {
            (4, b'h') if is(name, b"host") => {
                self.hosts.add(value);
                if self.is_absolute { Class::Host } else { Class::Pass }
            }
            (6, b'c') if is(name, b"cookie") => Class::Cookie,
            (10, b'c') if is(name, b"connection") => {
                self.connection.add(value);
                Class::Connection
            }
            (14, b'c') if is(name, b"content-length") => {
                self.lengths.add(value);
                Class::Length
            }
            (17, b't') if is(name, b"transfer-encoding") => {
                self.codings.add(value);
                Class::Coding
            }
            (2, b't') if is(name, b"te") => {
                self.trailers |= tokens(value).any(|t| t.eq_ignore_ascii_case(b"trailers"));
                Class::Te
            }
            (6, b'e') if is(name, b"expect") => {
                self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue");
                Class::Expect
            }
            (7, b'u') if is(name, b"upgrade") => {
                self.upgrades.add(value);
                Class::Upgrade
            }
            (10, b'k') if is(name, b"keep-alive") => Class::Drop,
            (14, b'h') if is(name, b"http2-settings") => Class::Drop,
            (16, b'p') if is(name, b"proxy-connection") => Class::Drop,
            (12, b'x') if is(name, b"x-request-id") => passed(&mut self.request_id),
            (15, b'x') if is(name, b"x-forwarded-for") => passed(&mut self.forwarded_for),
            (16, b'x') if is(name, b"x-forwarded-host") => passed(&mut self.forwarded_host),
            (17, b'x') if is(name, b"x-forwarded-proto") => passed(&mut self.forwarded_proto),
            _ if is_twin(name) => Class::Drop,
            _ => Class::Pass,
        }
    }

    fn understand(self, line: RequestLine<'b>, mut fields: Fields<'b>) -> Result<Request<'b>, BadRequest> {
        let framing = self.framing(line.minor)?;
        let host = self.host(line.minor)?;
        if self.connection.nominates {
            fields.drop_nominated();
        }
        let has_body = !matches!(framing, Framing::None | Framing::Length(0));
        let is_new = line.minor == 1;
        let may_upgrade = self.connection.upgrade && is_new && !has_body && line.method == b"GET";
        Ok(Request {
            len: fields.len(),
            method: line.method,
            target: line.target,
            minor: line.minor,
            host: line.authority.or(host),
            framing,
            keep_alive: self.connection.lasts(line.minor),
            expects_continue: self.expects_continue && is_new && has_body,
            upgrade: if may_upgrade { self.upgrade() } else { None },
            trailers: self.trailers && is_new,
            has_request_id: self.request_id,
            has_forwarded_for: self.forwarded_for,
            has_forwarded_proto: self.forwarded_proto,
            has_forwarded_host: self.forwarded_host,
            fields,
            start: line.start,
            is_absolute: self.is_absolute,
        })
    }

    fn framing(&self, minor: u8) -> Result<Framing, BadRequest> {
        match (self.lengths.count, self.codings.count) {
            (0, 0) => Ok(Framing::None),
            (1, 0) => length(self.lengths.first).map(Framing::Length).ok_or(BadRequest::Framing),
            (0, 1) if minor == 1 => match coding(self.codings.first) {
                Coding::Chunked => Ok(Framing::Chunked),
                Coding::Unknown => Err(BadRequest::UnknownCoding),
                Coding::Bad => Err(BadRequest::Framing),
            },
            _ => Err(BadRequest::Framing),
        }
    }

    fn host(&self, minor: u8) -> Result<Option<&'b [u8]>, BadRequest> {
        match self.hosts.count {
            0 if minor == 0 => Ok(None),
            1 if is_host(self.hosts.first) => Ok(Some(self.hosts.first)),
            _ => Err(BadRequest::Host),
        }
    }

    fn upgrade(&self) -> Option<&'b [u8]> {
        let line = self.upgrades.only().filter(|line| !line.is_empty())?;
        let h2c = tokens(line).any(|token| token.eq_ignore_ascii_case(b"h2c"));
        (!h2c).then_some(line)
    }
}

fn passed(noted: &mut bool) -> Class {
    *noted = true;
    Class::Pass
}
