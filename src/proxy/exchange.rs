//! One request and its reply's head: over a pooled connection or a fresh one, and again where that is safe.
//!
//! A request is sent a second time only if nothing of it was written, or if it is safe, has no body, and the pooled
//! connection it was written on ended before a byte of a reply. Never on a fresh connection's silence: the app may have
//! crashed on that very request.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::proxy::account::Progress;
use crate::proxy::body::RequestBody;
use crate::proxy::connect;
use crate::proxy::pool::Lease;
use crate::proxy::reply::Refusal;
use crate::proxy::worker::Worker;

/// The app's reply, its body still to come, and the connection it comes on.
pub(super) struct Answer {
    pub(super) response: Response<Incoming>,
    pub(super) lease: Lease,
}

/// Why there is no answer.
enum Failure {
    /// Nothing was written: here is the request.
    Unsent(Box<Request<RequestBody>>),
    /// The connection ended before any byte of a reply.
    Silent,
    /// For good.
    Refused(Refusal),
}

/// Sends `request` and waits for the reply's head. `whole`: it has no body.
pub(super) async fn send(
    worker: &Worker,
    request: Request<RequestBody>,
    progress: &Rc<Progress>,
    whole: bool,
) -> Result<Answer, Refusal> {
    let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let repeatable = safe && whole;
    let generation = worker.plan.load().stable.generation;
    let (lease, copy) = match worker.pool.take(generation, !repeatable).await {
        Some(connection) => {
            let copy = repeatable.then(|| copy(&request, progress));
            (Lease::new(&worker.pool, connection, true), copy)
        }
        None => (connect::fresh(worker).await?, None),
    };
    let again = match attempt(worker, lease, request, progress, whole).await {
        Ok(answer) => return Ok(answer),
        Err((_, Failure::Refused(refusal))) => return Err(refusal),
        Err((_, Failure::Unsent(request))) => *request,
        Err((true, Failure::Silent)) => copy.ok_or(Refusal::Stale)?,
        Err((false, Failure::Silent)) => return Err(Refusal::BadReply),
    };
    let lease = connect::fresh(worker).await?;
    attempt(worker, lease, again, progress, whole).await.map_err(|(_, failure)| match failure {
        Failure::Refused(refusal) => refusal,
        Failure::Unsent(_) | Failure::Silent => Refusal::BadReply,
    })
}

/// A second copy of a request without a body.
fn copy(request: &Request<RequestBody>, progress: &Rc<Progress>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::empty(Rc::clone(progress)));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// One try; an error says whether the connection had served before.
async fn attempt(
    worker: &Worker,
    mut lease: Lease,
    request: Request<RequestBody>,
    progress: &Rc<Progress>,
    whole: bool,
) -> Result<Answer, (bool, Failure)> {
    let reused = lease.reused;
    if whole {
        progress.sent();
    }
    let sending = lease.sender().try_send_request(request);
    let outcome = within(sending, progress, worker.settings.response_timeout).await;
    let mut error = match outcome {
        Some(Ok(response)) => return Ok(Answer { response, lease }),
        Some(Err(error)) => error,
        None => return Err((reused, Failure::Refused(Refusal::Timeout))),
    };
    let failure = match error.take_message() {
        _ if progress.has_body_failed() => Failure::Refused(Refusal::BadBody),
        Some(request) => Failure::Unsent(Box::new(request)),
        None if lease.has_replied() => Failure::Refused(Refusal::BadReply),
        None => Failure::Silent,
    };
    tracing::debug!(
        error = &error.into_error() as &dyn std::error::Error,
        reused,
        "exchange with the app failed"
    );
    Err((reused, failure))
}

/// The time limit runs from when the request was fully sent: a slow upload is not a slow app.
async fn within<T>(sending: impl Future<Output = T>, progress: &Progress, limit: Duration) -> Option<T> {
    let mut sending = pin!(sending);
    tokio::select! {
        biased;
        sent = &mut sending => return Some(sent),
        () = progress.until_sent() => {}
    }
    if limit.is_zero() {
        return Some(sending.await);
    }
    tokio::time::timeout(limit, sending).await.ok()
}
