//! Any request to the admin port, for fuzzing: behind the parsing of its head, which is hyper's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin::access::Peer;
use crate::admin::api;
use crate::admin::shared::Shared;
use crate::clock::Clock;
use crate::config::Secret;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The answer's status.
    pub status: u16,
    /// The agent would have been asked to do something, or for something.
    pub asked: bool,
}

/// Asks, from this machine or from elsewhere, an admin port that has nothing to show and no agent behind it.
pub async fn ask(request: Request<Vec<u8>>, token: Option<Secret>, is_local: bool) -> Served {
    let (commands, mut asked) = mpsc::channel(1);
    let shared = Arc::new(Shared::new(Clock::start(), token, commands));
    let router = TowerToHyperService::new(api::router(shared, CancellationToken::new()));
    let mut request = request.map(Body::from);
    let address = if is_local { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(192, 0, 2, 1) };
    request.extensions_mut().insert(Peer::Tcp(SocketAddr::from((address, 1))));
    let mut answer = std::pin::pin!(router.call(request));
    let mut is_asked = false;
    loop {
        tokio::select! {
            answer = &mut answer => {
                let Ok(answer) = answer;
                return Served { status: answer.status().as_u16(), asked: is_asked };
            }
            // Dropped unanswered, which the handler is told of.
            Some(_command) = asked.recv() => is_asked = true,
        }
    }
}
