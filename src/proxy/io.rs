//! The two sockets as hyper sees them, behind its adapter for tokio's traits.
//!
//! [`Sink`] is the app's side: a dead write side must not hide a reply that already lies in the receive queue, as when
//! an app answers 413 and closes while the upload is still on its way. [`Tap`] is the client's side: it can end with a
//! reset where a clean end would look like the end of the reply.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What is known of the app's socket.
#[derive(Debug, Default)]
pub(super) struct Wire {
    dead: AtomicBool,
    replied: AtomicBool,
}

impl Wire {
    /// Whether a write has failed: such a connection is never used again.
    pub(super) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Forgets the bytes of earlier replies.
    pub(super) fn begin(&self) {
        self.replied.store(false, Ordering::Relaxed);
    }

    /// Whether any byte came since [`Wire::begin`].
    pub(super) fn has_replied(&self) -> bool {
        self.replied.load(Ordering::Relaxed)
    }
}

/// The app's socket: swallows write errors and leaves it to the read side to deliver the reply, the end or the reset.
#[derive(Debug)]
pub(super) struct Sink {
    io: TcpStream,
    wire: Arc<Wire>,
}

impl Sink {
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Wire>) {
        let wire = Arc::new(Wire::default());
        (Self { io: stream, wire: Arc::clone(&wire) }, wire)
    }

    fn swallow(&self, written: Poll<io::Result<usize>>, len: usize) -> Poll<io::Result<usize>> {
        if matches!(written, Poll::Ready(Err(_))) {
            self.wire.dead.store(true, Ordering::Relaxed);
            return Poll::Ready(Ok(len));
        }
        written
    }
}

impl AsyncRead for Sink {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.remaining();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.remaining() < before {
            self.wire.replied.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.wire.is_dead() {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.swallow(written, buf.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = bufs.iter().map(|b| b.len()).sum();
        if self.wire.is_dead() {
            return Poll::Ready(Ok(len));
        }
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.swallow(written, len)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.is_dead() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.wire.is_dead() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The client's socket.
#[derive(Debug)]
pub(super) struct Tap {
    io: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Tap {
    /// While `reset` is set, dropping the socket resets the connection.
    pub(super) fn new(stream: TcpStream, reset: Arc<AtomicBool>) -> Self {
        Self { io: stream, reset }
    }

    /// The socket itself.
    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.io
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Without it the close is merely clean, which the client may take for the end of a short reply.
            let _ = self.io.set_zero_linger();
        }
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
