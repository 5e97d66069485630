//! The options as the rest of the agent sees them: checked, with their types. It does not know where a value came
//! from, nor how it is written.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::config::alerts::Alerts;
use crate::config::probes::Probes;
use crate::engine::policy::Policy;
use crate::engine::route::Pattern;

/// Everything that can be configured, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who we are.
    pub service: Service,
    /// Where we listen.
    pub listen: Listen,
    /// The agents of other replicas.
    pub peers: Peers,
    /// The app.
    pub app: App,
    /// The data path.
    pub proxy: Proxy,
    /// Every threshold of the judge and of acting.
    pub policy: Policy,
    /// The platform.
    pub platform: Platform,
    /// The store.
    pub store: Store,
    /// The admin port.
    pub admin: Admin,
    /// The health pages.
    pub health: Health,
    /// What the agent asks of others.
    pub probes: Probes,
    /// What of the host's state is called degraded.
    pub host: Host,
    /// Whom to tell, and of what.
    pub alerts: Alerts,
    /// Logs.
    pub log: Log,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The service's name, for people.
    pub name: String,
    /// The environment's name, for people.
    pub environment: String,
    /// The release, where the operator or the platform names one; otherwise it is derived from the command.
    pub release: Option<String>,
    /// The replica's name; derived when not given.
    pub replica: Option<String>,
    /// The deployment, as the platform names it; the release when not given.
    pub deployment: Option<String>,
    /// There is a watcher; it votes where the replicas are even in number.
    pub watcher: bool,
}

/// Where we listen.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// The public port.
    pub public: SocketAddr,
    /// The admin port; `None`: off.
    pub admin: Option<SocketAddr>,
    /// The peer port; used where there is a key.
    pub peers: SocketAddr,
}

/// The agents of other replicas.
#[derive(Clone, Debug, PartialEq)]
pub struct Peers {
    /// The keys that are valid: what is sent is sealed with the first, what comes may be sealed with either. Empty: peers are
    /// off.
    pub keys: Vec<Secret>,
    /// The name whose addresses are looked up again and again; `None`: none is.
    pub name: Option<String>,
    /// Hosts that are always tried, with or without their ports.
    pub addresses: Vec<String>,
    /// The port that peers listen on where none is given with an address: our own.
    pub port: u16,
    /// Between two look-ups of the name.
    pub refresh: Duration,
    /// How long the start waits for what peers remember.
    pub handover: Duration,
    /// The longest that a call of the platform may take to its effect; the same on all agents, whether they may call or not.
    pub call: Duration,
    /// The project, environment and service, as the platform names them for good: agents of another one are refused.
    pub scope: String,
}

/// The app behind us.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// The app's port on loopback; `None`: a free one is chosen at each start.
    pub port: Option<u16>,
    /// The socket that the app listens on instead of a port.
    pub socket: Option<PathBuf>,
    /// Where the app is, when we do not supervise it.
    pub upstream: Option<Address>,
    /// A path that answers 2xx or 3xx when the app is ready; `None`: it is ready when its port accepts.
    pub ready_path: Option<String>,
    /// How long the app, and open requests, are given at a shutdown.
    pub drain: Duration,
    /// How far signals go.
    pub signals: Reach,
    /// Whether the app is started again when it has ended.
    pub restart: Restart,
    /// Whether the app is given the platform's token.
    pub keep_token: bool,
}

/// Where an app is that others run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Host and port of an `http://` URL.
    Authority(String),
    /// A socket in the file system.
    Socket(PathBuf),
}

/// Whom a signal for the app is sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The app's first process; past a wrapper that does nothing with the signal, what that one runs.
    Auto,
    /// The first process only.
    App,
    /// Everybody in the app's process group.
    Group,
}

/// When the agent starts the app again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Never: the app's end is the agent's.
    Never,
    /// When it crashed.
    OnFailure,
    /// However it ended.
    Always,
}

/// The data path's limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxy {
    /// Worker threads, 1 to 64.
    pub workers: usize,
    /// The health path that the agent answers itself; the deep one is below it. `None`: the app's own is not shadowed.
    pub health_path: Option<String>,
    /// How long a connect to the app may take. The default is longer than the second after which the kernel repeats a
    /// lost SYN, so that one lost packet costs time and no request.
    pub connect_timeout: Duration,
    /// How long a request is held while the app is not ready.
    pub hold: Duration,
    /// How many requests are held at once in all; more are answered 503 at once.
    pub held_max: usize,
    /// How long the app may take to its reply's head; zero: no limit.
    pub response_timeout: Duration,
    /// How long a client's connection may be idle between requests.
    pub idle_timeout: Duration,
    /// How long a client may take from a head's first byte to its last.
    pub head_timeout: Duration,
    /// How long a client may be silent within a request's body; zero: no limit.
    pub body_timeout: Duration,
    /// How long a client may take nothing of a reply that waits for it; zero: no limit.
    pub send_timeout: Duration,
    /// How long a pooled connection to the app may be idle and still be used.
    pub upstream_idle: Duration,
    /// How many idle connections to the app each worker keeps.
    pub upstream_idle_max: usize,
    /// How many requests are at the app at once; more are answered 503 at once. Zero: no limit.
    pub in_flight_max: usize,
    /// How many client connections are open at once; more wait in the backlog.
    pub connections_max: usize,
    /// Routes that figures are kept of by name; the others are learnt.
    pub routes: Vec<Pattern>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            workers: 1,
            health_path: Some("/api/health".to_owned()),
            connect_timeout: Duration::from_millis(1500),
            hold: Duration::from_secs(3),
            held_max: 1000,
            response_timeout: Duration::from_secs(320),
            idle_timeout: Duration::from_secs(75),
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            send_timeout: Duration::from_secs(60),
            upstream_idle: Duration::from_millis(1500),
            upstream_idle_max: 64,
            in_flight_max: 0,
            connections_max: 10_000,
            routes: Vec::new(),
        }
    }
}

/// What is deployed, and who can put a release back.
#[derive(Clone, Debug, PartialEq)]
pub enum Platform {
    /// Decide and record, do not act.
    DryRun,
    /// The operator's own commands.
    Command {
        /// Puts a release back: the program and its arguments.
        roll_back: Vec<String>,
        /// Prints the release that is live; empty: nobody can tell.
        current: Vec<String>,
        /// How long either may run.
        timeout: Duration,
    },
    /// A platform on this machine that speaks the local deployment API (the demo's stage does).
    Local {
        /// `host:port` of its API.
        address: String,
        /// How long a call may take.
        timeout: Duration,
    },
    /// Railway, by its public API.
    Railway(Box<Railway>),
}

/// What is needed to ask Railway's public API.
#[derive(Clone, Debug, PartialEq)]
pub struct Railway {
    /// Where the API is.
    pub url: Url,
    /// With what it is asked; `None`: this agent asks nothing, another one may.
    pub token: Option<RailwayToken>,
    /// The project's id; empty only without a token, as the next two.
    pub project: String,
    /// The environment's id.
    pub environment: String,
    /// The service's id.
    pub service: String,
    /// How long a whole order may take, with all its steps.
    pub timeout: Duration,
    /// How many requests may be made in an hour; an order is always made.
    pub requests_per_hour: u32,
    /// Whether an order first cancels deployments that are on their way.
    pub cancel_queued: bool,
    /// Whether an order also keeps the platform from deploying by itself what is pushed next.
    pub stop_auto_deploy: bool,
    /// How many replicas the agents reckon with.
    pub replicas: u32,
}

/// A token of Railway's.
#[derive(Clone, Debug, PartialEq)]
pub struct RailwayToken {
    /// Its kind, which the header depends on.
    pub kind: TokenKind,
    /// The token itself.
    pub secret: Secret,
}

/// What a token of Railway's is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// One environment of one project.
    Project,
    /// A person's account, or a workspace.
    Account,
}

impl Platform {
    /// The same, told how many replicas there are.
    pub(super) fn for_replicas(mut self, replicas: u32) -> Self {
        if let Self::Railway(railway) = &mut self {
            railway.replicas = replicas;
        }
        self
    }

    /// Whether an order to it has an effect.
    pub const fn may_act(&self) -> bool {
        match self {
            Self::DryRun => false,
            Self::Command { .. } | Self::Local { .. } => true,
            Self::Railway(railway) => railway.token.is_some(),
        }
    }
}

/// Where the store is.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// The data directory.
    pub dir: PathBuf,
    /// The operator named it: it must be writable. Otherwise memory is used with a warning.
    pub dir_is_explicit: bool,
    /// How many ticks of evidence are kept.
    pub evidence_max: u64,
    /// How many records are kept.
    pub records_max: u64,
}

/// The admin port's credentials.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// What acts, and what is read from off this machine, needs it.
    pub token: Option<Secret>,
}

/// The health pages.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Whether everybody is told the checks' details; otherwise who has the token, and whoever asks on the admin port.
    pub public_details: bool,
    /// The deep page asks anew what was not asked for longer than this.
    pub max_age: Duration,
    /// Whether the public port, too, answers `/api/live`, `/api/ready` and `/api/version` in the app's place.
    pub status_paths: bool,
}

/// What of the host's state is called degraded. Shares from 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Memory in use, of the container's limit.
    pub memory_max: f64,
    /// Space in use, of the data directory's file system.
    pub disk_max: f64,
    /// Descriptors in use by one process, of its limit.
    pub descriptors_max: f64,
    /// Time in which the container was kept from the processor by its quota.
    pub throttled_max: f64,
}

/// How logs are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, or targets with their levels, as in `info,outrigger::proxy=debug`.
    pub filter: String,
    /// JSON, or for people; `None`: for people on a terminal, else JSON.
    pub json: Option<bool>,
}

/// A secret. It cannot be printed, compared in variable time, or serialised.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret in.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the moment of handing it to whoever needs it. What prints, logs or keeps it is a fault.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same secret, in time that does not depend on where they differ.
    pub fn matches(&self, other: &[u8]) -> bool {
        use subtle::ConstantTimeEq as _;
        self.0.as_bytes().ct_eq(other).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}
