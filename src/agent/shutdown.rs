//! The end: by a signal, with a drain that loses nothing that was accepted; or because the app ended, at once.
//!
//! The order of a drain of D: from the first moment replies ask clients to close, while the port still accepts, for the
//! edge may route here for some seconds more. After a third of D (five seconds at most), or when no request has come for
//! two, the app is told to end: most apps stop accepting then, so telling them earlier would turn late arrivals into
//! refusals. Then the port is closed, its backlog first. Two seconds before D is over what is still open is cut, one
//! second before it the app is killed. A second signal skips to the cut.

use std::time::Duration;

use tracing::{info, warn};

use crate::agent::Error;
use crate::agent::control::{Agent, AppPhase, ended};
use crate::engine::Input;
use crate::engine::record::Exit;
use crate::proxy::{Phase, Plan};
use crate::supervisor::{self, Received, Signal};

/// The app is told to end after this at the latest.
const FORWARD_MAX: Duration = Duration::from_secs(5);
/// Without requests for so long nobody routes here any more.
const QUIET: Duration = Duration::from_secs(2);
/// Before the drain's end, what is open is cut,
const CUT_BEFORE: Duration = Duration::from_secs(2);
/// and the app is killed.
const KILL_BEFORE: Duration = Duration::from_secs(1);
/// How long open requests are given when the app has ended: their replies are errors by now.
const AFTER_THE_APP: Duration = Duration::from_secs(1);
/// How often the drain looks around.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the agent waits for the answer to an order that is under way when it has to end; beyond that the next agent
/// asks the platform.
const ORDER_GRACE: Duration = Duration::from_secs(15);

impl Agent {
    /// The app ended by itself: what was open gets an error, what happened is recorded, and the app's code is passed on
    /// so that the platform's own restart policy sees what it would have seen.
    pub(super) async fn app_ended(mut self, exit: Exit) -> Result<i32, Error> {
        let code = supervisor::exit_code(exit);
        let out_of_memory = self.app.as_ref().is_some_and(|app| app.ran_out_of_memory(exit));
        self.set_plan(Phase::Gone);
        self.enter(AppPhase::Gone(format!("ended with code {code}")));
        if exit.is_crash() {
            warn!(code, out_of_memory, "app ended unexpectedly");
        } else {
            info!(code, "app ended");
        }
        self.seal_now(false).await;
        self.step(Input::Exited(exit)).await;
        self.await_order(ORDER_GRACE).await;
        let drained = self.data_path.finish(AFTER_THE_APP).await;
        if drained.cut > 0 {
            warn!(connections = drained.cut, "connections were cut");
        }
        self.close().await;
        Ok(code)
    }

    /// A signal asked for the end.
    pub(super) async fn stop(mut self, signal: Signal) -> Result<i32, Error> {
        let drain = self.config.app.drain;
        info!(signal = signal.as_str(), drain = %humantime::format_duration(drain), "draining");
        self.enter(AppPhase::Draining);
        self.data_path.begin_drain();
        let began = self.clock.uptime();
        let mut exit = self.linger(drain).await?;
        self.set_plan(Phase::Draining);
        if exit.is_none() {
            self.signal_app(Signal::SIGTERM);
        }
        let left = |agent: &Self, before: Duration| {
            drain.saturating_sub(before).saturating_sub(agent.clock.uptime().saturating_sub(began))
        };
        let deadline = left(&self, CUT_BEFORE);
        exit = self.finish(deadline, exit).await?;
        if exit.is_none() {
            exit = self.await_end(left(&self, KILL_BEFORE)).await?;
        }
        self.seal_now(false).await;
        self.await_order(ORDER_GRACE.min(left(&self, KILL_BEFORE))).await;
        self.close().await;
        let code = exit.map_or(0, supervisor::exit_code);
        info!(code, "drained");
        Ok(code)
    }

    /// Goes on accepting until a third of the drain is over or nobody comes any more. Returns early when the app ends.
    async fn linger(&mut self, drain: Duration) -> Result<Option<Exit>, Error> {
        let most = (drain / 3).min(FORWARD_MAX);
        let began = self.clock.uptime();
        let mut look = tokio::time::interval(LOOK_EVERY);
        while self.clock.uptime().saturating_sub(began) < most {
            tokio::select! {
                _ = look.tick() => {}
                exit = ended(&mut self.app) => return Ok(Some(exit.map_err(Error::Wait)?)),
                signal = self.signals.next() => if let Received::Stop(_) = signal { break },
            }
            let quiet = self.clock.micros().saturating_sub(self.data_path.last_arrival_us());
            if Duration::from_micros(quiet) >= QUIET {
                break;
            }
        }
        Ok(None)
    }

    /// Closes the port and waits for what is open, at most `deadline`; meanwhile the app may end.
    async fn finish(&mut self, deadline: Duration, mut exit: Option<Exit>) -> Result<Option<Exit>, Error> {
        let (data_path, app, signals) = (&self.data_path, &mut self.app, &mut self.signals);
        let mut finishing = std::pin::pin!(data_path.finish(deadline));
        let drained = loop {
            tokio::select! {
                drained = &mut finishing => break drained,
                ended = ended(app), if exit.is_none() => exit = Some(ended.map_err(Error::Wait)?),
                signal = signals.next() => if let Received::Stop(_) = signal {
                    break data_path.finish(Duration::ZERO).await;
                },
            }
        };
        if drained.cut > 0 {
            warn!(connections = drained.cut, "connections were cut");
        }
        Ok(exit)
    }

    async fn await_end(&mut self, grace: Duration) -> Result<Option<Exit>, Error> {
        let Some(app) = &mut self.app else { return Ok(None) };
        if let Ok(exit) = tokio::time::timeout(grace, app.wait()).await {
            return exit.map(Some).map_err(Error::Wait);
        }
        warn!(pid = app.pid(), "the app did not end in time and is killed");
        app.kill().map_err(Error::Wait)?;
        app.wait().await.map(Some).map_err(Error::Wait)
    }

    fn signal_app(&self, signal: Signal) {
        let Some(app) = &self.app else { return };
        if let Err(error) = app.signal(signal) {
            warn!(error = &error as &dyn std::error::Error, "a signal could not be relayed");
        }
    }

    fn set_plan(&self, phase: Phase) {
        let plan = self.plan.load_full();
        self.plan.store(std::sync::Arc::new(Plan { phase, ..(*plan).clone() }));
    }

    /// An order that is under way may still be answered; its answer is worth a record.
    async fn await_order(&mut self, grace: Duration) {
        if !self.ordering {
            return;
        }
        match tokio::time::timeout(grace, self.inputs.recv()).await {
            Ok(Some(input)) => self.heard(input).await,
            Ok(None) | Err(_) => {
                warn!(
                    "an order to the platform is still under way; the next agent will ask what became of it"
                );
            }
        }
    }

    async fn close(self) {
        if let Some(app) = &self.app
            && let Err(error) = app.end_stragglers().await
        {
            warn!(
                error = &error as &dyn std::error::Error,
                "processes that the app left behind could not be ended"
            );
        }
        self.shutdown.cancel();
        self.store.close().await;
    }
}
