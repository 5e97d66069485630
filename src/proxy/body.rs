//! Bodies on their way: passed frame by frame, never gathered, and watched for how they end.
//!
//! A truncated reply must look truncated to the client, so an error of the app's body stays an error here.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::engine::observation::Outcome;
use crate::proxy::account::{Account, Progress};
use crate::proxy::headers::filter_trailers;
use crate::proxy::pool::Lease;

/// A request's body on its way to the app; says when all of it was handed over.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: Option<Incoming>,
    progress: Rc<Progress>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, progress: Rc<Progress>) -> Self {
        Self { inner: Some(inner), progress }
    }

    /// The body of a request that is sent again; such a request has none.
    pub(super) fn empty(progress: Rc<Progress>) -> Self {
        Self { inner: None, progress }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(None) };
        let mut frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        let ended = inner.is_end_stream();
        match &mut frame {
            Some(Ok(frame)) => {
                let trailers = frame.trailers_mut().map(filter_trailers).is_some();
                if trailers || ended {
                    self.progress.sent();
                }
            }
            Some(Err(_)) => self.progress.body_failed(),
            None => self.progress.sent(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What a client is sent: our own text, or the app's body.
#[derive(Debug)]
pub(super) enum ReplyBody {
    /// The agent's own.
    Local(Option<Bytes>),
    /// The app's, watched.
    App(Box<Observed>),
}

impl ReplyBody {
    pub(super) fn local(text: Bytes) -> Self {
        Self::Local(Some(text).filter(|t| !t.is_empty()))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Local(text) => Poll::Ready(text.take().map(|t| Ok(Frame::data(t)))),
            Self::App(observed) => observed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Local(text) => text.is_none(),
            Self::App(observed) => observed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(text) => SizeHint::with_exact(text.as_ref().map_or(0, |t| t.len() as u64)),
            Self::App(observed) => observed.inner.size_hint(),
        }
    }
}

/// The app's reply on its way to the client. At its end the connection goes back to the pool and the entry is closed;
/// dropped before, the connection is closed.
#[derive(Debug)]
pub(super) struct Observed {
    inner: Incoming,
    /// The right to close the entry, and how it is closed when all of the reply was passed on.
    account: Option<(Account, Outcome)>,
    lease: Option<Lease>,
    /// Where the end of the connection is the reply's only end: until the app's end is seen, the connection is to be
    /// reset and not closed.
    reset: Option<Arc<AtomicBool>>,
    failure: Option<hyper::Error>,
}

impl Observed {
    pub(super) fn new(
        inner: Incoming,
        account: Account,
        ends_as: Outcome,
        lease: Lease,
        reset: Option<Arc<AtomicBool>>,
    ) -> Self {
        if let Some(reset) = &reset {
            reset.store(true, Ordering::Relaxed);
        }
        Self { inner, account: Some((account, ends_as)), lease: Some(lease), reset, failure: None }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(mut frame)) => {
                let trailers = frame.trailers_mut().map(filter_trailers).is_some();
                if trailers || self.inner.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            None => {
                self.finish();
                Poll::Ready(None)
            }
            Some(Err(failure)) => {
                self.truncated();
                // One turn later: hyper drops what it has not flushed when a body fails, and what came of the reply
                // belongs to the client.
                self.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn finish(&mut self) {
        if let Some(reset) = self.reset.take() {
            reset.store(false, Ordering::Relaxed);
        }
        if let Some((account, ends_as)) = self.account.take() {
            if let Some(lease) = self.lease.take() {
                lease.release(account.progress());
            }
            account.end(ends_as);
        }
    }

    fn truncated(&mut self) {
        self.lease = None;
        if let Some((account, _)) = self.account.take() {
            // Where the client's own body broke off, the exchange was given up because of that.
            let by_client = account.progress().has_body_failed();
            account.end(if by_client { Outcome::ClientFault } else { Outcome::AppTruncated });
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // hyper does not poll a body that says it has ended.
        if self.account.is_some() && self.is_end_stream() {
            self.finish();
        }
    }
}
