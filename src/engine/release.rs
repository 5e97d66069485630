//! Names that must not be mixed up: a release, a replica, a record.

use std::fmt;

use crate::engine::time::Time;

/// What is running and what can be put back: image or commit, command and variables, as one fingerprint or as the
/// operator named it. 1 to 128 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(String);

impl Release {
    /// The longest name, in characters.
    pub const LEN_MAX: usize = 128;

    /// From its name; `None` when it is empty, too long, or holds anything but visible ASCII.
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty() && name.len() <= Self::LEN_MAX;
        (fits && name.bytes().all(|b| b.is_ascii_graphic())).then(|| Self(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of a record: sorts by time, is typed by people, and names the boot that made it so that two replicas never
/// make the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(String);

impl RecordId {
    /// The `seq`-th record made at `at` by the boot with this salt.
    pub fn new(at: Time, boot: u16, seq: u16) -> Self {
        Self(format!("{}{:04x}{:02x}", base36(at.as_millis()), boot, seq % 256))
    }

    /// An id that was stored before.
    pub fn from_stored(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn base36(mut n: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut out = [b'0'; 9];
    for slot in out.iter_mut().rev() {
        *slot = DIGITS[(n % 36) as usize];
        n /= 36;
    }
    out.iter().map(|&b| char::from(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_sort_by_time() {
        let a = RecordId::new(Time::from_millis(1_763_848_800_000), 1, 1);
        let b = RecordId::new(Time::from_millis(1_763_848_800_001), 0, 0);
        assert!(a < b);
        assert_eq!(a.as_str().len(), 15);
    }

    #[test]
    fn a_release_is_visible_ascii() {
        assert!(Release::new("v1.2+abc").is_some());
        assert!(Release::new("").is_none());
        assert!(Release::new("a b").is_none());
        assert!(Release::new(&"x".repeat(129)).is_none());
    }
}
