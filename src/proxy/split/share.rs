//! Shares, and the line on which clients stand.
//!
//! The hash is XXH3 of 64 bits with the salt as its seed: unlike FNV, each bit of a key moves every bit of the point, so
//! that running numbers are spread evenly. Its values are the same on every platform; tests hold them.

use twox_hash::XxHash3_64;

/// Parts of the whole.
const PPM: u32 = 1_000_000;

/// A share of the requests or of the clients, in millionths: exact at nothing and at everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    ppm: u32,
    /// Points below are in. Not looked at for everything, which no threshold can say.
    threshold: u64,
}

impl Share {
    /// Nothing at all.
    pub const NONE: Self = Self { ppm: 0, threshold: 0 };
    /// Everything.
    pub const ALL: Self = Self { ppm: PPM, threshold: u64::MAX };

    /// So many millionths; `None` above the whole.
    pub const fn of_ppm(ppm: u32) -> Option<Self> {
        match ppm {
            0 => Some(Self::NONE),
            PPM => Some(Self::ALL),
            #[expect(clippy::as_conversions, reason = "`u64::from` is not const; the quotient is below 2^64")]
            1..PPM => Some(Self { ppm, threshold: (((ppm as u128) << 64) / PPM as u128) as u64 }),
            _ => None,
        }
    }

    /// So many percent, to the next millionth, but never to nothing or everything; `None` if that is no share.
    pub fn of_percent(percent: f64) -> Option<Self> {
        if !(0.0..=100.0).contains(&percent) {
            return None;
        }
        if percent == 0.0 || percent == 100.0 {
            return Some(if percent == 0.0 { Self::NONE } else { Self::ALL });
        }
        #[expect(clippy::as_conversions, reason = "between 0 and a million")]
        let ppm = (percent * f64::from(PPM / 100)).round() as u32;
        Self::of_ppm(ppm.clamp(1, PPM - 1))
    }

    /// In millionths.
    pub const fn ppm(self) -> u32 {
        self.ppm
    }

    /// Whether a point is in.
    pub(super) fn holds(self, point: u64) -> bool {
        self == Self::ALL || point < self.threshold
    }

    /// The share as a part of 2^64; of [`Share::ALL`] a little less.
    pub(super) fn threshold(self) -> u64 {
        self.threshold
    }
}

/// Where `key` stands in the rollout with this salt.
pub(super) fn point(salt: u64, key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(salt, key)
}
