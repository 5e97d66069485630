//! After a 101: bytes both ways, until both ends have ended or the drain's deadline cuts them.
//!
//! An end of one direction is passed on and leaves the other open, for a while. A tunnel at rest holds no buffer.
//! Nothing is counted here: the request ended with its 101.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::proxy::buffer::Buffer;
use crate::proxy::client::{Client, Line};
use crate::proxy::socket::AppSocket;
use crate::proxy::watch::Limit;

/// Once one direction has ended, silence in the other for so long ends the tunnel; peers that vanish while both are open
/// are found by TCP's keep-alive.
const HALF_OPEN_MAX: Duration = Duration::from_secs(60);

/// Runs the tunnel. What either side sent ahead, right behind its head, comes first.
pub(super) async fn run(line: &Line, client: &mut Client<'_>, mut app: AppSocket, answer: &mut Buffer) {
    if let AppSocket::Tcp(stream) = &app {
        crate::proxy::socket::tune(stream);
    }
    let (mut app_reader, mut app_writer) = app.split();
    let Client { reader, writer, input } = client;
    let moves = Cell::new(0_u64);
    let mut up = pin!(copy(line, &moves, input, reader, &mut app_writer));
    let mut down = pin!(copy(line, &moves, answer, &mut app_reader, writer));
    let mut seen = 0;
    let (mut up_ended, mut down_ended) = (false, false);
    poll_fn(|cx| {
        if !up_ended && let Poll::Ready(whole) = up.as_mut().poll(cx) {
            up_ended = whole;
            if !whole {
                return Poll::Ready(());
            }
        }
        if !down_ended && let Poll::Ready(whole) = down.as_mut().poll(cx) {
            down_ended = whole;
            if !whole {
                return Poll::Ready(());
            }
        }
        if up_ended && down_ended {
            return Poll::Ready(());
        }
        if up_ended || down_ended {
            if moves.get() != std::mem::replace(&mut seen, moves.get()) {
                line.watch.disarm(Limit::App);
            }
            return line.watch.poll(Limit::App, HALF_OPEN_MAX, cx, |_| Poll::<()>::Pending).map(|_| ());
        }
        Poll::Pending
    })
    .await;
}

/// Copies one direction to its end and passes the end on; false: it broke off.
async fn copy(
    line: &Line,
    moves: &Cell<u64>,
    buffer: &mut Buffer,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> bool {
    loop {
        while !buffer.is_empty() {
            match poll_fn(|cx| Pin::new(&mut *writer).poll_write(cx, buffer.data())).await {
                Ok(n) if n > 0 => {
                    buffer.consume(n);
                    moves.set(moves.get() + 1);
                }
                _ => return false,
            }
        }
        let read = poll_fn(|cx| line.worker.poll_fill(buffer, reader, cx)).await;
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    poll_fn(|cx| Poll::Ready(ready!(Pin::new(&mut *writer).poll_shutdown(cx)).is_ok())).await
}
