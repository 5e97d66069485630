//! A platform on this machine that speaks a small API: JSON over HTTP/1.1, one connection a call.
//!
//! - `GET /v1/deployments` answers 200 `{"live": "<id>" | null, "deployments": [{"id", "release", "status",
//!   "created_at"}]}`.
//! - `POST /v1/rollbacks` with `{"decision", "from", "to"}` answers 202 `{"deployment": "<id>"}`, or 409
//!   `{"error": "…"}` where it will not. The same decision sent twice is carried out once.
//!
//! **When is an order refused?** If no connection came about, nothing was sent, and if the platform answered 4xx, it
//! said so itself. Once a byte may have left us, a time-out, a lost reply or a 5xx leaves open what was done.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::engine::record::{Acted, Known, Live, Order};
use crate::engine::release::Release;
use crate::https::chain;
use crate::platform::{BoxFuture, Journal, Platform, printable};

/// The largest reply that is read; a larger one counts as lost.
const REPLY_MAX: usize = 256 * 1024;

/// How much of a refusal is kept, in characters; the rest is cut off.
const ERROR_MAX: usize = 1000;

/// A client of the API.
#[derive(Debug)]
pub(super) struct Local {
    address: String,
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("the request could not be made")]
    Make(#[source] http::Error),
    #[error("no connection to {address}")]
    Connect {
        address: String,
        #[source]
        source: std::io::Error,
    },
    #[error("no connection to {address} within {}", humantime::format_duration(*after))]
    ConnectTimedOut { address: String, after: Duration },
    #[error("no reply from {address} within {}", humantime::format_duration(*after))]
    ReplyTimedOut { address: String, after: Duration },
    #[error("the reply from {address} was lost")]
    Lost {
        address: String,
        #[source]
        source: hyper::Error,
    },
    #[error("the reply from {address} could not be read")]
    Body {
        address: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the reply from {address} is larger than {REPLY_MAX} bytes")]
    TooLarge { address: String },
}

impl CallError {
    /// Nothing was sent, so nothing was done.
    const fn is_before_sending(&self) -> bool {
        match self {
            Self::Make(_) | Self::Connect { .. } | Self::ConnectTimedOut { .. } => true,
            Self::ReplyTimedOut { .. } | Self::Lost { .. } | Self::Body { .. } | Self::TooLarge { .. } => {
                false
            }
        }
    }
}

#[derive(Serialize)]
struct Rollback<'a> {
    decision: &'a str,
    from: &'a str,
    to: &'a str,
}

#[derive(Deserialize)]
struct Taken {
    deployment: String,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

#[derive(Deserialize)]
struct Deployments {
    live: Option<String>,
    deployments: Vec<Deployment>,
}

#[derive(Deserialize)]
struct Deployment {
    id: String,
    release: String,
}

impl Platform for Local {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn roll_back<'a>(
        &'a self,
        order: &'a Order,
        _known: &'a Known,
        _journal: &'a Journal,
    ) -> BoxFuture<'a, Acted> {
        let wire =
            Rollback { decision: order.record.as_str(), from: order.from.as_str(), to: order.to.as_str() };
        let body = serde_json::to_vec(&wire).expect("text under constant names is always JSON");
        Box::pin(async move {
            match self.call(Method::POST, "/v1/rollbacks", body).await {
                Ok((status, reply)) => acted(status, &reply),
                Err(error) if error.is_before_sending() => Acted::Refused { reason: chain(&error) },
                Err(error) => Acted::Unknown { reason: chain(&error) },
            }
        })
    }

    fn current<'a>(&'a self, _known: &'a Known) -> BoxFuture<'a, Live> {
        Box::pin(async move {
            let known = match self.call(Method::GET, "/v1/deployments", Vec::new()).await {
                Ok((StatusCode::OK, reply)) => live(&reply),
                Ok((status, reply)) => Err(format!("the platform answered {status}: {}", said(&reply))),
                Err(error) => Err(chain(&error)),
            };
            match known {
                Ok(release) => Live::Release(release),
                Err(reason) => Live::Unknown { reason },
            }
        })
    }
}

impl Local {
    pub(super) fn new(address: String, timeout: Duration) -> Self {
        Self { address, timeout }
    }

    /// One request and its whole reply, both within the time-out.
    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let address = || self.address.clone();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.address)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(CallError::Make)?;
        let mut late = std::pin::pin!(tokio::time::sleep(self.timeout));
        let stream = tokio::select! {
            stream = TcpStream::connect(&self.address) => stream,
            () = &mut late => return Err(CallError::ConnectTimedOut { address: address(), after: self.timeout }),
        };
        let stream = stream.map_err(|source| CallError::Connect { address: address(), source })?;
        tokio::select! {
            reply = self.exchange(stream, request) => reply,
            () = &mut late => Err(CallError::ReplyTimedOut { address: address(), after: self.timeout }),
        }
    }

    async fn exchange(
        &self,
        stream: TcpStream,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let lost = |source| CallError::Lost { address: self.address.clone(), source };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let exchange = async {
            let reply = sender.send_request(request).await.map_err(lost)?;
            let (head, body) = reply.into_parts();
            let body = Limited::new(body, REPLY_MAX).collect().await.map_err(|source| {
                let address = self.address.clone();
                if source.is::<LengthLimitError>() {
                    CallError::TooLarge { address }
                } else {
                    CallError::Body { address, source }
                }
            })?;
            Ok((head.status, body.to_bytes()))
        };
        // The connection does the work for the exchange and is dropped with it; it is not spawned, so that nothing of a
        // call is left when the call is dropped. An error of its own reaches the exchange as well.
        let mut exchange = std::pin::pin!(exchange);
        tokio::select! {
            biased;
            reply = &mut exchange => reply,
            _ended = connection => exchange.await,
        }
    }
}

pub(super) fn acted(status: StatusCode, reply: &[u8]) -> Acted {
    if status == StatusCode::ACCEPTED || status == StatusCode::OK {
        let detail = match serde_json::from_slice::<Taken>(reply) {
            Ok(taken) => format!("deployment {}", cut(&taken.deployment)),
            Err(_) => format!("the platform answered {status} and named no deployment"),
        };
        return Acted::Accepted { detail };
    }
    let reason = format!("the platform answered {status}: {}", said(reply));
    if status.is_client_error() { Acted::Refused { reason } } else { Acted::Unknown { reason } }
}

pub(super) fn live(reply: &[u8]) -> Result<Release, String> {
    let known: Deployments = serde_json::from_slice(reply)
        .map_err(|error| format!("the platform's reply is not understood: {error}"))?;
    let id = known.live.ok_or("the platform says that nothing is live")?;
    let deployment = known.deployments.into_iter().find(|deployment| deployment.id == id);
    let deployment =
        deployment.ok_or_else(|| format!("the platform does not list live deployment {}", cut(&id)))?;
    Release::new(&deployment.release)
        .ok_or_else(|| format!("the platform names a release that is none: {}", cut(&deployment.release)))
}

/// What the platform gave as its reason: its `error`, or else the reply itself.
fn said(reply: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(reply) {
        Ok(refusal) => cut(&refusal.error),
        Err(_) => cut(&String::from_utf8_lossy(reply)),
    }
}

fn cut(text: &str) -> String {
    printable(text.as_bytes()).chars().take(ERROR_MAX).collect()
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
