//! An HTTP API: one request over a connection of its own, and what the answer must be like.
//!
//! A redirect is an answer like any other; nobody follows it. The latency is what the API itself took: from the request
//! until the last byte of the answer that was read, without name, connection and TLS, which are phases of their own.

mod condition;
mod told;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header, response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::config::probes::Http as Ask;
use crate::prober::dial::{Dialer, Line, Stage, Stream};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply, chain};

/// How much of a body is read, in bytes; what is beyond is not looked at, which is said where a condition did not hold.
const BODY_LEN_MAX: usize = 64 * 1024;
/// The longest head of an answer, in bytes; a longer one is a failure.
const HEAD_LEN_MAX: usize = 64 * 1024;

/// Asks an HTTP API.
pub(super) struct Http {
    ask: Ask,
    line: Line,
    /// Method and URL as far as they may be told.
    told: String,
    stage: Stage,
}

/// What came back.
struct Answer {
    head: response::Parts,
    body: Body,
    wait: Duration,
    transfer: Duration,
}

/// The beginning of a body.
#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Http {
    pub(super) fn new(ask: Ask, dialer: Dialer) -> Self {
        let told = told::request(&ask);
        let line = Line::new(ask.server.clone(), ask.tls.clone(), b"http/1.1", dialer);
        Self { ask, line, told, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let request = self.request()?;
        let mut opened = self.line.open(&mut self.stage).await?;
        let mut reply = Reply::default();
        opened.tell(self.line.dialer().now(), self.ask.certificate_min, &mut reply);
        let answer = self.exchange(opened.stream, request).await?;
        condition::check(&self.ask, &answer.head, &answer.body)
            .map_err(|why| Failure::Down(format!("{} answered {}, {why}", self.told, answer.head.status)))?;
        reply.latency = answer.wait + answer.transfer;
        reply.phase("wait", answer.wait);
        reply.phase("transfer", answer.transfer);
        reply.number("status", f64::from(answer.head.status.as_u16()));
        Ok(reply)
    }

    /// The request. The operator's own header fields stand in for ours.
    fn request(&self) -> Result<Request<Empty<Bytes>>, Failure> {
        let mut made = Request::builder().method(self.ask.method.as_str()).uri(self.ask.path.expose());
        for (name, value) in &self.ask.headers {
            made = made.header(name, value.expose());
        }
        let ours = [
            (header::HOST, self.ask.authority.as_str()),
            (header::USER_AGENT, concat!("outrigger/", env!("CARGO_PKG_VERSION"))),
            (header::ACCEPT, "*/*"),
            (header::CONNECTION, "close"),
        ];
        for (name, value) in ours {
            if made.headers_ref().is_some_and(|fields| !fields.contains_key(&name)) {
                made = made.header(name, value);
            }
        }
        // What cannot be made is named by none of these errors.
        let failed = |error| Failure::Unable(format!("the request could not be made: {}", chain(&error)));
        made.body(Empty::new()).map_err(failed)
    }

    /// Sends the request and reads the answer, within one future: when it is dropped, so is the connection.
    async fn exchange(
        &mut self,
        stream: Box<dyn Stream>,
        request: Request<Empty<Bytes>>,
    ) -> Result<Answer, Failure> {
        let Self { ask, line, told, stage } = self;
        let lost = |error: hyper::Error| told::no_answer(told, line, &error);
        let (mut sender, connection) = http1::Builder::new()
            .max_buf_size(HEAD_LEN_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(lost)?;
        stage.enter(format!("the answer to {told}"));
        let asked = async {
            let dialer = line.dialer();
            let sent = dialer.instant();
            let (head, body) = sender.send_request(request).await.map_err(lost).map(Response::into_parts)?;
            let came = dialer.instant();
            if !ask.status.iter().any(|range| range.contains(&head.status.as_u16())) {
                return Err(Failure::Down(told::wrong_status(told, &head, &ask.status)));
            }
            stage.enter(format!("the rest of the answer to {told}"));
            let body =
                read(&head, body).await.map_err(|(read, error)| told::broken_off(told, read, &error))?;
            let (wait, transfer) = (came.duration_since(sent), dialer.instant().duration_since(came));
            Ok(Answer { head, body, wait, transfer })
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

/// Reads the beginning of a body. An error comes with how much had been read.
async fn read(head: &response::Parts, mut body: Incoming) -> Result<Body, (usize, hyper::Error)> {
    let ends_with_the_connection = !head.headers.contains_key(header::CONTENT_LENGTH)
        && !head.headers.contains_key(header::TRANSFER_ENCODING);
    let mut kept = Body::default();
    while let Some(frame) = body.frame().await {
        let data = match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => data,
            Ok(Err(_trailers)) => continue,
            // Many servers end such a body over TLS without TLS's own goodbye. There is nothing to hold against it here.
            Err(error) if ends_with_the_connection && told::is_end(&error) => break,
            Err(error) => return Err((kept.bytes.len(), error)),
        };
        let room = BODY_LEN_MAX - kept.bytes.len();
        kept.bytes.extend_from_slice(&data[..room.min(data.len())]);
        if data.len() > room {
            kept.is_cut = true;
            break;
        }
    }
    Ok(kept)
}

impl Probe for Http {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}
