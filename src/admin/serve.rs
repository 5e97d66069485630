//! The accept loops: the admin port and the control socket, with a limit on everything a peer could hold on to.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin::access::Peer;
use crate::admin::api;
use crate::admin::shared::Shared;

/// The largest head that is read; a larger one is answered 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long the loop rests when it cannot accept (no file descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What a peer may hold on to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Connections open at once on one listener; further ones wait in the backlog.
    pub(super) connections: usize,
    /// How long a head may take, and a connection be idle between two; then the connection is closed.
    pub(super) head: Duration,
    /// How long a connection lives; then it is closed after the request under way.
    pub(super) life: Duration,
    /// How long what is under way may take at the end; then it is cut off.
    pub(super) grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            head: Duration::from_secs(15),
            life: Duration::from_secs(60 * 60),
            grace: Duration::from_secs(3),
        }
    }
}

/// Serves the admin port until `shutdown`, then lets what is under way end, for a few seconds at most.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, shutdown: CancellationToken) {
    serve_tcp_within(Limits::default(), listener, shared, shutdown).await;
}

/// Serves the control socket likewise. Whoever may open its file may act: its permissions are the caller's business.
pub async fn serve_unix(listener: UnixListener, shared: Arc<Shared>, shutdown: CancellationToken) {
    run(Limits::default(), listener, shared, shutdown).await;
}

pub(super) async fn serve_tcp_within(
    limits: Limits,
    listener: TcpListener,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
) {
    run(limits, listener, shared, shutdown).await;
}

/// A listener that says who came.
trait Entrance {
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<(Self::Io, Peer)>> + Send;
}

impl Entrance for TcpListener {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (io, address) = Self::accept(self).await?;
        io.set_nodelay(true)?;
        Ok((io, Peer::Tcp(address)))
    }
}

impl Entrance for UnixListener {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<(UnixStream, Peer)> {
        Self::accept(self).await.map(|(io, _)| (io, Peer::Unix))
    }
}

async fn run(limits: Limits, entrance: impl Entrance, shared: Arc<Shared>, shutdown: CancellationToken) {
    let router = api::router(shared, shutdown.clone());
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = Entrance::accept(&entrance), if open.len() < limits.connections => accepted,
        };
        match accepted {
            Ok((io, peer)) => {
                open.spawn(connection(limits, io, peer, router.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "admin connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let ended = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.grace, ended).await.is_err() {
        tracing::debug!(open = open.len(), "admin connections cut off");
    }
}

async fn connection<I>(limits: Limits, io: I, peer: Peer, router: Router, shutdown: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = tokio::time::sleep(limits.life) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(limits.grace, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &error as &dyn std::error::Error, "admin connection ended badly");
    }
}
