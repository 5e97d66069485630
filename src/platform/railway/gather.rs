//! Reads everything that a rollback depends on into an [`Examination`]. Each part that fails says why, and lets the others
//! stand.

use std::time::Duration;

use crate::config;
use crate::engine::record::Known;
use crate::engine::time::Time;
use crate::https::chain;
use crate::platform::railway::api::{Api, state_of};
use crate::platform::railway::deployment::{Deployment, Status};
use crate::platform::railway::documents as form;
use crate::platform::railway::examination::{
    Choice, Domain, Examination, LiveDeployment, Reading, Restorable, Scope, Settings,
};
use crate::platform::railway::fault::ApiError;
use crate::platform::railway::gauge::Purpose;
use crate::platform::railway::live::newest;
use crate::platform::railway::target::{Target, choose, restorable};

/// How many of the deployments that could be put back are told; the newest count.
const TARGETS_MAX: usize = 10;
const HOUR: u64 = 3600;
/// For how long each plan holds the image of a deployment that was removed.
const RETENTION: [(&str, Duration); 6] = [
    ("free", Duration::from_secs(24 * HOUR)),
    ("trial", Duration::from_secs(24 * HOUR)),
    ("user", Duration::from_secs(24 * HOUR)),
    ("hobby", Duration::from_secs(72 * HOUR)),
    ("pro", Duration::from_secs(120 * HOUR)),
    ("enterprise", Duration::from_secs(360 * HOUR)),
];

/// How much is read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Depth {
    /// What the readiness depends on.
    Readiness,
    /// Everything that people want to know.
    All,
}

/// What never changes while the agent lives, and need not be read again.
#[derive(Clone, Default)]
pub(super) struct Lasting {
    pub(super) scope: Option<Option<Scope>>,
    pub(super) plan: Option<String>,
}

/// An examination of which nothing was read, for this reason.
pub(super) fn unread(config: &config::Railway, why: &str) -> Examination {
    let why = || why.to_owned();
    Examination {
        endpoint: config.url.to_string(),
        token: config.token.as_ref().map(|token| token.kind),
        configured: Scope {
            project: config.project.clone(),
            environment: config.environment.clone(),
            service: Some(config.service.clone()),
        },
        scope: Err(why()),
        platform: Err(why()),
        settings: Err(why()),
        live: Err(why()),
        targets: Err(why()),
        choice: Err(why()),
        auto_deploy: Err(why()),
        triggers: Err(why()),
        volumes: Err(why()),
        tcp_ports: Err(why()),
        plan: Err(why()),
        quota: None,
        replicas_configured: config.replicas,
    }
}

/// Reads it.
pub(super) async fn gather(api: &Api, known: &Known, depth: Depth, lasting: &mut Lasting) -> Examination {
    let mut found = unread(api.config(), "it was not asked for");
    found.scope = scope(api, lasting).await;
    found.plan = plan(api, lasting).await;
    let live = match api.settings(api.alone(Purpose::Look)).await {
        Err(error) => {
            let why = chain(&error);
            (found.platform, found.settings, found.live) =
                (Err(why.clone()), Err(why.clone()), Err(why.clone()));
            Err(why)
        }
        Ok(read) => {
            found.platform = Ok(state_of(read.platform_status));
            let live = newest(&read.service_instance.active_deployments).cloned();
            found.settings = Ok(settings(read.service_instance));
            live.ok_or_else(|| "no deployment of the service is active".to_owned())
        }
    };
    found.live = live.clone().map(|live| told(live, known));
    match live {
        Err(why) => (found.targets, found.choice) = (Err(why.clone()), Err(why)),
        Ok(live) => targets(api, known, &live, &mut found).await,
    }
    found.auto_deploy = reading(api.auto_deploy(api.alone(Purpose::Look)).await);
    if depth == Depth::All {
        found.triggers = reading(api.triggers(api.alone(Purpose::Look)).await);
        found.volumes = reading(api.volumes(api.alone(Purpose::Look)).await);
        found.tcp_ports = reading(api.tcp_ports(api.alone(Purpose::Look)).await);
    }
    found.quota = api.quota();
    found
}

fn reading<T>(read: Result<T, ApiError>) -> Reading<T> {
    read.map_err(|error| chain(&error))
}

async fn scope(api: &Api, lasting: &mut Lasting) -> Reading<Option<Scope>> {
    let is_projects =
        api.config().token.as_ref().is_some_and(|token| token.kind == config::TokenKind::Project);
    if !is_projects {
        return Ok(None);
    }
    if let Some(scope) = &lasting.scope {
        return Ok(scope.clone());
    }
    let scope = reading(api.scope(api.alone(Purpose::Look)).await.map(Some));
    lasting.scope = scope.clone().ok();
    scope
}

async fn plan(api: &Api, lasting: &mut Lasting) -> Reading<String> {
    if let Some(plan) = &lasting.plan {
        return Ok(plan.clone());
    }
    let plan = api.plan(api.alone(Purpose::Look)).await;
    lasting.plan = match &plan {
        Ok(plan) => Some(plan.clone()),
        // A token that may not read it is not asked for it every few minutes.
        Err(ApiError::NotAuthorised { .. }) => Some(String::new()),
        Err(_) => None,
    };
    reading(plan)
}

async fn targets(api: &Api, known: &Known, live: &Deployment, found: &mut Examination) {
    let release = known.target.clone();
    let is_enough = |listed: &[Deployment]| {
        release.as_ref().is_none_or(|to| matches!(choose(to, live, known, listed), Target::RollBack(_)))
    };
    let history = match reading(api.history(api.alone(Purpose::Look), is_enough).await) {
        Ok(history) => history,
        Err(why) => {
            (found.targets, found.choice) = (Err(why.clone()), Err(why));
            return;
        }
    };
    let retention = found.plan.as_deref().ok().and_then(retention);
    let of = |it: &Deployment, release| Restorable {
        id: it.id.clone(),
        release,
        created_at: it.created_at,
        expires_at: expiry(it, retention),
    };
    let all = restorable(live, known, &history).take(TARGETS_MAX);
    found.targets = Ok(all.map(|(it, release)| of(it, release.clone())).collect());
    found.choice = Ok(match release {
        None => Choice::NothingKnownGood,
        Some(release) => match choose(&release, live, known, &history) {
            Target::RollBack(it) => Choice::RollBack(of(it, release)),
            Target::Redeploy(it) => Choice::Redeploy(of(it, release)),
            Target::Gone(why) => Choice::Gone { release, why },
        },
    });
}

fn retention(plan: &str) -> Option<Duration> {
    RETENTION.iter().find(|(name, _)| name.eq_ignore_ascii_case(plan)).map(|&(_, time)| time)
}

/// From when on the image may be gone: the time runs from the removal on.
fn expiry(it: &Deployment, retention: Option<Duration>) -> Option<Time> {
    let removed = it.status_at.filter(|_| it.status == Status::Removed)?;
    Some(removed + retention?)
}

fn told(live: Deployment, known: &Known) -> LiveDeployment {
    LiveDeployment {
        release: known.release_of(&live.id).cloned(),
        status: live.status.word().to_owned(),
        id: live.id,
        created_at: live.created_at,
        commit: live.image.commit,
        digest: live.image.digest,
        running: live.running,
        manifest: live.manifest,
    }
}

fn settings(read: form::ServiceInstance) -> Settings {
    let domains =
        read.domains.into_iter().flat_map(|it| it.service_domains.into_iter().chain(it.custom_domains));
    let source = read.source.and_then(|it| it.repo.or(it.image));
    Settings {
        name: read.service_name,
        replicas: read.num_replicas,
        health_path: read.healthcheck_path.filter(|path| !path.is_empty()),
        health_timeout: read.healthcheck_timeout,
        overlap: read.overlap_seconds,
        draining: read.draining_seconds,
        sleeps: read.sleep_application,
        restart_policy: read.restart_policy_type,
        restarts_max: read.restart_policy_max_retries,
        start_command: read.start_command,
        cron: read.cron_schedule,
        config_file: read.railway_config_file.filter(|path| !path.is_empty()),
        source,
        domains: domains.map(|it| Domain { name: it.domain, target_port: it.target_port }).collect(),
    }
}
