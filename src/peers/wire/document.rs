//! JSON documents: writing, reading, and what numbers and texts in them must be. It knows none of them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pack::Damaged;
use crate::peers::wire::{DOCUMENT_MAX, FIGURE_MAX};

pub(super) fn write(kind: u8, document: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![kind];
    serde_json::to_writer(&mut bytes, document).expect("documents hold only texts, numbers and truths");
    bytes
}

pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    if bytes.len() > DOCUMENT_MAX {
        return Err(Damaged("a document too long"));
    }
    serde_json::from_slice(bytes).map_err(|_| Damaged("not the document that it should be"))
}

/// A figure that can be added to others.
pub(super) fn figure(n: u64) -> Result<u64, Damaged> {
    if n <= FIGURE_MAX { Ok(n) } else { Err(Damaged("a figure beyond all bounds")) }
}

/// All 64 bits, as sixteen digits: a reader that takes numbers for floating point would lose some.
pub(super) mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(in crate::peers::wire) fn serialize<S: Serializer>(
        n: &u64,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{n:016x}"))
    }

    pub(in crate::peers::wire) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = text.len() <= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let number = fits.then(|| u64::from_str_radix(&text, 16).ok()).flatten();
        number.ok_or_else(|| de::Error::custom("no number of sixteen digits"))
    }
}
