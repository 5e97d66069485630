//! The metrics of alerts: four series a channel. Where nobody is to be told there are none.

use prometheus::proto::MetricFamily;

use crate::admin::metrics::{counter, gauge};

/// Counts alerts at the moment of the scrape.
pub type CountAlerts = Box<dyn Fn() -> Vec<AlertCount> + Send + Sync>;

/// What came of the alerts of one channel since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertCount {
    /// The channel's name.
    pub channel: &'static str,
    /// Alerts that were taken.
    pub told: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Alerts that nobody was told of and nobody will be.
    pub given_up: u64,
    /// Alerts that wait.
    pub waiting: u64,
    /// Alerts of all channels that were dropped because too many waited.
    pub dropped: u64,
}

pub(super) fn families(counts: &[AlertCount]) -> Vec<MetricFamily> {
    let results = |of: &AlertCount| [("told", of.told), ("failed", of.failed), ("given_up", of.given_up)];
    let total = counts.iter().flat_map(|of| {
        results(of).map(|(result, count)| (vec![("channel", of.channel), ("result", result)], count as f64))
    });
    let waiting = counts.iter().map(|of| (vec![("channel", of.channel)], of.waiting as f64));
    let dropped = counts.first().map(|of| (vec![], of.dropped as f64));
    vec![
        counter(
            "outrigger_alerts_total",
            "Alerts that were told or given up, and attempts that failed, by channel.",
            total.collect(),
        ),
        gauge("outrigger_alerts_pending", "Alerts that wait to be told, by channel.", waiting.collect()),
        counter(
            "outrigger_alerts_dropped_total",
            "Alerts that were dropped untold because too many waited.",
            dropped.into_iter().collect(),
        ),
    ]
}
