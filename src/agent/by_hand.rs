//! What a person asks for beside a pause: a lock on deployments, and a rollback.
//!
//! It decides nothing: the engine is told, and whoever asked is told what became of it. Waiting for the disk and for the
//! platform is done beside the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::time::timeout;

use crate::admin::{Rehearsal, Reply};
use crate::agent::control::{Control, RECORD_TIMEOUT};
use crate::engine::Input;
use crate::engine::record::{Known, Lock};
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::store::Store;

/// So many characters of a release's or a deployment's name stand for it, where no other one begins with them.
const PREFIX_MIN: usize = 6;

impl Control {
    /// Locks deployments, and answers when the lock is durable.
    pub(super) async fn lock(&mut self, by: String, reason: String, until: Option<Time>, reply: Reply<()>) {
        self.spoken();
        let since = self.set.clock.now();
        self.step(Input::Locked(Lock { by, reason, since, until })).await;
        self.answer_when_kept(reply, ());
    }

    /// Unlocks them.
    pub(super) async fn unlock(&mut self, by: String, reply: Reply<bool>) {
        self.spoken();
        let was_locked = self.lock_in_force().is_some();
        self.step(Input::Unlocked { by }).await;
        self.answer_when_kept(reply, was_locked);
    }

    fn lock_in_force(&self) -> Option<Lock> {
        self.set.engine.snapshot(self.set.clock.now()).lock
    }

    /// The store answers in the order in which it is asked: when it has read what it remembers, what was queued before is
    /// written, or never will be.
    fn answer_when_kept<T: Send + 'static>(&self, reply: Reply<T>, answer: T) {
        let (store, wanted) = (self.set.store.clone(), self.lock_in_force());
        tokio::spawn(async move {
            let _ = reply.send(kept(&store, wanted).await.map(|()| answer));
        });
    }

    /// Puts a release back, and answers with the decision's record.
    pub(super) async fn roll_back_by_hand(
        &mut self,
        by: String,
        why: String,
        to: Option<String>,
        reply: Reply<serde_json::Value>,
    ) {
        let running = self.set.engine.snapshot(self.set.clock.now()).release;
        let known = self.set.engine.known();
        let to = match to.map(|to| chosen(&known, &running, &to)).transpose() {
            Ok(to) => to,
            Err(why) => return drop(reply.send(Err(why))),
        };
        self.spoken();
        self.step(Input::RollBackAsked { by, why, to }).await;
        let Some(made) = self.set.engine.snapshot(self.set.clock.now()).last_decision else {
            return drop(reply.send(Err("the agent made no decision; see its log".to_owned())));
        };
        let store = self.set.store.clone();
        tokio::spawn(async move {
            // Whatever the store does, what was decided is told.
            let read = timeout(RECORD_TIMEOUT, store.record(made.id.as_str())).await;
            let in_short = || {
                serde_json::json!({
                    "id": made.id.as_str(),
                    "kind": "decided",
                    "release": running.as_str(),
                    "decision": made.decision,
                    "target": made.target.as_ref().map(Release::as_str),
                    "progress": { "progress": made.progress.label() },
                    "reasons": [],
                })
            };
            let record = read.ok().and_then(Result::ok).flatten().unwrap_or_else(in_short);
            let _ = reply.send(Ok(record));
        });
    }

    /// Asks the platform whether that would be possible. Nothing is changed.
    pub(super) fn rehearse(&self, to: Option<String>, reply: Reply<Rehearsal>) {
        let from = self.set.engine.snapshot(self.set.clock.now()).release;
        let mut known = self.set.engine.known();
        let to = match to.map(|to| chosen(&known, &from, &to)).transpose() {
            Ok(to) => to.or_else(|| known.target.clone()),
            Err(why) => return drop(reply.send(Err(why))),
        };
        known.target.clone_from(&to);
        let platform = Arc::clone(&self.set.platform);
        tokio::spawn(async move {
            let readiness = if to.is_some() { platform.readiness(&known).await } else { None };
            let _ = reply.send(Ok(Rehearsal { from, to, readiness }));
        });
    }
}

/// Whether what is in force would be in force after a restart.
async fn kept(store: &Store, wanted: Option<Lock>) -> Result<(), String> {
    if !store.status().durable {
        return Err("in force, but only until the agent ends: its store is in memory".to_owned());
    }
    match timeout(RECORD_TIMEOUT, store.memory()).await {
        Ok(Ok(memory)) if memory.lock == wanted => Ok(()),
        Ok(Ok(_) | Err(_)) | Err(_) => {
            Err("in force, but not written down: the store does not take it, so a restart forgets it; mend the disk and ask again"
                .to_owned())
        }
    }
}

/// The release that a person names by its name, by a deployment of the platform's, or by the beginning of either.
fn chosen(known: &Known, running: &Release, to: &str) -> Result<Release, String> {
    let by_name = known.releases.iter().map(|(release, _)| release).find(|release| release.as_str() == to);
    let found = match by_name.or_else(|| known.release_of(to)) {
        Some(found) => Some(found.clone()),
        None => beginning(known, to)?,
    };
    let Some(found) = found else {
        let others = known.releases.iter().map(|(release, _)| release).filter(|release| *release != running);
        let names: Vec<&str> = others.map(Release::as_str).collect();
        let names = if names.is_empty() { "no other".to_owned() } else { names.join(", ") };
        return Err(format!(
            "{to} is neither a release nor a deployment that this agent remembers; it knows {names}"
        ));
    };
    if found == *running {
        return Err(format!("{to} is what runs now, so there is nothing to put back"));
    }
    if known.quarantined.contains(&found) {
        return Err(format!(
            "{found} was itself rolled back and is not put back; deploy it anew if it is the right one"
        ));
    }
    Ok(found)
}

/// The one release whose name, or whose deployment's, begins so; several are named.
fn beginning(known: &Known, with: &str) -> Result<Option<Release>, String> {
    if with.chars().count() < PREFIX_MIN {
        return Ok(None);
    }
    let own = known.own.iter().map(|(deployment, release)| (deployment.as_str(), release));
    let named = known.releases.iter().flat_map(|(release, deployments)| {
        let deployments = deployments.iter().map(move |deployment| (deployment.as_str(), release));
        std::iter::once((release.as_str(), release)).chain(deployments)
    });
    let fit: BTreeMap<&str, &Release> = own.chain(named).filter(|(name, _)| name.starts_with(with)).collect();
    let releases: BTreeSet<&str> = fit.values().map(|release| release.as_str()).collect();
    if releases.len() > 1 {
        let names: Vec<&str> = fit.into_keys().collect();
        return Err(format!("{with} may be any of {}; give more of it", names.join(", ")));
    }
    Ok(fit.into_values().next().cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::peer::Deployment;

    fn release(name: &str) -> Release {
        Release::new(name).unwrap()
    }

    #[test]
    fn a_release_is_chosen_by_its_name_or_by_a_deployment() {
        let deployments = |name: &str| vec![Deployment::new(name).unwrap()];
        let known = Known {
            own: Some((Deployment::new("d-3").unwrap(), release("v3"))),
            releases: vec![
                (release("v3"), deployments("d-3")),
                (release("v2"), deployments("d-2")),
                (release("v1"), deployments("d-1")),
            ],
            target: Some(release("v1")),
            quarantined: vec![release("v2")],
        };
        let choose = |to: &str| chosen(&known, &release("v3"), to);
        assert_eq!(choose("v1"), Ok(release("v1")));
        assert_eq!(choose("d-1"), Ok(release("v1")));
        for (to, why) in [
            ("v3", "runs now"),
            ("d-3", "runs now"),
            ("d-2", "was itself rolled back"),
            ("v9", "it knows v2, v1"),
        ] {
            let said = choose(to).unwrap_err();
            assert!(said.contains(why), "{to}: {said}");
        }
        let alone = chosen(&Known::default(), &release("v3"), "v1").unwrap_err();
        assert!(alone.contains("it knows no other"), "{alone}");
    }

    #[test]
    fn the_beginning_of_a_name_is_enough_where_it_is_the_only_one() {
        let deployments =
            |names: &[&str]| names.iter().filter_map(|name| Deployment::new(name)).collect::<Vec<_>>();
        let known = Known {
            releases: vec![
                (release("c0ffee11aa"), deployments(&["1f2e3d4c-a", "1f2e3d4c-b"])),
                (release("c0ffee22bb"), deployments(&["9a8b7c6d-a"])),
            ],
            ..Known::default()
        };
        let choose = |to: &str| chosen(&known, &release("v3"), to);
        assert_eq!(choose("c0ffee1"), Ok(release("c0ffee11aa")));
        assert_eq!(choose("9a8b7c6d"), Ok(release("c0ffee22bb")));
        assert_eq!(choose("1f2e3d4c"), Ok(release("c0ffee11aa")), "both are deployments of one release");
        assert_eq!(
            choose("c0ffee").unwrap_err(),
            "c0ffee may be any of c0ffee11aa, c0ffee22bb; give more of it"
        );
        assert!(choose("9a8b7").unwrap_err().contains("is neither a release"));
        assert!(chosen(&known, &release("c0ffee22bb"), "9a8b7c6d").unwrap_err().contains("runs now"));
    }
}
