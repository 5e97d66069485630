//! Agents in network namespaces of their own: found by a name service, with nothing but IPv6 between them, cut off by
//! packet filters, killed and frozen. The platform stands outside, and carries out every order that it gets.
//!
//! It needs root, `ip` and `ip6tables`, which `scripts/test` installs. Without them these tests skip, and say so; where
//! `CI` is set that is a failure. `NETNS=off` leaves them out.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "peers/agent.rs"]
mod agent;
#[path = "peers/land.rs"]
mod land;
#[path = "peers/meeting.rs"]
mod meeting;
#[path = "peers/names.rs"]
mod names;
#[path = "peers/platform.rs"]
mod platform;
#[path = "peers/scene.rs"]
mod scene;
#[path = "peers/vote.rs"]
mod vote;
