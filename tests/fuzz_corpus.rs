//! The corpus of the fuzz targets, replayed: what fuzzing once found stays found, and the corpus is never stale.
//!
//! The targets themselves stand in `fuzz/`, which is a workspace of its own; this runs the same functions.

#[expect(unreachable_pub, reason = "what is public there is so for the fuzzers")]
#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};

/// A corpus is small, or replaying it would not be free.
const FILES_MAX: usize = 2_000;
const BYTES_MAX: u64 = 64 << 10;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_of_the_corpus_passes() {
    for (name, target) in targets::TARGETS {
        let files = corpus(name);
        assert!((1..=FILES_MAX).contains(&files.len()), "{name}: {} files", files.len());
        for file in files {
            let data = fs::read(&file).expect("it can be read");
            assert!(data.len() as u64 <= BYTES_MAX, "{} is large", file.display());
            eprintln!("{}", file.display());
            target(&data);
        }
    }
}

/// Else a folder, or a target, would be left out in silence.
#[test]
fn folders_and_targets_are_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| {
        let entries = fs::read_dir(root.join(folder)).expect("it is there");
        let name = |entry: fs::DirEntry| entry.path().file_stem().expect("it has a name").to_owned();
        let mut names: Vec<_> = entries.map(|entry| name(entry.expect("it can be listed"))).collect();
        names.sort();
        names
    };
    let mut targets: Vec<std::ffi::OsString> = targets::TARGETS.map(|(name, _)| name.into()).into();
    targets.sort();
    assert_eq!(names("corpus"), targets);
    assert_eq!(names("fuzz_targets"), targets);
    for (name, _) in targets::TARGETS {
        targets::run(name, b"");
    }
}
