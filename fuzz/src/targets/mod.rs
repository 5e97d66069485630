//! What fuzzing calls: functions of bytes that panic where a promise is broken.
//!
//! `fuzz_targets/` hands each of them libFuzzer's bytes, and `tests/fuzz_corpus.rs` those of the corpus. They use only
//! what the crate shows, and judge it by rules of their own.

mod chunked;
mod heads;
mod lines;
mod others;

/// A target: its name, which is that of its folder in `corpus/`, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 11] = [
    ("request_head", heads::request),
    ("reply_head", heads::reply),
    ("chunks", chunked::chunks),
    ("route", others::route),
    ("config", others::config),
    ("store_record", others::store_record),
    ("store_latencies", others::store_latencies),
    ("platform_reply", others::platform_reply),
    ("admin_request", others::admin_request),
    ("cgroup", others::cgroup),
    ("peer_frame", others::peer_frame),
];

/// Runs the target of that name.
///
/// # Panics
///
/// Where there is none, or a promise is broken.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.unwrap_or_else(|| panic!("no target {name}")).1(data);
}
