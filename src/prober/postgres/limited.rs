//! A connection that takes only so much: the library reads whole messages into memory, however long they say they are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::prober::postgres::session::Stream;

/// What a session of half a minute may send. A round is a few kilobytes, and 120 of them fit; whoever sends more is cut off.
const BYTES_MAX: usize = 16 << 20;

/// The stream of one session.
pub(super) struct Limited {
    stream: Stream,
    left: usize,
}

impl Limited {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, left: BYTES_MAX }
    }
}

impl AsyncRead for Limited {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let came = buffer.filled().len() - before;
        match self.left.checked_sub(came) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("it sent more than 16 MiB in one session"))),
        }
        read
    }
}

impl AsyncWrite for Limited {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_server_that_never_stops_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let flood = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            // It ends when the other side does.
            while stream.write_all(&[b'N'; 1 << 16]).await.is_ok() {}
        };
        let read = async {
            let mut stream = Limited::new(Box::new(TcpStream::connect(address).await.unwrap()));
            let mut all = 0;
            let mut buffer = vec![0; 1 << 16];
            loop {
                match stream.read(&mut buffer).await {
                    Ok(read) => all += read,
                    Err(error) => return (all, error.to_string()),
                }
            }
        };
        let ((), (all, error)) = tokio::join!(flood, read);
        assert!(all <= BYTES_MAX && error.contains("16 MiB"), "{all}: {error}");
    }
}
