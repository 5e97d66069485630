//! A rough count beside the judge, for releases that there is nothing to weigh against.

use crate::engine::policy::Policy;
use crate::engine::tick::Tick;

/// What became of the release's requests, whether or not there is anything to weigh them against. A release that fails a
/// catastrophic share of them is never called good, however little traffic it has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    judged: u64,
    failed: u64,
    share: f64,
}

impl Tally {
    pub(crate) fn add(&mut self, tick: &Tick, policy: &Policy) {
        self.judged += tick.judged;
        self.failed += tick.failed;
        self.share = policy.catastrophe_error_share;
    }

    pub(crate) fn is_well(&self) -> bool {
        self.failed == 0 || (self.failed as f64) < self.share * self.judged as f64
    }
}
