//! The signals that we take, and whose they are: TERM and INT are ours and mean "drain and end"; the others are meant
//! for the app, since nobody sends them to a proxy.
//!
//! As PID 1 a process has no default actions: a signal without a handler does nothing at all. So each one that the app
//! could be sent has a handler. **What was ignored when we started stays ignored** (INT, QUIT and HUP only: that is how
//! `nohup` and a shell's `&` protect a command, and the app inherits that protection from us).

use std::io;

use futures_util::future::{FutureExt as _, select_all};
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::supervisor::Signal;

const TAKEN: [Signal; 8] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
];

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
        let ignored = std::fs::read_to_string("/proc/self/status").map_or(0, |text| ignored(&text));
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

fn stays_ignored(one: Signal, ignored: u64) -> bool {
    matches!(one, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGHUP) && ignored >> (one as i32 - 1) & 1 == 1
}

/// The set of ignored signals by the text of `/proc/self/status`: bit n-1 is signal n.
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ignored_signals_are_read_from_the_processs_status() {
        let status =
            "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\t0000000000000000\n";
        let set = ignored(status);
        assert!(stays_ignored(Signal::SIGHUP, set));
        assert!(stays_ignored(Signal::SIGINT, set));
        assert!(!stays_ignored(Signal::SIGQUIT, set));
        assert_eq!(ignored("Name:\tx\n"), 0);
    }

    #[test]
    fn what_ends_us_is_always_taken() {
        assert!(!stays_ignored(Signal::SIGTERM, u64::MAX));
        assert!(!stays_ignored(Signal::SIGUSR1, u64::MAX));
    }
}
