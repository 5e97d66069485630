//! No platform: what would have been ordered is said, and nothing is done.

use crate::engine::record::{Acted, Known, Live, Order};
use crate::platform::{BoxFuture, Journal, Platform};

#[derive(Debug)]
pub(super) struct DryRun;

impl Platform for DryRun {
    fn kind(&self) -> &'static str {
        "dry_run"
    }

    fn roll_back<'a>(
        &'a self,
        order: &'a Order,
        _known: &'a Known,
        _journal: &'a Journal,
    ) -> BoxFuture<'a, Acted> {
        let Order { record, from, to, .. } = order;
        let detail = format!("would have put release {to} back in place of {from} (decision {record})");
        Box::pin(async { Acted::DryRun { detail } })
    }

    fn current<'a>(&'a self, _known: &'a Known) -> BoxFuture<'a, Live> {
        let reason = "no platform is configured (platform.kind is dry-run)".to_owned();
        Box::pin(async { Live::Unknown { reason } })
    }
}
