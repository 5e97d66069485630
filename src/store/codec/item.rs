//! Items as bytes: what agents hand one another of what they remember, each sealed by itself.
//!
//! An item is a form, a digest over kind, form and content, and the content. What is no item of ours, or not whole, is
//! refused before anything in it is read.

use sha2::{Digest as _, Sha256};

use crate::engine::baseline::Baseline;
use crate::engine::history::{FACTS_MAX, KeptFact, WatchStart};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::pack::{Damaged, Packer, Unpacker, unsqueezed};
use crate::store::codec::{baseline, fact};
use crate::store::wire::watch::WatchDoc;

/// The most bytes of an item's content before it was squeezed; longer is damage.
const CONTENT_BYTES_MAX: usize = 64 << 20;
/// The length of an item's digest.
const DIGEST_BYTES: usize = 32;
/// The most accounts of one release in an item; more are damage.
const LIVES_MAX: usize = 64;
/// The longest id of a record or a watch; a longer one is damage.
const ID_LEN_MAX: usize = 64;

/// What an item is about. Each has a name and a form of its own: a newer agent may know more of them, or other forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) enum Kind {
    Release,
    Record,
    Baseline,
    Pause,
    Watch,
    Facts,
    Told,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Release, Self::Record, Self::Baseline, Self::Pause, Self::Watch, Self::Facts, Self::Told];

    pub(in crate::store) const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Record => "record",
            Self::Baseline => "baseline",
            Self::Pause => "pause",
            Self::Watch => "watch",
            Self::Facts => "facts",
            Self::Told => "told",
        }
    }

    /// The form in which this agent writes it, and the only one that it reads.
    const fn form(self) -> u8 {
        match self {
            Self::Release
            | Self::Record
            | Self::Baseline
            | Self::Pause
            | Self::Watch
            | Self::Facts
            | Self::Told => 1,
        }
    }
}

/// The content of an item.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::store) enum Content {
    /// Accounts of one release, as JSON.
    Release(Vec<String>),
    /// A record as JSON, and whether its act was or may have been ordered.
    Record { act: bool, doc: String },
    /// A baseline.
    Baseline(Box<Baseline>),
    /// The pause as JSON, `null` where there is none, and since when it is so.
    Pause { at: Time, doc: String },
    /// What a watch began from, and how many facts belong to it.
    Watch { start: Box<WatchStart>, facts: u32 },
    /// Facts of a watch.
    Facts { watch: RecordId, facts: Vec<KeptFact> },
    /// Which alerts were told to whom, as JSON.
    Told(String),
}

/// Why an item is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) enum Refused {
    /// A kind or a form that this agent does not know.
    Unknown,
    /// It is not what was sealed, or makes no sense.
    Damaged,
}

impl From<Damaged> for Refused {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

impl Content {
    pub(in crate::store) const fn kind(&self) -> Kind {
        match self {
            Self::Release(_) => Kind::Release,
            Self::Record { .. } => Kind::Record,
            Self::Baseline(_) => Kind::Baseline,
            Self::Pause { .. } => Kind::Pause,
            Self::Watch { .. } => Kind::Watch,
            Self::Facts { .. } => Kind::Facts,
            Self::Told(_) => Kind::Told,
        }
    }
}

/// The item's kind and its bytes.
pub(in crate::store) fn seal(content: &Content) -> (&'static str, Vec<u8>) {
    let kind = content.kind();
    let mut packer = Packer::default();
    put(&mut packer, content);
    let squeezed = packer.squeezed();
    let mut bytes = Vec::with_capacity(1 + DIGEST_BYTES + squeezed.len());
    bytes.push(kind.form());
    bytes.extend_from_slice(&digest(kind.name(), kind.form(), &squeezed));
    bytes.extend_from_slice(&squeezed);
    (kind.name(), bytes)
}

/// What [`seal`] sealed.
pub(in crate::store) fn open(kind: &str, bytes: &[u8]) -> Result<Content, Refused> {
    let (&form, rest) = bytes.split_first().ok_or(Refused::Damaged)?;
    let (found, squeezed) = rest.split_at_checked(DIGEST_BYTES).ok_or(Refused::Damaged)?;
    // First of all: a kind of a newer agent is one only if it is whole.
    if digest(kind, form, squeezed) != found {
        return Err(Refused::Damaged);
    }
    let known = Kind::ALL.into_iter().find(|known| known.name() == kind && known.form() == form);
    let kind = known.ok_or(Refused::Unknown)?;
    let plain = unsqueezed(squeezed, CONTENT_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    let content = take(&mut unpacker, kind)?;
    unpacker.end()?;
    Ok(content)
}

/// Bytes of a form that this agent does not know.
#[cfg(test)]
pub(in crate::store) fn seal_as(kind: &str, form: u8, squeezed: &[u8]) -> Vec<u8> {
    [&[form], digest(kind, form, squeezed).as_slice(), squeezed].concat()
}

/// One that is the same for the same content, to choose between two that are otherwise alike.
pub(in crate::store) fn fingerprint(start: &WatchStart, facts: &[KeptFact]) -> [u8; 32] {
    let mut packer = Packer::default();
    put_start(&mut packer, start);
    packer.list(facts, fact::put_kept);
    Sha256::digest(packer.plain()).into()
}

fn digest(kind: &str, form: u8, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut hash = Sha256::new();
    for part in [kind.as_bytes(), &[form], bytes] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn put(packer: &mut Packer, content: &Content) {
    match content {
        Content::Told(doc) => packer.bytes(doc.as_bytes()),
        Content::Release(docs) => packer.list(docs, |packer, doc| packer.bytes(doc.as_bytes())),
        Content::Record { act, doc } => {
            packer.number(u64::from(*act));
            packer.bytes(doc.as_bytes());
        }
        Content::Baseline(of) => packer.bytes(&baseline::to_bytes(of)),
        Content::Pause { at, doc } => {
            packer.number(at.as_millis());
            packer.bytes(doc.as_bytes());
        }
        Content::Watch { start, facts } => {
            put_start(packer, start);
            packer.number((*facts).into());
        }
        Content::Facts { watch, facts } => {
            packer.text(watch.as_str());
            packer.list(facts, fact::put_kept);
        }
    }
}

fn take(unpacker: &mut Unpacker<'_>, kind: Kind) -> Result<Content, Damaged> {
    Ok(match kind {
        Kind::Release => Content::Release(unpacker.list(LIVES_MAX, json)?),
        Kind::Record => Content::Record { act: unpacker.flag()?, doc: json(unpacker)? },
        Kind::Baseline => Content::Baseline(Box::new(baseline::from_bytes(unpacker.bytes()?)?)),
        Kind::Pause => Content::Pause { at: Time::from_millis(unpacker.number()?), doc: json(unpacker)? },
        Kind::Watch => {
            let start = Box::new(take_start(unpacker)?);
            let facts = unpacker.number()?;
            let facts = u32::try_from(facts).ok().filter(|&facts| facts as usize <= FACTS_MAX);
            Content::Watch { start, facts: facts.ok_or(Damaged("too many facts"))? }
        }
        Kind::Told => Content::Told(json(unpacker)?),
        Kind::Facts => {
            let watch = id(unpacker)?;
            let facts = unpacker.list(FACTS_MAX, |unpacker| fact::take_kept(unpacker, &watch))?;
            Content::Facts { watch, facts }
        }
    })
}

fn json(unpacker: &mut Unpacker<'_>) -> Result<String, Damaged> {
    String::from_utf8(unpacker.bytes()?.to_vec()).map_err(|_| Damaged("not a text"))
}

fn id(unpacker: &mut Unpacker<'_>) -> Result<RecordId, Damaged> {
    let text = unpacker.text()?;
    let fits = is_id(text);
    fits.then(|| RecordId::from_stored(text)).ok_or(Damaged("not an id"))
}

/// Whether it may be the id of a record or a watch.
pub(in crate::store) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_LEN_MAX && text.bytes().all(|b| b.is_ascii_graphic())
}

fn put_start(packer: &mut Packer, start: &WatchStart) {
    packer.text(start.id.as_str());
    packer.number(start.at.as_millis());
    packer.text(start.release.as_str());
    let doc =
        serde_json::to_vec(&WatchDoc::from(start)).expect("the wire types hold nothing that JSON cannot");
    packer.bytes(&doc);
    packer.list(start.baseline.as_slice(), |packer, of| packer.bytes(&baseline::to_bytes(of)));
}

fn take_start(unpacker: &mut Unpacker<'_>) -> Result<WatchStart, Damaged> {
    let id = id(unpacker)?;
    let at = Time::from_millis(unpacker.number()?);
    let release = Release::new(unpacker.text()?).ok_or(Damaged("not a release"))?;
    let doc: WatchDoc =
        serde_json::from_slice(unpacker.bytes()?).map_err(|_| Damaged("not the beginning of a watch"))?;
    let baseline = unpacker.list(1, |unpacker| baseline::from_bytes(unpacker.bytes()?))?.pop();
    Ok(doc.into_start(id, at, release, baseline))
}
