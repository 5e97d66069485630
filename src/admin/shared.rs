//! Where the agent and the admin port meet: the published snapshot one way, commands the other.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::admin::alert_metrics::CountAlerts;
use crate::admin::health::{self, Dependencies, Later};
use crate::admin::live::Live;
use crate::admin::routes::RoutesJson;
use crate::admin::series::{Point, Series};
use crate::admin::totals::{Totals, TotalsView};
use crate::admin::view;
use crate::clock::Clock;
use crate::config::Secret;
use crate::engine::health::{Point as HealthPoint, ProbeState};
use crate::engine::record::Readiness;
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::engine::window::Window;

/// How long the agent may take to answer a command; then the caller is told so, and the command may still be carried
/// out.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a rollback, or a look at whether one is possible, may take to be answered: an intent waits for the disk and the
/// platform is asked over the network. At the bound as above.
pub(super) const LONG_REPLY_TIMEOUT: Duration = Duration::from_secs(25);
/// How many live streams are open at once. One more is refused, so that streams never take the places of scrapes.
pub(super) const STREAMS_MAX: usize = 32;

/// Where a command's answer goes: what was asked for, or why not, in words for the caller.
pub type Reply<T> = oneshot::Sender<Result<T, String>>;

/// What a person asks of the agent.
#[derive(Debug)]
pub enum Command {
    /// Stop acting.
    Pause {
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
        /// Until when; `None`: until resumed.
        until: Option<Time>,
        /// Answered when it is in force.
        reply: Reply<()>,
    },
    /// Act again.
    Resume {
        /// Who asks.
        by: String,
        /// Answered when it is in force.
        reply: Reply<()>,
    },
    /// Lock deployments.
    Lock {
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
        /// Until when; `None`: until unlocked.
        until: Option<Time>,
        /// Answered when it is in force and durable.
        reply: Reply<()>,
    },
    /// Unlock deployments.
    Unlock {
        /// Who asks.
        by: String,
        /// Whether there was a lock. Answered when that is durable.
        reply: Reply<bool>,
    },
    /// Put a release back because a person says so.
    RollBack {
        /// Who asks.
        by: String,
        /// Why.
        reason: String,
        /// A release, or a deployment of the platform's; `None`: the last release that was known good.
        to: Option<String>,
        /// The decision's record as JSON, when the order was given or the decision was to hold.
        reply: Reply<serde_json::Value>,
    },
    /// Say what [`Command::RollBack`] would do, and do nothing.
    Rehearse {
        /// As there.
        to: Option<String>,
        /// What would happen.
        reply: Reply<Rehearsal>,
    },
    /// Read records, newest first.
    Records {
        /// How many at most.
        limit: usize,
        /// Only records older than this one.
        before: Option<RecordId>,
        /// The records as JSON.
        reply: Reply<Vec<serde_json::Value>>,
    },
    /// Read one record.
    Record {
        /// Which.
        id: RecordId,
        /// The record as JSON; `None`: there is none of that id.
        reply: Reply<Option<serde_json::Value>>,
    },
}

/// What a rollback by hand would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Rehearsal {
    /// The release that would be rolled back.
    pub from: Release,
    /// The release that would be put back; `None`: there is none.
    pub to: Option<Release>,
    /// What the platform says; `None`: it has no means to tell.
    pub readiness: Option<Readiness>,
}

/// Shared by the agent, which publishes, and everything that renders.
pub struct Shared {
    pub(super) clock: Clock,
    pub(super) token: Option<Secret>,
    /// Options of the health pages,
    pub(super) health: health::Options,
    /// and whom they ask.
    pub(super) dependencies: Arc<dyn Dependencies>,
    pub(super) streams: Arc<Semaphore>,
    commands: mpsc::Sender<Command>,
    published: ArcSwapOption<Published>,
    books: Mutex<Books>,
    changed: watch::Sender<u64>,
    /// Who counts alerts; unset: nobody is told of any.
    pub(super) alerts: OnceLock<CountAlerts>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// No dependency.
struct Nobody;

impl Dependencies for Nobody {
    fn known(&self) -> Vec<Arc<ProbeState>> {
        Vec::new()
    }

    fn fresh(&self, _max_age: Duration, _within: Duration) -> Later<Vec<Arc<ProbeState>>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn history(&self, _name: &str) -> Option<Vec<HealthPoint>> {
        None
    }
}

/// What the agent published last.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) live: Live,
    /// When it was published.
    pub(super) at: Time,
    /// Requests open then.
    pub(super) in_flight: u64,
    pub(super) totals: TotalsView,
    /// Rendered at most once, by whoever asks first.
    json: OnceLock<Bytes>,
}

impl Published {
    /// The snapshot as the API serves it.
    pub(super) fn json(&self) -> Bytes {
        let render = || serde_json::to_vec(&view::snapshot(self)).expect("views have string keys only");
        self.json.get_or_init(|| render().into()).clone()
    }
}

#[derive(Debug)]
struct Books {
    totals: Totals,
    series: Series,
    in_flight: u64,
}

/// Why the agent gave no answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NoAnswer {
    /// Its queue is full, it did not answer in time, or it is shutting down.
    Busy(&'static str),
    /// It refused.
    Refused(String),
}

impl Shared {
    /// With dependencies to be shown, and asked by the health pages.
    pub fn with_dependencies(mut self, dependencies: Arc<dyn Dependencies>, health: health::Options) -> Self {
        self.dependencies = dependencies;
        self.health = health;
        self
    }

    /// Nothing is published yet, and there are no dependencies. `token`: what acts, and what is read from off this machine, needs it. `commands` leads
    /// to the agent's loop; when it is full, callers are told to try again.
    pub fn new(clock: Clock, token: Option<Secret>, commands: mpsc::Sender<Command>) -> Self {
        Self {
            clock,
            token,
            health: health::Options::default(),
            dependencies: Arc::new(Nobody),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            commands,
            published: ArcSwapOption::empty(),
            books: Mutex::new(Books { totals: Totals::new(), series: Series::default(), in_flight: 0 }),
            changed: watch::Sender::new(0),
            alerts: OnceLock::new(),
        }
    }

    /// From now on metrics tell what came of alerts; a second word changes nothing.
    pub fn count_alerts(&self, count: CountAlerts) {
        let _ = self.alerts.set(count);
    }

    /// A second was sealed: adds it to the totals and the series, and shows `live` from now on.
    pub fn publish(&self, live: Live, window: &Window) {
        {
            let mut books = self.books();
            books.totals.add(window);
            books.series.push(Point::new(&live.engine, window));
            books.in_flight = window.in_flight;
        }
        self.update(live);
    }

    /// Something changed between two seals (the app became ready, say): shows `live` from now on.
    pub fn update(&self, live: Live) {
        let mut books = self.books();
        books.totals.see_decision(&live);
        let (in_flight, totals) = (books.in_flight, books.totals.view());
        drop(books);
        let json = OnceLock::new();
        let published = Published { live, at: self.clock.now(), in_flight, totals, json };
        self.published.store(Some(Arc::new(published)));
        self.changed.send_modify(|seen| *seen += 1);
    }

    /// Changes what is shown without taking a new look: its age stays what it is, so a control plane that no longer looks
    /// is seen to. Nothing before the first time.
    pub fn amend(&self, change: impl FnOnce(&mut Live)) {
        let books = self.books();
        let Some(last) = self.published() else { return };
        let mut live = last.live.clone();
        change(&mut live);
        let published = Published {
            live,
            at: last.at,
            in_flight: last.in_flight,
            totals: books.totals.view(),
            json: OnceLock::new(),
        };
        self.published.store(Some(Arc::new(published)));
        drop(books);
        self.changed.send_modify(|seen| *seen += 1);
    }

    /// What was published last; `None` before the first time.
    pub(super) fn published(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    /// The points after the one at `t`; all of them without one.
    pub(super) fn points_after(&self, t: Option<u64>) -> Vec<Point> {
        self.books().series.after(t)
    }

    /// Shows the totals to `read`.
    pub(super) fn with_totals<T>(&self, read: impl FnOnce(&Totals) -> T) -> T {
        read(&self.books().totals)
    }

    /// The last minutes by route: the `limit` ones that were asked for most.
    pub(super) fn routes(&self, limit: usize) -> RoutesJson {
        self.books().totals.routes().recent(self.clock.now(), limit)
    }

    /// Wakes whenever something was published.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Sends the command that `make` builds around its reply, and waits for the answer.
    pub(super) async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Command) -> Result<T, NoAnswer> {
        self.ask_within(REPLY_TIMEOUT, make).await
    }

    /// The same for what may take longer.
    pub(super) async fn ask_within<T>(
        &self,
        limit: Duration,
        make: impl FnOnce(Reply<T>) -> Command,
    ) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(make(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                NoAnswer::Busy("the agent's queue is full; try again in a second")
            }
            mpsc::error::TrySendError::Closed(_) => NoAnswer::Busy("the agent is shutting down"),
        })?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(why))) => Err(NoAnswer::Refused(why)),
            Ok(Err(_)) => Err(NoAnswer::Busy("the agent ended before it answered")),
            Err(_) => Err(NoAnswer::Busy(
                "the agent did not answer in time; look at the snapshot and the records before trying again",
            )),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A control plane that panicked in here must not take the health page with it: the totals may be off, no more.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
