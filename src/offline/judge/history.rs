//! A recording as a baseline: what the judge holds a candidate against.

use std::time::Duration;

use crate::engine::baseline::Baseline;
use crate::engine::release::Release;
use crate::engine::time::Time;
use crate::offline::judge::rounds::Recording;

/// The baseline of a recording: its replicas are pooled tick by tick, as those of the candidate will be; t is the app's
/// age. Stalled ticks teach nothing.
pub fn baseline(recording: &Recording) -> Baseline {
    let origin = Time::default();
    let release = Release::new("baseline").expect("the name is visible ASCII");
    let start = recording.rounds.first().map_or(0, |round| round.millis);
    let mut baseline = Baseline::empty(release, Time::from_millis(start) - recording.tick);
    for round in &recording.rounds {
        let tick = round.pooled(origin);
        if !tick.stalled {
            baseline.learn(&tick, Duration::from_millis(round.millis));
        }
    }
    // The candidate's t says nothing of the hour of the week in which it ran, so none could be matched.
    baseline.hours.clear();
    baseline
}
