//! Arguments, log set-up, exit codes, tables for people.

pub mod demo;
