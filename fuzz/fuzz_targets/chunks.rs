//! libFuzzer's bytes for the target `chunks`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| outrigger_fuzz::targets::run("chunks", data));
