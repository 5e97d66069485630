//! The whole path with the real binary: the demo's scenarios, agents killed at random moments, restarts, and an
//! operator's own roll-back command.
//!
//! `KILLS=50` kills so many agents instead of five, `SEED=7` chooses the same moments again. (Neither begins with
//! `OUTRIGGER_`: the agent refuses such variables that it does not know.)
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "stage/command.rs"]
mod command;
#[path = "stage/demo.rs"]
mod demo;
#[path = "stage/kills.rs"]
mod kills;
#[path = "stage/process.rs"]
mod process;
#[path = "stage/replicas.rs"]
mod replicas;
#[path = "stage/restart.rs"]
mod restart;
#[path = "stage/scene.rs"]
mod scene;
