//! The dependencies of the app: the prober, as the health pages see it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Later};
use crate::agent::start;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::health::{HealthChange, Point, ProbeState};
use crate::engine::host::Limits;
use crate::prober::Prober;
use crate::supervisor::Supervisor;

/// Changes of health that wait for the control plane; at the bound it is stuck, and a change is lost and logged.
const CHANGES_MAX: usize = 64;

/// Starts to ask on the control plane's runtime, until `shutdown`.
pub(super) fn start(
    config: &Config,
    clock: Clock,
    runtime: &Handle,
    supervisor: &Supervisor,
    shutdown: &CancellationToken,
) -> (Prober, mpsc::Receiver<HealthChange>) {
    let (changes_in, changes) = mpsc::channel(CHANGES_MAX);
    let _entered = runtime.enter();
    (Prober::start(&config.probes.list, clock, &start::adopt(supervisor), &changes_in, shutdown), changes)
}

/// The prober behind the health pages.
pub(super) struct Asked(pub(super) Prober);

impl admin::Dependencies for Asked {
    fn known(&self) -> Vec<Arc<ProbeState>> {
        self.0.states()
    }

    fn fresh(&self, max_age: Duration, within: Duration) -> Later<Vec<Arc<ProbeState>>> {
        let prober = self.0.clone();
        Box::pin(async move { prober.fresh(max_age, within).await })
    }

    fn history(&self, name: &str) -> Option<Vec<Point>> {
        self.0.history(name)
    }
}

/// The options of the health pages.
pub(super) fn health_options(config: &Config) -> admin::HealthOptions {
    let (health, host) = (&config.health, &config.host);
    admin::HealthOptions {
        max_age: health.max_age,
        public_details: health.public_details,
        status_paths: health.status_paths,
        host: Limits {
            memory_max: host.memory_max,
            disk_max: host.disk_max,
            descriptors_max: host.descriptors_max,
            throttled_max: host.throttled_max,
        },
    }
}
