//! The image, and a user's own image with the agent in it, in a real Docker engine.
//!
//! `scripts/test` starts the engine. Without it these tests skip, and say so; where `CI` is set that is a failure.
//! `CONTAINER=off` leaves them out, `CONTAINER_BUILD=1` builds the whole `Dockerfile` instead of taking cargo's binary.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "container/docker.rs"]
mod docker;
#[path = "container/health.rs"]
mod health;
#[path = "container/images.rs"]
mod images;
#[path = "container/life.rs"]
mod life;
#[path = "container/limits.rs"]
mod limits;
