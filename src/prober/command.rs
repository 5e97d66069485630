//! Not written yet.

use crate::clock::Clock;
use crate::config::probes::Command as Ask;
use crate::prober::Adopt;
use crate::prober::dial::Stage;
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply};

pub(super) struct Command {
    _ask: Ask,
    _clock: Clock,
    _adopt: Adopt,
    stage: Stage,
}

impl Command {
    pub(super) fn new(ask: Ask, clock: Clock, adopt: Adopt) -> Self {
        Self { _ask: ask, _clock: clock, _adopt: adopt, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        Err(Failure::Unable("this kind of probe is not built yet".to_owned()))
    }
}

impl Probe for Command {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}
