//! The reply on its way to the client: interim heads, the head, the body, and how it ends.
//!
//! A reply that broke off must look broken off: what came of it is passed on, and then the connection ends without the
//! last chunk or before the announced length.

use std::future::poll_fn;

use tokio::net::tcp::WriteHalf;

use crate::engine::observation::Outcome;
use crate::proxy::buffer::Buffer;
use crate::proxy::exchange::{After, in_phase};
use crate::proxy::h1::{self, Chunks, Framing, Piece, Reply, Toward};
use crate::proxy::plan::Phase;
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::{Gate, Relay, Relayed};
use crate::proxy::socket::{self, AppReader};
use crate::proxy::split;
use crate::proxy::watch::Late;

/// Interim replies that are passed on before the reply; more are no reply.
const INTERIM_MAX: usize = 10;

/// What is known of a reply once its head is rendered.
struct Head {
    framing: Framing,
    /// How the client is sent the body.
    toward: Framing,
    /// The app keeps its connection.
    app_keeps: bool,
    closes: bool,
    ends_as: Outcome,
}

/// What a head turned out to be.
enum Step {
    More,
    Interim,
    Final(Head),
    Switched,
    Elsewhere(u16),
    Bad,
}

/// Why a body ended before its end.
enum Broken {
    ByApp,
    ByClient,
}

/// Reads the app's reply and passes it on.
pub(super) async fn run(
    relay: &Relay<'_>,
    app: AppReader<'_>,
    answer: &mut Buffer,
    client: &mut WriteHalf<'_>,
) -> Relayed {
    let mut out = relay.line.worker.buffers.text();
    let mut download = Download { relay, app, answer, client, out: &mut out };
    let relayed = download.run().await;
    relay.line.worker.buffers.give_text(out);
    relayed
}

struct Download<'d, 'a, 'c> {
    relay: &'d Relay<'d>,
    app: AppReader<'a>,
    answer: &'d mut Buffer,
    client: &'d mut WriteHalf<'c>,
    /// What is to be sent next.
    out: &'d mut Vec<u8>,
}

impl Download<'_, '_, '_> {
    async fn run(&mut self) -> Relayed {
        let head = match self.head().await {
            Ok(head) => head,
            Err(relayed) => return relayed,
        };
        // Only the end of the connection will tell the client where the reply ends: until it is seen, every other end must
        // look like none, whoever makes it.
        let ends_by_close = head.toward == Framing::Close;
        if ends_by_close {
            socket::reset_on_close(self.client.as_ref(), true);
        }
        let sent = match head.framing {
            Framing::None => self.flush().await.map(|()| true),
            Framing::Length(length) => self.length(length).await.map(|()| true),
            Framing::Chunked => self.chunks(head.toward).await.map(|()| true),
            Framing::Close => self.until_closed(head.toward).await.map(|()| false),
        };
        let account = &self.relay.asked.account;
        let phase = self.relay.line.worker.phase(self.relay.asked.arm);
        match sent {
            Ok(app_is_open) => {
                if ends_by_close {
                    socket::reset_on_close(self.client.as_ref(), false);
                }
                let sent = account.is_sent();
                account.end(head.ends_as);
                // Bytes beyond the end could be taken for the next reply's.
                let reusable = app_is_open && head.app_keeps && sent && self.answer.is_empty();
                let after = if head.closes || !sent { After::Linger } else { After::Next };
                Relayed::Whole { reusable, bodyless: head.framing == Framing::None, after }
            }
            Err(Broken::ByClient) => Relayed::ClientLeft,
            Err(Broken::ByApp) => {
                account.end(in_phase(Outcome::AppTruncated, phase));
                Relayed::Cut(if ends_by_close { After::Close } else { After::Linger })
            }
        }
    }

    /// Reads up to the reply's head, passing on what comes before it; the head itself then lies in `out`.
    async fn head(&mut self) -> Result<Head, Relayed> {
        let mut interims = 0;
        let mut seen = 0;
        loop {
            let step = if self.answer.is_empty() { Step::More } else { self.step(&mut seen) };
            match step {
                Step::Final(head) => return Ok(head),
                Step::Elsewhere(status) => return Err(Relayed::Elsewhere(status)),
                Step::Bad => return Err(Relayed::Failed(Refusal::BadReply)),
                Step::Interim if interims == INTERIM_MAX => return Err(Relayed::Failed(Refusal::BadReply)),
                Step::Interim => {
                    interims += 1;
                    seen = 0;
                    self.flush().await.map_err(|_| Relayed::ClientLeft)?;
                }
                Step::Switched => {
                    return Err(match self.flush().await {
                        Ok(()) => Relayed::Switched,
                        Err(_) => Relayed::ClientLeft,
                    });
                }
                Step::More if self.answer.is_full() => return Err(Relayed::Failed(Refusal::BadReply)),
                Step::More => {
                    let nothing_came = self.answer.is_empty() && interims == 0;
                    match self.await_head().await {
                        Err(Late) if self.relay.deaf.get() => return Err(Relayed::Failed(Refusal::BadReply)),
                        Err(Late) => return Err(Relayed::Failed(Refusal::Timeout)),
                        Ok(1..) => {}
                        Ok(0) if nothing_came => return Err(Relayed::Silent),
                        Ok(0) => return Err(Relayed::Failed(Refusal::BadReply)),
                    }
                }
            }
        }
    }

    /// Reads once, under the app's limit when the app is due to answer; an error is an end.
    async fn await_head(&mut self) -> Result<usize, Late> {
        let Self { relay, app, answer, .. } = self;
        let worker = &relay.line.worker;
        poll_fn(|cx| {
            if relay.asked.account.is_sent() || relay.deaf.get() {
                relay.poll_app(cx, |cx| worker.poll_fill(answer, app, cx))
            } else {
                worker.poll_fill(answer, app, cx).map(Ok)
            }
        })
        .await
        .map(|read| {
            read.inspect(|&n| {
                if n > 0 {
                    relay.heard()
                }
            })
            .unwrap_or(0)
        })
    }

    /// Looks at what has come of a head.
    fn step(&mut self, seen: &mut usize) -> Step {
        let (relay, asked) = (self.relay, self.relay.asked);
        let (step, len) = match Reply::parse(self.answer.data(), asked.is_head(), seen) {
            Ok(None) => return Step::More,
            Err(_) => return Step::Bad,
            Ok(Some(reply)) if reply.status == 101 => {
                if !switches_as_asked(relay, &reply) {
                    return Step::Bad;
                }
                asked.account.answered(reply.status, Outcome::Answered);
                relay.has_head.set(true);
                h1::reply_head(
                    &reply,
                    &toward(Framing::None, false, relay, &relay.line.worker.date()),
                    self.out,
                );
                (Step::Switched, reply.len)
            }
            Ok(Some(reply)) if reply.status < 200 => {
                if reply.status == 100 {
                    relay.gate.set(Gate::Open);
                }
                // A client that did not wait for a 100 is not bothered with one, and one of HTTP/1.0 with none at all.
                if asked.minor == 1 && (reply.status != 100 || asked.expects_continue) {
                    h1::interim_head(&reply, self.out);
                }
                (Step::Interim, reply.len)
            }
            Ok(Some(reply)) if is_asked_elsewhere(relay, reply.status) => {
                return Step::Elsewhere(reply.status);
            }
            Ok(Some(reply)) => (Step::Final(final_head(relay, &reply, self.out)), reply.len),
        };
        self.answer.consume(len);
        step
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        let sent = self.relay.send(self.client, self.out).await;
        self.out.clear();
        if sent { Ok(()) } else { Err(Broken::ByClient) }
    }

    /// Reads more of the body; `Ok(0)`: the app has ended its side. Silence has no limit: a stream may rest.
    async fn fill(&mut self) -> Result<usize, Broken> {
        let Self { relay, app, answer, .. } = self;
        answer.expect_more();
        let worker = &relay.line.worker;
        poll_fn(|cx| worker.poll_fill(answer, app, cx)).await.map_err(|_| Broken::ByApp)
    }

    async fn length(&mut self, length: u64) -> Result<(), Broken> {
        let mut left = length;
        // What came with the head goes with it, in one write.
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.answer.data().len());
        self.out.extend_from_slice(&self.answer.data()[..n]);
        self.answer.consume(n);
        left -= n as u64;
        self.flush().await?;
        while left > 0 {
            if self.fill().await? == 0 {
                return Err(Broken::ByApp);
            }
            let n = usize::try_from(left).unwrap_or(usize::MAX).min(self.answer.data().len());
            if !self.relay.send(self.client, &self.answer.data()[..n]).await {
                return Err(Broken::ByClient);
            }
            self.answer.consume(n);
            left -= n as u64;
        }
        Ok(())
    }

    async fn chunks(&mut self, toward: Framing) -> Result<(), Broken> {
        let mut chunks = Chunks::default();
        loop {
            let ended = self.decode(&mut chunks, toward);
            // What came before a fault belongs to the client.
            self.flush().await?;
            if ended? {
                return Ok(());
            }
            if self.fill().await? == 0 {
                return Err(Broken::ByApp);
            }
        }
    }

    /// Takes all the chunks that have come; true: the last one was among them.
    fn decode(&mut self, chunks: &mut Chunks, toward: Framing) -> Result<bool, Broken> {
        loop {
            match chunks.next(self.answer.data()).map_err(|_| Broken::ByApp)? {
                Piece::More { taken } => {
                    self.answer.consume(taken);
                    return Ok(false);
                }
                Piece::Data { taken, len } => {
                    let data = &self.answer.data()[taken..taken + len];
                    if toward == Framing::Chunked {
                        h1::chunk(data, self.out);
                    } else {
                        self.out.extend_from_slice(data);
                    }
                    self.answer.consume(taken + len);
                }
                Piece::End { taken } => {
                    self.answer.consume(taken);
                    if toward == Framing::Chunked {
                        h1::last_chunk(chunks.trailers(), self.out).map_err(|_| Broken::ByApp)?;
                    }
                    return Ok(true);
                }
            }
        }
    }

    async fn until_closed(&mut self, toward: Framing) -> Result<(), Broken> {
        loop {
            let data = self.answer.data();
            if toward == Framing::Chunked && !data.is_empty() {
                h1::chunk(data, self.out);
            } else {
                self.out.extend_from_slice(data);
            }
            let n = data.len();
            self.answer.consume(n);
            self.flush().await?;
            if self.fill().await? == 0 {
                break;
            }
        }
        if toward == Framing::Chunked {
            h1::last_chunk(&[], self.out).map_err(|_| Broken::ByApp)?;
        }
        self.flush().await
    }
}

/// Renders the reply's head for the client and settles how the rest goes.
fn final_head(relay: &Relay<'_>, reply: &Reply<'_>, out: &mut Vec<u8>) -> Head {
    let (asked, worker) = (relay.asked, &relay.line.worker);
    let is_whole = asked.account.is_sent();
    let to_10 = asked.minor == 0;
    let framing = match reply.framing {
        Framing::Close | Framing::Chunked if to_10 => Framing::Close,
        Framing::Close | Framing::Chunked => Framing::Chunked,
        known @ (Framing::None | Framing::Length(_)) => known,
    };
    // The rest of an upload that the app did not wait for is not waited for either.
    let closes = !asked.keep_alive || !is_whole || framing == Framing::Close || worker.is_draining();
    if let Some(seconds) = reply.keep_alive_timeout_s {
        worker.pool(asked.arm).heard_timeout(seconds);
    }
    let ends_as = outcome_of(reply, worker.phase(asked.arm));
    asked.account.answered(reply.status, ends_as);
    if reply.field("content-type").is_some_and(|v| v.starts_with(b"text/event-stream")) {
        asked.account.streams();
    }
    relay.has_head.set(true);
    let cookie = asked.cookie.as_deref().filter(|_| {
        split::may_set_cookie(reply.status, reply.fields().map(|field| (field.name, field.value)))
    });
    let date = worker.date();
    let toward_client =
        Toward { set_cookie: cookie.map(str::as_bytes), ..toward(framing, closes, relay, &date) };
    h1::reply_head(reply, &toward_client, out);
    Head { framing: reply.framing, toward: framing, app_keeps: reply.keep_alive, closes, ends_as }
}

fn toward<'t>(framing: Framing, close: bool, relay: &Relay<'_>, date: &'t [u8]) -> Toward<'t> {
    let asked = relay.asked;
    Toward { framing, close, keep_alive_10: asked.minor == 0 && !close, date: Some(date), set_cookie: None }
}

fn is_asked_elsewhere(relay: &Relay<'_>, status: u16) -> bool {
    relay.asked.split().is_some_and(|split| relay.asked.is_asked_elsewhere(split, status))
}

fn switches_as_asked(relay: &Relay<'_>, reply: &Reply<'_>) -> bool {
    relay.asked.upgrades && relay.asked.field("upgrade").is_some_and(|asked| reply.switches_to(asked))
}

fn outcome_of(reply: &Reply<'_>, phase: Phase) -> Outcome {
    match reply.status {
        501 | 505 => Outcome::Answered,
        503 if phase == Phase::Draining && reply.has_retry_after => Outcome::Draining,
        500.. => Outcome::AppError,
        _ => Outcome::Answered,
    }
}
