//! Health, metrics, API and the dashboard: renderings of one snapshot.
//!
//! Owns the admin port and the control socket: who may read and who may act there, the last 15 minutes of points,
//! the last 5 minutes by route, and the cumulative totals behind the metrics. The agent publishes once a second; everything else here only renders.
//!
//! It does not know how a verdict is reached, where records are kept or how a pause is carried out: what acts, and what
//! is read from the store, is a [`Command`] to the agent. It owns the JSON that it serves; no type of the engine is
//! serialised as it is, so that the engine may change without breaking whoever reads.

mod access;
mod alert_metrics;
mod api;
mod by_hand;
#[doc(hidden)]
pub mod fuzz;
mod health;
mod host;
mod host_metrics;
mod live;
mod metrics;
mod pages;
mod peers;
mod probe_metrics;
mod probes;
mod releases;
mod routes;
mod series;
mod serve;
mod shared;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod totals;
mod view;
mod words;

pub use crate::admin::alert_metrics::{AlertCount, CountAlerts};
pub use crate::admin::health::{
    Answer, Dependencies, Later, Options as HealthOptions, PublicRequest, public_page,
};
pub use crate::admin::live::{AppView, Live, Phase, ServiceView, StoreView};
pub use crate::admin::peers::{PeerView, PeersView};
pub use crate::admin::serve::{serve, serve_unix};
pub use crate::admin::shared::{Command, Rehearsal, Reply, Shared};
