//! What peers send, read from any bytes, for fuzzing.

use crate::config::Secret;
use crate::engine::peer::{Boot, Peer};
use crate::peers::envelope::{Keys, Open, Refused, Seal};
use crate::peers::wire::{self, Frame};

/// Reads anything that is said.
pub fn frame(bytes: &[u8]) -> Result<Frame, String> {
    wire::read(bytes).map_err(|error| error.to_string())
}

/// Writes it.
pub fn frame_bytes(frame: &Frame) -> Vec<u8> {
    wire::write(frame)
}

/// Opens an envelope; whether one was. Nobody knows the key, so only a copy of what was sealed here may open.
pub fn opens(bytes: &[u8]) -> bool {
    let keys = || {
        let secret = Secret::new("a key that only this function has".to_owned());
        Keys::new(&[secret], "fuzz").expect("there is a key")
    };
    let mut open = Open::new(keys(), Boot(2));
    let opened = open.open(bytes).is_ok() || open.open_first(bytes).is_ok();
    let sealed = Seal::new(keys(), Peer { replica: "a".into(), boot: Boot(1) }).seal(Some(Boot(2)), bytes);
    assert_eq!(open.open(&sealed).map(|opened| opened.body), Ok(bytes), "what is sealed opens");
    assert_eq!(open.open(&sealed).map(|opened| opened.body), Err(Refused::Replay), "but once");
    opened
}
