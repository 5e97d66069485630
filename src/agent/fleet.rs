//! The agents of other replicas, as the control plane meets them: what they say goes to the engine, what they remember to
//! the store and from there to the engine, and what the engine orders goes out.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::agent::Error;
use crate::agent::control::Control;
use crate::agent::start::bind;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::ballot::{Limits, Roster};
use crate::engine::fleet::FleetSetup;
use crate::engine::memory::{Memory, RELEASES_MAX, ReleaseMemory, Standing};
use crate::engine::peer::{Audience, Boot, Deployment, Hello, Message, Peer, PeerEvent, PeerInput, Role};
use crate::engine::record::{Decision, Happening, Reason, Record};
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::engine::{Effect, Input};
use crate::peers::{self, Event, Item, Peers};
use crate::store::{self, Export, Imported, Store, Write};

/// How often the engine is told that time passes: a vote is not to wait for the next second.
pub(super) const BEAT: Duration = Duration::from_millis(250);
/// What one peer hands over is gathered up to so many bytes; of more, the rest is left out.
const HANDED_MAX: usize = 16 << 20;
/// How long an order waits at most until peers are told of its intent.
const TELL_MAX: Duration = Duration::from_secs(1);
/// Peers whose handovers are gathered at once; of more, the first is dropped.
const HANDING_MAX: usize = 2;
/// What was handed over whole and waits for the store; of more, it is left out.
const BATCHES_MAX: usize = 128;

/// Which version of its schema each database had.
type Schemas = BTreeMap<Arc<str>, Arc<str>>;

/// The fleet of a control plane.
pub(super) struct Fleet {
    /// This agent's replica.
    pub(super) me: String,
    pub(super) peers: Peers,
    pub(super) events: mpsc::Receiver<Event>,
    /// What this agent said of itself last.
    pub(super) hello: Option<Hello>,
    handed: BTreeMap<Peer, Vec<Item>>,
    /// What was handed over whole, for the importer,
    importing: mpsc::Sender<Vec<store::Item>>,
    /// and what the store holds since.
    pub(super) imported: mpsc::Receiver<Inherited>,
    /// Goes up with each word of a person about acting: what was read before it is read again.
    words: Arc<AtomicU64>,
    /// A peer was met since the start.
    has_met: bool,
    /// What was told last of each release: it is kept anew every half minute, and is no news then.
    told: Vec<(Release, Standing, bool, Schemas)>,
}

/// What a fleet begins with.
pub(super) struct Joining {
    pub(super) setup: FleetSetup,
    pub(super) listener: TcpListener,
}

/// The peer port, and who this agent is among others; `None` where no key says that there are any.
pub(super) fn join(
    config: &Config,
    release: &Release,
    role: Role,
    now: Time,
    boot: u64,
    warnings: &mut Vec<String>,
) -> Result<Option<Joining>, Error> {
    if config.peers.keys.is_empty() {
        return Ok(None);
    }
    let listener = match bind("listen.peers", config.listen.peers) {
        Ok(listener) => listener,
        // The app is served all the same; of several replicas none acts without the others.
        Err(error) if role == Role::Replica => {
            let error = anyhow::Error::from(error);
            warnings
                .push(format!("peers are off, and of several replicas none acts alone: could not {error:#}"));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let replica = config.service.replica.clone().unwrap_or_else(|| format!("boot-{:04x}", boot as u16));
    let named = config.service.deployment.as_deref().and_then(Deployment::new);
    let setup = FleetSetup {
        me: Peer { replica: replica.into(), boot: Boot(boot) },
        role,
        deployment: named.unwrap_or_else(|| Deployment::of(release)),
        created: None,
        booted: now,
        may_call: config.platform.may_act(),
        rehearses: !config.platform.may_act(),
        roster: Roster {
            version: 0,
            replicas: config.policy.replicas,
            watcher: config.service.watcher,
            down: 0,
        },
        limits: Limits { call: config.peers.call, ..Limits::default() },
    };
    Ok(Some(Joining { setup, listener }))
}

impl Joining {
    /// Begins to look for the others.
    pub(super) fn start(
        self,
        config: &Config,
        hello: Hello,
        store: Store,
        clock: Clock,
        runtime: &Handle,
        shutdown: &CancellationToken,
    ) -> Result<Fleet, Error> {
        let _entered = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(self.listener).map_err(|source| Error::Bind {
            option: "listen.peers",
            address: config.listen.peers,
            source,
        })?;
        let me = hello.peer.replica.to_string();
        let (peers, events) = peers::start(&config.peers, listener, hello, clock, shutdown.clone());
        let (importing, batches) = mpsc::channel(BATCHES_MAX);
        let (done, imported) = mpsc::channel(1);
        let words = Arc::new(AtomicU64::new(0));
        tokio::spawn(import(store, batches, done, Arc::clone(&words)));
        Ok(Fleet {
            peers,
            events,
            me,
            hello: None,
            handed: BTreeMap::new(),
            importing,
            imported,
            words,
            has_met: false,
            told: Vec::new(),
        })
    }
}

/// What comes of peers next.
pub(super) enum Next {
    Event(Event),
    Imported(Inherited),
}

/// The next that comes of peers; never, where there is no fleet.
pub(super) async fn next(fleet: &mut Option<Fleet>) -> Next {
    let Some(fleet) = fleet else { return std::future::pending().await };
    tokio::select! {
        Some(inherited) = fleet.imported.recv() => Next::Imported(inherited),
        Some(event) = fleet.events.recv() => Next::Event(event),
        else => std::future::pending().await,
    }
}

impl Fleet {
    /// Whether others have to know what is thought of a release now.
    fn is_news(&mut self, of: &ReleaseMemory) -> bool {
        let now = (of.release.clone(), of.standing, of.put_back_by.is_some(), of.schemas.clone());
        if self.told.contains(&now) {
            return false;
        }
        self.told.retain(|(release, ..)| *release != of.release);
        if self.told.len() >= RELEASES_MAX {
            self.told.remove(0);
        }
        self.told.push(now);
        true
    }
}

impl Control {
    /// Something came of peers.
    pub(super) async fn of_peers(&mut self, next: Next) {
        match next {
            Next::Event(event) => self.peer_event(event).await,
            Next::Imported(inherited) => self.inherited(inherited).await,
        }
    }

    async fn peer_event(&mut self, event: Event) {
        match event {
            Event::Met(hello) => {
                if let Some(fleet) = &mut self.set.fleet {
                    fleet.has_met = true;
                }
                self.tell_engine(PeerEvent::Met(hello)).await;
            }
            Event::Left(peer) => {
                if let Some(fleet) = &mut self.set.fleet {
                    fleet.handed.remove(&peer);
                }
                self.tell_engine(PeerEvent::Left(peer)).await;
            }
            Event::Said { from, message } => self.tell_engine(PeerEvent::Said { from, message }).await,
            Event::AskedMemory { by } => self.hand_over(by),
            Event::Items { from, items, last } => self.handed_over(from, items, last),
        }
    }

    /// Whether a peer was met since the start.
    pub(super) fn has_met(&self) -> bool {
        self.set.fleet.as_ref().is_some_and(|fleet| fleet.has_met)
    }

    /// Tells the engine what happened, and when by the clock that no person can set.
    pub(super) async fn tell_engine(&mut self, event: PeerEvent) {
        if self.set.fleet.is_some() {
            let (now, uptime) = (self.set.clock.now(), self.set.clock.uptime());
            let input = Input::Peer(Box::new(PeerInput { uptime, event }));
            let effects = self.set.engine.step(now, input);
            // Most of what peers say changes nothing that people look at more often than each second.
            let is_news = effects.iter().any(is_seen);
            self.perform(effects).await;
            if is_news {
                self.set.shared.update(self.live(now));
            }
        }
    }

    /// Carries out what concerns peers.
    pub(super) fn tell_peers(&mut self, effect: Effect) {
        let Some(fleet) = &mut self.set.fleet else { return };
        match effect {
            Effect::Tell { to, message } => fleet.peers.tell(to, message),
            Effect::AskMemory(peer) => fleet.peers.ask_memory(peer),
            Effect::Introduce(hello) => {
                fleet.hello = Some(Hello::clone(&hello));
                fleet.peers.introduce(*hello);
            }
            Effect::Follow(_)
            | Effect::Record(_)
            | Effect::RollBack(_)
            | Effect::AskPlatform { .. }
            | Effect::KeepWatch(_)
            | Effect::KeepFact(_)
            | Effect::KeepBaseline(_)
            | Effect::KeepRelease(_)
            | Effect::KeepPause(_)
            | Effect::SetSlowMark(_) => {}
        }
    }

    /// What is remembered of another deployment is read, and the watcher goes over to it.
    pub(super) fn follow(&self, hello: Box<Hello>) {
        info!(deployment = %hello.deployment, release = %hello.release, "watching another deployment");
        let (store, inputs) = (self.set.store.clone(), self.inputs_in.clone());
        tokio::spawn(async move {
            let memory = store.memory().await.unwrap_or_else(|error| {
                error!(error = &error as &dyn std::error::Error, "what is remembered could not be read");
                Memory::default()
            });
            let _ = inputs.send(Input::Following { hello, memory: Box::new(memory) }).await;
        });
    }

    /// Peers are told that this agent ends.
    pub(super) async fn leave(&mut self) {
        self.tell_engine(PeerEvent::Leaving).await;
    }

    /// What others must know as well as this agent is told as it happens: decisions, pauses, what is thought of a release.
    pub(super) fn share_write(&mut self, write: &Write) {
        if let Some(telling) = self.telling(write) {
            tokio::spawn(telling);
        }
    }

    /// The same, and waits until it is on its way, within a bound.
    pub(super) async fn share_first(&mut self, write: &Write) {
        if let Some(telling) = self.telling(write)
            && tokio::time::timeout(TELL_MAX, telling).await.is_err()
        {
            warn!("peers could not be told of an intent in time");
        }
    }

    fn telling(&mut self, write: &Write) -> Option<impl Future<Output = ()> + use<>> {
        let fleet = self.set.fleet.as_mut()?;
        let is_theirs = match write {
            Write::Record(record) => concerns_all(record),
            Write::Release(release) => fleet.is_news(release),
            Write::Pause { .. } | Write::Alert(_) => true,
            Write::Watch(_) | Write::Fact(_) | Write::Baseline(_) => false,
        };
        let (peers, store, write) = (fleet.peers.clone(), self.set.store.clone(), write.clone());
        is_theirs.then_some(async move {
            match store.export_one(&write).await {
                Ok(Some(item)) => peers.hand_over(Audience::All, vec![carried(item)], true),
                Ok(None) => {}
                Err(error) => {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "peers could not be told of what was written"
                    );
                }
            }
        })
    }

    /// Reads what this agent remembers and sends it.
    fn hand_over(&self, by: Peer) {
        let Some(fleet) = &self.set.fleet else { return };
        let (peers, store) = (fleet.peers.clone(), self.set.store.clone());
        tokio::spawn(async move {
            match store.export(Export { watch: true }).await {
                Ok(items) => {
                    peers.hand_over(Audience::One(by), items.into_iter().map(carried).collect(), true);
                }
                Err(error) => {
                    error!(
                        error = &error as &dyn std::error::Error,
                        "what is remembered could not be handed over"
                    );
                }
            }
        });
    }

    /// Gathers what a peer hands over, and takes it in when it is whole.
    fn handed_over(&mut self, from: Peer, items: Vec<Item>, last: bool) {
        let Some(fleet) = &mut self.set.fleet else { return };
        if fleet.handed.len() >= HANDING_MAX && !fleet.handed.contains_key(&from) {
            fleet.handed.pop_first();
        }
        let handed = fleet.handed.entry(from.clone()).or_default();
        let mut bytes: usize = handed.iter().map(|item| item.bytes.len()).sum();
        for item in items {
            bytes += item.bytes.len();
            if bytes > HANDED_MAX {
                warn!(peer = %from, "a peer hands over more than is taken; the rest is left out");
                break;
            }
            handed.push(item);
        }
        if !last {
            return;
        }
        let items = fleet.handed.remove(&from).unwrap_or_default();
        let items = items.into_iter().map(|Item { kind, bytes }| store::Item { kind, bytes }).collect();
        if fleet.importing.try_send(items).is_err() {
            warn!(peer = %from, "the store is behind with what peers hand over; this is left out");
        }
    }

    /// The store holds what peers handed over.
    pub(super) async fn inherited(&mut self, inherited: Inherited) {
        let Some(fleet) = &mut self.set.fleet else { return };
        let Inherited { memory, words } = inherited;
        if words != fleet.words.load(Ordering::Acquire) {
            // A person has paused or resumed since it was read: it is read again.
            let _ = fleet.importing.try_send(Vec::new());
            return;
        }
        let release = &self.set.release;
        if memory.open.is_some() || memory.baselines.iter().any(|baseline| baseline.release != *release) {
            self.inherits_until = None;
        }
        self.step(Input::Inherited(memory)).await;
    }

    /// A person said something about acting.
    pub(super) fn spoken(&mut self) {
        if let Some(fleet) = &self.set.fleet {
            fleet.words.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// What the store holds after an import.
pub(super) struct Inherited {
    memory: Box<Memory>,
    /// What was said about acting before.
    words: u64,
}

/// Imports one after the other, and together what waits, so that what is handed to the engine is never older than before.
async fn import(
    store: Store,
    mut batches: mpsc::Receiver<Vec<store::Item>>,
    done: mpsc::Sender<Inherited>,
    words: Arc<AtomicU64>,
) {
    while let Some(mut items) = batches.recv().await {
        let is_asked = items.is_empty();
        let mut bytes: usize = items.iter().map(|item| item.bytes.len()).sum();
        while bytes < HANDED_MAX
            && let Ok(more) = batches.try_recv()
        {
            bytes += more.iter().map(|item| item.bytes.len()).sum::<usize>();
            items.extend(more);
        }
        let words = words.load(Ordering::Acquire);
        match store.import(items).await {
            // What was known already is no news for the engine.
            Ok(Imported { report, offered: None, .. }) if report.taken == 0 && !is_asked => {}
            Ok(Imported { memory, report, offered }) => {
                debug!(?report, "took over what peers remember");
                // Of the watch, the peer's: this agent's own it knows.
                let memory = Box::new(Memory { watch: offered, ..memory });
                if done.send(Inherited { memory, words }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                error!(
                    error = &error as &dyn std::error::Error,
                    "what a peer handed over could not be taken in"
                );
            }
        }
    }
}

/// Whether people shall see at once what has led to this: a vote, or what was decided.
fn is_seen(effect: &Effect) -> bool {
    match effect {
        Effect::Tell { message, .. } => matches!(message, Message::Ask(_) | Message::Answer(_)),
        Effect::Record(_) | Effect::RollBack(_) | Effect::AskPlatform { .. } | Effect::Follow(_) => true,
        Effect::Introduce(_)
        | Effect::AskMemory(_)
        | Effect::KeepWatch(_)
        | Effect::KeepFact(_)
        | Effect::KeepBaseline(_)
        | Effect::KeepRelease(_)
        | Effect::KeepPause(_)
        | Effect::SetSlowMark(_) => false,
    }
}

pub(super) fn carried(item: store::Item) -> Item {
    let store::Item { kind, bytes } = item;
    Item { kind, bytes }
}

/// Whether a record is of others' concern.
fn concerns_all(record: &Record) -> bool {
    match &record.what {
        // That nothing is done is said by each for itself, but where it takes back what was to be done.
        Happening::Decided(decided) => {
            let takes_back = |reason: &Reason| matches!(reason, Reason::Refused { .. } | Reason::NotRecorded);
            decided.decision == Decision::RollBack || decided.reasons.iter().any(takes_back)
        }
        Happening::Paused(_)
        | Happening::Resumed { .. }
        | Happening::WatchPassed { .. }
        | Happening::Locked(_)
        | Happening::Unlocked { .. }
        | Happening::Verified(_) => true,
        Happening::Started { .. }
        | Happening::Ready
        | Happening::Exited(_)
        | Happening::VerdictChanged { .. }
        | Happening::Diagnosed(_)
        | Happening::HealthChanged(_)
        | Happening::Readied(_) => false,
    }
}
