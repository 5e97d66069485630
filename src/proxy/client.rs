//! One client's connection: its requests one after the other, and how it ends.
//!
//! It reads heads, answers our own pages, refuses what cannot be understood, and hands everything else to an exchange.
//! It does not know how the app is reached.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::engine::observation;
use crate::proxy::asked::{self, Asked};
use crate::proxy::buffer::Buffer;
use crate::proxy::exchange::{self, After};
use crate::proxy::h1::{Framing, Request};
use crate::proxy::plan::{LocalPage, LocalRequest};
use crate::proxy::refusal::Refusal;
use crate::proxy::socket;
use crate::proxy::watch::{Limit, Watch};
use crate::proxy::worker::{Handoff, Worker};

/// After our end of a connection, what the client still sends is read and dropped for this long, and up to this many
/// bytes: closing at once would reset the connection and destroy the reply on its way. Beyond, it is closed.
const LINGER: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same, once the listener is closed.
const LINGER_AT_STOP: Duration = Duration::from_millis(500);

/// What the requests of one client's connection share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) worker: Rc<Worker>,
    pub(super) watch: Rc<Watch>,
    pub(super) peer: SocketAddr,
    /// The peer's address as text.
    address: OnceCell<String>,
}

impl Line {
    /// The peer's address as apps write it: an IPv4 one that came over an IPv6 socket is plain.
    pub(super) fn address(&self) -> &str {
        self.address.get_or_init(|| self.peer.ip().to_canonical().to_string())
    }
}

/// The two directions of a client's socket.
pub(super) struct Client<'a> {
    pub(super) reader: ReadHalf<'a>,
    pub(super) writer: WriteHalf<'a>,
    /// What was read ahead.
    pub(super) input: Buffer,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At once.
    Close,
    /// When the client has read the last reply.
    Linger,
}

/// What is to be done with the next request.
enum Next {
    Forward(Asked),
    Page(LocalPage, bool, bool),
    Refuse(Refusal),
    End,
}

/// Serves one connection to its end.
pub(super) async fn serve(worker: Rc<Worker>, handoff: Handoff) {
    let Handoff { stream, peer, place } = handoff;
    let mut stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "connection was not registered");
            return;
        }
    };
    socket::tune(&stream);
    let watch = worker.watches.enrol();
    let line = Line { worker, watch, peer, address: OnceCell::new() };
    let end = {
        let (reader, writer) = stream.split();
        let mut client = Client { reader, writer, input: Buffer::default() };
        let end = converse(&line, &mut client).await;
        line.worker.buffers.give(client.input);
        end
    };
    match end {
        End::Close => {}
        End::Linger => linger(&line, &mut stream).await,
    }
    drop(place);
}

async fn converse(line: &Line, client: &mut Client<'_>) -> End {
    loop {
        let after = match next(line, client).await {
            Next::Forward(asked) => exchange::run(line, client, asked).await,
            Next::Page(page, bodyless, closes) => {
                let page = match page {
                    LocalPage::Now(page) => page,
                    LocalPage::Soon(page) => page.await,
                };
                show(line, client, page, bodyless, closes).await
            }
            Next::Refuse(refusal) => {
                line.worker.shard().refused(observation::Method::Other, refusal.status(), refusal.outcome());
                let id = asked::request_id(line.worker.clock.now(), fastrand::u128(..));
                refuse(line, client, refusal, false, Some(&id), true).await
            }
            Next::End => After::Close,
        };
        match after {
            After::Next => {}
            After::Close => return End::Close,
            After::Linger => return End::Linger,
        }
    }
}

/// Waits for the next request's head and says what is to be done with it.
async fn next(line: &Line, client: &mut Client<'_>) -> Next {
    let worker = &line.worker;
    let mut began_us = 0;
    let mut seen = 0;
    if client.input.is_empty() {
        worker.buffers.give(std::mem::take(&mut client.input));
    }
    loop {
        if !client.input.is_empty() {
            if began_us == 0 {
                began_us = worker.clock.micros();
                line.watch.disarm(Limit::ClientSends);
            }
            match Request::parse(client.input.data(), &mut seen) {
                Ok(Some(request)) => {
                    line.watch.disarm(Limit::ClientSends);
                    let len = request.len;
                    let next = dispatch(line, &request, &client.input.data()[len..], began_us);
                    client.input.consume(len);
                    return next;
                }
                Ok(None) if client.input.is_full() => return Next::Refuse(Refusal::LongHead),
                Ok(None) => {}
                Err(bad) => return Next::Refuse(bad.into()),
            }
        }
        let is_idle = began_us == 0;
        match more(line, client, is_idle).await {
            Ok(0) | Err(None) => return Next::End,
            Ok(_) => {}
            Err(Some(refusal)) => return Next::Refuse(refusal),
        }
    }
}

/// Reads more of a head. The limit of a head runs from its first byte to its last.
async fn more(line: &Line, client: &mut Client<'_>, is_idle: bool) -> Result<usize, Option<Refusal>> {
    let (worker, watch) = (&line.worker, &line.watch);
    let settings = &worker.settings;
    let span = if is_idle { settings.idle_timeout } else { settings.head_timeout };
    poll_fn(|cx| {
        if let Poll::Ready(read) = worker.poll_fill(&mut client.input, &mut client.reader, cx) {
            return Poll::Ready(read.map_err(|_| None));
        }
        // What lies in the kernel, and was not seen yet, is still served.
        if is_idle && watch.is_closing() && socket::is_silent(client.reader.as_ref().as_fd()) {
            return Poll::Ready(Err(None));
        }
        if watch.is_late(Limit::ClientSends) {
            watch.disarm(Limit::ClientSends);
            return Poll::Ready(Err((!is_idle).then_some(Refusal::SlowHead)));
        }
        watch.arm_once(Limit::ClientSends, span, cx);
        Poll::Pending
    })
    .await
}

/// The order is fixed: our own pages first, then everything else is the app's.
/// `body`: what has come of it.
fn dispatch(line: &Line, request: &Request<'_>, body: &[u8], began_us: u64) -> Next {
    let worker = &line.worker;
    if let Some(page) = own_page(worker, request) {
        let has_body = !matches!(request.framing, Framing::None | Framing::Length(0));
        let closes = has_body || !request.keep_alive || request.minor == 0;
        return Next::Page(page, request.method == b"HEAD", closes);
    }
    worker.load().last_arrival_us.store(began_us, Ordering::Relaxed);
    Next::Forward(asked::take(line, request, body, began_us))
}

fn own_page(worker: &Worker, request: &Request<'_>) -> Option<LocalPage> {
    let path = std::str::from_utf8(request.path()).ok()?;
    let method = Method::from_bytes(request.method).ok()?;
    let accept = request.field("accept").and_then(|value| std::str::from_utf8(value).ok());
    let authorization = request.field("authorization");
    (worker.local)(&LocalRequest { method: &method, path, accept, authorization })
}

/// Sends a page of our own.
async fn show(
    line: &Line,
    client: &mut Client<'_>,
    page: Response<Bytes>,
    bodyless: bool,
    closes: bool,
) -> After {
    let closes = closes || line.worker.is_draining();
    let mut out = line.worker.buffers.text();
    let (parts, body) = page.into_parts();
    let reason = parts.status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_str()).as_bytes());
    for (name, value) in &parts.headers {
        // Without a body the page says itself how long that would be.
        if bodyless || name != http::header::CONTENT_LENGTH {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
    if !bodyless || !parts.headers.contains_key(http::header::CONTENT_LENGTH) {
        out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    if closes {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !bodyless {
        out.extend_from_slice(&body);
    }
    let sent = send(line, client, &out).await;
    line.worker.buffers.give_text(out);
    match (sent, closes) {
        (false, _) => After::Close,
        (true, true) => After::Linger,
        (true, false) => After::Next,
    }
}

/// Answers in the app's place.
pub(super) async fn refuse(
    line: &Line,
    client: &mut Client<'_>,
    refusal: Refusal,
    bodyless: bool,
    id: Option<&[u8]>,
    close: bool,
) -> After {
    let close = close || refusal.closes() || line.worker.is_draining();
    let mut out = line.worker.buffers.text();
    refusal.render(bodyless, id, close, &mut out);
    let sent = send(line, client, &out).await;
    line.worker.buffers.give_text(out);
    match (sent, close) {
        (false, _) => After::Close,
        (true, true) => After::Linger,
        (true, false) => After::Next,
    }
}

/// Whether all of `bytes` was taken over by the client's side.
async fn send(line: &Line, client: &mut Client<'_>, bytes: &[u8]) -> bool {
    let mut left = bytes;
    poll_fn(|cx| {
        while !left.is_empty() {
            let writer = Pin::new(&mut client.writer);
            let span = line.worker.settings.send_timeout;
            let wrote = line.watch.poll(Limit::ClientTakes, span, cx, |cx| writer.poll_write(cx, left));
            match std::task::ready!(wrote) {
                Ok(Ok(n)) if n > 0 => left = &left[n..],
                _ => return Poll::Ready(false),
            }
        }
        Poll::Ready(true)
    })
    .await
}

/// Ends our side, and reads and drops what the client still sends.
async fn linger(line: &Line, stream: &mut TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut dropped = 0;
    // Not part of the task, which each idle connection has.
    let mut buffer = vec![0; 8 * 1024];
    let reading = async {
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            dropped += n;
            if dropped > LINGER_BYTES_MAX {
                break;
            }
        }
    };
    let stop = &line.worker.control.stop;
    tokio::select! {
        () = reading => {}
        () = tokio::time::sleep(LINGER) => {}
        () = async { stop.cancelled().await; tokio::time::sleep(LINGER_AT_STOP).await } => {}
    }
}
