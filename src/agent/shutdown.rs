//! The end: by a signal, with a drain that loses nothing that was accepted; or because the app ended, at once.
//!
//! The order of a drain of D: from the first moment replies ask clients to close, while the port still accepts, for the
//! edge may route here for some seconds more. After a third of D (five seconds at most), or when no request has come for
//! two, the app is told to end: most apps stop accepting then, so telling them earlier would turn late arrivals into
//! refusals. So the port is closed first, its backlog served, and the app is told when the last open request has ended, or
//! a little later: streams end only when the app ends them. Two seconds before D is over what is still open is cut, one
//! second before it the app is killed. A second signal skips to the cut.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::{info, warn};

use crate::agent::Error;
use crate::agent::control::{Agent, AppPhase, ended};
use crate::engine::Input;
use crate::engine::record::Exit;
use crate::proxy::{Phase, Plan};
use crate::supervisor::{self, App, Received, Signal};

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
/// After the port is closed, open requests are given this share of the drain, and at most so long, before the app is
/// told to end although some are still open.
const TELL_SHARE: u32 = 6;
const TELL_MAX: Duration = Duration::from_secs(2);
/// How long the store may take to write what is queued and close; a disk that hangs must not keep the agent from ending.
const STORE_GRACE: Duration = Duration::from_secs(5);

/// How a part of the drain ended.
#[derive(Debug, PartialEq)]
enum Lingered {
    /// Its time was over, or nothing was left to wait for.
    Enough,
    /// A second signal came.
    Hurried,
    /// The app ended.
    AppEnded(Exit),
}

impl Agent {
    /// The app ended by itself: what was open gets an error, what happened is recorded, and the app's code is passed on
    /// so that the platform's own restart policy sees what it would have seen.
    pub(super) async fn app_ended(mut self, exit: Exit) -> Result<i32, Error> {
        let code = supervisor::exit_code(exit);
        let out_of_memory = self.app.as_ref().is_some_and(|app| app.ran_out_of_memory(exit));
        set_phase(&self.plan, Phase::Gone);
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
        let lingered = self.linger(drain).await?;
        let left = |agent: &Self, before: Duration| {
            drain.saturating_sub(before).saturating_sub(agent.clock.uptime().saturating_sub(began))
        };
        let cut_after = left(&self, CUT_BEFORE);
        let tell_after = (drain / TELL_SHARE).min(TELL_MAX).min(cut_after);
        let finished = self.finish(lingered, tell_after, cut_after).await?;
        let exit = match finished {
            Lingered::AppEnded(exit) => Some(exit),
            Lingered::Enough => self.await_end(left(&self, KILL_BEFORE)).await?,
            Lingered::Hurried => self.await_end(KILL_BEFORE.min(left(&self, KILL_BEFORE))).await?,
        };
        self.seal_now(false).await;
        self.await_order(ORDER_GRACE.min(left(&self, KILL_BEFORE))).await;
        self.close().await;
        let code = exit.map_or(0, supervisor::exit_code);
        info!(code, "drained");
        Ok(code)
    }

    /// Goes on accepting until a third of the drain is over or nobody comes any more. Returns early when the app ends or
    /// a second signal comes.
    async fn linger(&mut self, drain: Duration) -> Result<Lingered, Error> {
        let most = (drain / 3).min(FORWARD_MAX);
        let began = self.clock.uptime();
        let mut look = tokio::time::interval(LOOK_EVERY);
        while self.clock.uptime().saturating_sub(began) < most {
            tokio::select! {
                _ = look.tick() => {}
                exit = ended(&mut self.app) => return Ok(Lingered::AppEnded(exit.map_err(Error::Wait)?)),
                signal = self.signals.next() => if let Received::Stop(_) = signal {
                    return Ok(Lingered::Hurried);
                },
            }
            let quiet = self.clock.micros().saturating_sub(self.data_path.last_arrival_us());
            if Duration::from_micros(quiet) >= QUIET {
                break;
            }
        }
        Ok(Lingered::Enough)
    }

    /// Closes the port and waits for what is open, at most `cut_after`. The app is told to end when nothing is open any
    /// more, after `tell_after` at the latest; meanwhile it may end by itself.
    async fn finish(
        &mut self,
        mut so_far: Lingered,
        tell_after: Duration,
        cut_after: Duration,
    ) -> Result<Lingered, Error> {
        if so_far == Lingered::Hurried {
            self.data_path.cut();
        }
        let (data_path, plan, app, signals) = (&self.data_path, &self.plan, &mut self.app, &mut self.signals);
        let mut finishing = std::pin::pin!(data_path.finish(cut_after));
        let mut telling = std::pin::pin!(tokio::time::sleep(tell_after));
        let mut told = false;
        let drained = loop {
            let has_ended = matches!(so_far, Lingered::AppEnded(_));
            tokio::select! {
                drained = &mut finishing => break drained,
                () = &mut telling, if !told => {
                    told = true;
                    tell(plan, app.as_ref().filter(|_| !has_ended));
                }
                exit = ended(app), if !has_ended => {
                    so_far = Lingered::AppEnded(exit.map_err(Error::Wait)?);
                    set_phase(plan, Phase::Draining);
                }
                signal = signals.next() => if let Received::Stop(_) = signal {
                    data_path.cut();
                    if !has_ended {
                        so_far = Lingered::Hurried;
                    }
                },
            }
        };
        if !told {
            tell(plan, app.as_ref().filter(|_| !matches!(so_far, Lingered::AppEnded(_))));
        }
        if drained.cut > 0 {
            warn!(connections = drained.cut, "connections were cut");
        }
        Ok(so_far)
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
        if tokio::time::timeout(STORE_GRACE, self.store.close()).await.is_err() {
            warn!(grace = ?STORE_GRACE, "the store did not close in time; what was not written is lost");
        }
    }
}

/// Tells the app, if it still runs, to end: from now on a refusal is the shutdown's.
fn tell(plan: &ArcSwap<Plan>, app: Option<&App>) {
    set_phase(plan, Phase::Draining);
    let Some(app) = app else { return };
    if let Err(error) = app.signal(Signal::SIGTERM) {
        warn!(error = &error as &dyn std::error::Error, "a signal could not be relayed");
    }
}

fn set_phase(plan: &ArcSwap<Plan>, phase: Phase) {
    let now = plan.load_full();
    plan.store(Arc::new(Plan { phase, ..(*now).clone() }));
}
