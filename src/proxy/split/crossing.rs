//! When a request may go to the other app, too: the named exceptions to "never across releases".
//!
//! - An app that could not be reached got nothing: any request that the candidate would have had goes to the stable app.
//! - [`Split::rescue`]: a safe request without a body that the candidate fails before its reply has begun.
//! - [`Split::assets_fall_back`]: a page of one release asks for a file that only that release has.
//! - [`Split::mirror`]: a copy, whose reply nobody sees.
//!
//! A reply that has begun is never mended, and the stable app's failures are never given to the candidate.

use crate::proxy::plan::Phase;
use crate::proxy::split::counter::Counter;
use crate::proxy::split::{ArmId, Split};

/// Where bundlers put what they name by content; a name there may be of any form.
const HASHED_FOLDERS: [&[u8]; 4] = [b"/_next/static/", b"/_app/immutable/", b"/_nuxt/", b"/_astro/"];
/// What pages load.
const ASSET_ENDINGS: [&[u8]; 25] = [
    b"js", b"mjs", b"css", b"map", b"wasm", b"json", b"png", b"jpg", b"jpeg", b"gif", b"svg", b"webp",
    b"avif", b"ico", b"woff", b"woff2", b"ttf", b"otf", b"eot", b"mp3", b"mp4", b"webm", b"txt", b"xml",
    b"html",
];
/// A shorter part of a name is no hash: years and versions are as short.
const HASH_LENGTH_MIN: usize = 8;

/// What of a request decides whether it may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) struct Asked<'a> {
    /// As the client wrote it.
    pub(in crate::proxy) method: &'a [u8],
    /// The target in origin-form, with or without its query.
    pub(in crate::proxy) path: &'a [u8],
    /// How long its body is.
    pub(in crate::proxy) body: Body,
    /// It asks for another protocol.
    pub(in crate::proxy) is_upgrade: bool,
    /// It is itself a copy, made by an agent before this one: it has the field [`crate::proxy::split::mirror::MARK`].
    pub(in crate::proxy) is_copy: bool,
}

/// A request's body, as its head tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Body {
    /// There is none, or one of no bytes.
    Empty,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Unknown,
}

/// How the chosen app failed a request, before any byte of a reply went to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Failure {
    /// No connection could be made, and none was used before: it has seen nothing of the request.
    Unreachable,
    /// It was sent all or a part of it, and no reply's head came, or none that can be understood.
    NoReply,
    /// It answered with this status.
    Status(u16),
}

impl Asked<'_> {
    fn is(&self, methods: &[&str]) -> bool {
        methods.iter().any(|method| method.as_bytes() == self.method)
    }
}

/// Whether the stable app answers instead of the one that failed. It is asked once, and whatever it says is the reply;
/// the failure is still the candidate's.
pub(in crate::proxy) fn may_rescue(
    split: &Split,
    chosen: ArmId,
    asked: &Asked<'_>,
    failure: Failure,
) -> bool {
    let may = || {
        let is_harmless =
            asked.is(&["GET", "HEAD", "OPTIONS"]) && asked.body == Body::Empty && !asked.is_upgrade;
        split.rescue && is_harmless
    };
    match (chosen, failure) {
        (ArmId::Stable, _) => false,
        (ArmId::Candidate, Failure::Unreachable) => true,
        (ArmId::Candidate, Failure::NoReply) => may(),
        // These two are about the request.
        (ArmId::Candidate, Failure::Status(501 | 505)) => false,
        (ArmId::Candidate, Failure::Status(status)) => status >= 500 && may(),
    }
}

/// Whether the other app is asked for a hashed asset that the chosen one does not have. Its reply is the client's; where it
/// cannot be reached, the first app is asked again and has the last word. The first 404 is not counted.
pub(in crate::proxy) fn may_fall_back(split: &Split, chosen: ArmId, asked: &Asked<'_>, status: u16) -> bool {
    let is_missing_asset = status == 404
        && asked.is(&["GET", "HEAD"])
        && asked.body == Body::Empty
        && !asked.is_upgrade
        && is_asset(asked.path);
    let may_cross = match chosen {
        ArmId::Stable => split.is_open(),
        ArmId::Candidate => true,
    };
    split.assets_fall_back && may_cross && is_missing_asset
}

/// Whether the path is of a file that is named by its content. Too many are better than too few: it is asked only of a 404.
pub(in crate::proxy) fn is_asset(path: &[u8]) -> bool {
    let path = path.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default();
    if HASHED_FOLDERS.iter().any(|folder| path.windows(folder.len()).any(|part| part == *folder)) {
        return true;
    }
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let mut parts: Vec<&[u8]> = name.split(|b| *b == b'.').collect();
    let ending = parts.pop().unwrap_or_default();
    ASSET_ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known))
        && parts.iter().any(|part| is_whole_hash(part) || has_hash_after_name(part))
}

fn is_whole_hash(part: &[u8]) -> bool {
    is_hash(part) && part.iter().all(u8::is_ascii_alphanumeric)
}

/// `index-BdQ5_mV5`: a hash may itself hold the separator.
fn has_hash_after_name(part: &[u8]) -> bool {
    let separators = part.iter().enumerate().filter(|(_, b)| matches!(b, b'-' | b'_' | b'~'));
    separators.into_iter().any(|(at, _)| is_hash(&part[at + 1..]) || is_mixed(&part[at + 1..]))
}

fn is_word(text: &[u8]) -> bool {
    let of_hashes = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() >= HASH_LENGTH_MIN && text.iter().all(of_hashes)
}

/// Digits among letters.
fn is_hash(text: &[u8]) -> bool {
    is_word(text) && text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic)
}

/// No digit by chance: capitals all through, or small letters and capitals in turns.
fn is_mixed(text: &[u8]) -> bool {
    is_word(text) && text[1..].iter().any(u8::is_ascii_uppercase)
}

/// Whether a copy of a request that goes to `chosen` is sent to the candidate. `counter`: one for mirroring alone.
///
/// How it is sent: by a task of its own beside the main request, which never waits for it, on a connection of its own
/// ([`mirror::send`](crate::proxy::split::mirror::send)); dropped with nothing said where
/// [`mirror::AT_ONCE_MAX`](crate::proxy::split::mirror::AT_ONCE_MAX) are under way in the worker. It outlives a client
/// that leaves. `Host` and the target are unchanged, credentials are left out but for [`Mirror::with_credentials`].
/// Nothing of it is counted among the clients' requests. It goes to a candidate that is not well, too: nobody is harmed.
///
/// [`Mirror::with_credentials`]: crate::proxy::split::Mirror::with_credentials
pub(in crate::proxy) fn should_mirror(
    split: &Split,
    chosen: ArmId,
    asked: &Asked<'_>,
    counter: &Counter,
) -> bool {
    let Some(mirror) = &split.mirror else { return false };
    let is_short = match asked.body {
        Body::Empty => true,
        Body::Length(length) => usize::try_from(length).is_ok_and(|length| length <= mirror.body_max),
        Body::Unknown => false,
    };
    let can_be = chosen == ArmId::Stable
        && split.candidate.phase == Phase::Serving
        && asked.is(&["GET", "HEAD"])
        && is_short
        && !asked.is_upgrade
        && !asked.is_copy;
    // Asked last: what cannot be mirrored is no part of the share.
    can_be && counter.takes(mirror.share)
}

#[cfg(test)]
#[path = "crossing_tests.rs"]
mod tests;
