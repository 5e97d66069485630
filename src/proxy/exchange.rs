//! One request and its reply: over a pooled connection or a fresh one, and again where that is safe.
//!
//! A request is sent a second time only if nothing of it was written, or if it is safe, has no body, and the pooled
//! connection it was written on ended before a byte of a reply. Never on a fresh connection's silence: the app may have
//! crashed on that very request.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};

use tokio::io::AsyncWrite as _;

use crate::engine::observation::Outcome;
use crate::proxy::asked::Asked;
use crate::proxy::buffer::Buffer;
use crate::proxy::client::{Client, Line, refuse};
use crate::proxy::connect;
use crate::proxy::h1::Framing;
use crate::proxy::plan::Phase;
use crate::proxy::pool::Lease;
use crate::proxy::refusal::Refusal;
use crate::proxy::relay::{self, Relay, Relayed};
use crate::proxy::socket::AppWriter;
use crate::proxy::split;
use crate::proxy::tunnel;
use crate::proxy::watch::Late;
use crate::proxy::worker::{Control, Worker};

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Next,
    /// It is closed at once.
    Close,
    /// It is closed when the client has read what was sent.
    Linger,
}

/// Why an attempt came to nothing; nothing was sent to the client but interim replies.
enum Failure {
    /// Nothing was written.
    Unsent,
    /// The connection ended before any byte of a reply.
    Silent,
    /// For good.
    Refused(Refusal),
    /// The client has gone.
    Left,
    /// This status is not passed on: the other app is asked.
    Elsewhere(u16),
}

/// A place among the requests that are at the app; given back when dropped.
struct InFlight<'a>(Option<&'a Control>);

impl<'a> InFlight<'a> {
    fn take(worker: &'a Worker) -> Option<Self> {
        let max = worker.settings.in_flight_max;
        if max == 0 {
            return Some(Self(None));
        }
        let control = &worker.control;
        let place = Self(Some(control));
        (control.in_flight.fetch_add(1, Ordering::Relaxed) < max).then_some(place)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some(control) = self.0 {
            control.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Carries one request through.
pub(super) async fn run(line: &Line, client: &mut Client<'_>, mut asked: Asked) -> After {
    let worker = &line.worker;
    let place = InFlight::take(worker);
    let ended = match &place {
        Some(_) => across(line, client, &mut asked).await,
        None => Err(Failure::Refused(Refusal::TooManyInFlight)),
    };
    drop(place);
    let refusal = match ended {
        Ok(after) => {
            worker.buffers.give_text(asked.head);
            return after;
        }
        Err(Failure::Left) => return After::Close,
        Err(Failure::Refused(refusal)) => refusal,
        Err(Failure::Unsent | Failure::Silent | Failure::Elsewhere(_)) => Refusal::BadReply,
    };
    asked.account.refuse(refusal.status(), refusal.outcome_in(worker.phase(asked.arm)));
    // The rest of a body is not waited for, so nothing may follow it.
    let close = !asked.keep_alive || !asked.is_whole() || asked.minor == 0;
    let id = asked.field("x-request-id");
    refuse(line, client, refusal, asked.is_head(), id, close).await
}

/// Asks the chosen app, and the other one where the plan's split says so.
async fn across(line: &Line, client: &mut Client<'_>, asked: &mut Asked) -> Result<After, Failure> {
    let worker = &line.worker;
    let ended = attempts(line, client, asked).await;
    // By the plan that it was chosen by, whatever holds by now.
    let plan = asked.plan.clone();
    let Some(split) = plan.as_ref().and_then(|plan| plan.split.as_ref()) else { return ended };
    match ended {
        Err(Failure::Elsewhere(status)) => {
            let outcome = if status >= 500 { Outcome::AppError } else { Outcome::Crossed };
            asked.cross(worker, status, outcome);
            let elsewhere = attempts(line, client, asked).await;
            if status >= 500 || !matches!(elsewhere, Err(Failure::Refused(_))) {
                return elsewhere;
            }
            // Nobody else has it: what the first app said holds after all.
            asked.cross(worker, 0, Outcome::Crossed);
            attempts(line, client, asked).await
        }
        Err(Failure::Refused(refusal)) if asked.is_rescued(split, failure_of(refusal)) => {
            asked.cross(worker, 0, refusal.outcome_in(split.candidate.phase));
            attempts(line, client, asked).await
        }
        ended => ended,
    }
}

fn failure_of(refusal: Refusal) -> split::Failure {
    let unreached = [Refusal::Unreachable, Refusal::ConnectTimeout, Refusal::NotReady, Refusal::Draining];
    if unreached.contains(&refusal) { split::Failure::Unreachable } else { split::Failure::NoReply }
}

async fn attempts(line: &Line, client: &mut Client<'_>, asked: &Asked) -> Result<After, Failure> {
    let worker = &line.worker;
    let pool = worker.pool(asked.arm);
    let idle = {
        let plan = worker.plan.load();
        let arm = worker.arm(&plan, asked.arm);
        arm.and_then(|arm| pool.take(arm, !asked.is_repeatable()))
    };
    let lease = match idle {
        Some(connection) => Lease::again(pool, connection),
        None => fresh(line, client, asked).await?,
    };
    let reused = lease.reused;
    match attempt(line, client, asked, lease).await {
        Err(Failure::Unsent) => {}
        Err(Failure::Silent) if reused && asked.is_repeatable() => {}
        Err(Failure::Silent) if reused => return Err(Failure::Refused(Refusal::Stale)),
        ended => return ended.map_err(settled),
    }
    asked.account.retried();
    let lease = fresh(line, client, asked).await?;
    attempt(line, client, asked, lease).await.map_err(settled)
}

/// What came to nothing on a new connection is the app's bad reply.
fn settled(failure: Failure) -> Failure {
    match failure {
        Failure::Unsent | Failure::Silent => Failure::Refused(Refusal::BadReply),
        Failure::Refused(_) | Failure::Left | Failure::Elsewhere(_) => failure,
    }
}

/// A new connection, unless the client leaves first.
async fn fresh(line: &Line, client: &mut Client<'_>, asked: &Asked) -> Result<Lease, Failure> {
    tokio::select! {
        biased;
        lease = connect::fresh(&line.worker, asked.arm) => lease.map_err(Failure::Refused),
        () = relay::gone(line, client) => Err(Failure::Left),
    }
}

/// One try over `lease`.
async fn attempt(
    line: &Line,
    client: &mut Client<'_>,
    asked: &Asked,
    mut lease: Lease,
) -> Result<After, Failure> {
    let worker = &line.worker;
    let now_us = worker.clock.micros();
    asked.account.reached(now_us);
    let wait = (!lease.reused).then(|| worker.waits.begin(now_us));
    let relay = Relay::new(line, asked, wait);
    let mut answer = worker.buffers.buffer();
    let relayed = {
        let (reader, mut writer) = lease.socket().split();
        if first_write(&relay, client, &mut writer).await? {
            relay::run(&relay, client, reader, writer, &mut answer).await
        } else {
            Relayed::Failed(Refusal::Timeout)
        }
    };
    let after = match relayed {
        Relayed::Whole { reusable, bodyless, after } => {
            if reusable && !worker.control.starving.keeps_none(|| worker.clock.micros()) {
                lease.release(bodyless);
            }
            Ok(after)
        }
        Relayed::Cut(after) => Ok(after),
        Relayed::Silent => Err(Failure::Silent),
        Relayed::Failed(refusal) => Err(Failure::Refused(refusal)),
        Relayed::ClientLeft => Err(Failure::Left),
        Relayed::Elsewhere(status) => Err(Failure::Elsewhere(status)),
        Relayed::Switched => {
            asked.account.end(Outcome::Answered);
            tunnel::run(line, client, lease.into_socket(), &mut answer).await;
            Ok(After::Close)
        }
    };
    worker.buffers.give(answer);
    after
}

/// Writes the head, and with it what has come of a body whose length is known. `Ok(false)`: the app takes nothing.
async fn first_write(
    relay: &Relay<'_>,
    client: &mut Client<'_>,
    writer: &mut AppWriter<'_>,
) -> Result<bool, Failure> {
    let asked = relay.asked;
    let with_body = match asked.framing {
        Framing::Length(length) if !asked.expects_continue => {
            usize::try_from(length).unwrap_or(usize::MAX).min(client.input.data().len())
        }
        Framing::Length(_) | Framing::None | Framing::Chunked | Framing::Close => 0,
    };
    let (head, mut written) = (asked.head.as_slice(), 0);
    let sent = poll_fn(|cx| {
        while written < head.len() {
            let slices = [IoSlice::new(&head[written..]), IoSlice::new(&client.input.data()[..with_body])];
            let wrote = relay.poll_app(cx, |cx| {
                if with_body == 0 {
                    Pin::new(&mut *writer).poll_write(cx, &head[written..])
                } else {
                    Pin::new(&mut *writer).poll_write_vectored(cx, &slices)
                }
            });
            match ready!(wrote) {
                Err(Late) => return Poll::Ready(Ok(false)),
                Ok(Ok(n)) => written += n,
                Ok(Err(_)) if written == 0 => return Poll::Ready(Err(Failure::Unsent)),
                Ok(Err(_)) => {
                    relay.app_is_deaf();
                    return Poll::Ready(Ok(true));
                }
            }
        }
        Poll::Ready(Ok(true))
    });
    let sent = sent.await?;
    let of_body = written.saturating_sub(head.len());
    consume(&mut client.input, of_body);
    relay.uploaded(of_body as u64);
    Ok(sent)
}

fn consume(input: &mut Buffer, n: usize) {
    if n > 0 {
        input.consume(n);
    }
}

/// What an outcome is charged to when the app has been told to end.
pub(super) fn in_phase(outcome: Outcome, phase: Phase) -> Outcome {
    let is_broken_off = matches!(outcome, Outcome::AppTruncated | Outcome::AppBadReply);
    if is_broken_off && phase == Phase::Draining { Outcome::Draining } else { outcome }
}
