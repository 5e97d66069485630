//! The codec on any bytes, for fuzzing: what it made of them, as plain data.
//!
//! Heads are read and rendered as the data path does it. What must hold of the result is said where this is called, in
//! `fuzz/`, by rules that do not use the codec.

use crate::proxy::h1::{self, Added, Chunks, Framing, Piece, Reply, Request, Toward};

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::None,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked,
            Framing::Close => Self::Close,
        }
    }
}

/// A request's head that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Bytes of the input that it took.
    pub taken: usize,
    /// Its method.
    pub method: Vec<u8>,
    /// What the app is asked for.
    pub target: Vec<u8>,
    /// The minor version.
    pub minor: u8,
    /// What the app is sent as `Host`.
    pub host: Option<Vec<u8>>,
    /// Its body.
    pub body: Body,
    /// The head for the app.
    pub head: Vec<u8>,
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Onward {
    /// The app is asked to close.
    pub close: bool,
    /// What the data path adds where it is absent is added.
    pub adds: bool,
    /// A cookie of this name is taken out.
    pub drop_cookie: Option<&'static str>,
}

/// Reads a request's head, after having seen the first `first` bytes of it alone. `None`: more bytes are needed.
pub fn request_head(input: &[u8], first: usize, onward: Onward) -> Result<Option<Asked>, String> {
    let mut seen = 0;
    let early = Request::parse(&input[..first], &mut seen).map(|head| head.map(|head| head.len));
    let early = early.map_err(|error| error.to_string())?;
    if early.is_some() {
        seen = 0;
    }
    let request = Request::parse(input, &mut seen).map_err(|error| error.to_string())?;
    let Some(request) = request else {
        assert!(early.is_none(), "a head that was whole is no more, with bytes behind it");
        return Ok(None);
    };
    assert!(early.is_none_or(|len| len == request.len), "bytes behind a head changed where it ends");
    let text = |is_there: bool, value: &'static [u8]| (onward.adds && !is_there).then_some(value);
    let added = Added {
        request_id: text(request.has_request_id, b"0123456789abcdef"),
        forwarded_for: text(request.has_forwarded_for, b"192.0.2.1"),
        forwarded_proto: text(request.has_forwarded_proto, b"http"),
        forwarded_host: request.host.filter(|_| onward.adds && !request.has_forwarded_host),
        drop_cookie: onward.drop_cookie,
        close: onward.close,
    };
    let mut head = Vec::new();
    h1::request_head(&request, &added, request.upgrade.is_some(), &mut head);
    Ok(Some(Asked {
        taken: request.len,
        method: request.method.to_vec(),
        target: request.target.to_vec(),
        minor: request.minor,
        host: request.host.map(<[u8]>::to_vec),
        body: request.framing.into(),
        head,
    }))
}

/// A reply's head that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Bytes of the input that it took.
    pub taken: usize,
    /// Its status.
    pub status: u16,
    /// The words behind it.
    pub reason: Vec<u8>,
    /// Its body, as the app sends it.
    pub body: Body,
    /// Its body, as the client is sent it.
    pub toward: Body,
    /// The head for the client.
    pub head: Vec<u8>,
}

/// Who asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker {
    /// By HEAD.
    pub with_head: bool,
    /// In HTTP/1.0.
    pub in_10: bool,
    /// For one request only.
    pub once: bool,
    /// And is to have a cookie of ours.
    pub gets_cookie: bool,
}

/// Reads a reply's head, after having seen the first `first` bytes of it alone. `None`: more bytes are needed.
pub fn reply_head(input: &[u8], first: usize, asker: Asker) -> Result<Option<Answered>, String> {
    let mut seen = 0;
    let early =
        Reply::parse(&input[..first], asker.with_head, &mut seen).map(|head| head.map(|head| head.len));
    let early = early.map_err(|error| error.to_string())?;
    if early.is_some() {
        seen = 0;
    }
    let reply = Reply::parse(input, asker.with_head, &mut seen).map_err(|error| error.to_string())?;
    let Some(reply) = reply else {
        assert!(early.is_none(), "a head that was whole is no more, with bytes behind it");
        return Ok(None);
    };
    assert!(early.is_none_or(|len| len == reply.len), "bytes behind a head changed where it ends");
    let mut head = Vec::new();
    let framing = match reply.framing {
        Framing::Close | Framing::Chunked if asker.in_10 => Framing::Close,
        Framing::Close | Framing::Chunked => Framing::Chunked,
        known @ (Framing::None | Framing::Length(_)) => known,
    };
    if reply.status < 200 && reply.status != 101 {
        h1::interim_head(&reply, &mut head);
    } else {
        let close = asker.once || framing == Framing::Close;
        let toward = Toward {
            framing,
            close: close && reply.status != 101,
            keep_alive_10: asker.in_10 && !close && reply.status != 101,
            date: Some(b"Mon, 23 Nov 2026 01:00:00 GMT"),
            set_cookie: asker.gets_cookie.then_some(b"ours=1; Path=/"),
        };
        h1::reply_head(&reply, &toward, &mut head);
    }
    Ok(Some(Answered {
        taken: reply.len,
        status: reply.status,
        reason: reply.reason.to_vec(),
        body: reply.framing.into(),
        toward: framing.into(),
        head,
    }))
}

/// A chunked body as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unchunked {
    /// Its data.
    pub data: Vec<u8>,
    /// Its trailer section, where it has ended with one.
    pub trailers: Vec<u8>,
    /// Where in the input it ended; `None`: it goes on.
    pub end: Option<usize>,
}

/// Takes the framing off a body that comes in pieces of `sizes` bytes, over and over; with the fault, what came before
/// it. A size of zero counts as one.
pub fn unchunk(input: &[u8], sizes: &[usize]) -> (Unchunked, Option<String>) {
    let mut body = Unchunked::default();
    let mut chunks = Chunks::default();
    let mut sizes = sizes.iter().copied().chain([input.len()]).cycle();
    let (mut from, mut to) = (0, 0);
    while to < input.len() {
        to = input.len().min(to + sizes.next().unwrap_or(1).max(1));
        loop {
            match chunks.next(&input[from..to]) {
                Err(error) => return (body, Some(error.to_string())),
                Ok(Piece::More { taken }) => {
                    assert!(taken == to - from, "framing was left where more is wanted");
                    from = to;
                    break;
                }
                Ok(Piece::Data { taken, len }) => {
                    assert!(len > 0, "data of no bytes");
                    body.data.extend_from_slice(&input[from + taken..from + taken + len]);
                    from += taken + len;
                }
                Ok(Piece::End { taken }) => {
                    body.trailers = chunks.trailers().to_vec();
                    body.end = Some(from + taken);
                    return (body, None);
                }
            }
        }
    }
    (body, None)
}

/// Puts the framing on again: a chunk a piece, and what may pass of the trailer section.
pub fn chunk(pieces: &[&[u8]], trailers: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    for piece in pieces {
        h1::chunk(piece, &mut out);
    }
    h1::last_chunk(trailers, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}
