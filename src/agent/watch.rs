//! A watcher: an agent without an app. It meets the replicas of a service, judges what is live by what they saw, remembers
//! for good where it has a volume, breaks ties in even fleets, and may be the only one that holds the platform's token.
//!
//! It is the control plane alone: no public port, no child, no data path.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::admin::{self, AppView};
use crate::agent::control::{Control, NEWS_MAX, News, Setup};
use crate::agent::{Error, Job, alerts, dependencies, fleet, start};
use crate::config::Loaded;
use crate::engine::peer::Role;
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::engine::{Engine, Identity};
use crate::recorder::Recorder;
use crate::supervisor::{self, Received, Signals, Supervisor};

/// The release that a watcher watches before it has met a replica.
const NONE_MET: &str = "none-met";
/// How long an order that is under way may still be answered at the end.
const GRACE: Duration = Duration::from_secs(15);
/// How long the store may take to write what is queued.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Runs until a signal says so, and returns the exit code.
///
/// # Errors
///
/// When it could not start; nothing is left running then.
pub async fn watch(job: Job) -> Result<i32, Error> {
    let Job { loaded: Loaded { config, mut warnings, .. }, clock, control: runtime, .. } = job;
    if config.peers.keys.is_empty() {
        return Err(Error::NoPeerKey);
    }
    let (now, boot) = (clock.now(), fastrand::u64(1..));
    let mut signals = Signals::listen().map_err(Error::Signals)?;
    let admin_listener = config.listen.admin.map(|at| start::bind("listen.admin", at)).transpose()?;
    let release = Release::new(NONE_MET).expect("it is visible ASCII");
    let joining =
        fleet::join(&config, &release, Role::Watcher, now, boot, &mut warnings)?.ok_or(Error::NoPeerKey)?;
    let (store, memory) =
        start::remember(start::open_store(&config, &mut warnings)?, &config, &mut warnings).await?;
    let identity = Identity { release: release.clone(), boot: boot as u16 };
    // What was open is taken up when a deployment is met.
    let (mut engine, _) = Engine::start(now, identity, config.policy.clone(), memory);
    let effects = engine.join(now, joining.setup.clone());
    let shutdown = CancellationToken::new();
    let supervisor = Supervisor::start();
    let (prober, health) = dependencies::start(&config, clock, &runtime, &supervisor, &shutdown);
    let (shared, commands) = start::shared(&config, clock, &prober);
    let fleet = start::start_fleet(Some(joining), &effects, &config, &store, clock, &runtime, &shutdown)?;
    alerts::start(&config, fleet.as_ref(), (&store, &shared), clock, &runtime, &shutdown);
    let admin = start::open_doors(&runtime, admin_listener, &config, &store, &shared, &shutdown)?;
    let admin = admin.map(|a| a.to_string()).unwrap_or_default();
    info!(%admin, environment = %config.service.environment, "watching");
    let (news, received) = mpsc::channel(NEWS_MAX);
    let control = Control::new(Setup {
        clock,
        started: now,
        service: start::service(&config, boot as u16),
        warnings,
        engine: Box::new(engine),
        recorder: Recorder::new(1, now),
        store: store.clone(),
        platform: start::build_platform(&config, &supervisor),
        shared: Arc::clone(&shared),
        app: Arc::new(ArcSwap::from_pointee(no_app(now))),
        sampling: start::sampling(clock, &config, &supervisor),
        prober,
        health,
        fleet,
        handover: Duration::ZERO,
        release,
        news: received,
        commands,
    });
    shared.update(control.live(now));
    let reaper = tokio::spawn(supervisor::reap(supervisor.own_children()));
    let mut running = runtime.spawn(control.run(effects));
    let code = until_told(&mut signals, &mut running).await;
    let _ = news.try_send(News::Draining);
    let _ = news.try_send(News::End { grace: GRACE });
    if code == 0 {
        let _ = tokio::time::timeout(GRACE + CLOSE_MAX, running).await;
    }
    shutdown.cancel();
    reaper.abort();
    let _ = tokio::time::timeout(CLOSE_MAX, store.close()).await;
    Ok(code)
}

/// Until a signal says so, with code 0, or the control plane fails, with code 1.
async fn until_told(signals: &mut Signals, running: &mut JoinHandle<()>) -> i32 {
    loop {
        tokio::select! {
            received = signals.next() => match received {
                Received::Stop(signal) => {
                    info!(%signal, "ending");
                    return 0;
                }
                Received::Relay(_) => {}
            },
            ended = &mut *running => {
                error!(why = %ended.err().map(|e| e.to_string()).unwrap_or_default(), "the control plane failed");
                return 1;
            }
        }
    }
}

fn no_app(now: Time) -> AppView {
    AppView {
        phase: admin::Phase::Ready,
        supervised: false,
        pid: None,
        since: now,
        upstream: String::new(),
        restarts: 0,
        detail: Some("a watcher has no app".to_owned()),
    }
}
