//! Bytes on a socket, and HTTP/1.x messages in them as the harness reads them. It does not know who is at the other end.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How much of what came is kept as it came; the rest is only parsed.
const RAW_MAX: usize = 1 << 20;
/// A head longer than this is no head.
const HEAD_MAX: usize = 2 << 20;

/// The cases write a line's end as `|`.
pub(crate) fn crlf(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 16);
    for byte in text {
        match byte {
            b'|' => bytes.extend(b"\r\n"),
            other => bytes.push(*other),
        }
    }
    bytes
}

/// Bytes as a person reads them.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(400)];
    cut.escape_ascii().to_string().replace("\\r\\n", "|")
}

/// How the other end ended the connection, so far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It has said nothing for as long as anybody waits.
    Silent,
    /// It ended in order.
    Fin,
    /// It was reset.
    Reset,
}

/// A message's head.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// As it came, with the empty line.
    pub(crate) raw: Vec<u8>,
    /// The first line.
    pub(crate) line: Vec<u8>,
    /// Names and values, in order.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Head {
    fn parse(raw: &[u8]) -> Self {
        let mut lines = raw.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        let line = lines.next().unwrap_or_default().to_vec();
        let fields = lines.filter(|l| !l.is_empty()).map(|l| {
            let colon = l.iter().position(|b| *b == b':').unwrap_or(l.len());
            (l[..colon].to_vec(), l[l.len().min(colon + 1)..].trim_ascii().to_vec())
        });
        Self { raw: raw.to_vec(), line, fields: fields.collect() }
    }

    pub(crate) fn all(&self, name: &[u8]) -> Vec<&[u8]> {
        self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice()).collect()
    }

    pub(crate) fn has(&self, name: &[u8], value: &[u8]) -> bool {
        self.all(name).contains(&value)
    }

    pub(crate) fn is_chunked(&self) -> bool {
        self.all(b"transfer-encoding").last().is_some_and(|v| v.eq_ignore_ascii_case(b"chunked"))
    }

    pub(crate) fn length(&self) -> Option<usize> {
        std::str::from_utf8(self.all(b"content-length").first()?).ok()?.parse().ok()
    }

    /// The code of a reply's status line; 0 where there is none.
    pub(crate) fn status(&self) -> u16 {
        let code = self.line.split(|b| *b == b' ').nth(1).unwrap_or_default();
        std::str::from_utf8(code).ok().and_then(|c| c.parse().ok()).unwrap_or(0)
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    Close,
}

/// A body, and whether it came whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body {
    pub(crate) data: Vec<u8>,
    /// The trailer section's lines.
    pub(crate) trailers: Head,
    pub(crate) whole: bool,
}

/// One end of a connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) raw: Vec<u8>,
    pub(crate) end: Option<End>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_write_timeout(Some(patience)).unwrap();
        Self { stream, unread: Vec::new(), raw: Vec::new(), end: None }
    }

    /// Reads once; whether something came.
    pub(crate) fn more(&mut self) -> bool {
        if matches!(self.end, Some(End::Fin | End::Reset)) {
            return false;
        }
        let mut piece = [0; 64 << 10];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => self.end = Some(End::Fin),
                Ok(n) => {
                    self.end = None;
                    self.unread.extend(&piece[..n]);
                    let room = RAW_MAX.saturating_sub(self.raw.len());
                    self.raw.extend(&piece[..n.min(room)]);
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.end = Some(End::Silent);
                }
                Err(_) => self.end = Some(End::Reset),
            }
            return false;
        }
    }

    /// Everything up to the end, and how it ended.
    pub(crate) fn drain(&mut self) -> (Vec<u8>, End) {
        while self.more() {}
        (std::mem::take(&mut self.unread), self.end.unwrap_or(End::Silent))
    }

    /// The first so many bytes that come.
    pub(crate) fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.unread.len() < count {
            if !self.more() {
                return None;
            }
        }
        Some(self.unread.drain(..count).collect())
    }

    /// Up to and with `mark`.
    fn until(&mut self, mark: &[u8], max: usize) -> Option<Vec<u8>> {
        let mut from = 0;
        loop {
            let found = self.unread[from..].windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                return Some(self.unread.drain(..from + at + mark.len()).collect());
            }
            from = self.unread.len().saturating_sub(mark.len() - 1);
            if self.unread.len() > max || !self.more() {
                return None;
            }
        }
    }

    pub(crate) fn head(&mut self) -> Option<Head> {
        self.until(b"\r\n\r\n", HEAD_MAX).map(|raw| Head::parse(&raw))
    }

    pub(crate) fn body(&mut self, framing: Framing) -> Body {
        let mut body = Body::default();
        body.whole = match framing {
            Framing::Length(length) => self.counted(length, &mut body.data),
            Framing::Chunked => self.chunked(&mut body).is_some(),
            Framing::Close => {
                let (data, end) = self.drain();
                body.data = data;
                end == End::Fin
            }
        };
        body
    }

    fn counted(&mut self, length: usize, data: &mut Vec<u8>) -> bool {
        loop {
            let take = (length - data.len()).min(self.unread.len());
            data.extend(self.unread.drain(..take));
            if data.len() == length {
                return true;
            }
            if !self.more() {
                return false;
            }
        }
    }

    fn chunked(&mut self, body: &mut Body) -> Option<()> {
        loop {
            let line = self.until(b"\r\n", HEAD_MAX)?;
            let size = line[..line.len() - 2].split(|b| *b == b';').next()?;
            let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
            if size == 0 {
                break;
            }
            let mut chunk = Vec::new();
            let whole = self.counted(size, &mut chunk);
            body.data.extend(chunk);
            if !whole || self.exactly(2)? != b"\r\n" {
                return None;
            }
        }
        let mut section = b"\r\n".to_vec();
        loop {
            let line = self.until(b"\r\n", HEAD_MAX)?;
            section.extend(&line);
            if line == b"\r\n" {
                body.trailers = Head::parse(&section);
                return Some(());
            }
        }
    }

    /// Sends the bytes as they are; whether they could be sent.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    pub(crate) fn half_close(&self) {
        // A connection that is gone already has no half left to close.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Resets the connection.
    pub(crate) fn reset(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _entered = runtime.enter();
        self.stream.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(self.stream).unwrap();
        // Gone already is as good.
        let _ = stream.set_zero_linger();
    }
}
