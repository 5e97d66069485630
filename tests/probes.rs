//! The probes against real servers that the tests start, with faults that are really made.
//!
//! `scripts/test` installs the servers. Without them these tests skip, and say so; where `CI` is set that is a failure.
//! `PROBES=off` leaves them out.

#[path = "probes/agent.rs"]
mod agent;
#[path = "probes/asked.rs"]
mod asked;
#[path = "probes/deep.rs"]
mod deep;
#[path = "probes/http.rs"]
mod http;
#[path = "probes/mysql.rs"]
mod mysql;
#[path = "probes/postgres.rs"]
mod postgres;
#[path = "probes/redis.rs"]
mod redis;
#[path = "probes/server.rs"]
mod server;
