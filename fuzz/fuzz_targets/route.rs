//! libFuzzer's bytes for the target `route`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("route", data));
