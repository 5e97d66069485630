//! A release of which nobody is left to vote: the platform itself says that all its replicas are down.
//!
//! The vote counts the agents of the accused deployment. Where that deployment takes its agents down with it, nobody asks and
//! nobody grants, for ever. So there is this one rule beside the vote, with an invariant of its own: **only a watcher acts by it,
//! only while it meets no agent of the deployment, and only when the platform has said twice, at some distance, that no
//! replica of the deployment that is live is up.** Agents that are merely cut off from the watcher are up in the platform's eyes.

use std::time::Duration;

use crate::engine::diagnosis::{Diagnosis, Ground};
use crate::engine::memory::Standing;
use crate::engine::peer::Role;
use crate::engine::pursuit::Pursuit;
use crate::engine::record::{Decision, Reason, Sight};
use crate::engine::time::Time;
use crate::engine::{Effect, Engine};

/// What the platform says twice must be so far apart: longer than a restart of all replicas together usually takes.
const TWICE: Duration = Duration::from_secs(25);
/// After a longer silence of the platform it begins anew: who knows what was up meanwhile.
const SILENCE: Duration = Duration::from_secs(5 * 60);

/// Since when, and until when, the platform has said that nobody is up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fallen {
    since: Time,
    until: Time,
    /// Why nothing was done, which is said once.
    held: Vec<Reason>,
}

impl Engine {
    /// The platform said how the replicas of what is live are.
    pub(super) fn platform_saw(&mut self, now: Time, sight: &Sight, effects: &mut Vec<Effect>) {
        if !self.are_all_down(sight) {
            self.fallen = None;
            return;
        }
        self.fallen.take_if(|fallen| now.since(fallen.until) > SILENCE);
        let anew = || Fallen { since: now, until: now, held: Vec::new() };
        let fallen = self.fallen.get_or_insert_with(anew);
        fallen.until = now;
        let since = fallen.since;
        let rested = self.retry_at.is_none_or(|at| at <= now);
        if now.since(since) < TWICE || self.pursuit.is_some() || !rested {
            return;
        }
        let (decision, mut reasons) = self.weigh_fallen(now);
        reasons.insert(0, Reason::AllDown { down: sight.down });
        if decision == Decision::Hold {
            if let Some(fallen) = self.fallen.as_mut().filter(|fallen| fallen.held != reasons) {
                fallen.held.clone_from(&reasons);
                self.note_hold(now, reasons, effects);
            }
            return;
        }
        let decided = self.decided(Decision::RollBack, reasons);
        let id = self.next_id(now);
        let from = self.identity.release.clone();
        if let Some(pursuit) = Pursuit::begin(id, now, from, decided, &self.policy) {
            self.order(now, pursuit, effects);
        }
    }

    /// Whether there is really nobody who could vote on what this watcher watches.
    fn are_all_down(&self, sight: &Sight) -> bool {
        let Some(fleet) = &self.fleet else { return false };
        fleet.setup.role == Role::Watcher
            && fleet.setup.may_call
            && fleet.setup.deployment == sight.deployment
            && fleet.siblings().next().is_none()
            && !fleet.is_decided_elsewhere()
            && self.own.standing != Standing::RolledBack
            && sight.up == 0
            && sight.down > 0
    }

    /// The same obstacles as for any act, but the verdict and the vote.
    fn weigh_fallen(&self, now: Time) -> (Decision, Vec<Reason>) {
        let blamed = Diagnosis::Deployment(Ground::NothingElse);
        let (decision, mut reasons) = self.weigh_options_as(now, Some(&blamed));
        // There was no verdict, and nobody was blamed by evidence.
        reasons.retain(|reason| !matches!(reason, Reason::Degraded | Reason::Blamed));
        (decision, reasons)
    }
}
