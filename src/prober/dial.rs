//! Getting to a server: its name, a connection, TLS; each step timed and told.
//!
//! Names are resolved by the system's resolver, which blocks a thread that cannot be stopped. A probe has one such thread at
//! most: where the last question is still open, the next one waits for it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::config::probes::Server;
use crate::prober::probe::{Failure, chain};

/// How many addresses of a name are tried; the rest is not looked at.
const ADDRESSES_MAX: usize = 8;
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

    /// The addresses of a server's name, at least one and at most eight.
    pub(crate) async fn resolve(
        &self,
        server: &Server,
        stage: &mut Stage,
    ) -> Result<Vec<SocketAddr>, Failure> {
        stage.enter(format!("the address of `{}`", server.host));
        let failed = |what: String| Failure::Down(format!("the name `{}` {what}", server.host));
        let permit = Arc::clone(&self.resolving).acquire_owned().await.expect("it is never closed");
        let (host, port) = (server.host.clone(), server.port);
        let resolved = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = permit;
            let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port));
            found.map(|all| all.take(ADDRESSES_MAX).collect::<Vec<_>>())
        });
        match resolved.await {
            Ok(Ok(addresses)) if addresses.is_empty() => Err(failed("has no address".to_owned())),
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(error)) => {
                Err(io_failure(&format!("the name `{}` was not resolved", server.host), &error))
            }
            Err(error) => Err(Failure::Unable(format!("the resolver's thread failed: {error}"))),
        }
    }

    /// A connection to a server: its addresses are tried in order, the next one beside the others after a quarter of a
    /// second, and the first that accepts is taken.
    pub(crate) async fn connect(&self, server: &Server, stage: &mut Stage) -> Result<Dialed, Failure> {
        let began = self.instant();
        let addresses = self.resolve(server, stage).await?;
        let resolved = self.instant();
        let told = if addresses.len() == 1 && server.host.parse::<std::net::IpAddr>().is_ok() {
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

/// Races the addresses, each with a head start over the next. The error is that of the first address.
async fn first_of(addresses: &[SocketAddr]) -> io::Result<(TcpStream, SocketAddr)> {
    let mut racing = JoinSet::new();
    let mut waiting = addresses.iter().enumerate();
    let mut first_error: Option<(usize, io::Error)> = None;
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
                if first_error.as_ref().is_none_or(|(first, _)| at < *first) {
                    first_error = Some((at, error));
                }
                left = start_next(&mut racing);
            }
            Some(Err(panicked)) => return Err(io::Error::other(panicked)),
            None => {
                let error = first_error.map(|(_, error)| error);
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

/// Whether the error is our own system's, whoever was to be asked.
pub(crate) fn is_own(error: &io::Error) -> bool {
    const OWN: [Errno; 9] = [
        Errno::EMFILE,
        Errno::ENFILE,
        Errno::ENOMEM,
        Errno::ENOBUFS,
        Errno::EADDRNOTAVAIL,
        Errno::ENETUNREACH,
        Errno::ENETDOWN,
        Errno::EAFNOSUPPORT,
        Errno::EPERM,
    ];
    error.raw_os_error().is_some_and(|code| OWN.contains(&Errno::from_raw(code)))
}
