//! Bytes of our own: numbers, texts, lists and latencies one behind the other, and the squeezing of the whole.
//!
//! It knows no type of the engine but latencies, and not where the bytes go: to the store, or to another agent. Whatever
//! bytes it is given, reading ends in a value or an error, in bounded memory.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::engine::window::Latencies;

/// Bytes that are not what they should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are damaged: {0}")]
pub struct Damaged(pub(crate) &'static str);

/// The most pairs read for one sparse histogram: as many as one of our range and digits has places. More are damage.
const PAIRS_MAX: u64 = 65_536;
/// The longest text: a route's label is cut far below it. A longer one is damage.
const TEXT_MAX: u64 = 4096;

/// The first byte of packed bytes: as they are,
const PLAIN: u8 = 0;
/// or deflated, where that was shorter.
const DEFLATED: u8 = 1;

/// Writes values one behind the other.
#[derive(Default)]
pub(crate) struct Packer(Vec<u8>);

impl Packer {
    pub(crate) fn number(&mut self, n: u64) {
        put_varint(&mut self.0, n);
    }

    /// A number that may be missing takes no more room than one that is not.
    pub(crate) fn maybe(&mut self, n: Option<u64>) {
        self.0.push(u8::from(n.is_some()));
        if let Some(n) = n {
            self.number(n);
        }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn latencies(&mut self, latencies: &Latencies) {
        self.number(latencies.pairs().len() as u64);
        put_pairs(&mut self.0, latencies);
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| each(self, item));
    }

    /// As they are.
    pub(crate) fn plain(self) -> Vec<u8> {
        self.0
    }

    /// Deflated, where that is shorter.
    pub(crate) fn squeezed(self) -> Vec<u8> {
        let mut deflate = DeflateEncoder::new(vec![DEFLATED], Compression::fast());
        let deflated = deflate.write_all(&self.0).and_then(|()| deflate.finish());
        let deflated = deflated.expect("memory can always be written to");
        if deflated.len() <= self.0.len() {
            return deflated;
        }
        let mut plain = self.0;
        plain.insert(0, PLAIN);
        plain
    }
}

/// The bytes that [`Packer::squeezed`] made, at most `max` of them.
pub(crate) fn unsqueezed(bytes: &[u8], max: usize) -> Result<Vec<u8>, Damaged> {
    let (form, rest) = bytes.split_first().ok_or(Damaged("nothing is there"))?;
    let mut plain = Vec::new();
    match *form {
        PLAIN => plain.extend_from_slice(rest.get(..=max).unwrap_or(rest)),
        DEFLATED => {
            let mut inflate = DeflateDecoder::new(rest).take(max as u64 + 1);
            inflate.read_to_end(&mut plain).map_err(|_| Damaged("not deflated"))?;
        }
        _ => return Err(Damaged("an unknown form")),
    }
    if plain.len() > max { Err(Damaged("too long")) } else { Ok(plain) }
}

/// Reads values one behind the other.
pub(crate) struct Unpacker<'a>(pub(crate) &'a [u8]);

impl<'a> Unpacker<'a> {
    pub(crate) fn number(&mut self) -> Result<u64, Damaged> {
        take_varint(&mut self.0)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, Damaged> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged("neither yes nor no")),
        }
    }

    pub(crate) fn maybe(&mut self) -> Result<Option<u64>, Damaged> {
        if self.flag()? { self.number().map(Some) } else { Ok(None) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged("cut off"))?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Damaged("cut off"))?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        let bytes = self.bytes()?;
        if bytes.len() as u64 > TEXT_MAX {
            return Err(Damaged("a text too long"));
        }
        std::str::from_utf8(bytes).map_err(|_| Damaged("not a text"))
    }

    pub(crate) fn latencies(&mut self) -> Result<Latencies, Damaged> {
        let count = self.number()?;
        take_pairs(&mut self.0, |read, _| read == count)
    }

    /// A list of at most `max`.
    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        mut each: impl FnMut(&mut Self) -> Result<T, Damaged>,
    ) -> Result<Vec<T>, Damaged> {
        let count = self.number()?;
        if count > max as u64 {
            return Err(Damaged("a list too long"));
        }
        (0..count).map(|_| each(self)).collect()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), Damaged> {
        if self.0.is_empty() { Ok(()) } else { Err(Damaged("more than there should be")) }
    }
}

/// Pairs ascending: the step from the value before and the count, each as a LEB128 varint.
pub(crate) fn put_pairs(bytes: &mut Vec<u8>, latencies: &Latencies) {
    let mut before = 0;
    for &(value, count) in latencies.pairs() {
        put_varint(bytes, value - before);
        put_varint(bytes, count);
        before = value;
    }
}

/// Pairs until `is_end`, which is told how many were read and what bytes are left. What no writer of ours makes is
/// damage: values that do not ascend, counts of nothing, counts beyond all sums.
pub(crate) fn take_pairs(
    bytes: &mut &[u8],
    is_end: impl Fn(u64, &[u8]) -> bool,
) -> Result<Latencies, Damaged> {
    let mut pairs = Vec::new();
    let (mut value, mut sum) = (0_u64, 0_u64);
    while !is_end(pairs.len() as u64, bytes) {
        if pairs.len() as u64 == PAIRS_MAX {
            return Err(Damaged("too many latencies"));
        }
        let step = take_varint(bytes)?;
        let count = take_varint(bytes)?;
        if count == 0 || (step == 0 && !pairs.is_empty()) {
            return Err(Damaged("latencies out of order"));
        }
        value = value.checked_add(step).ok_or(Damaged("a latency beyond all bounds"))?;
        sum = sum.checked_add(count).ok_or(Damaged("a count beyond all bounds"))?;
        pairs.push((value, count));
    }
    Ok(Latencies::new(pairs))
}

fn put_varint(bytes: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        bytes.push(n as u8 | 0x80);
        n >>= 7;
    }
    bytes.push(n as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64, Damaged> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(Damaged("cut off"))?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            break;
        }
        n |= part << shift;
        if byte < 0x80 {
            return Ok(n);
        }
    }
    Err(Damaged("a number too large"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_squeezed_comes_back_and_no_more_than_that() {
        for text in ["", "ab", &"GET /users/{id} ".repeat(100)] {
            let mut packer = Packer::default();
            packer.text(text);
            let length = text.len() + 1 + usize::from(text.len() > 127);
            let bytes = packer.squeezed();
            let plain = unsqueezed(&bytes, length).unwrap();
            assert_eq!(Unpacker(&plain).text(), Ok(text));
            assert_eq!(unsqueezed(&bytes, length - 1), Err(Damaged("too long")));
        }
    }

    #[test]
    fn a_bomb_is_no_more_than_its_bound() {
        let mut packer = Packer::default();
        packer.bytes(&vec![0; 10_000_000]);
        let bytes = packer.squeezed();
        assert!(bytes.len() < 100_000);
        assert_eq!(unsqueezed(&bytes, 1000), Err(Damaged("too long")));
    }

    #[test]
    fn what_no_writer_makes_is_damage() {
        assert_eq!(Unpacker(&[2, 5, 1, 0, 1]).latencies(), Err(Damaged("latencies out of order")));
        assert_eq!(Unpacker(&[1, 5, 0]).latencies(), Err(Damaged("latencies out of order")));
        assert_eq!(Unpacker(&[3, 5, 1]).latencies(), Err(Damaged("cut off")));
        assert_eq!(Unpacker(&[9, b'a']).text(), Err(Damaged("cut off")));
        assert_eq!(Unpacker(&[1, 0xff]).text(), Err(Damaged("not a text")));
        assert_eq!(Unpacker(&[2]).flag(), Err(Damaged("neither yes nor no")));
        assert_eq!(Unpacker(&[9, 0]).list(8, Unpacker::number), Err(Damaged("a list too long")));
        assert_eq!(Unpacker(&[0]).end(), Err(Damaged("more than there should be")));
        assert_eq!(unsqueezed(&[7, 0], 9), Err(Damaged("an unknown form")));
        assert_eq!(unsqueezed(&[], 9), Err(Damaged("nothing is there")));
        assert_eq!(unsqueezed(&[1, 0xff, 0xff], 9), Err(Damaged("not deflated")));
    }
}
