//! HTTP/1.x as bytes: heads, framing, chunks.
//!
//! Pure: no socket, no clock, no waiting. What two parsers could read differently is refused here. A head is parsed once,
//! into spans of the input; the next hop's head is rendered from them: framing and the fields of one hop are made anew
//! from what was understood, and every other line, which has been checked byte by byte, is copied as it came. So names
//! keep their case and fields their order.
//!
//! It does not know where messages come from or go to, nor who is charged for a bad one.

mod chunked;
mod fields;
mod names;
mod render;
mod reply;
mod request;
mod scan;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(super) use crate::proxy::h1::chunked::{BadChunk, chunk_head};
pub(super) use crate::proxy::h1::chunked::{Chunks, Piece, chunk, last_chunk};
pub(super) use crate::proxy::h1::render::{Added, Toward, interim_head, reply_head, request_head};
#[cfg(test)]
pub(super) use crate::proxy::h1::reply::BadReply;
pub(super) use crate::proxy::h1::reply::Reply;
pub(super) use crate::proxy::h1::request::{BadRequest, Request};

/// The longest head that is taken, of requests and replies: a longer one is refused.
pub(super) const HEAD_MAX: usize = 64 * 1024;
/// The longest target: a longer one is refused.
pub(super) const TARGET_MAX: usize = 32 * 1024;
/// The most fields of one head or trailer section: more are refused.
pub(super) const FIELDS_MAX: usize = 100;

/// How the end of a message's body is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection; replies only.
    Close,
}

/// Whether nothing new can be known of a head since it was found to be incomplete at `seen` bytes: no line has ended.
/// So a head that comes byte by byte is read once a line, not once a byte.
fn is_waiting(input: &[u8], seen: &mut usize) -> bool {
    let new = input.get(*seen..).unwrap_or_default();
    let waits = *seen > 0 && input.len() < HEAD_MAX && !new.contains(&b'\n');
    *seen = input.len();
    waits
}
