//! The life of the app, and of the agent beside it: start, readiness, signals, an end and what follows from it.
//!
//! It decides by the configuration alone and asks nobody: whether the control plane is slow, stuck or has failed, the app is
//! served, signals are obeyed and a drain is kept. **When the control plane fails the agent goes on as a plain pipe**:
//! nothing is judged, nothing is ordered, and everybody who looks is told.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, AppView};
use crate::agent::Error;
use crate::agent::control::News;
use crate::agent::restart::{Next, Restarts};
use crate::agent::start::before_ready;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::record::Exit;
use crate::engine::time::Time;
use crate::prober::Readiness;
use crate::proxy::{Arm, DataPlane, Phase, Plan, Upstream};
use crate::store::Store;
use crate::supervisor::{self, App, Launch, Received, Rest, Signals, SpawnError, Supervisor};

/// How often the life looks around while something is under way that sends no event.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often a person is told why the app is not ready, and asks anew what the page shows.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// An app that is not ready after this time is told of,
const NOT_READY_AFTER: Duration = Duration::from_secs(3);
/// and again and again.
const NOT_READY_EVERY: Duration = Duration::from_secs(60);
/// Before a start, what the app before left behind has this long to end, or `app.drain` if that is shorter; then it is
/// killed, for it may hold the port.
const CLEAR_MAX: Duration = Duration::from_secs(5);
/// What cannot be killed for so long is left alone.
pub(super) const UNKILLED_MAX: Duration = Duration::from_secs(1);

/// Where the app is in its life.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum AppPhase {
    Starting,
    Ready,
    Draining,
    Gone(String),
}

/// A start that is to come.
pub(super) struct Again {
    /// How the app ended before.
    pub(super) exit: Exit,
    /// What it left behind.
    pub(super) rest: Rest,
    /// When it is started, by the process's clock.
    at: Duration,
    /// When what it left behind is killed.
    kill_at: Duration,
}

/// The agent, running.
pub(super) struct Agent {
    pub(super) clock: Clock,
    pub(super) phase: AppPhase,
    pub(super) phase_since: Time,
    pub(super) readiness: Arc<Readiness>,
    pub(super) upstream: String,
    pub(super) config: Config,
    pub(super) command: Vec<OsString>,
    pub(super) port: u16,
    pub(super) plan: Arc<ArcSwap<Plan>>,
    pub(super) data_path: Arc<DataPlane>,
    pub(super) store: Store,
    pub(super) shared: Arc<admin::Shared>,
    /// The app as people see it; the control plane reads it.
    pub(super) view: Arc<ArcSwap<AppView>>,
    pub(super) shutdown: CancellationToken,
    pub(super) supervisor: Supervisor,
    pub(super) app: Option<App>,
    /// When the app was started last.
    pub(super) began: Duration,
    pub(super) restarts: Restarts,
    pub(super) restarted: u64,
    pub(super) again: Option<Again>,
    pub(super) signals: Signals,
    pub(super) reaper: Option<JoinHandle<std::io::Result<()>>>,
    pub(super) news: mpsc::Sender<News>,
    /// The control plane; `None` once it has failed.
    pub(super) control: Option<JoinHandle<()>>,
}

/// What woke the life.
enum Woken {
    Signal(Received),
    Ready,
    Ended(std::io::Result<Exit>),
    Look,
    Tell,
    ControlFailed(JoinError),
    ReaperFailed,
}

impl Agent {
    /// Starts the app, if there is one to supervise.
    pub(super) fn start_app(&mut self) -> Result<(), SpawnError> {
        if self.command.is_empty() {
            return Ok(());
        }
        let keep_token = self.config.app.keep_token;
        let app = self.supervisor.spawn(&Launch {
            command: &self.command,
            port: self.port,
            socket: self.config.app.socket.as_deref(),
            reach: self.config.app.signals,
            hidden: &|name| !keep_token && is_token(name),
        })?;
        self.began = self.clock.uptime();
        info!(pid = app.pid(), port = self.port, "app started");
        self.app = Some(app);
        self.show();
        Ok(())
    }

    /// Runs until the end, and returns the exit code.
    pub(super) async fn serve(mut self) -> Result<i32, Error> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tell = tokio::time::interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.clock.uptime();
        let readiness = Arc::clone(&self.readiness);
        let mut ready = std::pin::pin!(readiness.wait());
        loop {
            let starting = self.phase == AppPhase::Starting && self.again.is_none();
            let woken = tokio::select! {
                biased;
                signal = self.signals.next() => Woken::Signal(signal),
                ended = ended(&mut self.app) => Woken::Ended(ended),
                failed = failed(&mut self.control) => Woken::ControlFailed(failed),
                _ = &mut ready, if starting => Woken::Ready,
                _ = look.tick(), if self.again.is_some() => Woken::Look,
                _ = tell.tick(), if starting => Woken::Tell,
                () = reaper_ended(&mut self.reaper) => Woken::ReaperFailed,
            };
            match woken {
                Woken::Signal(Received::Relay(signal)) => self.relay(signal),
                Woken::Signal(Received::Stop(signal)) => return self.stop(signal).await,
                Woken::Ready => self.became_ready(),
                Woken::Ended(exit) => {
                    let exit = exit.map_err(Error::Wait)?;
                    match self.next(exit) {
                        Next::Again(pause) => self.await_start(exit, pause),
                        Next::End | Next::GiveUp => return self.app_ended(exit).await,
                    }
                }
                Woken::Look => match self.start_again() {
                    Ok(false) => {}
                    Ok(true) => Pin::set(&mut ready, readiness.wait()),
                    Err(code) => return self.never_started(code).await,
                },
                Woken::Tell => {
                    let now = self.clock.uptime();
                    self.say_not_ready(told, now);
                    told = now;
                }
                Woken::ControlFailed(why) => self.control_failed(why),
                Woken::ReaperFailed => error!("orphans of the app are no longer reaped"),
            }
        }
    }

    fn became_ready(&mut self) {
        self.set_arm(|arm| Arm { generation: arm.generation + 1, phase: Phase::Serving, ..arm });
        self.enter(AppPhase::Ready);
        let after = self.clock.uptime().saturating_sub(self.began);
        info!(after_ms = after.as_millis() as u64, "app became ready");
        self.tell(News::BecameReady);
    }

    /// What follows from the app's end.
    fn next(&mut self, exit: Exit) -> Next {
        let code = supervisor::exit_code(exit);
        let out_of_memory = self.app.as_ref().is_some_and(|app| app.ran_out_of_memory(exit));
        if exit.is_crash() {
            warn!(code, out_of_memory, "app ended unexpectedly");
        } else {
            info!(code, "app ended");
        }
        let next = self.restarts.ended(self.began, self.clock.uptime(), exit, fastrand::f64());
        if next == Next::GiveUp {
            error!(code, "the app ended too often and is not started again");
        }
        next
    }

    /// Requests wait meanwhile, and connections to what was there before are not used again.
    fn await_start(&mut self, exit: Exit, pause: Duration) {
        let Some(app) = self.app.take() else { return };
        let now = self.clock.uptime();
        info!(pause_ms = pause.as_millis() as u64, "the app will be started again");
        let kill_at = now + CLEAR_MAX.min(self.config.app.drain);
        self.again = Some(Again { exit, rest: app.rest(), at: now + pause, kill_at });
        // Until then what is left of the old one may still accept connections.
        self.set_arm(|arm| Arm { generation: arm.generation + 1, phase: Phase::Warming, ..arm });
        self.enter(AppPhase::Starting);
        self.tell(News::Exited(exit));
    }

    /// Does what is due before the next start, and starts the app in time; whether it did. An error is the exit code to
    /// give up with.
    fn start_again(&mut self) -> Result<bool, i32> {
        let now = self.clock.uptime();
        let Some(again) = &mut self.again else { return Ok(false) };
        let mut left = again.rest.ask_to_end();
        if left > 0 && now >= again.kill_at {
            kill(&again.rest);
            left = if now >= again.kill_at + UNKILLED_MAX { 0 } else { left };
        }
        if left > 0 || now < again.at {
            return Ok(false);
        }
        let exit = again.exit;
        match self.start_app() {
            Ok(()) => {
                self.again = None;
                self.restarted += 1;
                let phase = before_ready(&self.config);
                self.set_arm(|arm| Arm { phase, ..arm });
                self.show();
                return Ok(true);
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the app could not be started again");
                let tried = Exit { code: Some(error.exit_code()), signal: None };
                match (self.restarts.ended(now, now, tried, fastrand::f64()), &mut self.again) {
                    (Next::Again(pause), Some(again)) => again.at = now + pause,
                    (Next::Again(_) | Next::End | Next::GiveUp, _) => {
                        error!(
                            code = supervisor::exit_code(exit),
                            "the app ended too often and is not started again"
                        );
                        return Err(error.exit_code());
                    }
                }
            }
        }
        Ok(false)
    }

    pub(super) fn enter(&mut self, phase: AppPhase) {
        self.phase = phase;
        self.phase_since = self.clock.now();
        self.show();
    }

    /// Shows the app as it is, at once.
    pub(super) fn show(&self) {
        let view = self.app_view();
        self.view.store(Arc::new(view.clone()));
        self.shared.amend(|live| live.app = view);
    }

    pub(super) fn app_view(&self) -> AppView {
        let (phase, detail) = match &self.phase {
            AppPhase::Starting => (admin::Phase::Starting, self.why_starting()),
            AppPhase::Ready => (admin::Phase::Ready, None),
            AppPhase::Draining => (admin::Phase::Draining, None),
            AppPhase::Gone(how) => (admin::Phase::Gone, Some(how.clone())),
        };
        AppView {
            phase,
            supervised: !self.command.is_empty(),
            pid: self.app.as_ref().map(App::pid),
            since: self.phase_since,
            upstream: self.upstream.clone(),
            restarts: self.restarted,
            detail,
        }
    }

    fn why_starting(&self) -> Option<String> {
        let ended = self.again.as_ref().map(|again| supervisor::exit_code(again.exit));
        let ended = ended.map(|code| format!("ended with code {code}, and will be started again"));
        ended.or_else(|| self.readiness.last_failure())
    }

    /// Changes where requests go.
    pub(super) fn set_arm(&self, change: impl FnOnce(Arm) -> Arm) {
        let plan = self.plan.load_full();
        let stable = change(plan.stable.clone());
        self.plan.store(Arc::new(Plan { stable, ..(*plan).clone() }));
    }

    /// Tells whoever waits for the app, once it has taken long and then at each interval. `before`: the last look.
    fn say_not_ready(&self, before: Duration, now: Duration) {
        self.show();
        let told = |at: Duration| {
            let waited = at.saturating_sub(self.began);
            u64::from(waited >= NOT_READY_AFTER) + waited.as_secs() / NOT_READY_EVERY.as_secs()
        };
        if told(before) >= told(now) {
            return;
        }
        let (upstream, waited_s) = (&self.upstream, now.saturating_sub(self.began).as_secs());
        let why = self.readiness.last_failure().unwrap_or_default();
        if self.app.is_some() {
            warn!(%upstream, waited_s, %why, "the app is not ready, so requests are answered 503: does it listen where PORT says?");
        } else {
            warn!(%upstream, waited_s, %why, "the upstream is not ready, so requests are answered 503: is app.upstream right?");
        }
    }

    pub(super) fn relay(&self, signal: supervisor::Signal) {
        let Some(app) = &self.app else { return };
        match app.signal(signal) {
            Ok(()) => info!(signal = signal.as_str(), "signal relayed to the app"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "a signal could not be relayed"),
        }
    }

    /// The control plane is told, if it listens. It is never waited for.
    pub(super) fn tell(&self, news: News) {
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.news.try_send(news) {
            error!(?lost, "the control plane is stuck and was not told");
        }
    }

    /// It was on its own task, so what it held is dropped and nobody else has noticed.
    pub(super) fn control_failed(&mut self, why: JoinError) {
        self.control = None;
        let why = reason(why);
        error!(
            %why,
            "the control plane failed: requests go on, and nothing is judged or acted on until the next start"
        );
        let warning = "the control plane failed: requests go on, and nothing is judged or acted on until the agent is \
                       started again";
        self.shared.amend(|live| live.warnings.push(warning.to_owned()));
    }
}

/// The app's end; never, where there is none to wait for.
pub(super) async fn ended(app: &mut Option<App>) -> std::io::Result<Exit> {
    match app {
        Some(app) => app.wait().await,
        None => std::future::pending().await,
    }
}

/// The end of a control plane that was not asked to end; never, once that was seen.
pub(super) async fn failed(control: &mut Option<JoinHandle<()>>) -> JoinError {
    if let Some(running) = control {
        let ended = running.await;
        *control = None;
        if let Err(error) = ended {
            return error;
        }
    }
    std::future::pending().await
}

/// The end of the reaper, which runs until it is dropped; never, once that was seen.
async fn reaper_ended(reaper: &mut Option<JoinHandle<std::io::Result<()>>>) {
    match reaper {
        Some(running) => {
            let _ = running.await;
            *reaper = None;
        }
        None => std::future::pending().await,
    }
}

/// Kills what is left behind.
pub(super) fn kill(rest: &Rest) {
    match rest.kill() {
        Ok(0) => {}
        Ok(processes) => {
            warn!(processes, "processes that the app left behind did not end in time and are killed")
        }
        Err(error) => warn!(
            error = &error as &dyn std::error::Error,
            "processes that the app left behind could not be ended"
        ),
    }
}

/// What a panic said.
fn reason(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
        }
        Err(error) => error.to_string(),
    }
}

/// The platform's credentials: who has them can roll this service back, or worse.
fn is_token(name: &OsStr) -> bool {
    name == "RAILWAY_TOKEN" || name == "RAILWAY_API_TOKEN"
}

/// Where the data path finds the app, and how it is written for people.
pub(super) fn text(upstream: &Upstream) -> String {
    let unix = |path: &PathBuf| format!("unix:{}", path.display());
    match upstream {
        Upstream::Loopback { port } => format!("localhost:{port}"),
        Upstream::Remote { authority } => authority.clone(),
        Upstream::Unix { path } => unix(path),
    }
}
