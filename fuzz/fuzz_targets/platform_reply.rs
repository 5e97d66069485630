//! libFuzzer's bytes for the target `platform_reply`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("platform_reply", data));
