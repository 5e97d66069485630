//! The acceptor: takes connections off the listener and hands each to the worker that has the fewest.
//!
//! Behind an edge there are few, long and busy connections; spreading them by a hash of their addresses would leave
//! workers idle. At the cap, connections wait in the kernel's backlog instead of being refused.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::proxy::worker::{Control, Handoff, Place};

/// How many connections may be on their way to one worker; at the bound the acceptor waits.
pub(super) const HANDOFFS_MAX: usize = 256;
/// What a connection is told that comes when the process may open no more files.
const NO_MORE_FILES: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 27\r\ncache-control: no-store\r\nx-outrigger-error: agent-out-of-resources\r\nretry-after: 1\r\n\
    connection: close\r\n\r\n503 agent out of resources\n";
/// The errors that say so: EMFILE and ENFILE.
const FILES_ERRORS: [i32; 2] = [24, 23];
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
        // Held back, so that a client can be told when there is nothing else left.
        let mut spare = spare();
        loop {
            let accepted = tokio::select! {
                () = self.control.stop.cancelled() => return,
                accepted = self.accept(listener) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    wait = FAILED_WAIT.0;
                    if spare.is_none() {
                        spare = self::spare();
                    }
                    self.hand_over(stream, peer).await;
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if wait == FAILED_WAIT.0 {
                        tracing::warn!(error = &error as &dyn std::error::Error, "accept failed");
                    }
                    if error.raw_os_error().is_some_and(|code| FILES_ERRORS.contains(&code)) {
                        spare = turn_away(listener, spare).await;
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

/// A descriptor that is held for nothing else; without one the backlog must wait.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Gives the spare descriptor to one connection for as long as it takes to turn it away.
async fn turn_away(listener: &TcpListener, spare_file: Option<File>) -> Option<File> {
    drop(spare_file?);
    // Whoever takes the descriptor before us has it; then the backlog waits.
    if let Ok(Ok((stream, _))) = tokio::time::timeout(FAILED_WAIT.0, listener.accept()).await
        && let Ok(mut stream) = stream.into_std()
    {
        // A new socket's buffer takes so few bytes at once. What the client has sent is read, so that closing does not
        // reset the connection under the reply.
        let _ = stream.write_all(NO_MORE_FILES);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = io::Read::read(&mut stream, &mut [0; 16 * 1024]);
    }
    spare()
}

/// The peer gave up before it was accepted: nothing is wrong with the listener.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
