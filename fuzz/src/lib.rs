//! The targets, as a library that each of `fuzz_targets/` links.

pub mod targets;
