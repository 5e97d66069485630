//! The middle of the limb: who is met, over which connections, whom to dial, and what the agent is told of it. It owns no
//! socket but through `link`, and does not look into messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::engine::peer::{Audience, Boot, Hello, Message, Peer};
use crate::peers::acquaintance::{Acquaintance, Shown};
use crate::peers::book::{Book, Try};
use crate::peers::counters::add;
use crate::peers::envelope::Refused;
use crate::peers::link::{self, Context, Link};
use crate::peers::outbox::{Lane, Outbox};
use crate::peers::wire::{self, Frame, Introduction};
use crate::peers::{Event, Item, Order, doors, handover, interfaces};

/// Peers met at once. One more is refused and counted.
pub(super) const PEERS_MAX: usize = 128;
/// What connections may have said before the hub looks; beyond it they wait.
pub(super) const HEARD_MAX: usize = 64;
/// Events that wait for the agent beside its queue; beyond it nothing more is heard until it keeps up.
const WAITING_MAX: usize = 64;
/// How often the hub looks around.
const TICK: Duration = Duration::from_millis(500);
/// A connection over which nothing was sent for so long asks the other side for a sign of life,
const QUIET: Duration = Duration::from_millis(750);
/// and one over which nothing came for so long is given up.
const SILENT: Duration = Duration::from_millis(3_500);
/// The first tries at addresses that peers told are spread over so long a time for each of them.
const SPREAD: Duration = Duration::from_millis(20);
/// What waits to be sent has so long at the end.
const FLUSH: Duration = Duration::from_secs(1);
/// The longest body that is sent: with its envelope it stays below what a connection takes.
const BODY_MAX: usize = link::FRAME_MAX - 1024;

/// What reaches the hub from its own tasks.
pub(super) enum Heard {
    /// A handshake is done. The answer is what is to be sent, or nothing: it is one peer too many.
    Up(Arc<Link>, oneshot::Sender<Arc<Outbox>>),
    Said(Arc<Link>, Box<Frame>),
    Down(Arc<Link>),
    Tried(SocketAddr, Try),
    /// This agent reached itself there.
    Myself(SocketAddr),
    /// What a name leads to.
    Found(usize, Vec<SocketAddr>),
    /// Time to look at the interfaces again.
    Refresh,
}

/// What is shown, renewed whenever it changes.
#[derive(Default)]
pub(super) struct Show {
    pub(super) peers: BTreeMap<Peer, Shown>,
    pub(super) unmet: Vec<SocketAddr>,
}

pub(super) struct Hub {
    context: Arc<Context>,
    bound: SocketAddr,
    hello: Hello,
    listens: Vec<SocketAddr>,
    book: Book,
    known: BTreeMap<Boot, Acquaintance>,
    /// Where the agents are that are met, as it was last told to them.
    told: BTreeSet<SocketAddr>,
    /// Where they are now; `None`: it has to be put together again.
    met: Option<BTreeSet<SocketAddr>>,
    memory: Arc<AtomicUsize>,
    waiting: VecDeque<Event>,
    show: Arc<Mutex<Show>>,
    /// Whose end everything ends with.
    ended: CancellationToken,
}

impl Hub {
    pub(super) fn new(
        context: Arc<Context>,
        bound: SocketAddr,
        hello: Hello,
        show: Arc<Mutex<Show>>,
    ) -> Self {
        let mut hub = Self {
            context,
            bound,
            hello,
            listens: Vec::new(),
            book: Book::default(),
            known: BTreeMap::new(),
            told: BTreeSet::new(),
            met: None,
            memory: Arc::default(),
            waiting: VecDeque::new(),
            show,
            ended: CancellationToken::new(),
        };
        hub.look_at_interfaces();
        hub
    }

    pub(super) async fn run(
        mut self,
        listener: TcpListener,
        mut orders: mpsc::Receiver<Order>,
        mut heard: mpsc::Receiver<Heard>,
        events: mpsc::Sender<Event>,
        shutdown: CancellationToken,
    ) {
        tokio::spawn(doors::listen(
            Arc::clone(&self.context),
            listener,
            self.ended.clone(),
            shutdown.clone(),
        ));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(order) = orders.recv() => self.obey(order),
                Some(heard) = heard.recv(), if self.waiting.len() < WAITING_MAX => self.hear(heard),
                permit = events.reserve(), if !self.waiting.is_empty() => match (permit, self.waiting.pop_front()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    // Nobody listens any more.
                    (Ok(_) | Err(_), _) => self.waiting.clear(),
                },
                _ = tick.tick() => self.look_around(),
            }
        }
        while let Ok(order) = orders.try_recv() {
            self.obey(order);
        }
        self.end(heard).await;
    }

    /// Sends what waits and closes everything.
    async fn end(mut self, mut heard: mpsc::Receiver<Heard>) {
        self.links().for_each(|link| link.retire.cancel());
        let all_closed = async {
            while !self.known.is_empty() {
                match heard.recv().await {
                    Some(Heard::Down(link)) => self.lose(&link),
                    Some(_) => {}
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(FLUSH, all_closed).await;
        self.ended.cancel();
        self.links().for_each(|link| link.stop.cancel());
    }

    fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.known.values().flat_map(|it| &it.links)
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Introduce(hello) => {
                self.hello = *hello;
                self.introduce_everywhere();
            }
            Order::Tell(audience, message) => {
                let lane = match &message {
                    Message::Share(_) | Message::Seen(_) => Lane::Evidence,
                    Message::Ask(_) | Message::Answer(_) => Lane::Vote,
                };
                self.send(&audience, lane, &wire::encode(&message).into());
            }
            Order::AskMemory(peer) => {
                self.send(&Audience::One(peer), Lane::Vote, &wire::write(&Frame::AskMemory).into());
            }
            Order::HandOver { to, items, last } => self.hand_over(&to, items, last),
        }
    }

    /// Those that are met.
    fn audience(&self, audience: &Audience) -> Vec<Arc<Outbox>> {
        let met = self.known.values().filter(|it| it.said.is_some());
        met.filter(|it| match audience {
            Audience::All => true,
            Audience::One(peer) => it.peer == *peer,
        })
        .map(|it| Arc::clone(&it.outbox))
        .collect()
    }

    fn send(&self, audience: &Audience, lane: Lane, body: &Bytes) {
        let to = self.audience(audience);
        let is_lost = to.is_empty() && matches!(audience, Audience::One(_)) || body.len() > BODY_MAX;
        if is_lost {
            add(&self.context.counters.dropped, 1);
            return;
        }
        for outbox in to {
            add(&self.context.counters.dropped, outbox.push(lane, body.clone()));
        }
    }

    fn hand_over(&self, audience: &Audience, items: Vec<Item>, last: bool) {
        let pieces = handover::pieces(items, last);
        for outbox in self.audience(audience) {
            if !outbox.push_memory(&pieces) {
                add(&self.context.counters.dropped, pieces.len() as u64);
            }
        }
    }

    fn introduction(&self) -> Bytes {
        let introduction = Introduction {
            hello: self.hello.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listens: self.listens.clone(),
        };
        wire::write(&Frame::Introduction(Box::new(introduction))).into()
    }

    fn introduce_everywhere(&self) {
        let body = self.introduction();
        for it in self.known.values() {
            add(&self.context.counters.dropped, it.outbox.push(Lane::Vote, body.clone()));
        }
    }

    fn hear(&mut self, heard: Heard) {
        let now = self.context.clock.uptime();
        match heard {
            Heard::Up(link, admit) => self.admit(link, admit),
            Heard::Said(link, frame) => self.listen_to(&link, *frame),
            Heard::Down(link) => {
                self.lose(&link);
                self.dial();
            }
            Heard::Tried(address, how) => {
                self.book.tried(now, address, how, fastrand::f64());
                self.dial();
            }
            Heard::Myself(address) => self.book.is_me(address),
            Heard::Found(source, addresses) => {
                self.book.name(now, source, &addresses);
                self.dial();
            }
            Heard::Refresh => self.look_at_interfaces(),
        }
    }

    fn admit(&mut self, link: Arc<Link>, admit: oneshot::Sender<Arc<Outbox>>) {
        let boot = link.peer.boot;
        if !self.known.contains_key(&boot) && self.known.len() >= PEERS_MAX {
            self.context.refuse(Refused::TooMany, link.address);
            return;
        }
        let introduction = self.introduction();
        let it = self.known.entry(boot).or_insert_with(|| Acquaintance {
            peer: link.peer.clone(),
            links: Vec::new(),
            outbox: Arc::new(Outbox::new(Arc::clone(&self.memory))),
            said: None,
        });
        if admit.send(Arc::clone(&it.outbox)).is_ok() {
            it.links.push(link);
            it.prefer(self.context.me);
            self.met = None;
            // Also over a second connection: the other side may have lost the first one already.
            add(&self.context.counters.dropped, it.outbox.push(Lane::Vote, introduction));
        } else if it.links.is_empty() {
            self.known.remove(&boot);
        }
    }

    fn lose(&mut self, link: &Arc<Link>) {
        let Some(it) = self.known.get_mut(&link.peer.boot) else { return };
        it.links.retain(|other| other.id != link.id);
        self.met = None;
        if it.links.is_empty() {
            self.part_from(link.peer.boot);
        } else {
            it.prefer(self.context.me);
            self.renew(&link.peer);
        }
    }

    fn part_from(&mut self, boot: Boot) {
        let Some(it) = self.known.remove(&boot) else { return };
        it.links.iter().for_each(|link| link.stop.cancel());
        if it.said.is_some() {
            tracing::info!(peer = %it.peer, boot = %it.peer.boot, "a peer was lost");
            self.renew(&it.peer);
            self.waiting.push_back(Event::Left(it.peer));
        }
    }

    fn listen_to(&mut self, link: &Arc<Link>, frame: Frame) {
        let Some(it) = self.known.get(&link.peer.boot) else { return };
        let from = it.peer.clone();
        let is_met = it.said.is_some();
        match frame {
            Frame::Introduction(said) => self.meet(link, *said),
            // Whoever was not met is not listened to.
            Frame::Message(_) | Frame::AskMemory | Frame::Items { .. } | Frame::Addresses(_) if !is_met => {}
            Frame::Message(message) => self.waiting.push_back(Event::Said { from, message }),
            Frame::AskMemory => self.waiting.push_back(Event::AskedMemory { by: from }),
            Frame::Items { items, last } => self.waiting.push_back(Event::Items { from, items, last }),
            Frame::Addresses(addresses) => self.note(&addresses),
            // The connection's own.
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Confirm { .. }
            | Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Unknown(_) => {}
        }
    }

    fn meet(&mut self, link: &Arc<Link>, said: Introduction) {
        if said.hello.peer != link.peer {
            self.context.refuse(Refused::Malformed, link.address);
            return;
        }
        // One replica is one agent: of two starts the later one is.
        let is_same = |it: &&Acquaintance| {
            it.peer.replica == link.peer.replica && it.peer.boot != link.peer.boot && it.said.is_some()
        };
        if let Some(other) = self.known.values().find(is_same) {
            let order = |hello: &Hello| (hello.booted, hello.peer.boot);
            let is_older = other.said.as_ref().is_some_and(|it| order(&it.hello) > order(&said.hello));
            let gone = if is_older { link.peer.boot } else { other.peer.boot };
            self.part_from(gone);
            if is_older {
                return;
            }
        }
        self.note(&said.listens);
        let Some(it) = self.known.get_mut(&link.peer.boot) else { return };
        let hello = said.hello.clone();
        let before = it.said.replace(said);
        if before.is_none() {
            tracing::info!(
                peer = %link.peer, boot = %link.peer.boot, address = %link.address,
                role = hello.role.label(), deployment = %hello.deployment, "a peer was met"
            );
            let told = self.told.iter().copied().collect();
            let body = wire::write(&Frame::Addresses(told)).into();
            add(&self.context.counters.dropped, it.outbox.push(Lane::Vote, body));
        }
        if before.is_none_or(|before| before.hello != hello) {
            self.waiting.push_back(Event::Met(Box::new(hello)));
        }
        self.renew(&link.peer);
    }

    /// Writes addresses down that peers told. Their first try is spread, the further the more peers there are: who is there
    /// may dial meanwhile, and a fleet that starts at once does not drown in handshakes.
    fn note(&mut self, addresses: &[SocketAddr]) {
        let now = self.context.clock.uptime();
        let spread = TICK + SPREAD * self.known.len().max(addresses.len()) as u32;
        for &address in addresses {
            self.book.tell(now, address, now + spread.mul_f64(fastrand::f64()));
        }
    }

    fn look_at_interfaces(&mut self) {
        let all = interfaces::all(self.bound);
        all.iter().for_each(|address| self.book.is_me(*address));
        let told = interfaces::told(&all);
        if told != self.listens {
            self.listens = told;
            self.introduce_everywhere();
        }
    }

    /// Twice a second: signs of life, connections that are too many or dead, dials, and addresses to pass on.
    fn look_around(&mut self) {
        let clock = self.context.clock;
        for it in self.known.values() {
            for link in &it.links {
                if link.heard_ago(&clock) > SILENT {
                    link.stop.cancel();
                } else if link.sent_ago(&clock) > QUIET {
                    link.ask_for_life();
                }
            }
            it.drop_the_second(self.context.me, clock.micros());
        }
        self.book.forget(clock.uptime());
        self.pass_addresses_on();
        self.dial();
        self.met_at();
        let unmet = self.met.as_ref().map(|met| self.book.unmet(met)).unwrap_or_default();
        self.show.lock().unwrap_or_else(PoisonError::into_inner).unmet = unmet;
    }

    fn pass_addresses_on(&mut self) {
        let at = |it: &Acquaintance| it.said.as_ref().and_then(|_| it.best_address());
        let now: BTreeSet<SocketAddr> = self.known.values().filter_map(at).collect();
        let new: Vec<SocketAddr> = now.difference(&self.told).copied().collect();
        if !new.is_empty() {
            self.send(&Audience::All, Lane::Vote, &wire::write(&Frame::Addresses(new)).into());
        }
        self.told = now;
    }

    /// Where those are that are connected.
    fn met_at(&mut self) -> &BTreeSet<SocketAddr> {
        self.met.get_or_insert_with(|| self.known.values().flat_map(Acquaintance::addresses).collect())
    }

    fn dial(&mut self) {
        self.met_at();
        let now = self.context.clock.uptime();
        let due = self.met.as_ref().map(|met| self.book.due(now, met)).unwrap_or_default();
        for address in due {
            let ended = self.ended.clone();
            let context = Arc::clone(&self.context);
            tokio::spawn(async move {
                tokio::select! {
                    () = doors::dial(&context, address) => {}
                    () = ended.cancelled() => {}
                }
            });
        }
    }

    /// What is shown of one, after it changed, came or went.
    fn renew(&mut self, who: &Peer) {
        self.met = None;
        let shown = self.known.get(&who.boot).and_then(Acquaintance::shown);
        let mut show = self.show.lock().unwrap_or_else(PoisonError::into_inner);
        match shown {
            Some(shown) => drop(show.peers.insert(who.clone(), shown)),
            None => drop(show.peers.remove(who)),
        }
    }
}
