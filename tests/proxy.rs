//! The data path over real sockets: raw bytes from clients, small scripted apps on port 0, and what the recorder saw.
#![expect(clippy::unwrap_used, reason = "a test's scripted app and client fail by panicking")]

#[path = "proxy/bodies.rs"]
mod bodies;
#[path = "proxy/endings.rs"]
mod endings;
#[path = "proxy/framing.rs"]
mod framing;
#[path = "proxy/harness.rs"]
mod harness;
#[path = "proxy/lifecycle.rs"]
mod lifecycle;
#[path = "proxy/mirroring.rs"]
mod mirroring;
#[path = "proxy/splitting.rs"]
mod splitting;
#[path = "proxy/upstream.rs"]
mod upstream;
