//! One agent that is connected: its connections, which of them is used, and what it said of itself. It dials nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::peer::{Boot, Hello, Peer};
use crate::peers::link::Link;
use crate::peers::outbox::Outbox;
use crate::peers::wire::Introduction;

/// So long both connections of a pair stay when each side has dialled the other.
const DOUBLE: Duration = Duration::from_secs(2);

/// One that is connected, and met once it has introduced itself.
pub(super) struct Acquaintance {
    pub(super) peer: Peer,
    pub(super) links: Vec<Arc<Link>>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) said: Option<Introduction>,
}

/// What is shown of one that is met.
pub(super) struct Shown {
    pub(super) hello: Hello,
    pub(super) version: String,
    pub(super) link: Arc<Link>,
}

impl Acquaintance {
    /// The connection that both sides prefer, but for a moment: the older one of those that the lower boot dialled.
    fn preferred(&self, me: Boot) -> Option<&Arc<Link>> {
        let dialler = |link: &Link| if link.is_dialled { me } else { self.peer.boot };
        self.links.iter().min_by_key(|link| (dialler(link), link.id))
    }

    pub(super) fn prefer(&self, me: Boot) {
        self.outbox.give_to(self.preferred(me).map(|link| (link.id, Arc::clone(&link.wake))));
    }

    /// Who dialled the connection that is not needed closes it: both sides have the same opinion of it.
    pub(super) fn drop_the_second(&self, me: Boot, now_us: u64) {
        let Some(preferred) = self.preferred(me) else { return };
        let is_old = |link: &Link| now_us.saturating_sub(link.up) > DOUBLE.as_micros() as u64;
        for link in &self.links {
            if link.id != preferred.id && link.is_dialled && is_old(link) && is_old(preferred) {
                link.retire.cancel();
            }
        }
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let dialled = self.links.iter().filter(|link| link.is_dialled).map(|link| link.address);
        dialled.chain(self.said.iter().flat_map(|said| said.listens.iter().copied()))
    }

    /// One that was seen to work, else the first one that it told.
    pub(super) fn best_address(&self) -> Option<SocketAddr> {
        self.addresses().next()
    }

    pub(super) fn shown(&self) -> Option<Shown> {
        let said = self.said.as_ref()?;
        let link = Arc::clone(self.links.first()?);
        Some(Shown { hello: said.hello.clone(), version: said.version.clone(), link })
    }
}
