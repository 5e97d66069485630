//! Where what is to be told waits (the store) meets those who tell it (`notify`): one task a channel.
//!
//! Each attempt is written down before it is made. So a process that dies in between sends again at most the one alert of
//! which nobody knows whether it arrived. What was told is written down and said to the peers, so that they do not tell it.
//!
//! A disk that is full silences nobody: where an attempt cannot be written down it is made all the same, and this process
//! remembers what came of it until it can be written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, AlertCount};
use crate::agent::fleet::{Fleet, carried};
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::alert::{self, Alert, Context};
use crate::engine::peer::Audience;
use crate::engine::time::Time;
use crate::notify::pace::{self, Book, Members, Next, Waiting};
use crate::notify::{self, Channel, Sent};
use crate::peers::Peers;
use crate::store::{AlertStep, AlertWrite, Outlets, Pending, Store, Write};

/// How long is waited where the store cannot be read or written.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// How long nothing is looked at where nothing waits: peers come and go without a word to this task.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Alerts whose end could not be written down; beyond it one may be told twice.
const UNWRITTEN_MAX: usize = 1000;

/// What came of alerts, for metrics.
#[derive(Debug, Default)]
struct Counts {
    told: AtomicU64,
    failed: AtomicU64,
    given_up: AtomicU64,
    waiting: AtomicU64,
}

/// Tells people through one channel.
struct Teller {
    channel: Channel,
    counts: Arc<Counts>,
    store: Store,
    clock: Clock,
    /// This replica's name, and the others.
    me: String,
    peers: Option<Peers>,
    book: Book,
    /// By key: what the store does not say of those that wait.
    courses: BTreeMap<String, Course>,
    /// By key: told or given up, but not written down yet.
    unwritten: BTreeMap<String, AlertStep>,
    /// When it is tried again to write that down.
    write_again: Time,
}

/// How an alert has fared in this process.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    attempts: u32,
    /// On end: any other answer begins anew.
    refusals: u32,
    next: Time,
}

/// From now on alerts are queued and told, if anybody is to be told.
pub(super) fn start(
    config: &Config,
    fleet: Option<&Fleet>,
    (store, shared): (&Store, &admin::Shared),
    clock: Clock,
    runtime: &Handle,
    shutdown: &CancellationToken,
) {
    let me = fleet.map(|fleet| fleet.me.clone()).unwrap_or_default();
    let channels = match notify::channels(&config.alerts) {
        Ok(channels) if channels.is_empty() => return,
        Ok(channels) => channels,
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "nobody can be told of anything");
            return;
        }
    };
    store.tell_through(Outlets {
        channels: channels.iter().map(|channel| channel.kind().label()).collect(),
        threshold: config.alerts.threshold,
        context: context(config),
        clock,
    });
    let mut counted = Vec::new();
    for channel in channels {
        let counts = Arc::new(Counts::default());
        counted.push((channel.kind().label(), Arc::clone(&counts)));
        let teller = Teller {
            book: Book::new(channel.takes()),
            channel,
            counts,
            store: store.clone(),
            clock,
            me: me.clone(),
            peers: fleet.map(|fleet| fleet.peers.clone()),
            courses: BTreeMap::new(),
            unwritten: BTreeMap::new(),
            write_again: Time::default(),
        };
        runtime.spawn(shutdown.clone().run_until_cancelled_owned(teller.run()));
    }
    let store = store.clone();
    shared.count_alerts(Box::new(move || counts(&counted, &store)));
}

/// What records do not say.
fn context(config: &Config) -> Context {
    Context {
        service: config.service.name.clone(),
        environment: config.service.environment.clone(),
        link: config.alerts.link.clone(),
        ..Context::default()
    }
}

fn counts(counted: &[(&'static str, Arc<Counts>)], store: &Store) -> Vec<AlertCount> {
    let dropped = store.alerts_dropped();
    let count = |(channel, counts): &(&'static str, Arc<Counts>)| AlertCount {
        channel,
        told: counts.told.load(Ordering::Relaxed),
        failed: counts.failed.load(Ordering::Relaxed),
        given_up: counts.given_up.load(Ordering::Relaxed),
        waiting: counts.waiting.load(Ordering::Relaxed),
        dropped,
    };
    counted.iter().map(count).collect()
}

impl Teller {
    async fn run(mut self) {
        let mut queued = self.store.alerts_queued();
        loop {
            queued.mark_unchanged();
            let Some(wait) = self.work().await else { continue };
            tokio::select! {
                // The store has ended: so has this.
                changed = queued.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(wait.min(LOOK_EVERY)) => {}
            }
        }
    }

    /// One thing that is to be done; how long to wait where there is none.
    async fn work(&mut self) -> Option<Duration> {
        // Before it is read what waits, or what has just been written would seem to wait.
        self.write_ends().await;
        let pending = match self.store.alerts_pending(self.channel.kind().label()).await {
            Ok(pending) => pending,
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "what is to be told could not be read");
                return Some(STORE_RETRY);
            }
        };
        let waiting = self.waiting(pending);
        let now = self.clock.now();
        match self.book.next(now, &waiting, &self.members()) {
            Next::Wait(until) => {
                let write_again = (!self.unwritten.is_empty()).then_some(self.write_again);
                let until = until.into_iter().chain(write_again).min();
                Some(until.map_or(LOOK_EVERY, |until| until.since(now).max(Duration::from_millis(1))))
            }
            Next::GiveUp(at) => {
                self.give_up(&waiting[at].alert, "nobody took it for a day").await;
                None
            }
            Next::Tell(at) => {
                self.tell(&waiting[at].alert, &[&waiting[at]]).await;
                None
            }
            Next::Together(at) => {
                let all: Vec<&Waiting> = at.into_iter().map(|at| &waiting[at]).collect();
                let alerts: Vec<Alert> = all.iter().map(|it| it.alert.clone()).collect();
                let summary = alert::summary(now, &alerts)?;
                self.tell(&summary, &all).await;
                None
            }
        }
    }

    /// What waits, as this process knows it; what has an end that is not written yet does not wait.
    fn waiting(&mut self, pending: Vec<Pending>) -> Vec<Waiting> {
        let all = pending.first().map_or(0, |it| it.waiting);
        let keys: BTreeSet<String> = pending.iter().map(|it| it.alert.key.clone()).collect();
        self.courses.retain(|key, _| keys.contains(key));
        let read = pending.len();
        let waits = |it: &Pending| !self.unwritten.contains_key(&it.alert.key);
        let waiting: Vec<Waiting> =
            pending.into_iter().filter(waits).map(|it| of(it, &self.courses)).collect();
        let ended = (read - waiting.len()) as u64;
        self.counts.waiting.store(all.saturating_sub(ended), Ordering::Relaxed);
        waiting
    }

    /// Those that could tell it, too.
    fn members(&self) -> Members {
        let names = |peers: &Peers| {
            peers.view().peers.into_iter().map(|it| it.hello.peer.replica.to_string()).collect()
        };
        Members { me: self.me.clone(), others: self.peers.as_ref().map(names) }
    }

    /// Sends one message, which stands for all of these.
    async fn tell(&mut self, alert: &Alert, of: &[&Waiting]) {
        let attempts = of.iter().map(|it| it.attempts).max().unwrap_or(0);
        let backoff = pace::backoff(attempts, fastrand::f64());
        let next = self.clock.now() + backoff;
        for it in of {
            // It is sent even where that cannot be written down: rather twice than never.
            self.write(&it.alert.key, AlertStep::Tried { next }).await;
        }
        let sent = self.channel.send(alert).await;
        let (now, channel) = (self.clock.now(), self.channel.kind().label());
        if sent != Sent::Told {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        }
        match sent {
            Sent::Told => self.was_told(now, alert, of).await,
            Sent::Busy { after } => {
                warn!(channel, key = alert.key, ?after, "the receiver of alerts is busy");
                self.book.rest(now + after);
                self.try_later(of, now + after.max(backoff), false).await;
            }
            Sent::Failed { why } => {
                warn!(channel, key = alert.key, why, "alert not told; it is tried again");
                for it in of {
                    self.remember(it, now + backoff, 0);
                }
            }
            Sent::Refused { why } => {
                warn!(channel, key = alert.key, why, "alert refused");
                self.was_refused(now, of, &why).await;
            }
        }
    }

    async fn was_told(&mut self, now: Time, alert: &Alert, of: &[&Waiting]) {
        let channel = self.channel.kind().label();
        self.counts.told.fetch_add(of.len() as u64, Ordering::Relaxed);
        info!(channel, key = alert.key, event = alert.event.label(), "alert told");
        if of.len() > 1 {
            self.book.told_together(now);
        } else {
            self.book.told(now, alert.severity);
        }
        for it in of {
            self.end(&it.alert.key, AlertStep::Told { at: now }).await;
        }
    }

    /// What was refused too often on end is given up, the rest is tried again after minutes, all at one time.
    async fn was_refused(&mut self, now: Time, of: &[&Waiting], why: &str) {
        let (mut later, mut never, mut wait) = (Vec::new(), Vec::new(), Duration::ZERO);
        for &it in of {
            match pace::after_refusals(it.refusals.saturating_add(1)) {
                Some(after) => {
                    later.push(it);
                    wait = wait.max(after);
                }
                None => never.push(it),
            }
        }
        self.try_later(&later, now + wait, true).await;
        for it in never {
            self.give_up(&it.alert, why).await;
        }
    }

    /// None of these is tried before `next`.
    async fn try_later(&mut self, of: &[&Waiting], next: Time, was_refused: bool) {
        for it in of {
            self.remember(it, next, if was_refused { it.refusals.saturating_add(1) } else { 0 });
            self.write(&it.alert.key, AlertStep::Later { next }).await;
        }
    }

    fn remember(&mut self, it: &Waiting, next: Time, refusals: u32) {
        let attempts = it.attempts.saturating_add(1);
        self.courses.insert(it.alert.key.clone(), Course { attempts, refusals, next });
    }

    async fn give_up(&mut self, alert: &Alert, why: &str) {
        let (channel, key, title) = (self.channel.kind().label(), &alert.key, &alert.title);
        error!(channel, key, title, why, "alert given up: nobody was told");
        self.counts.given_up.fetch_add(1, Ordering::Relaxed);
        self.end(key, AlertStep::GivenUp).await;
    }

    /// Writes down how it ended; what cannot be written is remembered.
    async fn end(&mut self, key: &str, step: AlertStep) {
        self.courses.remove(key);
        if self.wrote_end(key, step).await {
            return;
        }
        self.write_again = self.clock.now() + STORE_RETRY;
        if self.unwritten.len() < UNWRITTEN_MAX {
            self.unwritten.insert(key.to_owned(), step);
        }
    }

    /// What ended and is not written down yet, if it is time; the first that fails ends it.
    async fn write_ends(&mut self) {
        while let Some((key, &step)) = self.unwritten.first_key_value()
            && self.write_again <= self.clock.now()
        {
            let key = key.clone();
            if self.wrote_end(&key, step).await {
                self.unwritten.remove(&key);
            } else {
                self.write_again = self.clock.now() + STORE_RETRY;
            }
        }
    }

    /// Writes the end down and says it to the peers, if it was told.
    async fn wrote_end(&self, key: &str, step: AlertStep) -> bool {
        if !self.write(key, step).await {
            return false;
        }
        let write = self.of(key, step);
        if matches!(step, AlertStep::Told { .. })
            && let Some(peers) = &self.peers
            && let Ok(Some(item)) = self.store.export_one(&write).await
        {
            peers.hand_over(Audience::All, vec![carried(item)], true);
        }
        true
    }

    async fn write(&self, key: &str, step: AlertStep) -> bool {
        match self.store.write(self.of(key, step)).await {
            Ok(()) => true,
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "what became of an alert could not be written down"
                );
                false
            }
        }
    }

    fn of(&self, key: &str, step: AlertStep) -> Write {
        Write::Alert(AlertWrite {
            key: key.to_owned(),
            channel: self.channel.kind().label().to_owned(),
            step,
        })
    }
}

fn of(pending: Pending, courses: &BTreeMap<String, Course>) -> Waiting {
    let Pending { alert, own, queued, attempts, next, waiting: _ } = pending;
    let course = courses.get(&alert.key).copied().unwrap_or_default();
    Waiting {
        own,
        queued,
        attempts: attempts.max(course.attempts),
        refusals: course.refusals,
        next: next.max(course.next),
        alert,
    }
}
