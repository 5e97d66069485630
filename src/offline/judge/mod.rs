//! The judge on recorded ticks from anywhere: `docs/JUDGE_INPUT.md` is the format.
//!
//! Three recordings go in (a baseline, a candidate and perhaps a control), a judgement a tick comes out. Owns the format
//! and what is wrong with it. It reads no file by its name, knows no clock and prints nothing.
//!
//! **Invariant:** whatever bytes it is given, reading ends in bounded memory, in a recording or in faults that name the
//! line.

mod fault;
mod histogram;
mod history;
mod line;
mod recording;
mod rounds;
mod values;
mod watched;

#[cfg(test)]
mod tests;

pub use crate::offline::judge::fault::Faults;
pub use crate::offline::judge::history::baseline;
pub use crate::offline::judge::line::COUNT_MAX;
pub use crate::offline::judge::recording::{LINE_BYTES_MAX, LINES_MAX, read};
pub use crate::offline::judge::rounds::Recording;
pub use crate::offline::judge::watched::{Accusation, Inputs, Judging, Moment, Summary};
