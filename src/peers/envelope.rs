//! The sealed form of everything that agents send one another: who, to whom, in which order, and the proof that the sender
//! has the key.
//!
//! It is pure: no socket, no clock. It knows nothing of what is inside.
//!
//! ```text
//! version   1  the form of the body; 0 in a handshake
//! key       4  which key sealed it
//! to        8  the boot that it is for; 0: whoever accepts the connection (only the first frame of a handshake)
//! boot      8  the sender's
//! sequence  8  rises with each envelope from this sender to this recipient; 0 where there is no recipient
//! name      2  the length of the sender's name
//!           n  it
//! body      m
//! tag      32  HMAC-SHA-256 of all before it
//! ```
//!
//! The key is derived from the shared one and from the scope (project, environment, service), so what another service
//! sealed with the same shared key does not open here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ring::{hkdf, hmac};

use crate::config::Secret;
use crate::engine::peer::{Boot, Peer};

/// The oldest form of bodies that is understood.
pub const VERSION_LOWEST: u8 = 1;
/// The newest one. Raised when a body of this version would be misread by an agent that knows only the one before.
pub const VERSION_HIGHEST: u8 = 1;
/// The version of what is said before a version is agreed on. Its form never changes.
pub const HANDSHAKE: u8 = 0;

/// Keys that are valid at once: more are not looked at.
pub const KEYS_MAX: usize = 2;
/// The longest name of a replica, in bytes: 128 characters at their longest.
const NAME_MAX: usize = 512;
/// Bytes before the name.
const HEAD: usize = 1 + 4 + 8 + 8 + 8 + 2;
/// Bytes of the tag.
const TAG: usize = 32;
/// Recipients whose sequences are known, and senders whose windows are. At the bound the one that was met first is
/// forgotten; a recipient's sequence then goes on above all that were forgotten.
const REMEMBERED_MAX: usize = 1024;
/// How far behind the newest an envelope may come: links of one pair may overtake one another.
const WINDOW: u64 = 64;

/// Why something that arrived was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refused {
    /// It is sealed with no key of ours: another key, another scope, or it was changed on its way.
    #[error("it is not sealed with a key of ours")]
    Key,
    /// Its version is none that is understood, or there is none that both understand.
    #[error("no version is understood by both")]
    Version,
    /// It was opened before, or is too old to tell.
    #[error("it was opened before")]
    Replay,
    /// It is for somebody else.
    #[error("it is for somebody else")]
    OtherRecipient,
    /// It is not what it should be.
    #[error("it is malformed")]
    Malformed,
    /// It is longer than it may be.
    #[error("it is too long")]
    TooLong,
    /// There are as many peers, or connections that have proved nothing yet, as there may be.
    #[error("there are too many")]
    TooMany,
}

impl Refused {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Key,
        Self::Version,
        Self::Replay,
        Self::OtherRecipient,
        Self::Malformed,
        Self::TooLong,
        Self::TooMany,
    ];

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Version => "version",
            Self::Replay => "replay",
            Self::OtherRecipient => "other_recipient",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
        }
    }
}

/// The keys of one scope. It cannot be printed.
#[derive(Clone)]
pub struct Keys(Arc<[Key]>);

struct Key {
    id: [u8; 4],
    key: hmac::Key,
}

impl Keys {
    /// From the shared keys: the first seals, all open. `None` when there is none.
    pub fn new(shared: &[Secret], scope: &str) -> Option<Self> {
        let keys: Vec<Key> = shared.iter().take(KEYS_MAX).map(|secret| Key::derive(secret, scope)).collect();
        (!keys.is_empty()).then(|| Self(keys.into()))
    }

    fn first(&self) -> &Key {
        self.0.first().expect("there is no set of keys without one")
    }

    fn verify(&self, id: &[u8], sealed: &[u8], tag: &[u8]) -> bool {
        self.0.iter().any(|key| key.id == id && hmac::verify(&key.key, sealed, tag).is_ok())
    }
}

impl Key {
    fn derive(shared: &Secret, scope: &str) -> Self {
        const SALT: &[u8] = b"outrigger peers 1";
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(shared.expose().as_bytes());
        let mut id = [0; 32];
        let info = [b"id\0".as_slice(), scope.as_bytes()];
        let expanded = secret.expand(&info, hkdf::HKDF_SHA256);
        expanded.and_then(|okm| okm.fill(&mut id)).expect("one block of HKDF is never too long");
        let info = [b"seal\0".as_slice(), scope.as_bytes()];
        let key = secret.expand(&info, hmac::HMAC_SHA256).expect("one block of HKDF is never too long");
        Self { id: [id[0], id[1], id[2], id[3]], key: key.into() }
    }
}

/// Seals what one agent says.
pub struct Seal {
    keys: Keys,
    me: Peer,
    /// By recipient, the sequence last given.
    sequences: BTreeMap<Boot, u64>,
    /// Recipients in the order in which they were met.
    met: VecDeque<Boot>,
    /// Above all that were forgotten.
    floor: u64,
}

impl Seal {
    /// For this start of this agent. Of a name that is too long, the end is left out.
    pub fn new(keys: Keys, mut me: Peer) -> Self {
        let fits = (0..=NAME_MAX).rev().find(|&at| me.replica.is_char_boundary(at)).unwrap_or(0);
        if me.replica.len() > NAME_MAX {
            me.replica = me.replica[..fits].into();
        }
        Self { keys, me, sequences: BTreeMap::new(), met: VecDeque::new(), floor: 0 }
    }

    /// Seals a body of the newest version for `to`, or the first frame of a handshake for whoever accepts.
    pub fn seal(&mut self, to: Option<Boot>, body: &[u8]) -> Vec<u8> {
        let version = if to.is_some() { VERSION_HIGHEST } else { HANDSHAKE };
        self.seal_as(version, to, body)
    }

    /// Seals a body of this version.
    pub fn seal_as(&mut self, version: u8, to: Option<Boot>, body: &[u8]) -> Vec<u8> {
        let sequence = to.map_or(0, |to| self.next(to));
        let name = self.me.replica.as_bytes();
        let mut bytes = Vec::with_capacity(HEAD + name.len() + body.len() + TAG);
        let key = self.keys.first();
        bytes.push(version);
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(&to.map_or(0, |to| to.0).to_be_bytes());
        bytes.extend_from_slice(&self.me.boot.0.to_be_bytes());
        bytes.extend_from_slice(&sequence.to_be_bytes());
        bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(body);
        let tag = hmac::sign(&key.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        bytes
    }

    fn next(&mut self, to: Boot) -> u64 {
        if let Some(sequence) = self.sequences.get_mut(&to) {
            *sequence += 1;
            return *sequence;
        }
        if self.met.len() == REMEMBERED_MAX {
            let first = self.met.pop_front().and_then(|boot| self.sequences.remove(&boot));
            self.floor = self.floor.max(first.unwrap_or_default());
        }
        self.met.push_back(to);
        self.sequences.insert(to, self.floor + 1);
        self.floor + 1
    }
}

/// What was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// Who sealed it, as whoever has the key says.
    pub from: Peer,
    /// The version of its body.
    pub version: u8,
    /// What was sealed.
    pub body: &'a [u8],
}

/// Opens what is for one agent.
pub struct Open {
    keys: Keys,
    me: Boot,
    windows: BTreeMap<Boot, Window>,
    met: VecDeque<Boot>,
}

impl Open {
    /// For this start of this agent.
    pub fn new(keys: Keys, me: Boot) -> Self {
        Self { keys, me, windows: BTreeMap::new(), met: VecDeque::new() }
    }

    /// Opens an envelope for this agent that was not opened before.
    ///
    /// # Errors
    ///
    /// Why it is refused. What is refused leaves no trace.
    pub fn open<'a>(&mut self, bytes: &'a [u8]) -> Result<Opened<'a>, Refused> {
        let parts = Parts::of(bytes, &self.keys)?;
        if parts.to != self.me.0 || parts.boot == self.me {
            return Err(Refused::OtherRecipient);
        }
        let is_new = match self.windows.get_mut(&parts.boot) {
            Some(window) => window.take(parts.sequence),
            None => {
                if self.met.len() == REMEMBERED_MAX
                    && let Some(first) = self.met.pop_front()
                {
                    self.windows.remove(&first);
                }
                self.met.push_back(parts.boot);
                self.windows.insert(parts.boot, Window { newest: parts.sequence, seen: 1 });
                true
            }
        };
        if is_new { Ok(parts.opened()) } else { Err(Refused::Replay) }
    }

    /// Opens the first frame of a handshake, which is for nobody by name and may be a repetition.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn open_first<'a>(&self, bytes: &'a [u8]) -> Result<Opened<'a>, Refused> {
        let parts = Parts::of(bytes, &self.keys)?;
        if parts.to != 0 || parts.version != HANDSHAKE {
            return Err(Refused::OtherRecipient);
        }
        Ok(parts.opened())
    }
}

struct Parts<'a> {
    version: u8,
    to: u64,
    boot: Boot,
    sequence: u64,
    replica: &'a str,
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// The parts of an envelope that is sealed with one of these keys. Nothing of it is believed before that is proved, but
    /// for its version, which says what the rest means.
    fn of(bytes: &'a [u8], keys: &Keys) -> Result<Self, Refused> {
        let length = bytes.len().checked_sub(TAG).ok_or(Refused::Malformed)?;
        let (sealed, tag) = bytes.split_at(length);
        let (head, rest) = sealed.split_at_checked(HEAD).ok_or(Refused::Malformed)?;
        let version = head[0];
        if version != HANDSHAKE && !(VERSION_LOWEST..=VERSION_HIGHEST).contains(&version) {
            return Err(Refused::Version);
        }
        if !keys.verify(&head[1..5], sealed, tag) {
            return Err(Refused::Key);
        }
        let number = |at: usize| {
            let bytes = head[at..at + 8].try_into().expect("the head holds three numbers of eight bytes");
            u64::from_be_bytes(bytes)
        };
        let (name, body) = rest
            .split_at_checked(u16::from_be_bytes([head[HEAD - 2], head[HEAD - 1]]).into())
            .ok_or(Refused::Malformed)?;
        let replica = std::str::from_utf8(name).map_err(|_| Refused::Malformed)?;
        if replica.is_empty() || replica.chars().any(char::is_control) {
            return Err(Refused::Malformed);
        }
        Ok(Self { version, to: number(5), boot: Boot(number(13)), sequence: number(21), replica, body })
    }

    fn opened(self) -> Opened<'a> {
        let from = Peer { replica: self.replica.into(), boot: self.boot };
        Opened { from, version: self.version, body: self.body }
    }
}

/// Which of the last sequences were taken.
struct Window {
    newest: u64,
    /// Bit `i`: `newest - i` was.
    seen: u64,
}

impl Window {
    /// Whether it is the first time.
    fn take(&mut self, sequence: u64) -> bool {
        if sequence > self.newest {
            let by = sequence - self.newest;
            self.seen = if by < WINDOW { self.seen << by | 1 } else { 1 };
            self.newest = sequence;
            return true;
        }
        let behind = self.newest - sequence;
        if behind >= WINDOW || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}
