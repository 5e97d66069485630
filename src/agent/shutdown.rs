//! The end: by a signal, with a drain that loses nothing that was accepted; or because the app ended, at once.
//!
//! The order of a drain of D: from the first moment replies ask clients to close, while the port still accepts, for the
//! edge may route here for some seconds more. After a third of D (five seconds at most), or when no request has come for
//! two, the port is closed, its backlog first. The app is told to end when the last open request has ended, or a little
//! later: most apps stop accepting then, so telling them earlier would turn late arrivals into refusals, and streams end
//! only when the app ends them. Shortly before D is over what is still open is cut, and then the app is killed. A second
//! signal skips to the cut.
//!
//! People are answered and totals are counted to the end, but nothing is judged any more and nothing new is ordered: a
//! release that is being replaced has no say about its successor.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::agent::Error;
use crate::agent::control::{Agent, AppPhase, SEAL_EVERY, ended};
use crate::engine::Input;
use crate::engine::record::Exit;
use crate::proxy::{Arm, Drained, Phase, Plan};
use crate::supervisor::{self, Received, Signal};

/// The port is closed after this at the latest.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// Without requests for so long nobody routes here any more.
const QUIET: Duration = Duration::from_secs(2);
/// Before the drain's end, what is open is cut,
const CUT_BEFORE: Duration = Duration::from_secs(2);
/// and the app is killed. In a short drain both come later: at three and four fifths of it.
const KILL_BEFORE: Duration = Duration::from_secs(1);
/// After the port is closed, open requests are given this share of the drain, and at most so long, before the app is
/// told to end although some are still open.
const TELL_SHARE: u32 = 6;
const TELL_MAX: Duration = Duration::from_secs(2);
/// How long open requests are given when the app has ended: their replies are errors by now.
const AFTER_THE_APP: Duration = Duration::from_secs(1);
/// How often the drain looks around.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the agent waits for the answer to an order that is under way when the app has ended; beyond that the next
/// agent asks the platform.
const ORDER_GRACE: Duration = Duration::from_secs(15);
/// How long the store may take to write what is queued, and what the app left behind to end. A disk that hangs must not
/// keep the agent from ending.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How far a drain has come. Times are counted from its beginning.
struct Drain {
    cut_at: Duration,
    kill_at: Duration,
    open_max: Duration,
    tell_after: Duration,
    /// Set when the port is closed: the data path ends what is open.
    closing: Option<(Duration, JoinHandle<Drained>)>,
    drained: bool,
    told: bool,
    killed: bool,
    hurried: bool,
    exit: Option<Exit>,
}

impl Drain {
    fn of(total: Duration) -> Self {
        Self {
            cut_at: total - CUT_BEFORE.min(total * 2 / 5),
            kill_at: total - KILL_BEFORE.min(total / 5),
            open_max: (total / 3).min(OPEN_MAX),
            tell_after: (total / TELL_SHARE).min(TELL_MAX),
            closing: None,
            drained: false,
            told: false,
            killed: false,
            hurried: false,
            exit: None,
        }
    }

    /// A second signal: everything that is still to come, comes now.
    fn hurry(&mut self, elapsed: Duration) {
        self.hurried = true;
        self.cut_at = self.cut_at.min(elapsed);
        self.kill_at = self.kill_at.min(elapsed + KILL_BEFORE);
    }
}

impl Agent {
    /// The app ended by itself: what was open gets an error, what happened is recorded, and the app's code is passed on
    /// so that the platform's own restart policy sees what it would have seen.
    pub(super) async fn app_ended(mut self, exit: Exit) -> Result<i32, Error> {
        let code = supervisor::exit_code(exit);
        let out_of_memory = self.app.as_ref().is_some_and(|app| app.ran_out_of_memory(exit));
        self.set_phase(Phase::Gone);
        self.enter(AppPhase::Gone(format!("ended with code {code}")));
        if exit.is_crash() {
            warn!(code, out_of_memory, "app ended unexpectedly");
        } else {
            info!(code, "app ended");
        }
        self.seal_now(false).await;
        self.step(Input::Exited(exit)).await;
        self.await_order(ORDER_GRACE).await;
        say_cut(self.data_path.finish(AFTER_THE_APP).await);
        self.close().await;
        Ok(code)
    }

    /// A signal asked for the end.
    pub(super) async fn stop(mut self, signal: Signal) -> Result<i32, Error> {
        let total = self.config.app.drain;
        info!(signal = signal.as_str(), drain = %humantime::format_duration(total), "draining");
        self.enter(AppPhase::Draining);
        self.data_path.begin_drain();
        let began = self.clock.uptime();
        let mut drain = Drain::of(total);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut count = tokio::time::interval(SEAL_EVERY);
        loop {
            let elapsed = self.clock.uptime().saturating_sub(began);
            tokio::select! {
                biased;
                signal = self.signals.next() => match signal {
                    Received::Stop(_) => drain.hurry(elapsed),
                    Received::Relay(signal) => self.relay(signal),
                },
                exit = ended(&mut self.app), if drain.exit.is_none() => {
                    drain.exit = Some(exit.map_err(Error::Wait)?);
                    self.set_phase(Phase::Draining);
                }
                drained = closed(&mut drain.closing), if !drain.drained => {
                    drain.drained = true;
                    say_cut(drained);
                }
                Some(input) = self.inputs.recv() => self.heard(input).await,
                Some(command) = self.commands.recv() => self.obey(command).await,
                _ = count.tick() => self.count(),
                _ = look.tick() => {}
            }
            let elapsed = self.clock.uptime().saturating_sub(began);
            self.advance(&mut drain, elapsed)?;
            if drain.drained && (drain.exit.is_some() || self.app.is_none()) {
                break;
            }
        }
        self.count();
        let left = drain.kill_at.saturating_sub(self.clock.uptime().saturating_sub(began));
        self.await_order(ORDER_GRACE.min(left)).await;
        self.close().await;
        let code = drain.exit.map_or(0, supervisor::exit_code);
        info!(code, "drained");
        Ok(code)
    }

    /// Does what is due in a drain after `elapsed`.
    fn advance(&mut self, drain: &mut Drain, elapsed: Duration) -> Result<(), Error> {
        let quiet = self.clock.micros().saturating_sub(self.data_path.last_arrival_us());
        let nobody_comes = Duration::from_micros(quiet) >= QUIET;
        let closes = elapsed >= drain.open_max || nobody_comes || drain.exit.is_some() || drain.hurried;
        if drain.closing.is_none() && closes {
            let data_path = Arc::clone(&self.data_path);
            let left = drain.cut_at.saturating_sub(elapsed);
            drain.closing = Some((elapsed, tokio::spawn(async move { data_path.finish(left).await })));
        }
        let Some((closed_at, _)) = drain.closing else { return Ok(()) };
        if elapsed >= drain.cut_at && !drain.drained {
            self.data_path.cut();
        }
        let tells = drain.drained || drain.hurried || elapsed >= closed_at + drain.tell_after;
        if !drain.told && tells {
            drain.told = true;
            self.set_phase(Phase::Draining);
            self.relay(Signal::SIGTERM);
        }
        if let (Some(app), None, false) = (&self.app, drain.exit, drain.killed)
            && elapsed >= drain.kill_at
        {
            drain.killed = true;
            warn!(pid = app.pid(), "the app did not end in time and is killed");
            app.kill().map_err(Error::Wait)?;
        }
        Ok(())
    }

    fn set_phase(&self, phase: Phase) {
        let plan = self.plan.load_full();
        let stable = Arm { phase, ..plan.stable.clone() };
        self.plan.store(Arc::new(Plan { stable, ..(*plan).clone() }));
    }

    /// An order that is under way may still be answered; its answer is worth a record.
    async fn await_order(&mut self, grace: Duration) {
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
    }

    async fn close(self) {
        let stragglers = async {
            let Some(app) = &self.app else { return };
            if let Err(error) = app.end_stragglers().await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "processes that the app left behind could not be ended"
                );
            }
        };
        self.shutdown.cancel();
        let store = tokio::time::timeout(CLOSE_MAX, self.store.clone().close());
        let (closed, _) = tokio::join!(store, tokio::time::timeout(CLOSE_MAX, stragglers));
        if closed.is_err() {
            warn!(limit = ?CLOSE_MAX, "the store did not close in time; what was not written is lost");
        }
    }
}

/// The end of what was open; never, while the port is open.
async fn closed(closing: &mut Option<(Duration, JoinHandle<Drained>)>) -> Drained {
    match closing {
        // A panic in there ended it as well.
        Some((_, finishing)) => finishing.await.unwrap_or(Drained { cut: 0 }),
        None => std::future::pending().await,
    }
}

fn say_cut(drained: Drained) {
    if drained.cut > 0 {
        warn!(connections = drained.cut, "connections were cut");
    }
}
