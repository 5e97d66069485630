//! New connections to the app, and the waiting while there is nobody to connect to.
//!
//! What a refusal means depends on the phase: while the app starts, the request is held and nobody is to blame; once it
//! serves, one short wait covers a listener that is being replaced, and then it is the app's fault.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use crate::proxy::plan::{Arm, Phase, Upstream};
use crate::proxy::pool::Lease;
use crate::proxy::refusal::Refusal;
use crate::proxy::socket::AppSocket;
use crate::proxy::split::ArmId;
use crate::proxy::worker::{Control, Worker};

/// The wait between two tries while a request is held: from the first, doubled up to the second, and half of it chance.
const HELD_WAIT: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// The one wait when an app that was ready refuses.
const REFUSED_WAIT: Duration = Duration::from_millis(50);
/// The wait for a place in the backlog of a socket in the file system.
const BACKLOG_WAIT: Duration = Duration::from_millis(5);
/// Errors that are the agent's own lack: EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL.
const OWN_LACK: [i32; 4] = [24, 23, 105, 99];
/// How long a name's addresses are used before it is looked up again.
const NAME_AGE_MAX_US: u64 = 5_000_000;
/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 8;

/// A place among the requests that are held; given back when dropped.
struct Held<'a>(&'a Control);

impl<'a> Held<'a> {
    fn take(control: &'a Control, max: usize) -> Option<Self> {
        if control.held.fetch_add(1, Ordering::Relaxed) >= max {
            control.held.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(control))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one worker remembers of where an arm was reached.
#[derive(Debug, Default)]
pub(super) struct Reached {
    /// It was last reached on `::1`.
    loopback_v6: Cell<bool>,
    /// A name's addresses, and when they were looked up.
    named: RefCell<Option<Named>>,
}

#[derive(Debug)]
struct Named {
    authority: String,
    addresses: Vec<SocketAddr>,
    at_us: u64,
}

/// A fresh connection to an arm's app, waiting for it where the phase says so.
pub(super) async fn fresh(worker: &Worker, id: ArmId) -> Result<Lease, Refusal> {
    let began_us = worker.clock.micros();
    let hold_us = u64::try_from(worker.settings.hold.as_micros()).unwrap_or(u64::MAX);
    let mut held = None;
    let mut wait = HELD_WAIT.0;
    let mut waited_for_refusal = false;
    loop {
        let plan = worker.plan.load_full();
        let arm = worker.arm(&plan, id).ok_or(Refusal::Unreachable)?;
        let reached = match arm.phase {
            Phase::Warming => Err(Refusal::NotReady),
            Phase::Starting | Phase::Serving | Phase::Draining | Phase::Gone => once(worker, id, arm).await,
        };
        let refusal = match reached {
            Ok(socket) => return Ok(Lease::fresh(worker.pool(id), socket, arm)),
            Err(refusal) => refusal,
        };
        match arm.phase {
            _ if refusal == Refusal::OutOfResources => return Err(refusal),
            Phase::Starting | Phase::Warming => {
                let left_us = hold_us.saturating_sub(worker.clock.micros().saturating_sub(began_us));
                if left_us == 0 {
                    return Err(Refusal::NotReady);
                }
                if held.is_none() {
                    let place = Held::take(&worker.control, worker.settings.held_max);
                    held = Some(place.ok_or(Refusal::TooManyHeld)?);
                }
                let jittered = wait.mul_f64(0.5 + 0.5 * fastrand::f64());
                tokio::time::sleep(jittered.min(Duration::from_micros(left_us))).await;
                wait = (wait * 2).min(HELD_WAIT.1);
            }
            Phase::Serving if refusal == Refusal::Unreachable && !waited_for_refusal => {
                waited_for_refusal = true;
                tokio::time::sleep(REFUSED_WAIT).await;
            }
            // An app that has ended by itself is as much to blame as one that refuses.
            Phase::Serving | Phase::Gone => return Err(refusal),
            Phase::Draining => return Err(Refusal::Draining),
        }
    }
}

/// One try, without waiting for an app that is not there.
pub(super) async fn once(worker: &Worker, id: ArmId, arm: &Arm) -> Result<AppSocket, Refusal> {
    let dialled = dial(worker, worker.reached(id), &arm.upstream);
    match tokio::time::timeout(worker.settings.connect_timeout, dialled).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) if error.raw_os_error().is_some_and(|code| OWN_LACK.contains(&code)) => {
            Err(Refusal::OutOfResources)
        }
        Ok(Err(error)) => {
            tracing::debug!(error = &error as &dyn std::error::Error, "no connection to the app");
            Err(Refusal::Unreachable)
        }
        Err(_late) => Err(Refusal::ConnectTimeout),
    }
}

async fn dial(worker: &Worker, reached: &Reached, upstream: &Upstream) -> io::Result<AppSocket> {
    let stream = match upstream {
        Upstream::Loopback { port } => loopback(reached, *port).await?,
        Upstream::Remote { authority } => {
            let addresses = lookup(worker, reached, authority).await?;
            TcpStream::connect(addresses.as_slice()).await?
        }
        // Where TCP waits for a place in a full backlog, this answers at once that there is none; the caller has a limit.
        Upstream::Unix { path } => loop {
            match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(BACKLOG_WAIT).await;
                }
                connected => return connected.map(AppSocket::Unix),
            }
        },
    };
    // A socket can meet itself where nobody listens on a port of the ephemeral range.
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    // Without it small writes wait for acknowledgements: slower, not wrong.
    let _ = stream.set_nodelay(true);
    Ok(AppSocket::Tcp(stream))
}

async fn loopback(reached: &Reached, port: u16) -> io::Result<TcpStream> {
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let v6_first = reached.loopback_v6.get();
    let [first, second] = if v6_first { [v6, v4] } else { [v4, v6] };
    let refused = match TcpStream::connect((first, port)).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    match TcpStream::connect((second, port)).await {
        Ok(stream) => {
            reached.loopback_v6.set(!v6_first);
            Ok(stream)
        }
        // The second family may not exist here: the first one's answer is the app's.
        Err(_) => Err(refused),
    }
}

/// The addresses of `host:port`: remembered for a while, and for longer where the look-up fails.
async fn lookup(worker: &Worker, reached: &Reached, authority: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = authority.parse() {
        return Ok(vec![address]);
    }
    let now_us = worker.clock.micros();
    let known = match &*reached.named.borrow() {
        Some(named) if named.authority == authority => {
            let is_young = now_us.saturating_sub(named.at_us) < NAME_AGE_MAX_US;
            Some((named.addresses.clone(), is_young))
        }
        Some(_) | None => None,
    };
    if let Some((addresses, true)) = known {
        return Ok(addresses);
    }
    let found = tokio::net::lookup_host(authority).await;
    match (found.map(|all| all.take(ADDRESSES_MAX).collect::<Vec<_>>()), known) {
        (Ok(addresses), _) if !addresses.is_empty() => {
            let named =
                Named { authority: authority.to_owned(), addresses: addresses.clone(), at_us: now_us };
            *reached.named.borrow_mut() = Some(named);
            Ok(addresses)
        }
        (_, Some((addresses, _))) => Ok(addresses),
        (Ok(_), None) => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        (Err(error), None) => Err(error),
    }
}
