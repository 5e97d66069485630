//! The simulated platform: what was deployed, what is live, which calls are under way.
//!
//! It compares nothing and sets nothing: two calls make two deployments. Whether one was enough is for `invariants` to say.

use crate::chance::Chance;
use crate::network::Host;
use crate::plan::{Mood, WELL};

/// A deployment, by its place in the list.
pub(crate) type DeploymentId = usize;

#[derive(Clone, Debug)]
pub(crate) struct Deployed {
    pub(crate) name: String,
    pub(crate) release: String,
    pub(crate) created: u64,
    pub(crate) hosts: Vec<Host>,
    /// Outrigger had it made.
    pub(crate) by_us: bool,
    pub(crate) is_bad: bool,
    pub(crate) live_at: Option<u64>,
    /// It ended, or is about to.
    pub(crate) is_over: bool,
    /// Counts up whenever the number of its replicas changes, or one is down or up again.
    pub(crate) roster: u64,
}

/// A call to roll back.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// The agent, by its place in the list of all.
    pub(crate) by: usize,
    /// The accused deployment.
    pub(crate) accused: DeploymentId,
    pub(crate) to: String,
    pub(crate) at: u64,
    /// It will have an effect, or had it.
    pub(crate) takes_effect: bool,
    pub(crate) landed: Option<u64>,
    /// Its caller never learns what became of it, and leaves it to a person.
    pub(crate) unanswered: bool,
}

/// How a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// It has its effect after so long; `None`: never.
    pub(crate) lands: Option<u64>,
    /// Who reads sees it so much later.
    pub(crate) lag: u64,
    /// The caller is answered after so long; `None`: the answer is lost.
    pub(crate) answered: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Platform {
    pub(crate) deployments: Vec<Deployed>,
    pub(crate) calls: Vec<Call>,
    pub(crate) mood: Mood,
    /// What is read as live.
    pub(crate) shown: DeploymentId,
}

impl Platform {
    pub(crate) const fn new() -> Self {
        Self { deployments: Vec::new(), calls: Vec::new(), mood: WELL, shown: 0 }
    }

    pub(crate) fn newest(&self) -> DeploymentId {
        self.deployments.len() - 1
    }

    /// Decides how a call goes that is begun now.
    pub(crate) fn course(&self, chance: &mut Chance) -> Course {
        let Mood { refuses, lost_replies, lands, lag, .. } = self.mood;
        if refuses {
            return Course { lands: None, lag: 0, answered: Some(chance.between(20, 900)) };
        }
        let landing = chance.between(20, lands.max(21));
        let answered = (!chance.per_mille(lost_replies)).then(|| landing + chance.below(300));
        // One in twelve of the lost ones never came through.
        let lands = (answered.is_some() || !chance.per_mille(80)).then_some(landing);
        Course { lands, lag: if lag == 0 { 0 } else { chance.below(lag) }, answered }
    }
}
