//! HdrHistogram's V2 format, read straight into pairs.
//!
//! Not by the `hdrhistogram` crate, whose reader believes a length of up to 4 GiB that stands in the bytes and makes a
//! dense histogram of every line: here the bytes come from anywhere, and a day has 17,280 lines. A test holds the two
//! against each other.
//!
//! The form: 40 bytes of head, then the counts from the lowest value on as ZigZag LEB128 numbers of at most 9 bytes, where a
//! negative number stands for as many empty places. Compressed, all of it is a zlib stream behind a head of its own.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use flate2::read::ZlibDecoder;

/// The most bytes that are unpacked; more are a fault. A histogram of an hour in microseconds with three digits, each
/// place taken, has a tenth of it.
const UNPACKED_MAX: usize = 1 << 20;
/// The most pairs of one line, in either form; more are a fault.
pub(super) const PAIRS_MAX: usize = 65_536;

/// The first bytes, without the size of a word that some writers note in the second-last place.
const PLAIN: u32 = 0x1c84_9303;
const COMPRESSED: u32 = 0x1c84_9304;
const WORD_SIZE: u32 = 0xf0;
/// Bytes before the counts: first bytes, length, offset, digits, lowest, highest, ratio.
const HEAD: usize = 4 + 4 + 4 + 4 + 8 + 8 + 8;
/// Digits that the format knows.
const DIGITS_MAX: u32 = 5;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What is wrong, and what would be right.
type Wrong = &'static str;

const CUT: Wrong = "ends too early; give the whole histogram";
const BEYOND: Wrong = "holds a value beyond all bounds; give latencies in microseconds";

/// Microseconds and counts, ascending, of a histogram as base64 text. A value is the highest of its place, as quantiles
/// of HdrHistogram are told.
pub(super) fn from_base64(text: &str) -> Result<Vec<(u64, u64)>, Wrong> {
    let bytes = BASE64.decode(text).map_err(|_| "is not base64; use the standard alphabet")?;
    from_bytes(&bytes)
}

fn from_bytes(bytes: &[u8]) -> Result<Vec<(u64, u64)>, Wrong> {
    let (cookie, rest) = take_u32(bytes)?;
    match cookie & !WORD_SIZE {
        PLAIN => plain(bytes),
        COMPRESSED => {
            let (length, rest) = take_u32(rest)?;
            let packed = rest.get(..length as usize).ok_or(CUT)?;
            let mut unpacked = Vec::new();
            let mut decoder = ZlibDecoder::new(packed).take(UNPACKED_MAX as u64 + 1);
            decoder.read_to_end(&mut unpacked).map_err(|_| "is no zlib stream inside; is it damaged?")?;
            if unpacked.len() > UNPACKED_MAX {
                return Err("unpacks to more than 1 MiB; use fewer significant digits");
            }
            plain(&unpacked)
        }
        _ => Err("is no HdrHistogram of version 2; encode it as V2, compressed"),
    }
}

fn plain(bytes: &[u8]) -> Result<Vec<(u64, u64)>, Wrong> {
    let (cookie, rest) = take_u32(bytes)?;
    if cookie & !WORD_SIZE != PLAIN {
        return Err("is no HdrHistogram of version 2; encode it as V2, compressed");
    }
    let (length, rest) = take_u32(rest)?;
    let (offset, rest) = take_u32(rest)?;
    let (digits, rest) = take_u32(rest)?;
    let (lowest, rest) = take_u64(rest)?;
    let (_, rest) = take_u64(rest)?;
    let (ratio, _) = take_u64(rest)?;
    if offset != 0 || f64::from_bits(ratio) != 1.0 {
        return Err("is shifted or scaled; give a histogram of whole microseconds");
    }
    if digits > DIGITS_MAX || lowest == 0 {
        return Err("has digits or a lowest value that no histogram has; is it damaged?");
    }
    let counts = bytes.get(HEAD..).and_then(|rest| rest.get(..length as usize)).ok_or(CUT)?;
    pairs(counts, &Places::new(digits, lowest))
}

fn pairs(mut counts: &[u8], places: &Places) -> Result<Vec<(u64, u64)>, Wrong> {
    let mut pairs = Vec::new();
    let mut place = 0_u64;
    while !counts.is_empty() {
        let number = take_zig_zag(&mut counts)?;
        let Ok(count) = u64::try_from(number) else {
            place = place.checked_add(number.unsigned_abs()).ok_or(BEYOND)?;
            continue;
        };
        if count > 0 {
            if pairs.len() == PAIRS_MAX {
                return Err("holds more than 65,536 different values; use fewer significant digits");
            }
            pairs.push((places.highest(place).ok_or(BEYOND)?, count));
        }
        place = place.checked_add(1).ok_or(BEYOND)?;
    }
    Ok(pairs)
}

/// Which values stand at which place: twice as wide with each doubling, halved once.
struct Places {
    half_bits: u32,
    unit_bits: u32,
}

impl Places {
    fn new(digits: u32, lowest: u64) -> Self {
        // As many places as hold two values of so many digits apart, rounded up to a power of two; half of them.
        let places = (2 * 10_u64.pow(digits)).next_power_of_two();
        Self { half_bits: places.trailing_zeros() - 1, unit_bits: lowest.ilog2() }
    }

    /// The highest value at a place; `None` beyond 64 bits.
    fn highest(&self, place: u64) -> Option<u64> {
        let half = 1_u64 << self.half_bits;
        let (wide, within) = (place >> self.half_bits, place & (half - 1));
        let (doublings, within) = if wide == 0 { (0, within) } else { (wide - 1, within + half) };
        let shift = u32::try_from(doublings).ok()?.checked_add(self.unit_bits)?;
        let end = u128::from(within + 1).checked_shl(shift).filter(|_| shift < u64::BITS)?;
        u64::try_from(end - 1).ok()
    }
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), Wrong> {
    let (head, rest) = bytes.split_first_chunk::<4>().ok_or(CUT)?;
    Ok((u32::from_be_bytes(*head), rest))
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), Wrong> {
    let (head, rest) = bytes.split_first_chunk::<8>().ok_or(CUT)?;
    Ok((u64::from_be_bytes(*head), rest))
}

/// A LEB128 number of at most 9 bytes, the ninth whole, with its sign in the lowest bit.
fn take_zig_zag(bytes: &mut &[u8]) -> Result<i64, Wrong> {
    let mut number = 0_u64;
    for shift in (0..=56).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(CUT)?;
        *bytes = rest;
        let is_last = shift == 56 || byte < 0x80;
        let part = if shift == 56 { byte } else { byte & 0x7f };
        number |= u64::from(part) << shift;
        if is_last {
            break;
        }
    }
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::{Serializer as _, V2DeflateSerializer, V2Serializer};
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    fn pairs_of(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
        histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect()
    }

    proptest! {
        #[test]
        fn what_the_crate_wrote_is_read(
            values in prop::collection::vec((0..64_u32, any::<u64>(), 1..1_000_000_u64), 0..200),
            digits in 0..=5_u8,
            lowest in 1..100_000_u64,
        ) {
            let highest = u64::MAX >> 3;
            let mut histogram = Histogram::new_with_bounds(lowest, highest, digits).unwrap();
            for (bits, value, count) in values {
                histogram.record_n((value >> bits).min(highest), count).unwrap();
            }
            let (mut plain, mut packed) = (Vec::new(), Vec::new());
            V2Serializer::new().serialize(&histogram, &mut plain).unwrap();
            V2DeflateSerializer::new().serialize(&histogram, &mut packed).unwrap();
            // iter_recorded visits up to the highest value, whose own place it tells as the recorded maximum's.
            assert_eq!(from_bytes(&plain), Ok(pairs_of(&histogram)));
            assert_eq!(from_bytes(&packed), Ok(pairs_of(&histogram)));
        }

        #[test]
        fn any_bytes_end_in_pairs_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3_u32) {
            let head: &[u8] = match kind {
                0 => &[],
                1 => &[0x1c, 0x84, 0x93, 0x13, 0, 0, 0, 150, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1],
                _ => &[0x1c, 0x84, 0x93, 0x14, 0, 0, 0, 150, 0x78, 0x9c],
            };
            let _ = from_bytes(&[head, &bytes].concat());
        }

        #[test]
        fn any_text_ends_in_pairs_or_a_fault(text in ".{0,200}") {
            let _ = from_base64(&text);
        }
    }

    /// The first interval of the log that HdrHistogram's own Java tests read: 2.769 ms at most, in nanoseconds.
    const JAVA: &str = "HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI=";

    #[test]
    fn what_java_wrote_is_read_with_and_without_padding() {
        let pairs = from_base64(JAVA).unwrap();
        assert_eq!(pairs.last().map(|&(value, _)| value), Some(2_768_895));
        assert_eq!(from_base64(JAVA.trim_end_matches('=')), Ok(pairs));
    }

    #[test]
    fn a_fault_says_what_is_wrong() {
        let mut bomb = Vec::new();
        let zeros = vec![0_u8; UNPACKED_MAX + 1];
        std::io::Read::read_to_end(
            &mut flate2::read::ZlibEncoder::new(&zeros[..], flate2::Compression::best()),
            &mut bomb,
        )
        .unwrap();
        let bomb = [&COMPRESSED.to_be_bytes()[..], &(bomb.len() as u32).to_be_bytes(), &bomb].concat();
        assert!(from_bytes(&bomb).unwrap_err().contains("1 MiB"));
        assert!(from_base64("*").unwrap_err().contains("base64"));
        assert_eq!(from_base64("HISTFAAAAEV42pNp"), Err(CUT));
        assert!(from_base64("AAAAAAAAAAA").unwrap_err().contains("version 2"));
        // A length that the bytes do not have is refused before it is believed.
        let mut long = vec![0_u8; HEAD];
        long[..4].copy_from_slice(&PLAIN.to_be_bytes());
        long[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
        long[15] = 3;
        long[23] = 1;
        long[32..40].copy_from_slice(&1_f64.to_be_bytes());
        assert_eq!(from_bytes(&long), Err(CUT));
    }
}
