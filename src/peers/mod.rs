//! The agents of other replicas: finding them, knowing that it is they, and carrying what they tell one another.
//!
//! Owns the peer port, the connections, the keys and the written form of all that is said. It knows nothing of what is said:
//! messages go to the engine, items of memory to the store.

mod acquaintance;
mod book;
mod counters;
mod discovery;
mod doors;
pub mod envelope;
#[doc(hidden)]
pub mod fuzz;
mod handover;
mod hub;
mod interfaces;
mod link;
mod outbox;
#[cfg(test)]
mod tests;
pub mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config;
use crate::engine::peer::{Audience, Hello, Message, Peer};
use crate::peers::acquaintance::Shown;
use crate::peers::counters::{Counters, add, get};
use crate::peers::envelope::{Keys, Open, Seal, VERSION_HIGHEST, VERSION_LOWEST};
use crate::peers::hub::{HEARD_MAX, Hub, Show};
use crate::peers::link::Context;

/// A piece of what an agent remembers, as the store writes it: a record, a baseline, a release, a pause, a watch or a fact.
/// What is in it is the store's concern, and guarded by its own checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its kind, as the store calls it. At most 32 bytes.
    pub kind: String,
    /// It. At most [`ITEM_BYTES_MAX`].
    pub bytes: Vec<u8>,
}

/// The longest item; a longer one is not sent.
pub const ITEM_BYTES_MAX: usize = 1 << 20;

/// What happens with peers.
#[derive(Debug)]
pub enum Event {
    /// A peer was met: it proved that it has the key, and it says this of itself. Said again whenever that changes.
    Met(Box<Hello>),
    /// A peer can no longer be reached, or said that it ends.
    Left(Peer),
    /// A peer said something.
    Said {
        /// Who.
        from: Peer,
        /// What.
        message: Message,
    },
    /// A peer asks for what this agent remembers. Answered by [`Peers::hand_over`].
    AskedMemory {
        /// Who.
        by: Peer,
    },
    /// A peer hands over what it remembers, whole or a piece of it.
    Items {
        /// Who.
        from: Peer,
        /// What.
        items: Vec<Item>,
        /// It is the end of what was asked for, or was not asked for: it is told as it happens.
        last: bool,
    },
}

/// What may be seen of one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerView {
    /// What it says of itself.
    pub hello: Hello,
    /// Its version of Outrigger.
    pub version: String,
    /// Where it is.
    pub address: SocketAddr,
    /// How long ago it was last heard of.
    pub heard_ago: Duration,
    /// How long the last question and its answer took; `None`: none was answered yet.
    pub round_trip: Option<Duration>,
}

/// What may be seen of the limb.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PeersView {
    /// Where it listens; `None`: peers are off.
    pub address: Option<SocketAddr>,
    /// Who is met, ascending by replica.
    pub peers: Vec<PeerView>,
    /// Addresses that are known and where nobody answered yet, or somebody who is refused.
    pub unmet: Vec<SocketAddr>,
    /// Bytes sent and received since the start.
    pub sent_bytes: u64,
    /// See `sent_bytes`.
    pub received_bytes: u64,
    /// Refused since the start, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Messages dropped at a full queue.
    pub dropped: u64,
    /// Messages passed over that only a newer agent understands.
    pub skipped: u64,
}

/// A handle on the limb. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    outbox: mpsc::Sender<Order>,
    /// `None`: peers are off.
    on: Option<Arc<On>>,
}

struct On {
    address: SocketAddr,
    context: Arc<Context>,
    show: Arc<Mutex<Show>>,
}

/// What the limb is told to do.
enum Order {
    Introduce(Box<Hello>),
    Tell(Audience, Message),
    AskMemory(Peer),
    HandOver { to: Audience, items: Vec<Item>, last: bool },
}

/// Orders that wait; at the bound the limb is stuck, and what is new is dropped and counted.
const ORDERS_MAX: usize = 1024;
/// Events that wait for the agent; beyond it the limb listens to nobody until the agent keeps up.
const EVENTS_MAX: usize = 128;

impl Peers {
    /// Tells peers. Never waits: what finds the queue full is dropped and counted.
    pub fn tell(&self, to: Audience, message: Message) {
        self.order(Order::Tell(to, message));
    }

    /// Says something else of this agent.
    pub fn introduce(&self, hello: Hello) {
        self.order(Order::Introduce(Box::new(hello)));
    }

    /// Asks a peer for what it remembers.
    pub fn ask_memory(&self, peer: Peer) {
        self.order(Order::AskMemory(peer));
    }

    /// Hands over items of memory.
    pub fn hand_over(&self, to: Audience, items: Vec<Item>, last: bool) {
        self.order(Order::HandOver { to, items, last });
    }

    fn order(&self, order: Order) {
        let Some(on) = &self.on else { return };
        if self.outbox.try_send(order).is_err() {
            add(&on.context.counters.dropped, 1);
        }
    }

    /// What may be seen now.
    pub fn view(&self) -> PeersView {
        let Some(on) = &self.on else { return PeersView::default() };
        let Context { counters, clock, .. } = on.context.as_ref();
        let show = on.show.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = |it: &Shown| PeerView {
            hello: it.hello.clone(),
            version: it.version.clone(),
            address: it.link.address,
            heard_ago: it.link.heard_ago(clock),
            round_trip: it.link.round_trip(),
        };
        PeersView {
            address: Some(on.address),
            peers: show.peers.values().map(peer).collect(),
            unmet: show.unmet.clone(),
            sent_bytes: get(&counters.sent_bytes),
            received_bytes: get(&counters.received_bytes),
            refused: counters.refused(),
            dropped: get(&counters.dropped),
            skipped: get(&counters.skipped),
        }
    }
}

/// Starts the limb on the current runtime. `hello` is what this agent says of itself at first. Without a key, or where the
/// listener has no address, nobody is met.
pub fn start(
    config: &config::Peers,
    listener: TcpListener,
    hello: Hello,
    clock: Clock,
    shutdown: CancellationToken,
) -> (Peers, mpsc::Receiver<Event>) {
    start_speaking(config, listener, hello, clock, shutdown, (VERSION_LOWEST, VERSION_HIGHEST))
}

fn start_speaking(
    config: &config::Peers,
    listener: TcpListener,
    hello: Hello,
    clock: Clock,
    shutdown: CancellationToken,
    versions: (u8, u8),
) -> (Peers, mpsc::Receiver<Event>) {
    let (outbox, orders) = mpsc::channel(ORDERS_MAX);
    let (events, received) = mpsc::channel(EVENTS_MAX);
    let (Some(keys), Ok(address)) = (Keys::new(&config.keys, &config.scope), listener.local_addr()) else {
        return (Peers { outbox, on: None }, received);
    };
    let (said, heard) = mpsc::channel(HEARD_MAX);
    let context = Arc::new(Context {
        me: hello.peer.boot,
        seal: Mutex::new(Seal::new(keys.clone(), hello.peer.clone())),
        open: Mutex::new(Open::new(keys, hello.peer.boot)),
        counters: Counters::default(),
        clock,
        hub: said.clone(),
        versions,
        links: 0.into(),
        told: Mutex::default(),
    });
    let show = Arc::new(Mutex::new(Show::default()));
    let hub = Hub::new(Arc::clone(&context), address, hello, Arc::clone(&show));
    let config = config.clone();
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = discovery::run(config, said) => {}
            () = stop.cancelled() => {}
        }
    });
    tokio::spawn(hub.run(listener, orders, heard, events, shutdown));
    (Peers { outbox, on: Some(Arc::new(On { address, context, show })) }, received)
}
