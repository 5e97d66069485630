//! Arguments, log set-up, exit codes, tables for people.

pub mod explain;
pub mod read;
