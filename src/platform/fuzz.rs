//! Replies of the platform on this machine as any bytes, for fuzzing.

use http::StatusCode;

use crate::engine::record::Acted;
use crate::engine::release::Release;
use crate::platform::local;

/// What an answer to an order says.
pub fn acted(status: u16, reply: &[u8]) -> Option<Acted> {
    Some(local::acted(StatusCode::from_u16(status).ok()?, reply))
}

/// What is live by an answer; or why it is not known.
pub fn live(reply: &[u8]) -> Result<Release, String> {
    local::live(reply)
}
