//! What is wrong with a configuration, for the person who must put it right: where, what was found, what would be right.

use std::fmt;
use std::path::Path;

use crate::config::value::Origin;

/// One thing that is wrong. Its text is one line and holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    rank: (u8, usize),
    text: String,
}

impl Fault {
    /// Something wrong at one place.
    pub(super) fn at(origin: &Origin, text: String) -> Self {
        Self { rank: origin.rank(), text: format!("{origin}: {text}") }
    }

    /// Something wrong inside a file that cannot be parsed.
    pub(super) fn in_file(path: &Path, line: usize, column: usize, text: &str) -> Self {
        Self { rank: (0, line), text: format!("{}:{line}:{column}: {text}", path.display()) }
    }

    /// A whole file that cannot be read.
    pub(super) fn file(path: &Path, text: &str) -> Self {
        Self { rank: (0, 0), text: format!("{}: {text}", path.display()) }
    }

    /// Something wrong between several options; the text names their places.
    pub(super) const fn between(text: String) -> Self {
        Self { rank: (4, 0), text }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All that is wrong; never empty. Displayed one a line: the file from its top, then variables, flags, and what only
/// goes wrong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// `None` without any.
    pub(super) fn from_list(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by_key(|fault| fault.rank);
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// Each of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Fault> {
        self.0.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The candidate that was probably meant by `found`: the nearest by edit distance, if it is near.
pub(super) fn meant<'a>(found: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_ascii_lowercase();
    let measured = candidates.map(|name| (distance(&found, &name.to_ascii_lowercase()), name));
    let (least, candidate) = measured.min_by_key(|&(least, _)| least)?;
    // A third of the letters wrong, or two swapped, is still a slip; more is another word.
    let length = found.chars().count();
    (least <= (length / 3).max(if length > 4 { 2 } else { 1 })).then_some(candidate)
}

/// Levenshtein's distance: letters added, dropped or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_single_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("watch", "watch"), 0);
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["watch", "warm_up", "cooldown"];
        assert_eq!(meant("wtach", known.into_iter()), Some("watch"));
        assert_eq!(meant("wach", known.into_iter()), Some("watch"));
        assert_eq!(meant("cool_down", known.into_iter()), Some("cooldown"));
        assert_eq!(meant("zebra", known.into_iter()), None);
    }
}
