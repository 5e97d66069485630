//! The app as a process: whom of it a signal reaches, how it ended, and what it left behind.
//!
//! It does not know why a signal is sent, nor how long an end may take.

use std::collections::HashSet;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpid};
use tokio::process::Child;

use crate::config::Reach;
use crate::engine::record::Exit;
use crate::supervisor::memory;
use crate::supervisor::reaper::{OwnChild, OwnChildren};
use crate::supervisor::tree::{Tree, nature};

/// The app, as a process.
#[derive(Debug)]
pub struct App {
    pub(super) child: Child,
    pub(super) own: OwnChild,
    pub(super) own_group: bool,
    pub(super) reach: Reach,
    /// Who was asked to end already: nobody is asked twice.
    pub(super) asked: HashSet<u32>,
    pub(super) oom_kills_before: Option<u64>,
}

impl App {
    /// Its process id, which may be another's once it has ended.
    pub const fn pid(&self) -> u32 {
        self.own.pid()
    }

    /// Sends a signal to the app, as far as `app.signals` says. One that has ended is past signals: nothing happens.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match self.reach {
            // At a terminal the group is ours as well, and the terminal signals all of it anyway.
            Reach::Group if self.own_group && self.child.id().is_some() => {
                gone_is_fine(killpg(raw(self.pid()), signal))
            }
            // Every one is tried; the first failure is told.
            Reach::Group | Reach::App | Reach::Auto => {
                self.receivers(signal).into_iter().map(|pid| send(pid, signal)).fold(Ok(()), Result::and)
            }
        }
    }

    /// Asks the app to end by the signal that asked us, so that an image's own stop signal reaches it. At a terminal the
    /// app got a Ctrl-C already, and many take a second one as "now": there it is asked by SIGTERM. So is one behind a
    /// wrapper: a shell that waits for its child has a handler for SIGINT, which passes nothing on.
    pub fn ask_to_end(&mut self, asked: Signal) -> io::Result<()> {
        let is_behind = asked == Signal::SIGINT
            && self.reach == Reach::Auto
            && self.child.id().is_some()
            && nature(self.pid(), asked).is_wrapper;
        let signal = if self.own_group && !is_behind { asked } else { Signal::SIGTERM };
        self.asked.extend(self.receivers(signal));
        self.signal(signal)
    }

    fn receivers(&self, signal: Signal) -> Vec<u32> {
        if self.child.id().is_none() {
            return Vec::new();
        }
        match self.reach {
            Reach::App => vec![self.pid()],
            Reach::Group if self.own_group => Tree::look().members(self.pid()).to_vec(),
            Reach::Auto if nature(self.pid(), signal).is_wrapper => {
                Tree::look().receivers(self.pid(), signal, &|pid| nature(pid, signal))
            }
            Reach::Auto | Reach::Group => vec![self.pid()],
        }
    }

    /// Waits until the app's first process has ended, and says how. May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<Exit> {
        Ok(exit(self.child.wait().await?))
    }

    /// After the end: whether the kernel seems to have killed the app for want of memory. Another process of the same
    /// container may have been meant if both were killed at once.
    pub fn ran_out_of_memory(&self, exit: Exit) -> bool {
        let killed = exit_code(exit) == 128 + Signal::SIGKILL as i32;
        killed && memory::rose(self.oom_kills_before, memory::oom_kills())
    }

    /// Kills the app, and what it started with it where it has a group of its own.
    pub fn kill(&self) -> io::Result<()> {
        if self.own_group && self.child.id().is_some() {
            return gone_is_fine(killpg(raw(self.pid()), Signal::SIGKILL));
        }
        if self.child.id().is_some() { send(self.pid(), Signal::SIGKILL) } else { Ok(()) }
    }

    /// After the end: what it left behind.
    pub fn rest(&self) -> Rest {
        let group = self.own_group.then(|| self.pid());
        Rest { own: self.own.others().clone(), group, asked: self.asked.clone() }
    }
}

/// What an app whose first process has ended left behind: members of its group, and orphans, which are our children by
/// then, wherever they went. A wrapper's server is one of those, and is ended as an app is: asked, and given its time.
#[derive(Debug)]
pub struct Rest {
    own: OwnChildren,
    group: Option<u32>,
    asked: HashSet<u32>,
}

impl Rest {
    /// Asks those to end that were not asked yet, each once; how many processes are left. What an end leaves behind in its
    /// turn is found by the next look.
    pub fn ask_to_end(&mut self) -> usize {
        let tree = Tree::look();
        let own = self.own.pids();
        // The number of a group that has no members is free, and may be another's by the next look.
        self.group = self.group.filter(|&group| !tree.members(group).is_empty());
        let left = self.left(&tree, &own);
        self.asked.retain(|pid| left.contains(pid));
        let orphans = tree.children(me()).iter().filter(|pid| !own.contains(pid)).copied();
        // Where orphans do not come to us, the group is all that is known.
        let below = tree.below(me(), &own);
        let strays = left.iter().copied().filter(|pid| !below.contains(pid));
        for root in orphans.chain(strays) {
            for pid in tree.receivers(root, Signal::SIGTERM, &|pid| nature(pid, Signal::SIGTERM)) {
                if self.asked.insert(pid) {
                    // One that may not be signalled is counted all the same, and told of when the time is over.
                    let _ = send(pid, Signal::SIGTERM);
                }
            }
        }
        left.len()
    }

    /// Kills all that is left; how many there were.
    pub fn kill(&self) -> io::Result<usize> {
        let left = self.left(&Tree::look(), &self.own.pids());
        left.iter().map(|&pid| send(pid, Signal::SIGKILL)).fold(Ok(()), Result::and)?;
        Ok(left.len())
    }

    fn left(&self, tree: &Tree, own: &HashSet<u32>) -> HashSet<u32> {
        let members = self.group.map_or(&[][..], |group| tree.members(group));
        tree.below(me(), own).into_iter().chain(members.iter().copied()).collect()
    }
}

fn me() -> u32 {
    getpid().as_raw().cast_unsigned()
}

/// The exit code by which we pass on how the app ended: its own, or 128 and the signal's number.
pub fn exit_code(exit: Exit) -> i32 {
    match (exit.code, exit.signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 1,
    }
}

fn exit(status: ExitStatus) -> Exit {
    Exit { code: status.code(), signal: status.signal() }
}

fn send(pid: u32, signal: Signal) -> io::Result<()> {
    gone_is_fine(kill(raw(pid), signal))
}

fn gone_is_fine(sent: Result<(), Errno>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

const fn raw(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed())
}
