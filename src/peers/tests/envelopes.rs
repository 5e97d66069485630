//! The envelope: what opens, and what does not.

use crate::config::Secret;
use crate::engine::peer::Boot;
use crate::peers::envelope::{HANDSHAKE, Keys, Open, Refused, Seal, VERSION_HIGHEST};
use crate::peers::tests::{KEY, SCOPE, peer};

fn keys(keys: &[&str], scope: &str) -> Keys {
    let secrets: Vec<Secret> = keys.iter().map(|key| Secret::new((*key).to_owned())).collect();
    Keys::new(&secrets, scope).unwrap()
}

fn seal() -> Seal {
    Seal::new(keys(&[KEY], SCOPE), peer("a", 1))
}

fn open() -> Open {
    Open::new(keys(&[KEY], SCOPE), Boot(2))
}

#[test]
fn what_is_sealed_for_somebody_opens_once_and_for_nobody_else() {
    let sealed = seal().seal(Some(Boot(2)), b"word");
    let mut open = open();
    let opened = open.open(&sealed).unwrap();
    assert_eq!((opened.from, opened.version, opened.body), (peer("a", 1), VERSION_HIGHEST, &b"word"[..]));
    assert_eq!(open.open(&sealed), Err(Refused::Replay));
    assert_eq!(Open::new(keys(&[KEY], SCOPE), Boot(3)).open(&sealed), Err(Refused::OtherRecipient));
    // Sent back to who sealed it.
    let own = seal().seal(Some(Boot(1)), b"word");
    assert_eq!(Open::new(keys(&[KEY], SCOPE), Boot(1)).open(&own), Err(Refused::OtherRecipient));
}

#[test]
fn a_first_word_is_no_message_and_a_message_no_first_word() {
    let (first, message) = (seal().seal(None, b"word"), seal().seal(Some(Boot(2)), b"word"));
    assert_eq!(open().open_first(&first).map(|it| it.version), Ok(HANDSHAKE));
    assert_eq!(open().open(&first), Err(Refused::OtherRecipient));
    assert_eq!(open().open_first(&message), Err(Refused::OtherRecipient));
}

#[test]
fn an_envelope_that_was_changed_or_cut_anywhere_does_not_open() {
    let sealed = seal().seal(Some(Boot(2)), b"a body of some length");
    let mut open = open();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut other = sealed.clone();
            other[at] ^= 1 << bit;
            // The version alone is looked at before the proof: it says what the rest means.
            let expected = if at == 0 && other[0] != HANDSHAKE { Refused::Version } else { Refused::Key };
            assert_eq!(open.open(&other), Err(expected), "byte {at}, bit {bit}");
        }
        assert!(matches!(open.open(&sealed[..at]), Err(Refused::Key | Refused::Malformed)), "{at}");
    }
    let longer = [sealed.as_slice(), b"x"].concat();
    assert_eq!(open.open(&longer), Err(Refused::Key));
    assert!(open.open(&sealed).is_ok(), "what was refused left no trace");
}

#[test]
fn another_key_and_another_scope_do_not_open() {
    let sealed = seal().seal(Some(Boot(2)), b"word");
    let refused = |key, scope| Open::new(keys(&[key], scope), Boot(2)).open(&sealed).map(|_| ());
    assert_eq!(refused("another key, as long as that", SCOPE), Err(Refused::Key));
    assert_eq!(refused(KEY, "project/staging/shop"), Err(Refused::Key));
    assert_eq!(refused(KEY, SCOPE), Ok(()));
}

#[test]
fn two_keys_open_and_the_first_one_seals() {
    let (old, new) = ("the old key, 16 or more", "the new key, 16 or more");
    let rotation = [&[old][..], &[old, new], &[new, old], &[new]];
    for step in rotation.windows(2) {
        for (from, to) in [(step[0], step[1]), (step[1], step[0])] {
            let sealed = Seal::new(keys(from, SCOPE), peer("a", 1)).seal(Some(Boot(2)), b"word");
            assert!(Open::new(keys(to, SCOPE), Boot(2)).open(&sealed).is_ok(), "{from:?} {to:?}");
        }
    }
    let sealed = Seal::new(keys(&[new, old], SCOPE), peer("a", 1)).seal(Some(Boot(2)), b"word");
    assert_eq!(Open::new(keys(&[old], SCOPE), Boot(2)).open(&sealed), Err(Refused::Key));
}

#[test]
fn envelopes_may_overtake_one_another_but_not_by_far() {
    let (mut seal, mut open) = (seal(), open());
    let all: Vec<Vec<u8>> = (0..200_u8).map(|n| seal.seal(Some(Boot(2)), &[n])).collect();
    assert!(open.open(&all[100]).is_ok());
    assert!(open.open(&all[37]).is_ok(), "63 behind the newest");
    assert_eq!(open.open(&all[36]), Err(Refused::Replay), "64 behind");
    assert_eq!(open.open(&all[37]), Err(Refused::Replay));
    assert!(open.open(&all[99]).is_ok() && open.open(&all[199]).is_ok());
    assert_eq!(open.open(&all[100]), Err(Refused::Replay));
    assert!(open.open(&all[198]).is_ok());
}

#[test]
fn sequences_go_on_rising_for_who_was_forgotten() {
    let (mut seal, mut open) = (seal(), open());
    let before = seal.seal(Some(Boot(2)), b"1");
    let last = seal.seal(Some(Boot(2)), b"2");
    assert!(open.open(&last).is_ok());
    (3..2_000).for_each(|boot| drop(seal.seal(Some(Boot(boot)), b"x")));
    assert!(open.open(&seal.seal(Some(Boot(2)), b"3")).is_ok());
    assert!(open.open(&before).is_ok(), "it was never opened");
}

#[test]
fn another_version_is_refused() {
    let sealed = seal().seal_as(VERSION_HIGHEST + 1, Some(Boot(2)), b"word");
    assert_eq!(open().open(&sealed), Err(Refused::Version));
}

#[test]
fn keys_are_not_printed_and_a_long_name_is_cut() {
    assert_eq!(format!("{:?}", Secret::new(KEY.to_owned())), "[secret]");
    let name = "é".repeat(400);
    let sealed = Seal::new(keys(&[KEY], SCOPE), peer(&name, 1)).seal(Some(Boot(2)), b"");
    assert_eq!(open().open(&sealed).unwrap().from.replica.len(), 512);
}
