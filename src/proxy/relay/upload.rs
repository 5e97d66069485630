//! The request's body on its way to the app; then the watch for a client that leaves.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::AsyncWrite as _;
use tokio::net::tcp::ReadHalf;

use crate::proxy::buffer::Buffer;
use crate::proxy::h1::{self, Chunks, Framing, Piece};
use crate::proxy::relay::{Gate, Relay, poll_gone};
use crate::proxy::socket::AppWriter;
use crate::proxy::watch::{Late, Limit};

/// How long a client that waits for a 100 is kept waiting for the app's: some apps never send one.
const CONTINUE_WAIT: Duration = Duration::from_secs(1);
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How the upload ended the exchange. Its success ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadEnd {
    /// The client has gone after its request was complete.
    ClientLeft,
    /// The body broke off or cannot be read.
    Bad,
    /// The client fell silent.
    Slow,
    /// The app takes nothing more and says nothing.
    AppTakesNothing,
}

/// Sends the body, and then returns only when the client has gone.
pub(super) async fn run(
    relay: &Relay<'_>,
    reader: &mut ReadHalf<'_>,
    input: &mut Buffer,
    mut writer: AppWriter<'_>,
) -> UploadEnd {
    let mut upload = Upload { relay, reader, input, writer: &mut writer };
    if relay.gate.get() == Gate::Shut && !upload.wait_for_continue().await {
        return UploadEnd::ClientLeft;
    }
    if let Err(end) = upload.send().await {
        return end;
    }
    if !relay.deaf.get() {
        relay.asked.account.sent();
    }
    // From here the app is awaited: whoever reads its reply was polled before us and did not know yet.
    poll_fn(|cx| {
        relay.await_app(cx);
        Poll::Ready(())
    })
    .await;
    let Upload { reader, input, .. } = upload;
    poll_fn(|cx| poll_gone(relay.line, reader, input, cx)).await;
    UploadEnd::ClientLeft
}

/// What ended the wait before a body.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// The app asked for the body, or the client sends it unasked.
    Asked,
    /// Nobody said anything for long enough.
    Long,
    /// The client has gone.
    Left,
}

struct Upload<'u, 'a, 'c> {
    relay: &'u Relay<'u>,
    reader: &'u mut ReadHalf<'c>,
    input: &'u mut Buffer,
    writer: &'u mut AppWriter<'a>,
}

impl Upload<'_, '_, '_> {
    /// Waits until the app has asked for the body, or the client sends it all the same, or long enough; then the client
    /// is told to send it. False: the client left.
    async fn wait_for_continue(&mut self) -> bool {
        let mut over = pin!(tokio::time::sleep(CONTINUE_WAIT));
        let waited = poll_fn(|cx| {
            if self.relay.has_head.get() {
                // The app has answered without it: the client is not told to send what nobody wants.
                return poll_gone(self.relay.line, self.reader, self.input, cx).map(|()| Waited::Left);
            }
            if self.relay.gate.get() == Gate::Open || !self.input.is_empty() {
                return Poll::Ready(Waited::Asked);
            }
            if over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Waited::Long);
            }
            // A client that leaves, or sends without being told.
            match self.relay.line.worker.poll_fill(self.input, self.reader, cx) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Waited::Left),
                Poll::Ready(Ok(_)) => Poll::Ready(Waited::Asked),
                Poll::Pending => Poll::Pending,
            }
        });
        let waited = waited.await;
        if waited == Waited::Long {
            self.relay.gate.set(Gate::Open);
            // No reply is under way, so these bytes stand alone. Where they do not fit the client is not reading.
            let _ = self.reader.as_ref().try_write(CONTINUE);
        }
        waited != Waited::Left
    }

    async fn send(&mut self) -> Result<(), UploadEnd> {
        match self.relay.asked.framing {
            Framing::None | Framing::Close => Ok(()),
            Framing::Length(length) => self.send_length(length - self.relay.uploaded.get()).await,
            Framing::Chunked => self.send_chunks().await,
        }
    }

    async fn send_length(&mut self, mut left: u64) -> Result<(), UploadEnd> {
        while left > 0 && !self.relay.deaf.get() {
            if self.input.is_empty() {
                self.fill().await?;
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.data().len());
            let wrote = write(self.relay, self.writer, &self.input.data()[..n]).await;
            self.blame(wrote)?;
            self.input.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    async fn send_chunks(&mut self) -> Result<(), UploadEnd> {
        let worker = &self.relay.line.worker;
        let mut chunks = Chunks::default();
        let mut out = worker.buffers.text();
        while !self.relay.deaf.get() {
            let mut needs_more = false;
            let mut ended = false;
            while !needs_more && !ended {
                match chunks.next(self.input.data()).map_err(|_| UploadEnd::Bad)? {
                    Piece::More { taken } => {
                        self.input.consume(taken);
                        needs_more = true;
                    }
                    Piece::Data { taken, len } => {
                        h1::chunk(&self.input.data()[taken..taken + len], &mut out);
                        self.input.consume(taken + len);
                    }
                    Piece::End { taken } => {
                        self.input.consume(taken);
                        h1::last_chunk(chunks.trailers(), &mut out).map_err(|_| UploadEnd::Bad)?;
                        ended = true;
                    }
                }
            }
            let wrote = write(self.relay, self.writer, &out).await;
            self.blame(wrote)?;
            out.clear();
            if ended {
                break;
            }
            self.fill().await?;
        }
        worker.buffers.give_text(out);
        Ok(())
    }

    /// While the app takes nothing nobody reads what the client does: if it has reset the connection, it was the one that
    /// left.
    fn blame(&self, wrote: Result<(), UploadEnd>) -> Result<(), UploadEnd> {
        match wrote {
            Err(UploadEnd::AppTakesNothing) if self.reader.as_ref().take_error().ok().flatten().is_some() => {
                Err(UploadEnd::ClientLeft)
            }
            wrote => wrote,
        }
    }

    /// Reads more of the body. Its end here is a body that broke off.
    async fn fill(&mut self) -> Result<(), UploadEnd> {
        let line = self.relay.line;
        let span = line.worker.settings.body_timeout;
        self.input.expect_more();
        let read = poll_fn(|cx| {
            if self.relay.has_head.get() {
                // The reply flows, and the client may be reading it instead of sending.
                line.watch.disarm(Limit::ClientSends);
                return line.worker.poll_fill(self.input, self.reader, cx).map(Ok);
            }
            line.watch
                .poll(Limit::ClientSends, span, cx, |cx| line.worker.poll_fill(self.input, self.reader, cx))
        });
        match read.await {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0) | Err(_)) => Err(UploadEnd::Bad),
            Err(Late) => Err(UploadEnd::Slow),
        }
    }
}

/// Hands `bytes` to the app. Where it takes no more, that is no error here: its reply may be there already.
async fn write(relay: &Relay<'_>, writer: &mut AppWriter<'_>, bytes: &[u8]) -> Result<(), UploadEnd> {
    let mut left = bytes;
    poll_fn(|cx| {
        while !left.is_empty() {
            match ready!(relay.poll_app(cx, |cx| Pin::new(&mut *writer).poll_write(cx, left))) {
                Err(Late) => return Poll::Ready(Err(UploadEnd::AppTakesNothing)),
                Ok(Ok(n)) => left = &left[n..],
                Ok(Err(_)) => {
                    relay.app_is_deaf();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}
