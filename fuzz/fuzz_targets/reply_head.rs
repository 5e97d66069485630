//! libFuzzer's bytes for the target `reply_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("reply_head", data));
