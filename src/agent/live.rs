//! What the agent publishes for people: the engine's snapshot and the limbs' states.

use crate::admin::{AppView, Live, Phase, ServiceView, StoreView};
use crate::agent::control::{Agent, AppPhase};
use crate::engine::time::Time;
use crate::store::StoreStatus;

impl Agent {
    /// All that may be seen now.
    pub(super) fn live(&self, now: Time) -> Live {
        Live {
            engine: self.engine.snapshot(now),
            service: ServiceView {
                name: self.config.service.name.clone(),
                environment: self.config.service.environment.clone(),
                replica: self.replica.clone(),
                version: env!("CARGO_PKG_VERSION"),
            },
            app: self.app_view(),
            store: store_view(self.store.status()),
            started: self.started,
            platform: self.platform.kind(),
            warnings: self.warnings.clone(),
        }
    }

    fn app_view(&self) -> AppView {
        let (phase, detail) = match &self.phase {
            AppPhase::Starting => (Phase::Starting, self.readiness.last_failure()),
            AppPhase::Ready => (Phase::Ready, None),
            AppPhase::Draining => (Phase::Draining, None),
            AppPhase::Gone(how) => (Phase::Gone, Some(how.clone())),
        };
        AppView {
            phase,
            supervised: !self.command.is_empty(),
            pid: self.app.as_ref().map(crate::supervisor::App::pid),
            since: self.phase_since,
            upstream: self.upstream.clone(),
            restarts: 0,
            detail,
        }
    }
}

fn store_view(status: StoreStatus) -> StoreView {
    StoreView {
        durable: status.durable,
        path: status.path.map(|p| p.display().to_string()).unwrap_or_default(),
        size_bytes: status.size_bytes,
        written: status.written,
        dropped: status.dropped,
        failed: status.failed,
        last_error: status.last_error,
    }
}
