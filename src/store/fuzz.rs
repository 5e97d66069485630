//! Latencies in their stored form as any bytes, for fuzzing.

use crate::engine::window::Latencies;
use crate::store::codec;

/// Reads them.
pub fn latencies(bytes: &[u8]) -> Result<Latencies, String> {
    codec::latencies_from_bytes(bytes).map_err(|error| error.to_string())
}

/// Writes them.
pub fn bytes(latencies: &Latencies) -> Vec<u8> {
    codec::latencies_to_bytes(latencies)
}
