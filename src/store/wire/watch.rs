//! What a watch began from, on the wire; its baseline stands beside it as bytes.

use serde::{Deserialize, Serialize};

use crate::engine::baseline::Baseline;
use crate::engine::history::WatchStart;
use crate::engine::release::{RecordId, Release};
use crate::engine::time::Time;
use crate::store::wire::policy::PolicyDoc;
use crate::store::wire::text::{DurationText, TimeText};

/// The beginning of a watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchDoc {
    /// When the release first became ready.
    pub first_ready: TimeText,
    /// The watch proper was over already.
    pub passed: bool,
    /// How long the release had been judged before.
    pub judged_for: DurationText,
    /// By how many requests.
    pub judged_requests: u64,
    /// The policy in force.
    pub policy: PolicyDoc,
}

impl From<&WatchStart> for WatchDoc {
    fn from(start: &WatchStart) -> Self {
        Self {
            first_ready: TimeText(start.first_ready),
            passed: start.passed,
            judged_for: DurationText(start.judged_for),
            judged_requests: start.judged_requests,
            policy: (&start.policy).into(),
        }
    }
}

impl WatchDoc {
    /// With what stands beside it.
    pub fn into_start(
        self,
        id: RecordId,
        at: Time,
        release: Release,
        baseline: Option<Baseline>,
    ) -> WatchStart {
        WatchStart {
            id,
            at,
            release,
            first_ready: self.first_ready.0,
            passed: self.passed,
            judged_for: self.judged_for.0,
            judged_requests: self.judged_requests,
            baseline,
            policy: self.policy.into(),
        }
    }
}
