//! A port that accepts: the least that can be asked of anything.

use crate::config::probes::Server;
use crate::prober::dial::{Dialed, Dialer, Stage};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply};

/// Asks whether a port accepts. Its latency is the connect's.
pub(super) struct Tcp {
    server: Server,
    dialer: Dialer,
    stage: Stage,
}

impl Tcp {
    pub(super) fn new(server: Server, dialer: Dialer) -> Self {
        Self { server, dialer, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        let Dialed { address, resolve, connect, .. } =
            self.dialer.connect(&self.server, &mut self.stage).await?;
        let mut reply = Reply { latency: connect, ..Reply::default() };
        reply.phase("resolve", resolve);
        reply.phase("connect", connect);
        reply.text("address", address.to_string());
        Ok(reply)
    }
}

impl Probe for Tcp {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}
