//! Entry points for fuzzing: everything that reads bytes from outside, as functions of bytes. Not for use.
//!
//! Each limb has its own, beside what they reach into; they are collected here. The targets, and what must hold of each
//! result, are in `fuzz/`; `tests/fuzz_corpus.rs` replays the corpus in every run of the tests.

pub use crate::admin::fuzz as admin;
pub use crate::peers::fuzz as peers;
pub use crate::platform::fuzz as platform;
pub use crate::proxy::fuzz as proxy;
pub use crate::store::fuzz as store;
pub use crate::supervisor::fuzz as supervisor;
