//! The table of options: each with its default, its range and its type. What they mean is in `docs/CONFIGURATION.md`.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::alerts;
use crate::config::environment::Surroundings;
use crate::config::options::{
    Admin, App, Config, Health, Host, Listen, Log, Peers, Proxy, Reach, Restart, Service, Store,
};
use crate::config::peers;
use crate::config::platform;
use crate::config::probes::Probes;
use crate::config::reader::Reader;
use crate::config::units::{self, NAME_LEN_MAX, Wrong};
use crate::config::value::Value;
use crate::engine::memory::CRASHES_MAX;
use crate::engine::policy::{Mode, Policy};
use crate::engine::release::Release;
use crate::engine::route::{PATTERNS_MAX, Pattern};

/// The data directory when nobody names one.
const DIR: &str = ".outrigger";
/// How many ticks of evidence are kept by default: about 28 hours.
const EVIDENCE_MAX: u64 = 20_000;
/// How many records are kept by default.
const RECORDS_MAX: u64 = 10_000;
/// The drain time by default, where the platform does not say how long it waits before it kills.
const DRAIN: Duration = Duration::from_secs(5);
/// How old an answer may be that the deep health page still tells.
const HEALTH_MAX_AGE: Duration = Duration::from_millis(100);
/// Workers that are started by themselves at most.
const WORKERS_BY_CPU_MAX: usize = 4;

/// Reads every option.
pub(super) fn read(reader: &mut Reader, surroundings: &Surroundings) -> Config {
    reader.preset(surroundings.presets.clone());
    let (service, listen) = (service(reader), listen(reader));
    let peers = peers::read(reader, surroundings, &service, &listen);
    let platform::Read { platform, call, scope } = platform::read(reader, surroundings);
    let policy = policy(reader);
    Config {
        service,
        listen,
        peers: Peers { call, scope: scope.unwrap_or(peers.scope), ..peers },
        app: app(reader),
        proxy: proxy(reader),
        platform: platform.for_replicas(policy.replicas),
        policy,
        store: store(reader),
        admin: Admin { token: surroundings.token.clone() },
        health: health(reader),
        probes: Probes::default(),
        host: host(reader),
        alerts: alerts::read(reader, &surroundings.alerts),
        log: log(reader),
    }
}

fn service(reader: &mut Reader) -> Service {
    let name = |value: &Value| match units::line(value, NAME_LEN_MAX)? {
        "" => Err("is empty"),
        text => Ok(text.to_owned()),
    };
    let release = |value: &Value| -> Result<String, Wrong> {
        let text = units::line(value, Release::LEN_MAX)?;
        Release::new(text).map(|release| release.as_str().to_owned()).ok_or("is no release's name")
    };
    let name_remedy = "give a name of 1 to 64 characters on one line";
    let release_remedy = "give 1 to 128 visible ASCII characters without spaces, such as \"v1.4.2\"";
    Service {
        name: reader.parsed("service.name", "app", name_remedy, name),
        environment: reader.parsed("service.environment", "local", name_remedy, name),
        release: reader.optional("service.release", release_remedy, release),
        replica: reader.optional("service.replica", name_remedy, name),
        deployment: reader.optional("service.deployment", release_remedy, release),
        watcher: reader.truth("service.watcher", false),
    }
}

fn listen(reader: &mut Reader) -> Listen {
    let admin = |value: &Value| match value.text() {
        Some("off") => Ok(None),
        _ => units::address(value).map(Some),
    };
    let remedy =
        "give an IP address and a port, such as \"[::]:8080\" for all interfaces or \"127.0.0.1:8080\"";
    Listen {
        public: reader.parsed("listen.public", "[::]:8080", remedy, units::address),
        admin: reader.parsed("listen.admin", "[::]:9900", &format!("{remedy}, or \"off\""), admin),
        peers: reader.parsed("listen.peers", "[::]:9901", remedy, units::address),
    }
}

fn app(reader: &mut Reader) -> App {
    let port = reader.small("app.port", 0, 0, u16::MAX.into()) as u16;
    let reaches = [("auto", Reach::Auto), ("app", Reach::App), ("group", Reach::Group)];
    let restarts =
        [("never", Restart::Never), ("on-failure", Restart::OnFailure), ("always", Restart::Always)];
    App {
        port: (port != 0).then_some(port),
        socket: reader.optional("app.socket", SOCKET_REMEDY, |value| units::socket(units::line(value, 256)?)),
        upstream: reader.optional("app.upstream", UPSTREAM_REMEDY, units::upstream),
        ready_path: reader.parsed("app.ready_path", "off", PATH_REMEDY, units::path),
        drain: reader.duration("app.drain", DRAIN, "0s", "1h"),
        signals: reader.choice("app.signals", &reaches),
        restart: reader.choice("app.restart", &restarts),
        keep_token: reader.truth("app.keep_token", false),
    }
}

const UPSTREAM_REMEDY: &str = "give a plain URL with nothing behind the port, such as \"http://127.0.0.1:3000\", or a \
                               socket, such as \"unix:/run/app.sock\"";
const SOCKET_REMEDY: &str =
    "give the absolute path of a socket, at most 107 bytes long, such as \"/run/app.sock\"";

const PATH_REMEDY: &str = "give a path that begins with /, or \"off\"";

fn proxy(reader: &mut Reader) -> Proxy {
    let d = Proxy::default();
    let health = d.health_path.as_deref().unwrap_or("off").to_owned();
    // The deep one is below it, so it must be more than "/", and without a query.
    let health_path = |value: &Value| match units::path(value)? {
        Some(path) if path.ends_with('/') => Err("ends with /"),
        Some(path) if path.contains('?') => Err("holds a query"),
        path => Ok(path),
    };
    let size = |number: u64| usize::try_from(number).expect("the ranges of sizes end within usize");
    let workers = size(reader.count("proxy.workers", 0, 0, 64));
    Proxy {
        workers: if workers == 0 { workers_by_cpu() } else { workers },
        health_path: reader.parsed("proxy.health_path", &health, PATH_REMEDY, health_path),
        connect_timeout: reader.duration("proxy.connect_timeout", d.connect_timeout, "10ms", "1m"),
        hold: reader.duration("proxy.hold", d.hold, "0s", "30s"),
        held_max: size(reader.count("proxy.held_max", d.held_max as u64, 0, 100_000)),
        response_timeout: reader.duration("proxy.response_timeout", d.response_timeout, "0s", "1d"),
        idle_timeout: reader.duration("proxy.idle_timeout", d.idle_timeout, "1s", "1h"),
        head_timeout: reader.duration("proxy.head_timeout", d.head_timeout, "100ms", "1h"),
        body_timeout: reader.duration("proxy.body_timeout", d.body_timeout, "0s", "1h"),
        send_timeout: reader.duration("proxy.send_timeout", d.send_timeout, "0s", "1h"),
        upstream_idle: reader.duration("proxy.upstream_idle", d.upstream_idle, "0s", "10m"),
        upstream_idle_max: size(reader.count(
            "proxy.upstream_idle_max",
            d.upstream_idle_max as u64,
            0,
            10_000,
        )),
        in_flight_max: size(reader.count("proxy.in_flight_max", d.in_flight_max as u64, 0, 1_000_000)),
        connections_max: size(reader.count("proxy.connections_max", d.connections_max as u64, 1, 1_000_000)),
        routes: reader.texts("proxy.routes", PATTERNS_MAX, ROUTES_REMEDY, Pattern::parse),
    }
}

const ROUTES_REMEDY: &str =
    r#"give a list of at most 100 paths, such as ["/users/{id}", "/files/{path...}"]"#;

fn workers_by_cpu() -> usize {
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(WORKERS_BY_CPU_MAX))
}

fn policy(reader: &mut Reader) -> Policy {
    let d = Policy::default();
    let modes = [Mode::Recommend, Mode::Observe, Mode::Enforce].map(|mode| (mode.label(), mode));
    let crashes_max = u32::try_from(CRASHES_MAX).expect("crashes are remembered by the handful");
    Policy {
        mode: reader.choice("rollback.mode", &modes),
        judging: reader.truth("judge.enabled", d.judging),
        watch: reader.duration("judge.watch", d.watch, "5s", "30d"),
        warm_up: reader.duration("judge.warm_up", d.warm_up, "0s", "1h"),
        warm_up_requests: reader.count("judge.warm_up_requests", d.warm_up_requests, 0, 1_000_000),
        false_alarms: reader.share("judge.false_alarms", d.false_alarms, 0.000_001, 0.5),
        false_alarm_interval: reader.duration(
            "judge.false_alarm_interval",
            d.false_alarm_interval,
            "1h",
            "36500d",
        ),
        error_ratio: reader.ratio("judge.error_ratio", d.error_ratio, 1.01, 100.0),
        error_floor: reader.share("judge.error_floor", d.error_floor, 0.0001, 0.5),
        latency_ratio: reader.ratio("judge.latency_ratio", d.latency_ratio, 1.01, 100.0),
        judge_routes: reader.truth("judge.routes", d.judge_routes),
        judge_statuses: reader.truth("judge.statuses", d.judge_statuses),
        status_ratio: reader.ratio("judge.status_ratio", d.status_ratio, 1.01, 100.0),
        status_floor: reader.share("judge.status_floor", d.status_floor, 0.0001, 0.9),
        judge_resources: reader.truth("judge.resources", d.judge_resources),
        resource_ratio: reader.ratio("judge.resource_ratio", d.resource_ratio, 1.01, 100.0),
        control_ratio: reader.ratio("judge.control_ratio", d.control_ratio, 1.0, 100.0),
        probe_floor: reader.share("judge.probe_floor", d.probe_floor, 0.0001, 0.9),
        probe_ratio: reader.ratio("judge.probe_ratio", d.probe_ratio, 1.01, 100.0),
        hold: reader.duration("judge.hold", d.hold, "0s", "1d"),
        hold_blames_until: reader.duration("judge.hold_blames_until", d.hold_blames_until, "0s", "30d"),
        baseline_requests_min: reader.count(
            "judge.baseline_requests_min",
            d.baseline_requests_min,
            1,
            1_000_000_000,
        ),
        known_good_requests: reader.count(
            "judge.known_good_requests",
            d.known_good_requests,
            1,
            1_000_000_000,
        ),
        watch_max: reader.duration("judge.watch_max", d.watch_max, "5s", "365d"),
        catastrophe_ticks: reader.small("judge.catastrophe_ticks", d.catastrophe_ticks, 2, 100),
        catastrophe_error_share: reader.share(
            "judge.catastrophe_error_share",
            d.catastrophe_error_share,
            0.01,
            1.0,
        ),
        catastrophe_requests_min: reader.count(
            "judge.catastrophe_requests_min",
            d.catastrophe_requests_min,
            1,
            1_000_000,
        ),
        catastrophe_latency_ratio: reader.ratio(
            "judge.catastrophe_latency_ratio",
            d.catastrophe_latency_ratio,
            1.01,
            1000.0,
        ),
        crashes: reader.small("judge.crashes", d.crashes, 1, crashes_max),
        crashes_within: reader.duration("judge.crashes_within", d.crashes_within, "1s", "1d"),
        replicas: reader.small("service.replicas", d.replicas, 1, 1000),
        ..rollback(reader, d)
    }
}

/// What belongs to acting; the rest is `d`.
fn rollback(reader: &mut Reader, d: Policy) -> Policy {
    Policy {
        cooldown: reader.duration("rollback.cooldown", d.cooldown, "0s", "7d"),
        verify: reader.duration("rollback.verify", d.verify, "1s", "1d"),
        act_after_watch: reader.truth("rollback.after_watch", d.act_after_watch),
        acts_an_hour: reader.small("rollback.an_hour", d.acts_an_hour, 1, 100),
        acts_a_day: reader.small("rollback.a_day", d.acts_a_day, 1, 100),
        lock: reader.duration("rollback.lock", d.lock, "0s", "30d"),
        ignore_schema: reader.truth("rollback.ignore_schema", d.ignore_schema),
        confirm: reader.duration("rollback.confirm", d.confirm, "5s", "1d"),
        confirm_max: reader.duration("rollback.confirm_max", d.confirm_max, "5s", "7d"),
        ..d
    }
}

fn store(reader: &mut Reader) -> Store {
    let remedy = "give the path of a directory";
    let path = |value: &Value| match units::line(value, 4096)? {
        "" => Err("is empty"),
        text => Ok(PathBuf::from(text)),
    };
    let dir = reader.optional("store.dir", remedy, path);
    Store {
        dir: dir.unwrap_or_else(|| PathBuf::from(DIR)),
        dir_is_explicit: reader.origin("store.dir").is_explicit(),
        evidence_max: reader.count("store.evidence_max", EVIDENCE_MAX, 100, 10_000_000),
        records_max: reader.count("store.records_max", RECORDS_MAX, 100, 1_000_000),
    }
}

fn health(reader: &mut Reader) -> Health {
    Health {
        public_details: reader.choice("health.details", &[("private", false), ("public", true)]),
        max_age: reader.duration("health.max_age", HEALTH_MAX_AGE, "0s", "1m"),
        status_paths: reader.truth("health.status_paths", false),
    }
}

fn host(reader: &mut Reader) -> Host {
    Host {
        memory_max: reader.share("host.memory_max", 0.95, 0.01, 1.0),
        disk_max: reader.share("host.disk_max", 0.95, 0.01, 1.0),
        descriptors_max: reader.share("host.descriptors_max", 0.9, 0.01, 1.0),
        throttled_max: reader.share("host.throttled_max", 0.25, 0.01, 1.0),
    }
}

fn log(reader: &mut Reader) -> Log {
    let remedy =
        "give error, warn, info, debug or trace, or targets too, as in \"info,outrigger::proxy=debug\"";
    Log {
        filter: reader.parsed("log.filter", "info", remedy, units::log_filter),
        json: reader.choice("log.format", &[("auto", None), ("json", Some(true)), ("text", Some(false))]),
    }
}

/// What can only be wrong between options.
pub(super) fn cross_check(reader: &mut Reader, config: &Config) {
    cross_check_times(reader, config);
    cross_check_places(reader, config);
    platform::cross_check(reader, config);
}

fn cross_check_times(reader: &mut Reader, config: &Config) {
    let (policy, proxy) = (&config.policy, &config.proxy);
    let mut require = |holds, options: &[&str], rule| reader.require(holds, options, rule);
    require(
        policy.warm_up < policy.watch,
        &["judge.warm_up", "judge.watch"],
        "the warm-up must end before the watch does, or nothing is judged; make it shorter",
    );
    require(
        policy.watch <= policy.watch_max,
        &["judge.watch", "judge.watch_max"],
        "a watch cannot be longer than its longest extension; make watch_max at least watch",
    );
    require(
        policy.watch < policy.false_alarm_interval,
        &["judge.watch", "judge.false_alarm_interval"],
        "the mean time between false alarms must be longer than one watch",
    );
    require(
        policy.error_floor < policy.catastrophe_error_share,
        &["judge.error_floor", "judge.catastrophe_error_share"],
        "a catastrophe must be worse than what is still allowed; make error_floor smaller",
    );
    let no_limit = proxy.response_timeout.is_zero();
    require(
        no_limit || proxy.hold < proxy.response_timeout,
        &["proxy.hold", "proxy.response_timeout"],
        "a request must not be held for as long as its whole reply may take; make hold shorter",
    );
    require(
        no_limit || proxy.connect_timeout < proxy.response_timeout,
        &["proxy.connect_timeout", "proxy.response_timeout"],
        "a connect must not take as long as the whole reply may; make connect_timeout shorter",
    );
}

/// Where the agent and the app listen.
fn cross_check_places(reader: &mut Reader, config: &Config) {
    let mut require = |holds, options: &[&str], rule| reader.require(holds, options, rule);
    let public = config.listen.public.port();
    let admin = config.listen.admin.map(|address| address.port());
    require(
        public == 0 || admin != Some(public),
        &["listen.public", "listen.admin"],
        "two listeners cannot share a port; give the admin port another, or \"off\"",
    );
    let peers = (!config.peers.keys.is_empty()).then_some(config.listen.peers.port());
    for (option, port) in [("listen.public", Some(public)), ("listen.admin", admin)] {
        require(
            peers.is_none() || peers == Some(0) || peers != port,
            &["listen.peers", option],
            "two listeners cannot share a port; give the peer port another",
        );
    }
    for (option, port) in [("listen.public", Some(public)), ("listen.admin", admin)] {
        require(
            config.app.port.is_none() || config.app.port != port,
            &["app.port", option],
            "the app cannot listen where the agent does; give app.port another port, or 0 for any free one",
        );
    }
    require(
        config.app.port.is_none() || config.app.socket.is_none(),
        &["app.port", "app.socket"],
        "the app listens on a port or on a socket; leave one of them out",
    );
    require(
        config.app.upstream.is_none() || config.app.socket.is_none(),
        &["app.upstream", "app.socket"],
        "a socket is told to an app that the agent starts; for one that others run, give upstream = \"unix:/path\"",
    );
}

/// Lowers the mode where a variable forbids acting; whether it had to.
pub(super) fn forbid_acting(config: &mut Config, surroundings: &Surroundings) -> bool {
    let lowered = surroundings.forbids_acting && config.policy.mode == Mode::Enforce;
    if lowered {
        config.policy.mode = Mode::Recommend;
    }
    lowered
}

/// What is allowed and will hurt.
pub(super) fn warnings(
    reader: &Reader,
    config: &Config,
    surroundings: &Surroundings,
    lowered: bool,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |holds: bool, text: String| {
        if holds {
            warnings.push(text);
        }
    };
    warn(
        lowered,
        "AUTO_ROLLBACK_ENABLED=false: rollback.mode is lowered from \"enforce\" to \"recommend\"".to_owned(),
    );
    if let Some(strategy) = &surroundings.strategy {
        let shown = Value::Plain(strategy.clone()).shown(&surroundings.secrets);
        warn(true, format!("DEPLOYMENT_STRATEGY={shown} is not supported: it is treated as \"standard\""));
    }
    let remedy = if surroundings.on_railway {
        "set RAILWAY_DEPLOYMENT_DRAINING_SECONDS to 30"
    } else {
        "set app.drain"
    };
    warn(
        config.app.drain.is_zero(),
        format!("the drain time is 0: requests that are open at a shutdown are lost; {remedy}"),
    );
    peers::warnings(config, &mut warn);
    let keeps_nothing = surroundings.volume.is_none() && !config.store.dir_is_explicit;
    warn(
        surroundings.on_railway && keeps_nothing && config.peers.keys.is_empty(),
        "no volume is attached and no OUTRIGGER_PEER_KEY is set: what is learnt ends with the deployment, so every release \
         is judged without a baseline; set OUTRIGGER_PEER_KEY and an overlap, or, for a service of one replica, attach a \
         volume"
            .to_owned(),
    );
    warn(
        surroundings.on_railway && config.proxy.health_path.is_none(),
        "proxy.health_path is off: the platform's health check asks the app itself, and must name a path of the app"
            .to_owned(),
    );
    platform::warnings(reader, config, &mut warn);
    warn(!config.policy.judging, "judge.enabled is false: no release is judged".to_owned());
    warnings
}
