//! Latencies as bytes: sparse histograms of ticks as varint pairs, histograms of baselines as HdrHistogram V2 with
//! deflate, and the digest that guards a baseline.
//!
//! It knows no database. Whatever bytes it is given, reading ends in a value or an error, in bounded memory.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use sha2::{Digest as _, Sha256};

use crate::engine::baseline::{Baseline, latency_histogram};
use crate::engine::window::Latencies;

/// Bytes that are not what they should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored bytes are damaged: {0}")]
pub(super) struct Damaged(pub(super) &'static str);

/// The most pairs read from one tick's bytes: as many as a histogram of our range and digits has places. More are
/// damage.
const PAIRS_MAX: usize = 65_536;

/// Pairs ascending: the step from the value before and the count, each as a LEB128 varint.
pub(super) fn latencies_to_bytes(latencies: &Latencies) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(latencies.pairs().len() * 3);
    let mut before = 0;
    for &(value, count) in latencies.pairs() {
        put_varint(&mut bytes, value - before);
        put_varint(&mut bytes, count);
        before = value;
    }
    bytes
}

pub(super) fn latencies_from_bytes(mut bytes: &[u8]) -> Result<Latencies, Damaged> {
    let mut pairs = Vec::new();
    let mut value = 0_u64;
    while !bytes.is_empty() {
        if pairs.len() == PAIRS_MAX {
            return Err(Damaged("too many latencies"));
        }
        let step = take_varint(&mut bytes)?;
        value = value.checked_add(step).ok_or(Damaged("a latency beyond all bounds"))?;
        pairs.push((value, take_varint(&mut bytes)?));
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

pub(super) fn histogram_to_bytes(histogram: &Histogram<u64>) -> Vec<u8> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a histogram of 64-bit counts within our bounds is written to memory");
    bytes
}

/// Only for bytes whose digest was right: the format itself does not bound what it unpacks.
pub(super) fn histogram_from_bytes(mut bytes: &[u8]) -> Result<Histogram<u64>, Damaged> {
    let stored: Histogram<u64> =
        Deserializer::new().deserialize(&mut bytes).map_err(|_| Damaged("not a histogram"))?;
    // Added to one of ours, so that its bounds and digits are ours whatever a former version wrote.
    let mut histogram = latency_histogram();
    histogram.add(&stored).map_err(|_| Damaged("a latency beyond our range"))?;
    Ok(histogram)
}

/// The SHA-256 over everything that a baseline says, its latencies in their stored form.
pub(super) fn baseline_digest(baseline: &Baseline, latency: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    put(baseline.release.as_str().as_bytes());
    for n in [baseline.from.as_millis(), baseline.to.as_millis(), baseline.judged, baseline.failed] {
        put(&n.to_be_bytes());
    }
    for &(ppm, ticks) in &baseline.ticks_by_failed_ppm {
        put(&ppm.to_be_bytes());
        put(&ticks.to_be_bytes());
    }
    put(latency);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    proptest! {
        #[test]
        fn latencies_come_back(pairs in prop::collection::vec((any::<u64>(), 1..1_000_000_u64), 0..300)) {
            let latencies = Latencies::new(pairs);
            assert_eq!(latencies_from_bytes(&latencies_to_bytes(&latencies)), Ok(latencies));
        }

        #[test]
        fn any_bytes_end_in_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = latencies_from_bytes(&bytes);
        }

        #[test]
        fn a_histogram_comes_back(values in prop::collection::vec((any::<u64>(), 1..1_000_u64), 0..300)) {
            let mut histogram = latency_histogram();
            for (value, count) in values {
                histogram.saturating_record_n(value, count);
            }
            assert_eq!(histogram_from_bytes(&histogram_to_bytes(&histogram)), Ok(histogram));
        }
    }

    #[test]
    fn cut_and_oversized_numbers_are_damage() {
        let bytes = latencies_to_bytes(&Latencies::new(vec![(1_000_000, 7)]));
        assert_eq!(latencies_from_bytes(&bytes[..bytes.len() - 1]), Err(Damaged("cut off")));
        assert_eq!(latencies_from_bytes(&[0xff; 10]), Err(Damaged("a number too large")));
        assert_eq!(histogram_from_bytes(&[1, 2, 3, 4, 5]), Err(Damaged("not a histogram")));
    }
}
