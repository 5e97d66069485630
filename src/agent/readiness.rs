//! Looking ahead: would a rollback be possible now? Asked of the platform every few minutes, by one agent of the fleet, so that
//! people learn that it would not while nothing is wrong.

use std::sync::Arc;
use std::time::Duration;

use crate::agent::control::Control;
use crate::engine::Input;
use crate::engine::peer::Role;

/// After the start, so that peers are met and the running deployment is live.
pub(super) const LOOK_AHEAD_FIRST: Duration = Duration::from_secs(10);
/// Between two looks: a handful of requests each, of some hundred an hour that the smallest plan allows.
pub(super) const LOOK_AHEAD_EVERY: Duration = Duration::from_secs(300);
/// Between two looks of a watcher that meets nobody,
pub(super) const SURVIVORS_EVERY: Duration = Duration::from_secs(30);
/// of which the first are made each time, and then one of so many: each costs a request of the hour's.
const SURVIVORS_AT_ONCE: u32 = 10;
const SURVIVORS_THEN: u32 = 4;

impl Control {
    /// Asks the platform, if it is this agent's turn. What comes of it is handed to the engine.
    pub(super) fn look_ahead(&self) {
        if !self.is_its_turn() {
            return;
        }
        let (platform, inputs) = (Arc::clone(&self.set.platform), self.inputs_in.clone());
        let known = self.set.engine.known();
        tokio::spawn(async move {
            if let Some(readiness) = platform.readiness(&known).await {
                // The loop has ended when nobody listens.
                let _ = inputs.send(Input::Readiness(readiness)).await;
            }
        });
    }

    /// A watcher that meets nobody of what it watches asks whether anybody is left at all.
    pub(super) fn look_for_survivors(&mut self) {
        let Some(fleet) = self.set.engine.fleet() else { return };
        if fleet.met_of_own > 0 {
            self.lonely = 0;
            return;
        }
        let turn = self.lonely;
        self.lonely = turn.saturating_add(1);
        if self.draining || fleet.role != Role::Watcher || !fleet.may_call || !is_due(turn) {
            return;
        }
        let (platform, inputs) = (Arc::clone(&self.set.platform), self.inputs_in.clone());
        tokio::spawn(async move {
            if let Some(sight) = platform.sight().await {
                let _ = inputs.send(Input::PlatformSaw(sight)).await;
            }
        });
    }

    /// The first of those that may call the platform looks for all.
    fn is_its_turn(&self) -> bool {
        if self.draining {
            return false;
        }
        let Some(fleet) = self.set.engine.fleet() else { return true };
        let first = fleet.callers.iter().min();
        first == Some(&fleet.me)
    }
}

/// Whether a watcher that has met nobody for so many turns looks in this one.
const fn is_due(turns: u32) -> bool {
    turns < SURVIVORS_AT_ONCE || turns.is_multiple_of(SURVIVORS_THEN)
}

#[cfg(test)]
mod tests {
    use super::{SURVIVORS_EVERY, is_due};

    #[test]
    fn a_lonely_watcher_leaves_most_of_the_hours_requests_to_others() {
        let turns = 3600 / SURVIVORS_EVERY.as_secs() as u32;
        let looks = |from: u32| (from..from + turns).filter(|turn| is_due(*turn)).count();
        assert_eq!((looks(0), looks(turns)), (37, 30));
    }
}
