//! Bytes between two sockets, and the worker's store of buffers for them.
//!
//! A connection holds a buffer only while bytes lie in it: an idle one costs none. No buffer grows with a body, only
//! with a head, up to the longest one that is taken.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use crate::proxy::h1::HEAD_MAX;

/// A buffer's first size: most heads and many bodies fit.
const SMALL: usize = 16 * 1024;
/// The size for bodies that fill the small one, and for the longest head.
const LARGE: usize = HEAD_MAX;
/// How many small buffers and texts a worker keeps for the next connection; beyond the bound they are freed.
const KEPT_MAX: usize = 64;

/// Bytes that were read and not yet consumed.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read took all the room there was, so that more is likely to follow.
    brimmed: bool,
}

impl Buffer {
    /// What is there.
    pub(super) fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Whether nothing is there.
    pub(super) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Whether it has room of its own.
    pub(super) const fn is_lent(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Whether nothing more can be read before something is consumed.
    pub(super) const fn is_full(&self) -> bool {
        self.start == 0 && self.end == LARGE
    }

    /// Forgets the first `n` bytes.
    pub(super) fn consume(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.end, "only what is there is consumed");
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Makes room for a long body, where the last read suggests one.
    pub(super) fn expect_more(&mut self) {
        if self.brimmed && self.is_empty() {
            self.enlarge();
        }
    }

    /// Whether it is of the larger size, which is not handed back at each wait.
    pub(super) const fn is_large(&self) -> bool {
        self.bytes.len() == LARGE
    }

    fn enlarge(&mut self) {
        if self.bytes.len() < LARGE {
            self.bytes.resize(LARGE, 0);
        }
    }

    /// Whether the next read would need more room than there is.
    pub(super) const fn is_to_the_brim(&self) -> bool {
        self.end == self.bytes.len()
    }

    /// The room for the next read; moves what is there to the front where that makes some.
    fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = vec![0; SMALL];
        }
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.enlarge();
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Reads once. `Ok(0)`: the other side has ended, or there is no room.
    pub(super) fn poll_fill(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let mut room = ReadBuf::new(self.room());
        ready!(Pin::new(reader).poll_read(cx, &mut room))?;
        let read = room.filled().len();
        self.end += read;
        self.brimmed = self.end == self.bytes.len();
        Poll::Ready(Ok(read))
    }
}

/// One worker's spare buffers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    buffers: RefCell<Vec<Buffer>>,
    texts: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer.
    pub(super) fn buffer(&self) -> Buffer {
        let spare = self.buffers.borrow_mut().pop();
        spare.unwrap_or_else(|| Buffer { bytes: vec![0; SMALL], ..Buffer::default() })
    }

    /// Takes a buffer back; what is in it is forgotten.
    pub(super) fn give(&self, mut buffer: Buffer) {
        let mut kept = self.buffers.borrow_mut();
        if buffer.bytes.len() == SMALL && kept.len() < KEPT_MAX {
            (buffer.start, buffer.end, buffer.brimmed) = (0, 0, false);
            kept.push(buffer);
        }
    }

    /// An empty text to write into.
    pub(super) fn text(&self) -> Vec<u8> {
        self.texts.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a text back.
    pub(super) fn give_text(&self, mut text: Vec<u8>) {
        let mut kept = self.texts.borrow_mut();
        if (1..=SMALL).contains(&text.capacity()) && kept.len() < KEPT_MAX {
            text.clear();
            kept.push(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(buffer: &mut Buffer, mut bytes: &[u8]) -> usize {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match buffer.poll_fill(&mut bytes, &mut cx) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) | Poll::Pending => unreachable!("a slice is always ready"),
        }
    }

    #[test]
    fn what_was_read_stays_until_it_is_consumed_and_room_is_found_again() {
        let mut buffer = Buffer::default();
        assert_eq!(fill(&mut buffer, &[1; 10_000]), 10_000);
        assert_eq!(fill(&mut buffer, &[2; 10_000]), SMALL - 10_000);
        assert!(buffer.is_to_the_brim());
        buffer.consume(9_999);
        assert_eq!(fill(&mut buffer, &[3; 10_000]), 9_999);
        assert_eq!((buffer.data()[0], buffer.data()[1], buffer.data().len()), (1, 2, SMALL));
    }

    #[test]
    fn a_buffer_grows_to_the_longest_head_and_no_further() {
        let mut buffer = Buffer::default();
        while fill(&mut buffer, &[0; 100_000]) > 0 {}
        assert!(buffer.is_full());
        assert_eq!(buffer.data().len(), HEAD_MAX);
    }

    #[test]
    fn only_small_buffers_are_kept_and_they_come_back_empty() {
        let store = Buffers::default();
        let mut buffer = store.buffer();
        fill(&mut buffer, b"secret of another client");
        store.give(buffer);
        assert!(store.buffer().is_empty());
        let mut large = store.buffer();
        large.enlarge();
        store.give(large);
        assert!(store.buffers.borrow().is_empty());
    }
}
