//! The stage's HTTP/1.1: a small server loop and a small pooled client, both for loopback and small bodies.
//!
//! Bodies are held whole: what is sent over the stage is a few hundred bytes. It deliberately is not the agent's proxy,
//! so that a fault in that one cannot hide in its own test bed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Open connections of one server; more wait in the backlog.
const CONNECTIONS_MAX: usize = 4096;
/// The longest body, either way; a longer one is an error.
const BODY_MAX: usize = 1 << 20;
/// Idle connections kept for one address; more are closed.
const IDLE_MAX: usize = 256;
/// Addresses with idle connections; at the bound all are closed, for agents come and go.
const ADDRESSES_MAX: usize = 16;
/// The rest after an accept that failed (out of descriptors, mostly), so that the loop does not spin.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// A reply, whole.
pub type Reply = Response<Full<Bytes>>;

/// Why a request got no reply.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or no longer.
    #[error("connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The connection failed before the reply's head was whole.
    #[error("send a request to {address}")]
    Send {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: hyper::Error,
    },
    /// The reply's body broke off or was too long.
    #[error("read the reply of {address}")]
    Read {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No reply in time.
    #[error("{address} did not answer in time")]
    TimedOut {
        /// Who.
        address: SocketAddr,
    },
    /// The request itself cannot be written.
    #[error("build the request")]
    Build(#[from] http::Error),
}

type Sender = SendRequest<Full<Bytes>>;

/// A client with a pool of idle connections. Clones share the pool.
#[derive(Clone, Debug, Default)]
pub struct Client {
    idle: Arc<Mutex<HashMap<SocketAddr, Vec<Sender>>>>,
}

impl Client {
    /// Sends a request and reads the reply whole. Dropping the future closes the connection it used.
    ///
    /// A connection from the pool may have been closed by the other side just now; a GET is then sent once more on a
    /// fresh one.
    pub async fn send(
        &self,
        address: SocketAddr,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Bytes>, ClientError> {
        if let Some(mut sender) = self.take(address).await {
            match sender.send_request(request.clone()).await {
                Ok(response) => return self.finish(address, sender, response).await,
                Err(error) if error.is_canceled() || request.method() == Method::GET => {}
                Err(source) => return Err(ClientError::Send { address, source }),
            }
        }
        let mut sender = connect(address).await?;
        let response =
            sender.send_request(request).await.map_err(|source| ClientError::Send { address, source })?;
        self.finish(address, sender, response).await
    }

    /// A GET with a limit in time.
    pub async fn get(
        &self,
        address: SocketAddr,
        path: &str,
        host: &str,
        within: Duration,
    ) -> Result<Response<Bytes>, ClientError> {
        let request = Request::get(path).header(http::header::HOST, host).body(Full::default())?;
        tokio::time::timeout(within, self.send(address, request))
            .await
            .unwrap_or(Err(ClientError::TimedOut { address }))
    }

    async fn finish(
        &self,
        address: SocketAddr,
        sender: Sender,
        response: Response<Incoming>,
    ) -> Result<Response<Bytes>, ClientError> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|source| ClientError::Read { address, source })?.to_bytes();
        self.put(address, sender);
        Ok(Response::from_parts(head, body))
    }

    async fn take(&self, address: SocketAddr) -> Option<Sender> {
        loop {
            let mut sender = self.lock().get_mut(&address)?.pop()?;
            if sender.ready().await.is_ok() {
                return Some(sender);
            }
        }
    }

    fn put(&self, address: SocketAddr, sender: Sender) {
        let mut idle = self.lock();
        if idle.len() >= ADDRESSES_MAX && !idle.contains_key(&address) {
            idle.clear();
        }
        let senders = idle.entry(address).or_default();
        if senders.len() < IDLE_MAX && !sender.is_closed() {
            senders.push(sender);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Vec<Sender>>> {
        self.idle.lock().expect("no holder of this lock panics")
    }
}

async fn connect(address: SocketAddr) -> Result<Sender, ClientError> {
    let stream =
        TcpStream::connect(address).await.map_err(|source| ClientError::Connect { address, source })?;
    // Without it small writes may wait for an acknowledgement; a failure costs only that.
    let _best_effort = stream.set_nodelay(true);
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| ClientError::Send { address, source })?;
    // It ends with its sender; its error is seen by whoever waits for the reply.
    tokio::spawn(connection);
    Ok(sender)
}

/// Serves until `stop`, then lets open requests end for at most `drain`.
pub async fn serve<H, F>(listener: TcpListener, stop: CancellationToken, drain: Duration, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, stop.clone(), handler.clone()));
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "accept failed on the stage");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    // At the bound the rest is cut off: the set aborts its tasks when dropped.
    let _cut_off = tokio::time::timeout(drain, all_ended).await;
}

async fn serve_connection<H, F>(stream: TcpStream, stop: CancellationToken, handler: H)
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let _best_effort = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| {
        let reply = handler(request);
        async move { Ok::<_, Infallible>(reply.await) }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service)
    );
    // A connection's error is the other side's leaving, which that side counts itself.
    tokio::select! {
        _ended = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}

/// A body within the bound, or why not.
pub async fn body(request: Request<Incoming>) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    Ok(Limited::new(request.into_body(), BODY_MAX).collect().await?.to_bytes())
}

/// A reply with a JSON body.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(value.to_string())));
    *reply.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(http::header::CONTENT_TYPE, json);
    reply
}
