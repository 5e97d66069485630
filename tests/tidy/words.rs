//! What may stand in no file: open ends without an owner, and places that a reader of this tree cannot reach.
//!
//! The words are joined from halves, so that this file may stand in the tree, too.

use crate::source::{Fault, File};

const OPEN_ENDS: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];

/// Where a copy of the tree happened to lie, pages beside it, and the hosts of package registries: a clone has none of
/// them, and a mirror or a proxy has other names for them.
const OUTSIDE: [&str; 16] = [
    concat!("/wo", "rk/"),
    concat!("/tmp/", "wt"),
    concat!("../sha", "red"),
    concat!("sha", "red/design"),
    concat!("sha", "red/railway"),
    concat!(".lib", "rary/"),
    concat!("issues ", "show"),
    concat!("project ", "machine"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("registry.", "npmjs"),
    concat!("deb.", "debian.org"),
    concat!("security.", "debian.org"),
    concat!("proxy.", "golang.org"),
];

/// An open end needs an owner in brackets: `(name)` right after the word.
pub(crate) fn left_open(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, line) in file.text.lines().enumerate() {
        for word in OPEN_ENDS {
            if line
                .match_indices(word)
                .any(|(at, _)| is_word(line, at, word.len()) && !owned(&line[at + word.len()..]))
            {
                faults.push(file.fault(i + 1, format!("a `{word}` without an owner")));
            }
        }
    }
    faults
}

fn is_word(line: &str, at: usize, len: usize) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    !line[..at].ends_with(part) && !line[at + len..].starts_with(part)
}

fn owned(rest: &str) -> bool {
    rest.strip_prefix('(').and_then(|r| r.split_once(')')).is_some_and(|(owner, _)| !owner.trim().is_empty())
}

pub(crate) fn outside(file: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (i, line) in file.text.lines().enumerate() {
        let named = OUTSIDE.iter().filter(|word| line.contains(**word));
        faults.extend(
            named.map(|word| file.fault(i + 1, format!("names `{word}`, which is outside the tree"))),
        );
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_end_without_an_owner_is_refused() {
        let word = OPEN_ENDS[0];
        for text in [format!("// {word}: later"), format!("# {word}"), format!("// {word}(): later")] {
            assert_eq!(left_open(&File::new("src/a.rs", &text)).len(), 1, "{text}");
        }
        assert!(left_open(&File::new("src/a.rs", &format!("// {word}(ada): later"))).is_empty());
        assert!(left_open(&File::new("src/a.rs", &format!("let M{word} = 1;"))).is_empty());
    }

    #[test]
    fn a_place_outside_the_tree_is_refused() {
        for word in OUTSIDE {
            assert_eq!(outside(&File::new("docs/a.md", &format!("see {word}x"))).len(), 1, "{word}");
        }
        assert!(outside(&File::new("docs/a.md", "from crates.io or Debian")).is_empty());
    }
}
