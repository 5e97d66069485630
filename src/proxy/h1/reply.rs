//! A reply's head: its status line, and what its fields say about this hop.
//!
//! Owns the rules of framing of replies. It does not know what the client is told.

use crate::proxy::h1::fields::{BadFields, Class, Field, Fields, Lines};
use crate::proxy::h1::names::{Coding, Connection, coding, is, length, tokens};
use crate::proxy::h1::{Framing, HEAD_MAX, is_waiting, scan};

/// Why a reply was refused. The connection that it came on is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum BadReply {
    /// Not HTTP/1.x.
    #[error("not a status line")]
    Line,
    /// A line is not a field, or is ended otherwise than by CRLF.
    #[error("bad header field")]
    Field,
    /// Where the body ends can be read in more than one way.
    #[error("bad Content-Length or Transfer-Encoding")]
    Framing,
    /// A transfer coding other than `chunked`.
    #[error("unknown transfer coding")]
    UnknownCoding,
    #[error("head is longer than {HEAD_MAX} bytes")]
    HeadTooLong,
    #[error("too many fields")]
    TooManyFields,
}

impl From<BadFields> for BadReply {
    fn from(bad: BadFields) -> Self {
        match bad {
            BadFields::Syntax => BadReply::Field,
            BadFields::TooMany => BadReply::TooManyFields,
        }
    }
}

/// A reply's head as understood. It borrows the input. No `Debug`: heads hold secrets.
pub(in crate::proxy) struct Reply<'b> {
    /// Bytes of the input that the head takes.
    pub(in crate::proxy) len: usize,
    /// 100 to 999.
    pub(in crate::proxy) status: u16,
    pub(in crate::proxy) reason: &'b [u8],
    /// Of the body that follows: `None` with 1xx, 204, 304 and to HEAD, whatever the fields say.
    pub(in crate::proxy) framing: Framing,
    /// Another request can be sent on this connection once the body has ended.
    pub(in crate::proxy) keep_alive: bool,
    /// The `Upgrade` line of a 101.
    pub(in crate::proxy) upgrade: Option<&'b [u8]>,
    /// How long the app keeps an idle connection, where it says so.
    pub(in crate::proxy) keep_alive_timeout_s: Option<u64>,
    pub(in crate::proxy) has_retry_after: bool,
    /// The figure of that line.
    pub(super) length: Option<u64>,
    pub(super) has_date: bool,
    pub(super) fields: Fields<'b>,
}

impl<'b> Reply<'b> {
    /// Reads the head that `input` begins with; `to_head_request`: the request was a HEAD. `None` and `seen`: as with
    /// requests.
    pub(in crate::proxy) fn parse(
        input: &'b [u8],
        to_head_request: bool,
        seen: &mut usize,
    ) -> Result<Option<Self>, BadReply> {
        let input = &input[..input.len().min(HEAD_MAX)];
        if is_waiting(input, seen) {
            return Ok(None);
        }
        let Some(line) = status_line(input)? else { return partial(input) };
        let mut noted = Noted::default();
        let mut fields = Fields::new(input, line.end);
        if !fields.read(|name, value| noted.classify(name, value))? {
            return partial(input);
        }
        *seen = 0;
        Ok(Some(noted.understand(&line, fields, to_head_request)?))
    }

    /// The value of the first field of that name, which is in lower case.
    pub(in crate::proxy) fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields.get(name)
    }

    /// All fields, as received.
    pub(in crate::proxy) fn fields(&self) -> impl Iterator<Item = Field<'b>> {
        self.fields.iter()
    }

    /// Whether it switches to one protocol that `asked`, the request's `Upgrade` line, names.
    pub(in crate::proxy) fn switches_to(&self, asked: &[u8]) -> bool {
        let mut chosen = tokens(self.upgrade.unwrap_or_default());
        match (chosen.next(), chosen.next()) {
            (Some(one), None) => tokens(asked).any(|a| a.eq_ignore_ascii_case(one)),
            _ => false,
        }
    }
}

/// The head is not whole.
fn partial<T>(input: &[u8]) -> Result<Option<T>, BadReply> {
    if input.len() < HEAD_MAX { Ok(None) } else { Err(BadReply::HeadTooLong) }
}

struct StatusLine<'b> {
    minor: u8,
    status: u16,
    reason: &'b [u8],
    /// Behind its end.
    end: usize,
}

fn status_line(input: &[u8]) -> Result<Option<StatusLine<'_>>, BadReply> {
    const VERSION: &[u8] = b"HTTP/1.";
    let known = input.len().min(VERSION.len());
    if input[..known] != VERSION[..known] {
        return Err(BadReply::Line);
    }
    let at = scan::text(input);
    match &input[at..] {
        [b'\r', b'\n', ..] => {}
        [] | [b'\r'] => return Ok(None),
        _ => return Err(BadReply::Line),
    }
    let [minor @ (b'0' | b'1'), b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] =
        &input[known..at]
    else {
        return Err(BadReply::Line);
    };
    let digit = |byte: u8| u16::from(byte - b'0');
    let status = digit(*a) * 100 + digit(*b) * 10 + digit(*c);
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(BadReply::Line),
    };
    Ok(Some(StatusLine { minor: minor - b'0', status, reason, end: at + 2 }))
}

/// What the fields say, gathered while they are read.
#[derive(Default)]
struct Noted<'b> {
    lengths: Lines<'b>,
    /// Two lengths that differ.
    lengths_differ: bool,
    codings: Lines<'b>,
    upgrades: Lines<'b>,
    connection: Connection,
    keep_alive_timeout_s: Option<u64>,
    retry_after: bool,
    date: bool,
}

impl<'b> Noted<'b> {
    #[inline]
    fn classify(&mut self, name: &'b [u8], value: &'b [u8]) -> Class {
        match (name.len(), name.first().map_or(0, |b| b | 0x20)) {
            (4, b'd') if is(name, b"date") => {
                self.date = true;
                Class::Pass
            }
            (10, b'c') if is(name, b"connection") => {
                self.connection.add(value);
                Class::Connection
            }
            (14, b'c') if is(name, b"content-length") => {
                self.lengths.add(value);
                self.lengths_differ |= self.lengths.first != value;
                if self.lengths.count == 1 { Class::Length } else { Class::Drop }
            }
            (17, b't') if is(name, b"transfer-encoding") => {
                self.codings.add(value);
                Class::Coding
            }
            (7, b'u') if is(name, b"upgrade") => {
                self.upgrades.add(value);
                Class::Upgrade
            }
            (10, b'k') if is(name, b"keep-alive") => {
                self.keep_alive_timeout_s = self.keep_alive_timeout_s.or_else(|| timeout(value));
                Class::Drop
            }
            (11, b'r') if is(name, b"retry-after") => {
                self.retry_after = true;
                Class::Pass
            }
            (2, b't') if is(name, b"te") => Class::Drop,
            (16, b'p') if is(name, b"proxy-connection") => Class::Drop,
            _ => Class::Pass,
        }
    }

    fn understand(
        self,
        line: &StatusLine<'b>,
        mut fields: Fields<'b>,
        to_head_request: bool,
    ) -> Result<Reply<'b>, BadReply> {
        if self.lengths_differ {
            return Err(BadReply::Framing);
        }
        let said = match self.lengths.count {
            0 => None,
            _ => Some(length(self.lengths.first).ok_or(BadReply::Framing)?),
        };
        let said_chunked = self.is_chunked()?;
        if self.connection.nominates {
            fields.drop_nominated();
        }
        let has_none = matches!(line.status, 100..=199 | 204);
        let framing = match (said_chunked, said) {
            _ if has_none || line.status == 304 || to_head_request => Framing::None,
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Close,
        };
        // What is framed in two ways, or frames what cannot be there, or is chunked before chunks were, has an end that
        // the app may see elsewhere.
        let is_doubtful = said_chunked && (said.is_some() || line.minor == 0 || has_none)
            || has_none && said.is_some_and(|length| length > 0);
        // With chunks beside it, a length does not hold.
        let length = said.filter(|_| !said_chunked && !has_none);
        Ok(Reply {
            len: fields.len(),
            status: line.status,
            reason: line.reason,
            framing,
            keep_alive: self.connection.lasts(line.minor) && !is_doubtful && framing != Framing::Close,
            upgrade: self.upgrades.only().filter(|_| line.status == 101),
            keep_alive_timeout_s: self.keep_alive_timeout_s,
            has_retry_after: self.retry_after,
            length,
            has_date: self.date,
            fields,
        })
    }

    fn is_chunked(&self) -> Result<bool, BadReply> {
        if self.codings.count == 0 {
            return Ok(false);
        }
        match self.codings.only().map_or(Coding::Bad, coding) {
            Coding::Chunked => Ok(true),
            Coding::Unknown => Err(BadReply::UnknownCoding),
            Coding::Bad => Err(BadReply::Framing),
        }
    }
}

/// The `timeout` of a `Keep-Alive` line.
fn timeout(value: &[u8]) -> Option<u64> {
    tokens(value).find_map(|token| {
        let at = token.iter().position(|&b| b == b'=')?;
        let (name, seconds) = (token[..at].trim_ascii(), token[at + 1..].trim_ascii());
        name.eq_ignore_ascii_case(b"timeout").then(|| length(seconds))?
    })
}
