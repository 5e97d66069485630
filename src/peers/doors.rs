//! The tasks that accept and dial: each shakes hands, asks the hub to be admitted, and carries one connection until it
//! ends. What comes of it is the hub's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::peers::book::{Try, plain};
use crate::peers::envelope::Refused;
use crate::peers::hub::Heard;
use crate::peers::link::{self, Context, Failure, Link};
use crate::peers::outbox::Outbox;

/// Connections accepted that have proved nothing yet. One more is closed and counted.
pub(super) const PENDING_MAX: usize = 64;
/// After a failed accept, which mostly means that there are no descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Accepts connections until the end.
pub(super) async fn listen(
    context: Arc<Context>,
    listener: TcpListener,
    ended: CancellationToken,
    shutdown: CancellationToken,
) {
    let pending = Arc::new(Semaphore::new(PENDING_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return,
        };
        let (stream, address) = match accepted {
            Ok((stream, address)) => (stream, plain(address)),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a peer could not be accepted");
                sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&pending).try_acquire_owned() else {
            context.refuse(Refused::TooMany, address);
            continue;
        };
        let (context, ended) = (Arc::clone(&context), ended.clone());
        tokio::spawn(async move {
            let served = async {
                let reached = stream.local_addr();
                let accepted = accept(&context, stream, address, reached.ok()).await;
                drop(permit);
                if let Some((link, wire)) = accepted {
                    keep(&context, link, wire).await;
                }
            };
            tokio::select! {
                () = served => {}
                () = ended.cancelled() => {}
            }
        });
    }
}

async fn accept(
    context: &Context,
    stream: TcpStream,
    address: SocketAddr,
    reached: Option<SocketAddr>,
) -> Option<(Link, link::Wire)> {
    match link::accept(context, stream, address).await {
        Ok(accepted) => Some(accepted),
        Err(Failure::Myself) => {
            if let Some(reached) = reached {
                let _ = context.hub.send(Heard::Myself(reached)).await;
            }
            None
        }
        Err(Failure::Refused(why)) => {
            context.refuse(why, address);
            None
        }
        Err(failure @ (Failure::Connect(_) | Failure::Broken(_) | Failure::Late)) => {
            tracing::debug!(%address, error = &failure as &dyn std::error::Error, "a peer did not shake hands");
            None
        }
    }
}

pub(super) async fn dial(context: &Arc<Context>, address: SocketAddr) {
    let (how, dialled) = match link::dial(context, address).await {
        Ok(dialled) => (Try::Met, Some(dialled)),
        Err(failure) => {
            if let Failure::Refused(why) = failure {
                context.refuse(why, address);
            } else {
                let error = &failure as &dyn std::error::Error;
                tracing::trace!(%address, error, "a peer could not be dialled");
            }
            (Try::Failed, None)
        }
    };
    // Told before the book is, so that the address counts as met at once.
    let kept = match dialled {
        Some((link, wire)) => up(context, link).await.map(|(link, outbox)| (link, outbox, wire)),
        None => None,
    };
    let _ = context.hub.send(Heard::Tried(address, how)).await;
    if let Some((link, outbox, wire)) = kept {
        carry(context, link, &outbox, wire).await;
    }
}

async fn keep(context: &Context, link: Link, wire: link::Wire) {
    if let Some((link, outbox)) = up(context, link).await {
        carry(context, link, &outbox, wire).await;
    }
}

async fn up(context: &Context, link: Link) -> Option<(Arc<Link>, Arc<Outbox>)> {
    let link = Arc::new(link);
    let (admit, admitted) = oneshot::channel();
    context.hub.send(Heard::Up(Arc::clone(&link), admit)).await.ok()?;
    let outbox = admitted.await.ok()?;
    Some((link, outbox))
}

async fn carry(context: &Context, link: Arc<Link>, outbox: &Outbox, wire: link::Wire) {
    link::run(context, &link, wire, outbox).await;
    let _ = context.hub.send(Heard::Down(link)).await;
}
