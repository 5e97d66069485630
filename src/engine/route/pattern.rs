//! A route that a person wrote down: `/users/{id}/orders`.

use std::sync::Arc;

/// The longest pattern, in characters.
const PATTERN_MAX: usize = 200;

/// What is wrong with a pattern, without repeating it.
pub type Wrong = &'static str;

/// A route's pattern. A path matches it when all segments do; empty segments of the path are not looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Arc<str>,
    /// `None`: any segment.
    pieces: Vec<Option<Box<str>>>,
    /// Whatever follows the pieces belongs to it, too.
    is_open: bool,
}

impl Pattern {
    /// From `/users/{id}/orders`; a last `{name...}` or `*` stands for all that follows, at least one segment.
    pub fn parse(text: &str) -> Result<Self, Wrong> {
        if !text.starts_with('/') {
            return Err("does not begin with /");
        }
        if text.len() > PATTERN_MAX {
            return Err("is too long");
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\#?%;<>".contains(&b)) {
            return Err("holds what no route does (spaces, \", \\, #, ?, %, ;, <, > or other than ASCII)");
        }
        let mut segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
        let is_open = segments.last().is_some_and(|last| *last == "*" || last.ends_with("...}"));
        if is_open {
            segments.pop();
        }
        let pieces = segments.into_iter().map(piece).collect::<Result<_, _>>()?;
        Ok(Self { text: text.into(), pieces, is_open })
    }

    /// As it was written; also its label.
    pub const fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Whether these segments of a path, none of them empty, match.
    pub(super) fn matches(&self, segments: &[&[u8]]) -> bool {
        let fits = if self.is_open {
            segments.len() > self.pieces.len()
        } else {
            segments.len() == self.pieces.len()
        };
        let same = |(piece, segment): (&Option<Box<str>>, &&[u8])| {
            piece.as_ref().is_none_or(|wanted| is_same(segment, wanted.as_bytes()))
        };
        fits && self.pieces.iter().zip(segments).all(same)
    }
}

fn piece(segment: &str) -> Result<Option<Box<str>>, Wrong> {
    if !segment.contains(['{', '}', '*']) {
        return Ok(Some(segment.into()));
    }
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    match name {
        Some(name) if !name.is_empty() && is_name(name) => Ok(None),
        Some(_) | None => Err("holds braces or * that are not one whole segment, such as {id}"),
    }
}

/// Whether the segment, its percent-encoding undone and without what follows a `;`, is the word.
fn is_same(segment: &[u8], word: &[u8]) -> bool {
    let segment = segment.split(|&b| b == b';').next().unwrap_or_default();
    let mut rest = segment;
    for &wanted in word {
        let byte = match rest {
            [b'%', high, low, tail @ ..] => {
                rest = tail;
                let digit = |d: u8| char::from(d).to_digit(16);
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low) as u8)
            }
            [byte, tail @ ..] => {
                rest = tail;
                Some(*byte)
            }
            [] => None,
        };
        if byte != Some(wanted) {
            return false;
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        let segments: Vec<&[u8]> = path.as_bytes().split(|&b| b == b'/').filter(|s| !s.is_empty()).collect();
        Pattern::parse(pattern).unwrap().matches(&segments)
    }

    #[test]
    fn a_pattern_matches_segment_by_segment() {
        assert!(matches("/users/{id}", "/users/42") && matches("/users/{id}", "//users/a%2Fb/"));
        assert!(matches("/users/{id}", "/%75sers/42") && matches("/users/{id}", "/users;v=1/42"));
        assert!(!matches("/users/{id}", "/users") && !matches("/users/{id}", "/users/42/x"));
        assert!(!matches("/users/{id}", "/user/42") && !matches("/users/{id}", "/userss/42"));
        assert!(matches("/", "/") && !matches("/", "/x"));
        for open in ["/files/{path...}", "/files/*"] {
            assert!(matches(open, "/files/a/b/c") && !matches(open, "/files"), "{open}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for wrong in
            ["", "users", "/a b", "/a?x=1", "/a/{", "/a/x{id}", "/a/{}", "/*/a", "/\u{e9}", "/{a\"b}"]
        {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Pattern::parse(&format!("/{}", "a".repeat(PATTERN_MAX))).is_err());
    }
}
