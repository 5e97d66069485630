//! What Railway says of the service, as far as a rollback depends on it: plain data, for the readiness and for people.
//!
//! It owns the words for it and judges nothing.

use crate::config::TokenKind;
use crate::engine::release::Release;
use crate::engine::time::Time;

/// What was read, or why it could not be: a text for people, without secrets.
pub type Reading<T> = Result<T, String>;

/// Everything that was read. Each part stands alone: one that is refused does not take the others along.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    /// Where the API is.
    pub endpoint: String,
    /// With which kind of token it was asked; `None`: there is none, and every reading says so.
    pub token: Option<TokenKind>,
    /// The ids that are configured.
    pub configured: Scope,
    /// What a project's token is for; `None` with another kind, which cannot say.
    pub scope: Reading<Option<Scope>>,
    /// How Railway itself is.
    pub platform: Reading<PlatformState>,
    /// The service's settings. A configuration file overrides them for the deployment it came with: see
    /// [`LiveDeployment::manifest`].
    pub settings: Reading<Settings>,
    /// What is live.
    pub live: Reading<LiveDeployment>,
    /// What could be put back, the newest first: deployments that Railway still holds the image of and that are known to
    /// be of a release that was not rolled back.
    pub targets: Reading<Vec<Restorable>>,
    /// What would be put back now, and how.
    pub choice: Reading<Choice>,
    /// Whether pushes are deployed by themselves.
    pub auto_deploy: Reading<AutoDeploy>,
    /// What deploys them.
    pub triggers: Reading<Vec<Trigger>>,
    /// Where volumes of the service are mounted.
    pub volumes: Reading<Vec<String>>,
    /// Ports of the app that are reached by TCP proxies, past the agent.
    pub tcp_ports: Reading<Vec<u16>>,
    /// The plan, by Railway's word for it (`hobby`, `pro`, …).
    pub plan: Reading<String>,
    /// What is left of the API's own limit, by the headers of its last reply.
    pub quota: Option<Quota>,
    /// How many replicas the agents reckon with (`service.replicas`).
    pub replicas_configured: u32,
}

/// Which service is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The project's id.
    pub project: String,
    /// The environment's id.
    pub environment: String,
    /// The service's id; `None` in what a token says, which is for a whole environment.
    pub service: Option<String>,
}

/// How Railway itself is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformState {
    /// Whether it calls itself stable.
    pub is_stable: bool,
    /// The incident, in its words.
    pub incident: Option<String>,
    /// The maintenance, in its words.
    pub maintenance: Option<String>,
}

/// The service's settings as the dashboard has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The service's name.
    pub name: Option<String>,
    /// Replicas by the old setting, which is 1 for a service with several regions.
    pub replicas: Option<u32>,
    /// The path of the deployment's health check; `None`: there is none, a deployment is live once it has started.
    pub health_path: Option<String>,
    /// How long the health check is waited for, in seconds.
    pub health_timeout: Option<u32>,
    /// How long the former deployment runs on beside the new one, in seconds.
    pub overlap: Option<u32>,
    /// How long after SIGTERM it is killed, in seconds.
    pub draining: Option<u32>,
    /// Whether it sleeps when nothing is sent out.
    pub sleeps: Option<bool>,
    /// When a replica that ended is started again: Railway's word.
    pub restart_policy: Option<String>,
    /// How often at most.
    pub restarts_max: Option<u32>,
    /// The command that starts the app.
    pub start_command: Option<String>,
    /// The schedule, of a service that runs by one.
    pub cron: Option<String>,
    /// The configuration file in use.
    pub config_file: Option<String>,
    /// Repository or image.
    pub source: Option<String>,
    /// The domains and the ports that they lead to.
    pub domains: Vec<Domain>,
}

/// A public name of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The name.
    pub name: String,
    /// Where it leads to; `None`: where `PORT` says. Another port than the agent's leads past it.
    pub target_port: Option<u16>,
}

/// What is live.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveDeployment {
    /// The deployment's id.
    pub id: String,
    /// Its status, by Railway's word.
    pub status: String,
    /// Which release that is, as far as is known.
    pub release: Option<Release>,
    /// When it was made.
    pub created_at: Option<Time>,
    /// Its commit.
    pub commit: Option<String>,
    /// Its image's digest.
    pub digest: Option<String>,
    /// How many replicas run.
    pub running: u32,
    /// What it was deployed with, where it says.
    pub manifest: Manifest,
}

/// What a deployment was made with, after configuration files had their say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Replicas, of all regions together.
    pub replicas: Option<u32>,
    /// How long the former deployment runs on beside it, in seconds.
    pub overlap: Option<u32>,
    /// How long after SIGTERM it is killed, in seconds.
    pub draining: Option<u32>,
    /// The path of its health check.
    pub health_path: Option<String>,
    /// Whether it sleeps.
    pub sleeps: Option<bool>,
    /// The configuration file that it was made with.
    pub config_file: Option<String>,
}

/// A deployment that could be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restorable {
    /// The deployment's id.
    pub id: String,
    /// Which release that is.
    pub release: Release,
    /// When it was made.
    pub created_at: Option<Time>,
    /// From when on Railway need not hold its image any more; `None`: it is live, or the plan is not known.
    pub expires_at: Option<Time>,
}

/// What would be put back now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This deployment, from the image that Railway holds.
    RollBack(Restorable),
    /// This one, by deploying it once more, which may build it: Railway does not hold its image.
    Redeploy(Restorable),
    /// No release is known good yet.
    NothingKnownGood,
    /// There is a release to put back, and no deployment to put it back with.
    Gone {
        /// The release.
        release: Release,
        /// Why there is none.
        why: String,
    },
}

/// Whether pushes are deployed by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoDeploy {
    /// They are.
    pub is_on: bool,
    /// What Railway says of it.
    pub reason: Option<String>,
}

/// What deploys pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The repository,
    pub repository: String,
    /// and its branch.
    pub branch: String,
    /// Whether its checks are waited for.
    pub waits_for_checks: bool,
}

/// What is left of the API's own limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The limit.
    pub limit: Option<u32>,
    /// What is left of it.
    pub remaining: u32,
}
