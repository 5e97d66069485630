//! The signals that we take, and whose they are: TERM and INT are ours and mean "drain and end"; the others are meant
//! for the app, since nobody sends them to a proxy.
//!
//! As PID 1 a process has no default actions: a signal without a handler does nothing at all. So each one that the app
//! could be sent has a handler. **What was ignored when we started stays ignored** (INT, QUIT and HUP only: that is how
//! `nohup` and a shell's `&` protect a command, and the app inherits that protection from us).
//!
//! Not passed on are the faults of a process itself (SEGV, PIPE and the like), CHLD, which is about our children, the
//! terminal's stops (TSTP stops whom a person wants to be stopped: everybody in the terminal's group gets it), and
//! real-time signals, which are sent by arrangement and to a known process.
//!
//! TTIN and TTOU are ignored: stopping us for wanting the terminal would stop all traffic. The app gets them as ever.

use std::io;

use futures_util::future::{FutureExt as _, select_all};
use nix::sys::signal::SigHandler;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::supervisor::Signal;
use crate::supervisor::tree::signal_set;

const TAKEN: [Signal; 16] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGURG,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGXCPU,
    Signal::SIGSTKFLT,
];

/// What would stop a process that is not in the terminal's foreground.
const TERMINAL_STOPS: [Signal; 2] = [Signal::SIGTTIN, Signal::SIGTTOU];

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Drain and end.
    Stop(Signal),
    /// Pass this on to the app.
    Relay(Signal),
}

/// The signals sent to us, from the moment of [`Signals::listen`] on. Two of a kind that come close together may be
/// seen as one, as always with signals.
#[derive(Debug)]
pub struct Signals {
    streams: Vec<(Signal, Stream)>,
}

impl Signals {
    /// Begins to listen; before the app is started, so that no signal is lost.
    pub fn listen() -> io::Result<Self> {
        let ignored = ignored_at_start();
        let taken = TAKEN.into_iter().filter(|&one| !stays_ignored(one, ignored));
        let streams = taken.map(|one| Ok((one, signal(SignalKind::from_raw(one as i32))?)));
        Ok(Self { streams: streams.collect::<io::Result<_>>()? })
    }

    /// The next signal. May be dropped and called again; nothing is lost.
    pub async fn next(&mut self) -> Received {
        let each = self.streams.iter_mut().map(|(one, stream)| {
            let one = *one;
            async move {
                match stream.recv().await {
                    Some(()) => one,
                    // The stream of a signal never ends while its runtime lives.
                    None => std::future::pending().await,
                }
            }
            .boxed()
        });
        let (one, _, _) = select_all(each).await;
        if matches!(one, Signal::SIGTERM | Signal::SIGINT) {
            Received::Stop(one)
        } else {
            Received::Relay(one)
        }
    }
}

/// From now on the terminal does not stop us; those signals that were not ignored before, to be given back to a child.
pub(super) fn ignore_terminal_stops() -> Vec<Signal> {
    let before = ignored_at_start();
    let mut changed = Vec::new();
    for one in TERMINAL_STOPS {
        if before >> (one as i32 - 1) & 1 == 0 && dispose(one, SigHandler::SigIgn).is_ok() {
            changed.push(one);
        }
    }
    changed
}

/// Gives a signal its default action. Safe between fork and exec: it is one system call.
pub(super) fn restore(one: Signal) -> io::Result<()> {
    Ok(dispose(one, SigHandler::SigDfl)?)
}

#[expect(
    unsafe_code,
    reason = "`signal` is unsafe for the sake of handlers; the argument is beside the call"
)]
fn dispose(one: Signal, action: SigHandler) -> nix::Result<()> {
    debug_assert!(matches!(action, SigHandler::SigIgn | SigHandler::SigDfl));
    // SAFETY: no function of ours is installed as a handler, so none can do what a handler must not.
    unsafe { nix::sys::signal::signal(one, action) }.map(drop)
}

fn ignored_at_start() -> u64 {
    std::fs::read_to_string("/proc/self/status").map_or(0, |text| signal_set(&text, "SigIgn:"))
}

fn stays_ignored(one: Signal, ignored: u64) -> bool {
    matches!(one, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP) && ignored >> (one as i32 - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read_from_the_processs_status() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000000000\n";
        let set = signal_set(status, "SigIgn:");
        assert!(stays_ignored(Signal::SIGHUP, set));
        assert!(stays_ignored(Signal::SIGINT, set));
        assert!(!stays_ignored(Signal::SIGQUIT, set));
        assert_eq!(signal_set("Name:\tx\n", "SigIgn:"), 0);
    }

    #[test]
    fn what_ends_us_is_always_taken() {
        assert!(!stays_ignored(Signal::SIGTERM, u64::MAX));
        assert!(!stays_ignored(Signal::SIGUSR1, u64::MAX));
    }
}
