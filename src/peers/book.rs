//! The address book: where peers may be, who said so, and when to dial again. It dials nobody, and reads no clock.
//!
//! Nothing is believed of an address but that it is worth a try.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Addresses known at once. At the bound what peers tell is not written down any more, and what the configuration or a name
/// gives takes the place of something that a peer told.
pub(super) const ADDRESSES_MAX: usize = 512;
/// Addresses that are dialled at once; the others wait for their turn.
pub(super) const DIALS_MAX: usize = 8;
/// Between two tries at one address,
const AGAIN: Duration = Duration::from_secs(1);
/// where nobody has answered yet growing up to this.
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// An address that nobody names any more, and where nobody answered for so long, is forgotten.
const FORGET: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct Book {
    entries: BTreeMap<SocketAddr, Entry>,
    /// By source, what it names.
    sources: BTreeMap<usize, BTreeSet<SocketAddr>>,
    /// Where this agent itself is.
    own: BTreeSet<SocketAddr>,
    dials: usize,
}

struct Entry {
    /// When it was last named or told, or answered.
    last: Duration,
    has_answered: bool,
    /// Since somebody last answered.
    tries: u32,
    next: Duration,
    is_dialled: bool,
}

/// How a try ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Try {
    /// An agent with the key answered.
    Met,
    /// Nobody did, or somebody who is refused.
    Failed,
}

/// IPv4 addresses as such, and nothing beside address and port.
pub(super) fn plain(at: SocketAddr) -> SocketAddr {
    match SocketAddr::new(at.ip().to_canonical(), at.port()) {
        SocketAddr::V6(at) => SocketAddrV6::new(*at.ip(), at.port(), 0, 0).into(),
        v4 @ SocketAddr::V4(_) => v4,
    }
}

impl Book {
    /// A source names these and no others. `spread`: how the first tries are spread, 0 to 1.
    pub(super) fn name(&mut self, now: Duration, source: usize, addresses: &[SocketAddr]) {
        let named: BTreeSet<SocketAddr> = addresses.iter().copied().map(plain).collect();
        for &address in &named {
            if self.entries.len() >= ADDRESSES_MAX && !self.entries.contains_key(&address) {
                self.drop_a_told_one();
            }
            self.add(now, address, now);
        }
        self.sources.insert(source, named);
    }

    /// A peer says that it has met somebody there. `first`: when to try first.
    pub(super) fn tell(&mut self, now: Duration, address: SocketAddr, first: Duration) {
        self.add(now, plain(address), first);
    }

    fn add(&mut self, now: Duration, address: SocketAddr, first: Duration) {
        if self.own.contains(&address) || address.port() == 0 || address.ip().is_unspecified() {
            return;
        }
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.last = now;
        } else if self.entries.len() < ADDRESSES_MAX {
            let entry = Entry { last: now, has_answered: false, tries: 0, next: first, is_dialled: false };
            self.entries.insert(address, entry);
        }
    }

    fn drop_a_told_one(&mut self) {
        let is_named = |at: &SocketAddr| self.sources.values().any(|source| source.contains(at));
        let told = self.entries.iter().find(|(at, entry)| !entry.is_dialled && !is_named(at));
        if let Some(address) = told.map(|(at, _)| *at) {
            self.entries.remove(&address);
        }
    }

    /// This agent itself is there.
    pub(super) fn is_me(&mut self, address: SocketAddr) {
        if self.own.len() < ADDRESSES_MAX {
            self.own.insert(plain(address));
        }
        // A dial that is under way ends by itself.
        self.entries.retain(|at, entry| entry.is_dialled || *at != plain(address));
    }

    /// Those to dial now; each is told of by `tried` later. `met`: where peers are that are met.
    pub(super) fn due(&mut self, now: Duration, met: &BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
        let mut due = Vec::new();
        for (address, entry) in &mut self.entries {
            if self.dials >= DIALS_MAX {
                break;
            }
            if met.contains(address) {
                entry.last = now;
                continue;
            }
            if !entry.is_dialled && entry.next <= now && !self.own.contains(address) {
                entry.is_dialled = true;
                self.dials += 1;
                due.push(*address);
            }
        }
        due
    }

    /// How a try ended. `jitter`: from 0 to 1, so that not all try at once.
    pub(super) fn tried(&mut self, now: Duration, address: SocketAddr, how: Try, jitter: f64) {
        self.dials = self.dials.saturating_sub(1);
        let Some(entry) = self.entries.get_mut(&plain(address)) else { return };
        entry.is_dialled = false;
        match how {
            Try::Met => {
                (entry.has_answered, entry.tries, entry.last) = (true, 0, now);
            }
            Try::Failed => entry.tries = entry.tries.saturating_add(1),
        }
        // Where somebody answered before, a restart is waited for a while.
        let patience = if entry.has_answered { 60 } else { 1 };
        let slow = 1_u32 << entry.tries.saturating_sub(patience).min(4);
        let pause = (AGAIN * slow).min(AGAIN_MAX);
        entry.next = now + pause.mul_f64(0.75 + jitter / 2.0);
    }

    /// Drops what nobody names and where nobody is.
    pub(super) fn forget(&mut self, now: Duration) {
        let sources = &self.sources;
        self.entries.retain(|at, entry| {
            entry.is_dialled
                || now.saturating_sub(entry.last) < FORGET
                || sources.values().any(|source| source.contains(at))
        });
    }

    /// Where nobody is met.
    pub(super) fn unmet(&self, met: &BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
        self.entries.keys().filter(|at| !met.contains(at) && !self.own.contains(at)).copied().collect()
    }
}
