//! Rolling back on Railway, end to end: real agents on the stage, which call a stand-in of Railway's GraphQL API (`tests/railway/api.py`)
//! that answers by the real schema.
//!
//! `RAILWAY=off` leaves these out. The longer ones run when asked for: `cargo nextest run --test railway --run-ignored all`. The
//! soak is one of them: `RAILWAY_RUNS=100 SEED=7 cargo nextest run --test railway --run-ignored all soak`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "railway/alone.rs"]
mod alone;
#[path = "probes/asked.rs"]
#[expect(dead_code, reason = "most of it is for probes that are asked by themselves")]
mod asked;
#[path = "probes/postgres/cluster.rs"]
#[expect(dead_code, reason = "one server is wanted here, without replicas, poolers and faults")]
mod cluster;
#[path = "railway/plays.rs"]
mod plays;
#[path = "stage/process.rs"]
mod process;
#[path = "railway/scene.rs"]
mod scene;
#[path = "probes/server.rs"]
#[expect(dead_code, reason = "one server is wanted here, that runs until the end")]
mod server;
#[path = "alerts/sink.rs"]
#[expect(dead_code, reason = "who signs and who is closed is the alerts' own test")]
mod sink;
#[path = "railway/soak.rs"]
mod soak;
#[path = "railway/stand_in.rs"]
mod stand_in;
#[path = "railway/told.rs"]
mod told;

use crate::process::WAIT;
