//! Whether a rollback would be possible now, from what was read. Pure.
//!
//! A fault is what a rollback would fail by; a warning is what a person will wish to have known after it.

use std::time::Duration;

use crate::config::TokenKind;
use crate::engine::record::Readiness;
use crate::engine::time::Time;
use crate::platform::railway::api::unstable;
use crate::platform::railway::examination::{Choice, Examination, LiveDeployment, Restorable, Settings};

/// A target that Railway may drop within this time is warned of.
const EXPIRES_SOON: Duration = Duration::from_secs(6 * 3600);

/// What was read, weighed.
pub(super) fn weigh(found: &Examination, now: Time) -> Readiness {
    let mut weighed = Readiness::default();
    scope(found, &mut weighed);
    if let Some(reason) = found.platform.as_ref().ok().and_then(unstable) {
        add(&mut weighed.faults, format!("{reason}; no release is put back meanwhile"));
    }
    if found.quota.is_some_and(|quota| quota.remaining == 0) {
        add(&mut weighed.faults, "Railway's limit of requests is spent".to_owned());
    }
    if let Err(why) = &found.live {
        add(&mut weighed.faults, format!("what is live cannot be read: {why}"));
    }
    choice(found, now, &mut weighed);
    match &found.auto_deploy {
        Ok(it) if it.is_on => add(
            &mut weighed.warnings,
            "automatic deployments are on: a rollback does not touch the branch, so the next push ships the bad release \
             again unless they are switched off"
                .to_owned(),
        ),
        Ok(_) | Err(_) => {}
    }
    settings(found, &mut weighed.warnings);
    weighed
}

/// One cause may spoil several readings; it is told once.
fn add(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

fn scope(found: &Examination, weighed: &mut Readiness) {
    match &found.scope {
        Err(why) if found.token == Some(TokenKind::Project) => {
            add(&mut weighed.faults, format!("the token cannot be checked: {why}"));
        }
        Err(_) | Ok(None) => {}
        Ok(Some(token)) => {
            let configured = &found.configured;
            let pairs = [
                ("project", &token.project, &configured.project),
                ("environment", &token.environment, &configured.environment),
            ];
            for (what, of_token, own) in pairs {
                if of_token != own {
                    let text = format!(
                        "the token is for {what} {of_token} and not for {own}; make one in the settings of this \
                         project, for this environment"
                    );
                    add(&mut weighed.faults, text);
                }
            }
        }
    }
}

fn choice(found: &Examination, now: Time, weighed: &mut Readiness) {
    // What is live cannot be read: that is told already.
    let Ok(choice) = &found.choice else {
        if let (Ok(_), Err(why)) = (&found.live, &found.choice) {
            add(&mut weighed.faults, format!("past deployments cannot be read: {why}"));
        }
        return;
    };
    match choice {
        Choice::NothingKnownGood => add(
            &mut weighed.warnings,
            "no release is known good yet, so there is nothing to put back".to_owned(),
        ),
        Choice::Gone { release, why } => add(
            &mut weighed.faults,
            format!("the parachute is gone: release {release} cannot be put back: {why}"),
        ),
        Choice::Redeploy(it) => {
            weighed.target = Some(target(it));
            let text = format!(
                "Railway does not hold the image of release {} any more: it would be deployed once more, which may take \
                 a build",
                it.release
            );
            add(&mut weighed.warnings, text);
        }
        Choice::RollBack(it) => {
            weighed.target = Some(target(it));
            if let Some(at) = it.expires_at.filter(|&at| at < now + EXPIRES_SOON) {
                let text = format!(
                    "the image of release {} (deployment {}) may be gone from {at} on: the plan's retention ends then",
                    it.release, it.id
                );
                add(&mut weighed.warnings, text);
            }
        }
    }
}

fn target(it: &Restorable) -> String {
    let made = it.created_at.map_or_else(String::new, |at| format!(" (created {at})"));
    format!("release {} as deployment {}{made}", it.release, it.id)
}

/// The manifest of what is live comes first: a configuration file overrides the settings without changing them.
fn settings(found: &Examination, warnings: &mut Vec<String>) {
    let none = Settings::default();
    let settings = found.settings.as_ref().unwrap_or(&none);
    let manifest = found.live.as_ref().ok().map(|live: &LiveDeployment| &live.manifest);
    let replicas = manifest.and_then(|it| it.replicas).or(settings.replicas);
    if let Some(replicas) = replicas.filter(|&it| it != found.replicas_configured) {
        let text = format!(
            "Railway runs {replicas} replicas and service.replicas is {}: a majority is reckoned from the wrong number",
            found.replicas_configured
        );
        add(warnings, text);
    }
    if found.settings.is_err() {
        return;
    }
    if manifest.and_then(|it| it.overlap).or(settings.overlap).unwrap_or(0) == 0 {
        let text = "overlap is 0: the former deployment ends as soon as the new one is live, so nothing can be handed on; \
                    set RAILWAY_DEPLOYMENT_OVERLAP_SECONDS to 20 or more";
        add(warnings, text.to_owned());
    }
    if manifest.and_then(|it| it.draining).or(settings.draining).unwrap_or(0) == 0 {
        let text = "draining is 0: replicas are killed with their open requests at each deployment; set \
                    RAILWAY_DEPLOYMENT_DRAINING_SECONDS to 15 or more";
        add(warnings, text.to_owned());
    }
    if manifest.and_then(|it| it.sleeps).or(settings.sleeps).unwrap_or(false) {
        let text = "the service may sleep (sleepApplication): the agent's own traffic keeps it awake, or it is judged \
                    while it wakes up; switch it off";
        add(warnings, text.to_owned());
    }
}

#[cfg(test)]
#[path = "readiness_tests.rs"]
mod tests;
