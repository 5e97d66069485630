//! What Railway says of the token, of what could be put back, and of what deploys by itself. Pure.

use std::time::Duration;

use url::Url;

use crate::cli::doctor::finding::Finding;
use crate::config::{Config, Platform, TokenKind};
use crate::engine::time::Time;
use crate::platform::railway::{Choice, Examination, Reading, Restorable, Scope};

const TOKENS: &str = "Project settings > Tokens, for this environment; set it as RAILWAY_TOKEN, sealed, in the Variables of the \
                      one service that is to act (best the watcher)";
/// A target that Railway may drop within this time is warned of.
const EXPIRES_SOON: Duration = Duration::from_secs(24 * 3600);
/// Of the API's own limit so little may be left that reads may fail.
const QUOTA_LOW: u32 = 20;

/// All findings but those on the service's settings.
pub(super) fn of(found: &Examination, config: &Config, now: Time) -> Vec<Finding> {
    let mut all = vec![token(found, config)];
    if found.token.is_none() {
        return all;
    }
    if let Some(fault) = barred(found) {
        all.push(fault);
        return all;
    }
    all.extend(scope(found));
    all.push(platform(found));
    all.push(live(found));
    all.push(choice(found, now));
    all.extend(targets(found));
    all.extend(auto_deploy(found));
    all.extend(limits(found, config));
    all
}

fn token(found: &Examination, config: &Config) -> Finding {
    match found.token {
        None if config.service.watcher => Finding::info(
            "token",
            "this agent has no token of Railway's: it votes, and the watcher has to have one",
            "run the doctor at the watcher to see what Railway says",
        ),
        None => Finding::fault(
            "token",
            "neither RAILWAY_TOKEN nor RAILWAY_API_TOKEN is set",
            "without a token nothing can be read from Railway and nothing put back",
            format!("make a project token: {TOKENS}"),
        ),
        Some(TokenKind::Project) => Finding::info(
            "token",
            "the token is a project's (RAILWAY_TOKEN): it is good for one environment and no more",
            "it is the one to use; it may not switch automatic deployments off, so that stays with a person",
        ),
        Some(TokenKind::Account) => Finding::warning(
            "token",
            "the token is an account's or a workspace's (RAILWAY_API_TOKEN)",
            "whoever takes it can change everything that its owner can, in all projects; in return it may switch automatic \
             deployments off",
            format!("use a project token unless you need that: {TOKENS}"),
        ),
    }
}

/// Why nothing at all could be read, where that is so: this one fault then stands for all that hangs on it.
pub(super) fn barred(found: &Examination) -> Option<Finding> {
    found.token?;
    let is_silent = matches!(found.scope, Err(_) | Ok(None)) && found.live.is_err();
    let why = found.settings.as_ref().err().filter(|_| is_silent)?;
    Some(if let Some((_, cause)) = why.split_once("got no answer: ") {
        unreachable(found, cause)
    } else if let Some((_, said)) = why.split_once("with this token ") {
        refused(found, said)
    } else {
        Finding::fault(
            "api_unread",
            format!("nothing can be read from Railway: {why}"),
            "an agent that does not know what is live does not act",
            "see whether platform.project, platform.environment and platform.service are the ids in the dashboard's address",
        )
    })
}

fn unreachable(found: &Examination, cause: &str) -> Finding {
    let endpoint = Url::parse(&found.endpoint).ok();
    let host = endpoint.as_ref().and_then(Url::host_str).unwrap_or("its address");
    Finding::fault(
        "api_unreachable",
        format!("Railway's API cannot be reached at {host}: {cause}"),
        "nothing can be read from Railway and nothing put back",
        format!(
            "see whether {host} can be reached from here, and whether platform.url is right (\"\" is Railway's own)"
        ),
    )
}

fn refused(found: &Examination, said: &str) -> Finding {
    let variable = match found.token {
        Some(TokenKind::Account) => "RAILWAY_API_TOKEN",
        Some(TokenKind::Project) | None => "RAILWAY_TOKEN",
    };
    // What it said stands in brackets, and what may help behind them.
    let said = said.replacen("); ", "): ", 1);
    Finding::fault(
        "token_refused",
        format!("Railway refuses the token in {variable} {said}"),
        "with a token that is refused nothing can be read and nothing put back",
        format!("if it was revoked or pasted wrongly, make a new one: {TOKENS}"),
    )
}

fn scope(found: &Examination) -> Vec<Finding> {
    let own = &found.configured;
    match &found.scope {
        Err(why) => vec![Finding::fault(
            "token_refused",
            format!("the token cannot be checked: {why}"),
            "with a token that is refused nothing can be put back",
            format!("if it was revoked or pasted wrongly, make a new one: {TOKENS}"),
        )],
        Ok(None) => Vec::new(),
        Ok(Some(Scope { project, environment, .. })) => {
            let pairs = [("project", project, &own.project), ("environment", environment, &own.environment)];
            let wrong: Vec<Finding> = pairs
                .into_iter()
                .filter(|(_, of_token, configured)| of_token != configured)
                .map(|(what, of_token, configured)| {
                    Finding::fault(
                        "token_scope",
                        format!("the token is for {what} {of_token}, and {configured} is to be watched"),
                        "Railway refuses it for another one",
                        format!("make one there: {TOKENS}"),
                    )
                })
                .collect();
            if wrong.is_empty() {
                vec![Finding::ok("token_scope", "the token is for this project and this environment")]
            } else {
                wrong
            }
        }
    }
}

fn platform(found: &Examination) -> Finding {
    let state = match &found.platform {
        Ok(state) if state.is_stable => return Finding::ok("platform_state", "Railway says that it is well"),
        Ok(state) => state,
        Err(why) => return unread("platform_state", "how Railway itself is", why),
    };
    let said = state.incident.as_ref().or(state.maintenance.as_ref());
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    Finding::warning(
        "platform_state",
        format!("Railway says that it is not stable now{said}"),
        "no release is put back by itself meanwhile: the fault may be Railway's",
        "look at Railway's status page, and wait",
    )
}

fn live(found: &Examination) -> Finding {
    match &found.live {
        Err(why) => Finding::fault(
            "live",
            format!("what is live cannot be read: {why}"),
            "an agent that does not know what is live does not act",
            "see whether the ids above are those of the service: platform.project, platform.environment, platform.service",
        ),
        Ok(live) => {
            let release = live.release.as_ref().map_or_else(
                || "a release that is not known here".to_owned(),
                |release| format!("release {release}"),
            );
            Finding::ok(
                "live",
                format!(
                    "live is deployment {} ({}), {release}, {} replicas",
                    live.id, live.status, live.running
                ),
            )
        }
    }
}

fn choice(found: &Examination, now: Time) -> Finding {
    let held = "Railway holds the image of a deployment that was replaced for a time that depends on the plan, and no longer";
    match &found.choice {
        Err(why) => unread("target", "what could be put back", why),
        Ok(Choice::RollBack(it)) => match it.expires_at {
            Some(end) if end <= now + EXPIRES_SOON => Finding::warning(
                "target",
                format!("{} would be put back, but Railway may drop its image from {end} on", named(it)),
                held,
                "deploy once more before then, so that the running release becomes the one to go back to",
            ),
            Some(_) | None => Finding::ok("target", format!("{} would be put back{}", named(it), until(it))),
        },
        Ok(Choice::Redeploy(it)) => Finding::warning(
            "target",
            format!("{} would be put back, but Railway holds its image no more", named(it)),
            "it would be deployed once more, which may take a build, and may build something else than it was",
            "nothing to do but to let the next release pass its watch; a larger plan holds images for longer",
        ),
        Ok(Choice::NothingKnownGood) => Finding::warning(
            "target",
            "no release is known good yet, so there is nothing to put back",
            "a release is known good when its watch has passed under an agent",
            "wait for the watch of the first release; deploy, and wait for the second",
        ),
        Ok(Choice::Gone { release, why }) => Finding::fault(
            "target",
            format!("release {release} cannot be put back: {why}"),
            held,
            "let another release pass its watch; until then go forward with a repair",
        ),
    }
}

fn named(it: &Restorable) -> String {
    format!("release {} (deployment {})", it.release, it.id)
}

fn until(it: &Restorable) -> String {
    it.expires_at.map(|end| format!("; its image is held until {end} at least")).unwrap_or_default()
}

fn targets(found: &Examination) -> Option<Finding> {
    let targets = found.targets.as_ref().ok()?;
    let names: Vec<String> = targets.iter().map(named).collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Some(Finding::info("targets", format!("deployments that could be put back: {names}"), ""))
}

fn auto_deploy(found: &Examination) -> Vec<Finding> {
    let mut all = Vec::new();
    match &found.auto_deploy {
        Err(why) => all.push(unread("auto_deploy", "whether pushes are deployed by themselves", why)),
        Ok(it) if it.is_on => all.push(Finding::warning(
            "auto_deploy",
            "pushes are deployed by themselves",
            "a rollback does not touch the branch: the next push to it brings the bad release back, and a lock of ours does not \
             stop it",
            "after a rollback, revert the bad commit before anything else is pushed; or deploy from CI behind `outrigger gate` and \
             disconnect the branch: service > Settings > Source",
        )),
        Ok(_) => all.push(Finding::ok("auto_deploy", "pushes are not deployed by themselves")),
    }
    match &found.triggers {
        Err(why) => all.push(unread("triggers", "what deploys pushes", why)),
        Ok(triggers) => {
            for of in triggers {
                let waits = if of.waits_for_checks {
                    ", once its checks have passed"
                } else {
                    ", without waiting for its checks"
                };
                let what = format!("pushes to {} of {} are deployed{waits}", of.branch, of.repository);
                all.push(Finding::info("trigger", what, ""));
            }
        }
    }
    all
}

fn limits(found: &Examination, config: &Config) -> Vec<Finding> {
    let mut all = Vec::new();
    let asked = if let Platform::Railway(railway) = &config.platform { railway.requests_per_hour } else { 0 };
    if let Ok(plan) = &found.plan {
        all.push(Finding::info("plan", format!("the plan is {plan}"), ""));
        if plan.eq_ignore_ascii_case("free") && asked > 100 {
            all.push(Finding::warning(
                "requests",
                format!("platform.requests_per_hour is {asked}, and this plan allows 100"),
                "what is beyond is refused, perhaps when it is needed",
                "set OUTRIGGER__PLATFORM__REQUESTS_PER_HOUR=60",
            ));
        }
    }
    if let Some(quota) = found.quota.filter(|quota| quota.remaining < QUOTA_LOW) {
        all.push(Finding::warning(
            "quota",
            format!("{} requests are left of Railway's limit", quota.remaining),
            "a rollback takes some ten",
            "see what else uses this token, and lower platform.requests_per_hour",
        ));
    }
    all
}

/// What could not be read.
pub(super) fn unread(code: &'static str, what: &str, why: &str) -> Finding {
    Finding::warning(code, format!("{what} cannot be read: {why}"), "", "")
}

/// What was read, with a finding where it was not.
pub(super) fn read<'a, T>(
    of: &'a Reading<T>,
    code: &'static str,
    what: &str,
    all: &mut Vec<Finding>,
) -> Option<&'a T> {
    match of {
        Ok(value) => Some(value),
        Err(why) => {
            all.push(unread(code, what, why));
            None
        }
    }
}
