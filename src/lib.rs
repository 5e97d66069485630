//! Outrigger: one binary that runs beside every replica of a web service, supervises the app, proxies and observes
//! every request, judges each release against a baseline, and rolls a bad one back.
//!
//! `docs/ARCHITECTURE.md` is the map. In short: `engine` is pure and decides; the limbs (`proxy`, `supervisor`,
//! `platform`, `store`, `admin`) are each the only door to one part of the outside world and know nothing of each
//! other; `agent` is where they meet.

pub mod admin;
pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
#[doc(hidden)]
pub mod fuzz;
pub mod host;
pub mod https;
pub mod notify;
pub mod offline;
mod pack;
pub mod peers;
pub mod platform;
pub mod prober;
pub mod proxy;
pub mod recorder;
pub mod stage;
pub mod store;
pub mod supervisor;
