//! What the agent tells the data path: where the app is, which start of it that is, and in which phase.
//!
//! A plan is swapped whole and read without a lock. It knows nothing of how requests are sent.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};

use crate::proxy::split::Split;

/// Where requests go. Swapped whole by the agent; a request reads it once, before any byte of it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The app that serves.
    pub stable: Arm,
    /// A second one beside it that gets a share; `None`: all goes to `stable`.
    pub split: Option<Split>,
}

impl Plan {
    /// All requests go to one app.
    pub const fn whole(stable: Arm) -> Self {
        Self { stable, split: None }
    }
}

/// One app that requests can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arm {
    /// Its address.
    pub upstream: Upstream,
    /// Counts its starts: connections to an earlier start are never used again.
    pub generation: u64,
    /// How far it is.
    pub phase: Phase,
}

/// An app's address.
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
    /// A socket in the file system.
    Unix {
        /// Its path.
        path: PathBuf,
    },
}

/// How far the app is. It decides what a refused connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not ready yet: requests are held for a while, and a refusal is charged to nobody.
    Starting,
    /// Not ready, and not to be asked even if it accepts connections: requests are held.
    Warming,
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
    /// The first `Authorization` line.
    pub authorization: Option<&'a [u8]>,
}

/// A page of the agent's own.
pub enum LocalPage {
    /// It is there.
    Now(Response<Bytes>),
    /// It has to be asked for; whoever makes it bounds how long that may take. The connection waits for it, nobody else.
    Soon(Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>),
}

/// The agent's own pages. They are asked before all else; what they answer is neither counted nor sent to the app.
pub type LocalPages = Arc<dyn Fn(&LocalRequest<'_>) -> Option<LocalPage> + Send + Sync>;
