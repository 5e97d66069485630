//! libFuzzer's bytes for the target `request_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("request_head", data));
