//! The two halves of an exchange, side by side: the upload of the request's body and the download of the reply.
//!
//! Both run in the connection's own task, so nothing is handed between threads or tasks, and each reads only when what it
//! has read before was taken: backpressure needs no queue. The upload, when it is done, goes on as the watcher for a
//! client that leaves. The download knows every way in which a reply can end.

mod download;
mod upload;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;

use crate::proxy::asked::Asked;
use crate::proxy::buffer::Buffer;
use crate::proxy::client::{Client, Line};
use crate::proxy::exchange::After;
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::upload::UploadEnd;
use crate::proxy::socket::{AppReader, AppWriter};
use crate::proxy::starving::Wait;
use crate::proxy::watch::{Late, Limit};

/// How long the app's reply is waited for when it takes no more of the request.
const DEAF: Duration = Duration::from_secs(5);

/// How an attempt ended.
pub(super) enum Relayed {
    /// The reply was passed on whole.
    Whole {
        /// The app's connection can serve again.
        reusable: bool,
        /// The reply had no body, so that an app that sends one all the same may still be about to.
        bodyless: bool,
        /// What becomes of the client's.
        after: After,
    },
    /// A part of the reply was passed on, and that is all there will be.
    Cut(After),
    /// The connection ended before any byte of a reply.
    Silent,
    /// No reply that could be passed on.
    Failed(Refusal),
    /// The client has gone.
    ClientLeft,
    /// A reply with this status came, and the other app is to be asked instead.
    Elsewhere(u16),
    /// Both sides have switched protocols.
    Switched,
}

/// Whether the body may be sent, where the client waits to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Shut,
}

/// What both halves share.
pub(super) struct Relay<'a> {
    pub(super) line: &'a Line,
    pub(super) asked: &'a Asked,
    gate: Cell<Gate>,
    /// The app takes no more.
    deaf: Cell<bool>,
    /// How much of the body was sent with the head.
    uploaded: Cell<u64>,
    /// A reply's head has been sent to the client.
    has_head: Cell<bool>,
    /// The wait for the first byte, on a new connection.
    wait: Cell<Option<Rc<Wait>>>,
}

impl<'a> Relay<'a> {
    pub(super) fn new(line: &'a Line, asked: &'a Asked, wait: Option<Rc<Wait>>) -> Self {
        let gate = if asked.expects_continue { Gate::Shut } else { Gate::Open };
        Self {
            line,
            asked,
            gate: Cell::new(gate),
            deaf: Cell::new(false),
            uploaded: Cell::new(0),
            has_head: Cell::new(false),
            wait: Cell::new(wait),
        }
    }

    /// So much of the body went with the head.
    pub(super) fn uploaded(&self, bytes: u64) {
        self.uploaded.set(bytes);
    }

    /// A write to the app failed: what it has said already can still be read, for a while.
    pub(super) fn app_is_deaf(&self) {
        self.deaf.set(true);
        self.line.watch.disarm(Limit::App);
    }

    /// Waits for the app under its limit.
    pub(super) fn poll_app<T>(
        &self,
        cx: &mut Context<'_>,
        what: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Result<T, Late>> {
        if self.has_head.get() {
            // It has answered: what it takes of the rest, and when, is its own affair.
            self.line.watch.disarm(Limit::App);
            return what(cx).map(Ok);
        }
        let span = if self.deaf.get() { DEAF } else { self.line.worker.settings.response_timeout };
        self.line.watch.poll(Limit::App, span, cx, what)
    }

    /// Something came from the app.
    fn heard(&self) {
        if let Some(wait) = self.wait.take() {
            wait.answered(|| self.line.worker.clock.micros());
        }
    }

    /// The app's limit begins, unless it has begun.
    fn await_app(&self, cx: &mut Context<'_>) {
        if !self.has_head.get() {
            let _ = self.poll_app(cx, |_| Poll::<()>::Pending);
        }
    }

    /// Sends all of `bytes` to the client; false: it has gone, or takes nothing.
    async fn send(&self, client: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> bool {
        let span = self.line.worker.settings.send_timeout;
        let mut left = bytes;
        poll_fn(|cx| {
            while !left.is_empty() {
                let writer = Pin::new(&mut *client);
                let wrote =
                    self.line.watch.poll(Limit::ClientTakes, span, cx, |cx| writer.poll_write(cx, left));
                match ready!(wrote) {
                    Ok(Ok(n)) if n > 0 => left = &left[n..],
                    _ => return Poll::Ready(false),
                }
            }
            Poll::Ready(true)
        })
        .await
    }
}

/// Runs both halves to the end of the exchange.
pub(super) async fn run(
    relay: &Relay<'_>,
    client: &mut Client<'_>,
    app_reader: AppReader<'_>,
    app_writer: AppWriter<'_>,
    answer: &mut Buffer,
) -> Relayed {
    let Client { reader, writer, input } = client;
    let mut up = pin!(upload::run(relay, reader, input, app_writer));
    let mut down = pin!(download::run(relay, app_reader, answer, writer));
    poll_fn(|cx| {
        // The reply first: where it is complete, a client that has gone meanwhile has it nevertheless.
        if let Poll::Ready(relayed) = down.as_mut().poll(cx) {
            return Poll::Ready(relayed);
        }
        let end = ready!(up.as_mut().poll(cx));
        Poll::Ready(relay.gave_up(end))
    })
    .await
}

impl Relay<'_> {
    /// The upload ended the exchange.
    fn gave_up(&self, end: UploadEnd) -> Relayed {
        use crate::engine::observation::Outcome;
        let refusal = match end {
            UploadEnd::ClientLeft => return Relayed::ClientLeft,
            UploadEnd::Bad => Refusal::BadBody,
            UploadEnd::Slow => Refusal::SlowBody,
            UploadEnd::AppTakesNothing => Refusal::Timeout,
        };
        if !self.has_head.get() {
            return Relayed::Failed(refusal);
        }
        let outcome =
            if end == UploadEnd::AppTakesNothing { Outcome::AppTruncated } else { Outcome::ClientFault };
        self.asked.account.end(outcome);
        Relayed::Cut(After::Close)
    }
}

/// Returns when the client has gone. What it sends meanwhile is kept for later, up to a buffer full; then its leaving
/// goes unseen until there is room.
pub(super) async fn gone(line: &Line, client: &mut Client<'_>) {
    let Client { reader, input, .. } = client;
    poll_fn(|cx| poll_gone(line, reader, input, cx)).await;
}

fn poll_gone(
    line: &Line,
    reader: &mut tokio::net::tcp::ReadHalf<'_>,
    input: &mut Buffer,
    cx: &mut Context<'_>,
) -> Poll<()> {
    loop {
        if !input.is_empty() && input.is_to_the_brim() {
            return Poll::Pending;
        }
        let read: io::Result<usize> = ready!(line.worker.poll_fill(input, reader, cx));
        match read {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Poll::Ready(()),
        }
    }
}
