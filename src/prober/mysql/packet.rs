//! The bytes of MySQL's protocol: what is in a packet, and nothing of where it comes from or goes to.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Columns of an answer that are read; a server that sends more is not understood.
const COLUMNS_MAX: u64 = 256;

/// What a client may say of itself. Further flags exist; none is needed.
pub(super) mod can {
    pub(in crate::prober::mysql) const LONG_PASSWORD: u32 = 1;
    pub(in crate::prober::mysql) const CONNECT_WITH_DATABASE: u32 = 1 << 3;
    pub(in crate::prober::mysql) const PROTOCOL_41: u32 = 1 << 9;
    pub(in crate::prober::mysql) const TLS: u32 = 1 << 11;
    pub(in crate::prober::mysql) const TRANSACTIONS: u32 = 1 << 13;
    pub(in crate::prober::mysql) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(in crate::prober::mysql) const PLUGIN_AUTH: u32 = 1 << 19;
}

/// The character set that we ask for: utf8mb4.
const UTF8MB4: u8 = 45;

/// Reads a packet from its front; every part is `None` where the packet ends before.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn number(&mut self, len: usize) -> Option<u64> {
        Some(self.take(len)?.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
    }

    /// Up to a zero, or to the end where there is none.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = end.map_or(&[], |end| &self.0[end + 1..]);
        text
    }

    /// A number of as many bytes as its first one says.
    pub(super) fn length(&mut self) -> Option<u64> {
        match self.byte()? {
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            0xfb | 0xff => None,
            small => Some(u64::from(small)),
        }
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let len = self.length()?;
        self.take(usize::try_from(len).ok()?)
    }
}

/// What a server says first.
#[derive(Debug, PartialEq)]
pub(super) struct Greeting {
    pub(super) version: String,
    pub(super) abilities: u32,
    pub(super) nonce: Vec<u8>,
    pub(super) plugin: String,
}

impl Greeting {
    /// Reads the tenth version of the protocol, which is the only one in use.
    pub(super) fn read(packet: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(packet);
        if bytes.byte()? != 10 {
            return None;
        }
        let version = String::from_utf8_lossy(bytes.text()).into_owned();
        bytes.take(4)?;
        let mut nonce = bytes.take(8)?.to_vec();
        bytes.take(1)?;
        let low = bytes.number(2)? as u32;
        bytes.take(3)?;
        let abilities = low | (bytes.number(2)? as u32) << 16;
        let len = usize::from(bytes.byte()?);
        bytes.take(10)?;
        nonce.extend_from_slice(bytes.take(len.saturating_sub(8).max(13).min(bytes.0.len()))?);
        nonce.truncate(20);
        let plugin = String::from_utf8_lossy(bytes.text()).into_owned();
        // MariaDB hides its version behind one that old replicas of MySQL believe.
        let version = version.strip_prefix("5.5.5-").map_or(version.clone(), str::to_owned);
        Some(Self { version, abilities, nonce, plugin })
    }
}

/// Asks for TLS; the same opens the login.
pub(super) fn hello(abilities: u32, packet_max: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(128);
    packet.extend_from_slice(&abilities.to_le_bytes());
    packet.extend_from_slice(&packet_max.to_le_bytes());
    packet.push(UTF8MB4);
    packet.resize(32, 0);
    packet
}

/// Says who we are. `proof` is at most 32 bytes.
pub(super) fn login(mut packet: Vec<u8>, user: &str, proof: &[u8], database: &str, plugin: &str) -> Vec<u8> {
    packet.extend_from_slice(user.as_bytes());
    packet.push(0);
    packet.push(u8::try_from(proof.len()).expect("a digest is short"));
    packet.extend_from_slice(proof);
    for text in [database, plugin] {
        if !text.is_empty() {
            packet.extend_from_slice(text.as_bytes());
            packet.push(0);
        }
    }
    packet
}

/// Proves that we know a password without telling it: `mysql_native_password`.
pub(super) fn prove_native(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password);
    let mask = Sha1::new().chain_update(nonce).chain_update(Sha1::digest(once)).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// The same as `caching_sha2_password` does it.
pub(super) fn prove_sha2(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha256::digest(password);
    let mask = Sha256::new().chain_update(Sha256::digest(once)).chain_update(nonce).finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// An error as the server's own client would print it.
pub(super) fn error(packet: &[u8]) -> Option<String> {
    let mut bytes = Bytes(packet);
    if bytes.byte()? != 0xff {
        return None;
    }
    let code = bytes.number(2)?;
    // Before it knows what we can, a server may leave the state out.
    let state = match bytes.0.first() {
        Some(b'#') => String::from_utf8_lossy(&bytes.take(6)?[1..]).into_owned(),
        _ => String::new(),
    };
    let text = String::from_utf8_lossy(bytes.0);
    Some(if state.is_empty() {
        format!("ERROR {code}: {text}")
    } else {
        format!("ERROR {code} ({state}): {text}")
    })
}

/// How many columns an answer has; `None` where it is no such answer.
pub(super) fn columns(packet: &[u8]) -> Option<usize> {
    let count = Bytes(packet).length().filter(|count| (1..=COLUMNS_MAX).contains(count))?;
    usize::try_from(count).ok()
}

/// A column's name.
pub(super) fn column(packet: &[u8]) -> Option<String> {
    let mut bytes = Bytes(packet);
    // Catalogue, schema, table and the table's own name come before.
    for _ in 0..4 {
        bytes.counted()?;
    }
    Some(String::from_utf8_lossy(bytes.counted()?).into_owned())
}

/// A row as text; `None` where a value is NULL.
pub(super) fn row(packet: &[u8], columns: usize) -> Option<Vec<Option<String>>> {
    let mut bytes = Bytes(packet);
    let mut value = || match bytes.0.first() {
        Some(0xfb) => {
            bytes.take(1)?;
            Some(None)
        }
        _ => Some(Some(String::from_utf8_lossy(bytes.counted()?).into_owned())),
    };
    (0..columns).map(|_| value()).collect()
}

/// Whether a packet ends columns or rows.
pub(super) fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_greeting_is_read() {
        let mut packet = vec![10];
        packet.extend_from_slice(b"5.5.5-10.11.19-MariaDB\0");
        packet.extend_from_slice(&[1, 0, 0, 0]);
        packet.extend_from_slice(b"abcdefgh\0");
        packet.extend_from_slice(&[0xfe, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"ijklmnopqrst\0mysql_native_password\0");
        let greeting = Greeting::read(&packet).expect("it is one");
        assert_eq!(greeting.version, "10.11.19-MariaDB");
        assert_eq!(greeting.nonce, b"abcdefghijklmnopqrst");
        assert_eq!(greeting.plugin, "mysql_native_password");
        assert_eq!(greeting.abilities, 0x81ff_f7fe);
        assert_eq!(greeting.abilities & can::TLS, 0);
        assert_ne!(greeting.abilities & can::PLUGIN_AUTH, 0);
        for end in 0..packet.len() - 40 {
            assert_eq!(Greeting::read(&packet[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn an_error_is_as_the_client_prints_it() {
        assert_eq!(
            error(b"\xff\x10\x04#08004Too many connections").as_deref(),
            Some("ERROR 1040 (08004): Too many connections")
        );
        assert_eq!(
            error(b"\xff\x10\x04Too many connections").as_deref(),
            Some("ERROR 1040: Too many connections")
        );
        assert_eq!(error(b"\x00"), None);
    }

    #[test]
    fn rows_hold_text_or_nothing() {
        assert_eq!(row(b"\x01a\xfb\x00", 3), Some(vec![Some("a".to_owned()), None, Some(String::new())]));
        assert_eq!(row(b"\x05a", 1), None, "it ends early");
        assert_eq!(column(b"\x03def\x00\x00\x00\x02ab\x00"), Some("ab".to_owned()));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_a_panic(packet in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Greeting::read(&packet), error(&packet), columns(&packet), column(&packet), row(&packet, 3));
        }
    }
}
