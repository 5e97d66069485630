//! The life of an app under the real binary: signals, wrappers, orphans, drains, restarts, and the duties of PID 1.
//!
//! The app is this test binary, started again (see `app`). Linux only, as the agent is.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "lifecycle/agent.rs"]
mod agent;
#[path = "lifecycle/app.rs"]
mod app;
#[path = "lifecycle/by_hand.rs"]
mod by_hand;
#[path = "lifecycle/drain.rs"]
mod drain;
#[path = "lifecycle/first.rs"]
mod first;
#[path = "lifecycle/inherited.rs"]
mod inherited;
#[path = "lifecycle/memory.rs"]
mod memory;
#[path = "lifecycle/restart.rs"]
mod restart;
#[path = "lifecycle/signals.rs"]
mod signals;
#[path = "lifecycle/socket.rs"]
mod socket;
#[path = "lifecycle/wrappers.rs"]
mod wrappers;
