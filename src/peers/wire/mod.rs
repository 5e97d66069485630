//! The written form of all that agents say: one byte for its kind, then a document or packed figures.
//!
//! Documents are JSON, because they are few, small, and grow: what is unknown in them is passed over, so a newer agent may
//! say more. Shares and items are many or large, so they are packed and squeezed; behind the figures known here there may
//! be more. A kind that is unknown is passed over too. Whatever bytes are read, it ends in a value or an error, in memory
//! of the order of the bytes.
//!
//! It knows neither keys nor sockets.

mod document;
mod hello;
mod share;
mod vote;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::engine::peer::{Hello, Message};
use crate::pack::{Damaged, Packer, Unpacker, unsqueezed};
use crate::peers::{ITEM_BYTES_MAX, Item};

/// No figure is larger: a hundred of them added up stay far below what 64 bits hold. A larger one is damage.
const FIGURE_MAX: u64 = 1 << 48;
/// The longest document, in bytes. A longer one is damage.
const DOCUMENT_MAX: usize = 64 << 10;
/// Bytes of items that one frame holds before they are squeezed: one of the longest, its kind and the lengths.
const ITEMS_BYTES_MAX: usize = ITEM_BYTES_MAX + 1024;
/// Items in one frame. More are damage.
pub(super) const ITEMS_MAX: usize = 4096;
/// The longest name of an item's kind, in bytes.
pub(super) const ITEM_KIND_MAX: usize = 32;
/// Addresses in one document; more are passed over.
pub(super) const ADDRESSES_MAX: usize = 128;
/// Addresses where one agent says that it listens; more are passed over.
pub(super) const LISTENS_MAX: usize = 8;

/// One thing said.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// The first word of who dials.
    Hello(Opening),
    /// The answer of who accepts.
    Welcome(Opening),
    /// The last word of who dials: it read the answer.
    Confirm {
        /// What the answer asked to be repeated.
        echo: u64,
    },
    /// What the sender says of itself.
    Introduction(Box<Introduction>),
    /// A word to the engine.
    Message(Message),
    /// A request for what the recipient remembers.
    AskMemory,
    /// A piece of what the sender remembers.
    Items {
        /// What.
        items: Vec<Item>,
        /// No more follows.
        last: bool,
    },
    /// Where the sender has met agents.
    Addresses(Vec<SocketAddr>),
    /// Is anybody there?
    Ping(u64),
    /// The answer, with the question's number.
    Pong(u64),
    /// Something that only a newer agent understands.
    Unknown(u8),
}

/// The first words of both sides: which versions they understand, and what the other has to repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The lowest version understood.
    pub lowest: u8,
    /// The highest one.
    pub highest: u8,
    /// A number drawn at random, which the other side repeats: so it speaks now.
    #[serde(with = "document::hex")]
    pub nonce: u64,
    /// The other side's.
    #[serde(with = "document::hex", default)]
    pub echo: u64,
}

/// What an agent says of itself and of where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Introduction {
    /// What it says of itself.
    pub hello: Hello,
    /// Its version of Outrigger.
    pub version: String,
    /// Where it can be dialled.
    pub listens: Vec<SocketAddr>,
}

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const CONFIRM: u8 = 3;
const INTRODUCTION: u8 = 4;
const SHARE: u8 = 5;
const SEEN: u8 = 6;
const ASK: u8 = 7;
const ANSWER: u8 = 8;
const ASK_MEMORY: u8 = 9;
const ITEMS: u8 = 10;
const ADDRESSES: u8 = 11;
const PING: u8 = 12;
const PONG: u8 = 13;

#[derive(Serialize, Deserialize)]
struct Echo {
    #[serde(with = "document::hex")]
    echo: u64,
}

#[derive(Serialize, Deserialize)]
struct Addresses {
    addresses: Vec<String>,
}

/// A message to the engine, written.
pub fn encode(message: &Message) -> Vec<u8> {
    match message {
        Message::Share(share) => with_kind(SHARE, &share::to_bytes(share)),
        Message::Seen(seen) => document::write(SEEN, &vote::SeenAll::of(seen)),
        Message::Ask(ask) => document::write(ASK, &vote::AskDocument::of(ask)),
        Message::Answer(answer) => document::write(ANSWER, &vote::AnswerDocument::of(answer)),
    }
}

/// A message to the engine; `None` when it is something else, or something that only a newer agent understands.
///
/// # Errors
///
/// The bytes are none that [`encode`] makes.
pub fn decode(bytes: &[u8]) -> Result<Option<Message>, Damaged> {
    match read(bytes)? {
        Frame::Message(message) => Ok(Some(message)),
        Frame::Hello(_)
        | Frame::Welcome(_)
        | Frame::Confirm { .. }
        | Frame::Introduction(_)
        | Frame::AskMemory
        | Frame::Items { .. }
        | Frame::Addresses(_)
        | Frame::Ping(_)
        | Frame::Pong(_)
        | Frame::Unknown(_) => Ok(None),
    }
}

/// Anything that is said, written.
pub fn write(frame: &Frame) -> Vec<u8> {
    match frame {
        Frame::Hello(opening) => document::write(HELLO, opening),
        Frame::Welcome(opening) => document::write(WELCOME, opening),
        Frame::Confirm { echo } => document::write(CONFIRM, &Echo { echo: *echo }),
        Frame::Introduction(it) => document::write(INTRODUCTION, &hello::IntroductionDocument::of(it)),
        Frame::Message(message) => encode(message),
        Frame::AskMemory => vec![ASK_MEMORY],
        Frame::Items { items, last } => with_kind(ITEMS, &items_to_bytes(items, *last)),
        Frame::Addresses(addresses) => {
            let addresses = addresses.iter().map(ToString::to_string).collect();
            document::write(ADDRESSES, &Addresses { addresses })
        }
        Frame::Ping(number) => with_kind(PING, &number.to_be_bytes()),
        Frame::Pong(number) => with_kind(PONG, &number.to_be_bytes()),
        Frame::Unknown(kind) => vec![*kind],
    }
}

/// Anything that is said, read.
///
/// # Errors
///
/// The bytes are none that [`write()`] makes.
pub fn read(bytes: &[u8]) -> Result<Frame, Damaged> {
    let (&kind, body) = bytes.split_first().ok_or(Damaged("nothing is there"))?;
    Ok(match kind {
        HELLO => Frame::Hello(document::read(body)?),
        WELCOME => Frame::Welcome(document::read(body)?),
        CONFIRM => Frame::Confirm { echo: document::read::<Echo>(body)?.echo },
        INTRODUCTION => {
            Frame::Introduction(Box::new(document::read::<hello::IntroductionDocument>(body)?.parse()?))
        }
        SHARE => Frame::Message(Message::Share(share::from_bytes(body)?.into())),
        SEEN => Frame::Message(Message::Seen(document::read::<vote::SeenAll>(body)?.parse()?)),
        ASK => Frame::Message(Message::Ask(document::read::<vote::AskDocument>(body)?.parse()?)),
        ANSWER => Frame::Message(Message::Answer(document::read::<vote::AnswerDocument>(body)?.parse()?)),
        ASK_MEMORY => Frame::AskMemory,
        ITEMS => {
            let (items, last) = items_from_bytes(body)?;
            Frame::Items { items, last }
        }
        ADDRESSES => {
            Frame::Addresses(parse_addresses(&document::read::<Addresses>(body)?.addresses, ADDRESSES_MAX))
        }
        PING => Frame::Ping(number(body)?),
        PONG => Frame::Pong(number(body)?),
        unknown => Frame::Unknown(unknown),
    })
}

fn with_kind(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + body.len());
    bytes.push(kind);
    bytes.extend_from_slice(body);
    bytes
}

fn number(body: &[u8]) -> Result<u64, Damaged> {
    body.try_into().map(u64::from_be_bytes).map_err(|_| Damaged("a number of another length"))
}

/// Those that can be read and dialled.
fn parse_addresses(texts: &[String], max: usize) -> Vec<SocketAddr> {
    let address = |text: &String| text.parse().ok().filter(|at: &SocketAddr| at.port() != 0);
    texts.iter().filter_map(address).take(max).collect()
}

fn items_to_bytes(items: &[Item], last: bool) -> Vec<u8> {
    let mut packer = Packer::default();
    packer.number(last.into());
    packer.list(items, |packer, item| {
        packer.text(&item.kind);
        packer.bytes(&item.bytes);
    });
    packer.squeezed()
}

fn items_from_bytes(bytes: &[u8]) -> Result<(Vec<Item>, bool), Damaged> {
    let plain = unsqueezed(bytes, ITEMS_BYTES_MAX)?;
    let mut unpacker = Unpacker(&plain);
    let last = unpacker.flag()?;
    let items = unpacker.list(ITEMS_MAX, |unpacker| {
        let kind = unpacker.text()?;
        if kind.is_empty() || kind.len() > ITEM_KIND_MAX {
            return Err(Damaged("a kind of another length"));
        }
        let bytes = unpacker.bytes()?;
        if bytes.len() > ITEM_BYTES_MAX {
            return Err(Damaged("an item too long"));
        }
        Ok(Item { kind: kind.to_owned(), bytes: bytes.to_vec() })
    })?;
    Ok((items, last))
}
