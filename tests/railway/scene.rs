//! A stage whose agents believe themselves on Railway, with short times and load on it, and the stand-in that they call.

use std::path::PathBuf;
use std::time::Duration;

use outrigger::clock::Clock;
use outrigger::stage::app::{AppPlan, Behaviour};
use outrigger::stage::event::StageEvent;
use outrigger::stage::fleet::{FleetEvent, Watch};
use outrigger::stage::load::Load;
use outrigger::stage::railway::{Railway, Token, commit};
use outrigger::stage::{Stage, StageOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::process::{OUTRIGGER, WAIT, ask_if_there, eventually, processes_with};
use crate::stand_in::{ACCOUNT_TOKEN, CALL, PROJECT_TOKEN, StandIn, token};

/// Agents of each deployment.
pub(crate) const REPLICAS: usize = 3;
/// Requests a second, of all of them.
const RATE: f64 = 200.0;

/// Releases are learnt in two ticks, a mass failure is told in two, and what a rollback led to is known soon.
const SETTINGS: &str = "[judge]\nwatch = \"10s\"\nwarm_up = \"0s\"\nwarm_up_requests = 0\n\
    known_good_requests = 200\nbaseline_requests_min = 100\ncatastrophe_ticks = 2\n\
    catastrophe_error_share = 0.05\n\n[rollback]\nmode = \"enforce\"\nverify = \"45s\"\ncooldown = \"0s\"\n\
    confirm = \"10s\"\nconfirm_max = \"3m\"\nan_hour = 50\na_day = 100\n";

/// The stage, its load, the API, and what happened.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) api: StandIn,
    load: Load,
    events: broadcast::Receiver<StageEvent>,
    /// All that was read of the events.
    seen: Vec<StageEvent>,
    dir: TempDir,
    /// The first release's deployment.
    pub(crate) first: String,
}

impl Scene {
    /// A stage on which `v1` is live under load and known good. None where these tests are left out.
    pub(crate) async fn open(seed: u64) -> Option<Self> {
        Self::open_with(seed, |_| {}).await
    }

    /// The same with other options.
    pub(crate) async fn open_with(seed: u64, change: impl FnOnce(&mut StageOptions)) -> Option<Self> {
        let api = StandIn::start().await?;
        let clock = Clock::start();
        let dir = tempfile::tempdir().unwrap();
        let options = StageOptions::new(vec![OUTRIGGER.into()], dir.path().to_owned());
        let mut options = options.with_replicas(REPLICAS);
        options.settings = SETTINGS.to_owned();
        options.overlap = Duration::from_secs(1);
        options.drain = Duration::from_secs(4);
        options.restart_backoff = Duration::from_millis(100);
        options.railway = Some(Railway {
            url: api.url(),
            token: token(),
            kind: Token::Project,
            call: CALL,
            retention: Duration::from_secs(3600),
        });
        change(&mut options);
        let stage = Stage::start(options, clock).await.unwrap();
        api.stands_before(stage.api_address()).await;
        let events = stage.events();
        let first = stage.deploy("v1", AppPlan::good(seed)).await.unwrap();
        let load = Load::start(stage.edge_address(), RATE, seed, clock);
        let scene = Self { stage, api, load, events, seen: Vec::new(), dir, first };
        scene.known_good("v1").await;
        Some(scene)
    }

    /// Until every live agent says that its release, which is this one, is known good.
    pub(crate) async fn known_good(&self, release: &str) {
        let commit = &commit(release)[..12];
        eventually(&format!("{release} is known good"), async || {
            let all = self.statuses().await;
            let is_so = |status: &Value| {
                status["standing"] == "known_good"
                    && status["release"].as_str().is_some_and(|it| it.starts_with(commit))
            };
            (all.len() == REPLICAS && all.iter().all(is_so)).then_some(())
        })
        .await;
    }

    /// The data directories of the live deployment's agents.
    pub(crate) fn volumes(&self) -> Vec<PathBuf> {
        let Some(live) = self.stage.live() else { return Vec::new() };
        let of = |number| self.dir.path().join(&live.deployment).join(format!("r{number}/volume"));
        (1..=REPLICAS).map(of).collect()
    }

    /// What the live agents that answer say of themselves.
    async fn statuses(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for volume in self.volumes() {
            all.extend(ask_if_there(&volume, &["status"]).await);
        }
        all
    }

    /// The records of all live agents that answer; several may hold the same one.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for volume in self.volumes() {
            let shown = ask_if_there(&volume, &["history", "--limit", "200"]).await.unwrap_or_default();
            all.extend(shown["records"].as_array().cloned().unwrap_or_default());
        }
        all
    }

    /// The records in every store of the stage, those of agents that have ended too; each read from a copy.
    pub(crate) async fn written(&self) -> Vec<Value> {
        let mut all = Vec::new();
        for row in self.stage.deployments() {
            for number in 1..=REPLICAS {
                let volume = self.dir.path().join(&row.id).join(format!("r{number}/volume"));
                all.extend(kept(volume).await.unwrap_or_default());
            }
        }
        all
    }

    /// The first record that is wanted.
    pub(crate) async fn record(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = timeout(WAIT, async {
            loop {
                if let Some(found) = self.records().await.into_iter().find(&wanted) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => {
                let decided = |record: &Value| record["kind"] == "decided";
                let told: Vec<String> =
                    self.records().await.iter().filter(|it| decided(it)).map(brief).collect();
                panic!("waited in vain: {what}; decisions: {told:#?}; asked: {:#?}", self.asked().await)
            }
        }
    }

    /// The mutations with their effects, for whoever reads a failed test.
    async fn asked(&self) -> Vec<String> {
        let log = self.api.log().await;
        let mutations = log.iter().filter(|entry| entry["kind"] == "mutation");
        mutations.map(Value::to_string).collect()
    }

    /// Deploys a release that fails one request in ten, so long after its start.
    pub(crate) async fn deploy_bad(&self, release: &str, after: Duration, seed: u64) -> String {
        let plan = AppPlan { behave: Behaviour::Errors, after, seed };
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
        if let Ok(found) = next.await {
            return found;
        }
        let decided = |record: &Value| record["kind"] == "decided";
        let told: Vec<String> = self.records().await.iter().filter(|it| decided(it)).map(brief).collect();
        panic!("waited {WAIT:?} in vain: {what}; decisions: {told:#?}; asked: {:#?}", self.asked().await)
    }

    /// The next rollback that the platform takes: what is put back, and the deployment that is made.
    pub(crate) async fn taken(&mut self) -> (String, String) {
        let wanted = |event: &StageEvent| {
            let StageEvent::RollbackTaken { to, deployment, .. } = event else { return None };
            Some((to.clone(), deployment.clone()))
        };
        self.until("a rollback", wanted).await
    }

    /// Until this deployment is live.
    pub(crate) async fn live(&mut self, deployment: &str) {
        let live = |event: &StageEvent| {
            matches!(event, StageEvent::WentLive { id, .. } if id == deployment).then_some(())
        };
        self.until("the deployment is live", live).await;
    }

    /// The decision to roll this release back, once its end is known.
    pub(crate) async fn ended(&self, accused: &str) -> Value {
        let commit = &commit(accused)[..12];
        let is_it = |record: &Value| {
            record["decision"] == "roll_back"
                && record["release"].as_str().is_some_and(|it| it.starts_with(commit))
                && ["succeeded", "failed", "interrupted"]
                    .iter()
                    .any(|end| record["progress"]["progress"] == **end)
        };
        self.record(&format!("the end of the decision on {accused}"), is_it).await
    }

    /// Every rollback that the platform has carried out: what was asked for, and what was put back.
    pub(crate) async fn rolled_back(&mut self) -> Vec<String> {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        let taken = self.seen.iter().filter_map(|event| {
            let StageEvent::RollbackTaken { decision, .. } = event else { return None };
            Some(decision.trim_start_matches("deployment ").to_owned())
        });
        let taken: Vec<String> = taken.collect();
        assert_eq!(self.stage.rollbacks(), taken.len() as u64, "no event was missed");
        taken
    }

    /// Nothing that was written holds the text.
    pub(crate) fn holds_no(&self, text: &str) {
        holds_no(self.dir.path(), text);
    }

    /// Ends everything; nothing of it is left, and no secret is in anything that was written.
    pub(crate) async fn close(self) {
        self.load.stop().await;
        let log = Value::from(self.api.log().await).to_string();
        self.stage.stop().await;
        for secret in [PROJECT_TOKEN, ACCOUNT_TOKEN] {
            assert!(!log.contains(secret), "in the log of the API");
            holds_no(self.dir.path(), secret);
        }
        let left = processes_with(&self.dir.path().to_string_lossy());
        assert!(left.is_empty(), "left by the stage: {left:#?}");
    }
}

/// What a store holds; none where no agent has ever opened it.
async fn kept(volume: PathBuf) -> Option<Vec<Value>> {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let to = copy.clone();
    let copied = tokio::task::spawn_blocking(move || outrigger::store::clone_store(&volume, &to));
    copied.await.unwrap().ok()?;
    let config = outrigger::config::Store {
        dir: copy,
        dir_is_explicit: true,
        evidence_max: 20_000,
        records_max: 10_000,
    };
    let store = outrigger::store::open(&config).unwrap();
    let records = store.records(500, None).await.unwrap();
    store.close().await;
    Some(records)
}

/// A decision in a line.
pub(crate) fn brief(record: &Value) -> String {
    let of = |name: &str| record[name].to_string();
    format!("{} {} of {}: {} {}", of("at"), of("decision"), of("release"), of("progress"), of("reasons"))
}

/// No file below `dir` holds the text.
fn holds_no(dir: &std::path::Path, text: &str) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            holds_no(&path, text);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
            assert!(!found, "a token is in {}", path.display());
        }
    }
}

/// The next change among the agents that is wanted.
pub(crate) async fn among<T>(watch: &mut Watch, what: &str, wanted: impl Fn(&FleetEvent) -> Option<T>) -> T {
    let found = timeout(WAIT, async {
        loop {
            if let Some(found) = watch.next().await.iter().find_map(&wanted) {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited {WAIT:?} in vain: {what}"))
}

/// An agent of this deployment finds it degraded.
pub(crate) async fn degraded(watch: &mut Watch, deployment: &str) -> String {
    among(watch, "a verdict", |event| {
        let FleetEvent::Verdict { agent, verdict, .. } = event else { return None };
        (verdict == "degraded" && agent.ends_with(deployment)).then(|| agent.clone())
    })
    .await
}
