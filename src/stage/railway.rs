//! Railway's part of the stage: what an agent is told there of itself, and what the stand-in for Railway's own API must know.
//!
//! Owns names and ids in Railway's manner. It deliberately does not know GraphQL: that is a process of its own, which answers by
//! the real schema and asks the stage what is true.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::config::Secret;
use crate::stage::app::AppPlan;
use crate::stage::platform::DeploymentRow;

/// What names the one project, environment and service of a stage.
const PROJECT: &str = "project";
const ENVIRONMENT: &str = "environment";
const SERVICE: &str = "service";
/// By these the app is told how to behave. They are variables and no arguments, so that one commit can be well and ill.
const BEHAVE: &str = "DEMO_BEHAVE";
const AFTER: &str = "DEMO_AFTER";
/// Runs what follows it with those two as its last arguments.
const SHELL: &str = "exec \"$0\" \"$@\" --behave \"$DEMO_BEHAVE\" --after \"$DEMO_AFTER\"";

/// That agents are told that they run on Railway.
#[derive(Clone, Debug)]
pub struct Railway {
    /// Where its GraphQL API is.
    pub url: String,
    /// What the agents call it with,
    pub token: Secret,
    /// and which kind that is.
    pub kind: Token,
    /// How long a call of it may take.
    pub call: Duration,
    /// How long a deployment can be put back after it was removed.
    pub retention: Duration,
}

/// The kinds of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// For one environment.
    Project,
    /// For all that its owner may see.
    Account,
}

impl Token {
    /// The variable that holds it.
    const fn variable(self) -> &'static str {
        match self {
            Self::Project => "RAILWAY_TOKEN",
            Self::Account => "RAILWAY_API_TOKEN",
        }
    }
}

/// The id of whatever is called `name`, in Railway's form and always the same.
pub fn id(name: &str) -> String {
    let digits = digest(name);
    format!(
        "{}-{}-4{}-8{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..15],
        &digits[15..18],
        &digits[18..30]
    )
}

/// The id of the how-manieth deployment: the number can be read in it.
pub(crate) fn deployment_id(number: usize) -> String {
    format!("{number:08}{}", &id(&format!("deployment {number}"))[8..])
}

/// The commit that a release is made of.
pub fn commit(release: &str) -> String {
    digest(&format!("commit {release}"))[..40].to_owned()
}

/// The digest of a release's image.
pub fn image(release: &str) -> String {
    format!("sha256:{}", digest(&format!("image {release}")))
}

/// The ids of the stage's project, environment and service.
pub fn ids() -> [(&'static str, String); 3] {
    [PROJECT, ENVIRONMENT, SERVICE].map(|name| (name, id(name)))
}

fn digest(text: &str) -> String {
    let mut digits = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a text cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

/// The variables by which the app is told what it is to do.
pub(crate) fn told(plan: AppPlan) -> BTreeMap<String, String> {
    let after = humantime::format_duration(plan.after).to_string().replace(' ', "");
    BTreeMap::from([(BEHAVE.to_owned(), plan.behave.label().to_owned()), (AFTER.to_owned(), after)])
}

/// What stands before the app's own command, so that it reads these.
pub(crate) fn shell() -> [&'static str; 3] {
    ["/bin/sh", "-c", SHELL]
}

/// All variables of one replica.
pub(crate) fn environment(
    railway: &Railway,
    drain: Duration,
    deployment: &DeploymentRow,
    replica: &str,
    variables: &BTreeMap<String, String>,
) -> Vec<(String, Secret)> {
    let public = [
        ("RAILWAY_PROJECT_ID", id(PROJECT)),
        ("RAILWAY_ENVIRONMENT_ID", id(ENVIRONMENT)),
        ("RAILWAY_ENVIRONMENT_NAME", "production".to_owned()),
        ("RAILWAY_SERVICE_ID", id(SERVICE)),
        ("RAILWAY_SERVICE_NAME", "demo".to_owned()),
        ("RAILWAY_DEPLOYMENT_ID", deployment.id.clone()),
        ("RAILWAY_REPLICA_ID", replica.to_owned()),
        ("RAILWAY_GIT_COMMIT_SHA", commit(&deployment.release)),
        ("RAILWAY_DEPLOYMENT_DRAINING_SECONDS", drain.as_secs().to_string()),
    ];
    let public = public.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value)));
    let own = variables.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone())));
    let token = (railway.kind.variable().to_owned(), railway.token.clone());
    public.chain(own).chain([token]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_railways_form_and_are_told_apart() {
        for id in [id("a"), id("b"), deployment_id(7)] {
            let lengths: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        }
        assert!(deployment_id(7).starts_with("00000007-"));
        assert_ne!(id("a"), id("b"));
        assert_eq!((commit("v1").len(), image("v1").len()), (40, 71));
    }
}
