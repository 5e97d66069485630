//! What is wrong with recordings: every fault with its place, all at once.

use std::fmt;

/// Faults that are told one by one; of more only the number is told.
const SHOWN_MAX: usize = 20;

/// All that is wrong with all recordings. Displayed one a line, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    shown: Vec<String>,
    more: u64,
}

impl Faults {
    /// Something wrong with a line, counted from 1.
    pub(super) fn line(&mut self, name: &str, line: usize, text: &str) {
        self.push(|| format!("{name}:{line}: {text}"));
    }

    /// Something wrong with a whole recording.
    pub fn whole(&mut self, name: &str, text: &str) {
        self.push(|| format!("{name}: {text}"));
    }

    fn push(&mut self, text: impl FnOnce() -> String) {
        if self.shown.len() < SHOWN_MAX {
            // What stands in a recording must not move the cursor of a terminal.
            self.shown.push(text().chars().map(|c| if c.is_control() { ' ' } else { c }).collect());
        } else {
            self.more += 1;
        }
    }

    /// Those of another recording, behind these.
    pub(super) fn append(&mut self, others: Self) {
        others.shown.into_iter().for_each(|text| self.push(|| text));
        self.more += others.more;
    }

    /// Whether nothing is wrong.
    pub const fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, text) in self.shown.iter().enumerate() {
            write!(f, "{}{text}", if i == 0 { "" } else { "\n" })?;
        }
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
