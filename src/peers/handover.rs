//! What an agent remembers, cut into frames. It does not know what the items are.

use bytes::Bytes;

use crate::peers::wire::{self, Frame, ITEM_KIND_MAX, ITEMS_MAX};
use crate::peers::{ITEM_BYTES_MAX, Item};

/// A frame is closed when it holds so much: votes go between two of them. A longer item has a frame of its own.
const PIECE_BYTES: usize = 256 << 10;
/// What an item takes beside its bytes, at most.
const BESIDE: usize = ITEM_KIND_MAX + 8;

/// The frames that hand these over; at least one, for the last one says that it is. Items that are too long are left out.
pub(super) fn pieces(items: Vec<Item>, last: bool) -> Vec<Bytes> {
    let fits =
        |item: &Item| item.bytes.len() <= ITEM_BYTES_MAX && (1..=ITEM_KIND_MAX).contains(&item.kind.len());
    let mut pieces: Vec<Vec<Item>> = Vec::new();
    let mut room = 0;
    for item in items.into_iter().filter(fits) {
        let length = item.bytes.len() + BESIDE;
        match pieces.last_mut() {
            Some(piece) if length <= room && piece.len() < ITEMS_MAX => {
                room -= length;
                piece.push(item);
            }
            Some(_) | None => {
                room = PIECE_BYTES.saturating_sub(length);
                pieces.push(vec![item]);
            }
        }
    }
    if pieces.is_empty() && last {
        pieces.push(Vec::new());
    }
    let end = pieces.len();
    let frame = |(at, items): (usize, Vec<Item>)| {
        Bytes::from(wire::write(&Frame::Items { items, last: last && at + 1 == end }))
    };
    pieces.into_iter().enumerate().map(frame).collect()
}
