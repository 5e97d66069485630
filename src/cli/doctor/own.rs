//! What our own configuration and the running agent say. Pure.

use serde_json::Value;

use crate::cli::doctor::Running;
use crate::cli::doctor::finding::Finding;
use crate::cli::explain::figures::{clean, text_or};
use crate::config::probes::Ask;
use crate::config::{Config, Loaded, Origin, Platform, Railway};
use crate::engine::policy::Mode;

const VARIABLES: &str = "in the service's Variables";

/// What is configured, and what of it will hurt.
pub(super) fn of_config(loaded: &Loaded) -> Vec<Finding> {
    let config = &loaded.config;
    let mut found = vec![acting(config), platform(config)];
    found.extend(not_asked(loaded));
    found.extend(electorate(config));
    found.push(health_path(config));
    found.extend(token(config));
    found.extend(schema(config));
    let ours = |text: &String| Finding::warning("configuration", text.clone(), "", "");
    found.extend(loaded.warnings.iter().map(ours));
    found
}

fn acting(config: &Config) -> Finding {
    match config.policy.mode {
        Mode::Enforce => Finding::ok("mode", "rollback.mode is enforce: the agent may act"),
        Mode::Recommend => Finding::info(
            "mode",
            "rollback.mode is recommend: a person acts, with `outrigger rollback`",
            "set OUTRIGGER__ROLLBACK__MODE=enforce on all agents when you trust what is recommended",
        ),
        Mode::Observe => {
            Finding::info("mode", "rollback.mode is observe: nothing is recommended and nothing is done", "")
        }
    }
}

fn platform(config: &Config) -> Finding {
    let todo = "set OUTRIGGER__PLATFORM__KIND=railway and the token where one agent is to act: at the watcher, or at the \
                service itself where there is none";
    match &config.platform {
        Platform::DryRun if config.service.watcher => Finding::info(
            "platform",
            "this agent's platform is dry-run: it votes and leaves the call to another agent, such as the watcher",
            "",
        ),
        Platform::DryRun => {
            Finding::warning("platform", "platform.kind is dry-run: nobody puts a release back", "", todo)
        }
        Platform::Command { .. } => {
            Finding::ok("platform", "releases are put back by your own command (platform.roll_back)")
        }
        Platform::Local { address, .. } => {
            Finding::ok("platform", format!("the platform is a local one, at {address}"))
        }
        Platform::Railway(of) => railway(of),
    }
}

/// Which service is meant, by its ids.
fn railway(of: &Railway) -> Finding {
    let (project, environment, service) = (&of.project, &of.environment, &of.service);
    let all = [("project", project), ("environment", environment), ("service", service)];
    let missing: Vec<&str> = all.into_iter().filter(|(_, id)| id.is_empty()).map(|(name, _)| name).collect();
    if missing.is_empty() {
        let ids = format!("project {project}, environment {environment}, service {service}");
        return Finding::ok("platform", format!("the platform is Railway: {ids}"));
    }
    let options: Vec<String> = missing.iter().map(|name| format!("platform.{name}")).collect();
    let variables: Vec<String> =
        missing.iter().map(|name| format!("OUTRIGGER__PLATFORM__{}", name.to_ascii_uppercase())).collect();
    Finding::fault(
        "platform",
        format!("not set: {}", options.join(", ")),
        "nothing says which service of Railway's is meant",
        format!("set {} to the ids that stand in the dashboard's address", variables.join(", ")),
    )
}

/// On Railway, without asking it: then much is not looked at.
fn not_asked(loaded: &Loaded) -> Option<Finding> {
    let kind = match &loaded.config.platform {
        Platform::DryRun => "dry-run",
        Platform::Command { .. } => "command",
        Platform::Local { .. } => "local",
        Platform::Railway(_) => return None,
    };
    let ids = ["platform.project", "platform.environment", "platform.service"];
    let mut settings = ids.iter().filter_map(|option| loaded.origins.get(*option));
    let is_there = settings.any(|setting| matches!(setting.origin, Origin::Platform(_)));
    is_there.then(|| {
        Finding::info(
            "not_asked",
            format!("Railway was not asked: this agent has no token (platform.kind is {kind})"),
            "health path, draining, overlap, domains and replicas were not checked; run the doctor at the watcher",
        )
    })
}

/// Who may vote.
fn electorate(config: &Config) -> Vec<Finding> {
    let (replicas, has_key) = (config.policy.replicas, !config.peers.keys.is_empty());
    let mut found = Vec::new();
    found.push(match (replicas, has_key) {
        (1, false) => Finding::info(
            "electorate",
            "one replica and no peer key: the agent decides alone",
            "with a peer key (OUTRIGGER_PEER_KEY) it hands what it learnt on to the next deployment, where old and new run \
             side by side for some seconds",
        ),
        (_, false) => Finding::fault(
            "electorate",
            format!("{replicas} replicas and no peer key: no agent may act"),
            "one ill replica would revert all; so without a vote nothing is done",
            format!("set the same OUTRIGGER_PEER_KEY (openssl rand -hex 32) {VARIABLES} of the service and of the watcher"),
        ),
        (_, true) => {
            let watcher = if config.service.watcher { " and a watcher" } else { "" };
            Finding::ok("electorate", format!("{replicas} replicas{watcher} vote, and know one another by the peer key"))
        }
    });
    if has_key && replicas.is_multiple_of(2) && !config.service.watcher {
        found.push(Finding::warning(
            "even",
            format!("{replicas} replicas without a watcher: if one is lost, the others may not be enough"),
            "of an even number more than half must agree, so an even fleet stands no more losses than one replica fewer",
            "run `outrigger watch` as a service of its own and set OUTRIGGER__SERVICE__WATCHER=true on all agents, or run an odd \
             number of replicas",
        ));
    }
    found
}

fn health_path(config: &Config) -> Finding {
    match &config.proxy.health_path {
        Some(path) => {
            Finding::ok("health_page", format!("the agent answers {path}, 200 once the app is ready"))
        }
        None => Finding::warning(
            "health_page",
            "proxy.health_path is off: the app answers the platform's health check itself",
            "the platform may take a deployment for live before the agent and the app are ready",
            "leave proxy.health_path at /api/health and give the platform that path",
        ),
    }
}

fn token(config: &Config) -> Option<Finding> {
    let has_port = config.listen.admin.is_some();
    (has_port && config.admin.token.is_none()).then(|| {
        Finding::info(
            "admin_token",
            "OUTRIGGER_TOKEN is not set: commands work on this machine only, and the dashboard and the gate cannot be read \
             from elsewhere",
            "",
        )
    })
}

/// Whether a database's schema is looked at.
fn schema(config: &Config) -> Option<Finding> {
    let probes = &config.probes.list;
    let sees = |ask: &Ask| matches!(ask, Ask::Postgres(_) | Ask::Mysql(_));
    let seen: Vec<&str> = probes.iter().filter(|p| sees(&p.ask)).map(|p| p.name.as_str()).collect();
    if config.policy.ignore_schema {
        return Some(Finding::warning(
            "schema",
            "rollback.ignore_schema is true: a release is put back although a database was migrated since it ran",
            "old code on a new schema may fail, or write what the new code cannot read",
            "leave it at false unless all your migrations are backward compatible",
        ));
    }
    Some(if seen.is_empty() {
        Finding::info(
            "schema",
            "no probe sees a database's schema, so a rollback cannot be refused because of a migration",
            "give the agent the database's URL (DATABASE_URL, or a [probe.NAME] section with `schema`)",
        )
    } else {
        Finding::ok("schema", format!("migrations are looked for by {}", seen.join(", ")))
    })
}

/// What the running agent says.
pub(super) fn of_agent(running: Option<&Running>) -> Vec<Finding> {
    let Some(Running { snapshot, quorum, .. }) = running else {
        return vec![Finding::info(
            "agent",
            "no agent answers in the data directory",
            "so it is not known which releases are good, and what could be put back is told less well; run this beside the agent",
        )];
    };
    let release = text_or(snapshot, "release", "(unknown)");
    let mut found = vec![Finding::ok("agent", format!("an agent runs here, beside release {release}"))];
    found.extend(kept(snapshot));
    found.extend(brakes(snapshot));
    let reachable = quorum.get("reachable").and_then(Value::as_bool);
    if reachable == Some(false) {
        let missing = quorum.get("missing").and_then(Value::as_array).into_iter().flatten();
        for of in missing {
            found.push(Finding::warning(
                "quorum",
                format!("no quorum can be reached now: {}", text_or(of, "says", "it is not said why")),
                "no release would be rolled back by itself",
                "`outrigger quorum` says more",
            ));
        }
    }
    found
}

/// Whether what is learnt is kept.
fn kept(snapshot: &Value) -> Option<Finding> {
    let store = snapshot.get("store")?;
    Some(match store.get("durable").and_then(Value::as_bool) {
        Some(true) => {
            Finding::ok("store", format!("what is learnt is kept in {}", text_or(store, "path", "(unknown)")))
        }
        _ => Finding::warning(
            "store",
            "what is learnt is kept in memory only",
            "a restart forgets locks, pauses, baselines and which releases were good, and the agent does not act",
            "make the data directory writable: attach a volume (it is then used by itself), or name one with store.dir",
        ),
    })
}

fn brakes(snapshot: &Value) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(pause) = snapshot.get("pause").filter(|pause| pause.is_object()) {
        let (by, why) = (text_or(pause, "by", "someone"), text_or(pause, "reason", "no reason given"));
        let what = format!("acting is paused by {by}: {why}");
        found.push(Finding::warning(
            "paused",
            what,
            "nothing is rolled back meanwhile",
            "`outrigger resume`",
        ));
    }
    if let Some(lock) = snapshot.get("lock").filter(|lock| lock.is_object()) {
        let (by, why) = (text_or(lock, "by", "someone"), text_or(lock, "reason", "no reason given"));
        found.push(Finding::info(
            "locked",
            format!("deployments are locked by {by}: {why}"),
            "`outrigger unlock` ends it; it holds only where whoever deploys asks `outrigger gate`",
        ));
    }
    let Some(readiness) = snapshot.get("readiness").filter(|readiness| readiness.is_object()) else {
        return found;
    };
    for fault in
        readiness.get("faults").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    {
        found.push(Finding::fault(
            "parachute",
            format!("when the agent looked last: {}", clean(fault)),
            "a rollback would fail",
            "",
        ));
    }
    found
}
