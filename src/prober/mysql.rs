//! Not written yet.

use crate::config::probes::Mysql as Ask;
use crate::prober::dial::{Dialer, Stage};
use crate::prober::probe::{BoxFuture, Failure, Probe, Reply};

pub(super) struct Mysql {
    _ask: Ask,
    _dialer: Dialer,
    stage: Stage,
}

impl Mysql {
    pub(super) fn new(ask: Ask, dialer: Dialer) -> Self {
        Self { _ask: ask, _dialer: dialer, stage: Stage::default() }
    }

    async fn round(&mut self) -> Result<Reply, Failure> {
        Err(Failure::Unable("this kind of probe is not built yet".to_owned()))
    }
}

impl Probe for Mysql {
    fn ask(&mut self) -> BoxFuture<'_, Result<Reply, Failure>> {
        Box::pin(self.round())
    }

    fn stage(&self) -> &str {
        self.stage.as_str()
    }

    fn give_up(&mut self) {}
}
