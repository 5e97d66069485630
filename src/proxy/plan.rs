//! What the agent tells the data path: where the app is, which start of it that is, and in which phase.
//!
//! A plan is swapped whole and read without a lock. It knows nothing of how requests are sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};

/// Where requests go. Swapped whole by the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The app's address.
    pub upstream: Upstream,
    /// Counts the app's starts: connections to an earlier start are never used again.
    pub generation: u64,
    /// How far the app is.
    pub phase: Phase,
}

/// The app's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// On this machine: `127.0.0.1` is tried first, then `::1`; the one that worked is remembered.
    Loopback {
        /// The app's port.
        port: u16,
    },
    /// Elsewhere.
    Remote {
        /// `host:port`.
        authority: String,
    },
}

/// How far the app is. It decides what a refused connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet: requests are held for a while, and a refusal is charged to nobody.
    Starting,
    /// Ready: a refusal is the app's fault.
    Serving,
    /// Told to end: a refusal, or an exchange that it breaks off, is charged to the shutdown.
    Draining,
    /// Ended by itself, and not to come back: a refusal is the app's fault.
    Gone,
}

/// A request as far as the agent's own pages see it.
#[derive(Clone, Copy, Debug)]
pub struct LocalRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, without the query.
    pub path: &'a str,
    /// The first `Accept` line, where it is readable text.
    pub accept: Option<&'a str>,
}

/// The agent's own pages. They are asked before all else; what they answer is neither counted nor sent to the app.
pub type LocalPages = Arc<dyn Fn(&LocalRequest<'_>) -> Option<Response<Bytes>> + Send + Sync>;
