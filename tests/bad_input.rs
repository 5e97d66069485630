//! What a person gets back who made a mistake, or whose machine did: the real binary, each fault by its message and exit
//! code. A message names the option, where it stands, and what would be right.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "bad_input/agent.rs"]
mod agent;
#[path = "bad_input/app.rs"]
mod app;
#[path = "bad_input/command_line.rs"]
mod command_line;
#[path = "bad_input/configuration.rs"]
mod configuration;
#[path = "bad_input/ports.rs"]
mod ports;
#[path = "bad_input/probes.rs"]
mod probes;
#[path = "bad_input/secrets.rs"]
mod secrets;
#[path = "bad_input/store.rs"]
mod store;
