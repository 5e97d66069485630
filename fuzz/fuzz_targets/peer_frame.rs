//! libFuzzer's bytes for the target `peer_frame`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("peer_frame", data));
