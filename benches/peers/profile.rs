//! The dearest things in a profile: which functions cost most with all that they call.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

/// Inclusive instructions by function.
pub(crate) async fn inclusive(file: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let output = Command::new("callgrind_annotate")
        .args(["--inclusive=yes", "--threshold=100", "--auto=no"])
        .arg(file)
        .kill_on_drop(true)
        .output()
        .await
        .context("run callgrind_annotate")?;
    ensure!(output.status.success(), "callgrind_annotate: {}", String::from_utf8_lossy(&output.stderr));
    let mut functions = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((name, instructions)) = function(line) {
            let sum: &mut f64 = functions.entry(name).or_default();
            // The same function from several files of source; what includes more includes the other.
            *sum = sum.max(instructions);
        }
    }
    Ok(functions)
}

/// `1,234,567 (12.34%)  file.rs:name [object]`.
fn function(line: &str) -> Option<(String, f64)> {
    let (count, rest) = line.trim().split_once(' ')?;
    let instructions = count.replace(',', "").parse().ok()?;
    let rest = rest.trim_start();
    let place = rest.strip_prefix('(').map_or(rest, |share| share.split_once(')').map_or(rest, |(_, p)| p));
    let (_, name) = place.trim().split_once(':')?;
    let name = name.rsplit_once(" [").map_or(name, |(name, _)| name);
    Some((name.to_owned(), instructions))
}
