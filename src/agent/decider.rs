//! What the control plane asks to decide.

use crate::engine::fleet::{FleetSetup, FleetView};
use crate::engine::peer::Deployment;
use crate::engine::record::Known;
use crate::engine::snapshot::Snapshot;
use crate::engine::time::Time;
use crate::engine::{Effect, Engine, Input};

/// What decides. The engine does; it is a trait so that a test can have one that fails.
pub(super) trait Decider: Send + Sync {
    /// See [`Engine::step`].
    fn step(&mut self, now: Time, input: Input) -> Vec<Effect>;
    /// See [`Engine::snapshot`].
    fn snapshot(&self, now: Time) -> Snapshot;
    /// See [`Engine::join`].
    fn join(&mut self, _now: Time, _setup: FleetSetup) -> Vec<Effect> {
        Vec::new()
    }
    /// See [`Engine::fleet`].
    fn fleet(&self) -> Option<FleetView> {
        None
    }
    /// See [`Engine::known`].
    fn known(&self) -> Known {
        Known::default()
    }
    /// See [`Engine::deployed_as`].
    fn deployed_as(&mut self, _deployment: Deployment) -> Vec<Effect> {
        Vec::new()
    }
}

impl Decider for Engine {
    fn step(&mut self, now: Time, input: Input) -> Vec<Effect> {
        Self::step(self, now, input)
    }

    fn snapshot(&self, now: Time) -> Snapshot {
        Self::snapshot(self, now)
    }

    fn join(&mut self, now: Time, setup: FleetSetup) -> Vec<Effect> {
        Self::join(self, now, setup)
    }

    fn fleet(&self) -> Option<FleetView> {
        Self::fleet(self)
    }

    fn known(&self) -> Known {
        Self::known(self)
    }

    fn deployed_as(&mut self, deployment: Deployment) -> Vec<Effect> {
        Self::deployed_as(self, deployment)
    }
}
