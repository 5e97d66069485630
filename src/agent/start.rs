//! The start: everything is read, opened and bound before anything is spawned.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::admin::{self, AppView, ServiceView};
use crate::agent::alerts;
use crate::agent::control::{Control, NEWS_MAX, Setup};
use crate::agent::decider::Decider;
use crate::agent::fleet::{self, Fleet, Joining};
use crate::agent::life::{Agent, AppPhase, text};
use crate::agent::restart::Restarts;
use crate::agent::sampling::Sampling;
use crate::agent::{Error, Job, SOCKET_FILE, dependencies, fingerprint};
use crate::clock::Clock;
use crate::config::{Address, Config, Loaded, Origin, Setting};
use crate::engine::memory::Memory;
use crate::engine::peer::{Deployment, Role};
use crate::engine::policy::Policy;
use crate::engine::release::Release;
use crate::engine::route::Routes;
use crate::engine::time::Time;
use crate::engine::{Effect, Engine, Identity};
use crate::host::Host;
use crate::platform;
use crate::prober::{Prober, Readiness, Target};
use crate::proxy::{self, Arm, LocalPage, LocalPages, Phase, Plan, Upstream};
use crate::recorder::Recorder;
use crate::store::{self, Store};
use crate::supervisor::{self, Signals, Supervisor, Usage};

/// Commands from people that wait for the loop; at the bound the admin port answers 503.
const COMMANDS_MAX: usize = 16;
/// Connections that wait to be accepted, as far as the kernel allows it; one more is not answered and tries again.
const BACKLOG: u32 = 4096;
/// How long reading what is remembered may take at the start.
const MEMORY_MAX: Duration = Duration::from_secs(5);

/// How the engine is made.
pub(super) type MakeDecider = fn(Time, Identity, Policy, Memory) -> (Box<dyn Decider>, Vec<Effect>);

/// Brings up the whole agent. On an error nothing is left running: what was bound or opened is dropped.
pub(super) async fn start(job: Job) -> Result<Agent, Error> {
    start_with(job, |now, identity, policy, memory| {
        let (engine, effects) = Engine::start(now, identity, policy, memory);
        (Box::new(engine), effects)
    })
    .await
}

pub(super) async fn start_with(job: Job, make: MakeDecider) -> Result<Agent, Error> {
    let Job { loaded: Loaded { config, mut warnings, origins }, command, env, clock, control: runtime } = job;
    let (now, boot) = (clock.now(), fastrand::u16(..));
    let signals = Signals::listen().map_err(Error::Signals)?;
    let (public, admin_listener) = bind_all(&config)?;
    let (store, memory) = remember(open_store(&config, &mut warnings)?, &config, &mut warnings).await?;
    let release = release(&config, &origins, &command, &env, boot, &mut warnings);
    let joining = fleet::join(&config, &release, Role::Replica, now, fastrand::u64(1..), &mut warnings)?;
    let (engine, effects) = decider(make, now, (release.clone(), boot), &config, memory, joining.as_ref());
    let recorder = recorder(&config, now);
    let (port, upstream, target) = upstream(&config)?;
    let plan = first_plan(&upstream, &config);
    let (shutdown, supervisor) = (CancellationToken::new(), Supervisor::start());
    let (prober, health) = dependencies::start(&config, clock, &runtime, &supervisor, &shutdown);
    let (shared, commands) = shared(&config, clock, &prober);
    let fleet = start_fleet(joining, &effects, &config, &store, clock, &runtime, &shutdown)?;
    alerts::start(&config, fleet.as_ref(), (&store, &shared), clock, &runtime, &shutdown);
    let data_path = start_data_path(&config, public, &plan, &recorder, clock, &shared)?;
    let admin_address = open_doors(&runtime, admin_listener, &config, &store, &shared, &shutdown)?;
    announce(&config, &warnings, &data_path, admin_address, release.as_str());
    let (news_in, news) = mpsc::channel(NEWS_MAX);
    let view = first_view(&upstream, !command.is_empty(), now);
    let control = Control::new(Setup {
        clock,
        started: now,
        service: service(&config, boot),
        warnings,
        engine,
        recorder,
        store: store.clone(),
        platform: build_platform(&config, &supervisor),
        shared: Arc::clone(&shared),
        app: Arc::clone(&view),
        sampling: sampling(clock, &config, &supervisor),
        prober,
        health,
        fleet,
        handover: config.peers.handover,
        release: release.clone(),
        news,
        commands,
    });
    let agent = Agent {
        clock,
        phase: AppPhase::Starting,
        phase_since: now,
        readiness: Arc::new(Readiness::new(target, config.app.ready_path.clone())),
        upstream: text(&upstream),
        command,
        port,
        plan,
        data_path: Arc::new(data_path),
        store,
        shared,
        view,
        shutdown,
        app: None,
        began: clock.uptime(),
        restarts: Restarts::new(config.app.restart),
        restarted: 0,
        again: None,
        signals,
        reaper: Some(tokio::spawn(supervisor::reap(supervisor.own_children()))),
        supervisor,
        news: news_in,
        control: None,
        config,
    };
    set_off(agent, control, effects, &runtime)
}

/// Starts the app, and only then the control plane, which writes: a slow disk must not keep the app waiting.
fn set_off(
    mut agent: Agent,
    control: Control,
    effects: Vec<Effect>,
    runtime: &Handle,
) -> Result<Agent, Error> {
    agent.shared.update(control.live(agent.phase_since));
    agent.start_app().map_err(Error::Spawn)?;
    agent.control = Some(runtime.spawn(control.run(effects)));
    Ok(agent)
}

/// What decides, as one of several if there are others.
fn decider(
    make: MakeDecider,
    now: Time,
    (release, boot): (Release, u16),
    config: &Config,
    memory: Memory,
    joining: Option<&Joining>,
) -> (Box<dyn Decider>, Vec<Effect>) {
    let (mut engine, mut effects) = make(now, Identity { release, boot }, config.policy.clone(), memory);
    if let Some(joining) = joining {
        effects.extend(engine.join(now, joining.setup.clone()));
    }
    if let Some(deployment) = config.service.deployment.as_deref().and_then(Deployment::new) {
        effects.extend(engine.deployed_as(deployment));
    }
    (engine, effects)
}

/// Begins to look for peers, with what the engine says of this agent at first.
pub(super) fn start_fleet(
    joining: Option<Joining>,
    effects: &[Effect],
    config: &Config,
    store: &Store,
    clock: Clock,
    runtime: &Handle,
    shutdown: &CancellationToken,
) -> Result<Option<Fleet>, Error> {
    let introduced = |effect: &Effect| {
        if let Effect::Introduce(hello) = effect { Some(hello.as_ref().clone()) } else { None }
    };
    let hello = effects.iter().find_map(introduced);
    match (joining, hello) {
        (Some(joining), Some(hello)) => {
            joining.start(config, hello, store.clone(), clock, runtime, shutdown).map(Some)
        }
        (_, None) | (None, _) => Ok(None),
    }
}

pub(super) fn sampling(clock: Clock, config: &Config, supervisor: &Supervisor) -> Sampling {
    Sampling::new(clock, Usage::new(supervisor.own_children()), Host::new(config.store.dir.clone()))
}

/// Where the agent and whoever looks at it meet, and what people ask of the agent there.
pub(super) fn shared(
    config: &Config,
    clock: Clock,
    prober: &Prober,
) -> (Arc<admin::Shared>, mpsc::Receiver<admin::Command>) {
    let (commands_in, commands) = mpsc::channel(COMMANDS_MAX);
    let shared = admin::Shared::new(clock, config.admin.token.clone(), commands_in);
    let asked = Arc::new(dependencies::Asked(prober.clone()));
    (Arc::new(shared.with_dependencies(asked, dependencies::health_options(config))), commands)
}

fn recorder(config: &Config, now: Time) -> Recorder {
    Recorder::with_routes(config.proxy.workers, now, Routes::new(config.proxy.routes.clone()))
}

fn start_data_path(
    config: &Config,
    public: TcpListener,
    plan: &Arc<ArcSwap<Plan>>,
    recorder: &Recorder,
    clock: Clock,
    shared: &Arc<admin::Shared>,
) -> Result<proxy::DataPlane, Error> {
    let local = local_pages(Arc::clone(shared), config.proxy.health_path.clone());
    let settings = config.proxy.clone();
    // Nothing is recorded of a second app before there is one.
    let candidate = Recorder::new(settings.workers, clock.now());
    let shards = proxy::Shards { stable: recorder.shards(), candidate: candidate.shards() };
    proxy::start(settings, public, Arc::clone(plan), shards, clock, local).map_err(Error::DataPath)
}

fn first_plan(upstream: &Upstream, config: &Config) -> Arc<ArcSwap<Plan>> {
    let arm = Arm { upstream: upstream.clone(), generation: 0, phase: before_ready(config) };
    Arc::new(ArcSwap::from_pointee(Plan::whole(arm)))
}

/// How an app that is not ready is treated: where its port says that it is, requests try it; where a path does, they wait.
pub(super) fn before_ready(config: &Config) -> Phase {
    if config.app.ready_path.is_some() { Phase::Warming } else { Phase::Starting }
}

/// The app before it was started.
fn first_view(upstream: &Upstream, supervised: bool, now: Time) -> Arc<ArcSwap<AppView>> {
    Arc::new(ArcSwap::from_pointee(AppView {
        phase: admin::Phase::Starting,
        supervised,
        pid: None,
        since: now,
        upstream: text(upstream),
        restarts: 0,
        detail: None,
    }))
}

pub(super) fn service(config: &Config, boot: u16) -> ServiceView {
    ServiceView {
        name: config.service.name.clone(),
        environment: config.service.environment.clone(),
        replica: config.service.replica.clone().unwrap_or_else(|| format!("boot-{boot:04x}")),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// The release, and a warning when it cannot be known.
fn release(
    config: &Config,
    origins: &BTreeMap<String, Setting>,
    command: &[OsString],
    env: &[(OsString, OsString)],
    boot: u16,
    warnings: &mut Vec<String>,
) -> Release {
    let name = config.service.release.as_deref();
    let (named, commit) = match origins.get("service.release").map(|setting| &setting.origin) {
        Some(Origin::Platform(_)) => (None, name),
        Some(_) | None => (name, None),
    };
    let release = fingerprint(named, commit, command, env, boot);
    if release.as_str().starts_with("unknown-") {
        warnings.push(
            "the release is not known, so this start counts as a new one: set `service.release`".to_owned(),
        );
    }
    release
}

fn bind_all(config: &Config) -> Result<(TcpListener, Option<TcpListener>), Error> {
    let public = bind("listen.public", config.listen.public)?;
    let admin = config.listen.admin.map(|address| bind("listen.admin", address)).transpose()?;
    Ok((public, admin))
}

pub(super) fn bind(option: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = || {
        let socket = if address.is_ipv4() {
            tokio::net::TcpSocket::new_v4()
        } else {
            tokio::net::TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    };
    bound().map_err(|source| Error::Bind { option, address, source })
}

/// Opens the store. When the agent itself is in trouble the app is served all the same: with a damaged database, or a
/// default directory that cannot be written, what is learnt is kept in memory, and nothing is acted on.
pub(super) fn open_store(config: &Config, warnings: &mut Vec<String>) -> Result<Store, Error> {
    let error = match store::open(&config.store) {
        Ok(store) => return Ok(store),
        Err(error) => error,
    };
    if error.is_corrupt() {
        error!(error = &error as &dyn std::error::Error, "the store is damaged, so nothing will be acted on");
        warnings.push(format!("{error}; until then nothing is remembered or acted on"));
    } else if error.is_misconfigured() && !config.store.dir_is_explicit {
        warnings.push(format!("{error} (option `store.dir`); until then nothing is remembered or acted on"));
    } else {
        return Err(Error::Store(error));
    }
    store::in_memory(&config.store).map_err(Error::Store)
}

/// What an earlier agent left. Where it cannot be read, or not in time, the app is served all the same, as with a damaged
/// database.
pub(super) async fn remember(
    store: Store,
    config: &Config,
    warnings: &mut Vec<String>,
) -> Result<(Store, Memory), Error> {
    let why = match tokio::time::timeout(MEMORY_MAX, store.memory()).await {
        Ok(Ok(memory)) => return Ok((store, memory)),
        Ok(Err(error)) => format!("{:#}", anyhow::Error::from(error)),
        Err(_late) => format!("no answer within {}", humantime::format_duration(MEMORY_MAX)),
    };
    error!(%why, "what is remembered could not be read, so nothing will be acted on");
    warnings.push(format!(
        "the store could not be read ({why}); until the next start nothing is remembered or acted on"
    ));
    let store = store::in_memory(&config.store).map_err(Error::Store)?;
    Ok((store, Memory::default()))
}

/// The app's PORT, and where it is for the data path and for the question whether it is ready.
fn upstream(config: &Config) -> Result<(u16, Upstream, Target), Error> {
    let unix = |path: &Path| (Upstream::Unix { path: path.to_owned() }, Target::Socket(path.to_owned()));
    match &config.app.upstream {
        Some(Address::Authority(authority)) => {
            let authority = authority.clone();
            return Ok((0, Upstream::Remote { authority: authority.clone() }, Target::Authority(authority)));
        }
        Some(Address::Socket(path)) => {
            let (upstream, target) = unix(path);
            return Ok((0, upstream, target));
        }
        None => {}
    }
    let port = match config.app.port {
        Some(port) => port,
        None => supervisor::free_port().map_err(Error::FreePort)?,
    };
    let (upstream, target) = match &config.app.socket {
        Some(path) => unix(path),
        None => (Upstream::Loopback { port }, Target::Loopback(port)),
    };
    Ok((port, upstream, target))
}

fn local_pages(shared: Arc<admin::Shared>, health_path: Option<String>) -> LocalPages {
    Arc::new(move |request| {
        let asked = admin::PublicRequest {
            method: request.method,
            path: request.path,
            accept: request.accept,
            authorization: request.authorization,
        };
        admin::public_page(&shared, &asked, health_path.as_deref()).map(|page| match page {
            admin::Answer::Now(page) => LocalPage::Now(page),
            admin::Answer::Soon(page) => LocalPage::Soon(page),
        })
    })
}

/// What people ask is answered by the control plane's runtime.
pub(super) fn open_doors(
    runtime: &Handle,
    listener: Option<TcpListener>,
    config: &Config,
    store: &Store,
    shared: &Arc<admin::Shared>,
    shutdown: &CancellationToken,
) -> Result<Option<SocketAddr>, Error> {
    let _entered = runtime.enter();
    serve_socket(config, store, shared, shutdown);
    serve_admin(listener, shared, shutdown)
}

fn serve_admin(
    listener: Option<TcpListener>,
    shared: &Arc<admin::Shared>,
    shutdown: &CancellationToken,
) -> Result<Option<SocketAddr>, Error> {
    let Some(listener) = listener else { return Ok(None) };
    let failed = |source| Error::Bind { option: "listen.admin", address: ([0, 0, 0, 0], 0).into(), source };
    let address = listener.local_addr().map_err(failed)?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    tokio::spawn(admin::serve(listener, Arc::clone(shared), shutdown.clone()));
    Ok(Some(address))
}

/// The control socket for people on this machine, who may read the data directory anyway: mode 0600. A store in memory
/// has no directory and no socket; where there can be none (a path that is too long, a file system without sockets), the
/// app is served without.
fn serve_socket(config: &Config, store: &Store, shared: &Arc<admin::Shared>, shutdown: &CancellationToken) {
    if store.status().path.is_none() {
        return;
    }
    let path = config.store.dir.join(SOCKET_FILE);
    match bind_socket(&path) {
        Ok(listener) => {
            tokio::spawn(admin::serve_unix(listener, Arc::clone(shared), shutdown.clone()));
        }
        Err(error) => warn!(
            path = %path.display(),
            error = &error as &dyn std::error::Error,
            "no control socket, so the command line cannot reach this agent"
        ),
    }
}

/// Bound under another name and renamed when its mode is right, so that it is never open to others. The data directory's
/// lock is held, so a socket that lies there belongs to nobody.
fn bind_socket(path: &Path) -> std::io::Result<tokio::net::UnixListener> {
    let making = path.with_file_name(".sock");
    match std::fs::remove_file(&making) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = tokio::net::UnixListener::bind(&making)?;
    std::fs::set_permissions(&making, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&making, path)?;
    Ok(listener)
}

pub(super) fn build_platform(config: &Config, supervisor: &Supervisor) -> Arc<dyn platform::Platform> {
    platform::build(&config.platform, adopt(supervisor))
}

/// How the limbs that start processes keep our reaper from taking what is theirs.
pub(super) fn adopt(supervisor: &Supervisor) -> platform::Adopt {
    let own = supervisor.own_children();
    Arc::new(move |spawn| Ok(Box::new(own.adopt(spawn)?)))
}

fn announce(
    config: &Config,
    warnings: &[String],
    data_path: &proxy::DataPlane,
    admin: Option<SocketAddr>,
    release: &str,
) {
    for warning in warnings {
        warn!(%warning, "this will hurt");
    }
    let public = data_path.address();
    let admin = admin.map(|a| a.to_string()).unwrap_or_default();
    let mode = config.policy.mode.label();
    info!(%public, %admin, %release, mode, environment = %config.service.environment, "listening");
    if let Some(path) = &config.proxy.health_path {
        info!(%path, "the health path is answered by the agent and shadows the app's own");
    }
}
