//! How the kernel's files are read: bounded, from under a root, and with nonsense taken for silence.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// What is read of one file at most; the rest is not looked at. The longest are a list of mounts on a machine of many
/// containers, and the machine's processor times, of which the beginning is what counts.
const FILE_MAX: u64 = 1 << 20;

/// No limit is so high: the kernel writes one beyond it to say that there is none.
const NO_LIMIT: u64 = 1 << 60;

/// What stands for `/`.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) const fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// Where a path that begins with `/` lies.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path.as_ref().strip_prefix("/").unwrap_or(path.as_ref()))
    }

    /// The text of a file; `None` where there is none or it may not be read.
    pub(super) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.at(path)).ok()?.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether there is such a directory.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.at(path).is_dir()
    }
}

/// A file of one number.
pub(super) fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// A file of one limit; `None`: there is no limit.
pub(super) fn limit(text: &str) -> Option<u64> {
    number(text).filter(|limit| (1..NO_LIMIT).contains(limit))
}

/// The number behind `key` in a file of lines such as `key 12` or `key: 12 kB`, with blanks or a tab between.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    rest(text, key)?.split_ascii_whitespace().next()?.parse().ok()
}

/// What stands behind `key` in its line.
pub(super) fn rest<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let rest = line.strip_prefix(key)?;
        let rest = rest.strip_prefix(':').unwrap_or(rest);
        rest.starts_with([' ', '\t']).then(|| rest.trim())
    })
}

/// The share of time of the line `some avg10=1.23 …` of a pressure file.
pub(super) fn pressure(text: &str) -> Option<f64> {
    let percent =
        rest(text, "some")?.split_ascii_whitespace().find_map(|field| field.strip_prefix("avg10="))?;
    let percent: f64 = percent.parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_behind_its_key_and_no_other() {
        let text =
            "nr_throttled_long 9\nnr_throttled 12\nMemTotal:       24684092 kB\nThreads:\t7\nbad x\nempty\n";
        assert_eq!(keyed(text, "nr_throttled"), Some(12));
        assert_eq!(keyed(text, "MemTotal"), Some(24_684_092));
        assert_eq!(keyed(text, "Threads"), Some(7));
        for missing in ["bad", "empty", "nr", "MemFree", ""] {
            assert_eq!(keyed(text, missing), None, "{missing}");
        }
    }

    #[test]
    fn what_the_kernel_writes_for_no_limit_is_none() {
        for text in
            ["max\n", "9223372036854771712", "-1", "18446744073709551615", "99999999999999999999999", "0", ""]
        {
            assert_eq!(limit(text), None, "{text}");
        }
        assert_eq!(limit("536870912\n"), Some(536_870_912));
    }

    #[test]
    fn pressure_is_a_share() {
        let text = "some avg10=12.50 avg60=3.00 avg300=1.00 total=55\nfull avg10=1.00 avg60=0.00 total=1\n";
        assert_eq!(pressure(text), Some(0.125));
        for text in ["some avg10=nan", "some avg10=-1", "some avg10=101", "some total=1", "full avg10=1", ""]
        {
            assert_eq!(pressure(text), None, "{text}");
        }
    }
}
