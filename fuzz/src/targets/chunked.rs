//! Chunked bodies: against a second decoder, written straight from RFC 9112, 7.1, that wants all of the input at once.
//!
//! The first three bytes of the input say in which pieces the rest comes.

use outrigger::fuzz::proxy::{Unchunked, chunk, unchunk};

use crate::targets::lines::{blanks_off, shown};

/// The bounds of ours, which the RFC leaves to each.
const DIGITS_MAX: usize = 16;
const EXTENSIONS_MAX: usize = 4 * 1024;
const TRAILERS_MAX: usize = 16 * 1024;
const FIELDS_MAX: usize = 100;
/// httparse counts no further.
const THEIR_DIGITS_MAX: usize = 15;
/// Some of what must not come in a trailer section.
const NOT_IN_TRAILERS: [&str; 8] = [
    "content-length",
    "transfer-encoding",
    "host",
    "connection",
    "authorization",
    "content_length",
    "transfer_encoding",
    "trailer",
];

pub(crate) fn chunks(data: &[u8]) {
    let [a, b, c, input @ ..] = data else { return };
    let (whole, fault) = unchunk(input, &[]);
    let split = unchunk(input, &[usize::from(*a), usize::from(*b), usize::from(*c)]);
    assert!(
        split == (whole.clone(), fault.clone()),
        "in pieces of {a}, {b}, {c}: {split:?}, whole: {whole:?} {fault:?}"
    );
    match (reference(input), &fault) {
        (Ok(theirs), None) => assert_eq!(whole, theirs, "{}", shown(input)),
        (Err(()), Some(_)) => {}
        (theirs, ours) => panic!("{theirs:?} by the RFC, {ours:?} by us: {}", shown(input)),
    }
    if let (Some(_), None) = (whole.end, &fault) {
        on_again(&whole, usize::from(*a));
    }
}

/// With the framing put on again, in other pieces, the body is the same, and no trailer is in it that must not be.
fn on_again(body: &Unchunked, size: usize) {
    let pieces: Vec<&[u8]> = body.data.chunks(size.max(1)).collect();
    let sent = chunk(&pieces, &body.trailers).expect("what was taken can be sent");
    let (again, fault) = unchunk(&sent, &[]);
    assert_eq!((fault, &again.data, again.end), (None, &body.data, Some(sent.len())));
    for line in again.trailers.split(|&b| b == b'\n') {
        let name = line.split(|&b| b == b':').next().unwrap_or_default().to_ascii_lowercase();
        assert!(!NOT_IN_TRAILERS.iter().any(|known| known.as_bytes() == name), "trailer {}", shown(line));
    }
    assert_eq!(chunk(&pieces, &again.trailers).as_deref(), Ok(sent.as_slice()), "not settled by one pass");
}

/// What ends before its time goes on; `Err`: no chunked body begins so.
fn reference(input: &[u8]) -> Result<Unchunked, ()> {
    let mut body = Unchunked::default();
    let (mut rest, mut extensions) = (input, 0);
    loop {
        let Some((size, after)) = size_line(rest, &mut extensions)? else { return Ok(body) };
        if size == 0 {
            return trailers(input, after, body);
        }
        let here = usize::try_from(size).map_or(after.len(), |size| size.min(after.len()));
        body.data.extend_from_slice(&after[..here]);
        if (here as u64) < size {
            return Ok(body);
        }
        match &after[here..] {
            [b'\r', b'\n', next @ ..] => rest = next,
            [] | [b'\r'] => return Ok(body),
            _ => return Err(()),
        }
    }
}

/// The size and what follows its line; `None`: the line has not ended.
fn size_line<'i>(rest: &'i [u8], extensions: &mut usize) -> Result<Option<(u64, &'i [u8])>, ()> {
    let digits = rest.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if digits > DIGITS_MAX || (digits == 0 && !rest.is_empty()) {
        return Err(());
    }
    let extension = match &rest[digits..] {
        [b';', ..] => rest[digits..].iter().take_while(|&&b| b == b'\t' || (b >= b' ' && b != 0x7f)).count(),
        _ => 0,
    };
    *extensions += extension;
    if *extensions > EXTENSIONS_MAX {
        return Err(());
    }
    let end = digits + extension;
    let after = match &rest[end..] {
        [b'\r', b'\n', after @ ..] => after,
        [] | [b'\r'] => return Ok(None),
        _ => return Err(()),
    };
    let text = std::str::from_utf8(&rest[..digits]).expect("digits are text");
    let size = u64::from_str_radix(text, 16).expect("16 digits fit");
    if digits <= THEIR_DIGITS_MAX {
        let theirs = httparse::parse_chunk_size(rest);
        assert_eq!(theirs, Ok(httparse::Status::Complete((end + 2, size))), "{}", shown(&rest[..end]));
    }
    Ok(Some((size, after)))
}

fn trailers(input: &[u8], section: &[u8], mut body: Unchunked) -> Result<Unchunked, ()> {
    let (mut rest, mut lines) = (section, 0);
    loop {
        let taken = section.len() - rest.len();
        match rest {
            [b'\r', b'\n', after @ ..] => {
                body.end = Some(input.len() - after.len());
                if taken > 0 {
                    body.trailers = section[..taken + 2].to_vec();
                    syntax(&body.trailers, lines)?;
                }
                return Ok(body);
            }
            [] | [b'\r'] => return Ok(body),
            [b'\r' | b'\n', ..] => return Err(()),
            _ => {}
        }
        let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
        // Ends of lines count, but for a CR that nothing follows yet.
        match &rest[end..] {
            [] if taken + end > TRAILERS_MAX => return Err(()),
            [b'\r'] if taken + end + 1 > TRAILERS_MAX => return Err(()),
            [] | [b'\r'] => return Ok(body),
            [b'\r', b'\n', after @ ..] if taken + end + 2 <= TRAILERS_MAX => rest = after,
            _ => return Err(()),
        }
        lines += 1;
    }
}

/// Each line is a field: a token, a colon right behind it, and text.
fn syntax(section: &[u8], lines: usize) -> Result<(), ()> {
    if lines > FIELDS_MAX {
        return Err(());
    }
    let mut space = vec![httparse::EMPTY_HEADER; FIELDS_MAX + 1];
    let Ok(httparse::Status::Complete((len, fields))) = httparse::parse_headers(section, &mut space) else {
        return Err(());
    };
    assert_eq!((len, fields.len()), (section.len(), lines), "{}", shown(section));
    let is_right =
        fields.iter().all(|field| !field.name.is_empty() && blanks_off(field.value) == field.value);
    if is_right { Ok(()) } else { Err(()) }
}
