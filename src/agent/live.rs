//! What the agent publishes for people: the engine's snapshot and the limbs' states.

use crate::admin::{AppView, Live, StoreView};
use crate::agent::control::Control;
use crate::engine::time::Time;
use crate::store::StoreStatus;

impl Control {
    /// All that may be seen now.
    pub(super) fn live(&self, now: Time) -> Live {
        Live {
            engine: self.set.engine.snapshot(now),
            service: self.set.service.clone(),
            app: AppView::clone(&self.set.app.load()),
            store: store_view(self.set.store.status()),
            probes: self.set.prober.states(),
            host: self.set.sampling.host(),
            started: self.set.started,
            platform: self.set.platform.kind(),
            warnings: self.set.warnings.clone(),
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
