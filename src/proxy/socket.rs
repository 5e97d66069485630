//! The sockets: the app's, which may be TCP or in the file system, and what both sides are set to.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A peer that has vanished without a word is asked after this time of silence, in seconds,
const KEEP_ALIVE_IDLE_S: u32 = 60;
/// then so often,
const KEEP_ALIVE_EVERY_S: u32 = 15;
/// and given up after so many questions.
const KEEP_ALIVE_PROBES: u32 = 4;
/// Bytes that a peer does not acknowledge for so long, in milliseconds, end the connection.
const UNACKNOWLEDGED_MAX_MS: u32 = 60_000;

/// Sets a client's socket: no waiting for acknowledgements, and an end to peers that have vanished. What a kernel does
/// not know is left out: without it a connection is slower to end, not wrong.
pub(super) fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE_IDLE_S);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE_EVERY_S);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &KEEP_ALIVE_PROBES);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &UNACKNOWLEDGED_MAX_MS);
}

/// Whether the end of a connection is a reset: where a clean end would look like the end of a reply.
pub(super) fn reset_on_close(stream: &TcpStream, reset: bool) {
    let linger = nix::libc::linger { l_onoff: i32::from(reset), l_linger: 0 };
    // Without it the end is clean, which the client may take for the end of a short reply: no worse than without a proxy.
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

/// Whether nothing has come on a socket, neither bytes nor an end; asks the kernel.
pub(super) fn is_silent(socket: BorrowedFd<'_>) -> bool {
    let peek = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    matches!(recv(socket.as_raw_fd(), &mut [0], peek), Err(nix::errno::Errno::EAGAIN))
}

/// A connection to the app.
#[derive(Debug)]
pub(super) enum AppSocket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a socket in the file system.
    Unix(UnixStream),
}

impl AppSocket {
    /// Its two directions.
    pub(super) fn split(&mut self) -> (AppReader<'_>, AppWriter<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (reader, writer) = stream.split();
                (AppReader::Tcp(reader), AppWriter::Tcp(writer))
            }
            Self::Unix(stream) => {
                let (reader, writer) = stream.split();
                (AppReader::Unix(reader), AppWriter::Unix(writer))
            }
        }
    }

    /// Whether nothing has come, neither bytes nor an end; asks the kernel.
    pub(super) fn is_silent(&self) -> bool {
        is_silent(self.as_fd())
    }

    /// Becomes ready when something has come: bytes, an end or an error.
    pub(super) fn poll_stirs(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let ready = match self {
                Self::Tcp(stream) => stream.poll_read_ready(cx),
                Self::Unix(stream) => stream.poll_read_ready(cx),
            };
            if ready.is_pending() {
                return Poll::Pending;
            }
            // Ready may be left over from what was read long ago: one try clears it.
            let tried = match self {
                Self::Tcp(stream) => stream.try_read(&mut [0]),
                Self::Unix(stream) => stream.try_read(&mut [0]),
            };
            if !tried.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Poll::Ready(());
            }
        }
    }
}

impl AsFd for AppSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// What the app says.
#[derive(Debug)]
pub(super) enum AppReader<'a> {
    /// Over TCP.
    Tcp(tcp::ReadHalf<'a>),
    /// Over a socket in the file system.
    Unix(unix::ReadHalf<'a>),
}

impl AsyncRead for AppReader<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(reader) => Pin::new(reader).poll_read(cx, buf),
            Self::Unix(reader) => Pin::new(reader).poll_read(cx, buf),
        }
    }
}

/// What the app is told.
#[derive(Debug)]
pub(super) enum AppWriter<'a> {
    /// Over TCP.
    Tcp(tcp::WriteHalf<'a>),
    /// Over a socket in the file system.
    Unix(unix::WriteHalf<'a>),
}

impl AsyncWrite for AppWriter<'_> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(writer) => Pin::new(writer).poll_write(cx, buf),
            Self::Unix(writer) => Pin::new(writer).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(writer) => Pin::new(writer).poll_write_vectored(cx, bufs),
            Self::Unix(writer) => Pin::new(writer).poll_write_vectored(cx, bufs),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(writer) => Pin::new(writer).poll_shutdown(cx),
            Self::Unix(writer) => Pin::new(writer).poll_shutdown(cx),
        }
    }
}
