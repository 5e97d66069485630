//! What strace and callgrind wrote, as numbers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// System calls, from the table of `strace -c`.
pub(crate) fn system_calls(file: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let text = fs::read_to_string(file)?;
    let mut calls = BTreeMap::new();
    // `% time  seconds  usecs/call  calls  [errors]  syscall`, between two lines of dashes.
    for line in
        text.lines().skip_while(|l| !l.starts_with("---")).skip(1).take_while(|l| !l.starts_with("---"))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let [_, _, _, count, .., name] = words[..] {
            calls.insert(name.to_owned(), count.parse().with_context(|| format!("read `{line}`"))?);
        }
    }
    anyhow::ensure!(!calls.is_empty(), "strace counted nothing:\n{text}");
    Ok(calls)
}

/// All instructions, from callgrind's own file.
pub(crate) fn instructions(file: &Path) -> anyhow::Result<f64> {
    let text = fs::read_to_string(file)?;
    let total = text.lines().find_map(|l| l.strip_prefix("totals:").or_else(|| l.strip_prefix("summary:")));
    total.context("callgrind counted nothing")?.trim().parse().context("read callgrind's total")
}
