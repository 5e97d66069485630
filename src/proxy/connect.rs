//! New connections to the app, and the waiting while there is nobody to connect to.
//!
//! What a refusal means depends on the phase: while the app starts, the request is held and nobody is to blame; once it
//! serves, one short wait covers a listener that is being replaced, and then it is the app's fault.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;

use crate::proxy::plan::{Phase, Plan, Upstream};
use crate::proxy::pool::Lease;
use crate::proxy::reply::Refusal;
use crate::proxy::worker::{Control, Worker};

/// The wait between two tries while a request is held: from the first, doubled up to the second, and half of it chance.
const HELD_WAIT: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(250));
/// The one wait when an app that was ready refuses.
const REFUSED_WAIT: Duration = Duration::from_millis(50);
/// Errors that are the agent's own lack: EMFILE, ENFILE, ENOBUFS, EADDRNOTAVAIL.
const OWN_LACK: [i32; 4] = [24, 23, 105, 99];

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

/// A fresh connection to the app, waiting for it where the phase says so.
pub(super) async fn fresh(worker: &Worker) -> Result<Lease, Refusal> {
    let began_us = worker.clock.micros();
    let hold_us = u64::try_from(worker.settings.hold.as_micros()).unwrap_or(u64::MAX);
    let mut held = None;
    let mut wait = HELD_WAIT.0;
    let mut waited_for_refusal = false;
    loop {
        let plan = worker.plan.load_full();
        let refusal = match attempt(worker, &plan).await {
            Ok(stream) => {
                let adopted = worker.pool.adopt(stream, plan.stable.generation).await;
                let connection = adopted.map_err(|_| Refusal::BadReply)?;
                return Ok(Lease::new(&worker.pool, connection, false));
            }
            Err(refusal) => refusal,
        };
        match plan.stable.phase {
            _ if refusal == Refusal::OutOfResources => return Err(refusal),
            Phase::Starting => {
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

async fn attempt(worker: &Worker, plan: &Plan) -> Result<TcpStream, Refusal> {
    match tokio::time::timeout(worker.settings.connect_timeout, dial(worker, &plan.stable.upstream)).await {
        // A socket can meet itself where nobody listens on a port of the ephemeral range.
        Ok(Ok(stream)) if stream.local_addr().ok() == stream.peer_addr().ok() => Err(Refusal::Unreachable),
        Ok(Ok(stream)) => {
            // Without it small writes wait for acknowledgements: slower, not wrong.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) if error.raw_os_error().is_some_and(|code| OWN_LACK.contains(&code)) => {
            Err(Refusal::OutOfResources)
        }
        Ok(Err(_)) => Err(Refusal::Unreachable),
        Err(_) => Err(Refusal::ConnectTimeout),
    }
}

async fn dial(worker: &Worker, upstream: &Upstream) -> io::Result<TcpStream> {
    let port = match upstream {
        Upstream::Loopback { port } => *port,
        Upstream::Remote { authority } => return TcpStream::connect(authority.as_str()).await,
        Upstream::Unix { .. } => return Err(io::ErrorKind::Unsupported.into()),
    };
    let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
    let v6_first = worker.loopback_v6.get();
    let [first, second] = if v6_first { [v6, v4] } else { [v4, v6] };
    let refused = match TcpStream::connect((first, port)).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    match TcpStream::connect((second, port)).await {
        Ok(stream) => {
            worker.loopback_v6.set(!v6_first);
            Ok(stream)
        }
        // The second family may not exist here: the first one's answer is the app's.
        Err(_) => Err(refused),
    }
}
