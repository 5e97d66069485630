//! The demo's script: a good release, learning, another release that may be bad, and what must follow.
//!
//! It owns what "the agent did what was right" means. It deliberately does not know how it is shown.

mod witness;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc};
use tokio::time::{Interval, MissedTickBehavior};

use crate::clock::Clock;
use crate::stage::app::{AppPlan, Behaviour};
use crate::stage::event::StageEvent;
use crate::stage::fleet::Watch;
use crate::stage::http::Client;
use crate::stage::load::{Load, Served};
use crate::stage::plan::{OUTAGE, Plan, WARM_UP};
use crate::stage::script::witness::news;
use crate::stage::timeline::{Event, Second, Summary, What};
use crate::stage::view::{self, Election};
use crate::stage::{Stage, StageError};

/// A watch ends on a tick and is seen a second later, and a tick in which the machine stalled does not count towards it;
/// then it is late.
const WATCH_SLACK: Duration = Duration::from_secs(45);
/// From the order to a service that has recovered; then the agent was wrong.
const RESTORE_MAX: Duration = Duration::from_secs(50);
/// How long a service runs that is not judged, before the next release.
const UNJUDGED: Duration = Duration::from_secs(15);
/// Good seconds in a row that make a recovery.
const RECOVERED_SECONDS: usize = 10;
/// The share of failures below which they are good.
const RECOVERED_SHARE: f64 = 0.01;
/// How many of them may be slower than the next two allow: a machine has a noisy second now and then.
const NOISY_SECONDS: usize = 2;
/// How many times the usual median a good second's median may be,
const RECOVERED_LATENCY_RATIO: f64 = 2.0;
/// and what it may be above that.
const RECOVERED_LATENCY_SLACK_MS: f64 = 5.0;
/// The first release, and the one that is put back.
const FIRST: &str = "v1";
/// The release on trial.
const SECOND: &str = "v2";

/// What has been seen of the trial; times count from the demo's start.
#[derive(Clone, Debug, Default)]
struct Seen {
    second_deployment: Option<String>,
    onset: Option<Duration>,
    verdict: Option<Duration>,
    ordered: Option<Duration>,
    restored: Option<Duration>,
    /// Whose fault the agent said it is, last.
    diagnosis: Option<(String, String)>,
    succeeded: bool,
    /// The vote behind the rollback.
    election: Option<Election>,
    /// Who asked for votes, and in which epoch.
    asked: BTreeSet<(String, u64)>,
    /// Who agreed with whom, in the last epoch in which that one asked.
    agreed: BTreeSet<(String, String)>,
    /// Whose baseline an agent on trial holds.
    baselines_from: BTreeMap<String, String>,
    /// Agents of the trial that are not started again.
    crashed: usize,
    gave_up: bool,
    known_good: HashMap<String, bool>,
    /// What was told of each record last, so that each is told once for each progress.
    told: HashMap<String, Option<String>>,
    recent: VecDeque<Served>,
    usual_p50_ms: f64,
}

/// The play.
#[derive(Debug)]
pub struct Script<'a> {
    stage: &'a Stage,
    plan: Plan,
    clock: Clock,
    started: Instant,
    events: mpsc::Sender<Event>,
    stage_events: broadcast::Receiver<StageEvent>,
    client: Client,
    load: Option<Load>,
    ticks: Interval,
    /// Where there are several agents.
    watch: Option<Watch>,
    seen: Seen,
}

impl<'a> Script<'a> {
    /// Ready to be played; events go to `events`, and wait where it is full.
    pub fn new(stage: &'a Stage, plan: Plan, clock: Clock, events: mpsc::Sender<Event>) -> Self {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            stage,
            plan,
            clock,
            started: clock.instant(),
            events,
            stage_events: stage.events(),
            client: Client::default(),
            load: None,
            ticks,
            watch: (plan.replicas > 1).then(|| stage.watch()),
            seen: Seen::default(),
        }
    }

    /// Plays it to its end, within its time limit.
    pub async fn play(mut self) -> Summary {
        let began = What::Began {
            scenario: self.plan.scenario,
            rate: self.plan.rate,
            seed: self.plan.seed,
            edge: self.stage.edge_address(),
        };
        self.tell(began).await;
        for text in self.plan.overrides() {
            self.tell(What::Override { text }).await;
        }
        let outcome = tokio::time::timeout(self.plan.limit(), self.act())
            .await
            .unwrap_or_else(|_| Err(format!("the demo did not end within {}s", self.plan.limit().as_secs())));
        let served = match self.load.take() {
            Some(load) => load.stop().await,
            None => Served::default(),
        };
        let since_onset = |at: Option<Duration>| Some(at?.saturating_sub(self.seen.onset?));
        let recovered = outcome.as_ref().ok().copied().flatten();
        let summary = Summary {
            scenario: self.plan.scenario,
            judging: self.plan.judging,
            served,
            rollbacks: self.stage.rollbacks(),
            replicas: self.plan.replicas,
            election: self.seen.election.clone(),
            elections: self.seen.asked.len(),
            baselines_from: self.seen.baselines_from.clone().into_iter().collect(),
            onset: self.seen.onset,
            // The agent is looked at once a second, so the order that follows the verdict may be seen before it.
            time_to_verdict: since_onset(self.seen.verdict.into_iter().chain(self.seen.ordered).min()),
            time_to_recovery: since_onset(recovered),
            diagnosis: self.seen.diagnosis.clone(),
            took: self.now(),
            fault: outcome.err(),
        };
        self.tell(What::Summary(Box::new(summary.clone()))).await;
        summary
    }

    /// The acts in their order; when the service recovered, or what the agent did wrong.
    async fn act(&mut self) -> Result<Option<Duration>, String> {
        self.deploy(FIRST, AppPlan::good(self.plan.seed)).await.map_err(|error| chain(&error))?;
        let edge = self.stage.edge_address();
        self.load = Some(Load::start(edge, self.plan.rate, self.plan.seed, self.clock));
        self.learn().await?;
        self.note(format!("now {SECOND}, which behaves: {}", self.plan.scenario)).await;
        self.deploy(SECOND, self.plan.second_app()).await.map_err(|error| chain(&error))?;
        match self.plan.scenario {
            Behaviour::Good => {
                self.pass_trial().await?;
                Ok(None)
            }
            Behaviour::DbDown => self.endure_an_outage().await.map(Some),
            Behaviour::Errors
            | Behaviour::Slow
            | Behaviour::Hang
            | Behaviour::Crash
            | Behaviour::Tail
            | Behaviour::Leak
            | Behaviour::OneRoute
            | Behaviour::QueryStorm => {
                self.be_rolled_back().await?;
                self.recover().await.map(Some)
            }
        }
    }

    /// Until the first release is known good.
    async fn learn(&mut self) -> Result<(), String> {
        if !self.plan.judging {
            self.note("the judge is off: nothing is learnt".to_owned()).await;
            let until = self.now() + UNJUDGED;
            while self.now() < until {
                self.second().await;
            }
            return Ok(());
        }
        self.note(format!("{FIRST} is watched for {}s; then it is known good", self.plan.watch().as_secs()))
            .await;
        self.await_known_good(FIRST).await
    }

    async fn pass_trial(&mut self) -> Result<(), String> {
        if self.plan.judging {
            self.await_known_good(SECOND).await?;
        } else {
            let until = self.now() + UNJUDGED;
            while self.now() < until {
                self.second().await;
            }
        }
        match self.seen.ordered {
            Some(_) => Err(format!("{SECOND} was rolled back although it is good")),
            None => Ok(()),
        }
    }

    async fn await_known_good(&mut self, release: &str) -> Result<(), String> {
        // The watch counts from the end of the warm-up.
        let late = self.now() + WARM_UP + self.plan.watch() + self.plan.settles() + WATCH_SLACK;
        while !self.seen.known_good.get(release).copied().unwrap_or(false) {
            self.second().await;
            if self.seen.ordered.is_some() {
                return Err(format!("{release} was rolled back although it is good"));
            }
            if self.now() > late {
                return Err(format!(
                    "{release} was not known good {}s after its watch",
                    WATCH_SLACK.as_secs()
                ));
            }
        }
        Ok(())
    }

    /// Until the order to roll back came.
    async fn be_rolled_back(&mut self) -> Result<(), String> {
        let patience = self.plan.patience();
        // Should the app's own word not get through, the fault is taken to begin when it was told to.
        let expected = self.now() + self.plan.second_app().after;
        loop {
            self.second().await;
            if let Some(ordered) = self.seen.ordered {
                return match self.seen.onset {
                    Some(onset) if onset <= ordered => Ok(()),
                    Some(_) | None => Err(format!("{SECOND} was rolled back before its fault began")),
                };
            }
            if self.seen.gave_up {
                return Err(format!("{SECOND} crashed until it was given up and was not rolled back"));
            }
            if self.now() > self.seen.onset.unwrap_or(expected) + patience {
                return Err(format!(
                    "{SECOND} was not rolled back within {}s of its fault",
                    patience.as_secs()
                ));
            }
        }
    }

    /// The database goes down and comes back: nothing must be rolled back, and the agent must say why. Since when clients are
    /// well again.
    async fn endure_an_outage(&mut self) -> Result<Duration, String> {
        let database = self.stage.database().ok_or_else(|| "there is no database to take down".to_owned())?;
        let until = self.now() + self.plan.second_app().after;
        while self.now() < until {
            self.second().await;
        }
        database.take_down();
        self.seen.onset = Some(self.now());
        self.note(format!("the database goes down for {}s", OUTAGE.as_secs())).await;
        let until = self.now() + OUTAGE;
        while self.now() < until {
            self.second().await;
            self.nothing_was_ordered()?;
        }
        database.bring_up().map_err(|error| format!("the database did not come up again: {error}"))?;
        let up = self.now();
        self.note("the database is up again".to_owned()).await;
        if self.seen.diagnosis.as_ref().is_none_or(|(label, _)| label != "dependency") {
            return Err(format!(
                "{SECOND} was ill because of the database, and the agent did not say so within {}s",
                OUTAGE.as_secs()
            ));
        }
        self.seen.recent.clear();
        while !self.is_well() {
            self.second().await;
            self.nothing_was_ordered()?;
            if self.now() > up + RESTORE_MAX {
                return Err(format!(
                    "the service had not recovered {}s after the database",
                    RESTORE_MAX.as_secs()
                ));
            }
        }
        self.note(format!("clients have been well for {RECOVERED_SECONDS}s")).await;
        Ok(up.max(self.now().saturating_sub(Duration::from_secs(RECOVERED_SECONDS as u64))))
    }

    fn nothing_was_ordered(&self) -> Result<(), String> {
        match self.seen.ordered {
            Some(_) => Err(format!("{SECOND} was rolled back although the database was to blame")),
            None => Ok(()),
        }
    }

    /// Until the first release is live again, the record says so, and clients are well; since when they are.
    async fn recover(&mut self) -> Result<Duration, String> {
        let late = self.now() + RESTORE_MAX;
        let mut recovered = None;
        loop {
            self.second().await;
            if recovered.is_none() && self.seen.restored.is_some() && self.is_well() {
                let first = self.now().saturating_sub(Duration::from_secs(RECOVERED_SECONDS as u64));
                let since = self.seen.restored.map_or(first, |restored| first.max(restored));
                self.note(format!("clients have been well for {RECOVERED_SECONDS}s")).await;
                recovered = Some(since);
            }
            match recovered {
                Some(since) if self.seen.succeeded => return self.check_rollbacks().map(|()| since),
                Some(_) | None => {}
            }
            if self.now() > late {
                let missing = match (self.seen.restored, recovered) {
                    (None, _) => format!("{FIRST} was not live again"),
                    (Some(_), None) => "the service had not recovered".to_owned(),
                    (Some(_), Some(_)) => "the decision's record did not say succeeded".to_owned(),
                };
                return Err(format!("{missing} {}s after the order", RESTORE_MAX.as_secs()));
            }
        }
    }

    fn check_rollbacks(&self) -> Result<(), String> {
        if let Some(election) = &self.seen.election
            && 2 * election.voters.len() as u64 <= election.of
        {
            return Err(format!("only {} of {} agents agreed", election.voters.len(), election.of));
        }
        match self.stage.rollbacks() {
            1 => Ok(()),
            count => Err(format!("{count} rollbacks were carried out where one was right")),
        }
    }

    fn is_well(&self) -> bool {
        let recent = &self.seen.recent;
        let (requests, failed) =
            recent.iter().fold((0, 0), |sum, second| (sum.0 + second.requests, sum.1 + second.failed));
        let p50_max = self.seen.usual_p50_ms * RECOVERED_LATENCY_RATIO + RECOVERED_LATENCY_SLACK_MS;
        let calm = recent.iter().filter(|second| second.p50_ms <= p50_max).count();
        recent.len() == RECOVERED_SECONDS
            && requests > 0
            && (failed as f64) < RECOVERED_SHARE * requests as f64
            && calm + NOISY_SECONDS >= RECOVERED_SECONDS
    }

    async fn deploy(&mut self, release: &str, app: AppPlan) -> Result<(), StageError> {
        let stage = self.stage;
        let mut deploy = pin!(stage.deploy(release, app));
        loop {
            tokio::select! {
                deployed = &mut deploy => return deployed.map(drop),
                () = self.second() => {}
            }
        }
    }

    /// Tells what happens on the stage until the next second is over, and then that second.
    async fn second(&mut self) {
        loop {
            tokio::select! {
                biased;
                event = self.stage_events.recv() => match event {
                    Ok(event) => self.stage_event(event).await,
                    // Lines are missing from the timeline then; what counts is asked of the stage itself.
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                },
                news = news(&mut self.watch) => self.fleet_changed(news).await,
                _ = self.ticks.tick() => break,
            }
        }
        let agent = match self.stage.admin_address() {
            Some(admin) => view::look(&self.client, admin).await,
            None => None,
        };
        if let Some(agent) = &agent {
            self.agent_seen(agent).await;
        }
        let Some(load) = &self.load else { return };
        let served = load.take_second();
        self.served(served);
        let release = self.stage.live().map(|live| live.release);
        self.tell(What::Second(Second { release, served, agent })).await;
    }

    fn served(&mut self, served: Served) {
        if self.seen.second_deployment.is_none() {
            // A moving middle: the first seconds, with everything cold, lose their weight.
            let usual = &mut self.seen.usual_p50_ms;
            *usual = if *usual == 0.0 { served.p50_ms } else { 0.8 * *usual + 0.2 * served.p50_ms };
        }
        if self.seen.recent.len() == RECOVERED_SECONDS {
            self.seen.recent.pop_front();
        }
        self.seen.recent.push_back(served);
    }

    async fn note(&self, text: String) {
        self.tell(What::Note { text }).await;
    }

    async fn tell(&self, what: What) {
        // Nobody reads any more when the terminal has gone; the play still ends as it should.
        let _unread = self.events.send(Event { t: self.now(), what }).await;
    }

    fn now(&self) -> Duration {
        self.clock.instant().saturating_duration_since(self.started)
    }
}

/// The error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
