//! What Railway says of the service's settings. Pure.

use crate::cli::doctor::finding::Finding;
use crate::cli::doctor::railway::{barred, read};
use crate::config::Config;
use crate::engine::time::Time;
use crate::platform::railway::{Examination, Manifest, Settings};

/// From then on `railway.json` and `railway.toml` are not read any more: 2026-12-01.
const FILES_END: Time = Time::from_millis(1_796_083_200_000);
/// Less than this is too little for open requests to end.
const DRAINING_MIN_S: u32 = 15;
/// Less than this is too little for old and new agents to meet.
const OVERLAP_MIN_S: u32 = 20;
/// A health check that is given up sooner fails a slow start.
const HEALTH_TIMEOUT_MIN_S: u32 = 60;

/// The findings.
pub(super) fn of(found: &Examination, config: &Config, now: Time) -> Vec<Finding> {
    let mut all = Vec::new();
    if found.token.is_none() || barred(found).is_some() {
        return all;
    }
    let none = Manifest::default();
    let manifest = found.live.as_ref().map_or(&none, |live| &live.manifest);
    let volumes =
        read(&found.volumes, "volumes", "the service's volumes", &mut all).map_or(&[][..], Vec::as_slice);
    let Some(settings) = read(&found.settings, "settings", "the service's settings", &mut all) else {
        return all;
    };
    all.push(health(settings, manifest, config));
    all.extend(health_timeout(settings));
    all.extend(overlap(settings, manifest, volumes));
    all.push(draining(settings, manifest));
    all.extend(lives(settings, manifest));
    all.extend(replicas(found, settings, manifest, volumes));
    all.extend(ports(found, settings, config));
    all.extend(file(settings, manifest, now));
    all.extend(start(settings));
    all
}

fn health(settings: &Settings, manifest: &Manifest, config: &Config) -> Finding {
    let todo = |path: &str| format!("service > Settings > Deploy > Healthcheck Path: {path}");
    let wanted = config.proxy.health_path.as_deref().unwrap_or("/api/health");
    match manifest.health_path.as_deref().or(settings.health_path.as_deref()) {
        None => Finding::warning(
            "health_check",
            "the service has no health-check path",
            "a deployment then goes live as soon as its container has started, ready or not",
            todo(wanted),
        ),
        Some(path) if path == wanted => {
            Finding::ok("health_check", format!("Railway asks {path}, which the agent answers"))
        }
        Some(path) => Finding::warning(
            "health_check",
            format!("Railway asks {path}, and the agent answers {wanted}"),
            "the app answers the check then, and the agent knows nothing of it",
            todo(wanted),
        ),
    }
}

fn health_timeout(settings: &Settings) -> Option<Finding> {
    let timeout = settings.health_timeout.filter(|&timeout| timeout < HEALTH_TIMEOUT_MIN_S)?;
    Some(Finding::warning(
        "health_timeout",
        format!("the health check is given up after {timeout} s"),
        "a deployment whose start takes longer fails, and so does the one that a rollback makes",
        "set RAILWAY_HEALTHCHECK_TIMEOUT_SEC=300 in the service's Variables",
    ))
}

fn overlap(settings: &Settings, manifest: &Manifest, volumes: &[String]) -> Option<Finding> {
    let overlap = manifest.overlap.or(settings.overlap).unwrap_or(0);
    if !volumes.is_empty() {
        let what = "the service has a volume, so old and new deployments never run side by side";
        let why =
            "each deployment, a rollback too, is a short outage; what the agent learnt stays on the volume";
        return Some(Finding::info("overlap", what, why));
    }
    Some(if overlap < OVERLAP_MIN_S {
        Finding::warning(
            "overlap",
            format!("the old deployment runs on for {overlap} s beside the new one"),
            "in that time the old agents hand what they know to the new ones; without it the new release has no baseline, unless a \
             watcher remembers it",
            "set RAILWAY_DEPLOYMENT_OVERLAP_SECONDS=30 in the service's Variables",
        )
    } else {
        Finding::ok("overlap", format!("old and new deployments overlap by {overlap} s"))
    })
}

fn draining(settings: &Settings, manifest: &Manifest) -> Finding {
    let draining = manifest.draining.or(settings.draining).unwrap_or(0);
    if draining >= DRAINING_MIN_S {
        return Finding::ok("draining", format!("open requests have {draining} s to end"));
    }
    let why = if draining == 0 {
        "Railway kills the old deployment at once: every deployment, a rollback too, breaks open requests, and the agent cannot \
         write what it knows last"
    } else {
        "requests that take longer are broken at every deployment, a rollback too"
    };
    Finding::warning(
        "draining",
        format!("the old deployment is killed {draining} s after it was told to end"),
        why,
        "set RAILWAY_DEPLOYMENT_DRAINING_SECONDS=30 in the service's Variables; the agent takes its own time from the same variable",
    )
}

/// What keeps the service from running all the time.
fn lives(settings: &Settings, manifest: &Manifest) -> Vec<Finding> {
    let mut all = Vec::new();
    if manifest.sleeps.or(settings.sleeps) == Some(true) {
        all.push(Finding::warning(
            "sleep",
            "the service may sleep (serverless)",
            "the agent's probes and peers send something all the time and keep it awake, so it costs as much as without; and while \
             it sleeps nothing is judged",
            "service > Settings > Deploy > Serverless: off",
        ));
    }
    if settings.restart_policy.as_deref() == Some("NEVER") {
        all.push(Finding::warning(
            "restart",
            "a replica that ends is not started again",
            "the agent ends with the app and leaves it to Railway to start both",
            "service > Settings > Deploy > Restart Policy: On Failure",
        ));
    }
    if let Some(cron) = &settings.cron {
        all.push(Finding::fault(
            "cron",
            format!("the service runs by a schedule ({cron})"),
            "only what serves requests all the time can be judged",
            "watch another service: platform.service",
        ));
    }
    all
}

fn replicas(
    found: &Examination,
    settings: &Settings,
    manifest: &Manifest,
    volumes: &[String],
) -> Vec<Finding> {
    let mut all = Vec::new();
    let Some(replicas) = manifest.replicas.or(settings.replicas) else { return all };
    let configured = found.replicas_configured;
    all.push(if replicas == configured {
        Finding::ok("replicas", format!("{replicas} replicas, as the agents reckon"))
    } else {
        Finding::fault(
            "replicas",
            format!("Railway runs {replicas} replicas, and the agents reckon with {configured}"),
            "a majority of the wrong number is none, or is never reached",
            format!("set OUTRIGGER__SERVICE__REPLICAS={replicas} in the Variables of the service and of the watcher"),
        )
    });
    if let Ok(live) = &found.live
        && live.running < replicas
    {
        let what = format!("{} of {replicas} replicas run", live.running);
        all.push(Finding::warning(
            "replicas_running",
            what,
            "fewer agents can vote",
            "see the deployment's logs",
        ));
    }
    if replicas > 1 && !volumes.is_empty() {
        all.push(Finding::fault(
            "volume_replicas",
            "the service has a volume and several replicas",
            "Railway runs one replica only of a service with a volume",
            "move the volume to a watcher of its own",
        ));
    }
    all
}

fn ports(found: &Examination, settings: &Settings, config: &Config) -> Vec<Finding> {
    let mut all = Vec::new();
    let (public, admin) = (config.listen.public.port(), config.listen.admin.map(|admin| admin.port()));
    for domain in &settings.domains {
        let Some(port) = domain.target_port.filter(|&port| port != public) else { continue };
        all.push(if Some(port) == admin {
            let what = format!("{} leads to the admin port", domain.name);
            let why = "through it only health and, with the token, the gate are answered; everything else there is refused";
            Finding::info("admin_domain", what, why)
        } else {
            Finding::warning(
                "target_port",
                format!("{} leads to port {port}, and this agent's public port is {public}", domain.name),
                "if that is another port than PORT of the service, its requests go past the agent: unseen, and not drained",
                "service > Settings > Networking > the domain > Port: the value of PORT; set PORT as a service variable, so that it \
                 stays the same",
            )
        });
    }
    if let Some(tcp) =
        read(&found.tcp_ports, "tcp", "the service's TCP proxies", &mut all).filter(|ports| !ports.is_empty())
    {
        let ports: Vec<String> = tcp.iter().map(u16::to_string).collect();
        all.push(Finding::warning(
            "tcp",
            format!("a TCP proxy leads to port {}", ports.join(", ")),
            "what comes that way is not seen by the agent, unless it is its own port",
            "service > Settings > Networking > TCP Proxy: take it away if requests come through it",
        ));
    }
    all
}

/// Files that are about to stop being read.
fn file(settings: &Settings, manifest: &Manifest, now: Time) -> Option<Finding> {
    let file = manifest.config_file.as_ref().or(settings.config_file.as_ref())?;
    let is_old = file.ends_with("railway.json") || file.ends_with("railway.toml");
    if !is_old {
        return Some(Finding::ok("config_file", format!("the service is configured by {file}")));
    }
    let todo = "move what it says to the service's settings and Variables, or to .railway/railway.ts; `railway config migrate` \
                leaves out the overlap, the draining and the restart policy, so set those by hand";
    Some(if now < FILES_END {
        let what = format!("the service is configured by {file}, which Railway stops reading on 2026-12-01");
        Finding::warning(
            "config_file",
            what,
            "what it says then falls back to the dashboard's settings",
            todo,
        )
    } else {
        let what =
            format!("the service was configured by {file}, which Railway reads no more since 2026-12-01");
        Finding::fault("config_file", what, "the next deployment has the dashboard's settings instead", todo)
    })
}

fn start(settings: &Settings) -> Option<Finding> {
    let command = settings.start_command.as_deref()?.trim();
    let starts_us = command.is_empty() || command.contains("outrigger");
    (!starts_us).then(|| {
        Finding::warning(
            "start_command",
            "the service has a start command that does not name outrigger",
            "in a service with a Dockerfile or an image it replaces the ENTRYPOINT, so the agent is not started",
            "service > Settings > Deploy > Custom Start Command: put `outrigger run --` before it, or take it away",
        )
    })
}
