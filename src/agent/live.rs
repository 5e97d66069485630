//! What the agent publishes for people: the engine's snapshot and the limbs' states.

use crate::admin::{AppView, Live, PeerView, PeersView, StoreView};
use crate::agent::control::Control;
use crate::engine::time::Time;
use crate::peers;
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
            peers: self.peers_view(),
            started: self.set.started,
            inherits_until: self.inherits_until,
            platform: self.set.platform.kind(),
            warnings: self.set.warnings.clone(),
        }
    }
}

impl Control {
    /// The fleet as the engine and the limb see it.
    fn peers_view(&self) -> Option<PeersView> {
        let (limb, hello) = self.set.fleet.as_ref().map(|fleet| (fleet.peers.view(), fleet.hello.clone()))?;
        let peers::PeersView {
            address,
            peers,
            unmet,
            sent_bytes,
            received_bytes,
            mut refused,
            dropped,
            skipped,
        } = limb;
        refused.push(("unknown_message", skipped));
        let peer = |peer: peers::PeerView| {
            let peers::PeerView { hello, version, address, heard_ago, round_trip } = peer;
            PeerView { hello, version, address, heard_ago, round_trip }
        };
        let peers = peers.into_iter().map(peer).collect();
        let fleet = self.set.engine.fleet()?;
        Some(PeersView { fleet, hello, address, peers, unmet, sent_bytes, received_bytes, refused, dropped })
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
