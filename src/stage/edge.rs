//! The edge: sends each request to whatever is live now, to one agent after the other.
//!
//! It deliberately does not know of deployments, only of the addresses that are live. Health checks do not pass here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stage::http::{self as stage_http, Client, ClientError, Reply};
use crate::stage::platform::Live;

/// How long open requests are given when the stage ends.
const DRAIN: Duration = Duration::from_secs(1);

/// What the edge has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EdgeTotals {
    /// Requests taken.
    pub requests: u64,
    /// Requests that it answered itself, with 502: nothing live, or no connection, or no whole reply.
    pub bad_gateway: u64,
}

/// The edge's state.
#[derive(Debug)]
pub struct Edge {
    live: watch::Receiver<Option<Live>>,
    client: Client,
    turn: AtomicUsize,
    requests: AtomicU64,
    bad_gateway: AtomicU64,
}

impl Edge {
    /// An edge before what `live` names.
    pub fn new(live: watch::Receiver<Option<Live>>) -> Self {
        let (requests, bad_gateway) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { live, client: Client::default(), turn: AtomicUsize::new(0), requests, bad_gateway }
    }

    /// What it has done so far.
    pub fn totals(&self) -> EdgeTotals {
        EdgeTotals {
            requests: self.requests.load(Ordering::Relaxed),
            bad_gateway: self.bad_gateway.load(Ordering::Relaxed),
        }
    }

    /// Where a request may go: whose turn it is, then the others.
    fn upstreams(&self) -> Vec<SocketAddr> {
        let live = self.live.borrow();
        let agents = live.as_ref().map(|live| live.agents.as_slice()).unwrap_or_default();
        let mut upstreams: Vec<SocketAddr> = agents.iter().flatten().map(|agent| agent.public).collect();
        if upstreams.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % upstreams.len();
            upstreams.rotate_left(turn);
        }
        upstreams
    }

    async fn forward(&self, request: Request<Incoming>) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (mut parts, body) = request.into_parts();
        let body = match stage_http::body(Request::new(body)).await {
            Ok(body) => body,
            Err(_) => return self.bad_gateway("the request broke off"),
        };
        parts.headers.remove(http::header::CONNECTION);
        parts.headers.remove(http::header::TRANSFER_ENCODING);
        let mut why = "nothing is live";
        for upstream in self.upstreams() {
            let request = Request::from_parts(parts.clone(), Full::new(body.clone()));
            match self.client.send(upstream, request).await {
                Ok(response) => {
                    let (mut parts, body) = response.into_parts();
                    parts.headers.remove(http::header::CONNECTION);
                    parts.headers.remove(http::header::TRANSFER_ENCODING);
                    return Reply::from_parts(parts, Full::new(body));
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the edge got no reply");
                    why = "the upstream did not answer";
                    // Only who refused has surely seen nothing of the request.
                    if !matches!(error, ClientError::Connect { .. }) {
                        break;
                    }
                }
            }
        }
        self.bad_gateway(why)
    }

    fn bad_gateway(&self, why: &str) -> Reply {
        self.bad_gateway.fetch_add(1, Ordering::Relaxed);
        stage_http::json(StatusCode::BAD_GATEWAY, &serde_json::json!({ "error": why }))
    }
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, edge: Arc<Edge>, stop: CancellationToken) {
    let handler = move |request| {
        let edge = edge.clone();
        async move { edge.forward(request).await }
    };
    stage_http::serve(listener, stop, DRAIN, handler).await;
}
