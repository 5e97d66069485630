//! The loop: facts in, effects out, in order.

use std::ffi::{OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, Command};
use crate::agent::Error;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::record::{Decision, Exit, Happening, Order, Pause, Progress, Record};
use crate::engine::release::RecordId;
use crate::engine::time::Time;
use crate::engine::window::Window;
use crate::engine::{Effect, Engine, Input};
use crate::platform::Platform;
use crate::prober::Readiness;
use crate::proxy::{Arm, DataPlane, Phase, Plan, Upstream};
use crate::recorder::Recorder;
use crate::store::{ReadError, Store, Write};
use crate::supervisor::{self, App, Received, Signals, Supervisor};

/// Facts from tasks that wait for the loop. Each task sends one and ends, and there are two kinds; it never fills.
pub(super) const INPUTS_MAX: usize = 16;
/// How often windows are sealed.
pub(super) const SEAL_EVERY: Duration = Duration::from_secs(1);
/// A seal that comes so much too late says that the agent itself was stalled.
const STALL_US: u64 = 500_000;
/// An app that is not ready after this time is told of,
const NOT_READY_AFTER: Duration = Duration::from_secs(3);
/// and again and again.
const NOT_READY_EVERY: Duration = Duration::from_secs(60);
/// How long an intent or a pause may take to become durable; then an intent counts as lost.
const RECORD_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a pause that could not be written down is tried again.
const PAUSE_RETRY: Duration = Duration::from_secs(1);

/// Where the app is in its life.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AppPhase {
    Starting,
    Ready,
    Draining,
    Gone(String),
}

/// The agent, running.
pub(super) struct Agent {
    pub(super) clock: Clock,
    pub(super) started: Time,
    pub(super) phase: AppPhase,
    pub(super) phase_since: Time,
    pub(super) readiness: Arc<Readiness>,
    pub(super) upstream: String,
    pub(super) config: Config,
    pub(super) command: Vec<OsString>,
    pub(super) replica: String,
    pub(super) warnings: Vec<String>,
    pub(super) engine: Engine,
    pub(super) recorder: Recorder,
    pub(super) plan: Arc<ArcSwap<Plan>>,
    pub(super) data_path: Arc<DataPlane>,
    pub(super) store: Store,
    pub(super) platform: Arc<dyn Platform>,
    pub(super) shared: Arc<admin::Shared>,
    pub(super) shutdown: CancellationToken,
    pub(super) supervisor: Supervisor,
    pub(super) app: Option<App>,
    pub(super) signals: Signals,
    pub(super) inputs_in: mpsc::Sender<Input>,
    pub(super) inputs: mpsc::Receiver<Input>,
    pub(super) commands: mpsc::Receiver<Command>,
    /// A question to the platform is under way: at most one is.
    pub(super) asking: bool,
    /// An order to the platform is under way.
    pub(super) ordering: bool,
    pub(super) sealed_us: u64,
    /// Writes the pause down, where that failed at once.
    pub(super) pause_keeper: Option<JoinHandle<()>>,
}

/// What woke the loop.
enum Woken {
    Seal,
    Input(Input),
    Command(Command),
    Signal(Received),
    Ready,
    Ended(std::io::Result<Exit>),
    ReaperFailed(std::io::Error),
}

impl Agent {
    /// Starts the app, if there is one to supervise.
    pub(super) fn start_app(&mut self) -> Result<(), Error> {
        if self.command.is_empty() {
            return Ok(());
        }
        let plan = self.plan.load();
        let Upstream::Loopback { port } = plan.stable.upstream else { return Ok(()) };
        let app = self.supervisor.spawn(&self.command, port, &is_hidden).map_err(Error::Spawn)?;
        info!(pid = app.pid(), port, "app started");
        self.app = Some(app);
        Ok(())
    }

    /// Runs until the end, and returns the exit code.
    pub(super) async fn serve(mut self) -> Result<i32, Error> {
        let mut seal = tokio::time::interval(SEAL_EVERY);
        seal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seal.tick().await;
        // The start is no stall, however long it took.
        self.sealed_us = self.clock.micros();
        let mut reaper = std::pin::pin!(supervisor::reap(self.supervisor.own_children()));
        let readiness = Arc::clone(&self.readiness);
        let mut ready = std::pin::pin!(readiness.wait());
        loop {
            let woken = tokio::select! {
                biased;
                signal = self.signals.next() => Woken::Signal(signal),
                _ = seal.tick() => Woken::Seal,
                ended = ended(&mut self.app) => Woken::Ended(ended),
                _ = &mut ready, if self.phase == AppPhase::Starting => Woken::Ready,
                Some(input) = self.inputs.recv() => Woken::Input(input),
                Some(command) = self.commands.recv() => Woken::Command(command),
                Err(error) = &mut reaper => Woken::ReaperFailed(error),
            };
            match woken {
                Woken::Seal => self.seal().await,
                Woken::Input(input) => self.heard(input).await,
                Woken::Command(command) => self.obey(command).await,
                Woken::Signal(Received::Relay(signal)) => self.relay(signal),
                Woken::Signal(Received::Stop(signal)) => return self.stop(signal).await,
                Woken::Ready => self.became_ready().await,
                Woken::Ended(exit) => return self.app_ended(exit.map_err(Error::Wait)?).await,
                Woken::ReaperFailed(error) => return Err(Error::Wait(error)),
            }
        }
    }

    async fn became_ready(&mut self) {
        let plan = self.plan.load_full();
        let stable =
            Arm { generation: plan.stable.generation + 1, phase: Phase::Serving, ..plan.stable.clone() };
        self.plan.store(Arc::new(Plan { stable, ..(*plan).clone() }));
        self.enter(AppPhase::Ready);
        info!(after_ms = self.clock.uptime().as_millis() as u64, "app became ready");
        self.step(Input::BecameReady).await;
    }

    pub(super) fn enter(&mut self, phase: AppPhase) {
        let now = self.clock.now();
        self.phase = phase;
        self.phase_since = now;
        self.shared.update(self.live(now));
    }

    /// Closes the window at its time.
    async fn seal(&mut self) {
        let late = self.clock.micros().saturating_sub(self.sealed_us + SEAL_EVERY.as_micros() as u64);
        if late > STALL_US {
            warn!(late_us = late, "the agent was stalled, so this window is no evidence");
        }
        if self.phase == AppPhase::Starting {
            self.say_not_ready(self.sealed_us, self.clock.micros());
        }
        self.seal_now(late > STALL_US).await;
    }

    /// Tells whoever waits for the app, once it has taken long and then at each interval. `since_us`: the last look.
    fn say_not_ready(&self, since_us: u64, now_us: u64) {
        let (first, every) = (NOT_READY_AFTER.as_micros() as u64, NOT_READY_EVERY.as_micros() as u64);
        let told = |us: u64| u64::from(us >= first) + us / every;
        if told(since_us) == told(now_us) {
            return;
        }
        let (upstream, waited_s) = (&self.upstream, now_us / 1_000_000);
        let why = self.readiness.last_failure().unwrap_or_default();
        if self.app.is_some() {
            warn!(%upstream, waited_s, %why, "the app is not ready, so requests are answered 503: does it listen where PORT says?");
        } else {
            warn!(%upstream, waited_s, %why, "the upstream is not ready, so requests are answered 503: is app.upstream right?");
        }
    }

    /// Closes the open window, lets the engine weigh it, and publishes what may be seen.
    pub(super) async fn seal_now(&mut self, stalled: bool) {
        let window = self.close_window(stalled);
        if window.stalled && !stalled {
            warn!(lag_us = window.lag_us, "a worker was stalled, so this window is no evidence");
        }
        let effects = self.engine.step(window.to, Input::Sealed(window.clone()));
        self.perform(effects).await;
        self.shared.publish(self.live(window.to), &window);
    }

    /// Closes the open window for the totals only: nothing is judged.
    pub(super) fn count(&mut self) {
        let window = self.close_window(false);
        self.shared.publish(self.live(window.to), &window);
    }

    fn close_window(&mut self, stalled: bool) -> Window {
        self.sealed_us = self.clock.micros();
        self.recorder.seal(self.clock.now(), self.sealed_us, stalled)
    }

    pub(super) async fn heard(&mut self, input: Input) {
        match &input {
            Input::PlatformAnswered { .. } => self.asking = false,
            Input::Acted { .. } => self.ordering = false,
            Input::Sealed(_)
            | Input::BecameReady
            | Input::Exited(_)
            | Input::Paused(_)
            | Input::Resumed { .. }
            | Input::RecordLost { .. } => {}
        }
        self.step(input).await;
    }

    /// One fact, and all that follows from it.
    pub(super) async fn step(&mut self, input: Input) {
        let now = self.clock.now();
        let effects = self.engine.step(now, input);
        self.perform(effects).await;
        self.shared.update(self.live(now));
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
                Effect::KeepTick(release, tick) => self.queue(Write::Tick(release, tick)),
                Effect::KeepBaseline(baseline) => self.queue(Write::Baseline(baseline)),
                Effect::KeepRelease(release) => self.queue(Write::Release(release)),
                Effect::KeepPause(pause) => self.keep_pause(pause).await,
                Effect::SetSlowMark(mark) => self.recorder.set_slow_mark(mark),
            }
        }
    }

    /// An intent and its order: the order is given only when the intent will survive us, and not by a release that is
    /// being replaced.
    async fn intend(&mut self, record: Record, order: Order) {
        let may_act = self.store.status().durable && self.phase != AppPhase::Draining;
        if may_act && self.keep(Write::Record(record.clone())).await {
            log_record(&record);
            self.roll_back(order);
        } else {
            self.record_lost(record.id);
        }
    }

    /// The engine withdraws the decision; what it says to that is only to be written down.
    fn record_lost(&mut self, record: RecordId) {
        error!(%record, "the intent could not be made durable, so nothing was ordered");
        let now = self.clock.now();
        for effect in self.engine.step(now, Input::RecordLost { record }) {
            if let Effect::Record(record) = effect {
                self.note(record);
            }
        }
    }

    fn note(&self, record: Record) {
        log_record(&record);
        self.queue(Write::Record(record));
    }

    /// What is dropped at a full queue is counted by the store and shown.
    fn queue(&self, write: Write) {
        self.store.try_write(write);
    }

    /// Waits until the pause is durable; where that takes too long it is tried until it is, or until the next one.
    async fn keep_pause(&mut self, pause: Option<Pause>) {
        if let Some(keeper) = self.pause_keeper.take() {
            keeper.abort();
        }
        if self.keep(Write::Pause(pause.clone())).await {
            return;
        }
        let store = self.store.clone();
        self.pause_keeper = Some(tokio::spawn(async move {
            while store.write(Write::Pause(pause.clone())).await.is_err() {
                tokio::time::sleep(PAUSE_RETRY).await;
            }
        }));
    }

    /// Writes and waits until it is durable; false, and logged, when it is not.
    async fn keep(&self, write: Write) -> bool {
        match tokio::time::timeout(RECORD_TIMEOUT, self.store.write(write)).await {
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
        info!(record = %order.record, from = %order.from, to = %order.to, platform = self.platform.kind(), "rollback ordered");
        self.ordering = true;
        let (platform, inputs) = (Arc::clone(&self.platform), self.inputs_in.clone());
        tokio::spawn(async move {
            let acted = platform.roll_back(&order).await;
            // The loop has ended when nobody listens; the next agent asks the platform.
            let _ = inputs.send(Input::Acted { record: order.record, acted }).await;
        });
    }

    fn ask(&mut self, record: RecordId) {
        if std::mem::replace(&mut self.asking, true) {
            return;
        }
        let (platform, inputs) = (Arc::clone(&self.platform), self.inputs_in.clone());
        tokio::spawn(async move {
            let live = platform.current().await;
            let _ = inputs.send(Input::PlatformAnswered { record, live }).await;
        });
    }

    pub(super) async fn obey(&mut self, command: Command) {
        match command {
            Command::Pause { by, reason, until, reply } => {
                let since = self.clock.now();
                self.step(Input::Paused(Pause { by, reason, since, until })).await;
                let _ = reply.send(self.durably());
            }
            Command::Resume { by, reply } => {
                self.step(Input::Resumed { by }).await;
                let _ = reply.send(self.durably());
            }
            Command::Records { limit, before, reply } => {
                let store = self.store.clone();
                answer(reply, async move { store.records(limit, before).await });
            }
            Command::Record { id, reply } => {
                let store = self.store.clone();
                answer(reply, async move { store.record(id.as_str()).await });
            }
        }
    }

    /// Whether what a person asked for will survive a restart.
    fn durably(&self) -> Result<(), String> {
        if !self.store.status().durable {
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

    pub(super) fn relay(&self, signal: supervisor::Signal) {
        let Some(app) = &self.app else { return };
        match app.signal(signal) {
            Ok(()) => info!(signal = signal.as_str(), "signal relayed to the app"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "a signal could not be relayed"),
        }
    }
}

/// The app's end; never, where there is none to wait for.
pub(super) async fn ended(app: &mut Option<App>) -> std::io::Result<Exit> {
    match app {
        Some(app) => app.wait().await,
        None => std::future::pending().await,
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

/// Which variables the child does not get, besides the agent's own.
fn is_hidden(name: &OsStr) -> bool {
    name == "RAILWAY_TOKEN" || name == "RAILWAY_API_TOKEN"
}

/// One line a happening, for whoever reads logs rather than records.
fn log_record(record: &Record) {
    let (id, release) = (&record.id, &record.release);
    match &record.what {
        Happening::VerdictChanged { from, to } => {
            info!(record = %id, %release, from = from.label(), to = to.label(), "verdict changed");
        }
        Happening::WatchPassed { requests } => {
            info!(record = %id, %release, requests, "watch passed, the release is known good");
        }
        Happening::Decided(decided) => log_decision(id, record, decided),
        Happening::Paused(pause) => {
            info!(record = %id, by = %pause.by, reason = %pause.reason, "acting paused")
        }
        Happening::Resumed { by } => info!(record = %id, %by, "acting resumed"),
        Happening::Started { .. } | Happening::Ready | Happening::Exited(_) => {}
    }
}

fn log_decision(id: &RecordId, record: &Record, decided: &crate::engine::record::Decided) {
    let target = decided.target.as_ref().map(ToString::to_string).unwrap_or_default();
    let (decision, progress) = (decided.decision.label(), decided.progress.label());
    let needs_a_person = matches!(decided.progress, Progress::Failed { .. } | Progress::Interrupted { .. })
        || decided.decision == Decision::Hold;
    if needs_a_person {
        error!(record = %id, release = %record.release, %target, decision, progress, "decision needs a person");
    } else {
        warn!(record = %id, release = %record.release, %target, decision, progress, "decision made");
    }
}
