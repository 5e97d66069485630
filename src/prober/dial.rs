//! Getting to a server: its name, a connection, TLS; each step timed and told.
//!
//! Names are resolved by the system's resolver, which blocks a thread that cannot be stopped. A probe has one such thread at
//! most: where the last question is still open, the next one waits for it. The thread is none of the runtime's, whose end
//! would wait for it.

mod line;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::probes::Server;
use crate::engine::time::Time;
use crate::prober::probe::{Failure, chain};

pub(crate) use crate::prober::dial::line::{Line, Stream};

/// How many addresses of a name are looked at; the others are not.
pub(crate) const ADDRESSES_MAX: usize = 64;
/// How many of them a connection is tried to; the others are not.
const TRIED_MAX: usize = 8;
/// After this pause the next address is tried beside the ones before it (RFC 8305 recommends 250 ms).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// What a probe is waiting for, for people.
#[derive(Debug, Default)]
pub(crate) struct Stage(String);

impl Stage {
    /// From now on it is waiting for `what`.
    pub(crate) fn enter(&mut self, what: impl Into<String>) {
        self.0 = what.into();
    }

    /// What it waits for.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Connects to servers for one probe.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    clock: Clock,
    resolving: Arc<Semaphore>,
}

/// A connection that was just made.
#[derive(Debug)]
pub(crate) struct Dialed {
    /// The connection.
    pub(crate) stream: TcpStream,
    /// Whom it leads to.
    pub(crate) address: SocketAddr,
    /// How long the name took.
    pub(crate) resolve: Duration,
    /// How long the connection took.
    pub(crate) connect: Duration,
}

impl Dialer {
    /// For one probe.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, resolving: Arc::new(Semaphore::new(1)) }
    }

    /// The time for measuring.
    pub(crate) fn instant(&self) -> Instant {
        self.clock.instant()
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// The addresses of a server's name, at least one and at most [`ADDRESSES_MAX`].
    pub(crate) async fn resolve(
        &self,
        server: &Server,
        stage: &mut Stage,
    ) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(address) = server.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, server.port)]);
        }
        stage.enter(format!("the address of `{}`", server.host));
        let permit = Arc::clone(&self.resolving).acquire_owned().await.expect("it is never closed");
        let (host, port) = (server.host.clone(), server.port);
        let (found_in, found) = oneshot::channel();
        let resolver = move || {
            let _one_at_a_time = permit;
            // Where nobody waits any more the answer is of no use.
            let _ = found_in.send(looked_up(&host, port));
        };
        std::thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(resolver)
            .map_err(|error| Failure::Unable(format!("no thread for the resolver: {error}")))?;
        let failed = || format!("the name `{}` was not resolved", server.host);
        match found.await {
            Ok(Ok(addresses)) if addresses.is_empty() => {
                Err(Failure::Down(format!("the name `{}` has no address", server.host)))
            }
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => Err(io_failure(&failed(), &error)),
            Err(_gone) => Err(Failure::Unable(format!("{}: the resolver's thread failed", failed()))),
        }
    }

    /// A connection to a server: its addresses are tried in order, the next one beside the others after a quarter of a
    /// second, and the first that accepts is taken.
    pub(crate) async fn connect(&self, server: &Server, stage: &mut Stage) -> Result<Dialed, Failure> {
        let began = self.instant();
        let mut addresses = self.resolve(server, stage).await?;
        addresses.truncate(TRIED_MAX);
        let resolved = self.instant();
        let told = if server.host.parse::<IpAddr>().is_ok() {
            server.to_string()
        } else {
            let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{server} ({})", all.join(", "))
        };
        stage.enter(format!("a connection to {told}"));
        let (stream, address) = first_of(&addresses)
            .await
            .map_err(|error| io_failure(&format!("no connection to {told}"), &error))?;
        // Nagle's algorithm would add the peer's delayed acknowledgement to what is measured.
        stream.set_nodelay(true).map_err(|error| io_failure("a new connection", &error))?;
        let connect = self.instant().duration_since(resolved);
        Ok(Dialed { stream, address, resolve: resolved.duration_since(began), connect })
    }
}

/// Asks the system's resolver, and blocks until it has answered.
fn looked_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = (host, port).to_socket_addrs();
    // Without a descriptor to ask with, some resolvers say the same as for a name server that is silent. Whether there is
    // one is seen by taking one.
    let found = found.map_err(|error| match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
        Err(own) if is_own(&own) => own,
        Ok(_) | Err(_) => error,
    });
    Ok(found?.take(ADDRESSES_MAX).collect())
}

/// Races the addresses, each with a head start over the next. Of several errors that one is told which says most about the
/// server: of an address that was reached rather than of one that there is no way to from here (a machine without IPv6),
/// and then of the first.
async fn first_of(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut racing = JoinSet::new();
    let mut waiting = addresses.iter().enumerate();
    let mut told: Option<((bool, usize), io::Error)> = None;
    let mut start_next = |racing: &mut JoinSet<_>| {
        if let Some((at, &address)) = waiting.next() {
            racing.spawn(
                async move { (at, TcpStream::connect(address).await.map(|stream| (stream, address))) },
            );
        }
        waiting.len()
    };
    let mut left = start_next(&mut racing);
    loop {
        let ended = tokio::select! {
            ended = racing.join_next() => ended,
            () = tokio::time::sleep(NEXT_ADDRESS), if left > 0 => {
                left = start_next(&mut racing);
                continue;
            }
        };
        match ended {
            Some(Ok((_, Ok(connected)))) => return Ok(connected),
            Some(Ok((at, Err(error)))) => {
                let rank = (is_own(&error), at);
                if told.as_ref().is_none_or(|(best, _)| rank < *best) {
                    told = Some((rank, error));
                }
                left = start_next(&mut racing);
            }
            Some(Err(panicked)) => return Err(io::Error::other(panicked)),
            None => {
                let error = told.map(|(_, error)| error);
                return Err(error.unwrap_or_else(|| io::Error::other("there is no address")));
            }
        }
    }
}

/// An I/O error as a failure: `what` says what was tried. Where it is our own lack of descriptors, memory, ports or routes,
/// the question could not be put.
pub(crate) fn io_failure(what: &str, error: &io::Error) -> Failure {
    let text = format!("{what}: {}", chain(error));
    if is_own(error) { Failure::Unable(text) } else { Failure::Down(text) }
}

/// The I/O error that another one came from.
pub(crate) fn io_cause<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a io::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Whether the error is our own system's, whoever was to be asked.
pub(crate) fn is_own(error: &io::Error) -> bool {
    const OWN: [Errno; 10] = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::ENOBUFS,
        Errno::EADDRNOTAVAIL,
        Errno::ENETUNREACH,
        Errno::ENETDOWN,
        Errno::EAFNOSUPPORT,
        // A filter of this machine's, or a route that says no.
        Errno::EPERM,
        Errno::EACCES,
    ];
    error.raw_os_error().is_some_and(|code| OWN.contains(&Errno::from_raw(code)))
}

#[cfg(test)]
mod tests;
