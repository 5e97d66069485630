//! Chunked bodies: taking the framing off and putting it on (RFC 9112, 7.1).
//!
//! Sizes are hex digits and nothing else, lines end in CRLF and nothing else; extensions are dropped. It does not hold
//! data: it says where in the input the data lie.

use crate::proxy::h1::fields::{Class, Fields};
use crate::proxy::h1::names::is_trailer;
use crate::proxy::h1::scan::is_text;

/// A size has so many digits at most, which a `u64` just holds.
const DIGITS_MAX: u8 = 16;
/// All extensions of one body: more are refused, for they are bytes without end that are no data.
const EXTENSIONS_MAX: usize = 4 * 1024;
/// The trailer section: a longer one is refused.
const TRAILERS_MAX: usize = 16 * 1024;

/// Why a chunked body was refused. What follows it on the connection cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::proxy) enum BadChunk {
    #[error("bad chunk size")]
    Size,
    #[error("bad or too long chunk extensions")]
    Extension,
    #[error("chunk is longer than its size")]
    Data,
    #[error("bad trailer section")]
    Trailers,
    #[error("trailer section is longer than {TRAILERS_MAX} bytes")]
    TrailersTooLong,
}

/// What was found at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Piece {
    /// All of the input, `taken`, was framing, and more is to come.
    More {
        /// The length of the input.
        taken: usize,
    },
    /// Data, at `taken..taken + len`. `len` is not zero.
    Data {
        /// Framing before them.
        taken: usize,
        /// How many bytes.
        len: usize,
    },
    /// The body has ended; what lies behind `taken` is not its own.
    End {
        /// Framing before it.
        taken: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Behind so many digits.
    Size(u8),
    Extension,
    /// Behind the CR of a size line.
    SizeEnd,
    /// More of a chunk is to come.
    Data,
    /// Behind a chunk.
    DataEnd,
    /// Behind the CR that follows it.
    DataLineEnd,
    /// At the beginning of a line of the trailer section.
    TrailerStart,
    Trailer,
    /// Behind the CR of a trailer.
    TrailerEnd,
    /// Behind the CR of the empty line.
    LastEnd,
    Ended,
}

/// Takes the framing off one body, however its bytes are split.
pub(in crate::proxy) struct Chunks {
    phase: Phase,
    /// Bytes of the chunk that are still to come.
    left: u64,
    extensions: usize,
    trailers: Vec<u8>,
}

impl Default for Chunks {
    fn default() -> Self {
        Chunks { phase: Phase::Size(0), left: 0, extensions: 0, trailers: Vec::new() }
    }
}

impl Chunks {
    /// Looks at the front of `input`. What the answer names is then consumed, and this is called again with what
    /// follows. After an error there is no going on.
    pub(in crate::proxy) fn next(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        let mut taken = 0;
        loop {
            if self.phase == Phase::Ended {
                return Ok(Piece::End { taken });
            }
            if self.phase == Phase::Data && taken < input.len() {
                let here = input.len() - taken;
                let len = usize::try_from(self.left).map_or(here, |left| left.min(here));
                self.left -= len as u64;
                if self.left == 0 {
                    self.phase = Phase::DataEnd;
                }
                return Ok(Piece::Data { taken, len });
            }
            let Some(&byte) = input.get(taken) else { return Ok(Piece::More { taken }) };
            taken += 1;
            self.phase = self.step(byte)?;
        }
    }

    /// The trailer section, complete once the body has ended: its lines and the empty one, or nothing.
    pub(in crate::proxy) fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// The phase behind one byte of framing.
    fn step(&mut self, byte: u8) -> Result<Phase, BadChunk> {
        match (self.phase, byte) {
            (Phase::Size(digits), _) => self.size(digits, byte),
            (Phase::Extension, b'\r') => Ok(Phase::SizeEnd),
            (Phase::Extension, _) => self.extension(byte),
            (Phase::SizeEnd, b'\n') if self.left == 0 => Ok(Phase::TrailerStart),
            (Phase::SizeEnd, b'\n') => Ok(Phase::Data),
            (Phase::SizeEnd, _) => Err(BadChunk::Size),
            (Phase::DataEnd, b'\r') => Ok(Phase::DataLineEnd),
            (Phase::DataLineEnd, b'\n') => Ok(Phase::Size(0)),
            (Phase::DataEnd | Phase::DataLineEnd, _) => Err(BadChunk::Data),
            (Phase::TrailerStart, b'\r') => Ok(Phase::LastEnd),
            (Phase::LastEnd, b'\n') => self.end(),
            (Phase::TrailerStart | Phase::Trailer | Phase::TrailerEnd | Phase::LastEnd, _) => {
                self.trailer(byte)
            }
            (Phase::Data | Phase::Ended, _) => unreachable!("no byte of data or behind the end is framing"),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<Phase, BadChunk> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if digits > 0 => return Ok(Phase::SizeEnd),
            b';' if digits > 0 => return self.extension(byte),
            _ => return Err(BadChunk::Size),
        };
        if digits == DIGITS_MAX {
            return Err(BadChunk::Size);
        }
        // Only behind data, of which nothing is left then.
        self.left = self.left << 4 | u64::from(digit);
        Ok(Phase::Size(digits + 1))
    }

    fn extension(&mut self, byte: u8) -> Result<Phase, BadChunk> {
        self.extensions += 1;
        if is_text(byte) && self.extensions <= EXTENSIONS_MAX {
            Ok(Phase::Extension)
        } else {
            Err(BadChunk::Extension)
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<Phase, BadChunk> {
        let phase = match (self.phase, byte) {
            (Phase::Trailer, b'\r') => Phase::TrailerEnd,
            (Phase::TrailerEnd, b'\n') => Phase::TrailerStart,
            (Phase::TrailerStart | Phase::Trailer, byte) if !matches!(byte, b'\r' | b'\n') => Phase::Trailer,
            _ => return Err(BadChunk::Trailers),
        };
        if self.trailers.len() == TRAILERS_MAX {
            return Err(BadChunk::TrailersTooLong);
        }
        self.trailers.push(byte);
        Ok(phase)
    }

    fn end(&mut self) -> Result<Phase, BadChunk> {
        if !self.trailers.is_empty() {
            self.trailers.extend_from_slice(b"\r\n");
            parse(&self.trailers)?;
        }
        Ok(Phase::Ended)
    }
}

fn parse(trailers: &[u8]) -> Result<Fields<'_>, BadChunk> {
    let mut fields = Fields::new(trailers, 0);
    let classify = |name: &[u8], _: &[u8]| if is_trailer(name) { Class::Pass } else { Class::Drop };
    match fields.read(classify) {
        Ok(true) if fields.len() == trailers.len() => Ok(fields),
        _ => Err(BadChunk::Trailers),
    }
}

/// Appends the line before a chunk of `len` bytes, which is not zero; CRLF follows the bytes.
pub(in crate::proxy) fn chunk_head(len: usize, out: &mut Vec<u8>) {
    debug_assert!(len > 0, "a chunk of no bytes would end the body");
    let digits = (len.max(1).ilog2() / 4) as usize + 1;
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (place * 4) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk; nothing for no data, for a chunk of no bytes would end the body.
pub(in crate::proxy) fn chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    chunk_head(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk with what may pass of `trailers`, a section as [`Chunks::trailers`] gives it. On an error
/// nothing is appended.
pub(in crate::proxy) fn last_chunk(trailers: &[u8], out: &mut Vec<u8>) -> Result<(), BadChunk> {
    if trailers.is_empty() {
        out.extend_from_slice(b"0\r\n\r\n");
        return Ok(());
    }
    let fields = parse(trailers)?;
    out.extend_from_slice(b"0\r\n");
    let mut from = 0;
    for line in fields.special() {
        out.extend_from_slice(&trailers[from..line.start]);
        from = line.end;
    }
    out.extend_from_slice(&trailers[from..]);
    Ok(())
}
