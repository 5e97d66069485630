//! What the store keeps as bytes: sparse histograms as varint pairs, histograms of baselines as HdrHistogram V2 with
//! deflate, the wide parts of ticks and baselines, and the digests that guard them.
//!
//! It knows no database. Whatever bytes it is given, reading ends in a value or an error, in bounded memory.

pub(super) mod baseline;
pub(super) mod fact;
pub(super) mod item;

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};

use crate::engine::baseline::latency_histogram;
use crate::engine::window::Latencies;
use crate::pack;
pub(super) use crate::pack::Damaged;

/// A tick's latencies: pairs to the end.
pub(super) fn latencies_to_bytes(latencies: &Latencies) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(latencies.pairs().len() * 3);
    pack::put_pairs(&mut bytes, latencies);
    bytes
}

pub(super) fn latencies_from_bytes(mut bytes: &[u8]) -> Result<Latencies, Damaged> {
    pack::take_pairs(&mut bytes, |_, left| left.is_empty())
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
