//! The end: by a signal, with a drain that loses nothing that was accepted; or because the app ended, at once.
//!
//! The order of a drain of D: from the first moment replies ask clients to close, while the port still accepts, for the
//! edge may route here for some seconds more. After a third of D (five seconds at most), or when no request has come for
//! two, the port is closed, its backlog first. The app is asked to end when the last open request has ended, or a little
//! later: most apps stop accepting then, so asking them earlier would turn late arrivals into refusals, and streams end
//! only when the app ends them. Shortly before D is over what is still open is cut, and then the app is killed. A second
//! signal skips to the cut.
//!
//! **The app's first process may not be all of it.** What is left of it and below it when that one has ended is asked to
//! end too, has what is left of the drain, and is killed when the app would be: a server whose wrapper died first is as
//! much of an app as any. The same holds when the app ends by itself; where it leaves nothing behind, the agent's end comes
//! at once.
//!
//! People are answered and totals are counted to the end, but nothing is judged any more and nothing new is ordered: a
//! release that is being replaced has no say about its successor.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::agent::Error;
use crate::agent::control::{News, RECORD_TIMEOUT};
use crate::agent::life::{Agent, AppPhase, LOOK_EVERY, UNKILLED_MAX, ended, failed, kill};
use crate::engine::record::Exit;
use crate::proxy::{Arm, Drained, Phase};
use crate::supervisor::{self, Received, Rest, Signal};

/// The port is closed after this at the latest.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// Without requests for so long nobody routes here any more.
const QUIET: Duration = Duration::from_secs(2);
/// Before the drain's end, what is open is cut,
const CUT_BEFORE: Duration = Duration::from_secs(2);
/// and the app is killed. In a short drain both come later: at three and four fifths of it.
const KILL_BEFORE: Duration = Duration::from_secs(1);
/// After the port is closed, open requests are given this share of the drain, and at most so long, before the app is
/// asked to end although some are still open.
const TELL_SHARE: u32 = 6;
const TELL_MAX: Duration = Duration::from_secs(2);
/// How long open requests are given when the app has ended: their replies are errors by now.
const AFTER_THE_APP: Duration = Duration::from_secs(1);
/// How long the agent waits for the answer to an order that is under way when the app has ended; beyond that the next
/// agent asks the platform.
const ORDER_GRACE: Duration = Duration::from_secs(15);
/// How much longer the control plane may take to end than it was given; then it is left to itself.
const CONTROL_SLACK: Duration = Duration::from_secs(1);
/// How long the store may take to write what is queued. A disk that hangs must not keep the agent from ending.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How far a drain has come. Times are counted from its beginning.
struct Drain {
    asked: Signal,
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
    /// What the app left behind, once its first process has ended.
    rest: Option<Rest>,
    /// How many processes that still is.
    left: usize,
}

impl Drain {
    fn of(asked: Signal, total: Duration) -> Self {
        Self {
            asked,
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
            rest: None,
            left: 0,
        }
    }

    /// The app has ended already, and this is what it left behind.
    fn after(self, exit: Exit, rest: Rest) -> Self {
        Self { exit: Some(exit), rest: Some(rest), told: true, ..self }
    }

    /// A second signal: everything that is still to come, comes now.
    fn hurry(&mut self, elapsed: Duration) {
        self.hurried = true;
        self.cut_at = self.cut_at.min(elapsed);
        self.kill_at = self.kill_at.min(elapsed + KILL_BEFORE);
    }

    fn is_over(&self, supervised: bool, elapsed: Duration) -> bool {
        // Between two starts there is no app, but there may be what it left behind.
        let nothing_runs = if self.exit.is_some() { self.left == 0 } else { !supervised };
        self.drained && (nothing_runs || elapsed >= self.kill_at + UNKILLED_MAX)
    }
}

impl Agent {
    /// The app ended by itself: what was open gets an error, what happened is recorded, and the app's code is passed on
    /// so that the platform's own restart policy sees what it would have seen.
    pub(super) async fn app_ended(mut self, exit: Exit) -> Result<i32, Error> {
        let code = supervisor::exit_code(exit);
        self.set_arm(|arm| Arm { phase: Phase::Gone, ..arm });
        self.enter(AppPhase::Gone(format!("ended with code {code}")));
        self.tell(News::Exited(exit));
        let mut drain = Drain::of(Signal::SIGTERM, self.config.app.drain);
        if let Some(app) = &self.app {
            drain = drain.after(exit, app.rest());
            drain.left = drain.rest.as_mut().map_or(0, Rest::ask_to_end);
        }
        if drain.left == 0 {
            drain.cut_at = AFTER_THE_APP;
        } else {
            info!(processes = drain.left, "the app left processes behind, and they are asked to end");
        }
        self.drain(&mut drain).await?;
        self.end_control(ORDER_GRACE, ORDER_GRACE + RECORD_TIMEOUT + CONTROL_SLACK).await;
        self.close().await;
        Ok(code)
    }

    /// A start again failed for good.
    pub(super) async fn never_started(mut self, code: i32) -> Result<i32, Error> {
        self.set_arm(|arm| Arm { phase: Phase::Gone, ..arm });
        self.enter(AppPhase::Gone("could not be started again".to_owned()));
        self.data_path.finish(AFTER_THE_APP).await;
        self.end_control(ORDER_GRACE, ORDER_GRACE + CONTROL_SLACK).await;
        self.close().await;
        Ok(code)
    }

    /// A signal asked for the end.
    pub(super) async fn stop(mut self, signal: Signal) -> Result<i32, Error> {
        let total = self.config.app.drain;
        info!(signal = signal.as_str(), drain = %humantime::format_duration(total), "draining");
        self.enter(AppPhase::Draining);
        self.data_path.begin_drain();
        let mut drain = Drain::of(signal, total);
        // Between two starts there is no app, and the drain is as short as its clients let it be.
        if let Some(again) = self.again.take() {
            drain = drain.after(again.exit, again.rest);
            self.set_arm(|arm| Arm { phase: Phase::Draining, ..arm });
        }
        let supervised = self.app.is_some();
        let took = self.drain(&mut drain).await?;
        let left = ORDER_GRACE.min(drain.kill_at.saturating_sub(took));
        self.end_control(left, left + CONTROL_SLACK).await;
        self.close().await;
        // An app that outlives its kill was killed all the same.
        let unended = if supervised { 128 + Signal::SIGKILL as i32 } else { 0 };
        let code = drain.exit.map_or(unended, supervisor::exit_code);
        info!(code, "drained");
        Ok(code)
    }

    /// Keeps the order of a drain to its end; how long it took.
    async fn drain(&mut self, drain: &mut Drain) -> Result<Duration, Error> {
        self.tell(News::Draining);
        let began = self.clock.uptime();
        let mut look = tokio::time::interval(LOOK_EVERY);
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
                    drain.rest = self.app.as_ref().map(supervisor::App::rest);
                    if self.phase == AppPhase::Draining {
                        self.set_arm(|arm| Arm { phase: Phase::Draining, ..arm });
                    }
                }
                drained = closed(&mut drain.closing), if !drain.drained => {
                    drain.drained = true;
                    say_cut(drained);
                }
                why = failed(&mut self.control) => self.control_failed(why),
                _ = look.tick() => {}
            }
            let elapsed = self.clock.uptime().saturating_sub(began);
            self.advance(drain, elapsed);
            if drain.is_over(self.app.is_some(), elapsed) {
                return Ok(elapsed);
            }
        }
    }

    /// Does what is due in a drain after `elapsed`.
    fn advance(&mut self, drain: &mut Drain, elapsed: Duration) {
        let quiet = self.clock.micros().saturating_sub(self.data_path.last_arrival_us());
        let nobody_comes = Duration::from_micros(quiet) >= QUIET;
        let closes = elapsed >= drain.open_max || nobody_comes || drain.exit.is_some() || drain.hurried;
        if drain.closing.is_none() && closes {
            let data_path = Arc::clone(&self.data_path);
            let left = drain.cut_at.saturating_sub(elapsed);
            drain.closing = Some((elapsed, tokio::spawn(async move { data_path.finish(left).await })));
        }
        let Some((closed_at, _)) = drain.closing else { return };
        if elapsed >= drain.cut_at && !drain.drained {
            self.data_path.cut();
        }
        let tells = drain.drained || drain.hurried || elapsed >= closed_at + drain.tell_after;
        if !drain.told && tells {
            drain.told = true;
            self.set_arm(|arm| Arm { phase: Phase::Draining, ..arm });
            self.ask_to_end(drain.asked);
        }
        if let (Some(app), None, false) = (&self.app, drain.exit, drain.killed)
            && elapsed >= drain.kill_at
        {
            drain.killed = true;
            warn!(pid = app.pid(), "the app did not end in time and is killed");
            if let Err(error) = app.kill() {
                warn!(error = &error as &dyn std::error::Error, "the app could not be killed");
            }
        }
        if let Some(rest) = &mut drain.rest {
            drain.left = rest.ask_to_end();
            if drain.left > 0 && elapsed >= drain.kill_at {
                kill(rest);
            }
        }
    }

    fn ask_to_end(&mut self, asked: Signal) {
        let Some(app) = &mut self.app else { return };
        match app.ask_to_end(asked) {
            Ok(()) => info!(signal = asked.as_str(), "the app is asked to end"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "a signal could not be relayed"),
        }
    }

    /// Lets the control plane end, and waits for it up to `limit`.
    async fn end_control(&mut self, grace: Duration, limit: Duration) {
        let Some(control) = self.control.take() else { return };
        let news = &self.news;
        let ended = async {
            // It hears of it last, when it has taken in all other news.
            let _ = news.send(News::End { grace }).await;
            control.await
        };
        match tokio::time::timeout(limit, ended).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => self.control_failed(why),
            Err(_late) => warn!(?limit, "the control plane did not end in time and is left behind"),
        }
    }

    async fn close(self) {
        self.shutdown.cancel();
        if let Some(reaper) = &self.reaper {
            reaper.abort();
        }
        if tokio::time::timeout(CLOSE_MAX, self.store.clone().close()).await.is_err() {
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
