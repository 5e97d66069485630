//! Whole fleets in virtual time, from seeds: real engines, and around them a simulated network, platform, disks, clocks
//! and people, all of which fail. What must hold is looked at after every step. See `docs/SIMULATION.md`.
//!
//! `FLEET_SEEDS=100000` runs so many fleets a theme, `FLEET_SEED=7` one of each theme with its story.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

#[path = "fleet/agent.rs"]
mod agent;
#[path = "fleet/app.rs"]
mod app;
#[path = "fleet/chance.rs"]
mod chance;
#[path = "fleet/counts.rs"]
mod counts;
#[path = "fleet/disk.rs"]
mod disk;
#[path = "fleet/invariants.rs"]
mod invariants;
#[path = "fleet/links.rs"]
mod links;
#[path = "fleet/mutation.rs"]
mod mutation;
#[path = "fleet/network.rs"]
mod network;
#[path = "fleet/past.rs"]
mod past;
#[path = "fleet/plan.rs"]
mod plan;
#[path = "fleet/platform.rs"]
mod platform;
#[path = "fleet/shell.rs"]
mod shell;
#[path = "fleet/sweep.rs"]
mod sweep;
#[path = "fleet/troubles.rs"]
mod troubles;
#[path = "fleet/world.rs"]
mod world;
