//! The simulation study of the judge: how often it blames a healthy release, how soon it finds a bad one, beside other
//! rules on the same traffic; and the properties that its evidence must have. All of it from seeds.
//!
//! `cargo test --test study` runs a short one. `STUDY=full cargo test --test study -- --nocapture` runs the one whose tables
//! are in the documentation, and prints them; it takes about an hour on two processors.

mod canary;
mod cases;
mod chance;
mod effects;
mod exact;
mod history;
mod properties;
mod records;
mod rivals;
mod run;
mod service;
mod shape;
mod studies;
mod tables;
