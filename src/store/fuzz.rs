//! What the store keeps as bytes, read from any bytes, for fuzzing.

use crate::engine::baseline::Baseline;
use crate::engine::history::Fact;
use crate::engine::release::Release;
use crate::engine::tick::Tick;
use crate::engine::time::Time;
use crate::engine::window::Latencies;
use crate::store::codec;

/// Reads latencies.
pub fn latencies(bytes: &[u8]) -> Result<Latencies, String> {
    codec::latencies_from_bytes(bytes).map_err(|error| error.to_string())
}

/// Writes them.
pub fn bytes(latencies: &Latencies) -> Vec<u8> {
    codec::latencies_to_bytes(latencies)
}

/// Reads what of a tick has no column.
pub fn tick(bytes: &[u8]) -> Result<Tick, String> {
    let mut tick = Tick::default();
    codec::fact::wide_from_bytes(bytes, &mut tick).map(|()| tick).map_err(|error| error.to_string())
}

/// Writes it.
pub fn tick_bytes(tick: &Tick) -> Vec<u8> {
    codec::fact::wide_to_bytes(tick)
}

/// Reads a fact that is no tick; the first byte chooses its kind.
pub fn event(bytes: &[u8]) -> Result<Fact, String> {
    let (first, more) = bytes.split_first().ok_or("nothing is there")?;
    let kind = ["ready", "restarted", "exited", "round"][usize::from(*first) % 4];
    codec::fact::event_from_bytes(kind, more).map_err(|error| error.to_string())
}

/// Writes what it says beyond its kind.
pub fn event_bytes(fact: &Fact) -> Vec<u8> {
    codec::fact::more_to_bytes(fact)
}

/// Reads what of a baseline has no column.
pub fn baseline(bytes: &[u8]) -> Result<Baseline, String> {
    let release = Release::new("v1").expect("the name is well-formed");
    let mut baseline = Baseline::empty(release, Time::default());
    codec::baseline::wide_from_bytes(bytes, &mut baseline)
        .map(|()| baseline)
        .map_err(|error| error.to_string())
}

/// Writes it.
pub fn baseline_bytes(baseline: &Baseline) -> Vec<u8> {
    codec::baseline::wide_to_bytes(baseline)
}
