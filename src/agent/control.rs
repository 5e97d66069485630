//! The control plane: facts in, effects out, in order.
//!
//! A task of its own, beside the app's life (see `life`) and the data path: it may be slow, wait for a disk, or panic, and
//! requests, signals and the drain go on. It is told what the app does and tells nobody to wait for it.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use crate::admin::{self, AppView, Command, ServiceView};
use crate::agent::decider::Decider;
use crate::agent::fleet::{self, BEAT, Fleet};
use crate::agent::readiness::{LOOK_AHEAD_EVERY, LOOK_AHEAD_FIRST, SURVIVORS_EVERY};
use crate::agent::sampling::Sampling;
use crate::agent::schemas::Schemas;
use crate::agent::told::log_record;
use crate::clock::Clock;
use crate::engine::health::HealthChange;
use crate::engine::peer::PeerEvent;
use crate::engine::record::{Acted, Exit, Order, Pause, Record};
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::window::Window;
use crate::engine::{Effect, Input};
use crate::platform::{Journal, Platform};
use crate::prober::Prober;
use crate::recorder::Recorder;
use crate::store::{ReadError, Store, Write};

/// Facts from tasks that wait for the loop. A task sends one and ends, and there are few kinds; an order tells its steps
/// as well, and one that finds no place is left out.
const INPUTS_MAX: usize = 32;
/// How often windows are sealed.
const SEAL_EVERY: Duration = Duration::from_secs(1);
/// A seal that comes so much too late says that the agent itself was stalled.
const STALL_US: u64 = 500_000;
/// Who has met nobody after this time waits for nobody's memory.
const ALONE_AFTER: Duration = Duration::from_secs(2);
/// How long an intent or a pause may take to become durable; then an intent counts as lost.
pub(super) const RECORD_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a pause that could not be written down is tried again.
const PAUSE_RETRY: Duration = Duration::from_secs(1);

/// How many pieces of news may wait; at the bound the control plane is stuck, and what is new is lost and logged.
pub(super) const NEWS_MAX: usize = 64;

/// What the app's life tells the control plane.
#[derive(Debug)]
pub(super) enum News {
    /// The app became ready.
    BecameReady,
    /// The app ended.
    Exited(Exit),
    /// The end has begun: from now on requests are counted and nothing is judged.
    Draining,
    /// End, when the answer to an order that is under way has come or this time is over.
    End { grace: Duration },
}

/// What a control plane is made of.
pub(super) struct Setup {
    pub(super) clock: Clock,
    pub(super) started: Time,
    pub(super) service: ServiceView,
    pub(super) warnings: Vec<String>,
    pub(super) engine: Box<dyn Decider>,
    pub(super) recorder: Recorder,
    pub(super) store: Store,
    pub(super) platform: Arc<dyn Platform>,
    pub(super) shared: Arc<admin::Shared>,
    /// The app as its life shows it.
    pub(super) app: Arc<ArcSwap<AppView>>,
    pub(super) sampling: Sampling,
    /// What is asked of the dependencies,
    pub(super) prober: Prober,
    /// and how their health changes.
    pub(super) health: mpsc::Receiver<HealthChange>,
    /// The agents of other replicas.
    pub(super) fleet: Option<Fleet>,
    /// How long the health path waits for what they remember.
    pub(super) handover: Duration,
    /// The running release.
    pub(super) release: Release,
    pub(super) news: mpsc::Receiver<News>,
    pub(super) commands: mpsc::Receiver<Command>,
}

/// The control plane: a task of its own.
pub(super) struct Control {
    pub(super) set: Setup,
    pub(super) inputs_in: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
    pub(super) draining: bool,
    /// A question to the platform is under way: at most one is.
    asking: bool,
    /// An order to the platform is under way.
    ordering: bool,
    /// For so many turns of looking, a watcher has met nobody of what it watches.
    pub(super) lonely: u32,
    sealed_us: u64,
    /// Until then at most the health path waits for what peers remember.
    pub(super) inherits_until: Option<Time>,
    /// What was said of databases' schemas.
    pub(super) schemas: Schemas,
    /// Writes the pause down, where that failed at once.
    pause_keeper: Option<JoinHandle<()>>,
}

impl Control {
    pub(super) fn new(set: Setup) -> Self {
        let (inputs_in, inputs) = mpsc::channel(INPUTS_MAX);
        let sealed_us = set.clock.micros();
        let inherits_until = set.fleet.is_some().then(|| set.started + set.handover);
        Self {
            inherits_until,
            set,
            inputs_in,
            inputs,
            draining: false,
            asking: false,
            ordering: false,
            lonely: 0,
            sealed_us,
            schemas: Schemas::default(),
            pause_keeper: None,
        }
    }

    /// Runs until the end of the agent's life, or of the life itself. `effects` are those of the engine's start.
    pub(super) async fn run(mut self, effects: Vec<Effect>) {
        // The start is no stall, however long it took.
        self.sealed_us = self.set.clock.micros();
        let mut seal = tokio::time::interval(SEAL_EVERY);
        seal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seal.tick().await;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = tokio::time::interval(LOOK_AHEAD_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset_after(LOOK_AHEAD_FIRST);
        let mut survivors = tokio::time::interval(SURVIVORS_EVERY);
        survivors.set_missed_tick_behavior(MissedTickBehavior::Delay);
        survivors.tick().await;
        self.perform(effects).await;
        self.set.shared.update(self.live(self.set.clock.now()));
        loop {
            tokio::select! {
                biased;
                news = self.set.news.recv() => match news {
                    Some(News::BecameReady) => self.step(Input::BecameReady).await,
                    Some(News::Exited(exit)) => self.exited(exit).await,
                    Some(News::Draining) => {
                        self.draining = true;
                        self.leave().await;
                    }
                    Some(News::End { grace }) => return self.end(grace).await,
                    None => return,
                },
                _ = seal.tick() => self.seal().await,
                _ = look.tick() => self.look_ahead(),
                _ = survivors.tick() => self.look_for_survivors(),
                _ = beat.tick(), if self.set.fleet.is_some() => self.tell_engine(PeerEvent::Beat).await,
                Some(input) = self.inputs.recv() => self.heard(input).await,
                Some(change) = self.set.health.recv() => self.step(Input::HealthChanged(change)).await,
                Some(command) = self.set.commands.recv() => self.obey(command).await,
                next = fleet::next(&mut self.set.fleet) => self.of_peers(next).await,
            }
        }
    }

    /// What came before the app's end is weighed before it.
    async fn exited(&mut self, exit: Exit) {
        self.seal_now(false).await;
        self.step(Input::Exited(exit)).await;
    }

    /// An order that is under way may still be answered; its answer is worth a record.
    async fn end(mut self, grace: Duration) {
        let answered = async {
            while self.ordering {
                match self.inputs.recv().await {
                    Some(input) => self.heard(input).await,
                    None => break,
                }
            }
        };
        if tokio::time::timeout(grace, answered).await.is_err() {
            warn!("an order to the platform is still under way; the next agent will ask what became of it");
        }
        self.count();
    }

    /// Closes the window at its time. At the end of the agent's life requests are counted, and nothing is judged any more:
    /// a release that is being replaced has no say about its successor.
    async fn seal(&mut self) {
        if self.draining {
            return self.count();
        }
        let late = self.set.clock.micros().saturating_sub(self.sealed_us + SEAL_EVERY.as_micros() as u64);
        self.set.sampling.was_late(late);
        if self.set.clock.now().since(self.set.started) >= ALONE_AFTER && !self.has_met() {
            self.inherits_until = None;
        }
        if late > STALL_US {
            warn!(late_us = late, "the agent was stalled, so this window is no evidence");
        }
        self.seal_now(late > STALL_US).await;
    }

    /// Closes the open window, lets the engine weigh it, and publishes what may be seen.
    async fn seal_now(&mut self, stalled: bool) {
        let mut window = self.close_window(stalled);
        window.resources = self.set.sampling.take(self.set.app.load().pid);
        window.probes = self.set.prober.take();
        if window.stalled && !stalled {
            warn!(lag_us = window.lag_us, "a worker was stalled, so this window is no evidence");
        }
        let effects = self.set.engine.step(window.to, Input::Sealed(window.clone()));
        self.perform(effects).await;
        self.tell_schemas().await;
        self.set.shared.publish(self.live(window.to), &window);
    }

    /// Closes the open window for the totals only: nothing is judged.
    fn count(&mut self) {
        let window = self.close_window(false);
        self.set.shared.publish(self.live(window.to), &window);
    }

    fn close_window(&mut self, stalled: bool) -> Window {
        self.sealed_us = self.set.clock.micros();
        self.set.recorder.seal(self.set.clock.now(), self.sealed_us, stalled)
    }

    async fn heard(&mut self, input: Input) {
        // How old a lease is counts when the platform answers.
        self.tell_engine(PeerEvent::Beat).await;
        match &input {
            Input::PlatformAnswered { .. } => self.asking = false,
            Input::Acted { .. } => self.ordering = false,
            Input::Sealed(_)
            | Input::BecameReady
            | Input::Exited(_)
            | Input::HealthChanged(_)
            | Input::Paused(_)
            | Input::Resumed { .. }
            | Input::RecordLost { .. }
            | Input::Peer(_)
            | Input::Inherited(_)
            | Input::Following { .. }
            | Input::Stepped { .. }
            | Input::Locked(_)
            | Input::Unlocked { .. }
            | Input::RollBackAsked { .. }
            | Input::Readiness(_)
            | Input::SchemaSeen { .. }
            | Input::PlatformSaw(_) => {}
        }
        self.step(input).await;
    }

    /// One fact, and all that follows from it.
    pub(super) async fn step(&mut self, input: Input) {
        let now = self.set.clock.now();
        let effects = self.set.engine.step(now, input);
        self.perform(effects).await;
        self.set.shared.update(self.live(now));
    }

    /// Carries out effects in order. Nothing here waits for the disk but an intent, which must be durable before its order
    /// is given, and a pause, which a person must be able to rely on; all else is queued in the same order.
    pub(super) async fn perform(&mut self, effects: Vec<Effect>) {
        let mut effects = effects.into_iter().peekable();
        while let Some(effect) = effects.next() {
            match effect {
                Effect::Record(record) => match effects.next_if(|next| matches!(next, Effect::RollBack(_))) {
                    Some(Effect::RollBack(order)) => self.intend(record, order).await,
                    _ => self.note(record),
                },
                Effect::RollBack(order) => self.record_lost(order.record),
                Effect::AskPlatform { record, .. } => self.ask(record),
                Effect::KeepWatch(start) => self.queue(Write::Watch(start)),
                Effect::KeepFact(fact) => self.queue(Write::Fact(fact)),
                Effect::KeepBaseline(baseline) => self.queue(Write::Baseline(baseline)),
                Effect::KeepRelease(release) => self.queue(Write::Release(release)),
                Effect::KeepPause(pause) => self.keep_pause(pause).await,
                effect @ (Effect::Tell { .. } | Effect::Introduce(_) | Effect::AskMemory(_)) => {
                    self.tell_peers(effect);
                }
                Effect::Follow(hello) => self.follow(hello),
                Effect::SetSlowMark(mark) => self.set.recorder.set_slow_mark(mark),
            }
        }
    }

    /// An intent and its order: the order is given only when the intent will survive us, and not by a release that is
    /// being replaced.
    async fn intend(&mut self, record: Record, order: Order) {
        // As the app's life shows it: its news of a drain may still lie unread, above all after waiting for a slow disk.
        let app = Arc::clone(&self.set.app);
        let is_leaving = || app.load().phase == admin::Phase::Draining;
        let may_act = self.set.store.status().durable && !self.draining && !is_leaving();
        let write = Write::Record(record.clone());
        if may_act && self.keep(write.clone()).await && !is_leaving() {
            log_record(&record);
            // Before the order: if this agent dies with it, others know that there may have been one.
            self.share_first(&write).await;
            self.roll_back(order);
        } else {
            self.record_lost(record.id);
        }
    }

    /// The engine withdraws the decision; what it says to that is only to be written down.
    fn record_lost(&mut self, record: RecordId) {
        error!(%record, "the intent could not be made durable, so nothing was ordered");
        let now = self.set.clock.now();
        for effect in self.set.engine.step(now, Input::RecordLost { record }) {
            if let Effect::Record(record) = effect {
                self.note(record);
            }
        }
    }

    fn note(&mut self, record: Record) {
        log_record(&record);
        self.queue(Write::Record(record));
    }

    /// What is dropped at a full queue is counted by the store and shown.
    fn queue(&mut self, write: Write) {
        // What peers are told is read from the store, so it is written first.
        if self.set.store.try_write(write.clone()) {
            self.share_write(&write);
        }
    }

    /// Waits until the pause is durable; where that takes too long it is tried until it is, or until the next one.
    async fn keep_pause(&mut self, pause: Option<Pause>) {
        if let Some(keeper) = self.pause_keeper.take() {
            keeper.abort();
        }
        let write = Write::Pause { pause, at: self.set.clock.now() };
        if self.keep(write.clone()).await {
            return self.share_write(&write);
        }
        let store = self.set.store.clone();
        self.pause_keeper = Some(tokio::spawn(async move {
            while store.write(write.clone()).await.is_err() {
                tokio::time::sleep(PAUSE_RETRY).await;
            }
        }));
    }

    /// Writes and waits until it is durable; false, and logged, when it is not.
    async fn keep(&self, write: Write) -> bool {
        match tokio::time::timeout(RECORD_TIMEOUT, self.set.store.write(write)).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                error!(error = &error as &dyn std::error::Error, "a write to the store failed");
                false
            }
            Err(_late) => {
                error!(timeout = ?RECORD_TIMEOUT, "a write to the store did not become durable in time");
                false
            }
        }
    }

    fn roll_back(&mut self, order: Order) {
        if order.not_after.is_some_and(|end| self.set.clock.uptime() > end) {
            let reason =
                "the lease was over before the order could be given, so another agent may act".to_owned();
            let input = Input::Acted { record: order.record, acted: Acted::Refused { reason } };
            let inputs = self.inputs_in.clone();
            tokio::spawn(async move { inputs.send(input).await });
            return;
        }
        info!(record = %order.record, from = %order.from, to = %order.to, platform = self.set.platform.kind(), "rollback ordered");
        self.ordering = true;
        let (platform, inputs) = (Arc::clone(&self.set.platform), self.inputs_in.clone());
        let known = self.set.engine.known();
        let (steps, record) = (inputs.clone(), order.record.clone());
        let journal = Journal::new(move |step, outcome| {
            // A step that finds no place is left out: the record says that the act went on.
            let _ = steps.try_send(Input::Stepped { record: record.clone(), step, outcome });
        });
        tokio::spawn(async move {
            let acted = platform.roll_back(&order, &known, &journal).await;
            // The loop has ended when nobody listens; the next agent asks the platform.
            let _ = inputs.send(Input::Acted { record: order.record, acted }).await;
        });
    }

    fn ask(&mut self, record: RecordId) {
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        let (platform, inputs) = (Arc::clone(&self.set.platform), self.inputs_in.clone());
        let known = self.set.engine.known();
        tokio::spawn(async move {
            let live = platform.current(&known).await;
            let _ = inputs.send(Input::PlatformAnswered { record, live }).await;
        });
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Pause { by, reason, until, reply } => {
                self.spoken();
                let since = self.set.clock.now();
                self.step(Input::Paused(Pause { by, reason, since, until })).await;
                let _ = reply.send(self.durably());
            }
            Command::Resume { by, reply } => {
                self.spoken();
                self.step(Input::Resumed { by }).await;
                let _ = reply.send(self.durably());
            }
            Command::Lock { by, reason, until, reply } => self.lock(by, reason, until, reply).await,
            Command::Unlock { by, reply } => self.unlock(by, reply).await,
            Command::RollBack { by, reason, to, reply } => {
                self.roll_back_by_hand(by, reason, to, reply).await
            }
            Command::Rehearse { to, reply } => self.rehearse(to, reply),
            Command::Records { limit, before, reply } => {
                let store = self.set.store.clone();
                answer(reply, async move { store.records(limit, before).await });
            }
            Command::Record { id, reply } => {
                let store = self.set.store.clone();
                answer(reply, async move { store.record(id.as_str()).await });
            }
        }
    }

    /// Whether what a person asked for will survive a restart.
    fn durably(&self) -> Result<(), String> {
        if !self.set.store.status().durable {
            return Err("in force, but only until the agent ends: its store is in memory".to_owned());
        }
        match &self.pause_keeper {
            Some(keeper) if !keeper.is_finished() => {
                Err("in force, but not written down yet: the store does not take it; it is tried on"
                    .to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Reads for somebody, until they no longer wait.
fn answer<T: Send + 'static>(
    mut reply: admin::Reply<T>,
    read: impl Future<Output = Result<T, ReadError>> + Send + 'static,
) {
    tokio::spawn(async move {
        tokio::select! {
            () = reply.closed() => {}
            read = read => drop(reply.send(read.map_err(|error| error.to_string()))),
        }
    });
}
