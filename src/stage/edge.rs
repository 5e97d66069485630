//! The edge: sends each request to whatever is live now.
//!
//! It deliberately does not know of deployments, only of the address that is live. Health checks do not pass here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::stage::http::{self as stage_http, Client, Reply};
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
    requests: AtomicU64,
    bad_gateway: AtomicU64,
}

impl Edge {
    /// An edge before what `live` names.
    pub fn new(live: watch::Receiver<Option<Live>>) -> Self {
        let (requests, bad_gateway) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { live, client: Client::default(), requests, bad_gateway }
    }

    /// What it has done so far.
    pub fn totals(&self) -> EdgeTotals {
        EdgeTotals {
            requests: self.requests.load(Ordering::Relaxed),
            bad_gateway: self.bad_gateway.load(Ordering::Relaxed),
        }
    }

    fn upstream(&self) -> Option<SocketAddr> {
        self.live.borrow().as_ref().and_then(|live| live.addresses).map(|addresses| addresses.public)
    }

    async fn forward(&self, request: Request<Incoming>) -> Reply {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Some(upstream) = self.upstream() else {
            return self.bad_gateway("nothing is live");
        };
        let (mut parts, body) = request.into_parts();
        let body = match stage_http::body(Request::new(body)).await {
            Ok(body) => body,
            Err(_) => return self.bad_gateway("the request broke off"),
        };
        parts.headers.remove(http::header::CONNECTION);
        parts.headers.remove(http::header::TRANSFER_ENCODING);
        match self.client.send(upstream, Request::from_parts(parts, Full::new(body))).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                parts.headers.remove(http::header::CONNECTION);
                parts.headers.remove(http::header::TRANSFER_ENCODING);
                Reply::from_parts(parts, Full::new(body))
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the edge got no reply");
                self.bad_gateway("the upstream did not answer")
            }
        }
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
