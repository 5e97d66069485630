//! The acceptor: takes connections off the listener and hands each to the worker that has the fewest.
//!
//! Behind an edge there are few, long and busy connections; spreading them by a hash of their addresses would leave
//! workers idle. At the cap, connections wait in the kernel's backlog instead of being refused.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::proxy::worker::{Control, Handoff, Place};

/// How many connections may be on their way to one worker; at the bound the acceptor waits.
pub(super) const HANDOFFS_MAX: usize = 256;
/// The wait after an accept that failed for want of files or memory, doubled up to the second; never a busy loop.
const FAILED_WAIT: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));
/// How many connections are taken off the backlog when the listener closes; the kernel resets what is beyond.
const LAST_ACCEPTS_MAX: usize = 4096;

pub(super) struct Acceptor {
    pub(super) control: Arc<Control>,
    pub(super) workers: Vec<mpsc::Sender<Handoff>>,
    pub(super) connections_max: usize,
}

impl Acceptor {
    /// Accepts until the stop; then empties the backlog and closes the listener.
    pub(super) async fn run(self, listener: TcpListener) {
        self.accept_all(&listener).await;
        let listener = match listener.into_std() {
            Ok(listener) => listener,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "backlog was not emptied");
                return;
            }
        };
        for _ in 0..LAST_ACCEPTS_MAX {
            match listener.accept() {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nonblocking(true) {
                        tracing::warn!(error = &error as &dyn std::error::Error, "connection was lost");
                        continue;
                    }
                    self.hand_over(stream, peer).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => break,
            }
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let mut wait = FAILED_WAIT.0;
        loop {
            let accepted = tokio::select! {
                () = self.control.stop.cancelled() => return,
                accepted = self.accept(listener) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    wait = FAILED_WAIT.0;
                    self.hand_over(stream, peer).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if wait == FAILED_WAIT.0 {
                        tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    }
                    tokio::select! {
                        () = self.control.stop.cancelled() => return,
                        () = tokio::time::sleep(wait) => {}
                    }
                    wait = (wait * 2).min(FAILED_WAIT.1);
                }
            }
        }
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
        while self.open() >= self.connections_max {
            self.control.freed.notified().await;
        }
        let (stream, peer) = listener.accept().await?;
        Ok((stream.into_std()?, peer))
    }

    fn open(&self) -> usize {
        self.control.loads.iter().map(|load| load.open.load(Ordering::Relaxed)).sum()
    }

    async fn hand_over(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        let load = |i: &usize| self.control.loads[*i].open.load(Ordering::Relaxed);
        let Some(least) = (0..self.workers.len()).min_by_key(load) else { return };
        let handoff = Handoff { stream, peer, place: Place::take(&self.control, least) };
        // A worker takes connections until the acceptor has gone; without it the connection is closed.
        let _ = self.workers[least].send(handoff).await;
    }
}

/// The peer gave up before it was accepted: nothing is wrong with the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
