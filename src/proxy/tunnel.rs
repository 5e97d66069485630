//! After a 101: bytes both ways, until both ends have ended or the drain's deadline cuts them.
//!
//! An end of one direction is passed on and leaves the other open. Nothing is counted here: the request ended with its
//! 101.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::proxy::pool::Lease;

/// What is held for each direction of a tunnel.
const BUFFER: usize = 16 * 1024;

/// A switch of protocols that is under way.
#[derive(Debug)]
pub(super) struct Tunnel {
    client: OnUpgrade,
    app: OnUpgrade,
    lease: Lease,
}

impl Tunnel {
    pub(super) fn new(client: OnUpgrade, app: OnUpgrade, lease: Lease) -> Self {
        Self { client, app, lease }
    }

    /// Runs it. What either side sent ahead, right behind its head, comes first.
    pub(super) async fn run(self) {
        let Self { client, app, lease } = self;
        let (client, app) = match tokio::try_join!(client, app) {
            Ok(both) => both,
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "tunnel was not opened");
                return;
            }
        };
        // The driver of the app's connection has ended by handing the socket over.
        drop(lease);
        let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
        // An error is an end like any other: both sockets are closed.
        let _ = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut app, BUFFER, BUFFER).await;
    }
}
