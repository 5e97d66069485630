//! A gRPC server, by the standard health service: one `grpc.health.v1.Health/Check` over a connection of its own.
//!
//! Both messages are one field long, so they are written and read by hand.

mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::config::probes::Grpc as Ask;
use crate::prober::dial::{Dialer, Line, Stage, Stream};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply, chain};

/// How much of an answer is read, in bytes: its message is two bytes long. A longer one is a failure.
const BODY_LEN_MAX: usize = 4 * 1024;
/// A message is preceded by whether it is packed, and by its length in four bytes.
const PREFIX_LEN: usize = 5;
/// A certificate that ends sooner is a concern.
const CERTIFICATE_MIN: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Asks a gRPC server.
pub(super) struct Grpc {
    ask: Ask,
    line: Line,
    /// Whom it asks, and for what, in words.
    told: String,
    stage: Stage,
}

/// What came back.
struct Answer {
    http_status: http::StatusCode,
    is_grpc: bool,
    /// What gRPC calls the trailers, wherever they came.
    end: HeaderMap,
    message: Vec<u8>,
    latency: Duration,
}

impl Grpc {
    pub(super) fn new(ask: Ask, dialer: Dialer) -> Self {
        let told = match ask.service.as_str() {
            "" => format!("the gRPC server {}", ask.authority),
            service => format!("the gRPC service `{service}` at {}", ask.authority),
        };
        let line = Line::new(ask.server.clone(), ask.tls.clone(), b"h2", dialer);
        Self { ask, line, told, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let request = self.request()?;
        let mut opened = self.line.open(&mut self.stage).await?;
        let mut reply = Reply::default();
        opened.tell(self.line.dialer().now(), CERTIFICATE_MIN, &mut reply);
        self.stage.enter(format!("the health of {}", self.told));
        let answer = self.exchange(opened.stream, request).await?;
        let status = told::serving(&self.told, &answer).map_err(Failure::Down)?;
        reply.latency = answer.latency;
        reply.phase("wait", answer.latency);
        reply.text("serving_status", status);
        Ok(reply)
    }

    fn request(&self) -> Result<Request<Full<Bytes>>, Failure> {
        let scheme = if self.line.is_tls() { "https" } else { "http" };
        Request::post(format!("{scheme}://{}/grpc.health.v1.Health/Check", self.ask.authority))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, concat!("outrigger/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(asked(&self.ask.service)))
            .map_err(|error| Failure::Unable(format!("the request could not be made: {}", chain(&error))))
    }

    /// Sends the request and reads the answer. What the connection needs to run is aborted with this future.
    async fn exchange(
        &self,
        stream: Box<dyn Stream>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failure> {
        let lost = |error: hyper::Error| told::no_answer(&self.told, self.line.server(), &error);
        let tasks = Tasks::default();
        let (mut sender, connection) =
            http2::handshake(tasks.executor(), TokioIo::new(stream)).await.map_err(lost)?;
        let asked = async {
            let sent = self.line.dialer().instant();
            let (head, body) = sender.send_request(request).await.map_err(lost)?.into_parts();
            let kind = head.headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
            let is_grpc = kind.is_some_and(|kind| kind.starts_with(b"application/grpc"));
            let (message, trailers) =
                if is_grpc { read(body).await.map_err(lost)? } else { (Vec::new(), None) };
            Ok(Answer {
                http_status: head.status,
                is_grpc,
                end: trailers.unwrap_or(head.headers),
                message,
                latency: self.line.dialer().instant().duration_since(sent),
            })
        };
        let mut asked = std::pin::pin!(asked);
        tokio::select! {
            biased;
            answer = &mut asked => answer,
            // What had arrived before the connection ended is still to be had.
            _ended = connection => asked.await,
        }
    }
}

/// Reads an answer to its end: the message, as far as there is room for it, and the trailers.
async fn read(mut body: Incoming) -> Result<(Vec<u8>, Option<HeaderMap>), hyper::Error> {
    let mut message = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if message.len() + data.len() > BODY_LEN_MAX => break,
            Ok(data) => message.extend_from_slice(&data),
            Err(frame) => return Ok((message, frame.into_trailers().ok())),
        }
    }
    Ok((message, None))
}

/// The request's message with its prefix: field 1, the service's name, left out where it is empty.
fn asked(service: &str) -> Bytes {
    const FIELD_1_TEXT: u8 = 0x0a;
    let mut message = Vec::with_capacity(service.len() + 4);
    if !service.is_empty() {
        message.push(FIELD_1_TEXT);
        let mut len = service.len();
        while len >= 0x80 {
            message.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        message.push(len as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let len = u32::try_from(message.len()).expect("the name of a service is shorter than 4 GiB");
    let mut framed = vec![0];
    framed.extend_from_slice(&len.to_be_bytes());
    framed.extend_from_slice(&message);
    framed.into()
}

/// The tasks of one connection. They end with this value, and with them the connection.
#[derive(Default)]
struct Tasks(Arc<Mutex<JoinSet<()>>>);

/// Spawns into [`Tasks`] for as long as they are there. It does not keep them: a task holds one of these.
#[derive(Clone)]
struct Spawner(Weak<Mutex<JoinSet<()>>>);

impl Tasks {
    fn executor(&self) -> Spawner {
        Spawner(Arc::downgrade(&self.0))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Spawner {
    fn execute(&self, task: F) {
        if let Some(tasks) = self.0.upgrade() {
            lock(&tasks).spawn(task);
        }
    }
}

fn lock(tasks: &Mutex<JoinSet<()>>) -> MutexGuard<'_, JoinSet<()>> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Probe for Grpc {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_as_protobuf_and_grpc_write_it() {
        assert_eq!(asked("").as_ref(), [0, 0, 0, 0, 0]);
        assert_eq!(asked("a.B").as_ref(), b"\0\0\0\0\x05\x0a\x03a.B");
        let long = "x".repeat(300);
        let framed = asked(&long);
        assert_eq!(framed[..8], [0, 0, 0, 1, 0x2f, 0x0a, 0xac, 0x02]);
        assert_eq!(framed.len(), 8 + 300);
    }
}
