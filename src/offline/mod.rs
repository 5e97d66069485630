//! Judging what was recorded, without an agent: the engine's own judge over ticks that lie in files or in a store.
//!
//! Owns how recorded ticks are read and in which order they are handed to the judge. It deliberately knows no threshold
//! and no rule of judging: those are the engine's, and what is shown to whom is the command line's.

pub mod backtest;
pub mod detectability;
pub mod judge;
pub mod replay;

#[cfg(test)]
mod tests;
