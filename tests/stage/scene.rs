//! A stage with short times and load on it: what the tests of kills and restarts share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use outrigger::clock::Clock;
use outrigger::stage::app::{AppPlan, Behaviour};
use outrigger::stage::event::StageEvent;
use outrigger::stage::load::Load;
use outrigger::stage::{Stage, StageOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::process::{OUTRIGGER, WAIT, ask_if_there, eventually};

/// Requests a second.
const RATE: f64 = 100.0;

/// Releases are learnt in two ticks, a mass failure is told in two, and an act is given up soon.
const SETTINGS: &str = "[judge]\nwatch = \"10s\"\nwarm_up = \"0s\"\nwarm_up_requests = 0\n\
    known_good_requests = 200\nbaseline_requests_min = 100\ncatastrophe_ticks = 2\n\
    catastrophe_error_share = 0.05\n\n[rollback]\nmode = \"enforce\"\nverify = \"15s\"\n";

/// The stage, its load, and what happened on it.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) load: Load,
    /// What happened, read one by one.
    events: broadcast::Receiver<StageEvent>,
    /// All that was read.
    pub(crate) seen: Vec<StageEvent>,
    /// A deployment has several agents.
    several: bool,
    dir: TempDir,
}

impl Scene {
    /// A stage on which `v1` is live under load and known good.
    pub(crate) async fn open(cooldown: &str, seed: u64) -> Self {
        Self::open_with(cooldown, seed, |options| options).await
    }

    /// The same with other options.
    pub(crate) async fn open_with(
        cooldown: &str,
        seed: u64,
        change: impl FnOnce(StageOptions) -> StageOptions,
    ) -> Self {
        let clock = Clock::start();
        let dir = tempfile::tempdir().unwrap();
        let mut options = StageOptions::new(vec![OUTRIGGER.into()], dir.path().to_owned());
        // A play may have more rollbacks than an hour of a real service.
        options.settings = format!("{SETTINGS}cooldown = \"{cooldown}\"\nan_hour = 100\na_day = 100\n");
        options.overlap = Duration::from_millis(500);
        options.drain = Duration::from_secs(4);
        options.restart_backoff = Duration::from_millis(100);
        let options = change(options);
        let several = options.replicas > 1;
        let stage = Stage::start(options, clock).await.unwrap();
        let events = stage.events();
        stage.deploy("v1", AppPlan::good(seed)).await.unwrap();
        let load = Load::start(stage.edge_address(), RATE, seed, clock);
        let mut scene = Self { stage, load, events, seen: Vec::new(), several, dir };
        scene.known_good("v1").await;
        scene
    }

    /// Until the live agent says that its release, which is this one, is known good.
    pub(crate) async fn known_good(&mut self, release: &str) {
        self.status(&format!("{release} is known good"), |status| {
            status["release"] == release && status["standing"] == "known_good"
        })
        .await;
    }

    /// Until the live agent's status is as wanted; the status.
    pub(crate) async fn status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, async || {
            ask_if_there(&self.volume(), &["status"]).await.filter(|status| wanted(status))
        })
        .await
    }

    /// The live agent's data directory.
    pub(crate) fn volume(&self) -> PathBuf {
        self.volume_of(&self.live())
    }

    /// A deployment's data directory; of several, the first agent's.
    pub(crate) fn volume_of(&self, deployment: &str) -> PathBuf {
        if self.several {
            return self.volume_of_agent(deployment, 1);
        }
        self.dir.path().join(deployment).join("volume")
    }

    /// One agent's data directory, counted from 1.
    pub(crate) fn volume_of_agent(&self, deployment: &str, number: usize) -> PathBuf {
        self.dir.path().join(deployment).join(format!("r{number}/volume"))
    }

    /// The live deployment.
    pub(crate) fn live(&self) -> String {
        self.stage.live().expect("something is live").deployment
    }

    /// Deploys a release that fails one request in ten from its start.
    pub(crate) async fn deploy_bad(&self, release: &str, seed: u64) -> String {
        let plan = AppPlan { behave: Behaviour::Errors, after: Duration::ZERO, seed };
        self.stage.deploy(release, plan).await.unwrap()
    }

    /// The next event that is wanted; all before it count as seen.
    pub(crate) async fn until<T>(&mut self, what: &str, wanted: impl Fn(&StageEvent) -> Option<T>) -> T {
        let (events, seen) = (&mut self.events, &mut self.seen);
        let next = timeout(WAIT, async {
            loop {
                let event = events.recv().await.expect("the stage runs, and its events are read in time");
                seen.push(event.clone());
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
        });
        next.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
    }

    /// Reads what has happened meanwhile.
    pub(crate) fn catch_up(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
    }

    /// SIGKILL to the live agent; returns when it is dead.
    pub(crate) async fn kill(&mut self) -> String {
        self.catch_up();
        let killed = self.stage.kill_agent().await.unwrap();
        let ended = |event: &StageEvent| {
            matches!(event, StageEvent::Exited { id, .. } if *id == killed).then_some(())
        };
        self.until("the killed agent's end", ended).await;
        killed
    }

    /// Ends everything; nothing of it is left.
    pub(crate) async fn close(self) {
        self.load.stop().await;
        self.stage.stop().await;
        let left = crate::process::processes_with(&self.dir.path().to_string_lossy());
        assert!(left.is_empty(), "left by the stage: {left:#?}");
    }
}

/// What a store holds, read from a copy of it: it may belong to a running agent, or to a killed one.
pub(crate) struct Held {
    pub(crate) records: Vec<Value>,
    pub(crate) baselines: usize,
    pub(crate) damaged: u64,
}

/// Opens a copy of the store in `volume`, which checks it, and reads it.
pub(crate) async fn held(volume: &Path) -> Held {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let (from, to) = (volume.to_owned(), copy.clone());
    tokio::task::spawn_blocking(move || outrigger::store::clone_store(&from, &to)).await.unwrap().unwrap();
    let config = outrigger::config::Store {
        dir: copy,
        dir_is_explicit: true,
        evidence_max: 20_000,
        records_max: 10_000,
    };
    let store = outrigger::store::open(&config).unwrap();
    let memory = store.memory().await.unwrap();
    let records = store.records(500, None).await.unwrap();
    let damaged = store.status().damaged;
    store.close().await;
    Held { records, baselines: memory.baselines.len(), damaged }
}
