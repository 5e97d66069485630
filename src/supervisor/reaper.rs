//! The reaper: takes the status of every process that ended below us and that nobody else waits for.
//!
//! Orphans of the app become our children, as PID 1 or as a subreaper, and each that ends stays as a zombie until its
//! status is taken. Our own children are waited for by tokio, and a status is given only once. So the reaper *looks*
//! at who ended without taking anything, leaves our own alone, and takes the others one by one.
//!
//! Between a child's birth and its entry in the set lies a moment in which a quick child could end and be taken for an
//! orphan. So both happen under the lock that the reaper holds while it works.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How often the reaper looks without having been called: one of our own zombies that tokio has not taken yet hides
/// all that ended after it, and no signal tells when it is gone.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many orphans are reaped in one go, so that a storm of them does not keep the lock from who wants to spawn. The
/// rest is taken at the next look.
const REAPED_MAX: usize = 1024;

/// The children that somebody in this process waits for. Copies are one set.
#[derive(Clone, Debug, Default)]
pub struct OwnChildren {
    pids: Arc<Mutex<HashSet<u32>>>,
}

impl OwnChildren {
    /// Spawns a child, by `spawn`, which returns its id, and keeps it from the reaper as long as the result lives:
    /// hold it until the child was waited for.
    pub fn adopt(&self, spawn: &mut dyn FnMut() -> io::Result<u32>) -> io::Result<OwnChild> {
        let mut pids = self.lock();
        let pid = spawn()?;
        pids.insert(pid);
        Ok(OwnChild { pid, own: self.clone() })
    }

    /// Who is in it now.
    pub(super) fn pids(&self) -> HashSet<u32> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<u32>> {
        self.pids.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the statuses of those that ended and are not ours; how many.
    fn reap_foreign(&self) -> usize {
        let own = self.lock();
        let mut reaped = 0;
        while reaped < REAPED_MAX
            && let Some(pid) = ended()
            && !own.contains(&pid.as_raw().cast_unsigned())
        {
            if waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
                break;
            }
            reaped += 1;
        }
        reaped
    }
}

/// A child of ours; the reaper leaves it alone until this is dropped.
#[derive(Debug)]
pub struct OwnChild {
    pid: u32,
    own: OwnChildren,
}

impl OwnChild {
    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// The set that it is in.
    pub(super) const fn others(&self) -> &OwnChildren {
        &self.own
    }
}

impl Drop for OwnChild {
    fn drop(&mut self) {
        self.own.lock().remove(&self.pid);
    }
}

/// Reaps orphans until dropped.
pub async fn reap(own: OwnChildren) -> io::Result<()> {
    let mut ended = signal(SignalKind::child())?;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ended.recv() => {}
            _ = look.tick() => {}
        }
        let reaped = own.reap_foreign();
        if reaped > 0 {
            tracing::debug!(reaped, "orphans reaped");
        }
    }
}

/// Somebody who ended and whose status is still to be had; it is left where it is.
fn ended() -> Option<nix::unistd::Pid> {
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::All, look) {
        Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) => Some(pid),
        Ok(_) | Err(_) => None,
    }
}
